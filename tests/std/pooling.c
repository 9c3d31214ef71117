/* Pooling and resizing. */
#include "tests/std/model.h"

#include <math.h>

typedef struct Pool {
    int64_t kernel[3], stride[3], padding[3], dilation[3];
    bool mean, counts_padding;
} Pool;

/* Greatest or mean of each window of the axes after the first two. */
static void pool(Model *model, const Array *y, Pool p, double *out) {
    const Array *x = model_input(model, "x");
    int64_t xd[3] = {1, 1, 1}, yd[3] = {1, 1, 1};
    for (int32_t i = 2; i < x->rank; i++) {
        xd[3 - x->rank + i] = x->dims[i];
        yd[3 - x->rank + i] = i < y->rank ? y->dims[i] : 1;
    }
    int64_t places = yd[0] * yd[1] * yd[2], taps = p.kernel[0] * p.kernel[1] * p.kernel[2];
    for (int64_t i = 0; i < y->n; i++) {
        int64_t place[3] = {i % places / (yd[1] * yd[2]), i / yd[2] % yd[1], i % yd[2]};
        double sum = 0, most = -INFINITY, n = 0;
        for (int64_t q = 0; q < taps; q++) {
            int64_t tap[3] = {q / (p.kernel[1] * p.kernel[2]), q / p.kernel[2] % p.kernel[1],
                              q % p.kernel[2]};
            int64_t index = i / places;
            bool inside = true;
            for (int a = 0; a < 3; a++) {
                int64_t at = place[a] * p.stride[a] - p.padding[a] + tap[a] * p.dilation[a];
                inside = inside && at >= 0 && at < xd[a];
                index = index * xd[a] + at;
            }
            if (inside) {
                sum += x->v[index];
                most = fmax(most, x->v[index]);
            }
            n += inside || p.counts_padding;
        }
        out[i] = p.mean ? sum / n : most;
    }
}
#define ALL(n)                                                                                     \
    { n, n, n }
#define POOL(name, ...)                                                                            \
    static void r_##name(Model *model, const Array *y, double *out) {                              \
        pool(model, y, (Pool)__VA_ARGS__, out);                                                    \
    }
POOL(max1, {{1, 1, 3}, {1, 1, 2}, {0, 0, 1}, {1, 1, 2}, false, false})
POOL(max2, {{1, 2, 2}, {1, 2, 2}, ALL(0), ALL(1), false, false})
POOL(max2_mixed, {{1, 3, 2}, {1, 2, 1}, {0, 1, 0}, {1, 1, 2}, false, false})
POOL(max3, {ALL(2), {1, 2, 1}, ALL(0), ALL(1), false, false})
POOL(avg1, {{1, 1, 3}, {1, 1, 2}, {0, 0, 1}, ALL(1), true, true})
POOL(avg1_count, {{1, 1, 3}, {1, 1, 2}, {0, 0, 1}, ALL(1), true, false})
POOL(avg2, {{1, 2, 2}, {1, 2, 2}, ALL(0), ALL(1), true, true})
POOL(avg2_count, {{1, 3, 3}, {1, 2, 2}, {0, 1, 1}, ALL(1), true, false})
POOL(avg3, {ALL(2), ALL(1), ALL(0), ALL(1), true, true})
POOL(all_max, {{1, 6, 4}, ALL(1), ALL(0), ALL(1), false, false})
POOL(all_mean, {{1, 6, 4}, ALL(1), ALL(0), ALL(1), true, true})
POOL(adaptive, {{1, 3, 2}, {1, 3, 2}, ALL(0), ALL(1), true, true})

