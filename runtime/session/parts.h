/* A rank's part of a tensor that is cut among ranks: its shape, and the way of the elements between
 * the whole, as the API has it, and the part. */
#ifndef DLC_RUNTIME_SESSION_PARTS_H
#define DLC_RUNTIME_SESSION_PARTS_H

#include "runtime/context.h"
#include "runtime/session/place.h"

/* A whole tensor, dense and row-major, with its dims. */
typedef struct Whole {
    void *data;
    const int64_t *dims;
} Whole;

/* Whether the cuts of a tensor with these dims leave the rank the shape that the plan says
 * (part_dims, of the same rank); if not, sets the error: `name` is of the value. vars: the dims.
 * With `part` also copies: to it from the whole, or (not `to_part`) from it to the whole. */
dlc_status part_copy(dlc_context *context, const PlanFile *file, const RankPlace *place,
                     const int64_t *vars, const char *name, const PlanPart *cuts, Whole whole,
                     const int64_t *part_dims, int32_t element_bytes, void *part, bool to_part);

/* Which rows, positions of axis 0, of a tensor of `rows` of them the rank's part is made of, as
 * ranges in order; memory_free. */
dlc_status part_rows(dlc_context *context, const PlanFile *file, const RankPlace *place,
                     const int64_t *vars, const char *name, const PlanPart *cuts, int64_t rows,
                     RowRange **out, int64_t *out_n);

/* A tensor of which each rank has its part. */
typedef struct Tensor {
    const char *name;
    PlanType type; /* a part's */
    const PlanPart *part;
    const int64_t *vars; /* the dims, whatever those of ranks say */
} Tensor;

/* whole.c: puts the parts of all ranks of sessions that share a communicator together, of which
 * `own`, in host memory, is this rank's; collective. */
dlc_status session_whole(dlc_session *session, const Tensor *tensor, const void *own, Whole whole);

#endif
