/* What tests of sharded Funcs share: a whole tensor's part of a rank, and the whole of all parts.
 */
#ifndef DLC_TESTS_PARALLEL_SHARD_KIT_H
#define DLC_TESTS_PARALLEL_SHARD_KIT_H

#include "ir/interp.h"

/* The rank's part of `whole`, allocated; sharding NULL: a copy. The values of the Func's free dims,
 * by id, are `dims`. False: out of memory. */
bool shard_part(Module *module, const MeshShape *shape, int64_t rank, const int64_t *dims,
                const Sharding *sharding, const EvalTensor *whole, EvalTensor *out);

/* Writes a rank's part into `whole` (allocated), and adds 1 to written[i] for each element. False:
 * the part has another shape than it should. Where an element was written before by another value
 * (whole tensors on several ranks), *out_differs is its index. */
bool shard_join(Module *module, const MeshShape *shape, int64_t rank, const int64_t *dims,
                const Sharding *sharding, const EvalTensor *part, EvalTensor *whole,
                int32_t *written, int64_t *out_differs);

#endif
