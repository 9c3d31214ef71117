/* Convolutions that cuDNN can do: the rule is ir/convolution.h's; here it meets a fusion. */
#include "codegen/schedule/library.h"
#include "ir/build.h"
#include "ir/convolution.h"

/* The fusion's operand that is the body's argument; -1: the value is made in the body. */
static int32_t argument_number(const Op *fusion, const Value *v) {
    return !v->op && v->block == fusion->blocks[0] ? v->index : -1;
}

static const Op *convolution_in(const Op *fusion) {
    BLOCK_EACH_OP (fusion->blocks[0], op) {
        if (convolution_is(op)) {
            return op;
        }
    }
    return NULL;
}

static void dense_add(Context *context, Type type, LibraryCall *out) {
    const Size *stride = size_const(context, 1);
    for (int32_t i = type.rank; i-- > 0;) {
        out->sizes[out->n_sizes + i] = stride;
        stride = size_mul(context, stride, type.dims[i]);
    }
    out->n_sizes += type.rank;
}

static void sizes_set(Context *context, const Op *conv, LibraryCall *out) {
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
    out->sizes[out->n_sizes++] = size_const(context, attrs.n_spatial);
    out->sizes[out->n_sizes++] = size_const(context, attrs.groups);
    for (int l = 0; l < 4; l++) {
        for (int32_t i = 0; i < attrs.n_spatial; i++) {
            out->sizes[out->n_sizes++] = size_const(context, lists[l][i]);
        }
    }
    for (int t = 0; t < 3; t++) {
        for (int32_t i = 0; i < types[t].rank; i++) {
            out->sizes[out->n_sizes++] = types[t].dims[i];
        }
    }
    for (int t = 0; t < 3; t++) {
        dense_add(context, types[t], out);
    }
}

/* Operands of the call from those of the op: the contract's A of a filter gradient is dy. */
static void operands_set(const Op *fusion, const Convolution *match, LibraryCall *out) {
    bool swapped = match->conv->code == OP_conv_weight_grad;
    const ConvOperand order[PLAN_N_OPERANDS] = {
        [PLAN_OPERAND_A] = swapped ? CONV_B : CONV_A,
        [PLAN_OPERAND_B] = swapped ? CONV_A : CONV_B,
        [PLAN_OPERAND_BIAS] = CONV_BIAS,
        [PLAN_OPERAND_D] = CONV_D,
    };
    for (int i = 0; i < PLAN_N_OPERANDS; i++) {
        const Value *v = i == PLAN_OPERAND_C ? NULL : match->operand[order[i]];
        out->operand[i] = !v ? -1 : i == PLAN_OPERAND_D ? 0 : argument_number(fusion, v);
        out->dtype[i] = match->operand[CONV_D]->type.dtype;
    }
}

bool library_conv(Context *context, Arena *arena, const Machine *machine, const Op *fusion,
                  LibraryCall *out, const char **why) {
    (void)arena;
    const Op *conv = strcmp(fusion_form(fusion), "conv") == 0 ? convolution_in(fusion) : NULL;
    if (!conv) {
        return false;
    }
    if (!convolution_is_large(conv, &machine->convolution_worth)) {
        *why = "it is small";
        return false;
    }
    const Op *yield = block_yield(fusion->blocks[0]);
    if (yield->n_operands != 1) {
        *why = "it gives several results";
        return false;
    }
    Convolution match;
    if (!convolution_match(context, yield->operands[0], conv, &match, why)) {
        return false;
    }
    operands_set(fusion, &match, out);
    for (int i = 0; i < PLAN_N_OPERANDS; i++) {
        bool there = i == PLAN_OPERAND_A || i == PLAN_OPERAND_B ||
                     (i == PLAN_OPERAND_BIAS && match.operand[CONV_BIAS]);
        if (there && out->operand[i] < 0) {
            *why = "an operand is computed in the same kernel";
            return false;
        }
    }
    DType type = out->dtype[PLAN_OPERAND_D];
    bool tf32 = type == DT_F32 && strcmp(op_precision(conv), "tf32") == 0;
    out->kind = conv->code == OP_conv              ? PLAN_LIBRARY_CONV
                : conv->code == OP_conv_input_grad ? PLAN_LIBRARY_CONV_INPUT_GRAD
                                                   : PLAN_LIBRARY_CONV_FILTER_GRAD;
    out->compute = type == DT_F64 ? PLAN_COMPUTE_F64 : tf32 ? PLAN_COMPUTE_TF32 : PLAN_COMPUTE_F32;
    out->epilogue = match.relu ? PLAN_EPILOGUE_RELU : PLAN_EPILOGUE_NONE;
    sizes_set(context, conv, out);
    *why = NULL;
    return true;
}
