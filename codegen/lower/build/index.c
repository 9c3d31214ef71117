/* Index arithmetic of the kernel builder: interned sums of size * atom. Divisions by sizes are
 * resolved where the sum factors, so that reshapes that split and merge axes cost nothing. */
#include "codegen/lower/build/build_impl.h"
#include <string.h>

enum { MAX_TERMS = 64 };

typedef struct Sum {
    int32_t n;
    Term terms[MAX_TERMS];
    const Size *constant;
} Sum;

static const Size *size_zero(KBuild *k) {
    return size_const(k->context, 0);
}

static bool size_is_zero(const Size *size) {
    int64_t value;
    return size_is_const(size, &value) && value == 0;
}

const Size *size_exact_div(Context *context, const Size *a, const Size *b) {
    if (size_is_one(b)) {
        return a;
    }
    if (a == b) {
        return size_const(context, 1);
    }
    int64_t value;
    if (size_is_const(a, &value) && value == 0) {
        return a;
    }
    if (size_is_const(b, &value) && value == 0) {
        return NULL;
    }
    const Size *quotient = size_floordiv(context, a, b);
    if (!quotient || size_is_error(quotient)) {
        return NULL;
    }
    return size_mul(context, quotient, b) == a ? quotient : NULL;
}

const Size *size_product(Context *context, const Size *const *dims, int32_t from, int32_t to) {
    const Size *product = size_const(context, 1);
    for (int32_t i = from; i < to; i++) {
        product = size_mul(context, product, dims[i]);
    }
    return product;
}

static void sum_add(KBuild *k, Sum *sum, const Size *coefficient, const Node *atom) {
    int32_t at = 0;
    while (at < sum->n && sum->terms[at].atom->serial < atom->serial) {
        at++;
    }
    if (at < sum->n && sum->terms[at].atom == atom) {
        const Size *total = size_add(k->context, sum->terms[at].coefficient, coefficient);
        if (size_is_zero(total)) {
            sum->n--;
            memmove(&sum->terms[at], &sum->terms[at + 1], (size_t)(sum->n - at) * sizeof(Term));
        } else {
            sum->terms[at].coefficient = total;
        }
        return;
    }
    if (size_is_zero(coefficient)) {
        return;
    }
    if (sum->n == MAX_TERMS) {
        INTERNAL_ERROR(k->context, k->fusion->place, "index", "a sum of more than %d terms",
                       MAX_TERMS);
    }
    memmove(&sum->terms[at + 1], &sum->terms[at], (size_t)(sum->n - at) * sizeof(Term));
    sum->terms[at] = (Term){coefficient, atom};
    sum->n++;
}

static void sum_add_expr(KBuild *k, Sum *sum, const KExpr *expr, const Size *factor) {
    const Node *node = node_of(expr);
    for (int32_t i = 0; i < node->n_terms; i++) {
        sum_add(k, sum, size_mul(k->context, node->terms[i].coefficient, factor),
                node->terms[i].atom);
    }
    sum->constant =
        size_add(k->context, sum->constant, size_mul(k->context, node->constant, factor));
}

/* n * floordiv(e, n) + mod(e, n) is e again. */
static bool sum_rejoin(KBuild *k, Sum *sum) {
    for (int32_t i = 0; i < sum->n; i++) {
        const Node *rest = sum->terms[i].atom;
        if (!rest->inner || !rest->is_mod) {
            continue;
        }
        const Size *coefficient = sum->terms[i].coefficient;
        const Size *wanted = size_mul(k->context, coefficient, rest->divisor);
        for (int32_t j = 0; j < sum->n; j++) {
            const Node *quotient = sum->terms[j].atom;
            if (quotient->inner == rest->inner && !quotient->is_mod &&
                quotient->divisor == rest->divisor && sum->terms[j].coefficient == wanted) {
                const Node *inner = rest->inner;
                int32_t low = i < j ? i : j, high = i < j ? j : i;
                memmove(&sum->terms[high], &sum->terms[high + 1],
                        (size_t)(sum->n - high - 1) * sizeof(Term));
                memmove(&sum->terms[low], &sum->terms[low + 1],
                        (size_t)(sum->n - low - 2) * sizeof(Term));
                sum->n -= 2;
                sum_add_expr(k, sum, &inner->e, coefficient);
                return true;
            }
        }
    }
    return false;
}

