/* Ranks in a module: the axes of its mesh, the dims that each rank computes for itself, and which
 * part of a tensor is a rank's. The numbers are ir/base/mesh.h's. */
#include "ir/base/ascii.h"
#include "ir/base/checked.h"
#include "ir/ir.h"

#include <string.h>

/* -- axes and groups */

static bool is_word(const char *text) {
    if (text[0] == '\0' || ascii_is_digit(text[0])) {
        return false;
    }
    for (const char *p = text; *p != '\0'; p++) {
        if (!ascii_is_word(*p)) {
            return false;
        }
    }
    return true;
}

bool module_add_axis(Module *module, const char *name, int64_t size) {
    if (!is_word(name) || size < 0 || size > MESH_MAX_RANKS ||
        module->n_mesh_axes == MESH_MAX_AXES) {
        return false;
    }
    const char *interned = context_intern(module->context, name);
    for (int32_t i = 0; i < module->n_mesh_axes; i++) {
        if (module->mesh[i].name == interned) {
            return false;
        }
    }
    module->mesh[module->n_mesh_axes++] = (MeshAxis){.name = interned, .size = size};
    return true;
}

/* The names of the group's axes with `between` between them. */
static const char *join_axes(const Module *module, MeshGroup group, const char *between) {
    const char *text = "";
    for (int32_t i = 0; i < module->n_mesh_axes; i++) {
        if ((group >> i & 1U) != 0) {
            text = arena_format(&module->context->arena, "%s%s%s", text, text[0] ? between : "",
                                module->mesh[i].name);
        }
    }
    return context_intern(module->context, text);
}

const char *module_group_text(const Module *module, MeshGroup group) {
    return join_axes(module, group, ",");
}

bool module_group_parse(const Module *module, const char *text, MeshGroup *out) {
    MeshGroup group = 0;
    int32_t axis = 0;
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        while (axis < module->n_mesh_axes && (strlen(module->mesh[axis].name) != length ||
                                              strncmp(module->mesh[axis].name, at, length) != 0)) {
            axis++;
        }
        if (axis == module->n_mesh_axes) {
            return false;
        }
        group |= (MeshGroup)1 << axis++;
        at += length;
        if (*at == '\0') {
            *out = group;
            return true;
        }
    }
}

int64_t module_group_ranks(const Module *module, MeshGroup group) {
    int64_t ranks = 1;
    for (int32_t i = 0; i < module->n_mesh_axes; i++) {
        if ((group >> i & 1U) != 0 && !checked_mul(ranks, module->mesh[i].size, &ranks)) {
            return INT64_MAX;
        }
    }
    return ranks;
}

/* -- dims of ranks */

static bool cuts_rows(DimSource source) {
    return source == DIM_PIECE || source == DIM_FIRST;
}

const Dim *module_find_rank_dim(const Module *module, DimSource source, MeshGroup group,
                                const Size *of) {
    for (int32_t i = 0; i < module->n_dims; i++) {
        const Dim *dim = module->dims[i];
        if (dim->source == source && dim->group == group && dim->of == of) {
            return dim;
        }
    }
    return NULL;
}

int64_t rank_dim_nominal(const Module *module, const Dim *dim) {
    enum { FEW_RANKS = 4 }; /* where nobody says how many */
    int64_t ranks = module_group_ranks(module, dim->group), rows = 0;
    if (dim->source == DIM_RANKS) {
        return ranks <= dim->high ? ranks : 0;
    }
    if (dim->source != DIM_PIECE) {
        return 0;
    }
    const Dim *of = size_as_dim(dim->of);
    if (!size_is_const(dim->of, &rows)) {
        rows = of ? of->nominal : 0;
    }
    ranks = ranks ? ranks : FEW_RANKS;
    return rows / ranks + (rows % ranks != 0);
}

MeshGroup module_size_differs(const Module *module, const Size *size) {
    MeshGroup differs = 0;
    for (int32_t i = 0; i < module->n_dims; i++) {
        const Dim *dim = module->dims[i];
        differs |= dim->differs != 0 && size_uses_dim(size, dim) ? dim->differs : 0;
    }
    return differs;
}

