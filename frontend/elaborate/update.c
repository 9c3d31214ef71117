/* Optimisers: reading an optimizer line, and instantiating its body for one parameter. */
#include "frontend/elaborate/elaborate.h"

#include "ir/base/number.h"

#include <string.h>

/* -- reading */

static Fn *optimizer_fn(Lower *lw, const AstExpr *callee) {
    while (callee->kind == AST_PAREN) {
        callee = callee->as.inner;
    }
    if (callee->kind != AST_NAME) {
        LW_REPORT(lw, SETTING_FORM, callee->place, "an optimizer is called by its name");
        return NULL;
    }
    const Global *optimizer =
        env_find(lw, lw->user, NAMES_OPTIMIZER, callee->as.name, callee->place);
    if (optimizer == NULL) {
        Map names;
        map_init(&names, lw->arena);
        env_names(lw, lw->user, NAMES_OPTIMIZER, &names);
        const char *near = map_suggest(&names, callee->as.name);
        Diag *diag = LW_REPORT(lw, OPTIMIZER_UNKNOWN, callee->place, callee->as.name);
        if (near) {
            lower_help(lw, diag, "did you mean '%s'?", near);
        } else {
            lower_help(lw, diag,
                       "the library has sgd, adam, adamw, rmsprop, adagrad, lamb, lion …");
        }
        return NULL;
    }
    Fn *fn = val_fn(lw, FN_DECL, optimizer->name, callee->place).as.fn;
    fn->decl = optimizer->decl;
    fn->env = optimizer->env;
    return fn;
}

bool optimizer_read(Lower *lw, const AstSetting *setting, const AstExpr *expr, OptimizerUse *out) {
    bool call = expr->kind == AST_CALL && expr->as.call.piped == NULL;
    *out = (OptimizerUse){.setting = setting};
    out->fn = optimizer_fn(lw, call ? expr->as.call.callee : expr);
    return out->fn && (!call || lower_arguments(lw, out->fn, expr, &out->args));
}

/* -- the rate of learning, which the run may override */

/* The program's value, or the run's `lr` where that is a number. */
static Value *overridden(Lower *lw, Val program, Place place) {
    Value *value = need_tensor(lw, program, "lr", place);
    if (value == NULL) {
        return NULL;
    }
    lower_at(lw, place);
    value = lower_made(lw, b_cast(&lw->b, value, lower_float(lw)), place);
    Value *given = lower_run_scalar(lw, "lr", lower_float(lw));
    if (value == NULL) {
        return NULL;
    }
    Value *absent = lower_made(lw, b_unary(&lw->b, OP_isnan, given), place);
    return lower_made(lw, b_select(&lw->b, absent, value, given), place);
}

static bool bind_rate(Lower *lw, OptimizerUse *use, Place place) {
    const char *name = context_intern(lw->context, "lr");
    Binding *binding = scope_find(lw->scope, name, true);
    if (binding == NULL) {
        return true;
    }
    if (use->lr == NULL) {
        use->lr = overridden(lw, binding->value, place);
    }
    binding->value = val_tensor(use->lr, true, place);
    return use->lr != NULL;
}

Val val_settled(Lower *lw, Val value) {
    if (value.setting == NULL || value.kind != VAL_FLOAT || lw->fs == NULL || lw->init_path) {
        return value;
    }
    const char *key =
        arena_format(lw->arena, "%s=%s", value.setting, number_shortest(value.as.f).text);
    Value *settled = map_get(&lw->fs->scalars, key);
    if (settled == NULL) {
        Place place = value.place;
        Value *given = lower_run_scalar(lw, value.setting, DT_F64);
        lower_at(lw, place);
        Value *own = lower_made(lw, b_constant(&lw->b, value.as.f, type_scalar(DT_F64)), place);
        Value *absent = lower_made(lw, b_unary(&lw->b, OP_isnan, given), place);
        settled =
            own && absent ? lower_made(lw, b_select(&lw->b, absent, own, given), place) : NULL;
        if (settled == NULL) {
            return val_error();
        }
        map_set(&lw->fs->scalars, key, settled);
    }
    return val_tensor(settled, true, value.place);
}

/* Every number among the arguments but `lr` can be set by the run: `--set optimizer.beta2=0.9`. */
static void bind_settings(Lower *lw, const AstDecl *decl) {
    for (int32_t i = 0; i < decl->as.fn.params.count; i++) {
        const char *name = decl->as.fn.params.items[i].name.text;
        Binding *binding = scope_find(lw->scope, name, true);
        if (binding && binding->value.kind == VAL_FLOAT && strcmp(name, "lr") != 0) {
            binding->value.setting = context_internf(lw->context, "set.optimizer.%s", name);
        }
    }
}

/* -- one parameter's update */

static Value *run_body(Lower *lw, OptimizerUse *use, Frame *frame, PersistUse *param, Value *grad) {
    const AstDecl *decl = use->fn->decl;
    CallSite site = {.place = use->setting->place};
    if (!bind_params(lw, decl, use->args, site) || !bind_rate(lw, use, use->setting->place)) {
        return NULL;
    }
    bind_settings(lw, decl);
    scope_define(lw, lw->scope, context_intern(lw->context, "param"),
                 val_tensor(param->value, false, use->setting->place), decl->place);
    scope_define(lw, lw->scope, context_intern(lw->context, "grad"),
                 val_tensor(grad, false, use->setting->place), decl->place);
    int64_t errors = lw->n_errors;
    lower_stmts(lw, &decl->as.fn.body);
    if (frame->opt_stored == NULL && lw->n_errors == errors) {
        Diag *diag = LW_REPORT(lw, OPTIMIZER_STORE, decl->place, decl->name.text);
        lower_help(lw, diag, "e.g. param <- param - lr * grad");
    }
    return frame->opt_stored;
}

Value *optimizer_apply(Lower *lw, OptimizerUse *use, PersistUse *param, Value *grad) {
    Frame *outer = lw->frame;
    Scope *scope = lw->scope;
    const char *precision = lw->b.precision;
    Frame *frame = ARENA_NEW(lw->arena, Frame);
    *frame = (Frame){.caller = outer,
                     .fn_name = use->fn->name,
                     .call_place = use->setting->place,
                     .env = use->fn->env,
                     .path = "",
                     .depth = 1,
                     .is_optimizer = true,
                     .loop = lw->fs->loop,
                     .opt_path = param->persist->path,
                     .opt_type = param->persist->type};
    frame->labels = ARENA_NEW(lw->arena, Map);
    map_init(frame->labels, lw->arena);
    lw->frame = frame;
    lw->scope = NULL;
    frame->scope = scope_push(lw, true);
    lw->b.precision = NULL; /* updates are in the parameters' own type */
    Value *next = run_body(lw, use, frame, param, grad);
    lw->b.precision = precision;
    lw->frame = outer;
    lw->scope = scope;
    return next;
}