static const KExpr *plain(KBuild *k, OpCode op, const KExpr *a, const KExpr *b) {
    Node node = {.e = {.kind = KE_SCALAR, .dtype = DT_I64, .as.scalar = {op, 2, {a, b}}}};
    node.depth = node_of(a)->depth > node_of(b)->depth ? node_of(a)->depth : node_of(b)->depth;
    node.is_volatile = node_of(a)->is_volatile || node_of(b)->is_volatile;
    return node_intern(k, &node);
}

static uint64_t sum_hash(const Sum *sum) {
    uint64_t hash = hash_bytes(&sum->constant, sizeof(sum->constant), 77);
    for (int32_t i = 0; i < sum->n; i++) {
        hash = hash * 1099511628211u + (uint64_t)sum->terms[i].atom->serial;
        hash = hash_bytes(&sum->terms[i].coefficient, sizeof(const Size *), hash);
    }
    return hash;
}

static bool sum_equals(const Sum *sum, const Node *node) {
    if (!node->is_sum || node->n_terms != sum->n || node->constant != sum->constant) {
        return false;
    }
    return sum->n == 0 || memcmp(node->terms, sum->terms, (size_t)sum->n * sizeof(Term)) == 0;
}

static const KExpr *term_expr(KBuild *k, const Term *term) {
    if (size_is_one(term->coefficient)) {
        return &term->atom->e;
    }
    return plain(k, OP_mul, &term->atom->e, k_size(k, term->coefficient));
}

/* The interned node of a sum: its tree is built from the terms, outer loops first, constant last.
 */
static const KExpr *sum_intern(KBuild *k, Sum *sum) {
    while (sum_rejoin(k, sum)) {
    }
    if (sum->n == 1 && size_is_one(sum->terms[0].coefficient) && size_is_zero(sum->constant)) {
        return &sum->terms[0].atom->e;
    }
    uint64_t hash = sum_hash(sum);
    Node **bucket = &k->nodes[hash % NODE_BUCKETS];
    for (Node *node = *bucket; node; node = node->next) {
        if (node->hash == hash && sum_equals(sum, node)) {
            return &node->e;
        }
    }
    Node *node = POOL_NEW(k, Node);
    int64_t value;
    if (sum->n == 0 && size_is_const(sum->constant, &value)) {
        node->e = (KExpr){.kind = KE_INT, .dtype = DT_I64, .as.integer = value};
    } else if (sum->n == 0) {
        node->e = (KExpr){.kind = KE_SIZE, .dtype = DT_I64};
    } else {
        const KExpr *tree = term_expr(k, &sum->terms[0]);
        for (int32_t i = 1; i < sum->n; i++) {
            tree = plain(k, OP_add, tree, term_expr(k, &sum->terms[i]));
        }
        if (!size_is_zero(sum->constant)) {
            tree = plain(k, OP_add, tree, k_size(k, sum->constant));
        }
        node->e = *tree;
        node->depth = node_of(tree)->depth;
        node->is_volatile = node_of(tree)->is_volatile;
        node->weight = node_of(tree)->weight;
    }
    node->hash = hash;
    node->is_sum = true;
    node->serial = k->next_serial++;
    node->n_terms = sum->n;
    Term *terms = POOL_ARRAY(k, Term, sum->n);
    if (sum->n > 0) {
        memcpy(terms, sum->terms, (size_t)sum->n * sizeof(Term));
    }
    node->terms = terms;
    node->constant = sum->constant;
    node->next = *bucket;
    *bucket = node;
    return &node->e;
}

const KExpr *index_atom(KBuild *k, const Node *prototype) {
    const KExpr *expr = node_intern(k, prototype);
    Node *node = (Node *)expr;
    if (!node->is_sum) {
        Term *self = POOL_NEW(k, Term);
        *self = (Term){size_const(k->context, 1), node};
        node->is_sum = true;
        node->n_terms = 1;
        node->terms = self;
        node->constant = size_zero(k);
    }
    return expr;
}

