/* See trace.h. Times of a device whose work is queued are taken between marks in its queue and put
 * on the host's clock; a host device has done its work when a call returns. */
#include "runtime/session/trace.h"

#include "ir/base/file.h"
#include "ir/base/number.h"

#include <inttypes.h>
#include <stdio.h>

enum { MOST_COMMANDS = 100000, LANE_HOST = 1, LANE_DEVICE = 2 };

typedef struct Traced {
    int32_t command, count;
    double start, end; /* of the host's clock; for a device with marks: their numbers */
} Traced;

struct Trace {
    FILE *file;
    char *path;
    double origin;
    Traced *commands; /* of the run under way */
    int64_t n_commands, capacity;
    int32_t n_marks;
    double start;
};

static void text_write(FILE *file, const char *text) {
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (*at == '"' || *at == '\\') {
            fputc('\\', file);
        }
        fputc(*at < ' ' ? ' ' : *at, file);
    }
}

static void lane_name(FILE *file, int lane, const char *name) {
    fprintf(
        file,
        "{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": 1, \"tid\": %d, \"args\": {\"name\": "
        "\"",
        lane);
    text_write(file, name);
    fputs("\"}}", file);
}

static void span_begin(const Trace *trace, const char *name, int lane, double start, double end) {
    fputs(",\n{\"name\": \"", trace->file);
    text_write(trace->file, name);
    fprintf(trace->file, "\", \"ph\": \"X\", \"pid\": 1, \"tid\": %d, \"ts\": %s, \"dur\": %s",
            lane, number_fixed(1e6 * (start - trace->origin), 3).text,
            number_fixed(end > start ? 1e6 * (end - start) : 0.0, 3).text);
}

dlc_status trace_open(Rank *rank, const char *path) {
    Trace *trace = memory_new(&rank->context->allocator, 1, sizeof(*trace));
    if (!trace) {
        return context_out_of_memory(rank->context);
    }
    char message[FILE_MESSAGE_BYTES] = "";
    dlc_status status = DLC_OK;
    trace->path = memory_strdup(&rank->context->allocator, path);
    if (!trace->path) {
        status = context_out_of_memory(rank->context);
        goto fail;
    }
    trace->file = file_stream_open(path, message);
    if (!trace->file) {
        status = context_fail(rank->context, DLC_ERROR_IO, "%s", message);
        goto fail;
    }
    trace->origin = clock_seconds();
    rank->trace = trace;
    fputs("[\n", trace->file);
    lane_name(trace->file, LANE_HOST, "host");
    fputs(",\n", trace->file);
    lane_name(trace->file, LANE_DEVICE, rank->description);
    return DLC_OK;
fail:
    memory_free(&rank->context->allocator, trace->path);
    memory_free(&rank->context->allocator, trace);
    return status;
}

dlc_status trace_close(Rank *rank) {
    Trace *trace = rank->trace;
    if (!trace) {
        return DLC_OK;
    }
    char message[FILE_MESSAGE_BYTES] = "";
    fputs("\n]\n", trace->file);
    dlc_status status = file_stream_close(trace->file, trace->path, message);
    memory_free(&rank->context->allocator, trace->path);
    memory_free(&rank->context->allocator, trace->commands);
    memory_free(&rank->context->allocator, trace);
    rank->trace = NULL;
    return status == DLC_OK ? DLC_OK : context_fail(rank->context, status, "%s", message);
}

void trace_host(Rank *rank, const char *what, double start) {
    if (rank->trace) {
        span_begin(rank->trace, what, LANE_HOST, start, clock_seconds());
        fputs("}", rank->trace->file);
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

dlc_status trace_command_end(Rank *rank, int32_t command, int32_t count) {
    Trace *trace = rank->trace;
    const dlc_allocator *allocator = &rank->context->allocator;
    if (!trace || trace->n_commands >= MOST_COMMANDS) {
        return DLC_OK;
    }
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
    Traced *traced = &trace->commands[trace->n_commands++];
    *traced =
        (Traced){command, count, trace->start, rank->ops->mark ? trace->n_marks : clock_seconds()};
    return rank->ops->mark ? mark(rank) : DLC_OK;
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
    FILE *out = rank->trace->file;
    span_begin(rank->trace, *label ? label : kernel, LANE_DEVICE, start, end);
    fputs(", \"args\": {\"kernel\": \"", out);
    text_write(out, kernel);
    fputs("\", \"place\": \"", out);
    text_write(out, plan_text(file, command->place)); /* of what is no op's: none */
    fprintf(out, "\", \"command\": %d, \"launches\": %d}}", number, traced->count);
}

dlc_status trace_run_end(Rank *rank, const EntryState *entry) {
    Trace *trace = rank->trace;
    dlc_status status = DLC_OK;
    for (int64_t i = 0; trace && status == DLC_OK && i < trace->n_commands; i++) {
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
    if (trace) {
        trace->n_commands = 0;
    }
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}
