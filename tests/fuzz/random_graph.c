/* Random graphs: the pool of values, arguments, elementwise ops and the loop that grows a Func. */
#include "tests/fuzz/random_graph_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int64_t pick(Generator *g, int64_t n) {
    return (int64_t)(next_bits(&g->state) >> 33) % n;
}

bool chance(Generator *g, double probability) {
    return (double)(next_bits(&g->state) >> 11) * 0x1p-53 < probability;
}

const Size *constant(Generator *g, int64_t value) {
    return size_const(g->context, value);
}

const Size *random_size(Generator *g) {
    static const int64_t SIZES[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33};
    if (chance(g, 0.02) && !g->options->smooth) {
        return constant(g, 0);
    }
    if (!g->options->constant_dims && chance(g, 0.35)) {
        const Size *dim = size_dim(g->context, g->module->dims[pick(g, 2)]);
        return chance(g, 0.1) ? size_add(g->context, dim, constant(g, 1)) : dim;
    }
    return constant(g, SIZES[pick(g, g->options->smooth ? 4 : 11)]);
}

double nominal_elements(const Size *const *dims, int32_t rank) {
    double count = 1;
    for (int32_t i = 0; i < rank; i++) {
        int64_t n = size_nominal(dims[i], 8);
        count *= (double)(n > 0 ? n : 1);
    }
    return count;
}

bool jumps_allowed(const Generator *g) {
    return !g->options->smooth;
}

bool push(Generator *g, Value *value, double bound, bool exact) {
    if (value->op && !value->op->parent) { /* another result of it was taken back */
        return false;
    }
    for (int32_t i = 0; i < value->type.rank; i++) {
        int64_t low = 0, high = 0;
        size_range(value->type.dims[i], &low, &high);
        if (low < 0 && value->op) { /* could be negative for some dims: take it back */
            op_unlink(value->op);
            return false;
        }
    }
    Node node = {.value = value, .bound = bound, .exact = exact && bound <= 31};
    VEC_PUSH(&g->module->arena, &g->nodes, node);
    return true;
}

static DType random_float(Generator *g) {
    static const DType TYPES[] = {DT_F32, DT_F64, DT_F16, DT_BF16};
    if (g->options->smooth) {
        return DT_F64;
    }
    if (!g->options->dtypes) {
        return chance(g, 0.8) ? DT_F32 : TYPES[pick(g, 4)];
    }
    for (;;) {
        DType dtype = TYPES[pick(g, 4)];
        if (g->options->dtypes >> dtype & 1) {
            return dtype;
        }
    }
}

Node new_arg(Generator *g, DType dtype, int32_t rank, const Size *const *dims) {
    Type type = type_make(g->context, dtype, rank, dims);
    const char *name = context_internf(g->context, "x%d", (int)g->func->body->n_args);
    Value *value = func_add_arg(g->func, ARG_INPUT, name, type, (Place){0});
    return (Node){.value = value,
                  .bound = dtype_is_float(dtype) ? 2
                           : dtype == DT_BOOL    ? 1
                                                 : 10,
                  .exact = true};
}

static Node fresh_arg(Generator *g, DType dtype) {
    const Size *dims[4];
    int32_t rank = 0, wanted = (int32_t)pick(g, 4);
    for (int32_t i = 0; i <= wanted && i < 4; i++) {
        const Size *size = random_size(g);
        dims[rank] = size;
        if (nominal_elements(dims, rank + 1) <= GRAPH_MAX_ELEMENTS && !chance(g, 0.05)) {
            rank++;
        }
    }
    Node node = new_arg(g, dtype, rank, dims);
    push(g, node.value, node.bound, node.exact);
    return node;
}

Node any_node(Generator *g) {
    int64_t n = (int64_t)g->nodes.count;
    int64_t back = chance(g, 0.6) ? pick(g, n < 6 ? n : 6) : pick(g, n);
    return g->nodes.items[n - 1 - back];
}

Node any_float(Generator *g) {
    for (int32_t i = 0; i < 12 && g->nodes.count > 0; i++) {
        Node node = any_node(g);
        if (dtype_is_float(node.value->type.dtype)) {
            return node;
        }
    }
    return fresh_arg(g, random_float(g));
}

