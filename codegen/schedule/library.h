/* Fusions that a vendor's library can do as one call (PlanLibrary in runtime/plan.h). Each kind has
 * a recogniser, which looks at a fusion alone and says which of its operands and results the call
 * would have, or why there is no such call. The fusion's kernels are made whatever it says. */
#ifndef DLC_CODEGEN_SCHEDULE_LIBRARY_H
#define DLC_CODEGEN_SCHEDULE_LIBRARY_H

#include "ir/ir.h"
#include "passes/machine.h"
#include "runtime/plan.h"

enum { LIBRARY_MOST_SIZES = PLAN_CONV_SIZES(3) };

typedef struct LibraryCall {
    PlanLibraryKind kind;
    PlanCompute compute;
    PlanEpilogue epilogue;
    /* Numbers of the fusion's operands, for PLAN_OPERAND_D of its results; -1: absent. */
    int32_t operand[PLAN_N_OPERANDS];
    DType dtype[PLAN_N_OPERANDS];
    const Size *sizes[LIBRARY_MOST_SIZES]; /* in the order that runtime/plan.h gives */
    int32_t n_sizes;
} LibraryCall;

/* Whether the fusion is `out`. If not, *why (static text, or in the arena) says what stands against
 * it; NULL: it is of another kind. */
typedef bool LibraryRecogniser(Context *context, Arena *arena, const Machine *machine,
                               const Op *fusion, LibraryCall *out, const char **why);

LibraryRecogniser library_matmul; /* library_matmul.c */
LibraryRecogniser library_conv;   /* library_conv.c */

/* The first recogniser that takes the fusion; false, and *why as above, when none does, always for
 * a machine without libraries. */
bool library_find(Context *context, Arena *arena, const Machine *machine, const Op *fusion,
                  LibraryCall *out, const char **why);

#endif
