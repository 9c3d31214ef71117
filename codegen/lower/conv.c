/* Form "conv": a convolution or one of its two gradients as a matrix product that never builds the
 * unfolded image: the operand seen through the window comes in lines, whose runs inside the image
 * are found once per row of pixels, so that the copying loops hold no guards. (For a block of
 * threads it comes element by element, each thread finding its own.) conv y[o, p]      =
 * sum over (c, j) of w[o, (c, j)]  * x[c, p s + j d - low] conv_input_grad   dx[c, q]     = sum
 * over (o, j) of w[(o, j), c]  * dy[o, (q + low - j d) / s] conv_weight_grad  dw[o, (c,j)] = sum
 * over (n, p) of dy[o, (n, p)] * x[c, n, p s + j d - low] */
#include "codegen/lower/elemental_impl.h"
#include "codegen/lower/gemm.h"
#include "codegen/lower/lower.h"
#include "codegen/lower/root.h"
#include "ir/build.h"
#include <string.h>

typedef struct Conv {
    Gemm gemm;
    const Op *op;
    ConvAttrs attrs;
    Type x, w, dy;                /* of the convolution the op belongs to */
    const Value *source;          /* what is seen through the window: x, or dy */
    const Value *other;           /* w, or dy for the weight gradient */
    const Size *per_out, *per_in; /* channels of a group */
    Type space;                   /* the places a line runs over, without the image */
    Type window;                  /* channel of the group, then the kernel's axes */
    bool has_images;              /* lines run over (image, place) */
    bool transposed;              /* the window steps backwards: the input gradient */
    RootPath path;
} Conv;

static Type tail_type(KBuild *k, const Size *first, Type from) {
    const Size *dims[TYPE_MAX_RANK];
    int32_t rank = 0;
    if (first) {
        dims[rank++] = first;
    }
    for (int32_t i = 2; i < from.rank; i++) {
        dims[rank++] = from.dims[i];
    }
    return type_make(kb_context(k), from.dtype, rank, dims);
}

static const KExpr *clamp(KBuild *k, const KExpr *value, const KExpr *low, const KExpr *high) {
    value = k_min(k, value, high);
    return k_max(k, value, low);
}

static const KExpr *floor_div(KBuild *k, const KExpr *value, int64_t by) {
    const KExpr *quotient, *rest;
    k_divmod(k, value, size_const(kb_context(k), by), &quotient, &rest);
    return quotient;
}

static const KExpr *both(KBuild *k, const KExpr *condition, const KExpr *at, const Size *n) {
    condition = k_and(k, condition, k_le(k, k_int(k, 0), at));
    return k_and(k, condition, k_lt(k, at, k_size(k, n)));
}

/* -- one run of places along the last axis */
typedef struct Run {
    const GemmLine *line;
    const KExpr *base;                 /* in the line's local, of place 0 of this row of places */
    const KExpr *from, *to;            /* places of the last axis */
    const KExpr *index[TYPE_MAX_RANK]; /* in the source; the last axis is set by the loops */
    const KExpr *inside; /* the axes before the last one are in the image; NULL: always */
    const KExpr *tap;    /* kernel's place along the last axis */
} Run;

static void fill_zero(KBuild *k, const Conv *conv, const Run *run, const KExpr *from,
                      const KExpr *to, const Size *extent) {
    const KExpr *q = kb_loop(k, KL_SERIAL, from, to, extent, "z");
    kb_local_store(k, run->line->local, k_add(k, run->base, q), k_constant(k, conv->gemm.dtype, 0));
    kb_loop_end(k);
}

/* Reads at the place `at` along the last axis, into place q of the line. */
static void copy_one(KBuild *k, const Conv *conv, Run *run, const KExpr *q, const KExpr *at) {
    run->index[conv->source->type.rank - 1] = at;
    const KExpr *value = elemental_value(k, conv->source, run->index);
    value = k_cast(k, value, conv->gemm.dtype);
    kb_local_store(k, run->line->local, k_add(k, run->base, q), value);
}

