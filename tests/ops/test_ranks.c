/* Collectives: values on every rank against plain loops over what all ranks give, for all groups of
 * meshes of 1 to 12 ranks, with even, uneven and empty pieces; gradients of all ranks together.
 * What ranks that do not meet are told is test_meeting's. */
#include "tests/ops/ranks_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Rank counts 1 to 8 and 12, in up to three axes. */
static const int64_t MESHES[][3] = {{1}, {2},    {3},    {4},    {5},       {6},      {7},
                                    {8}, {2, 2}, {1, 3}, {3, 2}, {2, 2, 2}, {2, 3, 2}};
enum { N_MESHES = sizeof(MESHES) / sizeof(MESHES[0]) };

static bool has_values[OP_CODE_COUNT], has_gradient[OP_CODE_COUNT];

static void note_op(Op *op, void *user) {
    ((bool *)user)[op->code] = true;
}

/* One run: a mesh, a group, a number of rows. */
typedef struct Setting {
    RanksKit *kit;
    MeshGroup group;
    Func *func;
    RankTensors args, results;
} Setting;

#define FAIL(s, ...)                                                                               \
    do {                                                                                           \
        fprintf(stderr, "mesh of %d axes, %d ranks, group %u, %d rows\n",                          \
                (int)(s)->kit->shape.n_axes, (int)(s)->kit->n, (s)->group, (int)(s)->kit->rows);   \
        fail_msg(__VA_ARGS__);                                                                     \
    } while (0)

static const Size *piece(RanksKit *kit, MeshGroup group, const Size *rows) {
    return module_rank_size(kit->module, DIM_PIECE, group, rows);
}

static const Size *number(RanksKit *kit, int64_t value) {
    return size_const(&kit->context, value);
}

static const Size *times(RanksKit *kit, const Size *size, int64_t factor) {
    return size_mul(&kit->context, size, number(kit, factor));
}

static void yield(Func *func, Value *const *values, int32_t n) {
    FuncResult results[KIT_MAX_TENSORS] = {0};
    for (int32_t i = 0; i < n; i++) {
        results[i] = (FuncResult){.role = RESULT_OUTPUT,
                                  .name = context_internf(func->module->context, "r%d", (int)i)};
    }
    func_set_results(func, results, values, n);
}

static double element(const EvalTensor *t, int64_t i) {
    return t->f ? t->f[i] : (double)t->i[i];
}

static void expect(const Setting *s, int64_t rank, int32_t result, int64_t i, double wanted) {
    double got = element(&s->results.of[rank][result], i);
    if (!(got == wanted)) {
        FAIL(s, "rank %d, result %d, element %d: %.17g, not %.17g", (int)rank, (int)result, (int)i,
             got, wanted);
    }
}

static void input(Setting *s, const char *name, Type type) {
    func_add_arg(s->func, ARG_INPUT, name, type, (Place){0});
}

/* -- all_reduce: several operands at once, every operation that may combine */

static const struct {
    OpCode code;
    DType dtypes[2];
} COMBINES[] = {{OP_add, {DT_F64, DT_I32}},   {OP_mul, {DT_F64, DT_I64}},
                {OP_max, {DT_F32, DT_BOOL}},  {OP_min, {DT_F64, DT_I8}},
                {OP_and, {DT_BOOL, DT_BOOL}}, {OP_or, {DT_BOOL, DT_BOOL}}};

static double combined(OpCode code, double a, double b) {
    switch ((int)code) {
    case OP_add:
        return a + b;
    case OP_mul:
        return a * b;
    case OP_max:
        return a > b ? a : b;
    case OP_min:
        return a < b ? a : b;
    case OP_and:
        return a != 0 && b != 0;
    default:
        return a != 0 || b != 0;
    }
}

