/* Arithmetic and comparison on compile-time numbers: integers, floats and sizes. A size with a
 * float has no compile-time value; VAL_NONE then tells the caller to go on with tensors. */
#include "frontend/elaborate/elaborate.h"
#include "ir/base/checked.h"
#include "ir/interp.h"

#include <math.h>
#include <string.h>

bool number_to_double(Val value, double *out) {
    if (value.kind == VAL_INT) {
        *out = (double)value.as.i;
        return true;
    }
    if (value.kind == VAL_FLOAT) {
        *out = value.as.f;
        return true;
    }
    return false;
}

bool number_exact(Elaborator *el, Val value, Place place) {
    if (value.kind != VAL_INT || value.rounded == NULL) {
        return true;
    }
    Diag *diag = EL_REPORT(el, ROUNDED, place, value.rounded, (long long)value.as.i);
    if (value.place.source && value.place.line != place.line) {
        elaborate_note(el, diag, value.place, "the value comes from here");
    }
    const char *bar = strstr(value.rounded, " / ");
    elaborate_help(
        el, diag,
        "write the fraction with a point: %.*s.0%s; or floordiv(a, b) where rounding down is "
        "meant",
        (int)(bar - value.rounded), value.rounded, bar);
    return false;
}

static Val overflow(Elaborator *el, Place place) {
    EL_REPORT(el, OVERFLOW, place, "the result");
    return val_error();
}

void zero_divisor(Elaborator *el, const Size *divisor, Place place) {
    if (divisor == NULL || size_is_const(divisor, NULL)) {
        EL_REPORT(el, DIVISION_BY_ZERO, place, "zero");
        return;
    }
    const char *text = size_text(el->context, divisor);
    Diag *diag =
        EL_REPORT(el, DIVISION_BY_ZERO, place, arena_format(el->arena, "%s, which may be 0", text));
    elaborate_help(el, diag, "divide by maximum(%s, 1), or give its dim bounds without 0", text);
}

static Val divided_by_zero(Elaborator *el, const Size *divisor, Place place) {
    zero_divisor(el, divisor, place);
    return val_error();
}

static Val int_power(Elaborator *el, int64_t base, int64_t exponent, Place place) {
    if (exponent < 0) {
        return val_float(pow((double)base, (double)exponent), place);
    }
    int64_t result = 1;
    for (int64_t i = exponent; i > 0; i >>= 1) {
        if ((i & 1) && !checked_mul(result, base, &result)) {
            return overflow(el, place);
        }
        if (i > 1 && !checked_mul(base, base, &base)) {
            return overflow(el, place);
        }
    }
    return val_int(result, place);
}

static Val compared(AstOp op, int order, Place place) {
    bool result = op == AST_OP_EQ   ? order == 0
                  : op == AST_OP_NE ? order != 0
                  : op == AST_OP_LT ? order < 0
                  : op == AST_OP_LE ? order <= 0
                  : op == AST_OP_GT ? order > 0
                                    : order >= 0;
    return val_bool(result, place);
}

static void warn_truncating(Elaborator *el, const char *a, const char *b, Place place) {
    Diag *diag = EL_REPORT(el, TRUNCATING, place, a, b);
    elaborate_help(el, diag,
                   "write floordiv(a, b), or cdiv(a, b) to round up, to say that it is meant");
}

static Val int_binary(Elaborator *el, AstOp op, int64_t a, int64_t b, Place place) {
    int64_t result = 0;
    switch (op) {
    case AST_OP_ADD:
        return checked_add(a, b, &result) ? val_int(result, place) : overflow(el, place);
    case AST_OP_SUB:
        return checked_sub(a, b, &result) ? val_int(result, place) : overflow(el, place);
    case AST_OP_MUL:
        return checked_mul(a, b, &result) ? val_int(result, place) : overflow(el, place);
    case AST_OP_DIV:
    case AST_OP_MOD:
        if (b == 0) {
            return divided_by_zero(el, NULL, place);
        }
        if (b == -1) {
            return op == AST_OP_MOD             ? val_int(0, place)
                   : checked_sub(0, a, &result) ? val_int(result, place)
                                                : overflow(el, place);
        }
        if (op == AST_OP_DIV && a % b != 0) {
            warn_truncating(el, arena_format(el->arena, "%lld", (long long)a),
                            arena_format(el->arena, "%lld", (long long)b), place);
            Val quotient = val_int(floor_div(a, b), place);
            quotient.rounded = arena_format(el->arena, "%lld / %lld", (long long)a, (long long)b);
            return quotient;
        }
        return val_int(op == AST_OP_DIV ? floor_div(a, b) : floor_mod(a, b), place);
    case AST_OP_POW:
        return int_power(el, a, b, place);
    default:
        return compared(op, (a > b) - (a < b), place);
    }
}