/* Source place = step * q + shift, inside for q in [low, high): zeros, copies, zeros. */
static void run_forward(KBuild *k, const Conv *conv, Run *run, int64_t step, const KExpr *shift) {
    int32_t last = conv->attrs.n_spatial - 1;
    const Size *extent = conv->space.dims[last];
    const Size *n = conv->source->type.dims[conv->source->type.rank - 1];
    const KExpr *low = floor_div(k, k_sub(k, k_int(k, step - 1), shift), step);
    const KExpr *most = k_sub(k, k_size(k, n), k_add(k, shift, k_int(k, 1)));
    const KExpr *high = k_add(k, floor_div(k, most, step), k_int(k, 1));
    low = clamp(k, low, run->from, run->to);
    if (run->inside) {
        low = k_select(k, run->inside, low, run->to);
    }
    low = kb_let(k, low, "low");
    high = kb_let(k, clamp(k, high, low, run->to), "high");
    fill_zero(k, conv, run, run->from, low, extent);
    const KExpr *q = kb_loop(k, KL_VECTOR, low, high, extent, "q");
    copy_one(k, conv, run, q, k_add(k, k_scale_int(k, q, step), shift));
    kb_loop_end(k);
    fill_zero(k, conv, run, high, run->to, extent);
}

/* Place q of the line comes from t where q = step * t - shift: zeros, then every step-th one. */
static void run_strided(KBuild *k, const Conv *conv, Run *run, int64_t step, const KExpr *shift) {
    int32_t last = conv->attrs.n_spatial - 1;
    const Size *n = conv->source->type.dims[conv->source->type.rank - 1];
    fill_zero(k, conv, run, run->from, run->to, conv->space.dims[last]);
    const KExpr *first = k_add(k, k_add(k, run->from, shift), k_int(k, step - 1));
    const KExpr *beyond = k_add(k, k_add(k, run->to, shift), k_int(k, step - 1));
    const KExpr *zero = k_int(k, 0), *limit = k_size(k, n);
    const KExpr *low = clamp(k, floor_div(k, first, step), zero, limit);
    const KExpr *high = clamp(k, floor_div(k, beyond, step), zero, limit);
    high = run->inside ? k_select(k, run->inside, high, low) : high;
    low = kb_let(k, low, "low");
    high = kb_let(k, high, "high");
    const KExpr *t = kb_loop(k, KL_VECTOR, low, high, n, "t");
    copy_one(k, conv, run, k_sub(k, k_scale_int(k, t, step), shift), t);
    kb_loop_end(k);
}

/* Sets the source's place along a spatial axis before the last one. */
static void place_outer(KBuild *k, const Conv *conv, Run *run, int32_t axis, const KExpr *place,
                        const KExpr *tap) {
    const ConvAttrs *attrs = &conv->attrs;
    const KExpr *at;
    if (!conv->transposed) {
        at = k_scale_int(k, place, attrs->stride[axis]);
        at = k_add(k, at, k_scale_int(k, tap, attrs->dilation[axis]));
        at = k_sub(k, at, k_int(k, attrs->low[axis]));
    } else {
        const KExpr *rest;
        at = k_add(k, place, k_int(k, attrs->low[axis]));
        at = k_sub(k, at, k_scale_int(k, tap, attrs->dilation[axis]));
        k_divmod(k, at, size_const(kb_context(k), attrs->stride[axis]), &at, &rest);
        run->inside = k_and(k, run->inside, k_le(k, rest, k_int(k, 0)));
    }
    at = kb_let(k, at, "at");
    run->inside = both(k, run->inside, at, conv->source->type.dims[2 + axis]);
    run->index[2 + axis] = at;
}

/* Opens the loop over the rows of places that the line touches; sets from, to and base. */
static const KExpr *open_rows(KBuild *k, const GemmLine *line, const Size *length, Run *run) {
    const KExpr *first, *last, *rest, *n = k_size(k, length);
    const KExpr *end = kb_let(k, k_add(k, line->start, line->count), "end");
    k_divmod(k, line->start, length, &first, &rest);
    k_divmod(k, k_sub(k, end, k_int(k, 1)), length, &last, &rest);
    const KExpr *row = kb_loop(k, KL_SERIAL, first, k_add(k, last, k_int(k, 1)), NULL, "row");
    const KExpr *begin = k_scale(k, row, length);
    run->line = line;
    run->base = k_add(k, line->offset, k_sub(k, begin, line->start));
    run->from = kb_let(k, k_max(k, k_sub(k, line->start, begin), k_int(k, 0)), "from");
    run->to = kb_let(k, k_min(k, k_sub(k, end, begin), n), "to");
    return row;
}

/* A line of the windowed operand: `fixed` names channel and kernel place, the line runs over
 * places. */
