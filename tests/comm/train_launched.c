/* A rank of a launch by MPI (mpi.sh) that leaves MPI to libdlc: it trains with the other processes,
 * and as threads; both must see the same bits. */
#include "tests/comm/train_kit.h"

int main(void) {
    dlc_context *context = NULL;
    dlc_communicator *communicator = NULL;
    if (dlc_context_create(NULL, &context) != DLC_OK) {
        return 1;
    }
    dlc_communicator_options meet = {
        .struct_size = sizeof(meet), .transport = "mpi", .job = "train", .meet_seconds = 60};
    train_expect(context, dlc_communicator_create(context, &meet, &communicator), "communicator");
    bool same = train_compare(context, communicator);
    dlc_communicator_destroy(communicator);
    dlc_context_destroy(context);
    return same ? 0 : 1;
}
