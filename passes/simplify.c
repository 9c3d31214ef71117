/* Simplification: the elementwise rules of rules.def, then the movement rewrites of movement.c. */
#include "passes/rewrite.h"
#include "passes/rules.h"

static bool pattern_match(const Pattern *pattern, Value *value, Value **bound) {
    switch (pattern->kind) {
    case PATTERN_VARIABLE:
        if (bound[pattern->variable]) {
            return bound[pattern->variable] == value;
        }
        bound[pattern->variable] = value;
        return true;
    case PATTERN_CONSTANT: {
        double constant;
        return value_is_constant(value, &constant) && constant == pattern->value;
    }
    case PATTERN_OP:
        break;
    }
    const Op *op = value_made_by(value, pattern->op);
    if (!op) {
        return false;
    }
    for (int i = 0; i < pattern->n; i++) {
        if (!pattern_match(pattern->a[i], op->operands[i], bound)) {
            return false;
        }
    }
    return true;
}

/* Constants take the type of the whole expression, which every rule keeps (rules.def). */
static Value *pattern_build(const Pattern *pattern, Builder *b, Type type, Value *const *bound) {
    if (pattern->kind == PATTERN_VARIABLE) {
        return bound[pattern->variable];
    }
    if (pattern->kind == PATTERN_CONSTANT) {
        return b_constant(b, pattern->value, type);
    }
    Value *operands[3];
    for (int i = 0; i < pattern->n; i++) {
        operands[i] = pattern_build(pattern->a[i], b, type, bound);
    }
    return b_scalar(b, pattern->op, operands, pattern->n);
}

static Value *simplify_op(Rewriter *rewriter, Builder *b, Op *op) {
    if (!op_is_scalar(op->code)) {
        return simplify_movement(rewriter, b, op);
    }
    for (int i = 0; i < rules_count; i++) {
        if (rules_table[i].pattern->op != op->code) {
            continue;
        }
        Value *bound[PATTERN_VARIABLES] = {NULL};
        if (pattern_match(rules_table[i].pattern, op->results[0], bound)) {
            return pattern_build(rules_table[i].replacement, b, op->results[0]->type, bound);
        }
    }
    return NULL;
}

bool pass_simplify(PassContext *pass, Func *func) {
    return rewrite_each(pass, func, simplify_op);
}
