/* Mixed precision: products marked by the front end (`precision bf16`, `f16`) get operands of that
 * type and give f32 sums; the activations between them are stored in it and computed in f32, as
 * wide as registers are; parameters are rounded once. Runs on the differentiated Func, so that the
 * gradients of parameters come straight from f32 sums. Types at the Func's borders stay. */
#include "passes/precision/precision.h"

#include <string.h>

static Builder builder_after(Value *v, Func *func) {
    if (v->op) {
        Builder b = v->op->next ? builder_before(v->op->next) : builder_at_end(func, v->op->parent);
        b.place = v->op->place;
        b.label = v->op->label;
        return b;
    }
    return v->block->first ? builder_before(v->block->first) : builder_at_end(func, v->block);
}

static Value *low_of(Precision *p, Value *v);

/* A view of 16 bits in place of 16 bits of a view. */
static Value *low_view(Precision *p, Value *v) {
    Op *op = v->op;
    Value *operands[2] = {NULL, NULL};
    for (int32_t i = 0; i < op->n_operands; i++) {
        operands[i] = low_of(p, op->operands[i]);
    }
    Builder b = builder_after(v, p->func);
    Op *copy = op_create(p->func, op->code, operands, op->n_operands, 1, 0);
    memcpy(copy->attrs, op->attrs, sizeof(copy->attrs));
    return b_op(&b, copy);
}

static Value *low_of(Precision *p, Value *v) {
    Op *op = v->op;
    boundary_check_stack(p->func->module->context->boundary);
    if (v->type.dtype == p->low) {
        return v;
    }
    if (op && op->code == OP_cast && op->operands[0]->type.dtype == p->low) {
        return op->operands[0];
    }
    if (v->id < p->n_values && p->lows[v->id]) {
        return p->lows[v->id];
    }
    Value *low = NULL;
    if (op && op_is_view(op->code)) {
        low = low_view(p, v);
    } else {
        Builder b = builder_after(v, p->func);
        low = b_cast(&b, v, p->low);
    }
    if (v->id < p->n_values) {
        p->lows[v->id] = low;
    }
    return low;
}

/* Every reader of v but the Func's yield, which keeps what it stores, reads `wide` instead. */
static void redirect(Precision *p, const Value *v, Value *wide) {
    for (int32_t at = p->uses[v->id]; at >= 0; at = p->use_list.items[at].next) {
        const PrecisionUse *use = &p->use_list.items[at];
        bool leaves = use->op->code == OP_yield && use->op->parent == p->func->body;
        if (!leaves && use->op->operands[use->operand] == v) {
            op_set_operand(use->op, use->operand, wide);
        }
    }
}

/* v now has 16 bits: its readers get it widened. */
static void widen(Precision *p, Value *v) {
    Builder b = builder_after(v, p->func);
    Value *wide = b_cast(&b, v, DT_F32);
    p->lows[v->id] = v;
    for (int32_t at = p->uses[v->id]; at >= 0; at = p->use_list.items[at].next) {
        const PrecisionUse *use = &p->use_list.items[at];
        if (use->op->operands[use->operand] == v) {
            op_set_operand(use->op, use->operand, wide);
        }
    }
}

static void narrow(Precision *p, Value *v) {
    Builder b = builder_after(v, p->func);
    Value *low = b_cast(&b, v, p->low);
    Value *wide = b_cast(&b, low, DT_F32);
    p->lows[v->id] = low;
    redirect(p, v, wide);
}

static void infer(Precision *p, Op *op) {
    OpProblem problem = {0};
    if (!op_infer(p->pass->context, op, &problem)) {
        INTERNAL_ERROR(p->pass->context, op->place, op_info(op->code)->name, "%s", problem.text);
    }
}

static void lower_product(Precision *p, Op *op) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        if (precision_is_factor(op, i)) {
            op_set_operand(op, i, low_of(p, op->operands[i]));
        }
    }
    if (op_has_precision(op)) {
        op_set_precision(op, context_intern(p->pass->context, "f32"));
    }
    infer(p, op);
    for (int32_t i = 0; i < op->n_results; i++) {
        if (op->results[i]->type.dtype == p->low) {
            widen(p, op->results[i]);
        }
    }
}

static void lower_block(Precision *p, Block *block);

static bool is_kept_low(const Precision *p, const Value *v) {
    return v->type.dtype == DT_F32 && v->type.rank > 0 &&
           precision_fact(p, v, FACT_ACTIVE | FACT_REACHES) &&
           !(p->facts[v->id] & (FACT_PARAM | FACT_STATISTIC));
}

/* What a loop reads and stacks slice by slice is in memory as a whole: in 16 bits. */
static void lower_scan(Precision *p, Op *op) {
    Block *body = op->blocks[0];
    int32_t carries = (int32_t)scan_carries(op);
    for (int32_t i = carries; i < op->n_operands; i++) {
        Value *x = op->operands[i], *slice = body->args[1 + i];
        bool is_low = x->op && x->op->code == OP_cast && x->op->operands[0]->type.dtype == p->low;
        if (is_low || is_kept_low(p, x)) {
            op_set_operand(op, i, low_of(p, x));
            slice->type = type_make(p->pass->context, p->low, slice->type.rank, slice->type.dims);
            widen(p, slice);
        }
    }
    lower_block(p, body);
    Op *yield = block_yield(body);
    bool *stacked = ARENA_ARRAY(p->pass->scratch, bool, op->n_results + 1);
    for (int32_t i = carries; i < op->n_results; i++) {
        if (is_kept_low(p, op->results[i])) {
            op_set_operand(yield, i, low_of(p, yield->operands[i]));
            stacked[i] = true;
        }
    }
    infer(p, op);
    for (int32_t i = carries; i < op->n_results; i++) {
        if (stacked[i]) {
            widen(p, op->results[i]);
        }
    }
}

static void lower_block(Precision *p, Block *block) {
    for (Op *op = block->first, *next = NULL; op; op = next) {
        next = op->next;
        if (op->code == OP_scan) {
            lower_scan(p, op);
            continue;
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            lower_block(p, op->blocks[i]);
        }
        if (precision_is_product(p, op)) {
            lower_product(p, op);
        }
        if (op->n_results == 1 && precision_fact(p, op->results[0], FACT_NARROW)) {
            narrow(p, op->results[0]);
        }
    }
}

typedef struct Wanted {
    bool found;
    DType dtype;
} Wanted;

static void find_wanted(Op *op, void *user) {
    Wanted *wanted = user;
    if (op_has_precision(op)) {
        const char *precision = op_precision(op);
        DType dtype = DT_F32;
        if (dtype_from_name(precision, &dtype) && (dtype == DT_BF16 || dtype == DT_F16)) {
            *wanted = (Wanted){true, dtype};
        }
    }
}

bool pass_precision(PassContext *pass, Func *func) {
    Wanted wanted = {0};
    func_each_op(func, find_wanted, &wanted);
    /* Elsewhere everything is computed in f32, marks or not. */
    bool native = wanted.dtype == DT_BF16 ? pass->machine->has_bf16 : pass->machine->has_f16;
    if (!wanted.found || !native) {
        return false;
    }
    func_renumber(func);
    Precision p = {.pass = pass, .func = func, .low = wanted.dtype, .n_values = func->n_values};
    p.lows = ARENA_ARRAY(pass->scratch, Value *, p.n_values + 1);
    precision_analyse(&p);
    lower_block(&p, func->body);
    func->properties |= PROP_SHORT;
    return true;
}
