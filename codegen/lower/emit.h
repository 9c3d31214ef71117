/* Kernel construction for the lowerings. An Emit holds one kernel under construction: open scopes
 * (loops and guards), index arithmetic in normal form, and what was already emitted where.
 *
 * Index expressions (i64) are sums of size * atom, kept in one normal form and interned: equal indices are
 * equal pointers, and division by a size disappears whenever the sum factors. A division of a loop
 * variable that remains asks for that loop to be split, and the kernel is built again: emit_kernel
 * calls its builder until nothing is asked for. Builders therefore must be repeatable.
 *
 * A let is placed in the outermost open loop in which everything it reads exists, so that what does
 * not depend on the inner loops leaves them; never above a guard or the grid loops. */
#ifndef DLC_CODEGEN_LOWER_EMIT_H
#define DLC_CODEGEN_LOWER_EMIT_H

#include "codegen/kernel.h"

typedef struct Emit Emit;

/* One Emit per fusion. emit_finish fills `out` (kernels, temps, inplace). */
Emit *emit_create(LowerContext *lower, const Op *fusion);
void emit_finish(Emit *e, LoweredOp *out);
Context *emit_context(Emit *e);
Arena *emit_arena(Emit *e);
const Machine *emit_machine(Emit *e);
const Op *emit_fusion(Emit *e);
Value *emit_result_value(Emit *e, int32_t result); /* what the body's yield gives */
bool emit_is_body_arg(const Emit *e, const Value *v); /* an operand of the fusion */

/* Appends the kernel that `build` constructs in a fresh kernel; see above. */
void emit_kernel(Emit *e, const char *name, void (*build)(Emit *e, void *user), void *user);
/* Marks the kernel last appended as a plain copy (LoweredKernel.copy_of, copy_to). */
void emit_mark_copy(Emit *e, int32_t operand, int32_t result);
void emit_set_inplace(Emit *e, int32_t result, int32_t operand);
int32_t emit_temp(Emit *e, DType dtype, const Size *elements); /* outside builders; number of the temp */

/* Buffers of the kernel, numbered at first use. */
int32_t emit_operand_buffer(Emit *e, int32_t operand);
int32_t emit_result_buffer(Emit *e, int32_t result); /* marks it written */
int32_t emit_temp_buffer(Emit *e, int32_t temp, bool written);
KLocal *emit_local(Emit *e, DType dtype, int64_t count, const char *hint);

/* The type a value of `dtype` has in registers: f32 for f16 and bf16, else itself. */
DType dtype_in_register(DType dtype);

/* -- i64 index arithmetic, normalised. n of div and mod: a size taken as > 0. */
const KExpr *k_int(Emit *e, int64_t value);
const KExpr *k_size(Emit *e, const Size *size);
const KExpr *k_add(Emit *e, const KExpr *a, const KExpr *b);
const KExpr *k_sub(Emit *e, const KExpr *a, const KExpr *b);
const KExpr *k_scale(Emit *e, const KExpr *a, const Size *factor);
const KExpr *k_scale_int(Emit *e, const KExpr *a, int64_t factor);
void k_divmod(Emit *e, const KExpr *a, const Size *n, const KExpr **out_div, const KExpr **out_mod);
const KExpr *k_min(Emit *e, const KExpr *a, const KExpr *b);
const KExpr *k_max(Emit *e, const KExpr *a, const KExpr *b);
/* a <= b, a < b as bool; constants where provable from the extents of loops. */
const KExpr *k_le(Emit *e, const KExpr *a, const KExpr *b);
const KExpr *k_lt(Emit *e, const KExpr *a, const KExpr *b);
const KExpr *k_and(Emit *e, const KExpr *a, const KExpr *b); /* NULL operand: true */
bool k_is_true(const KExpr *a);
bool k_is_false(const KExpr *a);
bool k_is_int(const KExpr *a, int64_t *out);
/* Row-major flat index of `index` in `type`, and back: the index in `type` of a flat index. */
const KExpr *k_flat(Emit *e, Type type, const KExpr *const *index);
void k_unflat(Emit *e, Type type, const KExpr *flat, const KExpr **out_index);
/* The coefficient of loop variable `var` in an index expression; NULL if it also stands inside a
 * division or another opaque part; the zero size if absent. */
