/* Times an entry on inputs that are made up where none are set. */
#include "runtime/session.h"

#include <stdlib.h>

/* Uniform in [0, 1), the same every time: splitmix64. */
static double made_up(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static void fill_input(void *to, int32_t dtype, int64_t bytes) {
    uint64_t state = 1;
    memset(to, 0, (size_t)bytes);
    for (int64_t i = 0; dtype == PLAN_F32 && i < bytes / 4; i++) {
        ((float *)to)[i] = (float)made_up(&state);
    }
    for (int64_t i = 0; dtype == PLAN_F64 && i < bytes / 8; i++) {
        ((double *)to)[i] = made_up(&state);
    }
}

static dlc_status inputs_make(dlc_session *session, EntryState *entry) {
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        if (arg->role != PLAN_ARG_INPUT || entry->inputs[i].is_set) {
            continue;
        }
        int64_t dims[PLAN_MAX_RANK], bytes;
        void *to;
        if (!plan_shape(session->file, arg->type, entry->slots[0].layout->vars, dims, &bytes)) {
            return context_fail(session->context, DLC_ERROR_MISMATCH, "an input has no shape");
        }
        dlc_status status = session_input(session, entry, i, arg->type.rank, dims, &to);
        if (status != DLC_OK) {
            return status;
        }
        fill_input(to, arg->type.dtype, bytes);
        status = session_input_done(session, entry, i);
        if (status != DLC_OK) {
            return status;
        }
    }
    return DLC_OK;
}

static int double_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

enum { MAX_REPEATS = 100000 };

static dlc_status run_whole(dlc_session *session, EntryState *entry) {
    dlc_status status = session_run(session, entry);
    return status == DLC_OK && !session->ops->is_host ? session_finish(session) : status;
}

static dlc_status measure(dlc_session *session, EntryState *entry, const dlc_bench_options *options,
                          double *times, int64_t *out_n) {
    int64_t warmup = options->warmup > 0 ? options->warmup : 3;
    double limit = options->seconds > 0 ? options->seconds : 2;
    for (int64_t i = 0; i < warmup; i++) {
        dlc_status status = run_whole(session, entry);
        if (status != DLC_OK) {
            return status;
        }
    }
    double begin = clock_seconds();
    int64_t n = 0;
    int64_t least = options->repeats > 0 ? options->repeats : 5;
    least = least < MAX_REPEATS ? least : MAX_REPEATS;
    while (n < MAX_REPEATS &&
           (n < least || (options->repeats <= 0 && clock_seconds() - begin < limit))) {
        if (context_cancelled(session->context)) {
            return context_fail(session->context, DLC_ERROR_CANCELLED, "cancelled");
        }
        double start = clock_seconds();
        dlc_status status = run_whole(session, entry);
        if (status != DLC_OK) {
            return status;
        }
        times[n++] = clock_seconds() - start;
    }
    *out_n = n;
    return DLC_OK;
}

dlc_status dlc_bench(dlc_session *session, const char *name, const dlc_bench_options *options,
                     dlc_bench_result *out) {
    dlc_bench_options given;
    EntryState *entry = session_entry(session, name);
    if (!entry) {
        return DLC_ERROR_NOT_FOUND;
    }
    if (!options_read(&given, sizeof(given), options) || !out || out->struct_size != sizeof(*out)) {
        return context_fail(session->context, DLC_ERROR_INVALID_ARGUMENT, "bad struct_size");
    }
    bool fresh = session->n_variables > 0 && !session->variables[0].data;
    dlc_status status = session_layout(session, entry, true);
    if (status == DLC_OK && fresh) {
        status = dlc_init_weights(session);
    }
    if (status == DLC_OK) {
        status = inputs_make(session, entry);
    }
    double *times = memory_new(&session->context->allocator, MAX_REPEATS, sizeof(*times));
    if (!times) {
        return context_out_of_memory(session->context);
    }
    int64_t n = 0;
    if (status == DLC_OK) {
        status = measure(session, entry, &given, times, &n);
    }
    if (status == DLC_OK) {
        qsort(times, (size_t)n, sizeof(*times), double_compare);
        int32_t batch = plan_batch_dim(session->file, session->tables);
        double peak_flops = 0, peak_bytes = 0;
        if (session->ops->peak) {
            session->ops->peak(session->device, &peak_flops, &peak_bytes);
        }
        *out = (dlc_bench_result){
            .struct_size = sizeof(*out),
            .repeats = n,
            .median = times[n / 2],
            .p10 = times[n / 10],
            .p90 = times[n * 9 / 10],
            .rows = batch >= 0 ? entry->layout->vars[batch] : 0,
            .flops = entry->layout->flops,
            .bytes = entry->layout->bytes,
            .peak_flops = peak_flops,
            .peak_bytes = peak_bytes,
        };
    }
    memory_free(&session->context->allocator, times);
    return status;
}
