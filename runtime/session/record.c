/* Recorded steps: the commands of an entry's layout between the points where the host needs a value
 * are handed to the device once and replayed in later runs. A recording holds addresses, so it is
 * made anew when a buffer has moved. The first run of a layout is never recorded: most layouts of
 * a partial batch run once. */
#include "runtime/session/rank.h"

enum { RECORD_NODES = 16384 }; /* commands of one recording, loops unrolled */

/* Commands [first, last). */
typedef struct Piece {
    int32_t first, last;
    bool is_recorded;
    int32_t faults;
    DeviceGraph *graph; /* NULL: run command by command */
    uint8_t **bases;    /* of all buffers afterwards, where its loops swap any; else NULL */
} Piece;

struct Recording {
    Piece *pieces;
    int32_t n_pieces, n_buffers, n_swapping;
    uint8_t **bases; /* [n_buffers], when it was made */
};

/* What a stretch of commands is. */
typedef struct Span {
    int64_t nodes;
    bool waits; /* the host needs a value in it */
    int32_t faults;
    bool swaps;
} Span;

/* Where a check may have failed before, a barrier without a word waits: see barrier_run. */
static Span span_look(const Rank *rank, const EntryState *entry, int32_t first, int32_t last,
                      int32_t faults) {
    const Layout *layout = entry->layout;
    const PlanCommand *commands = rank->tables->commands + entry->record->first_command;
    Span span = {.faults = faults};
    int64_t times[PLAN_MAX_LOOP_DEPTH + 1] = {1};
    int32_t depth = 0;
    for (int32_t i = first; i < last && span.nodes <= RECORD_NODES; i++) {
        const PlanCommand *command = &commands[i];
        switch (command->kind) {
        case PLAN_LAUNCH:
            span.faults |= rank->tables->kernels[command->kernel].faults;
            span.nodes += times[depth];
            break;
        case PLAN_COPY:
        case PLAN_FILL:
        case PLAN_STORE:
            span.nodes += times[depth];
            break;
        case PLAN_LOOP: {
            int64_t count = layout->extent[i] < RECORD_NODES ? layout->extent[i] : RECORD_NODES;
            span.waits |= (command->flags & PLAN_COMMAND_WHILE) != 0;
            times[depth + 1] = times[depth] * count;
            times[depth + 1] = times[depth + 1] < RECORD_NODES ? times[depth + 1] : RECORD_NODES;
            depth++;
            span.nodes += times[depth];
            break;
        }
        case PLAN_LOOP_END:
            span.swaps |= command->n_swaps > 0;
            depth--;
            break;
        case PLAN_BARRIER:
            if (rank->is_of_many) { /* they agree */
                span.waits = true;
                span.faults = 0;
            } else if (command->n_refs > 0) {
                span.nodes += times[depth];
                span.faults |= PLAN_FAULTS_CHECKS;
            } else if (span.faults & PLAN_FAULTS_CHECKS) {
                span.waits = true;
                span.faults = 0;
            }
            break;
        case PLAN_SIZE_CHECK:
            break;
        default: /* a test, a check, a shown value */
            span.waits = true;
            span.faults |= command->kind == PLAN_CHECK ? PLAN_FAULTS_CHECKS : 0;
            break;
        }
    }
    return span;
}

/* Cuts the entry's commands; `out` NULL: only counts the pieces. */
static int32_t pieces_cut(const Rank *rank, const EntryState *entry, Piece *out) {
    const PlanCommand *commands = rank->tables->commands + entry->record->first_command;
    int32_t n = 0;
    int64_t nodes = 0;
    int32_t faults = 0;
    bool moved = false, before = false;
    for (int32_t i = 0; i < entry->record->n_commands;) {
        int32_t last = commands[i].kind == PLAN_LOOP ? commands[i].match + 1 : i + 1;
        Span span = span_look(rank, entry, i, last, faults);
        /* How often a waiting loop swaps, and so where its results lie, differs from run to run. */
        bool recorded = !span.waits && !moved && nodes + span.nodes <= RECORD_NODES;
        moved |= span.waits && span.swaps;
        nodes += recorded ? span.nodes : 0;
        faults = span.faults;
        if (n == 0 || recorded != before) {
            if (out) {
                out[n] = (Piece){.first = i, .is_recorded = recorded};
            }
            n++;
        }
        if (out) {
            out[n - 1].last = last;
        }
        before = recorded;
        i = last;
    }
    return n;
}

void recording_destroy(Rank *rank, Recording *recording) {
    if (!recording) {
        return;
    }
    const dlc_allocator *allocator = &rank->context->allocator;
    for (int32_t i = 0; recording->pieces && i < recording->n_pieces; i++) {
        if (recording->pieces[i].graph) {
            rank->ops->graph_free(rank->device, recording->pieces[i].graph);
        }
        memory_free(allocator, recording->pieces[i].bases);
    }
    memory_free(allocator, recording->pieces);
    memory_free(allocator, recording->bases);
    memory_free(allocator, recording);
}

