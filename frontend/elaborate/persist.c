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
static Val call_initialiser(Elaborator *el, Fn *fn, Type type, Place place) {
    Arg items[2];
    Val shape = val_list(el, VAL_LIST, type.rank, place);
    for (int32_t i = 0; i < type.rank; i++) {
        shape.as.list.items[i] = val_size(type.dims[i], place);
    }
    Args args = {.items = items, .count = 1};
    items[0] = (Arg){.value = shape, .place = place};
    if (fn_takes(fn, "dtype", false)) {
        Val dtype = {.kind = VAL_DTYPE, .place = place, .as.dtype = type.dtype};
        items[args.count++] =
            (Arg){.name = context_intern(el->context, "dtype"), .value = dtype, .place = place};
    }
    CallSite site = {.place = place};
    return call_fn(el, fn, args, site);
}

/* The value of an initial expression: an initialiser's result or an ordinary value. */
static Val initial_value(Elaborator *el, const AstExpr *expr, Type type) {
    while (expr->kind == AST_PAREN) {
        expr = expr->as.inner;
    }
    Fn *fn = NULL;
    if (expr->kind == AST_CONDITIONAL) {
        bool chosen = false;
        Val condition = elaborate_expr(el, expr->as.conditional.condition);
        if (!need_bool(el, condition, "a condition", expr->place, &chosen)) {
            return val_error();
        }
        return initial_value(
            el, chosen ? expr->as.conditional.then : expr->as.conditional.otherwise, type);
    }
    if (expr->kind == AST_NAME) {
        Binding *binding = scope_find(el->scope, expr->as.name, false);
        if (binding == NULL) {
            fn = find_function(el, el->frame->env, expr->as.name, expr->place);
        }
    }
    if (expr->kind == AST_CALL && expr->as.call.piped == NULL) {
        Fn *callee = elaborate_callee(el, expr->as.call.callee);
        if (callee == NULL) {
            return val_error();
        }
        if (fn_takes(callee, "shape", true)) {
            Val partial = elaborate_fn_argument(el, expr);
            return val_is_error(partial) ? partial
                                         : call_initialiser(el, partial.as.fn, type, expr->place);
        }
    }
    Val value = val_error();
    if (fn == NULL) {
        value = elaborate_expr(el, expr);
        fn = value.kind == VAL_FN ? value.as.fn : NULL;
    }
    return fn ? call_initialiser(el, fn, type, expr->place) : value;
}

Value *elaborate_initial(Elaborator *el, const AstExpr *expr, Type type, const char *what,
                         Place place) {
    (void)place;
    Val value = initial_value(el, expr, type);
    Value *tensor = NULL;
    if (value.kind == VAL_TENSOR) {
        DType have = value.as.tensor->type.dtype;
        bool fits = have == type.dtype ||
                    (value.weak && (dtype_is_float(type.dtype) || dtype_is_integer(have)));
        if (!fits) {
            Diag *diag = EL_REPORT(el, WRONG_DTYPE, expr->place,
                                   arena_format(el->arena, "the initial value of '%s'", what),
                                   dtype_name(type.dtype), dtype_name(have));
            elaborate_help(el, diag, "convert it: cast(x, %s)", dtype_name(type.dtype));
            return NULL;
        }
        tensor = elaborate_as(el, value, type.dtype, expr->place);
    } else if (value.kind == VAL_FLOAT && !dtype_is_float(type.dtype)) {
        EL_REPORT(el, WRONG_DTYPE, expr->place,
                  arena_format(el->arena, "the initial value of '%s'", what),
                  dtype_name(type.dtype), "a fraction");
        return NULL;
    } else if (val_is_number(value) || value.kind == VAL_BOOL || value.kind == VAL_LIST) {
        tensor = elaborate_as(el, value, type.dtype, expr->place);
    } else if (!val_is_error(value)) {
        EL_REPORT(el, WRONG_KIND, expr->place,
                  arena_format(el->arena, "the initial value of '%s'", what), "numbers",
                  val_describe(el, value));
    }
    if (tensor == NULL) {
        return NULL;
    }
    Val wanted = val_tensor(tensor, false, expr->place);
    const Size *shape[TYPE_MAX_RANK];
    int32_t rank = 0;
    Value like = {.type = type};
    Val both[] = {val_tensor(&like, false, place), wanted};
    if (!common_shape(el, both, 2, what, expr->place, shape, &rank)) {
        return NULL;
    }
    bool same = rank == type.rank;
    for (int32_t i = 0; same && i < rank; i++) {
        same = size_equal(el->context, shape[i], type.dims[i]) != TRUTH_NO;
    }
    if (!same) {
        EL_REPORT(el, STORE_TYPE, expr->place, what, type_text(el->context, type),
                  type_text(el->context, tensor->type));
        return NULL;
    }
    return elaborate_expand(el, tensor, type.dims, type.rank, expr->place);
}

