/* Memory of the CUDA device: allocations, copies and fills on it, scratch and workspaces. */
#include "runtime/cuda/internal.h"

#include "ir/base/number.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    COPY_THREADS = 256,
    COPY_BLOCKS_A_PROCESSOR = 8,
    SCRATCH_BLOCKS_A_PROCESSOR = 4,
    SCRATCH_SHARE = 8 /* scratch takes at most 1/8 of what is free */
};

#define MAX_SCRATCH_UNIT ((int64_t)1 << 46)

static CudaAddress address_of(const void *memory) {
    return (CudaAddress)(uintptr_t)memory;
}

/* Says how much was asked and what there is; the session adds what helps. */
static dlc_status memory_fail(CudaDevice *device, const char *what, int64_t bytes) {
    NumberText available = {.text = "?"}, total = {.text = "?"};
    size_t free_bytes = 0, total_bytes = 0;
    if (device->driver.memory_info(&free_bytes, &total_bytes) == CUDA_SUCCESS) {
        available = number_amount((double)free_bytes);
        total = number_amount((double)total_bytes);
    }
    return cuda_fail(device, DLC_ERROR_OUT_OF_MEMORY,
                     "out of GPU memory: %s more are asked for%s%s; %s of %s's %s are free and %s "
                     "are in use here",
                     number_amount((double)bytes).text, *what ? " for " : "", what, available.text,
                     device->name, total.text, number_amount((double)device->allocated_bytes).text);
}

dlc_status cuda_memory_take(CudaDevice *device, const char *what, size_t bytes, CudaAddress *out) {
    CudaResult result = device->driver.memory_alloc(out, bytes);
    if (result == CUDA_OUT_OF_MEMORY) {
        *out = 0;
        return memory_fail(device, what, (int64_t)bytes);
    }
    dlc_status status = cuda_check(device, result, "cuMemAlloc");
    if (status != DLC_OK) {
        *out = 0;
    }
    return status;
}

static void list_free(CudaDevice *device, CudaAllocation **list) {
    while (*list) {
        CudaAllocation *next = (*list)->next;
        device->driver.memory_free((*list)->address);
        memory_free(&device->base.allocator, *list);
        *list = next;
    }
}

void cuda_memory_close(CudaDevice *device) {
    list_free(device, &device->allocations);
    list_free(device, &device->outgrown);
    device->allocated_bytes = 0;
}

