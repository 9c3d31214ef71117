/* Between whole tensors and ranks' parts of them. Along each axis the part is a list of runs of the
 * whole's positions, in order; what lies within the innermost axis that is cut is one run. */
#include "runtime/session/parts.h"

typedef struct Axis {
    RowRange *runs; /* of positions; not empty ones */
    int64_t n_runs, size;
    int64_t positions; /* of all runs */
} Axis;

typedef struct Copy {
    Axis axes[PLAN_MAX_RANK];
    int32_t n_axes;
    int64_t stride[PLAN_MAX_RANK]; /* bytes from one position of the whole to the next */
    uint8_t *whole, *part;         /* the part's moves on */
    bool to_part;
} Copy;

/* The cut's outer, rows and inner as numbers, which make the axis. */
static bool cut_sizes(const PlanFile *file, const PlanCut *cut, const int64_t *vars, int64_t size,
                      int64_t *outer, int64_t *rows, int64_t *inner) {
    return plan_eval(file, cut->outer, vars, outer) && plan_eval(file, cut->rows, vars, rows) &&
           plan_eval(file, cut->inner, vars, inner) && *outer >= 0 && *rows >= 0 && *inner >= 0 &&
           (*outer == 0 || *rows == 0 || *inner == 0
                ? size == 0
                : *outer <= size / *rows / *inner && *outer * *rows * *inner == size);
}

/* What of the runs lies in the rank's rows of the cut: counted, and with `out` listed. */
static int64_t runs_cut(const Axis *axis, RowRange mine, int64_t outer, int64_t rows, int64_t inner,
                        RowRange *out) {
    int64_t n = 0, k = 0;
    for (int64_t o = 0; o < outer && mine.count > 0; o++) {
        int64_t from = (o * rows + mine.first) * inner, to = from + mine.count * inner;
        while (k < axis->n_runs && axis->runs[k].first + axis->runs[k].count <= from) {
            k++;
        }
        for (int64_t i = k; i < axis->n_runs && axis->runs[i].first < to; i++) {
            const RowRange *run = &axis->runs[i];
            int64_t first = run->first > from ? run->first : from;
            int64_t end = run->first + run->count < to ? run->first + run->count : to;
            if (out) {
                out[n] = (RowRange){first, end - first};
            }
            n++;
        }
    }
    return n;
}

/* Narrows the axis to the rank's rows of the cut. False: out of memory. */
static bool axis_cut(const dlc_allocator *allocator, Axis *axis, RowRange mine, int64_t outer,
                     int64_t rows, int64_t inner) {
    int64_t n = runs_cut(axis, mine, outer, rows, inner, NULL);
    RowRange *runs = memory_new(allocator, (size_t)n + 1, sizeof(*runs));
    if (!runs) {
        return false;
    }
    (void)runs_cut(axis, mine, outer, rows, inner, runs);
    memory_free(allocator, axis->runs);
    axis->runs = runs;
    axis->n_runs = n;
    axis->positions = 0;
    for (int64_t i = 0; i < n; i++) {
        axis->positions += runs[i].count;
    }
    return true;
}

static bool axis_begin(const dlc_allocator *allocator, Axis *axis, int64_t size) {
    *axis = (Axis){.runs = memory_new(allocator, 1, sizeof(*axis->runs)), .size = size};
    axis->positions = size;
    if (axis->runs) {
        axis->runs[0] = (RowRange){0, size};
        axis->n_runs = size > 0;
    }
    return axis->runs != NULL;
}

/* Copies along axis `a` at `whole`; from `last` on all is in one piece. */
static void axis_copy(Copy *copy, int32_t a, int32_t last, uint8_t *whole) {
    const Axis *axis = &copy->axes[a];
    for (int64_t r = 0; r < axis->n_runs; r++) {
        const RowRange *run = &axis->runs[r];
        uint8_t *at = whole + run->first * copy->stride[a];
        if (a == last) {
            size_t bytes = (size_t)(run->count * copy->stride[a]);
            memcpy(copy->to_part ? copy->part : at, copy->to_part ? at : copy->part, bytes);
            copy->part += bytes;
            continue;
        }
        for (int64_t i = 0; i < run->count; i++) {
            axis_copy(copy, a + 1, last, at + i * copy->stride[a]);
        }
    }
}

