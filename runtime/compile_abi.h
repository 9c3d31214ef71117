/* The seam between libdlc and libdlc-compile: one exported function, COMPILE_SYMBOL, which returns
 * a CompileModule. Stand-alone and versioned; both libraries come from one build, the version
 * guards against mixed installations. */
#ifndef DLC_RUNTIME_COMPILE_ABI_H
#define DLC_RUNTIME_COMPILE_ABI_H

#include "dlc/dlc.h"

enum { COMPILE_ABI_VERSION = 2, COMPILE_MESSAGE_BYTES = 1024 };
#define COMPILE_SYMBOL "dlc_compile_module_v1"

/* What one call to the compile side gets and gives. Everything given is owned by the caller and
 * freed through `allocator`; NULL where there is none. */
typedef struct CompileCall {
    const dlc_allocator *allocator;
    const dlc_compile_options *options; /* never NULL; whole */
    const char *text;
    size_t length;
    const char *name;             /* of the source */
    const char *mesh;             /* "data=*,model=2"; NULL: the program's own */
    int (*cancelled)(void *user); /* between stages; may be NULL */
    void (*progress)(void *user, const char *what, double share);
    void *user;
    /* out */
    void *plan;
    size_t n_plan;
    char *result;         /* formatted text, explanation */
    char *diagnostics[3]; /* plain, coloured, JSON lines */
    int n_errors, n_warnings;
    char message[COMPILE_MESSAGE_BYTES];
} CompileCall;

typedef struct CompileModule {
    int abi;
    dlc_status (*compile)(CompileCall *call); /* text -> plan, or texts to options->on_text */
    dlc_status (*format)(CompileCall *call);  /* text -> result */
    dlc_status (*explain)(CompileCall *call); /* text is the topic -> result */
} CompileModule;

#endif
