/* Meeting of threads: who has joined which call, who sleeps, who failed. All under one mutex, which
 * is held for a few dozen instructions; chunks are done without it. */
#include "runtime/comm/local/internal.h"

#include "ir/base/number.h"
#include <errno.h>
#include <stdio.h>
#include <time.h>

/* SPINS: microseconds. Below FEW_BYTES of work waking others costs more than it saves. */
enum { SPINS = 200, FEW_BYTES = 64 * 1024, TEXT_BYTES = 360 };

typedef struct Local Local;

/* One rank's end. Fields below `local` under the mutex. */
typedef struct End {
    Comm comm;
    Local *local;
    pthread_cond_t wake;
    LocalOp *waits_for; /* while it sleeps in wait; NULL else */
    bool sleeps, has_left, is_visited;
    int64_t n_calls; /* started, for messages */
} End;

struct Local {
    const dlc_allocator *allocator;
    pthread_mutex_t mutex;
    int32_t n_ranks, n_open;
    End *ends;     /* [n_ranks] */
    LocalOp *live; /* in the order in which they were first started */
    LocalOp *spare;
    LocalOp *ops;           /* all: every live one is started and not waited for by some rank */
    const CommCall **calls; /* of all ops */
    int32_t n_working;      /* threads at work on chunks, of all ops */
    dlc_status failure;     /* DLC_OK: none yet */
    char failure_text[COMM_MESSAGE_BYTES];
};

/* -- Failure. Once there is one no chunk is taken any more. */

static void end_wake(End *end) {
    if (end->sleeps) {
        pthread_cond_signal(&end->wake);
    }
}

static void wake_all(Local *local) {
    for (int32_t i = 0; i < local->n_ranks; i++) {
        end_wake(&local->ends[i]);
    }
}

__attribute__((format(printf, 3, 4))) static void fail(Local *local, dlc_status status,
                                                       const char *format, ...) {
    if (local->failure != DLC_OK) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(local->failure_text, sizeof(local->failure_text), format, args);
    va_end(args);
    local->failure = status;
    for (LocalOp *op = local->live; op; op = op->next) {
        atomic_fetch_add(&op->events, 1);
    }
    wake_all(local);
}

/* Sleeps until nobody works on chunks, so that the caller may free what is in them. */
static void drain(End *end) {
    Local *local = end->local;
    while (local->n_working > 0) {
        end->sleeps = true;
        pthread_cond_wait(&end->wake, &local->mutex);
        end->sleeps = false;
    }
}

/* For what a call returns; gives the mutex back. */
static dlc_status failed(End *end) {
    Local *local = end->local;
    drain(end);
    end->waits_for = NULL;
    dlc_status status = local->failure;
    memcpy(end->comm.error, local->failure_text, sizeof(end->comm.error));
    pthread_mutex_unlock(&local->mutex);
    return status;
}

/* -- Joining. */

/* The oldest call over the same group that the rank has not joined. */
static LocalOp *op_find(const End *end, const CommCall *call, int32_t n, int32_t number) {
    for (LocalOp *op = end->local->live; op; op = op->next) {
        if (op->is_done || op->n != n || op->calls[number]) {
            continue;
        }
        const CommGroup *group = &op->calls[op->first]->group;
        bool same = true;
        for (int32_t i = 0; i < n && same; i++) {
            same = comm_group_rank(group, i) == comm_group_rank(&call->group, i);
        }
        if (same) {
            return op;
        }
    }
    return NULL;
}

static LocalOp *op_new(Local *local, int32_t n, int32_t number) {
    LocalOp *op = local->spare;
    local->spare = op->next;
    op->next = NULL;
    op->n = n;
    op->n_joined = op->n_left = op->n_working = 0;
    op->first = number;
    op->has_work = op->is_done = false;
    op->cursor = (Cursor){0};
    for (int32_t i = 0; i < n; i++) {
        op->calls[i] = NULL;
    }
    LocalOp **at = &local->live;
    while (*at) {
        at = &(*at)->next;
    }
    return *at = op;
}

static void op_leave(Local *local, LocalOp *op) {
    if (++op->n_left < op->n) {
        return;
    }
    LocalOp **at = &local->live;
    while (*at != op) {
        at = &(*at)->next;
    }
    *at = op->next;
    op->next = local->spare;
    local->spare = op;
}

