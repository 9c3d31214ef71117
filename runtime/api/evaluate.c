/* Evaluating over a dataset: batches in order, losses and metrics weighted by rows. Whole batches
 * are read ahead, and begun ahead where the entry allows it; what is summed, and which error is
 * told, is as if each had been waited for. */
#include "runtime/api/prefetch.h"
#include "runtime/api/shares.h"
#include "runtime/border.h"

#include <inttypes.h>

enum { MAX_METRICS = 64 };

typedef struct Sum {
    double value, weight, over;
    bool has_over;
} Sum;

/* Adds one batch's losses and metrics. */
static void sums_add(const dlc_session *session, const EntryState *entry, int64_t count, Sum *sums,
                     dlc_metric *metrics, size_t *out_n) {
    const PlanResult *results = session->tables->results + entry->record->first_result;
    size_t n = 0;
    for (int32_t i = 0; i < entry->record->n_results && n < MAX_METRICS; i++) {
        bool metric = results[i].role == PLAN_RESULT_METRIC;
        if (!metric && results[i].role != PLAN_RESULT_LOSS) {
            continue;
        }
        double value = rank_number(session->ranks, entry, i);
        double over = 0;
        bool has_over = rank_divisor(session->ranks, entry, i, &over);
        sums[n].has_over = has_over;
        sums[n].value += has_over ? value : value * (double)count;
        sums[n].over += over;
        sums[n].weight += (double)count;
        metrics[n] = (dlc_metric){plan_text(session->file, results[i].name), 0,
                                  metric ? DLC_ROLE_METRIC : DLC_ROLE_LOSS};
        n++;
    }
    *out_n = n;
}

typedef struct Evaluation {
    dlc_session *session;
    EntryState *entry;
    const Dataset *data;
    Shares shares;
    int64_t batch, n_rows;              /* that this session is given: of a batch, and in all */
    int64_t *rows;                      /* [batch] */
    Prefetch *prefetch;                 /* NULL: none */
    int64_t asked;                      /* the first row that it was not asked for */
    int64_t counts[RANK_RUNS], n_begun; /* rows of all of the batches begun last, in turn */
    Sum sums[MAX_METRICS];
    dlc_metric found[MAX_METRICS];
    size_t n_found;
} Evaluation;

static void rows_list(Evaluation *e, int64_t first, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        e->rows[i] = first + i;
    }
}

static void rows_ask(Evaluation *e) {
    while (e->n_rows - e->asked >= e->batch && prefetch_has_room(e->prefetch)) {
        rows_list(e, e->asked, e->batch);
        prefetch_ask(e->prefetch, e->rows);
        e->asked += e->batch;
    }
}

/* The batch that was begun first and is not settled. */
static dlc_status batch_settle(void *user) {
    Evaluation *e = user;
    int64_t which = (e->n_begun - session_runs_begun(e->session)) % RANK_RUNS;
    dlc_status status = session_run_settle(e->session);
    if (status == DLC_OK) {
        sums_add(e->session, e->entry, e->counts[which], e->sums, e->found, &e->n_found);
    }
    return status;
}

/* Until at most `most` batches are begun and not settled. */
static dlc_status batches_settle(Evaluation *e, int32_t most) {
    return session_runs_settle(e->session, most, batch_settle, e);
}

static dlc_status inputs_set(Evaluation *e, int64_t first, int64_t count) {
    if (e->prefetch && count == e->batch) {
        rows_ask(e);
        dlc_status status = prefetch_take(e->prefetch);
        rows_ask(e);
        return status;
    }
    rows_list(e, first, count);
    return data_set_inputs(e->session, e->entry, e->data, e->rows, count);
}

static dlc_status batch_run(Evaluation *e, int64_t number) {
    int64_t count = share_count(&e->shares.items[e->shares.own], number);
    int64_t all = shares_count(&e->shares, number);
    bool ahead = all == e->shares.batch && session_may_run_ahead(e->session, e->entry);
    dlc_status status = ahead ? DLC_OK : batches_settle(e, 0);
    if (status != DLC_OK) {
        return status;
    }
    status = inputs_set(e, number * e->batch, count);
    status = status == DLC_OK ? session_run_begin(e->session, e->entry)
                              : session_agree(e->session, status);
    if (status != DLC_OK) {
        return session_begin_fail(e->session, status, batch_settle, e);
    }
    e->counts[e->n_begun++ % RANK_RUNS] = all;
    status = batches_settle(e, ahead ? RANK_RUNS - 1 : 0);
    return status == DLC_OK && e->prefetch ? prefetch_send(e->prefetch) : status;
}

