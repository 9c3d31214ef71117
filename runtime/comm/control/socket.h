/* Sockets with deadlines, by clock_seconds, and events that wake who polls. Sockets close on exec.
 */
#ifndef DLC_RUNTIME_COMM_CONTROL_SOCKET_H
#define DLC_RUNTIME_COMM_CONTROL_SOCKET_H

#include "runtime/comm/comm.h"

#include <stddef.h>

enum { SOCKET_HOST_BYTES = 64 };

/* Where a rank is reached, and the name of its host. */
typedef struct SocketPlace {
    uint32_t family, port; /* 4 or 6 */
    uint8_t address[16];
    char host[SOCKET_HOST_BYTES];
} SocketPlace;

/* All of it; false: errno, ETIMEDOUT where the time is over. */
bool socket_read(int socket, void *to, size_t bytes, double deadline);
bool socket_write(int socket, const void *from, size_t bytes, double deadline);
/* A socket that listens on all addresses, *port filled (given: 0 for any); -1: errno. */
int socket_listen(uint32_t *port);
/* One on a port of the system's choice, and the addresses of this machine that lead there,
 * "host:port,…", those for itself last; of the interfaces that DLC_SOCKET_IFNAME, or
 * NCCL_SOCKET_IFNAME, lists. -1: there is none. */
int socket_publish(char *out_addresses, size_t n_addresses);
int socket_accept(int listener, double deadline); /* -1: errno */
/* To the first of "host:port,…" that takes it, again and again until the deadline; -1: `message`
 * (COMM_MESSAGE_BYTES) says why not. */
int socket_connect(const char *addresses, double deadline, char *message);
int socket_connect_place(const SocketPlace *place, double deadline); /* -1: errno */
/* Fills the address and port, not the host. */
bool socket_place_of_peer(int socket, SocketPlace *out);
/* Of the first of "host:port,…"; false: malformed. */
bool socket_port_of(const char *addresses, uint32_t *out);
void socket_unblock(int socket);

/* Eventfds. */
void event_wake(int event);
void event_clear(int event);

#endif
