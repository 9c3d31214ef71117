/* Cuts a module's training step into equal parts of the batch: what stands before the optimiser
 * (forward, loss, gradient) becomes a scan over the parts, whose number is a free dim, and the
 * optimiser gets means over them. Works on the IR as the front end makes it, where the last
 * gradient by parameters ends the model's part of the step. See accumulate.h. */
#include "passes/accumulate.h"

#include "ir/build.h"
#include "passes/step_gradient.h"

#include <string.h>

typedef enum CrossKind { CROSS_MEAN, CROSS_SUM, CROSS_STATE } CrossKind;

/* A value of a part that what follows needs. */
typedef struct Cross {
    Value *value, *state; /* the state whose next value it is */
    CrossKind kind;
    Value *start, *whole; /* of the loop; what follows reads instead */
} Cross;

typedef struct Cut {
    Context *context;
    Module *module;
    Func *func;
    Arena *arena;
    const Dim *rows;
    const Size *parts, *part, **by;
    Op *grad;      /* the last op of a part */
    bool *varies;  /* by value id: differs from part to part */
    bool *crosses; /* by value id */
    VEC(Cross) cross;
    VEC(Value *) cut_args, cut_inputs;
    const char *problem;
} Cut;

static bool fail(Cut *cut, const char *problem) {
    cut->problem = cut->problem ? cut->problem : problem;
    return false;
}

/* -- What there is */

static const Dim *find_rows(const Cut *cut) {
    const char *name = map_get(&cut->module->settings, "batch_dim");
    const Dim *named = name ? module_find_dim(cut->module, name) : NULL;
    for (int32_t i = 0; i < cut->func->body->n_args && !named; i++) {
        Type type = cut->func->body->args[i]->type;
        if (cut->func->args[i].role == ARG_INPUT && type.rank > 0) {
            named = size_as_dim(type.dims[0]);
        }
    }
    return named;
}

static bool has_rows(const Cut *cut, int32_t arg) {
    Type type = cut->func->body->args[arg]->type;
    return cut->func->args[arg].role == ARG_INPUT && type.rank > 0 &&
           size_as_dim(type.dims[0]) == cut->rows;
}

static bool type_uses(const Cut *cut, Type type, int32_t from) {
    for (int32_t a = from; a < type.rank; a++) {
        if (size_uses_dim(type.dims[a], cut->rows)) {
            return true;
        }
    }
    return false;
}

static bool check_args(Cut *cut) {
    const Func *func = cut->func;
    for (int32_t i = 0; i < func->body->n_args; i++) {
        Type type = func->body->args[i]->type;
        if (type_uses(cut, type, has_rows(cut, i) ? 1 : 0)) {
            return fail(cut, arena_format(cut->arena, "the size of '%s' depends on the batch",
                                          func->args[i].name));
        }
        if (has_rows(cut, i) && type.rank == TYPE_MAX_RANK) {
            return fail(cut, "an input has too many axes");
        }
    }
    return true;
}

static bool find_gradient(Cut *cut) {
    if (map_get(&cut->module->settings, "accumulate")) {
        return fail(cut, "its train block says `accumulate` itself");
    }
    const char *problem = NULL;
    cut->grad = step_gradient(cut->arena, cut->func, &problem);
    return cut->grad || fail(cut, problem);
}

/* -- What differs from part to part */

static bool attrs_use(const Cut *cut, const Op *op) {
    const OpInfo *info = op_info(op->code);
    for (int i = 0; i < info->n_attrs; i++) {
        const AttrValue *attr = &op->attrs[i];
        if (info->attrs[i]->kind == ATTR_SIZE && size_uses_dim(attr->size, cut->rows)) {
            return true;
        }
        for (int32_t k = 0; info->attrs[i]->kind == ATTR_SIZES && k < attr->list.count; k++) {
            if (size_uses_dim(attr->list.sizes[k], cut->rows)) {
                return true;
            }
        }
    }
    return false;
}

static bool op_varies(const Cut *cut, const Op *op) {
    bool varies = attrs_use(cut, op);
    for (int32_t i = 0; i < op->n_operands && !varies; i++) {
        varies = cut->varies[op->operands[i]->id];
    }
    for (int32_t i = 0; i < op->n_results && !varies; i++) {
        varies = type_uses(cut, op->results[i]->type, 0);
    }
    for (int32_t i = 0; i < op->n_blocks && !varies; i++) {
        BLOCK_EACH_OP (op->blocks[i], inner) {
            varies = varies || op_varies(cut, inner);
        }
    }
    return varies;
}

