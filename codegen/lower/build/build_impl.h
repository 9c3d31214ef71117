/* Inside the kernel builder: its nodes, scopes and pool. Everything of one attempt at a kernel
 * lives in the pool and is dropped with it; finish.c copies the finished kernel out. */
#ifndef DLC_CODEGEN_LOWER_BUILD_BUILD_IMPL_H
#define DLC_CODEGEN_LOWER_BUILD_BUILD_IMPL_H

#include "codegen/lower/build/build.h"

typedef struct Node Node;
typedef struct Scope Scope;

typedef struct Term {
    const Size *coefficient;
    const Node *atom;
} Term;

/* Every KExpr the builder makes is the first member of one. */
struct Node {
    KExpr e;
    uint64_t hash;
    Node *next; /* in the intern table */
    int32_t serial;
    int32_t depth;  /* of the innermost scope whose variables it reads */
    int32_t weight; /* nodes of its tree, in which what is shared counts each time it is met */
    bool is_volatile;
    bool is_sum; /* i64: `terms` and `constant` are its normal form (an atom: itself once) */
    int32_t n_terms;
    const Term *terms; /* by atom serial */
    const Size *constant;
    /* Atoms. */
    bool is_natural;   /* known >= 0 */
    const Size *last;  /* known <= last; NULL: unknown */
    const Node *inner; /* floordiv or mod of `inner` by `divisor` */
    const Size *divisor;
    bool is_mod;
    bool has_piece;
    int64_t piece_key;
    const Size *piece_stride;
    int64_t parameter; /* of k_parameter and k_uniform: the constant that becomes a size */
    bool is_marked;
    const KExpr *copy; /* in the finished kernel */
};

typedef struct Memo Memo;
struct Memo {
    Memo *next; /* in the bucket */
    Memo *next_in_scope;
    const void *key; /* a Value, or NULL for a let of index[0] */
    int32_t n;
    const KExpr *const *index;
    const KExpr *value;
    Scope *scope; /* NULL: its scope was closed */
};

struct Scope {
    Scope *parent;
    KStmt *stmt; /* the loop or guard; NULL: the kernel */
    KStmt **head, **tail;
    int32_t depth;
    int32_t floor; /* depth above which nothing may be placed */
    Memo *memos;
};

/* Pool-side variable: the KVar, and what the finished kernel makes of it. */
typedef struct PoolVar {
    KVar var;
    bool is_live;
    KVar *copy;
    Node *node;
} PoolVar;

typedef struct PoolLocal {
    KLocal local;
    KLocal *copy;
} PoolLocal;

typedef struct Plan {
    int64_t key;
    const Size *total;
    VEC(const Size *) splits; /* ascending; each divides the next, and the last the total */
} Plan;

typedef struct PoolChunk {
    struct PoolChunk *next;
    size_t size, used;
} PoolChunk;

/* Reused by every attempt of every fusion (LowerContext.pool). */
struct KBuildPool {
    PoolChunk *chunks, *current;
};

typedef struct SiteKey {
    Place place;
    const char *text;
    int64_t site;
} SiteKey;

/* A tree of MOST_WEIGHT nodes is more than any program of ours has in an index. */
enum { NODE_BUCKETS = 1024, MEMO_BUCKETS = 512, MOST_WEIGHT = 64, HEAVIEST = 1 << 24 };

struct KBuild {
    LowerContext *lower;
    Context *context;
    Arena *arena;
    const Op *fusion;
    Block *body;
    /* The result. */
    VEC(LoweredKernel) kernels;
    VEC(LoweredTemp) temps;
    int32_t *inplace;
    const bool *elementwise;
    bool *watched; /* by result */
    /* The kernel being built. */
    bool is_last_attempt; /* splits are no longer granted */
    VEC(Plan) plans;
    bool replan;            /* a split was added: build again */
    bool reduce_in_threads; /* kb_reduce_serially */
    VEC(Bind) binds;
    VEC(KBuffer) buffers;
    VEC(const Size *) grid;
    int32_t next_serial;
    Node **nodes;
    Memo **memos;
    Scope *scope;
    KStmt *first;
    VEC(SiteKey) sites;
};

/* pool.c */
void *pool_alloc(KBuild *k, size_t bytes); /* zeroed */
void pool_reset(KBuild *k);
#define POOL_NEW(k, type)      ((type *)pool_alloc((k), sizeof(type)))
#define POOL_ARRAY(k, type, n) ((type *)pool_alloc((k), (size_t)(n) * sizeof(type)))

static inline const Node *node_of(const KExpr *expr) {
    return (const Node *)expr;
}

/* index.c, expr.c */
const KExpr *node_intern(KBuild *k, const Node *prototype);
const KExpr *index_atom(KBuild *k, const Node *prototype); /* interned, with itself as its sum */
/* Bounds of a sum, both included; a NULL out stays NULL where unknown. */
void index_bounds(KBuild *k, const KExpr *expr, const Size **out_low, const Size **out_high);
bool index_proved_natural(KBuild *k, const KExpr *expr);

const KExpr *k_uniform(KBuild *k, const KExpr *const *operands, int64_t site, DType dtype);

/* build.c */
Scope *scope_at(KBuild *k, int32_t depth);
/* Makes the open scope of `depth` (or the floor, if deeper) current; returns what to restore. */
Scope *scope_enter(KBuild *k, int32_t depth);
void scope_restore(KBuild *k, Scope *saved);
const KExpr *memo_find(KBuild *k, const void *key, const KExpr *const *index, int32_t n);
void memo_add(KBuild *k, Scope *scope, const void *key, const KExpr *const *index, int32_t n,
              const KExpr *value);
int32_t index_depth(const KExpr *const *index, int32_t n);

/* finish.c: the kernel out of the pool, or false when a split was asked for. */
bool kernel_finish(KBuild *k, const char *name);

/* split.c: asks for a split of the loop by `divisor`. */
void plan_request(KBuild *k, int64_t key, const Size *divisor);

#endif
