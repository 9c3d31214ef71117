/* Built-in scalar mathematics: elementwise on tensors, computed when compiling on numbers. */
#include "frontend/builtin/builtin.h"
#include "ir/interp.h"

#include <math.h>

bool builtin_keeps_integers(OpCode code) {
    const OpInfo *info = op_info(code);
    return info->scalar_class != CLASS_FLOAT || info->elements == ELEMENTS_WHOLE;
}

Val builtin_unary(BuiltinCall *call) {
    OpCode code = (OpCode)call->builtin->code;
    Val x = call->args[0];
    double number = 0;
    bool whole = op_info(code)->elements == ELEMENTS_WHOLE;
    if (x.kind == VAL_INT && builtin_keeps_integers(code)) {
        if (code == OP_abs) { /* with a report of what has no positive counterpart */
            return x.as.i < 0 ? elaborate_unary_minus(call->el, x, call->place) : x;
        }
        return whole ? x : val_int(scalar_eval_int(code, DT_I64, &x.as.i), call->place);
    }
    if (number_to_double(x, &number)) {
        double result = scalar_eval_float(code, &number);
        if (op_info(code)->scalar_result == RESULT_BOOL) {
            return val_bool(result != 0, call->place);
        }
        return val_float(result, call->place);
    }
    if (x.kind == VAL_SIZE && whole) {
        return x;
    }
    TypeUse use = op_info(code)->scalar_class == CLASS_FLOAT ? USE_FLOAT : USE_ARITHMETIC;
    return elaborate_elementwise(call->el, code, &x, 1, use, call_name(call), call->place);
}

/* Square, reciprocal, isinf and logical_not. */
Val builtin_composed(BuiltinCall *call) {
    Val x = call->args[0];
    Place place = call->place;
    double number = 0;
    switch (call->builtin->code) {
    case 0:
        return arith(call, AST_OP_MUL, x, x);
    case 1:
        return arith(call, AST_OP_DIV, val_float(1.0, place), x);
    case 3:
        return elaborate_not(call->el, x, place);
    default: {
        if (number_to_double(x, &number)) {
            return val_bool(isinf(number), place);
        }
        Val size =
            elaborate_elementwise(call->el, OP_abs, &x, 1, USE_FLOAT, call_name(call), place);
        return arith(call, AST_OP_EQ, size, val_float(HUGE_VAL, place));
    }
    }
}

/* The greater or lesser of two compile-time numbers; NONE when one is a tensor. */
static Val number_extreme(BuiltinCall *call, bool greater, Val x, Val y) {
    Elaborator *el = call->el;
    double numbers[2] = {0};
    const Size *sa = NULL, *sb = NULL;
    if (x.kind == VAL_INT && y.kind == VAL_INT) {
        return val_int((x.as.i > y.as.i) == greater ? x.as.i : y.as.i, call->place);
    }
    if (number_to_double(x, &numbers[0]) && number_to_double(y, &numbers[1])) {
        return val_float(scalar_eval_float(greater ? OP_max : OP_min, numbers), call->place);
    }
    if (val_as_size(el, x, &sa) && val_as_size(el, y, &sb)) {
        return val_size(greater ? size_max(el->context, sa, sb) : size_min(el->context, sa, sb),
                        call->place);
    }
    return (Val){.kind = VAL_NONE};
}

Val builtin_pair(BuiltinCall *call) {
    OpCode code = (OpCode)call->builtin->code;
    Val both[] = {call->args[0], call->args[1]};
    if (code == OP_pow || code == OP_mod) {
        return arith(call, code == OP_pow ? AST_OP_POW : AST_OP_MOD, both[0], both[1]);
    }
    if (code == OP_and || code == OP_or) {
        return arith(call, code == OP_and ? AST_OP_AND : AST_OP_OR, both[0], both[1]);
    }
    if (code == OP_max || code == OP_min) {
        Val number = number_extreme(call, code == OP_max, both[0], both[1]);
        if (number.kind != VAL_NONE) {
            return number;
        }
        return elaborate_elementwise(call->el, code, both, 2, USE_SELECT, call_name(call),
                                     call->place);
    }
    double numbers[2] = {0};
    if (number_to_double(both[0], &numbers[0]) && number_to_double(both[1], &numbers[1])) {
        return val_float(scalar_eval_float(code, numbers), call->place);
    }
    TypeUse use = op_info(code)->scalar_class == CLASS_FLOAT ? USE_FLOAT : USE_ARITHMETIC;
    return elaborate_elementwise(call->el, code, both, 2, use, call_name(call), call->place);
}

Val builtin_floordiv(BuiltinCall *call) {
    Elaborator *el = call->el;
    bool up = call->builtin->code == 1;
    Val a = call->args[0], b = call->args[1];
    const Size *x = NULL, *y = NULL;
    double numbers[2] = {0};
    if (val_as_size(el, a, &x) && val_as_size(el, b, &y)) {
        int64_t divisor = 0;
        bool zero = size_is_const(y, &divisor) && divisor == 0;
        const Size *result = zero ? NULL
                             : up ? size_cdiv(el->context, x, y)
                                  : size_floordiv(el->context, x, y);
        if (result == NULL) {
            zero_divisor(el, y, call->place);
            return val_error();
        }
        return val_size(result, call->place);
    }
    if (number_to_double(a, &numbers[0]) && number_to_double(b, &numbers[1])) {
        numbers[0] = up ? -numbers[0] : numbers[0];
        double quotient = scalar_eval_float(OP_floordiv, numbers);
        return val_float(up ? -quotient : quotient, call->place);
    }
    if (up) { /* -floordiv(-a, b) */
        a = elaborate_unary_minus(el, a, call->place);
    }
    Val both[] = {a, b};
    Val result = elaborate_elementwise(el, OP_floordiv, both, 2, USE_ARITHMETIC, call_name(call),
                                       call->place);
    return up ? elaborate_unary_minus(el, result, call->place) : result;
}

