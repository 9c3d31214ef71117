/* Arithmetic of ranks: which ranks form a group, which number a rank has in it, and which rows of a
 * tensor are a rank's. Compiler, reference interpreter and run time share these functions, so that
 * they cannot disagree on who has which rows. */
#ifndef DLC_IR_BASE_MESH_H
#define DLC_IR_BASE_MESH_H

#include <stdbool.h>
#include <stdint.h>

enum { MESH_MAX_AXES = 8, MESH_MAX_RANKS = 1 << 20 };

/* Ranks stand in a mesh: an ordered list of axes. They are numbered row-major, the last axis
 * fastest. */
typedef struct MeshAxis {
    const char *name; /* interned; a word */
    int64_t size;     /* how many ranks stand along it; 0: any number, known when ranks meet */
} MeshAxis;

/* A group: a set of mesh axes, as bits by axis number. Ranks that differ in these coordinates alone
 * form one group; in it they are numbered row-major in mesh order, from 0. */
typedef uint32_t MeshGroup;

/* Where a dim gets its value. Numbers are part of the plan format: they never change meaning. */
typedef enum DimSource {
    DIM_FREE = 0,       /* of the program: bound by inputs, options, defaults */
    DIM_RANKS = 1,      /* how many ranks the group has */
    DIM_COORDINATE = 2, /* this rank's number in the group, from 0 */
    DIM_PIECE = 3,      /* how many rows this rank has, when they are cut among the group's ranks */
    DIM_FIRST = 4       /* the first of these */
} DimSource;
enum { DIM_N_SOURCES = DIM_FIRST + 1 };

/* Rows [first, first + count) of a whole. */
typedef struct RowRange {
    int64_t first, count;
} RowRange;

/* The rule of pieces, the only one: of `rows` >= 0 rows on `ranks` >= 1 ranks, the rank with number
 * `rank` has floordiv(rows, ranks), and one more if rank < mod(rows, ranks); lower ranks have the
 * earlier rows. So 5 on 4 are 2, 1, 1, 1 and 2 on 4 are 1, 1, 0, 0: nothing is padded. */
RowRange mesh_piece(int64_t rows, int64_t ranks, int64_t rank);

/* The types in which gradients may be sent, as in "f32 or bf16". */
#define MESH_EXCHANGES "f32 or bf16"
/* The type of this word: its name, which lives for ever, or NULL for "f32", which is their own.
 * False: it is none of them. */
bool mesh_exchange_read(const char *word, const char **out);

/* A mesh whose sizes are known, each 1 or more. */
typedef struct MeshShape {
    int32_t n_axes; /* 0: one rank */
    int64_t sizes[MESH_MAX_AXES];
} MeshShape;

/* How many ranks there are; false when a size is below 1 or there are more than MESH_MAX_RANKS.
 * What follows expects a shape for which this is true, a rank below that, and a group of the
 * shape's axes. */
bool mesh_ranks(const MeshShape *shape, int64_t *out);
int64_t mesh_group_ranks(const MeshShape *shape, MeshGroup group);
/* The number of `rank` in its group. */
int64_t mesh_coordinate(const MeshShape *shape, MeshGroup group, int64_t rank);
/* The rank with that number in the group of `rank`. */
int64_t mesh_member(const MeshShape *shape, MeshGroup group, int64_t rank, int64_t coordinate);

/* Value of a dim that `rank` computes (source other than DIM_FREE); `rows`: what is cut, for
 * DIM_PIECE and DIM_FIRST. False: rows are below 0, or it is no such dim. */
bool mesh_dim_value(const MeshShape *shape, int64_t rank, DimSource source, MeshGroup group,
                    int64_t rows, int64_t *out);

#endif
