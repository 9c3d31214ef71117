/* Sets a session's variables from a weights file or a checkpoint's files: all is checked, names,
 * shapes and the range of values, before anything is changed. */
#include "runtime/checkpoint/slice.h"
#include "runtime/checkpoint/weights.h"
#include "runtime/session/average.h"
#include "runtime/session/tensor.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const SafetensorsEntry *entry_find(const Safetensors *file, WeightsPrefix prefix,
                                          const char *name) {
    if (prefix.length == 0) {
        return safetensors_find(file, name);
    }
    char full[1024];
    int n = snprintf(full, sizeof(full), "%.*s%s", (int)prefix.length, prefix.text, name);
    return n > 0 && (size_t)n < sizeof(full) ? safetensors_find(file, full) : NULL;
}

/* How many of the session's weights the file has under the prefix. */
static int64_t prefix_finds(const dlc_session *session, const Safetensors *file,
                            WeightsPrefix prefix) {
    int64_t found = 0;
    for (int64_t i = 0; i < session->file->n_variables; i++) {
        const Variable *variable = &session->ranks->variables[i];
        found += variable_is_weight(variable) &&
                 entry_find(file, prefix, variable_name(session, variable));
    }
    return found;
}

WeightsPrefix weights_prefix(const dlc_session *session, const Safetensors *file) {
    enum { TRIALS = 16 }; /* of a file whose names all end alike */
    WeightsPrefix best = {NULL, 0};
    int64_t most = prefix_finds(session, file, best);
    int trials = 0;
    for (int64_t i = 0; i < session->file->n_variables && trials == 0; i++) {
        const char *name = variable_name(session, &session->ranks->variables[i]);
        size_t length = strlen(name);
        for (int32_t k = 0; k < file->n_entries && trials < TRIALS; k++) {
            const char *full = file->entries[k].name;
            size_t more = strlen(full);
            if (!variable_is_weight(&session->ranks->variables[i]) || more <= length + 1 ||
                full[more - length - 1] != '.' || strcmp(full + more - length, name) != 0) {
                continue;
            }
            WeightsPrefix prefix = {full, more - length};
            int64_t found = prefix_finds(session, file, prefix);
            trials++;
            if (found > most) {
                most = found;
                best = prefix;
            }
        }
    }
    return best;
}

static bool may_miss(const dlc_weights_options *options, const char *name) {
    for (size_t i = 0; i < options->n_missing; i++) {
        if (fnmatch(options->missing[i], name, 0) == 0) {
            return true;
        }
    }
    return false;
}

static PlanType variable_whole(const Variable *variable) {
    return plan_whole(variable->record->type, &variable->record->part);
}

/* Matches one variable: binds dims in `dims`, or adds a line to `problems`. */
static void match_variable(dlc_session *session, const Variable *variable,
                           const SafetensorsEntry *entry, int64_t *dims, Str *problems) {
    PlanType type = variable_whole(variable);
    const char *name = variable_name(session, variable);
    char shape[256];
    if ((int32_t)entry->type != type.dtype) {
        DataType want = (DataType)type.dtype;
        if (!data_type_is_float(entry->type) || !data_type_is_float(want)) {
            str_addf(problems, "\n  %s: %s in the file, %s wanted", name,
                     data_type_name(entry->type), plan_text(session->file, type.text));
            return;
        }
    }
    int64_t trial[PLAN_MAX_DIMS];
    memcpy(trial, dims, (size_t)session->file->n_dims * sizeof(*trial));
    if (shape_bind(session, name, type, entry->dims, entry->rank, trial) != DLC_OK) {
        shape_text(entry->dims, entry->rank, shape, sizeof(shape));
        str_addf(problems, "\n  %s: %s in the file, %s wanted", name, shape,
                 plan_text(session->file, type.text));
        return;
    }
    memcpy(dims, trial, (size_t)session->file->n_dims * sizeof(*trial));
}

