/* The product itself, on the simulated stream: summed in f64, rounded once. */
#include "tests/cudasim/cublaslt.h"

#include "tests/cudasim/library.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEW_RANGES = 8 };

int lt_width(int type) {
    switch (type) {
    case LT_R_64F:
        return 8;
    case LT_R_32F:
        return 4;
    case LT_R_16F:
    case LT_R_16BF:
        return 2;
    default:
        return 0;
    }
}

static double half_value(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double value = exponent == 31  ? (fraction ? NAN : INFINITY)
                   : exponent == 0 ? ldexp(fraction, -24)
                                   : ldexp(1024 + fraction, exponent - 25);
    return bits & 0x8000 ? -value : value;
}

static double load(const void *memory, int type, int64_t at) {
    const unsigned char *from = (const unsigned char *)memory + at * lt_width(type);
    double wide;
    float single;
    uint16_t bits;
    uint32_t word;
    switch (type) {
    case LT_R_64F:
        memcpy(&wide, from, sizeof wide);
        return wide;
    case LT_R_32F:
        memcpy(&single, from, sizeof single);
        return single;
    case LT_R_16BF:
        memcpy(&bits, from, sizeof bits);
        word = (uint32_t)bits << 16;
        memcpy(&single, &word, sizeof single);
        return single;
    default:
        memcpy(&bits, from, sizeof bits);
        return half_value(bits);
    }
}

/* To nearest, halves to even: `fraction_bits` behind the point, exponents from `least`. */
static double round_to(double x, int fraction_bits, int least) {
    int exponent;
    if (x == 0 || !isfinite(x)) {
        return x;
    }
    (void)frexp(x, &exponent);
    int unit = exponent - 1 - fraction_bits;
    unit = unit < least - fraction_bits ? least - fraction_bits : unit;
    return ldexp(nearbyint(ldexp(x, -unit)), unit);
}

static uint16_t half_bits(double x) {
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    double value = fabs(round_to(x, 10, -14));
    if (isnan(x)) {
        return 0x7fff;
    }
    if (value >= 65520) {
        return (uint16_t)(sign | 0x7c00);
    }
    if (value < ldexp(1, -14)) {
        return (uint16_t)(sign | (uint16_t)ldexp(value, 24));
    }
    int exponent;
    (void)frexp(value, &exponent);
    int fraction = (int)ldexp(value, 11 - exponent) - 1024;
    return (uint16_t)(sign | (exponent + 14) << 10 | fraction);
}

static void store(void *memory, int type, int64_t at, double value) {
    unsigned char *to = (unsigned char *)memory + at * lt_width(type);
    float single;
    uint16_t bits;
    uint32_t word;
    switch (type) {
    case LT_R_64F:
        memcpy(to, &value, sizeof value);
        return;
    case LT_R_32F:
        single = (float)value;
        memcpy(to, &single, sizeof single);
        return;
    case LT_R_16BF:
        single = isnan(value) ? NAN : (float)round_to(value, 7, -126);
        memcpy(&word, &single, sizeof word);
        bits = (uint16_t)(word >> 16);
        memcpy(to, &bits, sizeof bits);
        return;
    default:
        bits = half_bits(value);
        memcpy(to, &bits, sizeof bits);
        return;
    }
}

/* Element (i, j) of what the matrix stands for, transposed or not, dense by rows. */
static double *dense(const LtMatrix *matrix, bool transposed, int32_t batch) {
    uint64_t rows = transposed ? matrix->columns : matrix->rows;
    uint64_t columns = transposed ? matrix->rows : matrix->columns;
    double *out = malloc((size_t)(rows * columns) * sizeof *out + 1);
    if (!out) {
        abort();
    }
    for (uint64_t i = 0; i < rows; i++) {
        for (uint64_t j = 0; j < columns; j++) {
            int64_t row = (int64_t)(transposed ? j : i), column = (int64_t)(transposed ? i : j);
            out[i * columns + j] =
                load(matrix->memory, matrix->type,
                     batch * matrix->batch_stride + column * matrix->stride + row);
        }
    }
    return out;
}

