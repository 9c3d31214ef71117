/* See slice.h. */
#include "runtime/checkpoint/slice.h"
#include "runtime/session/parts.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    BLOCK_ELEMENTS = 8 << 10, /* converted at once */
    WIDEST_BYTES = 8,
    WRITE_BYTES = 4 << 20 /* to a device, at once */
};

/* A walk over elements of a source. */
typedef struct Reading {
    const Source *source;
    PlanDType type;
    uint8_t *read; /* [BLOCK_ELEMENTS * WIDEST_BYTES], where types differ */
    uint8_t *to;   /* what lies at `from` of the part and behind */
    int64_t from;
    dlc_status status; /* of what went wrong, with the context's error */
} Reading;

static const Variable *variable_of(const Source *source) {
    return &source->session->ranks->variables[source->number];
}

static dlc_status value_fail(const Source *source, int64_t bad) {
    const PlanFile *file = source->session->file;
    const PlanVariable *record = variable_of(source)->record;
    return context_fail(source->session->context, DLC_ERROR_MISMATCH,
                        "%s: element %" PRId64 " of '%s' does not fit %s", source->path, bad,
                        plan_text(file, record->name),
                        plan_text(file, plan_whole(record->type, &record->part).text));
}

static dlc_status bytes_read(const Source *source, int64_t at, int64_t bytes, void *to) {
    char message[SAFETENSORS_MESSAGE_BYTES] = "";
    dlc_status status = safetensors_read_bytes(source->file, source->path, source->entry,
                                               (size_t)at, (size_t)bytes, to, message);
    return status == DLC_OK ? DLC_OK
                            : context_fail(source->session->context, status, "%s", message);
}

/* Elements [first, first + count), BLOCK_ELEMENTS at most, in the variable's type. */
static dlc_status block_convert(const Reading *reading, int64_t first, int64_t count, void *to) {
    const Source *source = reading->source;
    DataType type = source->entry->type;
    int64_t width = (int64_t)data_type_bytes(type), bad = 0;
    size_t none = 0;
    dlc_status status = bytes_read(source, first * width, count * width, reading->read);
    if (status == DLC_OK && type == DATA_BOOL &&
        !data_are_bools(reading->read, (size_t)count, &none)) {
        return context_fail(source->session->context, DLC_ERROR_FORMAT,
                            "%s: tensor '%s': expected bool values 0 or 1, found %u", source->path,
                            source->entry->name, reading->read[none]);
    }
    if (status == DLC_OK &&
        data_convert(reading->read, type, to, reading->type, count, 0, &bad) != CONVERT_OK) {
        status = value_fail(source, first + bad);
    }
    return status;
}

/* A run of the whole tensor's bytes, in the variable's type. */
static int run_read(void *user, int64_t whole_at, int64_t part_at, int64_t bytes) {
    Reading *reading = user;
    const Source *source = reading->source;
    uint8_t *to = reading->to + (part_at - reading->from);
    int64_t width = plan_dtype_bytes((int32_t)reading->type);
    if (!reading->read) {
        reading->status = bytes_read(source, whole_at, bytes, to);
        return reading->status != DLC_OK;
    }
    int64_t first = whole_at / width, end = first + bytes / width;
    while (first < end && reading->status == DLC_OK) {
        int64_t count = end - first < BLOCK_ELEMENTS ? end - first : BLOCK_ELEMENTS;
        reading->status = block_convert(reading, first, count, to);
        to += count * width;
        first += count;
    }
    return reading->status != DLC_OK;
}

static dlc_status reading_begin(const Source *source, bool converts, Reading *out) {
    const dlc_allocator *allocator = &source->session->context->allocator;
    *out = (Reading){.source = source, .type = (PlanDType)variable_of(source)->record->type.dtype};
    if (converts) {
        out->read = memory_new(allocator, BLOCK_ELEMENTS, WIDEST_BYTES);
    }
    return !converts || out->read ? DLC_OK : context_out_of_memory(source->session->context);
}

static void reading_end(Reading *reading) {
    memory_free(&reading->source->session->context->allocator, reading->read);
}

dlc_status source_check(const Source *source) {
    dlc_session *session = source->session;
    const SafetensorsEntry *entry = source->entry;
    bool differs = (int32_t)entry->type != variable_of(source)->record->type.dtype;
    uint8_t trial[WIDEST_BYTES * 1024];
    if (!differs && entry->type != DATA_BOOL) {
        return DLC_OK;
    }
    Reading reading;
    dlc_status status = reading_begin(source, true, &reading);
    const dlc_communicator *all = session->communicator;
    RowRange own = mesh_piece(entry->n_elements, all ? all->n_ranks : 1, all ? all->rank : 0);
    for (int64_t done = 0; done < own.count && status == DLC_OK; done += 1024) {
        int64_t count = own.count - done < 1024 ? own.count - done : 1024;
        status = block_convert(&reading, own.first + done, count, trial);
    }
    reading_end(&reading);
    return status;
}

/* Of rank `r`, block by block through its staging memory where the host has no other way. */
static dlc_status rank_load(Reading *reading, int32_t r, const PartRuns *runs) {
    dlc_session *session = reading->source->session;
    Rank *rank = &session->ranks[r];
    uint8_t *data = rank->variables[reading->source->number].data;
    int64_t all = part_runs_bytes(runs), most = rank->ops->is_host ? all : WRITE_BYTES;
    dlc_status status = DLC_OK;
    for (int64_t done = 0; done < all && status == DLC_OK && reading->status == DLC_OK;
         done += most) {
        int64_t bytes = all - done < most ? all - done : most;
        void *to = data + done;
        status = rank->ops->is_host ? DLC_OK : rank_staging(rank, bytes, &to);
        if (status == DLC_OK) {
            reading->to = to;
            reading->from = done;
            (void)part_runs_each(runs, done, bytes, run_read, reading);
        }
        if (status == DLC_OK && reading->status == DLC_OK && !rank->ops->is_host) {
            status = rank_write(rank, data + done, to, bytes);
        }
    }
    status = team_told(session->team, r, status);
    return status == DLC_OK ? reading->status : status;
}

dlc_status source_load(const Source *source) {
    dlc_session *session = source->session;
    Reading reading;
    dlc_status status = reading_begin(
        source, (int32_t)source->entry->type != variable_of(source)->record->type.dtype, &reading);
    session->n_changes++;
    for (int32_t r = 0; r < session->n_ranks && status == DLC_OK; r++) {
        PartRuns *runs = NULL;
        status = session_variable_runs(session, r, source->number, &runs);
        if (status == DLC_OK) {
            status = rank_load(&reading, r, runs);
        }
        part_runs_free(runs);
    }
    reading_end(&reading);
    return status;
}