const KExpr *k_size(KBuild *k, const Size *size) {
    Sum sum = {.constant = size};
    return sum_intern(k, &sum);
}

/* An atom, so that it stays where a constant would be folded. Its value is no part of any proof: it
 * must not decide the text. */
const KExpr *k_parameter(KBuild *k, int64_t value) {
    Node node = {.e = {.kind = KE_SIZE, .dtype = DT_I64}, .parameter = value};
    node.is_natural = true;
    return index_atom(k, &node);
}

const KExpr *k_int(KBuild *k, int64_t value) {
    return k_size(k, size_const(k->context, value));
}

const KExpr *k_scale(KBuild *k, const KExpr *a, const Size *factor) {
    Sum sum = {.constant = size_zero(k)};
    if (!size_is_zero(factor)) {
        sum_add_expr(k, &sum, a, factor);
    }
    return sum_intern(k, &sum);
}

const KExpr *k_scale_int(KBuild *k, const KExpr *a, int64_t factor) {
    return k_scale(k, a, size_const(k->context, factor));
}

const KExpr *k_add(KBuild *k, const KExpr *a, const KExpr *b) {
    Sum sum = {.constant = size_zero(k)};
    sum_add_expr(k, &sum, a, size_const(k->context, 1));
    sum_add_expr(k, &sum, b, size_const(k->context, 1));
    return sum_intern(k, &sum);
}

const KExpr *k_sub(KBuild *k, const KExpr *a, const KExpr *b) {
    Sum sum = {.constant = size_zero(k)};
    sum_add_expr(k, &sum, a, size_const(k->context, 1));
    sum_add_expr(k, &sum, b, size_const(k->context, -1));
    return sum_intern(k, &sum);
}

static void sum_bounds(KBuild *k, const Sum *sum, const Size **out_low, const Size **out_high) {
    const Size *low = sum->constant, *high = sum->constant;
    for (int32_t i = 0; i < sum->n; i++) {
        const Node *atom = sum->terms[i].atom;
        const Size *coefficient = sum->terms[i].coefficient;
        int64_t least, most;
        size_range(coefficient, &least, &most);
        const Size *reach = atom->last ? size_mul(k->context, coefficient, atom->last) : NULL;
        if (!atom->is_natural || (least < 0 && most > 0)) {
            low = high = NULL;
        } else if (least >= 0) {
            high = high && reach ? size_add(k->context, high, reach) : NULL;
        } else {
            low = low && reach ? size_add(k->context, low, reach) : NULL;
        }
    }
    *out_low = low;
    *out_high = high;
}

static void sum_of(const KExpr *expr, Sum *out) {
    const Node *node = node_of(expr);
    out->n = node->n_terms;
    if (out->n > 0) {
        memcpy(out->terms, node->terms, (size_t)out->n * sizeof(Term));
    }
    out->constant = node->constant;
}

void index_bounds(KBuild *k, const KExpr *expr, const Size **out_low, const Size **out_high) {
    Sum sum;
    sum_of(expr, &sum);
    sum_bounds(k, &sum, out_low, out_high);
}

static bool proved_le(KBuild *k, const Size *a, const Size *b) {
    return a && b && size_less_equal(k->context, a, b) == TRUTH_YES;
}

bool index_proved_natural(KBuild *k, const KExpr *expr) {
    const Size *low, *high;
    index_bounds(k, expr, &low, &high);
    return proved_le(k, size_zero(k), low);
}

static bool sum_below(KBuild *k, const Sum *sum, const Size *n) {
    const Size *low, *high;
    sum_bounds(k, sum, &low, &high);
    const Size *last = size_sub(k->context, n, size_const(k->context, 1));
    return proved_le(k, size_zero(k), low) && proved_le(k, high, last);
}

/* Its quotient and its remainder both contain `inner`, so that each division of what was put
 * together of such doubles the tree: what is heavy is computed once. */
