/* Kernel construction for the lowerings. A KBuild holds one kernel under construction: open scopes
 * (loops and guards), index arithmetic in normal form, and what was already emitted where.
 *
 * Index expressions (i64) are sums of size * atom, kept in one normal form and interned: equal
 * indices are equal pointers, and division by a size disappears whenever the sum factors. A
 * division of a loop variable that remains asks for that loop to be split, and the kernel is built
 * again: kb_kernel calls its builder until nothing is asked for. Builders therefore must be
 * repeatable.
 *
 * A let is placed in the outermost open loop in which everything it reads exists, so that what does
 * not depend on the inner loops leaves them; never above a guard or the grid loops. */
#ifndef DLC_CODEGEN_LOWER_BUILD_BUILD_H
#define DLC_CODEGEN_LOWER_BUILD_BUILD_H

#include "codegen/kernel.h"

typedef struct KBuild KBuild;

/* One KBuild per fusion. kb_finish fills `out` (kernels, temps, inplace). */
KBuild *kb_create(LowerContext *lower, const Op *fusion);
void kb_finish(KBuild *k, LoweredOp *out);
Context *kb_context(KBuild *k);
Arena *kb_arena(KBuild *k);
const Machine *kb_machine(KBuild *k);
/* A block of threads runs a tile together, so that loops are to be marked and tiles to be cut for
 * it; else one worker runs it. */
bool kb_is_block(KBuild *k);
/* The kind of a loop whose iterations are independent (kernel.h: KL_INDEPENDENT): that for a block,
 * where a loop that holds no other one becomes KL_VECTOR; `otherwise` for a worker. */
KLoopKind kb_each(KBuild *k, KLoopKind otherwise);
/* What the innermost loop of a reduction is. A block's threads share a reduction (KL_VECTOR) unless
 * the kernel gives each thread its own results: `serially`, until called again. */
void kb_reduce_serially(KBuild *k, bool serially);
KLoopKind kb_reducing(KBuild *k);
const Op *kb_fusion(KBuild *k);
Value *kb_result_value(KBuild *k, int32_t result);    /* what the body's yield gives */
bool kb_is_body_arg(const KBuild *k, const Value *v); /* an operand of the fusion */

/* Appends the kernel that `build` constructs in a fresh kernel; see above. */
void kb_kernel(KBuild *k, const char *name, void (*build)(KBuild *k, void *user), void *user);
/* Marks the kernel last appended as a plain copy (LoweredKernel.copy_of, copy_to). */
void kb_mark_copy(KBuild *k, int32_t operand, int32_t result);
void kb_set_inplace(KBuild *k, int32_t result, int32_t operand);
void kb_set_elementwise(KBuild *k, const bool *operands); /* in kb_arena; LoweredOp.elementwise */
int32_t kb_temp(KBuild *k, DType dtype,
                const Size *elements); /* outside builders; number of the temp */

/* Buffers of the kernel, numbered at first use. */
int32_t kb_operand_buffer(KBuild *k, int32_t operand);
int32_t kb_result_buffer(KBuild *k, int32_t result); /* marks it written */
int32_t kb_temp_buffer(KBuild *k, int32_t temp, bool written);
KLocal *kb_local(KBuild *k, DType dtype, int64_t count, const char *hint);

/* -- i64 index arithmetic, normalised. n of div and mod: a size taken as > 0. */
const KExpr *k_int(KBuild *k, int64_t value);
const KExpr *k_size(KBuild *k, const Size *size);
/* The constant (>= 0) as a size parameter: kernels that differ in it alone are one. */
const KExpr *k_parameter(KBuild *k, int64_t value);
const KExpr *k_add(KBuild *k, const KExpr *a, const KExpr *b);
const KExpr *k_sub(KBuild *k, const KExpr *a, const KExpr *b);
const KExpr *k_scale(KBuild *k, const KExpr *a, const Size *factor);
const KExpr *k_scale_int(KBuild *k, const KExpr *a, int64_t factor);
void k_divmod(KBuild *k, const KExpr *a, const Size *n, const KExpr **out_div,
              const KExpr **out_mod);
