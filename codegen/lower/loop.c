/* Form "loop": every result ranges over one space of equal element count; one pass, all values of
 * an element before its stores, so that a result may take an operand's place. */
#include "codegen/lower/build/build_impl.h"
#include "codegen/lower/lower.h"

typedef struct LoopBuild {
    Type type; /* of result 0, whose elements are counted */
    int64_t target;
    int32_t *inplace;
    bool *elementwise; /* by operand */
} LoopBuild;

/* Whether every read of the buffer is at `flat`: then writing there afterwards is safe. */
static bool only_read_at(KBuild *k, int32_t buffer, const KExpr *flat) {
    bool any = false;
    for (int32_t i = 0; i < NODE_BUCKETS; i++) {
        for (const Node *node = k->nodes[i]; node; node = node->next) {
            if (node->e.kind == KE_LOAD && node->e.as.load.buffer == buffer) {
                if (node->e.as.load.at != flat) {
                    return false;
                }
                any = true;
            }
        }
    }
    return any;
}

static void find_elementwise(KBuild *k, LoopBuild *build, const KExpr *flat) {
    const Op *fusion = kb_fusion(k);
    const Size *elements = type_elements(k->context, build->type);
    for (int32_t i = 0; i < fusion->n_operands; i++) {
        build->elementwise[i] = type_elements(k->context, fusion->operands[i]->type) == elements &&
                                only_read_at(k, kb_operand_buffer(k, i), flat);
    }
}

static void find_inplace(KBuild *k, LoopBuild *build) {
    const Op *fusion = kb_fusion(k);
    for (int32_t r = 0; r < fusion->n_results; r++) {
        build->inplace[r] = -1;
        int bytes = dtype_bytes(kb_result_value(k, r)->type.dtype);
        for (int32_t i = 0; i < fusion->n_operands && build->inplace[r] < 0; i++) {
            bool taken = !build->elementwise[i];
            for (int32_t other = 0; other < r; other++) {
                taken = taken || build->inplace[other] == i;
            }
            if (!taken && dtype_bytes(fusion->operands[i]->type.dtype) == bytes) {
                build->inplace[r] = i;
            }
        }
    }
}

static void build_loop(KBuild *k, void *user) {
    LoopBuild *build = user;
    const Op *fusion = kb_fusion(k);
    LoopPiece pieces[MAX_PIECES];
    int32_t count = kb_pieces(k, 1, type_elements(kb_context(k), build->type), pieces);
    Nest nest = nest_open_tiled(k, pieces, count, build->target);
    const KExpr *flat = kb_pieces_flat(k, pieces, count);
    const KExpr **values = POOL_ARRAY(k, const KExpr *, fusion->n_results);
    for (int32_t r = 0; r < fusion->n_results; r++) {
        const Value *v = kb_result_value(k, r);
        const KExpr *index[TYPE_MAX_RANK];
        k_unflat(k, v->type, flat, index);
        values[r] = elemental_value(k, v, index);
    }
    find_elementwise(k, build, flat);
    find_inplace(k, build);
    for (int32_t r = 0; r < fusion->n_results; r++) {
        kb_store(k, kb_result_buffer(k, r), flat, values[r]);
    }
    nest_close(k, &nest);
}

void lower_loop(KBuild *k) {
    const Op *fusion = kb_fusion(k);
    LoopBuild build = {.type = kb_result_value(k, 0)->type};
    build.target = tile_elements(k, type_elements(kb_context(k), build.type), fusion_traffic(k));
    build.inplace = ARENA_ARRAY(kb_arena(k), int32_t, fusion->n_results);
    build.elementwise = ARENA_ARRAY(kb_arena(k), bool, fusion->n_operands);
    kb_kernel(k, "loop", build_loop, &build);
    for (int32_t r = 0; r < fusion->n_results; r++) {
        kb_set_inplace(k, r, build.inplace[r]);
    }
    kb_set_elementwise(k, build.elementwise);
}
