/* What ranks that an MPI has started train, by the public API alone. */
#ifndef DLC_TESTS_COMM_TRAIN_KIT_H
#define DLC_TESTS_COMM_TRAIN_KIT_H

#include "dlc/dlc.h"

#include <stdbool.h>

/* Ends the process with a message unless all is well. */
void train_expect(dlc_context *context, dlc_status status, const char *what);
/* Trains with the other ranks of the communicator, and by a session that has as many ranks as
 * threads: whether both saw the same bits; if not, says so. */
bool train_compare(dlc_context *context, dlc_communicator *communicator);

#endif
