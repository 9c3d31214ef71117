/* Parameters, state, caches and optimiser slots: declaring them by path, reading and storing them,
 * and building their initial values in the init Func. */
#include "frontend/elaborate/elaborate.h"

#include <string.h>

static const char *kind_text(PersistKind kind) {
    switch (kind) {
    case PERSIST_PARAM:
        return "parameter";
    case PERSIST_STATE:
        return "state";
    case PERSIST_CACHE:
        return "cache";
    case PERSIST_SLOT:
        return "slot";
    }
    return "state";
}

static ArgRole kind_role(PersistKind kind) {
    return kind == PERSIST_PARAM   ? ARG_PARAM
           : kind == PERSIST_STATE ? ARG_STATE
           : kind == PERSIST_CACHE ? ARG_CACHE
                                   : ARG_SLOT;
}

/* -- initial values */

bool fn_takes(const Fn *fn, const char *name, bool first) {
    while (fn->kind == FN_PARTIAL) {
        fn = fn->base;
    }
    if (fn->kind == FN_BUILTIN) {
        const char *signature = fn->builtin->signature;
        size_t length = strlen(name);
        for (const char *at = strstr(signature, name); at; at = strstr(at + 1, name)) {
            bool begins = at == signature || at[-1] == ' ';
            bool ends = at[length] == '\0' || at[length] == ',' || at[length] == '=';
            if (begins && ends && (!first || at == signature)) {
                return true;
            }
        }
        return false;
    }
    if (fn->kind != FN_DECL) {
        return false;
    }
    const AstParams *params = &fn->decl->as.fn.params;
    for (int32_t i = 0; i < (first && params->count > 1 ? 1 : params->count); i++) {
        if (strcmp(params->items[i].name.text, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Calls an initialiser with the declared shape and element type before its own arguments. */
static Val call_initialiser(Lower *lw, Fn *fn, Type type, Place place) {
    Arg items[2];
    Val shape = val_list(lw, VAL_LIST, type.rank, place);
    for (int32_t i = 0; i < type.rank; i++) {
        shape.as.list.items[i] = val_size(type.dims[i], place);
    }
    Args args = {.items = items, .count = 1};
    items[0] = (Arg){.value = shape, .place = place};
    if (fn_takes(fn, "dtype", false)) {
        Val dtype = {.kind = VAL_DTYPE, .place = place, .as.dtype = type.dtype};
        items[args.count++] =
            (Arg){.name = context_intern(lw->context, "dtype"), .value = dtype, .place = place};
    }
    CallSite site = {.place = place};
    return call_fn(lw, fn, args, site);
}

/* The value of an initial expression: an initialiser's result or an ordinary value. */
static Val initial_value(Lower *lw, const AstExpr *expr, Type type) {
    while (expr->kind == AST_PAREN) {
        expr = expr->as.inner;
    }
    Fn *fn = NULL;
    if (expr->kind == AST_CONDITIONAL) {
        bool chosen = false;
        Val condition = lower_expr(lw, expr->as.conditional.condition);
        if (!need_bool(lw, condition, "a condition", expr->place, &chosen)) {
            return val_error();
        }
        return initial_value(
            lw, chosen ? expr->as.conditional.then : expr->as.conditional.otherwise, type);
    }
    if (expr->kind == AST_NAME) {
        Binding *binding = scope_find(lw->scope, expr->as.name, false);
        if (binding == NULL) {
            fn = find_function(lw, lw->frame->env, expr->as.name, expr->place);
        }
    }
    if (expr->kind == AST_CALL && expr->as.call.piped == NULL) {
        Fn *callee = lower_callee(lw, expr->as.call.callee);
        if (callee == NULL) {
            return val_error();
        }
        if (fn_takes(callee, "shape", true)) {
            Val partial = lower_fn_argument(lw, expr);
            return val_is_error(partial) ? partial
                                         : call_initialiser(lw, partial.as.fn, type, expr->place);
        }
    }
    Val value = val_error();
    if (fn == NULL) {
        value = lower_expr(lw, expr);
        fn = value.kind == VAL_FN ? value.as.fn : NULL;
    }
    return fn ? call_initialiser(lw, fn, type, expr->place) : value;
}

Value *lower_initial(Lower *lw, const AstExpr *expr, Type type, const char *what, Place place) {
    (void)place;
    Val value = initial_value(lw, expr, type);
    Value *tensor = NULL;
    if (value.kind == VAL_TENSOR) {
        DType have = value.as.tensor->type.dtype;
        bool fits = have == type.dtype ||
                    (value.weak && (dtype_is_float(type.dtype) || dtype_is_integer(have)));
        if (!fits) {
            Diag *diag = LW_REPORT(lw, WRONG_DTYPE, expr->place,
                                   arena_format(lw->arena, "the initial value of '%s'", what),
                                   dtype_name(type.dtype), dtype_name(have));
            lower_help(lw, diag, "convert it: cast(x, %s)", dtype_name(type.dtype));
            return NULL;
        }
        tensor = lower_as(lw, value, type.dtype, expr->place);
    } else if (value.kind == VAL_FLOAT && !dtype_is_float(type.dtype)) {
        LW_REPORT(lw, WRONG_DTYPE, expr->place,
                  arena_format(lw->arena, "the initial value of '%s'", what),
                  dtype_name(type.dtype), "a fraction");
        return NULL;
    } else if (val_is_number(value) || value.kind == VAL_BOOL || value.kind == VAL_LIST) {
        tensor = lower_as(lw, value, type.dtype, expr->place);
    } else if (!val_is_error(value)) {
        LW_REPORT(lw, WRONG_KIND, expr->place,
                  arena_format(lw->arena, "the initial value of '%s'", what), "numbers",
                  val_describe(lw, value));
    }
    if (tensor == NULL) {
        return NULL;
    }
    Val wanted = val_tensor(tensor, false, expr->place);
    const Size *shape[TYPE_MAX_RANK];
    int32_t rank = 0;
    Value like = {.type = type};
    Val both[] = {val_tensor(&like, false, place), wanted};
    if (!common_shape(lw, both, 2, what, expr->place, shape, &rank)) {
        return NULL;
    }
    bool same = rank == type.rank;
    for (int32_t i = 0; same && i < rank; i++) {
        same = size_equal(lw->context, shape[i], type.dims[i]) != TRUTH_NO;
    }
    if (!same) {
        LW_REPORT(lw, STORE_TYPE, expr->place, what, type_text(lw->context, type),
                  type_text(lw->context, tensor->type));
        return NULL;
    }
    return lower_expand(lw, tensor, type.dims, type.rank, expr->place);
}

/* Makes the initial value of `persist` the one given, in the init Func. */
static void init_with(Lower *lw, const Persist *persist, Value *value) {
    if (value) {
        const Value *target = func_add_arg(lw->init, kind_role(persist->kind), persist->path,
                                           persist->type, persist->place);
        FuncResult result = {.role = RESULT_STORE, .name = persist->path, .arg = target->index};
        VEC_PUSH(lw->arena, &lw->init_results, result);
        VEC_PUSH(lw->arena, &lw->init_values, value);
    }
}

void persist_init_number(Lower *lw, Persist *persist, double number) {
    Builder b = builder_at_end(lw->init, lw->init->body);
    b.soft = true;
    init_with(lw, persist, b_constant(&b, number, persist->type));
}

void persist_init(Lower *lw, Persist *persist, const AstExpr *expr, const char *copy_of) {
    Builder outside = lw->b;
    const char *outer_path = lw->init_path;
    Value *value = NULL;
    lw->b = builder_at_end(lw->init, lw->init->body);
    lw->b.soft = true;
    lw->init_path = persist->path;
    if (copy_of) {
        for (size_t i = 0; i < lw->init_results.count; i++) {
            if (strcmp(lw->init_results.items[i].name, copy_of) == 0) {
                value = lw->init_values.items[i];
            }
        }
    } else {
        value = lower_initial(lw, expr, persist->type, persist->path, persist->place);
    }
    lw->init_path = outer_path;
    lw->b = outside;
    init_with(lw, persist, value);
}

/* -- declaring */

static bool check_redeclared(Lower *lw, PersistUse *use, PersistKind kind, const char *path,
                             Type type, Place place) {
    Persist *persist = use->persist;
    bool same_type = type_equal(persist->type, type);
    if (lw->frame->shared && (!same_type || persist->kind != kind)) {
        Diag *diag = LW_REPORT(lw, SHARED_TYPE, place, path, type_text(lw->context, persist->type),
                               type_text(lw->context, type));
        lower_note(lw, diag, persist->place, "declared here, by the call that it shares");
        return false;
    }
    if (!lw->frame->shared && use->declared) {
        Diag *diag = LW_REPORT(lw, PARAM_TWICE, place, path);
        lower_note(lw, diag, use->place, "first declared here");
        lower_help(lw, diag, "label the calls apart: f(x) as a, f(y) as b; or share: as shared a");
        return false;
    }
    return true;
}

static Persist *persist_make(Lower *lw, PersistKind kind, const char *path, Type type,
                             const AstExpr *init, Place place) {
    Persist *persist = ARENA_NEW(lw->arena, Persist);
    *persist = (Persist){.path = path, .kind = kind, .type = type, .place = place};
    map_set(kind == PERSIST_SLOT ? &lw->slots : &lw->persists, path, persist);
    if (init == NULL) {
        Diag *diag = LW_REPORT(lw, PARAM_INIT, place, path);
        lower_help(lw, diag, "e.g. = zeros, or = normal(0, 0.02)");
        return persist;
    }
    persist_init(lw, persist, init, NULL);
    return persist;
}

PersistUse *persist_declare(Lower *lw, PersistKind kind, const char *path, Type type,
                            const AstExpr *init, Place place) {
    FuncState *fs = lw->fs;
    PersistUse *use = map_get(&fs->uses, path);
    if (use) {
        if (!check_redeclared(lw, use, kind, path, type, place)) {
            return NULL;
        }
    } else if (lw->frame->shared) {
        Diag *diag = LW_REPORT(lw, SHARED_NEW, place, path);
        lower_help(lw, diag, "the two calls must make the same parameters");
        return NULL;
    }
    Persist *persist = map_get(kind == PERSIST_SLOT ? &lw->slots : &lw->persists, path);
    if (persist == NULL && lw->persists_closed && kind != PERSIST_CACHE) {
        LW_REPORT(lw, ENTRY_NEW_PARAM, place, lw->fs->func->name, path);
        return NULL;
    }
    if (persist == NULL) {
        persist = persist_make(lw, kind, path, type, init, place);
    } else if (persist->kind != kind || !type_equal(persist->type, type)) {
        Diag *diag = LW_REPORT(
            lw, PARAM_DIFFERS, place, path,
            arena_format(lw->arena, "%s %s", kind_text(kind), type_text(lw->context, type)),
            arena_format(lw->arena, "%s %s", kind_text(persist->kind),
                         type_text(lw->context, persist->type)));
        lower_note(lw, diag, persist->place, "declared here before");
        return NULL;
    }
    if (use == NULL) {
        use = ARENA_NEW(lw->arena, PersistUse);
        use->persist = persist;
        use->arg = func_add_arg(fs->func, kind_role(kind), path, type, lower_user_place(lw, place));
        use->value = use->arg;
        map_set(&fs->uses, path, use);
    }
    if (!use->declared) {
        use->place = lower_user_place(lw, place);
        use->declared = true;
    }
    return use;
}

static const char *slot_path(Lower *lw, const char *name) {
    return context_internf(lw->context, "%s#%s", lw->frame->opt_path, name);
}

AstName declared_name(const AstStmt *stmt) {
    AstName local = stmt->as.declare.local;
    const AstPath *parts = &stmt->as.declare.path;
    if (local.text == NULL && parts->count == 1 && parts->items[0].kind == AST_PATH_NAME) {
        local = (AstName){.text = parts->items[0].name, .place = parts->items[0].place};
    }
    return local;
}

void lower_declare(Lower *lw, const AstStmt *stmt) {
    PersistKind kind = stmt->kind == AST_STMT_PARAM   ? PERSIST_PARAM
                       : stmt->kind == AST_STMT_STATE ? PERSIST_STATE
                                                      : PERSIST_CACHE;
    Frame *frame = lw->frame;
    AstName local = declared_name(stmt);
    if (lw->trial && local.text) { /* where the type or path is not known */
        scope_bind(lw, local.text, val_error(), local.place);
    }
    if (lw->fs == NULL || lw->init_path) {
        LW_REPORT(lw, MISPLACED, stmt->place,
                  "parameters and state stand only in what a model calls");
        return;
    }
    const char *name = lower_path(lw, &stmt->as.declare.path);
    Type type = {0};
    if (name == NULL) {
        return;
    }
    if (frame->is_optimizer && kind != PERSIST_STATE) {
        LW_REPORT(lw, MISPLACED, stmt->place, "an optimizer declares only `state`");
        return;
    }
    if (stmt->as.declare.type == NULL) {
        if (!frame->is_optimizer) {
            LW_REPORT(lw, PARAM_TYPE, stmt->place, name);
            return;
        }
        type = frame->opt_type;
    } else if (stmt->as.declare.type->kind != AST_TYPE_TENSOR) {
        LW_REPORT(lw, PARAM_TYPE, stmt->as.declare.type->place, name);
        return;
    } else if (!lower_type(lw, stmt->as.declare.type, &type)) {
        return;
    }
    if (kind == PERSIST_PARAM && !dtype_is_float(type.dtype)) {
        Diag *diag = LW_REPORT(lw, WRONG_DTYPE, stmt->place, "a parameter", "floats",
                               dtype_name(type.dtype));
        lower_help(lw, diag, "what is not trained is a `state`");
        return;
    }
    if (frame->is_optimizer) { /* read and stored by slot_path */
        persist_declare(lw, PERSIST_SLOT, slot_path(lw, name), type, stmt->as.declare.init,
                        stmt->place);
        return;
    }
    const char *path = context_intern(lw->context, join_path(lw, frame_path(lw, frame), name));
    PersistUse *use = persist_declare(lw, kind, path, type, stmt->as.declare.init, stmt->place);
    /* A plain name (or the one given with `as`) now stands for the current value; it may hide an
     * argument, as in `if bias { param bias … }`. */
    if (local.text) {
        scope_bind(lw, local.text, val_error(), local.place);
        scope_find(lw->scope, local.text, true)->persist = use;
    }
}

/* -- reading and storing */

PersistUse *persist_find(Lower *lw, const char *name) {
    Frame *frame = lw->frame;
    if (lw->fs == NULL || frame == NULL) {
        return NULL;
    }
    if (frame->is_optimizer) {
        return map_get(&lw->fs->uses, slot_path(lw, name));
    }
    while (frame->splice && frame->path == NULL) {
        frame = frame->caller;
    }
    if (frame->path == NULL) {
        return NULL;
    }
    PersistUse *use = map_get(&lw->fs->uses, join_path(lw, frame->path, name));
    return use && use->declared ? use : NULL;
}

Value *persist_current(Lower *lw, PersistUse *use, Place place) {
    if (use->persist->kind == PERSIST_PARAM) {
        return use->value;
    }
    if (lw->fs->loop && lw->fs->loop->in_condition) {
        LW_REPORT(lw, STATE_IN_CONDITION, place, "state");
        return NULL;
    }
    loop_thread(lw, use);
    return use->value;
}

Val persist_read(Lower *lw, const char *path, Place place) {
    PersistUse *use = persist_find(lw, path);
    if (use == NULL) {
        return (Val){.kind = VAL_NONE};
    }
    if (lw->init_path) {
        Diag *diag = LW_REPORT(lw, INIT_RUN_TIME, place, lw->init_path);
        lower_note(lw, diag, use->place, "'%s' is declared here", path);
        return val_error();
    }
    return val_tensor(persist_current(lw, use, place), false, use->place);
}

void persist_write(Lower *lw, PersistUse *use, Value *value) {
    loop_thread(lw, use);
    use->value = value;
    use->written = true;
}

static Value *all_finite(Lower *lw, Value *x, Place place) {
    int64_t axes[TYPE_MAX_RANK];
    for (int32_t i = 0; i < x->type.rank; i++) {
        axes[i] = i;
    }
    lower_at(lw, place);
    Value *finite = lower_made(lw, b_unary(&lw->b, OP_isfinite, x), place);
    return finite && x->type.rank > 0
               ? lower_made(lw, b_reduce(&lw->b, OP_reduce_min, finite, axes, x->type.rank), place)
               : finite;
}

Value *persist_states_finite(Lower *lw, Place place) {
    Value *all = NULL;
    for (size_t i = 0; i < lw->fs->uses.count; i++) {
        const PersistUse *use = lw->fs->uses.entries[i].value;
        bool is_state = use->persist->kind == PERSIST_STATE && use->written && use->arg &&
                        use->value != use->arg && dtype_is_float(use->persist->type.dtype);
        const Op *made_by = use->value->op;
        Place at = made_by ? made_by->place : use->place;
        Value *one = is_state ? all_finite(lw, use->value, at) : NULL;
        lower_at(lw, place);
        all = all && one ? lower_made(lw, b_binary(&lw->b, OP_and, all, one), place)
              : one      ? one
                         : all;
    }
    return all;
}

Value *persist_guarded(Lower *lw, Value *test, Value *next, Value *old, Place place) {
    Value *wide = lower_expand(lw, test, old->type.dims, old->type.rank, place);
    lower_at(lw, place);
    return wide ? lower_made(lw, b_select(&lw->b, wide, next, old), place) : NULL;
}

/* Whether a shape can become another by repeating axes of size 1; unproved sizes may. */
static bool fits_shape(Lower *lw, Type have, Type want) {
    for (int32_t i = 0; i < have.rank && have.rank <= want.rank; i++) {
        const Size *size = have.dims[i], *wanted = want.dims[want.rank - have.rank + i];
        if (!size_is_one(size) && size_equal(lw->context, size, wanted) == TRUTH_NO) {
            return false;
        }
    }
    return have.rank <= want.rank;
}

/* A value made to fit a stored type: weak types adapt, numbers and scalars fill, unproved sizes are
 * checked. NULL after a report. */
static Value *fit_store(Lower *lw, const char *name, Type type, Place declared, Val value,
                        Place place) {
    DType dtype = DT_F32;
    bool weak = false;
    if (val_is_error(value) ||
        !common_dtype(lw, &value, 1, USE_SELECT, "`<-`", place, &dtype, &weak)) {
        return NULL;
    }
    bool converts = weak && dtype != DT_BOOL && type.dtype != DT_BOOL &&
                    (dtype_is_float(type.dtype) || dtype_is_integer(dtype));
    const Size *shape[TYPE_MAX_RANK];
    int32_t rank = 0;
    Value like = {.type = type};
    Val both[] = {val_tensor(&like, false, declared), value};
    bool fits = dtype == type.dtype || converts;
    if (fits && value.kind == VAL_TENSOR) {
        fits = fits_shape(lw, value.as.tensor->type, type);
    }
    if (fits && !common_shape(lw, both, 2, "`<-`", place, shape, &rank)) {
        return NULL;
    }
    fits = fits && rank == type.rank;
    if (!fits) {
        Diag *diag = LW_REPORT(lw, STORE_TYPE, place, name, type_text(lw->context, type),
                               val_describe(lw, value));
        lower_note(lw, diag, declared, "'%s' is declared here", name);
        if (dtype != type.dtype && !converts) {
            lower_help(lw, diag, "convert it: cast(x, %s)", dtype_name(type.dtype));
        }
        return NULL;
    }
    return lower_expand(lw, lower_as(lw, value, type.dtype, place), type.dims, type.rank, place);
}

static void store_param(Lower *lw, const AstStmt *stmt) {
    Frame *frame = lw->frame;
    Val value = lower_expr(lw, stmt->as.store.value);
    Value *next = fit_store(lw, "param", frame->opt_type, frame->call_place, value,
                            stmt->as.store.value->place);
    if (frame->opt_stored) {
        LW_REPORT(lw, OPTIMIZER_STORE, stmt->place, frame->fn_name);
        return;
    }
    frame->opt_stored = next;
}

void lower_store(Lower *lw, const AstStmt *stmt) {
    Frame *frame = lw->frame;
    const char *name = lower_path(lw, &stmt->as.store.target);
    if (name == NULL) {
        return;
    }
    if (frame->is_optimizer && strcmp(name, "param") == 0) {
        store_param(lw, stmt);
        return;
    }
    Binding *binding = scope_find(lw->scope, name, false);
    PersistUse *use = binding && binding->persist ? binding->persist : persist_find(lw, name);
    if (use == NULL && binding && val_is_error(binding->value)) {
        return;
    }
    if (use == NULL) {
        Diag *diag = LW_REPORT(lw, STORE_UNKNOWN, stmt->place, name);
        if (binding) {
            lower_note(lw, diag, binding->place, "'%s' is an ordinary name, bound here", name);
            lower_help(lw, diag, "`%s = …` binds a name; `state %s: [..] = …` declares state", name,
                       name);
        } else {
            lower_help(lw, diag, "declare it: state %s: [..] = zeros", name);
        }
        return;
    }
    if (use->persist->kind == PERSIST_PARAM) {
        Diag *diag = LW_REPORT(lw, STORE_PARAM, stmt->place, name);
        lower_note(lw, diag, use->place, "declared here");
        lower_help(lw, diag, "declare it `state` to store it yourself");
        return;
    }
    Val value = lower_expr(lw, stmt->as.store.value);
    Value *next =
        fit_store(lw, name, use->persist->type, use->place, value, stmt->as.store.value->place);
    if (next == NULL) {
        return;
    }
    if (lw->fs->loop && lw->fs->loop->in_condition) {
        LW_REPORT(lw, STATE_IN_CONDITION, stmt->place, "state");
        return;
    }
    if (!frame->is_optimizer && dtype_is_float(next->type.dtype)) {
        lower_at(lw, stmt->place);
        next = lower_made(lw, b_stop_gradient(&lw->b, next), stmt->place);
    }
    if (next) {
        persist_write(lw, use, next);
    }
}