static void build_all_reduce(Setting *s, int which) {
    RanksKit *kit = s->kit;
    Value *outs[2];
    for (int i = 0; i < 2; i++) {
        Type type =
            kit_type(kit, COMBINES[which].dtypes[i], i + 1, kit_rows(kit), number(kit, 2), NULL);
        input(s, i ? "y" : "x", type);
    }
    Builder b = builder_at_end(s->func, s->func->body);
    b_all_reduce(&b, s->func->body->args, 2, COMBINES[which].code, s->group, outs);
    yield(s->func, outs, 2);
}

static void check_all_reduce(Setting *s, int which) {
    for (int64_t r = 0; r < s->kit->n; r++) {
        int64_t members[KIT_MAX_RANKS], n = kit_members(s->kit, s->group, r, members);
        for (int32_t k = 0; k < 2; k++) {
            for (int64_t i = 0; i < s->args.of[r][k].n; i++) {
                double wanted = element(&s->args.of[members[0]][k], i);
                for (int64_t m = 1; m < n; m++) {
                    wanted = combined(COMBINES[which].code, wanted,
                                      element(&s->args.of[members[m]][k], i));
                }
                if (s->args.of[r][k].i) {
                    wanted = (double)wrap_int((int64_t)wanted, COMBINES[which].dtypes[k]);
                }
                expect(s, r, k, i, wanted);
            }
        }
    }
}

/* -- all_gather: [2, 3*piece, 2], and with it [piece of 5] of i32 along another axis */

/* How the whole lies: outer x (rows x unit) x inner, its rows those of the ranks. */
typedef struct Whole {
    int64_t outer, rows, unit, inner;
} Whole;

static void build_all_gather(Setting *s, int which) {
    RanksKit *kit = s->kit;
    const Size *rows = which ? number(kit, 5) : kit_rows(kit), *five = number(kit, 5);
    const Size *part = times(kit, piece(kit, s->group, rows), 3);
    Type type = kit_type(kit, which ? DT_I64 : DT_F32, 3, number(kit, 2), part, number(kit, 2));
    Type other = kit_type(kit, DT_I32, 1, piece(kit, s->group, five), NULL, NULL);
    input(s, "x", type);
    input(s, "y", other);
    Builder b = builder_at_end(s->func, s->func->body);
    const MovedRows how[] = {{1, times(kit, rows, 3), rows}, {0, five, five}};
    Value *outs[2];
    b_all_gather_each(&b, s->func->body->args, how, 2, s->group, outs);
    yield(s->func, outs, 2);
}

static void expect_gathered(Setting *s, int64_t r, int32_t index, const Whole *w) {
    int64_t members[KIT_MAX_RANKS], counts[KIT_MAX_RANKS], first = 0;
    int64_t n = kit_members(s->kit, s->group, r, members);
    kit_deal(w->rows, n, counts);
    for (int64_t m = 0; m < n; first += w->unit * counts[m++]) {
        int64_t part = w->unit * counts[m];
        for (int64_t at = 0; at < w->outer * part * w->inner; at++) {
            int64_t inner = at % w->inner, row = at / w->inner % part, outer = at / w->inner / part;
            int64_t to = outer * w->unit * w->rows + first + row;
            expect(s, r, index, to * w->inner + inner, element(&s->args.of[members[m]][index], at));
        }
    }
    assert_int_equal(first, w->rows * w->unit);
    assert_int_equal(s->results.of[r][index].n, w->outer * first * w->inner);
}

static void check_all_gather(Setting *s, int which) {
    for (int64_t r = 0; r < s->kit->n; r++) {
        assert_int_equal(s->results.of[r][0].dims[1], 3 * (which ? 5 : s->kit->rows));
        expect_gathered(s, r, 0, &(Whole){2, which ? 5 : s->kit->rows, 3, 2});
        expect_gathered(s, r, 1, &(Whole){1, 5, 1, 1});
    }
}

/* -- reduce_scatter: [2, 2*rows, 3], and with it [7, 2] along the first axis */

