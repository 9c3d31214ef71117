/* What a program says of how its values are cut (`x |> shard(data, _)`, and its mesh block) stands
 * in the Func as shard_hint ops, and in which type gradients are sent as exchange_hint ops, which
 * passes/shard reads and takes out. A Func that is for one
 * device is compiled as if nothing had been said: they go before any pass could stop at one. */
#include "passes/hint.h"
#include "passes/pass.h"

static void drop_hints(Block *block, Value **map, bool *found) {
    for (Op *op = block->first, *next; op; op = next) {
        next = op->next;
        if (op->code == OP_shard_hint || op->code == OP_exchange_hint) {
            if (!op->operands[0]->name && op->operands[0]->op) {
                op->operands[0]->name = op->results[0]->name;
            }
            map[op->results[0]->id] = op->operands[0];
            op_unlink(op);
            *found = true;
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            drop_hints(op->blocks[i], map, found);
        }
    }
}

bool hints_drop(Func *func) {
    func_renumber(func);
    Value **map = ARENA_ARRAY(&func->module->scratch, Value *, func->n_values + 1);
    bool found = false;
    drop_hints(func->body, map, &found);
    if (found) {
        func_replace_values(func, map);
        func_renumber(func);
    }
    return found;
}

bool pass_hint(PassContext *pass, Func *func) {
    (void)pass;
    return func->module->n_mesh_axes == 0 && hints_drop(func);
}
