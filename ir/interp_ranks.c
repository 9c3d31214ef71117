/* The reference interpreter of all ranks at once: an Interp a rank, each on a thread of its own,
 * which meet at collectives. Nothing waits for ever: when every rank waits or has ended, or one
 * that is waited for has ended, that is an error which says who waits where. */
#include "ir/base/memory.h"
#include "ir/ops/collective.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

typedef enum RankState { RANK_RUNS, RANK_WAITS, RANK_ENDED } RankState;

typedef struct Rank {
    Interp interp; /* first: what a collective gets is its rank */
    struct Ranks *all;
    int64_t number;
    RankState state;
    const Op *op; /* at which it waits */
    MeshGroup group;
    bool has_met;
    const EvalTensor *const *args;
    EvalTensor *results;
    bool has_results;
    pthread_t thread;
    bool has_thread;
} Rank;

/* What the ranks share; the lock is held by whoever touches it, or the state of a rank. */
typedef struct Ranks {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    InterpRanks *run;
    Func *func;
    Rank *ranks;
    int64_t n;
    dlc_status status; /* of the first failure; then all stop */
} Ranks;

/* -- failures */

/* Keeps the first failure, and wakes all. */
static void stop(Ranks *all, const Rank *rank, dlc_status status, Place place, const char *text) {
    if (!all->status) {
        all->status = status;
        all->run->fault_place = place;
        all->run->fault_rank = rank->number;
        snprintf(all->run->message, sizeof(all->run->message), "%s", text);
    }
    pthread_cond_broadcast(&all->changed);
}

/* "rank 1 waits at `%3 = …` for rank 2, which has ended". */
static void stop_stuck(Ranks *all, const Rank *rank, const Rank *missing) {
    Str text;
    str_init(&text, all->run->allocator);
    str_addf(&text, "rank %lld waits at '", (long long)rank->number);
    op_print(rank->op, &text);
    str_addf(&text, "' for rank %lld, which ", (long long)missing->number);
    if (missing->state == RANK_ENDED) {
        str_add(&text, "has ended");
    } else {
        str_add(&text, "waits at '");
        op_print(missing->op, &text);
        str_add_char(&text, '\'');
    }
    stop(all, rank, DLC_ERROR_FAULT, rank->op->place, str_text(&text));
    str_finish(&text);
}

/* -- meeting */

static const Rank *member(const Ranks *all, const Rank *rank, int64_t number) {
    return &all->ranks[mesh_member(&all->run->shape, rank->group, rank->number, number)];
}

/* The first of the waiting rank's group that is not there; NULL: all are. */
static const Rank *first_missing(const Ranks *all, const Rank *rank) {
    int64_t n = mesh_group_ranks(&all->run->shape, rank->group);
    for (int64_t k = 0; k < n; k++) {
        const Rank *other = member(all, rank, k);
        if (other->state != RANK_WAITS || other->group != rank->group) {
            return other;
        }
    }
    return NULL;
}

/* A rank has stopped running: whether now nobody can go on, or somebody waits in vain. */
static void look_stuck(Ranks *all) {
    const Rank *waits = NULL;
    bool runs = false;
    for (int64_t i = 0; i < all->n; i++) {
        const Rank *rank = &all->ranks[i];
        runs |= rank->state == RANK_RUNS;
        if (rank->state != RANK_WAITS) {
            continue;
        }
        const Rank *missing = first_missing(all, rank);
        if (missing->state == RANK_ENDED) {
            stop_stuck(all, rank, missing);
            return;
        }
        waits = waits ? waits : rank;
    }
    if (waits && !runs) {
        stop_stuck(all, waits, first_missing(all, waits));
    }
}

/* All of the rank's group are there: makes their results and lets them go on. */
static void hold(Ranks *all, const Rank *rank) {
    CollectiveRank group[INTERP_MAX_RANKS];
    char text[sizeof(all->run->message)];
    int64_t n = mesh_group_ranks(&all->run->shape, rank->group);
    for (int64_t k = 0; k < n; k++) {
        Rank *other = (Rank *)member(all, rank, k);
        group[k] = (CollectiveRank){&other->interp, other->op, other->number};
    }
    if (!collective_agrees(group, n, text, sizeof(text))) {
        stop(all, rank, DLC_ERROR_FAULT, rank->op->place, text);
        return;
    }
    collective_run(group, n);
    for (int64_t k = 0; k < n; k++) {
        Rank *other = (Rank *)member(all, rank, k);
        other->has_met = true;
        other->state = RANK_RUNS;
    }
    pthread_cond_broadcast(&all->changed);
}

static dlc_status meet(Interp *interp, const Op *op) {
    Rank *rank = (Rank *)interp;
    Ranks *all = rank->all;
    pthread_mutex_lock(&all->lock);
    module_group_parse(all->func->module, op_over(op), &rank->group); /* the shape rule took it */
    rank->op = op;
    rank->has_met = false;
    rank->state = RANK_WAITS;
    if (!all->status && !first_missing(all, rank)) {
        hold(all, rank);
    } else if (!all->status) {
        look_stuck(all);
    }
    while (!rank->has_met && !all->status) {
        pthread_cond_wait(&all->changed, &all->lock);
    }
    dlc_status status = all->status;
    pthread_mutex_unlock(&all->lock);
    return status ? interp_fail(interp, op, "another rank failed") : DLC_OK;
}