/* Of a call that is not done. */
static End *op_member(Local *local, const LocalOp *op, int32_t number) {
    return &local->ends[comm_group_rank(&op->calls[op->first]->group, number)];
}

static void op_wake(Local *local, LocalOp *op) {
    atomic_fetch_add(&op->events, 1);
    for (int32_t i = 0; i < op->n; i++) {
        End *end = op_member(local, op, i);
        if (end->waits_for == op) {
            end_wake(end);
        }
    }
}

static void op_finish(Local *local, LocalOp *op) {
    op_wake(local, op);
    op->is_done = true;
}

static void fail_mismatch(Local *local, const LocalOp *op, const End *end, const CommCall *call) {
    char one[TEXT_BYTES], other[TEXT_BYTES];
    const End *first = op_member(local, op, op->first);
    comm_describe(&first->comm, op->calls[op->first], one, sizeof(one));
    comm_describe(&end->comm, call, other, sizeof(other));
    fail(local, DLC_ERROR_MISMATCH, "ranks disagree on a collective: rank %d calls %s; rank %d, %s",
         first->comm.rank, one, end->comm.rank, other);
}

/* Ranks that cannot come any more end the call. */
static void check_left(Local *local, const LocalOp *op) {
    for (int32_t i = 0; i < op->n && !op->is_done; i++) {
        const End *end = op_member(local, op, i);
        if (end->has_left && !op->calls[i]) {
            char text[TEXT_BYTES];
            const End *first = op_member(local, op, op->first);
            comm_describe(&first->comm, op->calls[op->first], text, sizeof(text));
            fail(local, DLC_ERROR_INTERNAL,
                 "rank %d has ended after %lld collectives, and rank %d waits for it in %s",
                 end->comm.rank, (long long)end->n_calls, first->comm.rank, text);
        }
    }
}

/* -- Working. */

/* Takes and does one chunk; false when none is left, or there is a failure. Holds the mutex when
 * called and when it returns. */
static bool op_work(Local *local, LocalOp *op) {
    Range range;
    if (local->failure != DLC_OK || !op->has_work) {
        return false;
    }
    if (!work_next(op, &op->cursor, &range)) {
        op->has_work = false;
        if (op->n_working == 0) {
            op_finish(local, op);
        }
        return false;
    }
    op->n_working++;
    local->n_working++;
    pthread_mutex_unlock(&local->mutex);
    work_do(op, &range);
    pthread_mutex_lock(&local->mutex);
    op->n_working--;
    local->n_working--;
    if (local->failure != DLC_OK) {
        if (local->n_working == 0) {
            wake_all(local);
        }
    } else if (!op->has_work && op->n_working == 0) {
        op_finish(local, op);
    }
    return true;
}

/* Whether it is so little that the last to come had better do it alone. */
static bool is_little(const LocalOp *op) {
    Cursor cursor = op->cursor;
    Range range;
    int64_t bytes = 0;
    while (bytes <= FEW_BYTES && work_next(op, &cursor, &range)) {
        bytes += range.bytes;
    }
    return bytes <= FEW_BYTES;
}

static dlc_status local_start(Comm *comm, const CommCall *call, CommRequest **out) {
    End *end = (End *)comm;
    Local *local = end->local;
    int32_t n = comm_group_size(comm, &call->group);
    int32_t number = comm_group_number(&call->group, n, comm->rank);
    pthread_mutex_lock(&local->mutex);
    if (local->failure != DLC_OK) { /* others' calls may be gone */
        return failed(end);
    }
    LocalOp *op = op_find(end, call, n, number);
    if (op && !comm_calls_fit(comm, op->calls[op->first], call)) {
        fail_mismatch(local, op, end, call);
        return failed(end);
    }
    op = op ? op : op_new(local, n, number);
    op->calls[number] = call;
    op->n_joined++;
    end->n_calls++;
    check_left(local, op);
    if (op->n_joined == n) {
        op->has_work = true;
        if (is_little(op)) {
            while (op_work(local, op)) {
            }
        } else {
            op_wake(local, op);
        }
    }
    *out = (CommRequest *)op;
    pthread_mutex_unlock(&local->mutex);
    return DLC_OK;
}

