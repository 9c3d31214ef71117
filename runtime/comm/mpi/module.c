/* A module: built once for each MPI that the build finds, opened by libdlc at run time (library.c).
 *
 * What is static here is what MPI itself has one of in a process: it starts once and ends once. */
#include "runtime/comm/mpi/module.h"

#include <mpi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

_Static_assert(sizeof(MPI_Request) <= sizeof(uint64_t), "a request is passed as 64 bits");

enum { MOST_WORLDS = 64 };

typedef struct World {
    MPI_Comm comm; /* own, so that no message of the program's is taken */
    int rank, n_ranks;
    int32_t next_tag, most_tags;
} World;

static struct {
    pthread_mutex_t mutex;
    bool has_started;          /* worlds[0] is there */
    World worlds[MOST_WORLDS]; /* numbers do not change: they are read without the mutex */
    int n_adopted;             /* from 1 on */
    int adopted_key;           /* the attribute of a program's communicator: its world's number */
    bool has_key;
    int n_users;
    bool has_failed;   /* the last user that ended */
    MPI_Request *left; /* [n_left]: dropped */
    int n_left;
} process = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static MPI_Request request_get(const MpiRequest *request) {
    MPI_Request handle;
    memcpy(&handle, &request->bits, sizeof(handle));
    return handle;
}

static void request_set(MpiRequest *request, MPI_Request handle) {
    request->bits = 0;
    memcpy(&request->bits, &handle, sizeof(handle));
}

static int result(int error) {
    return error == MPI_SUCCESS ? 0 : -error;
}

static void error_text(int error, char *out, size_t n_out) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    if (MPI_Error_string(-error, text, &length) != MPI_SUCCESS) {
        snprintf(text, sizeof(text), "error %d of MPI", -error);
    }
    snprintf(out, n_out, "%s", text);
}

/* -- Beginning and end. */

/* Takes one message that nobody waited for: as a rank that ends tells all, and ranks that ended
 * before do not listen. False: there is none. */
static bool take_unwanted(const World *world) {
    MPI_Message message;
    MPI_Status status;
    int is_there = 0, n = 0;
    if (MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, world->comm, &is_there, &message, &status) !=
            MPI_SUCCESS ||
        !is_there || MPI_Get_count(&status, MPI_BYTE, &n) != MPI_SUCCESS) {
        return false;
    }
    void *bytes = malloc((size_t)n + 1);
    bool is_taken = bytes && MPI_Mrecv(bytes, n, MPI_BYTE, &message, &status) == MPI_SUCCESS;
    free(bytes);
    return is_taken;
}

/* Ranks may end long after each other, and MPI's own waits keep a core busy. */
static void wait_for_all(void) {
    const struct timespec pause = {0, 1000000};
    MPI_Request request;
    int is_done = 0, error = MPI_Ibarrier(process.worlds[0].comm, &request);
    while (error == MPI_SUCCESS && !is_done) {
        error = MPI_Test(&request, &is_done, MPI_STATUS_IGNORE);
        if (!is_done) {
            nanosleep(&pause, NULL);
        }
    }
}

/* Whether what was dropped has moved in the end, into or out of memory that is still there. */
static bool left_are_done(void) {
    int is_done = 1;
    for (int i = 0; i < process.n_left && is_done; i++) {
        is_done = 0;
        MPI_Test(&process.left[i], &is_done, MPI_STATUS_IGNORE);
    }
    return is_done != 0;
}

/* MPI asks that no message is under way when it ends; it would wait for ever where one is. Messages
 * move only while both ranks call MPI, which all do until all are done. */
static bool settle(void) {
    const struct timespec pause = {0, 1000000};
    enum { TRIES = 5000 };
    bool is_done = false;
    wait_for_all();
    for (int i = 0; i < TRIES && !is_done; i++) {
        while (take_unwanted(&process.worlds[0])) {
        }
        is_done = left_are_done();
        if (!is_done) {
            nanosleep(&pause, NULL);
        }
    }
    if (is_done) {
        wait_for_all();
    }
    return is_done;
}

static void end_at_exit(void) {
    int has_ended = 0;
    bool can_end = process.n_users == 0 && !process.has_failed;
    if (can_end && MPI_Finalized(&has_ended) == MPI_SUCCESS && !has_ended) {
        if (settle()) {
            MPI_Finalize();
        }
    }
}

static const char *level_name(int level) {
    return level == MPI_THREAD_SINGLE       ? "MPI_THREAD_SINGLE"
           : level == MPI_THREAD_FUNNELED   ? "MPI_THREAD_FUNNELED"
           : level == MPI_THREAD_SERIALIZED ? "MPI_THREAD_SERIALIZED"
                                            : "MPI_THREAD_MULTIPLE";
}

/* UCX, which carries MPICH's messages, moves long ones by reading the sender's memory: when a rank
 * dies just then it aborts the others, before anybody can say who died; without that (UCX_TLS=^cma)
 * MPI_Finalize may hang after a communicator that failed. Sent in pieces they do neither. Whoever
 * sets the variable decides. */