static void *run_rank(void *argument) {
    Rank *rank = argument;
    Ranks *all = rank->all;
    dlc_status status = interp_run_numbered(&rank->interp, all->func, rank->args, rank->results);
    pthread_mutex_lock(&all->lock);
    rank->state = RANK_ENDED;
    rank->has_results = !status;
    if (status) {
        char text[sizeof(all->run->message)];
        snprintf(text, sizeof(text), "rank %lld: %s", (long long)rank->number,
                 rank->interp.message);
        stop(all, rank, status, rank->interp.fault_place, text);
    } else if (!all->status) {
        look_stuck(all);
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

/* -- the run */

static dlc_status refuse(InterpRanks *run, dlc_status status, const char *text) {
    snprintf(run->message, sizeof(run->message), "%s", text);
    return status;
}

/* Sets up rank i, whose dims are `values`. */
static bool rank_init(Ranks *all, int64_t i, int64_t *values) {
    const InterpRanks *run = all->run;
    const Module *module = all->func->module;
    Rank *rank = &all->ranks[i];
    for (int32_t k = 0; k < module->n_dims; k++) {
        values[k] = k < run->n_dims ? run->dim_values[k] : 0;
    }
    *rank = (Rank){.interp = {.context = run->context,
                              .allocator = run->allocator,
                              .dim_values = values,
                              .n_dims = module->n_dims,
                              .wide = run->wide,
                              .meet = meet},
                   .all = all,
                   .number = i};
    return mesh_bind(module, &run->shape, i, values);
}

static void run_threads(Ranks *all) {
    pthread_mutex_lock(&all->lock);
    for (int64_t i = 0; i < all->n; i++) {
        Rank *rank = &all->ranks[i];
        rank->has_thread = pthread_create(&rank->thread, NULL, run_rank, rank) == 0;
        if (!rank->has_thread) {
            rank->state = RANK_ENDED;
            stop(all, rank, DLC_ERROR_OUT_OF_MEMORY, (Place){0}, "no thread for a rank");
        }
    }
    pthread_mutex_unlock(&all->lock);
    for (int64_t i = 0; i < all->n; i++) {
        if (all->ranks[i].has_thread) {
            pthread_join(all->ranks[i].thread, NULL);
        }
    }
}

/* All results or none. */
static void finish_results(Ranks *all) {
    int32_t n_results = all->func->n_results;
    for (int64_t i = 0; all->status && i < all->n; i++) {
        for (int32_t k = 0; all->ranks[i].has_results && k < n_results; k++) {
            eval_tensor_finish(&all->ranks[i].results[k], all->run->allocator);
        }
    }
}

static dlc_status run_all(Ranks *all, int64_t *values, const EvalTensor *const *const *args,
                          EvalTensor *const *results) {
    for (int64_t i = 0; i < all->n; i++) {
        if (!rank_init(all, i, &values[i * all->func->module->n_dims])) {
            return refuse(all->run, DLC_ERROR_MISMATCH,
                          "the mesh does not fit the module's, or rows of a dim of ranks are "
                          "below 0 or leave 64 bits");
        }
        all->ranks[i].args = args[i];
        all->ranks[i].results = results[i];
    }
    if (pthread_mutex_init(&all->lock, NULL) != 0) {
        return refuse(all->run, DLC_ERROR_OUT_OF_MEMORY, "no lock for the ranks");
    }
    if (pthread_cond_init(&all->changed, NULL) != 0) {
        pthread_mutex_destroy(&all->lock);
        return refuse(all->run, DLC_ERROR_OUT_OF_MEMORY, "no condition for the ranks");
    }
    run_threads(all);
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
    finish_results(all);
    return all->status;
}

dlc_status interp_run_ranks(InterpRanks *run, Func *func, const EvalTensor *const *const *args,
                            EvalTensor *const *results) {
    Ranks all = {.run = run, .func = func};
    run->message[0] = '\0';
    run->fault_rank = -1;
    run->fault_place = (Place){0};
    if (!mesh_ranks(&run->shape, &all.n) || all.n > INTERP_MAX_RANKS) {
        return refuse(run, DLC_ERROR_INVALID_ARGUMENT, "the interpreter runs from 1 to 64 ranks");
    }
    func_renumber(func);
    size_t n_values = (size_t)all.n * (size_t)(func->module->n_dims + 1);
    all.ranks = raw_alloc(run->allocator, (size_t)all.n * sizeof(Rank));
    int64_t *values = raw_alloc(run->allocator, n_values * sizeof(int64_t));
    dlc_status status = all.ranks && values ? run_all(&all, values, args, results)
                                            : refuse(run, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
    raw_free(run->allocator, values);
    raw_free(run->allocator, all.ranks);
    return status;
}