/* Finds the variable's tensor in the files. False: it is not wanted, or not there. */
static bool source_find(const WeightsLoading *loading, int64_t number, const char *path,
                        Source *out) {
    const Variable *variable = &loading->session->ranks->variables[number];
    const char *name = variable_name(loading->session, variable);
    const Variable *average =
        loading->averaged ? rank_average_of(loading->session->ranks, variable) : NULL;
    bool wanted = loading->everything || variable_is_weight(variable);
    *out = (Source){.session = loading->session, .number = number, .path = path};
    for (int32_t i = 0; i < loading->n_files && average && !out->entry; i++) {
        out->file = &loading->files[i];
        out->entry = safetensors_find(out->file, variable_name(loading->session, average));
    }
    for (int32_t i = 0; i < loading->n_files && wanted && !out->entry; i++) {
        out->file = &loading->files[i];
        out->entry = entry_find(out->file, loading->prefix, name);
    }
    return out->entry != NULL;
}

static int pointer_compare(const void *a, const void *b) {
    uintptr_t x = (uintptr_t) * (const void *const *)a, y = (uintptr_t) * (const void *const *)b;
    return (x > y) - (x < y);
}

/* Which of the files' tensors are none of the `n_taken` that a variable takes: how many, and the
 * first few by name. Sorts `taken`. */
static void ignored_add(const WeightsLoading *loading, const SafetensorsEntry **taken,
                        int32_t n_taken, int32_t n_ignored, Str *out) {
    enum { SHOWN = 5 };
    int32_t shown = 0;
    qsort(taken, (size_t)n_taken, sizeof(*taken), pointer_compare);
    str_addf(out, "%d further tensor%s ignored", (int)n_ignored, n_ignored == 1 ? "" : "s");
    for (int32_t f = 0; f < loading->n_files; f++) {
        const Safetensors *file = &loading->files[f];
        for (int32_t i = 0; i < file->n_entries && shown < SHOWN; i++) {
            const SafetensorsEntry *entry = &file->entries[i];
            if (!bsearch(&entry, taken, (size_t)n_taken, sizeof(*taken), pointer_compare)) {
                str_add(out, shown++ ? ", " : ": ");
                safetensors_add_text(out, entry->name, strnlen(entry->name, 80));
            }
        }
    }
    if (n_ignored > shown) {
        str_addf(out, " and %d more", (int)(n_ignored - shown));
    }
}

/* Says what was done to the file's names, and which tensors nobody takes. */
static void load_note(const WeightsLoading *loading, const char *path,
                      const SafetensorsEntry **taken, int32_t n_taken, int32_t n_ignored) {
    dlc_context *context = loading->session->context;
    Str note;
    str_init(&note, &context->allocator);
    if (loading->prefix.length > 0) {
        str_add(&note, "names are taken without the prefix '");
        safetensors_add_text(&note, loading->prefix.text, loading->prefix.length);
        str_add(&note, n_ignored > 0 ? "'; " : "'");
    }
    if (n_ignored > 0 && !loading->averaged) {
        ignored_add(loading, taken, n_taken, n_ignored, &note);
    }
    if (note.length > 0 && !note.failed) {
        context_log(context, DLC_LOG_INFO, "%s: %s", path, str_text(&note));
    }
    str_finish(&note);
}

/* Each variable against its tensor: binds dims, fills `taken`, or adds lines to `problems`. */
static int32_t load_match(const WeightsLoading *loading, int64_t *dims,
                          const SafetensorsEntry **taken, Str *problems) {
    dlc_session *session = loading->session;
    int32_t n_taken = 0;
    for (int64_t i = 0; i < session->file->n_variables; i++) {
        const Variable *variable = &session->ranks->variables[i];
        const char *name = variable_name(session, variable);
        if (!loading->everything && !variable_is_weight(variable)) {
            continue;
        }
        Source source;
        if (source_find(loading, i, "", &source)) {
            taken[n_taken++] = source.entry;
            match_variable(session, variable, source.entry, dims, problems);
        } else if (!may_miss(loading->options, name)) {
            str_addf(problems, "\n  %s: missing; %s wanted", name,
                     plan_text(session->file, variable_whole(variable).text));
        }
    }
    return n_taken;
}

