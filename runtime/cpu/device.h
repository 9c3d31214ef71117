/* The CPU as a device: native images mapped read-execute, tiles split over a pool of threads. */
#ifndef DLC_RUNTIME_CPU_DEVICE_H
#define DLC_RUNTIME_CPU_DEVICE_H

#include "runtime/device.h"

/* Measured rates of this machine with `threads` threads: fused multiply-adds in registers (two
 * operations each) and bytes read from memory, per second. Takes about a tenth of a second each;
 * 0 where memory runs out. */
double cpu_peak_flops(const dlc_allocator *allocator, int threads);
double cpu_peak_bytes(const dlc_allocator *allocator, int threads);

#endif
