/* What the files of passes/shard share. The pass takes a program of whole tensors and makes one
 * rank's program of it, in three moves: propagate.c chooses how each value is cut among the ranks,
 * partial.c where sums over ranks are taken, rewrite.c makes the new ops by both. */
#ifndef DLC_PASSES_SHARD_SHARD_H
#define DLC_PASSES_SHARD_SHARD_H

#include "ir/axes.h"
#include "passes/pass.h"

enum { SHARD_MAX_CUTS = 4 };

/* A rank computes so many operations in the time in which a byte travels: below that a cut does not
 * pay. */
enum { SHARD_FLOPS_PER_BYTE = 16 };

/* What a cut comes of. Where an op could use the same ranks for two cuts, that which stands first
 * here has them. */
typedef enum CutCause {
    CUT_CHOSEN,  /* what the program says, the batch, parts of products */
    CUT_BETWEEN, /* rows of what lies between two products that are cut */
    CUT_KEPT,    /* what a step keeps */
    CUT_N_CAUSES
} CutCause;

/* The cuts of one value, by axis, one an axis at most. */
typedef struct Cuts {
    int32_t n;
    AxisCut at[SHARD_MAX_CUTS];
    uint8_t cause[SHARD_MAX_CUTS]; /* CutCause */
} Cuts;

/* A value of the new program that stands for one of the old. */
typedef struct Version Version;
struct Version {
    Cuts cuts;
    Value *value;
    Version *next;
};

/* What is known of a value of the old program. */
typedef struct Spread {
    Cuts cuts;          /* how it is to be cut */
    MeshGroup pinned;   /* what it is not to be cut by, beside that */
    bool is_left_whole; /* the program names it, and no axis to cut it by */
    bool is_final;      /* sums over ranks are taken where it is made */
    bool is_zero;       /* zero, or begins as zero: counts as a sum over ranks, of any of them */
    MeshGroup partial;  /* its value is the sum of these ranks' */
    bool is_sent;       /* a gradient, of which sums are sent as `sent` */
    DType sent;
    Version *versions;      /* the first is how it was made; NULL: not made yet */
    const Op *gathered_for; /* the op of the Func's body for which `gathered` is there, cut so */
    Cuts gathered_cuts;
    Value *gathered;
    const Op *user; /* the last, of `uses` */
    int32_t uses;
} Spread;

/* A value's cuts before an offer. */
typedef struct Offered {
    Spread *spread;
    Cuts before;
} Offered;

/* What was thought of one sum over the axis `model` that is used by what could be cut. */
typedef struct BetweenNote {
    const Op *sum;
    int32_t axis; /* of its result */
    bool is_taken;
    double made, bytes, calls; /* bytes made less, bytes that travel and exchanges more */
} BetweenNote;

typedef struct Shard {
    PassContext *pass;
    Context *context;
    Module *module;
    Func *func;
    Arena *arena;
    MeshGroup data;  /* the axes that the batch is cut along */
    MeshGroup model; /* the axis that products are cut along */
    MeshGroup zero;  /* the axis that what a step keeps is cut along */
    int64_t level;   /* ZeRO: 1 cuts optimiser state, 2 sums of gradients too, 3 parameters too */
    CutCause cause;  /* of new cuts */
    bool loops_are_closed;    /* what loops carry is not cut further */
    bool is_agreed;           /* an earlier Func has chosen */
    bool is_trying;           /* offers are written down */
    VEC(Offered) journal;     /* in the pass's scratch */
    Arena *trial;             /* of what is tried, and forgotten */
    VEC(BetweenNote) between; /* in the pass's scratch */
    Block *func_body;         /* of the new program */
    const Op *at;             /* the op of the old one's body that is being rewritten */
    Spread *spreads;          /* by id of the old values */
    int32_t n_values;
    bool changed;
} Shard;

static inline Spread *spread_of(const Shard *s, const Value *value) {
    return &s->spreads[value->id];
}

/* -- cuts.c */

