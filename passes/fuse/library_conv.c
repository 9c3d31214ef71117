/* Convolutions on machines with vendors' libraries (see library.c for the whole): a large one
 * stays by itself, or with the bias and relu that a library does with it. Libraries give
 * results of the operands' type only: beside 16 bits, sums and biases are rounded to them. */
#include "passes/fuse/fuse.h"

#include "ir/convolution.h"

enum { MOST_USERS = 48 /* units behind a convolution that are looked at */ };

/* -- Before units are collected -- */

typedef struct Uses {
    const int32_t *counts; /* by value id */
    Op **last;             /* by value id: the last op of the block that reads it */
} Uses;

static Uses uses_of(Fuse *f) {
    func_renumber(f->func);
    Uses uses = {.counts = func_use_counts(f->func, f->arena),
                 .last = ARENA_ARRAY(f->arena, Op *, f->func->n_values + 1)};
    BLOCK_EACH_OP (f->block, op) {
        for (int32_t i = 0; i < op->n_operands; i++) {
            uses.last[op->operands[i]->id] = op;
        }
    }
    return uses;
}

static bool is_cast_to(const Op *op, DType type) {
    return op && op->code == OP_cast && op->results[0]->type.dtype == type;
}

/* Rounds the bias that `add` adds. */
static void bias_round(Op *add, int32_t side, DType low) {
    const Op *broadcast = add->operands[side]->op;
    Builder b = builder_before(add);
    b.place = broadcast->place;
    b.label = broadcast->label;
    Value *rounded = b_cast(&b, b_cast(&b, broadcast->operands[0], low), DT_F32);
    Type type = add->operands[side]->type;
    op_set_operand(add, side,
                   b_broadcast(&b, rounded, type.rank, type.dims, op_axes(broadcast).at));
}

/* Whether a sum of a forward convolution is stored in 16 bits after additions alone; an f32 bias
 * among them is rounded. */
static bool sum_rounds(Op *conv, const Uses *uses, DType low) {
    enum { ADDENDS = 2 };
    const Value *v = conv->results[0];
    Op *add = NULL;
    int32_t side = 0;
    for (int n = 0; n <= ADDENDS; n++) {
        Op *user = uses->counts[v->id] == 1 ? uses->last[v->id] : NULL;
        if (is_cast_to(user, low)) {
            if (add) {
                bias_round(add, side, low);
            }
            return true;
        }
        if (!user || user->code != OP_add || conv->code != OP_conv) {
            return false;
        }
        int32_t other = user->operands[0] == v ? 1 : 0;
        const Value *bias = convolution_bias(user->operands[other]);
        if (bias && bias->type.dtype == DT_F32) {
            add = user;
            side = other;
        }
        v = user->results[0];
    }
    return false;
}

/* Whether all readers round the value themselves. */
static bool all_round(const Fuse *f, const Value *v, const Uses *uses, DType low) {
    int32_t rounding = 0;
    BLOCK_EACH_OP (f->block, op) {
        rounding += is_cast_to(op, low) && op->operands[0] == v;
    }
    return rounding == uses->counts[v->id];
}

/* The convolution's result, rounded, in place of the result. */
static Value *result_round(Op *conv, DType low) {
    Builder b = builder_before(conv->next);
    b.place = conv->place;
    b.label = conv->label;
    return b_cast(&b, b_cast(&b, conv->results[0], low), DT_F32);
}

static void results_round(Fuse *f) {
    Uses uses = uses_of(f);
    VEC(Op *) rounded = {0};
    VEC(Value *) results = {0};
    for (Op *op = f->block->first, *next = NULL; op; op = next) {
        next = op->next;
        if (!convolution_is(op) ||
            !convolution_is_large(op, &f->pass->machine->convolution_worth)) {
            continue;
        }
        DType low = op->operands[0]->type.dtype;
        Value *result = op->results[0];
        bool narrow = (low == DT_BF16 || low == DT_F16) && op->operands[1]->type.dtype == low;
        if (narrow && result->type.dtype == DT_F32 && !all_round(f, result, &uses, low) &&
            !sum_rounds(op, &uses, low)) {
            VEC_PUSH(f->arena, &results, result_round(op, low));
            VEC_PUSH(f->arena, &rounded, op);
        }
    }
    if (rounded.count == 0) {
        return;
    }
    func_renumber(f->func);
    Value **map = ARENA_ARRAY(f->arena, Value *, f->func->n_values + 1);
    for (size_t i = 0; i < rounded.count; i++) {
        map[rounded.items[i]->results[0]->id] = results.items[i];
    }
    func_replace_values(f->func, map);
    for (size_t i = 0; i < rounded.count; i++) {
        op_set_operand(rounded.items[i]->next, 0, rounded.items[i]->results[0]);
    }
}

