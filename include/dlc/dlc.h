/* dlc: the public C API. C11, usable from C++. Every symbol begins with dlc_; handles are opaque;
 * the library never prints, exits, aborts or installs signal handlers, and keeps no global state. */
#ifndef DLC_DLC_H
#define DLC_DLC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DLC_VERSION_MAJOR 0
#define DLC_VERSION_MINOR 1
#define DLC_VERSION_PATCH 0

#if defined(__GNUC__)
#define DLC_API __attribute__((visibility("default")))
#define DLC_MUST_USE __attribute__((warn_unused_result))
#else
#define DLC_API
#define DLC_MUST_USE
#endif

/* What a call came to. Zero is success; details are in the context's last error. */
typedef enum dlc_status {
    DLC_OK = 0,
    DLC_ERROR_INVALID_ARGUMENT = 1, /* the caller broke the contract of the function */
    DLC_ERROR_OUT_OF_MEMORY = 2,
    DLC_ERROR_IO = 3,          /* a file could not be read or written */
    DLC_ERROR_FORMAT = 4,      /* a file or text is malformed: truncated, lying header, bad syntax */
    DLC_ERROR_COMPILE = 5,     /* the program has errors: see the diagnostics */
    DLC_ERROR_NOT_FOUND = 6,   /* no such entry, input, output, parameter */
    DLC_ERROR_MISMATCH = 7,    /* shapes or types do not fit */
    DLC_ERROR_UNSUPPORTED = 8, /* this machine or this build cannot */
    DLC_ERROR_FAULT = 9,       /* a run-time check failed: bad index, `check`, sizes not equal */
    DLC_ERROR_NON_FINITE = 10, /* loss or gradients not finite: nothing was stored */
    DLC_ERROR_CANCELLED = 11,
    DLC_ERROR_LIMIT = 12,   /* a stated limit was met */
    DLC_ERROR_INTERNAL = 13 /* a mistake of ours */
} dlc_status;

/* Memory hooks. `alloc` returns memory aligned for any object, or NULL; `free` gets what alloc
 * returned, never NULL. Both may be called from any thread that calls the library. */
typedef struct dlc_allocator {
    void *(*alloc)(void *user, size_t bytes);
    void (*free)(void *user, void *memory);
    void *user;
} dlc_allocator;

#ifdef __cplusplus
}
#endif

#endif
