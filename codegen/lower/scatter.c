/* Form "scatter": take_add and scatter_add. The result starts as x; then tiles that own disjoint
 * parts of the result walk the indices in order, so sums have one order whatever the number of
 * threads. Tiles are columns behind the indexed axis and, when these are few, blocks of the indexed
 * axis itself. */
#include "codegen/lower/elemental_impl.h"
#include "codegen/lower/lower.h"

typedef struct Scatter {
    const Op *op;
    int32_t result;
    int64_t axis;
    Type lead, tail; /* axes of x before and behind the indexed one */
    const Size *bound;
    int64_t columns;       /* of a tile of take_add */
    bool blocked;          /* tiles are blocks of the indexed axis too */
    int64_t blocks, lines; /* how many of those; lines of a tile of scatter_add */
} Scatter;

/* The rows this tile owns, as a condition on an index; NULL: all. */
static const KExpr *owned_rows(KBuild *k, const Scatter *s, const KExpr *block, const KExpr *id) {
    const KExpr *natural = k_le(k, k_int(k, 0), id);
    const KExpr *inside = k_and(k, natural, k_lt(k, id, k_size(k, s->bound)));
    if (!block) {
        return inside;
    }
    const Size *rows = size_cdiv(kb_context(k), s->bound, size_const(kb_context(k), s->blocks));
    const KExpr *from = k_scale(k, block, rows);
    const KExpr *until = k_add(k, from, k_size(k, rows));
    inside = k_and(k, inside, k_binary(k, OP_le, from, id));
    return k_and(k, inside, k_binary(k, OP_lt, id, until));
}

static const KExpr *checked_id(KBuild *k, const Scatter *s, const KExpr *const *at) {
    const KExpr *id = elemental_value(k, s->op->operands[1], at);
    id = kb_let(k, k_cast(k, id, DT_I64), "id");
    elemental_clamped_id(k, s->op, id, s->bound, "index out of range");
    return id;
}

static void add_at(KBuild *k, const Scatter *s, const KExpr *const *place, const KExpr *value) {
    int32_t buffer = kb_result_buffer(k, s->result);
    const KExpr *flat = k_flat(k, s->op->results[0]->type, place);
    const KExpr *sum = k_load_here(k, buffer, flat);
    kb_store(k, buffer, flat, k_binary(k, OP_add, sum, value));
}

/* A tile of take_add: the loops over the lead, the blocks of rows if there are any, and the columns
 * of the tail are open, and `place` has the index in the lead. */
typedef struct TakeTile {
    const KExpr *block, *columns; /* block NULL: all rows */
    int32_t n_open;
} TakeTile;

static TakeTile open_take(KBuild *k, const Scatter *s, const KExpr **place) {
    Context *context = kb_context(k);
    TakeTile tile = {.n_open = 2 + s->blocked};
    const KExpr *lead = kb_grid(k, type_elements(context, s->lead), "lead");
    if (s->blocked) {
        tile.block = kb_grid(k, size_const(context, s->blocks), "rows");
    }
    const Size *n_tail = type_elements(context, s->tail);
    const Size *tiles = size_cdiv(context, n_tail, size_const(context, s->columns));
    tile.columns = kb_grid(k, tiles, "columns");
    k_unflat(k, s->lead, lead, place);
    return tile;
}

static void close_loops(KBuild *k, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        kb_loop_end(k);
    }
}

/* Adds the tile's part of a tail to row `id`; `at` has the index in the lead and among the indices,
 * `place` that in the lead. */
static void move_tail(KBuild *k, const Scatter *s, const TakeTile *tile, KLoopKind kind,
                      const KExpr *id, const KExpr **at, const KExpr **place) {
    int32_t axis = (int32_t)s->axis, n_ids = s->op->operands[1]->type.rank;
    const Size *n_tail = type_elements(kb_context(k), s->tail);
    const KExpr *begin = k_scale_int(k, tile->columns, s->columns);
    const KExpr *end = k_min(k, k_add(k, begin, k_int(k, s->columns)), k_size(k, n_tail));
    const KExpr *j = kb_loop(k, kind, begin, end, n_tail, "j");
    k_unflat(k, s->tail, j, place + axis + 1);
    for (int32_t i = 0; i < s->tail.rank; i++) {
        at[axis + n_ids + i] = place[axis + 1 + i];
    }
    place[axis] = id;
    add_at(k, s, place, elemental_value(k, s->op->operands[2], at));
    kb_loop_end(k);
}

