/* Calls: arguments, frames, labels. Every function is inlined where it is called; a frame knows the
 * path of the parameters made below it. */
#include "frontend/elaborate/elaborate.h"

#include <string.h>

const char *join_path(Elaborator *el, const char *prefix, const char *rest) {
    if (prefix[0] == '\0' || rest[0] == '\0') {
        return prefix[0] == '\0' ? rest : prefix;
    }
    return context_internf(el->context, "%s.%s", prefix, rest);
}

static LabelUse *label_find(Map *labels, const char *part) {
    LabelUse *use = labels ? map_get(labels, part) : NULL;
    return use && !use->removed ? use : NULL;
}

/* The part that an unlabelled call adds: the function's name, then name_1, … */
static const char *automatic_label(Elaborator *el, Frame *frame) {
    const char *part = frame->fn_name;
    for (int n = 1; label_find(frame->caller->labels, part); n++) {
        part = context_internf(el->context, "%s_%d", frame->fn_name, n);
    }
    return part;
}

const char *frame_path(Elaborator *el, Frame *frame) {
    if (frame->path) {
        return frame->path;
    }
    const char *above = frame_path(el, frame->caller);
    if (frame->splice) {
        frame->path = above;
        return above;
    }
    Map *labels = frame->caller->labels;
    const char *part = frame->label ? frame->label : automatic_label(el, frame);
    LabelUse *earlier = label_find(labels, part);
    Place place = frame->label ? frame->label_place : frame->call_place;
    if (earlier) {
        Diag *diag = EL_REPORT(el, LABEL_TWICE, place, part, frame->caller->fn_name);
        elaborate_note(el, diag, earlier->place, "first used here");
        elaborate_help(el, diag,
                       "choose another label, or write `as shared %s` to share its parameters",
                       part);
        while (label_find(labels, part)) { /* told once: its parameters get a path of their own */
            part = context_internf(el->context, "%s_", part);
        }
    }
    if (strlen(above) + strlen(part) > ELABORATE_MAX_PATH) {
        elaborate_limit(el, place, "a path is longer than 4,096 bytes");
        part = "";
    }
    LabelUse *use = ARENA_NEW(el->arena, LabelUse);
    frame->path = context_intern(el->context, join_path(el, above, part));
    *use = (LabelUse){.path = frame->path, .place = place, .fn_name = frame->fn_name};
    map_set(labels, part, use);
    el->b.label = frame->path;
    return frame->path;
}

/* -- arguments */

const AstParam *param_for(const Fn *fn, int32_t position, const char *name) {
    while (fn->kind == FN_PARTIAL) {
        fn = fn->base;
    }
    if (fn->kind != FN_DECL) {
        return NULL;
    }
    const AstParams *params = &fn->decl->as.fn.params;
    if (name == NULL) {
        return position < params->count ? &params->items[position] : NULL;
    }
    for (int32_t i = 0; i < params->count; i++) {
        if (params->items[i].name.text == name) {
            return &params->items[i];
        }
    }
    return NULL;
}

/* Evaluates arguments in source order, the piped one first. False when one is an error. */
bool elaborate_arguments(Elaborator *el, const Fn *fn, const AstExpr *expr, Args *out) {
    const AstArgs *args = &expr->as.call.args;
    const AstExpr *piped = expr->as.call.piped;
    int32_t count = args->count + (piped != NULL);
    out->items = ARENA_ARRAY(el->arena, Arg, count > 0 ? count : 1);
    out->count = 0;
    bool good = true, named = false;
    if (piped) {
        Val value = elaborate_expr(el, piped);
        good = !val_is_error(value);
        out->items[out->count++] = (Arg){.value = value, .place = piped->place};
    }
    for (int32_t i = 0; i < args->count; i++) {
        const AstArg *arg = &args->items[i];
        if (arg->name.text == NULL && named) {
            EL_REPORT(el, ARG_ORDER, arg->place, "");
            good = false;
        }
        named = named || arg->name.text != NULL;
        const AstParam *param = param_for(fn, out->count, arg->name.text);
        bool wants_fn = param && param->type && param->type->kind == AST_TYPE_FN;
        bool is_axis = fn->kind == FN_BUILTIN && out->count > 0 && builtin_takes_axes(fn->builtin);
        Val value = is_axis    ? mesh_argument(el, arg->value)
                    : wants_fn ? elaborate_fn_argument(el, arg->value)
                               : elaborate_expr(el, arg->value);
        good = good && !val_is_error(value);
        out->items[out->count++] = (Arg){.name = arg->name.text,
                                         .value = value,
                                         .place = arg->value->place,
                                         .name_place = arg->name.place};
    }
    return good;
}

