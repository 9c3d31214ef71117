/* Bodies that no call elaborates are elaborated once by their signature: each size is a dim of its
 * own, what only a call knows is unknown (VAL_ERROR, which stays silent), and of what the signature
 * leaves open in a few ways (element types of a class, the rank of `...`, bools, `training`) every
 * way is tried. Only what fails in all of them is told: such a body has no right call.
 *
 * Where elaboration takes a choice by what is known of a number or size, a trial takes none
 * (`el->trial` in elaborate/, builtin/), and kinds of errors that a known number could prevent
 * are left out (`told`). */
#include "frontend/check/check.h"

#include <string.h>

enum {
    MAX_TRIALS = 4000, /* of one function: more ways are not tried, and nothing is told */
    MAX_PARAMS = 64,
    MAX_RESTS = 8,
    /* Of one trial, and of all those of a program. */
    TRIAL_OPS = 20000,
    TRIAL_CALLS = 2000,
    TRIAL_STEPS = 100000,
    TRIAL_ITERATIONS = 2000,
    TRIAL_TEXT = ELABORATE_MAX_TEXT,
    ALL_OPS = 100000,
    ALL_CALLS = 40000,
    ALL_STEPS = 500000,
    ALL_TEXT = 4 << 20,
    ALL_BYTES = 32 << 20,
};

/* What is open, and which of its ways is tried. */
typedef struct Choice {
    int32_t count, at;
} Choice;

typedef struct Trial {
    const Fn *fn;
    const AstParams *params;
    Choice training, args[MAX_PARAMS], rests[MAX_RESTS];
    const char *rest_names[MAX_RESTS];
    int32_t n_rests;
} Trial;

/* Errors that no value of an unknown number or size could prevent. A `check` that always fails is
 * what its writer meant. */
static bool told(const Diag *diag) {
    static const DiagId ids[] = {
        DIAG_DTYPES_MIX,     DIAG_INTEGER_DIVISION,   DIAG_BOOL_ARITHMETIC, DIAG_NOT_COMPILE_TIME,
        DIAG_WRONG_KIND,     DIAG_ARG_TYPE,           DIAG_RESULT_TYPE,     DIAG_UNPACK_COUNT,
        DIAG_UNPACK_KIND,    DIAG_LIST_RAGGED,        DIAG_INDEX_RANGE,     DIAG_SLICE_RANGE,
        DIAG_INDEX_COUNT,    DIAG_CONDITION_KIND,     DIAG_OPERAND_KIND,    DIAG_GRAD_SCALAR,
        DIAG_GRAD_OF,        DIAG_STEP_RANGE,         DIAG_WRONG_DTYPE,     DIAG_SIZES_DIFFER,
        DIAG_BROADCAST,      DIAG_RANK_DIFFERS,       DIAG_ARG_SIZE,        DIAG_AXIS_RANGE,
        DIAG_AXIS_TWICE,     DIAG_AXES_OPERANDS,      DIAG_AXES_RANK,       DIAG_AXES_NEW_NAME,
        DIAG_AXES_REPEATED,  DIAG_AXES_SPLIT,         DIAG_AXES_BY,         DIAG_CARRY_TYPE,
        DIAG_AXES_SIZE,      DIAG_AXES_NOT_DIVISIBLE, DIAG_RESHAPE_COUNT,   DIAG_CONCAT_RANK,
        DIAG_MATMUL_RANK,    DIAG_RESULT_SIZE,        DIAG_RESULT_RANK,     DIAG_REST_DIFFERS,
        DIAG_LABEL_TWICE,    DIAG_PARAM_TWICE,        DIAG_STORE_TYPE,      DIAG_FIELD_UNKNOWN,
        DIAG_SHARED_UNKNOWN,
    };
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        if (ids[i] == diag->id) {
            return true;
        }
    }
    return false;
}

static const Size *fresh_size(Elaborator *el, const char *name, Place place) {
    return trial_size(el, name, name, 0, place);
}

/* -- what a parameter may be */

typedef struct Way {
    DType dtype;
    bool weak, is_default; /* the element type is the default float */
} Way;

