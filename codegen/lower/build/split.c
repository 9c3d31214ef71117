/* Where loops are split: asked for by divisions that remain, granted when the kernel is built
 * again.
 */
#include "codegen/lower/build/build_impl.h"

static Plan *find_plan(KBuild *k, int64_t key) {
    for (size_t i = 0; i < k->plans.count; i++) {
        if (k->plans.items[i].key == key) {
            return &k->plans.items[i];
        }
    }
    return NULL;
}

void plan_request(KBuild *k, int64_t key, const Size *divisor) {
    Plan *plan = find_plan(k, key);
    if (!plan || plan->splits.count + 1 >= MAX_PIECES ||
        !size_exact_div(k->context, plan->total, divisor) || size_is_one(divisor) ||
        divisor == plan->total) {
        return;
    }
    size_t at = 0;
    for (; at < plan->splits.count; at++) {
        const Size *other = plan->splits.items[at];
        if (other == divisor) {
            return;
        }
        if (size_exact_div(k->context, other, divisor)) {
            break;
        }
        if (!size_exact_div(k->context, divisor, other)) {
            return;
        }
    }
    VEC_PUSH(k->arena, &plan->splits, NULL);
    for (size_t i = plan->splits.count - 1; i > at; i--) {
        plan->splits.items[i] = plan->splits.items[i - 1];
    }
    plan->splits.items[at] = divisor;
    k->replan = true;
}

int32_t kb_pieces(KBuild *k, int64_t key, const Size *total, LoopPiece *out) {
    Plan *plan = find_plan(k, key);
    if (!plan) {
        Plan fresh = {.key = key, .total = total};
        VEC_PUSH(k->arena, &k->plans, fresh);
        plan = &k->plans.items[k->plans.count - 1];
    }
    int32_t count = 0;
    const Size *whole = total;
    for (size_t i = plan->splits.count; i > 0; i--) {
        const Size *stride = plan->splits.items[i - 1];
        out[count++] = (LoopPiece){size_exact_div(k->context, whole, stride), stride, key, NULL};
        whole = stride;
    }
    out[count++] = (LoopPiece){whole, size_const(k->context, 1), key, NULL};
    return count;
}
