/* Random calls and their results, from the sentences of comm.h (reference.h). */
#include "tests/comm/reference.h"
#include "tests/comm/ranks.h"
#include "tests/unit/half.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t bytes_of[PLAN_N_DTYPES] = {8, 4, 2, 2, 8, 4, 1, 1, 1};

/* -- Numbers: a value is a double or an integer, as its type is. */

typedef struct Value {
    double real;
    int64_t whole;
} Value;

static float bf16_value(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof(value));
    return value;
}

/* To nearest, ties to even, found by trying the two neighbours. */
static uint16_t bf16_bits(float value) {
    uint32_t wide;
    memcpy(&wide, &value, sizeof(wide));
    if (isnan(value)) {
        return 0x7fc0;
    }
    uint16_t low = (uint16_t)(wide >> 16);
    uint32_t rest = wide & 0xffff;
    bool up = rest > 0x8000 || (rest == 0x8000 && (low & 1) != 0);
    return (uint16_t)(low + up);
}

static bool is_real(int32_t dtype) {
    return dtype <= PLAN_BF16;
}

static Value value_read(const void *from, int64_t i, int32_t dtype) {
    switch (dtype) {
    case PLAN_F64:
        return (Value){.real = ((const double *)from)[i]};
    case PLAN_F32:
        return (Value){.real = (double)((const float *)from)[i]};
    case PLAN_F16:
        return (Value){.real = half_value(((const uint16_t *)from)[i])};
    case PLAN_BF16:
        return (Value){.real = (double)bf16_value(((const uint16_t *)from)[i])};
    case PLAN_I64:
        return (Value){.whole = ((const int64_t *)from)[i]};
    case PLAN_I32:
        return (Value){.whole = ((const int32_t *)from)[i]};
    case PLAN_I8:
        return (Value){.whole = ((const int8_t *)from)[i]};
    default:
        return (Value){.whole = ((const uint8_t *)from)[i]};
    }
}

static void value_write(void *to, int64_t i, int32_t dtype, Value value) {
    switch (dtype) {
    case PLAN_F64:
        ((double *)to)[i] = value.real;
        break;
    case PLAN_F32:
        ((float *)to)[i] = (float)value.real;
        break;
    case PLAN_F16:
        ((uint16_t *)to)[i] = half_bits(value.real);
        break;
    case PLAN_BF16:
        ((uint16_t *)to)[i] = bf16_bits((float)value.real);
        break;
    case PLAN_I64:
        ((int64_t *)to)[i] = value.whole;
        break;
    case PLAN_I32:
        ((int32_t *)to)[i] = (int32_t)value.whole;
        break;
    default:
        ((uint8_t *)to)[i] = (uint8_t)value.whole;
        break;
    }
}

static Value combine_real(CommCombine combine, int32_t dtype, double x, double y) {
    if (combine == COMM_ADD || combine == COMM_MUL) {
        if (dtype == PLAN_F64) {
            return (Value){.real = combine == COMM_ADD ? x + y : x * y};
        }
        float a = (float)x, b = (float)y;
        return (Value){.real = (double)(combine == COMM_ADD ? a + b : a * b)};
    }
    if (isnan(x) || isnan(y)) {
        return (Value){.real = (double)NAN};
    }
    bool first = combine == COMM_MAX ? x > y : x < y;
    return (Value){.real = first ? x : y};
}

static Value combine_whole(CommCombine combine, int32_t dtype, int64_t x, int64_t y) {
    uint64_t a = (uint64_t)x, b = (uint64_t)y, result;
    switch (combine) {
    case COMM_ADD:
        result = a + b;
        break;
    case COMM_MUL:
        result = a * b;
        break;
    case COMM_MIN:
    case COMM_AND:
        result = x < y ? a : b;
        break;
    default:
        result = x > y ? a : b;
        break;
    }
    int64_t wrapped = dtype == PLAN_I64   ? (int64_t)result
                      : dtype == PLAN_I32 ? (int64_t)(int32_t)(uint32_t)result
                      : dtype == PLAN_I8  ? (int64_t)(int8_t)(uint8_t)result
                                          : (int64_t)(uint8_t)result;
    return (Value){.whole = wrapped};
}

/* The tree over [first, first + n): the lower half is the largest power of two below n. */
static Value tree(void *const *operands, int32_t first, int32_t n, int64_t i, int32_t dtype,
                  CommCombine combine) {
    if (n == 1) {
        return value_read(operands[first], i, dtype);
    }
    int32_t half = 1;
    while (2 * half < n) {
        half *= 2;
    }
    Value x = tree(operands, first, half, i, dtype, combine);
    Value y = tree(operands, first + half, n - half, i, dtype, combine);
    return is_real(dtype) ? combine_real(combine, dtype, x.real, y.real)
                          : combine_whole(combine, dtype, x.whole, y.whole);
}

