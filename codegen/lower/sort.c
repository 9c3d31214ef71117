/* Form "sort": a stable bottom-up merge sort of every line along the axis, values and source
 * indices together, in two pairs of temporaries that hold the lines contiguously. */
#include "codegen/lower/lower.h"

enum { MAX_PASSES = 48 };

typedef struct Sort {
    const Op *op;
    int32_t results[2];           /* values, indices; -1: not asked for */
    int32_t values[2], places[2]; /* temps: current, next */
} Sort;

typedef struct Line {
    const Sort *s;
    const KExpr *base; /* of the line in the temps */
    const KExpr *length;
} Line;

static const KExpr *value_at(KBuild *k, const Line *line, const KExpr *i) {
    const KExpr *at = k_add(k, line->base, i);
    return k_load_here(k, kb_temp_buffer(k, line->s->values[0], true), at);
}

/* Whether a stands strictly before b: the less one, or the greater one if descending; nan is
 * greatest. */
static const KExpr *stands_before(KBuild *k, const Sort *s, const KExpr *a, const KExpr *b) {
    bool descending = sort_descending(s->op);
    const KExpr *greater = descending ? a : b, *less = descending ? b : a;
    if (a->dtype == DT_BOOL) {
        return k_binary(k, OP_and, greater, k_scalar(k, OP_not, &less, 1));
    }
    const KExpr *before = k_binary(k, OP_gt, greater, less);
    if (dtype_is_float(a->dtype)) {
        const KExpr *is_nan = k_scalar(k, OP_isnan, &greater, 1);
        const KExpr *less_nan = k_scalar(k, OP_isnan, &less, 1);
        const KExpr *is_number = k_scalar(k, OP_not, &less_nan, 1);
        before = k_binary(k, OP_or, before, k_binary(k, OP_and, is_nan, is_number));
    }
    return before;
}

static void load_line(KBuild *k, const Line *line, const KExpr **index, int32_t axis) {
    const Size *length = line->s->op->operands[0]->type.dims[axis];
    const KExpr *i = kb_loop(k, KL_VECTOR, k_int(k, 0), line->length, length, "i");
    index[axis] = i;
    const KExpr *at = k_add(k, line->base, i);
    const KExpr *value = elemental_value(k, line->s->op->operands[0], index);
    kb_store(k, kb_temp_buffer(k, line->s->values[0], true), at, value);
    const KExpr *place = k_cast(k, i, DT_I32);
    kb_store(k, kb_temp_buffer(k, line->s->places[0], true), at, place);
    kb_loop_end(k);
}

/* Merges [start, middle) and [middle, end) of the current pair into the next one. */
static void merge_run(KBuild *k, const Line *line, const KExpr *start, const KVar *width) {
    const Sort *s = line->s;
    const KExpr *middle = k_min(k, k_add(k, start, k_get(k, width)), line->length);
    middle = kb_let(k, middle, "middle");
    const KExpr *end = k_min(k, k_add(k, middle, k_get(k, width)), line->length);
    const KVar *i = kb_var(k, DT_I64, "i"), *j = kb_var(k, DT_I64, "j");
    const KVar *right = kb_var(k, DT_BOOL, "right");
    kb_set(k, i, start);
    kb_set(k, j, middle);
    const KExpr *t = kb_loop(k, KL_SERIAL, start, end, NULL, "t");
    kb_set(k, right, k_integer(k, DT_BOOL, 0));
    kb_if(k, k_binary(k, OP_lt, k_get(k, j), end));
    kb_if(k, k_binary(k, OP_ge, k_get(k, i), middle));
    kb_set(k, right, k_integer(k, DT_BOOL, 1));
    kb_else(k);
    const KExpr *theirs = value_at(k, line, k_get(k, j));
    const KExpr *ours = value_at(k, line, k_get(k, i));
    kb_set(k, right, stands_before(k, s, theirs, ours));
    kb_if_end(k);
    kb_if_end(k);
    const KVar *from = kb_var(k, DT_I64, "from");
    const KExpr *left_at = k_get(k, i), *right_at = k_get(k, j);
    kb_set(k, from, k_select(k, k_get(k, right), right_at, left_at));
    const KExpr *old_at = k_add(k, line->base, k_get(k, from));
    const KExpr *place = k_load_here(k, kb_temp_buffer(k, s->places[0], true), old_at);
    const KExpr *at = k_add(k, line->base, t);
    const KExpr *value = value_at(k, line, k_get(k, from));
    kb_store(k, kb_temp_buffer(k, s->values[1], true), at, value);
    kb_store(k, kb_temp_buffer(k, s->places[1], true), at, place);
    kb_if(k, k_get(k, right));
    kb_set(k, j, k_add(k, k_get(k, j), k_int(k, 1)));
    kb_else(k);
    kb_set(k, i, k_add(k, k_get(k, i), k_int(k, 1)));
    kb_if_end(k);
    kb_loop_end(k);
}

