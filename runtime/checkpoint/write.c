/* See checkpoint.h: a run's folder, and how a checkpoint comes into it and goes. Everything under a
 * name that begins with a dot is unfinished, and garbage once its writer is gone. */
#include "runtime/checkpoint/checkpoint.h"

#include "ir/base/json.h"
#include "runtime/border.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define OLD_FILE      "last.safetensors"
#define SHARD_NAME    "rank-0.safetensors"
#define MANIFEST_NAME "manifest.json"

static dlc_status folder_fail(const CheckpointFolder *folder, const char *what, const char *name,
                              int error) {
    char path[4096], message[FILE_MESSAGE_BYTES];
    snprintf(path, sizeof(path), "%s%s%s", folder->path, name[0] ? "/" : "", name);
    dlc_status status = file_fail(message, what, path, error);
    return context_fail(folder->context, status, "%s", message);
}

static void step_name(int64_t step, const char *pattern, char out[CHECKPOINT_NAME_BYTES]) {
    char digits[24];
    snprintf(digits, sizeof(digits), "%" PRId64, step);
    snprintf(out, CHECKPOINT_NAME_BYTES, pattern, digits);
}

/* "step-40": 40; else -1. */
static int64_t step_of(const char *name) {
    if (strncmp(name, "step-", 5) != 0 || strspn(name + 5, "0123456789") != strlen(name + 5) ||
        name[5] == '\0' || (name[5] == '0' && name[6] != '\0') || strlen(name + 5) > 18) {
        return -1;
    }
    return strtoll(name + 5, NULL, 10);
}

/* Calls for every name in the folder until one gives an errno; a second handle, so that reading
 * starts at the beginning. */
static int names_each(int folder, int (*visit)(void *user, int folder, const char *name),
                      void *user) {
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    int error = list ? 0 : errno;
    if (!list && fd >= 0) {
        close(fd);
    }
    while (list && !error) {
        errno = 0;
        const struct dirent *item = readdir(list);
        if (!item) {
            error = errno;
            break;
        }
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0) {
            error = visit(user, folder, item->d_name);
        }
    }
    if (list) {
        closedir(list);
    }
    return error;
}

/* -- Removing -- */

static int file_remove(void *user, int folder, const char *name) {
    (void)user;
    return unlinkat(folder, name, 0) == 0 || errno == ENOENT ? 0 : errno;
}

/* A folder of files. */
static int tree_remove(int folder, const char *name) {
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOTDIR || errno == ELOOP ? file_remove(NULL, folder, name)
               : errno == ENOENT                  ? 0
                                                  : errno;
    }
    int error = names_each(fd, file_remove, NULL);
    close(fd);
    return !error && unlinkat(folder, name, AT_REMOVEDIR) != 0 ? errno : error;
}

static int leftover_remove(void *user, int folder, const char *name) {
    (void)user;
    const char *dot = name[0] == '.' ? strrchr(name + 1, '.') : NULL;
    if (!dot || strncmp(name, ".step-", 6) != 0 ||
        (strcmp(dot, ".tmp") != 0 && strcmp(dot, ".old") != 0)) {
        return 0;
    }
    return tree_remove(folder, name);
}

/* Half removed it must not look like a checkpoint. */
static int step_remove(int folder, int64_t step) {
    char name[CHECKPOINT_NAME_BYTES], aside[CHECKPOINT_NAME_BYTES];
    if (step < 0) {
        return file_remove(NULL, folder, OLD_FILE);
    }
    step_name(step, "step-%s", name);
    step_name(step, ".step-%s.old", aside);
    int error = tree_remove(folder, aside);
    if (!error && renameat(folder, name, folder, aside) != 0) {
        error = errno == ENOENT ? 0 : errno;
    }
    return error ? error : tree_remove(folder, aside);
}

/* -- The folder -- */

