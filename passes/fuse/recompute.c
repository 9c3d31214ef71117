/* Fusion, third step: values that other kernels would read from memory although they can be
 * computed again from what is in memory anyway, by a few operations: the reader does that, and the
 * value is not stored. Most of them are intermediate results of the forward pass that the backward
 * pass wants. */
#include "passes/fuse/fuse.h"

enum {
    MAX_COST = 40,      /* scalar work of computing one element again */
    MAX_LOOP_COST = 12, /* for values of plain maps, whose storing costs a kernel less */
    MAX_READERS = 4,
    MAX_ANCHORS = 16,
    MAX_CONE = 32,
    SMALL_VALUE = 2048 /* elements: not worth it */
};

typedef struct Cone {
    int32_t home; /* the group */
    double cost;
    int32_t units[MAX_CONE], n_units;
    const Value *anchors[MAX_ANCHORS]; /* values that must be in memory */
    int32_t forced[MAX_ANCHORS];       /* unit to store for it, or -1 */
    int32_t n_anchors;
} Cone;

static double value_bytes(Fuse *f, const Value *v) {
    return (double)size_nominal(type_elements(f->context, v->type), UNSET_SIZE) *
           dtype_bytes(v->type.dtype);
}

static bool add_anchor(Cone *cone, const Value *v, int32_t forced) {
    for (int32_t i = 0; i < cone->n_anchors; i++) {
        if (cone->anchors[i] == v) {
            return true;
        }
    }
    if (cone->n_anchors == MAX_ANCHORS) {
        return false;
    }
    cone->anchors[cone->n_anchors] = v;
    cone->forced[cone->n_anchors++] = forced;
    return true;
}

static bool is_stored(Fuse *f, int32_t index) {
    const Unit *unit = &f->units.items[index];
    if (unit->is_recomputed) {
        return false;
    }
    for (size_t i = 0; i < unit->users.count && !unit->is_forced; i++) {
        int32_t user = unit->users.items[i];
        if (f->units.items[user].is_live && fuse_group(f, user) != fuse_group(f, index)) {
            return true;
        }
    }
    return unit->is_forced;
}

static bool grow(Fuse *f, Cone *cone, int32_t index) {
    const Unit *unit = &f->units.items[index];
    for (int32_t i = 0; i < cone->n_units; i++) {
        if (cone->units[i] == index) {
            return true;
        }
    }
    bool is_map = op_is_scalar(unit->op->code) || unit->op->code == OP_cast;
    if (cone->n_units == MAX_CONE || unit->kind != GROUP_LOOP || !is_map) {
        return false;
    }
    cone->units[cone->n_units++] = index;
    cone->cost += unit->cost;
    for (size_t i = 0; i < unit->reads.count && cone->cost <= MAX_COST; i++) {
        const Edge *edge = &unit->reads.items[i];
        bool ok;
        if (edge->unit < 0) {
            ok = add_anchor(cone, edge->value, -1);
        } else if (fuse_group(f, edge->unit) != cone->home || is_stored(f, edge->unit)) {
            ok = !f->units.items[edge->unit].is_recomputed && add_anchor(cone, edge->value, -1);
        } else {
            const Unit *from = &f->units.items[edge->unit];
            const Group *home = &f->groups[cone->home];
            bool is_small = home->kind == GROUP_REDUCE && !from->is_inlined &&
                            (from->kind == GROUP_REDUCE || space_equal(&from->space, &home->kept));
            ok = is_small ? add_anchor(cone, edge->value, edge->unit) : grow(f, cone, edge->unit);
        }
        if (!ok) {
            return false;
        }
    }
    return cone->cost <= MAX_COST;
}

