/* A run's checkpoints, written while its steps go on: what a checkpoint holds is copied at its
 * step, and a thread writes it. One is under way at a time. */
#ifndef DLC_RUNTIME_API_SAVER_H
#define DLC_RUNTIME_API_SAVER_H

#include "runtime/checkpoint/checkpoint.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct Saver {
    dlc_session *session;
    CheckpointFolder *folder;
    const CheckpointRun *run;
    CheckpointSaving *saving; /* under way; NULL: none is */
    bool finishes;            /* all have written their shares */
    int64_t step;             /* of what is under way */
    int64_t saved_step;       /* of the last checkpoint that is whole; -1: none is of this run */
    bool said_at_once;
    bool has_thread; /* which does the work under way */
    pthread_t thread;
    atomic_bool done; /* the work */
} Saver;

/* All of them are calls of all sessions that share a communicator, but busy and abandon. */

/* Saves the session's state as it is, unless it is saved or under way; waits for the one before. */
dlc_status saver_save(Saver *saver);
/* Whether this session's thread is at work. */
bool saver_busy(Saver *saver);
/* When none's is: brings what is under way further, and tells of what failed. */
dlc_status saver_go_on(Saver *saver);
/* Until nothing is under way. */
dlc_status saver_wait(Saver *saver);
/* The same after the run has failed with `status`, whose text stays the error's, with what
 * checkpoint stands where a number was not finite. */
dlc_status saver_fail(Saver *saver, dlc_status status);
/* What is under way is dropped; waits for the thread. */
void saver_abandon(Saver *saver);

#endif
