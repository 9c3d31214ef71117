/* Boxes: areas, overlaps, and the functions that give a count beside a padded result. */
#include "tests/std/model.h"

#include <math.h>
#include <string.h>

enum { BOXES = 6 };

/* Box i: a corner from x, sides of at least 1/2. */
static void corners(const Array *x, int64_t i, double out[4]) {
    const double *v = x->v + i * 4;
    out[0] = v[0];
    out[1] = v[1];
    out[2] = v[0] + fabs(v[2]) + 0.5;
    out[3] = v[1] + fabs(v[3]) + 0.5;
}
static double area(const double *b) {
    return (b[2] - b[0]) * (b[3] - b[1]);
}
static double overlap(const Array *x, int64_t i, int64_t j) {
    double a[4], b[4];
    corners(x, i, a);
    corners(x, j, b);
    double w = fmin(a[2], b[2]) - fmax(a[0], b[0]), h = fmin(a[3], b[3]) - fmax(a[1], b[1]);
    double both = w > 0 && h > 0 ? w * h : 0;
    return both / (area(a) + area(b) - both);
}
static void r_area(Model *model, const Array *y, double *out) {
    double b[4];
    for (int64_t i = 0; i < y->n; i++) {
        corners(model_input(model, "x"), i, b);
        out[i] = area(b);
    }
}
static void r_iou(Model *model, const Array *y, double *out) {
    for (int64_t i = 0; i < y->n; i++) {
        out[i] = overlap(model_input(model, "x"), i / BOXES, i % BOXES);
    }
}
/* Indices, then the count. */
static void r_nonzero(Model *model, const Array *y, double *out) {
    const Array *v = model_input(model, "v");
    int64_t most = y->n - 1, n = 0;
    for (int64_t i = 0; i < v->n && n < most; i++) {
        if (v->v[i] > 0) {
            out[n++] = (double)i;
        }
    }
    out[most] = (double)n;
}
static void r_nms(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x"), *s = model_input(model, "s");
    bool done[BOXES] = {false};
    int64_t most = y->n - 1, n = 0;
    for (;;) {
        int64_t best = -1;
        for (int64_t i = 0; i < BOXES; i++) {
            best = !done[i] && (best < 0 || s->v[i] > s->v[best]) ? i : best;
        }
        if (best < 0 || n == most) {
            break;
        }
        for (int64_t i = 0; i < BOXES; i++) {
            done[i] = done[i] || overlap(x, best, i) > 0.2;
        }
        done[best] = true;
        out[n++] = (double)best;
    }
    out[most] = (double)n;
}

#define X    "x: f64[6, 4]"
#define MAKE "boxes = concat(x[:, 0:2], x[:, 0:2] + abs(x[:, 2:4]) + 0.5, axis=1)\n    "
#define JOIN "y = cast(concat(index, {-> 1}(count), axis=0), f64)"
static const Case CASES[] = {
    {"box_area", X, MAKE "y = box_area(boxes)", 0, r_area, NULL},
    {"box_iou", X, MAKE "y = box_iou(boxes, boxes)", 0, r_iou, NULL},
    {"nonzero", "v: f64[9]", "index, count = nonzero(v > 0.0, 7)\n    " JOIN, CASE_VALUES_ONLY,
     r_nonzero, NULL},
    {"nonzero cut", "v: f64[9]", "index, count = nonzero(v > 0.0, 2)\n    " JOIN, CASE_VALUES_ONLY,
     r_nonzero, NULL},
    {"nms", X ", s: f64[6]", MAKE "index, count = nms(boxes, s, 0.2, 6)\n    " JOIN,
     CASE_VALUES_ONLY, r_nms, NULL},
    {"nms cut", X ", s: f64[6]", MAKE "index, count = nms(boxes, s, 0.2, 2)\n    " JOIN,
     CASE_VALUES_ONLY, r_nms, NULL},
};

const Group BOXES_GROUP = {"boxes", CASES, sizeof CASES / sizeof CASES[0], NULL};
