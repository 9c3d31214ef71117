/* Form "prefix": cumsum. Lines along the axis are independent; when the axis is not the last one,
 * neighbouring lines advance together, their sums in a local array. */
#include "codegen/lower/lower.h"

enum { COLUMN_TILE = 256 };

typedef struct Prefix {
    const Op *op;
    int32_t result;
} Prefix;

static void build_prefix(KBuild *k, void *user) {
    const Prefix *prefix = user;
    const Op *op = prefix->op;
    Context *context = kb_context(k);
    Type x = op->operands[0]->type;
    int32_t axis = (int32_t)op_int(op, "axis");
    bool exclusive = op_bool(op, "exclusive");
    Type lead = {x.dtype, axis, x.dims}, tail = {x.dtype, x.rank - axis - 1, x.dims + axis + 1};
    const Size *n_tail = type_elements(context, tail), *length = x.dims[axis];
    DType dtype = dtype_in_register(x.dtype);
    int64_t width;
    if (!size_is_const(n_tail, &width) || width > COLUMN_TILE) {
        width = COLUMN_TILE;
    }
    width = width < 1 ? 1 : width;
    const KExpr *index[TYPE_MAX_RANK];
    const KExpr *line = kb_grid(k, type_elements(context, lead), "line");
    const Size *tiles = size_cdiv(context, n_tail, size_const(context, width));
    const KExpr *tile = kb_grid(k, tiles, "columns");
    k_unflat(k, lead, line, index);
    const KExpr *begin = k_scale_int(k, tile, width);
    const KExpr *end = k_min(k, k_add(k, begin, k_int(k, width)), k_size(k, n_tail));
    const KLocal *sums = kb_local(k, dtype, width, "sums");

    const KExpr *j = kb_loop(k, KL_VECTOR, begin, end, n_tail, "j");
    kb_local_store(k, sums, k_sub(k, j, begin), k_constant(k, dtype, 0));
    kb_loop_end(k);
    const KExpr *step = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, length), length, "step");
    index[axis] = step;
    if (op_bool(op, "reverse")) {
        const KExpr *last = k_sub(k, k_size(k, length), k_int(k, 1));
        index[axis] = k_sub(k, last, step);
    }
    j = kb_loop(k, KL_VECTOR, begin, end, n_tail, "j");
    k_unflat(k, tail, j, index + axis + 1);
    const KExpr *place = k_sub(k, j, begin);
    const KExpr *before = k_local(k, sums, place);
    before = kb_let(k, before, "before");
    const KExpr *value = elemental_value(k, op->operands[0], index);
    const KExpr *after = kb_let(k, k_binary(k, OP_add, before, value), "after");
    kb_local_store(k, sums, place, after);
    kb_store(k, kb_result_buffer(k, prefix->result), k_flat(k, x, index),
             exclusive ? before : after);
    kb_loop_end(k);
    kb_loop_end(k);
    kb_loop_end(k);
    kb_loop_end(k);
}

void lower_prefix(KBuild *k) {
    Prefix prefix = {0};
    BLOCK_EACH_OP (kb_fusion(k)->blocks[0], op) {
        prefix.op = op->code == OP_cumsum ? op : prefix.op;
    }
    prefix.result = lower_root_result(k, prefix.op->results[0]);
    kb_kernel(k, "cumsum", build_prefix, &prefix);
}
