/* Loop nests over iteration spaces: tiling for the grid, and the kept and reduced axes of a
 * reduction. */
#include "codegen/lower/lower.h"

enum { EACH_THREAD = 8, TILES_EACH = 2 };

static bool trivial(const LoopPiece *piece) {
    return size_is_one(piece->extent);
}

static void open_whole(KBuild *k, LoopPiece *piece, KLoopKind kind, Nest *nest) {
    if (trivial(piece)) {
        piece->var = k_int(k, 0);
        return;
    }
    kb_piece_loop(k, kind, piece, k_int(k, 0), k_size(k, piece->extent));
    nest->n_open++;
}

Nest nest_open(KBuild *k, LoopPiece *pieces, int32_t count, KLoopKind last) {
    Nest nest = {0};
    for (int32_t i = 0; i < count; i++) {
        bool is_last = i + 1 == count || last == KL_INDEPENDENT || last == KL_GRID;
        open_whole(k, &pieces[i], is_last ? last : KL_SERIAL, &nest);
    }
    return nest;
}

/* One loop over all pieces, their places taken from its variable. */
static bool open_flat(KBuild *k, LoopPiece *pieces, int32_t count, const KExpr *begin,
                      const KExpr *end) {
    Context *context = kb_context(k);
    const Size *inner = size_const(context, 1);
    for (int32_t i = 1; i < count; i++) {
        inner = size_mul(context, inner, pieces[i].extent);
    }
    if (count < 2 || !size_is_const(inner, NULL)) {
        return false;
    }
    const Size *extent = size_mul(context, pieces[0].extent, inner);
    const KExpr *until = k_scale(k, end, inner);
    const KExpr *rest = kb_loop(k, KL_VECTOR, k_scale(k, begin, inner), until, extent, "q");
    for (int32_t i = count - 1; i > 0; i--) {
        k_divmod(k, rest, pieces[i].extent, &rest, &pieces[i].var);
    }
    pieces[0].var = rest;
    return true;
}

Nest nest_open_reducing(KBuild *k, LoopPiece *pieces, int32_t count, const KExpr *begin,
                        const KExpr *end) {
    if (kb_is_block(k) && open_flat(k, pieces, count, begin, end)) {
        return (Nest){1};
    }
    kb_piece_loop(k, count == 1 ? KL_VECTOR : KL_SERIAL, pieces, begin, end);
    Nest nest = nest_open(k, pieces + 1, count - 1, KL_VECTOR);
    nest.n_open++;
    return nest;
}

void nest_close(KBuild *k, Nest *nest) {
    for (; nest->n_open > 0; nest->n_open--) {
        kb_loop_end(k);
    }
}

bool tiles_are_few(KBuild *k, double tiles) {
    return tiles < TILES_EACH * (double)kb_machine(k)->processors;
}

int64_t tile_elements(KBuild *k, const Size *total, double bytes) {
    int64_t elements = 64;
    if (kb_is_block(k)) {
        double n = (double)size_nominal(total, UNSET_SIZE);
        elements = kb_machine(k)->threads * EACH_THREAD;
        while (elements > kb_machine(k)->threads && tiles_are_few(k, n / (double)elements)) {
            elements /= 2;
        }
        return elements;
    }
    while ((double)elements * 2 * bytes <= (double)kb_machine(k)->l1_bytes) {
        elements *= 2;
    }
    return elements;
}

/* The piece to cut: the last one whose suffix fills a tile, else the first. */
static int32_t piece_to_cut(const LoopPiece *pieces, int32_t count, int64_t target,
                            int64_t *out_chunk) {
    double work = 1;
    int32_t cut = count - 1;
    for (; cut >= 0; cut--) {
        double extent = (double)size_nominal(pieces[cut].extent, UNSET_SIZE);
        if (work * extent >= (double)target || cut == 0) {
            break;
        }
        work *= extent > 1 ? extent : 1;
    }
    double chunk = (double)target / work;
    *out_chunk = chunk < 1 ? 1 : (int64_t)chunk;
    return cut;
}

