/* What a module gives libdlc of the one MPI that it was built for. libdlc links no MPI; their types
 * differ from each other and do not pass this border: ranks, tags, bytes and opaque requests do.
 * Included by modules and by libdlc, depends on neither. */
#ifndef DLC_RUNTIME_COMM_MPI_MODULE_H
#define DLC_RUNTIME_COMM_MPI_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The function `const MpiModule *dlc_mpi_module(void)`. */
#define MPI_MODULE_SYMBOL "dlc_mpi_module"

enum { MPI_MODULE_VERSION = 2 };

/* A send or receive under way. */
typedef struct MpiRequest {
    uint64_t bits; /* an MPI_Request of any MPI; as its null request: done */
} MpiRequest;

/* Functions are called by several threads at once. Those that return int give 0 or more, or below 0
 * for an error that error_text describes. Ranks and tags are those of a *world*: number 0 has all
 * ranks of the launch, the others are duplicates of communicators of the program's. */
typedef struct MpiModule {
    int32_t version; /* MPI_MODULE_VERSION */
    /* Which rank of how many this process is in the world. For world 0 starts MPI if the program
     * has not: then MPI is also ended, when the process exits. -1: `message` says why not. */
    int (*start)(int32_t world, int32_t *rank, int32_t *n_ranks, char *message, size_t n_message);
    /* The world of the program's MPI_Comm at `comm`, of so many bytes: a duplicate that is made
     * once; all its ranks make this call. -1: `message` says why there is none. */
    int (*adopt)(const void *comm, size_t bytes, int32_t *out_world, char *message,
                 size_t n_message);
    /* Two tags that this process has not used yet in the world: the same in every rank for the same
     * call. */
    int32_t (*next_tags)(int32_t world);
    int (*send)(int32_t world, const void *bytes, int32_t n, int32_t rank, int32_t tag,
                MpiRequest *out);
    int (*receive)(int32_t world, void *bytes, int32_t n, int32_t rank, int32_t tag,
                   MpiRequest *out);
    /* 1: a message is there, of *n bytes; 0: not yet. */
    int (*probe)(int32_t world, int32_t rank, int32_t tag, int32_t *n);
    /* 1: done; 0: not yet. */
    int (*test)(MpiRequest *request);
    /* Gives up what is not done; its memory may still be read or written. */
    void (*drop)(MpiRequest *request);
    /* A communicator begins to use MPI; ends. MPI is not ended at the exit while one uses it, whose
     * thread may be in it, nor when the last to end has failed: ranks that are gone would be waited
     * for. */
    void (*use_begin)(void);
    void (*use_end)(bool has_failed);
    void (*error_text)(int error, char *out, size_t n_out);
} MpiModule;

#endif
