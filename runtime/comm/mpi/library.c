/* Which MPI it is, and where its module lies. */
#include "runtime/comm/mpi/internal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

/* In this order: Open MPI sets PMIX_RANK too, and some launchers PMI_RANK beside it. */
static const struct {
    const char *name, *file;
    const char *variables[2]; /* that its launcher sets in each process */
} known[] = {{"openmpi", "libdlc-mpi-openmpi.so", {"OMPI_COMM_WORLD_RANK", "PMIX_RANK"}},
             {"mpich", "libdlc-mpi-mpich.so", {"PMI_RANK", "PMI_FD"}}};

/* The module's file name, or the path that DLC_MPI gives. */
static const char *module_choose(char *message) {
    const char *wanted = getenv("DLC_MPI");
    if (wanted && strchr(wanted, '/')) {
        return wanted;
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        bool is_it = wanted && *wanted
                         ? strcmp(wanted, known[i].name) == 0
                         : getenv(known[i].variables[0]) || getenv(known[i].variables[1]);
        if (is_it) {
            return known[i].file;
        }
    }
    if (wanted && *wanted) {
        snprintf(message, COMM_MESSAGE_BYTES,
                 "DLC_MPI is '%.200s': expected openmpi, mpich or the path of a module", wanted);
    } else {
        snprintf(message, COMM_MESSAGE_BYTES,
                 "no MPI has started this process: none of OMPI_COMM_WORLD_RANK, PMIX_RANK (Open "
                 "MPI), PMI_RANK, PMI_FD (MPICH) is set; start it by mpirun, mpiexec or srun, or "
                 "set DLC_MPI to openmpi or mpich");
    }
    return NULL;
}

/* Beside this library first, then wherever the system looks. Open MPI's own components look for its
 * symbols among the global ones. */
static void *module_open(const char *file, char *message) {
    const int flags = RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE;
    char path[PATH_BYTES] = "", first[COMM_MESSAGE_BYTES / 3] = "";
    Dl_info here;
    if (!strchr(file, '/') && dladdr((const void *)(uintptr_t)&dlc_version, &here) &&
        here.dli_fname) {
        const char *slash = strrchr(here.dli_fname, '/');
        int n = slash ? snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - here.dli_fname),
                                 here.dli_fname, file)
                      : 0;
        void *library = n > 0 && (size_t)n < sizeof(path) ? dlopen(path, flags) : NULL;
        if (library) {
            return library;
        }
        const char *why = dlerror();
        snprintf(first, sizeof(first), "%.300s; ", why ? why : path);
    }
    void *library = dlopen(file, flags);
    if (!library) {
        const char *why = dlerror();
        snprintf(message, COMM_MESSAGE_BYTES,
                 "MPI's part of dlc, %.200s, cannot be opened (%s%.300s): it is built and "
                 "installed beside libdlc where the build finds that MPI",
                 file, first, why ? why : "");
    }
    return library;
}

static const MpiModule *module_get(const char *file, char *message) {
    void *library = file ? module_open(file, message) : NULL;
    if (!library) {
        return NULL;
    }
    const MpiModule *(*get)(void) = NULL;
    void *symbol = dlsym(library, MPI_MODULE_SYMBOL);
    memcpy(&get, &symbol, sizeof(get));
    const MpiModule *module = symbol ? get() : NULL;
    if (!module || module->version != MPI_MODULE_VERSION) {
        snprintf(message, COMM_MESSAGE_BYTES, "%.200s is of another version than libdlc %s", file,
                 dlc_version_text());
        return NULL;
    }
    return module;
}

const MpiModule *mpi_library_open(char *message) {
    return module_get(module_choose(message), message);
}

/* -- The MPI that the program has loaded. */

enum { VERSION_BYTES = 8192 }; /* as long as any MPI's text may be */

/* What it says of itself; false: none is loaded. */
static bool loaded_version(char *out) {
    static const char *const names[] = {"libmpi.so.40", "libmpich.so.12", "libmpi.so.12"};
    int (*version)(char *, int *) = NULL;
    int length = 0;
    void *symbol = dlsym(RTLD_DEFAULT, "MPI_Get_library_version");
    for (size_t i = 0; i < sizeof(names) / sizeof(*names) && !symbol; i++) {
        void *library = dlopen(names[i], RTLD_LAZY | RTLD_NOLOAD);
        symbol = library ? dlsym(library, "MPI_Get_library_version") : NULL;
        if (library) {
            dlclose(library);
        }
    }
    memcpy(&version, &symbol, sizeof(version));
    return symbol && version(out, &length) == 0;
}

const MpiModule *mpi_library_loaded(char *message) {
    /* Intel's is MPICH to those who call it. */
    static const char *const says[][2] = {
        {"Open MPI", "openmpi"}, {"MPICH", "mpich"}, {"Intel(R) MPI", "mpich"}};
    char version[VERSION_BYTES] = "";
    const char *wanted = getenv("DLC_MPI"), *found = NULL;
    if (!loaded_version(version)) {
        snprintf(message, COMM_MESSAGE_BYTES,
                 "this process has loaded no MPI: expected libmpi.so of Open MPI or libmpich.so of "
                 "MPICH, by which the program has called MPI_Init_thread");
        return NULL;
    }
    version[strcspn(version, "\n,")] = '\0';
    for (size_t i = 0; i < sizeof(says) / sizeof(*says) && !found; i++) {
        found = strstr(version, says[i][0]) ? says[i][1] : NULL;
    }
    if (!found) {
        snprintf(message, COMM_MESSAGE_BYTES,
                 "this process has loaded '%.200s': expected Open MPI or MPICH", version);
        return NULL;
    }
    if (wanted && strchr(wanted, '/')) {
        return module_get(wanted, message);
    }
    if (wanted && *wanted && strcmp(wanted, found) != 0) {
        snprintf(message, COMM_MESSAGE_BYTES,
                 "DLC_MPI is '%.100s', and this process has loaded '%.200s', whose module is "
                 "'%s': unset DLC_MPI",
                 wanted, version, found);
        return NULL;
    }
    return module_get(strcmp(found, "mpich") == 0 ? "libdlc-mpi-mpich.so" : "libdlc-mpi-openmpi.so",
                      message);
}
