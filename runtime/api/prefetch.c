/* See prefetch.h. The thread fills one slot while the other waits to be taken. It calls no hook of
 * the context and no device; what it has to say lies in its slot until that is taken. */
#include "runtime/api/prefetch.h"
#include "runtime/api/own_rows.h"

#include "ir/base/checked.h"
#include "runtime/session/ahead.h"
#include "runtime/session/trace.h"

#include <pthread.h>

/* The field that an input's rows come from: a copy, as the dataset's list may grow. */
typedef struct Source {
    DataField field;
    PlanDType dtype;
    OwnRows own;
} Source;

typedef struct Slot {
    int64_t *rows; /* [batch] */
    dlc_status status;
    char message[DATA_MESSAGE_BYTES];
} Slot;

struct Prefetch {
    dlc_session *session;
    EntryState *entry;
    int64_t batch;
    AheadInput *inputs; /* [n] */
    Source *sources;    /* [n] */
    int32_t n;
    Ahead *ahead; /* the slots' memory */
    Slot slots[AHEAD_SLOTS];
    bool has_thread; /* the system gave one; else prefetch_take reads */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t asked, read;
    /* Under the mutex: batches so far; slots are used in turn. */
    int64_t n_asked, n_read, n_taken;
    bool stop;
};

static void slot_read(Prefetch *prefetch, int number) {
    Slot *slot = &prefetch->slots[number];
    slot->status = DLC_OK;
    slot->message[0] = '\0';
    for (int32_t i = 0; slot->status == DLC_OK && i < prefetch->n; i++) {
        const Source *source = &prefetch->sources[i];
        slot->status =
            own_rows_gather(&source->own, &source->field, slot->rows,
                            ahead_memory(prefetch->ahead, number, i), source->dtype, slot->message);
    }
}

static void *reader_main(void *argument) {
    Prefetch *prefetch = argument;
    pthread_mutex_lock(&prefetch->mutex);
    while (!prefetch->stop) {
        if (prefetch->n_read == prefetch->n_asked) {
            pthread_cond_wait(&prefetch->asked, &prefetch->mutex);
            continue;
        }
        int slot = (int)(prefetch->n_read % AHEAD_SLOTS);
        pthread_mutex_unlock(&prefetch->mutex);
        slot_read(prefetch, slot);
        pthread_mutex_lock(&prefetch->mutex);
        prefetch->n_read++;
        pthread_cond_signal(&prefetch->read);
    }
    pthread_mutex_unlock(&prefetch->mutex);
    return NULL;
}

/* The entry's inputs with their fields and the bytes of a batch. */
static dlc_status sources_find(Prefetch *prefetch, const Dataset *data) {
    dlc_session *session = prefetch->session;
    const dlc_allocator *allocator = &session->context->allocator;
    const PlanEntry *record = prefetch->entry->record;
    prefetch->inputs = memory_new(allocator, (size_t)record->n_args, sizeof(AheadInput));
    prefetch->sources = memory_new(allocator, (size_t)record->n_args, sizeof(Source));
    if (!prefetch->inputs || !prefetch->sources) {
        return context_out_of_memory(session->context);
    }
    for (int32_t i = 0; i < record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[record->first_arg + i];
        if (arg->role != PLAN_ARG_INPUT) {
            continue;
        }
        AheadInput *input = &prefetch->inputs[prefetch->n];
        const DataField *field;
        *input = (AheadInput){.arg = i, .bytes = plan_dtype_bytes(arg->type.dtype)};
        dlc_status status =
            data_input_field(session, data, arg, prefetch->batch, &field, input->dims);
        if (status == DLC_OK) {
            status = session_input_check(session, arg, input->dims);
        }
        if (status != DLC_OK) {
            return status;
        }
        Source *source = &prefetch->sources[prefetch->n];
        *source = (Source){.field = *field, .dtype = (PlanDType)arg->type.dtype};
        for (int32_t a = 0; a < arg->type.rank; a++) {
            if (!checked_mul(input->bytes, input->dims[a], &input->bytes) ||
                input->bytes > INT64_MAX / 4) {
                return context_fail(session->context, DLC_ERROR_LIMIT, "input '%s' is too large",
                                    plan_text(session->file, arg->name));
            }
        }
        status = own_rows_find(session, arg, input->dims, &source->own);
        if (status != DLC_OK) {
            return status;
        }
        prefetch->n++;
    }
    return DLC_OK;
}

static dlc_status slots_create(Prefetch *prefetch) {
    dlc_context *context = prefetch->session->context;
    for (int s = 0; s < AHEAD_SLOTS; s++) {
        int64_t **rows = &prefetch->slots[s].rows;
        *rows = memory_new(&context->allocator, (size_t)prefetch->batch, sizeof(**rows));
        if (!*rows) {
            return context_out_of_memory(context);
        }
    }
    return ahead_create(prefetch->session, prefetch->entry, prefetch->inputs, prefetch->n,
                        &prefetch->ahead);
}