static dlc_status load_check(const WeightsLoading *loading, const char *path, int64_t *dims) {
    dlc_session *session = loading->session;
    dlc_context *context = session->context;
    const SafetensorsEntry **taken =
        memory_new(&context->allocator, (size_t)session->file->n_variables, sizeof(*taken));
    if (!taken) {
        return context_out_of_memory(context);
    }
    Str problems;
    str_init(&problems, &context->allocator);
    int32_t n_taken = load_match(loading, dims, taken, &problems), n_ignored = -n_taken;
    for (int32_t i = 0; i < loading->n_files; i++) {
        n_ignored += loading->files[i].n_entries;
    }
    dlc_status status = DLC_OK;
    if (problems.length > 0 || problems.failed) {
        Str prefix;
        str_init(&prefix, &context->allocator);
        if (loading->prefix.length > 0) {
            str_add(&prefix, " (its names without the prefix '");
            safetensors_add_text(&prefix, loading->prefix.text, loading->prefix.length);
            str_add(&prefix, "')");
        }
        status = context_fail(context, DLC_ERROR_MISMATCH, "%s%s does not fit the model:%s", path,
                              str_text(&prefix), str_text(&problems));
        str_finish(&prefix);
    } else {
        load_note(loading, path, taken, n_taken, n_ignored);
    }
    str_finish(&problems);
    memory_free(&context->allocator, taken);
    return status;
}

/* Every source, by `visit`. */
static dlc_status sources_each(const WeightsLoading *loading, const char *path,
                               dlc_status (*visit)(const Source *source)) {
    dlc_status status = DLC_OK;
    for (int64_t i = 0; i < loading->session->file->n_variables && status == DLC_OK; i++) {
        Source source;
        status = source_find(loading, i, path, &source) ? visit(&source) : DLC_OK;
    }
    return status;
}

dlc_status weights_load(const WeightsLoading *loading, const char *path) {
    dlc_session *session = loading->session;
    int64_t dims[PLAN_MAX_DIMS];
    memcpy(dims, session->orders.dims, (size_t)session->file->n_dims * sizeof(*dims));
    dlc_status status = load_check(loading, path, dims);
    if (status == DLC_OK) {
        status = sources_each(loading, path, source_check);
    }
    status = session_agree(session, status);
    if (status != DLC_OK) {
        return status;
    }
    for (int32_t d = 0; status == DLC_OK && d < session->file->n_dims; d++) {
        if (dims[d] >= 0) {
            status = session_bind_number(session, d, dims[d]);
        }
    }
    if (status == DLC_OK) {
        status = session_allocate(session, NULL);
    }
    if (status == DLC_OK) {
        status = sources_each(loading, path, source_load);
    }
    return session_agree(session, status);
}

dlc_status weights_restore(dlc_session *session, const Checkpoint *checkpoint) {
    dlc_weights_options none = {.struct_size = sizeof(none)};
    WeightsLoading loading = {.session = session,
                              .files = checkpoint->files,
                              .n_files = checkpoint->n_files,
                              .everything = true,
                              .options = &none};
    return weights_load(&loading, checkpoint->name);
}

dlc_status checkpoint_counters(dlc_session *session, const Checkpoint *checkpoint) {
    dlc_status status = DLC_OK;
    for (int32_t i = 0; i < checkpoint->n_counters && status == DLC_OK; i++) {
        const CheckpointCounter *counter = &checkpoint->counters[i];
        status = dlc_set_counter(session, counter->name, counter->value);
        /* One that the program does not have decides nothing. */
        status = status == DLC_ERROR_NOT_FOUND ? DLC_OK : status;
    }
    return status;
}
