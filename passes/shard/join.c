/* Joins exchanges among ranks that may travel together: one exchange of many small tensors costs
 * little more than one of the smallest. Of each kind – what is done, among whom – one bucket is
 * open; an exchange goes into it and waits until the bucket is full or nothing more can come.
 *
 * What reads a result of an open bucket waits too, and what reads that, as long as behind it
 * another exchange of the bucket's kind stands that does not need it; all else goes on in the
 * order in which it stood. So norms of many tensors, each read at once, travel together. What is
 * made early because of that, and waits in memory for those that wait, is bounded. */
#include "passes/shard/shard.h"

#include <string.h>

/* At most so many bytes in one exchange, which then goes on its way while more is computed; and at
 * most so many of what waits for it. */
static const double BUCKET_BYTES = 4 << 20;

enum { MAX_BUCKETS = 32 };

typedef struct Bucket {
    VEC(Op *) ops; /* in one block, in their order; none: not open */
    double bytes;
    const Op *next; /* which may come too, and for which readers wait; NULL: none do */
} Bucket;

typedef uint32_t BucketSet; /* bits by number */

/* What all blocks share. */
typedef struct Joining {
    Shard *s;
    Value **map;      /* of results that others stand for */
    BucketSet *waits; /* by value: the buckets that must leave before it is made */
    bool *is_early;   /* by value: made while something waited, and not counted yet */
    int32_t *reached; /* by value: the last search that found it dependent */
    int32_t n_searches;
} Joining;

/* An op out of the block, that comes back behind the buckets that it waits for. */
typedef struct Held {
    Op *op;
    BucketSet waits;
} Held;

/* One block. */
typedef struct BlockJoining {
    Joining *all;
    Bucket buckets[MAX_BUCKETS];
    VEC(Held) held;     /* in their order */
    double early_bytes; /* of what was made early and is needed by what is held */
} BlockJoining;

/* -- What an op is and needs */

static bool is_joinable(const Op *op) {
    return (op->code == OP_all_reduce || op->code == OP_all_gather ||
            op->code == OP_reduce_scatter) &&
           op->n_operands == 1;
}

static bool same_kind(const Op *a, const Op *b) {
    return a->code == b->code && op_over(a) == op_over(b) &&
           (a->code != OP_all_reduce || op_combine(a) == op_combine(b));
}

static double travelling_bytes(const Op *op) {
    return type_nominal_bytes(op->code == OP_all_gather ? op->results[0]->type
                                                        : op->operands[0]->type);
}

/* Whether it may go into the bucket, which is of its kind. A parameter that is gathered again is
 * for another pass over the model: it is not to lie there from the first one on. */
static bool fits(const Bucket *bucket, const Op *op) {
    bool again = false;
    for (size_t i = 0; i < bucket->ops.count && op->code == OP_all_gather; i++) {
        again = again || bucket->ops.items[i]->operands[0] == op->operands[0];
    }
    return !again && bucket->bytes + travelling_bytes(op) <= BUCKET_BYTES;
}

typedef void (*EachOperand)(Joining *all, Value *operand, void *user);

/* Of the op and of all in its blocks. */
static void each_operand(Joining *all, const Op *op, EachOperand visit, void *user) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        visit(all, op->operands[i], user);
    }
    for (int32_t i = 0; i < op->n_blocks; i++) {
        BLOCK_EACH_OP (op->blocks[i], inner) {
            each_operand(all, inner, visit, user);
        }
    }
}

static void add_waits(Joining *all, Value *operand, void *user) {
    *(BucketSet *)user |= all->waits[operand->id];
}

static bool has_effect(const Op *op) {
    bool has = (op_info(op->code)->flags & OPF_EFFECT) != 0;
    for (int32_t i = 0; i < op->n_blocks && !has; i++) {
        BLOCK_EACH_OP (op->blocks[i], inner) {
            has = has || has_effect(inner);
        }
    }
    return has;
}

/* Effects keep their order: one waits for what those wait for that stood before it. */
static BucketSet waits_of(const BlockJoining *j, const Op *op) {
    BucketSet waits = 0;
    each_operand(j->all, op, add_waits, &waits);
    for (size_t i = 0; i < j->held.count && has_effect(op); i++) {
        waits |= has_effect(j->held.items[i].op) ? j->held.items[i].waits : 0;
    }
    return waits;
}

/* -- What may come yet */

typedef struct Search {
    BucketSet bucket;
    bool depends;
} Search;

static void look_at(Joining *all, Value *operand, void *user) {
    Search *search = user;
    search->depends = search->depends || (all->waits[operand->id] & search->bucket) != 0 ||
                      all->reached[operand->id] == all->n_searches;
}

