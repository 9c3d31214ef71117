/* See share.h. Pieces are written run by run, from where they lie: nothing is put together. */
#include "runtime/checkpoint/share.h"
#include "runtime/checkpoint/part_crc.h"
#include "runtime/session/average.h"

enum {
    SMALL_BYTES = 4 << 10, /* below, one rank writes the whole part */
    READ_BYTES = 4 << 20   /* from a device, at once */
};

/* -- Who writes what -- */

/* Small parts go to the ranks that have them in turn. */
RowRange share_of(const PlanFile *file, const RankPlace *place, int64_t n_ranks, int64_t variable,
                  int64_t bytes) {
    const MeshShape *shape = &place->shape;
    MeshGroup cut = place_part_group(file, &file->variables[variable].part);
    MeshGroup others = (((MeshGroup)1 << shape->n_axes) - 1) & ~cut;
    bool has_mesh = shape->n_axes > 0;
    int64_t n = has_mesh ? mesh_group_ranks(shape, others) : n_ranks;
    int64_t number = has_mesh ? mesh_coordinate(shape, others, place->number) : place->number;
    if (bytes < SMALL_BYTES) {
        return (RowRange){0, variable % n == number ? bytes : 0};
    }
    return mesh_piece(bytes, n, number);
}

static dlc_status piece_add(Share *share, int32_t r, int64_t number, uint64_t at) {
    dlc_session *session = share->session;
    const Rank *rank = &session->ranks[r];
    const Variable *variable = &rank->variables[number];
    RowRange own = share_of(session->file, &rank->place, rank->n_ranks, number, variable->bytes);
    if (own.count == 0) {
        return DLC_OK;
    }
    SharePiece *piece = &share->pieces[share->n_pieces++];
    *piece = (SharePiece){
        .rank = r, .variable = number, .first = own.first, .count = own.count, .at = at};
    share->own_bytes += own.count;
    return session_variable_runs(session, r, number, &piece->runs);
}

static dlc_status pieces_find(Share *share, const int64_t *numbers, int32_t n) {
    dlc_session *session = share->session;
    uint64_t at = share->layout.lengths[0] + share->layout.lengths[1];
    dlc_status status = DLC_OK;
    share->pieces = memory_new(&session->context->allocator,
                               (size_t)n * (size_t)session->n_ranks + 1, sizeof(*share->pieces));
    if (!share->pieces) {
        return context_out_of_memory(session->context);
    }
    for (int32_t i = 0; i < n && status == DLC_OK; i++) {
        for (int32_t r = 0; r < session->n_ranks && status == DLC_OK; r++) {
            status = piece_add(share, r, numbers[i], at);
        }
        at += share->layout.lengths[i + 2];
    }
    share->bytes = at;
    return status;
}

/* The file's tensors without their values, and whose variable each is. */
static int32_t tensors_list(const dlc_session *session, bool everything, SafetensorsEntry *entries,
                            int64_t *numbers) {
    bool raw = everything || session->orders.raw_weights;
    int32_t n = 0;
    for (int64_t i = 0; i < session->file->n_variables; i++) {
        const Variable *variable = &session->ranks->variables[i];
        if (!everything && !variable_is_weight(variable)) {
            continue;
        }
        numbers[n] = raw || variable->average < 0 ? i : variable->average;
        entries[n++] = weights_entry(session, variable);
    }
    return n;
}

dlc_status share_begin(dlc_session *session, bool everything, const SafetensorsPair *metadata,
                       Share *out) {
    const dlc_allocator *allocator = &session->context->allocator;
    size_t n_variables = (size_t)session->file->n_variables;
    char message[SAFETENSORS_MESSAGE_BYTES] = "";
    *out = (Share){.session = session, .writes_header = session_writes(session)};
    out->layout.allocator = allocator;
    dlc_status status = session_allocate(session, NULL);
    if (status != DLC_OK) {
        return status;
    }
    SafetensorsEntry *entries = memory_new(allocator, n_variables, sizeof(*entries));
    int64_t *numbers = memory_new(allocator, n_variables, sizeof(*numbers));
    if (!entries || !numbers) {
        status = context_out_of_memory(session->context);
    } else {
        int32_t n = tensors_list(session, everything, entries, numbers);
        status = safetensors_parts(&out->layout, session->file->name, entries, n, metadata, 1,
                                   allocator, message);
        status = status == DLC_OK ? pieces_find(out, numbers, n)
                                  : context_fail(session->context, status, "%s", message);
    }
    memory_free(allocator, numbers);
    memory_free(allocator, entries);
    return status;
}

