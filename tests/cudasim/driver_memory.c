/* libcuda: device and pinned memory, copies and fills. */
#include "tests/cudasim/driver.h"

#include <stdlib.h>
#include <string.h>

EXPORT Result cuMemGetInfo_v2(size_t *free_bytes, size_t *total);
Result cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    ENTER();
    int d = current()->device;
    size_t used = memory_used(d) + CONTEXT_BYTES + (size_t)alive.module_bytes[d];
    *total = settings.memory;
    *free_bytes = used < settings.memory ? settings.memory - used : 0;
    return leave(SIM_SUCCESS);
}

EXPORT Result cuMemAlloc_v2(Address *address, size_t bytes);
Result cuMemAlloc_v2(Address *address, size_t bytes) {
    if (!enter()) {
        Result result = settings.fail_result;
        return leave(result == SIM_UNKNOWN ? SIM_OUT_OF_MEMORY : result);
    }
    Result result = ready(true);
    if (result != SIM_SUCCESS) {
        return leave(result);
    }
    if (bytes == 0) {
        return leave(SIM_INVALID_VALUE);
    }
    void *p = memory_alloc(current()->device, bytes);
    *address = (Address)(uintptr_t)p;
    return leave(p ? SIM_SUCCESS : SIM_OUT_OF_MEMORY);
}

EXPORT Result cuMemFree_v2(Address address);
Result cuMemFree_v2(Address address) {
    bool goes = enter();
    if (address == 0) {
        return leave(SIM_SUCCESS);
    }
    Result result = ready(true);
    if (result == SIM_INVALID_CONTEXT || result == SIM_NOT_INITIALIZED) {
        return leave(result);
    }
    queue_wait_context(current()); /* as the driver does */
    if (!memory_free(current()->device, (void *)(uintptr_t)address)) {
        report("cuMemFree of %p, which is no allocation", (void *)(uintptr_t)address);
        return leave(SIM_INVALID_VALUE);
    }
    return leave(goes ? current()->broken : settings.fail_result);
}

EXPORT Result cuMemHostAlloc(void **memory, size_t bytes, unsigned flags);
Result cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
    (void)flags;
    if (!enter()) {
        return leave(SIM_OUT_OF_MEMORY);
    }
    Result result = ready(true);
    if (result != SIM_SUCCESS) {
        return leave(result);
    }
    if (bytes == 0) {
        return leave(SIM_INVALID_VALUE);
    }
    void *p = memory_alloc(HOST, bytes);
    *memory = p;
    return leave(p ? SIM_SUCCESS : SIM_OUT_OF_MEMORY);
}

EXPORT Result cuMemFreeHost(void *memory);
Result cuMemFreeHost(void *memory) {
    bool goes = enter();
    Result result = ready(true);
    if (result == SIM_INVALID_CONTEXT || result == SIM_NOT_INITIALIZED) {
        return leave(result);
    }
    queue_wait_context(current());
    const Allocation *a = memory_find((uintptr_t)memory);
    if (!a || a->address != (uintptr_t)memory || a->device != HOST ||
        pinned_is_used(a->address, a->bytes) || !memory_free(HOST, memory)) {
        return leave(SIM_INVALID_VALUE);
    }
    return leave(goes ? current()->broken : settings.fail_result);
}

static bool is_pinned(const void *p, size_t bytes) {
    const Allocation *a = memory_find((uintptr_t)p);
    return a && a->device == HOST && (uintptr_t)p + bytes <= a->address + a->bytes;
}

static Result copy(void *to, const void *from, size_t bytes, Stream *stream) {
    Work work = {.kind = OP_COPY, .to = to, .from = from, .bytes = bytes};
    if (bytes == 0) {
        return SIM_SUCCESS;
    }
    bool loose = !memory_is_device(to) && !is_pinned(to, bytes);
    if (!memory_is_device(from) && !is_pinned(from, bytes)) {
        if (stream->capture) {
            report("a captured copy reads host memory that is not pinned");
            return SIM_STREAM_CAPTURE_UNSUPPORTED;
        }
        work.snapshot = malloc(bytes);
        if (!work.snapshot) {
            return SIM_OUT_OF_MEMORY;
        }
        memcpy(work.snapshot, from, bytes);
    }
    if (loose && stream->capture) {
        report("a captured copy writes host memory that is not pinned");
        return SIM_STREAM_CAPTURE_UNSUPPORTED;
    }
    Result result = queue_add(stream, &work);
    return result == SIM_SUCCESS && loose ? queue_wait_stream(stream) : result;
}

EXPORT Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *stream);
Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *stream) {
    ENTER();
    if (!memory_is_device((void *)(uintptr_t)to)) {
        return leave(SIM_INVALID_VALUE);
    }
    return leave(copy((void *)(uintptr_t)to, from, bytes, stream_of(stream)));
}

EXPORT Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *stream);
Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *stream) {
    ENTER();
    if (!memory_is_device((void *)(uintptr_t)from)) {
        return leave(SIM_INVALID_VALUE);
    }
    return leave(copy(to, (void *)(uintptr_t)from, bytes, stream_of(stream)));
}

EXPORT Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void *stream);
Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void *stream) {
    ENTER();
    if (!memory_is_device((void *)(uintptr_t)from) || !memory_is_device((void *)(uintptr_t)to)) {
        return leave(SIM_INVALID_VALUE);
    }
    return leave(copy((void *)(uintptr_t)to, (void *)(uintptr_t)from, bytes, stream_of(stream)));
}

EXPORT Result cuMemcpyPeerAsync(Address to, void *to_context, Address from, void *from_context,
                                size_t bytes, void *stream);
Result cuMemcpyPeerAsync(Address to, void *to_context, Address from, void *from_context,
                         size_t bytes, void *stream) {
    ENTER();
    const Allocation *target = memory_find((uintptr_t)to);
    const Allocation *source = memory_find((uintptr_t)from);
    const Ctx *there = to_context, *here = from_context;
    if (!target || !source || !there || !here || target->device != there->device ||
        source->device != here->device) {
        return leave(SIM_INVALID_VALUE);
    }
    return leave(copy((void *)(uintptr_t)to, (void *)(uintptr_t)from, bytes, stream_of(stream)));
}

static Result fill(Address to, uint32_t value, int width, size_t count, void *stream) {
    if (!memory_is_device((void *)(uintptr_t)to) || to % (unsigned)width != 0) {
        return SIM_INVALID_VALUE;
    }
    Work work = {.kind = OP_FILL,
                 .to = (void *)(uintptr_t)to,
                 .bytes = count * (size_t)width,
                 .value = value,
                 .width = width};
    return queue_add(stream_of(stream), &work);
}

EXPORT Result cuMemsetD8Async(Address to, unsigned char byte, size_t count, void *stream);
Result cuMemsetD8Async(Address to, unsigned char byte, size_t count, void *stream) {
    ENTER();
    return leave(fill(to, byte, 1, count, stream));
}

EXPORT Result cuMemsetD32Async(Address to, unsigned word, size_t count, void *stream);
Result cuMemsetD32Async(Address to, unsigned word, size_t count, void *stream) {
    ENTER();
    return leave(fill(to, word, 4, count, stream));
}
