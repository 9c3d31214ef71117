/* Memory that processes of one host share: without a name, so that nothing is left of it, and
 * sealed, so that who maps it cannot lose it. */
#ifndef DLC_RUNTIME_COMM_MEMORY_SEGMENT_H
#define DLC_RUNTIME_COMM_MEMORY_SEGMENT_H

#include <stddef.h>

enum { SEGMENT_WHY_BYTES = 240 };

/* Of a system call that has set errno: "WHAT: reason" to `why` (SEGMENT_WHY_BYTES); closes `made`
 * where that is a descriptor. Returns -1. */
int segment_failed(int made, char *why, const char *what);
/* A descriptor of `bytes` bytes that are 0 and there (not only promised), which can neither shrink
 * nor grow; closed by the caller. -1: `why` (SEGMENT_WHY_BYTES) says the size wanted and had. */
int segment_make(size_t bytes, char *why);
/* Maps what segment_make of this or another process has made; ended by munmap. NULL: `why`; also
 * where the descriptor is of something else, of another size or not sealed, whose memory could go
 * while it is used. */
void *segment_map(int descriptor, size_t bytes, char *why);

#endif