dlc_status prefetch_create(dlc_session *session, EntryState *entry, const Dataset *data,
                           int64_t batch, Prefetch **out) {
    Prefetch *prefetch = memory_new(&session->context->allocator, 1, sizeof(*prefetch));
    if (!prefetch) {
        return context_out_of_memory(session->context);
    }
    prefetch->session = session;
    prefetch->entry = entry;
    prefetch->batch = batch;
    pthread_mutex_init(&prefetch->mutex, NULL);
    pthread_cond_init(&prefetch->asked, NULL);
    pthread_cond_init(&prefetch->read, NULL);
    dlc_status status = sources_find(prefetch, data);
    if (status == DLC_OK) {
        status = slots_create(prefetch);
    }
    if (status != DLC_OK) {
        prefetch_destroy(prefetch);
        return status;
    }
    prefetch->has_thread = pthread_create(&prefetch->thread, NULL, reader_main, prefetch) == 0;
    *out = prefetch;
    return DLC_OK;
}

void prefetch_destroy(Prefetch *prefetch) {
    if (!prefetch) {
        return;
    }
    const dlc_allocator *allocator = &prefetch->session->context->allocator;
    if (prefetch->has_thread) {
        pthread_mutex_lock(&prefetch->mutex);
        prefetch->stop = true;
        pthread_cond_signal(&prefetch->asked);
        pthread_mutex_unlock(&prefetch->mutex);
        pthread_join(prefetch->thread, NULL);
    }
    ahead_destroy(prefetch->ahead);
    for (int s = 0; s < AHEAD_SLOTS; s++) {
        memory_free(allocator, prefetch->slots[s].rows);
    }
    pthread_cond_destroy(&prefetch->asked);
    pthread_cond_destroy(&prefetch->read);
    pthread_mutex_destroy(&prefetch->mutex);
    for (int32_t i = 0; i < prefetch->n; i++) {
        own_rows_free(prefetch->session, &prefetch->sources[i].own);
    }
    memory_free(allocator, prefetch->inputs);
    memory_free(allocator, prefetch->sources);
    memory_free(allocator, prefetch);
}

bool prefetch_has_room(const Prefetch *prefetch) {
    return prefetch->n_asked - prefetch->n_taken <
           AHEAD_SLOTS; /* both are the caller's to change */
}

void prefetch_ask(Prefetch *prefetch, const int64_t *rows) {
    Slot *slot = &prefetch->slots[prefetch->n_asked % AHEAD_SLOTS];
    memcpy(slot->rows, rows, (size_t)prefetch->batch * sizeof(*rows));
    pthread_mutex_lock(&prefetch->mutex);
    prefetch->n_asked++;
    pthread_cond_signal(&prefetch->asked);
    pthread_mutex_unlock(&prefetch->mutex);
}

dlc_status prefetch_send(Prefetch *prefetch) {
    /* Not before a step has run, so that what steps need finds room first. */
    if (prefetch->n_taken < 2 || prefetch->n_asked == prefetch->n_taken) {
        return DLC_OK;
    }
    int slot = (int)(prefetch->n_taken % AHEAD_SLOTS);
    pthread_mutex_lock(&prefetch->mutex);
    bool is_read = prefetch->n_read > prefetch->n_taken;
    pthread_mutex_unlock(&prefetch->mutex);
    return is_read && prefetch->slots[slot].status == DLC_OK ? ahead_send(prefetch->ahead, slot)
                                                             : DLC_OK;
}

/* Until the oldest batch is read. */
static void slot_await(Prefetch *prefetch, int slot) {
    pthread_mutex_lock(&prefetch->mutex);
    while (prefetch->has_thread && prefetch->n_read == prefetch->n_taken) {
        pthread_cond_wait(&prefetch->read, &prefetch->mutex);
    }
    pthread_mutex_unlock(&prefetch->mutex);
    if (!prefetch->has_thread) {
        slot_read(prefetch, slot);
    }
}

static dlc_status inputs_set(Prefetch *prefetch, int number) {
    dlc_session *session = prefetch->session;
    EntryState *entry = prefetch->entry;
    const Slot *slot = &prefetch->slots[number];
    if (slot->status != DLC_OK) {
        return context_fail(session->context, slot->status, "%s", slot->message);
    }
    dlc_status status = data_rows_note(session, entry, slot->rows, prefetch->batch);
    if (status == DLC_OK) {
        status = ahead_take(prefetch->ahead, number);
    }
    for (int32_t i = 0; i < prefetch->n; i++) {
        entry->inputs[prefetch->inputs[i].arg].is_of_data = status == DLC_OK;
    }
    return status;
}

dlc_status prefetch_take(Prefetch *prefetch) {
    double start = clock_seconds();
    int slot = (int)(prefetch->n_taken % AHEAD_SLOTS);
    slot_await(prefetch, slot);
    dlc_status status = inputs_set(prefetch, slot);
    pthread_mutex_lock(&prefetch->mutex);
    prefetch->n_taken++;
    pthread_mutex_unlock(&prefetch->mutex);
    trace_host(prefetch->session->ranks, "data", start);
    return status;
}

void prefetch_drop(Prefetch *prefetch) {
    pthread_mutex_lock(&prefetch->mutex);
    while (prefetch->has_thread && prefetch->n_read != prefetch->n_asked) {
        pthread_cond_wait(&prefetch->read, &prefetch->mutex);
    }
    prefetch->n_taken = prefetch->n_asked;
    pthread_mutex_unlock(&prefetch->mutex);
}
