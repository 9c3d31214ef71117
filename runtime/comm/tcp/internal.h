/* What the files of the TCP transport share: the state of one rank, sockets, messages. Numbers on
 * the wire are in the machine's order, which the magic number proves to be the same. */
#ifndef DLC_RUNTIME_COMM_TCP_INTERNAL_H
#define DLC_RUNTIME_COMM_TCP_INTERNAL_H

#include "runtime/comm/combine.h"
#include "runtime/comm/tcp/tcp.h"

#include <pthread.h>
#include <stddef.h>

#define TCP_MAGIC UINT64_C(0x636d6f632d636c64)

enum { TCP_VERSION = 1, TCP_HOST_BYTES = 64, TCP_TEXT_BYTES = 360 };

/* -- On the wire. */

/* First on every connection, from who made it. */
typedef struct TcpHello {
    uint64_t magic;
    uint32_t version;
    uint32_t is_data;
    uint64_t key; /* hash of the job's */
    int32_t rank, n_ranks;
    uint32_t port; /* where this rank listens for data */
    uint32_t reserved;
    char host[TCP_HOST_BYTES];
} TcpHello;

/* Rank 0's answer on control connections, followed by n_ranks TcpPlaces if status is DLC_OK. */
typedef struct TcpWelcome {
    uint64_t magic;
    int32_t status, reserved;
    char text[COMM_MESSAGE_BYTES];
} TcpWelcome;

typedef struct TcpPlace {
    uint32_t family, port; /* 4 or 6 */
    uint8_t address[16];
    char host[TCP_HOST_BYTES];
} TcpPlace;

typedef enum TcpMessageKind { TCP_BEAT = 1, TCP_FAIL = 2, TCP_BYE = 3 } TcpMessageKind;

/* On control connections. */
typedef struct TcpMessage {
    uint32_t kind;
    int32_t status;
    uint32_t length, reserved; /* of what follows: TCP_FAIL: its text, TCP_BEAT: a TcpBeat */
} TcpMessage;

/* What a rank is at. */
typedef struct TcpBeat {
    int64_t n_calls;   /* begun */
    uint64_t call;     /* hash of the one under way; 0: none */
    int32_t waits_for; /* a rank from which nothing of it has come, though it has been sent; -1 */
    int32_t reserved;
    char text[TCP_TEXT_BYTES]; /* the call */
} TcpBeat;

/* On data connections, before what a rank sends another in a call: what the call is. */
typedef struct TcpHeader {
    uint64_t magic;
    uint64_t call;   /* tcp_call_hash; 0: this rank has ended */
    int64_t n_calls; /* of this rank before it */
    char text[TCP_TEXT_BYTES];
} TcpHeader;

/* -- State. */

/* How far a sequence of runs of a call's buffers is sent or received. */
typedef struct TcpWalk {
    int32_t buffer;
    int64_t byte; /* of that buffer's part */
} TcpWalk;

/* HEADER, FIRST: operands; SECOND: combined pieces, of ALL_REDUCE. */
typedef enum TcpStage { STAGE_HEADER, STAGE_FIRST, STAGE_SECOND, STAGE_DONE } TcpStage;

typedef struct TcpPeer {
    int data, control; /* sockets; -1: none. control: of rank 0 all, of others that of rank 0 */
    char host[TCP_HOST_BYTES];
    /* The call under way; the data thread's. */
    TcpStage sent, received;
    TcpWalk send_walk, receive_walk;
    size_t header_sent, header_received;
    TcpHeader header; /* of the peer */
    double closed_at; /* when its data connection broke; 0: not */
    bool data_ended;  /* nothing more can be read of it */
    /* The control thread's. */
    double heard;
    TcpBeat beat; /* of rank 0: of all ranks, its own too */
    double since; /* when it first told this */
    bool has_ended, was_lost, is_visited;
    size_t n_message; /* bytes of what follows */
    char message[sizeof(TcpMessage) + COMM_MESSAGE_BYTES];
} TcpPeer;

/* A started call. */
typedef struct TcpOp {
    struct TcpOp *next;
    const CommCall *call;
    int32_t n, number;
    bool is_used, is_done;
    double waited_since; /* 0: nobody waits yet */
    uint8_t *staging;    /* others' operands of what this rank combines */
    size_t staging_bytes;
} TcpOp;

typedef struct Tcp {
    Comm comm;
    const dlc_allocator *allocator;
    TcpPeer *peers; /* [n_ranks]; the own entry has no sockets */
    struct pollfd *polls[2];
    const void **operands;
    char host[TCP_HOST_BYTES];
    double silence, timeout;
    pthread_t data_thread, control_thread;
    int n_threads;
    int data_wake, control_wake; /* eventfds */
    /* Under the mutex. */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    dlc_status failure;
    char failure_text[COMM_MESSAGE_BYTES];
    bool data_works; /* the data thread touches callers' buffers */
    bool closes, data_closed;
    TcpBeat beat;        /* what this rank is at */
    TcpOp *first, *last; /* started and not done: done in this order, one by one */
    TcpOp ops[COMM_MAX_STARTED];
    /* The data thread's. */
    TcpOp *current;
    bool is_combined;
    TcpHeader header;
    int64_t n_calls;
} Tcp;

/* The first failure, from any thread; wakes all. */
void tcp_fail(Tcp *tcp, dlc_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool tcp_has_failed(Tcp *tcp);
void tcp_wake(int event);
void tcp_wake_clear(int event);
void *tcp_data_main(void *tcp);    /* data.c */
void *tcp_control_main(void *tcp); /* control.c */

/* walk.c: parts of a call's buffers as runs of memory. */
struct iovec;
size_t tcp_staging_bytes(const CommCall *call, int32_t n, int32_t number);
/* What comes next between this rank and number `other`; how many of `most` runs; 0: nothing more.
 */
int tcp_walk_fill(const TcpOp *op, int32_t other, TcpStage stage, bool sends, const TcpWalk *walk,
                  struct iovec *out, int most);
void tcp_walk_advance(const TcpOp *op, int32_t other, TcpStage stage, bool sends, TcpWalk *walk,
                      size_t bytes);
void tcp_copy_own(const TcpOp *op);
void tcp_combine_own(const TcpOp *op, const void **operands);
uint64_t tcp_call_hash(const Comm *comm, const CommCall *call);

/* socket.c. Deadlines by clock_seconds. Sockets close on exec. */
bool tcp_read(int socket, void *to, size_t bytes, double deadline);
bool tcp_write(int socket, const void *from, size_t bytes, double deadline);
/* A socket that listens on all addresses, *port filled (given: 0 for any); -1: errno. */
int tcp_listen(uint32_t *port);
int tcp_accept(int listener, double deadline);
/* To the first of "host:port,…" that takes it, again and again until the deadline; -1: `message`
 * says why not. */
int tcp_connect(const char *addresses, double deadline, char *message);
int tcp_connect_place(const TcpPlace *place, double deadline);
bool tcp_place_of_peer(int socket, TcpPlace *out);
bool tcp_port_of(const char *addresses, uint32_t *out);
void tcp_prepare(int socket); /* options that all connections have */

/* meet.c: fills the peers' sockets and hosts. */
dlc_status tcp_meet(Tcp *tcp, const CommTcpOptions *options, char *message);

#endif
