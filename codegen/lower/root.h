/* The root of a product's kernel (a contraction or convolution) and the way from its elements to
 * those of the fusion's results. */
#ifndef DLC_CODEGEN_LOWER_ROOT_H
#define DLC_CODEGEN_LOWER_ROOT_H

#include "codegen/lower/elemental.h"

/* The last op of the kind in the fusion's body that its results need. */
const Op *root_find(KBuild *k, OpKind kind);
/* "contract_add_gelu": the root and what follows it, for people. */
const char *root_name(KBuild *k, const Op *root);

/* The results whose elements are made from one element of the root each, and the others. */
typedef struct RootPath {
    const Op *root;
    bool *reached; /* by result */
} RootPath;
RootPath root_path(KBuild *k, const Op *root);
/* Stores every reached result, given the root's element at `index`. */
void root_finish(KBuild *k, const RootPath *path, const KExpr *const *index, const KExpr *value);
/* Kernels of their own for results that do not come from the root; none, as a rule. */
void root_rest(KBuild *k, const RootPath *path);

/* Whether neighbours along the axis are neighbours in memory, as far as a look through movements
 * and elementwise ops tells; only speed depends on it. */
bool axis_is_contiguous(const Value *v, int64_t axis);

#endif
