/* Pieces of reductions that several forms are made of (reduce.h): temporaries, chunks of rows and
 * their partial results joined, results stored once an element is whole. */
#include "codegen/lower/build/build_impl.h"
#include "codegen/lower/reduce.h"

bool reduce_same_space(KBuild *k, const ReduceSpace *space, const Op *op) {
    if (op_info(op->code)->kind != KIND_REDUCTION ||
        op_info(op->code)->fusion == FUSION_ARG_REDUCE) {
        return false;
    }
    ReduceSpace other = reduce_space(k, op);
    if (other.full.rank != space->full.rank) {
        return false;
    }
    for (int32_t i = 0; i < space->full.rank; i++) {
        if (other.full.dims[i] != space->full.dims[i] ||
            other.is_reduced[i] != space->is_reduced[i]) {
            return false;
        }
    }
    return true;
}

DType reduce_root_dtype(const Op *root) {
    return dtype_in_register(root->results[0]->type.dtype);
}

DType reduce_join_dtype(const Op *root) {
    DType dtype = reduce_root_dtype(root);
    return root->code == OP_reduce_sum && dtype == DT_F32 ? DT_F64 : dtype;
}

/* -- one element of a partial result */
const KExpr *reduce_kept_flat(KBuild *k, const Reduce *r, const KExpr *const *full) {
    const KExpr *kept[TYPE_MAX_RANK];
    space_kept_index(&r->space, full, kept);
    return k_flat(k, r->space.kept, kept);
}

void reduce_set_parts(KBuild *k, Reduce *r, const Size *parts) {
    r->parts = parts;
    const Size *kept = type_elements(k->context, r->space.kept);
    for (int32_t i = 0; i < r->n_roots; i++) {
        k->temps.items[r->temps[i]].elements = size_mul(k->context, kept, parts);
    }
}

void reduce_finish_element(KBuild *k, const Reduce *r, const KExpr *flat,
                           const KExpr *const *values) {
    const KExpr *index[TYPE_MAX_RANK];
    k_unflat(k, r->space.kept, flat, index);
    for (int32_t i = 0; i < r->n_roots; i++) {
        elemental_bind(k, r->roots[i]->results[0], index, values[i]);
    }
    space_store(k, &r->space, false, index);
}

void reduce_bind_done(KBuild *k, const Reduce *r, const KExpr *const *full) {
    const KExpr *kept[TYPE_MAX_RANK];
    space_kept_index(&r->space, full, kept);
    const KExpr *flat = k_flat(k, r->space.kept, kept);
    /* Where all that is made of a row's values can see them. */
    Scope *saved = scope_enter(k, index_depth(kept, r->space.kept.rank));
    for (int32_t i = 0; i < r->n_done; i++) {
        const KExpr *value = k_load(k, kb_temp_buffer(k, r->done_temps[i], false), flat);
        elemental_bind(k, r->done[i]->results[0], kept, value);
    }
    scope_restore(k, saved);
}

