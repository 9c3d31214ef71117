/* Combining in blocks that stay in the first cache: operands in the tree's order, partial results
 * on a stack of blocks, as a binary counter has them. */
#include "runtime/comm/combine.h"

#include "ir/base/mesh.h"

#include <string.h>

/* Blocks of partial results: one a level of the tree and one more. */
enum { BLOCK = 128, LEVELS = 22 };
_Static_assert(1 << (LEVELS - 2) >= MESH_MAX_RANKS, "a level for each doubling of ranks");

/* Iterations of the next loop do not depend on each other: pointers are equal or apart. */
#ifdef __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#pragma GCC optimize("O3,fp-contract=off") /* else gcc makes no vectors of conversions */
#endif

typedef void (*CombineFunction)(const void *a, const void *b, int64_t count, void *out);

/* A whole block has a constant length, which gcc makes vectors of at any level of optimisation. */
#define COMBINE(name, Type, formula)                                                               \
    static void name(const void *a, const void *b, int64_t count, void *out) {                     \
        typedef Type __attribute__((may_alias)) Element;                                           \
        const Element *xs = a, *ys = b;                                                            \
        Element *to = out;                                                                         \
        if (count == BLOCK) {                                                                      \
            INDEPENDENT for (int64_t i = 0; i < BLOCK; i++) {                                      \
                Type x = xs[i], y = ys[i];                                                         \
                to[i] = (Type)(formula);                                                           \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        for (int64_t i = 0; i < count; i++) {                                                      \
            Type x = xs[i], y = ys[i];                                                             \
            to[i] = (Type)(formula);                                                               \
        }                                                                                          \
    }

/* Nan wins; of equal values (0 and -0) the second, as in ir/scalar.def. */
#define COMBINE_FLOAT(suffix, Type)                                                                \
    COMBINE(add_##suffix, Type, x + y)                                                             \
    COMBINE(mul_##suffix, Type, x *y)                                                              \
    COMBINE(min_##suffix, Type, ((x < y) | (x != x)) ? x : y)                                      \
    COMBINE(max_##suffix, Type, ((x > y) | (x != x)) ? x : y)

/* Sums and products wrap. */
#define COMBINE_INT(suffix, Type, Wide)                                                            \
    COMBINE(add_##suffix, Type, (Wide)x + (Wide)y)                                                 \
    COMBINE(mul_##suffix, Type, (Wide)x *(Wide)y)                                                  \
    COMBINE(min_##suffix, Type, x < y ? x : y)                                                     \
    COMBINE(max_##suffix, Type, x > y ? x : y)

COMBINE_FLOAT(f64, double)
COMBINE_FLOAT(f32, float)
COMBINE_INT(i64, int64_t, uint64_t)
COMBINE_INT(i32, int32_t, uint32_t)
COMBINE_INT(i8, int8_t, uint32_t)
COMBINE_INT(u8, uint8_t, uint32_t)

/* By CommCombine; of bools AND and OR are MIN and MAX. */
#define ROW(suffix)                                                                                \
    { add_##suffix, mul_##suffix, min_##suffix, max_##suffix, min_##suffix, max_##suffix }
static const CombineFunction functions[PLAN_N_DTYPES][COMM_N_COMBINES] = {
    [PLAN_F64] = ROW(f64),  [PLAN_F32] = ROW(f32), [PLAN_F16] = ROW(f32),
    [PLAN_BF16] = ROW(f32), [PLAN_I64] = ROW(i64), [PLAN_I32] = ROW(i32),
    [PLAN_I8] = ROW(i8),    [PLAN_U8] = ROW(u8),   [PLAN_BOOL] = ROW(u8)};

/* -- 16 bits: as f32 while they are combined. */

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* Without a branch, which would keep what computes `a` and `b` out of vectors. */
static uint32_t either(bool first, uint32_t a, uint32_t b) {
    uint32_t mask = 0u - (uint32_t)first;
    return (a & mask) | (b & ~mask);
}

static float f16_read(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, size = half & 0x7fffu;
    /* Shifted to f32's place the exponent is 112 too small; the product makes subnormals right. */
    float value = float_of(size << 13) * 0x1p112f;
    return float_of(sign | either(size >= 0x7c00, 0x7f800000u | size << 13, bits_of(value)));
}

/* To nearest, ties to even. */
static uint16_t f16_write(float value) {
    uint32_t bits = bits_of(value), size = bits & 0x7fffffffu;
    uint32_t normal = (size - 0x38000000u + 0xfff + (size >> 13 & 1)) >> 13;
    /* Below 2^-14 the sum's last bit is f16's least unit, 2^-24. */
    uint32_t small = bits_of(float_of(size) + 0.5f) - bits_of(0.5f);
    uint32_t result = either(size < 0x38800000u, small, normal);
    result = either(size >= 0x477ff000u, 0x7c00, result); /* 65520 and above */
    result = either(size > 0x7f800000u, 0x7e00, result);
    return (uint16_t)((bits >> 16 & 0x8000) | result);
}

static float bf16_read(uint16_t half) {
    return float_of((uint32_t)half << 16);
}

static uint16_t bf16_write(float value) {
    uint32_t bits = bits_of(value);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

static bool is_short(int32_t dtype) {
    return dtype == PLAN_F16 || dtype == PLAN_BF16;
}

#define CONVERT(name, From, To, function)                                                          \
    static void name(const From *restrict from, int64_t count, To *restrict to) {                  \
        if (count == BLOCK) {                                                                      \
            INDEPENDENT for (int64_t i = 0; i < BLOCK; i++) {                                      \
                to[i] = function(from[i]);                                                         \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        for (int64_t i = 0; i < count; i++) {                                                      \
            to[i] = function(from[i]);                                                             \
        }                                                                                          \
    }
typedef float __attribute__((may_alias)) Single; /* in a block of a Tree */
CONVERT(read_f16, uint16_t, Single, f16_read)
CONVERT(read_bf16, uint16_t, Single, bf16_read)
CONVERT(write_f16, Single, uint16_t, f16_write)
CONVERT(write_bf16, Single, uint16_t, bf16_write)

/* -- The tree. */

/* What is on the stack: a block of memory and how many levels of the tree it has behind it. */
typedef struct Partial {
    const void *values;
    int level;
} Partial;

typedef struct Tree {
    int32_t dtype, n;
    CombineFunction function;
    Partial stack[LEVELS];
    int depth;
    double blocks[LEVELS][BLOCK]; /* of stack[i], where it is no operand itself */
} Tree;

/* The two on top become one. */
static void tree_combine(Tree *tree, int64_t count, void *out) {
    Partial *a = &tree->stack[tree->depth - 2], *b = a + 1;
    tree->function(a->values, b->values, count, out);
    *a = (Partial){out, a->level + 1};
    tree->depth--;
}

static void tree_push(Tree *tree, const void *operand, int64_t count) {
    int at = tree->depth++;
    if (is_short(tree->dtype)) {
        Single *values = (void *)tree->blocks[at];
        (tree->dtype == PLAN_F16 ? read_f16 : read_bf16)(operand, count, values);
        operand = values;
    }
    tree->stack[at] = (Partial){operand, 0};
}

static void block_combine(Tree *tree, const void *const *in, int64_t skip, int64_t count,
                          void *out) {
    tree->depth = 0;
    for (int32_t i = 0; i < tree->n; i++) {
        tree_push(tree, (const char *)in[i] + skip, count);
        while (i + 1 < tree->n && tree->depth > 1 &&
               tree->stack[tree->depth - 2].level == tree->stack[tree->depth - 1].level) {
            tree_combine(tree, count, tree->blocks[tree->depth - 2]);
        }
    }
    bool straight = !is_short(tree->dtype);
    while (tree->depth > 1) {
        bool last = straight && tree->depth == 2;
        tree_combine(tree, count,
                     last ? (char *)out + skip : (void *)tree->blocks[tree->depth - 2]);
    }
    if (!straight) {
        void *to = (char *)out + skip;
        (tree->dtype == PLAN_F16 ? write_f16 : write_bf16)(tree->stack[0].values, count, to);
    }
}

void comm_combine(int32_t dtype, CommCombine combine, const void *const *in, int32_t n,
                  int64_t count, void *out) {
    int64_t bytes = comm_dtype_bytes(dtype);
    if (n == 1) {
        if (out != in[0] && count > 0) {
            memcpy(out, in[0], (size_t)(count * bytes));
        }
        return;
    }
    Tree tree;
    tree.dtype = dtype;
    tree.n = n;
    tree.function = functions[dtype][combine];
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t some = count - first < BLOCK ? count - first : BLOCK;
        block_combine(&tree, in, first * bytes, some, out);
    }
}