/* -- Operands. */

static void fill(void *to, int64_t n, int32_t dtype, uint64_t seed, int32_t buffer, int32_t rank) {
    uint64_t state = seed * 1000003 + (uint64_t)(buffer * 64 + rank);
    for (int64_t i = 0; i < n; i++) {
        uint64_t bits = random_next(&state);
        double real = (double)(int64_t)(bits % 20001 - 10000) / 1024.0 *
                      (1 + (double)(bits >> 40 & 7) * 0.37);
        if (bits >> 57 == 0) {
            real = (double)NAN;
        } else if (bits >> 57 == 1) {
            real = (double)INFINITY;
        } else if (bits >> 57 == 2) {
            real = -0.0;
        } else if (bits >> 57 == 3) {
            real *= 0x1p-24;
        }
        int64_t whole = (int64_t)(bits >> 3);
        if (dtype == PLAN_BOOL) {
            whole = bits & 1;
        } else if (dtype == PLAN_I32) {
            whole = (int32_t)(uint32_t)bits;
        }
        value_write(to, i, dtype, (Value){real, whole});
    }
}

/* -- Pieces: written out as their rule says. */

static int64_t piece_count(int64_t rows, int32_t n, int32_t number) {
    return rows / n + (number < rows % n ? 1 : 0);
}

static int32_t piece_owner(int64_t rows, int32_t n, int64_t row, int64_t *within) {
    int32_t owner = 0;
    while (row >= piece_count(rows, n, owner)) {
        row -= piece_count(rows, n, owner++);
    }
    *within = row;
    return owner;
}

static int64_t whole_of(const CommCall *call, const CommBuffer *b) {
    int64_t n = b->outer * b->rows * b->unit;
    return call->kind == COMM_ALL_TO_ALL ? n * b->middle * b->split_rows : n;
}

static int64_t in_count(const CommCall *call, const CommBuffer *b, int32_t n, int32_t number) {
    bool cut = call->kind == COMM_ALL_GATHER || call->kind == COMM_ALL_TO_ALL;
    return cut && b->rows > 0 ? whole_of(call, b) / b->rows * piece_count(b->rows, n, number)
                              : whole_of(call, b);
}

static int64_t out_count(const CommCall *call, const CommBuffer *b, int32_t n, int32_t number) {
    int64_t whole = whole_of(call, b);
    if (call->kind == COMM_REDUCE_SCATTER && b->rows > 0) {
        return whole / b->rows * piece_count(b->rows, n, number);
    }
    if (call->kind == COMM_ALL_TO_ALL && b->split_rows > 0) {
        return whole / b->split_rows * piece_count(b->split_rows, n, number);
    }
    return whole;
}

/* -- Results: every element of the whole tensor is looked at by its indices. */

static void copy_element(void *to, int64_t at, const void *from, int64_t from_at, int32_t dtype) {
    size_t bytes = (size_t)bytes_of[dtype];
    memcpy((char *)to + (size_t)at * bytes, (const char *)from + (size_t)from_at * bytes, bytes);
}

/* Of one rank's result and the count of what it sends; operands of all. */
static void expect_rows(Trial *trial, int32_t at, int32_t n, int32_t number, void *const *in) {
    const CommCall *call = &trial->call;
    const CommBuffer *b = &trial->buffers[at];
    for (int64_t i = 0; i < whole_of(call, b); i++) {
        int64_t unit = i % b->unit, row = i / b->unit % b->rows, outer = i / b->unit / b->rows;
        int64_t within;
        int32_t owner = piece_owner(b->rows, n, row, &within);
        int64_t count = piece_count(b->rows, n, owner);
        int64_t local = (outer * count + within) * b->unit + unit;
        if (call->kind == COMM_ALL_GATHER) {
            copy_element(trial->expected[at], i, in[owner], local, b->dtype);
            trial->sent += owner == number ? bytes_of[b->dtype] * (n - 1) : 0;
        } else {
            if (owner == number) {
                value_write(trial->expected[at], local, b->dtype,
                            tree(in, 0, n, i, b->dtype, call->combine));
            }
            trial->sent += owner != number ? bytes_of[b->dtype] : 0;
        }
    }
}