static const Way ways[] = {
    {DT_F32, false, false}, {DT_F16, false, false}, {DT_BF16, false, false},
    {DT_F64, false, false}, {DT_F32, true, true},   {DT_I32, false, false},
    {DT_I64, false, false}, {DT_U8, false, false},  {DT_I8, false, false},
    {DT_I32, true, false},  {DT_I64, true, false},  {DT_BOOL, false, false},
    {DT_BOOL, true, false},
};
enum { FLOAT_WAYS = 5, INT_WAYS = 6, ALL_WAYS = sizeof(ways) / sizeof(ways[0]) };

static bool is_class(const AstType *type, const char *name) {
    return type->element && strcmp(type->element, name) == 0;
}

/* The ways of a type of tensors, or of `float`: out of the table, or one element type. */
static int32_t element_ways(const AstType *type) {
    return is_class(type, "float") ? FLOAT_WAYS
           : is_class(type, "int") ? INT_WAYS
           : is_class(type, "any") ? ALL_WAYS
                                   : 2; /* declared, and a weak one of the same */
}

static Way element_way(Elaborator *el, const AstType *type, int32_t at) {
    DType dtype = elaborate_float(el);
    if (is_class(type, "float") || is_class(type, "any") || is_class(type, "int")) {
        Way way = ways[is_class(type, "int") ? FLOAT_WAYS + at : at];
        way.dtype = way.is_default ? elaborate_float(el) : way.dtype;
        return way;
    }
    if (type->element) {
        dtype_from_name(type->element, &dtype);
    }
    return (Way){.dtype = dtype, .weak = at == 1};
}

/* `x: … = none`: the argument may be absent. */
static bool may_be_absent(const AstParam *param) {
    const AstExpr *fallback = param->fallback;
    return fallback && fallback->kind == AST_NAME && strcmp(fallback->as.name, "none") == 0;
}

static int32_t param_ways(const AstParam *param) {
    const AstType *type = param->type;
    int32_t count = 1;
    if (type && type->kind == AST_TYPE_TENSOR) {
        count = element_ways(type);
    } else if (type && type->kind == AST_TYPE_BARE) {
        count = is_class(type, "float") ? FLOAT_WAYS : is_class(type, "bool") ? 2 : 1;
    }
    return count + (type && may_be_absent(param));
}

static int32_t rest_index(const Trial *trial, const char *name) {
    for (int32_t i = 0; i < trial->n_rests; i++) {
        if (trial->rest_names[i] == name) {
            return i;
        }
    }
    return -1;
}

/* False: the signature leaves too much open. */
static bool read_choices(Trial *trial) {
    trial->training.count = 2;
    for (int32_t i = 0; i < trial->params->count; i++) {
        const AstParam *param = &trial->params->items[i];
        if (i == MAX_PARAMS) {
            return false;
        }
        trial->args[i].count = param_ways(param);
        bool rest =
            param->type && param->type->kind == AST_TYPE_TENSOR && type_has_rest(param->type);
        const char *name = rest ? param->type->sizes.items[0].rest_name : NULL;
        int32_t ranks = rest ? TYPE_MAX_RANK + 2 - param->type->sizes.count : 0;
        int32_t at = rest ? rest_index(trial, name) : -1;
        if (rest && at < 0) {
            at = trial->n_rests;
            if (at == MAX_RESTS) {
                return false;
            }
            trial->rest_names[trial->n_rests++] = name;
            trial->rests[at].count = ranks;
        }
        if (rest && ranks < trial->rests[at].count) {
            trial->rests[at].count = ranks;
        }
    }
    return true;
}

static int64_t all_trials(const Trial *trial) {
    int64_t all = trial->training.count;
    for (int32_t i = 0; i < trial->params->count && all <= MAX_TRIALS; i++) {
        all *= trial->args[i].count;
    }
    for (int32_t i = 0; i < trial->n_rests && all <= MAX_TRIALS; i++) {
        all *= trial->rests[i].count;
    }
    return all;
}

static bool next_way(Choice *choice) {
    choice->at = choice->at + 1 < choice->count ? choice->at + 1 : 0;
    return choice->at > 0;
}

static bool next_trial(Trial *trial) {
    for (int32_t i = 0; i < trial->params->count; i++) {
        if (next_way(&trial->args[i])) {
            return true;
        }
    }
    for (int32_t i = 0; i < trial->n_rests; i++) {
        if (next_way(&trial->rests[i])) {
            return true;
        }
    }
    return next_way(&trial->training);
}

/* -- arguments */