const KExpr *k_min(KBuild *k, const KExpr *a, const KExpr *b);
const KExpr *k_max(KBuild *k, const KExpr *a, const KExpr *b);
/* a <= b, a < b as bool; constants where provable from the extents of loops. */
const KExpr *k_le(KBuild *k, const KExpr *a, const KExpr *b);
const KExpr *k_lt(KBuild *k, const KExpr *a, const KExpr *b);
const KExpr *k_and(KBuild *k, const KExpr *a, const KExpr *b); /* NULL operand: true */
bool k_is_true(const KExpr *a);
bool k_is_false(const KExpr *a);
bool k_is_int(const KExpr *a, int64_t *out);
/* Row-major flat index of `index` in `type`, and back: the index in `type` of a flat index. */
const KExpr *k_flat(KBuild *k, Type type, const KExpr *const *index);
void k_unflat(KBuild *k, Type type, const KExpr *flat, const KExpr **out_index);

/* -- scalars of any type: plain expressions, nothing is emitted */
const KExpr *k_constant(KBuild *k, DType dtype, double value); /* in the register type of dtype */
const KExpr *k_integer(KBuild *k, DType dtype, int64_t value);
const KExpr *k_scalar(KBuild *k, OpCode op, const KExpr *const *operands,
                      int32_t n); /* result type by rule */
const KExpr *k_binary(KBuild *k, OpCode op, const KExpr *a, const KExpr *b);
const KExpr *k_select(KBuild *k, const KExpr *condition, const KExpr *a, const KExpr *b);
/* To f16 and bf16: rounded to the type, held as f32. */
const KExpr *k_cast(KBuild *k, const KExpr *a, DType dtype);
/* Reads of memory the kernel does not write; may be placed in an outer loop by kb_let. */
const KExpr *k_load(KBuild *k, int32_t buffer, const KExpr *index);
/* Reads of memory the kernel writes, of locals, of mutable variables: stay in the current scope. */
const KExpr *k_load_here(KBuild *k, int32_t buffer, const KExpr *index);
const KExpr *k_local(KBuild *k, const KLocal *local, const KExpr *index);
const KExpr *k_get(KBuild *k, const KVar *var);

/* -- statements */
/* A variable holding `value` (itself when it is a variable or constant); equal lets are shared. */
const KExpr *kb_let(KBuild *k, const KExpr *value, const char *hint);
/* The same for index arithmetic whose tree is large, and else the index as it is: its sums are then
 * no longer known, but what is made of it stays small. */
const KExpr *kb_let_index(KBuild *k, const KExpr *index);
const KVar *kb_var(KBuild *k, DType dtype,
                   const char *hint); /* mutable; declared by its first set */
void kb_set(KBuild *k, const KVar *var, const KExpr *value);
void kb_store(KBuild *k, int32_t buffer, const KExpr *index, const KExpr *value);
void kb_local_store(KBuild *k, const KLocal *local, const KExpr *index, const KExpr *value);
/* Opens a loop over [begin, end) and returns its variable, known to lie in [0, extent). */
const KExpr *kb_loop(KBuild *k, KLoopKind kind, const KExpr *begin, const KExpr *end,
                     const Size *extent, const char *hint);
const KExpr *kb_grid(KBuild *k, const Size *extent, const char *hint); /* before anything else */
/* The same, its end written as `end`, which is the extent. */
const KExpr *kb_grid_to(KBuild *k, const Size *extent, const KExpr *end, const char *hint);
void kb_loop_end(KBuild *k);
void kb_if(KBuild *k, const KExpr *condition);
void kb_else(KBuild *k);
void kb_if_end(KBuild *k);
void kb_fault(KBuild *k, Place place, const char *text, const KExpr *bad, const KExpr *value,
              const KExpr *bound);
void kb_contract(KBuild *k, const KContract *contract);

/* -- iteration spaces that split on demand. A group of adjacent axes is iterated as one flat range
 * of `total` elements, unless an access needs it split; pieces come outermost first. `key` names
 * the group within the kernel (stable over rebuilding). */
typedef struct LoopPiece {
    const Size *extent;
    const Size *stride; /* in the group's flat index */
    int64_t key;
    const KExpr *var; /* set by whoever opens the loop, with kb_piece_loop */
} LoopPiece;
enum { MAX_PIECES = TYPE_MAX_RANK };
int32_t kb_pieces(KBuild *k, int64_t key, const Size *total, LoopPiece *out);
const KExpr *kb_piece_loop(KBuild *k, KLoopKind kind, LoopPiece *piece, const KExpr *begin,
                           const KExpr *end);
const KExpr *kb_pieces_flat(KBuild *k, const LoopPiece *pieces, int32_t count);

/* Exact quotient of sizes; NULL when b is not proved to divide a. */
const Size *size_exact_div(Context *context, const Size *a, const Size *b);
/* Product of dims [from, to). */
const Size *size_product(Context *context, const Size *const *dims, int32_t from, int32_t to);

#endif
