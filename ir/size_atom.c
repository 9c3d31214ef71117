/* The algebra of floordiv, mod, min and max over sizes. Everything that divides exactly is pulled
 * out first, so an atom remains only for what is really unknown:
 *     floordiv(k*p + q, k) = p + floordiv(q, k)      mod(k*p + q, k) = mod(q, k)
 *     floordiv(floordiv(a, m) + r, k) = floordiv(a + m*r, m*k)        for constants m, k > 0
 *     floordiv(g*r + c, g*k) = floordiv(r + floordiv(c, g), k)
 * and an atom whose value the ranges decide becomes that value. */
#include "ir/size_impl.h"

static const Size *floordiv_const(Context *context, const Size *a, int64_t k);

static const Size *make_atom(Context *context, AtomKind kind, const Size *a, const Size *b) {
    if (a->depth >= SIZE_MAX_DEPTH || b->depth >= SIZE_MAX_DEPTH) {
        return size_error();
    }
    Atom like = {.kind = kind, .a = a, .b = b};
    const Atom *atom = atom_intern(context, &like);
    if (atom->low == atom->high) {
        return size_const(context, atom->low);
    }
    return size_from_atom(context, atom);
}

/* Whether every value of `size` has the same quotient by k > 0, and which. */
static bool one_quotient(const Size *size, int64_t k, int64_t *out) {
    if (size->error || size->low == INT64_MIN || size->high == INT64_MAX) {
        return false;
    }
    *out = floor_div(size->low, k);
    return *out == floor_div(size->high, k);
}

/* size = k * out_quotient + rest, with every coefficient of rest in [0, k). */
static const Size *split_by_const(Context *context, const Size *size, int64_t k,
                                  const Size **out_quotient) {
    Poly quotient = {.n_terms = 0}, rest = {.n_terms = 0};
    for (int32_t i = 0; i < size->n_terms; i++) {
        const Term *term = &size->terms[i];
        poly_add(&quotient, floor_div(term->coeff, k), term->mono);
        poly_add(&rest, floor_mod(term->coeff, k), term->mono);
    }
    *out_quotient = poly_finish(context, &quotient);
    return poly_finish(context, &rest);
}

/* gcd of k and all coefficients but the constant's. */
static int64_t common_factor(const Size *size, int64_t k) {
    for (int32_t i = 0; i < size->n_terms; i++) {
        if (size->terms[i].mono->n_atoms) {
            k = gcd_int(k, size->terms[i].coeff);
        }
    }
    return k;
}

const Size *size_divide(Context *context, const Size *size, int64_t divisor) {
    Poly poly = {.n_terms = 0};
    for (int32_t i = 0; i < size->n_terms; i++) {
        poly_add(&poly, size->terms[i].coeff / divisor, size->terms[i].mono);
    }
    return poly_finish(context, &poly);
}

/* A term floordiv(x, m) with coefficient 1 and constant m > 0; -1: none. */
static int32_t find_inner_division(const Size *size, int64_t *out_m) {
    for (int32_t i = 0; i < size->n_terms; i++) {
        const Atom *atom = term_single_atom(&size->terms[i]);
        if (atom && atom->kind == ATOM_FLOORDIV && size->terms[i].coeff == 1 &&
            size_is_const(atom->b, out_m) && *out_m > 0) {
            return i;
        }
    }
    return -1;
}

/* floordiv(rest, k) for coefficients already in [0, k). */
static const Size *floordiv_rest(Context *context, const Size *rest, int64_t k) {
    int64_t factor = common_factor(rest, k), constant = size_constant_term(rest);
    if (factor > 1) {
        const Size *upper = size_shift(context, rest, -constant);
        upper = size_divide(context, upper, factor);
        upper = size_shift(context, upper, floor_div(constant, factor));
        return floordiv_const(context, upper, k / factor);
    }
    int64_t m, both;
    int32_t inner = find_inner_division(rest, &m);
    if (inner >= 0 && checked_mul(m, k, &both)) {
        const Atom *atom = term_single_atom(&rest->terms[inner]);
        const Size *others = size_sub(context, rest, size_from_atom(context, atom));
        const Size *flat = size_add(context, atom->a, size_scale(context, others, m));
        if (!flat->error) {
            return floordiv_const(context, flat, both);
        }
    }
    return make_atom(context, ATOM_FLOORDIV, rest, size_const(context, k));
}

