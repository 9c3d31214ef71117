/* Loads native code and launches it, small launches on the calling thread, others on the pool. */
#include "runtime/cpu/cpu_device.h"
#include "runtime/cpu/pool.h"

#include <stdio.h>
#include <sys/mman.h>

struct DeviceModule {
    uint8_t *code;
    size_t n_code;
};

/* LLVM's names of x86 features, and the compiler's test for each. */
static bool host_has(const char *feature, size_t length) {
#if defined(__x86_64__)
#define FEATURE(name, test)                                                                        \
    if (strlen(name) == length && strncmp(feature, name, length) == 0) {                           \
        return __builtin_cpu_supports(test) != 0;                                                  \
    }
    __builtin_cpu_init();
    FEATURE("popcnt", "popcnt")
    FEATURE("sse3", "sse3")
    FEATURE("ssse3", "ssse3")
    FEATURE("sse4.1", "sse4.1")
    FEATURE("sse4.2", "sse4.2")
    FEATURE("avx", "avx")
    FEATURE("avx2", "avx2")
    FEATURE("bmi", "bmi")
    FEATURE("bmi2", "bmi2")
    FEATURE("fma", "fma")
    FEATURE("avx512f", "avx512f")
    FEATURE("avx512bw", "avx512bw")
    FEATURE("avx512cd", "avx512cd")
    FEATURE("avx512dq", "avx512dq")
    FEATURE("avx512vl", "avx512vl")
#undef FEATURE
    /* Part of every machine that has the level's others (x86-64 psABI, micro-architecture levels).
     */
    static const char *const implied[] = {"cx16", "sahf", "f16c", "lzcnt", "movbe", "sse2", "fxsr"};
    for (size_t i = 0; i < sizeof(implied) / sizeof(implied[0]); i++) {
        if (strlen(implied[i]) == length && strncmp(feature, implied[i], length) == 0) {
            return true;
        }
    }
#endif
    (void)feature;
    (void)length;
    return false;
}

static bool cpu_supports(const char *features, char *message) {
    for (const char *at = features; *at;) {
        const char *end = strchr(at, ',');
        size_t length = end ? (size_t)(end - at) : strlen(at);
        size_t sign = length > 0 && *at == '+';
        if (length > sign && !host_has(at + sign, length - sign)) {
            snprintf(message, DEVICE_MESSAGE_BYTES, "this processor lacks %.*s",
                     (int)(length - sign), at + sign);
            return false;
        }
        at = end ? end + 1 : at + length;
    }
    return true;
}

static dlc_status cpu_load(const dlc_allocator *allocator, const uint8_t *image, size_t n_image,
                           DeviceModule **out, char *message) {
    DeviceModule *module = memory_new(allocator, 1, sizeof(*module));
    if (!module) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    module->n_code = n_image ? n_image : 1;
    void *code =
        mmap(NULL, module->n_code, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) {
        memory_free(allocator, module);
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    memcpy(code, image, n_image);
    if (mprotect(code, module->n_code, PROT_READ | PROT_EXEC) != 0) {
        munmap(code, module->n_code);
        memory_free(allocator, module);
        snprintf(message, DEVICE_MESSAGE_BYTES, "this system refuses to make code executable");
        return DLC_ERROR_UNSUPPORTED;
    }
    module->code = code;
    *out = module;
    return DLC_OK;
}

static void cpu_unload(const dlc_allocator *allocator, DeviceModule *module) {
    if (module) {
        munmap(module->code, module->n_code);
        memory_free(allocator, module);
    }
}

/* Below this much work waking threads costs more than it brings. */
enum { INLINE_WORK = 50000 };

static void cpu_launch(DeviceModule *module, const DeviceLaunch *launch,
                       const DeviceWorkers *workers) {
    KernelFunction function;
    void *address = module->code + launch->entry;
    memcpy(&function, &address, sizeof(function));
    if (launch->tiles <= 0) {
        return;
    }
    if (!workers->pool || launch->tiles == 1 || launch->work < INLINE_WORK) {
        KernelArgs args = {launch->buffers, launch->sizes, workers->scratch[0],
                           &workers->faults[0]};
        function(&args, 0, launch->tiles);
        return;
    }
    cpu_pool_run(workers->pool, function, launch, workers);
}

static dlc_status cpu_start(const dlc_allocator *allocator, DeviceWorkers *workers) {
    if (workers->threads == 1) {
        return DLC_OK;
    }
    return cpu_pool_create(allocator, workers->threads, &workers->pool);
}

static void cpu_stop(DeviceWorkers *workers) {
    cpu_pool_destroy(workers->pool);
    workers->pool = NULL;
}

static void cpu_copy(void *to, const void *from, size_t bytes) {
    memmove(to, from, bytes);
}

static void cpu_fill(void *to, int byte, size_t bytes) {
    memset(to, byte, bytes);
}

const DeviceOps device_cpu = {
    .name = "cpu",
    .doc = "this machine's processor",
    .supports = cpu_supports,
    .start = cpu_start,
    .stop = cpu_stop,
    .load = cpu_load,
    .unload = cpu_unload,
    .launch = cpu_launch,
    .copy = cpu_copy,
    .fill = cpu_fill,
};
