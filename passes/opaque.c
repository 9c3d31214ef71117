/* What a grad op derives by stays a value of its own until that op is expanded: an `opaque` op,
 * which no rewrite sees through, takes its place in all its uses. Otherwise cse would join the
 * value with an equal one, and simplify and fold would lead its uses around it. Arguments need
 * none: nothing joins or replaces them. An opaque op whose value no grad op names, or names any
 * more, is taken out. */
#include "passes/pass.h"

typedef VEC(Op *) OpList;

static void collect(Arena *arena, Block *block, OpList *grads, OpList *opaques) {
    BLOCK_EACH_OP (block, op) {
        if (op->code == OP_grad) {
            VEC_PUSH(arena, grads, op);
        } else if (op->code == OP_opaque) {
            VEC_PUSH(arena, opaques, op);
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            collect(arena, op->blocks[i], grads, opaques);
        }
    }
}

static Op *insert_behind(Value *x) {
    Builder b = builder_before(x->op->next);
    b.place = x->op->place;
    b.label = x->op->label;
    Value *result = b_opaque(&b, x);
    result->name = x->name;
    return result->op;
}

bool pass_opaque(PassContext *pass, Func *func) {
    Arena *arena = pass->scratch;
    OpList grads = {0}, opaques = {0}, made = {0};
    bool dropped = false;
    collect(arena, func->body, &grads, &opaques);
    func_renumber(func);
    Value **map = ARENA_ARRAY(arena, Value *, func->n_values + 1);
    bool *named = ARENA_ARRAY(arena, bool, func->n_values + 1);
    for (size_t i = 0; i < grads.count; i++) {
        const Op *grad = grads.items[i];
        for (int32_t k = 1; k < grad->n_operands; k++) {
            Value *x = grad->operands[k];
            if (x->op && x->op->code != OP_opaque && !named[x->id]) {
                VEC_PUSH(arena, &made, insert_behind(x));
                map[x->id] = made.items[made.count - 1]->results[0];
            }
            named[x->id] = true;
        }
    }
    for (size_t i = 0; i < opaques.count; i++) {
        Op *op = opaques.items[i];
        if (!named[op->results[0]->id]) {
            map[op->results[0]->id] = op->operands[0];
            op_unlink(op);
            dropped = true;
        }
    }
    if (made.count == 0 && !dropped) {
        return false;
    }
    Value **inner = ARENA_ARRAY(arena, Value *, made.count + 1);
    for (size_t i = 0; i < made.count; i++) {
        inner[i] = made.items[i]->operands[0];
    }
    func_replace_values(func, map);
    for (size_t i = 0; i < made.count; i++) {
        op_set_operand(made.items[i], 0, inner[i]);
    }
    return true;
}
