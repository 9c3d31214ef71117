/* The fuse pass: turns a Func's body and the blocks of its loops into fusion ops, views (reshape)
 * and what stands outside kernels (scan, while, check, show, yield). Steps: fuse_graph, fuse_merge,
 * fuse_build. */
#include "passes/fuse.h"

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

/* Gradients are taken: stop_gradient is the identity, and from here on marks the copies that fusion
 * asks for. */
static void drop_stop_gradients(PassContext *pass, Func *func) {
    func_renumber(func);
    Value **map = ARENA_ARRAY(pass->scratch, Value *, func->n_values + 1);
    find_stops(func->body, map);
    func_replace_values(func, map);
    unlink_stops(func->body);
}

/* An op outside kernels needs its operands in memory: a free op's value gets a copy of its own. */
static Value *materialise(Fuse *f, Op *barrier, Value *v, Value **copies, int32_t n_copies) {
    if (!v->op || !fuse_op_is_free(v->op)) {
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
        result = b_stop_gradient(&b, v);
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
              .block = block,
              .trivial = trivial};
    materialise_operands(&f);
    func_renumber(func);
    fuse_collect(&f);
    if (!trivial) {
        fuse_merge_all(&f);
    }
    fuse_build(&f);
}

static void fuse_func(PassContext *pass, Func *func, bool trivial) {
    drop_stop_gradients(pass, func);
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