void fuse_library_convs(Fuse *f) {
    if (!f->pass->machine->has_libraries) {
        return;
    }
    if (f->func->properties & PROP_SHORT) {
        results_round(f);
    }
    func_renumber(f->func);
    int32_t n = f->func->n_values;
    Value **copies = ARENA_ARRAY(f->arena, Value *, n + 1);
    BLOCK_EACH_OP (f->block, op) {
        for (int32_t i = 0; i < 2 && convolution_is(op); i++) {
            const Value *v = op->operands[i];
            while (v->op && v->op->code == OP_reshape) {
                v = v->op->operands[0];
            }
            if (v->op && fuse_op_is_free(v->op) &&
                convolution_is_large(op, &f->pass->machine->convolution_worth)) {
                fuse_library_copy(op, i, copies, n);
            }
        }
    }
}

/* -- Which units one call would do -- */

/* The units of the match; false: one of them but the last is wanted by others too, or an operand is
 * not in memory. */
static bool match_units(const Fuse *f, const Convolution *match, int32_t last, int32_t *units,
                        int32_t *out_count) {
    int32_t count = 0;
    for (int32_t i = 0; i < match->n_ops; i++) {
        const Op *op = match->ops[i];
        int32_t unit = op->parent == f->block && op->id < f->n_ids ? f->unit_of[op->id] : -1;
        if (unit >= 0) {
            units[count++] = unit;
        }
    }
    for (int32_t i = 0; i < count; i++) {
        const Unit *unit = &f->units.items[units[i]];
        for (size_t j = 0; j < unit->users.count && units[i] != last; j++) {
            int32_t user = unit->users.items[j];
            bool inside = !f->units.items[user].is_live;
            for (int32_t k = 0; k < count; k++) {
                inside = inside || units[k] == user;
            }
            if (!inside) {
                return false;
            }
        }
    }
    for (int i = 0; i < CONV_D; i++) {
        const Value *v = match->operand[i];
        if (v && v->op && fuse_op_is_free(v->op)) {
            return false;
        }
    }
    *out_count = count;
    return true;
}

/* The largest call that has the convolution in it. */
static void mark_one(Fuse *f, int32_t index) {
    int32_t behind[MOST_USERS], n_behind, best[CONV_MOST_OPS], n_best = 0;
    const Op *conv = f->units.items[index].op;
    n_behind = fuse_library_behind(f, index, behind, MOST_USERS);
    for (int32_t i = 0; i < n_behind; i++) {
        const Op *op = f->units.items[behind[i]].op;
        Convolution match;
        const char *why;
        int32_t units[CONV_MOST_OPS], count;
        if (op->n_results == 1 &&
            convolution_match(f->context, op->results[0], conv, &match, &why) &&
            match_units(f, &match, behind[i], units, &count) && count > n_best) {
            memcpy(best, units, (size_t)count * sizeof(*units));
            n_best = count;
        }
    }
    for (int32_t i = 0; i < n_best; i++) {
        f->units.items[best[i]].library = index + 1;
    }
}

void fuse_library_mark_convs(Fuse *f) {
    for (size_t i = 0; i < f->units.count; i++) {
        const Unit *unit = &f->units.items[i];
        if (unit->is_live && convolution_is(unit->op) &&
            convolution_is_large(unit->op, &f->pass->machine->convolution_worth)) {
            mark_one(f, (int32_t)i);
        }
    }
}