bool find_exact(Generator *g, bool integer, Node *out) {
    for (int32_t i = 0; i < 12; i++) {
        Node node = any_node(g);
        if (node.exact && dtype_is_float(node.value->type.dtype) != integer &&
            node.value->type.dtype != DT_BOOL) {
            *out = node;
            return true;
        }
    }
    return false;
}

Value *number_like(Generator *g, double value, const Value *like) {
    return b_constant_like(&g->b, value, like);
}

Value *tame(Generator *g, Node node, double limit) {
    if (node.bound <= limit) {
        return node.value;
    }
    if (limit >= 1 && chance(g, 0.5)) {
        return b_unary(&g->b, OP_tanh, node.value);
    }
    Value *scale = number_like(g, limit / node.bound, node.value);
    return b_mul(&g->b, node.value, scale);
}

Node partner(Generator *g, Node x) {
    int64_t n = (int64_t)g->nodes.count;
    for (int32_t i = 0; i < 10 && chance(g, 0.9); i++) {
        Node node = g->nodes.items[pick(g, n)];
        if (node.value != x.value && type_equal(node.value->type, x.value->type)) {
            return node;
        }
    }
    DType dtype = x.value->type.dtype;
    if (g->func->body->n_args < GRAPH_MAX_ARGS && chance(g, 0.6)) {
        Node node = new_arg(g, dtype, x.value->type.rank, x.value->type.dims);
        push(g, node.value, node.bound, node.exact);
        return node;
    }
    double number = dtype_is_float(dtype) ? (double)(pick(g, 33) - 16) / 8 : (double)pick(g, 2);
    return (Node){.value = number_like(g, number, x.value), .bound = 2, .exact = true};
}

Value *indices_below(Generator *g, int32_t rank, const Size *const *shape, const Size *n) {
    Node numbers = new_arg(g, DT_I32, rank, shape);
    Value *count = b_size(&g->b, n, DT_I32);
    Value *counts = b_splat(&g->b, count, rank, shape);
    return b_binary(&g->b, OP_mod, numbers.value, counts);
}

/* |x| + 1/4 */
static Value *positive(Generator *g, Value *x) {
    Value *magnitude = b_unary(&g->b, OP_abs, x);
    Value *quarter = number_like(g, 0.25, x);
    return b_add(&g->b, magnitude, quarter);
}

static void grow_jump(Generator *g) {
    static const OpCode CODES[] = {OP_sign, OP_floor, OP_ceil, OP_round, OP_trunc};
    Node x;
    if (find_exact(g, false, &x)) {
        push(g, b_unary(&g->b, CODES[pick(g, 5)], x.value), x.bound + 1, true);
    } else if (find_exact(g, true, &x)) {
        static const OpCode INT_CODES[] = {OP_neg, OP_abs, OP_sign};
        if (x.value->type.dtype != DT_U8) {
            push(g, b_unary(&g->b, INT_CODES[pick(g, 3)], x.value), x.bound, true);
        }
    }
}

void grow_unary(Generator *g) {
    static const OpCode WAVES[] = {OP_sin, OP_cos, OP_atan, OP_tanh, OP_erf, OP_sigmoid};
    Node x = any_float(g);
    Builder *b = &g->b;
    switch (pick(g, 12)) {
    case 0:
        push(g, b_neg(b, x.value), x.bound, x.exact);
        break;
    case 1:
        push(g, b_unary(b, OP_abs, x.value), x.bound, x.exact);
        break;
    case 2:
        push(g, b_unary(b, OP_sqrt, positive(g, x.value)), sqrt(x.bound + 0.25), false);
        break;
    case 3:
        push(g, b_unary(b, OP_rsqrt, positive(g, x.value)), 2, false);
        break;
    case 4:
        push(g, b_unary(b, chance(g, 0.7) ? OP_exp : OP_expm1, tame(g, x, 3)), 21, false);
        break;
    case 5:
        push(g, b_unary(b, OP_log, positive(g, x.value)), 1.4 + log(x.bound + 1), false);
        break;
    case 6:
        push(g, b_unary(b, OP_log1p, b_unary(b, OP_abs, x.value)), log(x.bound + 1), false);
        break;
    case 7:
        push(g, b_unary(b, OP_tan, tame(g, x, 1)), 1.6, false);
        break;
    case 8:
        push(g, b_unary(b, chance(g, 0.5) ? OP_asin : OP_acos, tame(g, x, 0.75)), 3.2, false);
        break;
    case 9:
        if (jumps_allowed(g)) {
            grow_jump(g);
        }
        break;
    default:
        push(g, b_unary(b, WAVES[pick(g, 6)], x.bound > 50 ? tame(g, x, 10) : x.value), 1.6, false);
        break;
    }
}

