/* See scan_cases.h. In each body, args[0] is the index, then the carries, then the slices of the
 * xs. */
#include "tests/ops/scan_cases.h"

static const ContractAxes NT = {.n_contract = 1, .contract_a = {1}, .contract_b = {1}};
static const ContractAxes NN = {.n_contract = 1, .contract_a = {1}, .contract_b = {0}};

static Builder body_of(Builder *b, Op *scan) {
    return builder_at_end(b->func, scan->blocks[0]);
}

static Value *wide_row(Builder *b, Value *row, Value *like) {
    return b_broadcast(b, row, like->type.rank, like->type.dims, (int64_t[]){1});
}

/* c <- c * x + x; result the last c. */
Value *scan_sum(Harness *h, Builder *b, Value **x) {
    Op *scan = b_scan_begin(b, &x[1], 1, &x[0], 1, harness_size(h, "T"), false, 0);
    Value **args = scan->blocks[0]->args;
    Builder in = body_of(b, scan);
    Value *product = b_mul(&in, args[1], args[2]);
    Value *next = b_add(&in, product, args[2]);
    b_yield(&in, &next, 1);
    return b_op(b, scan);
}

/* Backwards, with a stacked result beside the carry. */
Value *scan_product_reverse(Harness *h, Builder *b, Value **x) {
    Op *scan = b_scan_begin(b, &x[1], 1, &x[0], 1, harness_size(h, "T"), true, 1);
    Value **args = scan->blocks[0]->args;
    Builder in = body_of(b, scan);
    Value *product = b_mul(&in, args[1], args[2]);
    Value *next = b_unary(&in, OP_sin, product);
    Value *yields[] = {next, b_mul(&in, next, args[2])};
    b_yield(&in, yields, 2);
    b_op(b, scan);
    Value *last = b_reduce(b, OP_reduce_sum, scan->results[1], (int64_t[]){0}, 1);
    return b_add(b, last, scan->results[0]);
}

/* The final carry is not used. */
Value *scan_stacked_only(Harness *h, Builder *b, Value **x) {
    Op *scan = b_scan_begin(b, &x[1], 1, &x[0], 1, harness_size(h, "T"), false, 1);
    Value **args = scan->blocks[0]->args;
    Builder in = body_of(b, scan);
    Value *next = b_mul(&in, args[1], args[2]);
    Value *yields[] = {next, args[1]};
    b_yield(&in, yields, 2);
    b_op(b, scan);
    return scan->results[1];
}

/* h <- tanh(x W^T + h U^T + bias), weights and bias captured. */
Value *scan_rnn(Harness *h, Builder *b, Value **x) {
    Op *scan = b_scan_begin(b, &x[4], 1, &x[0], 1, harness_size(h, "T"), false, 1);
    Value **args = scan->blocks[0]->args;
    Builder in = body_of(b, scan);
    Value *recurrent = b_contract(&in, args[1], x[1], &NT);
    Value *fed = b_contract(&in, args[2], x[2], &NT);
    Value *bias = wide_row(&in, x[3], recurrent);
    Value *sum = b_add(&in, recurrent, fed);
    sum = b_add(&in, sum, bias);
    Value *next = b_unary(&in, OP_tanh, sum);
    Value *yields[] = {next, next};
    b_yield(&in, yields, 2);
    b_op(b, scan);
    return scan->results[1];
}

Value *scan_lstm(Harness *h, Builder *b, Value **x) {
    const Size *two = harness_size(h, "2");
    const Size *dims[] = {two, two};
    Type type = type_make(&h->context, DT_F64, 2, dims);
    Value *zero = b_constant(b, 0.1, type);
    Value *starts[] = {zero, zero};
    Op *scan = b_scan_begin(b, starts, 2, &x[0], 1, harness_size(h, "T"), false, 1);
    Value **args = scan->blocks[0]->args;
    Builder in = body_of(b, scan);
    Value *recurrent = b_contract(&in, args[1], x[1], &NT);
    Value *gates = b_add(&in, recurrent, args[3]);
    Value *gate[4];
    for (int i = 0; i < 4; i++) {
        const Size *from = size_const(&h->context, 2 * i), *to = size_const(&h->context, 2 * i + 2);
        gate[i] = b_slice_axis(&in, gates, 1, from, to);
        gate[i] = b_unary(&in, i == 2 ? OP_tanh : OP_sigmoid, gate[i]);
    }
    Value *kept = b_mul(&in, gate[1], args[2]);
    Value *fresh = b_mul(&in, gate[0], gate[2]);
    Value *cell = b_add(&in, kept, fresh);
    Value *shown = b_unary(&in, OP_tanh, cell);
    Value *hidden = b_mul(&in, gate[3], shown);
    Value *yields[] = {hidden, cell, hidden};
    b_yield(&in, yields, 3);
    b_op(b, scan);
    return scan->results[2];
}

