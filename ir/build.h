/* The builder: one function per op, with shape inference inside, so that an ill-typed op cannot be
 * built. On a rule's complaint: if `problem` handling is on (frontend), returns NULL and keeps the
 * text in b->problem; otherwise leaves through the boundary with DLC_ERROR_INTERNAL. Never write
 * two builder calls in one argument list: C leaves their order open, and plans would depend on the
 * host compiler. */
#ifndef DLC_IR_BUILD_H
#define DLC_IR_BUILD_H

#include "ir/ir.h"

struct Builder {
    Context *context;
    Func *func;
    Block *block; /* ops are appended here … */
    Op *before;   /* … or inserted before this op, if not NULL */
    Place place;  /* given to new ops */
    const char *label;
    bool soft;             /* problems are reported in `problem` instead of leaving */
    const char *precision; /* given to contractions and convolutions that it fits; NULL: none */
    OpProblem problem;
};

Builder builder_at_end(Func *func, Block *block);
Builder builder_before(Op *op);

/* Inserts an op made with op_create (attributes set), inferring its types. Returns its first result
 * (or NULL if it has none, or on a soft problem). */
Value *b_op(Builder *b, Op *op);

/* An op of one result that has no attributes. */
Value *b_plain(Builder *b, OpCode code, Value *const *operands, int32_t n_operands);
/* Elementwise: operands of equal type (select: bool, then two equal). No broadcasting here. */
Value *b_scalar(Builder *b, OpCode code, Value *const *operands, int32_t n_operands);
Value *b_unary(Builder *b, OpCode code, Value *x);
Value *b_binary(Builder *b, OpCode code, Value *x, Value *y);
Value *b_add(Builder *b, Value *x, Value *y);
Value *b_sub(Builder *b, Value *x, Value *y);
Value *b_mul(Builder *b, Value *x, Value *y);
Value *b_div(Builder *b, Value *x, Value *y);
Value *b_neg(Builder *b, Value *x);
Value *b_select(Builder *b, Value *condition, Value *x, Value *y);
Value *b_cast(Builder *b, Value *x, DType dtype); /* x itself when the type is already right */
Value *b_stop_gradient(Builder *b, Value *x);
Value *b_copy(Builder *b, Value *x);
Value *b_opaque(Builder *b, Value *x);
Value *b_shard_hint(Builder *b, Value *x, const char *axes); /* interned */
Value *b_exchange_hint(Builder *b, Value *x, DType sent);

Value *b_constant(Builder *b, double value, Type type); /* any shape */
Value *b_constant_like(Builder *b, double value, const Value *like);
Value *b_literal(Builder *b, Type type, const void *data, int64_t count); /* see ops.def */
Value *b_size(Builder *b, const Size *size, DType dtype);
Value *b_iota(Builder *b, int64_t axis, Type type);

Value *b_broadcast(Builder *b, Value *x, int32_t rank, const Size *const *shape,
                   const int64_t *axes);
/* Rank-0 x to every element of `shape`. */
Value *b_splat(Builder *b, Value *x, int32_t rank, const Size *const *shape);
/* Undoes a reduction: x without `axes` back to `like`'s shape by repeating along them. */
Value *b_expand_axes(Builder *b, Value *x, Type like, const int64_t *axes, int32_t n_axes);
Value *b_reshape(Builder *b, Value *x, int32_t rank, const Size *const *shape);
Value *b_transpose(Builder *b, Value *x, const int64_t *permutation);
Value *b_slice(Builder *b, Value *x, const Size *const *start, const Size *const *limit,
               const int64_t *step); /* step NULL: all 1 */
Value *b_slice_axis(Builder *b, Value *x, int64_t axis, const Size *start, const Size *limit);
Value *b_pad(Builder *b, Value *x, Value *value, const Size *const *low, const Size *const *high,
             const int64_t *interior); /* interior NULL: all 0 */
Value *b_concat(Builder *b, Value *const *xs, int32_t count, int64_t axis);
Value *b_reverse(Builder *b, Value *x, const int64_t *axes, int32_t n_axes);
Value *b_dynamic_slice(Builder *b, Value *x, Value *const *starts, const Size *const *shape);
Value *b_dynamic_update(Builder *b, Value *x, Value *v, Value *const *starts);
Value *b_unfold(Builder *b, Value *x, Value *value, int64_t axis, const Size *window,
                int64_t stride, int64_t dilation, const Size *low, const Size *high);
Value *b_fold(Builder *b, Value *x, int64_t axis, const Size *size, int64_t stride,
              int64_t dilation, const Size *low);
