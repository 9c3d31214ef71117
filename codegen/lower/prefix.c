/* Form "prefix": cumsum. Lines along the axis are independent; when the axis is not the last one,
 * neighbouring lines advance together, their sums in a local array. Floats are summed in f64: a
 * line may be long, and its sums follow one another. */
#include "codegen/lower/lower.h"

typedef struct Prefix {
    const Op *op;
    int32_t result;
} Prefix;

static DType sum_dtype(DType dtype) {
    return dtype_is_float(dtype) ? DT_F64 : dtype_in_register(dtype);
}

/* sum + the element of the operand at the index. */
static const KExpr *sum_with(KBuild *k, const Op *op, const KExpr *const *index, const KExpr *sum) {
    const KExpr *value = elemental_value(k, op->operands[0], index);
    return k_binary(k, OP_add, sum, k_cast(k, value, sum->dtype));
}

static void build_prefix(KBuild *k, void *user) {
    const Prefix *prefix = user;
    const Op *op = prefix->op;
    Context *context = kb_context(k);
    Type x = op->operands[0]->type;
    int32_t axis = (int32_t)cumsum_axis(op);
    bool exclusive = cumsum_exclusive(op);
    Type lead = type_lead(x, axis), tail = type_tail(x, axis);
    const Size *n_tail = type_elements(context, tail), *length = x.dims[axis];
    DType dtype = sum_dtype(x.dtype);
    int64_t width, most = kb_machine(k)->column_tile;
    if (!size_is_const(n_tail, &width) || width > most) {
        width = most;
    }
    width = width < 1 ? 1 : width;
    const KExpr *index[TYPE_MAX_RANK];
    const KExpr *line = kb_grid(k, type_elements(context, lead), "line");
    const Size *tiles = size_cdiv(context, n_tail, size_const(context, width));
    const KExpr *tile = kb_grid(k, tiles, "columns");
    k_unflat(k, lead, line, index);
    const KExpr *begin = k_scale_int(k, tile, width);
    const KExpr *end = k_min(k, k_add(k, begin, k_int(k, width)), k_size(k, n_tail));
    const KLocal *sums = kb_local(k, dtype, width, "sums");

    const KExpr *j = kb_loop(k, KL_VECTOR, begin, end, n_tail, "j");
    kb_local_store(k, sums, k_sub(k, j, begin), k_constant(k, dtype, 0));
    kb_loop_end(k);
    const KExpr *step = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, length), length, "step");
    index[axis] = step;
    if (cumsum_reverse(op)) {
        const KExpr *last = k_sub(k, k_size(k, length), k_int(k, 1));
        index[axis] = k_sub(k, last, step);
    }
    j = kb_loop(k, KL_VECTOR, begin, end, n_tail, "j");
    k_unflat(k, tail, j, index + axis + 1);
    const KExpr *place = k_sub(k, j, begin);
    const KExpr *before = k_local(k, sums, place);
    before = kb_let(k, before, "before");
    const KExpr *after = kb_let(k, sum_with(k, op, index, before), "after");
    kb_local_store(k, sums, place, after);
    const KExpr *value = k_cast(k, exclusive ? before : after, dtype_in_register(x.dtype));
    const KExpr *at = k_flat(k, x, index);
    kb_store(k, kb_result_buffer(k, prefix->result), at, value);
    kb_loop_end(k);
    kb_loop_end(k);
    kb_loop_end(k);
    kb_loop_end(k);
}

/* -- blocks of threads */
/* Adds the value at a step of its line to the sum; what the result there is. */
static const KExpr *prefix_step(KBuild *k, const Prefix *prefix, const KExpr **index,
                                const KExpr *step, const KVar *sum) {
    const Op *op = prefix->op;
    Type x = op->operands[0]->type;
    int32_t axis = (int32_t)cumsum_axis(op);
    const KExpr *last = k_sub(k, k_size(k, x.dims[axis]), k_int(k, 1));
    index[axis] = cumsum_reverse(op) ? k_sub(k, last, step) : step;
    const KExpr *before = kb_let(k, k_get(k, sum), "before");
    const KExpr *after = kb_let(k, sum_with(k, op, index, before), "after");
    kb_set(k, sum, after);
    return k_cast(k, cumsum_exclusive(op) ? before : after, dtype_in_register(x.dtype));
}

/* Short lines, many lines, or neighbouring ones: a thread's each. */
static void build_prefix_threads(KBuild *k, void *user) {
    const Prefix *prefix = user;
    Context *context = kb_context(k);
    Type x = prefix->op->operands[0]->type;
    int32_t axis = (int32_t)cumsum_axis(prefix->op);
    Type lead = type_lead(x, axis), tail = type_tail(x, axis);
    const Size *one = size_const(context, 1), *length = x.dims[axis];
    LoopPiece pieces[2] = {{.extent = type_elements(context, lead), .stride = one, .key = 1},
                           {.extent = type_elements(context, tail), .stride = one, .key = 2}};
    const KExpr *index[TYPE_MAX_RANK];
    Nest nest = nest_open_tiled(k, pieces, 2, kb_machine(k)->lanes);
    k_unflat(k, lead, pieces[0].var, index);
    k_unflat(k, tail, pieces[1].var, index + axis + 1);
    const KVar *sum = kb_var(k, sum_dtype(x.dtype), "sum");
    kb_set(k, sum, k_constant(k, sum_dtype(x.dtype), 0));
    const KExpr *step = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, length), length, "step");
    const KExpr *value = prefix_step(k, prefix, index, step, sum);
    const KExpr *at = k_flat(k, x, index);
    kb_store(k, kb_result_buffer(k, prefix->result), at, value);
    kb_loop_end(k);
    nest_close(k, &nest);
}