static void r_nearest(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x");
    int64_t h = y->dims[2], w = y->dims[3];
    for (int64_t i = 0; i < y->n; i++) {
        out[i] = x->v[(i / (h * w) * (h / 3) + i / w % h / 3) * (w / 3) + i % w / 3];
    }
}
/* torch.nn.functional.interpolate(mode="bilinear", align_corners=False). */
static void r_bilinear(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x");
    int64_t h = x->dims[2], w = x->dims[3], oh = y->dims[2], ow = y->dims[3];
    for (int64_t i = 0; i < y->n; i++) {
        double ry = fmax(((double)(i / ow % oh) + 0.5) / 2 - 0.5, 0);
        double rx = fmax(((double)(i % ow) + 0.5) / 2 - 0.5, 0);
        int64_t y0 = (int64_t)ry, x0 = (int64_t)rx;
        int64_t y1 = y0 < h - 1 ? y0 + 1 : y0, x1 = x0 < w - 1 ? x0 + 1 : x0;
        double fy = ry - (double)y0, fx = rx - (double)x0;
        const double *plane = x->v + i / (oh * ow) * h * w;
        out[i] = (1 - fy) * ((1 - fx) * plane[y0 * w + x0] + fx * plane[y0 * w + x1]) +
                 fy * ((1 - fx) * plane[y1 * w + x0] + fx * plane[y1 * w + x1]);
    }
}
/* x [B, 8, 3, 2] to [B, 2, 6, 4]. */
static void r_shuffle(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x");
    for (int64_t i = 0; i < y->n; i++) {
        int64_t n = i / 48, c = i / 24 % 2, py = i / 4 % 6, px = i % 4;
        int64_t channel = c * 4 + py % 2 * 2 + px % 2;
        out[i] = x->v[((n * 8 + channel) * 3 + py / 2) * 2 + px / 2];
    }
}
/* x [B, 2, 6, 4] to [B, 8, 3, 2]. */
static void r_unshuffle(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x");
    for (int64_t i = 0; i < x->n; i++) {
        int64_t n = i / 48, c = i / 24 % 2, py = i / 4 % 6, px = i % 4;
        int64_t channel = c * 4 + py % 2 * 2 + px % 2;
        out[((n * 8 + channel) * 3 + py / 2) * 2 + px / 2] = x->v[i];
    }
    (void)y;
}

#define X3 "x: f64[B, 2, 9]"
#define X4 "x: f64[B, 2, 6, 4]"
#define X5 "x: f64[B, 2, 4, 3, 3]"
static const Case CASES[] = {
    {"max_pool1d", X3, "y = max_pool1d(x, 3, stride=2, padding=1, dilation=2)", 0, r_max1, NULL},
    {"max_pool2d", X4, "y = max_pool2d(x, 2)", 0, r_max2, NULL},
    {"max_pool2d mixed", X4,
     "y = max_pool2d(x, [3, 2], stride=[2, 1], padding=[1, 0], dilation=[1, 2])", 0, r_max2_mixed,
     NULL},
    {"max_pool3d", X5, "y = max_pool3d(x, 2, stride=[1, 2, 1])", 0, r_max3, NULL},
    {"avg_pool1d", X3, "y = avg_pool1d(x, 3, stride=2, padding=1)", 0, r_avg1, NULL},
    {"avg_pool1d count", X3, "y = avg_pool1d(x, 3, stride=2, padding=1, count_include_pad=false)",
     0, r_avg1_count, NULL},
    {"avg_pool2d", X4, "y = avg_pool2d(x, 2)", 0, r_avg2, NULL},
    {"avg_pool2d count", X4, "y = avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=false)",
     0, r_avg2_count, NULL},
    {"avg_pool3d", X5, "y = avg_pool3d(x, 2, stride=1)", 0, r_avg3, NULL},
    {"global_avg_pool", X4, "y = global_avg_pool(x)", 0, r_all_mean, NULL},
    {"global_max_pool", X4, "y = global_max_pool(x)", 0, r_all_max, NULL},
    {"adaptive_avg_pool2d", X4, "y = adaptive_avg_pool2d(x, 2)", 0, r_adaptive, NULL},
    {"upsample_nearest2d", X4, "y = upsample_nearest2d(x, scale=3)", 0, r_nearest, NULL},
    {"upsample_bilinear2d", X4, "y = upsample_bilinear2d(x)", 0, r_bilinear, NULL},
    {"resize_linear", X3, "y = resize_linear(x, 5, 2)", 0, NULL, NULL},
    {"pixel_shuffle", "x: f64[B, 8, 3, 2]", "y = pixel_shuffle(x, 2)", 0, r_shuffle, NULL},
    {"pixel_unshuffle", X4, "y = pixel_unshuffle(x, 2)", 0, r_unshuffle, NULL},
};

const Group POOLING = {"pooling", CASES, sizeof CASES / sizeof CASES[0], NULL};
