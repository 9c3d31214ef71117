/* Weights and checkpoints: safetensors files in and out. A checkpoint holds everything that decides
 * the following steps; a weights file only parameters and states. */
#include "runtime/average.h"
#include "runtime/border.h"
#include "runtime/safetensors.h"
#include "runtime/session.h"
#include "runtime/tensor.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_weight(const Variable *variable) {
    return variable->record->role == PLAN_ARG_PARAM || variable->record->role == PLAN_ARG_STATE;
}

static const char *variable_name(const dlc_session *session, const Variable *variable) {
    return plan_text(session->file, variable->record->name);
}

/* -- Writing -- */

/* The variable's value as host memory; *copy is for the caller to free. */
static dlc_status variable_value(dlc_session *session, const Variable *variable, void **copy,
                                 const void **out) {
    if (session->ops->is_host) {
        *out = variable->data;
        return DLC_OK;
    }
    *copy = memory_new(&session->context->allocator, (size_t)variable->bytes, 1);
    *out = *copy;
    return *copy ? session_read(session, *copy, variable->data, variable->bytes)
                 : context_out_of_memory(session->context);
}

static dlc_status write_file(dlc_session *session, const char *path, bool everything) {
    dlc_context *context = session->context;
    dlc_status status = session_allocate(session, NULL);
    if (status != DLC_OK) {
        return status;
    }
    SafetensorsEntry *entries =
        memory_new(&context->allocator, (size_t)session->n_variables, sizeof(*entries));
    void **copies = memory_new(&context->allocator, (size_t)session->n_variables, sizeof(*copies));
    if (!entries || !copies) {
        status = context_out_of_memory(context);
        goto done;
    }
    int32_t n = 0;
    for (int64_t i = 0; i < session->n_variables; i++) {
        const Variable *variable = &session->variables[i];
        if (!everything && !is_weight(variable)) {
            continue;
        }
        const void *value;
        const Variable *average = everything ? NULL : average_of(session, variable);
        status = variable_value(session, average ? average : variable, &copies[i], &value);
        if (status != DLC_OK) {
            goto done;
        }
        int width = plan_dtype_bytes(variable->record->type.dtype);
        SafetensorsEntry *entry = &entries[n++];
        *entry = (SafetensorsEntry){.name = variable_name(session, variable),
                                    .type = (DataType)variable->record->type.dtype,
                                    .rank = variable->record->type.rank,
                                    .n_elements = variable->bytes / width,
                                    .data = value,
                                    .bytes = (size_t)variable->bytes};
        memcpy(entry->dims, variable->dims, (size_t)entry->rank * sizeof(*entry->dims));
    }
    char values[SESSION_SCALARS][32];
    SafetensorsPair metadata[SESSION_SCALARS + 1];
    int32_t n_metadata = 0;
    metadata[n_metadata++] = (SafetensorsPair){"format", everything ? "dlc-checkpoint" : "pt"};
    for (int32_t i = 0; everything && i < session->n_scalars; i++) {
        if (session->scalars[i].is_integer) {
            snprintf(values[i], sizeof(values[i]), "%" PRId64, session->scalars[i].integer);
            metadata[n_metadata++] = (SafetensorsPair){session->scalars[i].name, values[i]};
        }
    }
    char message[SAFETENSORS_MESSAGE_BYTES] = "";
    status =
        safetensors_write(path, entries, n, metadata, n_metadata, &context->allocator, message);
    if (status != DLC_OK) {
        context_fail(context, status, "%s", message);
    }
done:
    for (int64_t i = 0; copies && i < session->n_variables; i++) {
        memory_free(&context->allocator, copies[i]);
    }
    memory_free(&context->allocator, copies);
    memory_free(&context->allocator, entries);
    return status;
}

dlc_status dlc_weights_save(dlc_session *session, const char *path) {
    BORDER_CALL(session ? session->context : NULL);
    if (!path) {
        return border_missing(session->context, "path");
    }
    return write_file(session, path, false);
}

dlc_status dlc_checkpoint_save(dlc_session *session, const char *path) {
    BORDER_CALL(session ? session->context : NULL);
    if (!path) {
        return border_missing(session->context, "path");
    }
    return write_file(session, path, true);
}

