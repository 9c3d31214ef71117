/* See trace.h. Times of a device whose work is queued are taken between marks in its queue and put
 * on the host's clock; a host device has done its work when a call returns. Ranks write into one
 * file, whole runs at a time. */
#include "runtime/session/trace.h"

#include "ir/base/file.h"
#include "ir/base/number.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

/* Tracks of a rank; those behind LANE_DEVICE are of the device's further queues, those from
 * LANE_BESIDE on of exchanges that go on beside other work: as many as go on at once. */
enum {
    MOST_COMMANDS = 100000,
    LANE_HOST = 1,
    LANE_DEVICE = 2,
    LANE_BESIDE = LANE_DEVICE + PLAN_MAX_QUEUES,
    MOST_BESIDE = COMM_MAX_STARTED
};

typedef struct Traced {
    int32_t command, count;
    bool is_beside;    /* an exchange that went on while others ran */
    double start, end; /* of the host's clock; for a device with marks: their numbers */
} Traced;

/* What the ranks share. */
typedef struct TraceFile {
    FILE *file; /* of a part: one without a name */
    char *path;
    bool is_part, is_sent;
    pthread_mutex_t mutex; /* of who writes */
    double origin;
    int32_t n_ranks; /* that have not closed it */
    bool is_begun;   /* something stands in it */
} TraceFile;

struct Trace {
    TraceFile *shared;
    int64_t process;  /* what the rank is in the file, from 1 */
    Traced *commands; /* of the run under way */
    int64_t n_commands, capacity;
    int32_t n_marks;
    double start;
    double free_at[MOST_BESIDE]; /* when the last exchange on each of those tracks ended */
    int n_beside;                /* tracks of them that have a name */
};

static void text_write(FILE *file, const char *text) {
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (*at == '"' || *at == '\\') {
            fputc('\\', file);
        }
        fputc(*at < ' ' ? ' ' : *at, file);
    }
}

/* A name of the rank's track, or (lane 0) of the rank. */
static void name_write(const Trace *trace, int lane, const char *name) {
    FILE *file = trace->shared->file;
    fprintf(file,
            "%s{\"name\": \"%s_name\", \"ph\": \"M\", \"pid\": %" PRId64 ", \"tid\": %d, "
            "\"args\": {\"name\": \"",
            trace->shared->is_begun ? ",\n" : "", lane == 0 ? "process" : "thread", trace->process,
            lane);
    text_write(file, name);
    fputs("\"}}", file);
    trace->shared->is_begun = true;
}

static void span_begin(const Trace *trace, const char *name, int lane, double start, double end) {
    FILE *file = trace->shared->file;
    fputs(",\n{\"name\": \"", file);
    text_write(file, name);
    fprintf(file, "\", \"ph\": \"X\", \"pid\": %" PRId64 ", \"tid\": %d, \"ts\": %s, \"dur\": %s",
            trace->process, lane, number_fixed(1e6 * (start - trace->shared->origin), 3).text,
            number_fixed(end > start ? 1e6 * (end - start) : 0.0, 3).text);
}

/* -- Beginning and end -- */

static dlc_status file_open(dlc_context *context, const char *path, bool is_part, TraceFile **out) {
    char message[FILE_MESSAGE_BYTES] = "";
    TraceFile *shared = memory_new(&context->allocator, 1, sizeof(*shared));
    if (!shared) {
        return context_out_of_memory(context);
    }
    shared->path = memory_strdup(&context->allocator, path);
    shared->is_part = is_part;
    if (shared->path && is_part) {
        shared->file = tmpfile();
        snprintf(message, sizeof(message), "no file for a part of the trace: %s", strerror(errno));
    } else if (shared->path) {
        shared->file = file_stream_open(path, message);
    }
    if (!shared->file) {
        dlc_status status = shared->path ? context_fail(context, DLC_ERROR_IO, "%s", message)
                                         : context_out_of_memory(context);
        memory_free(&context->allocator, shared->path);
        memory_free(&context->allocator, shared);
        return status;
    }
    pthread_mutex_init(&shared->mutex, NULL);
    shared->origin = clock_seconds();
    fputs("[\n", shared->file);
    *out = shared;
    return DLC_OK;
}