/* take_add: one index moves a whole tail. */
static void build_take_add(KBuild *k, void *user) {
    const Scatter *s = user;
    const Value *ids = s->op->operands[1];
    const KExpr *place[TYPE_MAX_RANK], *at[TYPE_MAX_RANK];
    int32_t axis = (int32_t)s->axis;
    TakeTile tile = open_take(k, s, place);
    const Size *count = type_elements(kb_context(k), ids->type);
    const KExpr *m = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, count), count, "m");
    for (int32_t i = 0; i < axis; i++) {
        at[i] = place[i];
    }
    k_unflat(k, ids->type, m, at + axis);
    const KExpr *id = checked_id(k, s, at + axis);
    kb_if(k, owned_rows(k, s, tile.block, id));
    move_tail(k, s, &tile, KL_VECTOR, id, at, place);
    kb_if_end(k);
    close_loops(k, 1 + tile.n_open);
}

/* Indices [begin, end) of `count`, one a thread, of which some are the tile's own. */
typedef struct Chunk {
    const KExpr *begin, *end, *block;
    const Size *count;
} Chunk;

/* Opens the loop over a chunk's indices: whether the one at *m is the tile's. */
static const KExpr *open_chunk(KBuild *k, const Scatter *s, const Chunk *chunk, const KExpr **m) {
    const KExpr *at[TYPE_MAX_RANK];
    *m = kb_loop(k, KL_VECTOR, chunk->begin, chunk->end, chunk->count, "m");
    k_unflat(k, s->op->operands[1]->type, *m, at);
    return owned_rows(k, s, chunk->block, checked_id(k, s, at));
}

/* How many of a chunk's indices are the tile's. */
static const KExpr *count_matches(KBuild *k, const Scatter *s, const Chunk *chunk, const KVar *n) {
    const KExpr *m;
    kb_set(k, n, k_int(k, 0));
    const KExpr *owned = open_chunk(k, s, chunk, &m);
    const KExpr *one = k_select(k, owned, k_int(k, 1), k_int(k, 0));
    kb_set(k, n, k_binary(k, OP_add, k_get(k, n), one));
    kb_loop_end(k);
    return kb_let(k, k_get(k, n), "matches");
}

/* The first of them behind the one at `last`. */
static const KExpr *next_match(KBuild *k, const Scatter *s, const Chunk *chunk, const KVar *last) {
    const KVar *next = kb_var(k, DT_I64, "next");
    const KExpr *before = kb_let(k, k_get(k, last), "before"), *m;
    const KExpr *final = k_sub(k, k_size(k, chunk->count), k_int(k, 1));
    kb_set(k, next, final);
    const KExpr *owned = open_chunk(k, s, chunk, &m);
    owned = k_binary(k, OP_and, owned, k_binary(k, OP_lt, before, m));
    const KExpr *here = k_select(k, owned, m, final);
    kb_set(k, next, k_binary(k, OP_min, k_get(k, next), here));
    kb_loop_end(k);
    return kb_let(k, k_get(k, next), "match");
}

/* The same for a block of threads: as many indices at a time as there are threads; those of this
 * tile are counted, then found one after the other in order, and each moves its tail. */
static void build_take_add_block(KBuild *k, void *user) {
    const Scatter *s = user;
    Context *context = kb_context(k);
    const Value *ids = s->op->operands[1];
    const KExpr *place[TYPE_MAX_RANK], *at[TYPE_MAX_RANK];
    int32_t axis = (int32_t)s->axis;
    TakeTile tile = open_take(k, s, place);
    Chunk chunk = {.block = tile.block, .count = type_elements(context, ids->type)};
    int64_t threads = kb_machine(k)->threads;
    const Size *chunks = size_cdiv(context, chunk.count, size_const(context, threads));
    const KExpr *number = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, chunks), chunks, "chunk");
    chunk.begin = k_scale_int(k, number, threads);
    chunk.end = k_min(k, k_add(k, chunk.begin, k_int(k, threads)), k_size(k, chunk.count));
    const KVar *n = kb_var(k, DT_I64, "n"), *last = kb_var(k, DT_I64, "last");
    const KExpr *matches = count_matches(k, s, &chunk, n);
    kb_set(k, last, k_int(k, -1));
    kb_loop(k, KL_SERIAL, k_int(k, 0), matches, NULL, "match");
    const KExpr *match = next_match(k, s, &chunk, last);
    kb_set(k, last, match);
    for (int32_t i = 0; i < axis; i++) {
        at[i] = place[i];
    }
    k_unflat(k, ids->type, match, at + axis);
    const KExpr *id = kb_let(k, k_cast(k, elemental_value(k, ids, at + axis), DT_I64), "id");
    move_tail(k, s, &tile, KL_INDEPENDENT, id, at, place);
    close_loops(k, 2 + tile.n_open);
}

