/* Pinned host memory that asynchronous copies still use. From the call that queues a copy until the
 * host has waited for it, the host may not write what the copy reads, nor touch what it writes. The
 * pages are protected meanwhile, so that the host's own accesses are seen: the first one to a page
 * is noted, the page is opened, and the next entry point reports what was noted. */
#include "tests/cudasim/sim.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { PAGE = 4096, NOTED = 16 };

/* A copy's part in pinned memory. */
typedef struct Use {
    const Op *op;
    uintptr_t address;
    size_t bytes;
    bool writes;
} Use;
static Use *uses;
static size_t n_uses, cap_uses;

/* Of each page, how many uses. */
typedef struct Page {
    uint16_t readers, writers;
} Page;
static Page *pages;
static uintptr_t first_page; /* the address of page 0 */
static size_t n_pages;
static bool is_off;

typedef struct Access {
    _Atomic uintptr_t address; /* 0: not noted yet */
    bool writes;
} Access;
static Access noted[NOTED];
static atomic_int n_noted; /* more than NOTED: the rest is lost */
static struct sigaction before;

/* -- The host's accesses -- */

static bool access_writes(void *context) {
#if defined(__x86_64__)
    const ucontext_t *state = context;
    return (state->uc_mcontext.gregs[REG_ERR] & 2) != 0;
#else
    (void)context;
    return true;
#endif
}

static void on_fault(int number, siginfo_t *info, void *context) {
    uintptr_t address = (uintptr_t)info->si_addr;
    (void)number;
    if (address - first_page >= n_pages * PAGE) {
        sigaction(SIGSEGV, &before, NULL); /* not ours: it happens again, to whom it concerns */
        return;
    }
    int i = atomic_fetch_add(&n_noted, 1);
    if (i < NOTED) {
        noted[i].writes = access_writes(context);
        atomic_store(&noted[i].address, address);
    }
    mprotect((void *)(address / PAGE * PAGE), PAGE, PROT_READ | PROT_WRITE);
}

/* Others may have set theirs since. */
static void handler_install(void) {
    struct sigaction now;
    if (sigaction(SIGSEGV, NULL, &now) == 0 &&
        (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_fault)) {
        struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_NODEFER};
        ours.sa_sigaction = on_fault;
        before = now;
        sigaction(SIGSEGV, &ours, NULL);
    }
}

void pinned_look(void) {
    int n = atomic_load(&n_noted);
    for (int i = 0; i < n && i < NOTED; i++) {
        uintptr_t address = atomic_exchange(&noted[i].address, 0);
        for (size_t u = 0; u < n_uses; u++) {
            const Use *use = &uses[u];
            if (address - use->address < use->bytes && (use->writes || noted[i].writes)) {
                report("the host %s byte %zu of the %zu that %s %s, before it has waited for that",
                       noted[i].writes ? "wrote" : "read", (size_t)(address - use->address),
                       use->bytes, use->op->label, use->writes ? "writes" : "reads");
                queue_break(use->op);
                break;
            }
        }
    }
    atomic_store(&n_noted, 0);
}

/* -- Protection -- */

static int page_protection(const Page *page) {
    return page->writers ? PROT_NONE : page->readers ? PROT_READ : PROT_READ | PROT_WRITE;
}

/* Of the pages that the bytes touch: as their uses have it. */
static void protect(uintptr_t address, size_t bytes) {
    size_t at = (address - first_page) / PAGE, end = (address + bytes - 1 - first_page) / PAGE + 1;
    while (at < end) {
        size_t from = at;
        int protection = page_protection(&pages[from]);
        while (at < end && page_protection(&pages[at]) == protection) {
            at++;
        }
        mprotect((void *)(first_page + from * PAGE), (at - from) * PAGE, protection);
    }
}

static void count(const Use *use, int by) {
    size_t at = (use->address - first_page) / PAGE;
    size_t last = (use->address + use->bytes - 1 - first_page) / PAGE;
    for (; at <= last; at++) {
        if (use->writes) {
            pages[at].writers = (uint16_t)(pages[at].writers + by);
        } else {
            pages[at].readers = (uint16_t)(pages[at].readers + by);
        }
    }
    if (!is_off) {
        protect(use->address, use->bytes);
    }
}

bool pinned_init(uintptr_t address, size_t bytes) {
    first_page = address;
    n_pages = bytes / PAGE;
    pages = mmap(NULL, n_pages * sizeof *pages, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pages != MAP_FAILED;
}

void pinned_use(Op *op, const void *memory, size_t bytes, bool writes) {
    if (!memory_is_pinned(memory) || bytes == 0) {
        return;
    }
    if (n_uses == cap_uses) {
        cap_uses = cap_uses ? cap_uses * 2 : 64;
        uses = realloc(uses, cap_uses * sizeof *uses);
        if (!uses) {
            abort();
        }
    }
    op->is_pinned = true;
    uses[n_uses] = (Use){.op = op, .address = (uintptr_t)memory, .bytes = bytes, .writes = writes};
    handler_install();
    count(&uses[n_uses++], 1);
}

void pinned_release(Op *op) {
    size_t kept = 0;
    for (size_t i = 0; op->is_pinned && i < n_uses; i++) {
        if (uses[i].op == op) {
            count(&uses[i], -1);
        } else {
            uses[kept++] = uses[i];
        }
    }
    n_uses = op->is_pinned ? kept : n_uses;
    op->is_pinned = false;
}

bool pinned_is_used(uintptr_t address, size_t bytes) {
    for (size_t i = 0; i < n_uses; i++) {
        if (uses[i].address < address + bytes && address < uses[i].address + uses[i].bytes) {
            report("pinned memory is freed while %s uses it", uses[i].op->label);
            return true;
        }
    }
    return false;
}

void pinned_open(const void *memory, size_t bytes) {
    if (memory_is_pinned(memory) && bytes > 0 && !is_off) {
        uintptr_t begin = (uintptr_t)memory / PAGE * PAGE;
        mprotect((void *)begin, (uintptr_t)memory + bytes - begin, PROT_READ | PROT_WRITE);
    }
}

void pinned_close(const void *memory, size_t bytes) {
    if (memory_is_pinned(memory) && bytes > 0 && !is_off) {
        protect((uintptr_t)memory, bytes);
    }
}

void pinned_off(void) {
    for (size_t i = 0; i < n_uses; i++) {
        pinned_open((const void *)uses[i].address, uses[i].bytes);
    }
    is_off = true;
}
