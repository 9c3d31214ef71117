/* What the commands of an entry are for, told from what they read and write: the forward pass, the
 * backward pass, the update; and how much of its arena each kind of value takes. For people who
 * look at a plan: nothing that runs asks. */
#ifndef DLC_RUNTIME_SESSION_PHASES_H
#define DLC_RUNTIME_SESSION_PHASES_H

#include "runtime/session/layout.h"

typedef enum Phase {
    PHASE_FORWARD = 0,  /* what losses, metrics and outputs need */
    PHASE_BACKWARD = 1, /* what gradients need beyond that, values computed again among it */
    PHASE_UPDATE = 2,   /* all else: norms, clipping, what is stored */
    N_PHASES = 3
} Phase;

/* Of an arena's values, the most bytes that are there at once. */
typedef struct PhaseBytes {
    /* As large as a variable that a command updates, read by that command, and not made of
     * optimiser state. */
    int64_t gradients;
    int64_t activations; /* made in the forward pass and read in the backward pass */
    int64_t transients;  /* the others */
} PhaseBytes;

/* phases: [n_commands of the layout's entry]. An entry without gradients is forward as a whole.
 * DLC_ERROR_OUT_OF_MEMORY alone. */
dlc_status phases_find(dlc_context *context, const Layout *layout, uint8_t *phases,
                       PhaseBytes *out_bytes);

#endif
