/* The op table as the program sees it: codes, kinds, attribute descriptors and per-op rules, all
 * expanded from ir/scalar.def, ir/ops.def and ir/attributes.def. Who wants to know something about
 * an op asks here. */
#ifndef DLC_IR_OP_H
#define DLC_IR_OP_H

#include "ir/type.h"

typedef enum OpCode {
#define SCALAR(name, ...) OP_##name,
#include "ir/scalar.def"
#undef SCALAR
#define OP(name, ...) OP_##name,
#include "ir/ops.def"
#undef OP
    OP_CODE_COUNT,
    OP_NONE = OP_CODE_COUNT /* no op */
} OpCode;

enum {
    OP_N_SCALAR = 0
#define SCALAR(...) +1
#include "ir/scalar.def"
#undef SCALAR
}; /* codes below this are scalar.def rows: op->code is also the scalar operation */

typedef enum OpKind {
    KIND_ELEMENTWISE,
    KIND_CONSTANT,
    KIND_MOVEMENT,
    KIND_WINDOW,
    KIND_REDUCTION,
    KIND_PREFIX,
    KIND_SORT,
    KIND_CONTRACTION,
    KIND_CONVOLUTION,
    KIND_INDEX,
    KIND_RANDOM,
    KIND_CONTROL,
    KIND_COLLECTIVE
} OpKind;

typedef enum OpFlag {
    OPF_NODIFF = 1 << 0,
    OPF_EFFECT = 1 << 1,
    OPF_ISOLATED = 1 << 2,
    OPF_OWN_GRAD = 1 << 3
} OpFlag;

typedef enum AttrKind {
    ATTR_INT,   /* int64_t */
    ATTR_SIZE,  /* const Size * */
    ATTR_FLOAT, /* double */
    ATTR_BOOL,
    ATTR_TEXT, /* interned */
    ATTR_WORD, /* interned; where it is "", the text form leaves it out, and what stands behind it
                  up to the next WORD */
    ATTR_DTYPE,
    ATTR_INTS,
    ATTR_SIZES,
    ATTR_DATA /* doubles for float literals, int64_t for the others */
} AttrKind;

/* Which attribute: ATTR_ID_<word>, for each row of attributes.def. */
typedef enum AttrId {
#define ATTR(word, kind, name) ATTR_ID_##word,
#include "ir/attributes.def"
#undef ATTR
    ATTR_ID_COUNT
} AttrId;

enum { OP_MAX_ATTRS = 7 };

typedef struct AttrDesc {
    const char *name; /* in the text form */
    AttrKind kind;
} AttrDesc;

typedef enum ScalarClass {
    CLASS_FLOAT,
    CLASS_NUMBER,
    CLASS_INTEGER,
    CLASS_BOOL,
    CLASS_ANY
} ScalarClass;
typedef enum ScalarResult { RESULT_SAME, RESULT_BOOL } ScalarResult;

/* The words of the tables' columns; ops.def and scalar.def say what they mean. */
typedef enum ScalarGradient {
    GRADIENT_RULE,
    GRADIENT_ZERO,
    GRADIENT_NONE,
    GRADIENT_BRANCHES
} ScalarGradient;

/* What many elements are combined from, and what none are. */
typedef enum ScalarIdentity {
    IDENTITY_NONE,
    IDENTITY_ZERO,
    IDENTITY_ONE,
    IDENTITY_LEAST,
    IDENTITY_GREATEST
} ScalarIdentity;

/* Of which operands it follows that an integer result is not negative. */
typedef enum ScalarSign {
    SIGN_UNKNOWN,
    SIGN_BOTH,
    SIGN_EITHER,
    SIGN_SECOND,
    SIGN_BRANCHES
} ScalarSign;

typedef enum ScalarDomain {
    DOMAIN_ALL,
    DOMAIN_NEAR_0,
    DOMAIN_POSITIVE,
    DOMAIN_UNIT,
    DOMAIN_DIVISOR,
    DOMAIN_BASE
} ScalarDomain;

typedef enum ScalarSlope {
    SLOPE_SMOOTH,
    SLOPE_POLES,
    SLOPE_POLES_AT_0,
    SLOPE_POLES_BELOW_1
} ScalarSlope;

typedef enum OpFusion {
    FUSION_VIEW,
    FUSION_SPREAD,
    FUSION_FREE,
    FUSION_FREE_IF_SMALL,
    FUSION_FREE_UNLESS_STORED,
    FUSION_LOOP,
    FUSION_PICK,
    FUSION_REDUCE,
    FUSION_ARG_REDUCE,
    FUSION_CONTRACT,
    FUSION_CONV,
    FUSION_PREFIX,
    FUSION_SORT,
    FUSION_SCATTER,
    FUSION_UPDATE,
    FUSION_ATTENTION,
    FUSION_BARRIER
} OpFusion;

