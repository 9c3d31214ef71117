/* Ranks that are processes, between the command line and the library. */
#include "tools/job.h"
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static const CliOption job_table[] = {
    {"--processes", NULL, CLI_INT, offsetof(JobOptions, processes), 1, "N",
     "start N ranks, a process each (as --device cuda:0-7 does, one for each GPU)"},
    {"--rank", NULL, CLI_INT, offsetof(JobOptions, flags.rank), 0, "R",
     "this process is rank R of several; mpirun, srun, torchrun and Kubernetes say it by "
     "themselves"},
    {"--ranks", NULL, CLI_INT, offsetof(JobOptions, flags.ranks), 1, "N", "of N"},
    {"--rendezvous", NULL, CLI_TEXT, offsetof(JobOptions, flags.rendezvous), 0, "HOST:PORT",
     "where rank 0 listens for the others"},
    {"--transport", NULL, CLI_TEXT, offsetof(JobOptions, transport), 0, "tcp|sockets|mpi",
     "how processes exchange data (default: mpi where an MPI started them, else tcp; sockets: tcp "
     "without memory that processes of a machine share)"},
};

CliGroup job_options(JobOptions *job) {
    return (CliGroup){job_table, sizeof job_table / sizeof job_table[0], job};
}

bool job_seems_alone(const JobOptions *job) {
    char message[LAUNCH_TEXT_BYTES];
    Launch launch;
    return launch_detect(&job->flags, environ, &launch, message) && launch.ranks == 1;
}

bool job_is_of_many(const JobOptions *job) {
    return job->launch.ranks != 1;
}

/* -- Who this is -- */

/* How many processes are to be started here; 0: none. -1: after a message. */
static int64_t to_start(const CliCommand *command, const JobOptions *job, const JobNeeds *needs) {
    const Launch *launch = &job->launch;
    char message[LAUNCH_TEXT_BYTES];
    int64_t listed = 0;
    if (!launch_list(*needs->device, &listed, message)) {
        cli_wrong(command, "%s", message);
        return -1;
    }
    if (job->processes > 0 && listed > 0 && listed != job->processes) {
        cli_wrong(command, "--device %s names %lld devices, and --processes is %lld",
                  *needs->device, (long long)listed, (long long)job->processes);
        return -1;
    }
    if (job->processes > 0 && launch->source) {
        cli_wrong(
            command,
            "this process is rank %lld of %lld already (%s); --processes starts ranks itself: "
            "one of them",
            (long long)launch->rank, (long long)launch->ranks, launch->source);
        return -1;
    }
    int64_t count = job->processes > 0 ? job->processes : launch->source ? 0 : listed;
    if (count > LAUNCH_MOST_RANKS) {
        cli_wrong(command, "--processes takes 1 to %d", LAUNCH_MOST_RANKS);
        return -1;
    }
    if (needs->restarts > 0 && count == 0) {
        cli_wrong(command,
                  "--restarts starts again what dlrun has started: it needs --processes N");
        return -1;
    }
    if (needs->restarts > 0 && !needs->checkpoint) {
        cli_wrong(command, "--restarts needs --checkpoint DIR");
        return -1;
    }
    return count;
}

/* Forks; -1 in the ranks. */
static int start(const CliCommand *command, JobOptions *job, const JobNeeds *needs, int64_t count) {
    const ProcessesOptions options = {.program = command->program,
                                      .count = count,
                                      .restarts = needs->restarts,
                                      .checkpoint = needs->checkpoint};
    int code = processes_run(&options, &job->process);
    if (code < 0) {
        job->launch = (Launch){.rank = job->process.rank,
                               .ranks = count,
                               .local_rank = job->process.rank,
                               .local_size = count,
                               .source = "--processes"};
        /* Ranks of an earlier start that are not quite gone are strangers. */
        snprintf(job->launch.job, sizeof job->launch.job, "%ld.%lld", (long)getppid(),
                 (long long)job->process.start);
    }
    return code;
}

/* -- What it takes of its machine -- */

static void share_threads(const Launch *launch, const JobNeeds *needs) {
    cpu_set_t mask;
    const char *wanted = getenv("OMP_NUM_THREADS");
    int64_t allowed = sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : 0;
    int64_t threads = *needs->threads > 0 ? *needs->threads : wanted ? atoll(wanted) : 0;
    if (threads <= 0) {
        *needs->threads = launch_threads(launch, allowed, sysconf(_SC_NPROCESSORS_ONLN));
        return;
    }
    int64_t sharing = launch->is_bound || launch->local_size < 1 ? 1 : launch->local_size;
    if (launch->rank == 0 && launch->ranks != 1 && allowed > 0 && threads * sharing > allowed) {
        fprintf(stderr, "warning: %lld %s, %lld %s each, on %lld %s\n", (long long)sharing,
                sharing == 1 ? "rank" : "ranks of this machine", (long long)threads,
                threads == 1 ? "thread" : "threads", (long long)allowed,
                allowed == 1 ? "processor" : "processors");
    }
}

