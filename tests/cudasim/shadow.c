/* The shadow of device memory: what was written, and who touched each granule of 4 bytes last. The
 * compiler's thread sanitizer instrumentation of the kernels calls the __tsan_ functions here,
 * which check bounds, unwritten reads, alignment and accesses that no barrier orders. */
#include "tests/cudasim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GRANULE = 4 };

/* Readers that a newer reader's mark replaced without being ordered after them (of other streams).
 */
typedef struct Extra {
    size_t granule;
    uint32_t epoch;
} Extra;
static Extra *extras;
static size_t n_extras, cap_extras;

/* -- Faults of accesses. */

static void describe_buffer(uintptr_t address, char *out, size_t n_out) {
    size_t offset = address - hot.base;
    if (hot.base && offset < SHARED_SPAN) {
        snprintf(out, n_out, "shared memory at byte %lld of %zu",
                 (long long)offset - (long long)FAR, memory_shared_bytes());
        return;
    }
    const Allocation *a = memory_find(address);
    if (!a || address > a->address + a->bytes + FAR) {
        snprintf(out, n_out, "%p, no memory of the device's", (void *)address);
        return;
    }
    int used_n = snprintf(out, n_out, "byte %zu of allocation %lld of %zu bytes%s",
                          (size_t)(address - a->address), (long long)a->number, a->bytes,
                          a->device == HOST ? " of pinned memory" : "");
    const Launch *launch = launch_now();
    int best = -1;
    uintptr_t best_at = 0;
    for (int i = 0; launch && launch->arguments && launch->arguments[i]; i++) {
        uintptr_t value;
        memcpy(&value, launch->arguments[i], sizeof value);
        if (value >= a->address && value <= address && value >= best_at) {
            best = i;
            best_at = value;
        }
    }
    if (best >= 0 && used_n > 0 && (size_t)used_n < n_out) {
        snprintf(out + used_n, n_out - (size_t)used_n, " (argument %d + %zu)", best,
                 (size_t)(address - best_at));
    }
}

static void describe_who(char *out, size_t n_out) {
    const Launch *launch = launch_now();
    if (launch && hot.in_kernel) {
        snprintf(out, n_out, "kernel %s, block %u, thread %u", launch->function->kernel->name,
                 launch_block(), (unsigned)(hot.me & MARK_TID));
    } else {
        const Op *op = queue_running();
        snprintf(out, n_out, "%s", op ? op->label : "a copy");
    }
}

static void fault_tell(uintptr_t address, size_t size, bool write, uintptr_t code,
                       const char *what) {
    char buffer[256], who[256], line[400] = "";
    describe_buffer(address, buffer, sizeof buffer);
    describe_who(who, sizeof who);
    report("%s: %s of %zu bytes, %s: %s", who, write ? "write" : "read", size, what, buffer);
    const Module *module = hot.in_kernel ? module_at(code) : NULL;
    if (module) {
        module_line(module, code, line, sizeof line);
        if (line[0]) {
            report_more("%s", line);
        }
    }
}

/* In a kernel it does not return. */
static void fault(uintptr_t address, size_t size, bool write, uintptr_t code, const char *what) {
    fault_tell(address, size, write, code, what);
    launch_stop();
}

static __attribute__((noinline)) void fault_state(uintptr_t address, size_t size, bool write,
                                                  uintptr_t code) {
    size_t offset = address - hot.base;
    for (size_t i = 0; i < size; i++) {
        int state = hot.state[offset + i] & ~STATE_SPLIT;
        const char *what = state == STATE_NONE                  ? "out of bounds"
                           : state == STATE_FREED               ? "of freed memory"
                           : state == STATE_PENDING             ? "before its copy was waited for"
                           : state == STATE_UNWRITTEN && !write ? "never written"
                                                                : NULL;
        if (what) {
            fault(address + i, size, write, code, what);
            return;
        }
    }
}

/* Where the running operation's part of the memory ends, if it says so itself. */
static uintptr_t part_end(uintptr_t address, const Work *work, uintptr_t end) {
    uintptr_t to = (uintptr_t)work->to, from = (uintptr_t)work->from;
    if (work->kind != OP_COPY && work->kind != OP_FILL) {
        return end;
    }
    return address - to < work->bytes                              ? to + work->bytes
           : work->kind == OP_COPY && address - from < work->bytes ? from + work->bytes
                                                                   : end;
}

