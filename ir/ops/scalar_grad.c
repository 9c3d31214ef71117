/* Derivatives of the rows of scalar.def whose gradient is RULE. Ties of max and min are split in
 * halves; abs'(0) = 0; atan2 and hypot have derivative 0 at the origin; they and pow never make a
 * nan where the derivative exists. */
#include "ir/ops/rule.h"
#include <math.h>

typedef struct ScalarGrad {
    Builder *b;
    Op *op;
    Value *x, *y; /* operands; y NULL for unary ops */
    Value *r;     /* the result */
    Value *g;     /* its cotangent */
    const bool *wanted;
    Value **out;
} ScalarGrad;

typedef void (*ScalarGradRule)(ScalarGrad *s);

static Value *number(ScalarGrad *s, double value) {
    return b_constant_like(s->b, value, s->g);
}

static Value *square(ScalarGrad *s, Value *x) {
    return b_mul(s->b, x, x);
}

static Value *one_minus_square(ScalarGrad *s, Value *x) {
    Value *one = number(s, 1.0);
    Value *xx = square(s, x);
    return b_sub(s->b, one, xx);
}

static void grad_neg(ScalarGrad *s) {
    s->out[0] = b_neg(s->b, s->g);
}

static void grad_abs(ScalarGrad *s) {
    Value *sign = b_unary(s->b, OP_sign, s->x);
    s->out[0] = b_mul(s->b, s->g, sign);
}

static void grad_sqrt(ScalarGrad *s) {
    Value *half = number(s, 0.5);
    Value *scaled = b_mul(s->b, s->g, half);
    s->out[0] = b_div(s->b, scaled, s->r);
}

static void grad_rsqrt(ScalarGrad *s) {
    Value *scale = number(s, -0.5);
    Value *rr = square(s, s->r);
    Value *rrr = b_mul(s->b, rr, s->r);
    Value *slope = b_mul(s->b, scale, rrr);
    s->out[0] = b_mul(s->b, s->g, slope);
}

static void grad_exp(ScalarGrad *s) {
    s->out[0] = b_mul(s->b, s->g, s->r);
}

static void grad_exp2(ScalarGrad *s) {
    Value *scale = number(s, 0.69314718055994530942); /* ln 2 */
    Value *slope = b_mul(s->b, scale, s->r);
    s->out[0] = b_mul(s->b, s->g, slope);
}

static void grad_expm1(ScalarGrad *s) {
    Value *one = number(s, 1.0);
    Value *slope = b_add(s->b, s->r, one);
    s->out[0] = b_mul(s->b, s->g, slope);
}

static void grad_log(ScalarGrad *s) {
    s->out[0] = b_div(s->b, s->g, s->x);
}

/* g / x, times the reciprocal of the base's logarithm. */
static void grad_log_to(ScalarGrad *s, double reciprocal) {
    Value *scale = number(s, reciprocal);
    Value *scaled = b_mul(s->b, s->g, scale);
    s->out[0] = b_div(s->b, scaled, s->x);
}

static void grad_log2(ScalarGrad *s) {
    grad_log_to(s, 1.44269504088896340736);
}

static void grad_log10(ScalarGrad *s) {
    grad_log_to(s, 0.43429448190325182765);
}

static void grad_log1p(ScalarGrad *s) {
    Value *one = number(s, 1.0);
    Value *denominator = b_add(s->b, s->x, one);
    s->out[0] = b_div(s->b, s->g, denominator);
}

static void grad_sin(ScalarGrad *s) {
    Value *slope = b_unary(s->b, OP_cos, s->x);
    s->out[0] = b_mul(s->b, s->g, slope);
}

static void grad_cos(ScalarGrad *s) {
    Value *sine = b_unary(s->b, OP_sin, s->x);
    Value *slope = b_neg(s->b, sine);
    s->out[0] = b_mul(s->b, s->g, slope);
}

static void grad_tan(ScalarGrad *s) {
    Value *one = number(s, 1.0);
    Value *rr = square(s, s->r);
    Value *slope = b_add(s->b, one, rr);
    s->out[0] = b_mul(s->b, s->g, slope);
}

static void grad_asin(ScalarGrad *s) {
    Value *inside = one_minus_square(s, s->x);
    Value *root = b_unary(s->b, OP_sqrt, inside);
    s->out[0] = b_div(s->b, s->g, root);
}

static void grad_acos(ScalarGrad *s) {
    grad_asin(s);
    s->out[0] = b_neg(s->b, s->out[0]);
}