typedef struct Segment {
    const KExpr *number, *from, *until;
} Segment;

/* As many segments of a line as there are threads. */
static Segment open_segment(KBuild *k, const Size *length) {
    Context *context = kb_context(k);
    const Size *threads = size_const(context, kb_machine(k)->threads);
    const Size *each = size_cdiv(context, length, threads);
    Segment segment;
    segment.number =
        kb_loop(k, KL_INDEPENDENT, k_int(k, 0), k_size(k, threads), threads, "segment");
    segment.from = k_scale(k, segment.number, each);
    segment.until = k_min(k, k_add(k, segment.from, k_size(k, each)), k_size(k, length));
    return segment;
}

/* Few long lines: each thread sums a segment, the sums are added up, and each thread goes through
 * its segment again from where the ones before it ended. */
static void build_prefix_segments(KBuild *k, void *user) {
    const Prefix *prefix = user;
    Context *context = kb_context(k);
    Type x = prefix->op->operands[0]->type;
    int32_t axis = (int32_t)cumsum_axis(prefix->op);
    Type lead = type_lead(x, axis), tail = type_tail(x, axis);
    const Size *length = x.dims[axis];
    DType dtype = sum_dtype(x.dtype);
    int64_t threads = kb_machine(k)->threads;
    const KExpr *index[TYPE_MAX_RANK];
    k_unflat(k, lead, kb_grid(k, type_elements(context, lead), "lead"), index);
    k_unflat(k, tail, kb_grid(k, type_elements(context, tail), "tail"), index + axis + 1);
    const KLocal *sums = kb_local(k, dtype, threads, "sums");
    const KLocal *starts = kb_local(k, dtype, threads, "starts");

    Segment segment = open_segment(k, length);
    const KVar *sum = kb_var(k, dtype, "sum");
    kb_set(k, sum, k_constant(k, dtype, 0));
    const KExpr *step = kb_loop(k, KL_SERIAL, segment.from, segment.until, length, "step");
    prefix_step(k, prefix, index, step, sum);
    kb_loop_end(k);
    kb_local_store(k, sums, segment.number, k_get(k, sum));
    kb_loop_end(k);

    const KVar *total = kb_var(k, dtype, "total");
    kb_set(k, total, k_constant(k, dtype, 0));
    const Size *count = size_const(context, threads);
    const KExpr *i = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, count), count, "i");
    kb_local_store(k, starts, i, k_get(k, total));
    const KExpr *more = k_local(k, sums, i);
    kb_set(k, total, k_binary(k, OP_add, k_get(k, total), more));
    kb_loop_end(k);

    segment = open_segment(k, length);
    const KVar *running = kb_var(k, dtype, "running");
    kb_set(k, running, k_local(k, starts, segment.number));
    step = kb_loop(k, KL_SERIAL, segment.from, segment.until, length, "step");
    const KExpr *value = prefix_step(k, prefix, index, step, running);
    const KExpr *at = k_flat(k, x, index);
    kb_store(k, kb_result_buffer(k, prefix->result), at, value);
    kb_loop_end(k);
    kb_loop_end(k);
    kb_loop_end(k);
    kb_loop_end(k);
}

static void lower_prefix_block(KBuild *k, Prefix *prefix) {
    Type x = prefix->op->operands[0]->type;
    int32_t axis = (int32_t)cumsum_axis(prefix->op);
    double lines = 1, threads = kb_machine(k)->threads;
    double length = (double)size_nominal(x.dims[axis], UNSET_SIZE);
    for (int32_t i = 0; i < x.rank; i++) {
        lines *= i == axis ? 1 : (double)size_nominal(x.dims[i], UNSET_SIZE);
    }
    bool segments = length >= 4 * threads && lines * 8 < length * kb_machine(k)->processors;
    kb_kernel(k, "cumsum", segments ? build_prefix_segments : build_prefix_threads, prefix);
}

void lower_prefix(KBuild *k) {
    Prefix prefix = {0};
    BLOCK_EACH_OP (kb_fusion(k)->blocks[0], op) {
        prefix.op = op->code == OP_cumsum ? op : prefix.op;
    }
    prefix.result = lower_root_result(k, prefix.op->results[0]);
    if (kb_is_block(k)) {
        lower_prefix_block(k, &prefix);
        return;
    }
    kb_kernel(k, "cumsum", build_prefix, &prefix);
}
