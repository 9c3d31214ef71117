/* The control channel of ranks that are processes, beside whatever carries their data: ranks meet
 * at rank 0, hear from each other all the time by a thread of its own, and are all told the first
 * failure of any. Every rank has a connection to rank 0, which watches all and passes failures on.
 *
 * A transport meets, makes its own connections, begins, says what it is at, and ends:
 * control_meet, (control_look, control_tell), control_begin, control_beat, control_end. */
#ifndef DLC_RUNTIME_COMM_CONTROL_CONTROL_H
#define DLC_RUNTIME_COMM_CONTROL_CONTROL_H

#include "runtime/comm/comm.h"
#include "runtime/comm/control/socket.h"

enum { CONTROL_MAX_RANKS = 4096, CONTROL_TEXT_BYTES = 360 };

typedef struct Control Control;

typedef struct ControlOptions {
    int32_t rank, n_ranks;
    /* Where rank 0 listens: "host:port", several separated by commas, tried in turn, "[::1]:port"
     * for IPv6; host names may have several addresses. Rank 0 listens on the first one's port, on
     * all its addresses. */
    const char *addresses;
    /* Rank 0: a socket that listens already, to which `addresses` lead; taken over, also on
     * failure. -1: none. */
    int listener;
    const char *job_key;                  /* ranks with another text are sent away */
    double meet_seconds, silence_seconds; /* above 0 */
    uint32_t port; /* where this rank listens for data, for the others' places; 0: nowhere */
} ControlOptions;

/* What a rank is at. */
typedef struct ControlBeat {
    int64_t n_calls;   /* begun */
    uint64_t call;     /* hash of the one under way; 0: none */
    int32_t waits_for; /* a rank from which nothing of it has come, though it has been sent; -1 */
    int32_t reserved;
    char text[CONTROL_TEXT_BYTES]; /* the call */
} ControlBeat;

/* Called once, at the first failure, by any thread; others that fail meanwhile wait for its end. It
 * calls nothing of the control channel. */
typedef void ControlFailed(void *user, dlc_status status, const char *text);

/* Meets all ranks; *out ends by control_end. On failure `message` (COMM_MESSAGE_BYTES) says why:
 * DLC_ERROR_IO: nobody to meet, in time; DLC_ERROR_MISMATCH: of another version, job or number of
 * ranks; DLC_ERROR_INVALID_ARGUMENT: malformed options. */
dlc_status control_meet(const dlc_allocator *allocator, const ControlOptions *options,
                        Control **out, char *message);
/* Where a rank is reached by this one, its own host without address; its host's name. */
const SocketPlace *control_place(const Control *control, int32_t rank);
const char *control_host(const Control *control, int32_t rank);

/* While transports connect: whether another rank has failed or gone since it came, as `message`
 * then says; and that this one fails, for all others. */
bool control_look(Control *control, char *message);
void control_tell(Control *control, dlc_status status, const char *message);

/* Starts the thread, which asks `at` now and then. DLC_ERROR_LIMIT: the system gives none. */
dlc_status control_begin(Control *control, ControlFailed *on_failure, CommAt *at, void *user,
                         char *message);
/* The first failure of any rank is that of all. */
void control_fail(Control *control, dlc_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same of what `rank` did or did not: rank 0 adds what that one is at, as it said last. */
void control_fail_of(Control *control, int32_t rank, dlc_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void control_beat(Control *control, const ControlBeat *beat);
/* Says that this rank ends, or has failed; rank 0 waits for the others' ends (at most
 * silence_seconds). Frees. NULL will do. */
void control_end(Control *control);

#endif