static bool is_param(const AstParams *params, const char *name) {
    bool found = false;
    for (int32_t i = 0; i < params->count && !found; i++) {
        found = params->items[i].name.text == name;
    }
    return found;
}

/* Sizes that stand bare in the types of parameters, as bind_sizes binds them. */
static void bind_dims(Elaborator *el, const AstParams *params, const AstType *type) {
    for (int32_t i = 0; i < type->sizes.count; i++) {
        const AstSize *size = &type->sizes.items[i];
        const char *name = size->expr && size->expr->kind == AST_NAME ? size->expr->as.name : NULL;
        if (name == NULL || is_param(params, name) || scope_find(el->scope, name, true)) {
            continue;
        }
        const Global *global = env_find(el, el->frame->env, NAMES_VALUE, name, size->place);
        if (global == NULL || global->kind != GLOBAL_CONST) {
            Val value = val_size(fresh_size(el, name, size->place), size->place);
            scope_define(el, el->scope, name, value, size->place);
        }
    }
}

/* A tensor of the declared type. Its rank is that of this trial. */
static Val tensor_argument(Elaborator *el, const AstParam *param, Way way) {
    Trial *trial = el->trial;
    const AstType *type = param->type;
    const Size *dims[TYPE_MAX_RANK];
    int32_t rank = 0, rest = 0;
    for (int32_t i = 0; i < type->sizes.count; i++) {
        const AstSize *size = &type->sizes.items[i];
        if (size->is_rest) {
            /* One axis first, then two …, none. */
            const Choice *choice = &trial->rests[rest_index(trial, size->rest_name)];
            rest = (choice->at + 1) % choice->count;
            for (int32_t k = 0; k < rest; k++) {
                const char *name = arena_format(
                    el->arena, "%s_%d", size->rest_name[0] ? size->rest_name : "axis", (int)k);
                dims[rank++] = fresh_size(el, name, size->place);
            }
            continue;
        }
        Val value = elaborate_expr(el, size->expr);
        if (rank == TYPE_MAX_RANK) {
            return val_error();
        }
        if (!val_as_size(el, value, &dims[rank])) {
            dims[rank] = fresh_size(el, expr_source(el, size->expr), size->place);
        }
        rank++;
    }
    Type made = type_make(el->context, way.dtype, rank, dims);
    Value *arg = func_add_arg(el->fs->func, ARG_INPUT, param->name.text, made, param->name.place);
    Val value = val_tensor(arg, way.weak, param->name.place);
    if (type_has_rest(type)) {
        rest_bind(el, type, param->name.text, "", &value, param->name.place);
    }
    return value;
}

static Val bare_argument(Elaborator *el, const AstParam *param, int32_t at) {
    const AstType *type = param->type;
    AstName name = param->name;
    if (is_class(type, "int")) {
        const char *key = arena_format(el->arena, "int %s", name.text);
        return val_size(trial_size(el, key, name.text, INT64_MIN, name.place), name.place);
    }
    if (is_class(type, "bool")) {
        bool first = param->fallback && param->fallback->kind == AST_BOOL &&
                     param->fallback->as.integer != 0;
        return val_bool(first == (at == 0), name.place);
    }
    if (is_class(type, "float")) {
        Way way = element_way(el, type, at);
        Value *arg =
            func_add_arg(el->fs->func, ARG_INPUT, name.text, type_scalar(way.dtype), name.place);
        return val_tensor(arg, way.weak, name.place);
    }
    return val_error();
}

static Val argument(Elaborator *el, const AstParam *param, int32_t at) {
    const AstType *type = param->type;
    if (type == NULL) {
        return val_error();
    }
    if (may_be_absent(param) && at + 1 == param_ways(param)) {
        return (Val){.kind = VAL_NONE, .place = param->name.place};
    }
    switch (type->kind) {
    case AST_TYPE_FN:
        return val_fn(el, FN_UNKNOWN, param->name.text, param->name.place);
    case AST_TYPE_BARE:
        return bare_argument(el, param, at);
    case AST_TYPE_TENSOR:
        return tensor_argument(el, param, element_way(el, type, at));
    case AST_TYPE_TUPLE:
        break;
    }
    return val_error();
}

