/* Joins reductions over ranks that may travel together: one exchange of many small tensors costs
 * little more than one of the smallest. A reduction waits for those behind it until something needs
 * its result, or a bucket is full. */
#include "passes/shard/shard.h"

#include <string.h>

/* At most so many bytes in one exchange: a bucket that is full goes on its way while more is
 * computed. */
static const double BUCKET_BYTES = 4 << 20;

typedef struct Bucket {
    VEC(Op *) ops;
    double bytes;
} Bucket;

static bool joins(const Bucket *bucket, const Op *op) {
    const Op *first = bucket->ops.count > 0 ? bucket->ops.items[0] : NULL;
    return !first || (op_combine(first) == op_combine(op) && op_over(first) == op_over(op) &&
                      first->operands[0]->type.dtype == op->operands[0]->type.dtype);
}

static bool block_reads(const Block *block, const Bucket *bucket);

static bool op_reads(const Op *op, const Bucket *bucket) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        for (size_t k = 0; k < bucket->ops.count; k++) {
            if (op->operands[i]->op == bucket->ops.items[k]) {
                return true;
            }
        }
    }
    bool reads = false;
    for (int32_t i = 0; i < op->n_blocks && !reads; i++) {
        reads = block_reads(op->blocks[i], bucket);
    }
    return reads;
}

static bool block_reads(const Block *block, const Bucket *bucket) {
    BLOCK_EACH_OP (block, op) {
        if (op_reads(op, bucket)) {
            return true;
        }
    }
    return false;
}

/* One op for all in the bucket, before `at`; the old results are mapped to the new ones. */
static void close_bucket(Shard *s, Bucket *bucket, Op *at, Value **map) {
    int32_t n = (int32_t)bucket->ops.count;
    if (n > 1) {
        Value **xs = ARENA_ARRAY(s->arena, Value *, (size_t)n);
        Op *first = bucket->ops.items[0];
        for (int32_t i = 0; i < n; i++) {
            xs[i] = bucket->ops.items[i]->operands[0];
        }
        Builder b = builder_before(at);
        b.place = first->place;
        b.label = NULL;
        Op *joined = op_create(s->func, OP_all_reduce, xs, n, n, 0);
        memcpy(joined->attrs, first->attrs, sizeof joined->attrs);
        b_op(&b, joined);
        for (int32_t i = 0; i < n; i++) {
            map[bucket->ops.items[i]->results[0]->id] = joined->results[i];
            op_unlink(bucket->ops.items[i]);
        }
    }
    bucket->ops.count = 0;
    bucket->bytes = 0;
}

static void join_block(Shard *s, Block *block, Value **map) {
    Bucket bucket = {0};
    for (Op *op = block->first, *next; op; op = next) {
        next = op->next;
        if (op_reads(op, &bucket)) {
            close_bucket(s, &bucket, op, map);
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            join_block(s, op->blocks[i], map);
        }
        if (op->code != OP_all_reduce || op->n_operands != 1) {
            continue;
        }
        double bytes = type_nominal_bytes(op->operands[0]->type);
        if (!joins(&bucket, op) || bucket.bytes + bytes > BUCKET_BYTES) {
            close_bucket(s, &bucket, op, map);
        }
        VEC_PUSH(s->arena, &bucket.ops, op);
        bucket.bytes += bytes;
    }
}

void join_reductions(Shard *s, Block *block) {
    func_renumber(s->func);
    Value **map = ARENA_ARRAY(s->arena, Value *, (size_t)s->func->n_values + 1);
    join_block(s, block, map);
    func_replace_values(s->func, map);
}
