/* Communicators: where a job's ranks meet, by sockets, by an MPI, or in this process. */
#include "runtime/session/communicator.h"
#include "runtime/border.h"
#include "runtime/comm/local/local.h"
#include "runtime/comm/mpi/mpi.h"
#include "runtime/comm/tcp/tcp.h"
#include "runtime/session/team.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* -- Processes, by sockets or by an MPI -- */

typedef struct ProcessMeeting {
    Meeting meeting;
    dlc_context *context;
    dlc_communicator_options options; /* its texts are owned */
    int32_t world;                    /* of MPI's */
    bool only_sockets;
} ProcessMeeting;

enum { ADDRESSES_BYTES = 1024 };

static bool is_mpi(const dlc_communicator_options *options) {
    return options->transport && strcmp(options->transport, comm_mpi.name) == 0;
}

/* As comm_tcp, without its shared memory. */
static const char sockets_name[] = "sockets";

static bool is_sockets(const dlc_communicator_options *options) {
    return options->transport && strcmp(options->transport, sockets_name) == 0;
}

/* Rank 0 tells the store where it listens. */
static dlc_status address_tell(const ProcessMeeting *own, const char *key, int *out_listener,
                               char *message) {
    char addresses[ADDRESSES_BYTES];
    *out_listener = comm_tcp_listen(addresses, sizeof(addresses));
    if (*out_listener < 0) {
        snprintf(message, COMM_MESSAGE_BYTES, "rank 0 can listen on no port");
        return DLC_ERROR_IO;
    }
    if (own->options.store_set(own->options.user, key, addresses) != 0) {
        snprintf(message, COMM_MESSAGE_BYTES, "store_set does not take the value of '%s'", key);
        close(*out_listener);
        return DLC_ERROR_IO;
    }
    return DLC_OK;
}

/* The others ask for it, less and less often. */
static dlc_status address_ask(const ProcessMeeting *own, const char *key, char *out,
                              char *message) {
    double end = clock_seconds() + own->options.meet_seconds;
    struct timespec pause = {.tv_nsec = 2000000};
    for (;;) {
        int given = own->options.store_get(own->options.user, key, out, ADDRESSES_BYTES);
        if (given == 0 && memchr(out, '\0', ADDRESSES_BYTES)) {
            return DLC_OK;
        }
        if (given != 1) {
            snprintf(message, COMM_MESSAGE_BYTES, "store_get fails for '%s'", key);
            return DLC_ERROR_IO;
        }
        if (clock_seconds() > end) {
            snprintf(message, COMM_MESSAGE_BYTES,
                     "rank %" PRId64 " finds no '%s' in the store: rank 0 has not come",
                     own->options.rank, key);
            return DLC_ERROR_IO;
        }
        nanosleep(&pause, NULL);
        pause.tv_nsec += pause.tv_nsec < 200000000 ? pause.tv_nsec / 4 : 0;
    }
}

static dlc_status mpi_meet(Meeting *meeting, int64_t generation, Comm **out, char *message) {
    ProcessMeeting *own = (ProcessMeeting *)meeting;
    const CommMpiOptions options = {.world = own->world,
                                    .rank = (int32_t)own->options.rank,
                                    .n_ranks = (int32_t)own->options.n_ranks,
                                    .job_key = own->options.job,
                                    .meet_seconds = own->options.meet_seconds,
                                    .silence_seconds = own->options.silence_seconds};
    (void)generation; /* counted there too */
    return comm_mpi_create(&own->context->allocator, &options, out, message);
}

static dlc_status tcp_meet(Meeting *meeting, int64_t generation, Comm **out, char *message) {
    ProcessMeeting *own = (ProcessMeeting *)meeting;
    const dlc_communicator_options *given = &own->options;
    char job[512], addresses[ADDRESSES_BYTES] = "";
    snprintf(job, sizeof(job), "dlc/%.400s/%" PRId64, given->job, generation);
    CommTcpOptions options = {.rank = (int32_t)given->rank,
                              .n_ranks = (int32_t)given->n_ranks,
                              .addresses = given->addresses ? given->addresses : addresses,
                              .listener = -1,
                              .job_key = job,
                              .meet_seconds = given->meet_seconds,
                              .silence_seconds = given->silence_seconds,
                              .only_sockets = own->only_sockets};
    dlc_status status = DLC_OK;
    if (!given->addresses) {
        status = given->rank == 0 ? address_tell(own, job, &options.listener, message)
                                  : address_ask(own, job, addresses, message);
    }
    return status == DLC_OK ? comm_tcp_create(&own->context->allocator, &options, out, message)
                            : status;
}