Value *b_reduce(Builder *b, OpCode code, Value *x, const int64_t *axes, int32_t n_axes);
Value *b_argmax(Builder *b, Value *x, int64_t axis);
Value *b_argmin(Builder *b, Value *x, int64_t axis);
Value *b_cumsum(Builder *b, Value *x, int64_t axis, bool reverse, bool exclusive);
Value *b_sort(Builder *b, Value *x, int64_t axis, bool descending, Value **out_indices);
typedef struct ContractAxes {
    int32_t n_batch, n_contract;
    int64_t batch_a[TYPE_MAX_RANK], batch_b[TYPE_MAX_RANK];
    int64_t contract_a[TYPE_MAX_RANK], contract_b[TYPE_MAX_RANK];
} ContractAxes;
Value *b_contract(Builder *b, Value *x, Value *y, const ContractAxes *axes);
/* Spatial attributes of a convolution, one entry per spatial axis (1 to 3). */
typedef struct ConvAttrs {
    int32_t n_spatial;
    int64_t stride[3], dilation[3], low[3], high[3];
    int64_t groups;
} ConvAttrs;
Value *b_conv(Builder *b, Value *x, Value *w, const ConvAttrs *attrs);
Value *b_conv_input_grad(Builder *b, Value *dy, Value *w, const Size *const *spatial,
                         const ConvAttrs *attrs);
Value *b_conv_weight_grad(Builder *b, Value *x, Value *dy, const Size *const *kernel,
                          const ConvAttrs *attrs);
ConvAttrs conv_attrs_of(const Op *op);
Value *b_take(Builder *b, Value *x, Value *ids, int64_t axis);
Value *b_take_add(Builder *b, Value *x, Value *ids, Value *u, int64_t axis);
Value *b_gather(Builder *b, Value *x, Value *ids, int64_t axis);
Value *b_scatter_add(Builder *b, Value *x, Value *ids, Value *u, int64_t axis);
Value *b_random_uniform(Builder *b, Value *seed, Value *step, Value *iteration, int64_t site,
                        Type type);
/* Where a piece lies in a logical tensor: the flat index of its first element, and how many
 * elements of the whole one step along an axis of the piece is. */
typedef struct Piece {
    Value *start; /* i64[]; NULL: 0 */
    const Size *stride[TYPE_MAX_RANK];
    int32_t n_strides; /* 0: the piece's elements follow one another */
} Piece;
/* Part number `turn` (i32[]) of `whole`, which is cut into `parts` along every axis that is so many
 * times the part's. Shapes that are related otherwise make the parts tensors of their own, one
 * after another. */
Piece b_piece(Builder *b, Type whole, Type part, const Size *parts, Value *turn);
/* The numbers that b_random_uniform gives there for the logical tensor. */
Value *b_random_piece(Builder *b, Value *seed, Value *step, Value *iteration, int64_t site,
                      Type type, Piece piece);
/* Fills out[0..count): derivative of rank-0 y with respect to each x. */
void b_grad(Builder *b, Value *y, Value *const *xs, int32_t count, Value **out);
/* Collectives (ir/ops.def says what each does), among the ranks of `group`. Sizes of a rank's part
 * are those of module_rank_size, or of the dim that module_add_rank_dim gives. all_reduce combines
 * each of xs[0..n), n >= 1, and fills outs[0..n). */
void b_all_reduce(Builder *b, Value *const *xs, int32_t n, OpCode combine, MeshGroup group,
                  Value **outs);
Value *b_all_sum(Builder *b, Value *x, MeshGroup group); /* all_reduce of one, by add */
Value *b_all_gather(Builder *b, Value *x, int64_t axis, const Size *size, const Size *rows,
                    MeshGroup group); /* size: of the whole */
Value *b_reduce_scatter(Builder *b, Value *x, int64_t axis, const Size *size, const Size *rows,
                        MeshGroup group); /* size: of the rank's part */
/* The axis of an operand whose rows move, and its size afterwards, as above. */
typedef struct MovedRows {
    int64_t axis;
    const Size *size, *rows;
} MovedRows;
/* All of xs[0..n), n >= 1, which travel together, each by its own how[i]; fills outs[0..n). */
void b_all_gather_each(Builder *b, Value *const *xs, const MovedRows *how, int32_t n,
                       MeshGroup group, Value **outs);
void b_reduce_scatter_each(Builder *b, Value *const *xs, const MovedRows *how, int32_t n,
                           MeshGroup group, Value **outs);
typedef struct AllToAll {
    int64_t axis, split;                 /* gathered; cut. Not the same */
    const Size *size, *rows;             /* of the axis: all of it, and what it was cut by */
    const Size *split_size, *split_rows; /* of split: the rank's part, and what it is cut by */
    MeshGroup group;
} AllToAll;
Value *b_all_to_all(Builder *b, Value *x, const AllToAll *how);
Value *b_shift(Builder *b, Value *x, int64_t by, MeshGroup group);
/* Region ops are made in two moves: create the op and its blocks with arguments, fill the blocks
 * through builders of their own ending in b_yield, then b_op() to infer and insert. */
Op *b_scan_begin(Builder *b, Value *const *carries, int32_t n_carries, Value *const *xs,
                 int32_t n_xs, const Size *length, bool reverse, int32_t n_ys);
Op *b_while_begin(Builder *b, Value *const *carries, int32_t n_carries, int64_t limit);
void b_yield(Builder *b, Value *const *values, int32_t count);
void b_check(Builder *b, Value *condition, const char *text);
void b_show(Builder *b, Value *x, const char *text);
void b_size_check(Builder *b, const Size *left, const Size *right, const char *text);

#endif
