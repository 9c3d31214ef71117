/* What is known of a size: bounds, divisors, comparisons, values, substitution. Bounds are interval
 * arithmetic that saturates at INT64_MIN and INT64_MAX (no bound), sharpened for sizes in which an
 * atom meets its own operands (T - min(T, 8), H - 2*floordiv(H, 2)). */
#include "ir/size_impl.h"

int64_t gcd_int(int64_t a, int64_t b) {
    if (a == INT64_MIN || b == INT64_MIN) {
        return 1;
    }
    a = a < 0 ? -a : a;
    b = b < 0 ? -b : b;
    while (b) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* -- Intervals */

static int64_t clamp128(__int128 value) {
    return value <= INT64_MIN ? INT64_MIN : value >= INT64_MAX ? INT64_MAX : (int64_t)value;
}

static int64_t bound_mul(int64_t a, int64_t b) {
    if (a == 0 || b == 0) {
        return 0;
    }
    if (a == INT64_MIN || a == INT64_MAX || b == INT64_MIN || b == INT64_MAX) {
        return (a < 0) == (b < 0) ? INT64_MAX : INT64_MIN;
    }
    return clamp128((__int128)a * b);
}

static int64_t bound_add(int64_t a, int64_t b) {
    if (a == INT64_MIN || a == INT64_MAX) {
        return a;
    }
    if (b == INT64_MIN || b == INT64_MAX) {
        return b;
    }
    return clamp128((__int128)a + b);
}

static int64_t bound_div(int64_t a, int64_t b) {
    return a == INT64_MIN || a == INT64_MAX ? a : floor_div(a, b);
}

/* A low bound is never "no upper limit", nor a high bound "no lower limit". */
static void settle(int64_t *low, int64_t *high) {
    if (*low == INT64_MAX) {
        *low = INT64_MAX - 1;
    }
    if (*high == INT64_MIN) {
        *high = INT64_MIN + 1;
    }
}

static void interval_mul(int64_t *low, int64_t *high, int64_t other_low, int64_t other_high) {
    int64_t corners[4] = {bound_mul(*low, other_low), bound_mul(*low, other_high),
                          bound_mul(*high, other_low), bound_mul(*high, other_high)};
    *low = corners[0];
    *high = corners[0];
    for (int i = 1; i < 4; i++) {
        *low = corners[i] < *low ? corners[i] : *low;
        *high = corners[i] > *high ? corners[i] : *high;
    }
    settle(low, high);
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t greatest(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static void floordiv_bounds(Atom *atom) {
    const Size *a = atom->a, *b = atom->b;
    if (b->low < 0) {
        return;
    }
    int64_t b_low = greatest(b->low, 1), b_high = greatest(b->high, 1); /* 0 fails when it runs */
    atom->low = a->low >= 0 ? bound_div(a->low, b_high) : bound_div(a->low, b_low);
    atom->high = a->high >= 0 ? bound_div(a->high, b_low) : bound_div(a->high, b_high);
}

static void mod_bounds(Atom *atom) {
    const Size *a = atom->a, *b = atom->b;
    if (b->low < 0) {
        return;
    }
    atom->low = 0;
    atom->high = b->high == INT64_MAX ? INT64_MAX : greatest(b->high - 1, 0);
    if (a->low >= 0) {
        atom->high = least(atom->high, a->high);
    }
}

void atom_set_facts(Atom *atom) {
    atom->low = INT64_MIN;
    atom->high = INT64_MAX;
    atom->gcd = 1;
    atom->depth = 0;
    atom->n_special = 0;
    if (atom->kind == ATOM_DIM) {
        int64_t divisor = greatest(atom->dim->divisor, 1);
        int64_t low = atom->dim->low;
        atom->low = low > INT64_MIN + 1 ? -floor_div(-low, divisor) : INT64_MIN;
        atom->high = bound_div(atom->dim->high, divisor);
        settle(&atom->low, &atom->high);
        return;
    }
    const Size *a = atom->a, *b = atom->b;
    atom->depth = 1 + (a->depth > b->depth ? a->depth : b->depth);
    atom->n_special = 1 + a->n_special + b->n_special;
    if (atom->n_special > 1000) {
        atom->n_special = 1000;
    }
    switch (atom->kind) {
    case ATOM_FLOORDIV:
        floordiv_bounds(atom);
        break;
    case ATOM_MOD:
        mod_bounds(atom);
        atom->gcd = gcd_int(a->gcd, b->gcd);
        break;
    case ATOM_MIN:
        atom->low = least(a->low, b->low);
        atom->high = least(a->high, b->high);
        atom->gcd = gcd_int(a->gcd, b->gcd);
        break;
    case ATOM_MAX:
        atom->low = greatest(a->low, b->low);
        atom->high = greatest(a->high, b->high);
        atom->gcd = gcd_int(a->gcd, b->gcd);
        break;
    default:
        break;
    }
    settle(&atom->low, &atom->high);
}

void size_set_facts(Size *size) {
    size->low = 0;
    size->high = 0;
    size->gcd = 0;
    for (int32_t i = 0; i < size->n_terms; i++) {
        const Term *term = &size->terms[i];
        int64_t low = term->coeff, high = term->coeff, gcd = term->coeff;
        settle(&low, &high);
        for (int32_t j = 0; j < term->mono->n_atoms; j++) {
            const Atom *atom = term->mono->atoms[j];
            interval_mul(&low, &high, atom->low, atom->high);
            int64_t both;
            gcd = checked_mul(gcd, atom->gcd ? atom->gcd : 1, &both) ? both : gcd;
            size->n_special += atom->n_special;
            size->depth = atom->depth > size->depth ? atom->depth : size->depth;
        }
        size->low = bound_add(size->low, low);
        size->high = bound_add(size->high, high);
        size->gcd = gcd_int(size->gcd, gcd);
        settle(&size->low, &size->high);
    }
    if (size->n_special > 1000) {
        size->n_special = 1000;
    }
}

/* -- Sharper bounds */

typedef struct Bounds {
    int64_t low, high;
} Bounds;

static const Bounds unbounded = {INT64_MIN, INT64_MAX};

static Bounds bounds_of(const Size *size) {
    return size->error ? unbounded : (Bounds){size->low, size->high};
}

/* rest + c*min(a, b) or c*max(a, b): it equals one of the two cases, and lies on one side of both.
 */
static Bounds refine_extremum(Context *context, const Size *rest, const Atom *atom, int64_t c) {
    Bounds first = bounds_of(size_add(context, rest, size_scale(context, atom->a, c)));
    Bounds second = bounds_of(size_add(context, rest, size_scale(context, atom->b, c)));
    bool below = (atom->kind == ATOM_MIN) == (c > 0);
    if (below) {
        return (Bounds){least(first.low, second.low), least(first.high, second.high)};
    }
    return (Bounds){greatest(first.low, second.low), greatest(first.high, second.high)};
}

/* rest + c*floordiv(q, k): m times it is m*rest + e*(k*floordiv(q, k)), where m*c = e*k, and
 * k*floordiv(q, k) lies in [q - k + 1, q]. */
static Bounds refine_floordiv(Context *context, const Size *rest, const Atom *atom, int64_t c,
                              int64_t k) {
    int64_t g = gcd_int(c, k);
    int64_t m = k / g, e = c / g;
    const Size *scaled = size_scale(context, rest, m);
    const Size *upper = size_add(context, scaled, size_scale(context, atom->a, e));
    const Size *shifted = size_shift(context, atom->a, 1 - k);
    const Size *lower = size_add(context, scaled, size_scale(context, shifted, e));
    if (e < 0) {
        const Size *swap = upper;
        upper = lower;
        lower = swap;
    }
    Bounds low = bounds_of(lower), high = bounds_of(upper);
    Bounds result = unbounded;
    if (low.low > INT64_MIN + 1) {
        result.low = -floor_div(-low.low, m);
    }
    if (high.high != INT64_MAX) {
        result.high = floor_div(high.high, m);
    }
    return result;
}

/* mod(q, k) <= q for q >= 0. */
static Bounds refine_mod(Context *context, const Size *rest, const Atom *atom, int64_t c) {
    Bounds result = unbounded;
    if (atom->a->low >= 0 && atom->b->low >= 0) {
        Bounds with = bounds_of(size_add(context, rest, size_scale(context, atom->a, c)));
        if (c > 0) {
            result.high = with.high;
        } else {
            result.low = with.low;
        }
    }
    return result;
}

void size_refine(Context *context, Size *size) {
    if (size->n_special == 0 || size->n_special > SIZE_MAX_SPECIAL || size->n_terms < 2) {
        return;
    }
    for (int32_t i = 0; i < size->n_terms; i++) {
        const Atom *atom = term_single_atom(&size->terms[i]);
        int64_t c = size->terms[i].coeff, k;
        if (!atom || atom->kind == ATOM_DIM || c == INT64_MIN) {
            continue;
        }
        Poly others = {.n_terms = 0};
        for (int32_t j = 0; j < size->n_terms; j++) {
            if (j != i) {
                poly_add(&others, size->terms[j].coeff, size->terms[j].mono);
            }
        }
        const Size *rest = poly_finish(context, &others);
        Bounds bounds = unbounded;
        if (atom->kind == ATOM_MIN || atom->kind == ATOM_MAX) {
            bounds = refine_extremum(context, rest, atom, c);
        } else if (atom->kind == ATOM_MOD) {
            bounds = refine_mod(context, rest, atom, c);
        } else if (size_is_const(atom->b, &k) && k > 0) {
            bounds = refine_floordiv(context, rest, atom, c, k);
        }
        int64_t low = greatest(size->low, bounds.low), high = least(size->high, bounds.high);
        settle(&low, &high);
        if (low <= high) { /* else the dims' own bounds are contradictory: keep what we had */
            size->low = low;
            size->high = high;
        }
    }
}

/* -- Questions */

void size_range(const Size *size, int64_t *low, int64_t *high) {
    *low = size->low;
    *high = size->high;
}

int64_t size_gcd(const Size *size) {
    return size->gcd;
}

bool size_divisible(const Size *size, int64_t divisor) {
    if (size->error || divisor == 0) {
        return false;
    }
    return divisor == 1 || divisor == -1 || size->gcd % divisor == 0;
}

/* Every mod(q, k) that stands alone in a term written as q - k*floordiv(q, k), which may cancel. */
static const Size *expand_mods(Context *context, const Size *size) {
    const Size *result = size;
    for (int32_t i = 0; i < size->n_terms; i++) {
        const Atom *atom = term_single_atom(&size->terms[i]);
        if (!atom || atom->kind != ATOM_MOD) {
            continue;
        }
        const Size *quotient = size_floordiv_any(context, atom->a, atom->b);
        const Size *value = size_sub(context, atom->a, size_mul(context, atom->b, quotient));
        const Size *change = size_sub(context, value, size_from_atom(context, atom));
        change = size_scale(context, change, size->terms[i].coeff);
        result = size_add(context, result, change);
    }
    return result->error ? size : result;
}

static Truth difference_is_zero(Context *context, const Size *difference) {
    if (difference->low > 0 || difference->high < 0) {
        return TRUTH_NO;
    }
    if (difference->low == 0 && difference->high == 0) {
        return TRUTH_YES;
    }
    int64_t constant = size_constant_term(difference);
    const Size *rest = size_sub(context, difference, size_const(context, constant));
    if (!rest->error && rest->gcd > 1 && constant % rest->gcd != 0) {
        return TRUTH_NO;
    }
    return TRUTH_MAYBE;
}

Truth size_equal(Context *context, const Size *a, const Size *b) {
    if (a->error || b->error) {
        return TRUTH_MAYBE;
    }
    if (a == b) {
        return TRUTH_YES;
    }
    const Size *difference = size_sub(context, a, b);
    if (difference->error) {
        return TRUTH_MAYBE;
    }
    Truth truth = difference_is_zero(context, difference);
    const Size *expanded = truth == TRUTH_MAYBE ? expand_mods(context, difference) : difference;
    return expanded == difference ? truth : difference_is_zero(context, expanded);
}

Truth size_less_equal(Context *context, const Size *a, const Size *b) {
    if (a->error || b->error) {
        return TRUTH_MAYBE;
    }
    const Size *difference = size_sub(context, b, a);
    for (int attempt = 0; attempt < 2 && !difference->error; attempt++) {
        if (difference->low >= 0) {
            return TRUTH_YES;
        }
        if (difference->high < 0) {
            return TRUTH_NO;
        }
        difference = expand_mods(context, difference);
    }
    return TRUTH_MAYBE;
}