static void window_line(KBuild *k, const Gemm *gemm, const GemmLine *line) {
    const Conv *conv = gemm->user;
    const ConvAttrs *attrs = &conv->attrs;
    Context *context = kb_context(k);
    int32_t last = attrs->n_spatial - 1;
    const KExpr *taps[TYPE_MAX_RANK], *image = NULL, *group, *places[TYPE_MAX_RANK];
    k_unflat(k, conv->window, line->fixed, taps);
    for (int32_t i = 0; i <= attrs->n_spatial; i++) {
        taps[i] = kb_let(k, taps[i], "tap");
    }
    Run run = {0};
    const KExpr *row = open_rows(k, line, conv->space.dims[last], &run);
    if (conv->has_images) {
        group = line->batch;
        k_divmod(k, row, size_product(context, conv->space.dims, 0, last), &image, &row);
        row = kb_let(k, row, "row");
    } else {
        k_divmod(k, line->batch, size_const(context, attrs->groups), &image, &group);
    }
    Type outer = {conv->space.dtype, last, conv->space.dims};
    k_unflat(k, outer, row, places);
    run.index[0] = kb_let(k, image, "image");
    run.index[1] = kb_let(k, k_add(k, k_scale(k, group, conv->window.dims[0]), taps[0]), "channel");
    for (int32_t i = 0; i < last; i++) {
        place_outer(k, conv, &run, i, places[i], taps[1 + i]);
    }
    if (run.inside && !k_is_true(run.inside)) {
        run.inside = kb_let(k, run.inside, "inside");
    }
    const KExpr *reach = k_scale_int(k, taps[1 + last], attrs->dilation[last]);
    const KExpr *shift = k_sub(k, reach, k_int(k, attrs->low[last]));
    if (!conv->transposed) {
        run_forward(k, conv, &run, attrs->stride[last], shift);
    } else {
        shift = k_sub(k, k_int(k, 0), shift);
        if (attrs->stride[last] == 1) {
            run_forward(k, conv, &run, 1, shift);
        } else {
            run_strided(k, conv, &run, attrs->stride[last], shift);
        }
    }
    kb_loop_end(k);
}

/* The weight gradient's dy: `fixed` is the channel, the line runs over (image, place). */
static void dy_line(KBuild *k, const Gemm *gemm, const GemmLine *line) {
    const Conv *conv = gemm->user;
    const Size *per_image = type_elements(kb_context(k), conv->space);
    Run run = {0};
    const KExpr *index[TYPE_MAX_RANK];
    index[0] = open_rows(k, line, per_image, &run);
    index[1] = kb_let(k, k_add(k, k_scale(k, line->batch, conv->per_out), line->fixed), "channel");
    const KExpr *q = kb_loop(k, KL_VECTOR, run.from, run.to, per_image, "q");
    k_unflat(k, conv->space, q, index + 2);
    const KExpr *value = elemental_value(k, conv->other, index);
    value = k_cast(k, value, gemm->dtype);
    kb_local_store(k, line->local, k_add(k, run.base, q), value);
    kb_loop_end(k);
    kb_loop_end(k);
}

/* -- elements, for blocks of threads: rows or depth run over (image, place) */
static void split_place(KBuild *k, const Conv *conv, const KExpr *flat, const KExpr **image,
                        const KExpr **places) {
    const KExpr *rest;
    k_divmod(k, flat, type_elements(kb_context(k), conv->space), image, &rest);
    k_unflat(k, conv->space, rest, places);
}

/* Source place of a window's place and tap along a spatial axis; narrows `inside` to where it is in
 * the image. */
static const KExpr *source_place(KBuild *k, const Conv *conv, int32_t axis, const KExpr *place,
                                 const KExpr *tap, const KExpr **inside) {
    const ConvAttrs *attrs = &conv->attrs;
    const KExpr *reach = k_scale_int(k, tap, attrs->dilation[axis]), *at, *rest;
    if (!conv->transposed) {
        at = k_add(k, k_scale_int(k, place, attrs->stride[axis]), reach);
        at = k_sub(k, at, k_int(k, attrs->low[axis]));
    } else {
        at = k_sub(k, k_add(k, place, k_int(k, attrs->low[axis])), reach);
        k_divmod(k, at, size_const(kb_context(k), attrs->stride[axis]), &at, &rest);
        *inside = k_and(k, *inside, k_le(k, rest, k_int(k, 0)));
    }
    *inside = both(k, *inside, at, conv->source->type.dims[2 + axis]);
    return at;
}

static const KExpr *window_value(KBuild *k, const Conv *conv, const KExpr *group,
                                 const KExpr *window, const KExpr *flat) {
    const KExpr *taps[TYPE_MAX_RANK], *places[TYPE_MAX_RANK], *index[TYPE_MAX_RANK];
    const KExpr *inside = k_integer(k, DT_BOOL, 1);
    k_unflat(k, conv->window, window, taps);
    split_place(k, conv, flat, &index[0], places);
    index[1] = k_add(k, k_scale(k, group, conv->window.dims[0]), taps[0]);
    for (int32_t i = 0; i < conv->attrs.n_spatial; i++) {
        index[2 + i] = source_place(k, conv, i, places[i], taps[1 + i], &inside);
    }
    const KExpr *zero = k_constant(k, conv->source->type.dtype, 0);
    return elemental_guarded(k, inside, conv->source, index, zero);
}

