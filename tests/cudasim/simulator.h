/* What tests ask of the simulated driver itself, beside the runtime that uses it. */
#ifndef DLC_TESTS_CUDASIM_SIMULATOR_H
#define DLC_TESTS_CUDASIM_SIMULATOR_H

#include <stdbool.h>

typedef struct Simulator {
    void (*settings_again)(void); /* reads them from the environment, and counts from there */
    long long (*faults)(void);    /* reported so far */
    long long (*waits)(void);     /* since the settings were read */
} Simulator;
extern Simulator simulator;

/* Finds the one of DLC_CUDA_PATH, which then stays in the process; false: says why on stdout. */
bool simulator_open(void);
/* Sets the order of streams, and its seed. */
void simulator_order(const char *order, const char *seed);

#endif
