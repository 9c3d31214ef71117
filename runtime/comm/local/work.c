/* The work of a call when all ranks have joined: chunks in a fixed order, that any thread may do.
 */
#include "runtime/comm/combine.h"
#include "runtime/comm/local/internal.h"

/* Of each rank's memory that a chunk reads or writes: with a few ranks they fit the second cache.
 */
enum { CHUNK_BYTES = 64 * 1024 };

static bool is_combined(const CommCall *call) {
    return call->kind == COMM_ALL_REDUCE || call->kind == COMM_REDUCE_SCATTER;
}

/* Of an all_reduce any rank's part is the whole: what one combines is copied to the others while it
 * is in cache. */
static CommPart part_of(const LocalOp *op, const CommCall *call, const Cursor *at) {
    const CommBuffer *buffer = &call->buffers[at->buffer];
    if (call->kind == COMM_ALL_REDUCE) {
        int64_t whole = buffer->outer * buffer->rows * buffer->unit;
        return (CommPart){.outer = 1, .lines = 1, .line = whole};
    }
    return comm_part(call, buffer, op->n, at->source, at->target);
}

static void cursor_advance(const LocalOp *op, const CommCall *call, Cursor *cursor) {
    cursor->element = 0;
    bool by_source = !is_combined(call), by_target = call->kind != COMM_ALL_REDUCE;
    if (by_source && ++cursor->source < op->n) {
        return;
    }
    cursor->source = 0;
    if (by_target && ++cursor->target < op->n) {
        return;
    }
    cursor->target = 0;
    cursor->buffer++;
}

bool work_next(const LocalOp *op, Cursor *cursor, Range *out) {
    const CommCall *call = op->calls[0];
    while (cursor->buffer < call->n_buffers) {
        CommPart part = part_of(op, call, cursor);
        int64_t size = comm_dtype_bytes(call->buffers[cursor->buffer].dtype);
        int64_t elements = comm_part_elements(&part), chunk = CHUNK_BYTES / size;
        int64_t rest = elements - cursor->element;
        if (rest <= 0) {
            cursor_advance(op, call, cursor);
            continue;
        }
        *out = (Range){.at = *cursor, .last = cursor->element + (rest < chunk ? rest : chunk)};
        out->bytes = (out->last - cursor->element) * size * (is_combined(call) ? op->n : 1);
        cursor->element = out->last;
        if (out->last == elements) {
            cursor_advance(op, call, cursor);
        }
        return true;
    }
    return false;
}

static const char *operand(const LocalOp *op, int32_t number, int32_t buffer, int64_t bytes) {
    return (const char *)op->calls[number]->buffers[buffer].in + bytes;
}

static char *result(const LocalOp *op, int32_t number, int32_t buffer, int64_t bytes) {
    return (char *)op->calls[number]->buffers[buffer].out + bytes;
}

/* The tree wants all operands' addresses at once; a process has so many threads at most that they
 * fit a stack. */
static void run_combine(const LocalOp *op, const CommCall *call, const Range *range, int64_t from,
                        int64_t to, int64_t count) {
    const void *operands[LOCAL_MAX_RANKS];
    int32_t buffer = range->at.buffer, dtype = call->buffers[buffer].dtype;
    int64_t size = comm_dtype_bytes(dtype);
    for (int32_t i = 0; i < op->n; i++) {
        operands[i] = operand(op, i, buffer, from * size);
    }
    char *out = result(op, range->at.target, buffer, to * size);
    comm_combine(dtype, call->combine, operands, op->n, count, out);
    for (int32_t i = 1; i < op->n && call->kind == COMM_ALL_REDUCE; i++) {
        memcpy(result(op, i, buffer, to * size), out, (size_t)(count * size));
    }
}

void work_do(const LocalOp *op, const Range *range) {
    const CommCall *call = op->calls[0];
    int32_t buffer = range->at.buffer;
    int64_t size = comm_dtype_bytes(call->buffers[buffer].dtype);
    CommPart part = part_of(op, call, &range->at);
    int64_t at = range->at.element, from, to, count;
    while (comm_part_next(&part, &at, range->last, &from, &to, &count)) {
        if (is_combined(call)) {
            run_combine(op, call, range, from, to, count);
            continue;
        }
        const char *source = operand(op, range->at.source, buffer, from * size);
        char *target = result(op, range->at.target, buffer, to * size);
        if (source != target) {
            memcpy(target, source, (size_t)(count * size));
        }
    }
}
