/* The walk behind every local rewrite: in program order, with one replacement map, so that a pass
 * over n ops costs O(n) however many it replaces. */
#include "passes/rewrite.h"
#include "ir/interp.h"

Value *rewriter_resolve(Rewriter *rewriter, Value *value) {
    while (value->id < rewriter->capacity && rewriter->map[value->id]) {
        value = rewriter->map[value->id];
    }
    return value;
}

static void map_reserve(Rewriter *rewriter, int32_t id) {
    if (id < rewriter->capacity) {
        return;
    }
    int32_t capacity = rewriter->capacity * 2 > id + 1 ? rewriter->capacity * 2 : id + 64;
    Value **map = ARENA_ARRAY(rewriter->pass->scratch, Value *, capacity);
    if (rewriter->capacity > 0) {
        memcpy(map, rewriter->map, (size_t)rewriter->capacity * sizeof(Value *));
    }
    rewriter->map = map;
    rewriter->capacity = capacity;
}

static void rewrite_block(Rewriter *rewriter, Block *block, RewriteCallback callback) {
    for (Op *op = block->first, *next; op; op = next) {
        next = op->next;
        for (int32_t i = 0; i < op->n_operands; i++) {
            Value *resolved = rewriter_resolve(rewriter, op->operands[i]);
            if (resolved != op->operands[i]) {
                op_set_operand(op, i, resolved);
            }
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            rewrite_block(rewriter, op->blocks[i], callback);
        }
        if (op->n_results != 1 || op->n_blocks > 0 || (op_info(op->code)->flags & OPF_EFFECT)) {
            continue;
        }
        Builder b = builder_before(op);
        b.place = op->place;
        b.label = op->label;
        Value *replacement = callback(rewriter, &b, op);
        if (replacement && replacement != op->results[0]) {
            map_reserve(rewriter, op->results[0]->id);
            if (!replacement->name && op->results[0]->name) {
                replacement->name = op->results[0]->name;
            }
            rewriter->map[op->results[0]->id] = replacement;
            op_unlink(op);
            rewriter->changed = true;
        }
    }
}

bool rewrite_each(PassContext *pass, Func *func, RewriteCallback callback) {
    func_renumber(func);
    Rewriter rewriter = {.pass = pass, .func = func};
    map_reserve(&rewriter, func->n_values);
    rewrite_block(&rewriter, func->body, callback);
    return rewriter.changed;
}

bool value_is_constant(const Value *value, double *out) {
    if (!value->op || value->op->code != OP_constant) {
        return false;
    }
    double number = constant_value(value->op);
    DType dtype = value->type.dtype;
    *out = dtype_is_float(dtype) ? round_to_dtype(number, dtype)
                                 : (double)wrap_int((int64_t)number, dtype);
    return true;
}

Op *value_made_by(const Value *value, OpCode code) {
    return value->op && value->op->code == code ? value->op : NULL;
}
