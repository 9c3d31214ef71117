/* One entry for one binding of dims: every size, offset and count as a number, the arena packed.
 * Made when dims bind, cached, never inside a step. What dlc prints as peak is this. */
#ifndef DLC_RUNTIME_SESSION_LAYOUT_H
#define DLC_RUNTIME_SESSION_LAYOUT_H

#include "runtime/session/place.h"

/* What each pair of a collective's refs has in Layout.sizes. */
enum {
    LAYOUT_OUTER,
    LAYOUT_ROWS,
    LAYOUT_UNIT,
    LAYOUT_MIDDLE,
    LAYOUT_SPLIT_ROWS,
    LAYOUT_ELEMENTS, /* of the result */
    LAYOUT_EXCHANGE
};

typedef struct Layout {
    const PlanFile *file;
    const PlanTables *tables;
    const PlanEntry *entry;
    RankPlace place;
    int64_t *vars; /* dims, then PLAN_MAX_LOOP_DEPTH loop indices (scratch of the executor) */
    int64_t *buffer_bytes;  /* [n_buffers] */
    int64_t *buffer_offset; /* [n_buffers]: of ARENA buffers in the arena */
    int64_t *extent;        /* [n_commands] */
    double *work;           /* [n_commands]: flops plus bytes of the command */
    int64_t *sizes;         /* size arguments of launches; of collectives: LAYOUT_EXCHANGE a pair */
    int32_t *first_size;    /* [n_commands]: of a launch or collective, in `sizes` */
    int64_t *ref_offset;    /* static offsets of all refs of the entry … */
    uint8_t *ref_moves;     /* … or 1 where the offset depends on loop indices */
    int32_t *first_ref;     /* [n_commands]: in ref_offset */
    int64_t *result_offset; /* [n_results] */
    int32_t max_refs;       /* of one command */
    int64_t arena_bytes, input_bytes, persistent_bytes;
    int64_t queue_scratch[PLAN_MAX_QUEUES]; /* of a launch; queue 0 may be given all launches */
    int64_t scratch_bytes;                  /* their sum */
    int64_t table_bytes;                    /* of this struct and all its arrays */
    int64_t n_counted;                      /* launches, copies and fills */
    int64_t n_kernels;                      /* different ones */
    double flops, bytes;                    /* of one run; `while` bodies once */
} Layout;

/* For the rank at `place`; dims: a value for each dim of the plan, its own among them.
 * DLC_ERROR_FAULT: a size check of the program failed. */
dlc_status layout_create(dlc_context *context, const PlanFile *file, const PlanTables *tables,
                         const PlanEntry *entry, const RankPlace *place, const int64_t *dims,
                         Layout **out);
void layout_destroy(dlc_context *context, Layout *layout);
/* Bytes as they are allocated: whole cache lines. */
int64_t layout_round(int64_t bytes);
/* Values for free dims left at -1: what the program states, else of the batch dim the `batch`
 * setting or 32, else the upper bound if it is in reach (65,536), else 64; within bounds and
 * divisible. */
void dims_default(const PlanFile *file, int64_t *dims);
/* ", where B = 2, T = 5": the dims that the programs read, "" without any. */
void dims_text(const PlanFile *file, const int64_t *vars, const PlanProgram *programs, int n,
               char *out, size_t n_out);
/* The batch dim: the setting "batch_dim", else the first axis of the first input that starts with a
 * dim. -1: none. */
int32_t plan_batch_dim(const PlanFile *file, const PlanTables *tables);
/* The shape for these dims, and its bytes; false when it cannot be computed. out_dims:
 * PLAN_MAX_RANK. */
bool plan_shape(const PlanFile *file, PlanType type, const int64_t *vars, int64_t *out_dims,
                int64_t *out_bytes);
/* Whether the value is within the dim's bounds; if not sets the error. */
dlc_status dim_check(dlc_context *context, const PlanFile *file, int32_t dim, int64_t value);

#endif