static int take_device(const CliCommand *command, JobOptions *job, const JobNeeds *needs) {
    char message[LAUNCH_TEXT_BYTES];
    const char *device = *needs->device;
    if (device && strchr(device, '*') && job_is_of_many(job)) {
        return cli_wrong(
            command,
            "--device %s: ranks of one process; of several processes each has a device "
            "of its own",
            device);
    }
    if (!device) {
        return -1;
    }
    if (strlen(device) >= sizeof job->device) {
        return -1; /* no device is called so; the session says it */
    }
    /* Of a list with one rank: its only device. */
    int64_t local = job->launch.local_rank < 0 && !job_is_of_many(job) ? 0 : job->launch.local_rank;
    bool named = strcmp(device, "cuda") == 0 && !job_is_of_many(job);
    if (!named && !launch_device(device, local, job->device, sizeof job->device, message)) {
        return cli_wrong(command, "%s", message);
    }
    *needs->device = named ? device : job->device;
    return -1;
}

static bool is_first(void *shared, const char *text) {
    return shared_first(shared, text);
}

void job_speak(void) {
    const LaunchFlags none = {-1, -1, NULL};
    char message[LAUNCH_TEXT_BYTES];
    Launch launch;
    if (launch_detect(&none, environ, &launch, message)) {
        cli_speak_as((CliVoice){.rank = launch.rank, .ranks = launch.ranks});
    }
}

int job_begin(const CliCommand *command, JobOptions *job, const JobNeeds *needs) {
    char message[LAUNCH_TEXT_BYTES];
    if (job->transport && strcmp(job->transport, "tcp") != 0 &&
        strcmp(job->transport, "sockets") != 0 && strcmp(job->transport, "mpi") != 0) {
        return cli_wrong(command, "--transport takes tcp, sockets or mpi, not '%s'",
                         job->transport);
    }
    if (!launch_detect(&job->flags, environ, &job->launch, message)) {
        return cli_wrong(command, "%s", message);
    }
    int64_t count = to_start(command, job, needs);
    int code = count < 0 ? 2 : count > 0 ? start(command, job, needs, count) : -1;
    if (code >= 0) {
        return code;
    }
    const Launch *launch = &job->launch;
    cli_speak_as((CliVoice){.rank = launch->rank,
                            .ranks = launch->ranks,
                            .is_first = job->process.shared ? is_first : NULL,
                            .user = job->process.shared});
    if (launch->rank != 0 && !freopen("/dev/null", "w", stdout)) {
        return 1;
    }
    job->quiet = needs->quiet || launch->rank != 0;
    code = take_device(command, job, needs);
    if (code < 0) {
        share_threads(launch, needs);
    }
    return code;
}

/* -- Where it meets the others -- */

static int store_set(void *user, const char *key, const char *value) {
    return shared_put(user, key, value) ? 0 : 2;
}

static int store_get(void *user, const char *key, char *value, size_t size) {
    return shared_get(user, key, value, size) ? 0 : 1;
}

/* The log's first line: who says how many ranks there are, and how they meet. */
static void say_meeting(const JobOptions *job, const char *transport) {
    const Launch *launch = &job->launch;
    bool has_address = strcmp(transport, "mpi") != 0 && !job->process.shared;
    bool has_memory = strcmp(transport, "tcp") == 0;
    char count[32] = "as many ranks as MPI says";
    if (launch->ranks > 0) {
        snprintf(count, sizeof count, "%lld ranks", (long long)launch->ranks);
    }
    if (!job->quiet) {
        fprintf(stderr, "note: %s (%s), over %s%s%s%s\n", count, launch->source, transport,
                has_memory ? " and shared memory" : "", has_address ? ", which meet at " : "",
                has_address ? launch->address : "");
    }
}

/* Without a transport given: MPI's where an MPI has started this process, else, and where this
 * build has none, TCP. */
int job_meet(const CliCommand *command, dlc_context *context, const JobOptions *job,
             dlc_communicator **out) {
    const Launch *launch = &job->launch;
    Shared *shared = job->process.shared;
    const char *transport = job->transport ? job->transport : launch->by_mpi ? "mpi" : "tcp";
    dlc_communicator_options options = {
        .struct_size = sizeof options,
        .transport = transport,
        .rank = launch->rank,
        .n_ranks = launch->ranks,
        .addresses = shared || !launch->address[0] ? NULL : launch->address,
        .store_set = shared ? store_set : NULL,
        .store_get = shared ? store_get : NULL,
        .user = shared,
        .job = launch->job,
    };
    *out = NULL;
    if (!job_is_of_many(job)) {
        return 0;
    }
    say_meeting(job, transport);
    dlc_status status = dlc_communicator_create(context, &options, out);
    if (status == DLC_ERROR_UNSUPPORTED && !job->transport && launch->by_mpi) {
        if (!launch->address[0] || launch->ranks < 1) {
            fprintf(stderr,
                    "%s: %s; without it ranks meet by TCP: give --rendezvous HOST:PORT, where "
                    "rank 0 listens, or set MASTER_ADDR and MASTER_PORT\n",
                    command->program, dlc_last_error(context));
            return 1;
        }
        if (!job->quiet) {
            fprintf(stderr, "note: %s\n", dlc_last_error(context));
        }
        options.transport = "tcp";
        say_meeting(job, options.transport);
        status = dlc_communicator_create(context, &options, out);
    }
    if (status == DLC_OK && shared) {
        shared_met(shared);
    }
    return status == DLC_OK ? 0 : cli_failed(command, context, status);
}
