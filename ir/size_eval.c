/* Values of sizes: at given dims, at nominal dims, after substitution, and as size programs. */
#include "ir/size_impl.h"

/* Where dims get their values: an array by id, or (values NULL) their nominal values. */
typedef struct EvalInput {
    const int64_t *values;
    int32_t n_values;
    int64_t unset;
} EvalInput;

static bool dim_value(const Dim *dim, const EvalInput *input, int64_t *out) {
    if (input->values) {
        if (dim->id < 0 || dim->id >= input->n_values) {
            return false;
        }
        *out = input->values[dim->id];
        return true;
    }
    int64_t value = dim->nominal ? dim->nominal : input->unset;
    int64_t divisor = dim->divisor > 1 ? dim->divisor : 1;
    value = value < dim->low ? dim->low : value;
    value = value > dim->high ? dim->high : value;
    *out = floor_div(value, divisor) * divisor;
    if (*out < dim->low && dim->low <= dim->high - divisor) {
        *out += divisor;
    }
    return true;
}

static bool eval_with(const Size *size, const EvalInput *input, int64_t *out);

static bool atom_eval(const Atom *atom, const EvalInput *input, int64_t *out) {
    if (atom->kind == ATOM_DIM) {
        if (!dim_value(atom->dim, input, out)) {
            return false;
        }
        *out = atom->dim->divisor > 1 ? floor_div(*out, atom->dim->divisor) : *out;
        return true;
    }
    int64_t a, b;
    if (!eval_with(atom->a, input, &a) || !eval_with(atom->b, input, &b)) {
        return false;
    }
    switch (atom->kind) {
    case ATOM_FLOORDIV:
        if (b == 0 || (b == -1 && a == INT64_MIN)) {
            return false;
        }
        *out = floor_div(a, b);
        return true;
    case ATOM_MOD:
        if (b == 0) {
            return false;
        }
        *out = b == -1 ? 0 : floor_mod(a, b);
        return true;
    case ATOM_MIN:
        *out = a < b ? a : b;
        return true;
    default:
        *out = a > b ? a : b;
        return true;
    }
}

static bool eval_with(const Size *size, const EvalInput *input, int64_t *out) {
    int64_t sum = 0;
    for (int32_t i = 0; i < size->n_terms; i++) {
        int64_t product = size->terms[i].coeff, factor;
        const Mono *mono = size->terms[i].mono;
        for (int32_t j = 0; j < mono->n_atoms; j++) {
            if (!atom_eval(mono->atoms[j], input, &factor) ||
                !checked_mul(product, factor, &product)) {
                return false;
            }
        }
        if (!checked_add(sum, product, &sum)) {
            return false;
        }
    }
    *out = sum;
    return !size->error;
}

bool size_eval(const Size *size, const int64_t *dim_values, int32_t n_dims, int64_t *out) {
    static const int64_t none[1] = {0};
    EvalInput input = {.values = dim_values ? dim_values : none,
                       .n_values = dim_values ? n_dims : 0};
    return eval_with(size, &input, out);
}

int64_t size_nominal(const Size *size, int64_t unset) {
    EvalInput input = {.unset = unset};
    int64_t value;
    if (!eval_with(size, &input, &value) || value > SIZE_NOMINAL_MAX) {
        return SIZE_NOMINAL_MAX;
    }
    return value < -SIZE_NOMINAL_MAX ? -SIZE_NOMINAL_MAX : value;
}

/* -- Substitution */

