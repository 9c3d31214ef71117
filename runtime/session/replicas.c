/* Whether what ranks keep several times is the same everywhere, to the bit: parameters, states,
 * slots and caches that are not cut, or are cut alike. Only hashes travel. Whatever lets one copy
 * drift – a gradient that was not summed on one axis, memory that flips – is found here and
 * nowhere else: losses go on to fall. */
#include "runtime/session/session.h"

#include <inttypes.h>

/* Of eight bytes at a time in four lanes: as fast as memory is read. */
static uint64_t memory_hash(const uint8_t *bytes, int64_t n) {
    uint64_t lanes[4] = {0x9e3779b97f4a7c15u, 0xbf58476d1ce4e5b9u, 0x94d049bb133111ebu,
                         0xff51afd7ed558ccdu};
    int64_t at = 0;
    for (; at + 32 <= n; at += 32) {
        uint64_t words[4];
        memcpy(words, bytes + at, sizeof(words));
        for (int i = 0; i < 4; i++) {
            lanes[i] = (lanes[i] ^ words[i]) * 0xff51afd7ed558ccdu;
            lanes[i] ^= lanes[i] >> 29;
        }
    }
    return hash_bytes(lanes, sizeof(lanes), hash_bytes(bytes + at, (size_t)(n - at), (uint64_t)n));
}

/* The first rank that has the same part of the variable. */
static int32_t first_alike(const Rank *rank, const PlanPart *part, int32_t number) {
    MeshGroup cut = place_part_group(rank->file, part);
    int64_t wanted = mesh_coordinate(&rank->place.shape, cut, number);
    int32_t first = 0;
    while (mesh_coordinate(&rank->place.shape, cut, first) != wanted) {
        first++;
    }
    return first;
}

static dlc_status variables_hash(Rank *rank, uint64_t *out) {
    dlc_status status = DLC_OK;
    for (int64_t v = 0; v < rank->n_variables && status == DLC_OK; v++) {
        const Variable *variable = &rank->variables[v];
        const void *host = NULL;
        out[v] = 0;
        if (variable->data) {
            status = rank_host(rank, variable->data, variable->bytes, &host);
        }
        if (status == DLC_OK && variable->data) {
            out[v] = memory_hash(host, variable->bytes);
        }
    }
    return status;
}

/* all: hashes by rank and variable. */
static dlc_status replicas_compare(Rank *rank, const uint64_t *all) {
    int64_t n = rank->n_variables, n_bad = 0, variable = -1;
    int32_t bad_rank = 0, bad_first = 0;
    for (int64_t v = 0; v < n; v++) {
        const PlanVariable *record = rank->variables[v].record;
        bool is_bad = false;
        for (int32_t r = 1; r < rank->n_ranks && !is_bad; r++) {
            int32_t first = first_alike(rank, &record->part, r);
            is_bad = all[r * n + v] != all[first * n + v];
            if (is_bad && variable < 0) {
                variable = v;
                bad_rank = r;
                bad_first = first;
            }
        }
        n_bad += is_bad;
    }
    if (variable < 0) {
        return DLC_OK;
    }
    return context_fail(rank->context, DLC_ERROR_MISMATCH,
                        "ranks have not the same: after step %" PRId64
                        " '%s' of rank %d has not the bits that rank %d has (%" PRId64
                        " of %" PRId64 " variables differ): a rank began with others, was given "
                        "others, or computes wrong; go on from a checkpoint",
                        orders_counter(rank->orders, "step"),
                        plan_text(rank->file, rank->variables[variable].record->name),
                        (int)bad_rank, (int)bad_first, n_bad, n);
}

dlc_status rank_replicas_check(Rank *rank) {
    const dlc_allocator *allocator = &rank->context->allocator;
    size_t n = (size_t)rank->n_variables;
    uint64_t *own = memory_new(allocator, n + 1, sizeof(*own));
    uint64_t *all = memory_new(allocator, n * (size_t)rank->n_ranks + 1, sizeof(*all));
    dlc_status status = own && all ? DLC_OK : context_out_of_memory(rank->context);
    if (status == DLC_OK) {
        status = variables_hash(rank, own);
    }
    if (status == DLC_OK) {
        status = exchange_gather(rank, "whether replicas are the same", own, all, (int64_t)n);
    }
    if (status == DLC_OK) {
        status = replicas_compare(rank, all);
        rank->has_agreed = status != DLC_OK;
    }
    memory_free(allocator, own);
    memory_free(allocator, all);
    return status;
}
