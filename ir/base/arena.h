/* Arenas: memory for what dies together. Compile side only: allocation never returns NULL; when
 * memory (or the limit) runs out, control jumps to the Boundary set by the public call, which frees
 * every arena and returns DLC_ERROR_OUT_OF_MEMORY. No jump may cross LLVM, OpenMP or C++ frames. */
#ifndef DLC_IR_BASE_ARENA_H
#define DLC_IR_BASE_ARENA_H

#include "dlc/dlc.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a failed allocation (or a compile-side limit) lands. `status` is set before the jump. */
typedef struct Boundary {
    jmp_buf jump;
    dlc_status status;
    /* What one public call may use, all its arenas together. boundary_budget sets them. */
    size_t bytes, bytes_limit; /* taken now, and at most; 0: no limit */
    double deadline;           /* of CLOCK_MONOTONIC, in seconds; 0: none */
    uintptr_t stack_low;       /* no recursion below this address; 0: not known */
    const char *limit;         /* which limit was met, for the message; NULL: another */
} Boundary;

typedef struct ArenaBlock ArenaBlock;

typedef struct Arena {
    const dlc_allocator *allocator; /* NULL: malloc and free */
    Boundary *boundary;             /* must be set before the first allocation */
    ArenaBlock *blocks;
    char *cursor, *end;
    size_t total; /* bytes taken from the allocator */
    size_t limit; /* 0: none */
} Arena;

void arena_init(Arena *arena, const dlc_allocator *allocator, Boundary *boundary);
void arena_finish(Arena *arena); /* frees every block; accepts a zeroed arena */
void arena_clear(Arena *arena);  /* frees every block, keeps allocator and boundary */

/* Where an arena stands. What was allocated since then goes with arena_release, which must come
 * before any mark taken earlier is released. */
typedef struct ArenaMark {
    ArenaBlock *blocks;
    char *cursor, *end;
    size_t total;
} ArenaMark;
ArenaMark arena_mark(const Arena *arena);
void arena_release(Arena *arena, ArenaMark mark);

/* Zeroed, aligned to 16. Jumps when memory runs out. */
void *arena_alloc(Arena *arena, size_t bytes);
/* count * size, checked: overflow jumps. */
void *arena_alloc_array(Arena *arena, size_t count, size_t size);
char *arena_strndup(Arena *arena, const char *text, size_t length);
char *arena_strdup(Arena *arena, const char *text);
char *arena_format(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vformat(Arena *arena, const char *format, va_list args);

/* Hooks that allocate in the arena (and jump like it) and free nothing, for a Str on the compile
 * side that must not leak over a jump. */
dlc_allocator arena_hooks(Arena *arena);

#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, count)                                                            \
    ((type *)arena_alloc_array((arena), (size_t)(count), sizeof(type)))

/* Leaves the compile for the boundary with `status`; never returns. */
_Noreturn void boundary_leave(Boundary *boundary, dlc_status status);
/* Sets the budget of a call that begins now on this thread: 0 for no limit of bytes or seconds. The
 * bound of the stack is what pthread_getattr_np says, less a reserve. */
void boundary_budget(Boundary *boundary, size_t bytes, double seconds);
/* Leaves with DLC_ERROR_LIMIT when the time is up. */
void boundary_check_time(Boundary *boundary);
/* Whether this thread's stack is nearly used up: recursion that follows the input must end. */
bool boundary_stack_low(const Boundary *boundary);
/* The same for code that has no diagnostic to give: leaves with DLC_ERROR_LIMIT. */
void boundary_check_stack(Boundary *boundary);

#endif