/* The two operations, and the bytes from the address on that carry a mark of the earlier one. */
static void describe_race(uintptr_t address, const Op *other, bool wrote) {
    const Op *op = queue_running();
    const Allocation *a = memory_find(address);
    if (!op || !a) {
        return;
    }
    size_t at = address - hot.base;
    size_t end = part_end(address, &op->work, a->address + a->bytes) - hot.base;
    for (; at < end; at++) {
        const Mark *cell =
            hot.state[at] & STATE_SPLIT ? hot.bytes + at * 2 : hot.cells + at / GRANULE * 2;
        uint32_t epoch = (uint32_t)(cell[wrote ? 0 : 1] >> MARK_EPOCH_SHIFT);
        if (epoch < other->first_epoch || epoch > other->last_epoch) {
            break;
        }
    }
    report_more("%s follows neither a stream's order nor an event after %s, which %s bytes %zu to "
                "%zu of that allocation",
                op->label, other->label, wrote ? "wrote" : "read", (size_t)(address - a->address),
                (size_t)(hot.base + at - a->address));
}

static __attribute__((noinline)) void fault_race(uintptr_t address, size_t size, bool write,
                                                 uintptr_t code, Mark other, bool other_wrote) {
    char what[300];
    const Op *op = NULL;
    uint32_t epoch = (uint32_t)(other >> MARK_EPOCH_SHIFT);
    const char *did = other_wrote ? "wrote" : "read";
    if (epoch == hot.epoch) {
        snprintf(what, sizeof what, "that thread %u%s %s with no barrier between",
                 (unsigned)(other & MARK_TID), other & (MARK_MANY | MARK_WARP) ? " and others" : "",
                 did);
    } else if (epoch >= hot.launch_first) {
        snprintf(what, sizeof what, "that another block of this launch %s (its thread %u)", did,
                 (unsigned)(other & MARK_TID));
    } else {
        op = queue_op_of_epoch(epoch);
        snprintf(what, sizeof what, "that %s %s, which no event or stream order puts before",
                 op ? op->label : "an earlier operation", did);
    }
    fault_tell(address, size, write, code, what);
    if (op) {
        describe_race(address, op, other_wrote);
    }
    launch_stop();
}

/* -- Marks. */

static inline bool is_before(Mark mark) { /* of this epoch: before the running thread's now */
    if (mark & MARK_MANY) {
        return false;
    }
    Mark me = hot.me;
    if (((mark ^ me) & (MARK_TID | MARK_WARP)) == 0) {
        return true;
    }
    return (mark & MARK_TID) / WARP == (me & MARK_TID) / WARP &&
           (mark & MARK_WARP_EPOCH) < (me & MARK_WARP_EPOCH);
}

static void extra_reader(const Mark *cell, Mark mark) {
    if (n_extras == cap_extras) {
        size_t cap = cap_extras ? cap_extras * 2 : 256;
        Extra *grown = realloc(extras, cap * sizeof *grown);
        if (!grown) {
            return;
        }
        extras = grown;
        cap_extras = cap;
    }
    extras[n_extras++] =
        (Extra){.granule = (size_t)cell, .epoch = (uint32_t)(mark >> MARK_EPOCH_SHIFT)};
}

void memory_forget_readers(void) {
    n_extras = 0;
}

/* Whether the mark is of an operation (not this one) that does not happen before this one. */
static inline bool is_unordered(Mark mark, uint32_t epoch) {
    (void)mark;
    return epoch >= hot.ordered && epoch < hot.launch_first && epoch != 0 &&
           !queue_happens_before(epoch);
}

typedef struct Verdict {
    Mark other;
    bool bad, wrote;
} Verdict;

static inline bool writer_conflicts(Mark writer, bool shared) {
    uint32_t epoch = (uint32_t)(writer >> MARK_EPOCH_SHIFT);
    if (epoch == hot.epoch) {
        return !is_before(writer);
    }
    if (shared || epoch >= hot.block_first) {
        return false;
    }
    return epoch >= hot.launch_first || is_unordered(writer, epoch);
}