static double finish(const LtWork *work, double x, int64_t row) {
    if (work->epilogue & LT_EPILOGUE_BIAS) {
        x += load(work->bias, work->bias_type, row);
    }
    if (work->epilogue & LT_EPILOGUE_RELU) {
        return x > 0 ? x : 0;
    }
    if (work->epilogue & LT_EPILOGUE_GELU) {
        return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    }
    return x;
}

static void multiply(const LtWork *work, int32_t batch) {
    int64_t m = (int64_t)work->d.rows, n = (int64_t)work->d.columns;
    int64_t k = (int64_t)(work->transpose_a ? work->a.rows : work->a.columns);
    double *a = dense(&work->a, work->transpose_a, batch);
    double *b = dense(&work->b, work->transpose_b, batch);
    double *row = malloc((size_t)n * sizeof *row + 1);
    if (!row) {
        abort();
    }
    for (int64_t i = 0; i < m; i++) {
        memset(row, 0, (size_t)n * sizeof *row);
        for (int64_t p = 0; p < k; p++) {
            for (int64_t j = 0; j < n; j++) {
                row[j] += a[i * k + p] * b[p * n + j];
            }
        }
        for (int64_t j = 0; j < n; j++) {
            int64_t at = batch * work->d.batch_stride + j * work->d.stride + i;
            double x = work->alpha * row[j];
            if (work->beta != 0) {
                x += work->beta * load(work->c.memory, work->c.type,
                                       batch * work->c.batch_stride + j * work->c.stride + i);
            }
            store(work->d.memory, work->d.type, at, finish(work, x, i));
        }
    }
    free(a);
    free(b);
    free(row);
}

static void product_run(const void *data) {
    const LtWork *work = data;
    for (int32_t batch = 0; batch < work->batch; batch++) {
        multiply(work, batch);
    }
}

static int range_add(const LtMatrix *matrix, int32_t batch, bool written, SimRange *out) {
    size_t width = (size_t)lt_width(matrix->type);
    int n = 0;
    for (int32_t i = 0; i < (matrix->batch_stride == 0 ? 1 : batch); i++) {
        unsigned char *at =
            (unsigned char *)matrix->memory + (size_t)(i * matrix->batch_stride) * width;
        out[n++] = (SimRange){.address = at,
                              .bytes = (size_t)matrix->rows * width,
                              .count = (size_t)matrix->columns,
                              .stride = (size_t)matrix->stride * width,
                              .is_written = written};
    }
    return n;
}

int lt_queue(const LtWork *work, void *stream) {
    SimRange *ranges = calloc(4 * (size_t)work->batch + FEW_RANGES, sizeof *ranges);
    if (!ranges) {
        abort();
    }
    int n = range_add(&work->a, work->batch, false, ranges);
    n += range_add(&work->b, work->batch, false, ranges + n);
    if (work->beta != 0) {
        n += range_add(&work->c, work->batch, false, ranges + n);
    }
    if (work->epilogue & LT_EPILOGUE_BIAS) {
        ranges[n++] = (SimRange){.address = (void *)(uintptr_t)work->bias,
                                 .bytes = (size_t)work->d.rows * (size_t)lt_width(work->bias_type),
                                 .count = 1};
    }
    if (work->workspace_bytes > 0) {
        ranges[n++] = (SimRange){.address = work->workspace,
                                 .bytes = work->workspace_bytes,
                                 .count = 1,
                                 .is_written = true};
    }
    n += range_add(&work->d, work->batch, true, ranges + n);
    SimOperation operation = {.name = "cuBLASLt product",
                              .run = product_run,
                              .data = work,
                              .n_data = sizeof *work,
                              .ranges = ranges,
                              .n_ranges = n};
    int result = cudasimOperation(stream, &operation);
    free(ranges);
    return result;
}