/* Bounds of a dim, from what is known of the mesh and of the rows that it is a piece of. */
static void set_bounds(const Module *module, Dim *dim) {
    int64_t ranks = module_group_ranks(module, dim->group), rows_low = 0, rows_high = 0;
    bool is_known = ranks > 0 && ranks <= MESH_MAX_RANKS;
    if (cuts_rows(dim->source)) {
        size_range(dim->of, &rows_low, &rows_high);
        rows_low = rows_low > 0 ? rows_low : 0;
        rows_high = rows_high > rows_low ? rows_high : rows_low;
    }
    switch (dim->source) {
    case DIM_RANKS:
        dim->low = is_known ? ranks : 1;
        dim->high = is_known ? ranks : MESH_MAX_RANKS;
        break;
    case DIM_COORDINATE:
        dim->high = (is_known ? ranks : MESH_MAX_RANKS) - 1;
        break;
    case DIM_PIECE:
        dim->high = rows_high;
        if (is_known) {
            dim->low = mesh_piece(rows_low, ranks, ranks - 1).count;
            dim->high = rows_high == INT64_MAX ? INT64_MAX : mesh_piece(rows_high, ranks, 0).count;
        }
        break;
    case DIM_FIRST:
        dim->high = is_known && ranks == 1 ? 0 : rows_high;
        break;
    case DIM_FREE:
        break;
    }
    if (dim->source != DIM_RANKS && dim->low < dim->high) {
        dim->differs = dim->group | (dim->of ? module_size_differs(module, dim->of) : 0);
    }
    dim->nominal = rank_dim_nominal(module, dim);
}

static const char *make_name(const Module *module, DimSource source, MeshGroup group,
                             const Size *of) {
    static const char *const ENDS[DIM_N_SOURCES] = {[DIM_RANKS] = ".ranks",
                                                    [DIM_COORDINATE] = ".rank",
                                                    [DIM_PIECE] = "",
                                                    [DIM_FIRST] = ".first"};
    Arena *arena = &module->context->arena;
    const Dim *dim = of ? size_as_dim(of) : NULL;
    const char *lead = !of ? "" : dim ? dim->name : "rows";
    const char *stem = arena_format(arena, "%s%s%s%s", lead, of ? "." : "",
                                    join_axes(module, group, "."), ENDS[source]);
    const char *name = stem;
    for (int turn = 2; module_find_dim(module, name); turn++) {
        name = arena_format(arena, "%s'%d", stem, turn);
    }
    return name;
}

const Dim *module_add_rank_dim_as(Module *module, DimSource source, MeshGroup group, const Size *of,
                                  const char *name, Place place) {
    if (module_find_rank_dim(module, source, group, of)) {
        return NULL;
    }
    Dim *dim = (Dim *)module_add_dim(module, name, 0, INT64_MAX, 1, 0, place);
    dim->source = source;
    dim->group = group;
    dim->of = of;
    set_bounds(module, dim);
    return dim;
}

const Dim *module_add_rank_dim(Module *module, DimSource source, MeshGroup group, const Size *of) {
    const Dim *found = module_find_rank_dim(module, source, group, of);
    return found ? found
                 : module_add_rank_dim_as(module, source, group, of,
                                          make_name(module, source, group, of), (Place){0});
}

/* -- sizes of pieces */

/* How many rows every rank has of rows that are a multiple of the number of ranks; NULL: that is
 * not seen. */
static const Size *even_rows(const Module *module, MeshGroup group, const Size *of) {
    Context *context = module->context;
    int64_t known = module_group_ranks(module, group);
    const Dim *dim = module_find_rank_dim(module, DIM_RANKS, group, NULL);
    if (known == 0 && dim == NULL) {
        return NULL;
    }
    const Size *ranks = known ? size_const(context, known) : size_dim(context, dim);
    const Size *each = size_other_factor(context, of, ranks);
    bool is_even = each && size_equal(context, size_mul(context, each, ranks), of) == TRUTH_YES;
    return is_even ? each : NULL;
}

