/* The CPU backend's one entry, for codegen/targets.c. */
#ifndef DLC_CODEGEN_CPU_CPU_H
#define DLC_CODEGEN_CPU_CPU_H

#include "codegen/target.h"

extern const Target target_cpu;

#endif
