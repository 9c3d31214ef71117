/* What a file of weights or a checkpoint holds, as text or JSON. */
#include "runtime/border.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/session/tensor.h"

#include "ir/base/json.h"
#include "ir/base/number.h"

#include <inttypes.h>
#include <sys/stat.h>

static size_t tensor_bytes(const Safetensors *file) {
    size_t bytes = 0; /* no more than the file has */
    for (int32_t i = 0; i < file->n_entries; i++) {
        bytes += file->entries[i].bytes;
    }
    return bytes;
}

/* -- Text -- */

static void file_add(Str *out, const char *name, const Safetensors *file) {
    safetensors_add_text(out, name, strlen(name));
    str_addf(out, ": %d tensor%s, %s\n", (int)file->n_entries, file->n_entries == 1 ? "" : "s",
             number_amount((double)tensor_bytes(file)).text);
    for (int32_t i = 0; i < file->n_metadata; i++) {
        const SafetensorsPair *pair = &file->metadata[i];
        str_add(out, "  metadata ");
        safetensors_add_text(out, pair->key, strlen(pair->key));
        str_add(out, ": ");
        safetensors_add_text(out, pair->value, strlen(pair->value));
        str_add_char(out, '\n');
    }
    for (int32_t i = 0; i < file->n_entries; i++) {
        const SafetensorsEntry *entry = &file->entries[i];
        char shape[512];
        size_t length = strlen(entry->name);
        shape_text(entry->dims, entry->rank, shape, sizeof(shape));
        str_add(out, "  ");
        safetensors_add_text(out, entry->name, length);
        str_addf(out, "%*s %s%s  %s\n", length < 40 ? (int)(40 - length) : 0, "",
                 data_type_name(entry->type), shape, number_amount((double)entry->bytes).text);
    }
}

static void checkpoint_add(Str *out, const Checkpoint *checkpoint) {
    const CheckpointRun *run = &checkpoint->run;
    str_addf(out, "checkpoint %s: step %" PRId64, checkpoint->name, checkpoint->step);
    if (run->steps > 0) {
        str_addf(out, " of %" PRId64, run->steps);
    }
    str_addf(out, ", seed %" PRId64 "\n", run->seed);
    str_addf(out, "  program    %s\n", run->program[0] ? run->program : "not known");
    str_addf(out, "  data       %s\n", run->data[0] ? run->data : "not known");
    if (run->batch > 0) {
        str_addf(out, "  batch      %" PRId64 "\n", run->batch);
    }
    for (int32_t i = 0; i < checkpoint->n_counters; i++) {
        const CheckpointCounter *counter = &checkpoint->counters[i];
        str_add(out, "  counter    ");
        safetensors_add_text(out, counter->name, strlen(counter->name));
        str_addf(out, " = %" PRId64 "\n", counter->value);
    }
    for (int32_t i = 0; i < checkpoint->n_files; i++) {
        file_add(out, checkpoint->file_names[i], &checkpoint->files[i]);
    }
}

/* -- JSON -- */

static void file_json(Str *out, const char *key, const char *name, const Safetensors *file) {
    str_addf(out, "{\"%s\": ", key);
    json_add_string(out, name);
    str_addf(out, ", \"count\": %d, \"bytes\": %zu, \"metadata\": {", (int)file->n_entries,
             tensor_bytes(file));
    for (int32_t i = 0; i < file->n_metadata; i++) {
        str_add(out, i ? ", " : "");
        json_add_string(out, file->metadata[i].key);
        str_add(out, ": ");
        json_add_string(out, file->metadata[i].value);
    }
    str_add(out, "}, \"tensors\": [");
    for (int32_t i = 0; i < file->n_entries; i++) {
        const SafetensorsEntry *entry = &file->entries[i];
        str_add(out, i ? ",\n  {\"name\": " : "\n  {\"name\": ");
        json_add_string(out, entry->name);
        str_addf(out, ", \"type\": \"%s\", \"shape\": [", data_type_name(entry->type));
        for (int32_t k = 0; k < entry->rank; k++) {
            str_addf(out, k ? ", %" PRId64 : "%" PRId64, entry->dims[k]);
        }
        str_addf(out, "], \"bytes\": %zu}", entry->bytes);
    }
    str_add(out, "]}");
}

