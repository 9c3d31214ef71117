/* What was compiled before is not compiled again. In the folder DLC_CUDASIM_CACHE everything is
 * kept for other processes; by this process short texts, which are the run side's own kernels and
 * are compiled by every session. */
#include "tests/cudasim/sim.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEPT = 16, SHORT_BYTES = 4096, PATH_BYTES = 512 };

typedef struct Kept {
    uint64_t key[2];
    unsigned char *container;
    size_t bytes;
} Kept;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Kept kept[KEPT];

extern const char cudasim_prelude[];

static uint64_t hash(uint64_t state, const char *text) { /* FNV-1a */
    for (; *text; text++) {
        state = (state ^ (unsigned char)*text) * 0x100000001b3u;
    }
    return (state ^ 0xff) * 0x100000001b3u;
}

static void make_key(const char *source, int arch, int version, uint64_t key[2]) {
    const char *level = getenv("DLC_CUDASIM_LEVEL"), *compiler = getenv("DLC_CUDASIM_CXX");
    char numbers[64];
    snprintf(numbers, sizeof numbers, "%d %d", arch, version);
    for (int i = 0; i < 2; i++) {
        key[i] = hash(0xcbf29ce484222325u + (uint64_t)i, source);
        key[i] = hash(key[i], cudasim_prelude);
        key[i] = hash(key[i], numbers);
        key[i] = hash(key[i], __VERSION__);
        key[i] = hash(key[i], level ? level : "");
        key[i] = hash(key[i], compiler ? compiler : "");
    }
}

static bool path_of(const uint64_t key[2], char out[PATH_BYTES]) {
    const char *folder = getenv("DLC_CUDASIM_CACHE");
    int n = folder && folder[0] ? snprintf(out, PATH_BYTES, "%s/%016llx%016llx", folder,
                                           (unsigned long long)key[0], (unsigned long long)key[1])
                                : 0;
    return n > 0 && n < PATH_BYTES - 32;
}

static void remember(const uint64_t key[2], const unsigned char *container, size_t bytes) {
    for (int i = 0; i < KEPT; i++) {
        if (!kept[i].container) {
            kept[i] = (Kept){{key[0], key[1]}, malloc(bytes), bytes};
            if (kept[i].container) {
                memcpy(kept[i].container, container, bytes);
            }
            return;
        }
    }
}

static bool file_find(const uint64_t key[2], Compiled *out) {
    char path[PATH_BYTES];
    FILE *file = path_of(key, path) ? fopen(path, "rb") : NULL;
    CudasimContainer header;
    if (!file) {
        return false;
    }
    if (fread(&header, sizeof header, 1, file) == 1 &&
        !memcmp(header.magic, CUDASIM_CUBIN_MAGIC, sizeof header.magic)) {
        out->container = malloc(header.total);
        rewind(file);
        if (out->container && fread(out->container, 1, header.total, file) == header.total) {
            out->bytes = header.total;
        } else {
            free(out->container);
            out->container = NULL;
        }
    }
    fclose(file);
    return out->container != NULL;
}

static void file_add(const uint64_t key[2], const Compiled *compiled) {
    char path[PATH_BYTES], own[PATH_BYTES + 32];
    if (!path_of(key, path)) {
        return;
    }
    snprintf(own, sizeof own, "%s.%ld.%lx", path, (long)getpid(), (unsigned long)pthread_self());
    FILE *file = fopen(own, "wb");
    if (file) {
        bool good = fwrite(compiled->container, 1, compiled->bytes, file) == compiled->bytes;
        good = fclose(file) == 0 && good;
        if (!good || rename(own, path) != 0) {
            unlink(own);
        }
    }
}

static void find_or_compile(const uint64_t key[2], const char *source, int arch, int version,
                            Compiled *out) {
    if (file_find(key, out)) {
        return;
    }
    sim_compile(source, arch, version, NULL, out);
    if (out->container) {
        file_add(key, out);
    }
}

void keep_compile(const char *source, int arch, int version, Compiled *out) {
    uint64_t key[2];
    *out = (Compiled){0};
    make_key(source, arch, version, key);
    if (strlen(source) >= SHORT_BYTES) {
        find_or_compile(key, source, arch, version, out);
        return;
    }
    pthread_mutex_lock(&lock); /* held while compiling: another thread may want the same text */
    for (int i = 0; i < KEPT && !out->container; i++) {
        if (kept[i].container && !memcmp(kept[i].key, key, sizeof kept[i].key)) {
            out->container = malloc(kept[i].bytes);
            out->bytes = kept[i].bytes;
            if (out->container) {
                memcpy(out->container, kept[i].container, out->bytes);
            }
        }
    }
    if (!out->container) {
        find_or_compile(key, source, arch, version, out);
        if (out->container) {
            remember(key, out->container, out->bytes);
        }
    }
    pthread_mutex_unlock(&lock);
}
