/* See shard_kit.h. Each element's place is computed from the rule alone, one index at a time. */
#include "tests/parallel/shard_kit.h"

#include <stdlib.h>
#include <string.h>

typedef struct Place1 {
    int64_t outer, rows, inner, first, count; /* of an axis; not cut: rows is all, and first 0 */
} Place1;

static bool axis_places(Module *module, const MeshShape *shape, int64_t rank, const int64_t *dims,
                        const Sharding *sharding, const EvalTensor *whole, Place1 *out) {
    for (int32_t axis = 0; axis < whole->rank; axis++) {
        out[axis] =
            (Place1){.outer = 1, .rows = whole->dims[axis], .inner = 1, .count = whole->dims[axis]};
    }
    bool good = true;
    for (int32_t i = 0; sharding && i < sharding->n_cuts; i++) {
        const AxisCut *cut = &sharding->cuts[i];
        Place1 *place = &out[cut->axis];
        good = good && size_eval(cut->outer, dims, module->n_dims, &place->outer) &&
               size_eval(cut->rows, dims, module->n_dims, &place->rows) &&
               size_eval(cut->inner, dims, module->n_dims, &place->inner);
        /* dealt out one by one, as the rule says without saying how */
        int64_t n = mesh_group_ranks(shape, cut->group);
        int64_t at = mesh_coordinate(shape, cut->group, rank);
        place->first = place->count = 0;
        for (int64_t r = 0; good && r < n; r++) {
            int64_t count = place->rows / n + (r < place->rows % n);
            place->first += r < at ? count : 0;
            place->count = r == at ? count : place->count;
        }
    }
    return good;
}

/* Row-major element `local` of the part, as an element of the whole. */
static int64_t whole_index(const EvalTensor *whole, const Place1 *places, int64_t local) {
    int64_t index = 0, stride = 1;
    for (int32_t axis = whole->rank - 1; axis >= 0; axis--) {
        const Place1 *p = &places[axis];
        int64_t size = p->outer * p->count * p->inner, i = local % size;
        local /= size;
        int64_t inner = i % p->inner, row = i / p->inner % p->count,
                outer = i / p->inner / p->count;
        index += ((outer * p->rows + p->first + row) * p->inner + inner) * stride;
        stride *= whole->dims[axis];
    }
    return index;
}

bool shard_part(Module *module, const MeshShape *shape, int64_t rank, const int64_t *dims,
                const Sharding *sharding, const EvalTensor *whole, EvalTensor *out) {
    Place1 places[TYPE_MAX_RANK];
    int64_t sizes[TYPE_MAX_RANK] = {0};
    if (!axis_places(module, shape, rank, dims, sharding, whole, places)) {
        return false;
    }
    for (int32_t axis = 0; axis < whole->rank; axis++) {
        sizes[axis] = places[axis].outer * places[axis].count * places[axis].inner;
    }
    if (eval_tensor_init(out, whole->dtype, whole->rank, sizes, NULL)) {
        return false;
    }
    for (int64_t i = 0; i < out->n; i++) {
        int64_t from = whole_index(whole, places, i);
        if (out->f) {
            out->f[i] = whole->f[from];
        } else {
            out->i[i] = whole->i[from];
        }
    }
    return true;
}

bool shard_join(Module *module, const MeshShape *shape, int64_t rank, const int64_t *dims,
                const Sharding *sharding, const EvalTensor *part, EvalTensor *whole,
                int32_t *written, int64_t *out_differs) {
    Place1 places[TYPE_MAX_RANK];
    bool fits = axis_places(module, shape, rank, dims, sharding, whole, places) &&
                part->rank == whole->rank;
    for (int32_t axis = 0; fits && axis < whole->rank; axis++) {
        fits = part->dims[axis] == places[axis].outer * places[axis].count * places[axis].inner;
    }
    for (int64_t i = 0; fits && i < part->n; i++) {
        int64_t to = whole_index(whole, places, i);
        bool same = part->f ? memcmp(&part->f[i], &whole->f[to], sizeof(double)) == 0
                            : part->i[i] == whole->i[to];
        if (written[to]++ > 0 && !same) {
            *out_differs = to;
        }
        if (part->f) {
            whole->f[to] = part->f[i];
        } else {
            whole->i[to] = part->i[i];
        }
    }
    return fits;
}
