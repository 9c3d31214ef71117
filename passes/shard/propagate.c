/* From how some values are cut to how all are: through the ops, forwards and backwards, until
 * nothing changes. Who is asked first decides: nothing that is chosen is taken back. Values that
 * nothing reaches are whole on every rank. */
#include "passes/shard/shard.h"

const Size *batch_rows(const Func *func) {
    const Module *module = func->module;
    const char *name = map_get(&module->settings, "batch_dim");
    const Dim *dim = name ? module_find_dim(module, name) : NULL;
    if (dim) {
        return size_dim(module->context, dim);
    }
    for (int32_t i = 0; i < func->body->n_args; i++) {
        Type type = func->body->args[i]->type;
        if (func->args[i].role == ARG_INPUT && type.rank > 0) {
            return type.dims[0];
        }
    }
    return NULL;
}

/* All that `from` has goes to `to`, `by` axes further on; cuts of axes before that stay behind. */
static void pass_on(Shard *s, const Value *from, const Value *to, int32_t by) {
    Cuts cuts = cuts_to_pass(s, from);
    for (int32_t i = 0; i < cuts.n; i++) {
        if (cuts.at[i].axis + by >= 0) {
            cut_offer(s, to, &cuts.at[i], cuts.at[i].axis + by);
        }
    }
}

static void unify(Shard *s, const Value *a, const Value *b, int32_t by) {
    pass_on(s, a, b, by);
    pass_on(s, b, a, -by);
}

void factor_offer(Shard *s, const Op *op, const OpAxes *axes, int8_t factor, const AxisCut *cut) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        for (int32_t axis = 0; axis < op->operands[i]->type.rank; axis++) {
            if (axes->operands[i][axis] == factor) {
                cut_offer(s, op->operands[i], cut, axis);
            }
        }
    }
    for (int32_t r = 0; r < op->n_results; r++) {
        for (int32_t axis = 0; axis < op->results[r]->type.rank; axis++) {
            if (axes->results[r][axis] == factor) {
                cut_offer(s, op->results[r], cut, axis);
            }
        }
    }
}

static void pass_by_axes(Shard *s, const Op *op) {
    OpAxes axes = op_factors(s->arena, op);
    for (int32_t i = 0; i < op->n_operands + op->n_results; i++) {
        bool is_operand = i < op->n_operands;
        int32_t n = is_operand ? i : i - op->n_operands;
        const Value *value = is_operand ? op->operands[n] : op->results[n];
        const AxesRow *row = is_operand ? &axes.operands[n] : &axes.results[n];
        Cuts cuts = cuts_to_pass(s, value);
        for (int32_t c = 0; c < cuts.n; c++) {
            int8_t factor = (*row)[cuts.at[c].axis];
            if (factor >= 0) {
                factor_offer(s, op, &axes, factor, &cuts.at[c]);
            }
        }
    }
}

static void pass_through_reshape(Shard *s, const Value *from, const Value *to) {
    Cuts cuts = cuts_to_pass(s, from);
    for (int32_t i = 0; i < cuts.n; i++) {
        AxisCut cut;
        if (cut_reshape(s->context, from->type, to->type, &cuts.at[i], &cut)) {
            cut_offer(s, to, &cut, cut.axis);
        }
    }
}

static void pass_block(Shard *s, const Block *block);

static void pass_scan(Shard *s, const Op *op) {
    const Block *body = op->blocks[0];
    const Op *yield = block_yield(body);
    int32_t n_carries = (int32_t)scan_carries(op);
    for (int32_t i = s->loops_are_closed ? n_carries : 0; i < op->n_operands; i++) {
        unify(s, op->operands[i], body->args[i + 1], i < n_carries ? 0 : -1);
    }
    pass_block(s, body);
    for (int32_t i = 0; i < yield->n_operands && !s->loops_are_closed; i++) {
        unify(s, yield->operands[i], op->results[i], i < n_carries ? 0 : 1);
        if (i < n_carries) {
            unify(s, yield->operands[i], body->args[i + 1], 0);
        }
    }
}

static void pass_while(Shard *s, const Op *op) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        unify(s, op->operands[i], op->blocks[0]->args[i], 0);
        unify(s, op->operands[i], op->blocks[1]->args[i], 0);
        unify(s, op->operands[i], op->results[i], 0);
        unify(s, op->operands[i], block_yield(op->blocks[1])->operands[i], 0);
    }
    pass_block(s, op->blocks[0]);
    pass_block(s, op->blocks[1]);
}

static void pass_op(Shard *s, const Op *op) {
    if (op_info(op->code)->axes) {
        pass_by_axes(s, op);
        pass_by_parts(s, op);
        pass_by_picking(s, op);
    } else if (op->code == OP_reshape) {
        pass_through_reshape(s, op->operands[0], op->results[0]);
        pass_through_reshape(s, op->results[0], op->operands[0]);
    } else if (op->code == OP_scan) {
        pass_scan(s, op);
    } else if (op->code == OP_while) {
        pass_while(s, op);
    }
}

/* Forwards, then backwards: each goes as far as it can in one turn. */
static void pass_block(Shard *s, const Block *block) {
    BLOCK_EACH_OP (block, op) {
        pass_op(s, op);
    }
    for (const Op *op = block->last; op; op = op->prev) {
        pass_op(s, op);
    }
}

/* A store is cut as what it replaces. */
static void unify_stores(Shard *s) {
    const Op *yield = block_yield(s->func->body);
    for (int32_t r = 0; r < s->func->n_results; r++) {
        if (s->func->results[r].role == RESULT_STORE) {
            unify(s, s->func->body->args[s->func->results[r].arg], yield->operands[r], 0);
        }
    }
}

void propagate_further(Shard *s) {
    do {
        s->changed = false;
        pass_block(s, s->func->body);
        unify_stores(s);
    } while (s->changed);
}
