/* See cores.h. */
#include "ir/base/cores.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 1024 };

static int affinity_count(void) {
    for (int n = 1024; n <= 1 << 20; n *= 4) { /* the kernel's mask may be larger than ours */
        cpu_set_t *set = CPU_ALLOC((size_t)n);
        size_t bytes = CPU_ALLOC_SIZE((size_t)n);
        int count = 0;
        if (set && sched_getaffinity(0, bytes, set) == 0) {
            count = CPU_COUNT_S(bytes, set);
        }
        CPU_FREE(set);
        if (count > 0) {
            return count;
        }
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

/* Up to two whole numbers of a one-line file; "max" counts as none. How many were read. */
static int numbers_read(const char *root, const char *folder, const char *name, long long out[2]) {
    char path[2 * PATH_BYTES], line[128] = "";
    snprintf(path, sizeof(path), "%s%s/%s", root, folder, name);
    FILE *file = fopen(path, "r");
    bool read = file && fgets(line, sizeof(line), file);
    if (file) {
        fclose(file);
    }
    return read ? sscanf(line, "%lld %lld", &out[0], &out[1]) : 0;
}

static int processors(long long quota, long long period) {
    long long n = quota > 0 && period > 0 ? (quota - 1) / period + 1 : 0;
    return n > 1 << 20 ? 1 << 20 : (int)n;
}

/* What one folder of a hierarchy says. */
static int folder_quota(const char *root, const char *folder) {
    long long both[2] = {0, 0}, quota[2] = {0, 0}, period[2] = {0, 0};
    if (numbers_read(root, folder, "cpu.max", both) == 2) {
        return processors(both[0], both[1]);
    }
    if (numbers_read(root, folder, "cpu.cfs_quota_us", quota) > 0 &&
        numbers_read(root, folder, "cpu.cfs_period_us", period) > 0) {
        return processors(quota[0], period[0]);
    }
    return 0;
}

static int lower_quota(int a, int b) {
    return a == 0 || (b > 0 && b < a) ? b : a;
}

/* The least of the group and those above it. Within a container the group's own path may not be
 * there; its top is. */
static int hierarchy_quota(const char *root, const char *mount, char *group) {
    int least = 0;
    for (;;) {
        char folder[PATH_BYTES];
        snprintf(folder, sizeof(folder), "%s%s", mount, group);
        least = lower_quota(least, folder_quota(root, folder));
        char *slash = strrchr(group, '/');
        if (!slash) {
            return least;
        }
        *slash = '\0';
    }
}

static bool has_word(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, word, n) == 0 && (at[n] == ',' || at[n] == '\0')) {
            return true;
        }
    }
    return false;
}

int cores_quota(const char *root) {
    static const char *const mounts_v2[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    static const char *const mounts_v1[] = {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"};
    char path[PATH_BYTES], line[PATH_BYTES];
    int least = 0;
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof(line), file)) { /* "number:controllers:/group" */
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) {
            continue;
        }
        *group++ = '\0';
        controllers++;
        const char *const *mounts = *controllers == '\0'           ? mounts_v2
                                    : has_word(controllers, "cpu") ? mounts_v1
                                                                   : NULL;
        for (int i = 0; mounts && i < 2; i++) {
            char copy[PATH_BYTES];
            memcpy(copy, group, strlen(group) + 1);
            least = lower_quota(least, hierarchy_quota(root, mounts[i], copy));
        }
    }
    if (file) {
        fclose(file);
    }
    return least;
}

int cores_usable(void) {
    const char *wish = getenv("OMP_NUM_THREADS");
    char *end = NULL;
    long wished = wish ? strtol(wish, &end, 10) : 0;
    if (wished > 0 && wished <= 1 << 20 && (*end == '\0' || *end == ',')) {
        return (int)wished;
    }
    int count = affinity_count(), quota = cores_quota("");
    return quota > 0 && quota < count ? quota : count;
}
