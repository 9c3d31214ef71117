/* Which rank of a job this process is: told by dlrun's own options, or by the environment that
 * whatever started it has given it. Texts in, numbers out: nothing here opens, starts or prints
 * anything. */
#ifndef DLC_TOOLS_LAUNCH_H
#define DLC_TOOLS_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LAUNCH_TEXT_BYTES = 512, LAUNCH_ADDRESS_BYTES = 320, LAUNCH_MOST_RANKS = 4096 };

/* What the command line says of it; -1 and NULL: nothing. */
typedef struct LaunchFlags {
    int64_t rank, ranks;
    const char *rendezvous; /* "host:port" or "host" */
} LaunchFlags;

typedef struct Launch {
    int64_t rank, ranks;                /* 0 of 1: alone. ranks 0: as many as MPI says */
    int64_t local_rank, local_size;     /* among those of this machine; -1: not told */
    bool by_mpi;                        /* an MPI started it, or a launcher that can serve one */
    bool is_bound;                      /* the affinity mask is this process's own share */
    const char *source;                 /* "RANK and WORLD_SIZE"; NULL: nothing told, alone */
    char address[LAUNCH_ADDRESS_BYTES]; /* "host:port" where rank 0 listens; "": not told */
    char job[128];                      /* equal on all ranks of a job, other for others; or "" */
} Launch;

/* Fills *out from flags and environment ("NAME=value" each, NULL at the end, as environ). False:
 * what is told is malformed, incomplete, or two sources disagree: `message` (LAUNCH_TEXT_BYTES)
 * says which. The sources, in this order, the first that tells anything counts: the flags, RANK and
 * WORLD_SIZE (torchrun, PyTorchJob), Open MPI's, PMIx's, PMI's (Hydra), Slurm's. */
bool launch_detect(const LaunchFlags *flags, char *const *environment, Launch *out, char *message);

/* How many threads a rank takes that its launcher has bound to some of the machine's `online`
 * processors, `allowed` of them: these, or where several ranks are bound to the same ones its
 * share. 0: it is not bound, and a session takes its share of its machine by itself. */
int64_t launch_threads(const Launch *launch, int64_t allowed, int64_t online);

/* "cuda:0-7", "cuda:0,2,5-6": a list of devices, one for each rank of this machine. *out_count: how
 * many, 0: `device` (NULL will do) is no list. False: it is malformed, after a message. */
bool launch_list(const char *device, int64_t *out_count, char *message);
/* The device of the rank with this number on its machine: of a list its own ("cuda:5"), of "cuda"
 * the one with its number; else `device` itself. False: the list is too short, or malformed. */
bool launch_device(const char *device, int64_t local_rank, char *out, size_t n_out, char *message);

#endif