static const Size *atom_substitute(Context *context, const Atom *atom, bool whole,
                                   const Size *const *by, int32_t n_by) {
    if (atom->kind == ATOM_DIM) {
        const Dim *dim = atom->dim;
        bool replaced = dim->id >= 0 && dim->id < n_by && by[dim->id];
        if (!replaced) {
            return whole ? size_dim(context, dim) : size_from_atom(context, atom);
        }
        const Size *value = by[dim->id];
        return whole || dim->divisor <= 1
                   ? value
                   : size_floordiv_any(context, value, size_const(context, dim->divisor));
    }
    const Size *a = size_substitute(context, atom->a, by, n_by);
    const Size *b = size_substitute(context, atom->b, by, n_by);
    switch (atom->kind) {
    case ATOM_FLOORDIV:
        return size_floordiv_any(context, a, b);
    case ATOM_MOD:
        return size_mod_any(context, a, b);
    case ATOM_MIN:
        return size_min(context, a, b);
    default:
        return size_max(context, a, b);
    }
}

const Size *size_substitute(Context *context, const Size *size, const Size *const *by,
                            int32_t n_by) {
    if (size->error) {
        return size;
    }
    const Size *sum = size_const(context, 0);
    for (int32_t i = 0; i < size->n_terms; i++) {
        const Term *term = &size->terms[i];
        bool whole[SIZE_MAX_DEGREE];
        const Size *product = size_const(context, term_whole_dims(term, whole));
        for (int32_t j = 0; j < term->mono->n_atoms; j++) {
            const Size *factor = atom_substitute(context, term->mono->atoms[j], whole[j], by, n_by);
            product = size_mul(context, product, factor);
        }
        sum = size_add(context, sum, product);
    }
    return sum;
}

/* -- Programs */

static void emit(Arena *arena, ProgramVec *out, int64_t code, int64_t immediate) {
    VEC_PUSH(arena, out, ((ProgramInstr){code, immediate}));
}

static void atom_to_program(Arena *arena, const Atom *atom, bool whole, ProgramVec *out) {
    static const ProgramCode codes[] = {[ATOM_FLOORDIV] = PROGRAM_FLOORDIV,
                                        [ATOM_MOD] = PROGRAM_MOD,
                                        [ATOM_MIN] = PROGRAM_MIN,
                                        [ATOM_MAX] = PROGRAM_MAX};
    if (atom->kind == ATOM_DIM) {
        emit(arena, out, PROGRAM_VAR, atom->dim->id);
        if (!whole && atom->dim->divisor > 1) {
            emit(arena, out, PROGRAM_CONST, atom->dim->divisor);
            emit(arena, out, PROGRAM_FLOORDIV, 0);
        }
        return;
    }
    size_to_program(arena, atom->a, out);
    size_to_program(arena, atom->b, out);
    emit(arena, out, codes[atom->kind], 0);
}

void size_to_program(Arena *arena, const Size *size, ProgramVec *out) {
    if (size->error) { /* a program that fails when it runs, as the error size must */
        emit(arena, out, PROGRAM_CONST, 0);
        emit(arena, out, PROGRAM_CONST, 0);
        emit(arena, out, PROGRAM_FLOORDIV, 0);
        return;
    }
    if (size->n_terms == 0) {
        emit(arena, out, PROGRAM_CONST, 0);
    }
    for (int32_t i = 0; i < size->n_terms; i++) {
        const Term *term = &size->terms[i];
        bool whole[SIZE_MAX_DEGREE];
        int64_t coeff = term_whole_dims(term, whole);
        bool minus = i > 0 && coeff < 0 && coeff != INT64_MIN;
        coeff = minus ? -coeff : coeff;
        bool shown = coeff != 1 || term->mono->n_atoms == 0;
        for (int32_t j = 0; j < term->mono->n_atoms; j++) {
            atom_to_program(arena, term->mono->atoms[j], whole[j], out);
            if (j > 0) {
                emit(arena, out, PROGRAM_MUL, 0);
            }
        }
        if (shown) {
            emit(arena, out, PROGRAM_CONST, coeff);
            if (term->mono->n_atoms > 0) {
                emit(arena, out, PROGRAM_MUL, 0);
            }
        }
        if (i > 0) {
            emit(arena, out, minus ? PROGRAM_SUB : PROGRAM_ADD, 0);
        }
    }
}
