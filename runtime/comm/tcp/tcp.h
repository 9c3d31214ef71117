/* Ranks that are processes, on one host or several, over TCP (IPv4 and IPv6). Every pair of ranks
 * has a connection for data, and memory that both share, through which data go instead, where they
 * are on one host; every rank has a connection to rank 0 for control, on which both sides are heard
 * from all the time, by a thread of its own. */
#ifndef DLC_RUNTIME_COMM_TCP_TCP_H
#define DLC_RUNTIME_COMM_TCP_TCP_H

#include "runtime/comm/comm.h"

enum { TCP_MAX_RANKS = 4096 };

extern const CommOps comm_tcp;

typedef struct CommTcpOptions {
    int32_t rank, n_ranks;
    /* Where rank 0 listens: "host:port", several separated by commas, tried in turn, "[::1]:port"
     * for IPv6; host names may have several addresses. Rank 0 listens on the first one's port, on
     * all its addresses. */
    const char *addresses;
    /* Rank 0: a socket that listens already, to which `addresses` lead; taken over, also on
     * failure. -1: none. */
    int listener;
    /* Ranks of one job have the same text; others that come to the same address are refused. */
    const char *job_key;
    /* For all ranks to meet; they may start in any order. 0: 300. */
    double meet_seconds;
    /* A rank that is not heard from for so long has failed. A dead one is known at once. 0: 20. */
    double silence_seconds;
    /* The rank's patience at first (comm_patience). */
    double timeout_seconds;
    bool only_sockets; /* this rank shares no memory with others */
} CommTcpOptions;

/* Meets the other ranks; *out ends by comm_close, which for rank 0 waits for the others' (at most
 * silence_seconds). Ranks of one host that cannot share memory use sockets, and Comm.note says why.
 On failure `message` (COMM_MESSAGE_BYTES) says why: DLC_ERROR_IO: nobody to
 * meet, in time; DLC_ERROR_MISMATCH: of another version, job or number of ranks;
 * DLC_ERROR_INVALID_ARGUMENT: malformed options. Starts two threads. */
dlc_status comm_tcp_create(const dlc_allocator *allocator, const CommTcpOptions *options,
                           Comm **out, char *message);

/* A socket that listens on a port of the system's choice, for CommTcpOptions.listener, and the
 * addresses of this machine that lead there, those for itself last; of the interfaces that
 * DLC_SOCKET_IFNAME, or NCCL_SOCKET_IFNAME, lists. -1: there is none. */
int comm_tcp_listen(char *out_addresses, size_t n_addresses);

#endif