/* A part that nobody has taken becomes a file of its own. */
static dlc_status part_close(TraceFile *shared, char *message) {
    char bytes[4096];
    size_t n;
    FILE *to = shared->is_sent ? NULL : file_stream_open(shared->path, message);
    dlc_status status = to || shared->is_sent ? DLC_OK : DLC_ERROR_IO;
    rewind(shared->file);
    while (to && (n = fread(bytes, 1, sizeof(bytes), shared->file)) > 0) {
        fwrite(bytes, 1, n, to);
    }
    fclose(shared->file);
    return to ? file_stream_close(to, shared->path, message) : status;
}

static dlc_status file_close(dlc_context *context, TraceFile *shared) {
    char message[FILE_MESSAGE_BYTES] = "";
    fputs("\n]\n", shared->file);
    dlc_status status = shared->is_part ? part_close(shared, message)
                                        : file_stream_close(shared->file, shared->path, message);
    pthread_mutex_destroy(&shared->mutex);
    memory_free(&context->allocator, shared->path);
    memory_free(&context->allocator, shared);
    return status == DLC_OK ? DLC_OK : context_fail(context, status, "%s", message);
}

/* Of the device: exchanges on further ones are elsewhere. */
static int32_t most_queues(const PlanTables *tables) {
    int32_t most = 1;
    for (int64_t i = 0; i < tables->n_commands; i++) {
        const PlanCommand *command = &tables->commands[i];
        bool counts = command->kind != PLAN_COLLECTIVE && command->queue >= most;
        most = counts ? command->queue + 1 : most;
    }
    return most;
}

/* The names of a rank's tracks; it is one of many. */
static void names_write(const Rank *rank, bool of_many) {
    char name[64];
    if (of_many) {
        snprintf(name, sizeof(name), "rank %" PRId64, rank->place.number);
        name_write(rank->trace, 0, name);
    }
    name_write(rank->trace, LANE_HOST, "host");
    name_write(rank->trace, LANE_DEVICE, rank->description);
    for (int32_t q = 1; q < most_queues(rank->tables); q++) {
        snprintf(name, sizeof(name), "queue %d", (int)q);
        name_write(rank->trace, LANE_DEVICE + q, name);
    }
}

dlc_status trace_open(Rank *ranks, int32_t n_ranks, bool of_many, bool is_part, const char *path) {
    TraceFile *shared;
    dlc_status status = file_open(ranks->context, path, is_part, &shared);
    for (int32_t r = 0; r < n_ranks && status == DLC_OK; r++) {
        Trace *trace = memory_new(&ranks[r].context->allocator, 1, sizeof(*trace));
        if (!trace) {
            if (r == 0) { /* there is no rank that closes it */
                (void)file_close(ranks->context, shared);
            }
            return context_out_of_memory(ranks->context);
        }
        *trace = (Trace){.shared = shared, .process = ranks[r].place.number + 1};
        shared->n_ranks++;
        ranks[r].trace = trace;
        names_write(&ranks[r], of_many);
    }
    return status;
}

dlc_status trace_close(Rank *rank) {
    Trace *trace = rank->trace;
    if (!trace) {
        return DLC_OK;
    }
    TraceFile *shared = trace->shared;
    memory_free(&rank->context->allocator, trace->commands);
    memory_free(&rank->context->allocator, trace);
    rank->trace = NULL;
    return --shared->n_ranks == 0 ? file_close(rank->context, shared) : DLC_OK;
}

/* -- Parts of other processes -- */

FILE *trace_stream(const Rank *rank) {
    return rank->trace->shared->file;
}

double trace_origin(const Rank *rank) {
    return rank->trace->shared->origin;
}

void trace_sent(Rank *rank) {
    rank->trace->shared->is_sent = true;
}

void trace_missing(Rank *rank, int32_t other) {
    double now = 1e6 * (clock_seconds() - trace_origin(rank));
    fprintf(trace_stream(rank),
            ",\n{\"name\": \"the trace of rank %d is missing\", \"ph\": \"i\", \"s\": \"g\", "
            "\"pid\": %" PRId64 ", \"tid\": %d, \"ts\": %s}",
            (int)other, rank->trace->process, LANE_HOST, number_fixed(now, 3).text);
}

/* -- Spans -- */

void trace_host(Rank *rank, const char *what, double start) {
    if (rank->trace) {
        TraceFile *shared = rank->trace->shared;
        pthread_mutex_lock(&shared->mutex);
        span_begin(rank->trace, what, LANE_HOST, start, clock_seconds());
        fputs("}", shared->file);
        pthread_mutex_unlock(&shared->mutex);
    }
}

