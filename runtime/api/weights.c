/* The public calls for weights: saved to a file, loaded from one or from a checkpoint. */
#include "runtime/checkpoint/weights.h"
#include "runtime/border.h"
#include "runtime/session/average.h"

#include <sys/stat.h>

dlc_status dlc_weights_save(dlc_session *session, const char *path) {
    BORDER_CALL(session ? session->context : NULL);
    if (!path) {
        return border_missing(session->context, "path");
    }
    session_takes_long(session, "saving weights");
    dlc_status status = session_call_begin(session);
    if (status == DLC_OK) {
        status = session_replicas_save(session);
    }
    return status == DLC_OK ? weights_save(session, path) : status;
}

static dlc_status load_file(dlc_session *session, const char *path,
                            const dlc_weights_options *options) {
    char message[SAFETENSORS_MESSAGE_BYTES] = "";
    Safetensors file;
    dlc_status status = safetensors_open_partly(&file, path, &session->context->allocator, message);
    status = status == DLC_OK ? DLC_OK : context_fail(session->context, status, "%s", message);
    status = session_agree(session, status);
    if (status != DLC_OK) {
        safetensors_close(&file);
        return status;
    }
    WeightsLoading loading = {.session = session,
                              .files = &file,
                              .n_files = 1,
                              .prefix = weights_prefix(session, &file),
                              .options = options};
    status = weights_load(&loading, path);
    safetensors_close(&file);
    return status;
}

/* What dlc_weights_save would have written at that step, and the counters. */
static dlc_status load_checkpoint(dlc_session *session, const char *path,
                                  const dlc_weights_options *options) {
    Checkpoint checkpoint;
    dlc_status status = checkpoint_open_path(&checkpoint, session->context, session, path);
    if (status != DLC_OK) {
        return status;
    }
    WeightsLoading loading = {.session = session,
                              .files = checkpoint.files,
                              .n_files = checkpoint.n_files,
                              .averaged = !session->orders.raw_weights,
                              .options = options};
    status = weights_load(&loading, checkpoint.name);
    status = status == DLC_OK ? checkpoint_counters(session, &checkpoint) : status;
    checkpoint_close(&checkpoint);
    return status;
}

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
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
    session_takes_long(session, "loading weights");
    dlc_status status = session_call_begin(session);
    int64_t folder = is_folder(path);
    status = status == DLC_OK ? session_first(session, &folder) : status;
    if (status == DLC_OK) {
        status = folder ? load_checkpoint(session, path, &given) : load_file(session, path, &given);
    }
    return status == DLC_OK ? averages_restart(session, NULL) : status;
}
