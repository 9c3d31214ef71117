/* The processor as a device: memory, native code, queue 0. What queue 0 is given is done when the
 * call returns, small launches on the calling thread, others on the pool; see queue.h. */
#include "runtime/cpu/device.h"

#include "ir/base/cores.h"
#include "runtime/cpu/queue.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

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

static dlc_status cpu_supports(const char *machine, const char *features, const char *which,
                               char *message) {
    (void)machine;
    if (*which) {
        snprintf(message, DEVICE_MESSAGE_BYTES,
                 "the processor is one device, 'cpu'; its threads are chosen apart");
        return DLC_ERROR_UNSUPPORTED;
    }
    for (const char *at = features; *at;) {
        const char *end = strchr(at, ',');
        size_t length = end ? (size_t)(end - at) : strlen(at);
        size_t sign = length > 0 && *at == '+';
        if (length > sign && !host_has(at + sign, length - sign)) {
            snprintf(message, DEVICE_MESSAGE_BYTES, "this processor lacks %.*s",
                     (int)(length - sign), at + sign);
            return DLC_ERROR_UNSUPPORTED;
        }
        at = end ? end + 1 : at + length;
    }
    return DLC_OK;
}

/* -- Opening -- */

static void cpu_close(Device *device) {
    CpuDevice *cpu = (CpuDevice *)device;
    if (cpu) {
        dlc_allocator allocator = cpu->base.allocator;
        while (cpu->queues) {
            CpuQueue *next = cpu->queues->next;
            cpu_queue_destroy(cpu->queues);
            cpu->queues = next;
        }
        memory_free(&allocator, cpu);
    }
}

static dlc_status cpu_open(const dlc_allocator *allocator, const DeviceOptions *options,
                           Device **out, char *message) {
    int threads = options->threads > 0 ? options->threads : cores_usable();
    CpuDevice *cpu = memory_new(allocator, 1, sizeof(*cpu));
    if (!cpu) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    *cpu = (CpuDevice){.base = {.ops = &device_cpu, .allocator = *allocator},
                       .wanted = threads > 1024 ? 1024 : threads,
                       .guarded = options->guarded};
    dlc_status status = cpu_queue_create(&cpu->base, cpu->wanted, false, &cpu->queues);
    if (status != DLC_OK) {
        snprintf(message, DEVICE_MESSAGE_BYTES, "cannot start %d threads: %s", cpu->wanted,
                 dlc_status_text(status));
        cpu_close(&cpu->base);
        return status;
    }
    cpu->base.queue = &cpu->queues->base;
    *out = &cpu->base;
    return DLC_OK;
}

static const CpuWorkers *workers_of(const Device *device) {
    return &((const CpuQueue *)device->queue)->workers;
}

static void cpu_describe(Device *device, char *out, size_t n_out) {
    const CpuDevice *cpu = (CpuDevice *)device;
    int threads = workers_of(device)->threads;
    int n = snprintf(out, n_out, "%d thread%s", threads, threads == 1 ? "" : "s");
    if (threads < cpu->wanted && n > 0 && (size_t)n < n_out) {
        snprintf(out + n, n_out - (size_t)n, ", the system gave no more of %d", cpu->wanted);
    }
}

/* The number in a file of one line, or after `name` in one of many; -1: none. */
static int64_t file_number(const char *path, const char *name) {
    FILE *file = fopen(path, "r");
    char line[256];
    long long number = -1;
    while (file && number < 0 && fgets(line, sizeof(line), file)) {
        size_t n = strlen(name);
        if (strncmp(line, name, n) != 0 || sscanf(line + n, "%lld", &number) != 1) {
            number = -1;
        }
    }
    if (file) {
        fclose(file);
    }
    return number;
}

/* What the system says is available, and what the container may still take. */
static int64_t cpu_free_bytes(Device *device) {
    (void)device;
    int64_t available = file_number("/proc/meminfo", "MemAvailable:");
    int64_t most = file_number("/sys/fs/cgroup/memory.max", "");
    int64_t used = file_number("/sys/fs/cgroup/memory.current", "");
    available = available >= 0 ? 1024 * available : -1;
    int64_t room = most >= 0 && used >= 0 ? (most > used ? most - used : 0) : available;
    return room < available || available < 0 ? room : available;
}

