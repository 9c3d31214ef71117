/* See simulator.h. */
#include "tests/cudasim/simulator.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Simulator simulator;

static bool get(void *library, const char *name, void *to) {
    void *symbol = library ? dlsym(library, name) : NULL;
    memcpy(to, &symbol, sizeof symbol);
    if (!symbol) {
        printf("%s\n", dlerror());
    }
    return symbol != NULL;
}

bool simulator_open(void) {
    char path[1024];
    snprintf(path, sizeof path, "%s/libcuda.so.1", getenv("DLC_CUDA_PATH"));
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return get(library, "dlcsim_settings_again", &simulator.settings_again) &&
           get(library, "dlcsim_faults", &simulator.faults) &&
           get(library, "dlcsim_waits", &simulator.waits);
}

void simulator_order(const char *order, const char *seed) {
    setenv("DLC_CUDASIM_ORDER", order, 1);
    setenv("DLC_CUDASIM_SEED", seed, 1);
    simulator.settings_again();
}