static void expect_all_to_all(Trial *trial, int32_t at, int32_t n, int32_t number,
                              void *const *in) {
    const CommCall *call = &trial->call;
    const CommBuffer *b = &trial->buffers[at];
    int64_t second = b->split_first ? b->rows : b->split_rows;
    int64_t first = b->split_first ? b->split_rows : b->rows;
    for (int64_t i = 0; i < whole_of(call, b); i++) {
        int64_t rest = i, unit = rest % b->unit;
        rest /= b->unit;
        int64_t y = rest % second;
        rest /= second;
        int64_t middle = rest % b->middle;
        rest /= b->middle;
        int64_t x = rest % first, outer = rest / first;
        int64_t gathered = b->split_first ? y : x, split = b->split_first ? x : y, row, column;
        int32_t source = piece_owner(b->rows, n, gathered, &row);
        int32_t target = piece_owner(b->split_rows, n, split, &column);
        int64_t rows = piece_count(b->rows, n, source);
        int64_t columns = piece_count(b->split_rows, n, target);
        trial->sent += source == number && target != number ? bytes_of[b->dtype] : 0;
        if (target != number) {
            continue;
        }
        int64_t from = b->split_first
                           ? ((outer * b->split_rows + split) * b->middle + middle) * rows + row
                           : ((outer * rows + row) * b->middle + middle) * b->split_rows + split;
        int64_t to = b->split_first
                         ? ((outer * columns + column) * b->middle + middle) * b->rows + gathered
                         : ((outer * b->rows + gathered) * b->middle + middle) * columns + column;
        copy_element(trial->expected[at], to * b->unit + unit, in[source], from * b->unit + unit,
                     b->dtype);
    }
}

static void expect_buffer(Trial *trial, int32_t at, int32_t n, int32_t number, void *const *in) {
    const CommCall *call = &trial->call;
    const CommBuffer *b = &trial->buffers[at];
    int64_t whole = whole_of(call, b), size = bytes_of[b->dtype], within;
    switch (call->kind) {
    case COMM_ALL_REDUCE:
        for (int64_t i = 0; i < whole; i++) {
            value_write(trial->expected[at], i, b->dtype,
                        tree(in, 0, n, i, b->dtype, call->combine));
            trial->sent += size * (piece_owner(whole, n, i, &within) == number ? n - 1 : 1);
        }
        break;
    case COMM_ALL_GATHER:
    case COMM_REDUCE_SCATTER:
        expect_rows(trial, at, n, number, in);
        break;
    case COMM_ALL_TO_ALL:
        expect_all_to_all(trial, at, n, number, in);
        break;
    case COMM_SHIFT: {
        int32_t source = ((number - call->number) % n + n) % n;
        memcpy(trial->expected[at], in[source], (size_t)(whole * size));
        trial->sent += source == number ? 0 : whole * size;
        break;
    }
    default:
        memcpy(trial->expected[at], in[call->number], (size_t)(whole * size));
        trial->sent += call->number == number ? (n - 1) * whole * size : 0;
        break;
    }
}

/* -- Trials. */

/* A random subset in a random order, or all by NULL. */
static int32_t choose_group(Trial *trial, int32_t n_ranks, uint64_t *state) {
    if (random_below(state, 3) == 0) {
        trial->call.group = (CommGroup){NULL, 0};
        return n_ranks;
    }
    int32_t n = (int32_t)(1 + random_below(state, n_ranks)), all[8];
    for (int32_t i = 0; i < n_ranks; i++) {
        all[i] = i;
    }
    for (int32_t i = 0; i < n; i++) {
        int32_t k = i + (int32_t)random_below(state, n_ranks - i), swap = all[k];
        all[k] = all[i];
        trial->group[i] = all[i] = swap;
    }
    trial->call.group = (CommGroup){trial->group, n};
    return n;
}

static int64_t choose_size(uint64_t *state, int64_t most) {
    int64_t form = random_below(state, 8);
    return form == 0 ? 0 : form < 5 ? 1 + random_below(state, 9) : 1 + random_below(state, most);
}

static void choose_buffer(CommBuffer *b, CommKind kind, CommCombine combine, uint64_t *state,
                          int64_t most) {
    bool logical = combine == COMM_AND || combine == COMM_OR;
    bool numeric = combine == COMM_ADD || combine == COMM_MUL;
    b->dtype = (int32_t)random_below(state, PLAN_N_DTYPES - numeric);
    if ((kind == COMM_ALL_REDUCE || kind == COMM_REDUCE_SCATTER) && logical) {
        b->dtype = PLAN_BOOL;
    }
    b->outer = 1 + random_below(state, 3);
    b->rows = choose_size(state, most);
    b->unit = 1 + random_below(state, 4);
    if (kind == COMM_ALL_TO_ALL) {
        b->rows = b->rows > 40 ? 40 : b->rows;
        b->middle = 1 + random_below(state, 3);
        b->split_rows = choose_size(state, 40);
        b->split_first = random_below(state, 2);
    }
}

