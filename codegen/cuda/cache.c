/* Compiled units kept on disk, for people who compile the same program again and again. A file is
 * named by the hash of everything its content depends on and appears whole or not at all; one that
 * cannot be read or is damaged is as good as none. */
#include "codegen/cuda/compile.h"
#include "ir/base/file.h"
#include "ir/base/str.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_MAGIC "DLCUNIT\1"

enum { PATH_BYTES = 4096 };

typedef struct CacheHeader {
    char magic[8];
    uint64_t n_source, n_cubin, n_ptx, n_log, hash; /* of the three, one after another */
} CacheHeader;

static uint64_t key(const Nvrtc *nvrtc, const char *source, const char *prelude, int32_t sm,
                    uint64_t seed) {
    int32_t numbers[3] = {CUDA_IMAGE_VERSION, cudac_toolkit(nvrtc), sm};
    uint64_t hash = hash_bytes(numbers, sizeof(numbers), seed);
    hash = hash_bytes(CUDA_OPTIONS, strlen(CUDA_OPTIONS), hash);
    hash = hash_bytes(prelude, strlen(prelude), hash);
    return hash_bytes(source, strlen(source), hash);
}

static bool path_of(const Nvrtc *nvrtc, const char *source, const char *prelude, int32_t sm,
                    char out[PATH_BYTES]) {
    const char *folder = getenv("DLC_CUDA_CACHE");
    if (!folder || !*folder) {
        return false;
    }
    int n = snprintf(out, PATH_BYTES, "%s/%016" PRIx64 "%016" PRIx64 ".unit", folder,
                     key(nvrtc, source, prelude, sm, 1), key(nvrtc, source, prelude, sm, 2));
    return n > 0 && n < PATH_BYTES;
}

static uint64_t content_hash(const CudaCode *code, size_t n_log) {
    uint64_t hash = hash_bytes(code->cubin, code->n_cubin, 0);
    hash = hash_bytes(code->ptx, code->n_ptx, hash);
    return hash_bytes(code->log, n_log, hash);
}

static char *read_blob(FILE *file, uint64_t size) {
    char *bytes = size < ((uint64_t)1 << 32) ? malloc((size_t)size + 1) : NULL;
    if (bytes && fread(bytes, 1, (size_t)size, file) != size) {
        free(bytes);
        return NULL;
    }
    if (bytes) {
        bytes[size] = '\0';
    }
    return bytes;
}

bool cudac_cache_find(const Nvrtc *nvrtc, const char *source, const char *prelude, int32_t sm,
                      CudaCode *code) {
    char path[PATH_BYTES];
    memset(code, 0, sizeof(*code));
    FILE *file = path_of(nvrtc, source, prelude, sm, path) ? fopen(path, "rb") : NULL;
    if (!file) {
        return false;
    }
    CacheHeader header = {0};
    bool good = fread(&header, sizeof(header), 1, file) == 1 &&
                memcmp(header.magic, CACHE_MAGIC, sizeof(header.magic)) == 0 &&
                header.n_source == strlen(source);
    if (good) {
        code->cubin = read_blob(file, header.n_cubin);
        code->ptx = code->cubin ? read_blob(file, header.n_ptx) : NULL;
        code->log = code->ptx ? read_blob(file, header.n_log) : NULL;
        code->n_cubin = (size_t)header.n_cubin;
        code->n_ptx = (size_t)header.n_ptx;
        good = code->log && content_hash(code, (size_t)header.n_log) == header.hash;
    }
    fclose(file);
    if (!good) {
        cudac_code_finish(code);
    }
    return good;
}

void cudac_cache_keep(const Nvrtc *nvrtc, const char *source, const char *prelude, int32_t sm,
                      const CudaCode *code) {
    char path[PATH_BYTES], message[FILE_MESSAGE_BYTES];
    if (!path_of(nvrtc, source, prelude, sm, path)) {
        return;
    }
    size_t n_log = strlen(code->log);
    CacheHeader header = {.n_source = strlen(source),
                          .n_cubin = code->n_cubin,
                          .n_ptx = code->n_ptx,
                          .n_log = n_log,
                          .hash = content_hash(code, n_log)};
    memcpy(header.magic, CACHE_MAGIC, sizeof(header.magic));
    const void *const parts[] = {&header, code->cubin, code->ptx, code->log};
    const size_t lengths[] = {sizeof(header), code->n_cubin, code->n_ptx, n_log};
    (void)file_write(path, parts, lengths, 4, message);
}
