/* Exchanges that go on while their rank computes: started where the schedule has them, and waited
 * for where a command needs what they give. Those of one rank are a queue of their own beside the
 * device's: an event that one of the second queue signals stands for all exchanges that were
 * started before it. They work in the host's memory, so a device that has its own does each in its
 * place (exchange_run). */
#include "runtime/session/rank.h"

#include "runtime/journal/journal.h"
#include "runtime/session/trace.h"

enum { MOST_STARTED = COMM_MAX_STARTED / 2 }; /* the others are for what ranks tell each other */

typedef struct Started {
    CommRequest *request;
    CommCall call; /* with `buffers`: the communicator has them until it has been waited for */
    CommBuffer *buffers;
    int64_t *bytes;  /* of each buffer's operand and result */
    int32_t command; /* of the running entry */
    double began;    /* clock_seconds, where a trace is written */
} Started;

struct StartedExchanges {
    Started slots[MOST_STARTED];   /* number n is in slot n mod MOST_STARTED */
    int64_t n_started, n_finished; /* in this order */
    CommBuffer *buffers;           /* all slots' */
    int64_t *bytes;
};

/* -- Beginning and end */

/* The most pairs of refs of an exchange that goes on while others run; 0: there is none. */
static int32_t most_pairs(const PlanTables *tables) {
    int32_t most = 0;
    for (int64_t i = 0; i < tables->n_commands; i++) {
        const PlanCommand *command = &tables->commands[i];
        bool counts = command->kind == PLAN_COLLECTIVE && command->queue > 0;
        most = counts && command->n_refs / 2 > most ? command->n_refs / 2 : most;
    }
    return most;
}

dlc_status started_create(Rank *rank) {
    const dlc_allocator *allocator = &rank->context->allocator;
    size_t pairs = (size_t)most_pairs(rank->tables);
    if (pairs == 0 || !rank->is_of_many || !rank->ops->is_host) {
        return DLC_OK;
    }
    StartedExchanges *all = memory_new(allocator, 1, sizeof(*all));
    rank->started = all;
    if (!all) {
        return context_out_of_memory(rank->context);
    }
    all->buffers = memory_new(allocator, pairs * MOST_STARTED, sizeof(*all->buffers));
    all->bytes = memory_new(allocator, pairs * MOST_STARTED, 2 * sizeof(*all->bytes));
    if (!all->buffers || !all->bytes) {
        return context_out_of_memory(rank->context);
    }
    for (size_t i = 0; i < MOST_STARTED; i++) {
        all->slots[i].buffers = all->buffers + i * pairs;
        all->slots[i].bytes = all->bytes + 2 * i * pairs;
    }
    return DLC_OK;
}

void started_destroy(Rank *rank) {
    StartedExchanges *all = rank->started;
    if (all) {
        memory_free(&rank->context->allocator, all->buffers);
        memory_free(&rank->context->allocator, all->bytes);
        memory_free(&rank->context->allocator, all);
        rank->started = NULL;
    }
}

bool started_may(const Rank *rank, const PlanCommand *command) {
    return rank->started && command->queue > 0 && !rank->orders->poison && !rank->replaying;
}

/* -- Waiting */

static void forget(StartedExchanges *all) {
    all->n_finished = all->n_started;
}

static dlc_status first_finish(Rank *rank) {
    StartedExchanges *all = rank->started;
    Started *first = &all->slots[all->n_finished++ % MOST_STARTED];
    journal_awaits(rank->journal, first->command, comm_kind_name(first->call.kind),
                   first->call.name);
    dlc_status status = comm_wait(rank->comm, first->request);
    if (status != DLC_OK) {
        forget(all);
        return exchange_failed(rank, status);
    }
    journal_note(rank->journal, JOURNAL_MET, NULL);
    return trace_exchange(rank, first->command, first->began);
}