static void spare_survivors(void) {
#ifdef MPICH_VERSION
    setenv("UCX_RNDV_THRESH", "inf", 0);
#endif
}

/* *level: of threads that may call MPI. */
static int mpi_begin(int *level) {
    int is_there = 0, error = MPI_Initialized(&is_there);
    if (error == MPI_SUCCESS && is_there) {
        return MPI_Query_thread(level);
    }
    if (error == MPI_SUCCESS) {
        spare_survivors();
        error = MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, level);
    }
    if (error == MPI_SUCCESS) {
        atexit(end_at_exit);
    }
    return error;
}

/* Data moves by a thread of its own, beside whatever the program does with MPI. */
static bool level_does(int level, char *message, size_t n_message) {
    if (level != MPI_THREAD_MULTIPLE) {
        snprintf(message, n_message,
                 "MPI gives %s, and data moves by a thread of its own: start MPI by "
                 "MPI_Init_thread with MPI_THREAD_MULTIPLE",
                 level_name(level));
    }
    return level == MPI_THREAD_MULTIPLE;
}

static int world_make(MPI_Comm from, World *out) {
    int *most = NULL, is_known = 0;
    int error = MPI_Comm_dup(from, &out->comm);
    if (error == MPI_SUCCESS) {
        MPI_Comm_set_errhandler(out->comm, MPI_ERRORS_RETURN);
        MPI_Comm_rank(out->comm, &out->rank);
        MPI_Comm_size(out->comm, &out->n_ranks);
        error = MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &most, &is_known);
        out->most_tags = is_known ? *most : 32767;
    }
    return error;
}

static int first_start(char *message, size_t n_message) {
    int level = MPI_THREAD_SINGLE, has_ended = 0;
    if (MPI_Finalized(&has_ended) == MPI_SUCCESS && has_ended) {
        snprintf(message, n_message, "the program has ended MPI (MPI_Finalize) already");
        return -1;
    }
    int error = mpi_begin(&level);
    if (error == MPI_SUCCESS && !level_does(level, message, n_message)) {
        return -1;
    }
    error = error == MPI_SUCCESS ? world_make(MPI_COMM_WORLD, &process.worlds[0]) : error;
    if (error != MPI_SUCCESS) {
        error_text(-error, message, n_message);
        return -1;
    }
    process.has_started = true;
    return 0;
}

static int start(int32_t world, int32_t *rank, int32_t *n_ranks, char *message, size_t n_message) {
    pthread_mutex_lock(&process.mutex);
    int status = world > 0 || process.has_started ? 0 : first_start(message, n_message);
    *rank = process.worlds[world].rank;
    *n_ranks = process.worlds[world].n_ranks;
    pthread_mutex_unlock(&process.mutex);
    return status;
}

/* -- Communicators of the program's. */

/* Whether the program's MPI can be used, and that is an MPI_Comm of it. */
static bool comm_does(const void *comm, size_t bytes, MPI_Comm *out, char *message,
                      size_t n_message) {
    int is_there = 0, has_ended = 0, level = MPI_THREAD_SINGLE, is_inter = 0;
    MPI_Initialized(&is_there);
    MPI_Finalized(&has_ended);
    if (!is_there || has_ended) {
        snprintf(message, n_message, "the program has %s MPI: %s",
                 has_ended ? "ended" : "not started",
                 has_ended ? "MPI_Finalize" : "MPI_Init_thread");
        return false;
    }
    if (bytes != sizeof(MPI_Comm)) {
        snprintf(message, n_message, "an MPI_Comm of %zu bytes is given; this MPI's has %zu", bytes,
                 sizeof(MPI_Comm));
        return false;
    }
    memcpy(out, comm, sizeof(*out));
    if (*out == MPI_COMM_NULL) {
        snprintf(message, n_message, "MPI_COMM_NULL is given");
        return false;
    }
    MPI_Query_thread(&level);
    if (!level_does(level, message, n_message)) {
        return false;
    }
    MPI_Comm_test_inter(*out, &is_inter);
    if (is_inter) {
        snprintf(message, n_message, "an intercommunicator is given: its ranks have no one order");
    }
    return !is_inter;
}

/* The program ends MPI: what ended communicators have left to be received is taken before. MPI
 * deletes what hangs on MPI_COMM_SELF first of all. */
static int end_by_program(MPI_Comm self, int key, void *value, void *more) {
    (void)self, (void)key, (void)value, (void)more;
    for (int i = 1; i <= process.n_adopted && process.n_users == 0 && !process.has_failed; i++) {
        while (take_unwanted(&process.worlds[i])) {
        }
    }
    return MPI_SUCCESS;
}

static void end_watch(void) {
    int key = MPI_KEYVAL_INVALID;
    if (MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, end_by_program, &key, NULL) == MPI_SUCCESS) {
        MPI_Comm_set_attr(MPI_COMM_SELF, key, NULL);
    }
}

