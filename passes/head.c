/* A head of many classes in chunks of rows: the ops between logits [rows, classes] and what leaves
 * them (losses of rows, gradients by inputs and weights) work row by row, so a loop over chunks of
 * rows does them with one chunk of logits in memory. Nothing is computed twice; the gradient by the
 * weights is summed over the chunks. Whatever the ops are: only their shapes count, and a head that
 * does anything else with its logits stays as it is. */
#include "passes/head.h"
#include "passes/rewrite.h"

enum { MOST_OUT = 16, MOST_IN = 64 };

typedef enum Shape { SHAPE_OTHER, SHAPE_FULL, SHAPE_ROW, SHAPE_ROW_ONE } Shape;

typedef struct Head {
    PassContext *pass;
    const HeadMeasures *measures;
    Func *func;
    Op *logits;
    const Size *dims[3]; /* batch, time, classes */
    const Size *length, *chunk;
    int32_t n_values, n_ops;
    bool *inside, *tainted; /* by value id: made in the loop; made from that outside */
    bool *member;           /* by op id */
    Op *first, *last;
    /* The loop. */
    Block *body;
    Builder b;
    Value **map; /* by value id: in the body */
    Value *ins[MOST_IN];
    Op *outs[MOST_OUT]; /* ops whose result leaves; sums first */
    int32_t n_in, n_out, n_sums;
} Head;

static Shape shape_of(const Head *h, Type type) {
    if (type.rank < 2 || type.dims[0] != h->dims[0] || type.dims[1] != h->dims[1]) {
        return SHAPE_OTHER;
    }
    if (type.rank == 2) {
        return SHAPE_ROW;
    }
    if (type.rank != 3) {
        return SHAPE_OTHER;
    }
    return type.dims[2] == h->dims[2]  ? SHAPE_FULL
           : size_is_one(type.dims[2]) ? SHAPE_ROW_ONE
                                       : SHAPE_OTHER;
}

/* Whether `axis` is the last of `wanted` axes. */
static bool ends_in(Ints axes, int64_t axis, int32_t wanted) {
    return axes.count == wanted && axes.at[wanted - 1] == axis;
}

/* A product of the logits' derivative with the weights, or with the inputs (`out_sum`). */
static bool is_product(const Head *h, const Op *op, bool *out_sum) {
    int32_t n_batch = contract_batch_a(op).count, n = contract_contract_a(op).count;
    const int64_t *sums[2] = {contract_contract_a(op).at, contract_contract_b(op).at};
    int full = -1;
    for (int side = 0; side < 2; side++) {
        const Value *v = op->operands[side];
        full = h->inside[v->id] && shape_of(h, v->type) == SHAPE_FULL ? side : full;
    }
    if (n_batch > 0 || full < 0 || h->inside[op->operands[1 - full]->id]) {
        return false;
    }
    Type other = op->operands[1 - full]->type;
    bool over_classes = n == 1 && sums[full][0] == 2 && other.rank == 2 && full == 0;
    bool over_rows = n == 2 && other.rank == 3 && sums[0][0] == sums[1][0] &&
                     sums[0][1] == sums[1][1] && sums[0][0] + sums[0][1] == 1 &&
                     other.dims[0] == h->dims[0] && other.dims[1] == h->dims[1];
    *out_sum = over_rows;
    return over_classes || over_rows;
}

/* Whether the op does the same for every row. */
static bool is_by_row(const Head *h, const Op *op) {
    if (op->n_results != 1 || op->n_blocks > 0) {
        return false;
    }
    Shape out = shape_of(h, op->results[0]->type);
    bool sum;
    if (op->code == OP_contract) {
        return is_product(h, op, &sum);
    }
    if (out == SHAPE_OTHER) {
        return false;
    }
    Shape in = op->n_operands > 0 ? shape_of(h, op->operands[0]->type) : SHAPE_OTHER;
    if (op_info(op->code)->kind == KIND_ELEMENTWISE) {
        return true;
    }
    switch (op->code) {
    case OP_reshape:
        return (in == SHAPE_ROW || in == SHAPE_ROW_ONE) && out != SHAPE_FULL;
    case OP_broadcast:
        return in == SHAPE_ROW && out == SHAPE_FULL && ends_in(op_axes(op), 1, 2);
    case OP_reduce_sum:
    case OP_reduce_max:
    case OP_reduce_min:
        return in == SHAPE_FULL && ends_in(op_axes(op), 2, 1);
    case OP_gather:
    case OP_scatter_add:
        return op_axis(op) == 2 && in == SHAPE_FULL &&
               shape_of(h, op->operands[1]->type) == SHAPE_ROW_ONE;
    default:
        return false;
    }
}

