/* What the files of the control channel share: its state, and what is on the wire. Numbers there
 * are in the machine's order, which the magic number proves to be the same. */
#ifndef DLC_RUNTIME_COMM_CONTROL_INTERNAL_H
#define DLC_RUNTIME_COMM_CONTROL_INTERNAL_H

#include "runtime/comm/control/control.h"

#include <pthread.h>

#define CONTROL_MAGIC UINT64_C(0x636d6f632d636c64)

enum { CONTROL_VERSION = 4 };

/* -- On the wire. */

/* First on every connection, from who made it. */
typedef struct ControlHello {
    uint64_t magic;
    uint32_t version;
    uint32_t port; /* where this rank listens for data */
    uint64_t key;  /* hash of the job's */
    int32_t rank, n_ranks;
    char host[SOCKET_HOST_BYTES];
} ControlHello;

/* Rank 0's answer, followed by n_ranks SocketPlaces if status is DLC_OK. */
typedef struct ControlWelcome {
    uint64_t magic;
    int32_t status, reserved;
    char text[COMM_MESSAGE_BYTES];
} ControlWelcome;

typedef enum ControlKind {
    CONTROL_BEAT = 1,
    CONTROL_FAIL = 2,
    CONTROL_BYE = 3,
    CONTROL_AT = 4
} ControlKind;

typedef struct ControlMessage {
    uint32_t kind;
    int32_t status;
    uint32_t length; /* of what follows: FAIL, AT: a text, BEAT: a beat */
    int32_t of;      /* FAIL: the rank that it is of, and 1; 0: none */
} ControlMessage;

/* -- State. */

/* Another rank; but for `place` and `socket` the thread's. */
typedef struct ControlPeer {
    int socket; /* of rank 0 to all, of others to rank 0; -1: none */
    SocketPlace place;
    double heard;
    ControlBeat beat;       /* of rank 0: of all ranks, its own too */
    double since;           /* when it first told this */
    char at[COMM_AT_BYTES]; /* under the mutex; "": it has not said */
    bool has_ended, was_lost, is_visited;
    size_t n_message; /* bytes of what follows */
    char message[sizeof(ControlMessage) + COMM_MESSAGE_BYTES];
} ControlPeer;

struct Control {
    const dlc_allocator *allocator;
    int32_t rank, n_ranks;
    double silence;
    ControlPeer *peers; /* [n_ranks]; the own entry has no socket */
    struct pollfd *polls;
    int wake; /* eventfd */
    pthread_t thread;
    bool has_thread;
    ControlFailed *on_failure;
    CommAt *at;
    void *user;
    /* Under the mutex. */
    pthread_mutex_t mutex;
    dlc_status failure;
    int32_t failure_of; /* rank; -1: of none */
    char failure_text[COMM_MESSAGE_BYTES];
    bool ends;
    ControlBeat beat; /* what this rank is at */
};

void *control_main(void *control); /* channel.c */
/* meet.c: fills the peers' sockets and places. */
dlc_status control_gather(Control *control, const ControlOptions *options, char *message);

#endif
