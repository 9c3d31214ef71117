/* Chooses how each value is cut among the ranks: inputs along their batch, and from there through
 * the ops, forwards and backwards, until nothing changes. Who is asked first decides: nothing that
 * is chosen is taken back. Values that nothing reaches are whole on every rank. */
#include "passes/shard/shard.h"

#include <string.h>

/* -- What begins */

const Size *batch_rows(const Func *func) {
    const Module *module = func->module;
    const char *name = map_get(&module->settings, "batch_dim");
    const Dim *dim = name ? module_find_dim(module, name) : NULL;
    if (dim) {
        return size_dim(module->context, dim);
    }
    for (int32_t i = 0; i < func->body->n_args; i++) {
        Type type = func->body->args[i]->type;
        if (func->args[i].role == ARG_INPUT && type.rank > 0) {
            return type.dims[0];
        }
    }
    return NULL;
}

static bool is_scanned(const Shard *s, const Value *value) {
    BLOCK_EACH_OP (s->func->body, op) {
        for (int32_t i = 0; i < op->n_operands && op->code == OP_scan; i++) {
            if (op->operands[i] == value && i >= scan_carries(op)) {
                return true;
            }
        }
    }
    return false;
}

/* Whether the op cuts rows into parts that a scan goes through. */
static bool makes_parts(const Shard *s, const Op *op) {
    const Value *rows = op->code == OP_reshape ? op->operands[0] : NULL;
    Type to = rows ? op->results[0]->type : (Type){0};
    return rows && rows->type.rank > 0 && to.rank == rows->type.rank + 1 &&
           size_mul(s->context, to.dims[0], to.dims[1]) == rows->type.dims[0] &&
           is_scanned(s, op->results[0]);
}

/* The reshape that cuts the rows of an input so; NULL: none. */
static const Op *split_into_parts(const Shard *s, const Value *input) {
    BLOCK_EACH_OP (s->func->body, op) {
        if (makes_parts(s, op) && op->operands[0] == input) {
            return op;
        }
    }
    return NULL;
}

/* Rows are cut from all there are, or, where the step goes through parts of the batch, from each
 * part: what one device has in a part is what all ranks have in it together. */
static void seed(Shard *s, Value *input, const Size *rows) {
    int64_t number;
    if (input->type.rank == 0 || input->type.dims[0] != rows ||
        (size_is_const(rows, &number) && number == 0)) {
        return;
    }
    AxisCut cut = cut_of_rows(s, s->data, rows);
    const Op *split = split_into_parts(s, input);
    if (split) {
        cut.outer = split->results[0]->type.dims[0];
        cut.rows = split->results[0]->type.dims[1];
    }
    const AxisCut *old = cuts_of_axis(&spread_of(s, input)->cuts, 0);
    if (!cuts_add(&spread_of(s, input)->cuts, &cut, 0, false) &&
        !(old && old->group == cut.group)) {
        const FuncArg *arg = &s->func->args[input->index];
        wish_unmet(s, arg->place, arg->name, input, &cut); /* by its batch, as all inputs are */
    }
}

/* Where only a check says that the parts make up the batch, they are slices of it first, of which
 * the input's cut says nothing: its rows are gathered, and each part is cut by itself. */
static void seed_parts(Shard *s, const Value *input) {
    BLOCK_EACH_OP (s->func->body, op) {
        const Op *slice = makes_parts(s, op) ? op->operands[0]->op : NULL;
        if (slice && slice->code == OP_slice && slice->operands[0] == input) {
            AxisCut cut = cut_of_rows(s, s->data, op->results[0]->type.dims[1]);
            cuts_add(&spread_of(s, op->results[0])->cuts, &cut, 1, false);
        }
    }
}

/* What inputs and parameters are not cut by: the data axes, but for the batch. */
static void seed_args(Shard *s) {
    const Size *rows = batch_rows(s->func);
    for (int32_t i = 0; i < s->func->body->n_args; i++) {
        Value *arg = s->func->body->args[i];
        ArgRole role = s->func->args[i].role;
        if (role == ARG_INPUT && rows && s->data) {
            seed(s, arg, rows);
            seed_parts(s, arg);
        }
        spread_of(s, arg)->pinned |= role == ARG_INPUT || role == ARG_SCALAR ? ~(MeshGroup)0
                                     : role == ARG_CACHE                     ? 0
                                                                             : s->data;
    }
}