static inline bool cell_read(Mark *cell, bool shared, Verdict *verdict) {
    Mark me = hot.me, writer = cell[0];
    if (writer != me && writer_conflicts(writer, shared)) {
        *verdict = (Verdict){.other = writer, .bad = true, .wrote = true};
        return false;
    }
    Mark reader = cell[1];
    if (reader == me) {
        return true;
    }
    Mark now = me;
    uint32_t epoch = (uint32_t)(reader >> MARK_EPOCH_SHIFT);
    if (epoch == hot.epoch) {
        if (!is_before(reader)) {
            now |= (reader & MARK_MANY) || (reader & MARK_TID) / WARP != (me & MARK_TID) / WARP
                       ? MARK_MANY
                       : MARK_WARP;
        }
        now |= reader & MARK_OTHER;
    } else if (!shared) {
        if (epoch >= hot.block_first) {
            now |= reader & MARK_OTHER;
        } else if (epoch >= hot.launch_first) {
            now |= MARK_OTHER;
        } else if (is_unordered(reader, epoch)) {
            extra_reader(cell, reader);
        }
    }
    cell[1] = now;
    return true;
}

static inline bool cell_write(Mark *cell, bool shared, Verdict *verdict) {
    Mark me = hot.me, writer = cell[0];
    if (writer != me) {
        if (writer_conflicts(writer, shared)) {
            *verdict = (Verdict){.other = writer, .bad = true, .wrote = true};
            return false;
        }
    }
    Mark reader = cell[1];
    if (reader != me && reader) {
        uint32_t epoch = (uint32_t)(reader >> MARK_EPOCH_SHIFT);
        bool bad = epoch == hot.epoch && !is_before(reader);
        if (!shared && !bad && epoch >= hot.launch_first) {
            bad = epoch < hot.block_first || (reader & MARK_OTHER);
        } else if (!shared && !bad) {
            bad = is_unordered(reader, epoch);
        }
        if (bad) {
            *verdict = (Verdict){.other = reader, .bad = true, .wrote = false};
            return false;
        }
    }
    if (n_extras && !shared) {
        for (size_t i = 0; i < n_extras; i++) {
            if (extras[i].granule == (size_t)cell && is_unordered(0, extras[i].epoch)) {
                *verdict = (Verdict){.other = (Mark)extras[i].epoch << MARK_EPOCH_SHIFT,
                                     .bad = true,
                                     .wrote = false};
                return false;
            }
        }
    }
    cell[0] = me;
    return true;
}

/* The usual cases of cell_read: nothing conflicts, and the mark need not change. */
static inline __attribute__((always_inline)) bool cell_read_fast(const Mark *cell, bool shared) {
    Mark me = hot.me, writer = cell[0], reader = cell[1];
    uint32_t epoch = (uint32_t)(writer >> MARK_EPOCH_SHIFT);
    bool calm = writer == me || (epoch != hot.epoch &&
                                 (shared || epoch - hot.ordered >= hot.block_first - hot.ordered));
    return calm &&
           (reader == me || ((reader >> MARK_EPOCH_SHIFT) == hot.epoch && (reader & MARK_MANY)));
}

/* Bytes [offset, offset + size) inside one granule, kept byte by byte from now on. */
static __attribute__((noinline)) bool bytes_touch(size_t offset, size_t size, bool write,
                                                  Verdict *verdict) {
    size_t granule = offset & ~(size_t)(GRANULE - 1);
    bool shared = offset < SHARED_SPAN;
    if (!(hot.state[granule] & STATE_SPLIT)) {
        const Mark *cell = hot.cells + granule / GRANULE * 2;
        for (size_t i = 0; i < GRANULE; i++) {
            hot.bytes[(granule + i) * 2] = cell[0];
            hot.bytes[(granule + i) * 2 + 1] = cell[1];
            hot.state[granule + i] |= STATE_SPLIT;
        }
    }
    for (size_t i = 0; i < size; i++) {
        Mark *cell = hot.bytes + (offset + i) * 2;
        if (!(write ? cell_write(cell, shared, verdict) : cell_read(cell, shared, verdict))) {
            return false;
        }
    }
    return true;
}

static inline bool granule_touch(size_t offset, bool write, Verdict *verdict) {
    if (hot.state[offset] & STATE_SPLIT) {
        return bytes_touch(offset, GRANULE, write, verdict);
    }
    Mark *cell = hot.cells + offset / GRANULE * 2;
    bool shared = offset < SHARED_SPAN;
    return write ? cell_write(cell, shared, verdict) : cell_read(cell, shared, verdict);
}

/* -- Accesses of kernels. */

static __attribute__((noinline)) void touch_other(uintptr_t address, size_t size, bool write,
                                                  uintptr_t code) {
    if (address - hot.stack < hot.stack_end - hot.stack || !hot.in_kernel) {
        return;
    }
    const Launch *launch = launch_now();
    const Module *module = launch ? launch->function->module : NULL;
    if (module && address >= module->begin && address + size <= module->end && !write) {
        return;
    }
    fault(address, size, write, code,
          module && address >= module->begin && address < module->end ? "of a constant"
                                                                      : "out of bounds");
}