static int64_t cpu_overhead_bytes(Device *device) {
    int64_t bytes = (int64_t)sizeof(CpuDevice);
    for (const CpuQueue *queue = ((CpuDevice *)device)->queues; queue; queue = queue->next) {
        bytes += cpu_queue_bytes(queue);
    }
    return bytes;
}

static void cpu_peak(Device *device, double *out_flops, double *out_bytes) {
    int threads = workers_of(device)->threads;
    *out_flops = cpu_peak_flops(&device->allocator, threads);
    *out_bytes = cpu_peak_bytes(&device->allocator, threads);
}

/* -- Memory -- */

/* Guarded: ends at a page that nobody may touch; the page before it says how long the mapping is.
 */
static void *guarded_alloc(size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t whole = (bytes + 63) & ~(size_t)63;
    size_t total = page + (whole + page - 1) / page * page + page;
    uint8_t *map = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        return NULL;
    }
    memcpy(map, &total, sizeof(total));
    if (mprotect(map + total - page, page, PROT_NONE) != 0) {
        munmap(map, total);
        return NULL;
    }
    return map + total - page - whole;
}

static void guarded_free(void *memory) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), total;
    uint8_t *at = memory;
    /* An empty block is the guard page itself. */
    uint8_t *map = at - (uintptr_t)at % page - page;
    memcpy(&total, map, sizeof(total));
    munmap(map, total);
}

static void *cpu_alloc(Device *device, size_t bytes) {
    if (((CpuDevice *)device)->guarded) {
        return guarded_alloc(bytes);
    }
    return memory_new_aligned(&device->allocator, bytes);
}

static void cpu_free(Device *device, void *memory) {
    cpu_queues_wait(device);
    if (memory && ((CpuDevice *)device)->guarded) {
        guarded_free(memory);
    } else {
        memory_free_aligned(&device->allocator, memory);
    }
}

/* -- Code -- */

static dlc_status cpu_load(Device *device, const uint8_t *image, size_t n_image,
                           DeviceModule **out) {
    DeviceModule *module = memory_new(&device->allocator, 1, sizeof(*module));
    if (!module) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    module->n_code = n_image ? n_image : 1;
    void *code =
        mmap(NULL, module->n_code, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) {
        memory_free(&device->allocator, module);
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    memcpy(code, image, n_image);
    if (mprotect(code, module->n_code, PROT_READ | PROT_EXEC) != 0) {
        munmap(code, module->n_code);
        memory_free(&device->allocator, module);
        snprintf(device->error, sizeof(device->error),
                 "this system refuses to make code executable");
        return DLC_ERROR_UNSUPPORTED;
    }
    module->code = code;
    *out = module;
    return DLC_OK;
}

static void cpu_unload(Device *device, DeviceModule *module) {
    if (module) {
        cpu_queues_wait(device);
        munmap(module->code, module->n_code);
        memory_free(&device->allocator, module);
    }
}

const DeviceOps device_cpu = {
    .name = "cpu",
    .doc = "this machine's processor",
    .target = "cpu:native",
    .is_host = true,
    .supports = cpu_supports,
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .load = cpu_load,
    .unload = cpu_unload,
    .queue_create = cpu_queue_add,
    .queue_destroy = cpu_queue_end,
    .event_create = cpu_event_create,
    .event_record = cpu_event_record,
    .event_wait = cpu_event_wait,
    .event_finish = cpu_event_finish,
    .event_destroy = cpu_event_destroy,
    .write = cpu_move,
    .read = cpu_move,
    .fetch = cpu_fetch,
    .fault_fetch = cpu_fault_fetch,
    .copy = cpu_copy,
    .fill = cpu_fill,
    .set_i32 = cpu_set_i32,
    .gate = cpu_gate,
    .copy_across = cpu_copy_across,
    .reserve = cpu_reserve,
    .launch = cpu_launch,
    .finish = cpu_finish,
    .free_bytes = cpu_free_bytes,
    .overhead_bytes = cpu_overhead_bytes,
    .peak = cpu_peak,
};
