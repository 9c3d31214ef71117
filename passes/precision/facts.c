/* Precision, first step: which values are kept in 16 bits. What is asked of an op is the op table's
 * column; from the products (contractions, convolutions, attention) two flows go through the whole
 * Func, loops included: forwards what is made of parameters and products, backwards what products
 * depend on. What lies in both, is as large as an activation and computed where rounding does no
 * harm is stored in 16 bits. Gradients of parameters, clipping and updates lie behind
 * stop_gradient, which ends the backward flow. */
#include "ir/ops/attention.h"
#include "passes/precision/precision.h"

#include <string.h>

/* A pooling: reductions of windows are no statistics. */
static bool is_pooling(const Op *op) {
    for (const Op *at = op->operands[0]->op; at && at->n_operands > 0; at = at->operands[0]->op) {
        if (at->code == OP_unfold) {
            return true;
        }
        if (!op_is_view(at->code) && at->code != OP_cast) {
            return false;
        }
    }
    return false;
}

/* The table's word, where the op's place does not say another. */
static OpPrecision op_class(const Precision *p, const Op *op) {
    OpPrecision word = op_info(op->code)->precision;
    if (word == PRECISION_PRODUCT) {
        return precision_is_product(p, op) ? PRECISION_PRODUCT : PRECISION_KEEP;
    }
    if (word == PRECISION_MAP_OF_WINDOW) {
        return is_pooling(op) ? PRECISION_MAP : PRECISION_KEEP;
    }
    return word;
}

bool precision_is_product(const Precision *p, const Op *op) {
    if (op_info(op->code)->precision != PRECISION_PRODUCT) {
        return false;
    }
    return op_has_precision(op)
               ? strcmp(op_precision(op), dtype_name(p->low)) == 0
               : op->operands[0]->type.dtype == DT_F32; /* attention, which is made of products */
}

bool precision_is_factor(const Op *op, int32_t operand) {
    if (op->operands[operand]->type.dtype != DT_F32) {
        return false;
    }
    return op->code != OP_attention_grad ||
           (operand != ATTENTION_GRAD_LSE && operand != ATTENTION_GRAD_DELTA);
}

bool precision_fact(const Precision *p, const Value *v, unsigned facts) {
    return v->id < p->n_values && (p->facts[v->id] & facts) == facts;
}

static void learn(Precision *p, const Value *v, unsigned facts) {
    if (dtype_is_float(v->type.dtype) && (p->facts[v->id] & facts) != facts) {
        p->facts[v->id] |= (uint8_t)facts;
        p->grows = true;
    }
}

static void share(Precision *p, const Value *from, const Value *to, unsigned facts) {
    learn(p, to, p->facts[from->id] & facts);
}

/* -- forwards */

/* Whether all float operands that are no constants have one of the facts, and some are there. */
static bool all_have(const Precision *p, const Op *op, unsigned facts) {
    bool any = false;
    for (int32_t i = 0; i < op->n_operands; i++) {
        const Value *x = op->operands[i];
        if (!dtype_is_float(x->type.dtype) || (x->op && x->op->n_operands == 0)) {
            continue;
        }
        if (!(p->facts[x->id] & facts)) {
            return false;
        }
        any = true;
    }
    return any;
}

static void forward_block(Precision *p, const Block *block);

static void forward_scan(Precision *p, const Op *op) {
    const Block *body = op->blocks[0];
    int32_t carries = (int32_t)scan_carries(op);
    for (int32_t i = 0; i < op->n_operands; i++) {
        share(p, op->operands[i], body->args[1 + i],
              i < carries ? FACT_ACTIVE : FACT_ACTIVE | FACT_STATISTIC);
    }
    forward_block(p, body);
    const Op *yield = block_yield(body);
    for (int32_t i = 0; i < op->n_results; i++) {
        share(p, yield->operands[i], op->results[i], FACT_ACTIVE | FACT_STATISTIC);
        if (i < carries) {
            share(p, yield->operands[i], body->args[1 + i], FACT_ACTIVE);
            share(p, op->operands[i], op->results[i], FACT_ACTIVE);
        }
    }
}

static void forward_while(Precision *p, const Op *op) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        share(p, op->operands[i], op->blocks[0]->args[i], FACT_ACTIVE);
        share(p, op->operands[i], op->blocks[1]->args[i], FACT_ACTIVE);
    }
    forward_block(p, op->blocks[0]);
    forward_block(p, op->blocks[1]);
    for (int32_t i = 0; i < op->n_results; i++) {
        share(p, block_yield(op->blocks[1])->operands[i], op->results[i], FACT_ACTIVE);
        share(p, op->results[i], op->blocks[1]->args[i], FACT_ACTIVE);
    }
}

static void forward_op(Precision *p, const Op *op) {
    OpPrecision class = op_class(p, op);
    bool is_map = op_info(op->code)->kind == KIND_ELEMENTWISE || op_is_view(op->code);
    bool reduces = op_info(op->code)->kind == KIND_REDUCTION && class != PRECISION_MAP;
    bool active = class == PRECISION_PRODUCT;
    for (int32_t i = 0; i < op->n_operands; i++) {
        active = active || (p->facts[op->operands[i]->id] & FACT_ACTIVE);
    }
    for (int32_t i = 0; i < op->n_results; i++) {
        if (active) {
            learn(p, op->results[i], FACT_ACTIVE);
        }
        if (is_map && all_have(p, op, FACT_PARAM)) {
            learn(p, op->results[i], FACT_PARAM);
        }
        if (reduces || (is_map && all_have(p, op, FACT_STATISTIC | FACT_PARAM) &&
                        !all_have(p, op, FACT_PARAM))) {
            learn(p, op->results[i], FACT_STATISTIC);
        }
    }
}