void *cuda_alloc(Device *base, size_t bytes) {
    CudaDevice *device = (CudaDevice *)base;
    CudaAllocation *record = memory_new(&base->allocator, 1, sizeof(*record));
    base->alloc_status = DLC_OK;
    if (!record) {
        cuda_fail(device, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
        return NULL;
    }
    dlc_status status = cuda_enter(device);
    if (status == DLC_OK) {
        record->bytes = bytes ? bytes : 1;
        status = cuda_memory_take(device, "", record->bytes, &record->address);
        status = cuda_leave(device, status);
    }
    base->alloc_status = status == DLC_ERROR_OUT_OF_MEMORY ? DLC_OK : status;
    if (status != DLC_OK && !record->address) {
        memory_free(&base->allocator, record);
        return NULL;
    }
    record->next = device->allocations;
    device->allocations = record;
    device->allocated_bytes += (int64_t)record->bytes;
    if (status != DLC_OK) { /* it could not leave; device.error says so */
        cuda_free(base, (void *)(uintptr_t)record->address);
        return NULL;
    }
    return (void *)(uintptr_t)record->address;
}

void cuda_free(Device *base, void *memory) {
    CudaDevice *device = (CudaDevice *)base;
    CudaAllocation **at = &device->allocations;
    while (*at && (*at)->address != address_of(memory)) {
        at = &(*at)->next;
    }
    if (!*at) {
        return;
    }
    bool entered = cuda_enter_to_free(device);
    if (!entered && !device->lost) {
        return; /* kept in the list: closing frees it */
    }
    CudaAllocation *record = *at;
    *at = record->next;
    device->allocated_bytes -= (int64_t)record->bytes;
    if (entered) {
        /* Queued work may still use it. */
        cuda_queues_wait(device);
        device->driver.memory_free(record->address);
        cuda_leave_freed(device);
    }
    memory_free(&base->allocator, record);
}

static dlc_status copy_if(CudaQueue *queue, CudaAddress to, CudaAddress from, size_t bytes,
                          CudaAddress flag) {
    CudaDevice *device = cuda_device_of(queue);
    dlc_status status = cuda_builtins_load(device);
    if (status != DLC_OK) {
        return status;
    }
    bool wide = (to % 16 == 0) && (from % 16 == 0);
    long long n = wide ? (long long)(bytes / 16) : 0;
    long long rest = (long long)bytes - 16 * n;
    CudaAddress to_rest = to + (CudaAddress)(16 * n), from_rest = from + (CudaAddress)(16 * n);
    void *parameters[] = {&n, &to, &from, &rest, &to_rest, &from_rest, &flag};
    long long blocks = ((n > rest ? n : rest) + COPY_THREADS - 1) / COPY_THREADS;
    long long most = (long long)COPY_BLOCKS_A_PROCESSOR * device->processors;
    unsigned int grid = (unsigned int)(blocks < most ? blocks : most);
    return cuda_check(device,
                      device->driver.launch(device->copy_if, grid, 1, 1, COPY_THREADS, 1, 1, 0,
                                            queue->stream, parameters, NULL),
                      "cuLaunchKernel (copy)");
}

dlc_status cuda_copy(DeviceQueue *base, void *to, const void *from, size_t bytes,
                     const uint8_t *if_set) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    if (bytes == 0 || to == from) {
        return DLC_OK;
    }
    dlc_status status = cuda_enter(device);
    if (status != DLC_OK) {
        return status;
    }
    if (if_set) {
        status = copy_if(queue, address_of(to), address_of(from), bytes, address_of(if_set));
    } else {
        status = cuda_check(
            device,
            device->driver.copy_on_device(address_of(to), address_of(from), bytes, queue->stream),
            "cuMemcpyDtoDAsync");
    }
    return cuda_leave(device, status);
}

dlc_status cuda_fill(DeviceQueue *base, void *to, int byte, size_t bytes) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    if (bytes == 0) {
        return DLC_OK;
    }
    dlc_status status = cuda_enter(device);
    if (status == DLC_OK) {
        status = cuda_check(
            device,
            device->driver.set_bytes(address_of(to), (unsigned char)byte, bytes, queue->stream),
            "cuMemsetD8Async");
        status = cuda_leave(device, status);
    }
    return status;
}

dlc_status cuda_set_i32(DeviceQueue *base, int32_t *to, int32_t value) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    dlc_status status = cuda_enter(device);
    if (status == DLC_OK) {
        status = cuda_check(
            device, device->driver.set_words(address_of(to), (unsigned int)value, 1, queue->stream),
            "cuMemsetD32Async");
        status = cuda_leave(device, status);
    }
    return status;
}

dlc_status cuda_gate(DeviceQueue *base, uint8_t *word, const uint8_t *if_set) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    CudaAddress addresses[] = {address_of(word), address_of(if_set), queue->fault};
    void *parameters[] = {&addresses[0], &addresses[1], &addresses[2]};
    dlc_status status = cuda_enter(device);
    if (status != DLC_OK) {
        return status;
    }
    status = cuda_builtins_load(device);
    if (status == DLC_OK) {
        status = cuda_check(device,
                            device->driver.launch(device->gate, 1, 1, 1, 1, 1, 1, 0, queue->stream,
                                                  parameters, NULL),
                            "cuLaunchKernel (gate)");
    }
    return cuda_leave(device, status);
}

/* Frees scratch that was outgrown, once no graph can use it any more. */
void cuda_memory_trim(CudaDevice *device) {
    if (device->n_graphs == 0 && !device->recording && device->outgrown) {
        cuda_queues_wait(device);
        list_free(device, &device->outgrown);
    }
}

