/* The values of collectives: what the ranks of a group give together, once all of them are there.
 * ir/interp_ranks.c brings them together. */
#ifndef DLC_IR_OPS_COLLECTIVE_H
#define DLC_IR_OPS_COLLECTIVE_H

#include "ir/interp.h"

/* A rank at a collective: operands are read, results (allocated) written. */
typedef struct CollectiveRank {
    Interp *interp;
    const Op *op;
    int64_t rank; /* in the mesh, for messages */
} CollectiveRank;

/* Whether the n ranks, in the order of the group, may do theirs together: the same op with the same
 * attributes, element types and counts, and each its piece. False: `text` says what differs. */
bool collective_agrees(const CollectiveRank *ranks, int64_t n, char *text, size_t size);
/* Makes all results, for ranks that agree; n at most INTERP_MAX_RANKS. Values are combined in the
 * order of a binary tree over the ranks' numbers (0 with 1, 2 with 3, …, then 0 with 2, …), floats
 * in f64; the interpreter rounds each result to its type once, as those of every op. */
void collective_run(const CollectiveRank *ranks, int64_t n);

#endif