static const KExpr *division_atom(KBuild *k, const KExpr *inner, const Size *n, bool is_mod) {
    inner = kb_let_index(k, inner);
    Node node = {.e = {.kind = KE_SCALAR,
                       .dtype = DT_I64,
                       .as.scalar = {is_mod ? OP_mod : OP_floordiv, 2, {inner, k_size(k, n)}}}};
    node.depth = node_of(inner)->depth;
    node.is_volatile = node_of(inner)->is_volatile;
    node.inner = node_of(inner);
    node.divisor = n;
    node.is_mod = is_mod;
    const Size *low, *high;
    index_bounds(k, inner, &low, &high);
    bool natural = proved_le(k, size_zero(k), low);
    node.is_natural = is_mod || natural;
    if (is_mod) {
        node.last = size_sub(k->context, n, size_const(k->context, 1));
    } else if (high) {
        node.last = size_floordiv(k->context, high, n);
    }
    return index_atom(k, &node);
}

/* A sum whose coefficients share a divisor c of n, plus a rest below c: divided by c throughout. */
static bool divmod_reduced(KBuild *k, const Sum *rest, const Size *n, const KExpr **out_div,
                           const KExpr **out_mod) {
    for (int32_t pick = 0; pick < rest->n; pick++) {
        const Size *c = rest->terms[pick].coefficient;
        const Size *smaller = size_is_one(c) ? NULL : size_exact_div(k->context, n, c);
        if (!smaller) {
            continue;
        }
        Sum big = {.constant = size_zero(k)}, small = {.constant = size_zero(k)};
        for (int32_t i = 0; i < rest->n; i++) {
            const Size *part = size_exact_div(k->context, rest->terms[i].coefficient, c);
            sum_add(k, part ? &big : &small, part ? part : rest->terms[i].coefficient,
                    rest->terms[i].atom);
        }
        const Size *part = size_exact_div(k->context, rest->constant, c);
        *(part ? &big.constant : &small.constant) = part ? part : rest->constant;
        if (!sum_below(k, &small, c)) {
            continue;
        }
        const KExpr *mod;
        k_divmod(k, sum_intern(k, &big), smaller, out_div, &mod);
        const KExpr *scaled = k_scale(k, mod, c);
        *out_mod = k_add(k, scaled, sum_intern(k, &small));
        return true;
    }
    return false;
}

/* Moves what n divides from `rest` to `quotient`. */
static void split_by(KBuild *k, const KExpr *a, const Size *n, Sum *quotient, Sum *rest) {
    Sum all;
    sum_of(a, &all);
    quotient->n = rest->n = 0;
    quotient->constant = rest->constant = size_zero(k);
    for (int32_t i = 0; i < all.n; i++) {
        const Size *part = size_exact_div(k->context, all.terms[i].coefficient, n);
        sum_add(k, part ? quotient : rest, part ? part : all.terms[i].coefficient,
                all.terms[i].atom);
    }
    const Size *part = size_exact_div(k->context, all.constant, n);
    int64_t constant, divisor;
    if (part) {
        quotient->constant = part;
    } else if (size_is_const(all.constant, &constant) && size_is_const(n, &divisor)) {
        int64_t whole = constant / divisor - (constant % divisor < 0);
        quotient->constant = size_const(k->context, whole);
        rest->constant = size_const(k->context, constant - whole * divisor);
    } else {
        rest->constant = all.constant;
    }
}

void k_divmod(KBuild *k, const KExpr *a, const Size *n, const KExpr **out_div,
              const KExpr **out_mod) {
    if (size_is_one(n)) {
        *out_div = a;
        *out_mod = k_int(k, 0);
        return;
    }
    if (size_is_zero(n)) {
        *out_div = *out_mod = a; /* of an empty space: never evaluated */
        return;
    }
    Sum quotient, rest;
    split_by(k, a, n, &quotient, &rest);
    const KExpr *whole = sum_intern(k, &quotient);
    if (sum_below(k, &rest, n)) {
        *out_div = whole;
        *out_mod = sum_intern(k, &rest);
        return;
    }
    const KExpr *div, *mod;
    if (!divmod_reduced(k, &rest, n, &div, &mod)) {
        const KExpr *inner = sum_intern(k, &rest);
        div = division_atom(k, inner, n, false);
        mod = division_atom(k, inner, n, true);
    }
    *out_div = k_add(k, whole, div);
    *out_mod = mod;
}

