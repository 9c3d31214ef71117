/* A weights file, of which each session writes what its ranks have (share.h). */
#include "runtime/checkpoint/common.h"
#include "runtime/checkpoint/share.h"

#include <errno.h>
#include <unistd.h>

static const SafetensorsPair format = {"format", "pt"};

/* By the session that writes files, which has all of it: where sessions have no folder in common,
 * or the file can only be written where it stands. */
static dlc_status gathered_save(dlc_session *session, const char *path) {
    char message[SAFETENSORS_MESSAGE_BYTES] = "";
    WeightsCollected weights;
    dlc_status status = weights_collect(session, false, &weights);
    if (status != DLC_OK) {
        return status;
    }
    if (session_writes(session)) {
        status = safetensors_write(path, weights.entries, weights.n_entries, &format, 1,
                                   &session->context->allocator, message);
        status = status == DLC_OK ? DLC_OK : context_fail(session->context, status, "%s", message);
    }
    weights_collected_free(session, &weights);
    return session_agree(session, status);
}

/* This session's share, synced; closes `fd` where it is not the making's own. */
static dlc_status share_put(const Share *share, const char *path, int fd, bool closes) {
    char message[FILE_MESSAGE_BYTES];
    uint32_t crc;
    int error = 0;
    dlc_status status = share_write(share, fd, &crc, &error);
    if (closes && close(fd) != 0 && !error) {
        error = errno;
    }
    return status == DLC_OK && error
               ? context_fail(share->session->context, file_fail(message, "write", path, error),
                              "%s", message)
               : status;
}

/* Ends the file in the session that makes it; `keep`: all have written. *in_place: it could not
 * take its name. */
static dlc_status making_end(dlc_session *session, FileMaking *making, const char *path, bool keep,
                             bool *in_place) {
    char message[FILE_MESSAGE_BYTES];
    dlc_status status = making ? file_making_end(making, path, keep, in_place, message) : DLC_OK;
    return status == DLC_OK ? DLC_OK : context_fail(session->context, status, "%s", message);
}

/* Ends `making`. *alone: the file is to be written by one session. */
static dlc_status shared_save(const Share *share, const char *path, FileMaking *making,
                              bool *alone) {
    dlc_session *session = share->session;
    bool common = true, in_place = false;
    int fd = -1;
    dlc_status status = common_open(session, making ? file_making_path(making) : "",
                                    making ? file_making_fd(making) : -1, &fd, &common);
    if (status == DLC_OK && common) {
        status = session_agree(session, share_put(share, path, fd, !making));
    }
    bool keeps = status == DLC_OK && common;
    dlc_status ended = making_end(session, making, path, keeps, &in_place);
    if (!keeps) {
        *alone = status == DLC_OK;
        return status;
    }
    int64_t stays = in_place;
    status = session_agree(session, ended);
    status = status == DLC_OK ? session_first(session, &stays) : status;
    *alone = stays != 0;
    return status;
}

dlc_status weights_save(dlc_session *session, const char *path) {
    char message[FILE_MESSAGE_BYTES];
    FileMaking *making = NULL;
    Share share = {0};
    bool alone = common_lacks(session), in_place;
    dlc_status status = alone ? DLC_OK : share_begin(session, false, &format, &share);
    if (!alone && status == DLC_OK && session_writes(session)) {
        status = file_making_begin(path, share.bytes, &making, message);
        status = status == DLC_OK ? DLC_OK : context_fail(session->context, status, "%s", message);
    }
    int64_t by_one = alone || (session_writes(session) && !making);
    status = session_agree(session, status);
    status = status == DLC_OK ? session_first(session, &by_one) : status;
    alone = by_one != 0;
    if (status == DLC_OK && !alone) {
        status = shared_save(&share, path, making, &alone);
    } else if (making) {
        (void)making_end(session, making, path, false, &in_place);
    }
    share_end(&share);
    return status == DLC_OK && alone ? gathered_save(session, path) : status;
}
