/* Fusion, second step: which units share a kernel. Greedy and in program order: a unit joins the
 * group that produces what it reads; then groups that read the same values are joined; then
 * producers that only one group reads are absorbed where recomputing them is cheap. No merge may
 * close a cycle between groups. */
#include "passes/fuse/fuse.h"

enum {
    MAX_UNITS = 100, /* of a group */
    MAX_REDUCE = 12,
    NEAR = 64,     /* units: beyond this a merge would keep values alive for too long */
    ROW_COST = 800 /* scalar work per element, over all passes of a row */
};

/* -- what a merged group would be */
typedef struct Merge {
    GroupKind kind;
    Space space, kept;
    uint32_t reduced;
} Merge;

static bool combine(const Group *a, const Group *b, Merge *out) {
    if (a->kind == GROUP_LOOP && b->kind != GROUP_LOOP) {
        const Group *swap = a;
        a = b;
        b = swap;
    }
    *out = (Merge){a->kind, a->space, a->kept, a->reduced};
    switch (a->kind) {
    case GROUP_LOOP:
    case GROUP_CONTRACT:
    case GROUP_CONV:
        return b->kind == GROUP_LOOP && space_equal(&a->space, &b->space);
    case GROUP_REDUCE:
        if (b->kind == GROUP_REDUCE) {
            return space_equal(&a->space, &b->space) && a->reduced == b->reduced;
        }
        return b->kind == GROUP_LOOP &&
               (space_equal(&a->space, &b->space) || space_equal(&a->kept, &b->space));
    default:
        return false;
    }
}

/* Whether the unit's value ranges over the full space of the merge (else over the kept one). */
static bool is_full(const Merge *merge, const Unit *unit) {
    return unit->kind != GROUP_REDUCE && space_equal(&unit->space, &merge->space);
}

static bool reads_full(const Merge *merge, const Unit *unit) {
    return unit->kind == GROUP_REDUCE || space_equal(&unit->space, &merge->space);
}

static bool picks(const Unit *unit) {
    return op_info(unit->op->code)->fusion == FUSION_PICK;
}

/* Whether one kernel over the merge's space can hand the value over. */
static bool edge_fits(const Merge *merge, const Unit *reader, const Unit *producer,
                      const Edge *edge) {
    if (reader->is_inlined || producer->is_inlined) {
        return true;
    }
    if (reader->kind == GROUP_CONTRACT || reader->kind == GROUP_CONV) {
        return false;
    }
    bool full = is_full(merge, producer);
    if (reads_full(merge, reader)) {
        return full ? map_is_same(&edge->map, merge->space.rank)
                    : map_is_kept(&edge->map, merge->space.rank, merge->reduced);
    }
    return full ? picks(reader) : map_is_same(&edge->map, reader->space.rank);
}

static bool edges_fit(Fuse *f, const Merge *merge, int32_t reader, int32_t producer) {
    const Group *group = &f->groups[reader];
    for (size_t i = 0; i < group->units.count; i++) {
        const Unit *unit = &f->units.items[group->units.items[i]];
        for (size_t j = 0; j < unit->reads.count; j++) {
            const Edge *edge = &unit->reads.items[j];
            if (edge->unit >= 0 && fuse_group(f, edge->unit) == producer &&
                !edge_fits(merge, unit, &f->units.items[edge->unit], edge)) {
                return false;
            }
        }
    }
    return true;
}

/* -- rows */
typedef struct RowNeed {
    bool needed;
    double cost; /* per element of the full space, once */
    int32_t passes;
} RowNeed;

