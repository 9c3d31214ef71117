/* Evaluating over a dataset: batches in order, losses and metrics weighted by rows. */
#include "runtime/api/data.h"
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
    int64_t batch, n_rows = dataset_rows(&dataset->data);
    dlc_status status = dlc_session_bind_data(session, "eval", dataset);
    if (status == DLC_OK) {
        status = data_batch(session, entry, asked, &batch);
    }
    if (status != DLC_OK) {
        return status;
    }
    bool is_free = data_batch_is_free(session, entry);
    if (n_rows == 0 || (!is_free && n_rows < batch)) {
        return context_fail(session->context, DLC_ERROR_MISMATCH,
                            "%" PRId64 " rows are fewer than a batch of %" PRId64, n_rows, batch);
    }
    if (!is_free && n_rows % batch != 0) {
        context_log(session->context, DLC_LOG_WARNING,
                    "the batch is fixed at %" PRId64 ": the last %" PRId64 " rows are left out",
                    batch, n_rows % batch);
    }
    int64_t *rows = memory_new(&session->context->allocator, (size_t)batch, sizeof(*rows));
    if (!rows) {
        return context_out_of_memory(session->context);
    }
    Sum sums[MAX_METRICS] = {0};
    dlc_metric found[MAX_METRICS];
    size_t n = 0;
    for (int64_t first = 0; status == DLC_OK && first < n_rows; first += batch) {
        int64_t count = n_rows - first < batch ? n_rows - first : batch;
        if (count < batch && !is_free) {
            break;
        }
        for (int64_t i = 0; i < count; i++) {
            rows[i] = first + i;
        }
        if (context_cancelled(session->context)) {
            status = context_fail(session->context, DLC_ERROR_CANCELLED, "cancelled");
            break;
        }
        status = data_set_inputs(session, entry, &dataset->data, rows, count);
        if (status == DLC_OK) {
            status = session_run(session, entry);
        }
        if (status == DLC_OK) {
            sums_add(session, entry, count, sums, found, &n);
        }
    }
    memory_free(&session->context->allocator, rows);
    if (status != DLC_OK) {
        return status;
    }
    for (size_t i = 0; i < n && i < capacity; i++) {
        metrics[i] = found[i];
        metrics[i].value = sums[i].value / (sums[i].has_over ? sums[i].over : sums[i].weight);
    }
    *out_count = n;
    return DLC_OK;
}
