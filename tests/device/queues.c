/* Queues, events, recordings over several queues, and copies from one device to another. */
#include "suite.h"
#include "tests/unit/plain_allocator.h"

#include <stdlib.h>

enum { BYTES = 1 << 18, ROUNDS = 40 };

/* A device with three queues and some memory. */
typedef struct Bench {
    const DeviceOps *ops;
    Device *device;
    DeviceQueue *queues[3];
    DeviceEvent *event;
    uint8_t *a, *b, *host;
} Bench;

static void bench_open(Bench *bench, const DeviceOps *ops, bool background) {
    char message[DEVICE_MESSAGE_BYTES] = "";
    DeviceOptions options = {.which = "", .threads = 2};
    *bench = (Bench){.ops = ops};
    CHECK_ABOUT(ops->open(&plain_allocator, &options, &bench->device, message) == DLC_OK, message);
    bench->queues[0] = bench->device->queue;
    CHECK(bench->queues[0] && bench->queues[0]->device == bench->device);
    for (int i = 1; i < 3; i++) {
        CHECK(ops->queue_create(bench->device, background, &bench->queues[i]) == DLC_OK);
        CHECK(bench->queues[i]->device == bench->device);
    }
    CHECK(ops->event_create(bench->device, &bench->event) == DLC_OK);
    bench->a = ops->alloc(bench->device, BYTES);
    bench->b = ops->alloc(bench->device, BYTES);
    bench->host = malloc(BYTES);
    CHECK(bench->a && bench->b && bench->host);
    CHECK(ops->fill(bench->queues[0], bench->a, 0xee, BYTES) == DLC_OK);
    CHECK(ops->fill(bench->queues[0], bench->b, 0xee, BYTES) == DLC_OK);
    KernelFault fault;
    CHECK(ops->finish(bench->queues[0], &fault) == DLC_OK && fault.site == 0);
}

static void bench_close(Bench *bench) {
    const DeviceOps *ops = bench->ops;
    ops->event_destroy(bench->event);
    ops->free(bench->device, bench->a);
    ops->free(bench->device, bench->b);
    free(bench->host);
    for (int i = 1; i < 3; i++) {
        ops->queue_destroy(bench->queues[i]);
    }
    ops->close(bench->device);
}

/* Long work of the queue, after which all of `to` is `byte`. */
static void work_long(const Bench *bench, DeviceQueue *queue, uint8_t *to, int byte) {
    for (int i = 1; i <= ROUNDS; i++) {
        CHECK(bench->ops->fill(queue, to, (byte + i) & 0xff, BYTES) == DLC_OK);
    }
    CHECK(bench->ops->fill(queue, to, byte, BYTES) == DLC_OK);
}

static void holds(const Bench *bench, DeviceQueue *queue, const uint8_t *at, int byte) {
    CHECK(bench->ops->read(queue, bench->host, at, BYTES) == DLC_OK);
    for (int64_t i = 0; i < BYTES; i++) {
        CHECK(bench->host[i] == byte);
    }
}

/* What one queue makes is read by another after the event, over and over. */
static void events_order(const Bench *bench) {
    const DeviceOps *ops = bench->ops;
    DeviceQueue *maker = bench->queues[1], *reader = bench->queues[2];
    DeviceEvent *back;
    CHECK(ops->event_create(bench->device, &back) == DLC_OK);
    for (int i = 0; i < 12; i++) {
        CHECK(ops->event_wait(back, maker) == DLC_OK); /* at first not recorded: no wait */
        work_long(bench, maker, bench->a, i);
        CHECK(ops->event_record(bench->event, maker) == DLC_OK);
        CHECK(ops->event_wait(bench->event, reader) == DLC_OK);
        CHECK(ops->copy(reader, bench->b, bench->a, BYTES, NULL) == DLC_OK);
        CHECK(ops->event_record(back, reader) == DLC_OK);
        if (i % 4 == 3) {
            holds(bench, reader, bench->b, i);
        }
    }
    ops->event_destroy(back); /* the maker does not wait for it any more, or still may */
    holds(bench, maker, bench->a, 11);
}