Val elaborate_fn_argument(Elaborator *el, const AstExpr *expr) {
    const AstExpr *inner = expr;
    while (inner->kind == AST_PAREN) {
        inner = inner->as.inner;
    }
    if (inner->kind == AST_CONDITIONAL) {
        Val condition = elaborate_expr(el, inner->as.conditional.condition);
        bool chosen = false;
        if (!need_bool(el, condition, "a condition", inner->as.conditional.condition->place,
                       &chosen)) {
            return val_error();
        }
        return elaborate_fn_argument(el, chosen ? inner->as.conditional.then
                                                : inner->as.conditional.otherwise);
    }
    if (inner->kind != AST_CALL) {
        if (inner->kind == AST_NAME) {
            Binding *binding = scope_find(el->scope, inner->as.name, false);
            bool absent = binding == NULL && strcmp(inner->as.name, "none") == 0;
            if (!absent && (binding == NULL || binding->value.kind != VAL_FN)) {
                Fn *fn = elaborate_callee(el, inner);
                return fn ? (Val){.kind = VAL_FN, .place = expr->place, .as.fn = fn} : val_error();
            }
        }
        return elaborate_expr(el, inner);
    }
    Fn *base = elaborate_callee(el, inner->as.call.callee);
    Args args = {0};
    if (base == NULL) {
        return val_error();
    }
    if (!elaborate_arguments(el, base, inner, &args)) {
        return val_error();
    }
    Val value = val_fn(el, FN_PARTIAL, base->name, expr->place);
    value.as.fn->base = base;
    value.as.fn->args = args;
    return value;
}

/* -- frames */

static bool share_label(Elaborator *el, Frame *frame, const AstLabel *label) {
    const char *part = elaborate_path(el, &label->path);
    if (part == NULL) {
        return false;
    }
    LabelUse *use = label_find(el->frame->labels, part);
    if (use == NULL && el->trial && el->trial_partial) {
        return false;
    }
    if (use == NULL) {
        Diag *diag = EL_REPORT(el, SHARED_UNKNOWN, label->place, el->frame->fn_name, part);
        const char *near = el->frame->labels ? map_suggest(el->frame->labels, part) : NULL;
        if (near) {
            elaborate_help(el, diag, "did you mean '%s'?", near);
        }
        return false;
    }
    frame->path = use->path;
    frame->shared = true;
    return true;
}

static bool frame_label(Elaborator *el, Frame *frame, const AstLabel *label) {
    frame->label_place = label->place;
    switch (label->kind) {
    case AST_LABEL_NONE:
        return true;
    case AST_LABEL_SPLICE:
        frame->splice = true;
        frame->labels = el->frame->labels;
        return true;
    case AST_LABEL_PATH:
        frame->label = elaborate_path(el, &label->path);
        return frame->label != NULL;
    case AST_LABEL_SHARED:
        return share_label(el, frame, label);
    }
    return true;
}

