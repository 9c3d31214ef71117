/* The compile context: what every stage of one compilation shares. Owner of the context arena:
 * strings, types, sizes, sources and diagnostics live here. One thread at a time. */
#ifndef DLC_IR_BASE_CONTEXT_H
#define DLC_IR_BASE_CONTEXT_H

#include "ir/base/arena.h"
#include "ir/base/diag.h"
#include "ir/base/map.h"
#include "ir/base/vec.h"

typedef struct Context {
    const dlc_allocator *allocator;
    Boundary *boundary;
    Arena arena;
    Map strings;        /* interned text -> itself */
    DiagList diags;
    struct SizePool *sizes; /* ir/size.c */
    int32_t default_float;  /* a DType: DT_F32, or DT_F64 under --float=f64 */
} Context;

void context_init(Context *context, const dlc_allocator *allocator, Boundary *boundary);
void context_finish(Context *context);
/* Interned copy: equal texts give the same pointer. */
const char *context_intern(Context *context, const char *text);
const char *context_internf(Context *context, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Copies text and name into the context. */
const Source *context_source(Context *context, const char *name, const char *text, size_t length,
                             bool is_library);

#endif
