/* Writing a checkpoint (checkpoint.h): its files and manifest under an unfinished name, then one
 * rename. */
#include "runtime/checkpoint/weights.h"

#include "ir/base/json.h"
#include "runtime/checkpoint/common.h"
#include "runtime/checkpoint/part_crc.h"
#include "runtime/checkpoint/share.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define SHARD_NAME "rank-0.safetensors"

/* -- Writing -- */

static void manifest_member(Str *out, const char *key, const char *text) {
    if (text[0]) {
        str_addf(out, ",\n  \"%s\": \"%s\"", key, text);
    }
}

/* All but the file's checksum, and the manifest's own. */
static void manifest_begin(Str *out, const dlc_session *session, const CheckpointRun *run) {
    str_addf(out, "{\n  \"format\": \"dlc-checkpoint\",\n  \"version\": 1,\n  \"step\": %" PRId64,
             session_counter(session, "step"));
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
    for (int32_t i = 0; i < session->orders.n_scalars; i++) {
        if (session->orders.scalars[i].is_integer) {
            str_add(out, lead);
            json_add_string(out, session->orders.scalars[i].name);
            str_addf(out, ": %" PRId64, session->orders.scalars[i].integer);
            lead = ", ";
        }
    }
    str_addf(out, "},\n  \"ranks\": %d,\n  \"files\": [{\"rank\": 0, \"name\": \"" SHARD_NAME "\"",
             session->communicator ? (int)session->n_all : 1);
}

static void manifest_end(Str *out, uint64_t bytes, uint32_t crc) {
    str_addf(out, ", \"bytes\": %" PRIu64 ", \"crc32\": \"%08" PRIx32 "\"}]", bytes, crc);
    uint32_t own = (uint32_t)crc32_z(0, (const Bytef *)str_text(out), out->length);
    str_addf(out, ",\n  \"crc32\": \"%08" PRIx32 "\"\n}\n", own);
}

static const char what[] = "write a checkpoint in";

/* A checkpoint on its way: the folder under its unfinished name, and what this session has of its
 * file. */
struct CheckpointSaving {
    const CheckpointFolder *folder;
    dlc_session *session;
    int64_t step;
    char temporary[CHECKPOINT_NAME_BYTES]; /* "": none was made */
    int made;                              /* in the session that makes it; -1: not open */
    int fd;                                /* of the file */
    Share share;
    Str manifest;
    bool is_copied;
    bool is_over;                      /* all sessions have met its end in an error */
    uint32_t crc;                      /* of the session's share */
    dlc_status status;                 /* what went wrong since the last call of all sessions … */
    char message[CONTEXT_ERROR_BYTES]; /* … in words */
};

/* By an errno; any thread. */
static void saving_fail(CheckpointSaving *saving, int error) {
    if (error && saving->status == DLC_OK) {
        saving->status = file_fail(saving->message, what, saving->folder->path, error);
    }
}

/* By the context's error. */
static void saving_take(CheckpointSaving *saving, dlc_status status) {
    if (status != DLC_OK && saving->status == DLC_OK) {
        saving->status = status;
        snprintf(saving->message, sizeof(saving->message), "%s", saving->session->context->error);
    }
}