static const KExpr *window_by_place(KBuild *k, const Gemm *gemm, const KExpr *batch,
                                    const KExpr *row, const KExpr *depth) {
    return window_value(k, gemm->user, batch, depth, row);
}

static const KExpr *window_by_tap(KBuild *k, const Gemm *gemm, const KExpr *batch, const KExpr *row,
                                  const KExpr *depth) {
    return window_value(k, gemm->user, batch, row, depth);
}

static const KExpr *dy_element(KBuild *k, const Gemm *gemm, const KExpr *batch, const KExpr *row,
                               const KExpr *depth) {
    const Conv *conv = gemm->user;
    const KExpr *index[TYPE_MAX_RANK];
    split_place(k, conv, depth, &index[0], index + 2);
    index[1] = k_add(k, k_scale(k, batch, conv->per_out), row);
    return elemental_value(k, conv->other, index);
}

/* -- elements */
static const KExpr *weight_element(KBuild *k, const Gemm *gemm, const KExpr *batch,
                                   const KExpr *row, const KExpr *depth) {
    const Conv *conv = gemm->user;
    const KExpr *index[TYPE_MAX_RANK], *image, *group, *taps[TYPE_MAX_RANK];
    k_divmod(k, batch, size_const(kb_context(k), conv->attrs.groups), &image, &group);
    group = conv->has_images ? batch : group;
    k_unflat(k, conv->window, depth, taps);
    const KExpr *out = conv->transposed ? taps[0] : row;
    index[0] = k_add(k, k_scale(k, group, conv->per_out), out);
    index[1] = conv->transposed ? row : taps[0];
    for (int32_t i = 0; i < conv->attrs.n_spatial; i++) {
        index[2 + i] = taps[1 + i];
    }
    return elemental_value(k, conv->other, index);
}

/* The windowed operand where the window is a single place: pixels stay together. */
static const KExpr *pixel_element(KBuild *k, const Gemm *gemm, const KExpr *batch, const KExpr *row,
                                  const KExpr *depth) {
    const Conv *conv = gemm->user;
    const KExpr *index[TYPE_MAX_RANK], *group;
    k_divmod(k, batch, size_const(kb_context(k), conv->attrs.groups), &index[0], &group);
    index[1] = k_add(k, k_scale(k, group, conv->window.dims[0]), depth);
    k_unflat(k, conv->space, row, index + 2);
    return elemental_value(k, conv->source, index);
}

static void finish_image(KBuild *k, const Gemm *gemm, const KExpr *batch, const KExpr *m,
                         const KExpr *n, const KExpr *value) {
    const Conv *conv = gemm->user;
    const KExpr *index[TYPE_MAX_RANK], *group;
    k_divmod(k, batch, size_const(kb_context(k), conv->attrs.groups), &index[0], &group);
    index[1] = k_add(k, k_scale(k, group, gemm->m), m);
    k_unflat(k, conv->space, n, index + 2);
    root_finish(k, &conv->path, index, value);
}

static void finish_images(KBuild *k, const Gemm *gemm, const KExpr *batch, const KExpr *m,
                          const KExpr *n, const KExpr *value) {
    const Conv *conv = gemm->user;
    const KExpr *index[TYPE_MAX_RANK];
    split_place(k, conv, n, &index[0], index + 2);
    index[1] = k_add(k, k_scale(k, batch, gemm->m), m);
    root_finish(k, &conv->path, index, value);
}

static void finish_weight(KBuild *k, const Gemm *gemm, const KExpr *batch, const KExpr *m,
                          const KExpr *n, const KExpr *value) {
    const Conv *conv = gemm->user;
    const KExpr *index[TYPE_MAX_RANK];
    index[0] = k_add(k, k_scale(k, batch, gemm->m), m);
    k_unflat(k, conv->window, n, index + 1);
    root_finish(k, &conv->path, index, value);
}

static bool is_pointwise(const Conv *conv) {
    for (int32_t i = 0; i < conv->attrs.n_spatial; i++) {
        if (!size_is_one(conv->w.dims[2 + i]) || conv->attrs.stride[i] != 1 ||
            conv->attrs.low[i] != 0 || conv->attrs.high[i] != 0) {
            return false;
        }
    }
    return true;
}

