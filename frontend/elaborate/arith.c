/* Operators on values: compile-time arithmetic where both sides are numbers, elementwise ops else.
 */
#include "frontend/elaborate/elaborate.h"

#include <math.h>

Val elaborate_elementwise(Elaborator *el, OpCode code, const Val *values, int32_t count,
                          TypeUse use, const char *what, Place place) {
    Value *operands[4] = {NULL};
    bool weak = false;
    if (!elaborate_unify(el, values, count, use, what, place, operands, &weak)) {
        return val_error();
    }
    elaborate_at(el, place);
    Value *result = elaborate_made(el, b_scalar(&el->b, code, operands, count), place);
    bool is_bool = op_info(code)->scalar_result == RESULT_BOOL;
    Val made = val_tensor(result, weak && !is_bool, place);
    for (int32_t i = 0; i < count && made.kind == VAL_TENSOR && !made.lost; i++) {
        made.lost = values[i].quotient ? values[i].quotient : values[i].lost;
    }
    if (result && count == 2) {
        pairs_note(el, code, made, values[0], values[1], place);
    }
    return made;
}

static OpCode arithmetic_code(AstOp op) {
    switch (op) {
    case AST_OP_ADD:
        return OP_add;
    case AST_OP_SUB:
        return OP_sub;
    case AST_OP_MUL:
        return OP_mul;
    case AST_OP_DIV:
        return OP_div;
    case AST_OP_MOD:
        return OP_mod;
    case AST_OP_EQ:
        return OP_eq;
    case AST_OP_NE:
        return OP_ne;
    case AST_OP_LT:
        return OP_lt;
    case AST_OP_LE:
        return OP_le;
    case AST_OP_GT:
        return OP_gt;
    case AST_OP_GE:
        return OP_ge;
    case AST_OP_AND:
        return OP_and;
    case AST_OP_OR:
        return OP_or;
    default:
        return OP_pow;
    }
}

static bool is_comparison(AstOp op) {
    return op >= AST_OP_EQ && op <= AST_OP_GE;
}

static Val divide(Elaborator *el, Val left, Val right, Place place) {
    Val both[] = {left, right};
    DType dtype = DT_F32;
    bool weak = false;
    if (!common_dtype(el, both, 2, USE_ARITHMETIC, "'/'", place, &dtype, &weak)) {
        return val_error();
    }
    if (dtype_is_integer(dtype) && !weak) {
        Diag *diag = EL_REPORT(el, INTEGER_DIVISION, place, dtype_name(dtype));
        elaborate_help(el, diag, "floordiv(a, b) rounds down; cast(a, f32) / b gives a fraction");
        return val_error();
    }
    return elaborate_elementwise(el, OP_div, both, 2, USE_FLOAT, "'/'", place);
}

/* x ** n for a small integer n: by multiplication, exact and cheap to differentiate. */
static Val integer_power(Elaborator *el, Val base, int64_t exponent, Place place) {
    Value *x = base.as.tensor, *result = NULL;
    if (exponent == 1) { /* a value of its own, as every operation gives */
        return elaborate_own(el, base, elaborate_next_value(el), place);
    }
    elaborate_at(el, place);
    for (int64_t i = exponent; i > 0 && x; i >>= 1) {
        if (i & 1) {
            result = result ? elaborate_made(el, b_mul(&el->b, result, x), place) : x;
        }
        if (i > 1) {
            x = elaborate_made(el, b_mul(&el->b, x, x), place);
        }
    }
    return val_tensor(result, base.weak, place);
}

