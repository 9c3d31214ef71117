/* The context: hooks, memory through them, the text of the last error; statuses and the version in
 * words. */
#include "runtime/context.h"
#include "ir/base/checked.h"
#include "ir/base/utf8.h"
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *malloc_alloc(void *user, size_t bytes) {
    (void)user;
    return malloc(bytes);
}

static void malloc_free(void *user, void *memory) {
    (void)user;
    free(memory);
}

const dlc_allocator memory_malloc = {malloc_alloc, malloc_free, NULL};

void *memory_new(const dlc_allocator *allocator, size_t count, size_t size) {
    size_t bytes;
    if (!checked_mul_size(count, size, &bytes)) {
        return NULL;
    }
    bytes = bytes ? bytes : 1;
    void *memory = allocator->alloc(allocator->user, bytes);
    if (memory) {
        memset(memory, 0, bytes);
    }
    return memory;
}

void memory_free(const dlc_allocator *allocator, void *memory) {
    if (memory) {
        allocator->free(allocator->user, memory);
    }
}

void *memory_new_aligned(const dlc_allocator *allocator, size_t bytes) {
    size_t total;
    if (!checked_add_size(bytes, 64 + sizeof(void *) + 1, &total)) {
        return NULL;
    }
    void *memory = allocator->alloc(allocator->user, total);
    if (!memory) {
        return NULL;
    }
    uintptr_t start = ((uintptr_t)memory + sizeof(void *) + 63) & ~(uintptr_t)63;
    memcpy((void *)(start - sizeof(void *)), &memory, sizeof(memory));
    return (void *)start;
}

void memory_free_aligned(const dlc_allocator *allocator, void *memory) {
    if (memory) {
        void *start;
        memcpy(&start, (char *)memory - sizeof(start), sizeof(start));
        allocator->free(allocator->user, start);
    }
}

char *memory_strdup(const dlc_allocator *allocator, const char *text) {
    size_t length = strlen(text);
    char *copy = memory_new(allocator, length + 1, 1);
    if (copy) {
        memcpy(copy, text, length);
    }
    return copy;
}

double clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void context_empty(dlc_context *context) {
    for (int i = 0; i < 3; i++) {
        memory_free(&context->allocator, context->diagnostics[i]);
    }
    if (context->compile_library) {
        dlclose(context->compile_library);
    }
}

/* Messages hold names and paths as they were given; terminals must not obey them. */
static void message_write(char *out, size_t n_out, const char *text, bool has_lines) {
    size_t length = strlen(text), at = 0;
    for (size_t i = 0; i < length;) {
        char shown[UTF8_SHOWN_BYTES];
        i += utf8_shown(text + i, length - i, has_lines, shown);
        size_t n_shown = strlen(shown);
        if (at + n_shown >= n_out) {
            break;
        }
        memcpy(out + at, shown, n_shown);
        at += n_shown;
    }
    out[at] = '\0';
}

dlc_status context_fail(dlc_context *context, dlc_status status, const char *format, ...) {
    char text[CONTEXT_ERROR_BYTES]; /* the arguments may lie in context->error */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    message_write(context->error, sizeof(context->error), text, true);
    return status;
}

dlc_status context_out_of_memory(dlc_context *context) {
    return context_fail(context, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
}

void context_log(dlc_context *context, dlc_log_level level, const char *format, ...) {
    if (!context->log) {
        return;
    }
    char text[CONTEXT_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    char line[CONTEXT_ERROR_BYTES];
    message_write(line, sizeof(line), text, false);
    context->log(context->user, level, line);
}

bool context_cancelled(dlc_context *context) {
    return context->cancel && context->cancel(context->user) != 0;
}

uint32_t dlc_version(void) {
    return DLC_VERSION_MAJOR * 10000 + DLC_VERSION_MINOR * 100 + DLC_VERSION_PATCH;
}

#define VERSION_TEXT_(a, b, c) #a "." #b "." #c
#define VERSION_TEXT(a, b, c)  VERSION_TEXT_(a, b, c)

const char *dlc_version_text(void) {
    return VERSION_TEXT(DLC_VERSION_MAJOR, DLC_VERSION_MINOR, DLC_VERSION_PATCH);
}

const char *dlc_status_text(dlc_status status) {
    static const char *const texts[] = {
        [DLC_OK] = "success",
        [DLC_ERROR_INVALID_ARGUMENT] = "invalid argument",
        [DLC_ERROR_OUT_OF_MEMORY] = "out of memory",
        [DLC_ERROR_IO] = "input or output failed",
        [DLC_ERROR_FORMAT] = "malformed file",
        [DLC_ERROR_COMPILE] = "the program has errors",
        [DLC_ERROR_NOT_FOUND] = "not found",
        [DLC_ERROR_MISMATCH] = "shapes or types do not fit",
        [DLC_ERROR_UNSUPPORTED] = "not supported here",
        [DLC_ERROR_FAULT] = "a check of the program failed",
        [DLC_ERROR_NON_FINITE] = "loss or gradients are not finite",
        [DLC_ERROR_CANCELLED] = "cancelled",
        [DLC_ERROR_LIMIT] = "a limit was met",
        [DLC_ERROR_INTERNAL] = "internal error",
    };
    size_t i = (size_t)status;
    return i < sizeof(texts) / sizeof(texts[0]) ? texts[i] : "unknown status";
}
