/* See library_call.h. */
#include "ir/ops/library_call.h"
#include "ir/ops/rule.h"

#include <string.h>

static const char *const KINDS[LIBRARY_N_KINDS] = {"matmul", "conv", "conv_input_grad",
                                                   "conv_weight_grad"};
static const char *const COMPUTES[LIBRARY_N_COMPUTES] = {"f32", "tf32", "f64"};
static const char *const EPILOGUES[LIBRARY_N_EPILOGUES] = {"none", "relu", "gelu_tanh"};
static const char *const OPERANDS[LIBRARY_N_OPERANDS] = {"a", "b", "c", "the bias"};

/* -- reading and writing */

/* -1: none of the words. */
static int word_index(const char *const *words, int count, const char *word) {
    for (int i = 0; i < count; i++) {
        if (strcmp(words[i], word) == 0) {
            return i;
        }
    }
    return -1;
}

bool library_call_of(const Op *fusion, LibraryCall *out) {
    int kind = word_index(KINDS, LIBRARY_N_KINDS, fusion_library(fusion));
    int compute = word_index(COMPUTES, LIBRARY_N_COMPUTES, fusion_compute(fusion));
    int epilogue = word_index(EPILOGUES, LIBRARY_N_EPILOGUES, fusion_epilogue(fusion));
    Ints operands = fusion_call_operands(fusion);
    if (kind < 0 || compute < 0 || epilogue < 0 || operands.count != LIBRARY_N_OPERANDS) {
        return false;
    }
    *out = (LibraryCall){.kind = (LibraryKind)kind,
                         .compute = (LibraryCompute)compute,
                         .epilogue = (LibraryEpilogue)epilogue,
                         .sizes = fusion_call_sizes(fusion)};
    memcpy(out->operands, operands.at, sizeof(out->operands));
    return true;
}

static Context *context_of(const Op *op) {
    return op->parent->func->module->context;
}

static void attributes_set(Op *fusion, const char *why, const char *kind, const char *compute,
                           const char *epilogue, Ints operands, Sizes sizes) {
    Context *context = context_of(fusion);
    op_set_no_library(fusion, context_intern(context, why));
    op_set_library(fusion, context_intern(context, kind));
    op_set_compute(fusion, context_intern(context, compute));
    op_set_epilogue(fusion, context_intern(context, epilogue));
    op_set_call_operands(fusion, operands);
    op_set_call_sizes(fusion, sizes);
}

void library_call_set(Op *fusion, const LibraryCall *call) {
    Func *func = fusion->parent->func;
    attributes_set(fusion, "", KINDS[call->kind], COMPUTES[call->compute],
                   EPILOGUES[call->epilogue], ints_copy(func, call->operands, LIBRARY_N_OPERANDS),
                   sizes_copy(func, call->sizes.at, call->sizes.count));
}

void library_call_refuse(Op *fusion, const char *why) {
    attributes_set(fusion, why, "", "", "", (Ints){0}, (Sizes){0});
}

void library_call_clear(Op *fusion) {
    library_call_refuse(fusion, "");
}

/* -- checking */

typedef struct Check {
    Context *context;
    const Op *fusion;
    OpProblem *problem;
    LibraryCall call;
} Check;

#define REFUSE(c, ...)                                                                             \
    op_problem((c)->context, (c)->problem, "fusion: its library call " __VA_ARGS__)

static bool check_words(Check *c) {
    const Op *op = c->fusion;
    if (word_index(KINDS, LIBRARY_N_KINDS, fusion_library(op)) < 0) {
        return REFUSE(c, "is a '%s', which none is", fusion_library(op));
    }
    if (word_index(COMPUTES, LIBRARY_N_COMPUTES, fusion_compute(op)) < 0) {
        return REFUSE(c, "computes in '%s', which none does", fusion_compute(op));
    }
    if (word_index(EPILOGUES, LIBRARY_N_EPILOGUES, fusion_epilogue(op)) < 0) {
        return REFUSE(c, "ends in '%s', which none does", fusion_epilogue(op));
    }
    if (fusion_call_operands(op).count != LIBRARY_N_OPERANDS) {
        return REFUSE(c, "has %d operands, not %d", (int)fusion_call_operands(op).count,
                      (int)LIBRARY_N_OPERANDS);
    }
    if (op->n_results != 1) {
        return REFUSE(c, "gives one result, the fusion %d", (int)op->n_results);
    }
    return true;
}