static void descriptor_close(int *fd) {
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

static void saving_free(CheckpointSaving *saving) {
    descriptor_close(&saving->fd);
    descriptor_close(&saving->made);
    share_end(&saving->share);
    str_finish(&saving->manifest);
    memory_free(&saving->session->context->allocator, saving);
}

static void temporary_remove(CheckpointSaving *saving) {
    descriptor_close(&saving->made);
    if (saving->temporary[0]) {
        (void)checkpoint_tree_remove(saving->folder->fd, saving->temporary);
        saving->temporary[0] = '\0';
    }
}

/* What a call of all sessions came to; nothing is left of the folder where one has failed. */
static dlc_status saving_agree(CheckpointSaving *saving) {
    dlc_context *context = saving->session->context;
    dlc_status status = saving->status;
    if (status != DLC_OK) {
        context_fail(context, status, "%s", saving->message);
    }
    if (saving->is_over) {
        return status;
    }
    status = session_agree(saving->session, status);
    if (status != DLC_OK) {
        saving->is_over = true;
        saving->status = DLC_OK; /* from now on it is what all say */
        saving_take(saving, status);
        temporary_remove(saving);
    }
    return status;
}

/* The finished folder takes its name; one of that name, which is damaged or of another run, goes.
 */
static int name_take(const CheckpointFolder *folder, const char *temporary, int64_t step) {
    char name[CHECKPOINT_NAME_BYTES];
    checkpoint_step_name(step, "step-%s", name);
    int error = renameat(folder->fd, temporary, folder->fd, name) == 0 ? 0 : errno;
    if (error == ENOTEMPTY || error == EEXIST || error == ENOTDIR) {
        error = checkpoint_step_remove(folder->fd, step);
        if (!error && renameat(folder->fd, temporary, folder->fd, name) != 0) {
            error = errno;
        }
    }
    if (!error) {
        (void)fsync(folder->fd); /* some file systems refuse to sync a folder */
    }
    return error;
}

/* The unfinished folder; its name has a number that no other's has. */
static int temporary_make(CheckpointSaving *saving) {
    char pattern[CHECKPOINT_NAME_BYTES];
    const CheckpointFolder *folder = saving->folder;
    int error = checkpoint_clean(folder);
    snprintf(pattern, sizeof(pattern), ".step-%%s.%" PRIu32 ".tmp", file_token());
    checkpoint_step_name(saving->step, pattern, saving->temporary);
    if (!error && mkdirat(folder->fd, saving->temporary, 0777) != 0) {
        error = errno;
    }
    if (error) {
        saving->temporary[0] = '\0';
        return error;
    }
    saving->made =
        openat(folder->fd, saving->temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return saving->made >= 0 ? 0 : errno;
}

/* The file, with its room, and its end of it in every session. *common false: they have no folder
 * in common, and nothing is left of it. */
static dlc_status file_open(CheckpointSaving *saving, bool *common) {
    dlc_session *session = saving->session;
    char path[COMMON_PATH_BYTES];
    int fd = -1;
    if (saving->status == DLC_OK && session_writes(session)) {
        int error = temporary_make(saving);
        error =
            error ? error : file_create_sized(saving->made, SHARD_NAME, saving->share.bytes, &fd);
        saving_fail(saving, error);
    }
    saving->fd = fd;
    dlc_status status = saving_agree(saving);
    if (status == DLC_OK) {
        snprintf(path, sizeof(path), "%s/%s/" SHARD_NAME, saving->folder->path, saving->temporary);
        status = common_open(session, path, fd, &saving->fd, common);
        saving_take(saving, status);
    }
    if (status == DLC_OK && !*common) {
        temporary_remove(saving);
        descriptor_close(&saving->fd);
    }
    return status;
}

static CheckpointSaving *saving_new(const CheckpointFolder *folder, dlc_session *session) {
    CheckpointSaving *saving = memory_new(&session->context->allocator, 1, sizeof(*saving));
    if (saving) {
        saving->folder = folder;
        saving->session = session;
        saving->step = session_counter(session, "step");
        saving->made = saving->fd = -1;
        str_init(&saving->manifest, &session->context->allocator);
    }
    return saving;
}

static dlc_status share_take(CheckpointSaving *saving, bool copies) {
    const SafetensorsPair format = {"format", "dlc-checkpoint"};
    dlc_status status = share_begin(saving->session, true, &format, &saving->share);
    if (status == DLC_OK && copies) {
        status = share_copy(&saving->share, &saving->is_copied);
    }
    return status;
}

/* -- One session for all -- */

static dlc_status shard_write(CheckpointSaving *saving, const WeightsCollected *state,
                              uint64_t *out_bytes) {
    char message[SAFETENSORS_MESSAGE_BYTES] = "";
    const SafetensorsPair format = {"format", "dlc-checkpoint"};
    dlc_context *context = saving->session->context;
    SafetensorsParts file;
    dlc_status status =
        safetensors_parts(&file, saving->folder->path, state->entries, state->n_entries, &format, 1,
                          &context->allocator, message);
    if (status != DLC_OK) {
        return context_fail(context, status, "%s", message);
    }
    *out_bytes = 0;
    saving->crc = 0;
    for (int i = 0; i < file.n_parts; i++) {
        *out_bytes += file.lengths[i];
        saving->crc = file.lengths[i]
                          ? (uint32_t)crc32_z(saving->crc, file.parts[i], file.lengths[i])
                          : saving->crc;
    }
    saving_fail(saving,
                file_create(saving->made, SHARD_NAME, file.parts, file.lengths, file.n_parts));
    safetensors_parts_free(&file);
    return DLC_OK;
}

/* Where the sessions have no folder in common: the one that has it gets all. */
static dlc_status gathered_write(CheckpointSaving *saving) {
    dlc_session *session = saving->session;
    WeightsCollected state;
    uint64_t bytes = 0;
    dlc_status status = weights_collect(session, true, &state);
    if (status != DLC_OK) {
        return status;
    }
    if (session_writes(session)) {
        saving_fail(saving, temporary_make(saving));
        if (saving->status == DLC_OK) {
            saving_take(saving, shard_write(saving, &state, &bytes));
        }
        if (saving->status == DLC_OK) {
            manifest_end(&saving->manifest, bytes, saving->crc);
        }
    }
    weights_collected_free(session, &state);
    saving_finish(saving);
    return saving_agree(saving);
}

/* -- All of them -- */

dlc_status checkpoint_begin(CheckpointFolder *folder, dlc_session *session,
                            const CheckpointRun *run, bool copies, CheckpointSaving **out) {
    CheckpointSaving *saving = saving_new(folder, session);
    bool common = !common_lacks(session);
    *out = NULL;
    dlc_status status = saving ? DLC_OK : context_out_of_memory(session->context);
    if (status == DLC_OK && saving->step < 0) {
        status = context_fail(session->context, DLC_ERROR_INVALID_ARGUMENT,
                              "the session's step is %" PRId64 ": no checkpoint has a negative one",
                              saving->step);
    }
    if (status == DLC_OK) {
        manifest_begin(&saving->manifest, session, run);
        status = common ? share_take(saving, copies) : DLC_OK;
    }
    if (!saving) {
        return session_agree(session, status);
    }
    saving_take(saving, status);
    status = common ? file_open(saving, &common) : saving_agree(saving);
    if (status == DLC_OK && !common) {
        status = gathered_write(saving);
    } else if (status == DLC_OK) {
        *out = saving;
        return DLC_OK;
    }
    saving_free(saving);
    return status;
}

bool saving_is_copied(const CheckpointSaving *saving) {
    return saving->is_copied;
}

void saving_part(CheckpointSaving *saving) {
    int error = 0;
    dlc_status status = share_write(&saving->share, saving->fd, &saving->crc, &error);
    saving_take(saving, status); /* of copied ones it is DLC_OK */
    if (close(saving->fd) != 0 && !error) {
        error = errno;
    }
    saving->fd = -1;
    saving_fail(saving, error);
}

/* The file's checksum, of what all sessions say of their shares. */
static dlc_status crc_join(CheckpointSaving *saving) {
    uint32_t crc = saving->crc;
    const int64_t *all;
    if (saving->session->communicator) {
        dlc_status status =
            session_numbers(saving->session, "checksums of what was written", crc, &all);
        if (status != DLC_OK) {
            saving_take(saving, status);
            return saving_agree(saving);
        }
        crc = 0;
        for (int32_t r = 0; r < saving->session->n_all; r++) {
            crc ^= (uint32_t)all[r];
        }
    }
    saving->crc = part_crc_whole(crc, saving->share.bytes);
    return DLC_OK;
}

dlc_status saving_join(CheckpointSaving *saving) {
    dlc_status status = saving_agree(saving);
    if (status == DLC_OK) {
        status = crc_join(saving);
    }
    if (status == DLC_OK) {
        manifest_end(&saving->manifest, saving->share.bytes, saving->crc);
    }
    return status;
}

void saving_finish(CheckpointSaving *saving) {
    const Str *manifest = &saving->manifest;
    if (saving->status != DLC_OK || saving->made < 0) {
        return;
    }
    const void *text = manifest->text;
    int error = manifest->failed
                    ? ENOMEM
                    : file_create(saving->made, CHECKPOINT_MANIFEST, &text, &manifest->length, 1);
    if (!error && fsync(saving->made) != 0 && errno != EINVAL) {
        error = errno;
    }
    descriptor_close(&saving->made);
    error = error ? error : name_take(saving->folder, saving->temporary, saving->step);
    if (!error) {
        saving->temporary[0] = '\0';
        error = checkpoint_prune(saving->folder, saving->step, false);
    }
    saving_fail(saving, error);
}

dlc_status saving_end(CheckpointSaving *saving) {
    dlc_status status = saving_agree(saving);
    saving_free(saving);
    return status;
}

void saving_abandon(CheckpointSaving *saving) {
    if (saving) {
        temporary_remove(saving);
        saving_free(saving);
    }
}

dlc_status checkpoint_write(CheckpointFolder *folder, dlc_session *session,
                            const CheckpointRun *run) {
    CheckpointSaving *saving;
    dlc_status status = checkpoint_begin(folder, session, run, false, &saving);
    if (status != DLC_OK || !saving) {
        return status;
    }
    saving_part(saving);
    status = saving_join(saving);
    if (status == DLC_OK) {
        saving_finish(saving);
    }
    return saving_end(saving);
}
