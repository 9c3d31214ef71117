/* Arenas: bump allocation in blocks that grow with use, freed together (arena.h). */
#include "ir/base/arena.h"
#include "ir/base/checked.h"
#include "ir/base/memory.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ARENA_ALIGNMENT = 16, ARENA_FIRST_BLOCK = 16 * 1024, ARENA_LAST_BLOCK = 1024 * 1024 };

/* The payload follows at the next multiple of ARENA_ALIGNMENT. */
struct ArenaBlock {
    ArenaBlock *next;
    size_t bytes;
};

static size_t aligned(size_t bytes) {
    return (bytes + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
}

enum {
    HEADER_BYTES = (sizeof(ArenaBlock) + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT
};

_Noreturn void boundary_leave(Boundary *boundary, dlc_status status) {
    boundary->status = status;
    longjmp(boundary->jump, 1);
}

/* -- Budgets -- */

/* Left for what does not ask: leaf functions, printf, the signal frame. */
enum { STACK_RESERVE = 96 * 1024, STACK_UNKNOWN = 256 * 1024 };

static uintptr_t stack_position(void) {
    return (uintptr_t)__builtin_frame_address(0);
}

static uintptr_t lowest_stack(void) {
    uintptr_t here = stack_position();
    pthread_attr_t attributes;
    void *base = NULL;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        if (pthread_attr_getstack(&attributes, &base, &size) != 0) {
            base = NULL;
        }
        pthread_attr_destroy(&attributes);
    }
    uintptr_t low = (uintptr_t)base;
    if (base == NULL || low >= here || here - low > size) { /* a fiber's stack, for one */
        return here > STACK_UNKNOWN ? here - STACK_UNKNOWN : 0;
    }
    return low + STACK_RESERVE;
}

static double monotonic_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void boundary_budget(Boundary *boundary, size_t bytes, double seconds) {
    boundary->bytes_limit = bytes;
    boundary->deadline = seconds > 0 ? monotonic_seconds() + seconds : 0;
    boundary->stack_low = lowest_stack();
}

static _Noreturn void leave_limit(Boundary *boundary, const char *limit) {
    boundary->limit = limit;
    boundary_leave(boundary, DLC_ERROR_LIMIT);
}

void boundary_check_time(Boundary *boundary) {
    if (boundary->deadline > 0 && monotonic_seconds() > boundary->deadline) {
        leave_limit(boundary, "the time that the compile was given (compile_seconds) is over");
    }
}

bool boundary_stack_low(const Boundary *boundary) {
    return boundary->stack_low != 0 && stack_position() < boundary->stack_low;
}

void boundary_check_stack(Boundary *boundary) {
    if (boundary_stack_low(boundary)) {
        leave_limit(boundary, "the program nests too deeply for the stack of this thread");
    }
}

void arena_init(Arena *arena, const dlc_allocator *allocator, Boundary *boundary) {
    *arena = (Arena){.allocator = allocator, .boundary = boundary};
}

ArenaMark arena_mark(const Arena *arena) {
    return (ArenaMark){arena->blocks, arena->cursor, arena->end, arena->total};
}

void arena_release(Arena *arena, ArenaMark mark) {
    while (arena->blocks != mark.blocks) {
        ArenaBlock *block = arena->blocks;
        arena->blocks = block->next;
        if (arena->boundary) {
            arena->boundary->bytes -= block->bytes;
        }
        raw_free(arena->allocator, block);
    }
    arena->cursor = mark.cursor;
    arena->end = mark.end;
    arena->total = mark.total;
}

void arena_clear(Arena *arena) {
    arena_release(arena, (ArenaMark){0});
}

void arena_finish(Arena *arena) {
    arena_clear(arena);
    arena->boundary = NULL;
}

/* A block with room for `payload` bytes; a payload that would waste most of a shared block gets one
 * of its own and leaves the cursor where it was. */
static char *block_take(Arena *arena, size_t payload) {
    size_t wanted = arena->total < ARENA_FIRST_BLOCK ? ARENA_FIRST_BLOCK : arena->total;
    if (wanted > ARENA_LAST_BLOCK) {
        wanted = ARENA_LAST_BLOCK;
    }
    bool own = payload > wanted / 4;
    size_t bytes = own ? payload + (size_t)HEADER_BYTES : wanted;
    if (arena->limit && (bytes > arena->limit || arena->total > arena->limit - bytes)) {
        boundary_leave(arena->boundary, DLC_ERROR_LIMIT);
    }
    Boundary *boundary = arena->boundary;
    if (boundary->bytes_limit &&
        (bytes > boundary->bytes_limit || boundary->bytes > boundary->bytes_limit - bytes)) {
        leave_limit(boundary, "the memory that the compile was given (compile_bytes) is used up");
    }
    boundary_check_time(boundary);
    ArenaBlock *block = raw_alloc(arena->allocator, bytes);
    if (!block) {
        boundary_leave(arena->boundary, DLC_ERROR_OUT_OF_MEMORY);
    }
    block->next = arena->blocks;
    block->bytes = bytes;
    arena->blocks = block;
    arena->total += bytes;
    boundary->bytes += bytes;
    char *start = (char *)block + (size_t)HEADER_BYTES;
    if (!own) {
        arena->cursor = start + payload;
        arena->end = (char *)block + bytes;
    }
    return start;
}

void *arena_alloc(Arena *arena, size_t bytes) {
    if (bytes > SIZE_MAX / 2) {
        boundary_leave(arena->boundary, DLC_ERROR_OUT_OF_MEMORY);
    }
    size_t payload = aligned(bytes ? bytes : 1);
    char *memory;
    if (arena->cursor && (size_t)(arena->end - arena->cursor) >= payload) {
        memory = arena->cursor;
        arena->cursor += payload;
    } else {
        memory = block_take(arena, payload);
    }
    memset(memory, 0, payload);
    return memory;
}

void *arena_alloc_array(Arena *arena, size_t count, size_t size) {
    size_t bytes;
    if (!checked_mul_size(count, size, &bytes)) {
        boundary_leave(arena->boundary, DLC_ERROR_OUT_OF_MEMORY);
    }
    return arena_alloc(arena, bytes);
}

char *arena_strndup(Arena *arena, const char *text, size_t length) {
    char *copy = arena_alloc(arena, length + 1);
    if (length) {
        memcpy(copy, text, length);
    }
    return copy;
}

char *arena_strdup(Arena *arena, const char *text) {
    return arena_strndup(arena, text, strlen(text));
}

char *arena_vformat(Arena *arena, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) {
        boundary_leave(arena->boundary, DLC_ERROR_INTERNAL);
    }
    char *text = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, args);
    return text;
}

char *arena_format(Arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = arena_vformat(arena, format, args);
    va_end(args);
    return text;
}

static void *hook_alloc(void *user, size_t bytes) {
    return arena_alloc(user, bytes);
}

static void hook_free(void *user, void *memory) {
    (void)user;
    (void)memory;
}

dlc_allocator arena_hooks(Arena *arena) {
    return (dlc_allocator){.alloc = hook_alloc, .free = hook_free, .user = arena};
}
