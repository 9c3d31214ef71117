/* Elements of views: the rule of ir/view.h read as expressions of the kernel. Reads that may fall
 * outside of operand 0 are guarded. */
#include "codegen/lower/elemental_impl.h"
#include "ir/view.h"

typedef struct KernelReader {
    ViewReader reader;
    KBuild *k;
    const KExpr *inside; /* where the element is operand 0's */
} KernelReader;

static KBuild *kernel_of(ViewReader *r) {
    return ((KernelReader *)r)->k;
}

static Position read_number(ViewReader *r, int64_t number) {
    return k_int(kernel_of(r), number);
}

static Position read_size(ViewReader *r, const Size *size) {
    return k_size(kernel_of(r), size);
}

static Position read_add(ViewReader *r, Position a, Position b) {
    return k_add(kernel_of(r), a, b);
}

static Position read_sub(ViewReader *r, Position a, Position b) {
    return k_sub(kernel_of(r), a, b);
}

static Position read_scale(ViewReader *r, Position a, int64_t factor) {
    return k_scale_int(kernel_of(r), a, factor);
}

static void read_divide(ViewReader *r, Position a, int64_t divisor, Position *out,
                        Position *out_rest) {
    KBuild *k = kernel_of(r);
    const KExpr *quotient, *rest;
    k_divmod(k, a, size_const(k->context, divisor), &quotient, &rest);
    *out = quotient;
    *out_rest = rest;
}

static void read_reshape(ViewReader *r, Type from, const Position *at, Type to, Position *out) {
    KBuild *k = kernel_of(r);
    const KExpr *index[TYPE_MAX_RANK], *inner[TYPE_MAX_RANK];
    for (int32_t i = 0; i < from.rank; i++) {
        index[i] = at[i];
    }
    k_unflat(k, to, k_flat(k, from, index), inner);
    for (int32_t i = 0; i < to.rank; i++) {
        out[i] = inner[i];
    }
}

static void need(ViewReader *r, const KExpr *condition) {
    KernelReader *reader = (KernelReader *)r;
    reader->inside = k_and(reader->k, reader->inside, condition);
}

static void need_natural(ViewReader *r, Position a) {
    need(r, k_le(kernel_of(r), k_int(kernel_of(r), 0), a));
}

static void need_zero(ViewReader *r, Position a) {
    need(r, k_le(kernel_of(r), a, k_int(kernel_of(r), 0)));
}

static void need_below(ViewReader *r, Position a, const Size *limit) {
    need(r, k_lt(kernel_of(r), a, k_size(kernel_of(r), limit)));
}

const KExpr *elemental_view(KBuild *k, const Op *op, Index index) {
    KernelReader reader = {.reader = {.number = read_number,
                                      .size = read_size,
                                      .add = read_add,
                                      .sub = read_sub,
                                      .scale = read_scale,
                                      .divide = read_divide,
                                      .reshape = read_reshape,
                                      .need_natural = need_natural,
                                      .need_zero = need_zero,
                                      .need_below = need_below},
                           .k = k,
                           .inside = k_integer(k, DT_BOOL, 1)};
    Position at[TYPE_MAX_RANK], out[TYPE_MAX_RANK];
    const KExpr *inner[TYPE_MAX_RANK];
    const Value *x = op->operands[0];
    for (int32_t i = 0; i < op->results[0]->type.rank; i++) {
        at[i] = index[i];
    }
    view_read(&reader.reader, op, at, out);
    for (int32_t i = 0; i < x->type.rank; i++) {
        inner[i] = out[i];
    }
    if (op->n_operands == 1) {
        return elemental_value(k, x, inner);
    }
    const KExpr *outside = elemental_value(k, op->operands[1], NULL);
    return elemental_guarded(k, reader.inside, x, inner, outside);
}
