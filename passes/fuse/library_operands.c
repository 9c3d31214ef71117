/* Fusion for machines with vendors' libraries, before units are collected: what a library can only
 * be asked for if it lies so. Operands of large products that are none in memory are copied; beside
 * 16 bits, biases and the sums of convolutions are rounded to them. */
#include "passes/fuse/fuse.h"
#include "passes/library/convolution.h"
#include "passes/library/library.h"
#include "passes/library/matmul.h"

enum { COPY_SIDE = 128 /* columns or rows that pay for a copy of the other operand */ };

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
               library_wants(f->context, f->pass->machine, op);
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
           fuse_in_memory(op->operands[0]);
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

static void all_biases_round(Fuse *f) {
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

/* -- A convolution's sum beside 16 bits: libraries give results of the operands' type only -- */

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
        if (!convolution_is(op) || !library_wants(f->context, f->pass->machine, op)) {
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

/* -- Copies of operands -- */

/* Whether a copy of v is no larger than what it is made of, about, and plain to make. */
static bool can_copy(const Value *v) {
    for (; v->op && fuse_op_is_free(v->op); v = v->op->operands[0]) {
        if (op_info(v->op->code)->fusion != FUSION_VIEW) {
            return false;
        }
    }
    return true;
}

/* Puts operand i of a product into memory of its own, if it is a view; `copies` by value id. */
static void copy_operand(Op *product, int32_t i, Value **copies, int32_t n_copies) {
    Value *v = product->operands[i];
    if (!v->op || !fuse_op_is_free(v->op) || v->id >= n_copies || !can_copy(v)) {
        return;
    }
    if (!copies[v->id]) {
        Builder b = builder_before(product);
        b.place = v->op->place;
        b.label = v->op->label;
        copies[v->id] = b_copy(&b, v);
    }
    op_set_operand(product, i, copies[v->id]);
}

/* An operand of a contraction that is no matrix in memory, where the other one's side pays for a
 * copy of it; -1: none. */
static int32_t operand_to_copy(Fuse *f, const Op *contract) {
    Matmul matmul;
    int32_t culprit;
    const char *why;
    bool ok = matmul_of(f->context, contract, &matmul, &culprit, &why);
    for (int32_t s = 0; ok && s < 2 && culprit < 0; s++) {
        culprit = fuse_in_memory(matmul.operand[s]) ? -1 : s;
    }
    const Size *other = culprit == 0 ? matmul.n : matmul.m;
    return culprit >= 0 && size_nominal(other, COPY_SIDE) >= COPY_SIDE ? culprit : -1;
}

static void copy_of_contraction(Fuse *f, Op *contract, Value **copies, int32_t n_copies) {
    for (int attempt = 0; attempt < 2; attempt++) {
        int32_t operand = operand_to_copy(f, contract);
        if (operand >= 0) {
            copy_operand(contract, operand, copies, n_copies);
        }
    }
}

static void copy_of_convolution(Fuse *f, Op *conv, Value **copies, int32_t n_copies) {
    (void)f;
    for (int32_t i = 0; i < 2; i++) {
        const Value *v = conv->operands[i];
        while (v->op && v->op->code == OP_reshape) {
            v = v->op->operands[0];
        }
        if (!fuse_in_memory(v)) {
            copy_operand(conv, i, copies, n_copies);
        }
    }
}

typedef void CopyOperands(Fuse *f, Op *product, Value **copies, int32_t n_copies);

static void products_copy(Fuse *f, OpKind kind, CopyOperands *copy) {
    func_renumber(f->func);
    int32_t n = f->func->n_values;
    Value **copies = ARENA_ARRAY(f->arena, Value *, n + 1);
    BLOCK_EACH_OP (f->block, op) {
        if (op_info(op->code)->kind == kind && library_wants(f->context, f->pass->machine, op)) {
            copy(f, op, copies, n);
        }
    }
}

void fuse_library_operands(Fuse *f) {
    bool is_short = f->func->properties & PROP_SHORT;
    if (!f->pass->machine->has_libraries) {
        return;
    }
    if (is_short) {
        all_biases_round(f);
    }
    /* Before sums are rounded: a rounded one is no view that could be copied. */
    products_copy(f, KIND_CONTRACTION, copy_of_contraction);
    if (is_short) {
        results_round(f);
    }
    products_copy(f, KIND_CONVOLUTION, copy_of_convolution);
}