static const Size *floordiv_const(Context *context, const Size *a, int64_t k) {
    int64_t value;
    if (k == 1 || a->error) {
        return a;
    }
    if (one_quotient(a, k, &value)) {
        return size_const(context, value);
    }
    const Size *quotient;
    const Size *rest = split_by_const(context, a, k, &quotient);
    if (rest->error || quotient->error) {
        return size_error();
    }
    const Size *small = one_quotient(rest, k, &value) ? size_const(context, value)
                                                      : floordiv_rest(context, rest, k);
    return size_add(context, quotient, small);
}

/* Replaces mod(x, m) by x where k divides m: equal modulo k. */
static const Size *drop_inner_mods(Context *context, const Size *size, int64_t k) {
    const Size *result = size;
    for (int32_t i = 0; i < size->n_terms; i++) {
        const Atom *atom = term_single_atom(&size->terms[i]);
        int64_t m;
        if (atom && atom->kind == ATOM_MOD && size_is_const(atom->b, &m) && m > 0 && m % k == 0) {
            const Size *difference = size_sub(context, atom->a, size_from_atom(context, atom));
            difference = size_scale(context, difference, size->terms[i].coeff);
            result = size_add(context, result, difference);
        }
    }
    return result->error ? size : result;
}

static const Size *mod_const(Context *context, const Size *a, int64_t k) {
    int64_t value;
    if (k == 1) {
        return size_const(context, 0);
    }
    if (one_quotient(a, k, &value)) {
        int64_t start;
        return checked_mul(value, -k, &start) ? size_shift(context, a, start) : size_error();
    }
    const Size *quotient;
    a = drop_inner_mods(context, a, k);
    const Size *rest = split_by_const(context, a, k, &quotient);
    if (rest->error) {
        return rest;
    }
    if (one_quotient(rest, k, &value)) {
        return size_shift(context, rest, -value * k);
    }
    int64_t factor = common_factor(rest, k), constant = size_constant_term(rest);
    if (factor > 1) {
        int64_t low_part = constant % factor;
        const Size *upper = size_shift(context, rest, -low_part);
        upper = mod_const(context, size_divide(context, upper, factor), k / factor);
        return size_shift(context, size_scale(context, upper, factor), low_part);
    }
    return make_atom(context, ATOM_MOD, rest, size_const(context, k));
}

/* term / by, when every atom and the coefficient divide. */
static bool term_divide(Context *context, const Term *term, const Term *by, Term *out) {
    const Mono *m = term->mono, *n = by->mono;
    if (term->coeff % by->coeff != 0 || n->n_atoms > m->n_atoms) {
        return false;
    }
    const Atom *left[SIZE_MAX_DEGREE];
    int32_t n_left = 0, j = 0;
    for (int32_t i = 0; i < m->n_atoms; i++) {
        if (j < n->n_atoms && m->atoms[i] == n->atoms[j]) {
            j++;
        } else {
            left[n_left++] = m->atoms[i];
        }
    }
    if (j < n->n_atoms) {
        return false;
    }
    *out = (Term){term->coeff / by->coeff, mono_intern(context, left, n_left)};
    return true;
}

/* a = b * out_quotient + rest. One-term divisors take out every term that divides; a divisor of
 * several terms divides by long division, and only if it comes out even. */
static const Size *split_by_size(Context *context, const Size *a, const Size *b,
                                 const Size **out_quotient) {
    Poly quotient = {.n_terms = 0};
    Term term;
    *out_quotient = size_const(context, 0);
    if (b->n_terms == 1) {
        Poly rest = {.n_terms = 0};
        for (int32_t i = 0; i < a->n_terms; i++) {
            if (term_divide(context, &a->terms[i], &b->terms[0], &term)) {
                poly_add(&quotient, term.coeff, term.mono);
            } else {
                poly_add(&rest, a->terms[i].coeff, a->terms[i].mono);
            }
        }
        *out_quotient = poly_finish(context, &quotient);
        return poly_finish(context, &rest);
    }
    const Size *rest = a;
    for (int step = 0; step < 16 && rest->n_terms > 0; step++) {
        if (!term_divide(context, &rest->terms[0], &b->terms[0], &term)) {
            return a;
        }
        Poly one = {.n_terms = 0};
        poly_add(&one, term.coeff, term.mono);
        poly_add(&quotient, term.coeff, term.mono);
        rest = size_sub(context, rest, size_mul(context, b, poly_finish(context, &one)));
    }
    if (rest->error || rest->n_terms > 0) {
        return a;
    }
    *out_quotient = poly_finish(context, &quotient);
    return rest;
}

