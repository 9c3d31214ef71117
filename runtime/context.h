/* The public context as the library sees it, and memory through its hooks. Run-side functions take
 * a Context-free allocator and report by status plus dlc_context's error text. */
#ifndef DLC_RUNTIME_CONTEXT_H
#define DLC_RUNTIME_CONTEXT_H

#include "dlc/dlc.h"
#include "ir/base/str.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

enum { CONTEXT_ERROR_BYTES = 2048 };

struct CompileModule;

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
};

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
/* Copies an options struct of the caller's size over the zeroed `out`: fields that the caller's
 * version lacks stay zero. False: struct_size is missing or larger than ours with non-zero rest. */
bool options_read(void *out, size_t out_size, const void *options);
double clock_seconds(void); /* monotonic */

#endif