/* A wait is for what the event stood for when it was asked for. */
static void events_renewed(const Bench *bench) {
    const DeviceOps *ops = bench->ops;
    DeviceQueue *first = bench->queues[1], *other = bench->queues[2], *reader = bench->queues[0];
    work_long(bench, first, bench->a, 0x21);
    CHECK(ops->event_record(bench->event, first) == DLC_OK);
    CHECK(ops->event_wait(bench->event, reader) == DLC_OK);
    CHECK(ops->event_record(bench->event, other) == DLC_OK); /* nothing before it there */
    CHECK(ops->copy(reader, bench->b, bench->a, BYTES, NULL) == DLC_OK);
    holds(bench, reader, bench->b, 0x21);
    /* The host waits for the newest one. */
    work_long(bench, other, bench->a, 0x22);
    CHECK(ops->event_record(bench->event, other) == DLC_OK);
    CHECK(ops->event_finish(bench->event) == DLC_OK);
    holds(bench, reader, bench->a, 0x22);
}

/* Events and queues that go while work is pending. */
static void ends_pending(const Bench *bench) {
    const DeviceOps *ops = bench->ops;
    for (int i = 0; i < 8; i++) {
        DeviceQueue *queue;
        DeviceEvent *event;
        CHECK(ops->queue_create(bench->device, i % 2 == 0, &queue) == DLC_OK);
        CHECK(ops->event_create(bench->device, &event) == DLC_OK);
        work_long(bench, bench->queues[1], bench->a, 0x30 + i);
        CHECK(ops->event_record(event, bench->queues[1]) == DLC_OK);
        CHECK(ops->event_wait(event, queue) == DLC_OK);
        ops->event_destroy(event);
        CHECK(ops->copy(queue, bench->b, bench->a, BYTES, NULL) == DLC_OK);
        ops->queue_destroy(queue); /* with all of that to do */
        holds(bench, bench->queues[0], bench->b, 0x30 + i);
    }
    ops->queue_destroy(NULL);
    ops->event_destroy(NULL);
}

/* Memory that a queue still works on may be freed. */
static void frees_pending(const Bench *bench) {
    const DeviceOps *ops = bench->ops;
    uint8_t *memory = ops->alloc(bench->device, BYTES);
    CHECK(memory);
    work_long(bench, bench->queues[2], memory, 7);
    CHECK(ops->copy(bench->queues[2], bench->a, memory, BYTES, NULL) == DLC_OK);
    ops->free(bench->device, memory);
    uint8_t *next = ops->alloc(bench->device, BYTES); /* perhaps the same */
    CHECK(next && ops->fill(bench->queues[0], next, 0x11, BYTES) == DLC_OK);
    holds(bench, bench->queues[0], next, 0x11);
    holds(bench, bench->queues[2], bench->a, 7);
    ops->free(bench->device, next);
}

