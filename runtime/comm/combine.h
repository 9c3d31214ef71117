/* Sums, products and extremes over ranks, in the order that comm.h fixes; and which elements of an
 * operand become which of a result. Transports share both, so that they give the same bits. */
#ifndef DLC_RUNTIME_COMM_COMBINE_H
#define DLC_RUNTIME_COMM_COMBINE_H

#include "runtime/comm/comm.h"

/* out[i] = in[0][i] .. in[n - 1][i] combined by comm.h's tree, `count` elements each; n >= 1. `out`
 * may be one of them. Any alignment of the element type. */
void comm_combine(int32_t dtype, CommCombine combine, const void *const *in, int32_t n,
                  int64_t count, void *out);

/* Elements of one rank's operand that another's result takes: `outer` times `lines` runs of `line`
 * elements, with where they begin and how far they are apart in the operand and in the result. */
typedef struct CommPart {
    int64_t outer, lines, line;
    int64_t from, from_outer, from_line;
    int64_t to, to_outer, to_line;
} CommPart;

/* Between group numbers `source` and `target` of `n`; nothing: no line. Where combining, the part
 * of every operand that `target` combines: for ALL_REDUCE its piece of the elements. */
CommPart comm_part(const CommCall *call, const CommBuffer *buffer, int32_t n, int32_t source,
                   int32_t target);
int64_t comm_part_elements(const CommPart *part);

/* Elements [first, first + count) of a part, counted run by run, come as runs that are dense on
 * both sides: calls with `at` = first and moves it on until false. *count is that of one run. */
bool comm_part_next(const CommPart *part, int64_t *at, int64_t end, int64_t *from, int64_t *to,
                    int64_t *count);

#endif
