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
    Map strings; /* interned text -> itself */
    DiagList diags;
    struct SizePool *sizes;   /* ir/size.c */
    struct OwnedArena *owned; /* further arenas that die with the context */
    int32_t default_float;    /* a DType: DT_F32, or DT_F64 under --float=f64 */
} Context;

/* Begins a call: the boundary's budget is set anew, without limits of bytes and time. */
void context_init(Context *context, const dlc_allocator *allocator, Boundary *boundary);
void context_finish(Context *context); /* its arena, and every owned one */
/* Makes the context finish `arena` (which lives in the context's arena, e.g. a Module's) when it is
 * finished itself: what a jump left behind is freed so. Finishing it earlier is allowed. */
void context_own_arena(Context *context, Arena *arena);
/* Interned copy: equal texts give the same pointer. */
const char *context_intern(Context *context, const char *text);
const char *context_internf(Context *context, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A mistake of ours, met in work on `op` (its name, or what else is worked on), which stands at
 * `place`: reports it with our own file and line, and leaves with DLC_ERROR_INTERNAL. */
#define INTERNAL_ERROR(context, place, op, ...)                                                    \
    internal_error((context), (place), (op), __FILE__, __LINE__, __VA_ARGS__)
_Noreturn void internal_error(Context *context, Place place, const char *op, const char *file,
                              int line, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
const char *source_name(const char *file); /* of __FILE__: from the root of the tree */
/* Copies text and name into the context. */
const Source *context_source(Context *context, const char *name, const char *text, size_t length,
                             bool is_library);

#endif