/* Makes the initial value of `persist` the one given, in the init Func. */
static void init_with(Elaborator *el, const Persist *persist, Value *value) {
    if (value) {
        const Value *target = func_add_arg(el->init, kind_role(persist->kind), persist->path,
                                           persist->type, persist->place);
        FuncResult result = {.role = RESULT_STORE, .name = persist->path, .arg = target->index};
        VEC_PUSH(el->arena, &el->init_results, result);
        VEC_PUSH(el->arena, &el->init_values, value);
    }
}

void persist_init_number(Elaborator *el, Persist *persist, double number) {
    Builder b = builder_at_end(el->init, el->init->body);
    b.soft = true;
    init_with(el, persist, b_constant(&b, number, persist->type));
}

void persist_init(Elaborator *el, Persist *persist, const AstExpr *expr, const char *copy_of) {
    Builder outside = el->b;
    const char *outer_path = el->init_path;
    Value *value = NULL;
    el->b = builder_at_end(el->init, el->init->body);
    el->b.soft = true;
    el->init_path = persist->path;
    if (copy_of) {
        for (size_t i = 0; i < el->init_results.count; i++) {
            if (strcmp(el->init_results.items[i].name, copy_of) == 0) {
                value = el->init_values.items[i];
            }
        }
    } else {
        value = elaborate_initial(el, expr, persist->type, persist->path, persist->place);
    }
    el->init_path = outer_path;
    el->b = outside;
    init_with(el, persist, value);
}

/* -- declaring */

static bool check_redeclared(Elaborator *el, PersistUse *use, PersistKind kind, const char *path,
                             Type type, Place place) {
    Persist *persist = use->persist;
    bool same_type = type_equal(persist->type, type);
    if (el->frame->shared && (!same_type || persist->kind != kind)) {
        Diag *diag = EL_REPORT(el, SHARED_TYPE, place, path, type_text(el->context, persist->type),
                               type_text(el->context, type));
        elaborate_note(el, diag, persist->place, "declared here, by the call that it shares");
        return false;
    }
    if (!el->frame->shared && use->declared) {
        Diag *diag = EL_REPORT(el, PARAM_TWICE, place, path);
        elaborate_note(el, diag, use->place, "first declared here");
        elaborate_help(el, diag,
                       "label the calls apart: f(x) as a, f(y) as b; or share: as shared a");
        return false;
    }
    return true;
}

static Persist *persist_make(Elaborator *el, PersistKind kind, const char *path, Type type,
                             const AstExpr *init, Place place) {
    Persist *persist = ARENA_NEW(el->arena, Persist);
    *persist = (Persist){.path = path, .kind = kind, .type = type, .place = place};
    map_set(kind == PERSIST_SLOT ? &el->slots : &el->persists, path, persist);
    if (init == NULL) {
        Diag *diag = EL_REPORT(el, PARAM_INIT, place, path);
        elaborate_help(el, diag, "e.g. = zeros, or = normal(0, 0.02)");
        return persist;
    }
    persist_init(el, persist, init, NULL);
    return persist;
}