static dlc_status batches_run(Evaluation *e, bool is_free) {
    dlc_context *context = e->session->context;
    dlc_status status = DLC_OK;
    int64_t n = is_free ? shares_all_batches(&e->shares) : e->shares.batches;
    for (int64_t number = 0; status == DLC_OK && number < n; number++) {
        int64_t cancelled = context_cancelled(context);
        status = session_most(e->session, &cancelled, 1);
        if (status != DLC_OK) {
            break;
        }
        if (cancelled) {
            status = batches_settle(e, 0);
            return status == DLC_OK ? context_fail(context, DLC_ERROR_CANCELLED, "cancelled")
                                    : status;
        }
        status = batch_run(e, number);
    }
    return status == DLC_OK ? batches_settle(e, 0) : status;
}

/* Without memory for two batches more, each is read when it is needed. */
static dlc_status prefetch_open(Evaluation *e) {
    if (e->batch == 0 || e->n_rows < 2 * e->batch) {
        return DLC_OK;
    }
    dlc_status status = prefetch_create(e->session, e->entry, e->data, e->batch, &e->prefetch);
    return status == DLC_ERROR_OUT_OF_MEMORY ? DLC_OK : status;
}

/* What each rank brings to a batch, and this one's own. */
static dlc_status evaluation_begin(Evaluation *e, const dlc_dataset *dataset, int64_t asked) {
    dlc_session *session = e->session;
    int64_t batch = 0;
    dlc_status status = dlc_session_bind_data(session, "eval", dataset);
    if (status == DLC_OK) {
        status = data_batch(session, e->entry, asked, &batch);
    }
    bool is_free = data_batch_is_free(session, e->entry);
    status = shares_find(session, e->entry, e->data, batch, is_free, status, &e->shares);
    if (status != DLC_OK) {
        return status;
    }
    const Share *least = &e->shares.items[shares_least(&e->shares)];
    e->batch = e->shares.items[e->shares.own].each;
    if (!is_free) {
        status = data_rows_check(session, e->entry, "", least->rows, least->each, false);
    }
    int64_t left = e->n_rows - e->batch * e->shares.batches;
    if (status == DLC_OK && !is_free && left > 0) {
        context_log(session->context, DLC_LOG_WARNING,
                    "the batch is fixed at %" PRId64 ": the last %" PRId64 " rows are left out",
                    batch, left);
    }
    if (status == DLC_OK) {
        e->rows = memory_new(&session->context->allocator, (size_t)e->batch, sizeof(*e->rows));
        status = e->rows ? prefetch_open(e) : context_out_of_memory(session->context);
    }
    return status;
}

dlc_status dlc_evaluate(dlc_session *session, dlc_dataset *dataset, int64_t asked,
                        dlc_metric *metrics, size_t capacity, size_t *out_count) {
    BORDER_CALL(session ? session->context : NULL);
    if (!dataset || !out_count || (!metrics && capacity > 0)) {
        return border_missing(session->context, !dataset     ? "dataset"
                                                : !out_count ? "out_count"
                                                             : "metrics");
    }
    EntryState *entry = session_entry(session, "eval");
    if (!entry) {
        return DLC_ERROR_NOT_FOUND;
    }
    if (asked < 0) {
        return context_fail(session->context, DLC_ERROR_INVALID_ARGUMENT,
                            "a batch of %" PRId64 " rows is asked for", asked);
    }
    Evaluation e = {.session = session,
                    .entry = entry,
                    .data = &dataset->data,
                    .n_rows = dataset_rows(&dataset->data)};
    session_takes_long(session, "the beginning of an evaluation");
    dlc_status status =
        data_agree(session, entry, "eval", &dataset->data, &(DataAsked){.batch = asked});
    if (status != DLC_OK) { /* on all */
        return status;
    }
    status = evaluation_begin(&e, dataset, asked);
    status = session_agree(session, status);
    if (status == DLC_OK) {
        status = batches_run(&e, data_batch_is_free(session, entry));
    }
    shares_free(session, &e.shares);
    prefetch_destroy(e.prefetch);
    memory_free(&session->context->allocator, e.rows);
    if (status != DLC_OK) {
        return status;
    }
    for (size_t i = 0; i < e.n_found && i < capacity; i++) {
        const Sum *sum = &e.sums[i];
        metrics[i] = e.found[i];
        metrics[i].value = sum->value / (sum->has_over ? sum->over : sum->weight);
    }
    *out_count = e.n_found;
    return DLC_OK;
}