/* Whether the nest is one over a flat range whose constant length is to be a parameter. */
static bool length_is_parameter(KBuild *k, const LoopPiece *pieces, int32_t count) {
    int64_t length;
    return kb_machine(k)->merges_kernels && kb_is_block(k) && count == 1 &&
           size_is_const(pieces->extent, &length) && length > 1;
}

/* Lengths of tiles are in the kernel's text, so few are told apart: of elements, eight or four a
 * thread for sixteen-byte accesses, or one where they are few; of rows, one for each thread, lane,
 * group of lanes, or the whole block. Never more than the lowering wants, but for the four. */
static int64_t tile_class(const Machine *machine, int64_t target) {
    const int64_t classes[] = {machine->threads * EACH_THREAD, machine->threads, machine->lanes,
                               machine->threads / machine->lanes};
    if (target > classes[1] && target < classes[0]) {
        return classes[0] / 2;
    }
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (target >= classes[i]) {
            return classes[i];
        }
    }
    return 1;
}

/* Tiles of one length, the last one shorter: the text is the same for every length of the piece. */
static Nest open_parameter(KBuild *k, LoopPiece *piece, int64_t target) {
    int64_t length = 0, chunk = tile_class(kb_machine(k), target);
    (void)size_is_const(piece->extent, &length);
    const KExpr *end = k_parameter(k, length), *tiles, *rest;
    if (chunk == 1) {
        kb_piece_loop(k, KL_GRID, piece, k_int(k, 0), end);
        return (Nest){1};
    }
    const Size *size = size_const(kb_context(k), chunk);
    k_divmod(k, k_add(k, end, k_int(k, chunk - 1)), size, &tiles, &rest);
    const Size *count = size_cdiv(kb_context(k), piece->extent, size);
    const KExpr *tile = kb_grid_to(k, count, tiles, "tile");
    const KExpr *begin = k_scale_int(k, tile, chunk);
    end = k_min(k, k_add(k, begin, k_int(k, chunk)), end);
    kb_piece_loop(k, kb_each(k, KL_VECTOR), piece, begin, end);
    return (Nest){2};
}

Nest nest_open_tiled(KBuild *k, LoopPiece *pieces, int32_t count, int64_t target) {
    Nest nest = {0};
    if (count == 0) {
        return nest;
    }
    if (length_is_parameter(k, pieces, count)) {
        return open_parameter(k, pieces, target);
    }
    int64_t chunk, extent;
    int32_t cut = piece_to_cut(pieces, count, target, &chunk);
    Context *context = kb_context(k);
    LoopPiece *piece = &pieces[cut];
    for (int32_t i = 0; i < cut; i++) {
        open_whole(k, &pieces[i], KL_GRID, &nest);
    }
    bool whole = size_is_const(piece->extent, &extent) && extent <= chunk + chunk / 2;
    const KExpr *begin = k_int(k, 0), *end = k_size(k, piece->extent);
    KLoopKind kind = kb_each(k, cut + 1 == count ? KL_VECTOR : KL_SERIAL);
    if (!whole && chunk == 1) {
        open_whole(k, piece, KL_GRID, &nest);
    } else {
        if (!whole) {
            const Size *tiles = size_cdiv(context, piece->extent, size_const(context, chunk));
            const KExpr *tile = kb_grid(k, tiles, "tile");
            nest.n_open++;
            begin = k_scale_int(k, tile, chunk);
            const KExpr *limit = k_add(k, begin, k_int(k, chunk));
            end = k_min(k, limit, end);
        }
        if (trivial(piece)) {
            piece->var = k_int(k, 0);
        } else {
            kb_piece_loop(k, kind, piece, begin, end);
            nest.n_open++;
        }
    }
    Nest rest = nest_open(k, pieces + cut + 1, count - cut - 1, kb_each(k, KL_VECTOR));
    nest.n_open += rest.n_open;
    return nest;
}

