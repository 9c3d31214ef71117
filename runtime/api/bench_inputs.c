/* Inputs of a bench where none are set: rows of a dataset, or numbers made up over the whole range
 * that the program takes. Zeros would make every label, byte and token the same, and branches,
 * scatters and caches faster than they are on data. */
#include "runtime/api/data.h"

#include <stdlib.h>

enum {
    CHUNK = 512,
    MOST_INDEX = 65536 /* of an integer that nothing in the program bounds sooner */
};

/* Uniform in [0, 1), the same every time: splitmix64 (Steele, Lea, Flood: Fast splittable
 * pseudorandom number generators, 2014). */
static double made_up(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* Floats in [0, 1), integers in [0, range). */
static void fill(void *to, PlanDType dtype, int64_t bytes, int64_t range, uint64_t seed) {
    uint64_t state = seed;
    size_t size = data_type_bytes((DataType)dtype);
    bool is_float = data_type_is_float((DataType)dtype);
    int64_t n = bytes / (int64_t)size, bad;
    for (int64_t first = 0; first < n; first += CHUNK) {
        union {
            double real[CHUNK];
            int64_t integer[CHUNK];
        } made;
        int64_t count = n - first < CHUNK ? n - first : CHUNK;
        for (int64_t i = 0; i < count; i++) {
            double value = made_up(&state);
            if (is_float) {
                made.real[i] = value;
            } else {
                made.integer[i] = (int64_t)(value * (double)range);
            }
        }
        data_convert(&made, is_float ? DATA_F64 : DATA_I64, (uint8_t *)to + (size_t)first * size,
                     dtype, count, 0, &bad);
    }
}

static int64_t widest_range(PlanDType dtype) {
    switch (dtype) {
    case PLAN_BOOL:
        return 2;
    case PLAN_U8:
        return 256;
    case PLAN_I8:
        return 128;
    default:
        return MOST_INDEX;
    }
}

static dlc_status input_fill(dlc_session *session, EntryState *entry, int32_t i, int64_t range) {
    const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
    int64_t dims[PLAN_MAX_RANK], bytes;
    void *to;
    if (!plan_shape(session->file, plan_whole(arg->type, &arg->part), entry->slots[0].layout->vars,
                    dims, &bytes)) {
        return context_fail(session->context, DLC_ERROR_MISMATCH, "an input has no shape");
    }
    if (session_brings(session, arg)) { /* as many rows as it computes */
        int64_t part[PLAN_MAX_RANK], part_bytes, whole = dims[0];
        dims[0] =
            plan_shape(session->file, arg->type, entry->slots[0].layout->vars, part, &part_bytes)
                ? part[0]
                : 0;
        bytes = whole > 0 ? bytes / whole * dims[0] : 0;
    }
    dlc_status status = session_input(session, entry, i, arg->type.rank, dims, &to);
    if (status != DLC_OK) {
        return status;
    }
    fill(to, (PlanDType)arg->type.dtype, bytes, range, (uint64_t)i + 1);
    return session_input_done(session, entry, i);
}

/* The widest range of an integer input that the program takes: a fault in a run tells the size of
 * the axis that was indexed, or that a check failed. The inputs after it hold zeros meanwhile. */
static dlc_status input_probe(dlc_session *session, EntryState *entry, int32_t i) {
    const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
    int64_t range = widest_range((PlanDType)arg->type.dtype);
    for (;;) {
        dlc_status status = input_fill(session, entry, i, range);
        if (status != DLC_OK) {
            return status;
        }
        status = session_run(session, entry);
        if (status == DLC_OK) {
            status = session_finish(session);
        }
        if (status != DLC_ERROR_FAULT) {
            return status;
        }
        if (range <= 1) {
            return DLC_OK; /* not this input's doing; the runs that are timed will tell */
        }
        int64_t bound = session->ranks->fault.bound;
        range = bound > 0 && bound < range ? bound : range / 2;
    }
}

static bool is_made(const dlc_session *session, const EntryState *entry, int32_t i) {
    const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
    return arg->role == PLAN_ARG_INPUT && !entry->inputs[i].is_set;
}

/* The first batch of the data, over and over where it has fewer rows. */
static dlc_status take_rows(dlc_session *session, EntryState *entry, const dlc_dataset *dataset) {
    int64_t batch, n_rows = dataset_rows(&dataset->data);
    dlc_status status = data_batch(session, entry, 0, &batch);
    if (status == DLC_OK) {
        status = session_place_rows(session, entry, session_place(session, entry), batch, &batch);
    }
    if (status == DLC_OK) {
        status = data_rows_check(session, entry, "", n_rows, batch > 0, false);
    }
    if (status != DLC_OK) {
        return status;
    }
    int64_t *rows = memory_new(&session->context->allocator, (size_t)batch, sizeof(*rows));
    if (!rows) {
        return context_out_of_memory(session->context);
    }
    for (int64_t i = 0; i < batch; i++) {
        rows[i] = i % n_rows;
    }
    status = data_set_inputs(session, entry, &dataset->data, rows, batch);
    memory_free(&session->context->allocator, rows);
    return status;
}

dlc_status bench_inputs(dlc_session *session, EntryState *entry, const dlc_dataset *dataset) {
    if (dataset) {
        return take_rows(session, entry, dataset);
    }
    int32_t n_args = entry->record->n_args;
    bool *made = memory_new(&session->context->allocator, (size_t)n_args + 1, sizeof(*made));
    if (!made) {
        return context_out_of_memory(session->context);
    }
    dlc_status status = DLC_OK;
    for (int32_t i = 0; status == DLC_OK && i < n_args; i++) {
        made[i] = is_made(session, entry, i);
        status = made[i] ? input_fill(session, entry, i, 1) : DLC_OK;
    }
    for (int32_t i = 0; status == DLC_OK && i < n_args; i++) {
        int32_t dtype = session->tables->args[entry->record->first_arg + i].type.dtype;
        if (made[i] && !data_type_is_float((DataType)dtype)) {
            status = input_probe(session, entry, i);
        }
    }
    memory_free(&session->context->allocator, made);
    return status;
}