PersistUse *persist_declare(Elaborator *el, PersistKind kind, const char *path, Type type,
                            const AstExpr *init, Place place) {
    FuncState *fs = el->fs;
    PersistUse *use = map_get(&fs->uses, path);
    if (use) {
        if (!check_redeclared(el, use, kind, path, type, place)) {
            return NULL;
        }
    } else if (el->frame->shared) {
        Diag *diag = EL_REPORT(el, SHARED_NEW, place, path);
        elaborate_help(el, diag, "the two calls must make the same parameters");
        return NULL;
    }
    Persist *persist = map_get(kind == PERSIST_SLOT ? &el->slots : &el->persists, path);
    if (persist == NULL && el->persists_closed && kind != PERSIST_CACHE) {
        EL_REPORT(el, ENTRY_NEW_PARAM, place, el->fs->func->name, path);
        return NULL;
    }
    if (persist == NULL) {
        persist = persist_make(el, kind, path, type, init, place);
    } else if (persist->kind != kind || !type_equal(persist->type, type)) {
        Diag *diag = EL_REPORT(
            el, PARAM_DIFFERS, place, path,
            arena_format(el->arena, "%s %s", kind_text(kind), type_text(el->context, type)),
            arena_format(el->arena, "%s %s", kind_text(persist->kind),
                         type_text(el->context, persist->type)));
        elaborate_note(el, diag, persist->place, "declared here before");
        return NULL;
    }
    if (use == NULL) {
        use = ARENA_NEW(el->arena, PersistUse);
        use->persist = persist;
        use->arg =
            func_add_arg(fs->func, kind_role(kind), path, type, elaborate_user_place(el, place));
        use->value = use->arg;
        map_set(&fs->uses, path, use);
    }
    if (!use->declared) {
        use->place = elaborate_user_place(el, place);
        use->declared = true;
    }
    return use;
}

static const char *slot_path(Elaborator *el, const char *name) {
    return context_internf(el->context, "%s#%s", el->frame->opt_path, name);
}

AstName declared_name(const AstStmt *stmt) {
    AstName local = stmt->as.declare.local;
    const AstPath *parts = &stmt->as.declare.path;
    if (local.text == NULL && parts->count == 1 && parts->items[0].kind == AST_PATH_NAME) {
        local = (AstName){.text = parts->items[0].name, .place = parts->items[0].place};
    }
    return local;
}

void elaborate_declare(Elaborator *el, const AstStmt *stmt) {
    PersistKind kind = stmt->kind == AST_STMT_PARAM   ? PERSIST_PARAM
                       : stmt->kind == AST_STMT_STATE ? PERSIST_STATE
                                                      : PERSIST_CACHE;
    Frame *frame = el->frame;
    AstName local = declared_name(stmt);
    if (el->trial && local.text) { /* where the type or path is not known */
        scope_bind(el, local.text, val_error(), local.place);
    }
    if (el->fs == NULL || el->init_path) {
        EL_REPORT(el, MISPLACED, stmt->place,
                  "parameters and state stand only in what a model calls");
        return;
    }
    const char *name = elaborate_path(el, &stmt->as.declare.path);
    Type type = {0};
    if (name == NULL) {
        return;
    }
    if (frame->is_optimizer && kind != PERSIST_STATE) {
        EL_REPORT(el, MISPLACED, stmt->place, "an optimizer declares only `state`");
        return;
    }
    if (stmt->as.declare.type == NULL) {
        if (!frame->is_optimizer) {
            EL_REPORT(el, PARAM_TYPE, stmt->place, name);
            return;
        }
        type = frame->opt_type;
    } else if (stmt->as.declare.type->kind != AST_TYPE_TENSOR) {
        EL_REPORT(el, PARAM_TYPE, stmt->as.declare.type->place, name);
        return;
    } else if (!elaborate_type(el, stmt->as.declare.type, &type)) {
        return;
    }
    if (kind == PERSIST_PARAM && !dtype_is_float(type.dtype)) {
        Diag *diag = EL_REPORT(el, WRONG_DTYPE, stmt->place, "a parameter", "floats",
                               dtype_name(type.dtype));
        elaborate_help(el, diag, "what is not trained is a `state`");
        return;
    }
    if (frame->is_optimizer) { /* read and stored by slot_path */
        persist_declare(el, PERSIST_SLOT, slot_path(el, name), type, stmt->as.declare.init,
                        stmt->place);
        return;
    }
    const char *path = context_intern(el->context, join_path(el, frame_path(el, frame), name));
    PersistUse *use = persist_declare(el, kind, path, type, stmt->as.declare.init, stmt->place);
    /* A plain name (or the one given with `as`) now stands for the current value; it may hide an
     * argument, as in `if bias { param bias … }`. */
    if (local.text) {
        scope_bind(el, local.text, val_error(), local.place);
        scope_find(el->scope, local.text, true)->persist = use;
    }
}

