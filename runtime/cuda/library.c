/* See library.h. */
#include "runtime/cuda/library.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

enum { PATH_BYTES = 1024 };

typedef struct Search {
    const char *name;
    int flags;
    char *message;
    size_t n_message;
    bool found; /* a file was there; message says why it did not open */
} Search;

static void *open_file(Search *search, const char *path) {
    void *library = dlopen(path, search->flags);
    if (!library) {
        const char *reason = dlerror();
        search->found = true;
        snprintf(search->message, search->n_message, "%s does not open: %s", path,
                 reason ? reason : "unknown reason");
    }
    return library;
}

/* Every file pattern/name, in sorted order. */
static void *open_pattern(Search *search, const char *pattern) {
    char path[PATH_BYTES];
    int used = snprintf(path, sizeof(path), "%s/%s", pattern, search->name);
    if (used < 0 || (size_t)used >= sizeof(path)) {
        return NULL;
    }
    glob_t matches;
    void *library = NULL;
    if (glob(path, 0, NULL, &matches) == 0) {
        /* The last of /usr/local/cuda-12.4, cuda-13.0 is the newest. */
        for (size_t i = matches.gl_pathc; i-- > 0 && !library;) {
            library = open_file(search, matches.gl_pathv[i]);
        }
        globfree(&matches);
    }
    return library;
}

/* The folders of DLC_CUDA_PATH; *ends: an entry "-" was met, so nothing else is looked at. */
static void *open_listed(Search *search, const char *folders, bool *ends) {
    void *library = NULL;
    while (*folders && !library && !*ends) {
        size_t length = strcspn(folders, ":");
        char folder[PATH_BYTES];
        *ends = length == 1 && *folders == '-';
        if (length > 0 && length < sizeof(folder) && !*ends) {
            memcpy(folder, folders, length);
            folder[length] = '\0';
            library = open_pattern(search, folder);
        }
        folders += length + (folders[length] == ':');
    }
    return library;
}

/* NVIDIA's wheels put libraries into site-packages/nvidia/<part>/lib. */
static void *open_wheels(Search *search) {
    static const char *const roots[] = {"VIRTUAL_ENV", "CONDA_PREFIX"};
    static const char *const patterns[] = {
        "/usr/local/lib/python3*/*-packages/nvidia/*/lib",
        "/usr/lib/python3*/*-packages/nvidia/*/lib",
        "/opt/conda/lib/python3*/site-packages/nvidia/*/lib",
    };
    char pattern[PATH_BYTES];
    void *library = NULL;
    for (size_t i = 0; i < 2 && !library; i++) {
        const char *root = secure_getenv(roots[i]);
        if (root && *root) {
            snprintf(pattern, sizeof(pattern), "%s/lib/python3*/site-packages/nvidia/*/lib", root);
            library = open_pattern(search, pattern);
        }
    }
    const char *home = secure_getenv("HOME");
    if (home && *home && !library) {
        snprintf(pattern, sizeof(pattern), "%s/.local/lib/python3*/site-packages/nvidia/*/lib",
                 home);
        library = open_pattern(search, pattern);
    }
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]) && !library; i++) {
        library = open_pattern(search, patterns[i]);
    }
    return library;
}

/* A toolkit that the environment names. */
static void *open_toolkit(Search *search) {
    static const char *const roots[] = {"CUDA_HOME", "CUDA_PATH"};
    void *library = NULL;
    for (size_t i = 0; i < 2 && !library; i++) {
        const char *root = secure_getenv(roots[i]);
        if (root && *root) {
            char folder[PATH_BYTES];
            snprintf(folder, sizeof(folder), "%s/lib64", root);
            library = open_pattern(search, folder);
        }
    }
    return library;
}

void *cuda_library_open(const char *name, bool keep, char *message, size_t n_message) {
    static const char *const places[] = {
        "/usr/local/cuda/lib64",
        "/usr/local/cuda*/lib64",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/local/nvidia/lib64",
        "/usr/lib/wsl/lib",
    };
    Search search = {.name = name,
                     .flags = RTLD_NOW | RTLD_LOCAL | (keep ? RTLD_NODELETE : 0),
                     .message = message,
                     .n_message = n_message};
    message[0] = '\0';
    const char *listed = secure_getenv("DLC_CUDA_PATH");
    bool ends = false;
    void *library = listed ? open_listed(&search, listed, &ends) : NULL;
    if (!library && !ends) {
        library = dlopen(name, search.flags);
        dlerror();
    }
    if (!library && !ends) {
        library = open_toolkit(&search);
    }
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && !library && !ends; i++) {
        library = open_pattern(&search, places[i]);
    }
    if (!library && !ends) {
        library = open_wheels(&search);
    }
    if (!library && !search.found) {
        bool any = listed && *listed;
        snprintf(message, n_message, "%s is not on this machine (looked in %s%s%s%s)", name,
                 any ? "DLC_CUDA_PATH=" : "", any ? listed : "", any && !ends ? ", " : "",
                 ends ? ""
                      : "the system's library folders, /usr/local/cuda*, NVIDIA's Python wheels");
    }
    if (library) {
        message[0] = '\0';
    }
    return library;
}

bool cuda_library_symbols(void *library, const char *name, const CudaSymbol *symbols,
                          size_t n_symbols, void *table, char *message, size_t n_message) {
    for (size_t i = 0; i < n_symbols; i++) {
        void *address = dlsym(library, symbols[i].name);
        if (!address) {
            snprintf(message, n_message, "%s has no %s: it is too old", name, symbols[i].name);
            return false;
        }
        memcpy((char *)table + symbols[i].offset, &address, sizeof(address));
    }
    return true;
}

void cuda_library_close(void *library) {
    if (library) {
        dlclose(library);
    }
}
