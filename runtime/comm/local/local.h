/* Ranks that are threads of one process. Work of a call is cut into chunks that stay in cache;
 * whoever waits takes chunks, of all ranks' parts, so that a rank which computes or is not
 * scheduled delays nobody once it has started the call. */
#ifndef DLC_RUNTIME_COMM_LOCAL_LOCAL_H
#define DLC_RUNTIME_COMM_LOCAL_LOCAL_H

#include "runtime/comm/comm.h"

extern const CommOps comm_local;

/* Makes all ends of a communicator of 1 to 256 ranks: out[r] is rank r's, each ended by
 * comm_close, on any thread. Memory is taken here and given back by the last close, none in
 * between. timeout_seconds: every rank's patience at first (comm_patience). */
dlc_status comm_local_create(const dlc_allocator *allocator, int32_t n_ranks,
                             double timeout_seconds, Comm **out);

#endif