bool cut_equal(const AxisCut *a, const AxisCut *b);
bool cuts_equal(const Cuts *a, const Cuts *b);
const AxisCut *cuts_of_axis(const Cuts *cuts, int64_t axis); /* NULL: whole */
MeshGroup cuts_groups(const Cuts *cuts);
/* Adds the cut, moved to `axis`. False: the axis is cut already, or the group's axes are in use. */
bool cuts_add(Cuts *cuts, const AxisCut *cut, int32_t axis, CutCause cause);
/* The value is to have this cut too, along `axis`, unless it has others. */
void cut_offer(Shard *s, const Value *to, const AxisCut *cut, int32_t axis);
/* The value's cuts that go on to others: what lies between products waits until those are cut. */
Cuts cuts_to_pass(const Shard *s, const Value *value);
/* Offers from here on may be taken back; once at a time. */
void journal_begin(Shard *s);
void journal_undo(Shard *s);
/* Whether the cut comes of what a step keeps. */
bool spread_is_kept(const Spread *spread, const AxisCut *cut);
/* All rows of an axis, cut among the group. */
AxisCut cut_of_rows(const Shard *s, MeshGroup group, const Size *rows);
/* At the dims' nominal values. */
double type_nominal_bytes(Type type);
/* whole / part, where it is that for all values of the dims; else NULL. */
const Size *exact_quotient(Context *context, const Size *whole, const Size *part);
/* Where a cut of `from` lies in `to`, of the same elements in row-major order. */
bool cut_reshape(Context *context, Type from, Type to, const AxisCut *cut, AxisCut *out);
/* The type of a rank's part. */
Type cuts_type(const Shard *s, Type whole, const Cuts *cuts);
/* "f32[B@data, 3·4@model·16]": each axis as outer, the rows and who shares them, inner; in the
 * arena. */
const char *cuts_text(const Shard *s, Type whole, const Cuts *cuts);

/* -- op_cuts.c */

/* The cuts of an op: of each operand as it is needed, of each result as it is made, and over which
 * ranks its results are to be combined, by what. In the arena. */
typedef struct OpCuts {
    Cuts *operands, *results;
    MeshGroup combined;
    OpCode combine;
    const AxisCut *picked; /* of the table that the op picks from, or adds to; NULL: whole */
} OpCuts;
OpCuts op_cuts(const Shard *s, const Op *op);
/* Whether operand `i` is among those in which the op is linear together. */
bool op_is_joint(const Op *op, int32_t i);
/* All groups that it is cut by, or sums over. */
MeshGroup op_cuts_groups(const Op *op, const OpCuts *cuts);

/* -- wishes.c */

typedef struct Hints Hints;
/* Takes the program's hints out of the Func, and numbers it anew. */
Hints *hints_take(Arena *arena, Func *func);
/* Cuts what the program says, by hints and by the layout's rules; what cannot be is an error. */
void seed_wishes(Shard *s, const Hints *hints);
/* Says that the value, called `name` (NULL: nothing), cannot be cut so beside the cuts it has. */
void wish_unmet(Shard *s, Place place, const char *name, const Value *value, const AxisCut *cut);
/* Cuts parameters and what else lasts as Funcs before this one have, for good; and tells those that
 * come how this one does. */
void seed_agreed(Shard *s);
void seed_agreed_kept(Shard *s); /* what ZeRO has cut of them: when what a step keeps is cut */
void agree(Shard *s);

/* -- part.c */

/* n equal parts along an axis, of which an op takes, or places, number k (a concat: all). */
typedef struct EqualParts {
    int32_t axis;
    int64_t n, k;
    bool whole_is_result;
} EqualParts;
bool equal_parts(Context *context, const Op *op, EqualParts *out);
/* A cut of one as a cut of the other; false: it is none. */
bool cut_of_part(Context *context, const EqualParts *parts, const AxisCut *whole, AxisCut *out);
bool cut_of_whole(Context *context, const EqualParts *parts, const AxisCut *part, AxisCut *out);
void cuts_by_parts(const Shard *s, const Op *op, OpCuts *out); /* adds them */
void pass_by_parts(Shard *s, const Op *op);

/* -- pick.c */

/* The ranks that have the rows of the table that the op picks from, or adds to: they are not cut by
 * what gives way to that. 0: none, the table is whole. */
MeshGroup picking_ranks(const Shard *s, const Op *op);
void cuts_by_picking(const Shard *s, const Op *op, OpCuts *out); /* adds them */
void pass_by_picking(Shard *s, const Op *op);
/* ids as a rank counts in its part of the table, something where it has not the row; *out_has: it
 * has. */
Value *picks_of_rank(Shard *s, Builder *b, Value *ids, const AxisCut *cut, Value **out_has);
/* x, shaped as what the op picks, where the rank has the row, else 0. */
Value *where_picked(Builder *b, const Op *op, Value *has, Value *x);