/* -- reading and storing */

PersistUse *persist_find(Elaborator *el, const char *name) {
    Frame *frame = el->frame;
    if (el->fs == NULL || frame == NULL) {
        return NULL;
    }
    if (frame->is_optimizer) {
        return map_get(&el->fs->uses, slot_path(el, name));
    }
    while (frame->splice && frame->path == NULL) {
        frame = frame->caller;
    }
    if (frame->path == NULL) {
        return NULL;
    }
    PersistUse *use = map_get(&el->fs->uses, join_path(el, frame->path, name));
    return use && use->declared ? use : NULL;
}

Value *persist_current(Elaborator *el, PersistUse *use, Place place) {
    if (use->persist->kind == PERSIST_PARAM) {
        return use->value;
    }
    if (el->fs->loop && el->fs->loop->in_condition) {
        EL_REPORT(el, STATE_IN_CONDITION, place, "state");
        return NULL;
    }
    loop_thread(el, use);
    return use->value;
}

Val persist_read(Elaborator *el, const char *path, Place place) {
    PersistUse *use = persist_find(el, path);
    if (use == NULL) {
        return (Val){.kind = VAL_NONE};
    }
    if (el->init_path) {
        Diag *diag = EL_REPORT(el, INIT_RUN_TIME, place, el->init_path);
        elaborate_note(el, diag, use->place, "'%s' is declared here", path);
        return val_error();
    }
    return val_tensor(persist_current(el, use, place), false, use->place);
}

void persist_write(Elaborator *el, PersistUse *use, Value *value) {
    loop_thread(el, use);
    use->value = value;
    use->written = true;
}

static Value *all_finite(Elaborator *el, Value *x, Place place) {
    int64_t axes[TYPE_MAX_RANK];
    for (int32_t i = 0; i < x->type.rank; i++) {
        axes[i] = i;
    }
    elaborate_at(el, place);
    Value *finite = elaborate_made(el, b_unary(&el->b, OP_isfinite, x), place);
    return finite && x->type.rank > 0
               ? elaborate_made(el, b_reduce(&el->b, OP_reduce_min, finite, axes, x->type.rank),
                                place)
               : finite;
}

Value *persist_states_finite(Elaborator *el, Place place) {
    Value *all = NULL;
    for (size_t i = 0; i < el->fs->uses.count; i++) {
        const PersistUse *use = el->fs->uses.entries[i].value;
        bool is_state = use->persist->kind == PERSIST_STATE && use->written && use->arg &&
                        use->value != use->arg && dtype_is_float(use->persist->type.dtype);
        const Op *made_by = use->value->op;
        Place at = made_by ? made_by->place : use->place;
        Value *one = is_state ? all_finite(el, use->value, at) : NULL;
        elaborate_at(el, place);
        all = all && one ? elaborate_made(el, b_binary(&el->b, OP_and, all, one), place)
              : one      ? one
                         : all;
    }
    return all;
}

Value *persist_guarded(Elaborator *el, Value *test, Value *next, Value *old, Place place) {
    Value *wide = elaborate_expand(el, test, old->type.dims, old->type.rank, place);
    elaborate_at(el, place);
    return wide ? elaborate_made(el, b_select(&el->b, wide, next, old), place) : NULL;
}

