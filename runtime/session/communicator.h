/* One rank's end of what the ranks of a job meet in, as the API has it and sessions use it: the
 * communicator itself (runtime/comm), and how the ranks meet anew after a failure has ended it. */
#ifndef DLC_RUNTIME_SESSION_COMMUNICATOR_H
#define DLC_RUNTIME_SESSION_COMMUNICATOR_H

#include "runtime/comm/comm.h"

/* How the ranks meet: made by whoever makes a communicator, which owns it. */
typedef struct Meeting Meeting;
struct Meeting {
    /* *out: this rank's end, the job's `generation`th (from 0; all ranks count alike). On failure
     * `message` (COMM_MESSAGE_BYTES) says why. */
    dlc_status (*meet)(Meeting *meeting, int64_t generation, Comm **out, char *message);
    void (*destroy)(Meeting *meeting);
    bool in_one_process; /* all ranks are; who makes their ends does not wait */
};

struct dlc_communicator {
    ContextChild child;
    dlc_context *context;
    int32_t references; /* the caller's, and sessions' */
    int32_t rank, n_ranks;
    int32_t n_here; /* ranks on this machine, this one too */
    Meeting *meeting;
    Comm *comm; /* NULL: none is left */
    bool is_broken;
    int64_t generation;
};

/* Takes over `meeting`, also on failure, and meets. */
dlc_status communicator_create(dlc_context *context, Meeting *meeting, dlc_communicator **out);
void communicator_release(dlc_communicator *communicator); /* NULL will do */
/* Meets anew where a failure has ended what was there; sets the error. */
dlc_status communicator_renew(dlc_communicator *communicator);
/* This rank has failed, as the context's error says, where the others wait for it, or will: they
 * fail too. NULL will do. */
void communicator_abandon(dlc_communicator *communicator, dlc_status status);

#endif