static dlc_status mark(Rank *rank) {
    dlc_status status = rank->ops->mark(rank->queue, rank->trace->n_marks++);
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

dlc_status trace_run_begin(Rank *rank) {
    Trace *trace = rank->trace;
    if (!trace) {
        return DLC_OK;
    }
    trace->n_commands = 0;
    trace->n_marks = 0;
    return rank->ops->mark ? mark(rank) : DLC_OK;
}

dlc_status trace_command_begin(Rank *rank) {
    Trace *trace = rank->trace;
    if (!trace || trace->n_commands >= MOST_COMMANDS) {
        return DLC_OK;
    }
    if (rank->ops->mark) {
        trace->start = trace->n_marks;
        return mark(rank);
    }
    trace->start = clock_seconds();
    return DLC_OK;
}

/* Makes room for one more. */
static dlc_status traced_grow(Rank *rank) {
    Trace *trace = rank->trace;
    const dlc_allocator *allocator = &rank->context->allocator;
    if (trace->n_commands == trace->capacity) {
        int64_t more = trace->capacity ? 2 * trace->capacity : 256;
        Traced *grown = memory_new(allocator, (size_t)more, sizeof(*grown));
        if (!grown) {
            return context_out_of_memory(rank->context);
        }
        if (trace->commands) {
            memcpy(grown, trace->commands, (size_t)trace->n_commands * sizeof(*grown));
        }
        memory_free(allocator, trace->commands);
        trace->commands = grown;
        trace->capacity = more;
    }
    return DLC_OK;
}

dlc_status trace_command_end(Rank *rank, int32_t command, int32_t count) {
    Trace *trace = rank->trace;
    if (!trace || trace->n_commands >= MOST_COMMANDS) {
        return DLC_OK;
    }
    dlc_status status = traced_grow(rank);
    if (status != DLC_OK) {
        return status;
    }
    trace->commands[trace->n_commands++] =
        (Traced){.command = command,
                 .count = count,
                 .start = trace->start,
                 .end = rank->ops->mark ? trace->n_marks : clock_seconds()};
    return rank->ops->mark ? mark(rank) : DLC_OK;
}

dlc_status trace_exchange(Rank *rank, int32_t command, double start) {
    Trace *trace = rank->trace;
    if (!trace || trace->n_commands >= MOST_COMMANDS) {
        return DLC_OK;
    }
    dlc_status status = traced_grow(rank);
    if (status == DLC_OK) {
        trace->commands[trace->n_commands++] = (Traced){.command = command,
                                                        .count = 1,
                                                        .is_beside = true,
                                                        .start = start,
                                                        .end = clock_seconds()};
    }
    return status;
}

/* "all_reduce add over data,model" */
static void exchange_name(const Rank *rank, const PlanCollective *collective, char *out,
                          size_t n_out) {
    static const char *const combines[PLAN_N_COMBINES] = {"add", "mul", "min", "max", "and", "or"};
    static const char *const kinds[PLAN_N_COLLECTIVE_KINDS] = {
        "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "shift"};
    bool is_sum = collective->kind == PLAN_ALL_REDUCE || collective->kind == PLAN_REDUCE_SCATTER;
    int n = snprintf(out, n_out, "%s%s%s over", kinds[collective->kind], is_sum ? " " : "",
                     is_sum ? combines[collective->combine] : "");
    char between = ' ';
    for (int64_t axis = 0; axis < rank->file->n_mesh && n > 0 && (size_t)n < n_out; axis++) {
        if (collective->group >> axis & 1) {
            n += snprintf(out + n, n_out - (size_t)n, "%c%s", between,
                          plan_text(rank->file, rank->file->mesh[axis].name));
            between = ',';
        }
    }
}

/* What the rank sends to others, and to whom. */
static void exchange_write(const Rank *rank, const Layout *layout, int32_t number) {
    FILE *out = rank->trace->shared->file;
    const PlanCommand *command = &layout->tables->commands[layout->entry->first_command + number];
    const PlanCollective *collective = &layout->tables->collectives[command->collective];
    const MeshShape *shape = &rank->place.shape;
    const CommCall call = {.kind = exchange_kind(collective), .number = collective->by};
    const int64_t *sizes = layout->sizes + layout->first_size[number] + command->n_sizes;
    int64_t n = mesh_group_ranks(shape, collective->group), bytes = 0;
    int64_t own = mesh_coordinate(shape, collective->group, rank->place.number);
    for (int32_t r = 0; r < command->n_refs; r += 2) {
        const CommBuffer buffer = exchange_buffer(layout, command, r, sizes);
        bytes += comm_sent_elements(&call, &buffer, (int32_t)n, (int32_t)own) *
                 comm_dtype_bytes(buffer.dtype);
    }
    fprintf(out, ", \"bytes\": %" PRId64 ", \"tensors\": %d, \"ranks\": [", bytes,
            (int)command->n_refs / 2);
    for (int64_t i = 0; i < n; i++) {
        fprintf(out, "%s%" PRId64, i ? ", " : "",
                mesh_member(shape, collective->group, rank->place.number, i));
    }
    fputs("]", out);
}

/* The first track where nothing else goes on then; it gets its name when it is first used. */
static int lane_beside(Trace *trace, double start, double end) {
    int lane = 0;
    while (lane < MOST_BESIDE - 1 && trace->free_at[lane] > start) {
        lane++;
    }
    for (; trace->n_beside <= lane; trace->n_beside++) {
        char name[64];
        snprintf(name, sizeof(name), "exchanges beside, %d", trace->n_beside + 1);
        name_write(trace, LANE_BESIDE + trace->n_beside, name);
    }
    trace->free_at[lane] = end;
    return LANE_BESIDE + lane;
}

static int lane_of(const Rank *rank, const PlanCommand *command, const Traced *traced, double start,
                   double end) {
    if (traced->is_beside) {
        return lane_beside(rank->trace, start, end);
    }
    return LANE_DEVICE + (command->kind == PLAN_COLLECTIVE ? 0 : command->queue);
}

static void command_write(const Rank *rank, const EntryState *entry, const Traced *traced,
                          double start, double end) {
    int32_t number = traced->command;
    const PlanFile *file = rank->file;
    const PlanCommand *command = &rank->tables->commands[entry->record->first_command + number];
    const char *label = plan_text(file, command->text);
    const char *kernel = command->kind == PLAN_LAUNCH
                             ? plan_text(file, rank->tables->kernels[command->kernel].name)
                         : command->kind == PLAN_FILL       ? "fill"
                         : command->kind == PLAN_COLLECTIVE ? "exchange"
                                                            : "copy";
    char name[256];
    FILE *out = rank->trace->shared->file;
    bool exchanges = command->kind == PLAN_COLLECTIVE;
    if (exchanges) {
        exchange_name(rank, &rank->tables->collectives[command->collective], name, sizeof(name));
    }
    int lane = lane_of(rank, command, traced, start, end);
    span_begin(rank->trace, exchanges ? name : *label ? label : kernel, lane, start, end);
    fputs(", \"args\": {\"kernel\": \"", out);
    text_write(out, kernel);
    fputs("\", \"place\": \"", out);
    text_write(out, plan_text(file, command->place)); /* of what is no op's: none */
    fprintf(out, "\", \"command\": %d, \"launches\": %d", number, traced->count);
    if (exchanges) {
        exchange_write(rank, entry->layout, number);
    }
    fputs("}}", out);
}

static dlc_status commands_write(Rank *rank, const EntryState *entry) {
    const Trace *trace = rank->trace;
    dlc_status status = DLC_OK;
    for (int64_t i = 0; status == DLC_OK && i < trace->n_commands; i++) {
        double start = trace->commands[i].start, end = trace->commands[i].end;
        if (rank->ops->mark) {
            status = rank->ops->mark_seconds(rank->queue, (int32_t)start, &start);
            if (status == DLC_OK) {
                status = rank->ops->mark_seconds(rank->queue, (int32_t)end, &end);
            }
        }
        if (status == DLC_OK) {
            command_write(rank, entry, &trace->commands[i], start, end);
        }
    }
    return status;
}

dlc_status trace_run_end(Rank *rank, const EntryState *entry) {
    if (!rank->trace) {
        return DLC_OK;
    }
    pthread_mutex_t *mutex = &rank->trace->shared->mutex;
    pthread_mutex_lock(mutex);
    dlc_status status = commands_write(rank, entry);
    pthread_mutex_unlock(mutex);
    rank->trace->n_commands = 0;
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}