static void processes_forget(Meeting *meeting) {
    ProcessMeeting *own = (ProcessMeeting *)meeting;
    const dlc_allocator *allocator = &own->context->allocator;
    memory_free(allocator, (void *)(uintptr_t)own->options.addresses);
    memory_free(allocator, (void *)(uintptr_t)own->options.job);
    memory_free(allocator, own);
}

static dlc_status processes_create(dlc_context *context, const dlc_communicator_options *given,
                                   int32_t world, dlc_communicator **out) {
    const dlc_allocator *allocator = &context->allocator;
    ProcessMeeting *own = memory_new(allocator, 1, sizeof(*own));
    if (!own) {
        return context_out_of_memory(context);
    }
    own->meeting =
        (Meeting){.meet = is_mpi(given) ? mpi_meet : tcp_meet, .destroy = processes_forget};
    own->context = context;
    own->options = *given;
    own->world = world;
    own->only_sockets = is_sockets(given);
    own->options.meet_seconds = given->meet_seconds > 0 ? given->meet_seconds : COMM_MEET_SECONDS;
    own->options.addresses = given->addresses ? memory_strdup(allocator, given->addresses) : NULL;
    own->options.job = memory_strdup(allocator, given->job ? given->job : "");
    if (!own->options.job || (given->addresses && !own->options.addresses)) {
        processes_forget(&own->meeting);
        return context_out_of_memory(context);
    }
    return communicator_create(context, &own->meeting, out);
}

