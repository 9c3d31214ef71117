/* What a rank does with the others: the communicator that they meet in, collectives of a plan, and
 * what they must know of each other before any of them stores. A collective works in the host's
 * memory: of a device that has its own, by way of staging memory. */
#include "runtime/session/rank.h"

#include "ir/base/checked.h"
#include "runtime/journal/journal.h"

#include <inttypes.h>
#include <stdio.h>

/* -- Beginning and end -- */

/* The ranks of the group that this one is in; `out`: of all ranks of the group. */
static void members_list(const Rank *rank, MeshGroup group, int32_t *out) {
    const MeshShape *shape = &rank->place.shape;
    int64_t n = mesh_group_ranks(shape, group);
    for (int64_t i = 0; i < n; i++) {
        out[i] = (int32_t)mesh_member(shape, group, rank->place.number, i);
    }
}

dlc_status exchange_create(Rank *rank) {
    const PlanTables *tables = rank->tables;
    const dlc_allocator *allocator = &rank->context->allocator;
    size_t n = (size_t)tables->n_collectives;
    int64_t n_ranks = 1;
    (void)mesh_ranks(&rank->place.shape, &n_ranks);
    rank->groups = memory_new(allocator, n, sizeof(CommGroup));
    rank->members = memory_new(allocator, n, sizeof(int32_t *));
    rank->exchanged = memory_new(allocator, (size_t)rank->max_refs, sizeof(CommBuffer));
    rank->exchanged_bytes = memory_new(allocator, (size_t)rank->max_refs, sizeof(int64_t));
    rank->words =
        memory_new(allocator, (size_t)(rank->n_ranks + 1), EXCHANGE_WORDS * sizeof(int64_t));
    if (!rank->groups || !rank->members || !rank->exchanged || !rank->exchanged_bytes ||
        !rank->words) {
        return context_out_of_memory(rank->context);
    }
    const int32_t *known[1 << MESH_MAX_AXES] = {NULL}; /* by group */
    for (int64_t i = 0; i < tables->n_collectives; i++) {
        MeshGroup group = tables->collectives[i].group;
        if (!known[group]) {
            rank->members[i] = memory_new(allocator, (size_t)n_ranks, sizeof(int32_t));
            if (!rank->members[i]) {
                return context_out_of_memory(rank->context);
            }
            members_list(rank, group, rank->members[i]);
            known[group] = rank->members[i];
        }
        rank->groups[i] =
            (CommGroup){known[group], (int32_t)mesh_group_ranks(&rank->place.shape, group)};
    }
    return DLC_OK;
}

void exchange_destroy(Rank *rank) {
    const dlc_allocator *allocator = &rank->context->allocator;
    for (int64_t i = 0; rank->members && i < rank->tables->n_collectives; i++) {
        memory_free(allocator, rank->members[i]);
    }
    memory_free(allocator, rank->members);
    memory_free(allocator, rank->groups);
    memory_free(allocator, rank->exchanged);
    memory_free(allocator, rank->exchanged_bytes);
    memory_free(allocator, rank->words);
    rank->members = NULL;
    rank->groups = NULL;
}

/* -- Calls -- */

/* For command `at` of the running entry (-1: for none); a failure of the communicator is one of
 * another rank, or of all. */
static dlc_status call_run(Rank *rank, const CommCall *call, int32_t at) {
    journal_meets(rank->journal, at, comm_kind_name(call->kind), call->name);
    dlc_status status = comm_run(rank->comm, call);
    if (status == DLC_OK) {
        journal_note(rank->journal, JOURNAL_MET, NULL);
        return DLC_OK;
    }
    return exchange_failed(rank, status);
}

dlc_status exchange_failed(Rank *rank, dlc_status status) {
    const char *folder = journal_folder(rank->journal), *error = rank->comm->error;
    bool stalls = status == DLC_ERROR_LIMIT && folder && !strstr(error, "explain-hang");
    rank->is_stopped = true;
    return stalls ? context_fail(rank->context, status,
                                 "%s (the ranks' journals: dlrun explain-hang %s)", error, folder)
                  : context_fail(rank->context, status, "%s", error);
}

dlc_status exchange_call(Rank *rank, const CommCall *call) {
    dlc_status status = call_run(rank, call, -1);
    if (status != DLC_OK) {
        journal_note(rank->journal, JOURNAL_STOPS, rank->context->error);
    }
    return status;
}

bool exchange_overlap(const void *a, int64_t a_bytes, const void *b, int64_t b_bytes) {
    const uint8_t *one = a, *other = b;
    return a_bytes > 0 && b_bytes > 0 && one < other + b_bytes && other < one + a_bytes;
}

