/* What shape rules refuse, and in which words: ill-typed ops built through a soft builder. */
#include "tests/ops/harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* REFUSED(name, arguments, problem, { code that tries }). */
#define SHAPE_CASES                                                                                \
    REFUSED(add, "f32[B,10] f32[B]",                                                               \
            "add: operand 1 has type f32[B] but operand 0 has type f32[B, 10]",                    \
            { b_add(b, x[0], x[1]); })                                                             \
    REFUSED(add_bool, "bool[2] bool[2]", "add: operand 0 has type bool[2] but must be a number",   \
            { b_add(b, x[0], x[1]); })                                                             \
    REFUSED(sqrt_int, "i32[2]", "sqrt: operand 0 has type i32[2] but must be a float type",        \
            { b_unary(b, OP_sqrt, x[0]); })                                                        \
    REFUSED(select_condition, "f32[2] f32[2] f32[2]",                                              \
            "select: operand 0 has type f32[2] but a condition is bool",                           \
            { b_select(b, x[0], x[1], x[2]); })                                                    \
    REFUSED(                                                                                       \
        broadcast, "f32[3]",                                                                       \
        "broadcast: operand 0 has shape f32[3], but its axis 0 becomes result axis 1 of size T",   \
        { b_broadcast(b, x[0], 2, dims(h, "B", "T"), (int64_t[]){1}); })                           \
    REFUSED(                                                                                       \
        reshape, "f32[2,3]",                                                                       \
        "reshape: operand 0 has type f32[2, 3] with 6 elements, but the shape wanted, f32[2, 4], " \
        "has 8",                                                                                   \
        { b_reshape(b, x[0], 2, dims(h, "2", "4")); })                                             \
    REFUSED(transpose, "f32[2,3]", "transpose: axis 0 stands twice in permutation", {              \
        b_transpose(b, x[0], (int64_t[]){0, 0});                                                   \
    })                                                                                             \
    REFUSED(reduce, "f32[2,3]", "reduce_sum: axis 2 is outside a value of rank 2",                 \
            { b_reduce(b, OP_reduce_sum, x[0], (int64_t[]){2}, 1); })                              \
    REFUSED(slice, "f32[2,3]",                                                                     \
            "slice: 0 to 4 is outside axis 1 of operand 0, which has shape f32[2, 3]",             \
            { b_slice_axis(b, x[0], 1, harness_size(h, "0"), harness_size(h, "4")); })             \
    REFUSED(pad, "f32[2] f32[]",                                                                   \
            "pad: axis 0 has low -1, high 0, interior 0, but none may be negative",                \
            { b_pad(b, x[0], x[1], dims(h, "-1", "0"), dims(h, "0", "0"), NULL); })                \
    REFUSED(concat, "f32[2,3] f32[3,3]",                                                           \
            "concat: operand 1 has type f32[3, 3], but operand 0 has type f32[2, 3] and all axes " \
            "but 1 must be equal",                                                                 \
            { b_concat(b, x, 2, 1); })                                                             \
    REFUSED(contract, "f32[2,3] f32[4,5]",                                                         \
            "contract: operand 0 has type f32[2, 3] and operand 1 f32[4, 5], so axis 1 of the "    \
            "first does not match axis 0 of the second",                                           \
            { b_contract(b, x[0], x[1], &(ContractAxes){.n_contract = 1, .contract_a = {1}}); })   \
    REFUSED(contract_maybe, "f32[2,B] f32[T,5]",                                                   \
            "contract: operand 0 has type f32[2, B] and operand 1 f32[T, 5], so axis 1 of the "    \
            "first does not match axis 0 of the second",                                           \
            { b_contract(b, x[0], x[1], &(ContractAxes){.n_contract = 1, .contract_a = {1}}); })   \
    REFUSED(conv_channels, "f32[1,3,8] f32[4,2,3]",                                                \
            "conv: x has 3 channels but the weight wants 2 (2 in each of 1 groups)", {             \
                b_conv(b, x[0], x[1],                                                              \
                       &(ConvAttrs){.n_spatial = 1, .stride = {1}, .dilation = {1}, .groups = 1}); \
            })                                                                                     \
    REFUSED(conv_small, "f32[1,2,2] f32[4,2,5]",                                                   \
            "conv: the size of axis 2 would be -2, below zero", {                                  \
                b_conv(b, x[0], x[1],                                                              \
                       &(ConvAttrs){.n_spatial = 1, .stride = {1}, .dilation = {1}, .groups = 1}); \
            })                                                                                     \
    REFUSED(take, "f32[3] f32[2]", "take: operand 1 has type f32[2] but indices are i32 or i64",   \
            { b_take(b, x[0], x[1], 0); })                                                         \
    REFUSED(take_add, "f32[3,4] i32[2] f32[2,3]",                                                  \
            "take_add: operand 2 has type f32[2, 3] but must be f32[2, 4]",                        \
            { b_take_add(b, x[0], x[1], x[2], 0); })                                               \
    REFUSED(gather, "f32[3,4] i32[2,2]",                                                           \
            "gather: operand 1 has type i32[2, 2] but operand 0 has type f32[3, 4] and all axes "  \
            "but 1 must be equal",                                                                 \
            { b_gather(b, x[0], x[1], 1); })                                                       \
    REFUSED(dynamic, "f32[3] i64[]", "dynamic_slice: operand 1 has type i64[] but must be i32[]",  \
            { b_dynamic_slice(b, x[0], x + 1, dims(h, "2", "0")); })                               \
    REFUSED(random, "i64[] i64[] i64[]",                                                           \
            "random_uniform: operand 2 has type i64[] but must be i32[]",                          \
            { b_random_uniform(b, x[0], x[1], x[2], 1, type_scalar(DT_F32)); })                    \
    REFUSED(constant, "f32[]", "constant: 0.5 is not exact in i32",                                \
            { b_constant(b, 0.5, type_scalar(DT_I32)); })                                          \
    REFUSED(size_check, "f32[]", "size_check: 2 and 3 are never equal",                            \
            { b_size_check(b, harness_size(h, "2"), harness_size(h, "3"), "x"); })                 \
    REFUSED(check, "f32[]", "check: operand 0 has type f32[] but must be bool[]",                  \
            { b_check(b, x[0], "x"); })                                                            \
    REFUSED(grad, "f32[2]",                                                                        \
            "grad: operand 0 has type f32[2] but only a float of rank 0 has a gradient", {         \
                Value *out = NULL;                                                                 \
                b_grad(b, x[0], x, 1, &out);                                                       \
            })                                                                                     \
    REFUSED(scan_carry, "f32[] f32[4]",                                                            \
            "scan: the next value of carry 0 has type bool[] but must be f32[]", {                 \
                Op *scan = b_scan_begin(b, x, 1, x + 1, 1, harness_size(h, "4"), false, 0);        \
                Builder in = builder_at_end(b->func, scan->blocks[0]);                             \
                Value *finite = b_unary(&in, OP_isfinite, scan->blocks[0]->args[1]);               \
                b_yield(&in, &finite, 1);                                                          \
                b_op(b, scan);                                                                     \
            })                                                                                     \
    REFUSED(scan_length, "f32[] f32[4]",                                                           \
            "scan: operand 1 has type f32[4] but its first axis must be the length, 5", {          \
                Op *scan = b_scan_begin(b, x, 1, x + 1, 1, harness_size(h, "5"), false, 0);        \
                Builder in = builder_at_end(b->func, scan->blocks[0]);                             \
                b_yield(&in, &scan->blocks[0]->args[1], 1);                                        \
                b_op(b, scan);                                                                     \
            })