static void copy_back(KBuild *k, const Line *line) {
    const Sort *s = line->s;
    const KExpr *t = kb_loop(k, KL_VECTOR, k_int(k, 0), line->length, NULL, "t");
    const KExpr *at = k_add(k, line->base, t);
    const KExpr *value = k_load_here(k, kb_temp_buffer(k, s->values[1], true), at);
    kb_store(k, kb_temp_buffer(k, s->values[0], true), at, value);
    const KExpr *place = k_load_here(k, kb_temp_buffer(k, s->places[1], true), at);
    kb_store(k, kb_temp_buffer(k, s->places[0], true), at, place);
    kb_loop_end(k);
}

static void sort_line(KBuild *k, const Line *line, const Size *length) {
    int64_t n, passes = MAX_PASSES;
    if (size_is_const(length, &n)) {
        for (passes = 0; ((int64_t)1 << passes) < n; passes++) {
        }
    }
    const KVar *width = kb_var(k, DT_I64, "width");
    kb_set(k, width, k_int(k, 1));
    kb_loop(k, KL_SERIAL, k_int(k, 0), k_int(k, passes), NULL, "pass");
    kb_if(k, k_binary(k, OP_lt, k_get(k, width), line->length));
    const KExpr *pair = k_scale_int(k, k_get(k, width), 2);
    const KExpr *runs = k_add(k, line->length, k_sub(k, pair, k_int(k, 1)));
    runs = k_binary(k, OP_floordiv, runs, pair);
    const KExpr *run = kb_loop(k, KL_SERIAL, k_int(k, 0), runs, NULL, "run");
    const KExpr *wide = k_scale_int(k, k_get(k, width), 2);
    const KExpr *start = kb_let(k, k_binary(k, OP_mul, run, wide), "start");
    merge_run(k, line, start, width);
    kb_loop_end(k);
    copy_back(k, line);
    kb_set(k, width, k_scale_int(k, k_get(k, width), 2));
    kb_if_end(k);
    kb_loop_end(k);
}

/* -- blocks of threads: all elements of a pass at once, each finding its place in the merged run by
 * a binary search in the other run of its pair */
/* How many of the other run's elements [low, low + count) stand before `ours`: on the left, ties
 * do; on the right they do not. */
static const KExpr *count_before(KBuild *k, const Sort *s, int32_t from, const KExpr *base,
                                 const KExpr *low, const KExpr *high, const KExpr *ours,
                                 const KExpr *is_left) {
    const KVar *a = kb_var(k, DT_I64, "a"), *b = kb_var(k, DT_I64, "b");
    kb_set(k, a, low);
    kb_set(k, b, high);
    kb_loop(k, KL_SERIAL, k_int(k, 0), k_int(k, MAX_PASSES), NULL, "halving");
    const KExpr *until = k_get(k, b), *since = k_get(k, a);
    kb_if(k, k_binary(k, OP_lt, since, until));
    const KExpr *sum = k_add(k, since, until);
    const KExpr *middle = kb_let(k, k_binary(k, OP_floordiv, sum, k_int(k, 2)), "middle");
    const KExpr *at = k_add(k, base, middle);
    const KExpr *theirs = k_load_here(k, kb_temp_buffer(k, s->values[from], true), at);
    theirs = kb_let(k, theirs, "theirs");
    const KExpr *after = stands_before(k, s, ours, theirs);
    const KExpr *ties = k_scalar(k, OP_not, &after, 1);
    const KExpr *before = k_select(k, is_left, stands_before(k, s, theirs, ours), ties);
    kb_if(k, before);
    kb_set(k, a, k_add(k, middle, k_int(k, 1)));
    kb_else(k);
    kb_set(k, b, middle);
    kb_if_end(k);
    kb_if_end(k);
    kb_loop_end(k);
    return k_sub(k, k_get(k, a), low);
}

