/* What ranks have of a variable, out of a file's tensor: each run of bytes read from where it lies.
 */
#ifndef DLC_RUNTIME_CHECKPOINT_SLICE_H
#define DLC_RUNTIME_CHECKPOINT_SLICE_H

#include "runtime/data/safetensors.h"
#include "runtime/session/session.h"

/* A tensor of a file, for the session's variable `number`, which has its element type or another
 * float type. */
typedef struct Source {
    dlc_session *session;
    int64_t number;
    const Safetensors *file;
    const SafetensorsEntry *entry;
    const char *path; /* for messages */
} Source;

/* Whether values fit that another type may not hold, before anything is changed. Sessions that
 * share a communicator share the elements, so that all have to agree on what comes of it. */
dlc_status source_check(const Source *source);
/* Sets the variable, which has its memory, on the session's ranks. */
dlc_status source_load(const Source *source);

#endif
