/* Ranks that dlrun starts itself. The process that starts them does nothing else: it has one
 * thread, opens nothing, and so may fork again after a failure. */
#include "tools/processes.h"
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How long the others have to end when one has failed: more than a rank that is cut off takes to be
 * noticed. */
static const double end_seconds = 30;
/* The same when not all have met: who waits for one that is gone does not hear of it. */
static const double meeting_seconds = 2;

/* -- What the processes share -- */

enum { SLOTS = 256, KEY_BYTES = 96, VALUE_BYTES = 1024, SAID = 64 };
typedef enum SlotState { SLOT_FREE = 0, SLOT_WRITTEN = 1, SLOT_READY = 2 } SlotState;

typedef struct Slot {
    atomic_int state; /* SlotState */
    char key[KEY_BYTES], value[VALUE_BYTES];
} Slot;

struct Shared {
    atomic_bool stepped;
    atomic_llong n_met;
    atomic_ullong said[SAID]; /* hashes of texts; 0: free */
    Slot slots[SLOTS];
};

bool shared_put(Shared *shared, const char *key, const char *value) {
    if (strlen(key) >= KEY_BYTES || strlen(value) >= VALUE_BYTES) {
        return false;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        Slot *slot = &shared->slots[i];
        int expected = SLOT_FREE;
        if (atomic_compare_exchange_strong(&slot->state, &expected, SLOT_WRITTEN)) {
            memcpy(slot->key, key, strlen(key) + 1);
            memcpy(slot->value, value, strlen(value) + 1);
            atomic_store(&slot->state, SLOT_READY);
            return true;
        }
    }
    return false;
}

bool shared_get(const Shared *shared, const char *key, char *out, size_t n_out) {
    for (size_t i = 0; i < SLOTS; i++) {
        const Slot *slot = &shared->slots[i];
        if (atomic_load(&slot->state) == SLOT_READY && strcmp(slot->key, key) == 0) {
            return snprintf(out, n_out, "%s", slot->value) < (int)n_out;
        }
    }
    return false;
}

bool shared_first(Shared *shared, const char *text) {
    unsigned long long hash = 14695981039346656037u; /* FNV-1a */
    for (const char *at = text; *at; at++) {
        hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    }
    hash |= 1;
    for (size_t i = 0; i < SAID; i++) {
        unsigned long long found = 0;
        if (atomic_compare_exchange_strong(&shared->said[i], &found, hash)) {
            return true;
        }
        if (found == hash) {
            return false;
        }
    }
    return true;
}

void shared_met(Shared *shared) {
    atomic_fetch_add(&shared->n_met, 1);
}

void shared_stepped(Shared *shared) {
    atomic_store(&shared->stepped, true);
}

/* -- Starting -- */

typedef struct Child {
    pid_t pid;                   /* 0: has ended */
    bool is_stopped, was_killed; /* killed: from here, after another's failure */
} Child;

/* All of one start. */
typedef struct Group {
    const ProcessesOptions *options;
    Child *children;
    Shared *shared;
    int64_t n_alive;
    int64_t failed;  /* rank of the first that failed; -1: none */
    int status;      /* exit status: the first that failed's, else the first that is not 0 */
    bool was_killed; /* it, by a signal */
    int interrupted; /* the signal that ended this process's wish to go on; 0: none */
    double kill_at;  /* 0: not yet */
} Group;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void send_all(const Group *g, int number) {
    for (int64_t i = 0; i < g->options->count; i++) {
        if (g->children[i].pid > 0) {
            kill(g->children[i].pid, number);
        }
    }
}

/* 0 in a child, 1 in the parent, -1: not all could be started. */
static int start_all(Group *g, const sigset_t *before, int64_t start, Process *out) {
    pid_t parent = getpid();
    fflush(NULL);
    for (int64_t i = 0; i < g->options->count; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            fprintf(stderr, "%s: rank %lld cannot be started: %s\n", g->options->program,
                    (long long)i, strerror(errno));
            return -1;
        }
        if (pid == 0) {
            if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
                _exit(1); /* it has gone already */
            }
            sigprocmask(SIG_SETMASK, before, NULL);
            *out = (Process){i, start, g->shared};
            return 0;
        }
        g->children[i] = (Child){.pid = pid};
        g->n_alive++;
    }
    return 1;
}

/* -- Waiting -- */

/* A rank that was killed is why others failed, also where they have ended before it: its
 * connections close first. */
static void child_ended(Group *g, int64_t rank, int how) {
    Child *child = &g->children[rank];
    bool killed = WIFSIGNALED(how) && !child->was_killed;
    int status = WIFSIGNALED(how) ? 128 + WTERMSIG(how) : WEXITSTATUS(how);
    if (status != 0 && status != 128 + SIGINT && !g->interrupted) {
        if (g->failed < 0 || (killed && !g->was_killed)) {
            g->failed = rank;
            g->status = status;
        }
        if (killed && !g->was_killed) {
            g->was_killed = true;
            fprintf(stderr, "%s: rank %lld (process %ld) was ended by signal %d (%s)\n",
                    g->options->program, (long long)rank, (long)child->pid, WTERMSIG(how),
                    strsignal(WTERMSIG(how)));
        }
    } else if (g->failed < 0 && g->status == 0) {
        g->status = status;
    }
    child->pid = 0;
    g->n_alive--;
}

