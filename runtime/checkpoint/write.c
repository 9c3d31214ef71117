/* Writing a checkpoint (checkpoint.h): its files and manifest under an unfinished name, then one
 * rename. */
#include "runtime/checkpoint/weights.h"

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

#define SHARD_NAME "rank-0.safetensors"

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
    str_addf(out,
             "},\n  \"ranks\": 1,\n  \"files\": [{\"rank\": 0, \"name\": \"" SHARD_NAME
             "\", \"bytes\": %" PRIu64 ", \"crc32\": \"%08" PRIx32 "\"}]",
             bytes, crc);
    uint32_t own = (uint32_t)crc32_z(0, (const Bytef *)str_text(out), out->length);
    str_addf(out, ",\n  \"crc32\": \"%08" PRIx32 "\"\n}\n", own);
}

static dlc_status shard_write(const CheckpointFolder *folder, int fd, const WeightsCollected *state,
                              uint64_t *out_bytes, uint32_t *out_crc) {
    char message[SAFETENSORS_MESSAGE_BYTES] = "";
    const SafetensorsPair format = {"format", "dlc-checkpoint"};
    SafetensorsParts file;
    dlc_status status = safetensors_parts(&file, folder->path, state->entries, state->n_entries,
                                          &format, 1, &folder->context->allocator, message);
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
        status =
            error ? checkpoint_folder_fail(folder, "write a checkpoint in", "", error) : DLC_OK;
    } else {
        context_fail(folder->context, status, "%s", message);
    }
    return status;
}

static dlc_status content_write(const CheckpointFolder *folder, int fd, dlc_session *session,
                                const CheckpointRun *run, const WeightsCollected *state) {
    uint64_t bytes;
    uint32_t crc;
    dlc_status status = shard_write(folder, fd, state, &bytes, &crc);
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
        int error = file_create(fd, CHECKPOINT_MANIFEST, &text, &manifest.length, 1);
        if (!error && fsync(fd) != 0 && errno != EINVAL) {
            error = errno;
        }
        status =
            error ? checkpoint_folder_fail(folder, "write a checkpoint in", "", error) : DLC_OK;
    }
    str_finish(&manifest);
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

static dlc_status step_write(CheckpointFolder *folder, dlc_session *session,
                             const CheckpointRun *run, const WeightsCollected *state) {
    int64_t step = session_counter(session, "step");
    char temporary[CHECKPOINT_NAME_BYTES];
    if (step < 0) {
        return context_fail(folder->context, DLC_ERROR_INVALID_ARGUMENT,
                            "the session's step is %" PRId64 ": no checkpoint has a negative one",
                            step);
    }
    checkpoint_step_name(step, ".step-%s.tmp", temporary);
    int error = checkpoint_clean(folder);
    if (!error && mkdirat(folder->fd, temporary, 0777) != 0) {
        error = errno;
    }
    int fd =
        error ? -1 : openat(folder->fd, temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return checkpoint_folder_fail(folder, "write a checkpoint in", "", error ? error : errno);
    }
    dlc_status status = content_write(folder, fd, session, run, state);
    close(fd);
    if (status == DLC_OK) {
        error = name_take(folder, temporary, step);
        status =
            error ? checkpoint_folder_fail(folder, "write a checkpoint in", "", error) : DLC_OK;
    }
    if (status != DLC_OK) {
        (void)checkpoint_tree_remove(folder->fd, temporary);
        return status;
    }
    return checkpoint_prune(folder, step, false);
}

dlc_status checkpoint_write(CheckpointFolder *folder, dlc_session *session,
                            const CheckpointRun *run) {
    WeightsCollected state;
    dlc_status status = weights_collect(session, true, &state);
    if (status != DLC_OK) {
        return status;
    }
    if (session_writes(session)) {
        status = step_write(folder, session, run, &state);
    }
    weights_collected_free(session, &state);
    return session_agree(session, status);
}