const KExpr *k_flat(KBuild *k, Type type, const KExpr *const *index) {
    const KExpr *flat = k_int(k, 0);
    const Size *stride = size_const(k->context, 1);
    for (int32_t i = type.rank - 1; i >= 0; i--) {
        const KExpr *part = k_scale(k, index[i], stride);
        flat = k_add(k, flat, part);
        stride = size_mul(k->context, stride, type.dims[i]);
    }
    return flat;
}

void k_unflat(KBuild *k, Type type, const KExpr *flat, const KExpr **out_index) {
    for (int32_t i = type.rank - 1; i > 0; i--) {
        const KExpr *mod;
        if (size_is_one(type.dims[i])) {
            out_index[i] = k_int(k, 0);
            continue;
        }
        const Size *before = size_product(k->context, type.dims, 0, i);
        if (size_is_one(before)) {
            out_index[i] = flat;
            for (int32_t j = 0; j < i; j++) {
                out_index[j] = k_int(k, 0);
            }
            return;
        }
        k_divmod(k, flat, type.dims[i], &flat, &mod);
        out_index[i] = mod;
    }
    if (type.rank > 0) {
        out_index[0] = size_is_one(type.dims[0]) ? k_int(k, 0) : flat;
    }
}

static const KExpr *extreme(KBuild *k, OpCode op, const KExpr *a, const KExpr *b) {
    a = kb_let_index(k, a);
    b = kb_let_index(k, b);
    Node node = {.e = {.kind = KE_SCALAR, .dtype = DT_I64, .as.scalar = {op, 2, {a, b}}}};
    node.depth = node_of(a)->depth > node_of(b)->depth ? node_of(a)->depth : node_of(b)->depth;
    node.is_volatile = node_of(a)->is_volatile || node_of(b)->is_volatile;
    const Size *low_a, *high_a, *low_b, *high_b;
    index_bounds(k, a, &low_a, &high_a);
    index_bounds(k, b, &low_b, &high_b);
    const Size *zero = size_zero(k);
    bool natural_a = proved_le(k, zero, low_a), natural_b = proved_le(k, zero, low_b);
    if (op == OP_min) {
        node.is_natural = natural_a && natural_b;
        node.last = high_b ? high_b : high_a;
    } else {
        node.is_natural = natural_a || natural_b;
        node.last = high_a && high_b ? size_max(k->context, high_a, high_b) : NULL;
    }
    return index_atom(k, &node);
}

const KExpr *k_min(KBuild *k, const KExpr *a, const KExpr *b) {
    if (index_proved_natural(k, k_sub(k, b, a))) {
        return a;
    }
    return index_proved_natural(k, k_sub(k, a, b)) ? b : extreme(k, OP_min, a, b);
}

const KExpr *k_max(KBuild *k, const KExpr *a, const KExpr *b) {
    if (index_proved_natural(k, k_sub(k, a, b))) {
        return a;
    }
    return index_proved_natural(k, k_sub(k, b, a)) ? b : extreme(k, OP_max, a, b);
}

const KExpr *k_le(KBuild *k, const KExpr *a, const KExpr *b) {
    const KExpr *difference = k_sub(k, b, a);
    const Size *low, *high;
    index_bounds(k, difference, &low, &high);
    if (proved_le(k, size_zero(k), low)) {
        return k_integer(k, DT_BOOL, 1);
    }
    if (proved_le(k, high, size_const(k->context, -1))) {
        return k_integer(k, DT_BOOL, 0);
    }
    return k_binary(k, OP_le, a, b);
}

const KExpr *k_lt(KBuild *k, const KExpr *a, const KExpr *b) {
    const KExpr *next = k_add(k, a, k_int(k, 1));
    const KExpr *result = k_le(k, next, b);
    return k_is_true(result) || k_is_false(result) ? result : k_binary(k, OP_lt, a, b);
}