static bool check_operands(Check *c) {
    for (int i = 0; i < LIBRARY_N_OPERANDS; i++) {
        int64_t number = c->call.operands[i];
        bool is_needed = i == LIBRARY_A || i == LIBRARY_B;
        if (number < (is_needed ? 0 : -1) || number >= c->fusion->n_operands) {
            return REFUSE(c, "has %s as operand %lld, of %d", OPERANDS[i], (long long)number,
                          (int)c->fusion->n_operands);
        }
    }
    bool has_bias = c->call.operands[LIBRARY_BIAS] >= 0;
    if (c->call.kind == LIBRARY_MATMUL) {
        return true;
    }
    if (c->call.operands[LIBRARY_C] >= 0 ||
        (c->call.kind != LIBRARY_CONV && (has_bias || c->call.epilogue != LIBRARY_PLAIN)) ||
        c->call.epilogue == LIBRARY_GELU_TANH || (c->call.epilogue == LIBRARY_RELU && !has_bias)) {
        return REFUSE(c, "is a %s; what is made of that is a bias, or relu of a bias, after conv",
                      KINDS[c->call.kind]);
    }
    return true;
}

static Type type_of(const Check *c, LibraryOperand operand) {
    return c->fusion->operands[c->call.operands[operand]]->type;
}

static bool check_types(Check *c) {
    DType a = type_of(c, LIBRARY_A).dtype, b = type_of(c, LIBRARY_B).dtype;
    DType d = c->fusion->results[0]->type.dtype;
    bool widens = c->call.kind == LIBRARY_MATMUL && (a == DT_F16 || a == DT_BF16) && d == DT_F32;
    if (!dtype_is_float(a) || a != b || (d != a && !widens)) {
        return REFUSE(c, "multiplies %s by %s to %s", dtype_name(a), dtype_name(b), dtype_name(d));
    }
    for (int i = LIBRARY_C; i <= LIBRARY_BIAS; i++) {
        if (c->call.operands[i] >= 0 && type_of(c, (LibraryOperand)i).dtype != d) {
            return REFUSE(c, "adds %s as %s to %s", OPERANDS[i],
                          dtype_name(type_of(c, (LibraryOperand)i).dtype), dtype_name(d));
        }
    }
    if ((c->call.compute == LIBRARY_F64) != (a == DT_F64) ||
        (c->call.compute == LIBRARY_TF32 && a != DT_F32)) {
        return REFUSE(c, "computes in %s, of %s", COMPUTES[c->call.compute], dtype_name(a));
    }
    return true;
}

static bool check_elements(Check *c, const char *what, const Size *wanted, Type type) {
    const Size *elements = type_elements(c->context, type);
    return rule_may_be_equal(c->context, c->fusion, wanted, elements,
                             "elements of a library call's operand", c->problem) ||
           REFUSE(c, "has %s elements in %s, but that has %s", size_text(c->context, wanted), what,
                  size_text(c->context, elements));
}

/* Rows, columns and matrices by their strides: all lie in the value, and one of the first two has
 * no gaps. */
static bool check_matrix(Check *c, const char *what, const Size *const extents[3],
                         const Size *const *strides, Type type) {
    const Size *one = size_const(c->context, 1), *end = one;
    if (!size_is_one(strides[0]) && !size_is_one(strides[1])) {
        return REFUSE(c, "has gaps in rows and columns of %s", what);
    }
    for (int i = 0; i < 3; i++) {
        const Size *steps = size_sub(c->context, extents[i], one);
        end = size_add(c->context, end, size_mul(c->context, steps, strides[i]));
    }
    const Size *elements = type_elements(c->context, type);
    return rule_may_be_le(c->context, c->fusion, end, elements,
                          "elements of a library call's operand", c->problem) ||
           REFUSE(c, "reaches %s elements of %s, which has %s", size_text(c->context, end), what,
                  size_text(c->context, elements));
}

static bool check_matmul(Check *c) {
    enum { M, N, K, BATCH, STRIDES };
    const Size *const *sizes = c->call.sizes.at;
    if (c->call.sizes.count != LIBRARY_MATMUL_SIZES) {
        return REFUSE(c, "has %d sizes, not %d", (int)c->call.sizes.count,
                      (int)LIBRARY_MATMUL_SIZES);
    }
    const Size *const extents[4][3] = {{sizes[M], sizes[K], sizes[BATCH]},
                                       {sizes[K], sizes[N], sizes[BATCH]},
                                       {sizes[M], sizes[N], sizes[BATCH]},
                                       {sizes[M], sizes[N], sizes[BATCH]}};
    Type d = c->fusion->results[0]->type;
    for (int i = 0; i <= LIBRARY_C; i++) {
        if (c->call.operands[i] >= 0 &&
            !check_matrix(c, OPERANDS[i], extents[i], sizes + STRIDES + 3 * i,
                          type_of(c, (LibraryOperand)i))) {
            return false;
        }
    }
    const Size *matrix = size_mul(c->context, sizes[M], sizes[N]);
    bool has_bias = c->call.operands[LIBRARY_BIAS] >= 0;
    return check_matrix(c, "its result", extents[3], sizes + STRIDES + 9, d) &&
           check_elements(c, "its result", size_mul(c->context, matrix, sizes[BATCH]), d) &&
           (!has_bias ||
            check_elements(c, OPERANDS[LIBRARY_BIAS], sizes[N], type_of(c, LIBRARY_BIAS)));
}