static bool leaves(const Op *op) {
    return op->code == OP_contract;
}

/* Which ops the loop takes, and which others depend on it. */
static bool collect(Head *h) {
    bool started = false;
    BLOCK_EACH_OP (h->func->body, op) {
        bool reads = false, tainted = false;
        for (int32_t i = 0; i < op->n_operands; i++) {
            reads = reads || h->inside[op->operands[i]->id];
            tainted = tainted || h->tainted[op->operands[i]->id];
        }
        if (op->n_blocks > 0 && started) {
            return false; /* a loop of its own may read anything */
        }
        bool joins = op == h->logits || (reads && !tainted && is_by_row(h, op));
        started = started || op == h->logits;
        for (int32_t i = 0; i < op->n_results; i++) {
            h->inside[op->results[i]->id] = joins && (op == h->logits || !leaves(op));
            h->tainted[op->results[i]->id] =
                tainted || (reads && !joins) || (joins && op != h->logits && leaves(op));
        }
        if (joins) {
            h->member[op->id] = true;
            h->first = h->first ? h->first : op;
            h->last = op;
        }
    }
    return h->first != NULL;
}

/* Members whose results are read outside; logits-sized ones may not be. */
static bool find_outs(Head *h) {
    bool *read = ARENA_ARRAY(h->pass->scratch, bool, h->n_values + 1);
    BLOCK_EACH_OP (h->func->body, op) {
        for (int32_t i = 0; i < op->n_operands && !h->member[op->id]; i++) {
            read[op->operands[i]->id] = true;
        }
    }
    for (int pass = 0; pass < 2; pass++) {
        BLOCK_EACH_OP (h->func->body, op) {
            if (!h->member[op->id] || !read[op->results[0]->id]) {
                continue;
            }
            bool sum = false;
            if (op != h->logits && op->code == OP_contract) {
                is_product(h, op, &sum);
            } else if (shape_of(h, op->results[0]->type) == SHAPE_FULL) {
                return false;
            }
            if (sum == (pass == 0)) {
                if (h->n_out == MOST_OUT) {
                    return false;
                }
                h->outs[h->n_out++] = op;
                h->n_sums += sum;
            }
        }
    }
    return h->n_out > 0;
}

/* -- building */
/* [batch, time, …] as [length, chunk, …]. */
static Value *cut_rows(Head *h, Builder *b, Value *v) {
    const Size *dims[TYPE_MAX_RANK];
    for (int32_t i = 0; i < v->type.rank; i++) {
        dims[i] = v->type.dims[i];
    }
    dims[0] = h->length;
    dims[1] = h->chunk;
    return b_reshape(b, v, v->type.rank, dims);
}

/* Without the batch, a chunk of the time. */
static Type body_type(Head *h, Type type) {
    const Size *dims[TYPE_MAX_RANK];
    dims[0] = h->chunk;
    for (int32_t i = 2; i < type.rank; i++) {
        dims[i - 1] = type.dims[i];
    }
    return type_make(h->pass->context, type.dtype, type.rank - 1, dims);
}

static bool is_rows(const Head *h, Type type) {
    return type.rank >= 2 && type.dims[0] == h->dims[0] && type.dims[1] == h->dims[1];
}

/* Logits-sized values that no memory needs to hold: made anew in the loop. */
static bool is_made_anew(const Head *h, const Value *v) {
    const Op *op = v->op;
    if (!op || shape_of(h, v->type) != SHAPE_FULL) {
        return false;
    }
    int64_t axis = op->code == OP_iota ? op_axis(op) : 2;
    if (op->code == OP_broadcast) {
        const Type x = op->operands[0]->type;
        return x.rank == 0 || (x.rank == 1 && ends_in(op_axes(op), 2, 1)) ||
               (shape_of(h, x) == SHAPE_ROW && ends_in(op_axes(op), 1, 2));
    }
    return op->code == OP_constant || (op->code == OP_iota && axis == 2) ||
           op_info(op->code)->kind == KIND_ELEMENTWISE;
}