static void mark(Cut *cut) {
    Func *func = cut->func;
    for (int32_t i = 0; i < func->body->n_args; i++) {
        ArgRole role = func->args[i].role;
        bool stored = false;
        for (int32_t r = 0; r < func->n_results; r++) {
            stored = stored || (func->results[r].role == RESULT_STORE && func->results[r].arg == i);
        }
        cut->varies[func->body->args[i]->id] =
            has_rows(cut, i) || (stored && (role == ARG_STATE || role == ARG_CACHE));
    }
    for (Op *op = func->body->first; op != cut->grad->next; op = op->next) {
        bool varies = op_varies(cut, op);
        for (int32_t i = 0; i < op->n_results; i++) {
            cut->varies[op->results[i]->id] = varies;
        }
    }
}

/* -- What the rest of the step needs */

/* The state that `op` keeps where its condition fails; NULL: it is no such op. */
static Value *guarded_state(const Cut *cut, const Op *op, const Value *next) {
    if (op->code != OP_select || op->operands[1] != next) {
        return NULL;
    }
    Value *old = op->operands[2];
    bool is_arg = !old->op && old->block == cut->func->body;
    ArgRole role = is_arg ? cut->func->args[old->index].role : ARG_INPUT;
    return role == ARG_STATE || role == ARG_CACHE ? old : NULL;
}

/* The state whose next value this is, by the op that stores it; others, as the test that it is
 * finite, may read it before. NULL: none. */
static Value *state_behind(const Cut *cut, const Value *next) {
    Value *state = NULL;
    for (const Op *op = cut->grad->next; op && !state; op = op->next) {
        state = guarded_state(cut, op, next);
    }
    return state;
}

/* What the loss is divided by; NULL: it is no quotient. */
static Value *divisor_of(const Cut *cut, const char *loss) {
    const Func *func = cut->func;
    for (int32_t i = 0; i < func->n_results; i++) {
        if (func->results[i].role == RESULT_LOSS_OVER && func->results[i].name == loss) {
            return block_yield(func->body)->operands[i];
        }
    }
    return NULL;
}

static bool is_divisor(const Cut *cut, const Value *value) {
    for (int32_t i = 0; i < cut->func->n_results; i++) {
        if (cut->func->results[i].role == RESULT_LOSS_OVER &&
            block_yield(cut->func->body)->operands[i] == value) {
            return true;
        }
    }
    return false;
}

/* What the step's results say of the value: loss and plain metrics are means. */
static bool kind_of_result(const Cut *cut, const Value *value, CrossKind *out) {
    const Func *func = cut->func;
    const Op *yield = block_yield(func->body);
    for (int32_t i = 0; i < func->n_results; i++) {
        if (yield->operands[i] != value) {
            continue;
        }
        switch (func->results[i].role) {
        case RESULT_METRIC_OVER:
            *out = CROSS_SUM;
            return true;
        case RESULT_METRIC:
            *out = CROSS_MEAN;
            for (int32_t k = 0; k < func->n_results; k++) {
                if (func->results[k].role == RESULT_METRIC_OVER &&
                    func->results[k].name == func->results[i].name) {
                    *out = CROSS_SUM;
                }
            }
            return true;
        case RESULT_LOSS:
            *out = divisor_of(cut, func->results[i].name) ? CROSS_SUM : CROSS_MEAN;
            return true;
        default:
            break;
        }
    }
    return false;
}

static bool cross_add(Cut *cut, Value *value) {
    if (cut->crosses[value->id]) {
        return true;
    }
    if (!value->op) {
        return fail(cut, "what follows the gradient reads an input");
    }
    Cross cross = {.value = value, .kind = CROSS_MEAN};
    Value *state = state_behind(cut, value);
    if (state) {
        cross.kind = CROSS_STATE;
        cross.state = state;
    } else if (value->op != cut->grad && !kind_of_result(cut, value, &cross.kind) &&
               (value->type.rank != 0 || !dtype_is_float(value->type.dtype))) {
        return fail(cut, arena_format(cut->arena, "its optimiser reads '%s' of the whole batch",
                                      value->name ? value->name : op_info(value->op->code)->name));
    }
    cut->crosses[value->id] = true;
    VEC_PUSH(cut->arena, &cut->cross, cross);
    return true;
}

