/* Runs launches: the blocks one after another in random order, each block's threads as fibers that
 * are resumed in random order and switch at barriers and at rendezvous of a warp's lanes. What
 * waits for a thread that has ended, or that stands elsewhere, is a fault. */
#include "tests/cudasim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* The odd number of cache lines keeps the threads' innermost frames out of each other's cache sets.
 */
enum { STACK_BYTES = 256 * 1024 + 11 * 64 };

typedef enum Status { READY, AT_BARRIER, AT_WARP, ENDED } Status;

typedef struct Fiber {
    void *stack_pointer;
    Status status;
    int line;         /* of the text, where it waits */
    const char *what; /* the warp operation */
    uint32_t mask;
    void *value; /* what it brings to the rendezvous */
    struct AsyncCopy *copies;
    int n_copies, cap_copies, group;
} Fiber;

/* An asynchronous copy not yet waited for. */
typedef struct AsyncCopy {
    void *to;
    const void *from;
    unsigned bytes;
    int group;
} AsyncCopy;

static Fiber fibers[MAX_THREADS];
static unsigned char *stacks;
static void *scheduler_stack;
static const Launch *launch;
static unsigned block_now, thread_now, n_threads;
static uint32_t warp_epoch[WARPS];
/* Lanes that stand at the whole warp's next meeting, all at the same one; lanes that have ended. */
typedef struct Meeting {
    uint32_t arrived;
    int line;
    const char *what;
} Meeting;
static Meeting meetings[WARPS];
static uint32_t ended[WARPS];
static uint16_t ready[MAX_THREADS];
static unsigned n_ready, n_at_barrier, n_ended;
static bool stopped;
static int switch_countdown;

/* -- The switch: saves the callee's registers on the stack, takes the other stack. */
#if defined(__x86_64__)
void cudasim_switch(void **save, void *to) __attribute__((visibility("hidden")));
__asm__(".text\n.p2align 4\n.hidden cudasim_switch\n.globl cudasim_switch\n"
        ".type cudasim_switch,@function\ncudasim_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
        ".size cudasim_switch, .-cudasim_switch\n");
static void fiber_entry(void);
static void fiber_make(unsigned thread) {
    void **top = (void **)(stacks + (size_t)(thread + 1) * STACK_BYTES);
    *--top = NULL; /* in place of a return address: the stack is aligned as after a call */
    *--top = (void *)fiber_entry;
    top -= 6;
    memset(top, 0, 6 * sizeof *top);
    fibers[thread].stack_pointer = top;
}
#else
#include <ucontext.h>
static ucontext_t contexts[MAX_THREADS], scheduler_context;
static void fiber_entry(void);
static void fiber_make(unsigned thread) {
    getcontext(&contexts[thread]);
    contexts[thread].uc_stack.ss_sp = stacks + (size_t)thread * STACK_BYTES;
    contexts[thread].uc_stack.ss_size = STACK_BYTES;
    makecontext(&contexts[thread], fiber_entry, 0);
    fibers[thread].stack_pointer = &contexts[thread];
    scheduler_stack = &scheduler_context;
}
static void cudasim_switch(void **save, void *to) {
    swapcontext(*save, to);
}
#endif

static void to_scheduler(void) {
    cudasim_switch(&fibers[thread_now].stack_pointer, scheduler_stack);
}

static void set_me(void) {
    hot.me = (Mark)hot.epoch << MARK_EPOCH_SHIFT |
             ((Mark)warp_epoch[thread_now / WARP] << MARK_WARP_EPOCH_SHIFT & MARK_WARP_EPOCH) |
             thread_now;
}

/* The thread to run next: any that can. */
static void choose(void) {
    unsigned pick = (unsigned)sim_random(n_ready);
    thread_now = ready[pick];
    ready[pick] = ready[--n_ready];
    hot.stack = (uintptr_t)stacks + (size_t)thread_now * STACK_BYTES;
    hot.stack_end = hot.stack + STACK_BYTES;
    set_me();
}

/* Leaves the running thread, for one that can run or else for the scheduler. */
static void to_next(void) {
    unsigned from = thread_now;
    if (n_ready == 0 || stopped) {
        to_scheduler();
        return;
    }
    choose();
    if (thread_now != from) {
        cudasim_switch(&fibers[from].stack_pointer, fibers[thread_now].stack_pointer);
    }
}