/* The first `number` of all. */
static dlc_status started_finish(Rank *rank, int64_t number) {
    StartedExchanges *all = rank->started;
    dlc_status status = DLC_OK;
    while (all && status == DLC_OK && all->n_finished < number) {
        status = first_finish(rank);
    }
    return status;
}

dlc_status started_await(Rank *rank, const EntryState *entry, const PlanCommand *command) {
    const StartedExchanges *all = rank->started;
    if (!all || all->n_finished == all->n_started) {
        return DLC_OK;
    }
    int64_t number = 0;
    if (command->queue > 0 && command->kind != PLAN_COLLECTIVE) {
        number = all->n_started;
    }
    for (int32_t w = 0; w < command->n_waits; w++) {
        int64_t of = entry->stands_for[rank->tables->waits[command->first_wait + w]];
        number = of > number ? of : number;
    }
    return started_finish(rank, number);
}

void started_signal(const Rank *rank, EntryState *entry, const PlanCommand *command) {
    if (rank->started && command->queue > 0 && command->signal >= 0) {
        entry->stands_for[command->signal] = rank->started->n_started;
    }
}

dlc_status started_end(Rank *rank, dlc_status status) {
    if (!rank->started) {
        return status;
    }
    if (status == DLC_OK) {
        return started_finish(rank, rank->started->n_started);
    }
    if (rank->has_agreed && !rank->is_stopped) {
        /* All ranks end here in the same error, and the communicator goes on. */
        rank->has_agreed = started_finish(rank, rank->started->n_started) == DLC_OK;
    }
    forget(rank->started);
    return status;
}

/* -- Starting */

/* Whether one writes what the other reads or writes. */
static bool conflict(const Started *a, const Started *b) {
    for (int32_t i = 0; i < a->call.n_buffers; i++) {
        const CommBuffer *x = &a->buffers[i];
        const int64_t *x_bytes = a->bytes + 2 * i;
        for (int32_t k = 0; k < b->call.n_buffers; k++) {
            const CommBuffer *y = &b->buffers[k];
            const int64_t *y_bytes = b->bytes + 2 * k;
            if (exchange_overlap(x->out, x_bytes[0], y->out, y_bytes[0]) ||
                exchange_overlap(x->out, x_bytes[0], y->in, y_bytes[1]) ||
                exchange_overlap(x->in, x_bytes[1], y->out, y_bytes[0])) {
                return true;
            }
        }
    }
    return false;
}

/* What stands on one queue is in order, so that one whose memory an earlier one still uses waits
 * for it. */
static dlc_status in_order(Rank *rank, const Started *fresh) {
    StartedExchanges *all = rank->started;
    int64_t last = all->n_started - MOST_STARTED + 1; /* leaves a slot */
    for (int64_t n = all->n_finished; n < all->n_started; n++) {
        last = conflict(&all->slots[n % MOST_STARTED], fresh) ? n + 1 : last;
    }
    return started_finish(rank, last);
}

dlc_status started_begin(Rank *rank, const CommCall *call, int32_t command) {
    StartedExchanges *all = rank->started;
    size_t n = (size_t)call->n_buffers;
    const Started given = {
        .call = *call, .buffers = rank->exchanged, .bytes = rank->exchanged_bytes};
    dlc_status status = in_order(rank, &given);
    if (status != DLC_OK) {
        return status;
    }
    Started *started = &all->slots[all->n_started % MOST_STARTED];
    memcpy(started->buffers, call->buffers, n * sizeof(*call->buffers));
    memcpy(started->bytes, rank->exchanged_bytes, 2 * n * sizeof(*started->bytes));
    started->call = *call;
    started->call.buffers = started->buffers;
    started->command = command;
    started->began = rank->trace ? clock_seconds() : 0;
    journal_starts(rank->journal, command, comm_kind_name(call->kind), call->name);
    status = comm_start(rank->comm, &started->call, &started->request);
    if (status != DLC_OK) {
        return exchange_failed(rank, status);
    }
    all->n_started++;
    return DLC_OK;
}
