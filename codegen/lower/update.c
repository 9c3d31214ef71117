/* Form "update": dynamic_update. The result starts as x; the second kernel writes v at the run-time
 * place, which is checked and clamped. */
#include "codegen/lower/elemental_impl.h"
#include "codegen/lower/lower.h"

typedef struct Update {
    const Op *op;
    int32_t result;
} Update;

static void build_update(KBuild *k, void *user) {
    const Update *update = user;
    const Op *op = update->op;
    const Value *x = op->operands[0], *v = op->operands[1];
    LoopPiece pieces[MAX_PIECES];
    const Size *total = type_elements(kb_context(k), v->type);
    int32_t count = kb_pieces(k, 1, total, pieces);
    int64_t target = tile_elements(k, total, 2.0 * dtype_bytes(v->type.dtype));
    Nest nest = nest_open_tiled(k, pieces, count, target);
    const KExpr *flat = kb_pieces_flat(k, pieces, count);
    const KExpr *index[TYPE_MAX_RANK], *at[TYPE_MAX_RANK];
    k_unflat(k, v->type, flat, index);
    for (int32_t i = 0; i < v->type.rank; i++) {
        const KExpr *start = elemental_value(k, op->operands[2 + i], NULL);
        start = kb_let(k, k_cast(k, start, DT_I64), "start");
        const Size *room = size_sub(kb_context(k), x->type.dims[i], v->type.dims[i]);
        room = size_add(kb_context(k), room, size_const(kb_context(k), 1));
        start = elemental_clamped_id(k, op, start, room, "update start out of range");
        at[i] = k_add(k, index[i], start);
    }
    const KExpr *value = elemental_value(k, v, index);
    const KExpr *flat_at = k_flat(k, x->type, at);
    kb_store(k, kb_result_buffer(k, update->result), flat_at, value);
    nest_close(k, &nest);
}

void lower_update(KBuild *k) {
    Update update = {0};
    BLOCK_EACH_OP (kb_fusion(k)->blocks[0], op) {
        update.op = op->code == OP_dynamic_update ? op : update.op;
    }
    update.result = lower_root_result(k, update.op->results[0]);
    lower_base(k, update.op->operands[0], update.result);
    kb_kernel(k, "update", build_update, &update);
}