static void copy_run(Copy *copy, int32_t element_bytes) {
    int32_t last = 0;
    int64_t bytes = element_bytes, all = 1;
    for (int32_t a = copy->n_axes - 1; a >= 0; a--) {
        copy->stride[a] = bytes;
        bytes *= copy->axes[a].size;
        all *= copy->axes[a].positions;
    }
    for (int32_t a = 0; a < copy->n_axes; a++) {
        last = copy->axes[a].positions < copy->axes[a].size ? a : last;
    }
    if (all > 0 && copy->n_axes > 0) {
        axis_copy(copy, 0, last, copy->whole);
    }
}

/* Narrows the axis to what the rank has by the cut, where it *fits and there is *memory. */
static void axis_narrow(const dlc_allocator *allocator, const PlanFile *file,
                        const RankPlace *place, const int64_t *vars, const PlanCut *cut, Axis *axis,
                        bool *fits, bool *memory) {
    int64_t outer, rows, inner;
    *fits = cut_sizes(file, cut, vars, axis->size, &outer, &rows, &inner);
    if (*fits) {
        RowRange mine = mesh_piece(rows, mesh_group_ranks(&place->shape, cut->group),
                                   mesh_coordinate(&place->shape, cut->group, place->number));
        *memory = axis_cut(allocator, axis, mine, outer, rows, inner);
    }
}

dlc_status part_copy(dlc_context *context, const PlanFile *file, const RankPlace *place,
                     const int64_t *vars, const char *name, const PlanPart *cuts, Whole whole,
                     const int64_t *part_dims, int32_t element_bytes, void *part, bool to_part) {
    const dlc_allocator *allocator = &context->allocator;
    Copy copy = {.n_axes = cuts->whole.rank, .whole = whole.data, .part = part, .to_part = to_part};
    bool fits = true, memory = true;
    for (int32_t a = 0; a < copy.n_axes && memory; a++) {
        memory = axis_begin(allocator, &copy.axes[a], whole.dims[a]);
    }
    for (int32_t i = 0; i < cuts->n_cuts && memory && fits; i++) {
        const PlanCut *cut = &file->cuts[cuts->first_cut + i];
        axis_narrow(allocator, file, place, vars, cut, &copy.axes[cut->axis], &fits, &memory);
    }
    for (int32_t a = 0; a < copy.n_axes; a++) {
        fits = fits && (!memory || copy.axes[a].positions == part_dims[a]);
    }
    if (memory && fits && part) {
        copy_run(&copy, element_bytes);
    }
    for (int32_t a = 0; a < copy.n_axes; a++) {
        memory_free(allocator, copy.axes[a].runs);
    }
    if (!memory) {
        return context_out_of_memory(context);
    }
    return fits ? DLC_OK
                : context_fail(context, DLC_ERROR_FORMAT,
                               "%s: the cuts of '%s' do not give its parts", file->name, name);
}

dlc_status part_rows(dlc_context *context, const PlanFile *file, const RankPlace *place,
                     const int64_t *vars, const char *name, const PlanPart *cuts, int64_t rows,
                     RowRange **out, int64_t *out_n) {
    const dlc_allocator *allocator = &context->allocator;
    Axis axis;
    bool fits = true, memory = axis_begin(allocator, &axis, rows);
    for (int32_t i = 0; i < cuts->n_cuts && memory && fits; i++) {
        const PlanCut *cut = &file->cuts[cuts->first_cut + i];
        if (cut->axis == 0) {
            axis_narrow(allocator, file, place, vars, cut, &axis, &fits, &memory);
        }
    }
    if (memory && fits) {
        *out = axis.runs;
        *out_n = axis.n_runs;
        return DLC_OK;
    }
    memory_free(allocator, axis.runs);
    return !memory ? context_out_of_memory(context)
                   : context_fail(context, DLC_ERROR_FORMAT, "%s: the cuts of '%s' do not fit",
                                  file->name, name);
}
