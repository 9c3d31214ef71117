/* One Func under construction: its inputs, its results, and what no result needs taken out again.
 */
#include "frontend/elaborate/elaborate.h"
#include <string.h>

FuncState *func_state_new(Elaborator *el, const char *name, Purpose purpose) {
    FuncState *fs = ARENA_NEW(el->arena, FuncState);
    fs->func = func_create(el->module, name, purpose);
    fs->purpose = purpose;
    map_init(&fs->uses, el->arena);
    map_init(&fs->scalars, el->arena);
    map_init(&fs->ordinals, el->arena);
    el->fs = fs;
    el->n_iterations = el->n_ops = 0; /* the limits are each Func's */
    el->training = purpose == PURPOSE_TRAIN;
    el->b = builder_at_end(fs->func, fs->func->body);
    el->b.soft = true;
    el->b.precision = compute_precision(el);
    return fs;
}

void func_state_inputs(Elaborator *el, FuncState *fs, const AstDecl *decl) {
    const AstParams *params = &decl->as.fn.params;
    Frame top = {.env = el->user, .fn_name = decl->name.text, .path = ""};
    fs->inputs = ARENA_ARRAY(el->arena, Value *, params->count + 1);
    el->frame = &top;
    el->scope = NULL;
    for (int32_t i = 0; i < params->count; i++) {
        const AstParam *param = &params->items[i];
        Type type = {0};
        if (param->type == NULL || param->type->kind != AST_TYPE_TENSOR) {
            Diag *diag = EL_REPORT(el, INPUT_TYPE, param->place, param->name.text);
            elaborate_help(el, diag, "e.g. %s: f32[B, 10]", param->name.text);
            continue;
        }
        if (elaborate_type(el, param->type, &type)) {
            fs->inputs[i] =
                func_add_arg(fs->func, ARG_INPUT, param->name.text, type, param->name.place);
        }
    }
    elaborate_diag_close(el);
    el->frame = NULL;
}

void result_add(Elaborator *el, ResultVec *vec, ResultRole role, const char *name, int32_t arg,
                Value *value) {
    FuncResult result = {.role = role, .name = name, .arg = arg};
    VEC_PUSH(el->arena, &vec->results, result);
    VEC_PUSH(el->arena, &vec->values, value);
}

/* -- pruning: what no result needs */

typedef struct Live {
    Arena *arena;
    bool *values; /* by id */
} Live;

static void live_value(Live *live, Value *start);

static void live_block(Live *live, Block *block) {
    BLOCK_EACH_OP (block, op) {
        for (int32_t i = 0; i < op->n_operands; i++) {
            live_value(live, op->operands[i]);
        }
        for (int32_t b = 0; b < op->n_blocks; b++) {
            live_block(live, op->blocks[b]);
        }
    }
}

static void live_value(Live *live, Value *start) {
    VEC(Value *) todo = {0};
    VEC_PUSH(live->arena, &todo, start);
    while (todo.count > 0) {
        Value *value = todo.items[--todo.count];
        if (live->values[value->id]) {
            continue;
        }
        live->values[value->id] = true;
        Op *op = value->op;
        for (int32_t i = 0; op && i < op->n_operands; i++) {
            VEC_PUSH(live->arena, &todo, op->operands[i]);
        }
        for (int32_t b = 0; op && b < op->n_blocks; b++) {
            live_block(live, op->blocks[b]);
        }
    }
}

/* Whether an op of the body is needed: by a result, or for its effect on inputs that stay. */
static bool op_needed(const Op *op, const bool *live, const bool *gone) {
    if (op_info(op->code)->flags & OPF_EFFECT) {
        for (int32_t i = 0; i < op->n_operands; i++) {
            if (gone[op->operands[i]->id]) {
                return false;
            }
        }
        return true;
    }
    for (int32_t i = 0; i < op->n_results; i++) {
        if (live[op->results[i]->id]) {
            return true;
        }
    }
    return false;
}