/* Whether 0 <= rest < b for all values. */
static bool is_remainder(Context *context, const Size *rest, const Size *b) {
    if (rest->low < 0) {
        return false;
    }
    const Size *room = size_sub(context, b, rest);
    return !room->error && room->low >= 1;
}

/* rest brought into [0, b) by adding or taking away b once, counted in *out_steps; else as it is.
 */
static const Size *settle_remainder(Context *context, const Size *rest, const Size *b,
                                    int64_t *out_steps, bool *out_settled) {
    for (int64_t steps = 0; steps <= 1 && !rest->error; steps++) {
        for (int64_t sign = -1; sign <= 1; sign += 2) {
            const Size *moved = size_sub(context, rest, size_scale(context, b, sign * steps));
            if (!moved->error && is_remainder(context, moved, b)) {
                *out_steps = sign * steps;
                *out_settled = true;
                return moved;
            }
        }
    }
    *out_steps = 0;
    *out_settled = false;
    return rest;
}

static int64_t content(const Size *size) {
    int64_t g = 0;
    for (int32_t i = 0; i < size->n_terms; i++) {
        g = gcd_int(g, size->terms[i].coeff);
    }
    return g;
}

static const Size *floordiv_size(Context *context, const Size *a, const Size *b) {
    const Size *quotient;
    const Size *rest = split_by_size(context, a, b, &quotient);
    int64_t steps;
    bool settled;
    rest = settle_remainder(context, rest, b, &steps, &settled);
    if (settled || rest->error || quotient->error) {
        return rest->error ? rest : size_shift(context, quotient, steps);
    }
    int64_t g = gcd_int(content(rest), content(b));
    if (g > 1) {
        rest = size_divide(context, rest, g);
        b = size_divide(context, b, g);
    }
    return size_add(context, quotient, make_atom(context, ATOM_FLOORDIV, rest, b));
}

static const Size *mod_size(Context *context, const Size *a, const Size *b) {
    const Size *quotient;
    const Size *rest = split_by_size(context, a, b, &quotient);
    int64_t steps;
    bool settled;
    rest = settle_remainder(context, rest, b, &steps, &settled);
    if (settled || rest->error) {
        return rest;
    }
    int64_t g = gcd_int(content(rest), content(b));
    if (g > 1) {
        rest = size_divide(context, rest, g);
        b = size_divide(context, b, g);
        return size_scale(context, make_atom(context, ATOM_MOD, rest, b), g);
    }
    return make_atom(context, ATOM_MOD, rest, b);
}

const Size *size_floordiv_any(Context *context, const Size *a, const Size *b) {
    int64_t k;
    if (a->error || b->error) {
        return size_error();
    }
    if (b->high < 0) { /* floordiv(a, b) = floordiv(-a, -b): divisors are positive from here on */
        a = size_scale(context, a, -1);
        b = size_scale(context, b, -1);
        return a->error || b->error ? size_error() : size_floordiv_any(context, a, b);
    }
    if (size_is_const(b, &k)) {
        return k == 0 ? size_error() : floordiv_const(context, a, k);
    }
    return b->low > 0 ? floordiv_size(context, a, b) : make_atom(context, ATOM_FLOORDIV, a, b);
}