static bool cross_find(Cut *cut, Op *from) {
    for (Op *op = from; op; op = op->next) {
        for (int32_t i = 0; i < op->n_operands; i++) {
            Value *value = op->operands[i];
            bool is_part = value->id < cut->func->n_numbered && cut->varies[value->id] &&
                           (value->op || value->type.rank > 0);
            bool is_state = !value->op && value->block == cut->func->body &&
                            cut->func->args[value->index].role != ARG_INPUT;
            if (is_part && !is_state && !is_divisor(cut, value) && !cross_add(cut, value)) {
                return false;
            }
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            if (!cross_find(cut, op->blocks[i]->first)) {
                return false;
            }
        }
    }
    return true;
}

static void replace_after(const Cut *cut, Op *from) {
    for (Op *op = from; op; op = op->next) {
        for (int32_t i = 0; i < op->n_operands; i++) {
            for (size_t c = 0; c < cut->cross.count; c++) {
                if (op->operands[i] == cut->cross.items[c].value) {
                    op_set_operand(op, i, cut->cross.items[c].whole);
                }
            }
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            replace_after(cut, op->blocks[i]->first);
        }
    }
}

/* -- The loop */

static Type type_cut(const Cut *cut, Type type) {
    const Size *dims[TYPE_MAX_RANK];
    for (int32_t a = 0; a < type.rank; a++) {
        dims[a] = size_substitute(cut->context, type.dims[a], cut->by, cut->module->n_dims);
    }
    return type_make(cut->context, type.dtype, type.rank, dims);
}

static void attrs_cut(const Cut *cut, Op *op) {
    const OpInfo *info = op_info(op->code);
    for (int i = 0; i < info->n_attrs; i++) {
        AttrValue *attr = &op->attrs[i];
        if (info->attrs[i]->kind == ATTR_SIZE) {
            attr->size = size_substitute(cut->context, attr->size, cut->by, cut->module->n_dims);
        } else if (info->attrs[i]->kind == ATTR_SIZES && attr->list.count > 0) {
            const Size **sizes = ARENA_ARRAY(cut->arena, const Size *, attr->list.count);
            for (int32_t k = 0; k < attr->list.count; k++) {
                sizes[k] = size_substitute(cut->context, attr->list.sizes[k], cut->by,
                                           cut->module->n_dims);
            }
            attr_write_SIZES(attr, sizes_copy(cut->func, sizes, attr->list.count));
        }
    }
}

/* -- Random numbers: those of the whole batch, whatever the parts */

/* The batch as parts times rows of a part, which is what `whole` is compared with. */
static Type type_whole(const Cut *cut, Type type) {
    const Size *part = cut->by[cut->rows->id];
    cut->by[cut->rows->id] = size_mul(cut->context, cut->parts, part);
    Type whole = type_cut(cut, type);
    cut->by[cut->rows->id] = part;
    return whole;
}

/* A loop of the body around the op, on the way out to the loop over parts. */
typedef struct Around {
    const struct Around *outer;
    const Op *loop;
    const Size *whole; /* its turns in the whole step; NULL: a `while`, or not cut */
} Around;

/* The turn among all turns of the step, as the front end counts them, where a loop goes over rows:
 * turns of outer loops times the length, plus the turn. */
static Value *iteration_cut(const Cut *cut, Builder *b, const Around *around, Value *turn) {
    const Op *loop = around->loop;
    Value *outer = around->outer ? iteration_cut(cut, b, around->outer, turn) : NULL;
    if (loop->code != OP_scan) {
        return NULL;
    }
    Value *index = loop->blocks[0]->args[0];
    const Size *length = scan_length(loop);
    if (around->whole) {
        Value *before = b_size(b, length, DT_I32);
        index = b_add(b, b_mul(b, turn, before), index);
        length = around->whole;
    }
    if (around->outer) {
        Value *turns = b_size(b, length, DT_I32);
        index = outer ? b_add(b, b_mul(b, outer, turns), index) : NULL;
    }
    return index;
}

static void replace_from(Op *from, const Value *old, Value *by) {
    for (Op *op = from; op; op = op->next) {
        for (int32_t i = 0; i < op->n_operands; i++) {
            if (op->operands[i] == old) {
                op_set_operand(op, i, by);
            }
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            replace_from(op->blocks[i]->first, old, by);
        }
    }
}

/* How many turns the loop has in the whole step, where it has fewer in a part. */
static const Size *scan_whole(const Cut *cut, const Op *scan) {
    const Size *length = scan_length(scan);
    if (!size_uses_dim(length, cut->rows)) {
        return NULL;
    }
    const Size *part = cut->by[cut->rows->id];
    cut->by[cut->rows->id] = size_mul(cut->context, cut->parts, part);
    const Size *whole = size_substitute(cut->context, length, cut->by, cut->module->n_dims);
    cut->by[cut->rows->id] = part;
    return whole;
}

