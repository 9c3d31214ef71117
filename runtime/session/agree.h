/* Whether ranks that are to do the same have the same: each states facts, by subject and value, and
 * the first that differs from the first rank's is an error on all of them. */
#ifndef DLC_RUNTIME_SESSION_AGREE_H
#define DLC_RUNTIME_SESSION_AGREE_H

#include "runtime/comm/comm.h"

enum { AGREE_FACTS = 64, AGREE_SUBJECT_BYTES = 64, AGREE_VALUE_BYTES = 64 };

typedef struct AgreeFact {
    char subject[AGREE_SUBJECT_BYTES]; /* "the number of rows of 'train'"; cut */
    char value[AGREE_VALUE_BYTES];     /* "1199" */
} AgreeFact;

typedef struct AgreeTable {
    AgreeFact facts[AGREE_FACTS];
    int32_t n;
} AgreeTable;

/* Adds a fact to a zeroed table; the value is what is printed. What does not fit the table is
 * counted in a last fact, and the same subject may come again. */
void agree_add(AgreeTable *table, const char *subject, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The value is the hash, as 16 digits. */
void agree_add_hash(AgreeTable *table, const char *subject, uint64_t hash);

/* All ranks of the communicator come here. DLC_OK: all tables are equal. DLC_ERROR_MISMATCH on all
 * of them otherwise, with the same `message` (COMM_MESSAGE_BYTES): of the lowest rank that differs
 * from the first, what differs, and both values. Any other: the communicator's failure;
 * DLC_ERROR_OUT_OF_MEMORY: no room for the others' tables, which ends the communicator. */
dlc_status agree_compare(Comm *comm, const dlc_allocator *allocator, const AgreeTable *own,
                         char *message);

#endif
