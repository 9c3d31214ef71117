/* Tensors looked through for values that are not finite: what a step was given, and what it makes
 * of parameters and optimiser states. Run after a step failed, so it may take its time. */
#include "runtime/session/rank.h"
#include "runtime/session/tensor.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* The first nan, else the first infinity, of a tensor. */
typedef struct Finding {
    double value;
    int64_t index; /* row-major; -1: all are finite */
} Finding;

static void look_at(const void *values, int64_t bytes, int32_t dtype, Finding *out) {
    int width = plan_dtype_bytes(dtype);
    for (int64_t i = 0; i < bytes / width; i++) {
        double value = element_double((const uint8_t *)values + i * width, dtype);
        if (isnan(value) || (isinf(value) && out->index < 0)) {
            *out = (Finding){value, i};
        }
        if (isnan(value)) {
            break;
        }
    }
}

static bool may_hold(const void *data, int32_t dtype, Finding *out) {
    *out = (Finding){.index = -1};
    return data && dtype <= PLAN_BF16; /* the float types come first */
}

static dlc_status look(Rank *rank, const void *data, int64_t bytes, int32_t dtype, Finding *out) {
    const void *values;
    if (!may_hold(data, dtype, out)) {
        return DLC_OK;
    }
    dlc_status status = rank_host(rank, data, bytes, &values);
    if (status == DLC_OK) {
        look_at(values, bytes, dtype, out);
    }
    return status;
}

/* Whole inputs of several ranks are the host's. */
static dlc_status look_at_input(Rank *rank, const Input *input, int32_t dtype, Finding *out) {
    if (!rank->is_of_many) {
        return look(rank, input->data, input->bytes, dtype, out);
    }
    if (may_hold(input->data, dtype, out)) {
        look_at(input->data, input->bytes, dtype, out);
    }
    return DLC_OK;
}

static const char *value_text(double value) {
    return isnan(value) ? "nan" : "infinity";
}