/* -- choose.c */

/* Cuts along the axis `model` what the program does not say. */
void choose_model(Shard *s);
/* Whether the factor is one of heads, or the like: in both operands and the result of a product,
 * beside the batch. */
bool is_head(const Shard *s, const Op *op, const OpAxes *axes, int8_t factor);
/* The numbers that divide `size`, "1, 2 or 4"; in the arena. */
const char *divisors_text(const Shard *s, int64_t size);
/* Why the axis `model` cannot cut a product that it would cut if numbers came out even: "heads of 3
 * do not divide by model=2: 1 or 3 would"; in the arena. NULL: that is not why. */
const char *uneven_reason(Shard *s, const Op *op);

/* -- heads.c */

/* Says which attention cannot be shared along the axis `model`, if any; what the program leaves
 * whole is not cut by it. */
void refuse_heads(Shard *s);
/* Whether the op is a contraction or a convolution, and how many operations it takes, all of it. */
bool op_is_product(const Op *op);
double op_nominal_flops(const Shard *s, const Op *op);
/* Whether the value is made of parameters and numbers alone. */
bool is_weight(const Shard *s, const Value *value);
/* Whether the factor is an axis of a weight: hidden units, channels, vocabularies; never rows or
 * positions. */
bool is_of_weight(const Shard *s, const Op *op, const OpAxes *axes, int8_t factor);

/* -- between.c */

/* Cuts along the axis `model` what lies between products, as the layout says; what asks for it is
 * cut before. */
void cut_between(Shard *s);

/* -- report.c */

/* Says what --explain tells of the Func, once all is decided. */
void shard_report(Shard *s);
/* Whether the op takes time, and is more than a number. */
bool op_is_work(const Op *op);

/* -- seed.c */

/* Whether the argument is a moving average of a parameter. */
bool is_average(const Shard *s, int32_t arg);

/* Cuts what other Funcs have agreed on, what the program asks for, the inputs along their batch,
 * and all that follows. */
void propagate_batch(Shard *s, const Hints *hints);
/* Cuts what a step keeps, by the level of ZeRO, and all that follows. */
void propagate_kept(Shard *s);

/* -- propagate.c */

/* Cuts all axes of the op's factor so. */
void factor_offer(Shard *s, const Op *op, const OpAxes *axes, int8_t factor, const AxisCut *cut);
/* What follows from what is cut so far. */
void propagate_further(Shard *s);

/* The inputs' rows that are cut among ranks; NULL: there are none. */
const Size *batch_rows(const Func *func);

/* -- partial.c */

/* Decides for each value over which ranks it stays a sum. */
void decide_partial(Shard *s);
/* As if nothing had been decided. */
void forget_partial(Shard *s);

/* -- convert.c: versions of values */

/* Whether the op makes one number everywhere, at any size. */
bool is_free(const Op *op);

/* Appends to a block of the new program, for an op of the old one. */
Builder shard_builder(Shard *s, const Op *op, Block *to);
/* `value` of the new program stands for the old one, cut like that. */
void version_add(Shard *s, const Value *old, const Cuts *cuts, Value *value);
/* The old value cut like that; ops that make it so come right behind the one that made it. */
Value *version_of(Shard *s, Value *old, const Cuts *cuts);
/* The sum over the group of the cut, of which each rank gets its part; x stands for the old value,
 * and is sent as the program's layout says. */
Value *scatter_ranks(Shard *s, Builder *b, const Value *old, Value *x, const AxisCut *cut);
/* The sum over the group. */
Value *combine_ranks(Builder *b, Value *x, OpCode combine, MeshGroup group);
/* The same of what stands for the old value, sent as the program's layout says. */
Value *sum_ranks(const Shard *s, Builder *b, const Value *old, Value *x, MeshGroup group);
/* Zero but on the first rank of the group. */
Value *on_first_rank(Builder *b, Value *x, MeshGroup group);

/* -- rewrite.c, region.c */

/* Appends the ops of `from`, rewritten, to `to`, all but the yield. */
void rewrite_block(Shard *s, const Block *from, Block *to);
void rewrite_region(Shard *s, Op *op, Block *to);

/* -- join.c */

/* Exchanges among the same ranks that can be made at once become one op. */
void join_exchanges(Shard *s, Block *block);

/* -- ahead.c */

/* Gathers of parameters stand earlier, behind the gathers before them. */
void gathers_ahead(Func *func);

#endif
