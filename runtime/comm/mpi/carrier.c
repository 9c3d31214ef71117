/* Streams of bytes over MPI's messages. What is sent is copied to a buffer of the carrier's, and
 * what is received from one: MPI cannot be made to let go of a message to a rank that has died, and
 * callers' memory must not be touched after a failure.
 *
 * MPI moves what is on its way only while it is called, so resting is calling it again and again,
 * with pauses that grow: ranks that compute need the cores. */
#include "runtime/comm/mpi/internal.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Messages under way on a stream: one is copied while another moves. SPINS: before the first pause.
 * Pauses in microseconds; where nothing is wanted others' messages may still need this rank's help.
 */
enum { SLOTS = 2, SPINS = 50, FIRST_PAUSE = 10, LONGEST_PAUSE = 1000, IDLE_PAUSE = 20000 };
/* Bytes of a message, and of all messages of a direction. */
enum { LEAST_MESSAGE = 64 << 10, MOST_MESSAGE = 1 << 20, MOST_BUFFERS = 64 << 20 };

typedef struct Slot {
    char *buffer;  /* [message_bytes]; NULL: not needed yet */
    int32_t bytes; /* of the message in it; 0: none */
    bool is_done;  /* it has moved */
    MpiRequest request;
} Slot;

/* A queue of messages: `n` of them from `first` on. */
typedef struct Lane {
    Slot slots[SLOTS];
    int first, n;
    int32_t taken; /* bytes of the first that receivers have taken */
    bool is_broken;
} Lane;

typedef struct Carrier {
    const dlc_allocator *allocator;
    const MpiModule *module;
    int32_t world, n_ranks, tag, message_bytes;
    Lane *sends, *receives; /* [n_ranks] */
    int spins, pause;
    bool has_moved;
    char error[COMM_MESSAGE_BYTES / 2];
} Carrier;

static Slot *slot_at(Lane *lane, int number) {
    return &lane->slots[(lane->first + number) % SLOTS];
}

/* Not the allocator's: at a failure MPI may keep it for ever (carrier_free). */
static bool slot_ready(const Carrier *carrier, Slot *slot) {
    slot->buffer = slot->buffer ? slot->buffer : malloc((size_t)carrier->message_bytes);
    return slot->buffer != NULL;
}

static int64_t broken(Carrier *carrier, Lane *lane, int error) {
    if (!lane->is_broken && !carrier->error[0]) {
        carrier->module->error_text(error, carrier->error, sizeof(carrier->error));
    }
    lane->is_broken = true;
    return -1;
}

static int64_t no_memory(Carrier *carrier, Lane *lane) {
    snprintf(carrier->error, sizeof(carrier->error), "there is no memory for a message of %d bytes",
             carrier->message_bytes);
    lane->is_broken = true;
    return -1;
}

/* The first message has left the queue. */
static void lane_next(Lane *lane) {
    slot_at(lane, 0)->bytes = 0;
    slot_at(lane, 0)->is_done = false;
    lane->first = (lane->first + 1) % SLOTS;
    lane->n--;
}

/* -- Sending. */

/* Up to `most` bytes of the runs behind the first `skip`. */
static int32_t pack(const struct iovec *runs, int n, int64_t skip, int32_t most, char *to) {
    int32_t bytes = 0;
    for (int i = 0; i < n && bytes < most; i++) {
        int64_t length = (int64_t)runs[i].iov_len, from = skip < length ? skip : length;
        int64_t some = length - from < most - bytes ? length - from : most - bytes;
        memcpy(to + bytes, (const char *)runs[i].iov_base + from, (size_t)some);
        bytes += (int32_t)some;
        skip -= from;
    }
    return bytes;
}

