/* Operators on values that may be quotients `a over b`, whose parts are summed over a whole step or
 * evaluation before they are divided. */
#include "frontend/elaborate/elaborate.h"
#include "frontend/elaborate/reach.h"

/* Whether the value is a scalar that all parts of a batch have in common: of numbers, parameters
 * and steps, not of data. */
static bool is_common(Elaborator *el, Val value) {
    if (value.kind == VAL_INT || value.kind == VAL_FLOAT) {
        return true;
    }
    return value.kind == VAL_TENSOR && value.as.tensor->type.rank == 0 && el->fs &&
           !value_reads_data(el->arena, el->fs->func, value.as.tensor);
}

static Val tensor_of(Value *value) {
    return val_tensor(value, false, value->op ? value->op->place : (Place){0});
}

/* The numerator of what is still divided by b; an error: it is no such quotient. */
static Val numerator(Elaborator *el, AstOp op, Val left, Val right, Place place) {
    const Quotient *x = left.quotient, *y = right.quotient;
    if (op == AST_OP_MUL && !(x && y) && is_common(el, x ? right : left)) {
        Val a = tensor_of(x ? x->a : y->a);
        return arith_binary(el, op, x ? a : left, x ? right : a, place);
    }
    if (op == AST_OP_DIV && x && !y && is_common(el, right)) {
        return arith_binary(el, op, tensor_of(x->a), right, place);
    }
    if (op != AST_OP_ADD && op != AST_OP_SUB) {
        return val_error();
    }
    if (x && y) {
        return x->b == y->b ? arith_binary(el, op, tensor_of(x->a), tensor_of(y->a), place)
                            : val_error();
    }
    /* a / b + c is (a + c b) / b. */
    Val other = x ? right : left;
    if (!is_common(el, other)) {
        return val_error();
    }
    Val more = arith_binary(el, AST_OP_MUL, other, tensor_of(x ? x->b : y->b), place);
    Val a = tensor_of(x ? x->a : y->a);
    return arith_binary(el, op, x ? a : more, x ? more : a, place);
}

/* What `left op right` is where one of them is a quotient: one still, if only what is the same for
 * all parts of a batch was done to it. */
static Val quotient_kept(Elaborator *el, AstOp op, Val left, Val right, Val result, Place place) {
    if (result.kind != VAL_TENSOR || !el->fs) {
        return result;
    }
    const Quotient *from = left.quotient ? left.quotient : right.quotient;
    Val a = numerator(el, op, left, right, place);
    bool fits = a.kind == VAL_TENSOR && a.as.tensor->type.rank == 0 &&
                a.as.tensor->type.dtype == from->b->type.dtype;
    result.lost = fits ? NULL : from;
    if (fits) {
        Quotient *quotient = ARENA_NEW(el->arena, Quotient);
        *quotient = (Quotient){a.as.tensor, from->b, from->place};
        result.quotient = quotient;
    }
    return result;
}

Val elaborate_binary(Elaborator *el, AstOp op, Val left, Val right, Place place) {
    Val result = arith_binary(el, op, left, right, place);
    return left.quotient || right.quotient ? quotient_kept(el, op, left, right, result, place)
                                           : result;
}

Val elaborate_unary_minus(Elaborator *el, Val value, Place place) {
    return value.kind == VAL_TENSOR && value.quotient
               ? elaborate_binary(el, AST_OP_MUL, value, val_int(-1, place), place)
               : arith_minus(el, value, place);
}
