/* A device for tests whose memory host code cannot touch: addresses are moved to where nothing is
 * mapped. Each queue has a thread, which begins only when somebody waits: then all queues do what
 * they were given so far, at once; or, at other times, only what was waited for is done, or first
 * what was not. What is recorded is kept as a list. It runs the CPU's images on the CPU. Whoever
 * takes device memory for host memory, counts on work being done before it was waited for, or on an
 * order of two queues that no event makes, fails on it. */
#ifndef DLC_TESTS_DEVICE_FAR_DEVICE_H
#define DLC_TESTS_DEVICE_FAR_DEVICE_H

#include "runtime/device.h"

extern const DeviceOps device_far;

/* What a device has been asked for, to see that steps are recorded and do not wait. */
typedef struct FarCounts {
    int64_t launches, copies, sends, records, replays, reads, writes, finishes, fetches;
    int64_t aside; /* copies and fills on other queues than the first */
} FarCounts;
FarCounts far_counts(const Device *device);

#endif
