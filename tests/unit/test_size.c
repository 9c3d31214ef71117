/* Symbolic sizes: random expressions built both as Size and as a plain tree, compared at random
 * values of the dims; the stated identities; text that reads back to the same pointer. */
#include "ir/base/checked.h"
#include "ir/type.h"
#include "tests/unit/meter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
/* cmocka wants the four headers above first. */
#include <cmocka.h>

enum { N_DIMS = 6, N_NODES = 14, N_SAMPLES = 12, N_ROUNDS = 3000 };

typedef struct Fixture {
    Boundary boundary;
    Context context;
    Dim dims[N_DIMS];
    const Dim *dim_list[N_DIMS];
} Fixture;

static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int64_t random_in(uint64_t *state, int64_t low, int64_t high) {
    return low + (int64_t)(next_random(state) % (uint64_t)(high - low + 1));
}

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    context_init(&f->context, NULL, &f->boundary);
    const Dim dims[N_DIMS] = {
        {.name = "B", .id = 0, .low = 1, .high = INT64_MAX, .divisor = 1},
        {.name = "T", .id = 1, .low = 1, .high = 64, .divisor = 1, .nominal = 32},
        {.name = "H", .id = 2, .low = 8, .high = 512, .divisor = 8},
        {.name = "W", .id = 3, .low = 4, .high = INT64_MAX, .divisor = 4},
        {.name = "N", .id = 4, .low = 0, .high = 10, .divisor = 1},
        {.name = "m.z", .id = 5, .low = -5, .high = 5, .divisor = 1},
    };
    memcpy(f->dims, dims, sizeof(dims));
    for (int i = 0; i < N_DIMS; i++) {
        f->dim_list[i] = &f->dims[i];
    }
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    context_finish(&f->context);
    free(f);
    return 0;
}

static void draw_dims(const Fixture *f, uint64_t *random, int64_t *values) {
    for (int i = 0; i < N_DIMS; i++) {
        const Dim *dim = &f->dims[i];
        int64_t high = dim->high == INT64_MAX ? dim->low + 200 : dim->high;
        values[i] = random_in(random, dim->low / dim->divisor, high / dim->divisor) * dim->divisor;
        if (next_random(random) % 4 == 0) {
            values[i] = next_random(random) % 2 ? dim->low : high / dim->divisor * dim->divisor;
        }
    }
}

typedef enum NodeOp {
    N_CONST,
    N_DIM,
    N_ADD,
    N_SUB,
    N_MUL,
    N_DIV,
    N_CDIV,
    N_MOD,
    N_MIN,
    N_MAX
} NodeOp;

typedef struct Node {
    NodeOp op;
    int64_t value;
    int a, b;
    const Size *size;
} Node;

static bool node_eval(const Node *nodes, int at, const int64_t *dims, int64_t *out) {
    const Node *node = &nodes[at];
    if (node->op == N_CONST || node->op == N_DIM) {
        *out = node->op == N_CONST ? node->value : dims[node->value];
        return true;
    }
    int64_t a, b;
    if (!node_eval(nodes, node->a, dims, &a) || !node_eval(nodes, node->b, dims, &b)) {
        return false;
    }
    switch (node->op) {
    case N_ADD:
        return checked_add(a, b, out);
    case N_SUB:
        return checked_sub(a, b, out);
    case N_MUL:
        return checked_mul(a, b, out);
    case N_DIV:
        *out = floor_div(a, b);
        return true;
    case N_CDIV:
        *out = -floor_div(-a, b);
        return true;
    case N_MOD:
        *out = floor_mod(a, b);
        return true;
    case N_MIN:
        *out = a < b ? a : b;
        return true;
    default:
        *out = a > b ? a : b;
        return true;
    }
}

static const Size *node_size(Context *context, NodeOp op, const Size *a, const Size *b) {
    switch (op) {
    case N_ADD:
        return size_add(context, a, b);
    case N_SUB:
        return size_sub(context, a, b);
    case N_MUL:
        return size_mul(context, a, b);
    case N_DIV:
        return size_floordiv(context, a, b);
    case N_CDIV:
        return size_cdiv(context, a, b);
    case N_MOD:
        return size_mod(context, a, b);
    case N_MIN:
        return size_min(context, a, b);
    default:
        return size_max(context, a, b);
    }
}

