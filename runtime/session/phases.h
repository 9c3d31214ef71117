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
    /* Read by a command that makes a new value of a parameter or of optimiser state, as large as
     * that, and neither made of optimiser state nor such a value. A gradient that a kernel makes
     * and uses up at once is none. */
    int64_t gradients;
    int64_t activations; /* made in the forward pass and read behind it */
    int64_t transients;  /* the others */
} PhaseBytes;

/* phases: [n_commands of the layout's entry]. An entry without gradients is forward as a whole.
 * DLC_ERROR_OUT_OF_MEMORY alone. */
dlc_status phases_find(dlc_context *context, const Layout *layout, uint8_t *phases,
                       PhaseBytes *out_bytes);

#endif
