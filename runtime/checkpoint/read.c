/* Opening checkpoints (checkpoint.h). Nothing a file says is believed: the manifest must be whole,
 * its numbers sensible, and every file as long and of the checksum that it states. */
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/part_crc.h"

#include "ir/base/json.h"
#include "ir/base/memory.h"
#include "ir/base/mesh.h"
#include "ir/base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { PATH_BYTES = 4096 + 512 };

typedef struct Reading {
    Checkpoint *out;
    const char *folder; /* the checkpoint's own */
    JsonDoc json;
    char *message;
} Reading;

__attribute__((format(printf, 3, 4))) static dlc_status
fail(const Reading *reading, const char *file, const char *format, ...) {
    char text[CHECKPOINT_MESSAGE_BYTES / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    utf8_blank_controls(text);
    snprintf(reading->message, CHECKPOINT_MESSAGE_BYTES, "%.300s%s%.100s: %s", reading->folder,
             file[0] ? "/" : "", file, text);
    return DLC_ERROR_FORMAT;
}

static dlc_status no_memory(const Reading *reading) {
    snprintf(reading->message, CHECKPOINT_MESSAGE_BYTES, "out of memory");
    return DLC_ERROR_OUT_OF_MEMORY;
}

/* -- Numbers that both forms have -- */

static bool is_count(const char *name) {
    return strcmp(name, "step") == 0 || strcmp(name, "steps") == 0 || strcmp(name, "epoch") == 0 ||
           strcmp(name, "steps_per_epoch") == 0;
}

static dlc_status counter_add(const Reading *reading, const char *file, const char *name,
                              int64_t value) {
    Checkpoint *out = reading->out;
    if (is_count(name) && value < 0) {
        return fail(reading, file, "'%.60s' is %" PRId64 ", and no count is negative", name, value);
    }
    if (out->n_counters == CHECKPOINT_COUNTERS || strlen(name) >= SCALAR_NAME_BYTES) {
        return fail(reading, file, "too many counters, or one with a long name: '%.60s'", name);
    }
    CheckpointCounter *counter = &out->counters[out->n_counters++];
    snprintf(counter->name, sizeof(counter->name), "%s", name);
    counter->value = value;
    return DLC_OK;
}

static const CheckpointCounter *counter_find(const Checkpoint *checkpoint, const char *name) {
    for (int32_t i = 0; i < checkpoint->n_counters; i++) {
        if (strcmp(checkpoint->counters[i].name, name) == 0) {
            return &checkpoint->counters[i];
        }
    }
    return NULL;
}

/* The run's numbers out of the counters, which must have them; but a session that trains step by
 * step need not know its length, nor keep to it. The old form was written by whole runs alone,
 * which `has_length` says. */
static dlc_status counters_check(const Reading *reading, const char *file, bool has_length) {
    static const char *const needed[] = {"step", "epoch", "seed"};
    int64_t values[3];
    for (size_t i = 0; i < 3; i++) {
        const CheckpointCounter *counter = counter_find(reading->out, needed[i]);
        if (!counter) {
            return fail(reading, file, "the counter '%s' is missing", needed[i]);
        }
        values[i] = counter->value;
    }
    const CheckpointCounter *steps = counter_find(reading->out, "steps");
    if (has_length && (!steps || values[0] > steps->value)) {
        return steps ? fail(reading, file,
                            "step %" PRId64 " lies beyond the planned length of %" PRId64 " steps",
                            values[0], steps->value)
                     : fail(reading, file, "the counter 'steps' is missing");
    }
    reading->out->step = values[0];
    reading->out->run.steps = steps ? steps->value : 0;
    reading->out->run.seed = values[2];
    return DLC_OK;
}

/* -- The manifest -- */

static dlc_status integer_read(const Reading *reading, const JsonNode *object, const char *key,
                               int64_t low, int64_t *out) {
    const JsonNode *node = json_member(&reading->json, object, key);
    if (!node || !node->is_integer || node->integer < low) {
        return fail(reading, CHECKPOINT_MANIFEST,
                    "expected '%s' to be a whole number of at least %" PRId64, key, low);
    }
    *out = node->integer;
    return DLC_OK;
}

/* A text of so many hexadecimal digits. */
static dlc_status digits_read(const Reading *reading, const JsonNode *object, const char *key,
                              size_t count, char *out) {
    const JsonNode *node = json_member(&reading->json, object, key);
    if (!node || node->kind != JSON_STRING || strlen(node->string) != count ||
        strspn(node->string, "0123456789abcdef") != count) {
        return fail(reading, CHECKPOINT_MANIFEST, "expected '%s' to be %zu hexadecimal digits", key,
                    count);
    }
    memcpy(out, node->string, count + 1);
    return DLC_OK;
}

static dlc_status run_read(const Reading *reading, const JsonNode *root) {
    Checkpoint *out = reading->out;
    const JsonNode *counters = json_member(&reading->json, root, "counters");
    if (!counters || counters->kind != JSON_OBJECT) {
        return fail(reading, CHECKPOINT_MANIFEST, "expected 'counters' to be an object");
    }
    dlc_status status = DLC_OK;
    for (int32_t i = counters->first_child; i >= 0 && status == DLC_OK;
         i = reading->json.nodes[i].next) {
        const JsonNode *node = &reading->json.nodes[i];
        status = node->is_integer
                     ? counter_add(reading, CHECKPOINT_MANIFEST, node->key, node->integer)
                     : fail(reading, CHECKPOINT_MANIFEST,
                            "expected the counter '%.60s' to be whole", node->key);
    }
    if (status == DLC_OK) {
        status = counters_check(reading, CHECKPOINT_MANIFEST, false);
    }
    int64_t step = 0;
    if (status == DLC_OK) {
        status = integer_read(reading, root, "step", 0, &step);
    }
    if (status == DLC_OK && step != out->step) {
        status = fail(reading, CHECKPOINT_MANIFEST, "'step' and the counter of that name differ");
    }
    if (status == DLC_OK && json_member(&reading->json, root, "batch")) {
        status = integer_read(reading, root, "batch", 1, &out->run.batch);
    }
    if (status == DLC_OK && json_member(&reading->json, root, "program")) {
        status = digits_read(reading, root, "program", 16, out->run.program);
    }
    if (status == DLC_OK && json_member(&reading->json, root, "data")) {
        status = digits_read(reading, root, "data", 16, out->run.data);
    }
    return status;
}

/* The last member is the checksum of all text before it. */
static dlc_status text_check(const Reading *reading, const char *text, size_t length) {
    static const char member[] = ",\n  \"crc32\": \"";
    const char *last = NULL;
    for (const char *at = text;
         (at = memmem(at, length - (size_t)(at - text), member, sizeof(member) - 1)) != NULL;
         at++) {
        last = at;
    }
    char wanted[64];
    if (!last) {
        return fail(reading, CHECKPOINT_MANIFEST, "it ends early: its checksum is missing");
    }
    uint32_t crc = (uint32_t)crc32_z(0, (const Bytef *)text, (size_t)(last - text));
    int n = snprintf(wanted, sizeof(wanted), "%s%08" PRIx32 "\"\n}\n", member, crc);
    if ((size_t)n != length - (size_t)(last - text) || memcmp(wanted, last, (size_t)n) != 0) {
        return fail(reading, CHECKPOINT_MANIFEST, "its checksum is wrong: overwritten or cut off");
    }
    return DLC_OK;
}

/* -- The files -- */

/* Opening a pipe would wait for a writer, who need not come. */
static dlc_status plain_check(const Reading *reading, const char *file, const char *path) {
    struct stat info;
    return stat(path, &info) != 0 || S_ISREG(info.st_mode)
               ? DLC_OK
               : fail(reading, file, "it is no plain file");
}

/* What this one's part of the file contributes to its checksum; read block by block. */
static dlc_status part_sum(const Reading *reading, const FileView *view, const char *path,
                           uint32_t *sum) {
    enum { BLOCK = 1 << 20 };
    const CheckpointPart *part = &reading->out->part;
    const dlc_allocator *allocator = reading->out->allocator;
    RowRange own = mesh_piece((int64_t)view->size, part->n, part->number);
    bool partial = file_view_is_partial(view);
    uint8_t *block = partial ? raw_alloc(allocator, BLOCK) : NULL;
    char message[FILE_MESSAGE_BYTES];
    PartCrc crc = {0};
    dlc_status status = block || !partial ? DLC_OK : no_memory(reading);
    for (int64_t done = 0; done < own.count && status == DLC_OK; done += BLOCK) {
        size_t at = (size_t)(own.first + done);
        size_t bytes = (size_t)(own.count - done < BLOCK ? own.count - done : BLOCK);
        if (partial) {
            status = file_view_read(view, path, at, bytes, block, message);
        }
        if (status == DLC_OK) {
            part_crc_add(&crc, at, partial ? block : view->data + at, bytes);
        } else {
            snprintf(reading->message, CHECKPOINT_MESSAGE_BYTES, "%s", message);
        }
    }
    raw_free(allocator, block);
    *sum = part_crc_end(&crc, view->size);
    return status;
}

static dlc_status shard_open(const Reading *reading, const JsonNode *node) {
    Checkpoint *out = reading->out;
    const JsonNode *name = json_member(&reading->json, node, "name");
    if (!name || name->kind != JSON_STRING || name->string[0] == '\0' || name->string[0] == '.' ||
        strchr(name->string, '/')) {
        return fail(reading, CHECKPOINT_MANIFEST, "expected a file to have a name without folders");
    }
    int64_t bytes = 0;
    char digits[16];
    dlc_status status = integer_read(reading, node, "bytes", 0, &bytes);
    if (status == DLC_OK) {
        status = digits_read(reading, node, "crc32", 8, digits);
    }
    char path[PATH_BYTES], message[SAFETENSORS_MESSAGE_BYTES] = "";
    int n = snprintf(path, sizeof(path), "%s/%s", reading->folder, name->string);
    if (status != DLC_OK || n < 0 || (size_t)n >= sizeof(path)) {
        return status != DLC_OK ? status : fail(reading, "", "the path is too long");
    }
    snprintf(out->file_names[out->n_files], CHECKPOINT_NAME_BYTES, "%.*s",
             (int)CHECKPOINT_NAME_BYTES - 1, name->string);
    status = plain_check(reading, name->string, path);
    if (status != DLC_OK) {
        return status;
    }
    Safetensors *file = &out->files[out->n_files++];
    status = safetensors_open_partly(file, path, out->allocator, message);
    if (status != DLC_OK) {
        snprintf(reading->message, CHECKPOINT_MESSAGE_BYTES, "%s", message);
        return status;
    }
    if (file->view.size != (uint64_t)bytes) {
        return fail(reading, name->string, "%zu bytes, %" PRId64 " in the manifest",
                    file->view.size, bytes);
    }
    CheckpointSum *sum = &out->sums[out->n_files - 1];
    *sum = (CheckpointSum){.wanted = (uint32_t)strtoul(digits, NULL, 16)};
    return part_sum(reading, &file->view, path, &sum->parts);
}

static dlc_status manifest_read(Reading *reading, const char *text, size_t length) {
    Checkpoint *out = reading->out;
    dlc_status status = text_check(reading, text, length);
    if (status != DLC_OK) {
        return status;
    }
    status = json_parse(text, length, out->allocator, &reading->json);
    if (status == DLC_ERROR_FORMAT) {
        return fail(reading, CHECKPOINT_MANIFEST, "offset %zu: expected %s",
                    reading->json.error_offset, reading->json.error);
    }
    if (status != DLC_OK) {
        return no_memory(reading);
    }
    const JsonNode *root = &reading->json.nodes[0];
    const JsonNode *format =
        root->kind == JSON_OBJECT ? json_member(&reading->json, root, "format") : NULL;
    if (!format || format->kind != JSON_STRING || strcmp(format->string, "dlc-checkpoint") != 0) {
        return fail(reading, CHECKPOINT_MANIFEST, "this is no checkpoint's manifest");
    }
    int64_t version = 0;
    status = integer_read(reading, root, "version", 1, &version);
    if (status == DLC_OK && version != 1) {
        fail(reading, CHECKPOINT_MANIFEST, "version %" PRId64 "; this library reads 1", version);
        return DLC_ERROR_UNSUPPORTED;
    }
    if (status == DLC_OK) {
        status = run_read(reading, root);
    }
    const JsonNode *files = json_member(&reading->json, root, "files");
    if (status == DLC_OK && (!files || files->kind != JSON_ARRAY || files->n_children < 1 ||
                             files->n_children > CHECKPOINT_FILES)) {
        status = fail(reading, CHECKPOINT_MANIFEST,
                      "expected 'files' to be a list of 1 to %d files", (int)CHECKPOINT_FILES);
    }
    if (status != DLC_OK) {
        return status;
    }
    out->files = raw_alloc(out->allocator, (size_t)files->n_children * sizeof(*out->files));
    out->file_names =
        raw_alloc(out->allocator, (size_t)files->n_children * sizeof(*out->file_names));
    out->sums = raw_alloc(out->allocator, (size_t)files->n_children * sizeof(*out->sums));
    if (!out->files || !out->file_names || !out->sums) {
        return no_memory(reading);
    }
    for (int32_t i = files->first_child; i >= 0 && status == DLC_OK;
         i = reading->json.nodes[i].next) {
        status = shard_open(reading, &reading->json.nodes[i]);
    }
    return status;
}

/* The checkpoint that the folder is. */
static dlc_status folder_read(Checkpoint *out, const char *folder, const dlc_allocator *allocator,
                              char *message) {
    Reading reading = {.out = out, .folder = folder, .message = message};
    char path[PATH_BYTES], reason[FILE_MESSAGE_BYTES] = "";
    int n = snprintf(path, sizeof(path), "%s/" CHECKPOINT_MANIFEST, folder);
    out->allocator = allocator;
    if (n < 0 || (size_t)n >= sizeof(path)) {
        return fail(&reading, "", "the path is too long");
    }
    FileView view;
    dlc_status status = plain_check(&reading, CHECKPOINT_MANIFEST, path);
    if (status != DLC_OK) {
        return status;
    }
    status = file_view_open(path, &view, reason);
    if (status != DLC_OK) {
        snprintf(message, CHECKPOINT_MESSAGE_BYTES, "%s", reason);
        return status;
    }
    status = manifest_read(&reading, (const char *)view.data, view.size);
    json_free(&reading.json);
    file_view_close(&view);
    return status;
}

/* -- The old form: one file, counters as metadata -- */

static dlc_status old_file_read(Checkpoint *out, const char *path, const dlc_allocator *allocator,
                                char *message) {
    Reading reading = {.out = out, .folder = path, .message = message};
    char reason[SAFETENSORS_MESSAGE_BYTES] = "";
    out->allocator = allocator;
    out->files = raw_alloc(allocator, sizeof(*out->files));
    if (!out->files) {
        return no_memory(&reading);
    }
    dlc_status status = safetensors_open_partly(&out->files[0], path, allocator, reason);
    if (status != DLC_OK) {
        snprintf(message, CHECKPOINT_MESSAGE_BYTES, "%s", reason);
        return status;
    }
    out->n_files = 1;
    const Safetensors *file = &out->files[0];
    const char *format = safetensors_metadata(file, "format");
    if (!format || strcmp(format, "dlc-checkpoint") != 0) {
        return fail(&reading, "", "this is no checkpoint: its metadata lack format dlc-checkpoint");
    }
    for (int32_t i = 0; i < file->n_metadata && status == DLC_OK; i++) {
        const SafetensorsPair *pair = &file->metadata[i];
        char *end = NULL;
        errno = 0;
        int64_t value = strtoll(pair->value, &end, 10);
        if (strcmp(pair->key, "format") == 0) {
            continue;
        }
        bool whole =
            !errno && end != pair->value && !*end && strchr(" \t\n\v\f\r+", pair->value[0]) == NULL;
        status = whole ? counter_add(&reading, "", pair->key, value)
                       : fail(&reading, "",
                              "expected the counter '%.60s' to be a whole number, "
                              "found '%.60s'",
                              pair->key, pair->value);
    }
    return status == DLC_OK ? counters_check(&reading, "", true) : status;
}

/* -- Opening -- */

dlc_status checkpoint_open(Checkpoint *out, const CheckpointFolder *folder, int64_t step,
                           CheckpointPart part, char *message) {
    const dlc_allocator *allocator = &folder->context->allocator;
    *out = (Checkpoint){.allocator = allocator, .part = part};
    char path[PATH_BYTES], name[CHECKPOINT_NAME_BYTES] = "";
    struct stat info;
    if (step != CHECKPOINT_ITSELF) {
        snprintf(name, sizeof(name), step < 0 ? "/" CHECKPOINT_OLD_FILE : "/step-%" PRId64, step);
    }
    int n = snprintf(path, sizeof(path), "%s%s", folder->path, name);
    snprintf(out->name, sizeof(out->name), "%.*s%s", step == CHECKPOINT_ITSELF ? 300 : 200,
             folder->path, name);
    dlc_status status = DLC_ERROR_INVALID_ARGUMENT;
    if (n < 0 || (size_t)n >= sizeof(path)) {
        snprintf(message, CHECKPOINT_MESSAGE_BYTES, "the checkpoint's path is too long");
    } else if (step < 0 && !(stat(path, &info) == 0 && S_ISDIR(info.st_mode))) {
        status = old_file_read(out, path, allocator, message);
    } else {
        status = folder_read(out, path, allocator, message);
        if (status == DLC_OK && step >= 0 && out->step != step) {
            snprintf(message, CHECKPOINT_MESSAGE_BYTES, "%.300s: its manifest is of step %" PRId64,
                     path, out->step);
            status = DLC_ERROR_FORMAT;
        }
    }
    if (status == DLC_OK && part.n == 1) {
        status = checkpoint_sums_check(out, message);
    }
    if (status != DLC_OK) {
        checkpoint_close(out);
    }
    return status;
}

dlc_status checkpoint_sums_check(const Checkpoint *checkpoint, char *message) {
    for (int32_t i = 0; i < checkpoint->n_files && checkpoint->sums; i++) {
        const CheckpointSum *sum = &checkpoint->sums[i];
        if (part_crc_whole(sum->parts, checkpoint->files[i].view.size) != sum->wanted) {
            snprintf(message, CHECKPOINT_MESSAGE_BYTES,
                     "%s/%s: its checksum is not the manifest's: damaged", checkpoint->name,
                     checkpoint->file_names[i]);
            return DLC_ERROR_FORMAT;
        }
    }
    return DLC_OK;
}

void checkpoint_close(Checkpoint *checkpoint) {
    for (int32_t i = 0; i < checkpoint->n_files; i++) {
        safetensors_close(&checkpoint->files[i]);
    }
    if (checkpoint->files) {
        raw_free(checkpoint->allocator, checkpoint->files);
    }
    if (checkpoint->file_names) {
        raw_free(checkpoint->allocator, checkpoint->file_names);
    }
    if (checkpoint->sums) {
        raw_free(checkpoint->allocator, checkpoint->sums);
    }
    checkpoint->sums = NULL;
    checkpoint->files = NULL;
    checkpoint->file_names = NULL;
    checkpoint->n_files = 0;
}

/* -- Comparing -- */

static void difference_add(Str *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void difference_add(Str *out, const char *format, ...) {
    va_list args;
    str_add(out, out->length > 0 ? "; " : "");
    va_start(args, format);
    str_vaddf(out, format, args);
    va_end(args);
}

void checkpoint_compare(const Checkpoint *checkpoint, const CheckpointRun *run, Str *out) {
    const CheckpointRun *then = &checkpoint->run;
    if (then->program[0] && run->program[0] && strcmp(then->program, run->program) != 0) {
        difference_add(out, "the program is another (%s, here %s)", then->program, run->program);
    }
    if (then->seed != run->seed) {
        difference_add(out, "seed %" PRId64 ", here %" PRId64, then->seed, run->seed);
    }
    if (then->data[0] && run->data[0] && strcmp(then->data, run->data) != 0) {
        difference_add(out, "the training data are others (%s, here %s)", then->data, run->data);
    }
    if (then->batch > 0 && run->batch > 0 && then->batch != run->batch) {
        difference_add(out, "batch %" PRId64 ", here %" PRId64, then->batch, run->batch);
    }
    if (then->steps > 0 && run->steps > 0 && then->steps != run->steps) {
        difference_add(out, "planned length %" PRId64 " steps, here %" PRId64, then->steps,
                       run->steps);
    }
}
