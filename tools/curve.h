/* Loss curves: points collected while training, drawn as an SVG picture. */
#ifndef DLC_TOOLS_CURVE_H
#define DLC_TOOLS_CURVE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum CurveSeries { CURVE_TRAIN, CURVE_EVAL } CurveSeries;

typedef struct CurvePoint {
    CurveSeries series;
    double x, y;
} CurvePoint;

typedef struct Curve { /* zeroed to begin with */
    CurvePoint *points;
    size_t count, capacity;
} Curve;

void curve_add(Curve *curve, CurveSeries series, double x,
               double y); /* non-finite points are dropped */
void curve_free(Curve *curve);
/* The picture's text, which the caller frees; NULL: out of memory. */
char *curve_svg(const Curve *curve, const char *title, size_t *out_length);

#endif
