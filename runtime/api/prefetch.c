/* See prefetch.h. Two slots: the thread fills one while the other waits to be taken. The thread
 * calls nothing of the context's hooks; what it has to say lies in its slot until it is taken. */
#include "runtime/api/prefetch.h"

#include "ir/base/checked.h"
#include "runtime/session/trace.h"

#include <pthread.h>

enum { SLOTS = 2 };

/* One input, and the field that its rows come from: a copy, as the dataset's list may grow. */
typedef struct Source {
    int32_t arg;
    DataField field;
    PlanDType dtype;
    int64_t dims[PLAN_MAX_RANK];
    int64_t bytes;
} Source;

typedef struct Slot {
    int64_t *rows;  /* [batch] */
    void **buffers; /* [n_sources]: a batch of each */
    dlc_status status;
    char message[DATA_MESSAGE_BYTES];
} Slot;

struct Prefetch {
    dlc_session *session;
    EntryState *entry;
    int64_t batch;
    Source *sources;
    int32_t n_sources;
    Slot slots[SLOTS];
    bool has_thread; /* the system gave one; else prefetch_take reads */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t asked, read;
    /* Under the mutex: batches so far; slots are used in turn. */
    int64_t n_asked, n_read, n_taken;
    bool stop;
};

static void slot_read(const Prefetch *prefetch, Slot *slot) {
    slot->status = DLC_OK;
    slot->message[0] = '\0';
    for (int32_t i = 0; slot->status == DLC_OK && i < prefetch->n_sources; i++) {
        const Source *source = &prefetch->sources[i];
        slot->status = dataset_gather_rows(&source->field, slot->rows, prefetch->batch,
                                           slot->buffers[i], source->dtype, 0, slot->message);
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
        Slot *slot = &prefetch->slots[prefetch->n_read % SLOTS];
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
    const PlanEntry *record = prefetch->entry->record;
    prefetch->sources =
        memory_new(&session->context->allocator, (size_t)record->n_args, sizeof(Source));
    if (!prefetch->sources) {
        return context_out_of_memory(session->context);
    }
    for (int32_t i = 0; i < record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[record->first_arg + i];
        if (arg->role != PLAN_ARG_INPUT) {
            continue;
        }
        Source *source = &prefetch->sources[prefetch->n_sources];
        const DataField *field;
        dlc_status status =
            data_input_field(session, data, arg, prefetch->batch, &field, source->dims);
        if (status != DLC_OK) {
            return status;
        }
        source->arg = i;
        source->field = *field;
        source->dtype = (PlanDType)arg->type.dtype;
        source->bytes = plan_dtype_bytes(arg->type.dtype);
        for (int32_t a = 0; a < arg->type.rank; a++) {
            if (!checked_mul(source->bytes, source->dims[a], &source->bytes) ||
                source->bytes > INT64_MAX / 4) {
                return context_fail(session->context, DLC_ERROR_LIMIT, "input '%s' is too large",
                                    plan_text(session->file, arg->name));
            }
        }
        prefetch->n_sources++;
    }
    return DLC_OK;
}

static dlc_status slots_create(Prefetch *prefetch) {
    dlc_context *context = prefetch->session->context;
    for (int s = 0; s < SLOTS; s++) {
        Slot *slot = &prefetch->slots[s];
        slot->rows = memory_new(&context->allocator, (size_t)prefetch->batch, sizeof(*slot->rows));
        slot->buffers =
            memory_new(&context->allocator, (size_t)prefetch->n_sources, sizeof(*slot->buffers));
        if (!slot->rows || !slot->buffers) {
            return context_out_of_memory(context);
        }
        for (int32_t i = 0; i < prefetch->n_sources; i++) {
            slot->buffers[i] =
                memory_new_aligned(&context->allocator, (size_t)prefetch->sources[i].bytes);
            if (!slot->buffers[i]) {
                return context_out_of_memory(context);
            }
        }
    }
    return DLC_OK;
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
    for (int s = 0; s < SLOTS; s++) {
        Slot *slot = &prefetch->slots[s];
        for (int32_t i = 0; slot->buffers && i < prefetch->n_sources; i++) {
            memory_free_aligned(allocator, slot->buffers[i]);
        }
        memory_free(allocator, slot->buffers);
        memory_free(allocator, slot->rows);
    }
    pthread_cond_destroy(&prefetch->asked);
    pthread_cond_destroy(&prefetch->read);
    pthread_mutex_destroy(&prefetch->mutex);
    memory_free(allocator, prefetch->sources);
    memory_free(allocator, prefetch);
}

bool prefetch_has_room(const Prefetch *prefetch) {
    return prefetch->n_asked - prefetch->n_taken < SLOTS; /* both are the caller's to change */
}

void prefetch_ask(Prefetch *prefetch, const int64_t *rows) {
    Slot *slot = &prefetch->slots[prefetch->n_asked % SLOTS];
    memcpy(slot->rows, rows, (size_t)prefetch->batch * sizeof(*rows));
    pthread_mutex_lock(&prefetch->mutex);
    prefetch->n_asked++;
    pthread_cond_signal(&prefetch->asked);
    pthread_mutex_unlock(&prefetch->mutex);
}

/* The oldest batch, read. */
static Slot *slot_await(Prefetch *prefetch) {
    Slot *slot = &prefetch->slots[prefetch->n_taken % SLOTS];
    pthread_mutex_lock(&prefetch->mutex);
    while (prefetch->has_thread && prefetch->n_read == prefetch->n_taken) {
        pthread_cond_wait(&prefetch->read, &prefetch->mutex);
    }
    pthread_mutex_unlock(&prefetch->mutex);
    if (!prefetch->has_thread) {
        slot_read(prefetch, slot);
    }
    return slot;
}

static dlc_status inputs_set(Prefetch *prefetch, const Slot *slot) {
    dlc_session *session = prefetch->session;
    EntryState *entry = prefetch->entry;
    dlc_status status = data_rows_note(session, entry, slot->rows, prefetch->batch);
    for (int32_t i = 0; status == DLC_OK && i < prefetch->n_sources; i++) {
        const Source *source = &prefetch->sources[i];
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + source->arg];
        void *to;
        status = session_input(session, entry, source->arg, arg->type.rank, source->dims, &to);
        if (status == DLC_OK) {
            memcpy(to, slot->buffers[i], (size_t)source->bytes);
            status = session_input_done(session, entry, source->arg);
        }
        entry->inputs[source->arg].is_of_data = status == DLC_OK;
    }
    return status;
}

dlc_status prefetch_take(Prefetch *prefetch) {
    dlc_session *session = prefetch->session;
    double start = clock_seconds();
    const Slot *slot = slot_await(prefetch);
    dlc_status status = slot->status == DLC_OK
                            ? inputs_set(prefetch, slot)
                            : context_fail(session->context, slot->status, "%s", slot->message);
    pthread_mutex_lock(&prefetch->mutex);
    prefetch->n_taken++;
    pthread_mutex_unlock(&prefetch->mutex);
    trace_host(session->ranks, "data", start);
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