static void row_need(Fuse *f, const Merge *merge, const int32_t *members, int32_t n_members,
                     RowNeed *out) {
    for (int32_t m = 0; m < n_members; m++) {
        const Group *group = &f->groups[members[m]];
        for (size_t i = 0; i < group->units.count; i++) {
            const Unit *unit = &f->units.items[group->units.items[i]];
            if (unit->is_inlined || !unit->is_live) {
                continue;
            }
            out->passes += unit->kind == GROUP_REDUCE;
            if (!reads_full(merge, unit)) {
                continue;
            }
            out->cost += unit->cost;
            for (size_t j = 0; j < unit->reads.count; j++) {
                int32_t from = unit->reads.items[j].unit;
                int32_t home = from >= 0 ? fuse_group(f, from) : -1;
                bool inside = false;
                for (int32_t other = 0; other < n_members; other++) {
                    inside = inside || members[other] == home;
                }
                out->needed = out->needed || (inside && !f->units.items[from].is_inlined &&
                                              !is_full(merge, &f->units.items[from]));
            }
            for (size_t j = 0; j < unit->users.count && unit->kind != GROUP_REDUCE; j++) {
                int32_t home = fuse_group(f, unit->users.items[j]);
                bool inside = false;
                for (int32_t other = 0; other < n_members; other++) {
                    inside = inside || members[other] == home;
                }
                out->needed =
                    out->needed || (!inside && f->units.items[unit->users.items[j]].is_live);
            }
        }
    }
}

static bool row_fits(const Fuse *f, const Merge *merge, const RowNeed *need) {
    const FusionMeasures *measures = &f->pass->machine->fusion;
    double total = space_elements(&merge->space), rows = space_elements(&merge->kept);
    if (need->cost * need->passes > ROW_COST) {
        return false;
    }
    bool last_reduced = merge->space.rank > 0 && (merge->reduced >> (merge->space.rank - 1) & 1);
    return total <= measures->small_space || (last_reduced && rows >= measures->least_rows);
}

bool fuse_needs_row(Fuse *f, int32_t index) {
    const Group *group = &f->groups[index];
    Merge merge = {group->kind, group->space, group->kept, group->reduced};
    RowNeed need = {0};
    row_need(f, &merge, &index, 1, &need);
    return group->kind == GROUP_REDUCE && need.needed;
}

/* -- merging */
static bool all_updates(Fuse *f, const Group *group) {
    for (size_t i = 0; i < group->units.count; i++) {
        if (!f->units.items[group->units.items[i]].is_update) {
            return false;
        }
    }
    return true;
}

static bool allowed(Fuse *f, int32_t a, int32_t b, Merge *merge) {
    const Group *x = &f->groups[a], *y = &f->groups[b];
    if (a == b || !combine(x, y, merge) || x->units.count + y->units.count > MAX_UNITS ||
        x->n_reduce + y->n_reduce > MAX_REDUCE) {
        return false;
    }
    int32_t gap = x->first > y->last ? x->first - y->last : y->first - x->last;
    if (gap > NEAR && !(all_updates(f, x) && all_updates(f, y))) {
        return false;
    }
    /* A weight gradient is written early; its update reads and writes the parameter late. */
    bool has_root = merge->kind == GROUP_CONTRACT || merge->kind == GROUP_CONV;
    if (has_root && all_updates(f, x->kind == GROUP_LOOP ? x : y)) {
        return false;
    }
    if (!edges_fit(f, merge, a, b) || !edges_fit(f, merge, b, a) || !fuse_library_allows(f, a, b)) {
        return false;
    }
    if (merge->kind == GROUP_REDUCE) {
        int32_t members[2] = {a, b};
        RowNeed need = {0};
        row_need(f, merge, members, 2, &need);
        /* Updates write over what they read, which kernels of rows cannot. */
        bool updates = all_updates(f, x) || all_updates(f, y);
        if (need.needed && (updates || !row_fits(f, merge, &need))) {
            return false;
        }
    }
    return fuse_order_allows(f, a, b);
}

/* Right after fuse_order_allows said so. */
static void join(Fuse *f, int32_t into, int32_t from, const Merge *merge) {
    fuse_order_merge(f, into, from);
    Group *a = &f->groups[into], *b = &f->groups[from];
    VEC(int32_t) units = {0};
    size_t i = 0, j = 0;
    while (i < a->units.count || j < b->units.count) {
        bool first =
            j == b->units.count || (i < a->units.count && a->units.items[i] < b->units.items[j]);
        VEC_PUSH(f->arena, &units, first ? a->units.items[i] : b->units.items[j]);
        *(first ? &i : &j) += 1;
    }
    a->units.items = units.items;
    a->units.count = units.count;
    a->units.capacity = units.capacity;
    a->kind = merge->kind;
    a->space = merge->space;
    a->kept = merge->kept;
    a->reduced = merge->reduced;
    a->first = a->first < b->first ? a->first : b->first;
    a->last = a->last > b->last ? a->last : b->last;
    a->n_reduce += b->n_reduce;
    b->merged_into = into;
}