/* Each queue has room of its own for kernels, and faults of its own. */
static void queues_apart(const Bench *bench) {
    const DeviceOps *ops = bench->ops;
    for (int i = 0; i < 3; i++) {
        KernelFault fault = {1, 1, 1};
        CHECK(ops->reserve(bench->queues[i], 100000) == DLC_OK);
        CHECK(ops->write(bench->queues[i], bench->a, "abcd", 4) == DLC_OK);
        CHECK(ops->set_i32(bench->queues[i], (int32_t *)(void *)(bench->a + 4), 77 + i) == DLC_OK);
        CHECK(ops->finish(bench->queues[i], &fault) == DLC_OK && fault.site == 0);
        CHECK(ops->read(bench->queues[i], bench->host, bench->a, 8) == DLC_OK);
        CHECK(memcmp(bench->host, "abcd", 4) == 0 && bench->host[4] == 77 + i);
    }
    if (ops->record) { /* on a queue that is not the first */
        DeviceGraph *graph = NULL;
        CHECK(ops->record(bench->queues[1]) == DLC_OK);
        CHECK(ops->fill(bench->queues[1], bench->b, 0x44, BYTES) == DLC_OK);
        CHECK(ops->record_end(bench->queues[1], &graph) == DLC_OK && graph);
        CHECK(ops->fill(bench->queues[1], bench->b, 0x43, BYTES) == DLC_OK);
        holds(bench, bench->queues[1], bench->b, 0x43);
        CHECK(ops->replay(bench->queues[1], graph) == DLC_OK);
        holds(bench, bench->queues[1], bench->b, 0x44);
        ops->graph_free(bench->device, graph);
    }
    if (ops->mark) { /* marks are of their queue */
        double from[2], to[2];
        KernelFault fault;
        for (int q = 0; q < 2; q++) {
            CHECK(ops->mark(bench->queues[q], 0) == DLC_OK);
            work_long(bench, bench->queues[q], q ? bench->a : bench->b, q);
            CHECK(ops->mark(bench->queues[q], 1) == DLC_OK);
        }
        for (int q = 0; q < 2; q++) {
            CHECK(ops->finish(bench->queues[q], &fault) == DLC_OK);
            CHECK(ops->mark_seconds(bench->queues[q], 0, &from[q]) == DLC_OK);
            CHECK(ops->mark_seconds(bench->queues[q], 1, &to[q]) == DLC_OK && to[q] >= from[q]);
        }
    }
}

void test_queues(void) {
    for (int background = 0; background < 2; background++) {
        Bench bench;
        bench_open(&bench, subject->ops, background != 0);
        events_order(&bench);
        events_renewed(&bench);
        ends_pending(&bench);
        frees_pending(&bench);
        queues_apart(&bench);
        bench_close(&bench);
    }
}

/* -- Recordings over several queues -- */

/* The queue's work so far, before what the other one is given next. */
static void hand_over(const Bench *bench, DeviceQueue *from, DeviceQueue *to) {
    CHECK(bench->ops->event_record(bench->event, from) == DLC_OK);
    CHECK(bench->ops->event_wait(bench->event, to) == DLC_OK);
}

static void refused(const Bench *bench, dlc_status status) {
    CHECK(status == DLC_ERROR_INTERNAL && bench->device->error[0]);
    bench->device->error[0] = '\0';
}

/* The first queue makes `a`; the second copies one half while the third, beside it or through it,
 * fills the other; then the first makes `a` anew. One event serves all. */
static DeviceGraph *fork_record(const Bench *bench, int byte, bool in_turn) {
    const DeviceOps *ops = bench->ops;
    DeviceQueue *first = bench->queues[0], *second = bench->queues[1], *third = bench->queues[2];
    DeviceGraph *graph = NULL;
    CHECK(ops->record(first) == DLC_OK);
    work_long(bench, first, bench->a, byte);
    hand_over(bench, first, second);
    if (!in_turn) {
        hand_over(bench, first, third);
    }
    CHECK(ops->copy(second, bench->b, bench->a, BYTES / 2, NULL) == DLC_OK);
    if (in_turn) {
        hand_over(bench, second, third);
    } else {
        hand_over(bench, second, first);
    }
    CHECK(ops->fill(third, bench->b + BYTES / 2, byte + 1, BYTES / 2) == DLC_OK);
    hand_over(bench, third, first);
    work_long(bench, first, bench->a, byte + 2);
    CHECK(ops->record_end(first, &graph) == DLC_OK && graph);
    return graph;
}

static void fork_holds(const Bench *bench, int byte) {
    CHECK(bench->ops->read(bench->queues[0], bench->host, bench->b, BYTES) == DLC_OK);
    for (int64_t i = 0; i < BYTES; i++) {
        CHECK(bench->host[i] == byte + (i >= BYTES / 2));
    }
    holds(bench, bench->queues[0], bench->a, byte + 2);
}