/* Bytes of ref `r` of the collective; its layout has found them sound. */
static int64_t ref_bytes(const Layout *layout, const PlanCommand *command, int32_t r) {
    int64_t bytes = 0;
    (void)plan_eval(layout->file, layout->tables->refs[command->first_ref + r].bytes, layout->vars,
                    &bytes);
    return bytes;
}

CommBuffer exchange_buffer(const Layout *layout, const PlanCommand *command, int32_t r,
                           const int64_t *sizes) {
    const PlanCollective *collective = &layout->tables->collectives[command->collective];
    const PlanRef *to = &layout->tables->refs[command->first_ref + r];
    sizes += LAYOUT_EXCHANGE * (r / 2);
    CommBuffer buffer = {
        .dtype = to->written - 1, .outer = 1, .rows = sizes[LAYOUT_ELEMENTS], .unit = 1};
    if (collective->rows.count > 0) {
        buffer.outer = sizes[LAYOUT_OUTER];
        buffer.rows = sizes[LAYOUT_ROWS];
        buffer.unit = sizes[LAYOUT_UNIT];
    }
    if (collective->kind == PLAN_ALL_TO_ALL) {
        buffer.middle = sizes[LAYOUT_MIDDLE];
        buffer.split_rows = sizes[LAYOUT_SPLIT_ROWS];
        buffer.split_first = collective->split_first != 0;
    }
    return buffer;
}

CommKind exchange_kind(const PlanCollective *collective) {
    static const CommKind kinds[PLAN_N_COLLECTIVE_KINDS] = {
        [PLAN_ALL_REDUCE] = COMM_ALL_REDUCE,
        [PLAN_ALL_GATHER] = COMM_ALL_GATHER,
        [PLAN_REDUCE_SCATTER] = COMM_REDUCE_SCATTER,
        [PLAN_ALL_TO_ALL] = COMM_ALL_TO_ALL,
        [PLAN_SHIFT] = COMM_SHIFT,
    };
    return kinds[collective->kind];
}

/* Operands to the host (or, `back`, results from it), one behind another in the staging memory. */
static dlc_status stage(Rank *rank, const Layout *layout, const PlanCommand *command,
                        uint8_t *const *addresses, bool back) {
    int64_t at = 0;
    dlc_status status = DLC_OK;
    for (int32_t r = 0; r < command->n_refs && status == DLC_OK; r++) {
        CommBuffer *buffer = &rank->exchanged[r / 2];
        int64_t bytes = ref_bytes(layout, command, r);
        uint8_t *host = (uint8_t *)rank->staging + at;
        at += layout_round(bytes);
        if (r % 2 == 0) {
            buffer->out = host;
            status = back ? rank_write(rank, addresses[r], host, bytes) : DLC_OK;
        } else {
            buffer->in = host;
            status = back ? DLC_OK : rank_read(rank, host, addresses[r], bytes);
        }
    }
    return status;
}

bool exchange_staging(const Layout *layout, const PlanCommand *command, int64_t *out) {
    bool fits = true;
    *out = 0;
    for (int32_t r = 0; r < command->n_refs && fits; r++) {
        fits = checked_add(*out, layout_round(ref_bytes(layout, command, r)), out);
    }
    return fits;
}

static dlc_status staging_make(Rank *rank, const Layout *layout, const PlanCommand *command) {
    int64_t bytes;
    void *staging;
    return exchange_staging(layout, command, &bytes) ? rank_staging(rank, bytes, &staging)
                                                     : context_out_of_memory(rank->context);
}

/* Results and operands must not overlap, but that what all combine may lie over its operand. */
static bool apart(const Rank *rank, const Layout *layout, const PlanCommand *command) {
    bool combined = layout->tables->collectives[command->collective].kind == PLAN_ALL_REDUCE;
    for (int32_t r = 0; r < command->n_refs; r += 2) {
        const CommBuffer *buffer = &rank->exchanged[r / 2];
        bool same = combined && buffer->in == buffer->out;
        if (!same && exchange_overlap(buffer->in, rank->exchanged_bytes[r + 1], buffer->out,
                                      rank->exchanged_bytes[r])) {
            return false;
        }
    }
    return true;
}

