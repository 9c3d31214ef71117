/* Objects kept on disk, for people who compile the same kernels again and again. A file is named by
 * the hash of all that LLVM is given and appears whole or not at all; one that cannot be read or is
 * damaged is as good as none. */
#include "codegen/cpu/cache.h"
#include "codegen/cpu/emit.h"
#include "ir/base/str.h"
#include <inttypes.h>
#include <llvm-c/BitWriter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CACHE_MAGIC "DLCOBJ\1"

typedef struct CacheHeader {
    char magic[8];
    uint64_t n_object, hash; /* of the object, which follows */
} CacheHeader;

static uint64_t hash_text(char *owned, uint64_t hash) {
    hash = hash_bytes(owned, strlen(owned), hash);
    LLVMDisposeMessage(owned);
    return hash;
}

/* Of the module's bitcode and of everything else that LLVM is told. */
static uint64_t key(const CpuCompiler *compiler, LLVMMemoryBufferRef bitcode, uint64_t seed) {
    const int settings[] = {CPU_CODE_LEVEL, CPU_RELOCATIONS, CPU_CODE_MODEL};
    unsigned version[3];
    LLVMGetVersion(&version[0], &version[1], &version[2]);
    uint64_t hash = hash_bytes(version, sizeof(version), seed);
    hash = hash_bytes(settings, sizeof(settings), hash);
    hash = hash_bytes(CPU_LLVM_OPTION, strlen(CPU_LLVM_OPTION), hash);
    hash = hash_bytes(compiler->passes, strlen(compiler->passes), hash);
    hash = hash_text(LLVMGetTargetMachineTriple(compiler->target_machine), hash);
    hash = hash_text(LLVMGetTargetMachineCPU(compiler->target_machine), hash);
    hash = hash_text(LLVMGetTargetMachineFeatureString(compiler->target_machine), hash);
    return hash_bytes(LLVMGetBufferStart(bitcode), LLVMGetBufferSize(bitcode), hash);
}

void cpu_cache_place(const CpuCompiler *compiler, LLVMModuleRef module, CpuCachePlace *out) {
    const char *folder = getenv("DLC_CPU_CACHE");
    out->path[0] = '\0';
    if (!folder || !*folder) {
        return;
    }
    LLVMMemoryBufferRef bitcode = LLVMWriteBitcodeToMemoryBuffer(module);
    int n = snprintf(out->path, sizeof(out->path), "%s/%016" PRIx64 "%016" PRIx64 ".o", folder,
                     key(compiler, bitcode, 1), key(compiler, bitcode, 2));
    LLVMDisposeMemoryBuffer(bitcode);
    if (n <= 0 || (size_t)n >= sizeof(out->path)) {
        out->path[0] = '\0';
    }
}

LLVMMemoryBufferRef cpu_cache_find(const CpuCachePlace *place) {
    FILE *file = place->path[0] ? fopen(place->path, "rb") : NULL;
    if (!file) {
        return NULL;
    }
    LLVMMemoryBufferRef object = NULL;
    CacheHeader header;
    if (fread(&header, sizeof(header), 1, file) == 1 &&
        memcmp(header.magic, CACHE_MAGIC, sizeof(header.magic)) == 0 &&
        header.n_object < (uint64_t)1 << 32) {
        char *bytes = malloc((size_t)header.n_object);
        size_t n = (size_t)header.n_object;
        if (bytes && fread(bytes, 1, n, file) == n && hash_bytes(bytes, n, 0) == header.hash) {
            object = LLVMCreateMemoryBufferWithMemoryRangeCopy(bytes, n, "kept");
        }
        free(bytes);
    }
    fclose(file);
    return object;
}

void cpu_cache_keep(const CpuCachePlace *place, int32_t index, LLVMMemoryBufferRef object) {
    char own[sizeof(place->path) + 32];
    if (!place->path[0]) {
        return;
    }
    snprintf(own, sizeof(own), "%s.%ld.%d", place->path, (long)getpid(), (int)index);
    const char *bytes = LLVMGetBufferStart(object);
    size_t n = LLVMGetBufferSize(object);
    CacheHeader header = {.n_object = n, .hash = hash_bytes(bytes, n, 0)};
    memcpy(header.magic, CACHE_MAGIC, sizeof(header.magic));
    FILE *file = fopen(own, "wb");
    if (file) {
        bool good = fwrite(&header, sizeof(header), 1, file) == 1 && fwrite(bytes, 1, n, file) == n;
        good = fclose(file) == 0 && good;
        if (!good || rename(own, place->path) != 0) {
            unlink(own);
        }
    }
}