static void recordings_fork(const Bench *bench) {
    const DeviceOps *ops = bench->ops;
    DeviceQueue *first = bench->queues[0], *second = bench->queues[1];
    DeviceGraph *graphs[] = {fork_record(bench, 0x10, false), fork_record(bench, 0x20, true)};
    holds(bench, first, bench->a, 0x77); /* nothing has run yet */
    for (int i = 0; i < 6; i++) {
        CHECK(ops->fill(first, bench->b, 0, BYTES) == DLC_OK);
        CHECK(ops->replay(first, graphs[i % 2]) == DLC_OK);
        fork_holds(bench, 0x10 + i % 2 * 0x10);
    }
    /* Between replays the second queue is its own again; events order it with them. */
    for (int i = 0; i < 4; i++) {
        CHECK(ops->replay(first, graphs[i % 2]) == DLC_OK);
        hand_over(bench, first, second);
        work_long(bench, second, bench->b, 0x55 + i);
        hand_over(bench, second, first);
        CHECK(ops->copy(first, bench->a, bench->b, BYTES, NULL) == DLC_OK);
    }
    holds(bench, first, bench->a, 0x58);
    ops->graph_free(bench->device, graphs[0]);
    ops->graph_free(bench->device, graphs[1]);
}

/* What does not join goes on; an event that was never recorded is not waited for; one recorded
 * within stands for nothing outside. */
static void recordings_apart(const Bench *bench) {
    const DeviceOps *ops = bench->ops;
    DeviceQueue *first = bench->queues[0], *second = bench->queues[1], *third = bench->queues[2];
    DeviceEvent *before, *fresh;
    DeviceGraph *graph = NULL;
    CHECK(ops->event_create(bench->device, &before) == DLC_OK);
    CHECK(ops->event_create(bench->device, &fresh) == DLC_OK);
    CHECK(ops->event_record(before, third) == DLC_OK);
    CHECK(ops->record(second) == DLC_OK);
    CHECK(ops->fill(second, bench->a, 0x31, BYTES) == DLC_OK);
    refused(bench, ops->event_wait(before, second));
    refused(bench, ops->event_finish(before));
    CHECK(ops->event_wait(fresh, second) == DLC_OK);
    work_long(bench, third, bench->b, 0x32);
    CHECK(ops->event_record(before, third) == DLC_OK);
    CHECK(ops->event_wait(before, first) == DLC_OK);
    CHECK(ops->copy(first, bench->a, bench->b, BYTES, NULL) == DLC_OK);
    CHECK(ops->event_record(bench->event, second) == DLC_OK);
    CHECK(ops->record_end(second, &graph) == DLC_OK && graph);
    holds(bench, first, bench->a, 0x32);
    refused(bench, ops->event_wait(bench->event, first));
    refused(bench, ops->event_finish(bench->event));
    CHECK(ops->replay(second, graph) == DLC_OK);
    refused(bench, ops->event_wait(bench->event, first));
    hand_over(bench, second, first); /* recorded again */
    holds(bench, first, bench->a, 0x31);
    ops->graph_free(bench->device, graph);
    ops->event_destroy(before);
    ops->event_destroy(fresh);
}

/* The end comes before the first queue has waited for all of the second. */
static void recordings_unjoined(const Bench *bench) {
    const DeviceOps *ops = bench->ops;
    DeviceQueue *first = bench->queues[0], *second = bench->queues[1];
    for (int way = 0; way < 4; way++) {
        DeviceGraph *graph = NULL;
        CHECK(ops->record(first) == DLC_OK);
        hand_over(bench, first, second);
        if (way > 0) { /* 0: it has joined, and that is all */
            CHECK(ops->fill(second, bench->b, 0x41, BYTES) == DLC_OK);
        }
        if (way > 1) {
            hand_over(bench, second, first);
            CHECK(ops->fill(second, bench->b, 0x42, BYTES) == DLC_OK);
        }
        if (way > 2) { /* told, but not waited for */
            CHECK(ops->event_record(bench->event, second) == DLC_OK);
        }
        refused(bench, ops->record_end(first, &graph));
        CHECK(!graph);
        work_long(bench, first, bench->b, 0x40); /* both are as before */
        hand_over(bench, first, second);
        holds(bench, second, bench->b, 0x40);
    }
    CHECK(ops->record(first) == DLC_OK); /* dropped, it need not have */
    hand_over(bench, first, second);
    CHECK(ops->fill(second, bench->b, 0x43, BYTES) == DLC_OK);
    CHECK(ops->record_end(first, NULL) == DLC_OK);
    holds(bench, second, bench->b, 0x40);
}