/* Elements of the largest result. */
static double most_elements(KBuild *k) {
    double elements = 1;
    for (int32_t i = 0; i < kb_fusion(k)->n_results; i++) {
        Type type = kb_result_value(k, i)->type;
        double n = (double)size_nominal(type_elements(kb_context(k), type), UNSET_SIZE);
        elements = n > elements ? n : elements;
    }
    return elements;
}

double fusion_bytes(KBuild *k, int64_t unset) {
    const Op *fusion = kb_fusion(k);
    double bytes = 0;
    for (int32_t i = 0; i < fusion->n_results + fusion->n_operands; i++) {
        Type type = i < fusion->n_results ? kb_result_value(k, i)->type
                                          : fusion->operands[i - fusion->n_results]->type;
        bytes += (double)size_nominal(type_elements(kb_context(k), type), unset) *
                 dtype_bytes(type.dtype);
    }
    return bytes;
}

double fusion_traffic(KBuild *k) {
    double each = fusion_bytes(k, UNSET_SIZE) / most_elements(k);
    return each < 4 ? 4 : each > 64 ? 64 : each;
}

/* -- reductions */
static bool is_anchor_kind(const Op *op) {
    return op_info(op->code)->kind == KIND_REDUCTION;
}

enum { CONE_LIMIT = 512 };

typedef struct Seen {
    const Value *values[CONE_LIMIT];
    int32_t count;
} Seen;

static bool needs_reduction(Seen *seen, const Value *v) {
    for (int32_t i = 0; i < seen->count; i++) {
        if (seen->values[i] == v) {
            return false;
        }
    }
    if (!v->op || seen->count == CONE_LIMIT) {
        return false;
    }
    seen->values[seen->count++] = v;
    if (is_anchor_kind(v->op)) {
        return true;
    }
    for (int32_t i = 0; i < v->op->n_operands; i++) {
        if (needs_reduction(seen, v->op->operands[i])) {
            return true;
        }
    }
    return false;
}

/* Whether a nest over the reduction's space can write every result: each ranges over the space or
 * over its kept axes. */
static bool results_fit(KBuild *k, const ReduceSpace *space) {
    const Size *kept = type_elements(kb_context(k), space->kept);
    for (int32_t r = 0; r < kb_fusion(k)->n_results; r++) {
        if (!reduce_result_is_full(k, space, r) &&
            type_elements(kb_context(k), kb_result_value(k, r)->type) != kept) {
            return false;
        }
    }
    return true;
}

/* Windows of a pooling are reductions of a few elements; the largest one shapes the nest. One that
 * waits for another does so only where nothing else fits: the inner one is then a loop in it. */
const Op *reduce_anchor(KBuild *k) {
    const Op *best = NULL;
    double most = -1;
    for (int32_t round = 0; round < 2 && !best; round++) {
        BLOCK_EACH_OP (kb_fusion(k)->blocks[0], op) {
            if (!is_anchor_kind(op)) {
                continue;
            }
            Seen seen = {0};
            ReduceSpace space = reduce_space(k, op);
            if (space.n_reduced > most && results_fit(k, &space) &&
                (round == 1 || !needs_reduction(&seen, op->operands[0]))) {
                best = op;
                most = space.n_reduced;
            }
        }
    }
    return best;
}

ReduceSpace reduce_space(KBuild *k, const Op *op) {
    ReduceSpace space = {.full = op->operands[0]->type, .kept = op->results[0]->type};
    int64_t axis = op_has_axis(op) ? op_axis(op) : 0;
    Ints axes = op_has_axis(op) ? (Ints){1, &axis} : op_axes(op);
    for (int32_t i = 0; i < axes.count; i++) {
        space.is_reduced[axes.at[i]] = true;
    }
    (void)k;
    space.n_kept = space.n_reduced = space.n_long = 1;
    for (int32_t i = 0; i < space.full.rank; i++) {
        double n = (double)size_nominal(space.full.dims[i], UNSET_SIZE);
        n = n < 1 ? 1 : n; /* T - 6 where T is nominally 4; less would be no anchor at all */
        *(space.is_reduced[i] ? &space.n_reduced : &space.n_kept) *= n;
        n = (double)size_nominal(space.full.dims[i], UNSET_LONG);
        space.n_long *= space.is_reduced[i] && n > 1 ? n : 1;
    }
    return space;
}

