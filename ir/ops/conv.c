/* Convolution and its two transposes. The three are one trilinear form sum x*w*dy seen from its
 * three sides, so they are closed under differentiation and share their loops. */
#include "ir/ops/rule.h"

static bool check_attrs(Context *context, const Op *op, int32_t rank, OpProblem *problem) {
    const struct {
        const char *name;
        Ints ints;
    } lists[] = {{"stride", op_strides(op)},
                 {"dilation", op_dilations(op)},
                 {"low", op_padding_low(op)},
                 {"high", op_padding_high(op)}};
    if (rank < 3 || rank > 5) {
        return op_problem(
            context, problem,
            "%s: operand 0 has type %s but needs batch, channels and 1 to 3 spatial axes",
            op_name(op), type_text(context, operand_type(op, 0)));
    }
    for (int32_t k = 0; k < 4; k++) {
        const char *name = lists[k].name;
        if (!rule_count(context, op, name, lists[k].ints.count, rank - 2, problem)) {
            return false;
        }
        for (int32_t i = 0; i < lists[k].ints.count; i++) {
            int64_t value = lists[k].ints.at[i];
            if (k < 2 && value < 1) {
                return op_problem(context, problem, "%s: %s %lld must be 1 or more", op_name(op),
                                  name, (long long)value);
            }
            if (value > INT32_MAX || value < INT32_MIN) { /* sums and products stay in 64 bits */
                return op_problem(context, problem, "%s: %s %lld does not fit 32 bits", op_name(op),
                                  name, (long long)value);
            }
        }
    }
    if (op_groups(op) < 1) {
        return op_problem(context, problem, "%s: groups %lld must be 1 or more", op_name(op),
                          (long long)op_groups(op));
    }
    return true;
}

static bool check_operands(Context *context, const Op *op, OpProblem *problem) {
    Type a = operand_type(op, 0), b = operand_type(op, 1);
    if (!dtype_is_float(a.dtype)) {
        return op_problem(context, problem, "%s: operand 0 has type %s but must be a float type",
                          op_name(op), type_text(context, a));
    }
    if (a.rank != b.rank) {
        return op_problem(context, problem, "%s: operand 0 has type %s but operand 1 has type %s",
                          op_name(op), type_text(context, a), type_text(context, b));
    }
    return rule_same_dtype(context, op, 0, 1, problem) && check_attrs(context, op, a.rank, problem);
}

/* Output size along spatial axis i: floor((n + low + high - dilation*(k-1) - 1) / stride) + 1. */
static const Size *conv_out(Context *context, const ConvAttrs *attrs, int32_t i, const Size *n,
                            const Size *k) {
    const Size *one = size_const(context, 1);
    const Size *span =
        size_mul(context, size_const(context, attrs->dilation[i]), size_sub(context, k, one));
    const Size *room =
        size_add(context, n, size_const(context, attrs->low[i] + attrs->high[i] - 1));
    room = size_sub(context, room, span);
    return size_add(context, size_floordiv(context, room, size_const(context, attrs->stride[i])),
                    one);
}

static bool check_channels(Context *context, const Op *op, const Size *channels,
                           const Size *per_group, const Size *out_channels, int64_t groups,
                           OpProblem *problem) {
    const Size *wanted = size_mul(context, per_group, size_const(context, groups));
    if (size_equal(context, channels, wanted) != TRUTH_YES) {
        return op_problem(
            context, problem,
            "%s: x has %s channels but the weight wants %s (%s in each of %lld groups)",
            op_name(op), size_text(context, channels), size_text(context, wanted),
            size_text(context, per_group), (long long)groups);
    }
    if (!size_divisible(out_channels, groups)) {
        return op_problem(context, problem,
                          "%s: %s output channels are not divisible into %lld groups", op_name(op),
                          size_text(context, out_channels), (long long)groups);
    }
    return true;
}

/* The output sizes of the convolution that dy belongs to must be dy's. */
static bool check_dy(Context *context, const Op *op, const ConvAttrs *attrs, Type dy,
                     const Size *const *spatial, const Size *const *kernel, OpProblem *problem) {
    for (int32_t i = 0; i < attrs->n_spatial; i++) {
        const Size *expected = conv_out(context, attrs, i, spatial[i], kernel[i]);
        if (!rule_same_size(context, op, dy.dims[2 + i], "a spatial size of dy", expected,
                            "the convolution's output size", problem)) {
            return false;
        }
    }
    return true;
}

bool shape_conv(Context *context, Op *op, OpProblem *problem) {
    if (!check_operands(context, op, problem)) {
        return false;
    }
    Type x = operand_type(op, 0), w = operand_type(op, 1);
    ConvAttrs attrs = conv_attrs_of(op);
    if (!check_channels(context, op, x.dims[1], w.dims[1], w.dims[0], attrs.groups, problem)) {
        return false;
    }
    const Size *dims[TYPE_MAX_RANK] = {x.dims[0], w.dims[0]};
    for (int32_t i = 0; i < attrs.n_spatial; i++) {
        dims[2 + i] = conv_out(context, &attrs, i, x.dims[2 + i], w.dims[2 + i]);
    }
    DType dtype = x.dtype;
    return rule_precision(context, op, x.dtype, &dtype, problem) &&
           rule_result(context, op, 0, dtype, x.rank, dims, problem);
}