/* Whether a shape can become another by repeating axes of size 1; unproved sizes may. */
static bool fits_shape(Elaborator *el, Type have, Type want) {
    for (int32_t i = 0; i < have.rank && have.rank <= want.rank; i++) {
        const Size *size = have.dims[i], *wanted = want.dims[want.rank - have.rank + i];
        if (!size_is_one(size) && size_equal(el->context, size, wanted) == TRUTH_NO) {
            return false;
        }
    }
    return have.rank <= want.rank;
}

/* A value made to fit a stored type: weak types adapt, numbers and scalars fill, unproved sizes are
 * checked. NULL after a report. */
static Value *fit_store(Elaborator *el, const char *name, Type type, Place declared, Val value,
                        Place place) {
    DType dtype = DT_F32;
    bool weak = false;
    if (val_is_error(value) ||
        !common_dtype(el, &value, 1, USE_SELECT, "`<-`", place, &dtype, &weak)) {
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
        fits = fits_shape(el, value.as.tensor->type, type);
    }
    if (fits && !common_shape(el, both, 2, "`<-`", place, shape, &rank)) {
        return NULL;
    }
    fits = fits && rank == type.rank;
    if (!fits) {
        Diag *diag = EL_REPORT(el, STORE_TYPE, place, name, type_text(el->context, type),
                               val_describe(el, value));
        elaborate_note(el, diag, declared, "'%s' is declared here", name);
        if (dtype != type.dtype && !converts) {
            elaborate_help(el, diag, "convert it: cast(x, %s)", dtype_name(type.dtype));
        }
        return NULL;
    }
    return elaborate_expand(el, elaborate_as(el, value, type.dtype, place), type.dims, type.rank,
                            place);
}

static void store_param(Elaborator *el, const AstStmt *stmt) {
    Frame *frame = el->frame;
    Val value = elaborate_expr(el, stmt->as.store.value);
    Value *next = fit_store(el, "param", frame->opt_type, frame->call_place, value,
                            stmt->as.store.value->place);
    if (frame->opt_stored) {
        EL_REPORT(el, OPTIMIZER_STORE, stmt->place, frame->fn_name);
        return;
    }
    frame->opt_stored = next;
}

void elaborate_store(Elaborator *el, const AstStmt *stmt) {
    Frame *frame = el->frame;
    const char *name = elaborate_path(el, &stmt->as.store.target);
    if (name == NULL) {
        return;
    }
    if (frame->is_optimizer && strcmp(name, "param") == 0) {
        store_param(el, stmt);
        return;
    }
    Binding *binding = scope_find(el->scope, name, false);
    PersistUse *use = binding && binding->persist ? binding->persist : persist_find(el, name);
    if (use == NULL && binding && val_is_error(binding->value)) {
        return;
    }
    if (use == NULL) {
        Diag *diag = EL_REPORT(el, STORE_UNKNOWN, stmt->place, name);
        if (binding) {
            elaborate_note(el, diag, binding->place, "'%s' is an ordinary name, bound here", name);
            elaborate_help(el, diag, "`%s = …` binds a name; `state %s: [..] = …` declares state",
                           name, name);
        } else {
            elaborate_help(el, diag, "declare it: state %s: [..] = zeros", name);
        }
        return;
    }
    if (use->persist->kind == PERSIST_PARAM) {
        Diag *diag = EL_REPORT(el, STORE_PARAM, stmt->place, name);
        elaborate_note(el, diag, use->place, "declared here");
        elaborate_help(el, diag, "declare it `state` to store it yourself");
        return;
    }
    Val value = elaborate_expr(el, stmt->as.store.value);
    Value *next =
        fit_store(el, name, use->persist->type, use->place, value, stmt->as.store.value->place);
    if (next == NULL) {
        return;
    }
    if (el->fs->loop && el->fs->loop->in_condition) {
        EL_REPORT(el, STATE_IN_CONDITION, stmt->place, "state");
        return;
    }
    if (!frame->is_optimizer && dtype_is_float(next->type.dtype)) {
        elaborate_at(el, stmt->place);
        next = elaborate_made(el, b_stop_gradient(&el->b, next), stmt->place);
    }
    if (next) {
        persist_write(el, use, next);
    }
}
