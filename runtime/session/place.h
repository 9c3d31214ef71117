/* Where a rank stands in the plan's mesh, and what follows for its dims: how many ranks there are,
 * which one it is, and how many rows it has of what is cut. */
#ifndef DLC_RUNTIME_SESSION_PLACE_H
#define DLC_RUNTIME_SESSION_PLACE_H

#include "runtime/plan_file/read.h"

typedef struct RankPlace {
    MeshShape shape; /* no axes: the plan knows no ranks, and each does all */
    int64_t number;  /* of the rank, from 0 */
} RankPlace;

/* The shape that the plan's mesh has with so many ranks; error, with what would fit, when it cannot
 * have them. Of a plan without a mesh: no axes. */
dlc_status place_shape(dlc_context *context, const PlanFile *file, int64_t n_ranks, MeshShape *out);
/* "data=*, model=2"; "" of a plan without a mesh. */
void place_mesh_text(const PlanFile *file, char *out, size_t n_out);
/* The axes of the mesh that the part is cut along: ranks that differ in others have the same. */
MeshGroup place_part_group(const PlanFile *file, const PlanPart *part);
/* The axes of data, which the rows (axis 0) of the part are dealt out along; 0: they are not, or
 * along others too. */
MeshGroup place_rows_group(const PlanFile *file, const PlanPart *part);
/* The first rank of the fewest that can run the plan: what is told before there are ranks. */
RankPlace place_of_least(const PlanFile *file);
/* Whether the program can be computed from the dims bound so far (others: -1). */
bool program_bound(const PlanFile *file, PlanProgram program, const int64_t *dims);
/* Gives the dims of ranks their values where what they are made of is known (not -1); the error of
 * one that is outside its bounds. dims: [n_dims] */
dlc_status place_dims(dlc_context *context, const PlanFile *file, const RankPlace *place,
                      int64_t *dims);
/* dims_default, and the dims of ranks for place_of_least where they can be computed. */
void place_dims_default(const PlanFile *file, int64_t *dims);

#endif
