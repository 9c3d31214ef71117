/* What the files of the mesh share: shardings as programs write them. */
#ifndef DLC_FRONTEND_ELABORATE_SHARDING_H
#define DLC_FRONTEND_ELABORATE_SHARDING_H

#include "frontend/elaborate/elaborate.h"

/* Reports why a word is no axis at this place; true if it is one. */
bool sharding_axis(Elaborator *el, MeshProblem problem, const char *word, Place place);
/* Reads `(data, _, model)`, `(model)`, whose axes the mesh must have; false after a report. */
bool sharding_read(Elaborator *el, const AstExpr *expr, const MeshLayout *mesh, Placed *out);
/* The first line of the mesh block for a path, and which of its globs fits; -1: none. */
int32_t sharding_rule(Elaborator *el, const char *path, PlacedGlob **out);

#endif
