/* The calls of a device, without kernels. */
#include "suite.h"
#include "tests/unit/plain_allocator.h"

#include <stdio.h>
#include <stdlib.h>

static Device *device_open_plain(bool guarded) {
    Device *device = NULL;
    char message[DEVICE_MESSAGE_BYTES] = "";
    DeviceOptions options = {.which = "", .threads = 2, .guarded = guarded};
    CHECK_ABOUT(subject->ops->open(&plain_allocator, &options, &device, message) == DLC_OK,
                message);
    return device;
}

static void bytes_make(uint8_t *bytes, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(seed >> 24);
    }
}

/* Writes and reads at several sizes and offsets; neighbours stay as they are. */
static void moves_at(Device *device, size_t n) {
    const DeviceOps *ops = subject->ops;
    uint8_t *want = malloc(n + 1), *got = malloc(n + 1);
    uint8_t *memory = ops->alloc(device, n), *other = ops->alloc(device, n);
    CHECK(want && got && memory && other && memory != other);
    CHECK((uintptr_t)memory % 64 == 0 && (uintptr_t)other % 64 == 0);
    bytes_make(want, n, (unsigned)n);
    CHECK(ops->write(device->queue, memory, want, n) == DLC_OK);
    memset(want + n, 0, 1);
    CHECK(ops->read(device->queue, got, memory, n) == DLC_OK);
    CHECK(memcmp(got, want, n) == 0);
    CHECK(ops->copy(device->queue, other, memory, n, NULL) == DLC_OK);
    CHECK(ops->fill(device->queue, memory, 0x7e, n) == DLC_OK);
    CHECK(ops->read(device->queue, got, other, n) == DLC_OK);
    CHECK(memcmp(got, want, n) == 0);
    CHECK(ops->copy(device->queue, other, other, n, NULL) == DLC_OK);
    if (n > 12) {
        CHECK(ops->copy(device->queue, memory + 3, other + 5, n - 9, NULL) == DLC_OK);
        CHECK(ops->read(device->queue, got, memory, n) == DLC_OK);
        CHECK(got[2] == 0x7e && got[n - 6] == 0x7e && memcmp(got + 3, want + 5, n - 9) == 0);
        CHECK(ops->fill(device->queue, other + 1, 0, n - 7) == DLC_OK);
        CHECK(ops->read(device->queue, got, other, n) == DLC_OK);
        CHECK(got[0] == want[0] && got[1] == 0 && got[n - 7] == 0);
        CHECK(memcmp(got + n - 6, want + n - 6, 6) == 0);
    }
    ops->free(device, memory);
    ops->free(device, other);
    free(want);
    free(got);
}

void test_memory_moves(void) {
    static const size_t sizes[] = {1, 2, 4, 13, 64, 1000, 65537, 3 << 20};
    for (int guarded = 0; guarded < 2; guarded++) {
        Device *device = device_open_plain(guarded != 0);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            moves_at(device, sizes[i]);
        }
        void *nothing = subject->ops->alloc(device, 0);
        CHECK(nothing);
        CHECK(subject->ops->fill(device->queue, nothing, 1, 0) == DLC_OK);
        CHECK(subject->ops->write(device->queue, nothing, "", 0) == DLC_OK);
        subject->ops->free(device, nothing);
        subject->ops->close(device);
    }
}

/* Host memory that `send` reads when its turn comes, and not after the queue has come past. */
static void sends_at(Device *device, size_t n) {
    const DeviceOps *ops = subject->ops;
    DeviceEvent *event;
    uint8_t *host = ops->host_alloc(device, n), *got = malloc(n);
    uint8_t *memory = ops->alloc(device, n);
    CHECK(host && got && memory && (uintptr_t)host % 64 == 0);
    CHECK(ops->event_create(device, &event) == DLC_OK);
    for (unsigned i = 0; i < 3; i++) {
        bytes_make(host, n, i);
        CHECK(ops->fill(device->queue, memory, 9, n) == DLC_OK);
        CHECK(ops->send(device->queue, memory, host, n) == DLC_OK);
        CHECK(ops->event_record(event, device->queue) == DLC_OK);
        CHECK(ops->event_finish(event) == DLC_OK);
        memset(host, 0, n);
        CHECK(ops->read(device->queue, got, memory, n) == DLC_OK);
        bytes_make(host, n, i);
        CHECK(memcmp(got, host, n) == 0);
    }
    CHECK(ops->send(device->queue, memory, host, 0) == DLC_OK);
    ops->event_destroy(event);
    ops->host_free(device, host);
    ops->host_free(device, NULL);
    ops->free(device, memory);
    free(got);
}

void test_sends(void) {
    const DeviceOps *ops = subject->ops;
    if (!ops->send) {
        CHECK(!ops->host_alloc && !ops->host_free);
        return;
    }
    Device *device = device_open_plain(false);
    sends_at(device, 1);
    sends_at(device, 1000);
    sends_at(device, 5 << 20);
    ops->close(device);
}

