/* A rank of a launch by MPI (mpi.sh) that starts MPI itself and hands libdlc communicators of its
 * own: all ranks, all in reverse order, a part of them; then it ends MPI itself. With an argument
 * it starts MPI for one thread, which libdlc is to refuse. */
#include "tests/comm/train_kit.h"

#include <mpi.h>
#include <stdio.h>
#include <string.h>

static dlc_context *context_new(void) {
    dlc_context *context = NULL;
    return dlc_context_create(NULL, &context) == DLC_OK ? context : NULL;
}

/* Trains among the ranks of the communicator, twice. */
static bool trains(MPI_Comm comm) {
    const dlc_communicator_options options = {
        .struct_size = sizeof(options), .job = "handed", .meet_seconds = 60};
    dlc_context *context = context_new();
    bool good = context != NULL;
    int rank = -1, n = 0;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &n);
    for (int i = 0; i < 2 && good; i++) {
        dlc_communicator *communicator = NULL;
        train_expect(
            context,
            dlc_communicator_from_mpi(context, &comm, sizeof(comm), &options, &communicator),
            "communicator");
        good = dlc_communicator_rank(communicator) == rank &&
               dlc_communicator_size(communicator) == n && train_compare(context, communicator);
        dlc_communicator_destroy(communicator);
    }
    dlc_context_destroy(context);
    return good;
}

static bool refuses(const void *comm, size_t bytes, const char *text) {
    dlc_context *context = context_new();
    dlc_communicator *communicator = NULL;
    dlc_status status = dlc_communicator_from_mpi(context, comm, bytes, NULL, &communicator);
    bool good = status == DLC_ERROR_UNSUPPORTED && strstr(dlc_last_error(context), text);
    if (!good) {
        fprintf(stderr, "expected '%s', found status %d: %s\n", text, (int)status,
                dlc_last_error(context));
    }
    dlc_context_destroy(context);
    return good;
}

int main(int argc, char **argv) {
    int level = -1, rank = -1, has_ended = 1;
    MPI_Comm world = MPI_COMM_WORLD, none = MPI_COMM_NULL, turned, part;
    (void)argv;
    bool good = refuses(&world, sizeof(world), "the program has not started MPI");
    MPI_Init_thread(NULL, NULL, argc > 1 ? MPI_THREAD_SINGLE : MPI_THREAD_MULTIPLE, &level);
    if (argc > 1) {
        good = refuses(&world, sizeof(world), "start MPI by MPI_Init_thread") && good;
        MPI_Finalize();
        return good ? 0 : 1;
    }
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    good = refuses(&world, sizeof(world) + 1, "an MPI_Comm of ") && good;
    good = refuses(&none, sizeof(none), "MPI_COMM_NULL") && good;
    good = trains(world) && good;
    MPI_Comm_split(MPI_COMM_WORLD, 0, -rank, &turned);
    good = trains(turned) && good;
    MPI_Comm_free(&turned);
    MPI_Comm_split(MPI_COMM_WORLD, rank == 0, 0, &part);
    good = trains(part) && good; /* rank 0 alone, and the others */
    MPI_Comm_free(&part);
    MPI_Finalized(&has_ended);
    good = good && !has_ended;
    MPI_Finalize();
    return good ? 0 : 1;
}
