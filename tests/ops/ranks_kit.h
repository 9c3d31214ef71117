/* What tests of collectives share: a module with a mesh, arguments for every rank, a run of all
 * ranks at once, and gradients against central differences in the space of all ranks together. */
#ifndef DLC_TESTS_OPS_RANKS_KIT_H
#define DLC_TESTS_OPS_RANKS_KIT_H

#include "ir/build.h"
#include "ir/interp.h"
#include "passes/pass.h"

enum { KIT_MAX_RANKS = 12, KIT_MAX_TENSORS = 12 };

typedef struct RanksKit {
    Context context;
    Boundary boundary;
    Arena scratch;
    Module *module; /* with the dim B, bound to rows */
    MeshShape shape;
    int64_t n, rows;
    char message[1200]; /* why the last call failed */
} RanksKit;

/* One tensor a rank and argument or result. */
typedef struct RankTensors {
    EvalTensor of[KIT_MAX_RANKS][KIT_MAX_TENSORS];
} RankTensors;

/* Axes a, b, c of these sizes (0 ends the list); `is_known`: the module says them too. B is at
 * least 0. Set the boundary afterwards. */
void kit_init(RanksKit *kit, const int64_t sizes[3], bool is_known, int64_t rows);
void kit_finish(RanksKit *kit);
const Size *kit_rows(RanksKit *kit); /* B */
Type kit_type(RanksKit *kit, DType dtype, int32_t rank, const Size *d0, const Size *d1,
              const Size *d2);

/* The ranks of a rank's group in the order of their numbers, found by comparing coordinates; how
 * many. How many of `rows` rows each of n ranks has, dealt out one by one. */
int64_t kit_members(const RanksKit *kit, MeshGroup group, int64_t rank, int64_t *out);
void kit_deal(int64_t rows, int64_t n, int64_t *counts);

/* Values for all arguments: multiples of 1/8 between -4 and 4 (sums of few are exact), small
 * integers. */
void kit_args(RanksKit *kit, const Func *func, uint64_t seed, RankTensors *out);
bool kit_run(RanksKit *kit, Func *func, const RankTensors *args, RankTensors *results, bool wide);
void kit_free(RanksKit *kit, RankTensors *tensors, int32_t count);

typedef Value *KitBuild(RanksKit *kit, Builder *b, Value **x);
/* Builds y of the Func's arguments and a loss of every rank of its y; compares gradients by every
 * float argument of every rank with differences of the sum of all ranks' losses; then those of a
 * loss of the gradients. */
bool kit_check_gradients(RanksKit *kit, Func *func, KitBuild *build);

#endif