/* The next axis of size other than one, from *at; -1 at the end. */
static int32_t next_wide(Type type, int32_t *at) {
    while (*at < type.rank && size_is_one(type.dims[*at])) {
        (*at)++;
    }
    return *at < type.rank ? (*at)++ : -1;
}

bool reduce_result_is_full(KBuild *k, const ReduceSpace *space, int32_t result) {
    Type type = kb_result_value(k, result)->type;
    if (type_elements(kb_context(k), type) == type_elements(kb_context(k), space->full)) {
        return true;
    }
    int32_t a = 0, b = 0;
    for (;;) {
        int32_t x = next_wide(type, &a), y = next_wide(space->full, &b);
        if (x < 0 || y < 0) {
            return x < 0 && y < 0;
        }
        if (type.dims[x] != space->full.dims[y]) {
            return false;
        }
    }
}

void space_pieces(KBuild *k, const ReduceSpace *space, bool reduced, int64_t key,
                  SpacePieces *out) {
    out->n_pieces = out->n_runs = 0;
    Type full = space->full;
    for (int32_t i = 0; i < full.rank;) {
        if (space->is_reduced[i] != reduced) {
            i++;
            continue;
        }
        int32_t end = i + 1;
        while (end < full.rank && space->is_reduced[end] == reduced) {
            end++;
        }
        const Size *total = size_product(kb_context(k), full.dims, i, end);
        LoopPiece pieces[MAX_PIECES];
        int32_t count = kb_pieces(k, key + i, total, pieces);
        out->runs[out->n_runs].from = i;
        out->runs[out->n_runs].to = end;
        out->runs[out->n_runs].first = out->n_pieces;
        out->runs[out->n_runs++].count = count;
        for (int32_t p = 0; p < count; p++) {
            out->pieces[out->n_pieces++] = pieces[p];
        }
        i = end;
    }
}

void space_index(KBuild *k, const ReduceSpace *space, const SpacePieces *pieces,
                 const KExpr **out_full) {
    for (int32_t r = 0; r < pieces->n_runs; r++) {
        int32_t from = pieces->runs[r].from, to = pieces->runs[r].to;
        Type run = {space->full.dtype, to - from, space->full.dims + from};
        const KExpr *flat =
            kb_pieces_flat(k, &pieces->pieces[pieces->runs[r].first], pieces->runs[r].count);
        k_unflat(k, run, flat, out_full + from);
    }
}

void space_kept_index(const ReduceSpace *space, const KExpr *const *full, const KExpr **out) {
    int32_t at = 0;
    for (int32_t i = 0; i < space->full.rank; i++) {
        if (!space->is_reduced[i]) {
            out[at++] = full[i];
        }
    }
}

void space_store(KBuild *k, const ReduceSpace *space, bool full, const KExpr *const *index) {
    const Op *fusion = kb_fusion(k);
    const KExpr **values = ARENA_ARRAY(kb_arena(k), const KExpr *, fusion->n_results + 1);
    const KExpr *flat = k_flat(k, full ? space->full : space->kept, index);
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t r = 0; r < fusion->n_results; r++) {
            if (reduce_result_is_full(k, space, r) != full) {
                continue;
            }
            const Value *v = kb_result_value(k, r);
            if (pass == 0) {
                const KExpr *at[TYPE_MAX_RANK];
                k_unflat(k, v->type, flat, at);
                values[r] = elemental_value(k, v, at);
            } else {
                kb_store(k, kb_result_buffer(k, r), flat, values[r]);
            }
        }
    }
}
