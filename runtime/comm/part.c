/* Which elements go where (combine.h). */
#include "runtime/comm/combine.h"

#include "ir/base/mesh.h"

static CommPart part_dense(int64_t first, int64_t count) {
    return (CommPart){.outer = 1, .lines = 1, .line = count, .from = first, .to = first};
}

/* Both axes in one order: what is before, the piece's lines, and the run behind. */
static CommPart part_all_to_all(const CommBuffer *b, int32_t n, int32_t source, int32_t target) {
    RowRange rows = mesh_piece(b->rows, n, source), split = mesh_piece(b->split_rows, n, target);
    CommPart part = {.outer = b->outer};
    if (b->split_first) {
        part.lines = split.count * b->middle;
        part.line = part.from_line = rows.count * b->unit;
        part.from = split.first * b->middle * part.from_line;
        part.from_outer = b->split_rows * b->middle * part.from_line;
        part.to_line = b->rows * b->unit;
        part.to = rows.first * b->unit;
        part.to_outer = part.lines * part.to_line;
    } else {
        part.lines = rows.count * b->middle;
        part.line = part.to_line = split.count * b->unit;
        part.from_line = b->split_rows * b->unit;
        part.from = split.first * b->unit;
        part.from_outer = part.lines * part.from_line;
        part.to = rows.first * b->middle * part.to_line;
        part.to_outer = b->rows * b->middle * part.to_line;
    }
    return part;
}

CommPart comm_part(const CommCall *call, const CommBuffer *b, int32_t n, int32_t source,
                   int32_t target) {
    int64_t whole = b->outer * b->rows * b->unit;
    switch (call->kind) {
    case COMM_ALL_REDUCE: {
        RowRange own = mesh_piece(whole, n, target);
        return part_dense(own.first, own.count);
    }
    case COMM_ALL_GATHER: {
        RowRange rows = mesh_piece(b->rows, n, source);
        int64_t line = rows.count * b->unit;
        return (CommPart){.outer = b->outer,
                          .lines = 1,
                          .line = line,
                          .from_outer = line,
                          .to = rows.first * b->unit,
                          .to_outer = b->rows * b->unit};
    }
    case COMM_REDUCE_SCATTER: {
        RowRange rows = mesh_piece(b->rows, n, target);
        int64_t line = rows.count * b->unit;
        return (CommPart){.outer = b->outer,
                          .lines = 1,
                          .line = line,
                          .from = rows.first * b->unit,
                          .from_outer = b->rows * b->unit,
                          .to_outer = line};
    }
    case COMM_ALL_TO_ALL:
        return part_all_to_all(b, n, source, target);
    case COMM_SHIFT: {
        int64_t by = ((int64_t)call->number % n + n) % n;
        return part_dense(0, (source + by) % n == target ? whole : 0);
    }
    case COMM_BROADCAST:
        return part_dense(0, source == call->number ? whole : 0);
    default:
        return (CommPart){0};
    }
}

int64_t comm_part_elements(const CommPart *part) {
    return part->outer * part->lines * part->line;
}

bool comm_part_next(const CommPart *part, int64_t *at, int64_t end, int64_t *from, int64_t *to,
                    int64_t *count) {
    if (*at >= end) {
        return false;
    }
    int64_t number = *at / part->line, within = *at % part->line;
    int64_t outer = number / part->lines, line = number % part->lines;
    int64_t rest = part->line - within;
    *from = part->from + outer * part->from_outer + line * part->from_line + within;
    *to = part->to + outer * part->to_outer + line * part->to_line + within;
    *count = rest < end - *at ? rest : end - *at;
    *at += *count;
    return true;
}