dlc_status dlc_communicator_create(dlc_context *context, const dlc_communicator_options *options,
                                   dlc_communicator **out) {
    BORDER_CALL(context);
    dlc_communicator_options given;
    if (!out) {
        return border_missing(context, "out");
    }
    if (!border_options(context, "dlc_communicator_options", &given, sizeof(given), options) ||
        !border_number(context, "dlc_communicator_options.n_ranks", given.n_ranks,
                       is_mpi(&given) ? 0 : 1, TCP_MAX_RANKS) ||
        !border_number(context, "dlc_communicator_options.rank", given.rank, 0,
                       given.n_ranks > 0 ? given.n_ranks - 1 : 0) ||
        !border_amount(context, "dlc_communicator_options.meet_seconds", given.meet_seconds) ||
        !border_amount(context, "dlc_communicator_options.silence_seconds",
                       given.silence_seconds)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    if (given.transport && strcmp(given.transport, comm_tcp.name) != 0 && !is_sockets(&given) &&
        !is_mpi(&given)) {
        return context_fail(context, DLC_ERROR_UNSUPPORTED,
                            "unknown transport '%s'; there are %s, %s and %s", given.transport,
                            comm_tcp.name, sockets_name, comm_mpi.name);
    }
    if (!is_mpi(&given) && !given.addresses && (!given.store_set || !given.store_get)) {
        return border_missing(context, "dlc_communicator_options.addresses (or a store)");
    }
    return processes_create(context, &given, 0, out);
}

dlc_status dlc_communicator_from_mpi(dlc_context *context, const void *mpi_comm,
                                     size_t mpi_comm_bytes, const dlc_communicator_options *options,
                                     dlc_communicator **out) {
    BORDER_CALL(context);
    dlc_communicator_options given;
    char message[COMM_MESSAGE_BYTES] = "";
    int32_t world = 0;
    if (!mpi_comm || !out) {
        return border_missing(context, !mpi_comm ? "mpi_comm" : "out");
    }
    if (!border_options(context, "dlc_communicator_options", &given, sizeof(given), options) ||
        !border_amount(context, "dlc_communicator_options.meet_seconds", given.meet_seconds) ||
        !border_amount(context, "dlc_communicator_options.silence_seconds",
                       given.silence_seconds)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    dlc_status status = comm_mpi_adopt(mpi_comm, mpi_comm_bytes, &world, message);
    if (status != DLC_OK) {
        return context_fail(context, status, "%s", message);
    }
    given.transport = comm_mpi.name;
    given.rank = given.n_ranks = 0; /* as MPI says */
    given.addresses = NULL;
    return processes_create(context, &given, world, out);
}

/* -- Threads of this process -- */

/* What the ends of a group share: in memory that any of their threads may free, by no context's
 * hooks. */
typedef struct Group {
    pthread_mutex_t mutex;
    int32_t references, n;
    int64_t generation;    /* of `ends` */
    bool gone[TEAM_MOST];  /* ranks that will not come again */
    Comm *ends[TEAM_MOST]; /* NULL: taken */
} Group;

typedef struct GroupMeeting {
    Meeting meeting;
    Group *group;
    int32_t rank;
} GroupMeeting;

/* Where the rank is gone, nobody waits for it. */
static void end_leave(Group *group, int32_t rank, bool gone) {
    group->gone[rank] = gone;
    if (gone) {
        comm_close(group->ends[rank]);
        group->ends[rank] = NULL;
    }
}

/* Whoever comes first makes all ends. */
static dlc_status threads_meet(Meeting *meeting, int64_t generation, Comm **out, char *message) {
    GroupMeeting *own = (GroupMeeting *)meeting;
    Group *group = own->group;
    dlc_status status = DLC_OK;
    pthread_mutex_lock(&group->mutex);
    if (generation > group->generation) {
        for (int32_t r = 0; r < group->n; r++) {
            comm_close(group->ends[r]);
            group->ends[r] = NULL;
        }
        status = comm_local_create(&memory_malloc, group->n, 0, group->ends);
        group->generation = status == DLC_OK ? generation : group->generation;
        for (int32_t r = 0; r < group->n && status == DLC_OK; r++) {
            end_leave(group, r, group->gone[r]);
        }
    }
    *out = group->ends[own->rank];
    group->ends[own->rank] = NULL;
    if (status == DLC_OK && (!*out || generation < group->generation)) {
        status = DLC_ERROR_IO;
        snprintf(message, COMM_MESSAGE_BYTES, "rank %d comes to a meeting that is over", own->rank);
    }
    pthread_mutex_unlock(&group->mutex);
    return status;
}

static void group_release(Group *group) {
    pthread_mutex_lock(&group->mutex);
    bool last = --group->references == 0;
    pthread_mutex_unlock(&group->mutex);
    if (last) {
        for (int32_t r = 0; r < group->n; r++) {
            comm_close(group->ends[r]);
        }
        pthread_mutex_destroy(&group->mutex);
        memory_free(&memory_malloc, group);
    }
}

static void threads_forget(Meeting *meeting) {
    GroupMeeting *own = (GroupMeeting *)meeting;
    pthread_mutex_lock(&own->group->mutex);
    end_leave(own->group, own->rank, true);
    pthread_mutex_unlock(&own->group->mutex);
    group_release(own->group);
    memory_free(&memory_malloc, own);
}

static Group *group_new(int32_t n) {
    Group *group = memory_new(&memory_malloc, 1, sizeof(*group));
    if (group) {
        pthread_mutex_init(&group->mutex, NULL);
        group->references = 1;
        group->generation = -1;
        group->n = n;
    }
    return group;
}

static dlc_status thread_create(dlc_context *context, Group *group, int32_t rank,
                                dlc_communicator **out) {
    BORDER_CALL(context);
    GroupMeeting *own = memory_new(&memory_malloc, 1, sizeof(*own));
    if (!own) {
        return context_out_of_memory(context);
    }
    *own = (GroupMeeting){
        .meeting = {.meet = threads_meet, .destroy = threads_forget, .in_one_process = true},
        .group = group,
        .rank = rank};
    pthread_mutex_lock(&group->mutex);
    group->references++;
    pthread_mutex_unlock(&group->mutex);
    return communicator_create(context, &own->meeting, out);
}

dlc_status dlc_communicator_group(dlc_context *const *contexts, size_t n, dlc_communicator **out) {
    BORDER_CALL(contexts && n > 0 ? contexts[0] : NULL);
    if (!out) {
        return border_missing(contexts[0], "out");
    }
    if (!border_number(contexts[0], "dlc_communicator_group: n", (int64_t)n, 1, TEAM_MOST)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    Group *group = group_new((int32_t)n);
    dlc_communicator *made[TEAM_MOST] = {NULL};
    dlc_status status = group ? DLC_OK : context_out_of_memory(contexts[0]);
    for (size_t r = 0; r < n && status == DLC_OK; r++) {
        for (size_t k = 0; k < r && status == DLC_OK; k++) {
            if (contexts[k] == contexts[r]) {
                status = context_fail(contexts[0], DLC_ERROR_INVALID_ARGUMENT,
                                      "dlc_communicator_group: ranks %zu and %zu have one context",
                                      k, r);
            }
        }
        status =
            status == DLC_OK ? thread_create(contexts[r], group, (int32_t)r, &made[r]) : status;
    }
    if (group) {
        group_release(group);
    }
    for (size_t r = 0; r < n; r++) {
        if (status == DLC_OK) {
            out[r] = made[r];
        } else {
            dlc_communicator_destroy(made[r]);
        }
    }
    return status;
}

/* -- Both -- */

void dlc_communicator_destroy(dlc_communicator *communicator) {
    if (communicator) {
        border_child_end(communicator->context, &communicator->child);
    }
}

int64_t dlc_communicator_rank(const dlc_communicator *communicator) {
    return communicator ? communicator->rank : 0;
}

int64_t dlc_communicator_size(const dlc_communicator *communicator) {
    return communicator ? communicator->n_ranks : 1;
}