static void fiber_entry(void) {
    launch->function->call(launch->arguments);
    Fiber *me = &fibers[thread_now];
    me->status = ENDED;
    n_ended++;
    ended[thread_now / WARP] |= 1u << thread_now % WARP;
    if (me->n_copies > 0) {
        report("kernel %s, block %u, thread %u ended with asynchronous copies not waited for",
               launch->function->kernel->name, block_now, thread_now);
        stopped = true;
    }
    to_next();
    abort(); /* never resumed */
}

const Launch *launch_now(void) {
    return launch;
}

unsigned launch_block(void) {
    return block_now;
}

void launch_stop(void) {
    if (hot.in_kernel) {
        stopped = true;
        to_scheduler();
    }
}

static void make_ready(unsigned thread) {
    fibers[thread].status = READY;
    ready[n_ready++] = (uint16_t)thread;
}

/* -- What kernels call, through the host prelude. */

EXPORT __attribute__((const)) unsigned dlcsim_thread(void);
EXPORT __attribute__((const)) unsigned dlcsim_block(void);
EXPORT __attribute__((const)) unsigned dlcsim_threads(void);
EXPORT __attribute__((const)) unsigned dlcsim_blocks(void);
EXPORT __attribute__((const)) unsigned char *dlcsim_shared(void);
unsigned dlcsim_thread(void) {
    return thread_now;
}
unsigned dlcsim_block(void) {
    return block_now;
}
unsigned dlcsim_threads(void) {
    return launch->block;
}
unsigned dlcsim_blocks(void) {
    return launch->grid;
}
unsigned char *dlcsim_shared(void) {
    return memory_shared();
}

EXPORT void dlcsim_barrier(int line);
void dlcsim_barrier(int line) {
    Fiber *me = &fibers[thread_now];
    me->status = AT_BARRIER;
    me->line = line;
    n_at_barrier++;
    to_next();
}

static void warp_name(unsigned thread, const Fiber *me) {
    report("kernel %s, block %u, thread %u: %s of line %d with lanes %08x",
           launch->function->kernel->name, block_now, thread, me->what, me->line, me->mask);
}

/* The general way: looks at every lane for who is there, missing, or elsewhere. */
static void gather(uint32_t mask, const char *what, int line, void **values, bool *all,
                   bool *whole) {
    unsigned first = thread_now / WARP * WARP, lane = thread_now % WARP;
    Fiber *me = &fibers[thread_now];
    for (unsigned i = 0; i < WARP; i++) {
        unsigned other = first + i;
        Fiber *fiber = other < n_threads ? &fibers[other] : NULL;
        if (!(mask >> i & 1)) {
            *whole = *whole && (!fiber || fiber->status == ENDED);
            continue;
        }
        if (!fiber || fiber->status == ENDED) {
            warp_name(thread_now, me);
            report_more("lane %u (thread %u) %s", i, other,
                        fiber ? "has ended" : "is not in the block");
            launch_stop();
        }
        if (i == lane) {
            values[i] = me->value;
        } else if (fiber->status == AT_WARP) {
            if (fiber->mask != mask || fiber->line != line || strcmp(fiber->what, what) != 0) {
                warp_name(thread_now, me);
                report_more("lane %u (thread %u) stands elsewhere: %s of line %d with lanes %08x",
                            i, other, fiber->what, fiber->line, fiber->mask);
                launch_stop();
            }
            values[i] = fiber->value;
        } else {
            *all = false;
        }
    }
}

/* The lanes of `mask` meet; the last one there calls meet(their values, mask). */
EXPORT void dlcsim_warp(unsigned mask, const char *what, int line, void *value,
                        void (*meet)(void *const *values, unsigned mask));
