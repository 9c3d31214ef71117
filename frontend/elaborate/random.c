/* Keys of random numbers. What is drawn depends on seed, step, the place in the program and the
 * index in the tensor of the whole step's batch, never on the parts in which a step is computed: a
 * pass over the whole batch notes what it draws, and a pass over a part draws its pieces of that.
 */
#include "frontend/elaborate/elaborate.h"

#include <string.h>

struct Draw {
    Type type;
    const Size **lengths; /* of the loops around, the outermost first; NULL: a while */
    int32_t depth;
};

static int64_t *ordinal_of(Elaborator *el, const char *path) {
    int64_t *ordinal = map_get(&el->fs->ordinals, path);
    if (ordinal == NULL) {
        ordinal = ARENA_NEW(el->arena, int64_t);
        map_set(&el->fs->ordinals, path, ordinal);
    }
    return ordinal;
}

static Value *loop_count(Elaborator *el, Loop *loop, Place place) {
    if (!loop->is_while) {
        return loop->index;
    }
    if (loop->counter == NULL) {
        EL_REPORT(el, STATE_IN_CONDITION, place, "random numbers");
    }
    return loop->counter;
}

static const Size *whole_size(Elaborator *el, const Size *size) {
    const Parts *parts = el->fs->parts;
    return parts->by ? size_substitute(el->context, size, parts->by, el->module->n_dims) : size;
}

/* The turn of `loop` among all turns of the step, and how many those are. */
static Value *whole_turn(Elaborator *el, const Loop *loop, const Draw *draw, int32_t at,
                         Value *index, const Size **length) {
    const Size *mine = loop->length;
    const Size *all = mine && draw && draw->lengths[at] ? whole_size(el, draw->lengths[at]) : mine;
    if (all == mine || size_equal(el->context, all, mine) == TRUTH_YES) {
        return index;
    }
    *length = all;
    Value *before = b_size(&el->b, mine, DT_I32);
    return b_add(&el->b, b_mul(&el->b, el->fs->parts->loop->index, before), index);
}

/* Turns of all loops around, as one number. */
static Value *iteration_of(Elaborator *el, Loop *const *chain, int32_t depth, const Draw *draw,
                           Place place) {
    Value *iteration = NULL;
    for (int32_t i = 0; i < depth; i++) {
        const Size *length = chain[i]->length;
        Value *index = loop_count(el, chain[i], place);
        if (index == NULL) {
            return NULL;
        }
        index = whole_turn(el, chain[i], draw, i, index, &length);
        if (iteration) {
            Value *turns = length ? b_size(&el->b, length, DT_I32)
                                  : b_constant(&el->b, 65536.0, type_scalar(DT_I32));
            index = b_add(&el->b, b_mul(&el->b, iteration, turns), index);
        }
        iteration = index;
    }
    return iteration ? iteration : b_constant(&el->b, 0.0, type_scalar(DT_I32));
}

/* The loops around but the one over parts, the outermost first. */
static int32_t loops_around(Elaborator *el, Loop **chain) {
    const Parts *parts = el->fs ? el->fs->parts : NULL;
    int32_t depth = 0;
    for (Loop *l = el->init_path ? NULL : el->fs->loop; l && depth < ELABORATE_MAX_CALLS;
         l = l->parent) {
        if (!parts || l != parts->loop) {
            chain[depth++] = l;
        }
    }
    for (int32_t i = 0; i < depth / 2; i++) {
        Loop *swapped = chain[i];
        chain[i] = chain[depth - 1 - i];
        chain[depth - 1 - i] = swapped;
    }
    return depth;
}

static void note_draw(Elaborator *el, const char *key, Type type, Loop *const *chain,
                      int32_t depth) {
    Draw *draw = ARENA_NEW(el->arena, Draw);
    *draw = (Draw){.type = type, .depth = depth};
    draw->lengths = ARENA_ARRAY(el->arena, const Size *, depth + 1);
    for (int32_t i = 0; i < depth; i++) {
        draw->lengths[i] = chain[i]->length;
    }
    map_set(&el->fs->parts->draws, key, draw);
}

static Piece piece_of(Elaborator *el, const Draw *draw, Type type) {
    const Parts *parts = el->fs->parts;
    Type whole = draw ? draw->type : type_scalar(type.dtype);
    const Size *dims[TYPE_MAX_RANK];
    for (int32_t a = 0; a < whole.rank; a++) {
        dims[a] = whole_size(el, whole.dims[a]);
    }
    whole = type_make(el->context, whole.dtype, whole.rank, dims);
    return b_piece(&el->b, whole, type, parts->count, parts->loop->index);
}

RandomKey random_key(Elaborator *el, Type type, Place place) {
    RandomKey key = {.seed = NULL};
    const char *path = el->b.label;
    elaborate_at(el, place);
    if (el->init_path) {
        path = context_internf(el->context, "%s#init", el->init_path);
        key.seed = el->init_seed;
        key.step = b_constant(&el->b, 0.0, type_scalar(DT_I64));
    } else {
        path = el->b.label;
        key.seed = elaborate_run_scalar(el, "seed", DT_I64);
        key.step = elaborate_run_scalar(el, "step", DT_I64);
    }
    int64_t ordinal = (*ordinal_of(el, path))++;
    uint64_t hash = hash_bytes(path, strlen(path), (uint64_t)ordinal);
    key.site = (int64_t)(hash & INT64_MAX);
    Loop *chain[ELABORATE_MAX_CALLS];
    int32_t depth = loops_around(el, chain);
    Parts *parts = el->init_path ? NULL : el->fs->parts;
    const Draw *draw = NULL;
    if (parts) {
        const char *name = context_internf(el->context, "%lld", (long long)key.site);
        if (parts->loop == NULL) {
            note_draw(el, name, type, chain, depth);
        } else {
            draw = map_get(&parts->draws, name);
            draw = draw && draw->depth == depth ? draw : NULL;
            key.piece = piece_of(el, draw, type);
        }
    }
    key.iteration = iteration_of(el, chain, depth, draw, place);
    return key;
}
