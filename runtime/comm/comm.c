/* What all transports share: calls are checked and counted here before a transport sees them, and
 * compared and described for the message when ranks disagree. */
#include "runtime/comm/comm.h"

#include "ir/base/checked.h"
#include "ir/base/mesh.h"

#include <sched.h>
#include <stdio.h>

static const char *const kind_names[COMM_N_KINDS] = {
    "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "shift", "broadcast", "barrier"};
static const char *const combine_names[COMM_N_COMBINES] = {"add", "mul", "min", "max", "and", "or"};
static const struct {
    const char *name;
    int32_t bytes;
} dtypes[PLAN_N_DTYPES] = {
    [PLAN_F64] = {"f64", 8},   [PLAN_F32] = {"f32", 4}, [PLAN_F16] = {"f16", 2},
    [PLAN_BF16] = {"bf16", 2}, [PLAN_I64] = {"i64", 8}, [PLAN_I32] = {"i32", 4},
    [PLAN_I8] = {"i8", 1},     [PLAN_U8] = {"u8", 1},   [PLAN_BOOL] = {"bool", 1}};

int32_t comm_dtype_bytes(int32_t dtype) {
    return dtypes[dtype].bytes;
}

int32_t comm_group_size(const Comm *comm, const CommGroup *group) {
    return group->ranks ? group->n : comm->n_ranks;
}

int32_t comm_group_rank(const CommGroup *group, int32_t number) {
    return group->ranks ? group->ranks[number] : number;
}

int32_t comm_group_number(const CommGroup *group, int32_t n, int32_t rank) {
    if (!group->ranks) {
        return rank;
    }
    for (int32_t i = 0; i < n; i++) {
        if (group->ranks[i] == rank) {
            return i;
        }
    }
    return -1;
}

static bool combines(CommKind kind) {
    return kind == COMM_ALL_REDUCE || kind == COMM_REDUCE_SCATTER;
}

/* Of the whole tensor, however it is cut. */
static int64_t whole_elements(const CommCall *call, const CommBuffer *b) {
    int64_t elements = b->outer * b->rows * b->unit;
    return call->kind == COMM_ALL_TO_ALL ? elements * b->middle * b->split_rows : elements;
}

int64_t comm_in_elements(const CommCall *call, const CommBuffer *b, int32_t n, int32_t number) {
    int64_t piece = mesh_piece(b->rows, n, number).count;
    switch (call->kind) {
    case COMM_ALL_GATHER:
        return b->outer * piece * b->unit;
    case COMM_ALL_TO_ALL:
        return b->outer * piece * b->middle * b->split_rows * b->unit;
    default:
        return whole_elements(call, b);
    }
}

int64_t comm_out_elements(const CommCall *call, const CommBuffer *b, int32_t n, int32_t number) {
    switch (call->kind) {
    case COMM_REDUCE_SCATTER:
        return b->outer * mesh_piece(b->rows, n, number).count * b->unit;
    case COMM_ALL_TO_ALL:
        return b->outer * b->rows * b->middle * mesh_piece(b->split_rows, n, number).count *
               b->unit;
    default:
        return whole_elements(call, b);
    }
}

int64_t comm_sent_elements(const CommCall *call, const CommBuffer *b, int32_t n, int32_t number) {
    int64_t whole = whole_elements(call, b), in = comm_in_elements(call, b, n, number);
    switch (call->kind) {
    case COMM_ALL_REDUCE: {
        int64_t own = mesh_piece(whole, n, number).count;
        return whole - own + (n - 1) * own;
    }
    case COMM_ALL_GATHER:
        return (n - 1) * in;
    case COMM_REDUCE_SCATTER:
        return whole - comm_out_elements(call, b, n, number);
    case COMM_ALL_TO_ALL: {
        int64_t kept = mesh_piece(b->split_rows, n, number).count;
        return b->split_rows == 0 ? 0 : in / b->split_rows * (b->split_rows - kept);
    }
    case COMM_SHIFT:
        return call->number % n == 0 ? 0 : whole;
    case COMM_BROADCAST:
        return number == call->number ? (n - 1) * whole : 0;
    default:
        return 0;
    }
}

/* -- Checks. */

static dlc_status refuse(Comm *comm, const CommCall *call, const char *reason) {
    const char *name = call->name ? call->name : "";
    snprintf(comm->error, sizeof(comm->error), "rank %d: a collective %s is malformed: %s",
             comm->rank, name, reason);
    return DLC_ERROR_INVALID_ARGUMENT;
}

static const char *group_problem(const Comm *comm, const CommGroup *group) {
    if (!group->ranks) {
        return NULL;
    }
    if (group->n < 1 || group->n > comm->n_ranks) {
        return "its group has no rank, or more than there are";
    }
    bool rises = true;
    for (int32_t i = 0; i < group->n; i++) {
        if (group->ranks[i] < 0 || group->ranks[i] >= comm->n_ranks) {
            return "its group names a rank that is not there";
        }
        rises = rises && (i == 0 || group->ranks[i - 1] < group->ranks[i]);
    }
    for (int32_t i = 0; i < group->n && !rises; i++) {
        if (comm_group_number(group, group->n, group->ranks[i]) != i) {
            return "its group names a rank twice";
        }
    }
    return comm_group_number(group, group->n, comm->rank) < 0 ? "this rank is not in its group"
                                                              : NULL;
}

/* What all ranks send together fits int64_t. */
static bool sizes_fit(const CommCall *call, const CommBuffer *b, int32_t n) {
    int64_t total = (int64_t)n * comm_dtype_bytes(b->dtype);
    const int64_t sizes[] = {b->outer, b->rows, b->unit, b->middle, b->split_rows};
    int n_sizes = call->kind == COMM_ALL_TO_ALL ? 5 : 3;
    for (int i = 0; i < 5; i++) {
        if (sizes[i] < 0) {
            return false;
        }
    }
    /* Zeroes count as ones, so that products in any order fit too. */
    for (int i = 0; i < n_sizes; i++) {
        if (!checked_mul(total, sizes[i] ? sizes[i] : 1, &total)) {
            return false;
        }
    }
    return true;
}

static const char *buffer_problem(const CommCall *call, const CommBuffer *b, int32_t n,
                                  int32_t number) {
    if (b->dtype < 0 || b->dtype >= PLAN_N_DTYPES) {
        return "a buffer's type is unknown";
    }
    if (combines(call->kind)) {
        bool logical = call->combine == COMM_AND || call->combine == COMM_OR;
        bool extreme = call->combine == COMM_MIN || call->combine == COMM_MAX;
        if (!extreme && logical != (b->dtype == PLAN_BOOL)) {
            return "a buffer's type has no such combine";
        }
    }
    if (!sizes_fit(call, b, n)) {
        return "a size is below 0, or they multiply beyond 64 bits";
    }
    bool reads = call->kind != COMM_BROADCAST || number == call->number;
    if ((reads && !b->in && comm_in_elements(call, b, n, number) > 0) ||
        (!b->out && comm_out_elements(call, b, n, number) > 0)) {
        return "a buffer has no memory";
    }
    return NULL;
}

static dlc_status call_check(Comm *comm, const CommCall *call) {
    const char *problem = group_problem(comm, &call->group);
    if (problem) {
        return refuse(comm, call, problem);
    }
    int32_t n = comm_group_size(comm, &call->group);
    if ((int)call->kind < 0 || call->kind >= COMM_N_KINDS || call->n_buffers < 0 ||
        (call->kind == COMM_BARRIER && call->n_buffers > 0)) {
        return refuse(comm, call, "there is no such kind, or it has no such number of buffers");
    }
    if (combines(call->kind) && ((int)call->combine < 0 || call->combine >= COMM_N_COMBINES)) {
        return refuse(comm, call, "there is no such combine");
    }
    if (call->kind == COMM_BROADCAST && (call->number < 0 || call->number >= n)) {
        return refuse(comm, call, "it comes from a number that is not in the group");
    }
    int32_t number = comm_group_number(&call->group, n, comm->rank);
    for (int32_t i = 0; i < call->n_buffers && !problem; i++) {
        problem = buffer_problem(call, &call->buffers[i], n, number);
    }
    return problem ? refuse(comm, call, problem) : DLC_OK;
}

/* -- Calls. */

dlc_status comm_start(Comm *comm, const CommCall *call, CommRequest **out) {
    dlc_status status = call_check(comm, call);
    if (status != DLC_OK) {
        return status;
    }
    if (comm->n_started == COMM_MAX_STARTED) {
        snprintf(comm->error, sizeof(comm->error),
                 "rank %d: %d collectives are started and none is waited for", comm->rank,
                 COMM_MAX_STARTED);
        return DLC_ERROR_LIMIT;
    }
    CommRequest *request = NULL;
    status = comm->ops->start(comm, call, &request);
    if (status != DLC_OK) {
        return status;
    }
    int32_t n = comm_group_size(comm, &call->group);
    int32_t number = comm_group_number(&call->group, n, comm->rank);
    CommCount *count = &comm->counts[call->kind];
    count->calls++;
    for (int32_t i = 0; i < call->n_buffers; i++) {
        const CommBuffer *buffer = &call->buffers[i];
        count->bytes +=
            comm_sent_elements(call, buffer, n, number) * comm_dtype_bytes(buffer->dtype);
    }
    comm->n_started++;
    *out = request;
    return DLC_OK;
}

dlc_status comm_wait(Comm *comm, CommRequest *request) {
    comm->n_started--;
    return comm->ops->wait(comm, request);
}

dlc_status comm_run(Comm *comm, const CommCall *call) {
    CommRequest *request;
    comm->is_run = true;
    dlc_status status = comm_start(comm, call, &request);
    comm->is_run = false;
    return status == DLC_OK ? comm_wait(comm, request) : status;
}

void comm_abort(Comm *comm, dlc_status status, const char *text) {
    comm->ops->abort(comm, status, text);
}

void comm_close(Comm *comm) {
    if (comm) {
        comm_at_by(comm, NULL, NULL);
        comm->ops->close(comm);
    }
}

const char *comm_kind_name(CommKind kind) {
    return kind_names[kind];
}

void comm_patience(Comm *comm, double seconds) {
    atomic_store_explicit(&comm->patience, seconds, memory_order_relaxed);
}

/* For as long as a text takes to write. */
static void at_enter(Comm *comm) {
    while (atomic_exchange_explicit(&comm->at_busy, 1, memory_order_acquire) != 0) {
        sched_yield();
    }
}

static void at_leave(Comm *comm) {
    atomic_store_explicit(&comm->at_busy, 0, memory_order_release);
}

void comm_at_by(Comm *comm, CommAt *at, void *user) {
    at_enter(comm);
    comm->at = at;
    comm->at_user = user;
    at_leave(comm);
}

void comm_at(Comm *comm, char *out, size_t n_out) {
    out[0] = 0;
    at_enter(comm);
    if (comm->at) {
        comm->at(comm->at_user, out, n_out);
    }
    at_leave(comm);
}

CommCount comm_count(const Comm *comm) {
    CommCount total = {0, 0};
    for (int i = 0; i < COMM_N_KINDS; i++) {
        total.calls += comm->counts[i].calls;
        total.bytes += comm->counts[i].bytes;
    }
    return total;
}

/* -- Comparing and describing. */

static bool groups_equal(const Comm *comm, const CommGroup *a, const CommGroup *b) {
    int32_t n = comm_group_size(comm, a);
    if (n != comm_group_size(comm, b)) {
        return false;
    }
    for (int32_t i = 0; i < n; i++) {
        if (comm_group_rank(a, i) != comm_group_rank(b, i)) {
            return false;
        }
    }
    return true;
}

bool comm_calls_fit(const Comm *comm, const CommCall *a, const CommCall *b) {
    bool same = a->kind == b->kind && groups_equal(comm, &a->group, &b->group) &&
                (!combines(a->kind) || a->combine == b->combine) &&
                ((a->kind != COMM_SHIFT && a->kind != COMM_BROADCAST) || a->number == b->number) &&
                a->n_buffers == b->n_buffers;
    for (int32_t i = 0; i < a->n_buffers && same; i++) {
        const CommBuffer *x = &a->buffers[i], *y = &b->buffers[i];
        same = x->dtype == y->dtype && x->outer == y->outer && x->rows == y->rows &&
               x->unit == y->unit;
        if (a->kind == COMM_ALL_TO_ALL) {
            same = same && x->middle == y->middle && x->split_rows == y->split_rows &&
                   x->split_first == y->split_first;
        }
    }
    return same;
}

/* Adds at *length, which stays below n_out. */
__attribute__((format(printf, 4, 5))) static void add(char *out, size_t n_out, size_t *length,
                                                      const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out + *length, n_out - *length, format, args);
    va_end(args);
    *length += n > 0 ? (size_t)n : 0;
    *length = *length < n_out ? *length : n_out - 1;
}

