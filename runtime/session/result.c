/* What the last run of an entry gave: where results lie, numbers, losses. */
#include "runtime/session/rank.h"
#include "runtime/session/tensor.h"

#include <math.h>

const uint8_t *rank_result(const Rank *rank, const EntryState *entry, int32_t i) {
    const PlanResult *result = &rank->tables->results[entry->record->first_result + i];
    return rank->bases[result->ref.buffer] + entry->layout->result_offset[i];
}

const uint8_t *rank_number_at(const Rank *rank, const EntryState *entry, int32_t i) {
    return rank->numbers + NUMBER_STRIDE * entry->numbers[i];
}

dlc_status rank_numbers_gather(Rank *rank, const EntryState *entry) {
    const PlanResult *results = rank->tables->results + entry->record->first_result;
    dlc_status status = DLC_OK;
    for (int32_t i = 0; status == DLC_OK && i < entry->record->n_results; i++) {
        if (entry->numbers[i] >= 0) {
            status = rank->ops->copy(
                rank->queue, rank->number_memory + NUMBER_STRIDE * entry->numbers[i],
                rank_result(rank, entry, i), (size_t)plan_dtype_bytes(results[i].type.dtype), NULL);
        }
    }
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

double rank_number(const Rank *rank, const EntryState *entry, int32_t i) {
    const PlanResult *result = &rank->tables->results[entry->record->first_result + i];
    return element_double(rank_number_at(rank, entry, i), result->type.dtype);
}

bool rank_divisor(const Rank *rank, const EntryState *entry, int32_t i, double *out) {
    const PlanResult *results = rank->tables->results + entry->record->first_result;
    int32_t role = results[i].role == PLAN_RESULT_METRIC ? PLAN_RESULT_METRIC_OVER
                   : results[i].role == PLAN_RESULT_LOSS ? PLAN_RESULT_LOSS_OVER
                                                         : -1;
    for (int32_t k = 0; role >= 0 && k < entry->record->n_results; k++) {
        if (results[k].role == role && results[k].name == results[i].name) {
            *out = rank_number(rank, entry, k);
            return true;
        }
    }
    return false;
}

double rank_quotient(const Rank *rank, const EntryState *entry, int32_t i) {
    double value = rank_number(rank, entry, i), divisor;
    return rank_divisor(rank, entry, i, &divisor) ? value / divisor : value;
}

double rank_loss(const Rank *rank, const EntryState *entry) {
    double total = 0;
    bool any = false;
    for (int32_t i = 0; i < entry->record->n_results; i++) {
        const PlanResult *result = &rank->tables->results[entry->record->first_result + i];
        if (result->role == PLAN_RESULT_LOSS) {
            total += rank_quotient(rank, entry, i);
            any = true;
        }
    }
    return any ? total : NAN;
}

double rank_info(const Rank *rank, const EntryState *entry, const char *name) {
    for (int32_t i = 0; i < entry->record->n_results; i++) {
        const PlanResult *result = &rank->tables->results[entry->record->first_result + i];
        if (result->role == PLAN_RESULT_INFO &&
            strcmp(plan_text(rank->file, result->name), name) == 0) {
            return rank_number(rank, entry, i);
        }
    }
    return NAN;
}
