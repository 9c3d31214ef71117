/* Times an entry, on inputs that bench_inputs.c brings where none are set. */
#include "runtime/border.h"
#include "runtime/session/session.h"

#include "ir/base/cores.h"

#include <stdlib.h>

static int double_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

enum { MAX_REPEATS = 100000 };

static dlc_status run_whole(dlc_session *session, EntryState *entry) {
    dlc_status status = session_run(session, entry);
    return status == DLC_OK && !session->ranks->ops->is_host ? session_finish(session) : status;
}

/* Whether all go on, as rank 0's clock says; an error where one is cancelled. Outside of what is
 * timed. */
static dlc_status goes_on(dlc_session *session, bool *more) {
    int64_t cancelled = context_cancelled(session->context), wanted = *more;
    dlc_status status = session_most(session, &cancelled, 1);
    if (status == DLC_OK && cancelled) {
        return context_fail(session->context, DLC_ERROR_CANCELLED, "cancelled");
    }
    status = status == DLC_OK ? session_first(session, &wanted) : status;
    *more = wanted != 0;
    return status;
}

static dlc_status measure(dlc_session *session, EntryState *entry, const dlc_bench_options *options,
                          double *times, int64_t *out_n) {
    int64_t warmup = options->warmup > 0 ? options->warmup : 3;
    double limit = options->seconds > 0 ? options->seconds : 2;
    dlc_status status = DLC_OK;
    bool more = true;
    for (int64_t i = 0; i < warmup && status == DLC_OK; i++) {
        status = goes_on(session, &more);
        status = status == DLC_OK ? run_whole(session, entry) : status;
    }
    double begin = clock_seconds();
    int64_t n = 0;
    int64_t least = options->repeats > 0 ? options->repeats : 5;
    least = least < MAX_REPEATS ? least : MAX_REPEATS;
    while (status == DLC_OK) {
        more = n < MAX_REPEATS &&
               (n < least || (options->repeats <= 0 && clock_seconds() - begin < limit));
        status = goes_on(session, &more);
        if (status != DLC_OK || !more) {
            break;
        }
        double start = clock_seconds();
        status = run_whole(session, entry);
        times[n] = clock_seconds() - start;
        n += status == DLC_OK;
    }
    *out_n = n;
    return status;
}

/* Lengths that nobody told take any value while the entry is timed. */
static dlc_status lengths_assume(dlc_session *session) {
    static const char *const lengths[] = {"steps", "steps_per_epoch"};
    dlc_status status = DLC_OK;
    for (size_t i = 0; status == DLC_OK && i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        if (!session_scalar(session, lengths[i])) {
            status = dlc_set_counter(session, lengths[i], 1);
        }
    }
    return status;
}

/* Sizes, weights and inputs, where the caller set none. */
static dlc_status prepare(dlc_session *session, const char *name, EntryState *entry,
                          const dlc_dataset *data) {
    bool fresh = session->file->n_variables > 0 && !session->ranks->variables[0].data;
    dlc_status status = data ? dlc_session_bind_data(session, name, data) : DLC_OK;
    if (status == DLC_OK) {
        status = session_layout(session, entry, true);
    }
    if (status == DLC_OK && fresh) {
        status = dlc_init_weights(session);
    }
    return status == DLC_OK ? bench_inputs(session, entry, data) : status;
}

static void result_fill(const dlc_session *session, const EntryState *entry, double *times,
                        int64_t n, dlc_bench_result *out) {
    qsort(times, (size_t)n, sizeof(*times), double_compare);
    int32_t batch = plan_batch_dim(session->file, session->tables);
    *out = (dlc_bench_result){
        .repeats = n,
        .median = times[n / 2],
        .p10 = times[n / 10],
        .p90 = times[n * 9 / 10],
        .rows = batch >= 0 ? entry->layout->vars[batch] : 0,
    };
    for (int32_t r = 0; r < session->n_ranks; r++) {
        const Layout *layout = session->ranks[r].entries[entry - session->ranks->entries].layout;
        out->flops += layout->flops;
        out->bytes += layout->bytes;
    }
    const Rank *rank = session->ranks;
    if (rank->ops->peak) {
        rank->ops->peak(rank->device, &out->peak_flops, &out->peak_bytes);
    }
    if (rank->ops->is_host) { /* each rank has its threads; more of them than cores take turns */
        int cores = cores_usable();
        out->peak_flops *= session->n_ranks < cores ? session->n_ranks : cores;
    }
}

dlc_status dlc_bench(dlc_session *session, const char *name, const dlc_bench_options *options,
                     dlc_bench_result *out) {
    BORDER_CALL(session ? session->context : NULL);
    if (!border_result_needed(session->context, "dlc_bench_result", out)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    dlc_bench_options given;
    EntryState *entry = session_entry(session, name);
    if (!entry) {
        return DLC_ERROR_NOT_FOUND;
    }
    if (!border_options(session->context, "dlc_bench_options", &given, sizeof(given), options)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    if (!border_number(session->context, "dlc_bench_options.warmup", given.warmup, 0, INT64_MAX) ||
        !border_number(session->context, "dlc_bench_options.repeats", given.repeats, 0,
                       INT64_MAX) ||
        !border_amount(session->context, "dlc_bench_options.seconds", given.seconds)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    double *times = memory_new(&session->context->allocator, MAX_REPEATS, sizeof(*times));
    if (!times) {
        return context_out_of_memory(session->context);
    }
    int32_t n_scalars = session->orders.n_scalars;
    int64_t n = 0;
    dlc_status status = lengths_assume(session);
    if (status == DLC_OK) {
        status = prepare(session, name, entry, given.data);
    }
    if (status == DLC_OK) {
        status = measure(session, entry, &given, times, &n);
    }
    session->orders.n_scalars = n_scalars;
    if (status == DLC_OK) {
        dlc_bench_result result;
        result_fill(session, entry, times, n, &result);
        border_result_write(out, &result, sizeof(result));
    }
    memory_free(&session->context->allocator, times);
    return status;
}
