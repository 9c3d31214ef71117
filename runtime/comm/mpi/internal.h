/* What the files of the MPI transport share. */
#ifndef DLC_RUNTIME_COMM_MPI_INTERNAL_H
#define DLC_RUNTIME_COMM_MPI_INTERNAL_H

#include "runtime/comm/mpi/module.h"
#include "runtime/comm/mpi/mpi.h"
#include "runtime/comm/stream/stream.h"

/* library.c: the module of this process's MPI; NULL: `message` says what was looked for where. It
 * stays open, as MPI does. */
const MpiModule *mpi_library_open(char *message);
/* The same of the MPI that the program has loaded itself. */
const MpiModule *mpi_library_loaded(char *message);

/* carrier.c: streams over messages of a tag; NULL: no memory. */
extern const StreamOps mpi_carrier_ops;
void *mpi_carrier_new(const dlc_allocator *allocator, const MpiModule *module, int32_t world,
                      int32_t n_ranks, int32_t tag);

#endif