/* -- Reading -- */

/* Length of the prefix (up to a dot) that all names of the file share and without which they fit
 * better: "model." or "module.". */
static size_t common_prefix(const dlc_session *session, const Safetensors *file) {
    if (file->n_entries == 0) {
        return 0;
    }
    const char *first = file->entries[0].name;
    size_t length = strlen(first);
    for (int32_t i = 1; i < file->n_entries; i++) {
        size_t same = 0;
        while (same < length && file->entries[i].name[same] == first[same]) {
            same++;
        }
        length = same;
    }
    while (length > 0 && first[length - 1] != '.') {
        length--;
    }
    /* The names may begin alike on their own account. */
    for (int64_t i = 0; i < session->n_variables; i++) {
        const Variable *variable = &session->variables[i];
        if (is_weight(variable) && safetensors_find(file, variable_name(session, variable))) {
            return 0;
        }
    }
    return length;
}

static const SafetensorsEntry *entry_find(const Safetensors *file, size_t prefix,
                                          const char *name) {
    if (prefix == 0) {
        return safetensors_find(file, name);
    }
    char full[1024];
    int n = snprintf(full, sizeof(full), "%.*s%s", (int)prefix, file->entries[0].name, name);
    return n > 0 && (size_t)n < sizeof(full) ? safetensors_find(file, full) : NULL;
}

static bool may_miss(const dlc_weights_options *options, const char *name) {
    for (size_t i = 0; i < options->n_missing; i++) {
        if (fnmatch(options->missing[i], name, 0) == 0) {
            return true;
        }
    }
    return false;
}