/* Puts `bytes` of new memory in the place of *address, which graphs may still use. */
static dlc_status memory_grow(CudaDevice *device, const char *what, int64_t bytes,
                              CudaAddress *address, int64_t *now) {
    CudaAddress memory;
    CudaAllocation *record = NULL;
    if (*address) {
        record = memory_new(&device->base.allocator, 1, sizeof(*record));
        if (!record) {
            return cuda_fail(device, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
        }
        *record = (CudaAllocation){device->outgrown, *address, (size_t)*now};
    }
    dlc_status status = cuda_memory_take(device, what, (size_t)bytes, &memory);
    if (status != DLC_OK) {
        memory_free(&device->base.allocator, record);
        return status;
    }
    if (record) {
        device->outgrown = record;
    }
    *address = memory;
    *now = bytes;
    cuda_memory_trim(device);
    return DLC_OK;
}

dlc_status cuda_memory_reserve(CudaQueue *queue, int64_t bytes) {
    CudaDevice *device = cuda_device_of(queue);
    size_t free_bytes = 0, total_bytes = 0;
    if (bytes <= queue->scratch_unit) {
        return DLC_OK;
    }
    if (bytes > MAX_SCRATCH_UNIT) {
        return memory_fail(device, "kernels' scratch", bytes);
    }
    if (device->recording) {
        return cuda_fail(device, DLC_ERROR_INTERNAL, "making room for scratch cannot be recorded");
    }
    dlc_status status = cuda_memory_info(device, &free_bytes, &total_bytes);
    if (status != DLC_OK) {
        return status;
    }
    /* Enough blocks to fill the machine, as far as memory allows, but at least one. */
    int64_t blocks = (int64_t)SCRATCH_BLOCKS_A_PROCESSOR * device->processors;
    int64_t most = (int64_t)(free_bytes / SCRATCH_SHARE) / bytes;
    blocks = most < blocks ? most : blocks;
    blocks = blocks > 1 ? blocks : 1;
    status = memory_grow(device, "kernels' scratch", bytes * blocks, &queue->scratch,
                         &queue->scratch_bytes);
    if (status == DLC_OK) {
        queue->scratch_unit = bytes;
    }
    return status;
}

dlc_status cuda_workspace_reserve(CudaQueue *queue, int64_t bytes) {
    CudaDevice *device = cuda_device_of(queue);
    if (bytes <= queue->workspace_bytes) {
        return DLC_OK;
    }
    if (device->recording) {
        return cuda_fail(device, DLC_ERROR_INTERNAL,
                         "making room for a workspace cannot be recorded");
    }
    dlc_status status = memory_grow(device, "the libraries' workspace", bytes, &queue->workspace,
                                    &queue->workspace_bytes);
    /* The kernels do without. */
    return status == DLC_ERROR_OUT_OF_MEMORY ? DLC_ERROR_UNSUPPORTED : status;
}

dlc_status cuda_reserve(DeviceQueue *base, int64_t bytes) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    int64_t wanted = bytes > device->module_scratch ? bytes : device->module_scratch;
    dlc_status status = cuda_enter(device);
    return status == DLC_OK ? cuda_leave(device, cuda_memory_reserve(queue, wanted)) : status;
}

dlc_status cuda_memory_info(CudaDevice *device, size_t *out_free, size_t *out_total) {
    return cuda_check(device, device->driver.memory_info(out_free, out_total), "cuMemGetInfo");
}

/* From outside of enter and leave. */
static bool memory_look(CudaDevice *device, size_t *out_free, size_t *out_total) {
    return cuda_enter(device) == DLC_OK &&
           cuda_leave(device, cuda_memory_info(device, out_free, out_total)) == DLC_OK;
}

int64_t cuda_free_bytes(Device *base) {
    size_t free_bytes = 0, total_bytes = 0;
    bool known = memory_look((CudaDevice *)base, &free_bytes, &total_bytes);
    return known ? (int64_t)free_bytes : -1;
}

int64_t cuda_overhead_bytes(Device *base) {
    CudaDevice *device = (CudaDevice *)base;
    size_t free_bytes = 0, total_bytes = 0;
    if (!memory_look(device, &free_bytes, &total_bytes)) {
        return -1;
    }
    int64_t used = (int64_t)(total_bytes - free_bytes);
    return used > device->allocated_bytes ? used - device->allocated_bytes : 0;
}