void share_end(Share *share) {
    if (!share->session) {
        return;
    }
    const dlc_allocator *allocator = &share->session->context->allocator;
    for (int64_t i = 0; i < share->n_pieces; i++) {
        part_runs_free(share->pieces[i].runs);
    }
    memory_free(allocator, share->pieces);
    memory_free_aligned(allocator, share->copy);
    safetensors_parts_free(&share->layout);
    *share = (Share){0};
}

/* -- Copying -- */

static const uint8_t *piece_data(const Share *share, const SharePiece *piece) {
    const uint8_t *data = share->session->ranks[piece->rank].variables[piece->variable].data;
    return data + piece->first;
}

dlc_status share_copy(Share *share, bool *done) {
    dlc_session *session = share->session;
    share->copy = memory_new_aligned(&session->context->allocator, (size_t)share->own_bytes);
    *done = share->copy != NULL;
    int64_t at = 0;
    dlc_status status = DLC_OK;
    for (int64_t i = 0; i < share->n_pieces && *done && status == DLC_OK; i++) {
        SharePiece *piece = &share->pieces[i];
        Rank *rank = &session->ranks[piece->rank];
        status = rank_read(rank, share->copy + at, piece_data(share, piece), piece->count);
        status = team_told(session->team, piece->rank, status);
        piece->copy = share->copy + at;
        at += piece->count;
    }
    return status;
}

/* -- Writing -- */

/* Where the runs of a piece go, of which `data` has what lies at `from` of the part and behind. */
typedef struct Sink {
    int fd;
    uint64_t at;
    const uint8_t *data;
    int64_t from;
    PartCrc crc;
} Sink;

static int run_write(void *user, int64_t whole_at, int64_t part_at, int64_t bytes) {
    Sink *sink = user;
    const uint8_t *data = sink->data + (part_at - sink->from);
    uint64_t at = sink->at + (uint64_t)whole_at;
    part_crc_add(&sink->crc, at, data, (size_t)bytes);
    return file_write_at(sink->fd, data, (size_t)bytes, at);
}

/* What lies on a device comes over in blocks. */
static dlc_status piece_read_write(const Share *share, const SharePiece *piece, Sink *sink,
                                   int *error) {
    Rank *rank = &share->session->ranks[piece->rank];
    int64_t done = 0;
    dlc_status status = DLC_OK;
    while (done < piece->count && status == DLC_OK && !*error) {
        int64_t bytes = piece->count - done < READ_BYTES ? piece->count - done : READ_BYTES;
        const void *host = NULL;
        status = rank_host(rank, piece_data(share, piece) + done, bytes, &host);
        if (status == DLC_OK) {
            sink->data = host;
            sink->from = piece->first + done;
            *error = part_runs_each(piece->runs, sink->from, bytes, run_write, sink);
        }
        done += bytes;
    }
    return team_told(share->session->team, piece->rank, status);
}

dlc_status share_write(const Share *share, int fd, uint32_t *crc, int *error) {
    dlc_status status = DLC_OK;
    *crc = 0;
    *error = 0;
    if (share->writes_header) {
        PartCrc header = {0};
        uint64_t at = 0;
        for (int i = 0; i < 2 && !*error; i++) {
            size_t length = share->layout.lengths[i];
            part_crc_add(&header, at, share->layout.parts[i], length);
            *error = file_write_at(fd, share->layout.parts[i], length, at);
            at += length;
        }
        *crc = part_crc_end(&header, share->bytes);
    }
    for (int64_t i = 0; i < share->n_pieces && status == DLC_OK && !*error; i++) {
        const SharePiece *piece = &share->pieces[i];
        Sink sink = {.fd = fd, .at = piece->at, .data = piece->copy, .from = piece->first};
        if (piece->copy) {
            *error = part_runs_each(piece->runs, piece->first, piece->count, run_write, &sink);
        } else {
            status = piece_read_write(share, piece, &sink, error);
        }
        *crc ^= part_crc_end(&sink.crc, share->bytes);
    }
    if (status == DLC_OK && !*error) {
        *error = file_sync(fd);
    }
    return status;
}
