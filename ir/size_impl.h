/* Private to ir/size*.c: how a Size is made. A Size is a sum of terms coefficient * monomial; a
 * monomial is a sorted product of atoms; an atom is a dim divided by its divisor, or floordiv, mod,
 * min or max of two sizes. All three are hash-consed in the context's SizePool, so that structural
 * equality is pointer equality. Orders are structural, never by address. */
#ifndef DLC_IR_SIZE_IMPL_H
#define DLC_IR_SIZE_IMPL_H

#include "ir/base/checked.h"
#include "ir/type.h"

enum {
    SIZE_MAX_TERMS = 128, /* more is the error size */
    SIZE_MAX_DEGREE = 32,
    SIZE_MAX_DEPTH = 20, /* of atoms in atoms; keeps size programs within PROGRAM_MAX_DEPTH */
    SIZE_MAX_SPECIAL =
        6 /* atoms that are not dims, nested ones included: beyond, ranges stay coarse */
};

typedef enum AtomKind { ATOM_DIM, ATOM_FLOORDIV, ATOM_MOD, ATOM_MIN, ATOM_MAX } AtomKind;

/* Every interned thing starts with its hash (a function of structure, not of addresses). */
typedef struct Atom {
    uint64_t hash;
    AtomKind kind;
    const Dim *dim; /* ATOM_DIM: the atom's value is dim / dim->divisor */
    int32_t order;  /* ATOM_DIM: first use, to tell apart dims of equal id and name */
    const Size *a, *b;
    int64_t low, high, gcd;
    int32_t n_special, depth;
} Atom;

typedef struct Mono {
    uint64_t hash;
    int32_t n_atoms; /* 0: the monomial of the constant term */
    const Atom *atoms[];
} Mono;

typedef struct Term {
    int64_t coeff; /* never 0 */
    const Mono *mono;
} Term;

struct Size {
    uint64_t hash;
    bool error;
    int64_t low, high, gcd;
    int32_t n_terms, n_special, depth;
    Term terms[]; /* by mono_compare; the constant term last */
};

typedef struct HashSet {
    const uint64_t **slots; /* pointers to things that start with their hash */
    size_t n_slots, count;
} HashSet;

typedef struct SizePool {
    HashSet atoms, monos, sizes;
    int32_t n_dims;
    const Mono *one; /* the empty monomial */
    const Size *zero, *unit;
} SizePool;

/* A sum under construction. */
typedef struct Poly {
    Term terms[SIZE_MAX_TERMS];
    int32_t n_terms;
    bool error;
} Poly;

SizePool *size_pool(Context *context);
const Size *size_error(void);
void poly_add(Poly *poly, int64_t coeff, const Mono *mono);
const Size *poly_finish(Context *context, Poly *poly); /* sorts and interns */
const Size *size_scale(Context *context, const Size *size, int64_t factor);
const Size *size_shift(Context *context, const Size *size, int64_t offset);
int64_t size_constant_term(const Size *size);
const Mono *mono_intern(Context *context, const Atom *const *atoms, int32_t n_atoms);
const Atom *atom_intern(Context *context, const Atom *like);
const Size *size_from_atom(Context *context, const Atom *atom);
/* The atom of a term that is coefficient times one atom, else NULL. */
const Atom *term_single_atom(const Term *term);

/* Like the public ones, but a divisor that may be zero gives an unreduced atom instead of NULL. */
const Size *size_floordiv_any(Context *context, const Size *a, const Size *b);
const Size *size_mod_any(Context *context, const Size *a, const Size *b);

/* `size` as factor * mono-wise quotient: every coefficient divided, which must be exact. */
const Size *size_divide(Context *context, const Size *size, int64_t divisor);
int64_t gcd_int(int64_t a, int64_t b); /* of absolute values; gcd(0, b) = |b|; 1 when INT64_MIN */

/* Ranges: INT64_MIN and INT64_MAX stand for no bound. */
void atom_set_facts(Atom *atom);
void size_set_facts(Size *size);
void size_refine(Context *context, Size *size);

/* How a term is shown and computed: each dim atom whose divisor divides what is left of the
 * coefficient appears as the whole dim (whole[i] true), other dim atoms as floordiv(dim, divisor).
 */
int64_t term_whole_dims(const Term *term, bool whole[SIZE_MAX_DEGREE]);

#endif