static Val call_decl(Elaborator *el, Fn *fn, Args args, CallSite site) {
    const AstDecl *decl = fn->decl;
    Frame *frame = ARENA_NEW(el->arena, Frame);
    *frame = (Frame){.caller = el->frame,
                     .fn_name = fn->name,
                     .call_place = site.place,
                     .env = fn->env,
                     .depth = el->frame->depth + 1,
                     .shared = el->frame->shared,
                     .loop = el->fs ? el->fs->loop : NULL,
                     .result_type = decl->as.fn.result};
    if (frame->depth > ELABORATE_MAX_CALLS) {
        return elaborate_limit(el, site.place,
                               arena_format(el->arena,
                                            "calls nest more than %d deep ('%s' among them)",
                                            ELABORATE_MAX_CALLS, fn->name));
    }
    if (++el->n_calls > ELABORATE_MAX_ALL_CALLS) {
        return elaborate_limit(
            el, site.place,
            arena_format(el->arena, "more than 100,000 calls ('%s' among them)", fn->name));
    }
    frame->labels = ARENA_NEW(el->arena, Map);
    map_init(frame->labels, el->arena);
    if (!frame_label(el, frame, &site.label)) {
        return val_error();
    }
    Frame *caller = el->frame;
    Scope *scope = el->scope;
    el->frame = frame;
    el->scope = NULL;
    frame->scope = scope_push(el, true);
    Val result = val_error();
    if (bind_params(el, decl, args, site)) {
        fn->elaborated = fn->elaborated || !el->trial;
        elaborate_stmts(el, &decl->as.fn.body);
        if (frame->returned) {
            result = check_result(el, decl->as.fn.result, frame->result, fn->name, site.place);
            result = mesh_of_call(el, frame, result);
        } else {
            result = (Val){.kind = VAL_NONE, .place = decl->place};
        }
    }
    el->frame = caller;
    el->scope = scope;
    elaborate_at(el, site.place);
    return result;
}

static Val call_partial(Elaborator *el, Fn *fn, Args args, CallSite site) {
    Args all = {.items = ARENA_ARRAY(el->arena, Arg, args.count + fn->args.count + 1)};
    /* Positional ones first, those of the call before those of the partial; then the named. */
    for (int pass = 0; pass < 2; pass++) {
        const Args *const both[] = {&args, &fn->args};
        for (int k = 0; k < 2; k++) {
            for (int32_t i = 0; i < both[k]->count; i++) {
                if ((both[k]->items[i].name != NULL) == (pass == 1)) {
                    all.items[all.count++] = both[k]->items[i];
                }
            }
        }
    }
    return call_fn(el, fn->base, all, site);
}

Val call_fn(Elaborator *el, Fn *fn, Args args, CallSite site) {
    if (!elaborate_may_nest(el, site.place)) {
        return val_error();
    }
    el->depth++;
    Val result = val_error();
    switch (fn->kind) {
    case FN_DECL:
        result = call_decl(el, fn, args, site);
        break;
    case FN_BUILTIN:
        result = call_builtin(el, fn->builtin, args, site.place);
        break;
    case FN_AXIS:
        result = elaborate_axis_call(el, fn, args, site.place);
        break;
    case FN_PARTIAL:
        result = call_partial(el, fn, args, site);
        break;
    case FN_UNKNOWN:
        break;
    }
    el->depth--;
    return result;
}

Val elaborate_call(Elaborator *el, const AstExpr *expr) {
    int32_t first = elaborate_next_value(el);
    Fn *fn = elaborate_callee(el, expr->as.call.callee);
    Args args = {0};
    if (fn == NULL) {
        if (expr->as.call.piped) { /* its own mistakes are still worth telling */
            elaborate_expr(el, expr->as.call.piped);
        }
        return val_error();
    }
    if (!elaborate_arguments(el, fn, expr, &args)) {
        return val_error();
    }
    CallSite site = {.place = expr->place, .label = expr->as.call.label};
    int64_t errors = el->n_errors;
    Val result = call_fn(el, fn, args, site);
    if (result.kind == VAL_NONE && el->n_errors > errors) {
        return val_error();
    }
    if (result.kind == VAL_NONE) {
        const Fn *target = fn;
        while (target->kind == FN_PARTIAL) {
            target = target->base;
        }
        Diag *diag = EL_REPORT(el, NO_RESULT, expr->place, fn->name);
        if (target->decl) {
            elaborate_note(el, diag, target->decl->place, "'%s' is declared here", fn->name);
        }
        elaborate_help(el, diag, "end its body with `return …`");
        return val_error();
    }
    if (result.kind == VAL_TENSOR) {
        result.place = expr->place;
    }
    return elaborate_own(el, result, first, expr->place);
}