static void trial_fill(Trial *trial, int32_t at, int32_t n, int32_t number, uint64_t seed) {
    const CommCall *call = &trial->call;
    CommBuffer *b = &trial->buffers[at];
    size_t size = (size_t)bytes_of[b->dtype];
    void *in[8];
    for (int32_t i = 0; i < n; i++) {
        int64_t count = in_count(call, b, n, i);
        in[i] = malloc((size_t)count * size + 1);
        fill(in[i], count, b->dtype, seed, at, i);
    }
    trial->out_bytes[at] = (size_t)out_count(call, b, n, number) * size;
    trial->out[at] = malloc(trial->out_bytes[at] + 1);
    trial->expected[at] = malloc(trial->out_bytes[at] + 1);
    memset(trial->out[at], 0xa5, trial->out_bytes[at] + 1);
    expect_buffer(trial, at, n, number, in);
    trial->in[at] = in[number];
    b->in = in[number];
    b->out = trial->out[at];
    for (int32_t i = 0; i < n; i++) {
        if (i != number) {
            free(in[i]);
        }
    }
    if (call->kind == COMM_ALL_REDUCE && (seed & 1) != 0) { /* in place */
        memcpy(trial->out[at], b->in, trial->out_bytes[at]);
        b->in = b->out;
    }
}

bool trial_make(Trial *trial, int32_t n_ranks, int32_t rank, uint64_t seed, int64_t most) {
    uint64_t state = seed;
    memset(trial, 0, sizeof(*trial));
    CommCall *call = &trial->call;
    call->kind = (CommKind)random_below(&state, COMM_N_KINDS);
    call->combine = (CommCombine)random_below(&state, COMM_N_COMBINES);
    int32_t n = choose_group(trial, n_ranks, &state), number = -1;
    call->number = (int32_t)random_below(&state, n);
    call->number -= call->kind == COMM_SHIFT ? (int32_t)random_below(&state, 2 * n) : 0;
    call->buffers = trial->buffers;
    call->n_buffers =
        call->kind == COMM_BARRIER ? 0 : (int32_t)random_below(&state, MOST_BUFFERS + 1);
    for (int32_t i = 0; i < n; i++) {
        number = (call->group.ranks ? trial->group[i] : i) == rank ? i : number;
    }
    for (int32_t i = 0; i < call->n_buffers; i++) {
        choose_buffer(&trial->buffers[i], call->kind, call->combine, &state, most);
    }
    for (int32_t i = 0; i < call->n_buffers && number >= 0; i++) {
        trial_fill(trial, i, n, number, seed);
    }
    return number >= 0;
}

/* Any nan will do for a nan. */
static bool element_equal(const void *a, const void *b, int64_t i, int32_t dtype) {
    size_t bytes = (size_t)bytes_of[dtype];
    if (memcmp((const char *)a + (size_t)i * bytes, (const char *)b + (size_t)i * bytes, bytes) ==
        0) {
        return true;
    }
    return is_real(dtype) && isnan(value_read(a, i, dtype).real) &&
           isnan(value_read(b, i, dtype).real);
}

bool trial_check(const Trial *trial, char *problem, size_t n_problem) {
    for (int32_t k = 0; k < trial->call.n_buffers; k++) {
        int32_t dtype = trial->buffers[k].dtype;
        int64_t count = (int64_t)trial->out_bytes[k] / bytes_of[dtype];
        for (int64_t i = 0; i < count; i++) {
            if (!element_equal(trial->out[k], trial->expected[k], i, dtype)) {
                Value found = value_read(trial->out[k], i, dtype);
                Value wanted = value_read(trial->expected[k], i, dtype);
                snprintf(problem, n_problem,
                         "buffer %d, element %lld of %lld: %a or %lld, expected %a or %lld", k,
                         (long long)i, (long long)count, found.real, (long long)found.whole,
                         wanted.real, (long long)wanted.whole);
                return false;
            }
        }
        if (((const uint8_t *)trial->out[k])[trial->out_bytes[k]] != 0xa5) {
            snprintf(problem, n_problem, "buffer %d: written behind its end", k);
            return false;
        }
    }
    return true;
}

void trial_free(Trial *trial) {
    for (int i = 0; i < MOST_BUFFERS; i++) {
        free(trial->in[i]);
        free(trial->out[i]);
        free(trial->expected[i]);
    }
}
