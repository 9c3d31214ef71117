/* A convolution or a gradient of one, on the simulated stream: summed in f64 and rounded once. */
#include "tests/cudasim/cudnn.h"
#include "tests/cudasim/library.h"
#include "tests/cudasim/number.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_RANGES = 16, GARBAGE = 0xa5 };

static SimNumber number_of(int type) {
    return type == DNN_DATA_DOUBLE  ? SIM_F64
           : type == DNN_DATA_FLOAT ? SIM_F32
           : type == DNN_DATA_HALF  ? SIM_F16
                                    : SIM_BF16;
}

size_t dnn_type_bytes(int type) {
    return (size_t)number_bytes(number_of(type));
}

static int64_t elements(const ConvTensor *t) {
    int64_t n = 1;
    for (int i = 0; i < CONV_RANK; i++) {
        n *= t->dims[i];
    }
    return n;
}

/* Of element `flat` in row-major order; broadcast: axes of one place stay at it. */
static int64_t offset_of(const ConvTensor *shape, const ConvTensor *t, int64_t flat) {
    int64_t offset = 0;
    for (int i = CONV_RANK - 1; i >= 0; i--) {
        int64_t at = flat % shape->dims[i];
        offset += t->dims[i] == 1 ? 0 : at * t->strides[i];
        flat /= shape->dims[i];
    }
    return offset;
}

/* All elements, row-major. */
static double *unpack(const ConvTensor *t) {
    int64_t n = elements(t);
    double *values = malloc((size_t)n * sizeof *values);
    if (!values) {
        abort();
    }
    for (int64_t i = 0; i < n; i++) {
        values[i] = number_load(number_of(t->type),
                                (const char *)t->memory +
                                    offset_of(t, t, i) * (int64_t)dnn_type_bytes(t->type));
    }
    return values;
}

/* One row of y's last axis against one tap: the places q whose pixel is inside. */
typedef struct Row {
    double *x, *y, *w; /* of the row's first pixel, the row, the tap */
    int64_t shift;     /* pixel of place q: q * step + shift */
    int64_t step, places, pixels;
} Row;

static void row_run(int operation, const Row *row) {
    for (int64_t q = 0; q < row->places; q++) {
        int64_t at = q * row->step + row->shift;
        if (at < 0 || at >= row->pixels) {
            continue;
        }
        if (operation == DNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR) {
            row->y[q] += row->x[at] * *row->w;
        } else if (operation == DNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR) {
            row->x[at] += row->y[q] * *row->w;
        } else {
            *row->w += row->y[q] * row->x[at];
        }
    }
}

/* Image n, output channel o, channel c of its group: all taps and rows. */
static void plane_run(const ConvWork *k, double *x, double *w, double *y) {
    const int64_t *xd = k->x.dims, *wd = k->w.dims, *yd = k->y.dims;
    for (int64_t tap = 0; tap < wd[2] * wd[3] * wd[4]; tap++) {
        int64_t j0 = tap / (wd[3] * wd[4]), j1 = tap / wd[4] % wd[3], j2 = tap % wd[4];
        for (int64_t row = 0; row < yd[2] * yd[3]; row++) {
            int64_t at0 = row / yd[3] * k->stride[0] + j0 * k->dilation[0] - k->low[0];
            int64_t at1 = row % yd[3] * k->stride[1] + j1 * k->dilation[1] - k->low[1];
            if (at0 >= 0 && at0 < xd[2] && at1 >= 0 && at1 < xd[3]) {
                Row work = {.x = x + (at0 * xd[3] + at1) * xd[4],
                            .y = y + row * yd[4],
                            .w = w + tap,
                            .shift = j2 * k->dilation[2] - k->low[2],
                            .step = k->stride[2],
                            .places = yd[4],
                            .pixels = xd[4]};
                row_run(k->operation, &work);
            }
        }
    }
}

static void products(const ConvWork *k, double *x, double *w, double *y) {
    const int64_t *xd = k->x.dims, *wd = k->w.dims, *yd = k->y.dims;
    int64_t x_plane = xd[2] * xd[3] * xd[4], w_plane = wd[2] * wd[3] * wd[4];
    int64_t y_plane = yd[2] * yd[3] * yd[4], groups = xd[1] / wd[1], per_out = yd[1] / groups;
    for (int64_t n = 0; n < xd[0]; n++) {
        for (int64_t o = 0; o < yd[1]; o++) {
            for (int64_t c = 0; c < wd[1]; c++) {
                int64_t channel = o / per_out * wd[1] + c;
                plane_run(k, x + (n * xd[1] + channel) * x_plane, w + (o * wd[1] + c) * w_plane,
                          y + (n * yd[1] + o) * y_plane);
            }
        }
    }
}

