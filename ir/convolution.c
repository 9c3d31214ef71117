/* See convolution.h. What cuDNN 9 does of bias and activation was asked of it. */
#include "ir/convolution.h"

#include "ir/build.h"

enum { CHANNEL_AXIS = 1 };

bool convolution_is(const Op *op) {
    return op->code == OP_conv || op->code == OP_conv_input_grad || op->code == OP_conv_weight_grad;
}

/* -- Whether it is worth it -- */

static double elements(Type type, int32_t first) {
    double n = 1;
    for (int32_t i = first; i < type.rank; i++) {
        n *= (double)size_nominal(type.dims[i], UNSET_SIZE);
    }
    return n;
}

bool convolution_is_large(const Op *conv, const ConvolutionWorth *worth) {
    Type result = conv->results[0]->type;
    Type w = conv->code == OP_conv_weight_grad ? result : conv->operands[1]->type;
    Type y = conv->code == OP_conv              ? result
             : conv->code == OP_conv_input_grad ? conv->operands[0]->type
                                                : conv->operands[1]->type;
    double depth = elements(w, 1), work = elements(y, 0) * depth;
    double channels =
        (double)size_nominal(w.dims[0], UNSET_SIZE) / (double)conv_attrs_of(conv).groups;
    return depth >= worth->depth && channels >= worth->channels && work >= worth->work;
}

/* -- What it is -- */

static bool keep(Convolution *out, const Op *op) {
    if (out->n_ops == CONV_MOST_OPS) {
        return false;
    }
    out->ops[out->n_ops++] = op;
    return true;
}

static bool is_float_cast(const Op *op) {
    return op->code == OP_cast && dtype_is_float(op->results[0]->type.dtype) &&
           dtype_is_float(op->operands[0]->type.dtype);
}

/* A cast that changes no value. */
static bool is_widening(const Op *op) {
    DType from = op->operands[0]->type.dtype;
    return is_float_cast(op) && (from == DT_BF16 || from == DT_F16) &&
           op->results[0]->type.dtype == DT_F32;
}

/* A library rounds once, to the type that it stores. */
static bool keeps_sum(const Value *v, const Value *result) {
    return is_widening(v->op) || (is_float_cast(v->op) && v->type.dtype == result->type.dtype);
}

/* What lies in memory behind reshapes and widening casts. */
static const Value *stored(const Value *v) {
    while (v->op && (v->op->code == OP_reshape || is_widening(v->op))) {
        v = v->op->operands[0];
    }
    return v;
}

static const Value *reshaped(const Value *v) {
    while (v->op && v->op->code == OP_reshape) {
        v = v->op->operands[0];
    }
    return v;
}

static bool is_zero(const Value *v) {
    return v->op && v->op->code == OP_constant && constant_value(v->op) == 0;
}

/* max(x, 0) however it is written: x, or NULL. */
static const Value *relu_of(Convolution *out, const Value *v) {
    const Op *op = v->op;
    if (!op) {
        return NULL;
    }
    if (op->code == OP_max && (is_zero(op->operands[0]) || is_zero(op->operands[1]))) {
        keep(out, op);
        return op->operands[is_zero(op->operands[0]) ? 1 : 0];
    }
    if (op->code != OP_select || !op->operands[0]->op || !is_zero(op->operands[1])) {
        return NULL;
    }
    const Op *test = op->operands[0]->op; /* x <= 0 ? 0 : x */
    if ((test->code != OP_le && test->code != OP_lt) || test->operands[0] != op->operands[2] ||
        !is_zero(test->operands[1])) {
        return NULL;
    }
    return keep(out, op) && keep(out, test) ? op->operands[2] : NULL;
}

const Value *convolution_bias(const Value *v) {
    while (v->op && is_widening(v->op)) {
        v = v->op->operands[0];
    }
    if (!v->op || v->op->code != OP_broadcast || v->op->operands[0]->type.rank != 1) {
        return NULL;
    }
    return op_axes(v->op).at[0] == CHANNEL_AXIS ? stored(v->op->operands[0]) : NULL;
}

/* From the sum, or the product itself, back to the conv. */
static bool sum_match(Convolution *out, const Value *v) {
    const Op *add = v->op;
    for (int32_t side = 0; add && add->code == OP_add && side < 2; side++) {
        const Value *bias = convolution_bias(add->operands[1 - side]);
        if (bias && add->operands[side]->op == out->conv) {
            out->operand[CONV_BIAS] = bias;
            return keep(out, add);
        }
    }
    return v->op == out->conv;
}

static bool types_match(const Convolution *out, const char **why) {
    DType type = out->operand[CONV_A]->type.dtype;
    *why = "its types are none that a library convolves";
    if (!dtype_is_float(type)) {
        return false;
    }
    *why = "its operands and result are not of one type";
    for (int i = 0; i < CONV_N_OPERANDS; i++) {
        if (out->operand[i] && out->operand[i]->type.dtype != type) {
            return false;
        }
    }
    return true;
}

bool convolution_match(Context *context, const Value *result, const Op *conv, Convolution *out,
                       const char **why) {
    (void)context;
    *out = (Convolution){.conv = conv};
    ConvAttrs attrs = conv_attrs_of(conv);
    out->operand[CONV_A] = reshaped(conv->operands[0]);
    out->operand[CONV_B] = reshaped(conv->operands[1]);
    out->operand[CONV_D] = result;
    *why = "its padding is negative";
    for (int32_t i = 0; i < attrs.n_spatial; i++) {
        if (attrs.low[i] < 0 || attrs.high[i] < 0) {
            return false;
        }
    }
    const Value *v = result;
    while (v->op && v->op != conv && (keeps_sum(v, result) || v->op->code == OP_reshape)) {
        *why = "too much is made of it in one kernel";
        if (!keep(out, v->op)) {
            return false;
        }
        v = v->op->operands[0];
    }
    const Value *inner = relu_of(out, v);
    out->relu = inner != NULL;
    v = inner ? inner : v;
    *why = "what is made of it is no epilogue of a library";
    if (!keep(out, conv) || !sum_match(out, v)) {
        return false;
    }
    *why = "a library's epilogue is one with a bias, after a forward convolution";
    if ((out->relu && !out->operand[CONV_BIAS]) ||
        (conv->code != OP_conv && out->operand[CONV_BIAS])) {
        return false;
    }
    return types_match(out, why);
}