static Val power(Elaborator *el, Val left, Val right, Place place) {
    double exponent = 0;
    if (!number_exact(el, right, place)) {
        return val_error();
    }
    bool of_floats = left.kind == VAL_TENSOR && dtype_is_float(left.as.tensor->type.dtype);
    if (val_stands_in(el, right) && !of_floats) {
        return val_error(); /* integers have whole powers, which the number may be */
    }
    if (left.kind == VAL_TENSOR && number_to_double(right, &exponent)) {
        bool whole = exponent == floor(exponent);
        bool is_float = dtype_is_float(left.as.tensor->type.dtype);
        if (left.as.tensor->type.dtype == DT_BOOL) {
            Diag *diag = EL_REPORT(el, BOOL_ARITHMETIC, place, "'**'");
            elaborate_help(el, diag, "cast(x, i32) first");
            return val_error();
        }
        if (whole && exponent >= 1 && exponent <= 64 && (!is_float || exponent <= 4)) {
            return integer_power(el, left, (int64_t)exponent, place);
        }
        if (is_float && exponent == 0.5) {
            return elaborate_elementwise(el, OP_sqrt, &left, 1, USE_FLOAT, "'**'", place);
        }
        if (is_float && exponent == -0.5) {
            return elaborate_elementwise(el, OP_rsqrt, &left, 1, USE_FLOAT, "'**'", place);
        }
        if (is_float && whole && exponent >= -4 && exponent <= -1) {
            /* (1 / x) ** n: 1 / x ** n would have nan derivatives where x ** n is 0. */
            Val over = arith_binary(el, AST_OP_DIV, val_float(1.0, place), left, place);
            return val_is_error(over) ? over : integer_power(el, over, (int64_t)-exponent, place);
        }
    }
    Val both[] = {left, right};
    return elaborate_elementwise(el, OP_pow, both, 2, USE_FLOAT, "'**'", place);
}

static bool is_bool_like(Val value) {
    return value.kind == VAL_BOOL ||
           (value.kind == VAL_TENSOR && value.as.tensor->type.dtype == DT_BOOL);
}

static Val logic(Elaborator *el, AstOp op, Val left, Val right, Place place) {
    if (!is_bool_like(left) || !is_bool_like(right)) {
        Diag *diag = EL_REPORT(el, OPERAND_KIND, place, ast_op_text(op), val_describe(el, left),
                               val_describe(el, right));
        elaborate_help(el, diag, "compare first, e.g. x != 0");
        return val_error();
    }
    if (left.kind == VAL_BOOL && right.kind == VAL_BOOL) {
        bool result = op == AST_OP_AND ? left.as.i && right.as.i : left.as.i || right.as.i;
        return val_bool(result, place);
    }
    Val both[] = {left, right};
    return elaborate_elementwise(el, arithmetic_code(op), both, 2, USE_COMPARE, ast_op_text(op),
                                 place);
}

/* Equality of strings, bools, element types and lists, known when compiling. */
static bool same_value(Val a, Val b, bool *out) {
    if (a.kind == VAL_NONE || b.kind == VAL_NONE) {
        *out = a.kind == b.kind;
        return true;
    }
    if (a.kind != b.kind) {
        return false;
    }
    switch (a.kind) {
    case VAL_STRING:
        *out = a.as.text == b.as.text;
        return true;
    case VAL_BOOL:
    case VAL_INT:
        *out = a.as.i == b.as.i;
        return true;
    case VAL_FLOAT:
        *out = a.as.f == b.as.f;
        return true;
    case VAL_DTYPE:
        *out = a.as.dtype == b.as.dtype;
        return true;
    case VAL_LIST:
    case VAL_TUPLE:
        *out = a.as.list.count == b.as.list.count;
        for (int32_t i = 0; *out && i < a.as.list.count; i++) {
            if (!same_value(a.as.list.items[i], b.as.list.items[i], out)) {
                return false;
            }
        }
        return true;
    default:
        return false;
    }
}

static bool is_tensor_like(Val value) {
    return value.kind == VAL_TENSOR || val_is_number(value) || value.kind == VAL_BOOL ||
           value.kind == VAL_LIST;
}

bool elaborate_count_items(Elaborator *el, int64_t count, Place place) {
    el->n_items += count;
    if (el->n_items > ELABORATE_MAX_ITEMS) {
        elaborate_limit(el, place,
                        "the lists made when compiling have more than 2,000,000 elements in all");
        return false;
    }
    return true;
}

