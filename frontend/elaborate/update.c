/* Optimisers: reading an optimizer line, and instantiating its body for one parameter. */
#include "frontend/elaborate/elaborate.h"

#include "ir/base/number.h"

#include <string.h>

/* -- reading */

static Fn *optimizer_fn(Elaborator *el, const AstExpr *callee) {
    while (callee->kind == AST_PAREN) {
        callee = callee->as.inner;
    }
    if (callee->kind != AST_NAME) {
        EL_REPORT(el, SETTING_FORM, callee->place, "an optimizer is called by its name");
        return NULL;
    }
    const Global *optimizer =
        env_find(el, el->user, NAMES_OPTIMIZER, callee->as.name, callee->place);
    if (optimizer == NULL) {
        Map names;
        map_init(&names, el->arena);
        env_names(el, el->user, NAMES_OPTIMIZER, &names);
        const char *near = map_suggest(&names, callee->as.name);
        Diag *diag = EL_REPORT(el, OPTIMIZER_UNKNOWN, callee->place, callee->as.name);
        if (near) {
            elaborate_help(el, diag, "did you mean '%s'?", near);
        } else {
            elaborate_help(el, diag,
                           "the library has sgd, adam, adamw, rmsprop, adagrad, lamb, lion …");
        }
        return NULL;
    }
    Fn *fn = val_fn(el, FN_DECL, optimizer->name, callee->place).as.fn;
    fn->decl = optimizer->decl;
    fn->env = optimizer->env;
    return fn;
}

bool optimizer_read(Elaborator *el, const AstSetting *setting, const AstExpr *expr,
                    OptimizerUse *out) {
    bool call = expr->kind == AST_CALL && expr->as.call.piped == NULL;
    *out = (OptimizerUse){.setting = setting};
    out->fn = optimizer_fn(el, call ? expr->as.call.callee : expr);
    return out->fn && (!call || elaborate_arguments(el, out->fn, expr, &out->args));
}

/* -- the rate of learning, which the run may override */

/* The program's value, or the run's `lr` where that is a number. */
static Value *overridden(Elaborator *el, Val program, Place place) {
    Value *value = need_tensor(el, program, "lr", place);
    if (value == NULL) {
        return NULL;
    }
    elaborate_at(el, place);
    value = elaborate_made(el, b_cast(&el->b, value, elaborate_float(el)), place);
    Value *given = elaborate_run_scalar(el, "lr", elaborate_float(el));
    if (value == NULL) {
        return NULL;
    }
    Value *absent = elaborate_made(el, b_unary(&el->b, OP_isnan, given), place);
    return elaborate_made(el, b_select(&el->b, absent, value, given), place);
}

static bool bind_rate(Elaborator *el, OptimizerUse *use, Place place) {
    const char *name = context_intern(el->context, "lr");
    Binding *binding = scope_find(el->scope, name, true);
    if (binding == NULL) {
        return true;
    }
    if (use->lr == NULL) {
        use->lr = overridden(el, binding->value, place);
    }
    binding->value = val_tensor(use->lr, true, place);
    return use->lr != NULL;
}

/* Every number among the arguments but `lr` can be set by the run: `--set optimizer.beta2=0.9`. */
static void bind_settings(Elaborator *el, const AstDecl *decl) {
    for (int32_t i = 0; i < decl->as.fn.params.count; i++) {
        const char *name = decl->as.fn.params.items[i].name.text;
        Binding *binding = scope_find(el->scope, name, true);
        if (binding && binding->value.kind == VAL_FLOAT && strcmp(name, "lr") != 0) {
            binding->value.setting = context_internf(el->context, "set.optimizer.%s", name);
        }
    }
}

/* -- one parameter's update */

static Value *run_body(Elaborator *el, OptimizerUse *use, Frame *frame, PersistUse *param,
                       Value *grad) {
    const AstDecl *decl = use->fn->decl;
    CallSite site = {.place = use->setting->place};
    if (!bind_params(el, decl, use->args, site) || !bind_rate(el, use, use->setting->place)) {
        return NULL;
    }
    bind_settings(el, decl);
    scope_define(el, el->scope, context_intern(el->context, "param"),
                 val_tensor(param->value, false, use->setting->place), decl->place);
    scope_define(el, el->scope, context_intern(el->context, "grad"),
                 val_tensor(grad, false, use->setting->place), decl->place);
    int64_t errors = el->n_errors;
    elaborate_stmts(el, &decl->as.fn.body);
    if (frame->opt_stored == NULL && el->n_errors == errors) {
        Diag *diag = EL_REPORT(el, OPTIMIZER_STORE, decl->place, decl->name.text);
        elaborate_help(el, diag, "e.g. param <- param - lr * grad");
    }
    return frame->opt_stored;
}

Value *optimizer_apply(Elaborator *el, OptimizerUse *use, PersistUse *param, Value *grad) {
    Frame *outer = el->frame;
    Scope *scope = el->scope;
    const char *precision = el->b.precision;
    Frame *frame = ARENA_NEW(el->arena, Frame);
    *frame = (Frame){.caller = outer,
                     .fn_name = use->fn->name,
                     .call_place = use->setting->place,
                     .env = use->fn->env,
                     .path = "",
                     .depth = 1,
                     .is_optimizer = true,
                     .loop = el->fs->loop,
                     .opt_path = param->persist->path,
                     .opt_type = param->persist->type};
    frame->labels = ARENA_NEW(el->arena, Map);
    map_init(frame->labels, el->arena);
    el->frame = frame;
    el->scope = NULL;
    frame->scope = scope_push(el, true);
    el->b.precision = NULL; /* updates are in the parameters' own type */
    Value *next = run_body(el, use, frame, param, grad);
    el->b.precision = precision;
    el->frame = outer;
    el->scope = scope;
    return next;
}
