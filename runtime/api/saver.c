/* See saver.h. The thread calls no hook of the context and no device, and uses nothing of the
 * session; what it has to say lies in the saving until that is joined. */
#include "runtime/api/saver.h"

#include <inttypes.h>

static void work(Saver *saver) {
    if (saver->finishes) {
        saving_finish(saver->saving);
    } else {
        saving_part(saver->saving);
    }
    atomic_store(&saver->done, true);
}

static void *thread_main(void *argument) {
    work(argument);
    return NULL;
}

/* On a thread, or where there is none, or nothing was copied, at once. */
static void work_begin(Saver *saver) {
    bool beside = saving_is_copied(saver->saving);
    atomic_store(&saver->done, false);
    saver->has_thread = beside && pthread_create(&saver->thread, NULL, thread_main, saver) == 0;
    if (!saver->has_thread) {
        work(saver);
    }
}

static void work_await(Saver *saver) {
    if (saver->has_thread) {
        pthread_join(saver->thread, NULL);
    }
    saver->has_thread = false;
}

static dlc_status saving_close(Saver *saver) {
    dlc_status status = saving_end(saver->saving);
    saver->saving = NULL;
    saver->saved_step = status == DLC_OK ? saver->step : saver->saved_step;
    return status;
}

bool saver_busy(Saver *saver) {
    return saver->saving && !atomic_load(&saver->done);
}

dlc_status saver_go_on(Saver *saver) {
    if (!saver->saving) {
        return DLC_OK;
    }
    work_await(saver);
    if (saver->finishes) {
        return saving_close(saver);
    }
    dlc_status status = saving_join(saver->saving);
    if (status != DLC_OK) {
        return saving_close(saver);
    }
    saver->finishes = true;
    work_begin(saver);
    return DLC_OK;
}

dlc_status saver_wait(Saver *saver) {
    dlc_status status = DLC_OK;
    if (saver->saving) {
        session_takes_long(saver->session, "waiting for a checkpoint that is written");
    }
    while (saver->saving && status == DLC_OK) {
        status = saver_go_on(saver);
    }
    return status;
}

dlc_status saver_save(Saver *saver) {
    dlc_session *session = saver->session;
    int64_t step = session_counter(session, "step");
    if (saver->saved_step == step || (saver->saving && saver->step == step)) {
        return DLC_OK;
    }
    dlc_status status = saver_wait(saver);
    if (status == DLC_OK) {
        status = session_replicas_save(session);
    }
    if (status != DLC_OK) {
        return status;
    }
    session_takes_long(session, "writing a checkpoint");
    saver->step = step;
    status = checkpoint_begin(saver->folder, session, saver->run, true, &saver->saving);
    if (!saver->saving) {
        saver->saved_step = status == DLC_OK ? step : saver->saved_step;
        return status;
    }
    if (!saving_is_copied(saver->saving) && !saver->said_at_once) {
        saver->said_at_once = true;
        context_log(session->context, DLC_LOG_INFO,
                    "there is no memory for a copy of the state: steps wait until a checkpoint is "
                    "written");
    }
    saver->finishes = false;
    work_begin(saver);
    return DLC_OK;
}

dlc_status saver_fail(Saver *saver, dlc_status status) {
    dlc_context *context = saver->session->context;
    char error[CONTEXT_ERROR_BYTES];
    memcpy(error, context->error, sizeof(error));
    if (saver->session->is_broken) {
        saver_abandon(saver);
    } else if (saver_wait(saver) != DLC_OK) {
        context_log(context, DLC_LOG_WARNING,
                    "the checkpoint of step %" PRId64 " is not written: %s", saver->step,
                    context->error);
    }
    if (status != DLC_ERROR_NON_FINITE || !saver->folder->path) {
        return context_fail(context, status, "%s", error);
    }
    return saver->saved_step < 0
               ? context_fail(context, status, "%s; '%s' holds no checkpoint of this run", error,
                              saver->folder->path)
               : context_fail(context, status,
                              "%s; the checkpoint of step %" PRId64 " in '%s' stands", error,
                              saver->saved_step, saver->folder->path);
}

void saver_abandon(Saver *saver) {
    work_await(saver);
    saving_abandon(saver->saving);
    saver->saving = NULL;
}
