/* See place.h. */
#include "runtime/session/place.h"
#include "runtime/session/layout.h"

#include <inttypes.h>
#include <stdio.h>

void place_mesh_text(const PlanFile *file, char *out, size_t n_out) {
    size_t at = 0;
    out[0] = '\0';
    for (int64_t i = 0; i < file->n_mesh && at < n_out; i++) {
        const PlanMeshAxis *axis = &file->mesh[i];
        char size[24] = "*";
        if (axis->size > 0) {
            snprintf(size, sizeof(size), "%" PRId64, axis->size);
        }
        int n = snprintf(out + at, n_out - at, "%s%s=%s", at ? ", " : "",
                         plan_text(file, axis->name), size);
        at += n > 0 ? (size_t)n : 0;
    }
}

/* The product of the sizes that the plan states; *any: the axis without one, or -1. */
static int64_t stated_ranks(const PlanFile *file, int64_t *any) {
    int64_t ranks = 1;
    *any = -1;
    for (int64_t i = 0; i < file->n_mesh; i++) {
        *any = file->mesh[i].size == 0 ? i : *any;
        ranks *= file->mesh[i].size == 0 ? 1 : file->mesh[i].size; /* bounded: check_ranks.c */
    }
    return ranks;
}

static MeshShape shape_with(const PlanFile *file, int64_t any_size) {
    MeshShape shape = {.n_axes = (int32_t)file->n_mesh};
    for (int64_t i = 0; i < file->n_mesh; i++) {
        shape.sizes[i] = file->mesh[i].size == 0 ? any_size : file->mesh[i].size;
    }
    return shape;
}

dlc_status place_shape(dlc_context *context, const PlanFile *file, int64_t n_ranks,
                       MeshShape *out) {
    int64_t any, stated = stated_ranks(file, &any);
    bool fits = any >= 0 ? n_ranks % stated == 0 : n_ranks == stated;
    if (file->n_mesh == 0 || fits) {
        *out = shape_with(file, n_ranks / stated);
        return DLC_OK;
    }
    char mesh[512];
    place_mesh_text(file, mesh, sizeof(mesh));
    int64_t less = n_ranks / stated * stated;
    if (any < 0 || less == 0) {
        return context_fail(context, DLC_ERROR_MISMATCH,
                            "%s: its mesh %s is of %s%" PRId64 " ranks, not of %" PRId64
                            " (--device cpu*%" PRId64 "; --mesh compiles it anew for another)",
                            file->name, mesh, any >= 0 ? "at least " : "", stated, n_ranks, stated);
    }
    return context_fail(context, DLC_ERROR_MISMATCH,
                        "%s: its mesh %s is of a multiple of %" PRId64 " ranks, not of %" PRId64
                        ": %" PRId64 " or %" PRId64 " would fit (--device cpu*%" PRId64
                        "; --mesh compiles it anew for another)",
                        file->name, mesh, stated, n_ranks, less, less + stated, less);
}

MeshGroup place_part_group(const PlanFile *file, const PlanPart *part) {
    MeshGroup cut = 0;
    for (int32_t i = 0; i < part->n_cuts; i++) {
        cut |= file->cuts[part->first_cut + i].group;
    }
    return cut;
}

static bool is_data_axis(const PlanFile *file, int64_t axis) {
    const char *name = plan_text(file, file->mesh[axis].name);
    return strcmp(name, "data") == 0 || strcmp(name, "replica") == 0;
}

MeshGroup place_rows_group(const PlanFile *file, const PlanPart *part) {
    MeshGroup rows = 0, data = 0;
    for (int32_t i = 0; i < part->n_cuts; i++) {
        const PlanCut *cut = &file->cuts[part->first_cut + i];
        rows |= cut->axis == 0 ? cut->group : 0;
    }
    for (int64_t a = 0; a < file->n_mesh; a++) {
        data |= is_data_axis(file, a) ? (MeshGroup)1 << a : 0;
    }
    return (rows & ~data) == 0 ? rows : 0;
}

RankPlace place_of_least(const PlanFile *file) {
    return (RankPlace){.shape = shape_with(file, 1)};
}

bool program_bound(const PlanFile *file, PlanProgram program, const int64_t *dims) {
    for (int32_t i = 0; i < program.count; i++) {
        const ProgramInstr *instr = &file->programs[program.first + i];
        if (instr->code == PROGRAM_VAR && dims[instr->immediate] < 0) {
            return false;
        }
    }
    return true;
}

/* The value of a dim of ranks. False: its rows are no number of rows. */
static bool dim_value(const PlanFile *file, const RankPlace *place, const PlanDim *dim,
                      const int64_t *vars, int64_t *out) {
    int64_t rows = 0;
    return plan_eval(file, dim->of, vars, &rows) &&
           mesh_dim_value(&place->shape, place->number, (DimSource)dim->source, dim->group, rows,
                          out);
}

dlc_status place_dims(dlc_context *context, const PlanFile *file, const RankPlace *place,
                      int64_t *dims) {
    int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0};
    for (int32_t d = 0; d < file->n_dims; d++) {
        const PlanDim *dim = &file->dims[d];
        vars[d] = dims[d];
        if (dim->source == DIM_FREE) {
            continue;
        }
        bool known = program_bound(file, dim->of, dims);
        int64_t value = -1;
        if (known && !dim_value(file, place, dim, vars, &value)) {
            return context_fail(context, DLC_ERROR_MISMATCH,
                                "%s: the rows that dim %s is a piece of are no number of rows",
                                file->name, plan_text(file, dim->name));
        }
        dlc_status status = known ? dim_check(context, file, d, value) : DLC_OK;
        if (status != DLC_OK) {
            return status;
        }
        vars[d] = dims[d] = value;
    }
    return DLC_OK;
}

void place_dims_default(const PlanFile *file, int64_t *dims) {
    const RankPlace place = place_of_least(file);
    int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0};
    dims_default(file, dims);
    for (int32_t d = 0; d < file->n_dims; d++) {
        const PlanDim *dim = &file->dims[d];
        if (dim->source != DIM_FREE && (!program_bound(file, dim->of, dims) ||
                                        !dim_value(file, &place, dim, vars, &dims[d]))) {
            dims[d] = -1;
        }
        vars[d] = dims[d];
    }
}
