/* What cuts begin with: what the program asks for, the batch of the inputs, and what a step keeps;
 * all else follows from these. */
#include "passes/shard/shard.h"

#include <string.h>

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
    if (!cuts_add(&spread_of(s, input)->cuts, &cut, 0, CUT_CHOSEN) &&
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
            cuts_add(&spread_of(s, op->results[0])->cuts, &cut, 1, CUT_CHOSEN);
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

bool is_average(const Shard *s, int32_t arg) {
    const char *slot = strrchr(s->func->args[arg].name, '#');
    return slot && strcmp(slot, "#ema") == 0;
}

/* A moving average stands for its parameter where the model is used, and lies as that does. */
static bool is_read_whole(const Shard *s, int32_t arg) {
    return is_average(s, arg) && s->level < 3;
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
            cuts_add(&spread_of(s, arg)->cuts, &cut, axis, CUT_KEPT);
        }
    }
}

/* -- In this order */

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
        s->cause = CUT_KEPT;
        s->loops_are_closed = s->level < 2;
        propagate_further(s);
    }
}