static void build_nodes(Fixture *f, uint64_t *random, Node *nodes) {
    for (int i = 0; i < N_NODES; i++) {
        Node *node = &nodes[i];
        node->size = NULL;
        while (!node->size || size_is_error(node->size)) {
            node->op = i < 4 ? (NodeOp)(next_random(random) % 2)
                             : (NodeOp)(next_random(random) % (N_MAX + 1));
            if (node->op == N_CONST) {
                node->value = random_in(random, -3, 9) * (next_random(random) % 3 ? 1 : 8);
                node->size = size_const(&f->context, node->value);
            } else if (node->op == N_DIM) {
                node->value = random_in(random, 0, N_DIMS - 1);
                node->size = size_dim(&f->context, &f->dims[node->value]);
            } else {
                node->a = (int)random_in(random, 0, i - 1);
                node->b = (int)random_in(random, 0, i - 1);
                node->size =
                    node_size(&f->context, node->op, nodes[node->a].size, nodes[node->b].size);
            }
        }
    }
}

static void check_value(Fixture *f, const Size *size, const int64_t *dims, int64_t expected) {
    int64_t value, low, high;
    if (!size_eval(size, dims, N_DIMS, &value)) {
        return; /* an intermediate of the normal form may overflow where the tree did not */
    }
    if (value != expected) {
        print_error("%s gives %lld, not %lld\n", size_text(&f->context, size), (long long)value,
                    (long long)expected);
    }
    assert_int_equal(value, expected);
    size_range(size, &low, &high);
    if (value < low || value > high) {
        print_error("%s = %lld outside [%lld, %lld]\n", size_text(&f->context, size),
                    (long long)value, (long long)low, (long long)high);
    }
    assert_true(low <= value && value <= high);
    int64_t gcd = size_gcd(size);
    assert_true(gcd == 0 ? value == 0 : value % gcd == 0);
}

static void check_program(Fixture *f, const Size *size, const int64_t *dims, int64_t expected) {
    ProgramVec program = {0};
    size_to_program(&f->context.arena, size, &program);
    ProgramIndex index;
    int64_t count = (int64_t)program.count;
    assert_true(program_index_init(&index, NULL, program.items, count, N_DIMS, 0));
    assert_true(program_index_valid(&index, 0, count, false));
    program_index_finish(&index, NULL);
    int64_t value;
    if (program_eval(program.items, (int64_t)program.count, dims, N_DIMS, &value)) {
        assert_int_equal(value, expected);
    }
}

static void check_text(Fixture *f, const Size *size) {
    const char *text = size_text(&f->context, size), *end;
    const Size *back = size_parse(&f->context, text, f->dim_list, N_DIMS, &end);
    if (back != size) {
        print_error("%s read back as %s\n", text, back ? size_text(&f->context, back) : "nothing");
    }
    assert_ptr_equal(back, size);
    assert_int_equal(*end, '\0');
}

static void check_pair(Fixture *f, const Node *nodes, int a, int b, const int64_t *dims) {
    int64_t x, y;
    if (!node_eval(nodes, a, dims, &x) || !node_eval(nodes, b, dims, &y)) {
        return;
    }
    Truth equal = size_equal(&f->context, nodes[a].size, nodes[b].size);
    assert_true(equal == TRUTH_MAYBE || (equal == TRUTH_YES) == (x == y));
    Truth below = size_less_equal(&f->context, nodes[a].size, nodes[b].size);
    assert_true(below == TRUTH_MAYBE || (below == TRUTH_YES) == (x <= y));
}