/* Compile-time arguments first: the shapes of tensors may use them. */
static void bind_arguments(Elaborator *el) {
    Trial *trial = el->trial;
    const AstParams *params = trial->params;
    for (int32_t i = 0; i < params->count; i++) {
        if (params->items[i].type) {
            bind_dims(el, params, params->items[i].type);
        }
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t i = 0; i < params->count; i++) {
            const AstParam *param = &params->items[i];
            bool tensor = param->type && param->type->kind == AST_TYPE_TENSOR;
            if (tensor == (pass == 1)) {
                scope_define(el, el->scope, param->name.text,
                             argument(el, param, trial->args[i].at), param->name.place);
            }
        }
    }
}

/* -- one trial */

static void elaborate(Elaborator *el) {
    const Fn *fn = el->trial->fn;
    const AstDecl *decl = fn->decl;
    Frame *frame = ARENA_NEW(el->arena, Frame);
    *frame = (Frame){.fn_name = fn->name,
                     .call_place = decl->place,
                     .env = fn->env,
                     .path = "",
                     .result_type = decl->as.fn.result};
    frame->labels = ARENA_NEW(el->arena, Map);
    map_init(frame->labels, el->arena);
    el->frame = frame;
    el->scope = NULL;
    frame->scope = scope_push(el, true);
    bind_arguments(el);
    elaborate_stmts(el, &decl->as.fn.body);
    if (frame->returned) {
        check_result(el, decl->as.fn.result, frame->result, fn->name, frame->result_place);
    }
    elaborate_diag_close(el);
}

/* What all trials together may still use. */
typedef struct Budget {
    int64_t ops, calls, steps, text;
    size_t bytes; /* taken before the first */
} Budget;

static const Budget whole_budget = {
    .ops = ALL_OPS, .calls = ALL_CALLS, .steps = ALL_STEPS, .text = ALL_TEXT};

static size_t bytes_taken(const Elaborator *el, const Module *module) {
    return el->arena->total + (module ? module->arena.total : 0);
}

static bool is_spent(const Elaborator *el, const Module *module, const Budget *budget) {
    return bytes_taken(el, module) - budget->bytes > ALL_BYTES || budget->ops <= 0 ||
           budget->calls <= 0 || budget->steps <= 0 || budget->text <= 0;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The errors of one trial that are told. The state of elaboration is as before. */
static DiagList run_trial(Elaborator *el, Trial *trial, Module *module, Budget *budget) {
    Context *context = el->context;
    Elaborator before = *el;
    DiagList diags = context->diags, found;
    int64_t ops = least(TRIAL_OPS, budget->ops), calls = least(TRIAL_CALLS, budget->calls);
    int64_t steps = least(TRIAL_STEPS, budget->steps), text = least(TRIAL_TEXT, budget->text);
    diag_list_init(&context->diags, el->arena);
    context->diags.is_trial = true; /* should memory or time end here */
    el->module = module;
    el->trial = trial;
    el->train = NULL;
    el->persists_closed = false;
    el->dim_values = NULL;
    map_init(&el->persists, el->arena);
    map_init(&el->slots, el->arena);
    el->init = func_create(module, "init", PURPOSE_INIT);
    el->init_seed = func_add_arg(el->init, ARG_SCALAR, "seed", type_scalar(DT_I64), (Place){0});
    memset(&el->init_results, 0, sizeof el->init_results);
    memset(&el->init_values, 0, sizeof el->init_values);
    func_state_new(el, trial->fn->name, PURPOSE_INFER);
    el->training = trial->training.at == 1;
    /* The limits of a program, with so much left. */
    el->n_ops = ELABORATE_MAX_OPS - ops;
    el->n_calls = ELABORATE_MAX_ALL_CALLS - calls;
    el->n_iterations = ELABORATE_MAX_ITERATIONS - TRIAL_ITERATIONS;
    el->n_text = ELABORATE_MAX_ALL_TEXT - text;
    el->trial_steps = steps;
    el->trial_partial = false;
    elaborate(el);
    budget->ops -= el->n_ops - (ELABORATE_MAX_OPS - ops);
    budget->calls -= 1 + el->n_calls - (ELABORATE_MAX_ALL_CALLS - calls);
    budget->text -= el->n_text - (ELABORATE_MAX_ALL_TEXT - text);
    budget->steps -=
        steps - el->trial_steps + el->n_iterations - (ELABORATE_MAX_ITERATIONS - TRIAL_ITERATIONS);
    *el = before;
    found = context->diags;
    context->diags = diags;
    size_t kept = 0;
    for (size_t i = 0; i < found.count; i++) {
        if (told(found.items[i])) {
            found.items[kept++] = found.items[i];
        }
    }
    found.count = kept;
    return found;
}

static bool same_fault(const Diag *a, const Diag *b) {
    return a->id == b->id && a->place.source == b->place.source && a->place.line == b->place.line &&
           a->place.column == b->place.column;
}

/* Keeps what the other list has too. */
static void intersect(DiagList *list, const DiagList *other) {
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        bool both = false;
        for (size_t k = 0; k < other->count && !both; k++) {
            both = same_fault(list->items[i], other->items[k]);
        }
        if (both) {
            list->items[kept++] = list->items[i];
        }
    }
    list->count = kept;
}