void test_joined_recordings(void) {
    Bench bench, other;
    if (!subject->ops->record) {
        return;
    }
    bench_open(&bench, subject->ops, true);
    CHECK(bench.ops->fill(bench.queues[0], bench.a, 0x77, BYTES) == DLC_OK);
    recordings_fork(&bench);
    recordings_apart(&bench);
    recordings_unjoined(&bench);
    bench_open(&other, subject->ops, true);
    DeviceGraph *graph = NULL;
    CHECK(bench.ops->record(bench.queues[0]) == DLC_OK);
    CHECK(bench.ops->event_record(bench.event, bench.queues[0]) == DLC_OK);
    refused(&other, bench.ops->event_wait(bench.event, other.queues[0]));
    CHECK(bench.ops->record_end(bench.queues[0], &graph) == DLC_OK && graph);
    bench.ops->graph_free(bench.device, graph);
    bench_close(&other);
    bench_close(&bench);
}

/* -- Across devices -- */

/* After what both queues were given, before what they are given later. */
static void copies_across(const Bench *here, const Bench *there) {
    DeviceQueue *from = here->queues[1], *to = there->queues[2];
    for (int i = 0; i < 4; i++) {
        work_long(here, from, here->a, 0x50 + i);
        work_long(there, to, there->a, 0x60 + i); /* overwritten */
        CHECK(device_copy_across(to, there->a, from, here->a, BYTES) == DLC_OK);
        CHECK(here->ops->fill(from, here->a, 0x70, BYTES) == DLC_OK);
        CHECK(there->ops->copy(to, there->b, there->a, BYTES, NULL) == DLC_OK);
        CHECK(there->ops->fill(to, there->a, 0x71, BYTES) == DLC_OK);
        holds(there, to, there->b, 0x50 + i);
        holds(here, from, here->a, 0x70);
    }
    CHECK(device_copy_across(to, there->a, from, here->a, 0) == DLC_OK);
    CHECK(device_copy_across(to, there->a + 3, from, here->a + 1, 1) == DLC_OK);
    CHECK(there->ops->read(to, there->host, there->a, 8) == DLC_OK);
    CHECK(there->host[2] == 0x71 && there->host[3] == 0x70 && there->host[4] == 0x71);
}

void test_copies_across(void) {
    Bench one, two, cpu;
    bench_open(&one, subject->ops, true);
    bench_open(&two, subject->ops, true);
    bench_open(&cpu, device_find("cpu"), true);
    copies_across(&one, &two);
    copies_across(&two, &one);
    copies_across(&one, &cpu);
    copies_across(&cpu, &two);
    /* Queues wait for events of the other device. */
    work_long(&one, one.queues[1], one.a, 0x29);
    CHECK(one.ops->event_record(one.event, one.queues[1]) == DLC_OK);
    CHECK(one.ops->event_wait(one.event, two.queues[1]) == DLC_OK);
    CHECK(two.ops->fill(two.queues[1], two.a, 0x2a, BYTES) == DLC_OK);
    holds(&two, two.queues[1], two.a, 0x2a);
    holds(&one, one.queues[2], one.a, 0x29); /* done, for the other queue saw it */
    bench_close(&one);
    bench_close(&two);
    bench_close(&cpu);
}