static void grow_compare(Generator *g) {
    static const OpCode CODES[] = {OP_eq, OP_ne, OP_lt, OP_le, OP_gt, OP_ge};
    Node x;
    if (find_exact(g, chance(g, 0.3), &x)) {
        Node y = partner(g, x);
        if (y.exact) {
            push(g, b_binary(&g->b, CODES[pick(g, 6)], x.value, y.value), 1, true);
        }
    }
}

static void grow_division(Generator *g) {
    Node x;
    if (!find_exact(g, chance(g, 0.5), &x)) {
        return;
    }
    Node y = partner(g, x);
    if (!y.exact) {
        return;
    }
    bool floats = dtype_is_float(x.value->type.dtype);
    Value *divisor = floats ? positive(g, y.value) : y.value;
    if (chance(g, 0.5)) {
        push(g, b_binary(&g->b, OP_mod, x.value, divisor), y.bound + 1, !floats);
    } else {
        push(g, b_binary(&g->b, OP_floordiv, x.value, divisor), 4 * x.bound + 1, true);
    }
}

static void grow_integer(Generator *g) {
    static const OpCode CODES[] = {OP_add, OP_sub, OP_max, OP_min};
    Node x;
    if (find_exact(g, true, &x)) {
        Node y = partner(g, x);
        if (y.exact && x.value->type.dtype != DT_U8) {
            push(g, b_binary(&g->b, CODES[pick(g, 4)], x.value, y.value), x.bound + y.bound, true);
        }
    }
}

void grow_binary(Generator *g) {
    Node x = any_float(g), y = partner(g, x);
    Builder *b = &g->b;
    double greater = x.bound > y.bound ? x.bound : y.bound;
    switch (pick(g, jumps_allowed(g) ? 13 : 9)) {
    case 0:
        push(g, b_add(b, x.value, y.value), x.bound + y.bound, x.exact && y.exact);
        break;
    case 1:
        push(g, b_sub(b, x.value, y.value), x.bound + y.bound, x.exact && y.exact);
        break;
    case 2:
    case 3: {
        Value *left = tame(g, x, 20);
        push(g, b_mul(b, left, tame(g, y, 20)), fmin(x.bound, 20) * fmin(y.bound, 20), false);
        break;
    }
    case 4:
        push(g, b_div(b, tame(g, x, 50), positive(g, y.value)), 4 * fmin(x.bound, 50), false);
        break;
    case 5:
        push(g, b_binary(b, OP_max, x.value, y.value), greater, x.exact && y.exact);
        break;
    case 6:
        push(g, b_binary(b, OP_min, x.value, y.value), greater, x.exact && y.exact);
        break;
    case 7: {
        Value *base = positive(g, tame(g, x, 3));
        push(g, b_binary(b, OP_pow, base, tame(g, y, 2)), 16, false);
        break;
    }
    case 8: {
        Value *run = positive(g, y.value);
        push(g, b_binary(b, OP_atan2, x.value, run), 1.6, false);
        break;
    }
    case 9:
    case 10:
        grow_compare(g);
        break;
    case 11:
        grow_division(g);
        break;
    default:
        grow_integer(g);
        break;
    }
}

/* A condition of the shape: a bool value there is, combinations, or a pattern along an axis. */
static Value *condition_like(Generator *g, const Value *x) {
    Type type = type_with_dtype(x->type, DT_BOOL);
    Value *found[2] = {NULL, NULL};
    for (size_t i = 0, n = 0; i < g->nodes.count && n < 2; i++) {
        if (type_equal(g->nodes.items[i].value->type, type)) {
            found[n++] = g->nodes.items[i].value;
        }
    }
    if (found[1] && chance(g, 0.5)) {
        return b_binary(&g->b, chance(g, 0.5) ? OP_and : OP_or, found[0], found[1]);
    }
    if (found[0]) {
        return chance(g, 0.3) ? b_unary(&g->b, OP_not, found[0]) : found[0];
    }
    if (x->type.rank > 0 && chance(g, 0.6)) {
        Type index_type = type_with_dtype(x->type, DT_I32);
        Value *index = b_iota(&g->b, pick(g, x->type.rank), index_type);
        Value *limit = b_constant(&g->b, (double)pick(g, 5), index_type);
        return b_binary(&g->b, OP_lt, index, limit);
    }
    return new_arg(g, DT_BOOL, x->type.rank, x->type.dims).value;
}