static bool type_has_alone(Type type, const Dim *dim) {
    for (int32_t i = 0; i < type.rank; i++) {
        if (size_as_dim(type.dims[i]) == dim) {
            return true;
        }
    }
    return false;
}

static bool type_uses(Type type, const Dim *dim) {
    for (int32_t i = 0; i < type.rank; i++) {
        if (size_uses_dim(type.dims[i], dim)) {
            return true;
        }
    }
    return false;
}

static bool op_uses_dim(const Op *op, const Dim *dim) {
    for (int32_t i = 0; i < op->n_results; i++) {
        if (type_uses(op->results[i]->type, dim)) {
            return true;
        }
    }
    const OpInfo *info = op_info(op->code);
    for (int i = 0; i < info->n_attrs; i++) {
        if (info->attrs[i]->kind == ATTR_SIZE && op->attrs[i].size &&
            size_uses_dim(op->attrs[i].size, dim)) {
            return true;
        }
    }
    for (int32_t b = 0; b < op->n_blocks; b++) {
        BLOCK_EACH_OP (op->blocks[b], inner) {
            if (op_uses_dim(inner, dim)) {
                return true;
            }
        }
    }
    return false;
}

/* Keeps an input that alone tells the size of a dim that is needed. */
static void keep_for_dims(Elaborator *el, Func *func, const bool *live, bool *keep) {
    for (int32_t d = 0; d < el->module->n_dims; d++) {
        const Dim *dim = el->module->dims[d];
        bool needed = false, known = false;
        int32_t provider = -1;
        for (int32_t i = 0; i < func->body->n_args; i++) {
            Type type = func->body->args[i]->type;
            bool stays = func->args[i].role != ARG_INPUT || keep[i];
            needed = needed || (stays && type_uses(type, dim));
            if (type_has_alone(type, dim)) {
                known = known || stays;
                provider = provider < 0 ? i : provider;
            }
        }
        BLOCK_EACH_OP (func->body, op) {
            bool wanted = op->code != OP_size_check && op_needed(op, live, live);
            needed = needed || (wanted && op_uses_dim(op, dim));
        }
        if (needed && !known && provider >= 0) {
            keep[provider] = true;
        }
    }
}

static void drop_args(Func *func, const bool *keep) {
    int32_t count = 0;
    for (int32_t i = 0; i < func->body->n_args; i++) {
        if (func->args[i].role == ARG_INPUT && !keep[i]) {
            continue;
        }
        func->args[count] = func->args[i];
        func->body->args[count] = func->body->args[i];
        func->body->args[count]->index = count;
        count++;
    }
    func->body->n_args = count;
}

/* Removes ops and inputs that the results do not need; `results` already name arguments by value.
 */
static void prune(Elaborator *el, Func *func, const ResultVec *vec) {
    Op *mark = op_create(func, OP_yield, vec->values.items, (int32_t)vec->values.count, 0, 0);
    op_append(func->body, mark);
    func_renumber(func);
    op_unlink(mark);
    Live live = {.arena = el->arena};
    live.values = ARENA_ARRAY(el->arena, bool, func->n_values + 1);
    for (size_t i = 0; i < vec->values.count; i++) {
        live_value(&live, vec->values.items[i]);
    }
    bool *keep = ARENA_ARRAY(el->arena, bool, func->body->n_args + 1);
    bool *gone = ARENA_ARRAY(el->arena, bool, func->n_values + 1);
    for (int32_t i = 0; i < func->body->n_args; i++) {
        keep[i] = live.values[func->body->args[i]->id];
    }
    keep_for_dims(el, func, live.values, keep);
    for (int32_t i = 0; i < func->body->n_args; i++) {
        gone[func->body->args[i]->id] = func->args[i].role == ARG_INPUT && !keep[i];
    }
    /* What is made of a dropped input goes with it; effects on what stays keep their operands. */
    for (Op *op = func->body->first; op; op = op->next) {
        bool lost = false;
        for (int32_t i = 0; i < op->n_operands; i++) {
            lost = lost || gone[op->operands[i]->id];
        }
        for (int32_t i = 0; i < op->n_results; i++) {
            gone[op->results[i]->id] = lost && !live.values[op->results[i]->id];
        }
    }
    BLOCK_EACH_OP (func->body, op) {
        if ((op_info(op->code)->flags & OPF_EFFECT) && op_needed(op, live.values, gone)) {
            for (int32_t i = 0; i < op->n_operands; i++) {
                live_value(&live, op->operands[i]);
            }
        }
    }
    for (Op *op = func->body->first, *next = NULL; op; op = next) {
        next = op->next;
        bool dead = !op_needed(op, live.values, gone);
        if (op->code == OP_size_check) {
            for (int32_t d = 0; d < el->module->n_dims && !dead; d++) {
                const Dim *dim = el->module->dims[d];
                bool uses = op_uses_dim(op, dim), known = false;
                for (int32_t i = 0; uses && i < func->body->n_args; i++) {
                    bool stays = func->args[i].role != ARG_INPUT || keep[i];
                    known = known || (stays && type_has_alone(func->body->args[i]->type, dim));
                }
                dead = uses && !known;
            }
        }
        if (dead) {
            op_unlink(op);
        }
    }
    drop_args(func, keep);
}