/* The runs begin with what is under way already: it is told to have moved when it has. */
static int64_t carrier_send(void *user, int32_t rank, const struct iovec *runs, int n) {
    Carrier *carrier = user;
    Lane *lane = &carrier->sends[rank];
    int64_t moved = 0, under_way = 0;
    for (int i = 0; i < lane->n; i++) {
        under_way += slot_at(lane, i)->bytes;
    }
    while (lane->n < SLOTS && !lane->is_broken) {
        Slot *slot = slot_at(lane, lane->n);
        if (!slot_ready(carrier, slot)) {
            return no_memory(carrier, lane);
        }
        slot->bytes = pack(runs, n, under_way, carrier->message_bytes, slot->buffer);
        if (slot->bytes == 0) {
            break;
        }
        int error = carrier->module->send(carrier->world, slot->buffer, slot->bytes, rank,
                                          carrier->tag, &slot->request);
        if (error < 0) {
            slot->bytes = 0;
            return broken(carrier, lane, error);
        }
        under_way += slot->bytes;
        lane->n++;
    }
    while (lane->n > 0 && !lane->is_broken) {
        int is_done = carrier->module->test(&slot_at(lane, 0)->request);
        if (is_done <= 0) {
            if (is_done < 0) {
                return broken(carrier, lane, is_done);
            }
            break;
        }
        moved += slot_at(lane, 0)->bytes;
        lane_next(lane);
    }
    carrier->has_moved = carrier->has_moved || moved > 0;
    return lane->is_broken ? -1 : moved;
}

/* -- Receiving. */

/* Takes in what has come, as far as there are slots. */
static int receives_begin(Carrier *carrier, Lane *lane, int32_t rank) {
    while (lane->n < SLOTS) {
        int32_t bytes = 0;
        Slot *slot = slot_at(lane, lane->n);
        int is_there = carrier->module->probe(carrier->world, rank, carrier->tag, &bytes);
        if (is_there <= 0) {
            return is_there;
        }
        if (!slot_ready(carrier, slot)) {
            return (int)no_memory(carrier, lane);
        }
        if (bytes < 1 || bytes > carrier->message_bytes) {
            snprintf(carrier->error, sizeof(carrier->error),
                     "a message of %d bytes came, where %d are the most", bytes,
                     carrier->message_bytes);
            return -1;
        }
        int error = carrier->module->receive(carrier->world, slot->buffer, bytes, rank,
                                             carrier->tag, &slot->request);
        if (error < 0) {
            return error;
        }
        slot->bytes = bytes;
        lane->n++;
    }
    return 0;
}

/* What has come of the first message; returns bytes. */
static int64_t unpack(Lane *lane, const struct iovec *runs, int n, int64_t skip) {
    const Slot *slot = slot_at(lane, 0);
    int64_t moved = 0;
    for (int i = 0; i < n && lane->taken < slot->bytes; i++) {
        int64_t length = (int64_t)runs[i].iov_len, at = skip < length ? skip : length;
        int64_t some = length - at, rest = slot->bytes - lane->taken;
        some = some < rest ? some : rest;
        memcpy((char *)runs[i].iov_base + at, slot->buffer + lane->taken, (size_t)some);
        lane->taken += (int32_t)some;
        moved += some;
        skip -= at;
    }
    return moved;
}

static int64_t carrier_receive(void *user, int32_t rank, const struct iovec *runs, int n) {
    Carrier *carrier = user;
    Lane *lane = &carrier->receives[rank];
    int64_t moved = 0;
    int error = lane->is_broken ? -1 : receives_begin(carrier, lane, rank);
    while (lane->n > 0 && error >= 0) {
        Slot *slot = slot_at(lane, 0);
        int is_done = slot->is_done ? 1 : carrier->module->test(&slot->request);
        if (is_done <= 0) {
            error = is_done;
            break;
        }
        slot->is_done = true;
        moved += unpack(lane, runs, n, moved);
        if (lane->taken < slot->bytes) {
            break;
        }
        lane->taken = 0;
        lane_next(lane);
    }
    carrier->has_moved = carrier->has_moved || moved > 0;
    return error < 0 ? broken(carrier, lane, error) : moved;
}