const Size *k_coefficient(Emit *e, const KExpr *a, const KExpr *var);

/* -- scalars of any type: plain expressions, nothing is emitted */
const KExpr *k_constant(Emit *e, DType dtype, double value); /* in the register type of dtype */
const KExpr *k_integer(Emit *e, DType dtype, int64_t value);
const KExpr *k_scalar(Emit *e, OpCode op, const KExpr *const *operands, int32_t n); /* result type by rule */
const KExpr *k_binary(Emit *e, OpCode op, const KExpr *a, const KExpr *b);
const KExpr *k_select(Emit *e, const KExpr *condition, const KExpr *a, const KExpr *b);
const KExpr *k_cast(Emit *e, const KExpr *a, DType dtype);
/* Reads of memory the kernel does not write; may be placed in an outer loop by emit_let. */
const KExpr *k_load(Emit *e, int32_t buffer, const KExpr *index);
/* Reads of memory the kernel writes, of locals, of mutable variables: stay in the current scope. */
const KExpr *k_load_here(Emit *e, int32_t buffer, const KExpr *index);
const KExpr *k_local(Emit *e, const KLocal *local, const KExpr *index);
const KExpr *k_get(Emit *e, const KVar *var);

/* -- statements */
/* A variable holding `value` (itself when it is a variable or constant); equal lets are shared. */
const KExpr *emit_let(Emit *e, const KExpr *value, const char *hint);
const KVar *emit_var(Emit *e, DType dtype, const char *hint); /* mutable; declared by its first set */
void emit_set(Emit *e, const KVar *var, const KExpr *value);
void emit_store(Emit *e, int32_t buffer, const KExpr *index, const KExpr *value);
void emit_local_store(Emit *e, const KLocal *local, const KExpr *index, const KExpr *value);
/* Opens a loop over [begin, end) and returns its variable, known to lie in [0, extent). */
const KExpr *emit_loop(Emit *e, KLoopKind kind, const KExpr *begin, const KExpr *end,
                       const Size *extent, const char *hint);
const KExpr *emit_grid(Emit *e, const Size *extent, const char *hint); /* before anything else */
void emit_loop_end(Emit *e);
void emit_if(Emit *e, const KExpr *condition);
void emit_else(Emit *e);
void emit_if_end(Emit *e);
void emit_fault(Emit *e, Place place, const char *text, const KExpr *bad, const KExpr *value,
                const KExpr *bound);
typedef struct EmitContract {
    const KLocal *a_local, *b_local, *c_local;
    const KExpr *a_offset, *b_offset, *c_offset, *depth, *c_stride;
    bool accumulate;
} EmitContract;
void emit_contract(Emit *e, const EmitContract *contract);

/* -- iteration spaces that split on demand. A group of adjacent axes is iterated as one flat range of
 * `total` elements, unless an access needs it split; pieces come outermost first. `key` names the group
 * within the kernel (stable over rebuilding). */
typedef struct LoopPiece {
    const Size *extent;
    const Size *stride; /* in the group's flat index */
    int64_t key;
    const KExpr *var; /* set by whoever opens the loop, with emit_piece_loop */
} LoopPiece;
enum { MAX_PIECES = TYPE_MAX_RANK };
int32_t emit_pieces(Emit *e, int64_t key, const Size *total, LoopPiece *out);
const KExpr *emit_piece_loop(Emit *e, KLoopKind kind, LoopPiece *piece, const KExpr *begin,
                             const KExpr *end);
const KExpr *emit_pieces_flat(Emit *e, const LoopPiece *pieces, int32_t count);

/* Exact quotient of sizes; NULL when b is not proved to divide a. */
const Size *size_exact_div(Context *context, const Size *a, const Size *b);
/* Product of dims [from, to). */
const Size *size_product(Context *context, const Size *const *dims, int32_t from, int32_t to);

#endif