static void test_random_algebra(void **state) {
    Fixture *f = *state;
    uint64_t random = 1;
    int n_decided = 0;
    for (int round = 0; round < N_ROUNDS; round++) {
        Node nodes[N_NODES];
        build_nodes(f, &random, nodes);
        for (int i = 0; i < N_NODES; i++) {
            check_text(f, nodes[i].size);
        }
        for (int sample = 0; sample < N_SAMPLES; sample++) {
            int64_t dims[N_DIMS], expected;
            draw_dims(f, &random, dims);
            for (int i = 0; i < N_NODES; i++) {
                if (node_eval(nodes, i, dims, &expected)) {
                    check_value(f, nodes[i].size, dims, expected);
                    check_program(f, nodes[i].size, dims, expected);
                    n_decided++;
                }
            }
            for (int i = 1; i < N_NODES; i++) {
                check_pair(f, nodes, i, (int)random_in(&random, 0, i - 1), dims);
            }
        }
        if (round % 50 == 49) {
            context_finish(&f->context);
            context_init(&f->context, NULL, &f->boundary);
        }
    }
    assert_true(n_decided > N_ROUNDS * N_NODES * N_SAMPLES / 2);
}

static void test_random_substitution(void **state) {
    Fixture *f = *state;
    uint64_t random = 7;
    for (int round = 0; round < 400; round++) {
        Node nodes[N_NODES];
        build_nodes(f, &random, nodes);
        int64_t dims[N_DIMS], changed[N_DIMS], expected, value;
        const Size *by[N_DIMS] = {0};
        draw_dims(f, &random, dims);
        memcpy(changed, dims, sizeof(dims));
        for (int i = 0; i < N_DIMS; i++) {
            if (next_random(&random) % 2) {
                int64_t constant = random_in(&random, 1, 9) * 8;
                by[i] = size_const(&f->context, constant);
                changed[i] = constant;
                if (i == 2) { /* a symbolic replacement: H := 8*T */
                    by[i] = size_mul(&f->context, size_const(&f->context, 8),
                                     size_dim(&f->context, &f->dims[1]));
                    changed[i] = 8 * dims[1];
                }
            }
        }
        for (int i = 0; i < N_NODES; i++) {
            const Size *size = size_substitute(&f->context, nodes[i].size, by, N_DIMS);
            int64_t whole;
            bool known = size_eval(nodes[i].size, changed, N_DIMS, &expected);
            if (known && size_eval(size, dims, N_DIMS, &value)) {
                assert_int_equal(value, expected);
            }
            assert_true(!size_is_const(size, &whole) || !known || whole == expected);
        }
    }
}

static const Size *parsed(Fixture *f, const char *text) {
    const char *end;
    const Size *size = size_parse(&f->context, text, f->dim_list, N_DIMS, &end);
    if (!size || *end) {
        print_error("cannot parse '%s' at '%s'\n", text, end);
    }
    assert_non_null(size);
    assert_int_equal(*end, '\0');
    return size;
}

static void test_identities(void **state) {
    Fixture *f = *state;
    static const char *const same[][2] = {
        {"B + B", "2*B"},
        {"2*(B + 3) - 6", "2*B"},
        {"(B + T)*(B - T)", "B*B - T*T"},
        {"floordiv(8*B + T, 8)", "B + floordiv(T, 8)"},
        {"floordiv(H, 8)*8", "H"},
        {"floordiv(H, 2)*2", "H"},
        {"mod(H, 4)", "0"},
        {"mod(8*B + T, 8)", "mod(T, 8)"},
        {"floordiv(floordiv(B, 2), 3)", "floordiv(B, 6)"},
        {"floordiv(floordiv(B, 2) + 1, 3)", "floordiv(B + 2, 6)"},
        {"floordiv(2*B + 1, 4)", "floordiv(B, 2)"},
        {"mod(2*B + 1, 4)", "2*mod(B, 2) + 1"},
        {"floordiv(T, 65)", "0"},
        {"mod(T, 65)", "T"},
        {"floordiv(B*T, T)", "B"},
        {"floordiv(B*T + T - 1, T)", "B + floordiv(T - 1, T)"},
        {"floordiv(T - 1, T)", "0"},
        {"mod(B*T + T - 1, T)", "T - 1"},
        {"floordiv((B + 1)*(T + 2), T + 2)", "B + 1"},
        {"floordiv(2*B, 2*T)", "floordiv(B, T)"},
        {"mod(mod(B, 12), 4)", "mod(B, 4)"},
        {"min(T, 64)", "T"},
        {"max(T, 1)", "T"},
        {"min(T + 1, T)", "T"},
        {"min(min(T, 8), 4)", "min(T, 4)"},
        {"min(min(T, 8), T)", "min(T, 8)"},
        {"max(B, T) - max(T, B)", "0"},
        {"cdiv(H, 8)", "floordiv(H, 8)"},
        {"floordiv(H - 1, 2) + 1", "floordiv(H, 2)"},
        {"floordiv(B, -2)", "floordiv(-B, 2)"},
        {"mod(mod(B, 2) + B, 2)", "0"},
    };
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        const Size *a = parsed(f, same[i][0]), *b = parsed(f, same[i][1]);
        if (a != b) {
            print_error("%s = %s, but %s = %s\n", same[i][0], size_text(&f->context, a), same[i][1],
                        size_text(&f->context, b));
        }
        assert_ptr_equal(a, b);
    }
}

