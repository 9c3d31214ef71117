/* Which rows of a batch a session reads of a dataset: where it is one rank of several, those of
 * which its inputs are made, and no others. */
#ifndef DLC_RUNTIME_API_OWN_ROWS_H
#define DLC_RUNTIME_API_OWN_ROWS_H

#include "runtime/data/dataset.h"
#include "runtime/session/session.h"

/* Of one input. */
typedef struct OwnRows {
    RowRange *ranges; /* NULL: all rows */
    int64_t n;
    int64_t rows, row_bytes; /* of the batch */
} OwnRows;

/* Of input `arg` of the entry for a batch of these dims (the input's). */
dlc_status own_rows_find(dlc_session *session, const PlanArg *arg, const int64_t *dims,
                         OwnRows *out);
void own_rows_free(dlc_session *session, OwnRows *own);
/* As dataset_gather_rows for the whole batch; what is not read becomes 0. Calls no hook. */
dlc_status own_rows_gather(const OwnRows *own, const DataField *field, const int64_t *rows,
                           void *target, PlanDType dtype, char *message);

#endif