/* Appends to `out`, cut where it does not fit. */
static void add(char *out, size_t n_out, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add(char *out, size_t n_out, const char *format, ...) {
    size_t at = strlen(out);
    va_list args;
    va_start(args, format);
    vsnprintf(out + at, n_out - at, format, args);
    va_end(args);
}

/* " at [3, 0]"; nothing of a scalar. */
static void add_index(char *out, size_t n_out, int64_t flat, const int64_t *dims, int32_t rank) {
    int64_t index[PLAN_MAX_RANK];
    for (int32_t a = rank - 1; a >= 0; a--) {
        index[a] = dims[a] > 0 ? flat % dims[a] : 0;
        flat = dims[a] > 0 ? flat / dims[a] : 0;
    }
    for (int32_t a = 0; a < rank; a++) {
        add(out, n_out, "%s%" PRId64 "%s", a == 0 ? " at [" : ", ", index[a],
            a + 1 == rank ? "]" : "");
    }
}

/* Of a variable; of one that is cut the index is one in the rank's part. */
static void add_place(char *out, size_t n_out, const Rank *rank, const Variable *variable,
                      int64_t flat) {
    if (rank->is_of_many && variable->record->part.n_cuts > 0) {
        add(out, n_out, " in the part of rank %d,", (int)rank->place.number);
    }
    add_index(out, n_out, flat, variable->dims, variable->record->type.rank);
}

static void add_row(char *out, size_t n_out, const EntryState *entry, const Input *input,
                    int64_t flat, int32_t rank) {
    int64_t elements = 1;
    for (int32_t a = 1; a < rank; a++) {
        elements *= input->dims[a];
    }
    int64_t row = rank > 0 && elements > 0 ? flat / elements : -1;
    if (row >= 0 && input->is_of_data && row < entry->n_rows) {
        add(out, n_out, " in row %" PRId64 " of the data (row %" PRId64 " of the batch)",
            entry->rows[row], row);
    } else if (row >= 0) {
        add(out, n_out, " in row %" PRId64, row);
    }
}

/* Whether an input holds nan; an infinity may be meant, and is only told. */
static dlc_status find_in_inputs(Rank *rank, const EntryState *entry, bool nans, char *out,
                                 size_t n_out, bool *found) {
    for (int32_t i = 0; i < entry->record->n_args && !*found; i++) {
        const PlanArg *arg = &rank->tables->args[entry->record->first_arg + i];
        const Input *input = &entry->inputs[i];
        if (arg->role != PLAN_ARG_INPUT || !input->is_set) {
            continue;
        }
        Finding finding;
        dlc_status status = look_at_input(rank, input, arg->type.dtype, &finding);
        if (status != DLC_OK) {
            return status;
        }
        if (finding.index >= 0 && isnan(finding.value) == nans) {
            *found = true;
            add(out, n_out, "; input '%s' holds %s", plan_text(rank->file, arg->name),
                value_text(finding.value));
            add_row(out, n_out, entry, input, finding.index, arg->type.rank);
            add_index(out, n_out, finding.index, input->dims, arg->type.rank);
        }
    }
    return DLC_OK;
}

static const char *role_text(int32_t role) {
    return role == PLAN_ARG_PARAM   ? "parameter"
           : role == PLAN_ARG_STATE ? "state"
           : role == PLAN_ARG_CACHE ? "cache"
                                    : "optimiser state";
}

static dlc_status find_in_variables(Rank *rank, const EntryState *entry, char *out, size_t n_out,
                                    bool *found) {
    for (int32_t i = 0; i < entry->record->n_args && !*found; i++) {
        const PlanArg *arg = &rank->tables->args[entry->record->first_arg + i];
        if (arg->variable < 0 || arg->role == PLAN_ARG_CACHE) {
            continue;
        }
        const Variable *variable = rank_entry_variable(rank, entry, arg->variable);
        Finding finding;
        dlc_status status = look(rank, variable->data, variable->bytes, arg->type.dtype, &finding);
        if (status != DLC_OK) {
            return status;
        }
        if (finding.index >= 0) {
            *found = true;
            add(out, n_out, "; %s '%s' holds %s", role_text(arg->role),
                plan_text(rank->file, arg->name), value_text(finding.value));
            add_place(out, n_out, rank, variable, finding.index);
            add(out, n_out, ", from before this step");
        }
    }
    return DLC_OK;
}

dlc_status rank_not_finite_before(Rank *rank, const EntryState *entry, char *out, size_t n_out,
                                  bool *found) {
    bool told = false;
    *found = false;
    dlc_status status = find_in_inputs(rank, entry, true, out, n_out, found);
    if (status == DLC_OK && !*found) {
        status = find_in_variables(rank, entry, out, n_out, found);
    }
    if (status == DLC_OK && !*found) {
        status = find_in_inputs(rank, entry, false, out, n_out, &told);
    }
    return status;
}

/* Whether result `i` is what becomes of a parameter or optimiser state, and has been computed when
 * the entry stops before command `end`. */
static bool is_update(const Rank *rank, const EntryState *entry, int32_t i, int32_t end) {
    const PlanResult *result = &rank->tables->results[entry->record->first_result + i];
    const PlanBuffer *buffer =
        &rank->tables->buffers[entry->record->first_buffer + result->ref.buffer];
    if (result->role != PLAN_RESULT_STORE) {
        return false;
    }
    int32_t role = rank->tables->args[entry->record->first_arg + result->arg].role;
    bool is_done = end == entry->record->n_commands ||
                   (buffer->kind == PLAN_BUFFER_ARENA && buffer->birth < end);
    return is_done && (role == PLAN_ARG_PARAM || role == PLAN_ARG_SLOT);
}

/* The first update that is not finite in the order of the entry's arguments, and how many are. */
static dlc_status find_in_updates(Rank *rank, const EntryState *entry, int32_t end, char *out,
                                  size_t n_out) {
    int64_t others = -1;
    for (int32_t i = 0; i < entry->record->n_results; i++) {
        if (!is_update(rank, entry, i, end)) {
            continue;
        }
        const PlanResult *result = &rank->tables->results[entry->record->first_result + i];
        const PlanArg *arg = &rank->tables->args[entry->record->first_arg + result->arg];
        const Variable *variable = rank_entry_variable(rank, entry, arg->variable);
        Finding finding;
        dlc_status status =
            look(rank, rank_result(rank, entry, i), variable->bytes, arg->type.dtype, &finding);
        if (status != DLC_OK) {
            return status;
        }
        if (finding.index >= 0 && ++others == 0) {
            add(out, n_out, "%s '%s' becomes %s", role_text(arg->role),
                plan_text(rank->file, arg->name), value_text(finding.value));
            add_place(out, n_out, rank, variable, finding.index);
        }
    }
    if (others > 0) {
        add(out, n_out, " (and %" PRId64 " other%s)", others, others > 1 ? "s" : "");
    } else if (others < 0) {
        add(out, n_out, "a parameter or optimiser state becomes not finite");
    }
    return DLC_OK;
}

static int32_t barrier_of(const Rank *rank, const EntryState *entry) {
    const PlanCommand *commands = rank->tables->commands + entry->record->first_command;
    int32_t i = 0;
    while (i < entry->record->n_commands && commands[i].kind != PLAN_BARRIER) {
        i++;
    }
    return i;
}

dlc_status rank_not_finite_update(Rank *rank, bool stored) {
    EntryState *entry = rank->running;
    char what[512] = "";
    int32_t end = stored ? entry->record->n_commands : barrier_of(rank, entry);
    dlc_status status = find_in_updates(rank, entry, end, what, sizeof(what));
    if (status != DLC_OK) {
        return status;
    }
    return context_fail(
        rank->context, DLC_ERROR_NON_FINITE,
        "step %" PRId64 " of '%s': loss, gradients and state are finite, but the update is not: "
        "%s; %s",
        orders_counter(rank->orders, "step") + 1, plan_text(rank->file, entry->record->name), what,
        stored ? "this step was stored, so go on from weights saved before it"
               : "nothing was stored");
}
