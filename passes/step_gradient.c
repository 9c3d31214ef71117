/* Which of a training step's gradients the optimiser follows (step_gradient.h). */
#include "passes/step_gradient.h"

static bool by_parameters(const Func *func, const Op *grad) {
    for (int32_t i = 1; i < grad->n_operands; i++) {
        const Value *x = grad->operands[i];
        if (!x->op && x->block == func->body && func->args[x->index].role == ARG_PARAM) {
            return true;
        }
    }
    return false;
}

static bool reads_marked(const Op *op, const bool *marked) {
    bool reads = false;
    for (int32_t i = 0; i < op->n_operands && !reads; i++) {
        reads = marked[op->operands[i]->id];
    }
    for (int32_t i = 0; i < op->n_blocks && !reads; i++) {
        BLOCK_EACH_OP (op->blocks[i], inner) {
            reads = reads || reads_marked(inner, marked);
        }
    }
    return reads;
}

/* Whether parameters or slots are computed from this gradient other than by the last one: another
 * `minimize`. What a model itself derives by a parameter is part of its loss, metrics and outputs;
 * that an update waits for a finite loss is no computing. */
static bool updates(Arena *arena, const Func *func, const Op *grad, const Op *last) {
    bool *marked = ARENA_ARRAY(arena, bool, func->n_numbered + 1);
    for (int32_t i = 0; i < grad->n_results; i++) {
        marked[grad->results[i]->id] = true;
    }
    for (const Op *op = grad->next; op; op = op->next) {
        bool reads = op != last && reads_marked(op, marked);
        for (int32_t i = 0; i < op->n_results && reads; i++) {
            marked[op->results[i]->id] = dtype_is_float(op->results[i]->type.dtype);
        }
    }
    bool found = false;
    for (int32_t i = 0; i < func->n_results && !found; i++) {
        bool stores = func->results[i].role == RESULT_STORE;
        ArgRole role = stores ? func->args[func->results[i].arg].role : ARG_INPUT;
        found = (role == ARG_PARAM || role == ARG_SLOT) &&
                marked[block_yield(func->body)->operands[i]->id];
    }
    return found;
}

Op *step_gradient(Arena *arena, Func *func, const char **out_problem) {
    Op *last = NULL;
    BLOCK_EACH_OP (func->body, op) {
        last = op->code == OP_grad && by_parameters(func, op) ? op : last;
    }
    if (last == NULL) {
        *out_problem = "it trains no parameter";
        return NULL;
    }
    BLOCK_EACH_OP (func->body, op) {
        if (op != last && op->code == OP_grad && by_parameters(func, op) &&
            updates(arena, func, op, last)) {
            *out_problem = "its train block has several `minimize` lines";
            return NULL;
        }
    }
    return last;
}
