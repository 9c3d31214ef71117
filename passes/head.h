/* The pass head with its measures given: for tests, whose heads are small. */
#ifndef DLC_PASSES_HEAD_H
#define DLC_PASSES_HEAD_H

#include "passes/pass.h"

typedef struct HeadMeasures {
    double worth; /* elements of logits from which on they are worth chunks */
    double chunk; /* elements of one chunk, about */
    int64_t least_rows;
} HeadMeasures;

bool head_in_chunks(PassContext *pass, Func *func, const HeadMeasures *measures);

#endif