/* -- Waiting. */

/* Whether `from` waits, by way of others, for `end`: each for a rank that has not started what it
 * waits for. */
static bool waits_for(Local *local, End *from, const End *end) {
    const LocalOp *op = from->waits_for;
    if (!op || op->is_done || from->is_visited) {
        return false;
    }
    from->is_visited = true;
    for (int32_t i = 0; i < op->n; i++) {
        if (!op->calls[i]) {
            End *other = op_member(local, op, i);
            if (other == end || waits_for(local, other, end)) {
                return true;
            }
        }
    }
    return false;
}

static void check_circle(Local *local, End *end) {
    const LocalOp *op = end->waits_for;
    for (int32_t i = 0; i < op->n; i++) {
        End *other = op->calls[i] ? NULL : op_member(local, op, i);
        for (int32_t k = 0; k < local->n_ranks; k++) {
            local->ends[k].is_visited = false;
        }
        if (other && waits_for(local, other, end)) {
            char one[TEXT_BYTES], two[TEXT_BYTES];
            const LocalOp *others = other->waits_for;
            comm_describe(&end->comm, op->calls[op->first], one, sizeof(one));
            comm_describe(&other->comm, others->calls[others->first], two, sizeof(two));
            fail(local, DLC_ERROR_MISMATCH,
                 "ranks wait for each other: rank %d waits for rank %d in %s; rank %d waits in %s",
                 end->comm.rank, other->comm.rank, one, other->comm.rank, two);
            return;
        }
    }
}

/* "; rank 2 is at step 12 of digits.train"; "" where nobody says. */
static void at_text(End *end, char *out, size_t n_out) {
    char at[COMM_AT_BYTES];
    comm_at(&end->comm, at, sizeof(at));
    out[0] = 0;
    if (at[0]) {
        snprintf(out, n_out, "; rank %d is at %s", end->comm.rank, at);
    }
}

static void fail_timeout(Local *local, End *end, const LocalOp *op, double patience) {
    char text[TEXT_BYTES], own[COMM_AT_BYTES + 24], others[COMM_AT_BYTES + 24];
    comm_describe(&end->comm, op->calls[op->first], text, sizeof(text));
    at_text(end, own, sizeof(own));
    for (int32_t i = 0; i < op->n; i++) {
        if (!op->calls[i]) {
            End *other = op_member(local, op, i);
            at_text(other, others, sizeof(others));
            fail(local, DLC_ERROR_LIMIT,
                 "rank %d does not come: after %lld collectives it has not started %s, in which "
                 "rank %d has waited %s s%s%s",
                 other->comm.rank, (long long)other->n_calls, text, end->comm.rank,
                 number_text(patience, 3).text, others, own);
            return;
        }
    }
    fail(local, DLC_ERROR_LIMIT, "rank %d has waited %s s for the work of %s%s", end->comm.rank,
         number_text(patience, 3).text, text, own);
}

/* Sleeps until something has happened to the call; false: the time is over. deadline 0: none. */
static bool end_sleep(End *end, double deadline) {
    Local *local = end->local;
    int result = 0;
    end->sleeps = true;
    if (deadline > 0) {
        time_t seconds = (time_t)deadline;
        struct timespec until = {seconds, (long)((deadline - (double)seconds) * 1e9)};
        result = pthread_cond_timedwait(&end->wake, &local->mutex, &until);
    } else {
        pthread_cond_wait(&end->wake, &local->mutex);
    }
    end->sleeps = false;
    return result != ETIMEDOUT || clock_seconds() < deadline;
}

static void spin(const LocalOp *op, unsigned seen) {
    for (int i = 0; i < SPINS && atomic_load_explicit(&op->events, memory_order_relaxed) == seen;
         i++) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
}