const Size *size_mod_any(Context *context, const Size *a, const Size *b) {
    int64_t k;
    if (a->error || b->error) {
        return size_error();
    }
    if (b->high < 0) { /* mod(a, b) = -mod(-a, -b) */
        a = size_scale(context, a, -1);
        b = size_scale(context, b, -1);
        if (a->error || b->error) {
            return size_error();
        }
        return size_scale(context, size_mod_any(context, a, b), -1);
    }
    if (size_is_const(b, &k)) {
        return k == 0 ? size_error() : mod_const(context, a, k);
    }
    return b->low > 0 ? mod_size(context, a, b) : make_atom(context, ATOM_MOD, a, b);
}

static bool provably_nonzero(const Size *size) {
    return size->error || size->low > 0 || size->high < 0;
}

const Size *size_floordiv(Context *context, const Size *a, const Size *b) {
    return provably_nonzero(b) ? size_floordiv_any(context, a, b) : NULL;
}

const Size *size_other_factor(Context *context, const Size *whole, const Size *part) {
    int64_t value;
    if (size_is_const(part, &value) && value == 0) {
        return NULL;
    }
    if (!provably_nonzero(part)) {
        const Size *quotient;
        const Size *rest = split_by_size(context, whole, part, &quotient);
        if (!rest->error && rest->n_terms == 0) {
            return quotient;
        }
        part = size_max(context, part, size_const(context, 1));
    }
    return size_floordiv_any(context, whole, part);
}

const Size *size_mod(Context *context, const Size *a, const Size *b) {
    return provably_nonzero(b) ? size_mod_any(context, a, b) : NULL;
}

const Size *size_cdiv(Context *context, const Size *a, const Size *b) {
    const Size *raised = size_add(context, a, b);
    bool negative = b->high < 0;
    return size_floordiv(context, size_shift(context, raised, negative ? 1 : -1), b);
}

/* -- min and max */

enum { MAX_LEAVES = 8 };

/* The operands of nested atoms of the same kind, or the size itself. */
static int gather_leaves(const Size *size, AtomKind kind, const Size **leaves, int n_leaves) {
    const Atom *atom =
        size->n_terms == 1 && size->terms[0].coeff == 1 ? term_single_atom(&size->terms[0]) : NULL;
    if (atom && atom->kind == kind && n_leaves + 2 <= MAX_LEAVES) {
        n_leaves = gather_leaves(atom->a, kind, leaves, n_leaves);
        return gather_leaves(atom->b, kind, leaves, n_leaves);
    }
    if (n_leaves < MAX_LEAVES) {
        leaves[n_leaves++] = size;
    }
    return n_leaves;
}

static bool leaf_wins(Context *context, AtomKind kind, const Size *a, const Size *b) {
    return size_less_equal(context, kind == ATOM_MIN ? a : b, kind == ATOM_MIN ? b : a) ==
           TRUTH_YES;
}

static const Size *extremum(Context *context, AtomKind kind, const Size *a, const Size *b) {
    if (a->error || b->error) {
        return size_error();
    }
    const Size *leaves[2 * MAX_LEAVES];
    int n_leaves = gather_leaves(a, kind, leaves, 0);
    n_leaves += gather_leaves(b, kind, leaves + n_leaves, 0);
    const Size *kept[2 * MAX_LEAVES] = {a};
    int n_kept = 0;
    for (int i = 0; i < n_leaves; i++) {
        bool beaten = false;
        for (int j = 0; j < n_kept && !beaten; j++) {
            beaten = leaf_wins(context, kind, kept[j], leaves[i]);
        }
        if (beaten) {
            continue;
        }
        int n_still = 0;
        for (int j = 0; j < n_kept; j++) {
            if (!leaf_wins(context, kind, leaves[i], kept[j])) {
                kept[n_still++] = kept[j];
            }
        }
        n_kept = n_still;
        int at = n_kept++;
        while (at > 0 && size_compare(kept[at - 1], leaves[i]) > 0) {
            kept[at] = kept[at - 1];
            at--;
        }
        kept[at] = leaves[i];
    }
    const Size *result = kept[0];
    for (int i = 1; i < n_kept && !result->error; i++) {
        result = make_atom(context, kind, result, kept[i]);
    }
    return result;
}

const Size *size_min(Context *context, const Size *a, const Size *b) {
    return extremum(context, ATOM_MIN, a, b);
}

const Size *size_max(Context *context, const Size *a, const Size *b) {
    return extremum(context, ATOM_MAX, a, b);
}
