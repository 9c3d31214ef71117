/* The pass head with its measures given: for tests, whose heads are small. */
#ifndef DLC_PASSES_HEAD_H
#define DLC_PASSES_HEAD_H

#include "passes/pass.h"

bool head_in_chunks(PassContext *pass, Func *func, const HeadMeasures *measures);

#endif