typedef enum OpPrecision {
    PRECISION_KEEP,
    PRECISION_MAP,
    PRECISION_MAP_OF_WINDOW,
    PRECISION_WIDE,
    PRECISION_WIDE_OUT,
    PRECISION_PRODUCT
} OpPrecision;

typedef enum OpElements { ELEMENTS_MADE, ELEMENTS_WHOLE, ELEMENTS_PICKED } OpElements;

/* In which operands an op is linear. */
typedef enum OpLinear {
    LINEAR_NONE,
    LINEAR_ALL,
    LINEAR_VALUES,
    LINEAR_EACH,
    LINEAR_FIRST,
    LINEAR_BRANCHES
} OpLinear;

typedef struct Op Op;
typedef struct Value Value;
typedef struct Builder Builder;

/* Receives a complaint about an ill-formed op from shape rules; text is a complete sentence without
 * place. The frontend turns it into a diagnostic, the verifier into an internal error. */
typedef struct OpProblem {
    const char *text; /* NULL: none */
    /* Hears what the op demands of sizes where it is neither proved nor refuted: that left equals
     * right for all values of the dims that the program runs with. NULL: nobody asks. */
    void (*premise)(void *user, const Size *left, const Size *right, const char *text);
    void *user;
} OpProblem;

struct EvalTensor; /* ir/interp.h */
struct Interp;
struct ViewReader; /* ir/view.h */
struct OpAxes;     /* ir/axes.h */

typedef struct OpInfo {
    const char *name;
    OpKind kind;
    int n_operands, n_results, n_blocks; /* -1: any */
    unsigned flags;
    OpFusion fusion;
    int work;        /* rough operations an element */
    OpCode combines; /* what makes one of many elements; OP_NONE: nothing */
    OpPrecision precision;
    OpElements elements;
    OpLinear linear;
    int n_attrs;
    const AttrDesc *attrs[OP_MAX_ATTRS + 1]; /* then NULL */
    const char *doc;
    /* scalar.def rows only */
    bool is_scalar;
    ScalarClass scalar_class;
    ScalarResult scalar_result;
    ScalarGradient scalar_gradient;
    ScalarDomain scalar_domain;
    ScalarSlope scalar_slope;
    ScalarSign scalar_sign;
    ScalarIdentity scalar_identity;
    const char *scalar_c;
    /* Sets the types of op->results (already allocated, n_results known) from operands, attributes
     * and blocks. On failure sets problem->text and returns false. Checks everything the op
     * demands; what is not decided goes to problem->premise. */
    bool (*shape)(Context *context, Op *op, OpProblem *problem);
    /* Adds, for each operand i with wanted[i], its cotangent to out[i] (NULL: zero), given the
     * cotangents of the results (NULL entries: zero). Built with the builder, so differentiable
     * again. NULL: NODIFF, or handled by passes/differentiate itself (scan, while, grad). */
    void (*grad)(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out);
    /* Which element of operand 0 is the result's `at` a position (ir/view.h). NULL: no view. */
    void (*view)(struct ViewReader *r, const Op *op, const void *const *at, const void **out);
    /* Which axes go together (ir/axes.h). NULL: the op is computed whole, or passes/shard has a
     * rule of its own. */
    void (*axes)(struct OpAxes *axes, const Op *op);
    /* Multiplications and additions, exact for any dims. NULL: none. */
    const Size *(*flops)(Context *context, const Op *op);
    /* Reference semantics; see ir/interp.h. */
    dlc_status (*eval)(struct Interp *interp, const Op *op);
} OpInfo;

const OpInfo *op_info(OpCode code);
const Size *op_flops(Context *context, const Op *op); /* 0: none */
/* Where an op of that code keeps an attribute, plus 1; 0: it has none such. */
extern const int8_t OP_ATTR_INDEX[OP_CODE_COUNT][ATTR_ID_COUNT];
bool op_code_from_name(const char *name, OpCode *out);
/* Every element of the result is one element of operand 0, or operand 1 (padding). */
static inline bool op_is_view(OpCode code) {
    return op_info(code)->view != NULL;
}
/* Every element of the result is one of the only operand, as it is or (cast) converted. */
static inline bool op_rearranges(OpCode code) {
    const OpInfo *info = op_info(code);
    return info->n_operands == 1 && info->elements == ELEMENTS_PICKED &&
           (info->kind == KIND_MOVEMENT || info->kind == KIND_ELEMENTWISE);
}
/* What combining no elements by a row of scalar.def gives (its column `identity`), for floats and
 * in a type of integers or bools. */
double scalar_identity(OpCode code);
int64_t scalar_int_identity(OpCode code, DType dtype);
/* Whether a row of scalar.def has operands of that type (select: its second and third). */
bool scalar_takes(OpCode code, DType dtype);
static inline bool op_is_scalar(OpCode code) {
    return (int)code < (int)OP_N_SCALAR;
}

#endif