/* Merges all pairs of runs of `width` from one pair of temps into the other. */
static void merge_pass(KBuild *k, const Line *line, const Size *length, const KExpr *width,
                       int32_t from) {
    const Sort *s = line->s;
    const KExpr *t = kb_loop(k, KL_INDEPENDENT, k_int(k, 0), line->length, length, "t");
    const KExpr *pair = kb_let(k, k_binary(k, OP_mul, width, k_int(k, 2)), "pair");
    const KExpr *start = k_binary(k, OP_mul, k_binary(k, OP_floordiv, t, pair), pair);
    start = kb_let(k, start, "start");
    const KExpr *middle = kb_let(k, k_min(k, k_add(k, start, width), line->length), "middle");
    const KExpr *end = kb_let(k, k_min(k, k_add(k, middle, width), line->length), "end");
    const KExpr *is_left = kb_let(k, k_binary(k, OP_lt, t, middle), "is_left");
    const KExpr *at = k_add(k, line->base, t);
    const KExpr *ours = k_load_here(k, kb_temp_buffer(k, s->values[from], true), at);
    ours = kb_let(k, ours, "ours");
    const KExpr *place = k_load_here(k, kb_temp_buffer(k, s->places[from], true), at);
    place = kb_let(k, place, "place");
    const KExpr *low = kb_let(k, k_select(k, is_left, middle, start), "low");
    const KExpr *high = kb_let(k, k_select(k, is_left, end, middle), "high");
    const KExpr *others = count_before(k, s, from, line->base, low, high, ours, is_left);
    const KExpr *own = k_sub(k, t, k_select(k, is_left, k_int(k, 0), k_sub(k, middle, start)));
    const KExpr *to = kb_let(k, k_add(k, k_add(k, line->base, own), others), "to");
    kb_store(k, kb_temp_buffer(k, s->values[1 - from], true), to, ours);
    kb_store(k, kb_temp_buffer(k, s->places[1 - from], true), to, place);
    kb_loop_end(k);
}

/* Two passes at a time, so that the sorted line is where it began. */
static void sort_line_block(KBuild *k, const Line *line, const Size *length) {
    int64_t n, passes = MAX_PASSES;
    if (size_is_const(length, &n)) {
        for (passes = 0; ((int64_t)1 << passes) < n; passes++) {
        }
    }
    const KVar *run = kb_var(k, DT_I64, "run");
    kb_set(k, run, k_int(k, 1));
    kb_loop(k, KL_SERIAL, k_int(k, 0), k_int(k, (passes + 1) / 2), NULL, "pass");
    const KExpr *width = kb_let(k, k_get(k, run), "width");
    kb_if(k, k_binary(k, OP_lt, width, line->length));
    merge_pass(k, line, length, width, 0);
    const KExpr *wide = kb_let(k, k_binary(k, OP_mul, width, k_int(k, 2)), "wide");
    merge_pass(k, line, length, wide, 1);
    kb_set(k, run, k_binary(k, OP_mul, width, k_int(k, 4)));
    kb_if_end(k);
    kb_loop_end(k);
}

static void store_line(KBuild *k, const Line *line, const KExpr **index, int32_t axis) {
    const Sort *s = line->s;
    Type type = s->op->operands[0]->type;
    const KExpr *i = kb_loop(k, KL_VECTOR, k_int(k, 0), line->length, type.dims[axis], "i");
    index[axis] = i;
    const KExpr *flat = k_flat(k, type, index), *at = k_add(k, line->base, i);
    for (int32_t r = 0; r < 2; r++) {
        if (s->results[r] >= 0) {
            int32_t temp = r == 0 ? s->values[0] : s->places[0];
            const KExpr *value = k_load_here(k, kb_temp_buffer(k, temp, true), at);
            kb_store(k, kb_result_buffer(k, s->results[r]), flat, value);
        }
    }
    kb_loop_end(k);
}

static void build_sort(KBuild *k, void *user) {
    const Sort *s = user;
    Context *context = kb_context(k);
    Type x = s->op->operands[0]->type;
    int32_t axis = (int32_t)sort_axis(s->op);
    Type lead = type_lead(x, axis), tail = type_tail(x, axis);
    const KExpr *index[TYPE_MAX_RANK];
    const KExpr *a = kb_grid(k, type_elements(context, lead), "lead");
    const KExpr *b = kb_grid(k, type_elements(context, tail), "tail");
    k_unflat(k, lead, a, index);
    k_unflat(k, tail, b, index + axis + 1);
    Line line = {.s = s, .length = k_size(k, x.dims[axis])};
    const KExpr *row = k_add(k, k_scale(k, a, type_elements(context, tail)), b);
    line.base = k_scale(k, row, x.dims[axis]);
    load_line(k, &line, index, axis);
    if (kb_is_block(k)) {
        sort_line_block(k, &line, x.dims[axis]);
    } else {
        sort_line(k, &line, x.dims[axis]);
    }
    store_line(k, &line, index, axis);
    kb_loop_end(k);
    kb_loop_end(k);
}

void lower_sort(KBuild *k) {
    Sort s = {0};
    BLOCK_EACH_OP (kb_fusion(k)->blocks[0], op) {
        s.op = op->code == OP_sort ? op : s.op;
    }
    Type x = s.op->operands[0]->type;
    const Size *elements = type_elements(kb_context(k), x);
    for (int32_t i = 0; i < 2; i++) {
        s.results[i] = lower_root_result(k, s.op->results[i]);
        s.values[i] = kb_temp(k, x.dtype, elements);
        s.places[i] = kb_temp(k, DT_I32, elements);
    }
    kb_kernel(k, "sort", build_sort, &s);
}