void dlcsim_warp(unsigned mask, const char *what, int line, void *value,
                 void (*meet)(void *const *values, unsigned mask)) {
    unsigned first = thread_now / WARP * WARP, lane = thread_now % WARP;
    Fiber *me = &fibers[thread_now];
    me->line = line;
    me->what = what;
    me->mask = mask;
    me->value = value;
    if (!(mask >> lane & 1)) {
        warp_name(thread_now, me);
        report_more("its own lane %u is not among them", lane);
        launch_stop();
    }
    Meeting *meeting = &meetings[thread_now / WARP];
    void *values[WARP];
    bool all = true, whole = true;
    if (mask == UINT32_MAX && first + WARP <= n_threads && !ended[thread_now / WARP] &&
        (meeting->arrived == 0 || (meeting->line == line && meeting->what == what))) {
        *meeting = (Meeting){meeting->arrived | 1u << lane, line, what};
        all = meeting->arrived == UINT32_MAX;
        for (unsigned i = 0; i < WARP && all; i++) {
            values[i] = fibers[first + i].value;
        }
    } else {
        memset(values, 0, sizeof values);
        gather(mask, what, line, values, &all, &whole);
    }
    if (!all) {
        me->status = AT_WARP;
        to_next();
        return;
    }
    meeting->arrived = 0;
    if (meet) {
        meet(values, mask);
    }
    if (whole) {
        warp_epoch[thread_now / WARP]++;
    }
    for (unsigned i = 0; i < WARP; i++) {
        if ((mask >> i & 1) && i != lane) {
            make_ready(first + i);
        }
    }
    make_ready(thread_now); /* nobody goes on in lockstep, the last one neither */
    to_next();
}

EXPORT void dlcsim_yield(void);
void dlcsim_yield(void) {
    if (hot.in_kernel) {
        make_ready(thread_now);
        to_next();
    }
}

void fiber_maybe_switch(void) {
    if (--switch_countdown <= 0) {
        switch_countdown = 1 + (int)sim_random((uint64_t)settings.switch_every * 2);
        dlcsim_yield();
    }
}

EXPORT void dlcsim_fail(const char *text);
void dlcsim_fail(const char *text) {
    report("kernel %s, block %u, thread %u: %s", launch->function->kernel->name, block_now,
           thread_now, text);
    launch_stop();
}

/* -- Asynchronous copies: done at their wait. */

void dlcsim_touch(const void *p, unsigned size, int write);
void dlcsim_pending(void *p, unsigned size, int pending);

EXPORT void dlcsim_copy_async(void *to, const void *from, unsigned bytes);
void dlcsim_copy_async(void *to, const void *from, unsigned bytes) {
    Fiber *me = &fibers[thread_now];
    if ((uintptr_t)to - hot.base >= SHARED_SPAN || !memory_is_device(from) ||
        (uintptr_t)from - hot.base < SHARED_SPAN) {
        dlcsim_fail("asynchronous copy that is not from global to shared memory");
    }
    dlcsim_touch(from, bytes, 0);
    dlcsim_touch(to, bytes, 1);
    memset(to, 0xff, bytes);
    dlcsim_pending(to, bytes, 1);
    if (me->n_copies == me->cap_copies) {
        me->cap_copies = me->cap_copies ? me->cap_copies * 2 : 16;
        me->copies = realloc(me->copies, (size_t)me->cap_copies * sizeof *me->copies);
        if (!me->copies) {
            abort();
        }
    }
    me->copies[me->n_copies++] =
        (AsyncCopy){.to = to, .from = from, .bytes = bytes, .group = me->group};
}

EXPORT void dlcsim_copy_commit(void);
void dlcsim_copy_commit(void) {
    fibers[thread_now].group++;
}

EXPORT void dlcsim_copy_wait(int most);
void dlcsim_copy_wait(int most) {
    Fiber *me = &fibers[thread_now];
    int kept = 0;
    for (int i = 0; i < me->n_copies; i++) {
        AsyncCopy *copy = &me->copies[i];
        if (copy->group < me->group - most) {
            dlcsim_touch(copy->from, copy->bytes, 0);
            dlcsim_pending(copy->to, copy->bytes, 0);
            dlcsim_touch(copy->to, copy->bytes, 1);
            memcpy(copy->to, copy->from, copy->bytes);
        } else {
            me->copies[kept++] = *copy;
        }
    }
    me->n_copies = kept;
}

/* -- One block. */

