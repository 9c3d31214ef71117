/* Between whole tensors and ranks' parts of them. Along each axis the part is a list of runs of the
 * whole's positions, in order; what lies within the innermost axis that is cut is one run. */
#include "runtime/session/parts.h"

typedef struct Axis {
    RowRange *runs; /* of positions; not empty ones */
    int64_t n_runs, size;
    int64_t positions; /* of all runs */
} Axis;

struct PartRuns {
    const dlc_allocator *allocator;
    Axis axes[PLAN_MAX_RANK];
    int32_t n_axes;
    int32_t last;                  /* the innermost axis that is cut */
    int64_t stride[PLAN_MAX_RANK]; /* bytes from one position of the whole to the next … */
    int64_t within[PLAN_MAX_RANK]; /* … and what the part has of each */
    int64_t bytes;                 /* of the part */
};

/* A walk over runs: those of the part's bytes [first, end). */
typedef struct Walk {
    const PartRuns *runs;
    int64_t first, end;
    PartVisit *visit;
    void *user;
} Walk;

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

/* A run of the whole at `whole`, of the part at `part`: what of it is walked over. */
static int run_visit(const Walk *walk, int64_t whole, int64_t part, int64_t bytes) {
    int64_t from = part > walk->first ? part : walk->first;
    int64_t end = part + bytes < walk->end ? part + bytes : walk->end;
    return from < end ? walk->visit(walk->user, whole + (from - part), from, end - from) : 0;
}

/* Walks along axis `a`, where it begins at `whole` and `part`; from the last cut axis on all is in
 * one piece. */
static int axis_walk(const Walk *walk, int32_t a, int64_t whole, int64_t part) {
    const Axis *axis = &walk->runs->axes[a];
    int64_t stride = walk->runs->stride[a], within = walk->runs->within[a];
    int stop = 0;
    for (int64_t r = 0; r < axis->n_runs && !stop; r++) {
        const RowRange *run = &axis->runs[r];
        int64_t at = whole + run->first * stride;
        if (a == walk->runs->last) {
            stop = run_visit(walk, at, part, run->count * stride);
            part += run->count * within;
            continue;
        }
        for (int64_t i = 0; i < run->count && !stop; i++, part += within) {
            bool meets = part < walk->end && part + within > walk->first;
            stop = meets ? axis_walk(walk, a + 1, at + i * stride, part) : 0;
        }
    }
    return stop;
}

int part_runs_each(const PartRuns *runs, int64_t first, int64_t count, PartVisit *visit,
                   void *user) {
    const Walk walk = {runs, first, first + count, visit, user};
    if (runs->bytes == 0) {
        return 0;
    }
    return runs->n_axes == 0 ? run_visit(&walk, 0, 0, runs->bytes) : axis_walk(&walk, 0, 0, 0);
}

int64_t part_runs_bytes(const PartRuns *runs) {
    return runs->bytes;
}

static void runs_measure(PartRuns *runs, int32_t element_bytes) {
    int64_t whole = element_bytes, part = element_bytes;
    for (int32_t a = runs->n_axes - 1; a >= 0; a--) {
        runs->stride[a] = whole;
        runs->within[a] = part;
        whole *= runs->axes[a].size;
        part *= runs->axes[a].positions;
    }
    for (int32_t a = 0; a < runs->n_axes; a++) {
        runs->last = runs->axes[a].positions < runs->axes[a].size ? a : runs->last;
    }
    runs->bytes = part;
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

void part_runs_free(PartRuns *runs) {
    for (int32_t a = 0; runs && a < runs->n_axes; a++) {
        memory_free(runs->allocator, runs->axes[a].runs);
    }
    if (runs) {
        memory_free(runs->allocator, runs);
    }
}

dlc_status part_runs_create(dlc_context *context, const PlanFile *file, const RankPlace *place,
                            const int64_t *vars, const char *name, const PlanPart *cuts,
                            int32_t rank, Whole whole, const int64_t *part_dims,
                            int32_t element_bytes, PartRuns **out) {
    const dlc_allocator *allocator = &context->allocator;
    PartRuns *runs = memory_new(allocator, 1, sizeof(*runs));
    bool fits = true, memory = runs != NULL;
    if (runs) {
        runs->allocator = allocator;
        runs->n_axes = rank;
    }
    for (int32_t a = 0; memory && a < rank; a++) {
        memory = axis_begin(allocator, &runs->axes[a], whole.dims[a]);
    }
    for (int32_t i = 0; i < cuts->n_cuts && memory && fits; i++) {
        const PlanCut *cut = &file->cuts[cuts->first_cut + i];
        if (cut->axis > 0 || !whole.has_own_rows) {
            axis_narrow(allocator, file, place, vars, cut, &runs->axes[cut->axis], &fits, &memory);
        }
    }
    for (int32_t a = 0; memory && a < rank; a++) {
        fits = fits && runs->axes[a].positions == part_dims[a];
    }
    if (memory && fits) {
        runs_measure(runs, element_bytes);
        *out = runs;
        return DLC_OK;
    }
    part_runs_free(runs);
    return !memory ? context_out_of_memory(context)
                   : context_fail(context, DLC_ERROR_FORMAT,
                                  "%s: the cuts of '%s' do not give its parts", file->name, name);
}

/* Between host memory of the whole and of the part. */
typedef struct Copy {
    uint8_t *whole, *part;
    bool to_part;
} Copy;

static int run_copy(void *user, int64_t whole_at, int64_t part_at, int64_t bytes) {
    const Copy *copy = user;
    memcpy(copy->to_part ? copy->part + part_at : copy->whole + whole_at,
           copy->to_part ? copy->whole + whole_at : copy->part + part_at, (size_t)bytes);
    return 0;
}

dlc_status part_copy(dlc_context *context, const PlanFile *file, const RankPlace *place,
                     const int64_t *vars, const char *name, const PlanPart *cuts, Whole whole,
                     const int64_t *part_dims, int32_t element_bytes, void *part, bool to_part) {
    PartRuns *runs = NULL;
    dlc_status status = part_runs_create(context, file, place, vars, name, cuts, cuts->whole.rank,
                                         whole, part_dims, element_bytes, &runs);
    if (status == DLC_OK && part) {
        Copy copy = {whole.data, part, to_part};
        (void)part_runs_each(runs, 0, part_runs_bytes(runs), run_copy, &copy);
    }
    part_runs_free(runs);
    return status;
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