/* Everyone who has ended, or has been stopped. */
static void reap(Group *g) {
    int how;
    pid_t pid;
    while ((pid = waitpid(-1, &how, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
        for (int64_t i = 0; i < g->options->count; i++) {
            if (g->children[i].pid == pid) {
                g->children[i].is_stopped = WIFSTOPPED(how);
                if (WIFEXITED(how) || WIFSIGNALED(how)) {
                    child_ended(g, i, how);
                }
            }
        }
    }
    if (g->failed >= 0 && g->kill_at == 0) {
        bool all_met = atomic_load(&g->shared->n_met) == g->options->count;
        g->kill_at = now() + (all_met ? end_seconds : meeting_seconds);
    }
}

/* After a failure: who has been stopped does not end by itself, and nobody has for ever. */
static void end_rest(Group *g) {
    for (int64_t i = 0; i < g->options->count; i++) {
        Child *child = &g->children[i];
        if (child->pid > 0 && (child->is_stopped || now() >= g->kill_at)) {
            fprintf(stderr, "%s: rank %lld (process %ld) %s: killed\n", g->options->program,
                    (long long)i, (long)child->pid,
                    child->is_stopped ? "has been stopped and does not go on"
                                      : "has not ended since another rank failed");
            kill(child->pid, SIGKILL);
            child->is_stopped = false;
            child->was_killed = true;
        }
    }
    if (now() >= g->kill_at) {
        g->kill_at = now() + end_seconds;
    }
}

static void on_signal(Group *g, int number) {
    if (number == SIGCHLD) {
        return;
    }
    /* From a terminal the ranks have had the first SIGINT too; SIGTERM only says it again. */
    send_all(g, g->interrupted && number == SIGINT ? SIGKILL : SIGTERM);
    g->interrupted = g->interrupted ? g->interrupted : number;
}

static void wait_all(Group *g, const sigset_t *signals) {
    for (reap(g); g->n_alive > 0; reap(g)) {
        double rest = g->kill_at > 0 ? g->kill_at - now() : 3600;
        rest = rest > 0 ? rest : 0;
        struct timespec time = {.tv_sec = (time_t)rest,
                                .tv_nsec = (long)((rest - (double)(time_t)rest) * 1e9)};
        int number = sigtimedwait(signals, NULL, &time);
        if (number > 0) {
            on_signal(g, number);
            reap(g);
        }
        if (g->failed >= 0) {
            end_rest(g);
        }
    }
}

/* -- All together -- */

/* Says so, and whether all are to be started once more. */
static bool starts_again(const Group *g, int64_t start) {
    const ProcessesOptions *options = g->options;
    if (g->failed < 0 || g->interrupted || g->status == 2 || options->restarts == 0) {
        return false;
    }
    if (start == options->restarts) {
        fprintf(stderr, "%s: rank %lld failed; no restart is left of %lld\n", options->program,
                (long long)g->failed, (long long)options->restarts);
        return false;
    }
    if (!atomic_load(&g->shared->stepped)) {
        fprintf(stderr,
                "%s: rank %lld failed before a step was done: starting again would not help\n",
                options->program, (long long)g->failed);
        return false;
    }
    fprintf(stderr,
            "%s: rank %lld failed; all ranks are started again from the last checkpoint in '%s' "
            "(restart %lld of %lld)\n",
            options->program, (long long)g->failed, options->checkpoint, (long long)start + 1,
            (long long)options->restarts);
    return true;
}

/* One start; -1: this is one of the processes. */
static int run_once(Group *g, const sigset_t *signals, const sigset_t *before, int64_t start,
                    Process *out) {
    int started = start_all(g, before, start, out);
    if (started == 0) {
        return -1;
    }
    if (started < 0) {
        send_all(g, SIGKILL);
        g->interrupted = SIGKILL;
    }
    wait_all(g, signals);
    if (started < 0) {
        return 1;
    }
    bool unsaid = g->status == 0 || g->status == 128 + SIGKILL; /* by the second SIGINT */
    return g->interrupted && unsaid ? 128 + g->interrupted : g->status;
}

/* What the process that waits is told instead of being ended by; children get `before` back. */
static void signals_block(sigset_t *signals, sigset_t *before) {
    struct sigaction hang_up, usual = {.sa_handler = SIG_DFL};
    sigemptyset(signals);
    sigaddset(signals, SIGCHLD);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGTERM);
    if (sigaction(SIGHUP, NULL, &hang_up) == 0 && hang_up.sa_handler != SIG_IGN) {
        sigaddset(signals, SIGHUP); /* not under nohup */
    }
    sigaction(SIGCHLD, &usual, NULL); /* who started this may have had it ignored */
    sigprocmask(SIG_BLOCK, signals, before);
}

int processes_run(const ProcessesOptions *options, Process *out) {
    sigset_t signals, before;
    Child *children = calloc((size_t)options->count, sizeof *children);
    int code = 1;
    bool again = children != NULL;
    signals_block(&signals, &before);
    for (int64_t start = 0; again; start++) {
        void *memory =
            mmap(NULL, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        Group group = {.options = options, .children = children, .shared = memory, .failed = -1};
        code = memory == MAP_FAILED ? 1 : run_once(&group, &signals, &before, start, out);
        if (code < 0) {
            free(children);
            return code; /* a rank, which keeps the shared memory */
        }
        again = memory != MAP_FAILED && starts_again(&group, start);
        if (memory == MAP_FAILED) {
            fprintf(stderr, "%s: no memory for processes to share\n", options->program);
        } else {
            munmap(memory, sizeof(Shared));
        }
    }
    free(children);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return code;
}
