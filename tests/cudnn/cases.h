/* Convolutions as DeviceCalls, for the tests of cuDNN. */
#ifndef DLC_TESTS_CUDNN_CASES_H
#define DLC_TESTS_CUDNN_CASES_H

#include "runtime/plan.h"

typedef struct Case {
    const char *name;
    int rank;
    int64_t n, c, o, size, window, stride, dilation, low, high, groups;
} Case;

/* `sizes` has PLAN_CONV_SIZES(rank) places: dense tensors. */
static void sizes_fill(const Case *at, int64_t *sizes) {
    int r = at->rank, n = 0;
    sizes[n++] = r;
    sizes[n++] = at->groups;
    const int64_t each[4] = {at->stride, at->dilation, at->low, at->high};
    for (int i = 0; i < 4; i++) {
        for (int a = 0; a < r; a++) {
            sizes[n++] = each[i];
        }
    }
    int64_t out =
        (at->size + at->low + at->high - at->dilation * (at->window - 1) - 1) / at->stride + 1;
    const int64_t heads[3][3] = {
        {at->n, at->c, at->size}, {at->o, at->c / at->groups, at->window}, {at->n, at->o, out}};
    int64_t *dims = sizes + n, *strides = dims + 3 * (2 + r);
    for (int t = 0; t < 3; t++) {
        int64_t step = 1;
        for (int a = 1 + r; a >= 0; a--) {
            dims[t * (2 + r) + a] = heads[t][a < 2 ? a : 2];
            strides[t * (2 + r) + a] = step;
            step *= heads[t][a < 2 ? a : 2];
        }
    }
}

#endif