static void build_reduce_scatter(Setting *s, int which) {
    RanksKit *kit = s->kit;
    const Size *rows = which ? number(kit, 5) : kit_rows(kit), *seven = number(kit, 7);
    Type type = kit_type(kit, which ? DT_I32 : DT_F64, 3, number(kit, 2), times(kit, rows, 2),
                         number(kit, 3));
    input(s, "x", type);
    input(s, "y", kit_type(kit, DT_F64, 2, seven, number(kit, 2), NULL));
    Builder b = builder_at_end(s->func, s->func->body);
    const MovedRows how[] = {{1, times(kit, piece(kit, s->group, rows), 2), rows},
                             {0, piece(kit, s->group, seven), seven}};
    Value *outs[2];
    b_reduce_scatter_each(&b, s->func->body->args, how, 2, s->group, outs);
    yield(s->func, outs, 2);
}

static void expect_scattered(Setting *s, int64_t r, int32_t index, const Whole *w) {
    int64_t members[KIT_MAX_RANKS], counts[KIT_MAX_RANKS], first = 0, own = 0;
    int64_t n = kit_members(s->kit, s->group, r, members);
    kit_deal(w->rows, n, counts);
    while (members[own] != r) {
        first += counts[own++];
    }
    int64_t part = w->unit * counts[own];
    assert_int_equal(s->results.of[r][index].n, w->outer * part * w->inner);
    for (int64_t i = 0; i < s->results.of[r][index].n; i++) {
        int64_t inner = i % w->inner, row = i / w->inner % part, outer = i / w->inner / part;
        double wanted = 0;
        for (int64_t m = 0; m < n; m++) {
            int64_t at = outer * w->unit * w->rows + w->unit * first + row;
            wanted += element(&s->args.of[members[m]][index], at * w->inner + inner);
        }
        expect(s, r, index, i, wanted);
    }
}

static void check_reduce_scatter(Setting *s, int which) {
    for (int64_t r = 0; r < s->kit->n; r++) {
        expect_scattered(s, r, 0, &(Whole){2, which ? 5 : s->kit->rows, 2, 3});
        expect_scattered(s, r, 1, &(Whole){1, 7, 1, 2});
    }
}

/* -- all_to_all: [piece of rows, 5] to [rows, piece of 5], or the other way round in memory */

static void build_all_to_all(Setting *s, int which) {
    RanksKit *kit = s->kit;
    const Size *rows = kit_rows(kit), *five = number(kit, 5);
    const Size *part = piece(kit, s->group, rows), *fifth = piece(kit, s->group, five);
    Type type = which ? kit_type(kit, DT_F64, 2, five, part, NULL)
                      : kit_type(kit, DT_F64, 2, part, five, NULL);
    input(s, "x", type);
    Builder b = builder_at_end(s->func, s->func->body);
    Value *y = b_all_to_all(&b, s->func->body->args[0],
                            &(AllToAll){.axis = which,
                                        .size = rows,
                                        .rows = rows,
                                        .split = !which,
                                        .split_size = fifth,
                                        .split_rows = five,
                                        .group = s->group});
    yield(s->func, &y, 1);
}

static void check_all_to_all(Setting *s, int which) {
    for (int64_t r = 0; r < s->kit->n; r++) {
        int64_t members[KIT_MAX_RANKS], counts[KIT_MAX_RANKS], fifths[KIT_MAX_RANKS];
        int64_t n = kit_members(s->kit, s->group, r, members), first = 0, own = 0, row = 0;
        kit_deal(s->kit->rows, n, counts);
        kit_deal(5, n, fifths);
        while (members[own] != r) {
            first += fifths[own++];
        }
        assert_int_equal(s->results.of[r][0].n, s->kit->rows * fifths[own]);
        for (int64_t m = 0; m < n; m++) {
            for (int64_t i = 0; i < counts[m]; i++, row++) {
                for (int64_t j = 0; j < fifths[own]; j++) {
                    int64_t from = which ? (first + j) * counts[m] + i : i * 5 + first + j;
                    int64_t to = which ? j * s->kit->rows + row : row * fifths[own] + j;
                    expect(s, r, 0, to, element(&s->args.of[members[m]][0], from));
                }
            }
        }
    }
}