static void test_printing(void **state) {
    Fixture *f = *state;
    static const char *const pairs[][2] = {
        {"1 + T*4*B", "4*B*T + 1"},
        {"10*T + 21", "10*T + 21"},
        {"0*B", "0"},
        {"-B", "-B"},
        {"3 - 2*B", "-2*B + 3"},
        {"H*3", "3*H"},
        {"floordiv(H, 4)", "2*floordiv(H, 8)"},
        {"H + floordiv(H, 8)", "9*floordiv(H, 8)"},
        {"W*H", "H*W"},
        {"min(8, T)", "min(T, 8)"},
        {"m.z*B", "B*m.z"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"B - 9223372036854775808", "B - 9223372036854775808"},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        assert_string_equal(size_text(&f->context, parsed(f, pairs[i][0])), pairs[i][1]);
    }
}

static void test_bad_text(void **state) {
    Fixture *f = *state;
    static const char *const bad[] = {"",
                                      "+",
                                      "B +",
                                      "Q",
                                      "min(B)",
                                      "min(B,",
                                      "floordiv(B,0)",
                                      "sum(B, 1)",
                                      "(B",
                                      "B*",
                                      "99999999999999999999"};
    const char *end;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_null(size_parse(&f->context, bad[i], f->dim_list, N_DIMS, &end));
    }
    const char *text = "2*B, 7]";
    assert_non_null(size_parse(&f->context, text, f->dim_list, N_DIMS, &end));
    assert_ptr_equal(end, text + 3);
    assert_non_null(size_parse(&f->context, "B ]", f->dim_list, N_DIMS, &end));
    assert_string_equal(end, " ]");
}

static void test_decisions(void **state) {
    Fixture *f = *state;
    static const struct {
        const char *a, *b;
        Truth equal, below;
    } rows[] = {
        {"B", "T", TRUTH_MAYBE, TRUTH_MAYBE},
        {"2*B", "2*T + 1", TRUTH_NO, TRUTH_MAYBE},
        {"B", "B + 1", TRUTH_NO, TRUTH_YES},
        {"B + 1", "B", TRUTH_NO, TRUTH_NO},
        {"T", "65", TRUTH_NO, TRUTH_YES},
        {"H", "8", TRUTH_MAYBE, TRUTH_MAYBE},
        {"8", "H", TRUTH_MAYBE, TRUTH_YES},
        {"H", "12", TRUTH_NO, TRUTH_MAYBE},
        {"min(T, 8)", "T", TRUTH_MAYBE, TRUTH_YES},
        {"max(T, 8)", "T - 1", TRUTH_NO, TRUTH_NO},
        {"2*floordiv(B, 2)", "B", TRUTH_MAYBE, TRUTH_YES},
        {"B - 1", "2*floordiv(B, 2)", TRUTH_MAYBE, TRUTH_YES},
        {"2*floordiv(B, 2) + mod(B, 2)", "B", TRUTH_YES, TRUTH_YES},
        {"mod(B, 3)", "3", TRUTH_NO, TRUTH_YES},
        {"mod(B, 3)", "B", TRUTH_MAYBE, TRUTH_YES},
        {"floordiv(B - 1, 2) + 1", "B", TRUTH_MAYBE, TRUTH_YES},
        {"N", "0", TRUTH_MAYBE, TRUTH_MAYBE},
        {"0", "N", TRUTH_MAYBE, TRUTH_YES},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const Size *a = parsed(f, rows[i].a), *b = parsed(f, rows[i].b);
        if (size_equal(&f->context, a, b) != rows[i].equal ||
            size_less_equal(&f->context, a, b) != rows[i].below) {
            print_error("row %zu: %s and %s: equal %d, below %d\n", i, rows[i].a, rows[i].b,
                        size_equal(&f->context, a, b), size_less_equal(&f->context, a, b));
        }
        assert_int_equal(size_equal(&f->context, a, b), rows[i].equal);
        assert_int_equal(size_less_equal(&f->context, a, b), rows[i].below);
    }
}