void test_conditional_copies(void) {
    const DeviceOps *ops = subject->ops;
    Device *device = device_open_plain(false);
    uint8_t *memory = ops->alloc(device, 256), got[64], flags[2] = {0, 1};
    CHECK(memory);
    CHECK(ops->fill(device->queue, memory, 1, 64) == DLC_OK);
    CHECK(ops->fill(device->queue, memory + 64, 2, 64) == DLC_OK);
    CHECK(ops->write(device->queue, memory + 128, flags, 2) == DLC_OK);
    CHECK(ops->copy(device->queue, memory, memory + 64, 50, memory + 128) == DLC_OK);
    CHECK(ops->read(device->queue, got, memory, 64) == DLC_OK && got[0] == 1 && got[49] == 1);
    CHECK(ops->copy(device->queue, memory, memory + 64, 50, memory + 129) == DLC_OK);
    CHECK(ops->read(device->queue, got, memory, 64) == DLC_OK);
    CHECK(got[0] == 2 && got[49] == 2 && got[50] == 1);
    /* The flag counts when the copy's turn comes. */
    CHECK(ops->fill(device->queue, memory + 129, 0, 1) == DLC_OK);
    CHECK(ops->copy(device->queue, memory + 50, memory + 64, 14, memory + 129) == DLC_OK);
    CHECK(ops->fill(device->queue, memory + 129, 1, 1) == DLC_OK);
    CHECK(ops->read(device->queue, got, memory, 64) == DLC_OK && got[50] == 1);
    ops->free(device, memory);
    ops->close(device);
}

/* Work is done in the order asked, and what is written may be reused at once. */
void test_order(void) {
    const DeviceOps *ops = subject->ops;
    Device *device = device_open_plain(false);
    int32_t *numbers = ops->alloc(device, 4096);
    CHECK(numbers);
    for (int32_t i = 0; i < 300; i++) {
        int32_t value = i, got[2] = {0};
        CHECK(ops->write(device->queue, numbers, &value, sizeof value) == DLC_OK);
        value = -1;
        CHECK(ops->set_i32(device->queue, numbers + 1, 7 * i) == DLC_OK);
        CHECK(ops->copy(device->queue, numbers + 2, numbers, 8, NULL) == DLC_OK);
        CHECK(ops->fill(device->queue, numbers, 0xff, 8) == DLC_OK);
        if (i % 10 == 9) {
            CHECK(ops->read(device->queue, got, numbers + 2, 8) == DLC_OK);
            CHECK(got[0] == i && got[1] == 7 * i);
        }
    }
    KernelFault fault = {1, 1, 1};
    CHECK(ops->finish(device->queue, &fault) == DLC_OK && fault.site == 0);
    ops->free(device, numbers);
    ops->close(device);
}

void test_recordings(void) {
    const DeviceOps *ops = subject->ops;
    if (!ops->record) {
        CHECK(!ops->replay && !ops->record_end && !ops->graph_free);
        return;
    }
    Device *device = device_open_plain(false);
    DeviceGraph *graph = NULL;
    int32_t *numbers = ops->alloc(device, 256), got[4];
    uint8_t *flag = (uint8_t *)(numbers + 32);
    CHECK(numbers && ops->fill(device->queue, numbers, 0, 256) == DLC_OK);
    CHECK(ops->record(device->queue) == DLC_OK);
    CHECK(ops->set_i32(device->queue, numbers, 5) == DLC_OK);
    CHECK(ops->copy(device->queue, numbers + 1, numbers, 4, flag) == DLC_OK);
    CHECK(ops->fill(device->queue, numbers + 2, 1, 4) == DLC_OK);
    CHECK(ops->copy(device->queue, numbers + 3, numbers + 2, 4, NULL) == DLC_OK);
    CHECK(ops->record_end(device->queue, &graph) == DLC_OK && graph);
    CHECK(ops->read(device->queue, got, numbers, 16) == DLC_OK && got[0] == 0 && got[3] == 0);
    CHECK(ops->replay(device->queue, graph) == DLC_OK);
    CHECK(ops->read(device->queue, got, numbers, 16) == DLC_OK);
    CHECK(got[0] == 5 && got[1] == 0 && got[2] == 0x01010101 && got[3] == 0x01010101);
    CHECK(ops->fill(device->queue, numbers, 0, 16) == DLC_OK);
    CHECK(ops->fill(device->queue, flag, 1, 1) == DLC_OK);
    CHECK(ops->replay(device->queue, graph) == DLC_OK);
    CHECK(ops->replay(device->queue, graph) == DLC_OK);
    CHECK(ops->read(device->queue, got, numbers, 16) == DLC_OK && got[0] == 5 && got[1] == 5);
    /* Dropped: nothing comes of it. */
    CHECK(ops->record(device->queue) == DLC_OK);
    CHECK(ops->set_i32(device->queue, numbers, 9) == DLC_OK);
    CHECK(ops->record_end(device->queue, NULL) == DLC_OK);
    CHECK(ops->read(device->queue, got, numbers, 4) == DLC_OK && got[0] == 5);
    ops->graph_free(device, graph);
    ops->free(device, numbers);
    ops->close(device);
}

void test_opening(void) {
    const DeviceOps *ops = subject->ops;
    char message[DEVICE_MESSAGE_BYTES] = "", about[256] = "";
    CHECK(ops->supports("", "", "", message) == DLC_OK);
    for (int i = 0; i < 20; i++) {
        Device *device = device_open_plain(i % 2 != 0);
        ops->describe(device, about, sizeof about);
        CHECK(about[0] && device->ops == ops);
        CHECK(!ops->overhead_bytes || ops->overhead_bytes(device) >= -1);
        CHECK(ops->reserve(device->queue, 100000) == DLC_OK &&
              ops->reserve(device->queue, 100) == DLC_OK);
        ops->close(device);
    }
    if (subject->computes) {
        CHECK(ops->supports("", "", "no-such-device", message) == DLC_ERROR_UNSUPPORTED &&
              message[0]);
    }
}
