/* A device for tests whose memory host code cannot touch: addresses are moved to where nothing is
 * mapped. Work is queued and done only when somebody waits; what is recorded is kept as a list. It
 * runs the CPU's images on the CPU. Whoever takes device memory for host memory, or counts on work
 * being done before it was waited for, fails on it. */
#ifndef DLC_TESTS_DEVICE_FAR_DEVICE_H
#define DLC_TESTS_DEVICE_FAR_DEVICE_H

#include "runtime/device.h"

extern const DeviceOps device_far;

/* What a device has been asked for, to see that steps are recorded and do not wait. */
typedef struct FarCounts {
    int64_t launches, copies, records, replays, reads, writes, finishes;
} FarCounts;
FarCounts far_counts(const Device *device);

#endif
