/* Fusion for machines with vendors' libraries: a large contraction stays by itself, with no more in
 * its kernel than a library can be asked for (ir/matmul.h says what that is). Operands that are no
 * matrices in memory are first copied to one. Small contractions fuse as everywhere: there a launch
 * more costs more than a faster product gains. */
#include "passes/fuse/fuse.h"

#include "ir/matmul.h"

enum {
    MOST_USERS = 48, /* units behind a contraction that are looked at */
    COPY_SIDE = 128  /* columns or rows that pay for a copy of the other operand */
};

/* -- Before units are collected: copies of operands -- */

static bool lies_in_memory(const Value *v) {
    return !v->op || !fuse_op_is_free(v->op);
}

/* -- A bias beside 16 bits -- */

static const Value *through_views(const Value *v) {
    while (v->op && (v->op->code == OP_reshape ||
                     (v->op->code == OP_cast && v->op->results[0]->type.dtype == DT_F32))) {
        v = v->op->operands[0];
    }
    return v;
}

/* The sum of a large product of 16-bit operands that is added to. */
static bool adds_to_product(Fuse *f, const Value *v, DType low, int32_t fuel) {
    const Op *op = through_views(v)->op;
    if (op && op->code == OP_contract) {
        return op->operands[0]->type.dtype == low &&
               matmul_is_large(f->context, op, &f->pass->machine->matmul_worth);
    }
    return op && op->code == OP_add && fuel > 0 &&
           (adds_to_product(f, op->operands[0], low, fuel - 1) ||
            adds_to_product(f, op->operands[1], low, fuel - 1));
}

/* A vector over the last axis, in memory as f32. */
static bool is_bias(const Value *v) {
    const Op *op = v->op;
    return op && op->code == OP_broadcast && op->operands[0]->type.rank == 1 &&
           op->operands[0]->type.dtype == DT_F32 && op_axes(op).at[0] == v->type.rank - 1 &&
           lies_in_memory(op->operands[0]);
}

/* Libraries add a bias of the result's own type only: where the sum is stored in 16 bits, the bias
 * is rounded to them too. */
static void biases_round(Fuse *f, Op *cast, const int32_t *uses) {
    DType low = cast->results[0]->type.dtype;
    const Value *v = cast->operands[0];
    for (int32_t depth = 0; depth < 3 && v->op && v->op->code == OP_add && uses[v->id] == 1;
         depth++) {
        Op *add = v->op;
        int32_t sum = adds_to_product(f, add->operands[0], low, 2) ? 0 : 1;
        Value *bias = add->operands[1 - sum];
        if (!adds_to_product(f, add->operands[sum], low, 2)) {
            return;
        }
        if (is_bias(bias)) {
            Builder b = builder_before(add);
            b.place = bias->op->place;
            b.label = bias->op->label;
            Value *rounded = b_cast(&b, b_cast(&b, bias->op->operands[0], low), DT_F32);
            op_set_operand(
                add, 1 - sum,
                b_broadcast(&b, rounded, bias->type.rank, bias->type.dims, op_axes(bias->op).at));
        }
        v = through_views(add->operands[sum]);
    }
}

void fuse_library_biases(Fuse *f) {
    if (!f->pass->machine->has_libraries || !(f->func->properties & PROP_SHORT)) {
        return;
    }
    func_renumber(f->func);
    int32_t *uses = func_use_counts(f->func, f->arena);
    int32_t n = f->func->n_values;
    BLOCK_EACH_OP (f->block, op) {
        bool rounds =
            op->code == OP_cast && op->operands[0]->type.dtype == DT_F32 &&
            (op->results[0]->type.dtype == DT_BF16 || op->results[0]->type.dtype == DT_F16);
        if (rounds && op->operands[0]->id < n) {
            biases_round(f, op, uses);
        }
    }
}

void fuse_library_copies(Fuse *f) {
    if (!f->pass->machine->has_libraries) {
        return;
    }
    func_renumber(f->func);
    int32_t n = f->func->n_values;
    Value **copies = ARENA_ARRAY(f->arena, Value *, n + 1);
    BLOCK_EACH_OP (f->block, op) {
        if (op->code != OP_contract ||
            !matmul_is_large(f->context, op, &f->pass->machine->matmul_worth)) {
            continue;
        }
        for (int attempt = 0; attempt < 2; attempt++) {
            Matmul matmul;
            int32_t culprit;
            const char *why;
            bool ok = matmul_of(f->context, op, &matmul, &culprit, &why);
            for (int32_t s = 0; ok && s < 2 && culprit < 0; s++) {
                culprit = lies_in_memory(matmul.operand[s]) ? -1 : s;
            }
            if (culprit < 0) {
                break;
            }
            const Size *other = culprit == 0 ? matmul.n : matmul.m;
            if (size_nominal(other, COPY_SIDE) >= COPY_SIDE) {
                fuse_library_copy(op, culprit, copies, n);
            }
        }
    }
}

/* -- Which units one call would do -- */

static int32_t unit_of_op(const Fuse *f, const Op *op) {
    return op->parent == f->block && op->id < f->n_ids ? f->unit_of[op->id] : -1;
}

/* The units of the match; false: one of them but the last is wanted by others too, or an operand is
 * not in memory. */
static bool match_units(const Fuse *f, const Matmul *matmul, int32_t last, int32_t *units,
                        int32_t *out_count) {
    int32_t count = 0;
    for (int32_t i = 0; i < matmul->n_ops; i++) {
        int32_t unit = unit_of_op(f, matmul->ops[i]);
        if (unit >= 0 && !fuse_library_holds(units, count, unit)) {
            units[count++] = unit;
        }
    }
    for (int32_t i = 0; i < count; i++) {
        const Unit *unit = &f->units.items[units[i]];
        for (size_t j = 0; j < unit->users.count && units[i] != last; j++) {
            int32_t user = unit->users.items[j];
            if (f->units.items[user].is_live && !fuse_library_holds(units, count, user)) {
                return false;
            }
        }
    }
    for (int i = 0; i < MATMUL_D; i++) {
        if (matmul->operand[i] && !lies_in_memory(matmul->operand[i])) {
            return false;
        }
    }
    *out_count = count;
    return true;
}

static void mark_contraction(Fuse *f, int32_t index) {
    int32_t behind[MOST_USERS], best[MATMUL_MOST_OPS], n_best = 0;
    int32_t n_behind = fuse_library_behind(f, index, behind, MOST_USERS);
    const Op *contract = f->units.items[index].op;
    for (int32_t i = 0; i < n_behind; i++) {
        const Op *op = f->units.items[behind[i]].op;
        Matmul matmul;
        const char *why;
        int32_t units[MATMUL_MOST_OPS], count;
        if (op->n_results == 1 &&
            matmul_match(f->context, op->results[0], contract, &matmul, &why) &&
            match_units(f, &matmul, behind[i], units, &count) && count > n_best) {
            memcpy(best, units, (size_t)count * sizeof(*units));
            n_best = count;
        }
    }
    for (int32_t i = 0; i < n_best; i++) {
        f->units.items[best[i]].library = index + 1;
    }
}

void fuse_library_mark(Fuse *f) {
    if (!f->pass->machine->has_libraries) {
        return;
    }
    for (size_t i = 0; i < f->units.count; i++) {
        const Unit *unit = &f->units.items[i];
        if (unit->is_live && unit->op->code == OP_contract &&
            matmul_is_large(f->context, unit->op, &f->pass->machine->matmul_worth)) {
            mark_contraction(f, (int32_t)i);
        }
    }
    fuse_library_mark_convs(f);
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