/* Below this a tensor stays whole: what travels would be small, and late. */
enum { ZERO_LEAST_BYTES = 64 << 10 };

/* The longest axis that is not cut yet; -1: there is none, or the tensor is small. */
static int32_t axis_to_cut(Type type, const Cuts *cuts) {
    double bytes = dtype_bytes(type.dtype);
    int32_t longest = -1;
    int64_t length = 1;
    for (int32_t axis = 0; axis < type.rank; axis++) {
        int64_t size = size_nominal(type.dims[axis], UNSET_SIZE);
        bytes *= (double)size;
        bool is_longer = size > length && !cuts_of_axis(cuts, axis);
        longest = is_longer ? axis : longest;
        length = is_longer ? size : length;
    }
    return bytes < ZERO_LEAST_BYTES ? -1 : longest;
}

/* A moving average stands for its parameter where the model is used, and lies as that does. */
static bool is_read_whole(const Shard *s, int32_t arg) {
    const char *slot = strrchr(s->func->args[arg].name, '#');
    return slot && strcmp(slot, "#ema") == 0 && s->level < 3;
}

/* What a step keeps for the next is cut along one axis each: optimiser state and, at level 3,
 * parameters. The rest follows: gradients are cut where they are summed, updates are computed on
 * parts, and parameters that stay whole are gathered when they are stored. */
static void seed_kept(Shard *s) {
    for (int32_t i = 0; i < s->func->body->n_args; i++) {
        Value *arg = s->func->body->args[i];
        ArgRole role = s->func->args[i].role;
        bool is_kept =
            (role == ARG_SLOT && !is_read_whole(s, i)) || (role == ARG_PARAM && s->level >= 3);
        int32_t axis = is_kept ? axis_to_cut(arg->type, &spread_of(s, arg)->cuts) : -1;
        if (axis >= 0 && (~spread_of(s, arg)->pinned & ~s->data) != 0) {
            AxisCut cut = cut_of_rows(s, s->zero, arg->type.dims[axis]);
            cuts_add(&spread_of(s, arg)->cuts, &cut, axis, true);
        }
    }
}

/* -- From value to value */

/* All that `from` has goes to `to`, `by` axes further on; cuts of axes before that stay behind. */
static void pass_on(Shard *s, const Value *from, const Value *to, int32_t by) {
    Cuts cuts = spread_of(s, from)->cuts;
    for (int32_t i = 0; i < cuts.n; i++) {
        if (cuts.at[i].axis + by >= 0) {
            cut_offer(s, to, &cuts.at[i], cuts.at[i].axis + by);
        }
    }
}

static void unify(Shard *s, const Value *a, const Value *b, int32_t by) {
    pass_on(s, a, b, by);
    pass_on(s, b, a, -by);
}

void factor_offer(Shard *s, const Op *op, const OpAxes *axes, int8_t factor, const AxisCut *cut) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        for (int32_t axis = 0; axis < op->operands[i]->type.rank; axis++) {
            if (axes->operands[i][axis] == factor) {
                cut_offer(s, op->operands[i], cut, axis);
            }
        }
    }
    for (int32_t r = 0; r < op->n_results; r++) {
        for (int32_t axis = 0; axis < op->results[r]->type.rank; axis++) {
            if (axes->results[r][axis] == factor) {
                cut_offer(s, op->results[r], cut, axis);
            }
        }
    }
}

static void pass_by_axes(Shard *s, const Op *op) {
    OpAxes axes = op_factors(s->arena, op);
    for (int32_t i = 0; i < op->n_operands + op->n_results; i++) {
        bool is_operand = i < op->n_operands;
        int32_t n = is_operand ? i : i - op->n_operands;
        const Value *value = is_operand ? op->operands[n] : op->results[n];
        const AxesRow *row = is_operand ? &axes.operands[n] : &axes.results[n];
        Cuts cuts = spread_of(s, value)->cuts;
        for (int32_t c = 0; c < cuts.n; c++) {
            int8_t factor = (*row)[cuts.at[c].axis];
            if (factor >= 0) {
                factor_offer(s, op, &axes, factor, &cuts.at[c]);
            }
        }
    }
}