void grow_select(Generator *g) {
    Node x = any_node(g), y = partner(g, x);
    Value *condition = condition_like(g, x.value);
    push(g, b_select(&g->b, condition, x.value, y.value), fmax(x.bound, y.bound),
         x.exact && y.exact);
}

void grow_cast(Generator *g) {
    if (g->options->smooth) {
        Node x = any_float(g);
        Value *still = b_stop_gradient(&g->b, number_like(g, 0.5, x.value));
        push(g, b_mul(&g->b, x.value, still), x.bound, false);
        return;
    }
    Node x = any_node(g);
    DType from = x.value->type.dtype, to = random_float(g);
    if (x.exact && chance(g, 0.4)) {
        static const DType TYPES[] = {DT_I64, DT_I32, DT_I8, DT_U8, DT_BOOL};
        to = TYPES[pick(g, 5)];
    }
    if (to == from) {
        push(g, b_stop_gradient(&g->b, x.value), x.bound, x.exact);
        return;
    }
    /* Negative floats saturate at 0 in u8, negative integers wrap to at most 255. */
    bool wraps = to == DT_U8 && !dtype_is_float(from);
    double limit = to == DT_F16 ? 1000 : 1e6;
    Value *value = dtype_is_float(from) ? tame(g, x, limit) : x.value;
    push(g, b_cast(&g->b, value, to), wraps ? 255 : fmin(x.bound, limit), x.exact && !wraps);
}

void grow_constant(Generator *g) {
    const Size *dims[2];
    int32_t rank = (int32_t)pick(g, 3);
    DType dtype = random_float(g);
    for (int32_t i = 0; i < rank; i++) {
        dims[i] = random_size(g);
    }
    switch (pick(g, 3)) {
    case 0:
        if (rank > 0) {
            Type type = type_make(g->context, DT_I32, rank, dims);
            Value *index = b_iota(&g->b, pick(g, rank), type);
            if (!push(g, index, 40, false)) {
                return;
            }
            Value *number = b_cast(&g->b, index, dtype);
            Value *scale = number_like(g, 0.125, number);
            push(g, b_mul(&g->b, number, scale), 5, false);
        }
        break;
    case 1: {
        double data[6];
        const Size *shape[] = {constant(g, 2), constant(g, 3)};
        for (int i = 0; i < 6; i++) {
            data[i] = (double)(pick(g, 33) - 16) / 8;
        }
        push(g, b_literal(&g->b, type_make(g->context, dtype, 2, shape), data, 6), 2, true);
        break;
    }
    default: {
        Value *size = b_size(&g->b, random_size(g), dtype);
        push(g, b_unary(&g->b, OP_rsqrt, positive(g, size)), 2, false);
        break;
    }
    }
}

void grow_random(Generator *g) {
    if (g->options->no_random) {
        return;
    }
    Node like = any_float(g);
    Value *seed = b_constant(&g->b, (double)pick(g, 1000), type_scalar(DT_I64));
    Value *step = b_constant(&g->b, (double)pick(g, 9), type_scalar(DT_I64));
    Value *iteration = b_constant(&g->b, (double)pick(g, 5), type_scalar(DT_I32));
    int64_t site = pick(g, 1 << 30) * 16 + 5;
    Value *x = b_random_uniform(&g->b, seed, step, iteration, site, like.value->type);
    if (push(g, x, 1, false) && jumps_allowed(g) &&
        chance(g, 0.5)) { /* dropout's pattern: the bits are exact */
        Value *kept = b_binary(&g->b, OP_lt, x, number_like(g, 0.75, x));
        Value *zero = number_like(g, 0, x);
        push(g, b_select(&g->b, kept, like.value, zero), like.bound, like.exact);
    }
}