static Val float_binary(AstOp op, double a, double b, Place place) {
    switch (op) {
    case AST_OP_ADD:
        return val_float(a + b, place);
    case AST_OP_SUB:
        return val_float(a - b, place);
    case AST_OP_MUL:
        return val_float(a * b, place);
    case AST_OP_DIV:
        return val_float(a / b, place);
    case AST_OP_MOD:
        return val_float(scalar_eval_float(OP_mod, (double[]){a, b}), place);
    case AST_OP_POW:
        return val_float(pow(a, b), place);
    case AST_OP_EQ:
        return val_bool(a == b, place);
    case AST_OP_NE:
        return val_bool(a != b, place);
    case AST_OP_LT:
        return val_bool(a < b, place);
    case AST_OP_LE:
        return val_bool(a <= b, place);
    case AST_OP_GT:
        return val_bool(a > b, place);
    default:
        return val_bool(a >= b, place);
    }
}

/* Comparisons of sizes that the compiler must decide. */
static Val size_compare_op(Elaborator *el, AstOp op, const Size *a, const Size *b, Place place) {
    Context *context = el->context;
    Truth truth = TRUTH_MAYBE;
    bool negate = false;
    switch (op) {
    case AST_OP_NE:
        negate = true;
        truth = size_equal(context, a, b);
        break;
    case AST_OP_EQ:
        truth = size_equal(context, a, b);
        break;
    case AST_OP_GT:
        negate = true;
        truth = size_less_equal(context, a, b);
        break;
    case AST_OP_LE:
        truth = size_less_equal(context, a, b);
        break;
    case AST_OP_LT:
        negate = true;
        truth = size_less_equal(context, b, a);
        break;
    default:
        truth = size_less_equal(context, b, a);
        break;
    }
    if (truth == TRUTH_MAYBE && el->check.is_open) {
        el->check.n_undecided++;
        el->check.op = op;
        el->check.a = a;
        el->check.b = b;
        return (Val){.kind = VAL_NONE}; /* decided when the plan runs */
    }
    if (truth == TRUTH_MAYBE) {
        const char *text = arena_format(el->arena, "%s %s %s", size_text(context, a),
                                        ast_op_text(op), size_text(context, b));
        Diag *diag = EL_REPORT(el, UNDECIDED, place, text);
        for (int32_t i = 0; i < el->module->n_dims; i++) {
            const Dim *dim = el->module->dims[i];
            if (size_uses_dim(a, dim) || size_uses_dim(b, dim)) {
                elaborate_note(el, diag, dim->place, "the dim '%s' is free", dim->name);
                elaborate_help(el, diag, "fix it with -D %s=…", dim->name);
                break;
            }
        }
        return val_error();
    }
    return val_bool((truth == TRUTH_YES) != negate, place);
}

static Val size_binary(Elaborator *el, AstOp op, const Size *a, const Size *b, Place place) {
    Context *context = el->context;
    const Size *result = NULL;
    int64_t exponent = 0;
    switch (op) {
    case AST_OP_ADD:
        result = size_add(context, a, b);
        break;
    case AST_OP_SUB:
        result = size_sub(context, a, b);
        break;
    case AST_OP_MUL:
        result = size_mul(context, a, b);
        break;
    case AST_OP_DIV: {
        result = size_floordiv(context, a, b);
        const Size *rest = result ? size_mod(context, a, b) : NULL;
        if (rest && size_equal(context, rest, size_const(context, 0)) != TRUTH_YES) {
            warn_truncating(el, size_text(context, a), size_text(context, b), place);
        }
        break;
    }
    case AST_OP_MOD:
        result = size_mod(context, a, b);
        break;
    case AST_OP_POW:
        if (!size_is_const(b, &exponent) || exponent < 0 || exponent > 16) {
            return (Val){.kind = VAL_NONE};
        }
        result = size_const(context, 1);
        for (int64_t i = 0; i < exponent; i++) {
            result = size_mul(context, result, a);
        }
        break;
    default:
        return size_compare_op(el, op, a, b, place);
    }
    if (result == NULL) {
        return divided_by_zero(el, b, place);
    }
    return size_is_error(result) ? overflow(el, place) : val_size(result, place);
}

Val number_binary(Elaborator *el, AstOp op, Val left, Val right, Place place) {
    double x = 0, y = 0;
    if (left.kind == VAL_INT && right.kind == VAL_INT) {
        Val result = int_binary(el, op, left.as.i, right.as.i, place);
        if (result.kind == VAL_INT && result.rounded == NULL) {
            result.rounded = left.rounded ? left.rounded : right.rounded;
        }
        return result;
    }
    if (number_to_double(left, &x) && number_to_double(right, &y)) {
        if (!number_exact(el, left, place) || !number_exact(el, right, place)) {
            return val_error();
        }
        return float_binary(op, x, y, place);
    }
    const Size *a = NULL, *b = NULL;
    if (val_as_size(el, left, &a) && val_as_size(el, right, &b)) {
        return size_binary(el, op, a, b, place);
    }
    return (Val){.kind = VAL_NONE};
}