static bool add_in(Head *h, Value *v) {
    for (int32_t i = 0; i < h->n_in; i++) {
        if (h->ins[i] == v) {
            return true;
        }
    }
    if (h->n_in == MOST_IN) {
        return false;
    }
    h->ins[h->n_in++] = v;
    return true;
}

/* Values with rows that come into the loop from outside. */
static bool find_ins(Head *h, const Op *op) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        Value *v = op->operands[i];
        double constant;
        if (h->inside[v->id] || !is_rows(h, v->type)) {
            continue;
        }
        if (is_made_anew(h, v)) {
            if (!find_ins(h, v->op)) {
                return false;
            }
        } else if (!value_is_constant(v, &constant) && !add_in(h, v)) {
            return false;
        }
    }
    return true;
}

static Value *body_value(Head *h, Value *v);

/* The op for a chunk: row axes 0 and 1 are axis 0 there. */
static Value *body_op(Head *h, const Op *op) {
    Func *func = h->func;
    Value *operands[3];
    for (int32_t i = 0; i < op->n_operands; i++) {
        operands[i] = body_value(h, op->operands[i]);
    }
    Type type = op->results[0]->type;
    int64_t row = 0, classes = 1;
    Op *copy = op_create(func, op->code, operands, op->n_operands, 1, 0);
    memcpy(copy->attrs, op->attrs, sizeof(copy->attrs));
    switch (op->code) {
    case OP_contract: {
        bool sum = false;
        is_product(h, op, &sum);
        if (sum) {
            op_set_contract_a(copy, ints_copy(func, &row, 1));
            op_set_contract_b(copy, ints_copy(func, &row, 1));
        } else { /* logits, or their derivative times the weights: over the last axis of operand 0
                  */
            op_set_contract_a(copy, ints_copy(func, &classes, 1));
        }
        break;
    }
    case OP_reshape:
    case OP_constant:
    case OP_iota: {
        Type inner = body_type(h, type);
        op_set_shape(copy, sizes_copy(func, inner.dims, inner.rank));
        if (op->code == OP_iota) {
            op_set_axis(copy, 1);
        }
        break;
    }
    case OP_broadcast: {
        Type inner = body_type(h, type);
        op_set_shape(copy, sizes_copy(func, inner.dims, inner.rank));
        int32_t rank = operands[0]->type.rank;
        bool by_row = is_rows(h, op->operands[0]->type);
        op_set_axes(copy, ints_copy(func, by_row ? &row : &classes, rank));
        break;
    }
    case OP_reduce_sum:
    case OP_reduce_max:
    case OP_reduce_min:
        op_set_axes(copy, ints_copy(func, &classes, 1));
        break;
    case OP_gather:
    case OP_scatter_add:
        op_set_axis(copy, 1);
        break;
    default:
        break;
    }
    h->b.place = op->place;
    h->b.label = op->label;
    return b_op(&h->b, copy);
}

static Value *body_value(Head *h, Value *v) {
    if (h->map[v->id]) {
        return h->map[v->id];
    }
    double constant;
    bool rows = is_rows(h, v->type);
    if (rows && (is_made_anew(h, v) || value_is_constant(v, &constant))) {
        h->map[v->id] = body_op(h, v->op);
        return h->map[v->id];
    }
    return v; /* weights, scalars */
}

/* Between the first and the last member: what does not depend on the loop, then (returned) the
 * place of the loop, then what does. */
static Op *make_place(Head *h) {
    Op *end = h->last->next;
    for (Op *op = h->first, *next; op != end; op = next) {
        next = op->next;
        bool depends = h->member[op->id];
        for (int32_t i = 0; i < op->n_results; i++) {
            depends = depends || h->tainted[op->results[i]->id];
        }
        for (int32_t i = 0; i < op->n_operands; i++) {
            depends = depends || h->inside[op->operands[i]->id] || h->tainted[op->operands[i]->id];
        }
        if (!depends) {
            op_unlink(op);
            op_insert_before(op, h->first);
        }
    }
    return h->first;
}