static void grad_atan(ScalarGrad *s) {
    Value *one = number(s, 1.0);
    Value *xx = square(s, s->x);
    Value *denominator = b_add(s->b, one, xx);
    s->out[0] = b_div(s->b, s->g, denominator);
}

static void grad_sinh(ScalarGrad *s) {
    Value *slope = b_unary(s->b, OP_cosh, s->x);
    s->out[0] = b_mul(s->b, s->g, slope);
}

static void grad_cosh(ScalarGrad *s) {
    Value *slope = b_unary(s->b, OP_sinh, s->x);
    s->out[0] = b_mul(s->b, s->g, slope);
}

static void grad_tanh(ScalarGrad *s) {
    Value *slope = one_minus_square(s, s->r);
    s->out[0] = b_mul(s->b, s->g, slope);
}

/* factor * e^(-x^2) */
static void grad_bell(ScalarGrad *s, double factor) {
    Value *scale = number(s, factor);
    Value *xx = square(s, s->x);
    Value *exponent = b_neg(s->b, xx);
    Value *bell = b_unary(s->b, OP_exp, exponent);
    Value *slope = b_mul(s->b, scale, bell);
    s->out[0] = b_mul(s->b, s->g, slope);
}

static void grad_erf(ScalarGrad *s) {
    grad_bell(s, 1.1283791670955126); /* 2 / sqrt(pi) */
}

static void grad_erfc(ScalarGrad *s) {
    grad_bell(s, -1.1283791670955126);
}

static void grad_sigmoid(ScalarGrad *s) {
    Value *one = number(s, 1.0);
    Value *rest = b_sub(s->b, one, s->r);
    Value *slope = b_mul(s->b, s->r, rest);
    s->out[0] = b_mul(s->b, s->g, slope);
}

static void grad_add(ScalarGrad *s) {
    s->out[0] = s->g;
    s->out[1] = s->g;
}

static void grad_sub(ScalarGrad *s) {
    s->out[0] = s->g;
    if (s->wanted[1]) {
        s->out[1] = b_neg(s->b, s->g);
    }
}

static void grad_mul(ScalarGrad *s) {
    if (s->wanted[0]) {
        s->out[0] = b_mul(s->b, s->g, s->y);
    }
    if (s->wanted[1]) {
        s->out[1] = b_mul(s->b, s->g, s->x);
    }
}

static void grad_div(ScalarGrad *s) {
    Value *scaled = b_div(s->b, s->g, s->y);
    s->out[0] = scaled;
    if (s->wanted[1]) {
        Value *product = b_mul(s->b, scaled, s->r);
        s->out[1] = b_neg(s->b, product);
    }
}

/* x - floor(x / y) * y */
static void grad_mod(ScalarGrad *s) {
    s->out[0] = s->g;
    if (s->wanted[1]) {
        Value *quotient = b_binary(s->b, OP_floordiv, s->x, s->y);
        Value *product = b_mul(s->b, s->g, quotient);
        s->out[1] = b_neg(s->b, product);
    }
}

/* d/dx = y * x^(y-1), where y = 0 gives 0 at every x: the exponent there is taken as 0, not -1, so
 * that no infinity meets the zero in this or any further derivative. d/dy = x^y * log(x), 0 for x
 * <= 0. */
static void grad_pow(ScalarGrad *s) {
    Value *zero = number(s, 0.0);
    Value *one = number(s, 1.0);
    if (s->wanted[0]) {
        Value *is_zero = b_binary(s->b, OP_eq, s->y, zero);
        Value *safe = b_select(s->b, is_zero, one, s->y);
        Value *exponent = b_sub(s->b, safe, one);
        Value *power = b_binary(s->b, OP_pow, s->x, exponent);
        Value *slope = b_mul(s->b, s->y, power);
        s->out[0] = b_mul(s->b, s->g, slope);
    }
    if (s->wanted[1]) {
        Value *positive = b_binary(s->b, OP_gt, s->x, zero);
        Value *safe = b_select(s->b, positive, s->x, one);
        Value *logarithm = b_unary(s->b, OP_log, safe);
        Value *power = b_binary(s->b, OP_pow, safe, s->y);
        Value *slope = b_mul(s->b, power, logarithm);
        s->out[1] = b_mul(s->b, s->g, slope);
    }
}

/* The length of (x, y) where it may divide, 1 where it is 0 or infinite: `out` then holds. There
 * the derivatives of angle and length are 0, as the limit has it or, at the origin, by convention.
 */
