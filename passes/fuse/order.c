/* Fusion: the order that keeps groups free of cycles. Every group has a rank below those of all
 * that read it. A path from one group to another therefore runs through ranks between theirs alone,
 * and a merge only moves what lies between: what the lower of the two leads to goes behind them. */
#include "passes/fuse/fuse.h"

void fuse_order_init(Fuse *f) {
    int32_t n = (int32_t)f->units.count;
    f->order = ARENA_ARRAY(f->arena, int32_t, n + 1);
    f->pending = ARENA_ARRAY(f->arena, int32_t, n + 1);
    for (int32_t i = 0; i < n; i++) {
        f->order[i] = i; /* program order */
        f->groups[i].rank = i;
    }
}

/* Marks the groups that read `from` and have a rank below `limit`, and makes them pending. */
static void mark_readers(Fuse *f, int32_t from, int32_t limit) {
    const Group *group = &f->groups[from];
    for (size_t i = 0; i < group->units.count; i++) {
        const Unit *unit = &f->units.items[group->units.items[i]];
        for (size_t j = 0; j < unit->users.count; j++) {
            if (!f->units.items[unit->users.items[j]].is_live) {
                continue;
            }
            int32_t next = fuse_group(f, unit->users.items[j]);
            Group *reader = &f->groups[next];
            if (next != from && reader->rank < limit && reader->visited != f->stamp) {
                reader->visited = f->stamp;
                f->pending[f->n_pending++] = next;
            }
        }
    }
}

static bool reads(Fuse *f, int32_t reader, int32_t producer) {
    const Group *group = &f->groups[producer];
    for (size_t i = 0; i < group->units.count; i++) {
        const Unit *unit = &f->units.items[group->units.items[i]];
        for (size_t j = 0; j < unit->users.count; j++) {
            int32_t user = unit->users.items[j];
            if (f->units.items[user].is_live && fuse_group(f, user) == reader) {
                return true;
            }
        }
    }
    return false;
}

bool fuse_order_allows(Fuse *f, int32_t a, int32_t b) {
    bool forward = f->groups[a].rank < f->groups[b].rank;
    int32_t low = forward ? a : b, high = forward ? b : a;
    int32_t limit = f->groups[high].rank;
    f->stamp++;
    f->n_pending = 0;
    mark_readers(f, low, limit);
    for (int32_t i = 0; i < f->n_pending; i++) {
        if (reads(f, high, f->pending[i])) {
            return false;
        }
        mark_readers(f, f->pending[i], limit);
    }
    return true;
}

void fuse_order_merge(Fuse *f, int32_t into, int32_t from) {
    int32_t x = f->groups[into].rank, y = f->groups[from].rank;
    int32_t low = x < y ? x : y, high = x < y ? y : x;
    int32_t at = low, behind = 0;
    if (f->n_pending == 0) { /* nobody between them reads the lower one */
        f->order[low] = -1;
        f->order[high] = into;
        f->groups[into].rank = high;
        return;
    }
    for (int32_t i = low; i <= high; i++) {
        int32_t group = f->order[i];
        if (group < 0 || group == into || group == from) {
            continue;
        }
        if (f->groups[group].visited == f->stamp) {
            f->pending[behind++] = group;
        } else {
            f->order[at++] = group;
        }
    }
    f->order[at++] = into;
    for (int32_t i = 0; i < behind; i++) {
        f->order[at++] = f->pending[i];
    }
    for (int32_t i = low; i < at; i++) {
        f->groups[f->order[i]].rank = i;
    }
    while (at <= high) {
        f->order[at++] = -1; /* nobody */
    }
}

int32_t fuse_group(Fuse *f, int32_t unit) {
    int32_t group = f->units.items[unit].group;
    while (f->groups[group].merged_into >= 0) {
        group = f->groups[group].merged_into;
    }
    f->units.items[unit].group = group;
    return group;
}
