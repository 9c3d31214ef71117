/* What of the data each rank brings to a batch: all of them the whole batch of the same rows, or
 * each rows of its own data. */
#ifndef DLC_RUNTIME_API_SHARES_H
#define DLC_RUNTIME_API_SHARES_H

#include "runtime/api/data.h"

/* Of a place among the ranks' data; where all bring the whole there is one. */
typedef struct Share {
    int64_t rows;  /* of its data */
    uint64_t hash; /* of these */
    int64_t each;  /* rows that it brings to a whole batch */
} Share;

typedef struct Shares {
    Share *items; /* [n] */
    int64_t n, own;
    int64_t batch;   /* rows of all: the sum of `each` */
    int64_t batches; /* how many batches all have rows for */
} Shares;

/* Collective where ranks bring rows of their own, with what this one has come to.
 * DLC_ERROR_MISMATCH on all: ranks that compute the same rows have others, or nobody has any. With
 * `every_row` each place brings rows to a batch, and some may have none left for the last ones. */
dlc_status shares_find(dlc_session *session, const EntryState *entry, const Dataset *data,
                       int64_t batch, bool every_row, dlc_status status, Shares *out);
void shares_free(dlc_session *session, Shares *shares);

/* Rows of batch `number` that the place brings, and that all bring; from `number` * `each` on. */
int64_t share_count(const Share *share, int64_t number);
int64_t shares_count(const Shares *shares, int64_t number);
/* Batches until every row was brought, the last ones shorter. */
int64_t shares_all_batches(const Shares *shares);
/* The place that has rows for the fewest batches. */
int64_t shares_least(const Shares *shares);
/* Of the data of all. */
uint64_t shares_hash(const Shares *shares);

#endif