static dlc_status local_wait(Comm *comm, CommRequest *request) {
    End *end = (End *)comm;
    Local *local = end->local;
    LocalOp *op = (LocalOp *)request;
    double deadline = 0, patience = comm->patience;
    bool spun = false;
    pthread_mutex_lock(&local->mutex);
    while (local->failure == DLC_OK && !op->is_done) {
        if (op_work(local, op)) {
            continue;
        }
        if (op->is_done || local->failure != DLC_OK) {
            break;
        }
        if (!spun) {
            unsigned seen = atomic_load(&op->events);
            pthread_mutex_unlock(&local->mutex);
            spin(op, seen);
            pthread_mutex_lock(&local->mutex);
            spun = true;
            continue;
        }
        if (!end->waits_for) {
            deadline = patience > 0 ? clock_seconds() + patience : 0;
            end->waits_for = op;
            check_circle(local, end);
        } else if (!end_sleep(end, deadline) && !op->is_done && local->failure == DLC_OK) {
            fail_timeout(local, end, op, patience);
        }
    }
    end->waits_for = NULL;
    if (!op->is_done) {
        return failed(end);
    }
    op_leave(local, op);
    pthread_mutex_unlock(&local->mutex);
    return DLC_OK;
}

static void local_abort(Comm *comm, dlc_status status, const char *text) {
    End *end = (End *)comm;
    Local *local = end->local;
    pthread_mutex_lock(&local->mutex);
    fail(local, status == DLC_OK ? DLC_ERROR_INTERNAL : status, "rank %d: %s", comm->rank, text);
    (void)failed(end);
}

/* -- Beginning and end. */

static void local_free(Local *local) {
    for (int32_t i = 0; i < local->n_ranks && local->ends; i++) {
        pthread_cond_destroy(&local->ends[i].wake);
    }
    pthread_mutex_destroy(&local->mutex);
    memory_free(local->allocator, local->calls);
    memory_free(local->allocator, local->ops);
    memory_free(local->allocator, local->ends);
    memory_free(local->allocator, local);
}

static void local_close(Comm *comm) {
    End *end = (End *)comm;
    Local *local = end->local;
    pthread_mutex_lock(&local->mutex);
    end->has_left = true;
    if (comm->n_started > 0) {
        fail(local, DLC_ERROR_INTERNAL,
             "rank %d has ended with %d collectives started and not waited for", comm->rank,
             comm->n_started);
    }
    for (LocalOp *op = local->live; op && local->failure == DLC_OK; op = op->next) {
        check_left(local, op);
    }
    if (local->failure != DLC_OK) {
        drain(end);
    }
    bool is_last = --local->n_open == 0;
    pthread_mutex_unlock(&local->mutex);
    if (is_last) {
        local_free(local);
    }
}

static void ends_init(Local *local, double patience, Comm **out) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    for (int32_t i = 0; i < local->n_ranks; i++) {
        End *end = &local->ends[i];
        end->comm =
            (Comm){.ops = &comm_local, .rank = i, .n_ranks = local->n_ranks, .patience = patience};
        end->local = local;
        pthread_cond_init(&end->wake, &monotonic);
        out[i] = &end->comm;
    }
    pthread_condattr_destroy(&monotonic);
}

dlc_status comm_local_create(const dlc_allocator *allocator, int32_t n_ranks,
                             double timeout_seconds, Comm **out) {
    if (n_ranks < 1 || n_ranks > LOCAL_MAX_RANKS) {
        return DLC_ERROR_LIMIT;
    }
    Local *local = memory_new(allocator, 1, sizeof(*local));
    if (!local) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    size_t n = (size_t)n_ranks, n_ops = n * COMM_MAX_STARTED;
    local->allocator = allocator;
    local->n_ranks = local->n_open = n_ranks;
    pthread_mutex_init(&local->mutex, NULL);
    local->ops = memory_new(allocator, n_ops, sizeof(LocalOp));
    local->calls = memory_new(allocator, n_ops * n, sizeof(CommCall *));
    End *ends = memory_new(allocator, n, sizeof(End));
    if (!local->ops || !local->calls || !ends) {
        memory_free(allocator, ends);
        local_free(local);
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    local->ends = ends;
    for (size_t i = 0; i < n_ops; i++) {
        local->ops[i].calls = local->calls + i * n;
        local->ops[i].next = local->spare;
        local->spare = &local->ops[i];
    }
    ends_init(local, timeout_seconds, out);
    return DLC_OK;
}

const CommOps comm_local = {.name = "local",
                            .doc = "threads of one process",
                            .start = local_start,
                            .wait = local_wait,
                            .abort = local_abort,
                            .close = local_close};
