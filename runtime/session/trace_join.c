/* One file of the traces of all ranks, where each is a process, or a session, of its own. While
 * they run, a rank but the first writes its part to a file without a name on its own machine; at
 * the end it sends it to rank 0 over the communicator, on rank 0's clock. Hosts' clocks are
 * compared when the session is made and at the end, by messages to and fro: the quickest of them
 * errs by half of what it took at most. Between these two the difference is taken to grow evenly.
 * Processes of one machine have one clock. */
#include "runtime/session/session.h"
#include "runtime/session/trace.h"

#include "ir/base/number.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROUNDS = 16, CHUNK_BYTES = 1 << 20, LINE_BYTES = 8192 };

/* Between rank 0 and another rank: from number 0 or 1 of these two. */
static dlc_status pair_tell(dlc_session *session, int32_t other, int32_t from, void *bytes,
                            int64_t n) {
    const int32_t ranks[] = {0, other};
    const CommBuffer buffer = {
        .in = bytes, .out = bytes, .dtype = PLAN_U8, .outer = 1, .rows = 1, .unit = n};
    const CommCall call = {.kind = COMM_BROADCAST,
                           .number = from,
                           .group = {ranks, 2},
                           .buffers = &buffer,
                           .n_buffers = 1,
                           .name = "a trace"};
    dlc_status status = exchange_call(session->ranks, &call);
    session->is_broken |= status != DLC_OK;
    return status;
}

/* -- Clocks -- */

/* The same on all that have the same clock, of this machine since it has started, and in one
 * namespace of times, as containers may have their own; 0: it cannot be told. */
static uint64_t clock_number(void) {
    char text[64] = "", space[64] = "";
    int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = file < 0 ? 0 : read(file, text, sizeof(text));
    if (file >= 0) {
        close(file);
    }
    ssize_t n_space = readlink("/proc/self/ns/time", space, sizeof(space));
    uint64_t hash = n_space > 0 ? hash_bytes(space, (size_t)n_space, 1) : 1;
    return n > 0 ? hash_bytes(text, (size_t)n, hash) : 0;
}

/* How far the other rank's clock is before rank 0's, which is *at now: told to both. */
static dlc_status clocks_compare(dlc_session *session, int32_t other, TraceClock *out) {
    bool is_first = session->ranks->place.number == 0;
    uint64_t own = clock_number(), first = own, second = own;
    double best = 1e30;
    dlc_status status = pair_tell(session, other, 0, &first, sizeof(first));
    if (status == DLC_OK) {
        status = pair_tell(session, other, 1, &second, sizeof(second));
    }
    int rounds = first == second && first != 0 ? 1 : ROUNDS;
    *out = (TraceClock){.ahead = 0};
    for (int i = 0; i < rounds && status == DLC_OK; i++) {
        double before = clock_seconds(), there = 0;
        status = pair_tell(session, other, 0, &before, sizeof(before));
        there = clock_seconds();
        if (status == DLC_OK) {
            status = pair_tell(session, other, 1, &there, sizeof(there));
        }
        double after = clock_seconds();
        if (status == DLC_OK && is_first && after - before < best) {
            best = after - before;
            out->ahead = rounds > 1 ? there - (before + after) / 2 : 0;
            out->at = there;
        }
    }
    return status == DLC_OK ? pair_tell(session, other, 0, out, sizeof(*out)) : status;
}

/* Whether this session's trace becomes a part of rank 0's, or (of rank 0) gets parts. */
static bool joins(const dlc_session *session) {
    return session->communicator && session->n_all > 1 && session->ranks->trace &&
           session->traces[0];
}

/* This one's turn with rank 0 is each other rank's; rank 0 takes them in order. */
static bool has_part(const dlc_session *session, int32_t r) {
    int64_t own = session->ranks->place.number;
    return session->traces[r] && (own == 0 || own == r);
}

dlc_status session_trace_begin(dlc_session *session) {
    dlc_status status = DLC_OK;
    for (int32_t r = 1; r < session->n_all && joins(session) && status == DLC_OK; r++) {
        status = has_part(session, r) ? clocks_compare(session, r, &session->clock) : DLC_OK;
    }
    return status;
}

/* -- A part, as it is sent: chunks of whole lines, each event behind ",\n" -- */

typedef struct Sending {
    dlc_session *session;
    int32_t rank;
    char *chunk;      /* [CHUNK_BYTES] */
    int64_t n, whole; /* bytes in it; of whole lines */
    TraceClock begin, end;
    double origin, first_origin; /* of this rank's times, and of rank 0's */
} Sending;

static dlc_status chunk_send(Sending *sending) {
    int64_t n = sending->whole;
    dlc_status status = pair_tell(sending->session, sending->rank, 1, &n, sizeof(n));
    if (status == DLC_OK && n > 0) {
        status = pair_tell(sending->session, sending->rank, 1, sending->chunk, n);
        memmove(sending->chunk, sending->chunk + n, (size_t)(sending->n - n));
        sending->n -= n;
        sending->whole = 0;
    }
    return status;
}

/* What does not fit the chunk has been sent before; a line that is as large is left out. */
static dlc_status chunk_add(Sending *sending, const char *text, size_t n) {
    dlc_status status = DLC_OK;
    if (sending->n + (int64_t)n > CHUNK_BYTES) {
        status = sending->whole > 0 ? chunk_send(sending) : DLC_OK;
    }
    if (status == DLC_OK && sending->n + (int64_t)n <= CHUNK_BYTES) {
        memcpy(sending->chunk + sending->n, text, n);
        sending->n += (int64_t)n;
    }
    return status;
}

