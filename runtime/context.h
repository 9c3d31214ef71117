/* The public context as the library sees it, and memory through its hooks. Run-side functions take
 * a Context-free allocator and report by status plus dlc_context's error text. */
#ifndef DLC_RUNTIME_CONTEXT_H
#define DLC_RUNTIME_CONTEXT_H

#include "dlc/dlc.h"
#include "ir/base/str.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

enum { CONTEXT_ERROR_BYTES = 2048 };

struct CompileModule;

/* The first member of what is made from a context (border.h). */
typedef struct ContextChild ContextChild;
struct ContextChild {
    ContextChild *next; /* of those to be ended */
    void (*end)(ContextChild *child);
    bool ends;
};

struct dlc_context {
    dlc_allocator allocator; /* complete: malloc and free when the user gave none */
    void (*log)(void *user, dlc_log_level level, const char *text);
    int (*cancel)(void *user);
    void (*progress)(void *user, const char *what, double share);
    void *user;
    char error[CONTEXT_ERROR_BYTES];
    char *diagnostics[3]; /* plain, coloured, JSON; NULL: none */
    int n_errors, n_warnings;
    void *compile_library;                      /* dlopen handle, or NULL */
    const struct CompileModule *compile_module; /* its one symbol */
    atomic_uintptr_t inside;                    /* the thread that is in a call; 0: none */
    int depth;                                  /* of its calls */
    int64_t n_children;                         /* plans, sessions, datasets */
    ContextChild *ending;                       /* ended when the call returns */
    bool ended;                                 /* destroyed; freed with the last child */
    const char *closed; /* the callback that runs, and may make no call; NULL: none */
};

/* malloc and free: of contexts that are given none, and of what any thread may free. */
extern const dlc_allocator memory_malloc;
/* Zeroed; NULL when memory runs out or count * size overflows. */
void *memory_new(const dlc_allocator *allocator, size_t count, size_t size);
void memory_free(const dlc_allocator *allocator, void *memory); /* accepts NULL */
/* Aligned to 64, not zeroed; at least one byte. Freed by memory_free_aligned. */
void *memory_new_aligned(const dlc_allocator *allocator, size_t bytes);
void memory_free_aligned(const dlc_allocator *allocator, void *memory);
char *memory_strdup(const dlc_allocator *allocator, const char *text);

/* Sets the error text and returns `status`. */
dlc_status context_fail(dlc_context *context, dlc_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
dlc_status context_out_of_memory(dlc_context *context);
void context_log(dlc_context *context, dlc_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool context_cancelled(dlc_context *context);
/* Frees what the context holds, not the context itself. */
void context_empty(dlc_context *context);
double clock_seconds(void); /* monotonic */

#endif
