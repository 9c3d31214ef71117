/* How many threads this process should use for work that fills a core each. Both sides. */
#ifndef DLC_IR_BASE_CORES_H
#define DLC_IR_BASE_CORES_H

/* OMP_NUM_THREADS where it is set to a number; else the processors that the affinity mask allows
 * (taskset, mpirun), at most the cgroup's quota of time, rounded up. At least 1. */
int cores_usable(void);

/* The quota of this process's cgroup and those above it, version 1 or 2, in processors, rounded up;
 * 0: none. `root` stands before /proc and /sys (""; a folder in tests). */
int cores_quota(const char *root);

#endif
