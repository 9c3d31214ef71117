/* Passing open files to another process of this host, by a socket that no other host, container
 * with a network of its own, or user can reach: who gets one shares memory for certain. */
#ifndef DLC_RUNTIME_COMM_MEMORY_PASS_H
#define DLC_RUNTIME_COMM_MEMORY_PASS_H

#include "runtime/comm/memory/segment.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PASS_MOST = 2, PASS_WHY_BYTES = SEGMENT_WHY_BYTES };

/* Where a process listens: by chance, so that none is there twice; all 0: it does not. */
typedef struct PassName {
    uint64_t words[2];
} PassName;

bool pass_is_named(const PassName *name);
/* A socket that listens, its name filled, or -1 (`why`: PASS_WHY_BYTES). All sockets are closed by
 * the caller, and on exec. */
int pass_listen(PassName *name, char *why);
/* To who listens by that name, who is of this user; -1: `why`. Never waits. */
int pass_connect(const PassName *name, char *why);
/* The next that has connected, of this user; -1: nobody has (others are sent away). */
int pass_accept(int listener);
/* `bytes` and n descriptors, which stay the caller's; small, so that it never waits. */
bool pass_send(int socket, const void *bytes, size_t n_bytes, const int *descriptors, int n);
/* As many of both, before the deadline (clock_seconds), the descriptors then the caller's; false:
 * they have not come so. */
bool pass_take(int socket, void *bytes, size_t n_bytes, int *descriptors, int n, double deadline);

#endif