static const char *place(const Fiber *fiber, char *out, size_t n_out) {
    switch (fiber->status) {
    case ENDED:
        snprintf(out, n_out, "has ended");
        break;
    case AT_BARRIER:
        snprintf(out, n_out, "waits at the barrier of line %d", fiber->line);
        break;
    case AT_WARP:
        snprintf(out, n_out, "waits in %s of line %d for lanes %08x", fiber->what, fiber->line,
                 fiber->mask);
        break;
    case READY:
        snprintf(out, n_out, "runs");
        break;
    }
    return out;
}

/* Nothing can run: says who waits for whom. */
static void report_stuck(void) {
    report("kernel %s, block %u: deadlock, its threads wait for each other",
           launch->function->kernel->name, block_now);
    char text[200], shown[4][200];
    int n_shown = 0;
    for (unsigned t = 0; t < n_threads && n_shown < 4; t++) { /* one of each place */
        place(&fibers[t], text, sizeof text);
        bool is_new = true;
        for (int i = 0; i < n_shown; i++) {
            is_new = is_new && strcmp(shown[i], text) != 0;
        }
        if (is_new) {
            snprintf(shown[n_shown++], sizeof shown[0], "%s", text);
            report_more("thread %u %s", t, text);
        }
    }
    stopped = true;
}

/* All threads that have not ended stand at a barrier. */
static void release_barrier(void) {
    unsigned first = n_threads;
    for (unsigned t = 0; t < n_threads; t++) {
        const Fiber *fiber = &fibers[t];
        if (fiber->status == AT_BARRIER && first == n_threads) {
            first = t;
        }
    }
    for (unsigned t = 0; t < n_threads; t++) {
        const Fiber *fiber = &fibers[t];
        if (fiber->status == ENDED || fiber->line != fibers[first].line) {
            char here[200], there[200];
            report("kernel %s, block %u: divergent barrier: thread %u %s, thread %u %s",
                   launch->function->kernel->name, block_now, first,
                   place(&fibers[first], here, sizeof here), t, place(fiber, there, sizeof there));
            stopped = true;
            return;
        }
    }
    next_epoch();
    memset(warp_epoch, 0, sizeof warp_epoch);
    n_at_barrier = 0;
    for (unsigned t = 0; t < n_threads; t++) {
        make_ready(t);
    }
}

static bool run_block(void) {
    n_threads = launch->block;
    n_ready = n_at_barrier = n_ended = 0;
    stopped = false;
    memset(warp_epoch, 0, sizeof warp_epoch);
    memset(meetings, 0, sizeof meetings);
    memset(ended, 0, sizeof ended);
    hot.block_first = next_epoch();
    for (unsigned t = 0; t < n_threads; t++) {
        fiber_make(t);
        fibers[t].n_copies = fibers[t].group = 0;
        make_ready(t);
    }
    hot.in_kernel = true;
    while (n_ended < n_threads && !stopped) {
        if (n_ready == 0) {
            if (n_at_barrier + n_ended == n_threads) {
                release_barrier();
            } else {
                report_stuck();
            }
            continue;
        }
        choose();
        cudasim_switch(&scheduler_stack, fibers[thread_now].stack_pointer);
    }
    hot.in_kernel = false;
    hot.stack = hot.stack_end = 0;
    return !stopped;
}

static bool stacks_make(void) {
    if (!stacks) {
        void *p = mmap(NULL, (size_t)MAX_THREADS * STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        stacks = p == MAP_FAILED ? NULL : p;
    }
    return stacks != NULL;
}

bool launch_run(const Launch *what) {
    if (!stacks_make()) {
        report("no memory for the threads' stacks");
        return false;
    }
    uint32_t *order = malloc(what->grid * sizeof *order);
    if (!order) {
        return false;
    }
    launch = what;
    hot.launch_first = next_epoch();
    bool good = true;
    size_t before = SHARED_SPAN / 2;
    for (unsigned b = 0; b < what->grid; b++) {
        order[b] = b;
    }
    for (unsigned b = 0; b < what->grid && good; b++) {
        unsigned other = b + (unsigned)sim_random(what->grid - b);
        uint32_t swap = order[b];
        order[b] = order[other];
        order[other] = swap;
        block_now = order[b];
        memory_shared_reset(what->shared, before);
        before = what->shared;
        good = run_block();
    }
    free(order);
    launch = NULL;
    thread_now = 0;
    return good;
}
