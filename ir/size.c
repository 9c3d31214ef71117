/* Symbolic sizes: interning, and the polynomial operations. The atoms' own algebra is in
 * size_atom.c, ranges and decisions in size_range.c, text in size_text.c. */
#include "ir/size_impl.h"

#include <stdlib.h>
#include <string.h>

static const Size error_size = {.error = true, .low = INT64_MIN, .high = INT64_MAX, .gcd = 1};

const Size *size_error(void) {
    return &error_size;
}

static uint64_t hash_mix(uint64_t hash, uint64_t value) {
    hash ^= value + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
    hash *= 0xff51afd7ed558ccdu;
    return hash ^ (hash >> 32);
}

/* -- Hash sets */

typedef bool SameThing(const void *a, const void *b);

/* The slot with an equal thing, or the free slot for it; grows before the set is three quarters
 * full. */
static const uint64_t **set_slot(Context *context, HashSet *set, const void *thing,
                                 SameThing *same) {
    if ((set->count + 1) * 4 > set->n_slots * 3) {
        size_t n_slots = set->n_slots ? set->n_slots * 2 : 64;
        const uint64_t **slots = ARENA_ARRAY(&context->arena, const uint64_t *, n_slots);
        for (size_t i = 0; i < set->n_slots; i++) {
            if (set->slots[i]) {
                size_t at = (size_t)*set->slots[i] & (n_slots - 1);
                while (slots[at]) {
                    at = (at + 1) & (n_slots - 1);
                }
                slots[at] = set->slots[i];
            }
        }
        set->slots = slots;
        set->n_slots = n_slots;
    }
    uint64_t hash = *(const uint64_t *)thing;
    size_t at = (size_t)hash & (set->n_slots - 1);
    while (set->slots[at] && (*set->slots[at] != hash || !same(set->slots[at], thing))) {
        at = (at + 1) & (set->n_slots - 1);
    }
    return &set->slots[at];
}

static bool atom_same(const void *left, const void *right) {
    const Atom *a = left, *b = right;
    return a->kind == b->kind && a->dim == b->dim && a->a == b->a && a->b == b->b;
}

static bool mono_same(const void *left, const void *right) {
    const Mono *a = left, *b = right;
    return a->n_atoms == b->n_atoms &&
           memcmp(a->atoms, b->atoms, (size_t)a->n_atoms * sizeof(a->atoms[0])) == 0;
}

static bool size_same(const void *left, const void *right) {
    const Size *a = left, *b = right;
    if (a->n_terms != b->n_terms) {
        return false;
    }
    for (int32_t i = 0; i < a->n_terms; i++) {
        if (a->terms[i].coeff != b->terms[i].coeff || a->terms[i].mono != b->terms[i].mono) {
            return false;
        }
    }
    return true;
}

SizePool *size_pool(Context *context) {
    if (!context->sizes) {
        SizePool *pool = ARENA_NEW(&context->arena, SizePool);
        context->sizes = pool;
        pool->one = mono_intern(context, NULL, 0);
        Poly zero = {.n_terms = 0}, unit = {.n_terms = 0};
        pool->zero = poly_finish(context, &zero);
        poly_add(&unit, 1, pool->one);
        pool->unit = poly_finish(context, &unit);
    }
    return context->sizes;
}

/* -- Orders */

static int compare_int(int64_t a, int64_t b) {
    return (a > b) - (a < b);
}

static int atom_compare(const Atom *a, const Atom *b) {
    if (a == b) {
        return 0;
    }
    if (a->kind != b->kind) {
        return compare_int(a->kind, b->kind);
    }
    if (a->kind == ATOM_DIM) {
        int by_id = compare_int(a->dim->id, b->dim->id);
        int by_name = by_id ? by_id : strcmp(a->dim->name, b->dim->name);
        return by_name ? by_name : compare_int(a->order, b->order);
    }
    int by_first = size_compare(a->a, b->a);
    return by_first ? by_first : size_compare(a->b, b->b);
}

/* Higher degree first, then atom by atom. */
static int mono_compare(const Mono *a, const Mono *b) {
    if (a == b) {
        return 0;
    }
    if (a->n_atoms != b->n_atoms) {
        return compare_int(b->n_atoms, a->n_atoms);
    }
    for (int32_t i = 0; i < a->n_atoms; i++) {
        int order = atom_compare(a->atoms[i], b->atoms[i]);
        if (order) {
            return order;
        }
    }
    return 0;
}

int size_compare(const Size *a, const Size *b) {
    if (a == b) {
        return 0;
    }
    if (a->error != b->error) {
        return a->error ? -1 : 1;
    }
    for (int32_t i = 0; i < a->n_terms && i < b->n_terms; i++) {
        int order = mono_compare(a->terms[i].mono, b->terms[i].mono);
        if (!order) {
            order = compare_int(a->terms[i].coeff, b->terms[i].coeff);
        }
        if (order) {
            return order;
        }
    }
    return compare_int(a->n_terms, b->n_terms);
}

/* -- Interning */

