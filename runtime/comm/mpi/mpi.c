/* Ranks that an MPI has started meet: rank 0 tells all others where its control channel listens, by
 * messages; the rest is the stream's. */
#include "runtime/comm/mpi/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { ADDRESS_BYTES = 1024, KEY_BYTES = 64 };

#define MPI_PLACE_MAGIC UINT64_C(0x6563616c702d636c)

/* What rank 0 tells. */
typedef struct Place {
    uint64_t magic;
    uint64_t number; /* random: this meeting's */
    char addresses[ADDRESS_BYTES];
} Place;

typedef struct Meeting {
    const dlc_allocator *allocator;
    const MpiModule *module;
    const CommMpiOptions *options;
    int32_t rank, n_ranks, tag; /* tag: of places; the next: of data */
    int listener;
    Place *place; /* not the allocator's: kept where MPI may still read or write it */
    bool is_place_kept;
    double deadline;
    char *message;
} Meeting;

/* -- Starting MPI. */

/* A launcher that knows another MPI starts many jobs of one rank each, which would all do the same.
 */
static bool launcher_agrees(int32_t n_ranks, char *message) {
    static const char *const counts[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
                                         "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        const char *text = getenv(counts[i]);
        long count = text ? strtol(text, NULL, 10) : 1;
        if (count > 1 && n_ranks == 1) {
            snprintf(message, COMM_MESSAGE_BYTES,
                     "%s is %ld, but MPI knows of one rank only: the launcher and this MPI do not "
                     "fit; with srun try --mpi=pmix or --mpi=pmi2, or set DLC_MPI",
                     counts[i], count);
            return false;
        }
    }
    return true;
}

static const MpiModule *mpi_start(int32_t *rank, int32_t *n_ranks, char *message) {
    const MpiModule *module = mpi_library_open(message);
    char why[COMM_MESSAGE_BYTES / 2] = "";
    if (!module) {
        return NULL;
    }
    if (module->start(0, rank, n_ranks, why, sizeof(why)) < 0) {
        snprintf(message, COMM_MESSAGE_BYTES, "MPI does not start: %s", why);
        return NULL;
    }
    return launcher_agrees(*n_ranks, message) ? module : NULL;
}

dlc_status comm_mpi_adopt(const void *comm, size_t bytes, int32_t *out_world, char *message) {
    char why[COMM_MESSAGE_BYTES / 2] = "";
    const MpiModule *module = mpi_library_loaded(message);
    if (!module) {
        return DLC_ERROR_UNSUPPORTED;
    }
    if (module->adopt(comm, bytes, out_world, why, sizeof(why)) < 0) {
        snprintf(message, COMM_MESSAGE_BYTES, "the MPI communicator does not do: %s", why);
        return DLC_ERROR_UNSUPPORTED;
    }
    return DLC_OK;
}

/* Of a world that the program gave. */
static const MpiModule *world_open(int32_t world, int32_t *rank, int32_t *n_ranks, char *message) {
    const MpiModule *module = mpi_library_loaded(message);
    return module && module->start(world, rank, n_ranks, message, COMM_MESSAGE_BYTES) >= 0 ? module
                                                                                           : NULL;
}

dlc_status comm_mpi_place(int32_t *rank, int32_t *n_ranks, char *message) {
    return mpi_start(rank, n_ranks, message) ? DLC_OK : DLC_ERROR_UNSUPPORTED;
}

/* -- Rank 0's place. */

static bool place_make(Meeting *m) {
    m->place->magic = MPI_PLACE_MAGIC;
    m->listener = socket_publish(m->place->addresses, sizeof(m->place->addresses));
    if (m->listener < 0) {
        char text[128];
        snprintf(m->message, COMM_MESSAGE_BYTES, "rank 0 cannot listen: %s",
                 strerror_r(errno, text, sizeof(text)));
        return false;
    }
    if (getrandom(&m->place->number, sizeof(m->place->number), 0) !=
        (ssize_t)sizeof(m->place->number)) {
        m->place->number = (uint64_t)getpid() ^ (uint64_t)(clock_seconds() * 1e9);
    }
    return true;
}

/* -- Telling it. */

/* MPI moves nothing while nobody calls it. */
static bool pause_briefly(const Meeting *m) {
    poll(NULL, 0, 1);
    return clock_seconds() < m->deadline;
}

static dlc_status mpi_failed(Meeting *m, int error, const char *what, int32_t rank) {
    char text[COMM_MESSAGE_BYTES / 2] = "in time nothing moved";
    if (error < 0) {
        m->module->error_text(error, text, sizeof(text));
    }
    snprintf(m->message, COMM_MESSAGE_BYTES, "rank %d cannot %s rank %d by MPI: %s", m->rank, what,
             rank, text);
    return DLC_ERROR_IO;
}

/* The place is small: MPI takes the message without waiting for who receives it, but may have to
 * make a connection first. */
static dlc_status place_tell(Meeting *m) {
    size_t n = (size_t)m->n_ranks;
    MpiRequest *requests = memory_new(m->allocator, n, sizeof(*requests));
    dlc_status status = requests ? DLC_OK : DLC_ERROR_OUT_OF_MEMORY;
    int32_t n_begun = 1;
    for (; n_begun < m->n_ranks && status == DLC_OK; n_begun++) {
        int error = m->module->send(m->options->world, m->place, sizeof(Place), n_begun, m->tag,
                                    &requests[n_begun]);
        status = error < 0 ? mpi_failed(m, error, "tell its place to", n_begun) : DLC_OK;
    }
    for (int32_t i = 1; i < n_begun && requests; i++) {
        int is_done = m->module->test(&requests[i]);
        while (is_done == 0 && pause_briefly(m)) {
            is_done = m->module->test(&requests[i]);
        }
        if (is_done <= 0) {
            status = status == DLC_OK ? mpi_failed(m, is_done, "tell its place to", i) : status;
            m->module->drop(&requests[i]);
            m->is_place_kept = true;
        }
    }
    memory_free(m->allocator, requests);
    return status;
}