dlc_status exchange_prepare(Rank *rank, const Layout *layout, const PlanCommand *command,
                            const int64_t *sizes, uint8_t *const *addresses, CommCall *out) {
    const PlanCollective *collective = &layout->tables->collectives[command->collective];
    for (int32_t r = 0; r < command->n_refs; r += 2) {
        CommBuffer *buffer = &rank->exchanged[r / 2];
        *buffer = exchange_buffer(layout, command, r, sizes);
        buffer->out = addresses[r];
        buffer->in = addresses[r + 1];
        rank->exchanged_bytes[r] = ref_bytes(layout, command, r);
        rank->exchanged_bytes[r + 1] = ref_bytes(layout, command, r + 1);
    }
    if (!apart(rank, layout, command)) {
        return context_fail(rank->context, DLC_ERROR_FORMAT, "%s: an exchange over its operand",
                            rank->file->name);
    }
    *out = (CommCall){.kind = exchange_kind(collective),
                      .combine = (CommCombine)collective->combine,
                      .number = collective->by,
                      .group = rank->groups[command->collective],
                      .buffers = rank->exchanged,
                      .n_buffers = command->n_refs / 2,
                      .name = plan_text(rank->file, command->place)};
    return DLC_OK;
}

dlc_status exchange_run(Rank *rank, const Layout *layout, const PlanCommand *command,
                        uint8_t *const *addresses, const CommCall *call) {
    dlc_status status = DLC_OK;
    if (!rank->ops->is_host) {
        status = staging_make(rank, layout, command);
        if (status == DLC_OK) {
            status = stage(rank, layout, command, addresses, false);
        }
    }
    if (status == DLC_OK) {
        const PlanCommand *first = rank->tables->commands + rank->running->record->first_command;
        status = call_run(rank, call, (int32_t)(command - first));
    }
    return status == DLC_OK && !rank->ops->is_host ? stage(rank, layout, command, addresses, true)
                                                   : status;
}

/* -- What all must know -- */

dlc_status exchange_gather(Rank *rank, const char *what, const void *own, void *all, int64_t n) {
    const CommBuffer buffer = {
        .in = own, .out = all, .dtype = PLAN_I64, .outer = 1, .rows = rank->n_ranks, .unit = n};
    const CommCall call = {
        .kind = COMM_ALL_GATHER, .buffers = &buffer, .n_buffers = 1, .name = what};
    return call_run(rank, &call, -1);
}

/* Ranks that are at other steps, or at other sizes, have not made the same calls. */
static dlc_status same_step(Rank *rank, const int64_t *all) {
    for (int32_t r = 1; r < rank->n_ranks; r++) {
        const int64_t *word = all + (int64_t)r * EXCHANGE_WORDS;
        if (word[WORD_STEP] == all[WORD_STEP] && word[WORD_BINDING] == all[WORD_BINDING]) {
            continue;
        }
        bool at_step = word[WORD_STEP] == all[WORD_STEP];
        rank->has_agreed = true;
        return context_fail(
            rank->context, DLC_ERROR_MISMATCH,
            "ranks do not do the same: rank %d is at step %" PRId64 ", rank 0 at step %" PRId64
            "%s; nothing was stored. All ranks make the same calls in the same "
            "order, with the same counters and dims",
            (int)r, word[WORD_STEP], all[WORD_STEP], at_step ? ", on other sizes" : "");
    }
    return DLC_OK;
}

dlc_status exchange_agree(Rank *rank, const KernelFault *own, bool *ok) {
    int64_t *mine = rank->words, *all = rank->words + EXCHANGE_WORDS;
    mine[WORD_SITE] = own->site;
    mine[WORD_VALUE] = own->value;
    mine[WORD_BOUND] = own->bound;
    mine[WORD_OK] = *ok;
    mine[WORD_STEP] = rank->step;
    mine[WORD_BINDING] = (int64_t)rank->binding;
    dlc_status status = exchange_gather(rank, "before it stores", mine, all, EXCHANGE_WORDS);
    if (status == DLC_OK) {
        status = same_step(rank, all);
    }
    for (int32_t r = 0; status == DLC_OK && r < rank->n_ranks; r++) {
        const int64_t *word = all + (int64_t)r * EXCHANGE_WORDS;
        *ok = *ok && word[WORD_OK] != 0;
        if (word[WORD_SITE] != 0) {
            const KernelFault fault = {word[WORD_SITE], word[WORD_VALUE], word[WORD_BOUND]};
            rank->has_agreed = true;
            return fault_report(rank, &fault);
        }
    }
    return status;
}

dlc_status exchange_end(Rank *rank) {
    const CommCall call = {.kind = COMM_BARRIER, .name = "the end of the run"};
    return call_run(rank, &call, -1);
}