const Size *module_even_size(Module *module, DimSource source, MeshGroup group, const Size *of) {
    Context *context = module->context;
    int64_t known = module_group_ranks(module, group);
    const Size *each = cuts_rows(source) ? even_rows(module, group, of) : NULL;
    switch (source) {
    case DIM_RANKS:
        return known ? size_const(context, known) : NULL;
    case DIM_COORDINATE:
        return known == 1 ? size_const(context, 0) : NULL;
    case DIM_PIECE:
        return each;
    case DIM_FIRST:
        return each ? size_mul(context, each, module_rank_size(module, DIM_COORDINATE, group, NULL))
                    : NULL;
    case DIM_FREE:
        break;
    }
    return NULL;
}

const Size *module_rank_size(Module *module, DimSource source, MeshGroup group, const Size *of) {
    const Size *even = module_even_size(module, source, group, of);
    return even ? even : size_dim(module->context, module_add_rank_dim(module, source, group, of));
}

/* -- cuts */

/* How many blocks of the rows of `next` the inner elements of `cut` are: exactly, else NULL. */
static const Size *blocks_between(Context *context, const AxisCut *cut, const AxisCut *next) {
    const Size *block = size_mul(context, next->rows, next->inner);
    const Size *blocks = size_other_factor(context, cut->inner, block);
    bool fits =
        blocks && size_equal(context, size_mul(context, blocks, block), cut->inner) == TRUTH_YES;
    const Size *outer = size_mul(context, cut->outer, cut->rows);
    fits = fits && size_equal(context, size_mul(context, outer, blocks), next->outer) == TRUTH_YES;
    return fits ? blocks : NULL;
}

/* "1 x 2*B x 3" */
static const char *cut_text(Context *context, const AxisCut *cut) {
    return arena_format(&context->arena, "%s x %s x %s", size_text(context, cut->outer),
                        size_text(context, cut->rows), size_text(context, cut->inner));
}

/* The local size of an axis that the `count` cuts are of. NULL: *problem says why they are not. */
static const Size *cut_axis(Module *module, const Size *axis, const AxisCut *cuts, int32_t count,
                            const char **problem) {
    Context *context = module->context;
    const Size *whole =
        size_mul(context, size_mul(context, cuts[0].outer, cuts[0].rows), cuts[0].inner);
    const Size *local = cuts[0].outer;
    if (size_equal(context, whole, axis) != TRUTH_YES) {
        *problem =
            arena_format(&context->arena, "axis %d has %s elements, but is cut as %s",
                         (int)cuts[0].axis, size_text(context, axis), cut_text(context, &cuts[0]));
        return NULL;
    }
    for (int32_t i = 0; i < count; i++) {
        const Size *between =
            i + 1 < count ? blocks_between(context, &cuts[i], &cuts[i + 1]) : cuts[i].inner;
        if (between == NULL) {
            *problem = arena_format(&context->arena,
                                    "the cut %s of axis %d does not lie within the inner elements "
                                    "of the cut %s before it",
                                    cut_text(context, &cuts[i + 1]), (int)cuts[i].axis,
                                    cut_text(context, &cuts[i]));
            return NULL;
        }
        local = size_mul(context, local,
                         module_rank_size(module, DIM_PIECE, cuts[i].group, cuts[i].rows));
        local = size_mul(context, local, between);
    }
    return local;
}

/* Adds the cut's group to those that are used. */
static const char *group_problem(const Module *module, const AxisCut *cut, MeshGroup *used) {
    if (cut->group == 0 || cut->group >> module->n_mesh_axes != 0) {
        return "a group is empty or has axes that the mesh has not";
    }
    if ((cut->group & *used) != 0) {
        return arena_format(&module->context->arena, "two cuts are over the mesh's axis \"%s\"",
                            module_group_text(module, cut->group & *used));
    }
    *used |= cut->group;
    return NULL;
}