static Val choose(BuiltinCall *call, Val condition, Val x, Val y) {
    BuiltinCall where = *call;
    where.args[0] = condition;
    where.args[1] = x;
    where.args[2] = y;
    return val_is_error(condition) ? condition : builtin_where(&where);
}

static double logaddexp_of(double x, double y) {
    double top = fmax(x, y);
    return x == y ? top + log(2.0) : top + log1p(exp(-fabs(x - y)));
}

/* top + log1p(exp(-|x - y|)) with the greater one and the absolute value taken by one comparison,
 * so that each branch is the same smooth function and has its derivatives, at x = y too. Equal
 * infinities have no difference: each counts for half. */
Val builtin_logaddexp(BuiltinCall *call) {
    Val x = call->args[0], y = call->args[1];
    double a = 0, b = 0;
    if (number_to_double(x, &a) && number_to_double(y, &b)) {
        return val_float(logaddexp_of(a, b), call->place);
    }
    Val above = arith(call, AST_OP_GT, x, y);
    Val infinite = arith(call, AST_OP_EQ, x, val_float(HUGE_VAL, call->place));
    Val lowest = arith(call, AST_OP_EQ, x, val_float(-HUGE_VAL, call->place));
    infinite = arith(call, AST_OP_OR, infinite, lowest);
    infinite = arith(call, AST_OP_AND, arith(call, AST_OP_EQ, x, y), infinite);
    Val under = arith(call, AST_OP_SUB, x, y);
    Val gap = choose(call, above, arith(call, AST_OP_SUB, y, x), under);
    gap = choose(call, infinite, val_float(0.0, call->place), gap);
    Val rest = apply(call, OP_log1p, apply(call, OP_exp, gap));
    Val smooth = arith(call, AST_OP_ADD, choose(call, above, x, y), rest);
    Val half = arith(call, AST_OP_MUL, arith(call, AST_OP_ADD, x, y), val_float(0.5, call->place));
    return choose(call, infinite, half, smooth);
}

Val builtin_clip(BuiltinCall *call) {
    Val x = call->args[0];
    for (int i = 1; i <= 2; i++) {
        if (!given(call, i) || val_is_error(x)) {
            continue;
        }
        Val number = number_extreme(call, i == 1, x, call->args[i]);
        if (number.kind != VAL_NONE) {
            x = number;
            continue;
        }
        Val both[] = {x, call->args[i]};
        x = elaborate_elementwise(call->el, i == 1 ? OP_max : OP_min, both, 2, USE_ARITHMETIC,
                                  call_name(call), call->place);
    }
    return x;
}

Val builtin_where(BuiltinCall *call) {
    Elaborator *el = call->el;
    Val condition = call->args[0];
    Value *parts[2] = {NULL}, *test = NULL;
    const Size *shape[TYPE_MAX_RANK];
    int32_t rank = 0;
    DType dtype = DT_F32;
    bool weak = false;
    if (condition.kind == VAL_BOOL) {
        return call->args[condition.as.i ? 1 : 2];
    }
    if (val_stands_in(el, condition)) {
        return val_error(); /* a number's comparison chooses one of the two as it is */
    }
    if (condition.kind != VAL_TENSOR || condition.as.tensor->type.dtype != DT_BOOL) {
        Diag *diag = EL_REPORT(el, WRONG_KIND, call->places[0], "the condition of 'where'",
                               "a bool tensor", val_describe(el, condition));
        elaborate_help(el, diag, "compare first, e.g. x != 0");
        return val_error();
    }
    Val all[] = {call->args[1], call->args[2], condition};
    if (!common_dtype(el, all, 2, USE_SELECT, "'where'", call->place, &dtype, &weak) ||
        !common_shape(el, all, 3, "'where'", call->place, shape, &rank)) {
        return val_error();
    }
    for (int i = 0; i < 2; i++) {
        parts[i] = elaborate_expand(el, elaborate_as(el, all[i], dtype, call->place), shape, rank,
                                    call->place);
    }
    test = elaborate_expand(el, condition.as.tensor, shape, rank, call->place);
    if (!parts[0] || !parts[1] || !test) {
        return val_error();
    }
    elaborate_at(el, call->place);
    return made(call, b_select(&el->b, test, parts[0], parts[1]), weak);
}

Val builtin_stop_gradient(BuiltinCall *call) {
    if (val_is_number(call->args[0])) {
        return call->args[0];
    }
    Value *x = arg_tensor(call, 0);
    return x ? made(call, b_stop_gradient(&call->el->b, x), is_weak(call->args[0])) : val_error();
}

Val builtin_cast(BuiltinCall *call) {
    DType dtype = DT_F32;
    bool weak = false;
    if (!arg_dtype(call, 1, DT_F32, &dtype, &weak)) {
        return val_error();
    }
    Val x = call->args[0];
    if (x.kind == VAL_FLOAT && !dtype_is_float(dtype)) {
        return made(
            call, b_constant(&call->el->b, (double)float_to_int(x.as.f, dtype), type_scalar(dtype)),
            false);
    }
    Value *tensor = x.kind == VAL_TENSOR || val_is_number(x) || x.kind == VAL_BOOL
                        ? elaborate_as(call->el, x, dtype, call->place)
                        : arg_tensor(call, 0);
    if (tensor == NULL) {
        return val_error();
    }
    return made(call, b_cast(&call->el->b, tensor, dtype), false);
}