static void parent_sync(const char *path) {
    char parent[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof(parent)) {
        return;
    }
    memcpy(parent, path, length);
    parent[length] = '\0';
    int fd = open(slash ? (length ? parent : "/") : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

dlc_status checkpoint_folder_open(CheckpointFolder *folder, dlc_context *context,
                                  const char *path) {
    *folder = (CheckpointFolder){context, path, -1};
    if (mkdir(path, 0777) == 0) {
        parent_sync(path);
    } else if (errno != EEXIST) {
        return folder_fail(folder, "make folder", "", errno);
    }
    folder->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0) {
        return folder_fail(folder, "open folder", "", errno);
    }
    int error = file_lock(folder->fd);
    if (error == EWOULDBLOCK) {
        checkpoint_folder_close(folder);
        return context_fail(context, DLC_ERROR_LIMIT,
                            "'%s' is in use: another run writes its checkpoints there; wait for "
                            "its end, or take another folder",
                            path);
    }
    if (error) {
        context_log(context, DLC_LOG_WARNING,
                    "'%s' cannot be locked on this file system: see that no other run writes there",
                    path);
    }
    error = names_each(folder->fd, leftover_remove, NULL);
    if (error) {
        checkpoint_folder_close(folder);
        return folder_fail(folder, "clear folder", "", error);
    }
    return DLC_OK;
}

void checkpoint_folder_close(CheckpointFolder *folder) {
    if (folder->fd >= 0) {
        close(folder->fd);
    }
    folder->fd = -1;
}

typedef struct StepList {
    const dlc_allocator *allocator;
    int64_t *items;
    int64_t count, capacity;
} StepList;

static int step_add(void *user, int folder, const char *name) {
    StepList *list = user;
    (void)folder;
    int64_t step = step_of(name);
    if (step < 0 && strcmp(name, OLD_FILE) != 0) {
        return 0;
    }
    if (list->count == list->capacity) {
        int64_t capacity = list->capacity ? 2 * list->capacity : 16;
        int64_t *items = memory_new(list->allocator, (size_t)capacity, sizeof(*items));
        if (!items) {
            return ENOMEM;
        }
        if (list->count > 0) {
            memcpy(items, list->items, (size_t)list->count * sizeof(*items));
        }
        memory_free(list->allocator, list->items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = step;
    return 0;
}

static int later_first(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a < b) - (a > b);
}

dlc_status checkpoint_steps(const CheckpointFolder *folder, int64_t **out, int64_t *out_count) {
    StepList list = {.allocator = &folder->context->allocator};
    int error = names_each(folder->fd, step_add, &list);
    if (error) {
        memory_free(list.allocator, list.items);
        return folder_fail(folder, "read folder", "", error);
    }
    if (list.count > 1) {
        qsort(list.items, (size_t)list.count, sizeof(*list.items), later_first);
    }
    *out = list.items;
    *out_count = list.count;
    return DLC_OK;
}

dlc_status checkpoint_prune(CheckpointFolder *folder, int64_t step, bool keep_later) {
    int64_t *steps = NULL, count = 0;
    dlc_status status = checkpoint_steps(folder, &steps, &count);
    bool has_earlier = false;
    for (int64_t i = 0; i < count && status == DLC_OK; i++) {
        bool keep = steps[i] == step || (steps[i] > step ? keep_later : !has_earlier);
        has_earlier = has_earlier || steps[i] < step;
        int error = keep ? 0 : step_remove(folder->fd, steps[i]);
        status = error ? folder_fail(folder, "remove an old checkpoint in", "", error) : DLC_OK;
    }
    memory_free(&folder->context->allocator, steps);
    return status;
}

dlc_status checkpoint_remove_all(CheckpointFolder *folder) {
    int64_t *steps = NULL, count = 0;
    dlc_status status = checkpoint_steps(folder, &steps, &count);
    for (int64_t i = count; i-- > 0 && status == DLC_OK;) {
        int error = step_remove(folder->fd, steps[i]);
        status = error ? folder_fail(folder, "remove an old checkpoint in", "", error) : DLC_OK;
    }
    memory_free(&folder->context->allocator, steps);
    return status;
}

/* -- Writing -- */

static void manifest_member(Str *out, const char *key, const char *text) {
    if (text[0]) {
        str_addf(out, ",\n  \"%s\": \"%s\"", key, text);
    }
}

/* Ends with the checksum of all before it. */
static void manifest_add(Str *out, const dlc_session *session, const CheckpointRun *run,
                         uint64_t bytes, uint32_t crc) {
    str_addf(out, "{\n  \"format\": \"dlc-checkpoint\",\n  \"version\": 1,\n  \"step\": %" PRId64,
             session_counter((dlc_session *)(uintptr_t)session, "step"));
    if (run->steps > 0) {
        str_addf(out, ",\n  \"steps\": %" PRId64, run->steps);
    }
    str_addf(out, ",\n  \"seed\": %" PRId64, run->seed);
    manifest_member(out, "program", run->program);
    manifest_member(out, "data", run->data);
    if (run->batch > 0) {
        str_addf(out, ",\n  \"batch\": %" PRId64, run->batch);
    }
    str_add(out, ",\n  \"counters\": {");
    const char *lead = "";
    for (int32_t i = 0; i < session->n_scalars; i++) {
        if (session->scalars[i].is_integer) {
            str_add(out, lead);
            json_add_string(out, session->scalars[i].name);
            str_addf(out, ": %" PRId64, session->scalars[i].integer);
            lead = ", ";
        }
    }
    str_addf(out,
             "},\n  \"ranks\": 1,\n  \"files\": [{\"rank\": 0, \"name\": \"" SHARD_NAME
             "\", \"bytes\": %" PRIu64 ", \"crc32\": \"%08" PRIx32 "\"}]",
             bytes, crc);
    uint32_t own = (uint32_t)crc32_z(0, (const Bytef *)str_text(out), out->length);
    str_addf(out, ",\n  \"crc32\": \"%08" PRIx32 "\"\n}\n", own);
}

static dlc_status shard_write(const CheckpointFolder *folder, int fd, dlc_session *session,
                              uint64_t *out_bytes, uint32_t *out_crc) {
    char message[SAFETENSORS_MESSAGE_BYTES] = "";
    WeightsCollected state;
    dlc_status status = weights_collect(session, true, &state);
    if (status != DLC_OK) {
        return status;
    }
    const SafetensorsPair format = {"format", "dlc-checkpoint"};
    SafetensorsParts file;
    status = safetensors_parts(&file, folder->path, state.entries, state.n_entries, &format, 1,
                               &folder->context->allocator, message);
    if (status == DLC_OK) {
        *out_bytes = 0;
        *out_crc = 0;
        for (int i = 0; i < file.n_parts; i++) {
            *out_bytes += file.lengths[i];
            *out_crc = file.lengths[i] ? (uint32_t)crc32_z(*out_crc, file.parts[i], file.lengths[i])
                                       : *out_crc;
        }
        int error = file_create(fd, SHARD_NAME, file.parts, file.lengths, file.n_parts);
        safetensors_parts_free(&file);
        status = error ? folder_fail(folder, "write a checkpoint in", "", error) : DLC_OK;
    } else {
        context_fail(folder->context, status, "%s", message);
    }
    weights_collected_free(session, &state);
    return status;
}

static dlc_status content_write(const CheckpointFolder *folder, int fd, dlc_session *session,
                                const CheckpointRun *run) {
    uint64_t bytes;
    uint32_t crc;
    dlc_status status = shard_write(folder, fd, session, &bytes, &crc);
    if (status != DLC_OK) {
        return status;
    }
    Str manifest;
    str_init(&manifest, &folder->context->allocator);
    manifest_add(&manifest, session, run, bytes, crc);
    if (manifest.failed) {
        status = context_out_of_memory(folder->context);
    } else {
        const void *text = manifest.text;
        int error = file_create(fd, MANIFEST_NAME, &text, &manifest.length, 1);
        if (!error && fsync(fd) != 0 && errno != EINVAL) {
            error = errno;
        }
        status = error ? folder_fail(folder, "write a checkpoint in", "", error) : DLC_OK;
    }
    str_finish(&manifest);
    return status;
}

/* The finished folder takes its name; one of that name, which is damaged or of another run, goes.
 */
static int name_take(const CheckpointFolder *folder, const char *temporary, int64_t step) {
    char name[CHECKPOINT_NAME_BYTES];
    step_name(step, "step-%s", name);
    int error = renameat(folder->fd, temporary, folder->fd, name) == 0 ? 0 : errno;
    if (error == ENOTEMPTY || error == EEXIST || error == ENOTDIR) {
        error = step_remove(folder->fd, step);
        if (!error && renameat(folder->fd, temporary, folder->fd, name) != 0) {
            error = errno;
        }
    }
    if (!error) {
        (void)fsync(folder->fd); /* some file systems refuse to sync a folder */
    }
    return error;
}

dlc_status checkpoint_write(CheckpointFolder *folder, dlc_session *session,
                            const CheckpointRun *run) {
    int64_t step = session_counter(session, "step");
    char temporary[CHECKPOINT_NAME_BYTES];
    if (step < 0) {
        return context_fail(folder->context, DLC_ERROR_INVALID_ARGUMENT,
                            "the session's step is %" PRId64 ": no checkpoint has a negative one",
                            step);
    }
    step_name(step, ".step-%s.tmp", temporary);
    int error = names_each(folder->fd, leftover_remove, NULL);
    if (!error && mkdirat(folder->fd, temporary, 0777) != 0) {
        error = errno;
    }
    int fd =
        error ? -1 : openat(folder->fd, temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return folder_fail(folder, "write a checkpoint in", "", error ? error : errno);
    }
    dlc_status status = content_write(folder, fd, session, run);
    close(fd);
    if (status == DLC_OK) {
        error = name_take(folder, temporary, step);
        status = error ? folder_fail(folder, "write a checkpoint in", "", error) : DLC_OK;
    }
    if (status != DLC_OK) {
        (void)tree_remove(folder->fd, temporary);
        return status;
    }
    return checkpoint_prune(folder, step, false);
}

/* -- The session's own calls -- */

static CheckpointRun run_of_session(dlc_session *session) {
    CheckpointRun run = {.seed = session_counter(session, "seed"),
                         .steps = session_counter(session, "steps")};
    const char *program = plan_setting(session->file, "program");
    snprintf(run.program, sizeof(run.program), "%s", program ? program : "");
    return run;
}

/* Whether a whole checkpoint of a later step lies there, which saving would remove. */
static dlc_status later_refuse(const CheckpointFolder *folder, int64_t step) {
    int64_t *steps = NULL, count = 0;
    dlc_status status = checkpoint_steps(folder, &steps, &count);
    for (int64_t i = 0; i < count && status == DLC_OK && steps[i] > step; i++) {
        char message[CHECKPOINT_MESSAGE_BYTES] = "";
        Checkpoint found;
        if (checkpoint_open(&found, folder, steps[i], message) == DLC_OK) {
            checkpoint_close(&found);
            status = context_fail(folder->context, DLC_ERROR_MISMATCH,
                                  "'%s' holds a checkpoint of step %" PRId64
                                  ", later than this one of step %" PRId64
                                  ": load it, or save to another folder",
                                  folder->path, steps[i], step);
        }
    }
    memory_free(&folder->context->allocator, steps);
    return status;
}

dlc_status dlc_checkpoint_save(dlc_session *session, const char *path) {
    BORDER_CALL(session ? session->context : NULL);
    if (!path) {
        return border_missing(session->context, "path");
    }
    CheckpointFolder folder;
    dlc_status status = checkpoint_folder_open(&folder, session->context, path);
    if (status != DLC_OK) {
        return status;
    }
    CheckpointRun run = run_of_session(session);
    int64_t step = session_counter(session, "step");
    status = step >= 0 ? later_refuse(&folder, step) : DLC_OK;
    if (status == DLC_OK) {
        status = checkpoint_write(&folder, session, &run);
    }
    checkpoint_folder_close(&folder);
    return status;
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

dlc_status dlc_checkpoint_load(dlc_session *session, const char *path) {
    BORDER_CALL(session ? session->context : NULL);
    if (!path) {
        return border_missing(session->context, "path");
    }
    dlc_context *context = session->context;
    Checkpoint checkpoint;
    dlc_status status = checkpoint_open_path(&checkpoint, context, path);
    if (status != DLC_OK) {
        return status;
    }
    CheckpointRun run = run_of_session(session);
    run.seed = checkpoint.run.seed; /* both come from the checkpoint */
    run.steps = checkpoint.run.steps;
    Str differences;
    str_init(&differences, &context->allocator);
    checkpoint_compare(&checkpoint, &run, &differences);
    if (differences.failed) {
        status = context_out_of_memory(context);
    } else if (differences.length > 0) {
        status = context_fail(context, DLC_ERROR_MISMATCH, "'%s' is of another run: %s",
                              checkpoint.name, str_text(&differences));
    }
    str_finish(&differences);
    if (status == DLC_OK) {
        status = weights_restore(session, &checkpoint);
    }
    if (status == DLC_OK) {
        status = checkpoint_counters(session, &checkpoint);
    }
    checkpoint_close(&checkpoint);
    return status;
}