/* Matches one variable: binds dims in `dims`, or adds a line to `problems`. */
static void match_variable(dlc_session *session, const Variable *variable,
                           const SafetensorsEntry *entry, int64_t *dims, Str *problems) {
    PlanType type = variable->record->type;
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

typedef struct Loading {
    dlc_session *session;
    const Safetensors *file;
    size_t prefix;
    bool everything;
    const dlc_weights_options *options;
} Loading;

static bool wanted(const Loading *loading, const Variable *variable) {
    return loading->everything || is_weight(variable);
}

static dlc_status load_check(const Loading *loading, const char *path, int64_t *dims) {
    dlc_session *session = loading->session;
    Str problems;
    str_init(&problems, &session->context->allocator);
    int n_used = 0;
    for (int64_t i = 0; i < session->n_variables; i++) {
        const Variable *variable = &session->variables[i];
        const char *name = variable_name(session, variable);
        if (!wanted(loading, variable)) {
            continue;
        }
        const SafetensorsEntry *entry = entry_find(loading->file, loading->prefix, name);
        if (entry) {
            n_used++;
            match_variable(session, variable, entry, dims, &problems);
        } else if (!may_miss(loading->options, name)) {
            str_addf(&problems, "\n  %s: missing; %s wanted", name,
                     plan_text(session->file, variable->record->type.text));
        }
    }
    dlc_status status = DLC_OK;
    if (problems.length > 0 || problems.failed) {
        status = context_fail(session->context, DLC_ERROR_MISMATCH, "%s does not fit the model:%s",
                              path, str_text(&problems));
    } else if (n_used < loading->file->n_entries) {
        context_log(session->context, DLC_LOG_INFO, "%s: %d further tensors ignored", path,
                    loading->file->n_entries - n_used);
    }
    str_finish(&problems);
    return status;
}

static dlc_status load_copy(const Loading *loading, const char *path) {
    dlc_session *session = loading->session;
    for (int64_t i = 0; i < session->n_variables; i++) {
        Variable *variable = &session->variables[i];
        const char *name = variable_name(session, variable);
        const SafetensorsEntry *entry =
            wanted(loading, variable) ? entry_find(loading->file, loading->prefix, name) : NULL;
        if (!entry) {
            continue;
        }
        int64_t bad;
        const void *value = entry->data;
        if ((int32_t)entry->type != variable->record->type.dtype) {
            void *converted;
            dlc_status status = session_staging(session, variable->bytes, &converted);
            if (status != DLC_OK) {
                return status;
            }
            if (data_convert(entry->data, entry->type, converted,
                             (PlanDType)variable->record->type.dtype, entry->n_elements, 0,
                             &bad) != CONVERT_OK) {
                return context_fail(session->context, DLC_ERROR_MISMATCH,
                                    "%s: element %" PRId64 " of '%s' does not fit %s", path, bad,
                                    name, plan_text(session->file, variable->record->type.text));
            }
            value = converted;
        }
        dlc_status status = session_write(session, variable->data, value, variable->bytes);
        if (status != DLC_OK) {
            return status;
        }
    }
    return DLC_OK;
}

/* A value of another float type may be out of range: tried before anything is changed. */
static dlc_status convert_check(const Loading *loading, const char *path) {
    dlc_session *session = loading->session;
    for (int64_t i = 0; i < session->n_variables; i++) {
        const Variable *variable = &session->variables[i];
        const char *name = variable_name(session, variable);
        const SafetensorsEntry *entry =
            wanted(loading, variable) ? entry_find(loading->file, loading->prefix, name) : NULL;
        if (!entry || (int32_t)entry->type == variable->record->type.dtype) {
            continue;
        }
        size_t width = (size_t)plan_dtype_bytes(variable->record->type.dtype);
        void *trial = memory_new(&session->context->allocator, (size_t)entry->n_elements, width);
        if (!trial) {
            return context_out_of_memory(session->context);
        }
        int64_t bad = 0;
        ConvertResult result =
            data_convert(entry->data, entry->type, trial, (PlanDType)variable->record->type.dtype,
                         entry->n_elements, 0, &bad);
        memory_free(&session->context->allocator, trial);
        if (result != CONVERT_OK) {
            return context_fail(session->context, DLC_ERROR_MISMATCH,
                                "%s: element %" PRId64 " of '%s' does not fit %s", path, bad, name,
                                plan_text(session->file, variable->record->type.text));
        }
    }
    return DLC_OK;
}

static dlc_status load_file(dlc_session *session, const char *path,
                            const dlc_weights_options *options, bool everything) {
    dlc_context *context = session->context;
    char message[SAFETENSORS_MESSAGE_BYTES] = "";
    Safetensors file;
    dlc_status status = safetensors_open(&file, path, &context->allocator, message);
    if (status != DLC_OK) {
        return context_fail(context, status, "%s", message);
    }
    Loading loading = {session, &file, 0, everything, options};
    loading.prefix = everything ? 0 : common_prefix(session, &file);
    int64_t dims[PLAN_MAX_DIMS];
    memcpy(dims, session->dims, (size_t)session->file->n_dims * sizeof(*dims));
    status = load_check(&loading, path, dims);
    if (status == DLC_OK) {
        status = convert_check(&loading, path);
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
        status = load_copy(&loading, path);
    }
    if (status == DLC_OK && !everything) {
        status = averages_restart(session);
    }
    for (int32_t i = 0; everything && status == DLC_OK && i < file.n_metadata; i++) {
        const SafetensorsPair *pair = &file.metadata[i];
        if (strcmp(pair->key, "format") != 0) {
            status = dlc_set_counter(session, pair->key, strtoll(pair->value, NULL, 10));
        }
    }
    safetensors_close(&file);
    return status;
}

dlc_status dlc_weights_load(dlc_session *session, const char *path,
                            const dlc_weights_options *options) {
    BORDER_CALL(session ? session->context : NULL);
    dlc_weights_options given;
    if (!border_options(session->context, "dlc_weights_options", &given, sizeof(given), options)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    if (!path || (!given.missing && given.n_missing > 0)) {
        return border_missing(session->context, !path ? "path" : "dlc_weights_options.missing");
    }
    for (size_t i = 0; i < given.n_missing; i++) {
        if (!given.missing[i]) {
            return border_missing(session->context, "a glob");
        }
    }
    return load_file(session, path, &given, false);
}

dlc_status dlc_checkpoint_load(dlc_session *session, const char *path) {
    BORDER_CALL(session ? session->context : NULL);
    if (!path) {
        return border_missing(session->context, "path");
    }
    dlc_weights_options none = {.struct_size = sizeof(none)};
    return load_file(session, path, &none, true);
}
