/* Gradients that are to travel in another type than their own, where the layout says so: those by
 * parameters that no other derivative goes through, which is what updates read. A hint stands on
 * each, for passes/shard. */
#include "ir/mesh_layout.h"
#include "passes/differentiate/differentiate.h"

static void grads_in(const Block *block, PassContext *pass, OpList *grads) {
    BLOCK_EACH_OP (block, op) {
        if (op->code == OP_grad) {
            VEC_PUSH(pass->scratch, grads, op);
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            grads_in(op->blocks[i], pass, grads);
        }
    }
}

/* Whether what another grad op derives is made of this one's results. */
static bool is_derived_again(PassContext *pass, const Func *func, const Op *grad) {
    OpList grads = {0};
    ValueFlags made = {0};
    for (int32_t i = 0; i < grad->n_results; i++) {
        value_set_flag(pass->scratch, &made, grad->results[i]);
    }
    grads_in(func->body, pass, &grads);
    for (size_t i = 0; i < grads.count; i++) {
        Op *other = grads.items[i];
        OpList ops = gradient_visible_ops(pass->scratch, other);
        gradient_mark_active(pass->scratch, &made, &ops);
        if (other != grad && value_flag(&made, other->operands[0])) {
            return true;
        }
    }
    return false;
}

bool gradient_is_sent(PassContext *pass, const Func *func, const Op *grad, DType *out) {
    const MeshLayout *layout = func->module->n_mesh_axes > 0 ? func->module->mesh_layout : NULL;
    return layout && layout->exchange && dtype_from_name(layout->exchange, out) &&
           !is_derived_again(pass, func, grad);
}

Value *gradient_sent_as(Gradient *gradient, const Value *x, Value *found, DType sent) {
    const Func *func = gradient->func;
    bool is_param = !x->op && x->block == func->body && func->args[x->index].role == ARG_PARAM;
    bool is_wider = dtype_bytes(found->type.dtype) > dtype_bytes(sent);
    return is_param && is_wider ? b_exchange_hint(&gradient->b, found, sent) : found;
}
