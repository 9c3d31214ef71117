/* Parts of a call's buffers as runs of memory, in the order in which they are sent; and what a rank
 * does with its own part. Nothing is packed: carriers read and write the runs as they are. */
#include "runtime/comm/stream/internal.h"

#include "ir/base/checked.h"

static bool combines(const CommCall *call) {
    return call->kind == COMM_ALL_REDUCE || call->kind == COMM_REDUCE_SCATTER;
}

static int64_t part_bytes(const CommCall *call, const CommBuffer *b, int32_t n, int32_t source,
                          int32_t target) {
    CommPart part = comm_part(call, b, n, source, target);
    return comm_part_elements(&part) * comm_dtype_bytes(b->dtype);
}

/* Others' operands lie one rank behind the other, each buffer's part at a multiple of 8. */
static int64_t staged_bytes(const CommCall *call, int32_t n, int32_t number, int32_t n_buffers) {
    int64_t bytes = 0;
    for (int32_t i = 0; i < n_buffers; i++) {
        bytes += round_up(part_bytes(call, &call->buffers[i], n, 0, number), 8);
    }
    return bytes;
}

size_t stream_staging_bytes(const CommCall *call, int32_t n, int32_t number) {
    return combines(call) ? (size_t)(staged_bytes(call, n, number, call->n_buffers) * (n - 1)) : 0;
}

static uint8_t *staged(const StreamOp *op, int32_t other, int32_t buffer) {
    int32_t place = other < op->number ? other : other - 1;
    int64_t each = staged_bytes(op->call, op->n, op->number, op->call->n_buffers);
    return op->staging + place * each + staged_bytes(op->call, op->n, op->number, buffer);
}

/* The part that moves, and the memory it moves from or to; *by_target: at the part's `to` places.
 */
static CommPart part_moved(const StreamOp *op, int32_t other, StreamStage stage, bool sends,
                           int32_t buffer, char **base, bool *by_target) {
    const CommCall *call = op->call;
    const CommBuffer *b = &call->buffers[buffer];
    if (stage == STAGE_SECOND) {
        *base = b->out;
        *by_target = true;
        return comm_part(call, b, op->n, other, sends ? op->number : other);
    }
    CommPart part =
        comm_part(call, b, op->n, sends ? op->number : other, sends ? other : op->number);
    *by_target = !sends;
    *base = sends ? (char *)(uintptr_t)b->in : (char *)b->out;
    if (!sends && combines(call)) {
        *base = (char *)staged(op, other, buffer);
        int64_t all = comm_part_elements(&part);
        part = (CommPart){.outer = 1, .lines = 1, .line = all};
    }
    return part;
}

int stream_walk_fill(const StreamOp *op, int32_t other, StreamStage stage, bool sends,
                     const StreamWalk *walk, struct iovec *out, int most) {
    int n = 0;
    int64_t skip = walk->byte;
    for (int32_t i = walk->buffer; i < op->call->n_buffers && n < most; i++, skip = 0) {
        char *base;
        bool by_target;
        int64_t size = comm_dtype_bytes(op->call->buffers[i].dtype), from, to, count;
        CommPart part = part_moved(op, other, stage, sends, i, &base, &by_target);
        int64_t at = skip / size, within = skip % size, all = comm_part_elements(&part);
        while (n < most && comm_part_next(&part, &at, all, &from, &to, &count)) {
            out[n].iov_base = base + (by_target ? to : from) * size + within;
            out[n++].iov_len = (size_t)(count * size - within);
            within = 0;
        }
    }
    return n;
}

void stream_walk_advance(const StreamOp *op, int32_t other, StreamStage stage, bool sends,
                         StreamWalk *walk, size_t bytes) {
    int64_t rest = (int64_t)bytes;
    while (walk->buffer < op->call->n_buffers) {
        char *base;
        bool by_target;
        CommPart part = part_moved(op, other, stage, sends, walk->buffer, &base, &by_target);
        int64_t all =
            comm_part_elements(&part) * comm_dtype_bytes(op->call->buffers[walk->buffer].dtype);
        if (rest < all - walk->byte) {
            walk->byte += rest;
            return;
        }
        rest -= all - walk->byte;
        *walk = (StreamWalk){walk->buffer + 1, 0};
    }
}

void stream_copy_own(const StreamOp *op) {
    for (int32_t i = 0; i < op->call->n_buffers && !combines(op->call); i++) {
        const CommBuffer *b = &op->call->buffers[i];
        CommPart part = comm_part(op->call, b, op->n, op->number, op->number);
        int64_t size = comm_dtype_bytes(b->dtype), at = 0, from, to, count;
        while (comm_part_next(&part, &at, comm_part_elements(&part), &from, &to, &count)) {
            char *target = (char *)b->out + to * size;
            const char *source = (const char *)b->in + from * size;
            if (target != source) {
                memcpy(target, source, (size_t)(count * size));
            }
        }
    }
}

void stream_combine_own(const StreamOp *op, const void **operands) {
    for (int32_t i = 0; i < op->call->n_buffers && combines(op->call); i++) {
        const CommBuffer *b = &op->call->buffers[i];
        CommPart part = comm_part(op->call, b, op->n, op->number, op->number);
        int64_t size = comm_dtype_bytes(b->dtype), at = 0, from, to, count;
        for (int64_t before = 0;
             comm_part_next(&part, &at, comm_part_elements(&part), &from, &to, &count);
             before = at) {
            for (int32_t k = 0; k < op->n; k++) {
                operands[k] = k == op->number ? (const uint8_t *)b->in + from * size
                                              : staged(op, k, i) + before * size;
            }
            comm_combine(b->dtype, op->call->combine, operands, op->n, count,
                         (char *)b->out + to * size);
        }
    }
}

uint64_t stream_call_hash(const Comm *comm, const CommCall *call) {
    bool numbered = call->kind == COMM_SHIFT || call->kind == COMM_BROADCAST;
    int32_t n = comm_group_size(comm, &call->group);
    int64_t head[] = {call->kind, combines(call) ? (int64_t)call->combine : 0,
                      numbered ? call->number : 0, n, call->n_buffers};
    uint64_t hash = hash_bytes(head, sizeof(head), 2);
    for (int32_t i = 0; i < n; i++) {
        int32_t rank = comm_group_rank(&call->group, i);
        hash = hash_bytes(&rank, sizeof(rank), hash);
    }
    for (int32_t i = 0; i < call->n_buffers; i++) {
        const CommBuffer *b = &call->buffers[i];
        bool two = call->kind == COMM_ALL_TO_ALL;
        int64_t sizes[] = {b->dtype,
                           b->outer,
                           b->rows,
                           b->unit,
                           two ? b->middle : 0,
                           two ? b->split_rows : 0,
                           two && b->split_first};
        hash = hash_bytes(sizes, sizeof(sizes), hash);
    }
    return hash ? hash : 1;
}
