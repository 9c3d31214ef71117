/* The null backend's one entry, for codegen/targets.c. */
#ifndef DLC_CODEGEN_NULL_NULL_H
#define DLC_CODEGEN_NULL_NULL_H

#include "codegen/target.h"

extern const Target target_null;

#endif