/* `[1, 2] + [3]`: lists are joined. */
static Val list_concat(Elaborator *el, Val left, Val right, Place place) {
    int32_t n_left = left.as.list.count, n_right = right.as.list.count;
    if ((int64_t)n_left + n_right > ELABORATE_MAX_LIST) {
        return elaborate_limit(el, place, "a list has more than 1,000,000 elements");
    }
    if (!elaborate_count_items(el, (int64_t)n_left + n_right, place)) {
        return val_error();
    }
    Val result = val_list(el, left.kind, n_left + n_right, place);
    for (int32_t i = 0; i < n_left; i++) {
        result.as.list.items[i] = left.as.list.items[i];
    }
    for (int32_t i = 0; i < n_right; i++) {
        result.as.list.items[n_left + i] = right.as.list.items[i];
    }
    return result;
}

Val arith_binary(Elaborator *el, AstOp op, Val left, Val right, Place place) {
    if (val_is_error(left) || val_is_error(right)) {
        return val_error();
    }
    if (op == AST_OP_AND || op == AST_OP_OR) {
        return logic(el, op, left, right, place);
    }
    if (!(is_comparison(op) && val_is_number(left) && val_is_number(right))) {
        left = val_settled(el, left);
        right = val_settled(el, right);
    }
    if (val_is_number(left) && val_is_number(right) && op != AST_OP_MATMUL) {
        Val result = number_binary(el, op, left, right, place);
        if (result.kind != VAL_NONE) {
            return result;
        }
    }
    bool equal = false;
    if ((op == AST_OP_EQ || op == AST_OP_NE) && same_value(left, right, &equal)) {
        return val_bool(equal == (op == AST_OP_EQ), place);
    }
    if (op == AST_OP_ADD && left.kind == right.kind &&
        (left.kind == VAL_LIST || left.kind == VAL_TUPLE)) {
        return list_concat(el, left, right, place);
    }
    if (!is_tensor_like(left) || !is_tensor_like(right)) {
        EL_REPORT(el, OPERAND_KIND, place, ast_op_text(op), val_describe(el, left),
                  val_describe(el, right));
        return val_error();
    }
    if (op == AST_OP_MATMUL) {
        return elaborate_matmul(el, left, right, place);
    }
    if (op == AST_OP_DIV) {
        return divide(el, left, right, place);
    }
    if (op == AST_OP_POW) {
        return power(el, left, right, place);
    }
    Val both[] = {left, right};
    const char *what = arena_format(el->arena, "'%s'", ast_op_text(op));
    TypeUse use = is_comparison(op) ? USE_COMPARE : USE_ARITHMETIC;
    if ((op == AST_OP_LT || op == AST_OP_LE || op == AST_OP_GT || op == AST_OP_GE)) {
        use = USE_ARITHMETIC;
    }
    return elaborate_elementwise(el, arithmetic_code(op), both, 2, use, what, place);
}

Val arith_minus(Elaborator *el, Val value, Place place) {
    value = val_settled(el, value);
    switch (value.kind) {
    case VAL_ERROR:
        return value;
    case VAL_INT:
    case VAL_SIZE:
        return number_binary(el, AST_OP_SUB, val_int(0, place), value, place);
    case VAL_FLOAT:
        return val_float(-value.as.f, place);
    case VAL_TENSOR:
        return elaborate_elementwise(el, OP_neg, &value, 1, USE_ARITHMETIC, "'-'", place);
    case VAL_LIST:
        return elaborate_elementwise(el, OP_neg, &value, 1, USE_ARITHMETIC, "'-'", place);
    default:
        EL_REPORT(el, OPERAND_ONE, place, "-", val_describe(el, value));
        return val_error();
    }
}

Val elaborate_not(Elaborator *el, Val value, Place place) {
    if (val_is_error(value)) {
        return value;
    }
    if (value.kind == VAL_BOOL) {
        return val_bool(!value.as.i, place);
    }
    if (is_bool_like(value)) {
        return elaborate_elementwise(el, OP_not, &value, 1, USE_COMPARE, "'not'", place);
    }
    Diag *diag = EL_REPORT(el, OPERAND_ONE, place, "not", val_describe(el, value));
    elaborate_help(el, diag, "compare first, e.g. x == 0");
    return val_error();
}

