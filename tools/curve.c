/* Loss curves as SVG: faint points for every step, their running mean, evaluations as dots; a
 * logarithmic axis where the values span more than a factor of twenty. */
#include "tools/curve.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { WIDTH = 720, HEIGHT = 400, LEFT = 64, RIGHT = 20, TOP = 36, BOTTOM = 44, MAX_DRAWN = 1500 };

typedef struct Axes {
    double x0, x1, y0, y1; /* ranges shown; y in log10 when `log` */
    bool log;
} Axes;

void curve_add(Curve *curve, CurveSeries series, double x, double y) {
    if (!isfinite(x) || !isfinite(y)) {
        return;
    }
    if (curve->count == curve->capacity) {
        size_t capacity = curve->capacity ? curve->capacity * 2 : 1024;
        CurvePoint *points = realloc(curve->points, capacity * sizeof *points);
        if (!points) {
            return; /* the picture will lack points; training goes on */
        }
        curve->points = points;
        curve->capacity = capacity;
    }
    curve->points[curve->count++] = (CurvePoint){.series = series, .x = x, .y = y};
}

void curve_free(Curve *curve) {
    free(curve->points);
    *curve = (Curve){0};
}

static Axes axes_of(const Curve *curve) {
    Axes axes = {.x0 = INFINITY, .x1 = -INFINITY, .y0 = INFINITY, .y1 = -INFINITY};
    for (size_t i = 0; i < curve->count; i++) {
        axes.x0 = fmin(axes.x0, curve->points[i].x);
        axes.x1 = fmax(axes.x1, curve->points[i].x);
        axes.y0 = fmin(axes.y0, curve->points[i].y);
        axes.y1 = fmax(axes.y1, curve->points[i].y);
    }
    axes.log = axes.y0 > 0 && axes.y1 > 20 * axes.y0;
    if (axes.log) {
        axes.y0 = log10(axes.y0);
        axes.y1 = log10(axes.y1);
    } else if (axes.y0 > 0 && axes.y0 < 0.5 * axes.y1) {
        axes.y0 = 0;
    }
    if (axes.x1 <= axes.x0) {
        axes.x1 = axes.x0 + 1;
    }
    if (axes.y1 <= axes.y0) {
        axes.y1 = axes.y0 + 1;
    }
    return axes;
}

static double place_x(const Axes *axes, double x) {
    return LEFT + (x - axes->x0) / (axes->x1 - axes->x0) * (WIDTH - LEFT - RIGHT);
}

static double place_y(const Axes *axes, double y) {
    double value = axes->log ? log10(fmax(y, 1e-300)) : y;
    return HEIGHT - BOTTOM - (value - axes->y0) / (axes->y1 - axes->y0) * (HEIGHT - TOP - BOTTOM);
}

static void draw_grid(FILE *file, const Axes *axes) {
    for (int i = 0; i <= 4; i++) {
        double share = i / 4.0;
        double value = axes->y0 + share * (axes->y1 - axes->y0);
        double shown = axes->log ? pow(10, value) : value;
        double y = place_y(axes, shown);
        fprintf(file,
                "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n",
                LEFT, WIDTH - RIGHT, y, y, LEFT - 8, y + 4, shown);
        double step = axes->x0 + share * (axes->x1 - axes->x0);
        fprintf(file, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n",
                place_x(axes, step), HEIGHT - BOTTOM + 18, step);
    }
}

static void draw_series(FILE *file, const Curve *curve, const Axes *axes) {
    size_t stride = curve->count / MAX_DRAWN + 1;
    for (size_t i = 0; i < curve->count; i++) {
        const CurvePoint *point = &curve->points[i];
        bool eval = point->series == CURVE_EVAL;
        if (eval || i % stride == 0) {
            fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\" fill=\"%s\"/>\n",
                    place_x(axes, point->x), place_y(axes, point->y), eval ? "3.5" : "1.2",
                    eval ? "#d1495b" : "#b8cbe0");
        }
    }
    fprintf(file, "<polyline fill=\"none\" stroke=\"#1f5f9e\" stroke-width=\"2\" points=\"");
    double mean = 0, weight = 0;
    double keep = 1 - 1 / fmax(2, (double)curve->count / 40);
    for (size_t i = 0; i < curve->count; i++) {
        if (curve->points[i].series != CURVE_TRAIN) {
            continue;
        }
        mean = keep * mean + (1 - keep) * curve->points[i].y;
        weight = keep * weight + (1 - keep);
        if (i % stride == 0) {
            fprintf(file, "%.1f,%.1f ", place_x(axes, curve->points[i].x),
                    place_y(axes, mean / weight));
        }
    }
    fprintf(file, "\"/>\n");
}

char *curve_svg(const Curve *curve, const char *title, size_t *out_length) {
    char *text = NULL;
    FILE *file = open_memstream(&text, out_length);
    if (!file) {
        return NULL;
    }
    Axes axes = axes_of(curve);
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
            "<text x=\"%d\" y=\"20\" font-size=\"14\">%s (blue: training, running mean; red: "
            "evaluation)</text>\n<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>\n",
            WIDTH, HEIGHT, LEFT, title, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8);
    draw_grid(file, &axes);
    draw_series(file, curve, &axes);
    fprintf(file, "</svg>\n");
    bool good = !ferror(file);
    if (fclose(file) != 0 || !good) {
        free(text);
        text = NULL;
    }
    return text;
}
