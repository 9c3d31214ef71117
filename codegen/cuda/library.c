/* Finding vendor libraries: they are opened at run time, so that one binary serves machines with
 * and without them. */
#include "codegen/cuda/compile.h"
#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

/* Nothing of these libraries survives being unloaded while it is in use by other threads. */
static void *open_path(const char *path) {
    return dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

static void *open_in(const char *folder, size_t n_folder, const char *soname) {
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof(path), "%.*s/%s", (int)n_folder, folder, soname);
    return n > 0 && (size_t)n < sizeof(path) ? open_path(path) : NULL;
}

/* The newest folder that matches: glob sorts by name. */
static void *open_globbed(const char *prefix, const char *pattern, const char *soname) {
    char full[PATH_BYTES];
    int n = snprintf(full, sizeof(full), "%s%s/%s", prefix, pattern, soname);
    glob_t found;
    if (n <= 0 || (size_t)n >= sizeof(full) || glob(full, 0, NULL, &found) != 0) {
        return NULL;
    }
    void *library = NULL;
    for (size_t i = found.gl_pathc; i > 0 && !library; i--) {
        library = open_path(found.gl_pathv[i - 1]);
    }
    globfree(&found);
    return library;
}

static void *open_usual(const char *soname) {
    static const struct {
        const char *variable, *pattern; /* a variable that is not set leaves its row out */
    } places[] = {
        {"CUDA_HOME", "/lib64"},
        {"CUDA_PATH", "/lib64"},
        {NULL, "/usr/local/cuda/lib64"},
        {NULL, "/usr/local/cuda-*/lib64"},
        {NULL, "/opt/cuda/lib64"},
        {NULL, "/usr/lib/wsl/lib"},
        {"CONDA_PREFIX", "/lib"},
        {"VIRTUAL_ENV", "/lib/python3*/site-packages/nvidia/*/lib"},
        {"HOME", "/.local/lib/python3*/site-packages/nvidia/*/lib"},
        {NULL, "/usr/local/lib/python3*/*-packages/nvidia/*/lib"},
        {NULL, "/usr/lib/python3*/*-packages/nvidia/*/lib"},
        {NULL, "/opt/*/lib/python3*/site-packages/nvidia/*/lib"},
    };
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const char *prefix = places[i].variable ? getenv(places[i].variable) : "";
        void *library = prefix && (!places[i].variable || *prefix)
                            ? open_globbed(prefix, places[i].pattern, soname)
                            : NULL;
        if (library) {
            return library;
        }
    }
    return NULL;
}

void *cudac_library(const char *const *sonames, int32_t n_sonames) {
    const char *list = getenv("DLC_CUDA_PATH");
    for (const char *at = list; at && *at;) {
        const char *end = strchr(at, ':');
        size_t n = end ? (size_t)(end - at) : strlen(at);
        if (n == 1 && *at == '-') {
            return NULL;
        }
        for (int32_t i = 0; i < n_sonames && n > 0; i++) {
            void *library = open_in(at, n, sonames[i]);
            if (library) {
                return library;
            }
        }
        at = end ? end + 1 : NULL;
    }
    for (int32_t i = 0; i < n_sonames; i++) {
        void *library = open_path(sonames[i]);
        library = library ? library : open_usual(sonames[i]);
        if (library) {
            return library;
        }
    }
    return NULL;
}

void *cudac_symbol(void *library, const char *name) {
    return dlsym(library, name);
}