/* Readers outside the group, each once; false: one of them needs the value in memory. */
static bool collect_readers(Fuse *f, int32_t index, int32_t *readers, int32_t *out_count) {
    const Unit *unit = &f->units.items[index];
    int32_t home = fuse_group(f, index), count = 0;
    for (size_t i = 0; i < unit->users.count; i++) {
        const Unit *user = &f->units.items[unit->users.items[i]];
        int32_t group = fuse_group(f, unit->users.items[i]);
        if (!user->is_live || group == home) {
            continue;
        }
        GroupKind kind = f->groups[group].kind;
        bool takes = user->kind == GROUP_LOOP || user->kind == GROUP_REDUCE;
        bool in_prologue = user->is_inlined && kind != GROUP_LOOP && kind != GROUP_REDUCE;
        if (!takes || in_prologue || user->is_recomputed || fuse_library_takes(f, group)) {
            return false;
        }
        bool known = false;
        for (int32_t j = 0; j < count; j++) {
            known = known || readers[j] == group;
        }
        if (!known && count == MAX_READERS) {
            return false;
        }
        if (!known) {
            readers[count++] = group;
        }
    }
    *out_count = count;
    return count > 0;
}

static bool group_reads(Fuse *f, int32_t index, const Value *v) {
    const Group *group = &f->groups[index];
    for (size_t i = 0; i < group->units.count; i++) {
        const Unit *unit = &f->units.items[group->units.items[i]];
        for (size_t j = 0; j < unit->reads.count && unit->is_live; j++) {
            if (unit->reads.items[j].value == v) {
                return true;
            }
        }
    }
    return false;
}

/* Whether the value is in memory when the reader runs, whoever recomputes what. */
static bool stays_alive(Fuse *f, const Value *v, const Group *reader) {
    if (!v->op) {
        return true;
    }
    if (v->op->parent != f->block || v->op->id >= f->n_ids || f->unit_of[v->op->id] < 0) {
        return true;
    }
    const Unit *unit = &f->units.items[f->unit_of[v->op->id]];
    for (size_t i = 0; i < unit->users.count; i++) {
        const Unit *user = &f->units.items[unit->users.items[i]];
        if (user->is_live && unit->users.items[i] >= reader->first &&
            fuse_group(f, unit->users.items[i]) != fuse_group(f, f->unit_of[v->op->id])) {
            return true;
        }
    }
    return false;
}

/* Bytes that a reader would have to read, and to keep alive, in place of the value. */
static void new_bytes(Fuse *f, const Cone *cone, int32_t reader, double *out_read,
                      double *out_kept) {
    *out_read = *out_kept = 0;
    for (int32_t i = 0; i < cone->n_anchors; i++) {
        if (!group_reads(f, reader, cone->anchors[i])) {
            double bytes = value_bytes(f, cone->anchors[i]);
            *out_read += bytes;
            if (!stays_alive(f, cone->anchors[i], &f->groups[reader])) {
                *out_kept += bytes;
            }
        }
    }
}

static void consider(Fuse *f, int32_t index) {
    Unit *unit = &f->units.items[index];
    int32_t readers[MAX_READERS], n_readers;
    if (!unit->is_live || unit->kind != GROUP_LOOP || unit->is_inlined ||
        space_elements(&unit->space) < SMALL_VALUE ||
        !collect_readers(f, index, readers, &n_readers)) {
        return;
    }
    Cone cone = {.home = fuse_group(f, index)};
    if (!grow(f, &cone, index) ||
        (f->groups[cone.home].kind == GROUP_LOOP && cone.cost * n_readers > MAX_LOOP_COST)) {
        return;
    }
    double own = value_bytes(f, unit->op->results[0]);
    for (int32_t i = 0; i < n_readers; i++) {
        double read, kept;
        new_bytes(f, &cone, readers[i], &read, &kept);
        if (kept > 1.1 * own || read > 2.2 * own) {
            return;
        }
    }
    unit->is_recomputed = true;
    for (int32_t i = 0; i < cone.n_anchors; i++) {
        if (cone.forced[i] >= 0) {
            f->units.items[cone.forced[i]].is_forced = true;
        }
    }
}

void fuse_recompute(Fuse *f) {
    for (size_t i = 0; i < f->units.count; i++) {
        consider(f, (int32_t)i);
    }
}