/* The constant at *at, at least `least`. */
static bool check_number(Check *c, const Size *size, int64_t least, const char *what) {
    int64_t value;
    return (size_is_const(size, &value) && value >= least) ||
           REFUSE(c, "has %s of %s", what, size_text(c->context, size));
}

static bool check_tensor(Check *c, const char *what, const Size *const *dims,
                         const Size *const *strides, int32_t rank, Type type) {
    const Size *stride = size_const(c->context, 1);
    for (int32_t i = rank; i-- > 0;) {
        if (strides[i] != stride) {
            return REFUSE(c, "has gaps in %s", what);
        }
        stride = size_mul(c->context, stride, dims[i]);
    }
    return check_elements(c, what, stride, type);
}

static bool check_conv(Check *c) {
    enum { HEAD = 2, LISTS = 4, TENSORS = 3 };
    static const char *const names[LISTS] = {"a stride", "a dilation", "low padding",
                                             "high padding"};
    const Size *const *sizes = c->call.sizes.at;
    int64_t spatial = 0;
    bool ok = c->call.sizes.count > 0 && size_is_const(sizes[0], &spatial) && spatial >= 1 &&
              spatial <= LIBRARY_MOST_SPATIAL;
    if (!ok || c->call.sizes.count != LIBRARY_CONV_SIZES(spatial)) {
        return REFUSE(c, "has %d sizes, which no convolution has", (int)c->call.sizes.count);
    }
    ok = check_number(c, sizes[1], 1, "groups");
    for (int32_t i = 0; ok && i < LISTS * spatial; i++) {
        int64_t list = i / spatial;
        ok = check_number(c, sizes[HEAD + i], list < 2 ? 1 : 0, names[list]);
    }
    int32_t rank = (int32_t)spatial + 2;
    const Size *const *dims = sizes + HEAD + LISTS * spatial;
    Type a = type_of(c, LIBRARY_A), b = type_of(c, LIBRARY_B);
    Type d = c->fusion->results[0]->type;
    LibraryKind kind = c->call.kind;
    const Type types[TENSORS] = {/* x, w, y */
                                 kind == LIBRARY_CONV              ? a
                                 : kind == LIBRARY_CONV_INPUT_GRAD ? d
                                                                   : b,
                                 kind == LIBRARY_CONV_WEIGHT_GRAD ? d : b,
                                 kind == LIBRARY_CONV ? d : a};
    static const char *const tensors[TENSORS] = {"x", "w", "y"};
    for (int t = 0; ok && t < TENSORS; t++) {
        ok = check_tensor(c, tensors[t], dims + t * rank, dims + (TENSORS + t) * rank, rank,
                          types[t]);
    }
    bool has_bias = c->call.operands[LIBRARY_BIAS] >= 0;
    return ok && (!has_bias || check_elements(c, OPERANDS[LIBRARY_BIAS], dims[2 * rank + 1],
                                              type_of(c, LIBRARY_BIAS)));
}

bool library_call_check(Context *context, const Op *fusion, OpProblem *problem) {
    Check c = {.context = context, .fusion = fusion, .problem = problem};
    if (!*fusion_library(fusion)) {
        bool is_empty = !*fusion_compute(fusion) && !*fusion_epilogue(fusion) &&
                        fusion_call_operands(fusion).count == 0 &&
                        fusion_call_sizes(fusion).count == 0;
        return is_empty || REFUSE(&c, "has no kind");
    }
    if (*fusion_no_library(fusion)) {
        return REFUSE(&c, "stands beside a reason why there is none");
    }
    return check_words(&c) && library_call_of(fusion, &c.call) && check_operands(&c) &&
           check_types(&c) && (c.call.kind == LIBRARY_MATMUL ? check_matmul(&c) : check_conv(&c));
}
