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
    bool has_own_rows; /* but of axis 0 it has no more than the part */
} Whole;

/* Where a rank's part lies in the whole: runs of bytes, in the order of both. */
typedef struct PartRuns PartRuns;

/* Of a tensor of `rank` axes, whose elements have element_bytes and of whose whole only dims and
 * rows count; vars and part_dims as below. What was made is the caller's to free; it refers to
 * nothing else but the allocator. */
dlc_status part_runs_create(dlc_context *context, const PlanFile *file, const RankPlace *place,
                            const int64_t *vars, const char *name, const PlanPart *cuts,
                            int32_t rank, Whole whole, const int64_t *part_dims,
                            int32_t element_bytes, PartRuns **out);
void part_runs_free(PartRuns *runs);           /* NULL will do */
int64_t part_runs_bytes(const PartRuns *runs); /* of the part */
/* Offsets in whole and part, and how many bytes; not 0: no more. */
typedef int PartVisit(void *user, int64_t whole_at, int64_t part_at, int64_t bytes);
/* Visits what of the runs is of the part's bytes [first, first + count), in order; gives what the
 * last visit gave. Any thread. */
int part_runs_each(const PartRuns *runs, int64_t first, int64_t count, PartVisit *visit,
                   void *user);

/* values.c: where what the session's rank `r` has of variable `number`, which has its memory, lies
 * in the whole; the caller's to free. */
dlc_status session_variable_runs(dlc_session *session, int32_t r, int64_t number, PartRuns **out);

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