const Atom *atom_intern(Context *context, const Atom *like) {
    SizePool *pool = size_pool(context);
    Atom atom = *like;
    atom.hash = hash_mix(17, (uint64_t)atom.kind);
    if (atom.kind == ATOM_DIM) {
        atom.hash = hash_mix(atom.hash, (uint64_t)atom.dim->id);
        atom.hash ^= hash_bytes(atom.dim->name, strlen(atom.dim->name), 3);
    } else {
        atom.hash = hash_mix(hash_mix(atom.hash, atom.a->hash), atom.b->hash);
    }
    const uint64_t **slot = set_slot(context, &pool->atoms, &atom, atom_same);
    if (!*slot) {
        atom.order = atom.kind == ATOM_DIM ? pool->n_dims++ : 0;
        atom_set_facts(&atom);
        Atom *kept = ARENA_NEW(&context->arena, Atom);
        *kept = atom;
        *slot = &kept->hash;
        pool->atoms.count++;
    }
    return (const Atom *)(const void *)*slot;
}

static int atom_pointer_compare(const void *left, const void *right) {
    return atom_compare(*(const Atom *const *)left, *(const Atom *const *)right);
}

const Mono *mono_intern(Context *context, const Atom *const *atoms, int32_t n_atoms) {
    SizePool *pool = context->sizes;
    union {
        Mono mono;
        char room[sizeof(Mono) + SIZE_MAX_DEGREE * sizeof(Atom *)];
    } scratch;
    Mono *mono = &scratch.mono;
    mono->n_atoms = n_atoms;
    if (n_atoms) {
        memcpy(mono->atoms, atoms, (size_t)n_atoms * sizeof(atoms[0]));
        qsort(mono->atoms, (size_t)n_atoms, sizeof(mono->atoms[0]), atom_pointer_compare);
    }
    mono->hash = 29;
    for (int32_t i = 0; i < n_atoms; i++) {
        mono->hash = hash_mix(mono->hash, mono->atoms[i]->hash);
    }
    const uint64_t **slot = set_slot(context, &pool->monos, mono, mono_same);
    if (!*slot) {
        size_t bytes = sizeof(Mono) + (size_t)n_atoms * sizeof(atoms[0]);
        Mono *kept = arena_alloc(&context->arena, bytes);
        memcpy(kept, mono, bytes);
        *slot = &kept->hash;
        pool->monos.count++;
    }
    return (const Mono *)(const void *)*slot;
}

void poly_add(Poly *poly, int64_t coeff, const Mono *mono) {
    if (coeff == 0 || poly->error) {
        return;
    }
    for (int32_t i = 0; i < poly->n_terms; i++) {
        if (poly->terms[i].mono == mono) {
            if (!checked_add(poly->terms[i].coeff, coeff, &poly->terms[i].coeff)) {
                poly->error = true;
            } else if (poly->terms[i].coeff == 0) {
                poly->terms[i] = poly->terms[--poly->n_terms];
            }
            return;
        }
    }
    if (poly->n_terms == SIZE_MAX_TERMS) {
        poly->error = true;
        return;
    }
    poly->terms[poly->n_terms++] = (Term){coeff, mono};
}

static int term_compare(const void *left, const void *right) {
    return mono_compare(((const Term *)left)->mono, ((const Term *)right)->mono);
}

const Size *poly_finish(Context *context, Poly *poly) {
    if (poly->error) {
        return size_error();
    }
    qsort(poly->terms, (size_t)poly->n_terms, sizeof(Term), term_compare);
    size_t bytes = sizeof(Size) + (size_t)poly->n_terms * sizeof(Term);
    union {
        Size size;
        char room[sizeof(Size) + SIZE_MAX_TERMS * sizeof(Term)];
    } scratch;
    Size *size = &scratch.size;
    *size = (Size){.hash = 43, .n_terms = poly->n_terms};
    memcpy(size->terms, poly->terms, (size_t)poly->n_terms * sizeof(Term));
    for (int32_t i = 0; i < size->n_terms; i++) {
        size->hash = hash_mix(size->hash, (uint64_t)size->terms[i].coeff);
        size->hash = hash_mix(size->hash, size->terms[i].mono->hash);
    }
    const uint64_t **slot = set_slot(context, &context->sizes->sizes, size, size_same);
    if (*slot) {
        return (const Size *)(const void *)*slot;
    }
    Size *kept = arena_alloc(&context->arena, bytes);
    memcpy(kept, size, bytes);
    size_set_facts(kept);
    *slot = &kept->hash;
    context->sizes->sizes.count++;
    size_refine(context, kept);
    return kept;
}

/* -- Polynomials */

const Size *size_const(Context *context, int64_t value) {
    SizePool *pool = size_pool(context);
    if (value == 0 || value == 1) {
        return value ? pool->unit : pool->zero;
    }
    Poly poly = {.n_terms = 0};
    poly_add(&poly, value, pool->one);
    return poly_finish(context, &poly);
}

const Size *size_from_atom(Context *context, const Atom *atom) {
    Poly poly = {.n_terms = 0};
    poly_add(&poly, 1, mono_intern(context, &atom, 1));
    return poly_finish(context, &poly);
}