/* -- few long rows: partial results of chunks */
void reduce_build_chunks(KBuild *k, void *user) {
    Reduce *r = user;
    SpacePieces kept, reduced;
    const KExpr *full[TYPE_MAX_RANK];
    space_pieces(k, &r->space, false, KEPT_KEY, &kept);
    space_pieces(k, &r->space, true, REDUCED_KEY, &reduced);
    Nest rows = nest_open(k, kept.pieces, kept.n_pieces, KL_GRID);
    space_index(k, &r->space, &kept, full);

    int32_t cut = reduced.n_pieces - 1;
    double work = 1;
    for (; cut > 0; cut--) {
        double extent = (double)size_nominal(reduced.pieces[cut].extent, UNSET_SIZE);
        if (work * extent >= r->chunk) {
            break;
        }
        work *= extent > 1 ? extent : 1;
    }
    int64_t chunk = (int64_t)(r->chunk / work) < 1 ? 1 : (int64_t)(r->chunk / work);
    LoopPiece *piece = &reduced.pieces[cut];
    const Size *parts = size_cdiv(k->context, piece->extent, size_const(k->context, chunk));
    const Size *total = parts;
    const KExpr *part = k_int(k, 0);
    for (int32_t i = 0; i < cut; i++) {
        const KExpr *var = kb_piece_loop(k, KL_GRID, &reduced.pieces[i], k_int(k, 0),
                                         k_size(k, reduced.pieces[i].extent));
        part = k_add(k, k_scale(k, part, reduced.pieces[i].extent), var);
        total = size_mul(k->context, total, reduced.pieces[i].extent);
    }
    const KExpr *tile = kb_grid(k, parts, "chunk");
    part = k_add(k, k_scale(k, part, parts), tile);
    reduce_set_parts(k, r, total);

    reduce_bind_done(k, r, full);
    const KVar *accs[MAX_ROOTS];
    for (int32_t i = 0; i < r->n_roots; i++) {
        accs[i] = kb_var(k, reduce_root_dtype(r->roots[i]), "acc");
        kb_set(k, accs[i],
               reduction_identity(k, r->roots[i]->code, reduce_root_dtype(r->roots[i])));
    }
    const KExpr *begin = k_scale_int(k, tile, chunk);
    const KExpr *end = k_min(k, k_add(k, begin, k_int(k, chunk)), k_size(k, piece->extent));
    Nest inner = nest_open_reducing(k, piece, reduced.n_pieces - cut, begin, end);
    space_index(k, &r->space, &reduced, full);
    for (int32_t i = 0; i < r->n_roots; i++) {
        const KExpr *value = elemental_value(k, r->roots[i]->operands[0], full);
        kb_set(k, accs[i], reduction_combine(k, r->roots[i]->code, k_get(k, accs[i]), value));
    }
    nest_close(k, &inner);
    const KExpr *at = k_add(k, k_scale(k, reduce_kept_flat(k, r, full), total), part);
    for (int32_t i = 0; i < r->n_roots; i++) {
        const KExpr *value = k_get(k, accs[i]);
        kb_store(k, kb_temp_buffer(k, r->temps[i], true), at, value);
    }
    for (int32_t i = 0; i <= cut; i++) {
        kb_loop_end(k);
    }
    nest_close(k, &rows);
}

void reduce_build_join(KBuild *k, void *user) {
    Reduce *r = user;
    LoopPiece pieces[MAX_PIECES];
    int32_t count = kb_pieces(k, KEPT_KEY, type_elements(k->context, r->space.kept), pieces);
    const Machine *machine = kb_machine(k);
    int64_t target = kb_is_block(k) ? machine->threads / machine->lanes : 64;
    Nest rows = nest_open_tiled(k, pieces, count, target);
    const KExpr *flat = kb_pieces_flat(k, pieces, count);
    const KVar *accs[MAX_ROOTS];
    const KExpr *values[MAX_ROOTS];
    for (int32_t i = 0; i < r->n_roots; i++) {
        DType dtype = reduce_join_dtype(r->roots[i]);
        accs[i] = kb_var(k, dtype, "acc");
        kb_set(k, accs[i], reduction_identity(k, r->roots[i]->code, dtype));
    }
    const KExpr *part = kb_loop(k, KL_VECTOR, k_int(k, 0), k_size(k, r->parts), r->parts, "part");
    const KExpr *at = k_add(k, k_scale(k, flat, r->parts), part);
    for (int32_t i = 0; i < r->n_roots; i++) {
        const KExpr *value = k_load(k, kb_temp_buffer(k, r->temps[i], false), at);
        value = k_cast(k, value, accs[i]->dtype);
        kb_set(k, accs[i], reduction_combine(k, r->roots[i]->code, k_get(k, accs[i]), value));
    }
    kb_loop_end(k);
    for (int32_t i = 0; i < r->n_roots; i++) {
        const KExpr *value = k_cast(k, k_get(k, accs[i]), reduce_root_dtype(r->roots[i]));
        values[i] = kb_let(k, value, "sum");
        if (r->values_only) {
            kb_store(k, kb_temp_buffer(k, r->done_temps[r->n_done + i], true), flat, values[i]);
        }
    }
    if (!r->values_only) {
        reduce_finish_element(k, r, flat, values);
    }
    nest_close(k, &rows);
}

/* -- columns */
int32_t reduce_column_axes(const ReduceSpace *space) {
    int32_t from = space->full.rank;
    while (from > 0 && !space->is_reduced[from - 1]) {
        from--;
    }
    return from;
}

void reduce_make_temps(KBuild *k, Reduce *r) {
    const Size *one = size_const(kb_context(k), 1);
    for (int32_t i = 0; i < r->n_roots; i++) {
        r->temps[i] = kb_temp(k, reduce_root_dtype(r->roots[i]), one);
    }
}

double reduce_block_chunk(KBuild *k, const ReduceSpace *space) {
    const Machine *machine = kb_machine(k);
    double each = space->n_kept * space->n_reduced / (2.0 * machine->processors);
    double chunk = machine->block.least_sum_chunk;
    while (chunk < each && chunk < machine->block.most_sum_chunk) {
        chunk *= 2;
    }
    return chunk;
}