static void checkpoint_json(Str *out, const Checkpoint *checkpoint) {
    const CheckpointRun *run = &checkpoint->run;
    str_add(out, "{\"checkpoint\": ");
    json_add_string(out, checkpoint->name);
    str_addf(out, ", \"step\": %" PRId64, checkpoint->step);
    if (run->steps > 0) {
        str_addf(out, ", \"steps\": %" PRId64, run->steps);
    }
    str_addf(out, ", \"seed\": %" PRId64, run->seed);
    str_addf(out, run->program[0] ? ", \"program\": \"%s\"" : ", \"program\": null%s",
             run->program);
    str_addf(out, run->data[0] ? ", \"data\": \"%s\"" : ", \"data\": null%s", run->data);
    if (run->batch > 0) {
        str_addf(out, ", \"batch\": %" PRId64, run->batch);
    }
    str_add(out, ", \"counters\": {");
    for (int32_t i = 0; i < checkpoint->n_counters; i++) {
        str_add(out, i ? ", " : "");
        json_add_string(out, checkpoint->counters[i].name);
        str_addf(out, ": %" PRId64, checkpoint->counters[i].value);
    }
    str_add(out, "}, \"files\": [");
    for (int32_t i = 0; i < checkpoint->n_files; i++) {
        str_add(out, i ? ",\n" : "\n");
        file_json(out, "name", checkpoint->file_names[i], &checkpoint->files[i]);
    }
    str_add(out, "]}");
}

/* -- */

static dlc_status file_describe(dlc_context *context, const char *path, bool json, Str *out) {
    char message[SAFETENSORS_MESSAGE_BYTES] = "";
    Safetensors file;
    dlc_status status = safetensors_open(&file, path, &context->allocator, message);
    if (status != DLC_OK) {
        return context_fail(context, status, "%s", message);
    }
    if (json) {
        file_json(out, "path", path, &file);
        str_add_char(out, '\n');
    } else {
        file_add(out, path, &file);
    }
    safetensors_close(&file);
    return DLC_OK;
}

static dlc_status checkpoint_describe(dlc_context *context, const char *path, bool json, Str *out) {
    Checkpoint checkpoint;
    dlc_status status = checkpoint_open_path(&checkpoint, context, NULL, path);
    if (status != DLC_OK) {
        return status;
    }
    if (json) {
        checkpoint_json(out, &checkpoint);
        str_add_char(out, '\n');
    } else {
        checkpoint_add(out, &checkpoint);
    }
    checkpoint_close(&checkpoint);
    return DLC_OK;
}

dlc_status dlc_weights_describe(dlc_context *context, const char *path, unsigned flags,
                                char **out_text) {
    BORDER_CALL(context);
    if (!path || !out_text) {
        return border_missing(context, !path ? "path" : "out_text");
    }
    if (!border_flags(context, "dlc_weights_describe: flags", flags, DLC_WEIGHTS_JSON)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    struct stat info;
    bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    bool json = (flags & DLC_WEIGHTS_JSON) != 0;
    Str text;
    str_init(&text, &context->allocator);
    dlc_status status = folder ? checkpoint_describe(context, path, json, &text)
                               : file_describe(context, path, json, &text);
    if (status == DLC_OK) {
        char *copy = text.failed ? NULL : memory_strdup(&context->allocator, str_text(&text));
        status = copy ? DLC_OK : context_out_of_memory(context);
        *out_text = copy ? copy : *out_text;
    }
    str_finish(&text);
    return status;
}