const Size *size_dim(Context *context, const Dim *dim) {
    Atom like = {.kind = ATOM_DIM, .dim = dim};
    const Atom *atom = atom_intern(context, &like);
    Poly poly = {.n_terms = 0};
    poly_add(&poly, dim->divisor > 1 ? dim->divisor : 1, mono_intern(context, &atom, 1));
    return poly_finish(context, &poly);
}

const Atom *term_single_atom(const Term *term) {
    return term->mono->n_atoms == 1 ? term->mono->atoms[0] : NULL;
}

/* a + factor * b */
static const Size *add_scaled(Context *context, const Size *a, const Size *b, int64_t factor) {
    if (a->error || b->error) {
        return size_error();
    }
    Poly poly = {.n_terms = 0};
    for (int32_t i = 0; i < a->n_terms; i++) {
        poly_add(&poly, a->terms[i].coeff, a->terms[i].mono);
    }
    for (int32_t i = 0; i < b->n_terms && !poly.error; i++) {
        int64_t coeff;
        if (!checked_mul(b->terms[i].coeff, factor, &coeff)) {
            return size_error();
        }
        poly_add(&poly, coeff, b->terms[i].mono);
    }
    return poly_finish(context, &poly);
}

const Size *size_add(Context *context, const Size *a, const Size *b) {
    return add_scaled(context, a, b, 1);
}

const Size *size_sub(Context *context, const Size *a, const Size *b) {
    return a == b && !a->error ? size_const(context, 0) : add_scaled(context, a, b, -1);
}

const Size *size_scale(Context *context, const Size *size, int64_t factor) {
    return add_scaled(context, size_const(context, 0), size, factor);
}

const Size *size_shift(Context *context, const Size *size, int64_t offset) {
    return size_add(context, size, size_const(context, offset));
}

const Size *size_mul(Context *context, const Size *a, const Size *b) {
    if (a->error || b->error) {
        return size_error();
    }
    Poly poly = {.n_terms = 0};
    for (int32_t i = 0; i < a->n_terms; i++) {
        for (int32_t j = 0; j < b->n_terms; j++) {
            const Mono *m = a->terms[i].mono, *n = b->terms[j].mono;
            int64_t coeff;
            if (poly.error || m->n_atoms + n->n_atoms > SIZE_MAX_DEGREE ||
                !checked_mul(a->terms[i].coeff, b->terms[j].coeff, &coeff)) {
                return size_error();
            }
            const Atom *atoms[SIZE_MAX_DEGREE];
            for (int32_t k = 0; k < m->n_atoms; k++) {
                atoms[k] = m->atoms[k];
            }
            for (int32_t k = 0; k < n->n_atoms; k++) {
                atoms[m->n_atoms + k] = n->atoms[k];
            }
            poly_add(&poly, coeff, mono_intern(context, atoms, m->n_atoms + n->n_atoms));
        }
    }
    return poly_finish(context, &poly);
}

int64_t size_constant_term(const Size *size) {
    if (size->n_terms == 0 || size->terms[size->n_terms - 1].mono->n_atoms != 0) {
        return 0;
    }
    return size->terms[size->n_terms - 1].coeff;
}

bool size_is_error(const Size *size) {
    return size->error;
}

bool size_is_const(const Size *size, int64_t *out) {
    bool constant = !size->error && (size->n_terms == 0 ||
                                     (size->n_terms == 1 && size->terms[0].mono->n_atoms == 0));
    if (constant && out) {
        *out = size_constant_term(size);
    }
    return constant;
}

bool size_is_one(const Size *size) {
    int64_t value;
    return size_is_const(size, &value) && value == 1;
}

const Dim *size_as_dim(const Size *size) {
    const Atom *atom = size->n_terms == 1 ? term_single_atom(&size->terms[0]) : NULL;
    if (!atom || atom->kind != ATOM_DIM) {
        return NULL;
    }
    return size->terms[0].coeff == (atom->dim->divisor > 1 ? atom->dim->divisor : 1) ? atom->dim
                                                                                     : NULL;
}

bool size_uses_dim(const Size *size, const Dim *dim) {
    for (int32_t i = 0; i < size->n_terms; i++) {
        const Mono *mono = size->terms[i].mono;
        for (int32_t j = 0; j < mono->n_atoms; j++) {
            const Atom *atom = mono->atoms[j];
            if (atom->kind == ATOM_DIM
                    ? atom->dim == dim
                    : size_uses_dim(atom->a, dim) || size_uses_dim(atom->b, dim)) {
                return true;
            }
        }
    }
    return false;
}

int64_t term_whole_dims(const Term *term, bool whole[SIZE_MAX_DEGREE]) {
    int64_t coeff = term->coeff;
    for (int32_t i = 0; i < term->mono->n_atoms; i++) {
        const Atom *atom = term->mono->atoms[i];
        int64_t divisor = atom->kind == ATOM_DIM ? atom->dim->divisor : 0;
        whole[i] = atom->kind == ATOM_DIM && (divisor <= 1 || coeff % divisor == 0);
        if (whole[i] && divisor > 1) {
            coeff /= divisor;
        }
    }
    return coeff;
}