/* A time of this rank's file, in microseconds, as one of rank 0's. */
static double time_there(const Sending *sending, double here) {
    double at = sending->origin + 1e-6 * here;
    double span = sending->end.at - sending->begin.at;
    double share = span > 0 ? (at - sending->begin.at) / span : 0;
    double ahead = sending->begin.ahead + share * (sending->end.ahead - sending->begin.ahead);
    return 1e6 * (at - ahead - sending->first_origin);
}

/* A line, or the beginning of one that is longer: the file has one event on each. */
static dlc_status line_add(Sending *sending, const char *line, bool begins) {
    static const char TIME[] = "\"ts\": ";
    size_t n = strlen(line);
    bool ends = n > 0 && line[n - 1] == '\n';
    n -= ends;
    n -= ends && n > 0 && line[n - 1] == ',';
    dlc_status status = begins ? chunk_add(sending, ",\n", 2) : DLC_OK;
    const char *time = begins ? strstr(line, TIME) : NULL;
    if (time && status == DLC_OK) {
        char *rest;
        NumberText there =
            number_fixed(time_there(sending, number_scan(time + sizeof(TIME) - 1, &rest)), 3);
        size_t before = (size_t)(time - line) + sizeof(TIME) - 1;
        status = chunk_add(sending, line, before);
        status = status == DLC_OK ? chunk_add(sending, there.text, strlen(there.text)) : status;
        n -= (size_t)(rest - line);
        line = rest;
    }
    return status == DLC_OK ? chunk_add(sending, line, n) : status;
}

static dlc_status lines_send(Sending *sending, FILE *file) {
    char line[LINE_BYTES];
    dlc_status status = DLC_OK;
    bool begins = true, is_first = true;
    fflush(file);
    rewind(file);
    while (status == DLC_OK && fgets(line, sizeof(line), file)) {
        if (!is_first) { /* "[" */
            status = line_add(sending, line, begins);
        }
        is_first = false;
        begins = strchr(line, '\n') != NULL;
        sending->whole = begins ? sending->n : sending->whole;
    }
    sending->whole = sending->n; /* the last has no end */
    if (status == DLC_OK && sending->n > 0) {
        status = chunk_send(sending);
    }
    sending->whole = 0;
    return status == DLC_OK ? chunk_send(sending) : status; /* nothing: the end */
}

static dlc_status part_send(dlc_session *session) {
    int32_t own = (int32_t)session->ranks->place.number;
    Sending sending = {.session = session,
                       .rank = own,
                       .begin = session->clock,
                       .origin = trace_origin(session->ranks),
                       .chunk = memory_new(&session->context->allocator, CHUNK_BYTES, 1)};
    dlc_status status = sending.chunk ? DLC_OK : context_out_of_memory(session->context);
    if (status == DLC_OK) {
        status = clocks_compare(session, own, &sending.end);
    }
    if (status == DLC_OK) {
        status = pair_tell(session, own, 0, &sending.first_origin, sizeof(double));
    }
    if (status == DLC_OK) {
        status = lines_send(&sending, trace_stream(session->ranks));
    }
    memory_free(&session->context->allocator, sending.chunk);
    if (status == DLC_OK) {
        trace_sent(session->ranks);
    }
    return status;
}

/* -- Rank 0 -- */

static dlc_status part_take(dlc_session *session, int32_t r, char *chunk) {
    TraceClock clock;
    FILE *file = trace_stream(session->ranks);
    double origin = trace_origin(session->ranks);
    int64_t n = 1;
    dlc_status status = clocks_compare(session, r, &clock);
    if (status == DLC_OK) {
        status = pair_tell(session, r, 0, &origin, sizeof(origin));
    }
    while (status == DLC_OK && n > 0) {
        status = pair_tell(session, r, 1, &n, sizeof(n));
        if (status == DLC_OK && (n < 0 || n > CHUNK_BYTES)) {
            status = context_fail(session->context, DLC_ERROR_INTERNAL, "a trace is malformed");
        }
        if (status == DLC_OK && n > 0) {
            status = pair_tell(session, r, 1, chunk, n);
            if (status == DLC_OK) {
                fwrite(chunk, 1, (size_t)n, file);
            }
        }
    }
    return status;
}

static void parts_take(dlc_session *session) {
    char *chunk = memory_new(&session->context->allocator, CHUNK_BYTES, 1);
    dlc_status status = DLC_OK;
    if (!chunk) {
        status = session_abandon(session, context_out_of_memory(session->context));
    }
    for (int32_t r = 1; r < session->n_all; r++) {
        if (!session->traces[r]) {
            continue;
        }
        if (status == DLC_OK && !session->is_broken) {
            status = part_take(session, r, chunk);
        }
        if (status != DLC_OK || session->is_broken) {
            trace_missing(session->ranks, r);
        }
    }
    memory_free(&session->context->allocator, chunk);
    if (session->is_broken) {
        context_log(session->context, DLC_LOG_WARNING,
                    "the trace is not of all ranks: the others did not come to its end; what is "
                    "left of them lies beside it, on their machines");
    }
}

void session_trace_join(dlc_session *session) {
    if (!joins(session)) {
        return;
    }
    session->is_broken |= session->communicator->is_broken;
    if (!session->is_broken) { /* else they would meet anew, and who has died does not come */
        session->is_broken = session_meet(session) != DLC_OK;
        session_takes_long(session, "the end of its trace");
    }
    if (session->ranks->place.number == 0) {
        parts_take(session);
    } else if (!session->is_broken) {
        (void)part_send(session);
    }
}