static void test_facts(void **state) {
    Fixture *f = *state;
    Context *c = &f->context;
    const Size *h = size_dim(c, &f->dims[2]);
    assert_ptr_equal(size_as_dim(h), &f->dims[2]);
    assert_null(size_as_dim(size_add(c, h, h)));
    assert_int_equal(size_gcd(h), 8);
    assert_true(size_divisible(h, 4));
    assert_false(size_divisible(h, 3));
    assert_int_equal(size_gcd(size_const(c, 0)), 0);
    assert_true(size_uses_dim(parsed(f, "floordiv(B + T, 3)"), &f->dims[1]));
    assert_false(size_uses_dim(parsed(f, "floordiv(B + T, 3)"), &f->dims[2]));
    assert_int_equal(size_nominal(parsed(f, "T*B"), 10), 320);
    assert_null(size_floordiv(c, h, size_dim(c, &f->dims[4])));
    assert_null(size_mod(c, h, size_const(c, 0)));
    const Size *huge = size_const(c, INT64_MAX);
    const Size *broken = size_add(c, huge, size_const(c, 1));
    assert_true(size_is_error(broken));
    assert_true(size_is_error(size_mul(c, broken, size_const(c, 0))));
    assert_true(size_is_error(size_min(c, broken, h)));
    assert_true(size_is_error(size_floordiv(c, broken, h)));
    assert_int_equal(size_equal(c, broken, broken), TRUTH_MAYBE);
    int64_t value;
    assert_false(size_eval(broken, NULL, 0, &value));
    assert_false(size_eval(h, NULL, 0, &value));
    assert_true(size_is_error(size_mul(c, huge, size_mul(c, huge, h))));
}

static void test_types(void **state) {
    Fixture *f = *state;
    Context *c = &f->context;
    const Size *dims[] = {size_dim(c, &f->dims[0]), size_const(c, 10)};
    Type type = type_make(c, DT_F32, 2, dims);
    assert_string_equal(type_text(c, type), "f32[B, 10]");
    assert_string_equal(type_text(c, type_scalar(DT_BOOL)), "bool[]");
    assert_string_equal(size_text(c, type_bytes(c, type)), "40*B");
    assert_true(type_equal(type, type_make(c, DT_F32, 2, dims)));
    assert_false(type_equal(type, type_with_dtype(type, DT_F64)));
    for (int i = 0; i < DT_COUNT; i++) {
        DType back;
        assert_true(dtype_from_name(dtype_name((DType)i), &back));
        assert_int_equal(back, i);
    }
    DType ignored;
    assert_false(dtype_from_name("f8", &ignored));
}

static void test_failing_allocation(void **state) {
    Fixture *f = *state;
    volatile bool passed = false;
    for (volatile long n = 0; !passed; n++) {
        Meter meter = {.left = n};
        dlc_allocator allocator = {meter_alloc, meter_free, &meter};
        context_finish(&f->context);
        context_init(&f->context, &allocator, &f->boundary);
        if (setjmp(f->boundary.jump) == 0) {
            uint64_t random = 5;
            for (int round = 0; round < 60; round++) {
                Node nodes[N_NODES];
                build_nodes(f, &random, nodes);
                check_text(f, nodes[N_NODES - 1].size);
            }
            passed = true;
        } else {
            assert_int_equal(f->boundary.status, DLC_ERROR_OUT_OF_MEMORY);
        }
        context_finish(&f->context);
        assert_int_equal(meter.alive, 0);
    }
    context_init(&f->context, NULL, &f->boundary);
}

