/* What every transport must do (suite.c). Each runs the ranks it needs and fails the cmocka test
 * by itself. */
#ifndef DLC_TESTS_COMM_SUITE_H
#define DLC_TESTS_COMM_SUITE_H

#include "tests/comm/ranks.h"

/* Random calls over random groups, some under way at once; results bit for bit as the reference's,
 * bytes as counted there. */
void suite_random(const Transport *transport, int rounds, int64_t most);
/* Many small sums in sequence. */
void suite_sequence(const Transport *transport, int calls);
/* What a rank has started goes on while it does something else. */
void suite_ahead(const Transport *transport, int rounds);
/* One rank fails at a random moment: every other ends with its text. */
void suite_abort(const Transport *transport, int rounds);
/* Calls that differ in one thing: all ranks end, naming both. */
void suite_mismatch(const Transport *transport);
/* Ranks that wait for each other by calls over different groups. */
void suite_circle(const Transport *transport);
/* A rank ends while others wait for it. */
void suite_gone(const Transport *transport);
/* How long each rank waits, told while the communicator lives; the transport has no timeout. A rank
 * is late by `microseconds`, in which the ranks that hear of each other by and by do. */
void suite_patience(const Transport *transport, int microseconds);
/* A rank that does not come; the transport has a timeout. */
void suite_stall(const Transport *transport);
/* Calls that are refused before a transport sees them. */
void suite_malformed(const Transport *transport);

#endif