/* -- `@`, by NumPy's rules */

/* Batch axes are paired from the right; an operand whose batch is smaller is repeated first. */
static Val batched(Elaborator *el, Value *a, Value *b, bool weak, Place place) {
    int32_t batch_a = a->type.rank - 2, batch_b = b->type.rank - 2;
    const Size *shape[TYPE_MAX_RANK];
    Val leads[2];
    int32_t batch = 0;
    Value *const both[] = {a, b};
    for (int i = 0; i < 2; i++) {
        /* Only the shapes of the leading axes are compared; no op is made of these. */
        Value *lead = ARENA_NEW(el->arena, Value);
        *lead = *both[i];
        lead->type.rank -= 2;
        leads[i] = val_tensor(lead, false, place);
    }
    if (!common_shape(el, leads, 2, "'@'", place, shape, &batch)) {
        return val_error();
    }
    Value *wide[2];
    for (int i = 0; i < 2; i++) {
        Type type = both[i]->type;
        const Size *full[TYPE_MAX_RANK];
        for (int32_t k = 0; k < batch; k++) {
            full[k] = shape[k];
        }
        full[batch] = type.dims[type.rank - 2];
        full[batch + 1] = type.dims[type.rank - 1];
        wide[i] = elaborate_expand(el, both[i], full, batch + 2, place);
        if (wide[i] == NULL) {
            return val_error();
        }
    }
    (void)batch_a;
    (void)batch_b;
    ContractAxes axes = {.n_batch = batch, .n_contract = 1};
    for (int32_t k = 0; k < batch; k++) {
        axes.batch_a[k] = axes.batch_b[k] = k;
    }
    axes.contract_a[0] = batch + 1;
    axes.contract_b[0] = batch;
    elaborate_at(el, place);
    return val_tensor(elaborate_made(el, b_contract(&el->b, wide[0], wide[1], &axes), place), weak,
                      place);
}

Val elaborate_matmul(Elaborator *el, Val left, Val right, Place place) {
    Val both[] = {left, right};
    DType dtype = DT_F32;
    bool weak = false;
    if (!common_dtype(el, both, 2, USE_ARITHMETIC, "'@'", place, &dtype, &weak)) {
        return val_error();
    }
    Value *a = elaborate_as(el, left, dtype, place), *b = elaborate_as(el, right, dtype, place);
    if (!a || !b) {
        return val_error();
    }
    if (a->type.rank == 0 || b->type.rank == 0) {
        EL_REPORT(el, MATMUL_RANK, place, val_describe(el, a->type.rank == 0 ? left : right));
        return val_error();
    }
    int32_t inner_b = b->type.rank == 1 ? 0 : b->type.rank - 2;
    const Size *ka = a->type.dims[a->type.rank - 1], *kb = b->type.dims[inner_b];
    if (!elaborate_same_size(
            el, ka, left.place, kb, right.place, place,
            "'@' sums over the last axis of the left and the last but one of the right")) {
        return val_error();
    }
    if (ka != kb) {
        const Size *shape[TYPE_MAX_RANK];
        for (int32_t i = 0; i < b->type.rank; i++) {
            shape[i] = i == inner_b ? ka : b->type.dims[i];
        }
        b = elaborate_reshape(el, b, shape, b->type.rank, place);
    }
    if (b && a->type.rank > 2 && b->type.rank > 2) {
        return batched(el, a, b, weak, place);
    }
    if (b && b->type.rank > 2 && a->type.rank <= 2) {
        /* [k] or [n, k] @ [..., k, m]: contract, then move the batch axes to the front. */
        if (a->type.rank == 2) {
            const Size *shape[] = {size_const(el->context, 1), a->type.dims[0], a->type.dims[1]};
            return batched(el, elaborate_reshape(el, a, shape, 3, place), b, weak, place);
        }
    }
    ContractAxes axes = {.n_contract = 1};
    axes.contract_a[0] = a->type.rank - 1;
    axes.contract_b[0] = inner_b;
    elaborate_at(el, place);
    return val_tensor(elaborate_made(el, b_contract(&el->b, a, b, &axes), place), weak, place);
}
