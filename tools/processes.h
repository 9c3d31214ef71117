/* Ranks that dlrun starts itself: processes of this machine, forked before anything is opened, and
 * waited for. */
#ifndef DLC_TOOLS_PROCESSES_H
#define DLC_TOOLS_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory that the processes of one start share: texts by key, what has been said, whether a step
 * was done. */
typedef struct Shared Shared;

typedef struct ProcessesOptions {
    const char *program; /* begins messages */
    int64_t count, restarts;
    const char *checkpoint; /* where a restart goes on from; NULL without restarts */
} ProcessesOptions;

/* One of the processes that were started. */
typedef struct Process {
    int64_t rank, start; /* start: how often all have been started before */
    Shared *shared;
} Process;

/* Forks the processes and waits until all have ended. In each of them it returns -1 with *out
 * filled; in the one that called it the exit status: of the first that failed, 128 and its number
 * where a signal ended it. When one fails the others have half a minute to end, two
 * seconds if not all have met. SIGINT, SIGTERM and
 * SIGHUP are handed on as SIGTERM; a second SIGINT kills. The processes do not outlive the one that
 * started them. After a failure all are started again, as often as `restarts` says and as long as
 * each start does a step. To be called while the process has one thread. */
int processes_run(const ProcessesOptions *options, Process *out);

/* From any of them: false: no room. Keys are put once. */
bool shared_put(Shared *shared, const char *key, const char *value);
/* False: it is not there (yet), or longer than `n_out`. */
bool shared_get(const Shared *shared, const char *key, char *out, size_t n_out);
/* Whether none of them has asked for this text before. Of the first few dozens. */
bool shared_first(Shared *shared, const char *text);
/* This one has met the others, and so hears of what becomes of them. */
void shared_met(Shared *shared);
/* A step of training is done: a restart is worth while. */
void shared_stepped(Shared *shared);

#endif