static __attribute__((noinline)) void touch_slow(size_t offset, size_t size, bool write,
                                                 uintptr_t code) {
    uintptr_t address = hot.base + offset;
    for (size_t i = 0; i < size; i++) {
        int state = hot.state[offset + i] & ~STATE_SPLIT;
        if (state != STATE_WRITTEN && !(write && state == STATE_UNWRITTEN)) {
            fault_state(address, size, write, code);
            return;
        }
    }
    if (offset % size != 0) {
        fault(address, size, write, code, "not aligned to its size");
        return;
    }
    Verdict verdict = {0};
    if (size < GRANULE) {
        if (!bytes_touch(offset, size, write, &verdict)) {
            fault_race(address, size, write, code, verdict.other, verdict.wrote);
            return;
        }
    } else {
        for (size_t i = 0; i < size; i += GRANULE) {
            if (!granule_touch(offset + i, write, &verdict)) {
                fault_race(address + i, size, write, code, verdict.other, verdict.wrote);
                return;
            }
        }
    }
    if (write) {
        for (size_t i = 0; i < size; i++) {
            hot.state[offset + i] =
                (uint8_t)(STATE_WRITTEN | (hot.state[offset + i] & STATE_SPLIT));
        }
    }
}

static inline __attribute__((always_inline)) void touch(const void *p, size_t size, bool write,
                                                        uintptr_t code) {
    uintptr_t address = (uintptr_t)p;
    size_t offset = address - hot.base;
    if (__builtin_expect(offset >= hot.checked, 0)) {
        if (address - hot.stack >= hot.stack_end - hot.stack && hot.checked > 0) {
            touch_other(address, size, write, code);
        }
        return;
    }
    const uint32_t ALL = 0x01010101u * STATE_WRITTEN;
    bool fast = size >= GRANULE && offset % size == 0;
    for (size_t i = 0; fast && i < size; i += GRANULE) {
        uint32_t state;
        memcpy(&state, hot.state + offset + i, sizeof state);
        fast = state == ALL;
    }
    if (!fast) {
        touch_slow(offset, size, write, code);
    } else {
        Mark *cell = hot.cells + offset / GRANULE * 2;
        bool shared = offset < SHARED_SPAN;
        Verdict verdict;
        for (size_t i = 0; i < size / GRANULE; i++) {
            if (!write && cell_read_fast(cell + i * 2, shared)) {
                continue;
            }
            if (!(write ? cell_write(cell + i * 2, shared, &verdict)
                        : cell_read(cell + i * 2, shared, &verdict))) {
                fault_race(address + i * GRANULE, size, write, code, verdict.other, verdict.wrote);
                return;
            }
        }
    }
    if (__builtin_expect(settings.switch_every != 0, 0) && offset < SHARED_SPAN) {
        fiber_maybe_switch();
    }
}

#define CODE ((uintptr_t)__builtin_return_address(0))
#define TSAN(SIZE)                                                                                 \
    EXPORT void __tsan_read##SIZE(void *p);                                                        \
    EXPORT void __tsan_write##SIZE(void *p);                                                       \
    EXPORT void __tsan_unaligned_read##SIZE(void *p);                                              \
    EXPORT void __tsan_unaligned_write##SIZE(void *p);                                             \
    EXPORT void __tsan_volatile_read##SIZE(void *p);                                               \
    EXPORT void __tsan_volatile_write##SIZE(void *p);                                              \
    void __tsan_read##SIZE(void *p) {                                                              \
        touch(p, SIZE, false, CODE);                                                               \
    }                                                                                              \
    void __tsan_write##SIZE(void *p) {                                                             \
        touch(p, SIZE, true, CODE);                                                                \
    }                                                                                              \
    void __tsan_unaligned_read##SIZE(void *p) {                                                    \
        touch(p, SIZE, false, CODE);                                                               \
    }                                                                                              \
    void __tsan_unaligned_write##SIZE(void *p) {                                                   \
        touch(p, SIZE, true, CODE);                                                                \
    }                                                                                              \
    void __tsan_volatile_read##SIZE(void *p) {                                                     \
        touch(p, SIZE, false, CODE);                                                               \
    }                                                                                              \
    void __tsan_volatile_write##SIZE(void *p) {                                                    \
        touch(p, SIZE, true, CODE);                                                                \
    }
TSAN(1)
TSAN(2)
TSAN(4)
TSAN(8)
TSAN(16)