static void try_function(Elaborator *el, const Fn *fn, Module *module, Budget *budget) {
    Trial trial = {.fn = fn, .params = &fn->decl->as.fn.params};
    if (!read_choices(&trial)) {
        return;
    }
    DiagList found = run_trial(el, &trial, module, budget);
    Diag *first = found.count > 0 ? found.items[0] : NULL;
    bool fails = first && all_trials(&trial) <= MAX_TRIALS;
    while (fails && next_trial(&trial)) {
        DiagList other = run_trial(el, &trial, module, budget);
        intersect(&found, &other);
        fails = other.count > 0 && !is_spent(el, module, budget);
    }
    if (fails && found.count == 0) { /* each way has a fault of its own: that of the first */
        VEC_PUSH(el->arena, &found, first);
    }
    for (size_t i = 0; i < found.count && fails; i++) {
        Diag *diag = found.items[i];
        diag_note(&el->context->diags, diag, fn->decl->place,
                  "nothing calls '%s', but no call of it can be right", fn->name);
        diag_take(&el->context->diags, diag);
    }
}

/* Dims of the program keep their numbers: sizes of both meet. */
static Module *trial_module(Elaborator *el) {
    Module *module = module_create(el->context, "trial");
    int32_t count = el->module->n_dims, room = 4;
    while (room < count) {
        room *= 2;
    }
    if (count > 0) {
        module->dims = ARENA_ARRAY(el->arena, const Dim *, room);
        memcpy(module->dims, el->module->dims, (size_t)count * sizeof module->dims[0]);
        module->n_dims = count;
    }
    return module;
}

/* All functions of one file or of the library: what is made for trials is kept from one to the
 * next. */
typedef struct Trials {
    Elaborator *el;
    Module *module; /* NULL: none was made yet */
    Budget budget;
    bool is_test;
} Trials;

static void try_global(Trials *trials, const Global *global) {
    Elaborator *el = trials->el;
    if (trials->is_test) { /* each may use what a program may */
        trials->budget = whole_budget;
        trials->budget.bytes = bytes_taken(el, trials->module);
    }
    if (global->kind != GLOBAL_FN || is_spent(el, trials->module, &trials->budget) ||
        el->context->diags.n_errors >= DIAG_MAX_ERRORS) {
        return;
    }
    const Fn *fn = find_function(el, global->env, global->name, global->place);
    if (!fn->elaborated || trials->is_test) {
        trials->module = trials->module ? trials->module : trial_module(el);
        try_function(el, fn, trials->module, &trials->budget);
    }
}

void check_shapes(Elaborator *el, bool is_test) {
    Trials trials = {.el = el, .budget = whole_budget, .is_test = is_test};
    const Map *own = &el->library->own[NAMES_FN];
    trials.budget.bytes = bytes_taken(el, NULL);
    const Boundary *boundary = el->context->boundary;
    if (boundary->bytes_limit > 0 &&
        boundary->bytes_limit - boundary->bytes < 2 * (size_t)ALL_BYTES) {
        return; /* what is left is for the program */
    }
    Map dims;
    map_init(&dims, el->arena);
    el->trial_dims = &dims;
    for (size_t i = 0; is_test && i < own->count; i++) {
        try_global(&trials, own->entries[i].value);
    }
    for (size_t i = 0; i < el->globals.count; i++) {
        try_global(&trials, el->globals.items[i]);
    }
    el->trial_dims = NULL;
    module_destroy(trials.module);
}