static void pass_through_reshape(Shard *s, const Value *from, const Value *to) {
    Cuts cuts = spread_of(s, from)->cuts;
    for (int32_t i = 0; i < cuts.n; i++) {
        AxisCut cut;
        if (cut_reshape(s->context, from->type, to->type, &cuts.at[i], &cut)) {
            cut_offer(s, to, &cut, cut.axis);
        }
    }
}

static void pass_block(Shard *s, const Block *block);

static void pass_scan(Shard *s, const Op *op) {
    const Block *body = op->blocks[0];
    const Op *yield = block_yield(body);
    int32_t n_carries = (int32_t)scan_carries(op);
    for (int32_t i = s->loops_are_closed ? n_carries : 0; i < op->n_operands; i++) {
        unify(s, op->operands[i], body->args[i + 1], i < n_carries ? 0 : -1);
    }
    pass_block(s, body);
    for (int32_t i = 0; i < yield->n_operands && !s->loops_are_closed; i++) {
        unify(s, yield->operands[i], op->results[i], i < n_carries ? 0 : 1);
        if (i < n_carries) {
            unify(s, yield->operands[i], body->args[i + 1], 0);
        }
    }
}

static void pass_while(Shard *s, const Op *op) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        unify(s, op->operands[i], op->blocks[0]->args[i], 0);
        unify(s, op->operands[i], op->blocks[1]->args[i], 0);
        unify(s, op->operands[i], op->results[i], 0);
        unify(s, op->operands[i], block_yield(op->blocks[1])->operands[i], 0);
    }
    pass_block(s, op->blocks[0]);
    pass_block(s, op->blocks[1]);
}

static void pass_op(Shard *s, const Op *op) {
    if (op_info(op->code)->axes) {
        pass_by_axes(s, op);
        pass_by_parts(s, op);
        pass_by_picking(s, op);
    } else if (op->code == OP_reshape) {
        pass_through_reshape(s, op->operands[0], op->results[0]);
        pass_through_reshape(s, op->results[0], op->operands[0]);
    } else if (op->code == OP_scan) {
        pass_scan(s, op);
    } else if (op->code == OP_while) {
        pass_while(s, op);
    }
}

/* Forwards, then backwards: each goes as far as it can in one turn. */
static void pass_block(Shard *s, const Block *block) {
    BLOCK_EACH_OP (block, op) {
        pass_op(s, op);
    }
    for (const Op *op = block->last; op; op = op->prev) {
        pass_op(s, op);
    }
}

/* A store is cut as what it replaces. */
static void unify_stores(Shard *s) {
    const Op *yield = block_yield(s->func->body);
    for (int32_t r = 0; r < s->func->n_results; r++) {
        if (s->func->results[r].role == RESULT_STORE) {
            unify(s, s->func->body->args[s->func->results[r].arg], yield->operands[r], 0);
        }
    }
}

void propagate_further(Shard *s) {
    do {
        s->changed = false;
        pass_block(s, s->func->body);
        unify_stores(s);
    } while (s->changed);
}

/* What costs nothing is made as each of its readers needs it: it carries no cut from one to
 * another. */
static void pin_free(Op *op, void *user) {
    Shard *s = user;
    if (is_free(op)) {
        spread_of(s, op->results[0])->pinned = ~(MeshGroup)0;
    }
}

void propagate_batch(Shard *s, const Hints *hints) {
    func_each_op(s->func, pin_free, s);
    seed_agreed(s);
    seed_wishes(s, hints);
    seed_args(s);
    propagate_further(s);
}

void propagate_kept(Shard *s) {
    if (s->zero && s->level > 0) {
        seed_agreed_kept(s);
        seed_kept(s);
        s->is_keeping = true;
        s->loops_are_closed = s->level < 2;
        propagate_further(s);
    }
}
