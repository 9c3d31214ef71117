/* See shares.h. */
#include "runtime/api/shares.h"

#include <inttypes.h>

int64_t share_count(const Share *share, int64_t number) {
    int64_t whole = share->each > 0 ? share->rows / share->each : 0;
    return number < whole ? share->each : number == whole ? share->rows - whole * share->each : 0;
}

int64_t shares_count(const Shares *shares, int64_t number) {
    int64_t all = 0;
    for (int64_t i = 0; i < shares->n; i++) {
        all += shares->items[i].each > 0 ? share_count(&shares->items[i], number) : 0;
    }
    return all;
}

static int64_t whole_batches(const Share *share) {
    return share->each > 0 ? share->rows / share->each : INT64_MAX;
}

int64_t shares_all_batches(const Shares *shares) {
    int64_t most = 0;
    for (int64_t i = 0; i < shares->n; i++) {
        const Share *share = &shares->items[i];
        int64_t n =
            share->each > 0 ? share->rows / share->each + (share->rows % share->each > 0) : 0;
        most = n > most ? n : most;
    }
    return most;
}

int64_t shares_least(const Shares *shares) {
    int64_t least = 0;
    for (int64_t i = 1; i < shares->n; i++) {
        least = whole_batches(&shares->items[i]) < whole_batches(&shares->items[least]) ? i : least;
    }
    return least;
}

uint64_t shares_hash(const Shares *shares) {
    uint64_t hash = shares->items[0].hash;
    for (int64_t i = 1; i < shares->n; i++) {
        hash = hash_bytes(&shares->items[i].hash, sizeof(hash), hash);
    }
    return hash;
}

/* -- Found together -- */

enum { WORD_ROWS, WORD_HASH, N_WORDS };

/* What each rank told of its data becomes what each place has. */
static dlc_status told_take(dlc_session *session, const EntryState *entry, const int64_t *told,
                            Shares *shares) {
    for (int64_t place = 0; place < shares->n; place++) {
        int64_t rank = session_place_rank(session, entry, place);
        shares->items[place].rows = told[rank * N_WORDS + WORD_ROWS];
        shares->items[place].hash = (uint64_t)told[rank * N_WORDS + WORD_HASH];
    }
    for (int32_t r = 0; r < session->n_all; r++) {
        const int64_t *own = told + (int64_t)r * N_WORDS;
        int64_t first = session_place_rank(session, entry, session_place_of(session, entry, r));
        const int64_t *other = told + first * N_WORDS;
        if (own[WORD_ROWS] != other[WORD_ROWS] || own[WORD_HASH] != other[WORD_HASH]) {
            return context_fail(session->context, DLC_ERROR_MISMATCH,
                                "ranks differ in their rows: rank %d has %" PRId64
                                " with hash %016" PRIx64 ", rank %" PRId64 " %" PRId64
                                " with hash %016" PRIx64
                                "; they compute the same rows, and bring the same",
                                (int)r, own[WORD_ROWS], (uint64_t)own[WORD_HASH], first,
                                other[WORD_ROWS], (uint64_t)other[WORD_HASH]);
        }
    }
    return DLC_OK;
}

static dlc_status data_tell(dlc_session *session, const EntryState *entry, const Dataset *data,
                            uint64_t hash, int64_t *told, Shares *shares) {
    const int64_t own[N_WORDS] = {[WORD_ROWS] = dataset_rows(data), [WORD_HASH] = (int64_t)hash};
    const CommBuffer buffer = {.in = own,
                               .out = told,
                               .dtype = PLAN_I64,
                               .outer = 1,
                               .rows = session->n_all,
                               .unit = N_WORDS};
    const CommCall call = {.kind = COMM_ALL_GATHER,
                           .buffers = &buffer,
                           .n_buffers = 1,
                           .name = "the rows of each rank"};
    dlc_status status = session_call(session, &call);
    return status == DLC_OK ? told_take(session, entry, told, shares) : status;
}

static dlc_status data_meet(dlc_session *session, const EntryState *entry, const Dataset *data,
                            dlc_status status, Shares *shares) {
    char message[DATA_MESSAGE_BYTES] = "";
    uint64_t hash = 0;
    int64_t *told =
        memory_new(&session->context->allocator, (size_t)session->n_all, N_WORDS * sizeof(*told));
    if (status == DLC_OK && !told) {
        status = context_out_of_memory(session->context);
    }
    if (status == DLC_OK) {
        status = dataset_hash(data, &hash, message);
        status = status == DLC_OK ? DLC_OK : context_fail(session->context, status, "%s", message);
    }
    status = session_agree(session, status);
    if (status == DLC_OK) {
        status = data_tell(session, entry, data, hash, told, shares);
    }
    memory_free(&session->context->allocator, told);
    return status;
}

/* How many rows each brings, and for how many batches there are. */
static dlc_status counts_find(dlc_session *session, const EntryState *entry, int64_t batch,
                              bool every_row, Shares *shares) {
    dlc_status status = DLC_OK;
    int64_t rows = 0;
    for (int64_t i = 0; i < shares->n && status == DLC_OK; i++) {
        Share *share = &shares->items[i];
        status = session_place_rows(session, entry, i, batch, &share->each);
        share->each = share->each == 0 && every_row ? 1 : share->each;
        shares->batch += share->each;
        rows += share->rows;
    }
    if (status == DLC_OK && rows == 0) {
        status = context_fail(session->context, DLC_ERROR_MISMATCH, "the data have no rows");
    }
    if (status == DLC_OK) {
        shares->batches = whole_batches(&shares->items[shares_least(shares)]);
    }
    return status;
}

dlc_status shares_find(dlc_session *session, const EntryState *entry, const Dataset *data,
                       int64_t batch, bool every_row, dlc_status status, Shares *out) {
    *out = (Shares){.n = session_places(session, entry), .own = session_place(session, entry)};
    out->items = memory_new(&session->context->allocator, (size_t)out->n, sizeof(*out->items));
    if (status == DLC_OK && !out->items) {
        status = context_out_of_memory(session->context);
    }
    if (session_brings_any(session, entry)) {
        status = data_meet(session, entry, data, status, out);
    } else if (status == DLC_OK) {
        out->items[0].rows = dataset_rows(data);
    }
    return status == DLC_OK ? counts_find(session, entry, batch, every_row, out) : status;
}

void shares_free(dlc_session *session, Shares *shares) {
    memory_free(&session->context->allocator, shares->items);
    shares->items = NULL;
}