/* -- Resting. */

static void pause_for(int event, int microseconds) {
    struct pollfd poll_one = {.fd = event, .events = POLLIN};
    struct timespec time = {microseconds / 1000000, (long)(microseconds % 1000000) * 1000};
    ppoll(&poll_one, 1, &time, NULL);
}

static void carrier_rest(void *user, const StreamWant *wants, int32_t n, int event, int patience,
                         bool is_awaited) {
    Carrier *carrier = user;
    (void)wants;
    (void)is_awaited;
    if (carrier->has_moved) {
        carrier->has_moved = false;
        carrier->spins = 0;
        carrier->pause = FIRST_PAUSE;
    }
    if (n == 0) {
        int32_t bytes;
        (void)carrier->module->probe(carrier->world, 0, carrier->tag, &bytes);
        pause_for(event, IDLE_PAUSE);
    } else if (carrier->spins++ < SPINS) {
        sched_yield();
    } else {
        int most =
            patience >= 0 && patience * 1000 < LONGEST_PAUSE ? patience * 1000 : LONGEST_PAUSE;
        pause_for(event, carrier->pause < most ? carrier->pause : most);
        carrier->pause = carrier->pause < LONGEST_PAUSE ? carrier->pause * 2 : LONGEST_PAUSE;
    }
}

static const char *carrier_why(void *user) {
    return ((const Carrier *)user)->error;
}

/* -- Beginning and end. */

/* A message that is not done keeps its buffer: MPI may read or write it whenever it is called. */
static void lane_free(const Carrier *carrier, Lane *lane) {
    for (int i = 0; i < SLOTS; i++) {
        Slot *slot = slot_at(lane, i);
        bool is_under_way = i < lane->n && !slot->is_done;
        if (is_under_way && carrier->module->test(&slot->request) <= 0) {
            carrier->module->drop(&slot->request);
        } else {
            free(slot->buffer);
        }
    }
}

static void carrier_free(void *user, bool has_failed) {
    Carrier *carrier = user;
    for (int32_t i = 0; i < carrier->n_ranks && carrier->sends && carrier->receives; i++) {
        lane_free(carrier, &carrier->sends[i]);
        lane_free(carrier, &carrier->receives[i]);
    }
    carrier->module->use_end(has_failed);
    memory_free(carrier->allocator, carrier->sends);
    memory_free(carrier->allocator, carrier->receives);
    memory_free(carrier->allocator, carrier);
}

void *mpi_carrier_new(const dlc_allocator *allocator, const MpiModule *module, int32_t world,
                      int32_t n_ranks, int32_t tag) {
    Carrier *carrier = memory_new(allocator, 1, sizeof(*carrier));
    if (!carrier) {
        return NULL;
    }
    int32_t bytes = MOST_BUFFERS / SLOTS / n_ranks;
    bytes = bytes < LEAST_MESSAGE ? LEAST_MESSAGE : bytes > MOST_MESSAGE ? MOST_MESSAGE : bytes;
    *carrier = (Carrier){.allocator = allocator,
                         .module = module,
                         .world = world,
                         .n_ranks = n_ranks,
                         .tag = tag,
                         .message_bytes = bytes,
                         .pause = FIRST_PAUSE};
    module->use_begin();
    carrier->sends = memory_new(allocator, (size_t)n_ranks, sizeof(Lane));
    carrier->receives = memory_new(allocator, (size_t)n_ranks, sizeof(Lane));
    if (!carrier->sends || !carrier->receives) {
        carrier_free(carrier, false);
        return NULL;
    }
    return carrier;
}

const StreamOps mpi_carrier_ops = {.has_thread = true,
                                   .send = carrier_send,
                                   .receive = carrier_receive,
                                   .rest = carrier_rest,
                                   .why = carrier_why,
                                   .free = carrier_free};
