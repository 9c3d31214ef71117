/* Calls of ranks that are processes with a stream of bytes between every two, whatever carries it:
 * sockets, shared memory, messages. A transport that has such streams (a carrier) and a control
 * channel gets its Comm from here. */
#ifndef DLC_RUNTIME_COMM_STREAM_STREAM_H
#define DLC_RUNTIME_COMM_STREAM_STREAM_H

#include "runtime/comm/comm.h"
#include "runtime/comm/control/control.h"

#include <sys/uio.h>

/* What is wanted of the stream to and from a rank. */
typedef struct StreamWant {
    int32_t rank;
    bool sends, receives;
} StreamWant;

/* A carrier's functions; all but `free` are called by one thread at a time. */
typedef struct StreamOps {
    /* By one thread for good, which rests in it also while nothing is wanted: what is sent moves
     * only while someone is in the carrier. */
    bool has_thread;
    /* How many bytes of the runs, which follow each other, have moved: 0: none now; -1: never any
     * more, as the stream is broken. Runs of a call in which nothing moved begin with the same
     * bytes when they come again. Runs are the caller's once the function has returned. */
    int64_t (*send)(void *carrier, int32_t rank, const struct iovec *runs, int n);
    int64_t (*receive)(void *carrier, int32_t rank, const struct iovec *runs, int n);
    /* Sleeps until something of what is wanted may be possible, the eventfd is set, or some
     * milliseconds are over (-1: never). is_awaited: a thread waits for it, and looking for some
     * microseconds before sleeping takes no core from its work. */
    void (*rest)(void *carrier, const StreamWant *wants, int32_t n, int event, int patience,
                 bool is_awaited);
    const char *(*why)(void *carrier); /* a stream is broken, if that is known; else "" */
    /* has_failed: others may be gone with what was on its way. */
    void (*free)(void *carrier, bool has_failed);
} StreamOps;

typedef struct StreamOptions {
    const CommOps *comm; /* stream_start, stream_wait, stream_abort, stream_close, and a name */
    const StreamOps *ops;
    void *carrier;
    Control *control; /* met, not begun */
    int32_t rank, n_ranks;
    double silence_seconds; /* a broken stream that nothing explains for so long is a failure */
    double timeout_seconds; /* the rank's patience at first (comm_patience) */
} StreamOptions;

/* Takes carrier and control over, on failure too, of which `message` says why. Starts a thread. */
dlc_status stream_create(const dlc_allocator *allocator, const StreamOptions *options, Comm **out,
                         char *message);

dlc_status stream_start(Comm *comm, const CommCall *call, CommRequest **out);
dlc_status stream_wait(Comm *comm, CommRequest *request);
void stream_abort(Comm *comm, dlc_status status, const char *text);
void stream_close(Comm *comm);

#endif
