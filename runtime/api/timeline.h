/* A run of an entry on all its ranks as it is expected to go, before it runs: which command takes
 * how long, who waits for whom. timeline.c reckons it, timeline_svg.c draws it. */
#ifndef DLC_RUNTIME_API_TIMELINE_H
#define DLC_RUNTIME_API_TIMELINE_H

#include "ir/base/str.h"
#include "runtime/session/phases.h"

enum { TIMELINE_RANKS = 64, SPAN_EXCHANGE = N_PHASES };

/* What a device of a kind is taken to do: round numbers, said on the drawing. */
typedef struct TimelineDevice {
    const char *name;
    double flops, bytes;      /* a second: arithmetic, memory traffic */
    double launch;            /* seconds of a command beside its work */
    double sent, seconds_met; /* of an exchange: bytes a second, and seconds beside them */
    bool goes_on;             /* exchanges of a further queue, beside other work */
} TimelineDevice;

/* A command that does work; one in a loop is there once, as long as all its turns. */
typedef struct TimelineSpan {
    int32_t what;      /* a Phase, or SPAN_EXCHANGE */
    int32_t command;   /* of the entry */
    int64_t times;     /* turns of the loops around it; of a `while` 1 */
    int64_t bytes;     /* an exchange: sent by the rank in all turns */
    double start, end; /* seconds from the beginning of the run */
} TimelineSpan;

typedef struct Timeline {
    const PlanFile *file;
    const PlanTables *tables;
    const PlanEntry *entry;
    const TimelineDevice *device;
    MeshShape shape;
    int64_t n_ranks, n_spans;    /* each rank has a span for the same commands, in their order */
    TimelineSpan *spans;         /* [n_ranks][n_spans] */
    double end;                  /* of the last rank, in seconds */
    int64_t dims[PLAN_MAX_DIMS]; /* of rank 0 */
} Timeline;

/* Appends the drawing, an SVG. */
void timeline_draw(const Timeline *timeline, Str *out);

#endif
