/* What the files of calls over streams share: the state of one rank, and what is on the streams.
 * Numbers there are in the machine's order, which the control channel has proved to be the same. */
#ifndef DLC_RUNTIME_COMM_STREAM_INTERNAL_H
#define DLC_RUNTIME_COMM_STREAM_INTERNAL_H

#include "runtime/comm/combine.h"
#include "runtime/comm/stream/stream.h"

#include <pthread.h>
#include <stddef.h>

#define STREAM_MAGIC UINT64_C(0x6d6165727473636c)

/* Before what a rank sends another in a call: what the call is. */
typedef struct StreamHeader {
    uint64_t magic;
    uint64_t call;   /* stream_call_hash; 0: this rank has ended */
    int64_t n_calls; /* of this rank before it */
    char text[CONTROL_TEXT_BYTES];
} StreamHeader;

/* How far a sequence of runs of a call's buffers is sent or received. */
typedef struct StreamWalk {
    int32_t buffer;
    int64_t byte; /* of that buffer's part */
} StreamWalk;

/* HEADER, FIRST: operands; SECOND: combined pieces, of ALL_REDUCE. */
typedef enum StreamStage { STAGE_HEADER, STAGE_FIRST, STAGE_SECOND, STAGE_DONE } StreamStage;

/* Of the call under way; the driving thread's. */
typedef struct StreamPeer {
    StreamStage sent, received;
    StreamWalk send_walk, receive_walk;
    size_t header_sent, header_received;
    StreamHeader header; /* of the peer */
    double closed_at;    /* when its stream broke; 0: not */
    bool data_ended;     /* nothing more can be read of it */
} StreamPeer;

/* A started call. */
typedef struct StreamOp {
    struct StreamOp *next;
    const CommCall *call;
    int32_t n, number;
    bool is_used, is_done;
    double waited_since; /* 0: nobody waits yet */
    uint8_t *staging;    /* others' operands of what this rank combines */
    size_t staging_bytes;
} StreamOp;

typedef struct Stream {
    Comm comm;
    const dlc_allocator *allocator;
    const StreamOps *ops;
    void *carrier;
    Control *control;
    StreamPeer *peers; /* [n_ranks]; the own entry has no stream */
    StreamWant *wants; /* [n_ranks] */
    const void **operands;
    double silence;
    pthread_t thread;
    bool has_thread;
    int wake; /* eventfd: the driving thread rests with it */
    /* Under the mutex. */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_cond_t work; /* for the data thread: there is a call that nobody does */
    dlc_status failure;  /* the control channel's */
    char failure_text[COMM_MESSAGE_BYTES];
    bool is_woken;   /* `wake` is set */
    bool is_driven;  /* a thread does the calls: the data thread, or one that waits for one */
    bool data_works; /* it touches callers' buffers */
    /* No call comes any more; all are done, and others know; others have ended too. */
    bool closes, calls_ended, is_over;
    StreamOp *first, *last; /* started and not done: done in this order, one by one */
    StreamOp ops_started[COMM_MAX_STARTED];
    /* The driving thread's. */
    StreamOp *current;
    bool is_combined;
    StreamHeader header;
    int64_t n_calls;
    ControlBeat beat;
} Stream;

bool stream_has_failed(Stream *stream);
void stream_wake(Stream *stream); /* who drives, under the mutex */
/* data.c */
void *stream_main(void *stream);
/* By the thread that has set is_driven: does calls in their order, until `until` is done, or with
 * NULL until there is none left and none comes (or one of the carrier's own thread: there is none
 * more). Returns earlier where the communicator has failed. */
void stream_drive(Stream *stream, const StreamOp *until);

/* walk.c: parts of a call's buffers as runs of memory. */
size_t stream_staging_bytes(const CommCall *call, int32_t n, int32_t number);
/* What comes next between this rank and number `other`; how many of `most` runs; 0: nothing more.
 */
int stream_walk_fill(const StreamOp *op, int32_t other, StreamStage stage, bool sends,
                     const StreamWalk *walk, struct iovec *out, int most);
void stream_walk_advance(const StreamOp *op, int32_t other, StreamStage stage, bool sends,
                         StreamWalk *walk, size_t bytes);
void stream_copy_own(const StreamOp *op);
void stream_combine_own(const StreamOp *op, const void **operands);
uint64_t stream_call_hash(const Comm *comm, const CommCall *call);

#endif