/* Captured values used elementwise, one of them by a broadcast of a scalar. */
Value *scan_captured(Harness *h, Builder *b, Value **x) {
    Value *start = b_constant_like(b, 0.5, x[1]);
    Op *scan = b_scan_begin(b, &start, 1, &x[0], 1, harness_size(h, "T"), false, 1);
    Value **args = scan->blocks[0]->args;
    Builder in = body_of(b, scan);
    Value *scaled = b_mul(&in, args[1], x[1]);
    Value *wide = b_splat(&in, x[2], 1, x[1]->type.dims);
    Value *shifted = b_mul(&in, args[2], wide);
    Value *next = b_add(&in, scaled, shifted);
    Value *plus = b_add(&in, next, x[1]);
    Value *yields[] = {next, plus};
    b_yield(&in, yields, 2);
    b_op(b, scan);
    return scan->results[1];
}

/* No xs; carries feed each other. */
Value *scan_two_carries(Harness *h, Builder *b, Value **x) {
    Op *scan = b_scan_begin(b, x, 2, NULL, 0, harness_size(h, "5"), false, 0);
    Value **args = scan->blocks[0]->args;
    Builder in = body_of(b, scan);
    Value *sine = b_unary(&in, OP_sin, args[2]);
    Value *sum = b_add(&in, args[1], sine);
    Value *yields[] = {args[2], sum};
    b_yield(&in, yields, 2);
    b_op(b, scan);
    return b_mul(b, scan->results[0], scan->results[1]);
}

/* An integer carry and the index take part in the value, not in the derivative. */
Value *scan_counter(Harness *h, Builder *b, Value **x) {
    Value *zero = b_constant(b, 1.0, type_scalar(DT_I32));
    Value *starts[] = {zero, x[0]};
    Op *scan = b_scan_begin(b, starts, 2, NULL, 0, harness_size(h, "T"), false, 0);
    Value **args = scan->blocks[0]->args;
    Builder in = body_of(b, scan);
    Value *count = b_add(&in, args[1], args[0]);
    Value *number = b_cast(&in, count, DT_F64);
    Value *wide = b_splat(&in, number, 1, x[0]->type.dims);
    Value *small = b_div(&in, args[2], wide);
    Value *next = b_add(&in, small, x[1]);
    next = b_unary(&in, OP_sin, next);
    Value *yields[] = {count, next};
    b_yield(&in, yields, 2);
    b_op(b, scan);
    return scan->results[1];
}

/* A scan in a scan, the inner one with a captured matrix and a carry that starts from the outer's.
 */
Value *scan_nested(Harness *h, Builder *b, Value **x) {
    const Size *dims[] = {harness_size(h, "2")};
    Value *start = b_constant(b, 0.3, type_make(&h->context, DT_F64, 1, dims));
    Op *outer = b_scan_begin(b, &start, 1, &x[0], 1, harness_size(h, "T"), false, 1);
    Value **outer_args = outer->blocks[0]->args;
    Builder middle = body_of(b, outer);
    Op *inner =
        b_scan_begin(&middle, &outer_args[1], 1, &outer_args[2], 1, harness_size(h, "3"), true, 1);
    Value **args = inner->blocks[0]->args;
    Builder in = body_of(b, inner);
    Value *turned = b_contract(
        &in, x[1], args[1], &(ContractAxes){.n_contract = 1, .contract_a = {1}, .contract_b = {0}});
    Value *sum = b_add(&in, turned, args[2]);
    Value *next = b_unary(&in, OP_tanh, sum);
    Value *product = b_mul(&in, next, outer_args[1]);
    Value *inner_yields[] = {next, product};
    b_yield(&in, inner_yields, 2);
    b_op(&middle, inner);
    Value *row = b_reduce(&middle, OP_reduce_sum, inner->results[1], (int64_t[]){0}, 1);
    Value *outer_yields[] = {inner->results[0], row};
    b_yield(&middle, outer_yields, 2);
    b_op(b, outer);
    Value *rows = b_reduce(b, OP_reduce_sum, outer->results[1], (int64_t[]){0}, 1);
    return b_mul(b, rows, outer->results[0]);
}

