/* See convolution.h. What cuDNN 9 does of bias and activation was asked of it. */
#include "passes/library/convolution.h"

#include "ir/build.h"

enum { CHANNEL_AXIS = 1 };

bool convolution_is(const Op *op) {
    return op_info(op->code)->fusion == FUSION_CONV;
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

/* A cast that changes no value. */
static bool is_widening(const Op *op) {
    DType from = op->operands[0]->type.dtype;
    return match_is_float_cast(op) && (from == DT_BF16 || from == DT_F16) &&
           op->results[0]->type.dtype == DT_F32;
}

/* A library rounds once, to the type that it stores. */
static bool keeps_sum(const Value *v, const Value *result) {
    return is_widening(v->op) ||
           (match_is_float_cast(v->op) && v->type.dtype == result->type.dtype);
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
static const Value *relu_of(LibraryMatch *out, const Value *v) {
    const Op *op = v->op;
    if (!op) {
        return NULL;
    }
    if (op->code == OP_max && (is_zero(op->operands[0]) || is_zero(op->operands[1]))) {
        match_keep_op(out, op);
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
    return match_keep_op(out, op) && match_keep_op(out, test) ? op->operands[2] : NULL;
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
static bool sum_match(LibraryMatch *out, const Value *v, const Op *conv) {
    const Op *add = v->op;
    for (int32_t side = 0; add && add->code == OP_add && side < 2; side++) {
        const Value *bias = convolution_bias(add->operands[1 - side]);
        if (bias && add->operands[side]->op == conv) {
            out->operand[LIBRARY_BIAS] = bias;
            return match_keep_op(out, add);
        }
    }
    return v->op == conv;
}

static bool types_match(const LibraryMatch *out, DType result, const char **why) {
    *why = "its types are none that a library convolves";
    if (!dtype_is_float(out->operand[LIBRARY_A]->type.dtype)) {
        return false;
    }
    *why = "its operands and result are not of one type";
    for (int i = 0; i < LIBRARY_N_OPERANDS; i++) {
        if (out->operand[i] && out->operand[i]->type.dtype != result) {
            return false;
        }
    }
    return true;
}

/* -- The call */

static void add_dense_strides(Context *context, LibraryMatch *out, Type type) {
    const Size *stride = size_const(context, 1);
    for (int32_t i = type.rank; i-- > 0;) {
        out->sizes[out->n_sizes + i] = stride;
        stride = size_mul(context, stride, type.dims[i]);
    }
    out->n_sizes += type.rank;
}

static void add_sizes(Context *context, LibraryMatch *out, const Op *conv) {
    ConvAttrs attrs = conv_attrs_of(conv);
    Type a = conv->operands[0]->type, b = conv->operands[1]->type, d = conv->results[0]->type;
    const Type types[3] = {
        conv->code == OP_conv_input_grad ? d : a,
        conv->code == OP_conv_weight_grad ? d : b,
        conv->code == OP_conv              ? d
        : conv->code == OP_conv_input_grad ? a
                                           : b,
    };
    const int64_t *const lists[4] = {attrs.stride, attrs.dilation, attrs.low, attrs.high};
    match_add_size(out, size_const(context, attrs.n_spatial));
    match_add_size(out, size_const(context, attrs.groups));
    for (int l = 0; l < 4; l++) {
        for (int32_t i = 0; i < attrs.n_spatial; i++) {
            match_add_size(out, size_const(context, lists[l][i]));
        }
    }
    for (int t = 0; t < 3; t++) {
        for (int32_t i = 0; i < types[t].rank; i++) {
            match_add_size(out, types[t].dims[i]);
        }
    }
    for (int t = 0; t < 3; t++) {
        add_dense_strides(context, out, types[t]);
    }
}

/* Of the op's operands, x, w or dy: the call's A of a filter's gradient is dy. */
static void set_operands(LibraryMatch *out, const Op *conv) {
    bool is_swapped = conv->code == OP_conv_weight_grad;
    out->operand[LIBRARY_A] = reshaped(conv->operands[is_swapped ? 1 : 0]);
    out->operand[LIBRARY_B] = reshaped(conv->operands[is_swapped ? 0 : 1]);
    out->kind = is_swapped                         ? LIBRARY_CONV_WEIGHT_GRAD
                : conv->code == OP_conv_input_grad ? LIBRARY_CONV_INPUT_GRAD
                                                   : LIBRARY_CONV;
    out->compute = match_compute(conv);
}

bool convolution_match(Context *context, const Value *result, const Op *conv, LibraryMatch *out,
                       const char **why) {
    *out = (LibraryMatch){0};
    set_operands(out, conv);
    ConvAttrs attrs = conv_attrs_of(conv);
    *why = "its padding is negative";
    for (int32_t i = 0; i < attrs.n_spatial; i++) {
        if (attrs.low[i] < 0 || attrs.high[i] < 0) {
            return false;
        }
    }
    const Value *v = result;
    while (v->op && v->op != conv && (keeps_sum(v, result) || v->op->code == OP_reshape)) {
        *why = "too much is made of it in one kernel";
        if (!match_keep_op(out, v->op)) {
            return false;
        }
        v = v->op->operands[0];
    }
    const Value *inner = relu_of(out, v);
    out->epilogue = inner ? LIBRARY_RELU : LIBRARY_PLAIN;
    v = inner ? inner : v;
    *why = "what is made of it is no epilogue of a library";
    if (!match_keep_op(out, conv) || !sum_match(out, v, conv)) {
        return false;
    }
    *why = "a library's epilogue is one with a bias, after a forward convolution";
    if ((inner && !out->operand[LIBRARY_BIAS]) ||
        (conv->code != OP_conv && out->operand[LIBRARY_BIAS])) {
        return false;
    }
    if (!types_match(out, result->type.dtype, why)) {
        return false;
    }
    add_sizes(context, out, conv);
    return true;
}