static Value *safe_length(ScalarGrad *s, Value *length, Value **out) {
    Value *zero = number(s, 0.0);
    Value *one = number(s, 1.0);
    Value *infinity = number(s, (double)INFINITY);
    Value *none = b_binary(s->b, OP_eq, length, zero);
    Value *endless = b_binary(s->b, OP_eq, length, infinity);
    *out = b_binary(s->b, OP_or, none, endless);
    return b_select(s->b, *out, one, length);
}

/* g * v / length; `outside` where the length does not divide. */
static Value *share_of_length(ScalarGrad *s, Value *g, Value *v, Value *length, Value *out,
                              Value *outside) {
    Value *share = b_div(s->b, v, length);
    Value *slope = b_select(s->b, out, outside, share);
    return b_mul(s->b, g, slope);
}

/* y / r^2 and -x / r^2 with r = hypot(x, y), whose square might leave the range. */
static void grad_atan2(ScalarGrad *s) {
    Value *out = NULL;
    Value *zero = number(s, 0.0);
    Value *length = b_binary(s->b, OP_hypot, s->x, s->y);
    Value *safe = safe_length(s, length, &out);
    Value *scaled = b_div(s->b, s->g, safe);
    if (s->wanted[0]) {
        s->out[0] = share_of_length(s, scaled, s->y, safe, out, zero);
    }
    if (s->wanted[1]) {
        Value *slope = share_of_length(s, scaled, s->x, safe, out, zero);
        s->out[1] = b_neg(s->b, slope);
    }
}

/* x / r and y / r. At the origin 0, at infinity the sign of what is infinite. */
static void grad_hypot(ScalarGrad *s) {
    Value *out = NULL;
    Value *safe = safe_length(s, s->r, &out);
    Value *operands[] = {s->x, s->y};
    for (int i = 0; i < 2; i++) {
        if (s->wanted[i]) {
            Value *zero = number(s, 0.0);
            Value *finite = b_unary(s->b, OP_isfinite, operands[i]);
            Value *sign = b_unary(s->b, OP_sign, operands[i]);
            Value *outside = b_select(s->b, finite, zero, sign);
            s->out[i] = share_of_length(s, s->g, operands[i], safe, out, outside);
        }
    }
}

/* Share of operand `a` in max or min(a, c): 1 where it won, 1/2 on ties, 0 where it lost. */
static Value *winner_share(ScalarGrad *s, OpCode compare, Value *a, Value *c) {
    Value *zero = number(s, 0.0);
    Value *half = number(s, 0.5);
    Value *one = number(s, 1.0);
    Value *tie = b_binary(s->b, OP_eq, a, c);
    Value *won = b_binary(s->b, compare, a, c);
    Value *not_won = b_select(s->b, tie, half, zero);
    Value *share = b_select(s->b, won, one, not_won);
    return b_mul(s->b, s->g, share);
}

static void grad_extreme(ScalarGrad *s, OpCode compare) {
    if (s->wanted[0]) {
        s->out[0] = winner_share(s, compare, s->x, s->y);
    }
    if (s->wanted[1]) {
        s->out[1] = winner_share(s, compare, s->y, s->x);
    }
}

static void grad_max(ScalarGrad *s) {
    grad_extreme(s, OP_gt);
}

static void grad_min(ScalarGrad *s) {
    grad_extreme(s, OP_lt);
}

/* Every row says which it is: a rule that nobody wrote does not compile. */
#define RULE_OF_RULE(name)     grad_##name
#define RULE_OF_ZERO(name)     NULL
#define RULE_OF_NONE(name)     NULL
#define RULE_OF_BRANCHES(name) NULL
static const ScalarGradRule SCALAR_GRADS[OP_N_SCALAR] = {
#define SCALAR(name, arity, class_, result, cost, gradient, ...)                                   \
    [OP_##name] = RULE_OF_##gradient(name),
#include "ir/scalar.def"
#undef SCALAR
};

void grad_scalar(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    ScalarGradRule rule = SCALAR_GRADS[op->code];
    if (!rule || !cotangents[0]) {
        return;
    }
    ScalarGrad s = {.b = b,
                    .op = op,
                    .x = op->operands[0],
                    .y = op->n_operands > 1 ? op->operands[1] : NULL,
                    .r = op->results[0],
                    .g = cotangents[0],
                    .wanted = wanted,
                    .out = out};
    rule(&s);
}