static const Size *const *dims(Harness *h, const char *first, const char *second) {
    const Size **out = ARENA_ARRAY(&h->context.arena, const Size *, 2);
    out[0] = harness_size(h, first);
    out[1] = harness_size(h, second);
    return out;
}

#define REFUSED(name, args, problem, ...)                                                          \
    static void try_##name(Harness *h, Builder *b, Value **x) {                                    \
        (void)h;                                                                                   \
        (void)x;                                                                                   \
        __VA_ARGS__                                                                                \
    }
SHAPE_CASES
#undef REFUSED

typedef struct ShapeCase {
    const char *name, *args, *problem;
    void (*attempt)(Harness *h, Builder *b, Value **x);
} ShapeCase;

static const ShapeCase CASES[] = {
#define REFUSED(name, args, problem, ...) {#name, args, problem, try_##name},
    SHAPE_CASES
#undef REFUSED
};

enum { N_CASES = sizeof CASES / sizeof CASES[0] };

static void test_refused(void **state) {
    const ShapeCase *row = *state;
    Harness *h = calloc(1, sizeof *h);
    harness_init(h);
    if (setjmp(h->boundary.jump)) {
        fail_msg("%s: left through the boundary", row->name);
    }
    Func *func = harness_func(h, row->args);
    Builder b = builder_at_end(func, func->body);
    b.soft = true;
    row->attempt(h, &b, func->body->args);
    assert_non_null(b.problem.text);
    assert_string_equal(b.problem.text, row->problem);
    harness_finish(h);
    free(h);
}

int main(void) {
    static struct CMUnitTest tests[N_CASES];
    for (int i = 0; i < N_CASES; i++) {
        tests[i] = (struct CMUnitTest){.name = CASES[i].name,
                                       .test_func = test_refused,
                                       .initial_state = (void *)(uintptr_t)&CASES[i]};
    }
    return cmocka_run_group_tests_name("op_shapes", tests, NULL, NULL);
}