int64_t recording_bytes(const Recording *recording) {
    if (!recording) {
        return 0;
    }
    return (int64_t)sizeof(*recording) + recording->n_pieces * (int64_t)sizeof(Piece) +
           (1 + recording->n_swapping) * recording->n_buffers * (int64_t)sizeof(uint8_t *);
}

static dlc_status piece_record(Rank *rank, EntryState *entry, Recording *recording, Piece *piece) {
    size_t n_bytes = (size_t)recording->n_buffers * sizeof(uint8_t *);
    Span span = span_look(rank, entry, piece->first, piece->last, 0);
    bool is_last = piece->last == entry->record->n_commands;
    if (span.nodes == 0 && !(is_last && entry->n_numbers > 0)) {
        return DLC_OK; /* nothing to do in it */
    }
    if (span.swaps) {
        piece->bases = memory_new(&rank->context->allocator, n_bytes, 1);
        if (!piece->bases) {
            return context_out_of_memory(rank->context);
        }
        recording->n_swapping++;
    }
    dlc_status status = rank->ops->record(rank->queue);
    if (status != DLC_OK) {
        return rank_device_fail(rank, status);
    }
    rank->faults = 0; /* of pieces recorded before: a barrier here need not wait */
    status = rank_range(rank, entry, piece->first, piece->last);
    if (status == DLC_OK && is_last) {
        status = rank_numbers_gather(rank, entry);
    }
    if (status != DLC_OK) {
        (void)rank->ops->record_end(rank->queue, NULL);
        return status;
    }
    status = rank->ops->record_end(rank->queue, &piece->graph);
    if (status != DLC_OK) {
        piece->graph = NULL;
        return rank_device_fail(rank, status);
    }
    piece->faults = span.faults;
    if (piece->bases) {
        memcpy(piece->bases, rank->bases, n_bytes);
    }
    return DLC_OK;
}

static dlc_status recording_create(Rank *rank, EntryState *entry, Recording **out) {
    const dlc_allocator *allocator = &rank->context->allocator;
    dlc_status status = DLC_OK;
    Recording *recording = memory_new(allocator, 1, sizeof(*recording));
    if (!recording) {
        return context_out_of_memory(rank->context);
    }
    recording->n_buffers = entry->record->n_buffers;
    recording->n_pieces = pieces_cut(rank, entry, NULL);
    size_t n_bytes = (size_t)recording->n_buffers * sizeof(uint8_t *);
    recording->pieces = memory_new(allocator, (size_t)recording->n_pieces, sizeof(Piece));
    recording->bases = memory_new(allocator, n_bytes, 1);
    if (!recording->pieces || !recording->bases) {
        status = context_out_of_memory(rank->context);
        goto fail;
    }
    memcpy(recording->bases, rank->bases, n_bytes);
    (void)pieces_cut(rank, entry, recording->pieces);
    for (int32_t i = 0; status == DLC_OK && i < recording->n_pieces; i++) {
        if (recording->pieces[i].is_recorded) {
            status = piece_record(rank, entry, recording, &recording->pieces[i]);
        }
    }
    memcpy(rank->bases, recording->bases, n_bytes);
    rank->faults = 0; /* nothing has run yet */
    if (status == DLC_OK) {
        *out = recording;
        return DLC_OK;
    }
fail:
    recording_destroy(rank, recording);
    return status;
}

static dlc_status piece_run(Rank *rank, EntryState *entry, const Recording *recording,
                            const Piece *piece) {
    if (!piece->graph) {
        return rank_range(rank, entry, piece->first, piece->last);
    }
    rank->faults |= piece->faults;
    dlc_status status = rank->ops->replay(rank->queue, piece->graph);
    if (piece->bases) {
        memcpy(rank->bases, piece->bases, (size_t)recording->n_buffers * sizeof(uint8_t *));
    }
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

dlc_status recording_run(Rank *rank, EntryState *entry, bool *out_done) {
    LayoutSlot *slot = &entry->slots[0];
    *out_done = false;
    if (!slot->has_run) {
        slot->has_run = true;
        return DLC_OK;
    }
    if (slot->recording && memcmp(slot->recording->bases, rank->bases,
                                  (size_t)entry->record->n_buffers * sizeof(uint8_t *)) != 0) {
        recording_destroy(rank, slot->recording);
        slot->recording = NULL;
    }
    if (!slot->recording) {
        dlc_status status = recording_create(rank, entry, &slot->recording);
        if (status == DLC_ERROR_UNSUPPORTED) {
            rank->no_recording = true;
            context_log(rank->context, DLC_LOG_INFO, "steps are not recorded: %s",
                        rank->context->error);
            return DLC_OK;
        }
        if (status != DLC_OK) {
            return status;
        }
    }
    const Recording *recording = slot->recording;
    *out_done = true;
    bool gathered = false;
    for (int32_t i = 0; i < recording->n_pieces; i++) {
        dlc_status status = piece_run(rank, entry, recording, &recording->pieces[i]);
        if (status != DLC_OK) {
            return status;
        }
        gathered = recording->pieces[i].graph != NULL;
    }
    return gathered ? DLC_OK : rank_numbers_gather(rank, entry);
}
