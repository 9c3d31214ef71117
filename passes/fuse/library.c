/* Fusion for machines with vendors' libraries: a large product stays by itself, with no more in its
 * kernel than a library can be asked for (passes/library/ says what that is). Small ones fuse as
 * everywhere: there a launch more costs more than a faster product gains. */
#include "passes/fuse/fuse.h"

#include "passes/library/library.h"

enum { MOST_USERS = 48 /* units behind a product that are looked at */ };

static int32_t unit_of_op(const Fuse *f, const Op *op) {
    return op->parent == f->block && op->id < f->n_ids ? f->unit_of[op->id] : -1;
}

static bool holds(const int32_t *list, int32_t count, int32_t unit) {
    for (int32_t i = 0; i < count; i++) {
        if (list[i] == unit) {
            return true;
        }
    }
    return false;
}

/* The product's unit, then units that read its value or what was made of it, in order. */
static int32_t units_behind(const Fuse *f, int32_t product, int32_t out[MOST_USERS]) {
    int32_t count = 0;
    out[count++] = product;
    for (int32_t i = 0; i < count; i++) {
        const Unit *unit = &f->units.items[out[i]];
        for (size_t j = 0; j < unit->users.count && count < MOST_USERS; j++) {
            int32_t user = unit->users.items[j];
            const Unit *reader = &f->units.items[user];
            if (reader->is_live && reader->kind == GROUP_LOOP && !reader->is_update &&
                !holds(out, count, user)) {
                out[count++] = user;
            }
        }
    }
    return count;
}

/* The units of the match; false: one of them but the last is wanted by others too, or an operand is
 * not in memory. */
static bool match_units(const Fuse *f, const LibraryMatch *match, int32_t last, int32_t *units,
                        int32_t *out_count) {
    int32_t count = 0;
    for (int32_t i = 0; i < match->n_ops; i++) {
        int32_t unit = unit_of_op(f, match->ops[i]);
        if (unit >= 0 && !holds(units, count, unit)) {
            units[count++] = unit;
        }
    }
    for (int32_t i = 0; i < count; i++) {
        const Unit *unit = &f->units.items[units[i]];
        for (size_t j = 0; j < unit->users.count && units[i] != last; j++) {
            int32_t user = unit->users.items[j];
            if (f->units.items[user].is_live && !holds(units, count, user)) {
                return false;
            }
        }
    }
    for (int i = 0; i < LIBRARY_N_OPERANDS; i++) {
        if (match->operand[i] && !fuse_in_memory(match->operand[i])) {
            return false;
        }
    }
    *out_count = count;
    return true;
}

/* The largest call that has the product in it. */
static void mark_product(Fuse *f, int32_t index) {
    int32_t behind[MOST_USERS], best[LIBRARY_MOST_OPS], n_best = 0;
    int32_t n_behind = units_behind(f, index, behind);
    const Op *product = f->units.items[index].op;
    for (int32_t i = 0; i < n_behind; i++) {
        const Op *op = f->units.items[behind[i]].op;
        LibraryMatch match;
        const char *why;
        int32_t units[LIBRARY_MOST_OPS], count;
        if (op->n_results == 1 &&
            library_match(f->context, op->results[0], product, &match, &why) &&
            match_units(f, &match, behind[i], units, &count) && count > n_best) {
            memcpy(best, units, (size_t)count * sizeof(*units));
            n_best = count;
        }
    }
    for (int32_t i = 0; i < n_best; i++) {
        f->units.items[best[i]].library = index + 1;
    }
}

void fuse_library_mark(Fuse *f) {
    for (size_t i = 0; i < f->units.count; i++) {
        const Unit *unit = &f->units.items[i];
        if (unit->is_live && library_wants(f->context, f->pass->machine, unit->op)) {
            mark_product(f, (int32_t)i);
        }
    }
}

static int32_t library_of_group(Fuse *f, int32_t group) {
    const Group *g = &f->groups[group];
    for (size_t i = 0; i < g->units.count; i++) {
        const Unit *unit = &f->units.items[g->units.items[i]];
        if (unit->library == g->units.items[i] + 1) {
            return unit->library;
        }
    }
    return 0;
}

bool fuse_library_takes(Fuse *f, int32_t group) {
    return f->pass->machine->has_libraries && library_of_group(f, group) > 0;
}

bool fuse_library_allows(Fuse *f, int32_t a, int32_t b) {
    const int32_t groups[2] = {a, b};
    if (!f->pass->machine->has_libraries) {
        return true;
    }
    for (int i = 0; i < 2; i++) {
        int32_t library = library_of_group(f, groups[i]);
        const Group *other = &f->groups[groups[1 - i]];
        for (size_t u = 0; library > 0 && u < other->units.count; u++) {
            if (f->units.items[other->units.items[u]].library != library) {
                return false;
            }
        }
    }
    return true;
}
