/* The public face of checkpoints: saving a session's into a folder, loading one. */
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/border.h"
#include "runtime/checkpoint/weights.h"

#include <inttypes.h>
#include <stdio.h>

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
        if (checkpoint_open(&found, folder, steps[i], (CheckpointPart){0, 1}, message) == DLC_OK) {
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
    session_takes_long(session, "saving a checkpoint");
    CheckpointFolder folder = {.context = session->context, .path = path, .fd = -1};
    bool writes = session_writes(session);
    dlc_status status = session_call_begin(session);
    if (status == DLC_OK && writes) {
        status = checkpoint_folder_open(&folder, session->context, path);
    }
    CheckpointRun run = run_of_session(session);
    int64_t step = session_counter(session, "step");
    if (status == DLC_OK && writes && step >= 0) {
        status = later_refuse(&folder, step);
    }
    status = session_agree(session, status);
    if (status == DLC_OK) {
        status = session_replicas_save(session);
    }
    if (status == DLC_OK) {
        status = checkpoint_write(&folder, session, &run);
    }
    checkpoint_folder_close(&folder);
    return status;
}

static dlc_status load(dlc_session *session, const char *path) {
    dlc_context *context = session->context;
    Checkpoint checkpoint;
    dlc_status status = checkpoint_open_path(&checkpoint, context, session, path);
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
    status = session_agree(session, status);
    if (status == DLC_OK) {
        status = weights_restore(session, &checkpoint);
    }
    if (status == DLC_OK) {
        status = checkpoint_counters(session, &checkpoint);
    }
    checkpoint_close(&checkpoint);
    return status;
}

dlc_status dlc_checkpoint_load(dlc_session *session, const char *path) {
    BORDER_CALL(session ? session->context : NULL);
    if (!path) {
        return border_missing(session->context, "path");
    }
    session_takes_long(session, "loading a checkpoint");
    dlc_status status = session_call_begin(session);
    return status == DLC_OK ? load(session, path) : status;
}
