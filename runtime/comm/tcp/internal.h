/* What the files of this transport share: the pairs of ranks, and how they are made. */
#ifndef DLC_RUNTIME_COMM_TCP_INTERNAL_H
#define DLC_RUNTIME_COMM_TCP_INTERNAL_H

#include "runtime/comm/memory/pass.h"
#include "runtime/comm/memory/ring.h"
#include "runtime/comm/stream/stream.h"
#include "runtime/comm/tcp/tcp.h"

#include <poll.h>

/* What a pair shares: a ring each way. */
enum { TCP_MEMORY_BYTES = 2 * (RING_WORDS_BYTES + RING_BYTES) };

/* This rank and another. */
typedef struct TcpPair {
    int socket;     /* -1: none; with shared memory it only tells when the other has gone */
    void *memory;   /* shared; NULL: bytes go by the socket */
    Ring out, in;   /* in the memory */
    int bell;       /* eventfd that wakes the other rank; -1: none */
    bool is_closed; /* of a pair with memory: the other has gone */
    /* While they connect. */
    PassName name;            /* where the other listens, if it is of higher number */
    int pass;                 /* by which open files are passed; -1: none */
    char why[PASS_WHY_BYTES]; /* there is no memory; "": nobody wants it */
} TcpPair;

typedef struct Tcp {
    const dlc_allocator *allocator;
    TcpPair *pairs; /* [n_ranks]; the own entry has nothing */
    struct pollfd *polls;
    int bell; /* eventfd by which ranks that share memory with this one wake it */
    int32_t rank, n_ranks;
    double spin_most, spin_now; /* seconds: who waits for memory looks so long before it sleeps */
    uint32_t n_spins;
} Tcp;

typedef struct Connecting {
    Tcp *tcp;
    Control *control;
    int listener;      /* for data */
    int pass_listener; /* for open files; -1: this rank shares no memory */
    PassName name;     /* where it listens */
    uint64_t key;      /* hash of the job's */
    double deadline;
    char *message;
} Connecting;

/* NULL: no memory or no files. */
Tcp *tcp_new(const dlc_allocator *allocator, int32_t rank, int32_t n_ranks);
extern const StreamOps tcp_ops; /* carrier.c */

/* For a pair that cannot be connected, by errno. */
dlc_status tcp_connect_failed(Connecting *connecting, int32_t rank);
/* Before this rank connects: fills pass_listener and name. A rank that cannot listen shares
 * nothing, as its pairs' `why` says. */
void tcp_share_begin(Connecting *connecting, bool only_sockets);
/* By all ranks, when all are connected: pairs that can get memory that they share. What a pair
 * cannot have is no failure but said in its `why`. */
dlc_status tcp_share(Connecting *connecting);
void tcp_share_end(Connecting *connecting); /* whatever came of it */

#endif
