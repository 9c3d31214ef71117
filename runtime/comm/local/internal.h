/* A local communicator's state, and the work of a call (work.c). */
#ifndef DLC_RUNTIME_COMM_LOCAL_INTERNAL_H
#define DLC_RUNTIME_COMM_LOCAL_INTERNAL_H

#include "runtime/comm/local/local.h"

#include <pthread.h>
#include <stdatomic.h>

enum { LOCAL_MAX_RANKS = 256 };

/* A place in a call's work: the next element of one rank's part. */
typedef struct Cursor {
    int32_t buffer, target, source;
    int64_t element;
} Cursor;

/* Elements [first, last) of a part, to be copied or combined. */
typedef struct Range {
    Cursor at;
    int64_t last;
    int64_t bytes; /* read and written, roughly */
} Range;

/* A call that at least one rank has started. Under the mutex but where said. */
typedef struct LocalOp LocalOp;
struct LocalOp {
    LocalOp *next;
    int32_t n;                /* ranks of the group */
    int32_t n_joined, n_left; /* that have started it, that have waited for it */
    int32_t n_working;        /* threads at work on chunks */
    int32_t first;            /* number that started it first */
    bool has_work, is_done;
    atomic_uint events;     /* counts what may interest who spins; written under the mutex */
    Cursor cursor;          /* what nobody has taken yet */
    const CommCall **calls; /* [n] by number; NULL: not joined. Not to be read once done. */
};

/* By whoever knows that all have joined: the calls then stay as they are until is_done. */
bool work_next(const LocalOp *op, Cursor *cursor, Range *out); /* false: no more */
void work_do(const LocalOp *op, const Range *range);

#endif