static void forward_block(Precision *p, const Block *block) {
    BLOCK_EACH_OP (block, op) {
        if (op->code == OP_scan) {
            forward_scan(p, op);
        } else if (op->code == OP_while) {
            forward_while(p, op);
        } else {
            forward_op(p, op);
        }
    }
}

/* -- backwards */

static void backward_block(Precision *p, const Block *block);

static void backward_scan(Precision *p, const Op *op) {
    const Block *body = op->blocks[0];
    const Op *yield = block_yield(body);
    int32_t carries = (int32_t)scan_carries(op);
    for (int32_t i = 0; i < op->n_results; i++) {
        share(p, op->results[i], yield->operands[i], FACT_REACHES);
        if (i < carries) {
            share(p, body->args[1 + i], yield->operands[i], FACT_REACHES);
        }
    }
    backward_block(p, body);
    for (int32_t i = 0; i < op->n_operands; i++) {
        share(p, body->args[1 + i], op->operands[i], FACT_REACHES);
        if (i < carries) {
            share(p, op->results[i], op->operands[i], FACT_REACHES);
        }
    }
}

static void backward_while(Precision *p, const Op *op) {
    const Op *next = block_yield(op->blocks[1]);
    for (int32_t i = 0; i < op->n_results; i++) {
        share(p, op->results[i], next->operands[i], FACT_REACHES);
        share(p, op->blocks[1]->args[i], next->operands[i], FACT_REACHES);
    }
    backward_block(p, op->blocks[1]);
    backward_block(p, op->blocks[0]);
    for (int32_t i = 0; i < op->n_operands; i++) {
        share(p, op->blocks[0]->args[i], op->operands[i], FACT_REACHES);
        share(p, op->blocks[1]->args[i], op->operands[i], FACT_REACHES);
    }
}

static void backward_op(Precision *p, const Op *op) {
    bool reaches = precision_is_product(p, op);
    for (int32_t i = 0; i < op->n_results; i++) {
        reaches = reaches || (p->facts[op->results[i]->id] & FACT_REACHES);
    }
    for (int32_t i = 0; i < op->n_operands && reaches && op->code != OP_stop_gradient; i++) {
        learn(p, op->operands[i], FACT_REACHES);
    }
}

static void backward_block(Precision *p, const Block *block) {
    for (const Op *op = block->last; op; op = op->prev) {
        if (op->code == OP_scan) {
            backward_scan(p, op);
        } else if (op->code == OP_while) {
            backward_while(p, op);
        } else if (op->code != OP_yield) {
            backward_op(p, op);
        }
    }
}

/* -- choosing */

static void collect_use(Op *op, void *user) {
    Precision *p = user;
    for (int32_t i = 0; i < op->n_operands; i++) {
        PrecisionUse use = {op, i, p->uses[op->operands[i]->id]};
        p->uses[op->operands[i]->id] = (int32_t)p->use_list.count;
        VEC_PUSH(p->pass->scratch, &p->use_list, use);
    }
}

static bool uses_statistic(const Precision *p, const Op *op) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        if (op->operands[i]->type.rank > 0 && precision_fact(p, op->operands[i], FACT_STATISTIC)) {
            return true;
        }
    }
    return false;
}

/* Whether the readers gain: a product, a loop or a view reads it, or several ops do, of which one
 * may be far away. What one elementwise op reads stays in a register. */
static bool is_worth(const Precision *p, const Value *v) {
    int32_t readers = 0;
    bool moved = false;
    const Op *first = NULL;
    for (int32_t at = p->uses[v->id]; at >= 0; at = p->use_list.items[at].next) {
        const Op *user = p->use_list.items[at].op;
        if (user->code == OP_yield) {
            continue;
        }
        if (op_class(p, user) == PRECISION_WIDE && v->op && op_is_scalar(v->op->code)) {
            return false;
        }
        moved = moved || (!op_is_scalar(user->code) &&
                          op_info(user->code)->kind != KIND_REDUCTION && user->code != OP_cast);
        readers += user != first;
        first = user;
    }
    bool normalises = v->op && op_is_scalar(v->op->code) && uses_statistic(p, v->op);
    return moved || (readers > 1 && !normalises);
}

static void choose(Op *op, void *user) {
    Precision *p = user;
    OpPrecision class = op_class(p, op);
    if (op->n_results != 1 || (class != PRECISION_MAP && class != PRECISION_PRODUCT)) {
        return;
    }
    const Value *v = op->results[0];
    unsigned facts = p->facts[v->id];
    if (v->type.dtype == DT_F32 && v->type.rank > 0 && (facts & FACT_ACTIVE) &&
        (facts & FACT_REACHES) && !(facts & (FACT_PARAM | FACT_STATISTIC)) && is_worth(p, v)) {
        p->facts[v->id] |= FACT_NARROW;
    }
}

void precision_analyse(Precision *p) {
    Func *func = p->func;
    Arena *arena = p->pass->scratch;
    p->facts = ARENA_ARRAY(arena, uint8_t, p->n_values + 1);
    p->uses = ARENA_ARRAY(arena, int32_t, p->n_values + 1);
    for (int32_t i = 0; i < p->n_values; i++) {
        p->uses[i] = -1;
    }
    func_each_op(func, collect_use, p);
    for (int32_t i = 0; i < func->body->n_args; i++) {
        if (func->args[i].role == ARG_PARAM) {
            learn(p, func->body->args[i], FACT_ACTIVE | FACT_PARAM);
        }
    }
    do {
        p->grows = false;
        forward_block(p, func->body);
        backward_block(p, func->body);
    } while (p->grows);
    func_each_op(func, choose, p);
}
