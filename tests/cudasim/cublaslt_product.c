/* The product itself, on the simulated stream: summed in f64, rounded once. */
#include "tests/cudasim/cublaslt.h"

#include "tests/cudasim/library.h"
#include "tests/cudasim/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEW_RANGES = 8 };

static SimNumber number_of(int type) {
    switch (type) {
    case LT_R_64F:
        return SIM_F64;
    case LT_R_32F:
        return SIM_F32;
    case LT_R_16BF:
        return SIM_BF16;
    case LT_R_16F:
        return SIM_F16;
    default:
        return SIM_NO_NUMBER;
    }
}

int lt_width(int type) {
    return number_bytes(number_of(type));
}

static double load(const void *memory, int type, int64_t at) {
    return number_load(number_of(type), (const char *)memory + at * lt_width(type));
}

static void store(void *memory, int type, int64_t at, double value) {
    number_store(number_of(type), (char *)memory + at * lt_width(type), value);
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
