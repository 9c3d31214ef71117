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

const MpiModule *mpi_library_open(char *message) {
    const char *file = module_choose(message);
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