bool shape_conv_input_grad(Context *context, Op *op, OpProblem *problem) {
    if (!check_operands(context, op, problem)) {
        return false;
    }
    Type dy = operand_type(op, 0), w = operand_type(op, 1);
    ConvAttrs attrs = conv_attrs_of(op);
    Sizes spatial = conv_input_grad_spatial(op);
    const Size *channels = size_mul(context, w.dims[1], size_const(context, attrs.groups));
    if (!rule_count(context, op, "spatial", spatial.count, attrs.n_spatial, problem) ||
        !rule_same_size(context, op, dy.dims[1], "the number of channels of dy", w.dims[0],
                        "the weight's first size", problem) ||
        !check_channels(context, op, channels, w.dims[1], w.dims[0], attrs.groups, problem) ||
        !check_dy(context, op, &attrs, dy, spatial.at, w.dims + 2, problem)) {
        return false;
    }
    const Size *dims[TYPE_MAX_RANK] = {dy.dims[0], channels};
    for (int32_t i = 0; i < spatial.count; i++) {
        dims[2 + i] = spatial.at[i];
    }
    DType dtype = dy.dtype;
    return rule_precision(context, op, dy.dtype, &dtype, problem) &&
           rule_result(context, op, 0, dtype, dy.rank, dims, problem);
}

bool shape_conv_weight_grad(Context *context, Op *op, OpProblem *problem) {
    if (!check_operands(context, op, problem)) {
        return false;
    }
    Type x = operand_type(op, 0), dy = operand_type(op, 1);
    ConvAttrs attrs = conv_attrs_of(op);
    Sizes kernel = conv_weight_grad_kernel(op);
    const Size *per_group = size_floordiv(context, x.dims[1], size_const(context, attrs.groups));
    if (!rule_count(context, op, "kernel", kernel.count, attrs.n_spatial, problem) ||
        !rule_same_size(context, op, x.dims[0], "the batch of x", dy.dims[0], "the batch of dy",
                        problem) ||
        !check_channels(context, op, x.dims[1], per_group, dy.dims[1], attrs.groups, problem) ||
        !check_dy(context, op, &attrs, dy, x.dims + 2, kernel.at, problem)) {
        return false;
    }
    const Size *dims[TYPE_MAX_RANK] = {dy.dims[1], per_group};
    for (int32_t i = 0; i < kernel.count; i++) {
        dims[2 + i] = kernel.at[i];
    }
    DType dtype = x.dtype;
    return rule_precision(context, op, x.dtype, &dtype, problem) &&
           rule_result(context, op, 0, dtype, x.rank, dims, problem);
}

/* A product and a sum for each element of dy and each weight of its group, [O, C/groups, …]: as if
 * no window reached into the padding. */
static const Size *flops_of(Context *context, Type dy, Type w) {
    const Size *work = type_elements(context, dy);
    for (int32_t i = 1; i < w.rank; i++) {
        work = size_mul(context, work, w.dims[i]);
    }
    return size_mul(context, size_const(context, 2), work);
}

const Size *flops_conv(Context *context, const Op *op) {
    return flops_of(context, op->results[0]->type, operand_type(op, 1));
}

const Size *flops_conv_input_grad(Context *context, const Op *op) {
    return flops_of(context, operand_type(op, 0), operand_type(op, 1));
}

const Size *flops_conv_weight_grad(Context *context, const Op *op) {
    return flops_of(context, operand_type(op, 1), op->results[0]->type);
}

/* The three tensors of the form, of which one is written. */
typedef struct ConvLoop {
    const EvalTensor *x, *w, *dy;
    ConvAttrs attrs;
    int64_t x_strides[TYPE_MAX_RANK], w_strides[TYPE_MAX_RANK];
} ConvLoop;

/* Offset in x that output position `at` and tap `tap` read; -1 in the padding. */
static int64_t source_offset(const ConvLoop *loop, const int64_t *at, const int64_t *tap) {
    int64_t offset = 0;
    for (int32_t i = 0; i < loop->attrs.n_spatial; i++) {
        int64_t position = at[2 + i] * loop->attrs.stride[i] +
                           tap[2 + i] * loop->attrs.dilation[i] - loop->attrs.low[i];
        if (position < 0 || position >= loop->x->dims[2 + i]) {
            return -1;
        }
        offset += position * loop->x_strides[2 + i];
    }
    return offset;
}