static bool random_cut(Cut *cut, Op *op, Type whole, Value *turn, const Around *around) {
    Builder b = builder_before(op);
    bool is_cut = false;
    for (const Around *a = around; a; a = a->outer) {
        is_cut = is_cut || a->whole;
    }
    if (is_cut) {
        Value *iteration = iteration_cut(cut, &b, around, turn);
        if (!iteration) {
            return fail(cut, "it draws random numbers in a `while` of a loop over the batch");
        }
        op_set_operand(op, 2, iteration);
    }
    Piece piece = b_piece(&b, whole, op->results[0]->type, cut->parts, turn);
    if (!piece.start && !piece.n_strides) {
        return true;
    }
    Value *made = b_random_piece(&b, op->operands[0], op->operands[1], op->operands[2],
                                 random_uniform_site(op), op->results[0]->type, piece);
    replace_from(op->next, op->results[0], made);
    op_unlink(op);
    return true;
}

static void block_cut(Cut *cut, Block *block, Value *turn, const Around *around) {
    for (int32_t i = 0; i < block->n_args && around; i++) {
        block->args[i]->type = type_cut(cut, block->args[i]->type);
    }
    for (Op *op = block->first, *next = NULL; op; op = next) {
        next = op->next;
        Type whole = op->n_results > 0 ? type_whole(cut, op->results[0]->type) : (Type){0};
        Around inner = {.outer = around, .loop = op};
        if (op->code == OP_scan) {
            inner.whole = scan_whole(cut, op);
        }
        attrs_cut(cut, op);
        for (int32_t i = 0; i < op->n_results; i++) {
            op->results[i]->type = type_cut(cut, op->results[i]->type);
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            block_cut(cut, op->blocks[i], turn, &inner);
        }
        if (op->code == OP_random_uniform) {
            random_cut(cut, op, whole, turn, around);
        }
    }
}

/* Takes checks and shown values out of the side that they do not belong to. */
static void effects_divide(const Cut *cut, Block *body) {
    Op *copy = body->first, *op = cut->func->body->first;
    for (Op *next, *next_copy; op && copy; op = next, copy = next_copy) {
        next = op->next;
        next_copy = copy->next;
        if (op_info(op->code)->flags & OPF_EFFECT) {
            op_unlink(op_varies(cut, op) ? op : copy);
        }
    }
}

/* A part divides its losses by its share of what the whole batch divides by, which stays outside:
 * the mean over parts is the quotient of the sums. */
static void shares_use(Cut *cut, Builder *b, Block *body, Value *const *map) {
    Func *func = cut->func;
    for (int32_t i = 0; i < func->n_results; i++) {
        Value *divisor = block_yield(func->body)->operands[i];
        const Value *part = map[divisor->id];
        if (func->results[i].role == RESULT_LOSS_OVER && part && part != divisor) {
            Value *parts = b_size(b, cut->parts, divisor->type.dtype);
            replace_from(body->first, part, b_div(b, divisor, parts));
        }
    }
}

static void body_fill(Cut *cut, Builder *outside, Op *scan) {
    Func *func = cut->func;
    Block *body = scan->blocks[0];
    Value **map = ARENA_ARRAY(cut->arena, Value *, func->n_values);
    int32_t at = 1;
    for (size_t i = 0; i < cut->cross.count; i++, at++) {
        if (cut->cross.items[i].kind == CROSS_STATE) {
            map[cut->cross.items[i].state->id] = body->args[at];
        }
    }
    for (size_t i = 0; i < cut->cut_args.count; i++, at++) {
        map[cut->cut_args.items[i]->id] = body->args[at];
    }
    block_clone_ops(func, func->body, NULL, body, map);
    Op *last = map[cut->grad->results[0]->id]->op;
    while (body->last != last) {
        op_unlink(body->last);
    }
    shares_use(cut, outside, body, map);
    effects_divide(cut, body);
    block_cut(cut, body, body->args[0], NULL);
    Builder b = builder_at_end(func, body);
    b.place = cut->grad->place;
    Value **nexts = ARENA_ARRAY(cut->arena, Value *, cut->cross.count + 1);
    for (size_t i = 0; i < cut->cross.count; i++) {
        Value *mine = map[cut->cross.items[i].value->id];
        bool is_sum = cut->cross.items[i].kind != CROSS_STATE;
        nexts[i] = is_sum ? b_add(&b, body->args[1 + i], mine) : mine;
    }
    b_yield(&b, nexts, (int32_t)cut->cross.count);
}