static bool try_merge(Fuse *f, int32_t a, int32_t b) {
    Merge merge;
    if (!allowed(f, a, b, &merge)) {
        return false;
    }
    join(f, a < b ? a : b, a < b ? b : a, &merge);
    return true;
}

static int kind_rank(GroupKind kind) {
    return kind == GROUP_CONTRACT || kind == GROUP_CONV ? 0 : kind == GROUP_REDUCE ? 1 : 2;
}

/* A unit joins its producers: contractions first, then reductions, then loops. */
static void merge_producers(Fuse *f, int32_t unit) {
    for (int rank = 0; rank < 3; rank++) {
        for (size_t i = 0; i < f->units.items[unit].reads.count; i++) {
            int32_t producer = f->units.items[unit].reads.items[i].unit;
            if (producer < 0) {
                continue;
            }
            int32_t a = fuse_group(f, producer), b = fuse_group(f, unit);
            if (a != b && kind_rank(f->groups[a].kind) == rank) {
                try_merge(f, a, b);
            }
        }
    }
}

static void merge_plain(Fuse *f, int32_t a, int32_t b, bool only_reductions) {
    int32_t x = fuse_group(f, a), y = fuse_group(f, b);
    GroupKind kind = f->groups[x].kind, other = f->groups[y].kind;
    bool plain = (kind == GROUP_LOOP || kind == GROUP_REDUCE) &&
                 (other == GROUP_LOOP || other == GROUP_REDUCE);
    if (only_reductions) {
        plain = kind == GROUP_REDUCE && other == GROUP_REDUCE;
    }
    if (x != y && plain) {
        try_merge(f, x, y);
    }
}

/* Groups that range over one space and read one value, or, reductions, values of one group. */
static void merge_siblings(Fuse *f) {
    int32_t n_values = f->func->n_values, n_units = (int32_t)f->units.count;
    int32_t *last_reader = ARENA_ARRAY(f->arena, int32_t, n_values + n_units + 1);
    for (int32_t i = 0; i < n_values + n_units; i++) {
        last_reader[i] = -1;
    }
    for (int32_t u = 0; u < n_units; u++) {
        const Unit *unit = &f->units.items[u];
        if (!unit->is_live || (unit->kind != GROUP_LOOP && unit->kind != GROUP_REDUCE)) {
            continue;
        }
        for (size_t i = 0; i < unit->reads.count; i++) {
            const Edge *edge = &unit->reads.items[i];
            if (edge->value->type.rank == 0 || !map_is_same(&edge->map, unit->space.rank)) {
                continue;
            }
            int32_t *by_value = &last_reader[edge->value->id];
            if (*by_value >= 0) {
                merge_plain(f, *by_value, u, false);
            }
            *by_value = u;
            if (edge->unit >= 0 && unit->kind == GROUP_REDUCE) {
                int32_t *by_group = &last_reader[n_values + fuse_group(f, edge->unit)];
                if (*by_group >= 0) {
                    merge_plain(f, *by_group, u, true);
                }
                *by_group = u;
            }
        }
    }
}

/* -- absorbing */
/* The only group that reads any of the group's values; -1: several, or none. */
static int32_t only_reader(Fuse *f, int32_t index) {
    const Group *group = &f->groups[index];
    int32_t reader = -1;
    for (size_t i = 0; i < group->units.count; i++) {
        const Unit *unit = &f->units.items[group->units.items[i]];
        for (size_t j = 0; j < unit->users.count; j++) {
            int32_t user = unit->users.items[j];
            int32_t home = fuse_group(f, user);
            if (home == index || !f->units.items[user].is_live) {
                continue;
            }
            if (reader >= 0 && reader != home) {
                return -1;
            }
            reader = home;
        }
    }
    return reader;
}