/* Visits every (x, w, dy) product and adds into the one given as `out`. */
static void conv_accumulate(ConvLoop *loop, EvalTensor *out) {
    const EvalTensor *x = loop->x, *w = loop->w, *dy = loop->dy;
    nd_strides(x->dims, x->rank, loop->x_strides);
    nd_strides(w->dims, w->rank, loop->w_strides);
    int64_t per_group = w->dims[1], outs_per_group = w->dims[0] / loop->attrs.groups;
    int64_t at[TYPE_MAX_RANK] = {0};
    for (int64_t i = 0; i < dy->n; i++) {
        int64_t channel = at[1];
        int64_t first = outs_per_group > 0 ? channel / outs_per_group * per_group : 0;
        int64_t taps = w->dims[0] > 0 ? w->n / w->dims[0] : 0;
        int64_t tap[TYPE_MAX_RANK] = {0};
        for (int64_t k = 0; k < taps; k++) {
            int64_t offset = source_offset(loop, at, tap);
            if (offset >= 0) {
                int64_t x_at =
                    at[0] * loop->x_strides[0] + (first + tap[1]) * loop->x_strides[1] + offset;
                int64_t w_at = channel * loop->w_strides[0] + k;
                if (out == dy) {
                    out->f[i] += x->f[x_at] * w->f[w_at];
                } else if (out == x) {
                    out->f[x_at] += dy->f[i] * w->f[w_at];
                } else {
                    out->f[w_at] += x->f[x_at] * dy->f[i];
                }
            }
            nd_next(tap + 1, w->dims + 1, w->rank - 1);
        }
        nd_next(at, dy->dims, dy->rank);
    }
}

/* Each of the three ops makes one of x, w and dy of the other two. */
typedef enum ConvPart { PART_X, PART_W, PART_DY } ConvPart;
typedef struct ConvParts {
    ConvPart operands[2], result;
} ConvParts;

static const ConvParts parts_conv = {{PART_X, PART_W}, PART_DY};
static const ConvParts parts_input_grad = {{PART_DY, PART_W}, PART_X};
static const ConvParts parts_weight_grad = {{PART_X, PART_DY}, PART_W};

static dlc_status eval_parts(Interp *interp, const Op *op, const ConvParts *parts) {
    EvalTensor *out = interp_result(interp, op, 0);
    const EvalTensor *tensors[3];
    tensors[parts->operands[0]] = interp_operand(interp, op, 0);
    tensors[parts->operands[1]] = interp_operand(interp, op, 1);
    tensors[parts->result] = out;
    ConvLoop loop = {.x = tensors[PART_X],
                     .w = tensors[PART_W],
                     .dy = tensors[PART_DY],
                     .attrs = conv_attrs_of(op)};
    conv_accumulate(&loop, out);
    return DLC_OK;
}

dlc_status eval_conv(Interp *interp, const Op *op) {
    return eval_parts(interp, op, &parts_conv);
}

dlc_status eval_conv_input_grad(Interp *interp, const Op *op) {
    return eval_parts(interp, op, &parts_input_grad);
}

dlc_status eval_conv_weight_grad(Interp *interp, const Op *op) {
    return eval_parts(interp, op, &parts_weight_grad);
}

static Value *make_part(Builder *b, ConvPart part, Value *const values[3], Type type,
                        const ConvAttrs *attrs) {
    switch (part) {
    case PART_X:
        return b_conv_input_grad(b, values[PART_DY], values[PART_W], type.dims + 2, attrs);
    case PART_W:
        return b_conv_weight_grad(b, values[PART_X], values[PART_DY], type.dims + 2, attrs);
    case PART_DY:
        break;
    }
    return b_conv(b, values[PART_X], values[PART_W], attrs);
}

/* All three are derivatives of one sum of x * w * dy, linear in each. So the derivative by an
 * operand is what makes that operand of the other one and the cotangent, in the result's place. */
static void grad_parts(Builder *b, Op *op, const ConvParts *parts, Value *cotangent,
                       const bool *wanted, Value **out) {
    if (!cotangent) {
        return;
    }
    ConvAttrs attrs = conv_attrs_of(op);
    const char *saved = precision_enter(b, op, &cotangent);
    Value *values[3];
    values[parts->operands[0]] = op->operands[0];
    values[parts->operands[1]] = op->operands[1];
    values[parts->result] = cotangent;
    for (int32_t side = 0; side < 2; side++) {
        if (wanted[side]) {
            out[side] =
                make_part(b, parts->operands[side], values, op->operands[side]->type, &attrs);
        }
    }
    for (int32_t side = 0; side < 2; side++) {
        out[side] = precision_leave(b, op, side, out[side], saved);
    }
}

void grad_conv(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    grad_parts(b, op, &parts_conv, cotangents[0], wanted, out);
}

void grad_conv_input_grad(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                          Value **out) {
    grad_parts(b, op, &parts_input_grad, cotangents[0], wanted, out);
}

void grad_conv_weight_grad(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                           Value **out) {
    grad_parts(b, op, &parts_weight_grad, cotangents[0], wanted, out);
}
