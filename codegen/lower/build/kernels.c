/* A fusion's kernels: each is built again until every loop is split where its accesses want it. */
#include "codegen/lower/build/build_impl.h"

enum { MAX_ATTEMPTS = 12 };

KBuild *kb_create(LowerContext *lower, const Op *fusion) {
    KBuild *k = ARENA_NEW(lower->arena, KBuild);
    k->lower = lower;
    k->context = lower->context;
    k->arena = lower->arena;
    k->fusion = fusion;
    k->body = fusion->blocks[0];
    k->reduce_in_threads = lower->machine->threads > 1;
    k->inplace = ARENA_ARRAY(lower->arena, int32_t, fusion->n_results + 1);
    k->watched = ARENA_ARRAY(lower->arena, bool, fusion->n_results + 1);
    for (int32_t i = 0; i < fusion->n_results; i++) {
        k->inplace[i] = -1;
        k->watched[i] = lower->is_watched && lower->is_watched(lower->user, fusion, i) &&
                        dtype_is_float(fusion->results[i]->type.dtype);
    }
    return k;
}

void kb_finish(KBuild *k, LoweredOp *out) {
    *out = (LoweredOp){.kernels = k->kernels.items,
                       .n_kernels = (int32_t)k->kernels.count,
                       .temps = k->temps.items,
                       .n_temps = (int32_t)k->temps.count,
                       .inplace = k->inplace,
                       .elementwise = k->elementwise};
}

static void begin_attempt(KBuild *k) {
    pool_reset(k);
    k->nodes = POOL_ARRAY(k, Node *, NODE_BUCKETS);
    k->memos = POOL_ARRAY(k, Memo *, MEMO_BUCKETS);
    k->next_serial = 1;
    k->binds.count = k->buffers.count = k->grid.count = 0;
    k->first = NULL;
    k->replan = false;
    Scope *scope = POOL_NEW(k, Scope);
    scope->head = scope->tail = &k->first;
    k->scope = scope;
}

void kb_kernel(KBuild *k, const char *name, void (*build)(KBuild *k, void *user), void *user) {
    k->plans.count = 0;
    for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        begin_attempt(k);
        k->is_last_attempt = attempt + 1 == MAX_ATTEMPTS;
        build(k, user);
        if (kernel_finish(k, name)) {
            break;
        }
    }
}

void kb_mark_copy(KBuild *k, int32_t operand, int32_t result) {
    LoweredKernel *last = &k->kernels.items[k->kernels.count - 1];
    last->copy_of = operand;
    last->copy_to = result;
}

void kb_set_inplace(KBuild *k, int32_t result, int32_t operand) {
    k->inplace[result] = operand;
}

void kb_set_elementwise(KBuild *k, const bool *operands) {
    k->elementwise = operands;
}

int32_t kb_temp(KBuild *k, DType dtype, const Size *elements) {
    LoweredTemp temp = {dtype, elements};
    VEC_PUSH(k->arena, &k->temps, temp);
    return (int32_t)k->temps.count - 1;
}