static dlc_status place_hear(Meeting *m) {
    int32_t bytes = 0;
    int is_there = m->module->probe(m->options->world, 0, m->tag, &bytes);
    while (is_there == 0 && pause_briefly(m)) {
        is_there = m->module->probe(m->options->world, 0, m->tag, &bytes);
    }
    MpiRequest request;
    int error = is_there;
    if (is_there > 0 && bytes == (int32_t)sizeof(Place)) {
        error = m->module->receive(m->options->world, m->place, bytes, 0, m->tag, &request);
        int is_done = error < 0 ? error : m->module->test(&request);
        while (is_done == 0 && pause_briefly(m)) {
            is_done = m->module->test(&request);
        }
        error = is_done;
        if (error == 0) {
            m->module->drop(&request);
            m->is_place_kept = true;
        }
    }
    if (error <= 0) {
        return mpi_failed(m, error, "hear where to meet from", 0);
    }
    if (bytes != (int32_t)sizeof(Place) || m->place->magic != MPI_PLACE_MAGIC) {
        snprintf(m->message, COMM_MESSAGE_BYTES, "rank 0 has another version of dlc than rank %d",
                 m->rank);
        return DLC_ERROR_MISMATCH;
    }
    m->place->addresses[sizeof(m->place->addresses) - 1] = 0;
    return DLC_OK;
}

/* -- Meeting. */

static dlc_status control_start(Meeting *m, Control **out) {
    const char *job = m->options->job_key ? m->options->job_key : "";
    char key[KEY_BYTES];
    uint64_t hash = hash_bytes(job, strlen(job), m->place->number);
    snprintf(key, sizeof(key), "mpi %016llx", (unsigned long long)hash);
    double rest = m->deadline - clock_seconds();
    ControlOptions options = {.rank = m->rank,
                              .n_ranks = m->n_ranks,
                              .addresses = m->place->addresses,
                              .listener = m->listener,
                              .job_key = key,
                              .meet_seconds = rest > 0.01 ? rest : 0.01,
                              .silence_seconds = m->options->silence_seconds};
    m->listener = -1;
    return control_meet(m->allocator, &options, out, m->message);
}

static dlc_status meet(Meeting *m, Comm **out) {
    Control *control = NULL;
    dlc_status status = DLC_OK;
    if (m->rank == 0) {
        status = place_make(m) ? place_tell(m) : DLC_ERROR_IO;
    } else {
        status = place_hear(m);
    }
    status = status == DLC_OK ? control_start(m, &control) : status;
    if (m->listener >= 0) {
        close(m->listener);
    }
    if (status != DLC_OK) {
        return status;
    }
    void *carrier =
        mpi_carrier_new(m->allocator, m->module, m->options->world, m->n_ranks, m->tag + 1);
    if (!carrier) {
        snprintf(m->message, COMM_MESSAGE_BYTES, "rank %d: no memory", m->rank);
        control_end(control);
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    StreamOptions stream = {.comm = &comm_mpi,
                            .ops = &mpi_carrier_ops,
                            .carrier = carrier,
                            .control = control,
                            .rank = m->rank,
                            .n_ranks = m->n_ranks,
                            .silence_seconds = m->options->silence_seconds,
                            .timeout_seconds = m->options->timeout_seconds};
    return stream_create(m->allocator, &stream, out, m->message);
}

dlc_status comm_mpi_create(const dlc_allocator *allocator, const CommMpiOptions *given, Comm **out,
                           char *message) {
    CommMpiOptions options = *given;
    options.meet_seconds = options.meet_seconds > 0 ? options.meet_seconds : COMM_MEET_SECONDS;
    options.silence_seconds =
        options.silence_seconds > 0 ? options.silence_seconds : COMM_SILENCE_SECONDS;
    Meeting m = {.allocator = allocator,
                 .options = &options,
                 .listener = -1,
                 .deadline = clock_seconds() + options.meet_seconds,
                 .message = message};
    m.module = options.world > 0 ? world_open(options.world, &m.rank, &m.n_ranks, message)
                                 : mpi_start(&m.rank, &m.n_ranks, message);
    if (!m.module) {
        return DLC_ERROR_UNSUPPORTED;
    }
    m.tag = m.module->next_tags(options.world);
    if (options.n_ranks > 0 && (options.n_ranks != m.n_ranks || options.rank != m.rank)) {
        snprintf(message, COMM_MESSAGE_BYTES,
                 "this process is to be rank %d of %d, and MPI says %d of %d", options.rank,
                 options.n_ranks, m.rank, m.n_ranks);
        return DLC_ERROR_MISMATCH;
    }
    m.place = calloc(1, sizeof(Place));
    if (!m.place) {
        snprintf(message, COMM_MESSAGE_BYTES, "rank %d: no memory", m.rank);
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    m.module->use_begin();
    dlc_status status = meet(&m, out);
    m.module->use_end(status != DLC_OK);
    if (!m.is_place_kept) {
        free(m.place);
    }
    return status;
}

const CommOps comm_mpi = {.name = "mpi",
                          .doc = "processes, by MPI",
                          .start = stream_start,
                          .wait = stream_wait,
                          .abort = stream_abort,
                          .close = stream_close};