const char *module_cut_problem(Module *module, Type whole, const AxisCut *cuts, int32_t n_cuts,
                               Type *out) {
    const Size *dims[TYPE_MAX_RANK];
    const char *problem = n_cuts < 1 ? "there is no cut" : NULL;
    MeshGroup used = 0;
    for (int32_t i = 0; i < whole.rank; i++) {
        dims[i] = whole.dims[i];
    }
    for (int32_t i = 0; !problem && i < n_cuts; i++) {
        problem = group_problem(module, &cuts[i], &used);
    }
    for (int32_t i = 0, count = 1; !problem && i < n_cuts; i += count, count = 1) {
        int32_t axis = cuts[i].axis;
        if (axis < 0 || axis >= whole.rank || (i > 0 && axis < cuts[i - 1].axis)) {
            return arena_format(&module->context->arena,
                                "a cut of axis %d is of none of the whole's %d axes, or stands "
                                "behind one of a later axis",
                                (int)axis, (int)whole.rank);
        }
        while (i + count < n_cuts && cuts[i + count].axis == axis) {
            count++;
        }
        dims[axis] = cut_axis(module, whole.dims[axis], &cuts[i], count, &problem);
    }
    if (!problem) {
        *out = type_make(module->context, whole.dtype, whole.rank, dims);
    }
    return problem;
}

Type module_cut_type(Module *module, Type whole, const AxisCut *cuts, int32_t n_cuts) {
    Type local = whole;
    const char *problem = module_cut_problem(module, whole, cuts, n_cuts, &local);
    if (problem) {
        INTERNAL_ERROR(module->context, (Place){0}, "sharding", "%s: %s", problem,
                       type_text(module->context, whole));
    }
    return local;
}

const Sharding *module_sharding(Module *module, Type whole, const AxisCut *cuts, int32_t n_cuts) {
    Sharding *sharding = ARENA_NEW(&module->arena, Sharding);
    AxisCut *copy = ARENA_ARRAY(&module->arena, AxisCut, n_cuts > 0 ? n_cuts : 1);
    for (int32_t i = 0; i < n_cuts; i++) {
        copy[i] = cuts[i];
    }
    *sharding = (Sharding){.whole = type_make(module->context, whole.dtype, whole.rank, whole.dims),
                           .cuts = copy,
                           .n_cuts = n_cuts};
    return sharding;
}

bool sharding_equal(const Sharding *a, const Sharding *b) {
    if (a == NULL || b == NULL || a == b) {
        return a == b;
    }
    bool equal = type_equal(a->whole, b->whole) && a->n_cuts == b->n_cuts;
    for (int32_t i = 0; equal && i < a->n_cuts; i++) {
        const AxisCut *x = &a->cuts[i], *y = &b->cuts[i];
        equal = x->axis == y->axis && x->group == y->group && x->outer == y->outer &&
                x->rows == y->rows && x->inner == y->inner;
    }
    return equal;
}

/* -- values */

bool mesh_bind(const Module *module, const MeshShape *shape, int64_t rank, int64_t *values) {
    int64_t ranks = 0;
    if (shape->n_axes != module->n_mesh_axes || !mesh_ranks(shape, &ranks) || rank < 0 ||
        rank >= ranks) {
        return false;
    }
    for (int32_t i = 0; i < shape->n_axes; i++) {
        if (module->mesh[i].size != 0 && module->mesh[i].size != shape->sizes[i]) {
            return false;
        }
    }
    for (int32_t i = 0; i < module->n_dims; i++) {
        const Dim *dim = module->dims[i];
        int64_t rows = 0;
        if (dim->source == DIM_FREE) {
            continue;
        }
        if (dim->of && !size_eval(dim->of, values, i, &rows)) {
            return false;
        }
        if (!mesh_dim_value(shape, rank, dim->source, dim->group, rows, &values[i])) {
            return false;
        }
    }
    return true;
}
