/* Evaluation and checking of postfix size programs (program.h). */
#include "ir/base/program.h"
#include "ir/base/checked.h"

static bool binary_eval(int64_t code, int64_t a, int64_t b, int64_t *out) {
    switch (code) {
    case PROGRAM_ADD:
        return checked_add(a, b, out);
    case PROGRAM_SUB:
        return checked_sub(a, b, out);
    case PROGRAM_MUL:
        return checked_mul(a, b, out);
    case PROGRAM_FLOORDIV:
        if (b == 0 || (b == -1 && a == INT64_MIN)) {
            return false;
        }
        *out = floor_div(a, b);
        return true;
    case PROGRAM_MOD:
        if (b == 0) {
            return false;
        }
        *out = b == -1 ? 0 : floor_mod(a, b);
        return true;
    case PROGRAM_MIN:
        *out = a < b ? a : b;
        return true;
    case PROGRAM_MAX:
        *out = a > b ? a : b;
        return true;
    case PROGRAM_EQ:
        *out = a == b;
        return true;
    case PROGRAM_LE:
        *out = a <= b;
        return true;
    default:
        return false;
    }
}

bool program_eval(const ProgramInstr *code, int64_t n_code, const int64_t *vars, int64_t n_vars,
                  int64_t *out) {
    int64_t stack[PROGRAM_MAX_DEPTH];
    int64_t depth = 0;
    for (int64_t i = 0; i < n_code; i++) {
        if (code[i].code == PROGRAM_CONST || code[i].code == PROGRAM_VAR) {
            int64_t value = code[i].immediate;
            if (depth == PROGRAM_MAX_DEPTH) {
                return false;
            }
            if (code[i].code == PROGRAM_VAR) {
                if (value < 0 || value >= n_vars) {
                    return false;
                }
                value = vars[value];
            }
            stack[depth++] = value;
            continue;
        }
        int64_t result;
        if (depth < 2 || !binary_eval(code[i].code, stack[depth - 2], stack[depth - 1], &result)) {
            return false;
        }
        depth--;
        stack[depth - 1] = result;
    }
    if (depth != 1) {
        return false;
    }
    *out = stack[0];
    return true;
}

bool program_valid(const ProgramInstr *code, int64_t n_code, int64_t n_vars) {
    int64_t depth = 0;
    for (int64_t i = 0; i < n_code; i++) {
        int64_t op = code[i].code;
        if (op == PROGRAM_CONST || op == PROGRAM_VAR) {
            if (op == PROGRAM_VAR && (code[i].immediate < 0 || code[i].immediate >= n_vars)) {
                return false;
            }
            if (++depth > PROGRAM_MAX_DEPTH) {
                return false;
            }
        } else if (op > PROGRAM_VAR && op < PROGRAM_N_CODES && depth >= 2) {
            depth--;
        } else {
            return false;
        }
    }
    return depth == 1;
}