/* conv and conv_input_grad: one product per image and group. */
static void plan_image(KBuild *k, Conv *conv) {
    Context *context = kb_context(k);
    Gemm *gemm = &conv->gemm;
    const Size *groups = size_const(context, conv->attrs.groups);
    conv->space = tail_type(k, NULL, conv->transposed ? conv->x : conv->dy);
    conv->window = tail_type(k, conv->transposed ? conv->per_out : conv->per_in, conv->w);
    gemm->batch = size_mul(context, conv->x.dims[0], groups);
    gemm->m = conv->transposed ? conv->per_in : conv->per_out;
    gemm->n = type_elements(context, conv->space);
    gemm->depth = type_elements(context, conv->window);
    gemm->a = (GemmSide){.element = weight_element};
    gemm->a.order = conv->transposed ? GEMM_SCATTERED : GEMM_BY_DEPTH;
    gemm->b = (GemmSide){.order = GEMM_BY_ROW, .line = window_line};
    if (is_pointwise(conv)) {
        gemm->b = (GemmSide){.order = GEMM_BY_ROW, .element = pixel_element};
        gemm->a.order = conv->transposed ? GEMM_BY_ROW : GEMM_BY_DEPTH;
    }
    gemm->finish = finish_image;
}

/* The same for a block of threads: one product per group, all images side by side. */
static void plan_images(KBuild *k, Conv *conv) {
    plan_image(k, conv);
    Context *context = kb_context(k);
    Gemm *gemm = &conv->gemm;
    conv->has_images = true;
    gemm->batch = size_const(context, conv->attrs.groups);
    gemm->n = size_mul(context, conv->x.dims[0], type_elements(context, conv->space));
    gemm->b = (GemmSide){.order = GEMM_BY_ROW, .element = window_by_place};
    gemm->a.order = conv->transposed && is_pointwise(conv) ? GEMM_BY_ROW : GEMM_BY_DEPTH;
    gemm->finish = finish_images;
}

/* conv_weight_grad: one product per group, summed over all images and places. */
static void plan_weight(KBuild *k, Conv *conv) {
    Context *context = kb_context(k);
    Gemm *gemm = &conv->gemm;
    conv->has_images = true;
    conv->space = tail_type(k, NULL, conv->dy);
    conv->window = tail_type(k, conv->per_in, conv->w);
    gemm->batch = size_const(context, conv->attrs.groups);
    gemm->m = conv->per_out;
    gemm->n = type_elements(context, conv->window);
    gemm->depth = size_mul(context, conv->x.dims[0], type_elements(context, conv->space));
    gemm->a = (GemmSide){.order = GEMM_BY_DEPTH, .line = dy_line};
    gemm->b = (GemmSide){.order = GEMM_BY_DEPTH, .line = window_line};
    if (kb_is_block(k)) {
        gemm->a = (GemmSide){.order = GEMM_BY_DEPTH, .element = dy_element};
        gemm->b = (GemmSide){.order = GEMM_BY_DEPTH, .element = window_by_tap};
    }
    gemm->finish = finish_weight;
}

void lower_conv(KBuild *k) {
    const Op *op = root_find(k, KIND_CONVOLUTION);
    Context *context = kb_context(k);
    Conv conv = {.op = op, .attrs = conv_attrs_of(op)};
    const Value *a = op->operands[0], *b = op->operands[1];
    Type result = op->results[0]->type;
    conv.transposed = op->code == OP_conv_input_grad;
    conv.source = a;
    conv.other = b;
    conv.x = conv.transposed ? result : a->type;
    conv.w = op->code == OP_conv_weight_grad ? result : b->type;
    conv.dy = op->code == OP_conv ? result : conv.transposed ? a->type : b->type;
    const Size *groups = size_const(context, conv.attrs.groups);
    conv.per_out = size_floordiv(context, conv.w.dims[0], groups);
    conv.per_in = conv.w.dims[1];
    conv.gemm = (Gemm){.name = root_name(k, op), .user = &conv};
    conv.gemm.dtype = dtype_in_register(result.dtype);
    conv.gemm.panel = a->type.dtype == b->type.dtype ? a->type.dtype : conv.gemm.dtype;
    const char *precision = op_precision(op);
    conv.gemm.tf32 = precision && strcmp(precision, "tf32") == 0;
    if (op->code == OP_conv_weight_grad) {
        plan_weight(k, &conv);
    } else if (kb_is_block(k)) {
        plan_images(k, &conv);
    } else {
        plan_image(k, &conv);
    }
    conv.path = root_path(k, op);
    gemm_lower(k, &conv.gemm);
    root_rest(k, &conv.path);
}
