/* Size programs: size expressions as postfix code, so that the run time computes sizes, offsets,
 * strides and loop counts without knowing the IR. Written by codegen, evaluated by both sides.
 * Stand-alone and part of the plan format: codes never change meaning. */
#ifndef DLC_IR_BASE_PROGRAM_H
#define DLC_IR_BASE_PROGRAM_H

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
/* Whether the code is well formed for n_vars variables (stack discipline, codes, depth). */
bool program_valid(const ProgramInstr *code, int64_t n_code, int64_t n_vars);

#endif
