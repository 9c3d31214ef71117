/* Random graphs for derivatives: values that are there already, made again or led around, which
 * passes join though a derivative by one of them must not notice; derivatives by such values;
 * functions that a choice keeps from where they have no value. */
#include "tests/fuzz/random_graph_internal.h"

enum { MOST_GRADS = 2 };

/* The op of another value once more. */
void grow_twin(Generator *g) {
    Node x = any_node(g);
    const Op *op = x.value->op;
    if (!op || op->n_results != 1 || op->n_blocks > 0 || op->code == OP_grad) {
        return;
    }
    for (int32_t i = 0; i < op->n_operands; i++) { /* of a loop, which are not seen here */
        if (op->operands[i]->op && op->operands[i]->op->parent != op->parent) {
            return;
        }
    }
    Op *twin = op_create(g->func, op->code, op->operands, op->n_operands, 1, 0);
    for (int i = 0; i < OP_MAX_ATTRS; i++) {
        twin->attrs[i] = op->attrs[i];
    }
    push(g, b_op(&g->b, twin), x.bound, x.exact);
}

/* There and back: a value equal to x that depends on it. */
void grow_around(Generator *g) {
    Node x = any_float(g);
    Type type = x.value->type;
    Builder *b = &g->b;
    int64_t way = pick(g, 3), permutation[TYPE_MAX_RANK];
    const Size *flat = type_elements(g->context, type);
    for (int32_t i = 0; i < type.rank; i++) {
        permutation[i] = type.rank - 1 - i;
    }
    Value *there = way == 0   ? b_neg(b, x.value)
                   : way == 1 ? b_reshape(b, x.value, 1, &flat)
                              : b_transpose(b, x.value, permutation);
    if (push(g, there, x.bound, x.exact)) {
        push(g,
             way == 0   ? b_neg(b, there)
             : way == 1 ? b_reshape(b, there, type.rank, type.dims)
                        : b_transpose(b, there, permutation),
             x.bound, x.exact);
    }
}

/* The derivative of one value, made a scalar, by one or two that were there before it. */
void grow_grad(Generator *g) {
    if (!g->options->grads || g->n_grads == MOST_GRADS) {
        return;
    }
    Node of = any_float(g), by[2] = {any_float(g), any_float(g)};
    int64_t axes[TYPE_MAX_RANK];
    for (int32_t i = 0; i < of.value->type.rank; i++) {
        axes[i] = i;
    }
    Builder *b = &g->b;
    Value *wave = b_unary(b, OP_sin, tame(g, of, 3));
    Value *y =
        of.value->type.rank ? b_reduce(b, OP_reduce_sum, wave, axes, of.value->type.rank) : wave;
    int32_t n = chance(g, 0.3) ? 2 : 1;
    Value *xs[2] = {by[0].value, by[1].value}, *slopes[2];
    b_grad(b, y, xs, n, slopes);
    g->n_grads++;
    for (int32_t i = 0; i < n; i++) {
        push(g, b_unary(b, OP_tanh, slopes[i]), 1, false);
    }
}

/* A function of x - 1/4 where that is positive, x elsewhere: its nan there must not be seen,
 * neither here nor in any derivative. */
void grow_guarded(Generator *g) {
    static const OpCode CODES[] = {OP_sqrt, OP_rsqrt, OP_log, OP_asin, OP_pow, OP_div};
    Builder *b = &g->b;
    Value *x = tame(g, any_float(g), 1.5);
    Value *quarter = number_like(g, 0.25, x);
    Value *tenth = number_like(g, 0.125, x);
    Value *condition = b_binary(b, OP_gt, x, number_like(g, 0.375, x));
    Value *above = b_sub(b, x, quarter); /* 1/8 … 5/4 where chosen */
    OpCode code = CODES[pick(g, 6)];
    Value *part = code == OP_asin ? b_mul(b, above, number_like(g, 0.75, x)) : above;
    if (code == OP_pow || code == OP_div) {
        Value *root = b_unary(b, OP_sqrt, above);
        part = code == OP_pow ? b_binary(b, code, above, root) : b_binary(b, code, tenth, root);
    } else {
        part = b_unary(b, code, part);
    }
    part = chance(g, 0.5) ? b_mul(b, part, part) : part;
    push(g, b_select(b, condition, part, x), 9, false);
}