/* Length 0 gives the start. */
Value *scan_empty(Harness *h, Builder *b, Value **x) {
    Op *scan = b_scan_begin(b, &x[0], 1, NULL, 0, harness_size(h, "0"), false, 0);
    Value **args = scan->blocks[0]->args;
    Builder in = body_of(b, scan);
    Value *next = b_mul(&in, args[1], args[1]);
    b_yield(&in, &next, 1);
    Value *last = b_op(b, scan);
    return b_mul(b, last, last);
}

/* Gradient descent inside a loop: w <- w - 0.1 d(sum((w*x)^3))/dw. */
Value *scan_grad_inside(Harness *h, Builder *b, Value **x) {
    Op *scan = b_scan_begin(b, &x[1], 1, &x[0], 1, harness_size(h, "T"), false, 0);
    Value **args = scan->blocks[0]->args;
    Builder in = body_of(b, scan);
    Value *product = b_mul(&in, args[1], args[2]);
    Value *wave = b_unary(&in, OP_sin, product);
    Value *square = b_mul(&in, wave, wave);
    Value *loss = b_reduce(&in, OP_reduce_sum, square, (int64_t[]){0}, 1);
    Value *slope = NULL;
    b_grad(&in, loss, &args[1], 1, &slope);
    Value *rate = b_constant_like(&in, 0.1, slope);
    Value *change = b_mul(&in, rate, slope);
    Value *next = b_sub(&in, args[1], change);
    b_yield(&in, &next, 1);
    return b_op(b, scan);
}

/* The body multiplies two captured matrices: hoisted, then used in every iteration. */
Value *scan_invariant(Harness *h, Builder *b, Value **x) {
    const Size *dims[] = {harness_size(h, "2")};
    Value *start = b_constant(b, 0.3, type_make(&h->context, DT_F64, 1, dims));
    Op *scan = b_scan_begin(b, &start, 1, &x[0], 1, harness_size(h, "T"), false, 0);
    Value **args = scan->blocks[0]->args;
    Builder in = body_of(b, scan);
    Value *matrix = b_contract(&in, x[1], x[2], &NN);
    Value *turned = b_contract(&in, matrix, args[1], &NN);
    Value *sum = b_add(&in, turned, args[2]);
    Value *next = b_unary(&in, OP_tanh, sum);
    b_yield(&in, &next, 1);
    return b_op(b, scan);
}

/* A carry that does not change, and a captured value that is yielded as it is. */
Value *scan_pass_through(Harness *h, Builder *b, Value **x) {
    Value *starts[] = {x[1], x[2]};
    Op *scan = b_scan_begin(b, starts, 2, &x[0], 1, harness_size(h, "T"), false, 2);
    Value **args = scan->blocks[0]->args;
    Builder in = body_of(b, scan);
    Value *product = b_mul(&in, args[2], args[1]);
    Value *next = b_mul(&in, product, args[3]);
    Value *yields[] = {args[1], next, x[2], args[3]};
    b_yield(&in, yields, 4);
    b_op(b, scan);
    Value *captured = b_mul(b, scan->results[2], scan->results[3]);
    Value *rows = b_reduce(b, OP_reduce_sum, captured, (int64_t[]){0}, 1);
    Value *carries = b_mul(b, scan->results[0], scan->results[1]);
    return b_add(b, rows, carries);
}

/* A convolution in the body, with captured weights. */
Value *scan_conv_state(Harness *h, Builder *b, Value **x) {
    const Size *dims[] = {harness_size(h, "1"), harness_size(h, "2"), harness_size(h, "4")};
    Value *start = b_constant(b, 0.2, type_make(&h->context, DT_F64, 3, dims));
    Op *scan = b_scan_begin(b, &start, 1, &x[0], 1, harness_size(h, "3"), false, 0);
    Value **args = scan->blocks[0]->args;
    Builder in = body_of(b, scan);
    ConvAttrs attrs = {
        .n_spatial = 1, .stride = {1}, .dilation = {1}, .low = {1}, .high = {1}, .groups = 1};
    Value *sum = b_add(&in, args[1], args[2]);
    Value *mixed = b_conv(&in, sum, x[1], &attrs);
    Value *next = b_unary(&in, OP_tanh, mixed);
    b_yield(&in, &next, 1);
    return b_op(b, scan);
}
