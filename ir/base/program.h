/* Size programs: size expressions as postfix code, so that the run time computes sizes, offsets,
 * strides and loop counts without knowing the IR. Written by codegen, evaluated by both sides.
 * Stand-alone and part of the plan format: codes never change meaning. */
#ifndef DLC_IR_BASE_PROGRAM_H
#define DLC_IR_BASE_PROGRAM_H

#include "dlc/dlc.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum ProgramCode {
    PROGRAM_CONST = 0, /* push the immediate */
    PROGRAM_VAR = 1,   /* push variable `immediate`: dims first, then loop indices by depth */
    PROGRAM_ADD = 2,
    PROGRAM_SUB = 3,
    PROGRAM_MUL = 4,
    PROGRAM_FLOORDIV = 5, /* division by zero fails */
    PROGRAM_MOD = 6,
    PROGRAM_MIN = 7,
    PROGRAM_MAX = 8,
    PROGRAM_EQ = 9, /* 1 or 0 */
    PROGRAM_LE = 10,
    PROGRAM_N_CODES
} ProgramCode;

typedef struct ProgramInstr {
    int64_t code; /* ProgramCode */
    int64_t immediate;
} ProgramInstr;

enum { PROGRAM_MAX_DEPTH = 64 };

/* Evaluates; false on overflow, division by zero, a bad variable or malformed code. */
bool program_eval(const ProgramInstr *code, int64_t n_code, const int64_t *vars, int64_t n_vars,
                  int64_t *out);
/* All programs in one array, looked at once: whether some range of it is well formed (stack
 * discipline, codes, depth, variables) is then a comparison, so that checking any number of ranges
 * is linear. */
typedef struct ProgramIndex {
    int32_t *stop[2]; /* by first instruction: a program there must end before; see program.c */
    int32_t *height;  /* of the stack in front of every instruction */
} ProgramIndex;

enum { PROGRAM_INDEX_MOST = INT32_MAX / 4 }; /* instructions */

/* Of n_vars variables, or n_vars + n_more where a program may use `more`. False: out of memory. */
bool program_index_init(ProgramIndex *index, const dlc_allocator *allocator,
                        const ProgramInstr *code, int64_t n_code, int64_t n_vars, int64_t n_more);
void program_index_finish(ProgramIndex *index, const dlc_allocator *allocator);
/* [first, first + count) lies within the array, and count > 0. */
bool program_index_valid(const ProgramIndex *index, int64_t first, int64_t count, bool more);

#endif