/* The first exchange of the bucket's kind, from `op` on, that needs nothing of the bucket, if it
 * fits in; NULL: else, or there is none. */
static const Op *find_next(BlockJoining *j, int32_t number, const Op *op) {
    const Bucket *bucket = &j->buckets[number];
    Joining *all = j->all;
    all->n_searches++;
    for (; op; op = op->next) {
        Search search = {.bucket = (BucketSet)1 << number};
        each_operand(all, op, look_at, &search);
        if (!search.depends && is_joinable(op) && same_kind(bucket->ops.items[0], op)) {
            return fits(bucket, op) ? op : NULL;
        }
        for (int32_t r = 0; r < op->n_results && search.depends; r++) {
            all->reached[op->results[r]->id] = all->n_searches;
        }
    }
    return NULL;
}

/* -- Buckets */

/* What the ops say of their operands, as lists of one op. */
static void join_rows(Shard *s, const Bucket *bucket, Op *joined) {
    size_t n = bucket->ops.count;
    int64_t *axes = ARENA_ARRAY(s->arena, int64_t, n);
    const Size **sizes = ARENA_ARRAY(s->arena, const Size *, n);
    const Size **rows = ARENA_ARRAY(s->arena, const Size *, n);
    for (size_t i = 0; i < n; i++) {
        const Op *op = bucket->ops.items[i];
        axes[i] = op_each_axis(op).at[0];
        sizes[i] = op_each_size(op).at[0];
        rows[i] = op_each_rows(op).at[0];
    }
    op_set_each_axis(joined, ints_copy(s->func, axes, (int32_t)n));
    op_set_each_size(joined, sizes_copy(s->func, sizes, (int32_t)n));
    op_set_each_rows(joined, sizes_copy(s->func, rows, (int32_t)n));
}

/* One op for all in the bucket, before `at`; a single one stays where it is. */
static void join_ops(const Joining *all, const Bucket *bucket, Op *at) {
    Shard *s = all->s;
    int32_t n = (int32_t)bucket->ops.count;
    Op *first = bucket->ops.items[0];
    if (n == 1) {
        return;
    }
    Value **xs = ARENA_ARRAY(s->arena, Value *, (size_t)n);
    for (int32_t i = 0; i < n; i++) {
        Value *x = bucket->ops.items[i]->operands[0];
        xs[i] = all->map[x->id] ? all->map[x->id] : x;
    }
    Op *joined = op_create(s->func, first->code, xs, n, n, 0);
    memcpy(joined->attrs, first->attrs, sizeof joined->attrs);
    if (first->code != OP_all_reduce) {
        join_rows(s, bucket, joined);
    }
    Builder b = builder_before(at);
    b.place = first->place;
    b.label = NULL;
    b_op(&b, joined);
    for (int32_t i = 0; i < n; i++) {
        all->map[bucket->ops.items[i]->results[0]->id] = joined->results[i];
        op_unlink(bucket->ops.items[i]);
    }
}

/* The bucket leaves before `at`, and behind it comes what waited for it, to be looked at anew.
 * Returns from where to go on. */
static Op *close_bucket(BlockJoining *j, int32_t number, Op *at) {
    Bucket *bucket = &j->buckets[number];
    size_t n_left = 0;
    Op *from = at;
    join_ops(j->all, bucket, at);
    for (size_t i = 0; i < bucket->ops.count; i++) {
        j->all->waits[bucket->ops.items[i]->results[0]->id] = 0;
    }
    *bucket = (Bucket){0};
    for (size_t i = 0; i < j->held.count; i++) {
        Held held = j->held.items[i];
        if ((held.waits >> number & 1U) == 0) {
            j->held.items[n_left++] = held;
            continue;
        }
        op_insert_before(held.op, at);
        from = from == at ? held.op : from;
        for (int32_t r = 0; r < held.op->n_results; r++) {
            j->all->waits[held.op->results[r]->id] = 0;
        }
    }
    j->held.count = n_left;
    j->early_bytes = 0;
    return from;
}

/* The one of the op's kind; a free one, or -1 where all are open. */
static int32_t bucket_of(const BlockJoining *j, const Op *op) {
    int32_t free = -1;
    for (int32_t i = MAX_BUCKETS - 1; i >= 0; i--) {
        const Bucket *bucket = &j->buckets[i];
        if (bucket->ops.count == 0) {
            free = i;
        } else if (same_kind(bucket->ops.items[0], op)) {
            return i;
        }
    }
    return free;
}