/* A structure copied as a whole: in pieces of the widest access that its address allows. */
static void touch_range(void *p, long size, bool write, uintptr_t code) {
    unsigned char *at = p;
    while (size > 0) {
        size_t step = (uintptr_t)at % 4 == 0 && size >= 4 ? 4 : 1;
        touch(at, step, write, code);
        at += step;
        size -= (long)step;
    }
}
EXPORT void __tsan_read_range(void *p, long size);
EXPORT void __tsan_write_range(void *p, long size);
void __tsan_read_range(void *p, long size) {
    touch_range(p, size, false, CODE);
}
void __tsan_write_range(void *p, long size) {
    touch_range(p, size, true, CODE);
}
EXPORT void __tsan_init(void);
EXPORT void __tsan_func_entry(void *code);
/* By another name: with a sanitizer GCC knows this function, hidden as all else is. */
EXPORT void func_exit(void) __asm__("__tsan_func_exit");
void __tsan_init(void) {
}
void __tsan_func_entry(void *code) {
    (void)code;
}
void func_exit(void) {
}

/* For the prelude: an access of its own, e.g. of an asynchronous copy. */
EXPORT void dlcsim_touch(const void *p, unsigned size, int write);
void dlcsim_touch(const void *p, unsigned size, int write) {
    touch(p, size, write != 0, CODE);
}
/* An access that other threads may make at the same time: bounds only. */
EXPORT void dlcsim_atomic(void *p, unsigned size);
void dlcsim_atomic(void *p, unsigned size) {
    size_t offset = (uintptr_t)p - hot.base;
    if (hot.checked == 0) {
        return;
    }
    if (offset >= hot.span) {
        fault((uintptr_t)p, size, true, CODE, "out of bounds");
        return;
    }
    fault_state((uintptr_t)p, size, true, CODE);
    for (unsigned i = 0; i < size; i++) {
        hot.state[offset + i] = (uint8_t)(STATE_WRITTEN | (hot.state[offset + i] & STATE_SPLIT));
    }
}
/* The destination of an asynchronous copy: written later, unreadable till then. */
EXPORT void dlcsim_pending(void *p, unsigned size, int pending);
void dlcsim_pending(void *p, unsigned size, int pending) {
    size_t offset = (uintptr_t)p - hot.base;
    if (offset >= hot.span) {
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        uint8_t split = hot.state[offset + i] & STATE_SPLIT;
        hot.state[offset + i] = (uint8_t)((pending ? STATE_PENDING : STATE_UNWRITTEN) | split);
    }
}

/* -- Accesses of the host's copies and fills. */

/* Copies may carry bytes that were never written (gaps between values), not only such. */
static bool range(uintptr_t address, size_t bytes, bool write) {
    size_t offset = address - hot.base, unwritten = 0;
    int64_t before = report_count();
    if (hot.checked == 0) {
        return true;
    }
    for (size_t i = 0; i < bytes;) {
        Verdict verdict = {0};
        bool whole = (offset + i) % GRANULE == 0 && bytes - i >= GRANULE;
        size_t step = whole ? GRANULE : 1;
        for (size_t j = 0; j < step; j++) {
            int state = hot.state[offset + i + j] & ~STATE_SPLIT;
            if (state != STATE_WRITTEN && state != STATE_UNWRITTEN) {
                fault_state(address + i, step, write, 0);
                return false;
            }
            unwritten += state == STATE_UNWRITTEN;
        }
        if (!(whole ? granule_touch(offset + i, write, &verdict)
                    : bytes_touch(offset + i, 1, write, &verdict))) {
            fault_race(address + i, step, write, 0, verdict.other, verdict.wrote);
            return false;
        }
        i += step;
    }
    if (!write && unwritten == bytes) {
        fault_state(address, bytes, false, 0);
    }
    return report_count() == before;
}

bool memory_range_read(uintptr_t address, size_t bytes) {
    return range(address, bytes, false);
}

bool memory_range_write(uintptr_t address, size_t bytes) {
    return range(address, bytes, true);
}

void memory_range_state(uintptr_t to, uintptr_t from, size_t bytes) {
    size_t offset = to - hot.base;
    for (size_t i = 0; i < bytes; i++) {
        int state = from ? hot.state[from - hot.base + i] & ~STATE_SPLIT : STATE_WRITTEN;
        hot.state[offset + i] = (uint8_t)(state | (hot.state[offset + i] & STATE_SPLIT));
    }
}