void grow(Generator *g) {
    static void (*const KINDS[])(Generator *) = {
        grow_unary,  grow_unary,     grow_unary,    grow_unary,     grow_binary, grow_binary,
        grow_binary, grow_binary,    grow_binary,   grow_select,    grow_cast,   grow_constant,
        grow_random, grow_broadcast, grow_reshape,  grow_transpose, grow_slice,  grow_pad,
        grow_concat, grow_reverse,   grow_dynamic,  grow_window,    grow_index,  grow_index,
        grow_reduce, grow_reduce,    grow_softmax,  grow_norm,      grow_arg,    grow_cumsum,
        grow_sort,   grow_contract,  grow_contract, grow_conv,      grow_scan,   grow_while,
        grow_effect, grow_twin,      grow_twin,     grow_around,    grow_grad,   grow_guarded,
    };
    KINDS[pick(g, (int64_t)(sizeof KINDS / sizeof KINDS[0]))](g);
}

/* Results: the last value, values that nobody uses, and some others. */
static void choose_results(Generator *g) {
    VEC(Value *) values = {0};
    Arena *arena = &g->module->arena;
    func_renumber(g->func);
    int32_t *uses = func_use_counts(g->func, arena);
    for (size_t i = 0; i < g->nodes.count; i++) {
        Value *value = g->nodes.items[i].value;
        bool wanted =
            i + 1 == g->nodes.count || (uses[value->id] == 0 ? chance(g, 0.8) : chance(g, 0.1));
        if (wanted && value->op && values.count < 12) {
            VEC_PUSH(arena, &values, value);
        }
    }
    if (values.count == 0) {
        Value *value = b_neg(&g->b, any_float(g).value);
        VEC_PUSH(arena, &values, value);
    }
    FuncResult *results = ARENA_ARRAY(arena, FuncResult, values.count);
    for (size_t i = 0; i < values.count; i++) {
        results[i].role = RESULT_OUTPUT;
        results[i].name = context_internf(g->context, "y%d", (int)i);
    }
    func_set_results(g->func, results, values.items, (int32_t)values.count);
}

/* The sum of all float values with weights, squashed so that no one of them rules. */
static void set_loss(Generator *g) {
    Value *loss = b_constant(&g->b, 0, type_scalar(DT_F64));
    int64_t axes[TYPE_MAX_RANK];
    for (size_t i = 0; i < g->nodes.count; i++) {
        Value *value = g->nodes.items[i].value;
        if (!dtype_is_float(value->type.dtype) || !value->op) {
            continue;
        }
        Value *scale =
            number_like(g, (0.3 + 0.1 * (double)pick(g, 9)) / (1 + g->nodes.items[i].bound), value);
        Value *part = b_mul(&g->b, value, scale);
        part = b_unary(&g->b, OP_sin, part);
        for (int32_t k = 0; k < value->type.rank; k++) {
            axes[k] = k;
        }
        part =
            value->type.rank ? b_reduce(&g->b, OP_reduce_sum, part, axes, value->type.rank) : part;
        loss = b_add(&g->b, loss, part);
    }
    FuncResult result = {.role = RESULT_LOSS, .name = "loss"};
    func_set_results(g->func, &result, &loss, 1);
}

/* A generator that makes what the rules forbid would be taken for a fault of the compiler. */
static void check_sound(Func *func, uint64_t seed) {
    Str report;
    str_init(&report, NULL);
    func_renumber(func);
    if (!func_verify(func, &report)) {
        fprintf(stderr, "the generator's graph of seed %llu is none: %s\n",
                (unsigned long long)seed, str_text(&report));
        abort();
    }
    str_finish(&report);
}

/* -- one row of scalar.def a graph */

/* How large operands of a row become, at most. */
static double row_limit(const OpInfo *info) {
    return info->scalar_domain == DOMAIN_NEAR_0 ? 1 : info->scalar_domain == DOMAIN_UNIT ? 0.75 : 2;
}

/* Whether operand k of a row is to be positive: where else a slope, or the value, has no bound. */
static bool row_wants_positive(const OpInfo *info, int32_t k) {
    switch (info->scalar_domain) {
    case DOMAIN_POSITIVE:
        return true;
    case DOMAIN_DIVISOR:
        return k == 1;
    case DOMAIN_BASE:
        return k == 0;
    case DOMAIN_ALL:
        return info->scalar_slope != SLOPE_SMOOTH;
    case DOMAIN_NEAR_0:
    case DOMAIN_UNIT:
        break;
    }
    return false;
}