/* -- shift */

static const int64_t STEPS[] = {0, 1, -1, 2, 13, INT64_MIN};

static void build_shift(Setting *s, int which) {
    RanksKit *kit = s->kit;
    Type type = kit_type(kit, DT_BF16, 2, number(kit, 2), kit_rows(kit), NULL);
    input(s, "x", type);
    Builder b = builder_at_end(s->func, s->func->body);
    Value *y = b_shift(&b, s->func->body->args[0], STEPS[which], s->group);
    yield(s->func, &y, 1);
}

static void check_shift(Setting *s, int which) {
    for (int64_t r = 0; r < s->kit->n; r++) {
        int64_t members[KIT_MAX_RANKS], n = kit_members(s->kit, s->group, r, members), own = 0;
        while (members[own] != r) {
            own++;
        }
        int64_t from = ((own - STEPS[which] % n) % n + n) % n;
        for (int64_t i = 0; i < s->args.of[r][0].n; i++) {
            expect(s, r, 0, i, element(&s->args.of[members[from]][0], i));
        }
    }
}

typedef struct Subject {
    const char *name;
    int n_variants;
    void (*build)(Setting *s, int which);
    void (*check)(Setting *s, int which);
} Subject;

static const Subject SUBJECTS[] = {
    {"all_reduce", sizeof(COMBINES) / sizeof(COMBINES[0]), build_all_reduce, check_all_reduce},
    {"all_gather", 2, build_all_gather, check_all_gather},
    {"reduce_scatter", 2, build_reduce_scatter, check_reduce_scatter},
    {"all_to_all", 2, build_all_to_all, check_all_to_all},
    {"shift", sizeof(STEPS) / sizeof(STEPS[0]), build_shift, check_shift},
};
enum { N_SUBJECTS = sizeof(SUBJECTS) / sizeof(SUBJECTS[0]) };

static void check_setting(const Subject *subject, int which, const int64_t *mesh, MeshGroup group,
                          int64_t rows) {
    RanksKit *kit = calloc(1, sizeof(*kit));
    Setting *s = calloc(1, sizeof(*s));
    Str report;
    str_init(&report, NULL);
    kit_init(kit, mesh, (rows + (int64_t)group) % 2 == 0, rows);
    *s = (Setting){.kit = kit, .group = group};
    if (setjmp(kit->boundary.jump)) {
        FAIL(s, "left through the boundary");
    }
    s->func = func_create(kit->module, "f", PURPOSE_OTHER);
    subject->build(s, which);
    if (!module_verify(kit->module, &report)) {
        FAIL(s, "%s", str_text(&report));
    }
    func_each_op(s->func, note_op, has_values);
    kit_args(kit, s->func, 77 + (uint64_t)rows, &s->args);
    if (!kit_run(kit, s->func, &s->args, &s->results, false)) {
        FAIL(s, "%s", kit->message);
    }
    subject->check(s, which);
    kit_free(kit, &s->args, s->func->body->n_args);
    kit_free(kit, &s->results, s->func->n_results);
    str_finish(&report);
    kit_finish(kit);
    free(s);
    free(kit);
}

static void test_values(void **state) {
    const Subject *subject = *state;
    for (int which = 0; which < subject->n_variants; which++) {
        for (int m = 0; m < N_MESHES; m++) {
            int axes = 1 + (MESHES[m][1] > 0) + (MESHES[m][2] > 0);
            for (MeshGroup group = 1; group < (MeshGroup)1 << axes; group++) {
                for (int64_t rows = 0; rows <= 9; rows += 1 + (axes == 3)) {
                    check_setting(subject, which, MESHES[m], group, rows);
                }
            }
        }
    }
}

/* -- sums: their order, and what is rounded when */