static void add_buffer(const CommCall *call, const CommBuffer *b, char *out, size_t n_out,
                       size_t *length) {
    add(out, n_out, length, "%s", dtypes[b->dtype].name);
    if (call->kind == COMM_ALL_TO_ALL) {
        int64_t first = b->split_first ? b->split_rows : b->rows;
        int64_t second = b->split_first ? b->rows : b->split_rows;
        add(out, n_out, length, "[%lld, %lld, %lld, %lld, %lld]", (long long)b->outer,
            (long long)first, (long long)b->middle, (long long)second, (long long)b->unit);
    } else {
        add(out, n_out, length, "[%lld, %lld, %lld]", (long long)b->outer, (long long)b->rows,
            (long long)b->unit);
    }
}

void comm_describe(const Comm *comm, const CommCall *call, char *out, size_t n_out) {
    enum { SHOWN = 4 };
    size_t length = 0;
    out[0] = 0;
    add(out, n_out, &length, "%s", kind_names[call->kind]);
    if (call->name) {
        add(out, n_out, &length, " '%.80s'", call->name);
    }
    if (combines(call->kind)) {
        add(out, n_out, &length, " %s", combine_names[call->combine]);
    } else if (call->kind == COMM_SHIFT || call->kind == COMM_BROADCAST) {
        add(out, n_out, &length, " %s %d", call->kind == COMM_SHIFT ? "by" : "from", call->number);
    }
    for (int32_t i = 0; i < call->n_buffers && i < SHOWN; i++) {
        add(out, n_out, &length, "%s", i == 0 ? " of " : ", ");
        add_buffer(call, &call->buffers[i], out, n_out, &length);
    }
    if (call->n_buffers > SHOWN) {
        add(out, n_out, &length, " … (%d buffers)", call->n_buffers);
    }
    int32_t n = comm_group_size(comm, &call->group);
    add(out, n_out, &length, " over ranks");
    for (int32_t i = 0; i < n && i < 2 * SHOWN; i++) {
        add(out, n_out, &length, " %d", comm_group_rank(&call->group, i));
    }
    if (n > 2 * SHOWN) {
        add(out, n_out, &length, " … (%d)", n);
    }
}
