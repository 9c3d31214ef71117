/* Shared memory without a name (segment.h): memfd_create, not files in /dev/shm, which containers
 * keep small; its pages are taken at once, so that an end to memory is an error here and no signal
 * later. */
#include "runtime/comm/memory/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>
#include <unistd.h>

static const long memory_magic = 0x01021994; /* TMPFS_MAGIC: memfds are of it */
static const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

int segment_failed(int made, char *why, const char *what) {
    char text[96];
    int reason = errno;
    snprintf(why, SEGMENT_WHY_BYTES, "%s: %s", what, strerror_r(reason, text, sizeof(text)));
    if (made >= 0) {
        close(made);
    }
    return -1;
}

/* Where there is no such memory at all, taking it would end other processes before it fails. More
 * than the limit of a file's size would be a signal that ends this one. */
static bool is_allowed(size_t bytes, char *why) {
    struct rlimit limit;
    struct sysinfo info;
    const char *what = "the limit of a file's size (ulimit -f) is";
    uint64_t had = UINT64_MAX;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        had = limit.rlim_cur;
    }
    if (had >= bytes && sysinfo(&info) == 0) {
        what = "what is free on this machine is";
        had = ((uint64_t)info.freeram + info.bufferram) * info.mem_unit;
    }
    if (had < bytes) {
        snprintf(why, SEGMENT_WHY_BYTES, "shared memory of %zu bytes is wanted, and %s %llu", bytes,
                 what, (unsigned long long)had);
    }
    return had >= bytes;
}

int segment_make(size_t bytes, char *why) {
    if (!is_allowed(bytes, why)) {
        return -1;
    }
    int made = memfd_create("dlc", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (made < 0) {
        return segment_failed(made, why, "memfd_create");
    }
    int reason = posix_fallocate(made, 0, (off_t)bytes);
    if (reason != 0) {
        char what[96];
        snprintf(what, sizeof(what), "shared memory of %zu bytes is wanted, and not to be had",
                 bytes);
        errno = reason;
        return segment_failed(made, why, what);
    }
    return fcntl(made, F_ADD_SEALS, seals) == 0 ? made : segment_failed(made, why, "F_ADD_SEALS");
}

/* Whether it is memory of this size for as long as it is mapped. */
static bool is_sound(int descriptor, size_t bytes, char *why) {
    struct stat stat;
    struct statfs system;
    int has = fcntl(descriptor, F_GET_SEALS);
    if (fstat(descriptor, &stat) != 0 || fstatfs(descriptor, &system) != 0) {
        segment_failed(-1, why, "fstat of what should be shared memory");
    } else if (!S_ISREG(stat.st_mode) || system.f_type != memory_magic) {
        snprintf(why, SEGMENT_WHY_BYTES, "what should be shared memory is something else");
    } else if (stat.st_size < 0 || (uintmax_t)stat.st_size != bytes) {
        snprintf(why, SEGMENT_WHY_BYTES, "shared memory has %lld bytes, %zu are wanted",
                 (long long)stat.st_size, bytes);
    } else if (has < 0 || (has & F_SEAL_SHRINK) == 0) {
        snprintf(why, SEGMENT_WHY_BYTES, "shared memory is not sealed: it could shrink in use");
    } else {
        return true;
    }
    return false;
}

void *segment_map(int descriptor, size_t bytes, char *why) {
    if (!is_sound(descriptor, bytes, why)) {
        return NULL;
    }
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED) {
        segment_failed(-1, why, "mmap");
        return NULL;
    }
    return memory;
}
