/* What the files of axis functions share: named axes, and a call under way. Private to
 * elaborate_axis*.c. */
#ifndef DLC_FRONTEND_ELABORATE_AXIS_H
#define DLC_FRONTEND_ELABORATE_AXIS_H

#include "frontend/elaborate/elaborate.h"

enum { MAX_NAMES = 64 };

typedef struct AxisName {
    const char *name; /* interned; ellipsis axes are "...0" from the right */
    const Size *size; /* NULL: not known yet */
    Place place;
} AxisName;

/* A tensor whose axes carry names (indices into the table). */
typedef struct Labelled {
    Value *value;
    int32_t rank;
    int32_t labels[TYPE_MAX_RANK];
    bool weak;
} Labelled;

typedef struct AxisCall {
    Elaborator *el;
    const AstExpr *expr;
    Place place;
    AxisName names[MAX_NAMES];
    int32_t n_names;
    int32_t n_rest; /* axes that `...` stands for */
    int32_t right[MAX_NAMES];
    int32_t n_right;
    bool failed;
} AxisCall;

/* axis_sides.c: reading the two sides */
void axis_read_sizes(AxisCall *c, const AstAxisTerms *terms);
bool axis_check_rank(AxisCall *c, const AstAxisSide *side, Val operand, Place place);
/* Learns sizes from one operand: plain names in the first visit, groups in the second. */
void axis_visit_operand(AxisCall *c, const AstAxisSide *side, Val operand, bool groups);
/* The operand as a tensor with one axis a name. */
bool axis_take_apart(AxisCall *c, const AstAxisSide *side, Val operand, Labelled *out);
void axis_right_term(AxisCall *c, const AstAxisTerm *term);

#endif
