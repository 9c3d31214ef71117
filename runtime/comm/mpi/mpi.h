/* Ranks that are processes which an MPI has started: data goes by its messages, the control channel
 * by sockets beside it. */
#ifndef DLC_RUNTIME_COMM_MPI_MPI_H
#define DLC_RUNTIME_COMM_MPI_MPI_H

#include "runtime/comm/comm.h"

extern const CommOps comm_mpi;

typedef struct CommMpiOptions {
    int32_t world;         /* 0: all ranks of the launch; else as comm_mpi_adopt says */
    int32_t rank, n_ranks; /* n_ranks 0: as MPI says; else both must be what it says */
    const char *job_key;   /* the same text on all ranks; NULL: "" */
    /* As CommTcpOptions'. */
    double meet_seconds, silence_seconds, timeout_seconds;
} CommMpiOptions;

/* Starts MPI, where the program has not, and says which rank of how many this process is. The MPI
 * is the one that started the process, as its variables tell, or that of the environment variable
 * DLC_MPI (openmpi, mpich, or the path of a module). From here on the process must not fork.
 * DLC_ERROR_UNSUPPORTED: no module, or no MPI, as `message` (COMM_MESSAGE_BYTES) says. */
dlc_status comm_mpi_place(int32_t *rank, int32_t *n_ranks, char *message);

/* A duplicate of the program's MPI_Comm at `comm`, of so many bytes: all its ranks make this call,
 * once or again. MPI stays the program's to end. DLC_ERROR_UNSUPPORTED, DLC_ERROR_INVALID_ARGUMENT:
 * no module fits the MPI that is loaded, or that communicator does not do, as `message` says. */
dlc_status comm_mpi_adopt(const void *comm, size_t bytes, int32_t *out_world, char *message);

/* Meets the other ranks, all of the launch or of the world; *out ends by comm_close. Calls of a
 * process are counted: its n-th meets the n-th of all others. Errors: comm_mpi_place's and
 * comm_tcp_create's. Starts two threads. MPI ends when the process exits, unless a communicator is
 * open, the last one has failed or the program started MPI itself. */
dlc_status comm_mpi_create(const dlc_allocator *allocator, const CommMpiOptions *options,
                           Comm **out, char *message);

#endif