/* The world of a communicator that was given before; 0: none. */
static int world_known(MPI_Comm comm) {
    void *number = NULL;
    int is_known = 0;
    if (!process.has_key) {
        process.has_key = MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, MPI_COMM_NULL_DELETE_FN,
                                                 &process.adopted_key, NULL) == MPI_SUCCESS;
        end_watch();
    }
    bool is_read = process.has_key &&
                   MPI_Comm_get_attr(comm, process.adopted_key, &number, &is_known) == MPI_SUCCESS;
    return is_read && is_known ? (int)(intptr_t)number : 0;
}

static int adopt_locked(MPI_Comm comm, int32_t *out_world, char *message, size_t n_message) {
    int number = world_known(comm);
    if (number == 0 && process.n_adopted == MOST_WORLDS - 1) {
        snprintf(message, n_message, "%d communicators of MPI have been given: there is no room",
                 process.n_adopted);
        return -1;
    }
    if (number == 0) {
        int error = world_make(comm, &process.worlds[process.n_adopted + 1]);
        if (error != MPI_SUCCESS) {
            error_text(-error, message, n_message);
            return -1;
        }
        number = ++process.n_adopted;
        if (process.has_key) {
            MPI_Comm_set_attr(comm, process.adopted_key, (void *)(intptr_t)number);
        }
    }
    *out_world = number;
    return 0;
}

static int adopt(const void *given, size_t bytes, int32_t *out_world, char *message,
                 size_t n_message) {
    MPI_Comm comm;
    if (!comm_does(given, bytes, &comm, message, n_message)) {
        return -1;
    }
    pthread_mutex_lock(&process.mutex);
    int status = adopt_locked(comm, out_world, message, n_message);
    pthread_mutex_unlock(&process.mutex);
    return status;
}

static int32_t next_tags(int32_t number) {
    World *world = &process.worlds[number];
    pthread_mutex_lock(&process.mutex);
    int32_t tag = world->next_tag;
    world->next_tag = tag + 2 < world->most_tags ? tag + 2 : 0;
    pthread_mutex_unlock(&process.mutex);
    return tag;
}

static void use_begin(void) {
    pthread_mutex_lock(&process.mutex);
    process.n_users++;
    pthread_mutex_unlock(&process.mutex);
}

static void use_end(bool has_failed) {
    pthread_mutex_lock(&process.mutex);
    process.n_users--;
    process.has_failed = has_failed;
    pthread_mutex_unlock(&process.mutex);
}

/* -- Messages. */

static int send_begin(int32_t world, const void *bytes, int32_t n, int32_t rank, int32_t tag,
                      MpiRequest *out) {
    MPI_Request handle = MPI_REQUEST_NULL;
    int error = MPI_Isend(bytes, n, MPI_BYTE, rank, tag, process.worlds[world].comm, &handle);
    request_set(out, handle);
    return result(error);
}

static int receive_begin(int32_t world, void *bytes, int32_t n, int32_t rank, int32_t tag,
                         MpiRequest *out) {
    MPI_Request handle = MPI_REQUEST_NULL;
    int error = MPI_Irecv(bytes, n, MPI_BYTE, rank, tag, process.worlds[world].comm, &handle);
    request_set(out, handle);
    return result(error);
}

static int probe(int32_t world, int32_t rank, int32_t tag, int32_t *n) {
    MPI_Status status;
    int is_there = 0, count = 0;
    int error = MPI_Iprobe(rank, tag, process.worlds[world].comm, &is_there, &status);
    if (error == MPI_SUCCESS && is_there) {
        error = MPI_Get_count(&status, MPI_BYTE, &count);
    }
    *n = count;
    return error == MPI_SUCCESS ? is_there != 0 : -error;
}

static int test(MpiRequest *request) {
    MPI_Request handle = request_get(request);
    int is_done = 0, error = MPI_Test(&handle, &is_done, MPI_STATUS_IGNORE);
    request_set(request, handle);
    return error == MPI_SUCCESS ? is_done != 0 : -error;
}

/* To cancel it would keep the other rank's part from ever being done. */
static void drop(MpiRequest *request) {
    MPI_Request handle = request_get(request);
    pthread_mutex_lock(&process.mutex);
    size_t n = (size_t)process.n_left + 1;
    MPI_Request *more =
        handle == MPI_REQUEST_NULL ? NULL : realloc(process.left, n * sizeof(*more));
    if (more) {
        process.left = more;
        process.left[process.n_left++] = handle;
    }
    pthread_mutex_unlock(&process.mutex);
    request_set(request, MPI_REQUEST_NULL);
}

static const MpiModule module = {.version = MPI_MODULE_VERSION,
                                 .start = start,
                                 .adopt = adopt,
                                 .next_tags = next_tags,
                                 .send = send_begin,
                                 .receive = receive_begin,
                                 .probe = probe,
                                 .test = test,
                                 .drop = drop,
                                 .use_begin = use_begin,
                                 .use_end = use_end,
                                 .error_text = error_text};

__attribute__((visibility("default"))) const MpiModule *dlc_mpi_module(void);
const MpiModule *dlc_mpi_module(void) {
    return &module;
}