/* The greatest magnitude of the row's results, from a grid of operands. */
static double row_bound(OpCode code) {
    enum { STEPS = 33 };
    const OpInfo *info = op_info(code);
    double limit = row_limit(info), bound = 0;
    for (int i = 0; i < STEPS * STEPS; i++) {
        double operands[3] = {0};
        for (int32_t k = 0; k < info->n_operands; k++) {
            double x = limit * ((k ? i / STEPS : i % STEPS) * 2.0 / (STEPS - 1) - 1);
            operands[k] = row_wants_positive(info, k) ? fabs(x) + 0.25 : x;
        }
        bound = fmax(bound, fabs(scalar_eval_float(code, operands)));
    }
    return bound;
}

/* The row whose turn it is, of values brought into its domain: what stands in the table takes part
 * without being named here. Draws from numbers of its own, so that the rest of the graph does not
 * depend on the table's length. */
static void grow_row(Generator *g, uint64_t seed) {
    OpCode code = (OpCode)(seed % OP_N_SCALAR);
    const OpInfo *info = op_info(code);
    bool jumps = info->scalar_gradient != GRADIENT_RULE;
    uint64_t state = g->state;
    Node nodes[2];
    Value *operands[2];
    g->state = seed * 0xD1B54A32D192ED03u + 7;
    bool fits = info->n_operands <= 2 && info->scalar_class != CLASS_BOOL &&
                (!jumps || (jumps_allowed(g) && find_exact(g, false, &nodes[0])));
    if (fits && !jumps) {
        nodes[0] = any_float(g);
    }
    for (int32_t k = 0; fits && k < info->n_operands; k++) {
        nodes[k] = k ? partner(g, nodes[0]) : nodes[0];
        fits = !jumps || nodes[k].exact;
    }
    if (fits) {
        for (int32_t k = 0; k < info->n_operands; k++) { /* what jumps keeps its exact operands */
            Value *x = jumps ? nodes[k].value : tame(g, nodes[k], row_limit(info));
            operands[k] = row_wants_positive(info, k) ? positive(g, x) : x;
        }
        double bound = jumps ? 4 * 31 + 1 : row_bound(code);
        push(g, b_scalar(&g->b, code, operands, info->n_operands), bound, false);
    }
    g->state = state;
}

/* Copies of some operands, in every second graph: what would be read through views lies in memory
 * of its own then. Draws from numbers of its own as well; the graphs are otherwise what they were.
 */
static void place_copies(Generator *g, uint64_t seed) {
    uint64_t state = g->state;
    g->state = seed * 0xD1B54A32D192ED03u + 13;
    BLOCK_EACH_OP (g->func->body, op) {
        for (int32_t i = 0; i < op->n_operands; i++) {
            if (seed % 2 == 1 && op->operands[i]->op && chance(g, 0.08)) {
                Builder before = builder_before(op);
                op_set_operand(op, i, b_copy(&before, op->operands[i]));
            }
        }
    }
    g->state = state;
}

Func *random_graph(Module *module, uint64_t seed, const RandomGraphOptions *options) {
    static const RandomGraphOptions DEFAULTS = {0};
    options = options ? options : &DEFAULTS;
    if (module->n_dims == 0) {
        random_add_dims(module, 1);
    }
    Generator g = {.context = module->context,
                   .module = module,
                   .options = options,
                   .state = seed * 0x9E3779B97F4A7C15u + 1};
    const char *name = context_internf(module->context, "graph%llu", (unsigned long long)seed);
    g.func = func_create(module, name, PURPOSE_OTHER);
    g.b = builder_at_end(g.func, g.func->body);
    int32_t n_start = 1 + (int32_t)pick(&g, 3);
    for (int32_t i = 0; i < n_start; i++) {
        bool other = !options->smooth && i > 0 && chance(&g, 0.3);
        static const DType OTHERS[] = {DT_I32, DT_I32, DT_I64, DT_I8, DT_U8, DT_BOOL};
        fresh_arg(&g, other ? OTHERS[pick(&g, 6)] : random_float(&g));
    }
    int32_t n_ops = options->n_ops ? options->n_ops : 24;
    int32_t n_grown = 1 + (int32_t)pick(&g, n_ops);
    for (int32_t i = 0; i < n_grown; i++) {
        grow(&g);
    }
    grow_row(&g, seed);
    place_copies(&g, seed);
    if (options->smooth) {
        set_loss(&g);
    } else {
        choose_results(&g);
    }
    check_sound(g.func, seed);
    return g.func;
}