/* The least and the greatest that a size may be, and its nominal value. */
static void test_ranges(void **state) {
    Fixture *f = *state;
    static const struct {
        const char *text;
        int64_t low, high, nominal; /* where unknown dims count 1000 */
    } rows[] = {
        {"T", 1, 64, 32},
        {"H", 8, 512, 512},
        {"N", 0, 10, 10},
        {"3*T - 1", 2, 191, 95},
        {"min(T, 8)", 1, 8, 8},
        {"min(T, H)", 1, 64, 32},
        {"min(N, H)", 0, 10, 10},
        {"max(T, 8)", 8, 64, 32},
        {"max(N, T)", 1, 64, 32},
        {"mod(B, 7)", 0, 6, 6},
        {"mod(B, T)", 0, 63, 8},
        {"mod(T, H)", 0, 64, 32},
        {"floordiv(T, 3)", 0, 21, 10},
        {"floordiv(H, 16)", 0, 32, 32},
        {"T + N", 1, 74, 42},
        {"T*H", 8, 32768, 16384},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t low, high;
        const Size *size = parsed(f, rows[i].text);
        size_range(size, &low, &high);
        int64_t nominal = size_nominal(size, 1000);
        if (low != rows[i].low || high != rows[i].high || nominal != rows[i].nominal) {
            fail_msg("%s: from %lld to %lld, nominal %lld", rows[i].text, (long long)low,
                     (long long)high, (long long)nominal);
        }
    }
}

/* Remainders and quotients of remainders and quotients, by all small numbers. */
static void test_nested_division(void **state) {
    Fixture *f = *state;
    Context *c = &f->context;
    const Size *x = size_dim(c, &f->dims[0]);
    for (int64_t m = 1; m <= 12; m++) {
        for (int64_t k = 1; k <= 12; k++) {
            const Size *by_m = size_const(c, m), *by_k = size_const(c, k);
            const Size *rest = size_mod(c, x, by_m), *part = size_floordiv(c, x, by_m);
            const Size *sizes[4] = {size_mod(c, rest, by_k), size_floordiv(c, rest, by_k),
                                    size_mod(c, part, by_k), size_floordiv(c, part, by_k)};
            for (int64_t value = 1; value < 40; value++) {
                const int64_t wanted[4] = {value % m % k, value % m / k, value / m % k,
                                           value / m / k};
                for (int i = 0; i < 4; i++) {
                    int64_t got = -1;
                    assert_true(size_eval(sizes[i], &value, 1, &got));
                    if (got != wanted[i]) {
                        fail_msg("form %d by %d, then by %d, of %d: %d, not %d", i, (int)m, (int)k,
                                 (int)value, (int)got, (int)wanted[i]);
                    }
                }
            }
        }
    }
}

/* The other factor of a product is found whatever the dims are: divisors may be 0. */
static void test_other_factor(void **state) {
    Fixture *f = *state;
    Context *c = &f->context;
    const Dim n = {.name = "N", .id = 9, .low = 0, .high = 64, .divisor = 1};
    const Size *size = size_dim(c, &n), *three = size_const(c, 3), *zero = size_const(c, 0);
    const Size *product = size_mul(c, size, three), *square = size_mul(c, size, size);
    assert_ptr_equal(size_other_factor(c, product, size), three);
    assert_ptr_equal(size_other_factor(c, product, product), size_const(c, 1));
    assert_ptr_equal(size_other_factor(c, square, size), size);
    assert_ptr_equal(size_other_factor(c, product, three), size);
    assert_null(size_other_factor(c, zero, zero));
    const Size *least_one =
        size_max(c, square, size_const(c, 1)); /* else rounded down, never by 0 */
    assert_ptr_equal(size_other_factor(c, product, square), size_floordiv(c, product, least_one));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_identities, setup, teardown),
        cmocka_unit_test_setup_teardown(test_printing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_decisions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_facts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ranges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nested_division, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_factor, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_algebra, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_substitution, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failing_allocation, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
