/* The fuse pass: turns a Func's body and the blocks of its loops into fusion ops, views (reshape)
 * and what stands outside kernels (scan, while, check, show, yield). Steps: fuse_graph, fuse_merge,
 * fuse_build. */
#include "passes/fuse/fuse.h"

static void find_stops(Block *block, Value **map) {
    BLOCK_EACH_OP (block, op) {
        if (op->code == OP_stop_gradient) {
            map[op->results[0]->id] = op->operands[0];
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            find_stops(op->blocks[i], map);
        }
    }
}

static void unlink_stops(Block *block) {
    for (Op *op = block->first, *next = NULL; op; op = next) {
        next = op->next;
        for (int32_t i = 0; i < op->n_blocks; i++) {
            unlink_stops(op->blocks[i]);
        }
        if (op->code == OP_stop_gradient) {
            op_unlink(op);
        }
    }
}

/* Gradients are taken: stop_gradient is the identity. */
static void drop_stop_gradients(PassContext *pass, Func *func) {
    func_renumber(func);
    Value **map = ARENA_ARRAY(pass->scratch, Value *, func->n_values + 1);
    find_stops(func->body, map);
    func_replace_values(func, map);
    unlink_stops(func->body);
}

/* An op outside kernels needs its operands in memory: a free op's value gets a copy of its own. */
static Value *materialise(Fuse *f, Op *barrier, Value *v, Value **copies, int32_t n_copies) {
    boundary_check_stack(f->context->boundary);
    if (fuse_in_memory(v)) {
        return v;
    }
    if (v->id < n_copies && copies[v->id]) {
        return copies[v->id];
    }
    Builder b = builder_before(barrier);
    b.place = v->op->place;
    b.label = v->op->label;
    Value *result = v;
    if (v->op->code == OP_reshape) {
        Value *inner = materialise(f, barrier, v->op->operands[0], copies, n_copies);
        if (inner != v->op->operands[0] || v->op->parent != f->block) {
            result = b_reshape(&b, inner, v->type.rank, v->type.dims);
        }
    } else {
        result = b_copy(&b, v);
    }
    if (v->id < n_copies) {
        copies[v->id] = result;
    }
    return result;
}

static void materialise_operands(Fuse *f) {
    func_renumber(f->func);
    int32_t n = f->func->n_values;
    Value **copies = ARENA_ARRAY(f->arena, Value *, n + 1);
    for (Op *op = f->block->first, *next = NULL; op; op = next) {
        next = op->next;
        if (!fuse_op_is_barrier(op) || op->code == OP_fusion) {
            continue;
        }
        for (int32_t i = 0; i < op->n_operands; i++) {
            op_set_operand(op, i, materialise(f, op, op->operands[i], copies, n));
        }
    }
}

static void fuse_block(PassContext *pass, Func *func, Block *block, bool trivial) {
    BLOCK_EACH_OP (block, op) {
        for (int32_t i = 0; i < op->n_blocks && op->code != OP_fusion; i++) {
            fuse_block(pass, func, op->blocks[i], trivial);
        }
    }
    Fuse f = {.pass = pass,
              .context = pass->context,
              .arena = pass->scratch,
              .func = func,
              .block = block};
    materialise_operands(&f);
    if (!trivial) {
        fuse_library_operands(&f);
    }
    func_renumber(func);
    fuse_collect(&f);
    if (!trivial) {
        fuse_library_mark(&f);
        fuse_merge_all(&f);
        fuse_recompute(&f);
    }
    fuse_build(&f);
}

/* transpose(contract(a, b)) that only exchanges the free axes of a and b is contract(b, a). */
static bool exchanges_operands(const Op *transpose, const Op *contract) {
    int32_t n_batch = contract_batch_a(contract).count, rank = contract->results[0]->type.rank;
    int32_t n_sum = contract_contract_a(contract).count;
    int32_t free_a = contract->operands[0]->type.rank - n_batch - n_sum;
    const int64_t *permutation = transpose_permutation(transpose).at;
    for (int32_t i = 0; i < rank; i++) {
        int32_t free_b = rank - n_batch - free_a, at = i - n_batch;
        int64_t wanted = i < n_batch ? i : at < free_b ? i + free_a : i - free_b;
        if (permutation[i] != wanted) {
            return false;
        }
    }
    return true;
}

static void exchange(Func *func, Op *transpose, Op *contract) {
    Value *operands[2] = {contract->operands[1], contract->operands[0]};
    Op *swapped = op_create(func, OP_contract, operands, 2, 1, 0);
    op_set_batch_a(swapped, contract_batch_b(contract));
    op_set_batch_b(swapped, contract_batch_a(contract));
    op_set_contract_a(swapped, contract_contract_b(contract));
    op_set_contract_b(swapped, contract_contract_a(contract));
    op_set_precision(swapped, contract_precision(contract));
    swapped->place = contract->place;
    swapped->label = contract->label;
    swapped->results[0]->type = transpose->results[0]->type;
    op_insert_before(swapped, transpose);
    contract->results[0]->name = NULL;
    transpose->operands[0] = swapped->results[0];
}

static void exchange_block(Func *func, Block *block, const int32_t *uses, Value **map) {
    for (Op *op = block->first, *next = NULL; op; op = next) {
        next = op->next;
        for (int32_t i = 0; i < op->n_blocks; i++) {
            exchange_block(func, op->blocks[i], uses, map);
        }
        Op *from = op->code == OP_transpose ? op->operands[0]->op : NULL;
        if (from && from->code == OP_contract && from->parent == block &&
            uses[from->results[0]->id] == 1 && exchanges_operands(op, from)) {
            exchange(func, op, from);
            map[op->results[0]->id] = op->operands[0];
        }
    }
}

static void exchange_contractions(PassContext *pass, Func *func) {
    func_renumber(func);
    int32_t *uses = func_use_counts(func, pass->scratch);
    Value **map = ARENA_ARRAY(pass->scratch, Value *, func->n_values + 1);
    exchange_block(func, func->body, uses, map);
    func_replace_values(func, map);
}

static void fuse_func(PassContext *pass, Func *func, bool trivial) {
    drop_stop_gradients(pass, func);
    if (!trivial) {
        exchange_contractions(pass, func);
    }
    fuse_block(pass, func, func->body, trivial);
    func_renumber(func);
    func->properties |= PROP_FUSED;
}

bool pass_fuse(PassContext *pass, Func *func) {
    if (func->properties & PROP_FUSED) {
        return false;
    }
    fuse_func(pass, func, false);
    return true;
}

void fuse_trivially(PassContext *pass, Func *func) {
    if (!(func->properties & PROP_FUSED)) {
        fuse_func(pass, func, true);
    }
}
