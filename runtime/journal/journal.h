/* A rank's journal: its last events, in a ring of memory that costs no system call, and, where a
 * folder is given, in a file of the same bytes (mapped, so that a process that is killed leaves it
 * whole). What explain.h compares when ranks wait for each other; what a rank is at, for the
 * messages of others.
 *
 * One thread writes; any other may ask for what it is at. Functions take NULL for no journal. */
#ifndef DLC_RUNTIME_JOURNAL_JOURNAL_H
#define DLC_RUNTIME_JOURNAL_JOURNAL_H

#include "runtime/context.h"

enum {
    JOURNAL_EVENTS = 256, /* the last that are kept */
    JOURNAL_TEXT_BYTES = 96,
    JOURNAL_NAME_BYTES = 64,
    JOURNAL_MESSAGE_BYTES = 512,
    JOURNAL_VERSION = 2
};
#define JOURNAL_MAGIC UINT64_C(0x6c6e726a636c6401)

typedef enum JournalKind {
    JOURNAL_RUN = 1,     /* a run of an entry begins; text: its name */
    JOURNAL_RAN = 2,     /* and has ended well */
    JOURNAL_MEETS = 3,   /* a collective begins; text: what, and its place in the program */
    JOURNAL_MET = 4,     /* its results are there */
    JOURNAL_DOES = 5,    /* something else, between runs; text: what */
    JOURNAL_GATHERS = 6, /* the ranks have met in a communicator, and count anew */
    JOURNAL_FAILS = 7,   /* by itself; text: the error */
    JOURNAL_STOPS = 8,   /* as another has failed; text: the error */
    JOURNAL_LEAVES = 9,  /* as it should */
    JOURNAL_STARTS = 10, /* a collective begins, and the rank goes on */
    JOURNAL_AWAITS = 11, /* one that was started is waited for; text: as it began */
    JOURNAL_N_KINDS = 12
} JournalKind;

/* In a file as in memory: the magic number proves the order of bytes. */
typedef struct JournalEvent {
    uint64_t number;  /* from 1; 0: not whole. Event n is at (n - 1) mod JOURNAL_EVENTS */
    int64_t time;     /* nanoseconds since 1970 */
    int64_t step;     /* of the run; 0: none */
    uint64_t binding; /* hash of the dims */
    int64_t call;     /* collectives begun since the ranks have met, this one included */
    int32_t meeting;  /* how often they have met */
    int32_t kind;     /* a JournalKind */
    int32_t command;  /* of the entry; -1: none */
    int32_t n_commands;
    char text[JOURNAL_TEXT_BYTES]; /* cut */
} JournalEvent;

/* Whose journal it is: of what there is at its beginning. */
typedef struct JournalAbout {
    int32_t rank, n_ranks;
    const char *plan; /* its name */
} JournalAbout;

typedef struct JournalFile {
    uint64_t magic;
    uint32_t version, bytes; /* of the file */
    int32_t rank, n_ranks;
    int64_t process, began; /* id; nanoseconds since 1970 */
    char host[JOURNAL_NAME_BYTES], plan[JOURNAL_NAME_BYTES];
    /* What the rank is at, newer than the last event. */
    _Atomic(int64_t) step;
    _Atomic(int32_t) command, n_commands; /* of the running entry; -1: none runs */
    JournalEvent events[JOURNAL_EVENTS];
} JournalFile;

typedef struct Journal Journal;

/* With `folder` the file "rank-0003.journal" in it, which is made if it is missing; an older file
 * of that name is replaced, and stays as it is to who has it open. NULL: memory alone. On failure
 * `message` (JOURNAL_MESSAGE_BYTES) says why: DLC_ERROR_IO, DLC_ERROR_OUT_OF_MEMORY. */
dlc_status journal_create(const dlc_allocator *allocator, const JournalAbout *about,
                          const char *folder, Journal **out, char *message);
/* The file stays. */
void journal_destroy(Journal *journal);
/* As it was given; NULL: there is none. */
const char *journal_folder(const Journal *journal);

/* A run of `name` begins: `step` as JournalEvent has it. */
void journal_run(Journal *journal, const char *name, int64_t step, uint64_t binding,
                 int32_t n_commands);
/* It is at this command. No event: only for what the rank is at. */
void journal_command(Journal *journal, int32_t command);
/* A collective begins, for the run's command (-1: of none); the texts may be NULL. */
void journal_meets(Journal *journal, int32_t command, const char *kind, const char *place);
/* The same of one that goes on while the rank does something else, and where it waits for one. */
void journal_starts(Journal *journal, int32_t command, const char *kind, const char *place);
void journal_awaits(Journal *journal, int32_t command, const char *kind, const char *place);
/* Any other. JOURNAL_RAN, _FAILS, _STOPS and _DOES end the run. `text` may be NULL; that of _DOES
 * lives as long as the journal. */
void journal_note(Journal *journal, JournalKind kind, const char *text);

/* Of the rank, by any thread. Of the run: its step (0: none) and command (-1: no run). */
typedef struct JournalNow {
    int64_t step;
    int32_t command, n_commands;
    const char *run;  /* its entry's name, that of the last one; "" before the first */
    const char *does; /* what it does instead, where it is in no run */
} JournalNow;
JournalNow journal_now(const Journal *journal);

#endif
