/* Ranks with a context and a communicator each that meet, as threads of the test or as processes.
 */
#ifndef DLC_TESTS_PARALLEL_TOGETHER_H
#define DLC_TESTS_PARALLEL_TOGETHER_H

#include "dlc/dlc.h"

enum { TOGETHER_MOST = 8 };

typedef struct TogetherRank {
    int rank;
    dlc_context *context;
    dlc_communicator *communicator;
    void *user;
} TogetherRank;

typedef void TogetherBody(const TogetherRank *rank);

/* Runs the body on n ranks and waits for all. `folder` NULL: threads; else processes, which meet by
 * a store of files in that folder; what they write is lost but for shared memory. A rank that does
 * not end fails the test. */
void together_run(int n, const char *folder, TogetherBody *body, void *user);

#endif