/* Two sums of 7 ranks' numbers that no two orders agree on, and of f32 that only f64 holds. */
static void test_sum_order(void **state) {
    (void)state;
    static const double X[7] = {1, 1e16, -1e16, 3, 7e15, 1, 2e-3};
    static const double SHORT[7] = {16777216, 1, 1, 0, 0, 0, -16777216};
    RanksKit *kit = calloc(1, sizeof(*kit));
    kit_init(kit, (const int64_t[3]){7}, false, 1);
    if (setjmp(kit->boundary.jump)) {
        fail_msg("left through the boundary");
    }
    Func *func = func_create(kit->module, "f", PURPOSE_OTHER);
    func_add_arg(func, ARG_INPUT, "x", type_scalar(DT_F64), (Place){0});
    func_add_arg(func, ARG_INPUT, "y", type_scalar(DT_F32), (Place){0});
    Builder b = builder_at_end(func, func->body);
    Value *outs[2];
    b_all_reduce(&b, func->body->args, 2, OP_add, 1, outs);
    yield(func, outs, 2);
    RankTensors *args = calloc(2, sizeof(*args));
    kit_args(kit, func, 1, args);
    for (int r = 0; r < 7; r++) {
        args->of[r][0].f[0] = X[r];
        args->of[r][1].f[0] = SHORT[r];
    }
    assert_true(kit_run(kit, func, args, &args[1], false));
    double tree = ((X[0] + X[1]) + (X[2] + X[3])) + ((X[4] + X[5]) + X[6]);
    double line = X[0];
    for (int r = 1; r < 7; r++) {
        line += X[r];
    }
    assert_true(tree != line);
    for (int r = 0; r < 7; r++) {
        assert_true(args[1].of[r][0].f[0] == tree);
        assert_true(args[1].of[r][1].f[0] == 2);
    }
    kit_free(kit, args, 2);
    kit_free(kit, &args[1], 2);
    free(args);
    kit_finish(kit);
    free(kit);
}

/* -- gradients */

static Value *y_sum(RanksKit *kit, Builder *b, Value **x) {
    (void)kit;
    Value *sums[2], *terms[2] = {b_mul(b, x[0], x[0]), b_mul(b, x[0], x[1])};
    b_all_reduce(b, terms, 2, OP_add, 1, sums);
    return b_mul(b, sums[0], sums[1]);
}

static Value *y_combine(Builder *b, Value *x, OpCode code) {
    Value *out = NULL;
    b_all_reduce(b, &x, 1, code, 1, &out);
    return b_mul(b, out, x);
}

static Value *y_max(RanksKit *kit, Builder *b, Value **x) {
    (void)kit;
    return y_combine(b, x[0], OP_max);
}

static Value *y_min(RanksKit *kit, Builder *b, Value **x) {
    (void)kit;
    return y_combine(b, x[0], OP_min);
}

static Value *y_product(RanksKit *kit, Builder *b, Value **x) {
    (void)kit;
    return y_combine(b, x[0], OP_mul);
}

/* Two travel together, of which the loss is the product. */
static Value *y_gather(RanksKit *kit, Builder *b, Value **x) {
    Value *squares[2], *outs[2];
    squares[0] = b_mul(b, x[0], x[0]);
    squares[1] = b_mul(b, x[0], x[1]);
    const MovedRows how[2] = {{0, kit_rows(kit), kit_rows(kit)}, {0, kit_rows(kit), kit_rows(kit)}};
    b_all_gather_each(b, squares, how, 2, 1, outs);
    return b_mul(b, outs[0], outs[1]);
}

/* Of three the middle one's result is used by nothing. */
static Value *y_scatter(RanksKit *kit, Builder *b, Value **x) {
    const Size *two = number(kit, 2);
    const MovedRows how = {1, piece(kit, 1, two), two}, all[3] = {how, how, how};
    Value *given[3], *outs[3];
    given[0] = x[0];
    given[1] = x[1];
    given[2] = b_mul(b, x[0], x[1]);
    b_reduce_scatter_each(b, given, all, 3, 1, outs);
    return b_mul(b, outs[0], outs[2]);
}