/* -- finishing */

static void note_used_inputs(Elaborator *el, Func *func) {
    BLOCK_EACH_OP (func->body, op) {
        (void)op;
    }
    func_renumber(func);
    int32_t *uses = func_use_counts(func, el->arena);
    for (int32_t i = 0; i < func->body->n_args; i++) {
        const Value *arg = func->body->args[i];
        if (func->args[i].role == ARG_INPUT && uses[arg->id] > 0) {
            map_set(&el->input_used, func->args[i].name, el);
        }
    }
}

/* Every dim must stand alone in some input or parameter, so that the run can learn it. */
static void check_dims(Elaborator *el, Func *func) {
    for (int32_t d = 0; d < el->module->n_dims; d++) {
        const Dim *dim = el->module->dims[d];
        bool alone = false, used = false;
        for (int32_t i = 0; i < func->body->n_args; i++) {
            Type type = func->body->args[i]->type;
            alone = alone || type_has_alone(type, dim);
            used = used || type_uses(type, dim);
        }
        if (alone) {
            continue;
        }
        Place place = dim->place;
        BLOCK_EACH_OP (func->body, op) {
            if (!used && op_uses_dim(op, dim)) {
                used = true;
                place = op->place.source ? op->place : place;
            }
        }
        if (used) {
            Diag *diag = EL_REPORT(el, DIM_ALONE, dim->place, dim->name, func->name);
            if (place.line != dim->place.line) {
                elaborate_note(el, diag, place, "'%s' is used here", dim->name);
            }
            elaborate_help(el, diag, "let an input have it as an axis, or fix it with -D %s=…",
                           dim->name);
        }
    }
}

void func_finish(Elaborator *el, FuncState *fs, const AstDecl *decl, const ResultVec *vec) {
    Func *func = fs->func;
    (void)decl;
    elaborate_diag_close(el);
    if (el->context->diags.n_errors > 0) {
        return;
    }
    /* Arguments may move: stores name theirs by value first. */
    int32_t count = (int32_t)vec->results.count;
    Value **stored = ARENA_ARRAY(el->arena, Value *, count + 1);
    for (int32_t i = 0; i < count; i++) {
        int32_t arg = vec->results.items[i].arg;
        bool store = vec->results.items[i].role == RESULT_STORE && arg >= 0;
        stored[i] = store ? func->body->args[arg] : NULL;
    }
    if (fs->purpose == PURPOSE_INFER || fs->purpose == PURPOSE_OTHER) {
        prune(el, func, vec);
    }
    for (int32_t i = 0; i < count; i++) {
        if (stored[i]) {
            vec->results.items[i].arg = stored[i]->index;
        }
    }
    func_set_results(func, vec->results.items, vec->values.items, count);
    if (fs->purpose != PURPOSE_INIT) {
        note_used_inputs(el, func);
        check_dims(el, func);
    }
    func_renumber(func);
}
