/* Evaluation and checking of postfix size programs (program.h). */
#include "ir/base/program.h"
#include "ir/base/checked.h"
#include "ir/base/memory.h"

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

/* A program [first, end) is well formed when no instruction in it is unknown, the height never
 * returns to that of its start nor exceeds it by more than the stack, and the end is one above the
 * start. As the height moves by one at a time, the first return and the first excess are the next
 * places of two heights; going backwards, `next` knows those. */
static void index_fill(ProgramIndex *index, int32_t *next, const ProgramInstr *code, int32_t n,
                       const int64_t n_vars[2]) {
    index->height[0] = 0;
    for (int32_t i = 0; i < n; i++) {
        bool pushes = code[i].code == PROGRAM_CONST || code[i].code == PROGRAM_VAR;
        index->height[i + 1] = index->height[i] + (pushes ? 1 : -1);
    }
    int32_t bad[2] = {n + 1, n + 1};
    for (int32_t i = 0; i < 2 * n + PROGRAM_MAX_DEPTH + 2; i++) {
        next[i] = n + 1;
    }
    next[index->height[n] + n] = n;
    for (int32_t i = n - 1; i >= 0; i--) {
        int32_t *here = &next[index->height[i] + n];
        int32_t above = here[PROGRAM_MAX_DEPTH + 1];
        int32_t stop = *here < above ? *here : above;
        for (int k = 0; k < 2; k++) {
            bool known = code[i].code >= 0 && code[i].code < PROGRAM_N_CODES &&
                         (code[i].code != PROGRAM_VAR ||
                          (code[i].immediate >= 0 && code[i].immediate < n_vars[k]));
            bad[k] = known ? bad[k] : i + 1;
            bool pushes = index->height[i + 1] > index->height[i];
            index->stop[k][i] = !pushes ? i : stop < bad[k] ? stop : bad[k];
        }
        *here = i;
    }
}

bool program_index_init(ProgramIndex *index, const dlc_allocator *allocator,
                        const ProgramInstr *code, int64_t n_code, int64_t n_vars, int64_t n_more) {
    size_t n = (size_t)n_code + 1;
    int32_t *next = raw_alloc(allocator, (2 * n + PROGRAM_MAX_DEPTH) * sizeof(*next));
    for (int k = 0; k < 2; k++) {
        index->stop[k] = raw_alloc(allocator, n * sizeof(*next));
    }
    index->height = raw_alloc(allocator, n * sizeof(*next));
    bool whole = next && index->stop[0] && index->stop[1] && index->height;
    if (whole) {
        index_fill(index, next, code, (int32_t)n_code, (int64_t[2]){n_vars, n_vars + n_more});
    }
    raw_free(allocator, next);
    return whole;
}

void program_index_finish(ProgramIndex *index, const dlc_allocator *allocator) {
    raw_free(allocator, index->stop[0]);
    raw_free(allocator, index->stop[1]);
    raw_free(allocator, index->height);
    *index = (ProgramIndex){0};
}

bool program_index_valid(const ProgramIndex *index, int64_t first, int64_t count, bool more) {
    int64_t end = first + count;
    return end < index->stop[more][first] && index->height[end] == index->height[first] + 1;
}
