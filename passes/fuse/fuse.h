/* Inside fusion: the units (ops that compute) of one block, what they read through free ops, and
 * the groups they form. A free op (movement, constants, casts, windows) belongs to nobody: it is
 * cloned into every group that reads through it. */
#ifndef DLC_PASSES_FUSE_FUSE_H
#define DLC_PASSES_FUSE_FUSE_H

#include "passes/pass.h"

typedef enum GroupKind {
    GROUP_LOOP,     /* maps over one space */
    GROUP_REDUCE,   /* reductions of one space over the same axes, with maps before and after */
    GROUP_CONTRACT, /* one contraction and its epilogue */
    GROUP_CONV,
    GROUP_ROOT,   /* scatter, sort, prefix, update: alone, with absorbed producers */
    GROUP_BARRIER /* never in a kernel: loops, checks, yields */
} GroupKind;

/* Sizes of the axes that are not of size one, in order. */
typedef struct Space {
    int32_t rank;
    const Size *dims[TYPE_MAX_RANK];
} Space;

/* How the axes of a value that is read lie in the reader's space. */
typedef struct AxisMap {
    bool is_general; /* no plain correspondence */
    int32_t rank;
    int8_t
        axis[TYPE_MAX_RANK]; /* of the value's wide axis i: the wide axis of the reader's space */
} AxisMap;

typedef struct Edge {
    int32_t unit; /* the producer; -1: from outside the block, or an argument */
    const Value *value;
    AxisMap map;
} Edge;

typedef struct Unit {
    Op *op;
    GroupKind kind;
    Space space;      /* that it iterates over; of a reduction: its operand's */
    Space kept;       /* GROUP_REDUCE: of its result */
    uint32_t reduced; /* GROUP_REDUCE: bits of the space's axes */
    VEC(Edge) reads;
    VEC(int32_t) users; /* units, once per edge */
    int32_t group;      /* its group, or a former one: see fuse_group */
    double cost;        /* scalar work per element of its space */
    bool is_live;
    bool is_update;     /* feeds only stores of parameters and slots, norms on the way included */
    bool is_inlined;    /* absorbed: recomputed where it is read */
    bool is_recomputed; /* not stored: readers in other groups compute it again */
    bool is_forced;     /* stored although no unit of another group names it */
    int32_t library;    /* the product in whose library call it is, plus 1; 0: none */
} Unit;

typedef struct Group {
    int32_t merged_into; /* -1: itself */
    GroupKind kind;
    Space space, kept;
    uint32_t reduced;
    VEC(int32_t) units;  /* ascending */
    int32_t first, last; /* positions */
    int32_t rank;        /* in Fuse.order */
    int32_t n_reduce;
    int32_t visited; /* stamp of the last search */
} Group;

typedef struct Fuse {
    PassContext *pass;
    Context *context;
    Arena *arena;
    Func *func;
    Block *block;
    VEC(Unit) units;
    Group *groups;    /* one per unit at first */
    int32_t *order;   /* groups, each behind what it reads; -1: nobody */
    int32_t *pending; /* groups that the last search found */
    int32_t n_pending;
    int32_t *unit_of; /* by op id; -1 */
    int32_t *walked;  /* by value id: the last unit that reads it without a map, plus 1 */
    int32_t n_ids;
    int32_t stamp;
} Fuse;

bool fuse_op_is_free(const Op *op);
bool fuse_op_is_barrier(const Op *op);
static inline bool fuse_in_memory(const Value *v) {
    return !v->op || !fuse_op_is_free(v->op);
}

/* graph.c */
void fuse_collect(Fuse *f);
Space fuse_space(Type type);
bool space_equal(const Space *a, const Space *b);
double space_elements(const Space *space);
bool map_is_same(const AxisMap *map, int32_t rank);
/* Whether the map lists exactly the axes of a space of `rank` that are not in `reduced`. */
bool map_is_kept(const AxisMap *map, int32_t rank, uint32_t reduced);

void fuse_merge_all(Fuse *f);
/* Whether the group's kernel must go row by row: maps over the full space follow a reduction. */
bool fuse_needs_row(Fuse *f, int32_t group);

/* order.c */
/* merge.c */
int32_t fuse_group(Fuse *f, int32_t unit);
void fuse_order_init(Fuse *f);
/* Whether no path leads from one of the groups to the other through a third. */
bool fuse_order_allows(Fuse *f, int32_t a, int32_t b);
/* Gives the merged group a rank; right after fuse_order_allows of the two, whose search it uses. */
void fuse_order_merge(Fuse *f, int32_t into, int32_t from);

/* recompute.c */
void fuse_recompute(Fuse *f);

/* library_operands.c. Makes operands of large products that no library could take such that one
 * can; before units are collected. */
void fuse_library_operands(Fuse *f);
/* library.c. Marks the units that a library could do in one call; before groups are merged. */
void fuse_library_mark(Fuse *f);
/* Whether the group has a product that a library can do. */
bool fuse_library_takes(Fuse *f, int32_t group);
/* Whether a merge of the groups leaves such products to their libraries. */
bool fuse_library_allows(Fuse *f, int32_t a, int32_t b);

/* build.c */
void fuse_build(Fuse *f);

/* One op per fusion: what lowering needs when the fusing pass is skipped, and what fused results
 * are compared with. */
void fuse_trivially(PassContext *pass, Func *func);

#endif
