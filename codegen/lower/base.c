/* Forms whose result starts as a copy of an operand: the copying kernel, skipped when both share a
 * buffer, or the kernel that fills the result when there is nothing to copy. */
#include "codegen/lower/lower.h"

typedef struct Base {
    const Value *x;
    int32_t result;
} Base;

static void build_base(KBuild *k, void *user) {
    const Base *base = user;
    Type type = base->x->type;
    LoopPiece pieces[MAX_PIECES];
    const Size *total = type_elements(kb_context(k), type);
    int32_t count = kb_pieces(k, 1, total, pieces);
    int64_t target = tile_elements(k, total, 2.0 * dtype_bytes(type.dtype));
    Nest nest = nest_open_tiled(k, pieces, count, target);
    const KExpr *flat = kb_pieces_flat(k, pieces, count), *index[TYPE_MAX_RANK];
    k_unflat(k, type, flat, index);
    const KExpr *value = elemental_value(k, base->x, index);
    kb_store(k, kb_result_buffer(k, base->result), flat, value);
    nest_close(k, &nest);
}

static int32_t count_uses(const Block *body, const Value *v) {
    int32_t uses = 0;
    BLOCK_EACH_OP (body, op) {
        for (int32_t i = 0; i < op->n_operands; i++) {
            uses += op->operands[i] == v;
        }
    }
    return uses;
}

int32_t lower_root_result(KBuild *k, const Value *v) {
    for (int32_t r = 0; r < kb_fusion(k)->n_results; r++) {
        if (kb_result_value(k, r) == v) {
            return r;
        }
    }
    return -1;
}

void lower_base(KBuild *k, const Value *x, int32_t result) {
    Base base = {x, result};
    bool is_arg = kb_is_body_arg(k, x);
    kb_kernel(k, is_arg ? "copy" : "fill", build_base, &base);
    if (is_arg) {
        kb_mark_copy(k, x->index, result);
        if (count_uses(kb_fusion(k)->blocks[0], x) == 1) {
            kb_set_inplace(k, result, x->index);
        }
    }
}