static double step_apply(const ConvWork *k, const ConvStep *step, int64_t flat, double value) {
    if (step->mode == DNN_POINTWISE_RELU_FWD) {
        return value < 0 ? 0 : value; /* NaN stays */
    }
    const ConvTensor *with = &step->with;
    return value + number_load(number_of(with->type), (const char *)with->memory +
                                                          offset_of(&k->result, with, flat) *
                                                              (int64_t)dnn_type_bytes(with->type));
}

static void conv_run(const void *data) {
    const ConvWork *k = data;
    const ConvTensor *parts[3] = {&k->x, &k->w, &k->y};
    int result = k->operation == DNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR     ? 0
                 : k->operation == DNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR ? 1
                                                                                                : 2;
    double *values[3];
    for (int i = 0; i < 3; i++) {
        values[i] =
            i == result ? calloc((size_t)elements(parts[i]), sizeof(double)) : unpack(parts[i]);
        if (!values[i]) {
            abort();
        }
    }
    products(k, values[0], values[1], values[2]);
    if (k->workspace_bytes > 0) {
        memset(k->workspace, GARBAGE, k->workspace_bytes);
    }
    for (int64_t i = 0; i < elements(&k->result); i++) {
        char *to = (char *)k->result.memory +
                   offset_of(&k->result, &k->result, i) * (int64_t)dnn_type_bytes(k->result.type);
        double value = k->alpha * values[result][i];
        value += k->beta != 0 ? k->beta * number_load(number_of(k->result.type), to) : 0;
        for (int s = 0; s < k->n_steps; s++) {
            value = step_apply(k, &k->steps[s], i, value);
        }
        number_store(number_of(k->result.type), to, value);
    }
    for (int i = 0; i < 3; i++) {
        free(values[i]);
    }
}

/* The tensor's bytes as runs: the axes that lie densely one in another, then one axis of runs; what
 * is strided further is given as one range each. */
static void ranges_add(const ConvTensor *t, bool is_written, SimRange **ranges, int *n) {
    int64_t bytes = (int64_t)dnn_type_bytes(t->type), run = 1, outer = 1;
    int dense = CONV_RANK;
    while (dense > 0 && (t->dims[dense - 1] == 1 || t->strides[dense - 1] == run)) {
        dense--;
        run *= t->dims[dense];
    }
    for (int i = 0; i < dense; i++) {
        outer *= t->dims[i];
    }
    *ranges = realloc(*ranges, (size_t)(*n + outer) * sizeof **ranges);
    if (!*ranges) {
        abort();
    }
    for (int64_t i = 0; i < outer; i++) {
        int64_t offset = 0, rest = i;
        for (int a = dense - 1; a >= 0; a--) {
            offset += rest % t->dims[a] * t->strides[a];
            rest /= t->dims[a];
        }
        (*ranges)[(*n)++] = (SimRange){.address = (char *)t->memory + offset * bytes,
                                       .bytes = (size_t)(run * bytes),
                                       .count = 1,
                                       .is_written = is_written};
    }
}

int conv_queue(void *stream, const ConvWork *work) {
    SimRange *ranges = NULL;
    int n = 0;
    const ConvTensor *parts[3] = {&work->x, &work->w, &work->y};
    for (int i = 0; i < 3; i++) {
        if (parts[i]->memory) {
            ranges_add(parts[i], false, &ranges, &n);
        }
    }
    for (int i = 0; i < work->n_steps; i++) {
        if (work->steps[i].mode == DNN_POINTWISE_ADD) {
            ranges_add(&work->steps[i].with, false, &ranges, &n);
        }
    }
    ranges_add(&work->result, true, &ranges, &n);
    if (work->workspace_bytes > 0) {
        ConvTensor scratch = {.memory = work->workspace,
                              .type = DNN_DATA_HALF,
                              .dims = {1, 1, 1, 1, (int64_t)work->workspace_bytes / 2},
                              .strides = {1, 1, 1, 1, 1}};
        ranges_add(&scratch, true, &ranges, &n);
    }
    SimOperation operation = {.name = "cuDNN convolution",
                              .run = conv_run,
                              .data = work,
                              .n_data = sizeof *work,
                              .ranges = ranges,
                              .n_ranges = n};
    int result = cudasimOperation(stream, &operation);
    free(ranges);
    return result;
}