static bool inputs_cut(Cut *cut, Builder *b) {
    const Size *whole = size_mul(cut->context, cut->parts, cut->part);
    for (int32_t i = 0; i < cut->func->body->n_args; i++) {
        Value *input = cut->func->body->args[i];
        if (!has_rows(cut, i)) {
            continue;
        }
        const Size *shape[TYPE_MAX_RANK] = {cut->parts, cut->part};
        for (int32_t a = 1; a < input->type.rank; a++) {
            shape[a + 1] = input->type.dims[a];
        }
        Value *rows = b_slice_axis(b, input, 0, size_const(cut->context, 0), whole);
        Value *parts = rows ? b_reshape(b, rows, input->type.rank + 1, shape) : NULL;
        if (!parts) {
            return fail(cut, "its inputs cannot be cut");
        }
        VEC_PUSH(cut->arena, &cut->cut_args, input);
        VEC_PUSH(cut->arena, &cut->cut_inputs, parts);
    }
    return true;
}

static void loop_build(Cut *cut, Builder *b) {
    int32_t n = (int32_t)cut->cross.count;
    Value **starts = ARENA_ARRAY(cut->arena, Value *, n + 1);
    for (int32_t i = 0; i < n; i++) {
        const Cross *cross = &cut->cross.items[i];
        starts[i] = cross->kind == CROSS_STATE
                        ? cross->state
                        : b_constant(b, 0.0, type_cut(cut, cross->value->type));
    }
    Op *scan = b_scan_begin(b, starts, n, cut->cut_inputs.items, (int32_t)cut->cut_inputs.count,
                            cut->parts, false, 0);
    body_fill(cut, b, scan);
    b_op(b, scan);
    for (int32_t i = 0; i < n; i++) {
        Cross *cross = &cut->cross.items[i];
        cross->whole = scan->results[i];
        if (cross->kind == CROSS_MEAN) {
            Type type = cross->whole->type;
            Value *count = b_size(b, cut->parts, type.dtype);
            Value *spread = b_splat(b, count, type.rank, type.dims);
            cross->whole = b_div(b, cross->whole, spread);
        }
    }
}

static void step_cut(Cut *cut) {
    Module *module = cut->module;
    Func *func = cut->func;
    func_renumber(func);
    cut->rows = find_rows(cut);
    if (!cut->rows) {
        fail(cut, "no input begins with a free dim");
        return;
    }
    if (!find_gradient(cut) || !check_args(cut)) {
        return;
    }
    cut->varies = ARENA_ARRAY(cut->arena, bool, func->n_values);
    cut->crosses = ARENA_ARRAY(cut->arena, bool, func->n_values);
    mark(cut);
    Op *after = cut->grad->next;
    if (!cross_find(cut, after)) {
        return;
    }
    const Dim *dim = module_add_dim(module, ACCUMULATE_DIM, 1, INT64_MAX, 1, 1, cut->grad->place);
    cut->parts = size_dim(cut->context, dim);
    const Size *rows = size_dim(cut->context, cut->rows);
    cut->part = size_floordiv(cut->context, rows, cut->parts);
    cut->by = ARENA_ARRAY(cut->arena, const Size *, module->n_dims);
    cut->by[cut->rows->id] = cut->part;
    Builder b = builder_before(after);
    b.place = cut->grad->place;
    b.soft = true;
    b_size_check(&b, rows, size_mul(cut->context, cut->parts, cut->part),
                 "the number of parts must divide the batch");
    if (inputs_cut(cut, &b)) {
        b.soft = false;
        loop_build(cut, &b);
        replace_after(cut, after);
    }
}

const char *accumulate_module(Context *context, Module *module) {
    Cut cut = {.context = context, .module = module, .arena = &module->arena};
    if (module_find_dim(module, ACCUMULATE_DIM)) {
        return "it has a dim '" ACCUMULATE_DIM "' already";
    }
    for (Func *func = module->first; func && !cut.func; func = func->next) {
        cut.func = func->purpose == PURPOSE_TRAIN ? func : NULL;
    }
    if (!cut.func) {
        return "it has no train block";
    }
    step_cut(&cut);
    if (!cut.problem) {
        func_renumber(cut.func);
        map_set(&module->settings, "parts_dim", (void *)(uintptr_t)ACCUMULATE_DIM);
    }
    return cut.problem;
}
