/* Ranks that are processes, between the command line and the library: who this one is, what it
 * takes of its machine, and where it meets the others. */
#ifndef DLC_TOOLS_JOB_H
#define DLC_TOOLS_JOB_H

#include "tools/cli.h"
#include "tools/launch.h"
#include "tools/processes.h"

/* What the command line says, then what became of it. */
typedef struct JobOptions {
    LaunchFlags flags; /* rank and ranks -1: not given */
    const char *transport;
    int64_t processes; /* to be started; 0: none */
    Launch launch;
    Process process; /* shared: NULL where dlrun did not start this process */
    char device[64];
    bool quiet; /* it says nothing of how they meet */
} JobOptions;

/* Options of every command that opens a session. */
CliGroup job_options(JobOptions *job);

/* What job_begin reads and changes of a command's other options. */
typedef struct JobNeeds {
    const char **device; /* of this rank, afterwards */
    int64_t *threads;
    int64_t restarts; /* --restarts, and the folder that they go on from */
    const char *checkpoint;
    bool quiet;
} JobNeeds;

/* To be called first: which process is to say what is wrong with the command line, as far as the
 * environment tells. */
void job_speak(void);
/* Finds out which rank this is, starting the others if asked to; -1: go on as that rank, else
 * the exit status: after a message, or of the ranks that were started. To be called before
 * anything is opened. Other ranks than 0 print nothing on standard output from here on. */
int job_begin(const CliCommand *command, JobOptions *job, const JobNeeds *needs);

/* Whether neither options nor environment tell of other processes; before job_begin. What rank 0
 * would find wrong is then to be found before anything begins; else when all have met, so that the
 * others hear of it. */
bool job_seems_alone(const JobOptions *job);
/* Several processes, of which this is one. */
bool job_is_of_many(const JobOptions *job);

/* This process's place among them for dlc_session_options.communicator; NULL in *out where it is
 * alone. 0, or the exit status after a message. */
int job_meet(const CliCommand *command, dlc_context *context, const JobOptions *job,
             dlc_communicator **out);

#endif