static Value *y_exchange(RanksKit *kit, Builder *b, Value **x) {
    Value *square = b_mul(b, x[0], x[0]);
    return b_all_to_all(b, square,
                        &(AllToAll){.axis = 0,
                                    .size = kit_rows(kit),
                                    .rows = kit_rows(kit),
                                    .split = 1,
                                    .split_size = piece(kit, 1, number(kit, 2)),
                                    .split_rows = number(kit, 2),
                                    .group = 1});
}

static Value *y_shift(RanksKit *kit, Builder *b, Value **x) {
    (void)kit;
    Value *moved = b_shift(b, x[0], 1, 1);
    return b_mul(b, moved, x[1]);
}

/* A running sum over the ranks in every turn of a loop: carry = sum over ranks of carry * row. */
static Value *y_scan(RanksKit *kit, Builder *b, Value **x) {
    const Size *two = number(kit, 2);
    Value *carry = b_constant(b, 1, kit_type(kit, DT_F64, 1, two, NULL, NULL));
    Op *scan = b_scan_begin(b, &carry, 1, &x[0], 1, kit_rows(kit), false, 1);
    Builder inner = builder_at_end(b->func, scan->blocks[0]);
    Value *product = b_mul(&inner, scan->blocks[0]->args[1], scan->blocks[0]->args[2]);
    Value *sum = b_all_sum(&inner, product, 1);
    Value *small = b_unary(&inner, OP_sin, sum);
    Value *yields[] = {small, sum};
    b_yield(&inner, yields, 2);
    b_op(b, scan);
    return scan->results[1];
}

/* What data parallelism is: rows cut, weights whole, their gradient summed. */
static Value *y_layer(RanksKit *kit, Builder *b, Value **x) {
    (void)kit;
    ContractAxes axes = {.n_contract = 1, .contract_a = {1}, .contract_b = {0}};
    Value *w = b_all_sum(b, x[1], 1);
    Value *y = b_contract(b, x[0], w, &axes);
    return b_unary(b, OP_tanh, y);
}

typedef struct Derived {
    const char *name;
    KitBuild *build;
    int n_args;
    bool is_whole; /* arguments have all rows, not a piece */
} Derived;

static const Derived DERIVED[] = {
    {"sum", y_sum, 2, true},
    {"max", y_max, 1, true},
    {"min", y_min, 1, true},
    {"product", y_product, 1, true},
    {"gather", y_gather, 2, false},
    {"scatter", y_scatter, 2, true},
    {"exchange", y_exchange, 1, false},
    {"shift", y_shift, 2, true},
    {"scan", y_scan, 1, true},
    {"layer", y_layer, 2, false},
};
enum { N_DERIVED = sizeof(DERIVED) / sizeof(DERIVED[0]) };

static void check_derived(const Derived *derived, const int64_t *mesh, bool is_known,
                          int64_t rows) {
    RanksKit *kit = calloc(1, sizeof(*kit));
    kit_init(kit, mesh, is_known, rows);
    if (setjmp(kit->boundary.jump)) {
        fail_msg("%s: left through the boundary", derived->name);
    }
    Func *func = func_create(kit->module, "f", PURPOSE_OTHER);
    const Size *two = number(kit, 2);
    for (int i = 0; i < derived->n_args; i++) {
        bool is_weight = derived->build == y_layer && i == 1;
        const Size *leading = is_weight           ? two
                              : derived->is_whole ? kit_rows(kit)
                                                  : piece(kit, 1, kit_rows(kit));
        Type type = kit_type(kit, DT_F64, 2, leading, two, NULL);
        func_add_arg(func, ARG_INPUT, i ? "y" : "x", type, (Place){0});
    }
    bool good = kit_check_gradients(kit, func, derived->build);
    func_each_op(func, note_op, has_gradient);
    if (!good) {
        fail_msg("%s on %d ranks, %d rows: %s", derived->name, (int)kit->n, (int)rows,
                 kit->message);
    }
    kit_finish(kit);
    free(kit);
}