static void build(Head *h) {
    Op *place = make_place(h);
    Builder b = builder_before(place);
    b.place = h->logits->place;
    b.label = h->logits->label;
    Value *xs[MOST_IN], *carries[MOST_OUT], *yields[MOST_OUT];
    for (int32_t i = 0; i < h->n_sums; i++) {
        carries[i] = b_constant_like(&b, 0, h->outs[i]->results[0]);
    }
    for (int32_t i = 0; i < h->n_in; i++) {
        xs[i] = cut_rows(h, &b, h->ins[i]);
    }
    Op *scan =
        b_scan_begin(&b, carries, h->n_sums, xs, h->n_in, h->length, false, h->n_out - h->n_sums);
    h->body = scan->blocks[0];
    h->b = builder_at_end(h->func, h->body);
    h->map = ARENA_ARRAY(h->pass->scratch, Value *, h->n_values + 1);
    for (int32_t i = 0; i < h->n_in; i++) {
        h->map[h->ins[i]->id] = h->body->args[1 + h->n_sums + i];
    }
    BLOCK_EACH_OP (h->func->body, op) {
        if (op->id < h->n_ops && op != scan && h->member[op->id] &&
            op->results[0]->id < h->n_values) {
            h->map[op->results[0]->id] = body_op(h, op);
        }
    }
    for (int32_t i = 0; i < h->n_out; i++) {
        yields[i] = h->map[h->outs[i]->results[0]->id];
        if (i < h->n_sums) {
            yields[i] = b_add(&h->b, h->body->args[1 + i], yields[i]);
        }
    }
    b_yield(&h->b, yields, h->n_out);
    b_op(&b, scan);
    Value **replace = ARENA_ARRAY(h->pass->scratch, Value *, h->n_values + 1);
    for (int32_t i = 0; i < h->n_out; i++) {
        Value *old = h->outs[i]->results[0], *now = scan->results[i];
        if (i >= h->n_sums) {
            now = b_reshape(&b, now, old->type.rank, old->type.dims);
        }
        now->name = old->name;
        replace[old->id] = now;
    }
    func_replace_values(h->func, replace);
}

/* Logits [batch, time, classes] of inputs [batch, time, width] and weights, large enough. */
static bool is_logits(Head *h, Op *op) {
    if (op->code != OP_contract || op->results[0]->type.rank != 3) {
        return false;
    }
    Type type = op->results[0]->type, x = op->operands[0]->type;
    Ints sum = contract_contract_a(op);
    if (contract_batch_a(op).count > 0 || sum.count != 1 || x.rank != 3 || sum.at[0] != 2 ||
        op->operands[1]->type.rank != 2 || x.dims[2] == type.dims[2]) {
        return false;
    }
    for (int i = 0; i < 3; i++) {
        h->dims[i] = type.dims[i];
    }
    int64_t time, classes = size_nominal(type.dims[2], UNSET_SIZE);
    double rows = (double)size_nominal(type.dims[0], UNSET_BATCH) *
                  (double)size_nominal(type.dims[1], UNSET_SIZE);
    if (rows * (double)classes < h->measures->worth) {
        return false;
    }
    Context *context = h->pass->context;
    h->chunk = type.dims[1];
    h->length = type.dims[0];
    if (size_is_const(type.dims[1], &time)) {
        int64_t chunk = time;
        while ((double)chunk * (double)classes > h->measures->chunk && chunk % 2 == 0 &&
               chunk > h->measures->least_rows) {
            chunk /= 2;
        }
        h->chunk = size_const(context, chunk);
        h->length = size_mul(context, type.dims[0], size_const(context, time / chunk));
    }
    return !size_is_one(h->length);
}

static bool try_head(PassContext *pass, Func *func, Op *op, const HeadMeasures *measures) {
    Head h = {.pass = pass, .measures = measures, .func = func, .logits = op};
    if (!is_logits(&h, op)) {
        return false;
    }
    h.n_values = func->n_values;
    h.n_ops = func->n_ops;
    h.inside = ARENA_ARRAY(pass->scratch, bool, h.n_values + 1);
    h.tainted = ARENA_ARRAY(pass->scratch, bool, h.n_values + 1);
    h.member = ARENA_ARRAY(pass->scratch, bool, h.n_ops + 1);
    if (!collect(&h) || !find_outs(&h)) {
        return false;
    }
    BLOCK_EACH_OP (func->body, member) {
        if (h.member[member->id] && !find_ins(&h, member)) {
            return false;
        }
    }
    build(&h);
    return true;
}

bool head_in_chunks(PassContext *pass, Func *func, const HeadMeasures *measures) {
    func_renumber(func);
    BLOCK_EACH_OP (func->body, op) {
        if (try_head(pass, func, op, measures)) {
            pass_dce(pass, func);
            return true;
        }
    }
    return false;
}

bool pass_head(PassContext *pass, Func *func) {
    return head_in_chunks(pass, func, &pass->machine->fusion.head);
}