typedef struct Absorb {
    double cost;     /* of one element of the producer */
    double readings; /* how often an element is computed, about */
    int32_t edges;
    bool root_reads; /* a contraction, convolution or other root reads it itself */
} Absorb;

static Absorb absorb_cost(Fuse *f, int32_t producer, int32_t reader) {
    Absorb absorb = {0};
    const Group *from = &f->groups[producer], *to = &f->groups[reader];
    for (size_t i = 0; i < from->units.count; i++) {
        absorb.cost += f->units.items[from->units.items[i]].cost;
    }
    double evaluations = 0;
    for (size_t i = 0; i < to->units.count; i++) {
        const Unit *unit = &f->units.items[to->units.items[i]];
        for (size_t j = 0; j < unit->reads.count && unit->is_live; j++) {
            const Edge *edge = &unit->reads.items[j];
            if (edge->unit < 0 || fuse_group(f, edge->unit) != producer) {
                continue;
            }
            Space space = fuse_space(edge->value->type);
            bool is_root = unit->kind == GROUP_CONTRACT || unit->kind == GROUP_CONV ||
                           unit->kind == GROUP_ROOT;
            absorb.root_reads = absorb.root_reads || is_root;
            absorb.edges++;
            double times = space_elements(is_root ? &space : &unit->space);
            if (unit->op->code == OP_fold || picks(unit)) {
                double own = space_elements(&space);
                times = times > own && unit->op->code == OP_fold ? own : times;
            }
            int32_t passes = to->kind == GROUP_REDUCE && !is_root ? to->n_reduce : 1;
            evaluations += times * (passes > 3 ? 3 : passes < 1 ? 1 : passes);
        }
    }
    double own = space_elements(&from->space);
    absorb.readings = own > 0 ? evaluations / own : evaluations;
    return absorb;
}

static bool worth_absorbing(Fuse *f, int32_t producer, int32_t reader) {
    const Group *from = &f->groups[producer], *to = &f->groups[reader];
    if (to->kind == GROUP_BARRIER || from->units.count + to->units.count > MAX_UNITS) {
        return false;
    }
    Absorb absorb = absorb_cost(f, producer, reader);
    if (from->space.rank == 0) {
        return absorb.cost <= 200; /* leaves every loop: once a tile */
    }
    if (absorb.root_reads) {
        bool cheap = to->kind == GROUP_CONV ? absorb.cost <= 0 : absorb.cost <= 3;
        return cheap && absorb.edges == 1 && absorb.readings <= 1.01;
    }
    return absorb.cost * (absorb.readings - 1) <= 4;
}

static void absorb(Fuse *f, int32_t producer) {
    Group *from = &f->groups[producer];
    if (from->merged_into >= 0 || from->kind != GROUP_LOOP ||
        !f->units.items[from->units.items[0]].is_live) {
        return;
    }
    int32_t reader = only_reader(f, producer);
    if (reader < 0 || !worth_absorbing(f, producer, reader) || fuse_library_takes(f, reader) ||
        !fuse_order_allows(f, producer, reader)) {
        return;
    }
    for (size_t i = 0; i < from->units.count; i++) {
        f->units.items[from->units.items[i]].is_inlined = true;
    }
    const Group *to = &f->groups[reader];
    Merge merge = {to->kind, to->space, to->kept, to->reduced};
    join(f, reader, producer, &merge);
}

void fuse_merge_all(Fuse *f) {
    fuse_order_init(f);
    for (size_t i = 0; i < f->units.count; i++) {
        const Unit *unit = &f->units.items[i];
        if (unit->is_live && (unit->kind == GROUP_LOOP || unit->kind == GROUP_REDUCE)) {
            merge_producers(f, (int32_t)i);
        }
    }
    merge_siblings(f);
    for (size_t i = f->units.count; i > 0; i--) {
        absorb(f, fuse_group(f, (int32_t)i - 1));
    }
}
