/* What the entry points of libcuda share (driver*.c): the lock, the numbered call that is made to
 * fail, the current context, and counts of what is alive. Handles are addresses of our own
 * structures. */
#ifndef DLC_TESTS_CUDASIM_DRIVER_H
#define DLC_TESTS_CUDASIM_DRIVER_H

#include "tests/cudasim/results.h"
#include "tests/cudasim/sim.h"

enum { PROCESSORS = 4, CONTEXT_BYTES = 8 << 20 };

typedef int Result;
typedef unsigned long long Address;

typedef struct Counts {
    int64_t streams, events, graphs, execs;
    int64_t module_bytes[MAX_DEVICES];
} Counts;
extern Counts alive;

/* Takes the lock; false: this call is made to fail. Every entry point ends with leave. */
bool enter(void);
Result leave(Result result);
Ctx *current(void);
/* What stands in the way of a call that needs a context: SIM_SUCCESS, or the answer. */
Result ready(bool goes);
Stream *stream_of(void *handle);
size_t shared_opt_in(void);

#define ENTER()                                                                                    \
    Result result = ready(enter());                                                                \
    if (result != SIM_SUCCESS) {                                                                   \
        return leave(result);                                                                      \
    }

#endif
