/* The static check of a Func that is one rank's program. */
#ifndef DLC_PASSES_SHARD_CHECK_H
#define DLC_PASSES_SHARD_CHECK_H

#include "ir/ir.h"

/* Proves, for each axis of the mesh, that what is used as equal on all its ranks is equal, that a
 * sum over ranks is taken before anything but a linear op reads it and before it is stored, and
 * taken once, and that what is gathered is cut: of a program that passes/shard has made, where
 * nothing else is meant. False, and what is wrong is in *report, each below the op it concerns:
 * else, or the Func is sound. A Func that is not sharded, or fused already, is left alone.
 * Renumbers the Func; `scratch` is the caller's to clear. */
bool shard_check(Func *func, Arena *scratch, Str *report);

#endif
