/* Form "contract": one contraction, whatever feeds it and whatever is made of it elementwise, as
 * one matrix product: batch x M x N x K, each a run of axes taken together. */
#include "ir/ops/contract.h"
#include "codegen/lower/gemm.h"
#include "codegen/lower/lower.h"
#include "codegen/lower/root.h"
#include <string.h>

typedef struct Axes {
    int32_t count;
    int64_t axis[TYPE_MAX_RANK]; /* of the operand */
} Axes;

typedef struct Product {
    Gemm gemm;
    const Op *op;
    Axes batch[2], rows[2], depth[2];         /* by operand */
    Type batch_type, row_type[2], depth_type; /* the sizes of those axes */
    RootPath path;
} Product;

static bool contains(const Axes *axes, int64_t axis) {
    for (int32_t i = 0; i < axes->count; i++) {
        if (axes->axis[i] == axis) {
            return true;
        }
    }
    return false;
}

static Type type_of_axes(KBuild *k, const Value *v, const Axes *axes) {
    const Size *dims[TYPE_MAX_RANK];
    for (int32_t i = 0; i < axes->count; i++) {
        dims[i] = v->type.dims[axes->axis[i]];
    }
    return type_make(kb_context(k), v->type.dtype, axes->count, dims);
}

static Axes take_axes(Ints list) {
    Axes axes = {.count = list.count};
    for (int32_t i = 0; i < list.count; i++) {
        axes.axis[i] = list.at[i];
    }
    return axes;
}

/* Summed axes in the order of the larger operand's memory, so that they run together. */
static void sort_depth(Product *p, int side) {
    Axes *by = &p->depth[side], *other = &p->depth[1 - side];
    for (int32_t i = 1; i < by->count; i++) {
        for (int32_t j = i; j > 0 && by->axis[j] < by->axis[j - 1]; j--) {
            int64_t axis = by->axis[j];
            by->axis[j] = by->axis[j - 1];
            by->axis[j - 1] = axis;
            axis = other->axis[j];
            other->axis[j] = other->axis[j - 1];
            other->axis[j - 1] = axis;
        }
    }
}

static void place(KBuild *k, Type type, const Axes *axes, const KExpr *flat, const KExpr **out) {
    const KExpr *index[TYPE_MAX_RANK];
    k_unflat(k, type, flat, index);
    for (int32_t i = 0; i < axes->count; i++) {
        out[axes->axis[i]] = index[i];
    }
}

static const KExpr *operand_element(KBuild *k, const Gemm *gemm, int side, const KExpr *batch,
                                    const KExpr *row, const KExpr *depth) {
    const Product *p = gemm->user;
    const KExpr *index[TYPE_MAX_RANK];
    place(k, p->batch_type, &p->batch[side], batch, index);
    place(k, p->row_type[side], &p->rows[side], row, index);
    place(k, p->depth_type, &p->depth[side], depth, index);
    return elemental_value(k, p->op->operands[side], index);
}

static const KExpr *element_a(KBuild *k, const Gemm *gemm, const KExpr *batch, const KExpr *row,
                              const KExpr *depth) {
    return operand_element(k, gemm, 0, batch, row, depth);
}

static const KExpr *element_b(KBuild *k, const Gemm *gemm, const KExpr *batch, const KExpr *row,
                              const KExpr *depth) {
    return operand_element(k, gemm, 1, batch, row, depth);
}

static void finish(KBuild *k, const Gemm *gemm, const KExpr *batch, const KExpr *m, const KExpr *n,
                   const KExpr *value) {
    const Product *p = gemm->user;
    const KExpr *index[TYPE_MAX_RANK];
    k_unflat(k, p->batch_type, batch, index);
    k_unflat(k, p->row_type[0], m, index + p->batch_type.rank);
    k_unflat(k, p->row_type[1], n, index + p->batch_type.rank + p->row_type[0].rank);
    root_finish(k, &p->path, index, value);
}

static const Size *run_of(const Product *p, int side, GemmOrder order) {
    const Axes *axes = order == GEMM_BY_DEPTH ? &p->depth[side] : &p->rows[side];
    const Value *v = p->op->operands[side];
    return order == GEMM_SCATTERED ? NULL : v->type.dims[axes->axis[axes->count - 1]];
}

static GemmOrder order_of(const Product *p, int side) {
    const Value *v = p->op->operands[side];
    const Axes *rows = &p->rows[side], *depth = &p->depth[side];
    if (depth->count > 0 && axis_is_contiguous(v, depth->axis[depth->count - 1])) {
        return GEMM_BY_DEPTH;
    }
    if (rows->count > 0 && axis_is_contiguous(v, rows->axis[rows->count - 1])) {
        return GEMM_BY_ROW;
    }
    return GEMM_SCATTERED;
}

void lower_contract(KBuild *k) {
    const Op *op = root_find(k, KIND_CONTRACTION);
    Product p = {.op = op};
    p.batch[0] = take_axes(contract_batch_a(op));
    p.batch[1] = take_axes(contract_batch_b(op));
    p.depth[0] = take_axes(contract_contract_a(op));
    p.depth[1] = take_axes(contract_contract_b(op));
    const Value *a = op->operands[0], *b = op->operands[1];
    sort_depth(&p, a->type.rank >= b->type.rank ? 0 : 1);
    for (int side = 0; side < 2; side++) {
        for (int32_t axis = 0; axis < op->operands[side]->type.rank; axis++) {
            if (!contains(&p.batch[side], axis) && !contains(&p.depth[side], axis)) {
                p.rows[side].axis[p.rows[side].count++] = axis;
            }
        }
        p.row_type[side] = type_of_axes(k, op->operands[side], &p.rows[side]);
    }
    p.batch_type = type_of_axes(k, a, &p.batch[0]);
    p.depth_type = type_of_axes(k, a, &p.depth[0]);
    Context *context = kb_context(k);
    Gemm gemm = {.name = root_name(k, op), .finish = finish, .user = &p};
    gemm.batch = type_elements(context, p.batch_type);
    gemm.m = type_elements(context, p.row_type[0]);
    gemm.n = type_elements(context, p.row_type[1]);
    gemm.depth = type_elements(context, p.depth_type);
    gemm.dtype = dtype_in_register(op->results[0]->type.dtype);
    gemm.panel = a->type.dtype == b->type.dtype ? a->type.dtype : gemm.dtype;
    const char *precision = op_precision(op);
    gemm.tf32 = precision && strcmp(precision, "tf32") == 0;
    gemm.a = (GemmSide){.element = element_a, .order = order_of(&p, 0)};
    gemm.b = (GemmSide){.element = element_b, .order = order_of(&p, 1)};
    gemm.a.run = run_of(&p, 0, gemm.a.order);
    gemm.b.run = run_of(&p, 1, gemm.b.order);
    Type columns = p.row_type[1];
    gemm.run = columns.rank > 0 ? columns.dims[columns.rank - 1] : NULL;
    p.path = root_path(k, op);
    gemm_lower(k, &gemm);
    root_rest(k, &p.path);
}