/* scatter_add: every element has its own index; tiles own whole lines along the axis. */
static void build_scatter_add(KBuild *k, void *user) {
    const Scatter *s = user;
    Context *context = kb_context(k);
    const Value *ids = s->op->operands[1], *u = s->op->operands[2];
    const KExpr *place[TYPE_MAX_RANK], *at[TYPE_MAX_RANK], *block = NULL;
    int32_t axis = (int32_t)s->axis;
    if (s->blocked) {
        block = kb_grid(k, size_const(context, s->blocks), "rows");
    }
    LoopPiece pieces[2] = {
        {.extent = type_elements(context, s->lead), .stride = size_const(context, 1), .key = 1},
        {.extent = type_elements(context, s->tail), .stride = size_const(context, 1), .key = 2}};
    Nest nest = nest_open_tiled(k, pieces, 2, s->lines);
    k_unflat(k, s->lead, pieces[0].var, at);
    k_unflat(k, s->tail, pieces[1].var, at + axis + 1);
    const Size *count = ids->type.dims[axis];
    at[axis] = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, count), count, "m");
    const KExpr *id = checked_id(k, s, at);
    kb_if(k, owned_rows(k, s, block, id));
    for (int32_t i = 0; i < ids->type.rank; i++) {
        place[i] = i == axis ? id : at[i];
    }
    add_at(k, s, place, elemental_value(k, u, at));
    kb_if_end(k);
    kb_loop_end(k);
    nest_close(k, &nest);
    if (s->blocked) {
        kb_loop_end(k);
    }
}

/* As many blocks of rows as give every processor its tiles. */
static void choose_blocks(KBuild *k, Scatter *s, double lead, double tail, bool is_take) {
    const Machine *machine = kb_machine(k);
    int64_t rows = size_nominal(s->bound, UNSET_SIZE);
    s->lines = machine->threads;
    while (!is_take && s->lines > machine->lanes &&
           tiles_are_few(k, lead * tail / (double)s->lines)) {
        s->lines /= 2;
    }
    double tile = (double)s->columns;
    double tiles = is_take ? lead * ((tail + tile - 1) / tile)
                           : (lead * tail + (double)s->lines - 1) / (double)s->lines;
    s->blocks = 1;
    while (tiles_are_few(k, tiles * (double)s->blocks / 2) &&
           s->blocks < machine->block.scatter_blocks && s->blocks * 2 <= rows) {
        s->blocks *= 2;
    }
    s->blocked = s->blocks > 1;
}

/* Blocks of rows where one worker's tiles are few. */
static void choose_tiles(KBuild *k, Scatter *s, double lead, double tail, bool is_take) {
    const WorkerShapes *shapes = &kb_machine(k)->worker;
    double tile = (double)s->columns;
    double tiles = lead * (is_take ? (tail + tile - 1) / tile : tail / shapes->scatter_lines);
    s->lines = shapes->scatter_lines;
    s->blocks = shapes->scatter_blocks;
    s->blocked = tiles < shapes->scatter_tiles &&
                 size_nominal(s->bound, UNSET_SIZE) >= (int64_t)shapes->scatter_rows * s->blocks;
}

void lower_scatter(KBuild *k) {
    Scatter s = {.columns = kb_machine(k)->column_tile};
    BLOCK_EACH_OP (kb_fusion(k)->blocks[0], op) {
        s.op = op->code == OP_take_add || op->code == OP_scatter_add ? op : s.op;
    }
    Type x = s.op->operands[0]->type;
    s.result = lower_root_result(k, s.op->results[0]);
    s.axis = op_axis(s.op);
    s.lead = type_lead(x, (int32_t)s.axis);
    s.tail = type_tail(x, (int32_t)s.axis);
    s.bound = x.dims[s.axis];
    Context *context = kb_context(k);
    bool is_take = s.op->code == OP_take_add;
    double lead = (double)size_nominal(type_elements(context, s.lead), UNSET_SIZE);
    double tail = (double)size_nominal(type_elements(context, s.tail), UNSET_SIZE);
    (kb_is_block(k) ? choose_blocks : choose_tiles)(k, &s, lead, tail, is_take);
    lower_base(k, s.op->operands[0], s.result);
    void (*take)(KBuild *, void *) = kb_is_block(k) ? build_take_add_block : build_take_add;
    kb_kernel(k, is_take ? "take_add" : "scatter_add", is_take ? take : build_scatter_add, &s);
}