static void test_gradients(void **state) {
    const Derived *derived = *state;
    static const int64_t SMALL[][3] = {{1}, {2}, {3}, {2, 2}};
    for (int m = 0; m < 4; m++) {
        for (int64_t rows = 1; rows <= 4; rows++) {
            check_derived(derived, SMALL[m], rows % 2 == 0, rows);
        }
    }
}

/* Where several ranks have the extreme, the cotangents go to the first; a product with zeros has
 * the product of the others as its derivative. */
static void test_corners(void **state) {
    (void)state;
    RanksKit *kit = calloc(1, sizeof(*kit));
    kit_init(kit, (const int64_t[3]){3}, false, 1);
    if (setjmp(kit->boundary.jump)) {
        fail_msg("left through the boundary");
    }
    Func *func = func_create(kit->module, "f", PURPOSE_OTHER);
    Value *x = func_add_arg(func, ARG_INPUT, "x", type_scalar(DT_F64), (Place){0});
    Builder b = builder_at_end(func, func->body);
    static const OpCode CODES[] = {OP_max, OP_min, OP_mul};
    Value *gradients[3];
    for (int i = 0; i < 3; i++) {
        Value *out = NULL;
        b_all_reduce(&b, &x, 1, CODES[i], 1, &out);
        b_grad(&b, out, &x, 1, &gradients[i]);
    }
    yield(func, gradients, 3);
    PassContext pass = {.context = &kit->context, .scratch = &kit->scratch};
    pass_differentiate(&pass, func);
    static const double X[2][3] = {{0, 5, 5}, {0, 0, 5}},
                        WANTED[2][3][3] = {{{0, 3, 0}, {3, 0, 0}, {75, 0, 0}},
                                           {{0, 0, 3}, {3, 0, 0}, {0, 0, 0}}};
    for (int round = 0; round < 2; round++) {
        RankTensors *t = calloc(2, sizeof(*t));
        kit_args(kit, func, 1, t);
        for (int r = 0; r < 3; r++) {
            t[0].of[r][0].f[0] = X[round][r];
        }
        assert_true(kit_run(kit, func, t, &t[1], true));
        for (int r = 0; r < 3; r++) {
            for (int i = 0; i < 3; i++) {
                if (!(t[1].of[r][i].f[0] == WANTED[round][i][r])) {
                    fail_msg("%s, rank %d: %g", op_info(CODES[i])->name, r, t[1].of[r][i].f[0]);
                }
            }
        }
        kit_free(kit, t, 1);
        kit_free(kit, &t[1], 3);
        free(t);
    }
    kit_finish(kit);
    free(kit);
}

/* After all others: no collective is without values and gradients here. */
static void test_every_op(void **state) {
    (void)state;
    for (int code = 0; code < OP_CODE_COUNT; code++) {
        const OpInfo *info = op_info((OpCode)code);
        if (info->kind == KIND_COLLECTIVE && (!has_values[code] || !has_gradient[code])) {
            fail_msg("%s has no values or no gradient in this test", info->name);
        }
    }
}

int main(void) {
    static struct CMUnitTest tests[N_SUBJECTS + N_DERIVED + 3];
    int n = 0;
    for (int i = 0; i < N_SUBJECTS; i++) {
        tests[n++] = (struct CMUnitTest){.name = SUBJECTS[i].name,
                                         .test_func = test_values,
                                         .initial_state = (void *)(uintptr_t)&SUBJECTS[i]};
    }
    for (int i = 0; i < N_DERIVED; i++) {
        tests[n++] = (struct CMUnitTest){.name = DERIVED[i].name,
                                         .test_func = test_gradients,
                                         .initial_state = (void *)(uintptr_t)&DERIVED[i]};
    }
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_sum_order);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_corners);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_every_op);
    return cmocka_run_group_tests_name("ranks", tests, NULL, NULL);
}