/* Puts the exchange into a bucket; false: into none now, `*from` is where to go on. */
static bool add_to_bucket(BlockJoining *j, Op *op, Op **from) {
    int32_t number = bucket_of(j, op);
    Bucket *bucket = number >= 0 ? &j->buckets[number] : NULL;
    if (bucket && bucket->ops.count > 0 && !fits(bucket, op)) {
        *from = close_bucket(j, number, op);
        return false;
    }
    if (bucket) {
        VEC_PUSH(j->all->s->arena, &bucket->ops, op);
        bucket->bytes += travelling_bytes(op);
        j->all->waits[op->results[0]->id] = (BucketSet)1 << number;
    }
    return true;
}

/* -- One op after another */

static void count_early(Joining *all, Value *operand, void *user) {
    double *bytes = user;
    *bytes += all->is_early[operand->id] ? type_nominal_bytes(operand->type) : 0;
    all->is_early[operand->id] = false;
}

/* A bucket that leaves rather than that this op waits for it, too: -1: it waits. */
static int32_t impatient(BlockJoining *j, const Op *op, BucketSet waits) {
    int32_t any = -1;
    for (int32_t i = 0; i < MAX_BUCKETS; i++) {
        Bucket *bucket = &j->buckets[i];
        if ((waits >> i & 1U) == 0) {
            continue;
        }
        any = i;
        bucket->next = bucket->next ? bucket->next : find_next(j, i, op->next);
        if (!bucket->next) {
            return i;
        }
    }
    each_operand(j->all, op, count_early, &j->early_bytes);
    return j->early_bytes > BUCKET_BYTES ? any : -1;
}

/* Whether its results, made early, keep memory that nothing else keeps: what is seen through does
 * if what it shows does; an exchange's are its bucket's. */
static bool keeps_memory(const Joining *all, const Op *op) {
    OpFusion fusion = op_info(op->code)->fusion;
    if (fusion == FUSION_VIEW || fusion == FUSION_SPREAD) {
        return all->is_early[op->operands[0]->id];
    }
    return fusion != FUSION_FREE && !is_joinable(op);
}

static void hold(BlockJoining *j, Op *op, BucketSet waits) {
    for (int32_t r = 0; r < op->n_results; r++) {
        j->all->waits[op->results[r]->id] = waits;
    }
    op_unlink(op);
    VEC_PUSH(j->all->s->arena, &j->held, ((Held){op, waits}));
}

/* Buckets that waited for this one look for another, or leave. Returns from where to go on. */
static Op *look_further(BlockJoining *j, const Op *op, Op *from) {
    for (int32_t i = 0; i < MAX_BUCKETS; i++) {
        Bucket *bucket = &j->buckets[i];
        if (bucket->ops.count > 0 && bucket->next == op) {
            bucket->next = find_next(j, i, from);
            from = bucket->next ? from : close_bucket(j, i, from);
        }
    }
    return from;
}

/* At the end of the block all leave, those first that something waits for. */
static Op *at_end(BlockJoining *j, Op *yield) {
    for (int32_t i = 0; i < MAX_BUCKETS; i++) {
        bool is_waited_for = j->held.count == 0 || (j->held.items[0].waits >> i & 1U) != 0;
        if (j->buckets[i].ops.count > 0 && is_waited_for) {
            return close_bucket(j, i, yield);
        }
    }
    return NULL;
}

static void join_block(Joining *all, Block *block);

/* Returns where to go on; NULL: at the end. */
static Op *step(BlockJoining *j, Op *op) {
    if (op->code == OP_yield) {
        return at_end(j, op);
    }
    Op *next = op->next;
    BucketSet waits = waits_of(j, op);
    int32_t leaves = waits ? impatient(j, op, waits) : -1;
    if (leaves >= 0) {
        return close_bucket(j, leaves, op);
    }
    if (waits) {
        hold(j, op, waits);
        return look_further(j, op, next);
    }
    for (int32_t i = 0; i < op->n_blocks; i++) {
        join_block(j->all, op->blocks[i]);
    }
    if (is_joinable(op) && !add_to_bucket(j, op, &next)) {
        return next;
    }
    for (int32_t r = 0; r < op->n_results && j->held.count > 0; r++) {
        j->all->is_early[op->results[r]->id] = keeps_memory(j->all, op);
    }
    return look_further(j, op, next);
}

static void join_block(Joining *all, Block *block) {
    BlockJoining j = {.all = all};
    for (Op *op = block->first; op;) {
        op = step(&j, op);
    }
}

void join_exchanges(Shard *s, Block *block) {
    func_renumber(s->func);
    size_t n = (size_t)s->func->n_values + 1;
    Joining all = {.s = s,
                   .map = ARENA_ARRAY(s->arena, Value *, n),
                   .waits = ARENA_ARRAY(s->arena, BucketSet, n),
                   .is_early = ARENA_ARRAY(s->arena, bool, n),
                   .reached = ARENA_ARRAY(s->arena, int32_t, n)};
    join_block(&all, block);
    func_replace_values(s->func, all.map);
}
