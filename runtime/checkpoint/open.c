/* Finding and opening a checkpoint (checkpoint.h), by all sessions that share a communicator at
 * once: the one that writes files says which, each reads a part of it for the checksum, and all end
 * alike.
 */
#include "runtime/checkpoint/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEP_NONE = -3 };

/* NULL: alone. */
static bool is_shared(const dlc_session *session) {
    return session && session->communicator && session->n_all > 1;
}

static bool is_first(const dlc_session *session) {
    return !session || session_writes(session);
}

static dlc_status first_say(dlc_session *session, int64_t *value) {
    return is_shared(session) ? session_first(session, value) : DLC_OK;
}

static dlc_status all_agree(dlc_session *session, dlc_status status) {
    return is_shared(session) ? session_agree(session, status) : status;
}

/* What all have of the files' checksums. */
static dlc_status sums_join(Checkpoint *checkpoint, dlc_session *session) {
    dlc_status status = DLC_OK;
    for (int32_t i = 0; i < checkpoint->n_files && checkpoint->sums && status == DLC_OK; i++) {
        const int64_t *all;
        status =
            session_numbers(session, "checksums of a checkpoint", checkpoint->sums[i].parts, &all);
        checkpoint->sums[i].parts = 0;
        for (int32_t r = 0; r < session->n_all && status == DLC_OK; r++) {
            checkpoint->sums[i].parts ^= (uint32_t)all[r];
        }
    }
    return status;
}

/* What one that opens it and is not the first has to say of a failure. */
static void apart_text(const dlc_session *session, const char *path, char *message) {
    char host[64] = "", reason[CHECKPOINT_MESSAGE_BYTES];
    if (gethostname(host, sizeof(host) - 1) != 0) {
        host[0] = '\0';
    }
    snprintf(reason, sizeof(reason), "%s", message);
    snprintf(message, CHECKPOINT_MESSAGE_BYTES,
             "rank %d on host '%s': %.500s (rank 0 reads it: '%.200s' has to be a folder that all "
             "ranks share, at the same path)",
             (int)session->communicator->rank, host, reason, path);
}

/* How all have fared in opening it, with the same message. *damaged: it is so for all, and an older
 * one may do. */
static dlc_status opened_agree(Checkpoint *out, dlc_session *session, dlc_status status,
                               const char *path, bool *damaged, char *message) {
    const int64_t *all;
    bool any = false;
    if (status != DLC_OK && !session_writes(session)) {
        apart_text(session, path, message);
    }
    dlc_status met = session_numbers(session, "whether the checkpoint is there", status, &all);
    dlc_status worst = DLC_OK;
    for (int32_t r = session->n_all - 1; r >= 0 && met == DLC_OK; r--) {
        worst = all[r] != DLC_OK ? (dlc_status)all[r] : worst;
    }
    *damaged = met == DLC_OK && (all[0] != DLC_OK || worst == DLC_OK);
    if (met == DLC_OK && worst == DLC_OK) {
        met = sums_join(out, session);
        worst = met == DLC_OK ? checkpoint_sums_check(out, message) : met;
    } else if (met == DLC_OK) {
        met = session_tell(session, status != DLC_OK, message, CHECKPOINT_MESSAGE_BYTES, &any);
    }
    if (met != DLC_OK) {
        *damaged = false;
        snprintf(message, CHECKPOINT_MESSAGE_BYTES, "%.*s", CHECKPOINT_MESSAGE_BYTES - 1,
                 session->context->error);
    }
    return met == DLC_OK ? worst : met;
}

static dlc_status one_open(Checkpoint *out, dlc_session *session, const CheckpointFolder *folder,
                           int64_t step, bool *damaged, char *message) {
    bool shared = is_shared(session);
    CheckpointPart part = {shared ? session->communicator->rank : 0, shared ? session->n_all : 1};
    dlc_status status = checkpoint_open(out, folder, step, part, message);
    *damaged = status != DLC_ERROR_OUT_OF_MEMORY;
    if (shared) {
        bool opened = status == DLC_OK;
        status = opened_agree(out, session, status, folder->path, damaged, message);
        if (status != DLC_OK && opened) {
            checkpoint_close(out);
        }
    }
    return status;
}

dlc_status checkpoint_open_latest(Checkpoint *out, dlc_session *session,
                                  const CheckpointFolder *folder) {
    dlc_context *context = folder->context;
    int64_t *steps = NULL, count = 0;
    char message[CHECKPOINT_MESSAGE_BYTES] = "";
    *out = (Checkpoint){.allocator = &context->allocator};
    dlc_status status =
        all_agree(session, is_first(session) ? checkpoint_steps(folder, &steps, &count) : DLC_OK);
    dlc_status found = DLC_ERROR_NOT_FOUND;
    bool damaged = true;
    for (int64_t i = 0; found != DLC_OK && damaged && status == DLC_OK; i++) {
        int64_t step = i < count ? steps[i] : STEP_NONE;
        status = first_say(session, &step);
        if (status != DLC_OK || step == STEP_NONE) {
            break;
        }
        if (i > 0 && is_first(session)) {
            context_log(context, DLC_LOG_WARNING,
                        "a checkpoint is damaged, the one before it is taken: %s", message);
        }
        found = one_open(out, session, folder, step, &damaged, message);
    }
    memory_free(&context->allocator, steps);
    if (status != DLC_OK || found == DLC_OK) {
        return status;
    }
    return message[0]
               ? context_fail(context, found, "%s", message)
               : context_fail(context, found, "there is no checkpoint in '%s'", folder->path);
}

/* Whether it is a run's folder, with checkpoints in it. */
static bool is_run(const char *path) {
    char manifest[4096 + 64];
    struct stat info;
    int n = snprintf(manifest, sizeof(manifest), "%s/" CHECKPOINT_MANIFEST, path);
    return n > 0 && (size_t)n < sizeof(manifest) && stat(path, &info) == 0 &&
           S_ISDIR(info.st_mode) && access(manifest, F_OK) != 0;
}

dlc_status checkpoint_open_path(Checkpoint *out, dlc_context *context, dlc_session *session,
                                const char *path) {
    CheckpointFolder folder = {context, path, -1};
    char message[CHECKPOINT_MESSAGE_BYTES] = "";
    int64_t run = is_run(path);
    bool damaged;
    *out = (Checkpoint){.allocator = &context->allocator};
    dlc_status status = first_say(session, &run);
    if (status == DLC_OK && !run) {
        status = one_open(out, session, &folder, CHECKPOINT_ITSELF, &damaged, message);
        return status == DLC_OK ? DLC_OK : context_fail(context, status, "%s", message);
    }
    if (status == DLC_OK && is_first(session)) {
        folder.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        status =
            folder.fd >= 0 ? DLC_OK : checkpoint_folder_fail(&folder, "open folder", "", errno);
    }
    status = all_agree(session, status);
    if (status == DLC_OK) {
        status = checkpoint_open_latest(out, session, &folder);
    }
    checkpoint_folder_close(&folder);
    return status;
}
