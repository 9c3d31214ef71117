/* A session's variables and the tensors of files. */
#ifndef DLC_RUNTIME_CHECKPOINT_WEIGHTS_H
#define DLC_RUNTIME_CHECKPOINT_WEIGHTS_H

#include "runtime/checkpoint/checkpoint.h"

/* -- collect.c -- */

bool variable_is_weight(const Variable *variable); /* a parameter or a state */
const char *variable_name(const dlc_session *session, const Variable *variable);

/* The variable as a file's tensor, without its value. */
SafetensorsEntry weights_entry(const dlc_session *session, const Variable *variable);

/* The session's variables as a file's tensors; free by weights_collected_free. */
typedef struct WeightsCollected {
    SafetensorsEntry *entries;
    void **copies;
    int32_t n_entries;
} WeightsCollected;
/* Parameters, states, caches and slots (`everything`), else parameters (their averages where there
 * are such) and states. Of sessions that share a communicator all come here, and the one that
 * writes has them. */
dlc_status weights_collect(dlc_session *session, bool everything, WeightsCollected *out);
void weights_collected_free(dlc_session *session, WeightsCollected *collected);

/* -- save.c -- */

/* Writes the weights (parameters or their averages, and states) as one file. Of sessions that share
 * a communicator all come here, and each writes what its ranks have of them. */
dlc_status weights_save(dlc_session *session, const char *path);

/* -- load.c -- */

/* What a file's names have before ours: "model." or "module."; lent by the file. */
typedef struct WeightsPrefix {
    const char *text;
    size_t length;
} WeightsPrefix;

/* The prefix (up to a dot) under which the file has most of the weights; none where no other has
 * more. It need not be that of all the file's names: a head of its own may lie beside the model. */
WeightsPrefix weights_prefix(const dlc_session *session, const Safetensors *file);

typedef struct WeightsLoading {
    dlc_session *session;
    const Safetensors *files;
    int32_t n_files;
    WeightsPrefix prefix; /* of the files' names */
    bool everything;      /* the whole state of a checkpoint, slots too */
    bool averaged;        /* a checkpoint's weights: of parameters with averages, those */
    const dlc_weights_options *options;
} WeightsLoading;

/* Sets the variables from the files, which `path` names in messages; nothing is changed when they
 * do not fit. Each rank reads what it has. Of sessions that share a communicator all come here, and
 * end alike. */
dlc_status weights_load(const WeightsLoading *loading, const char *path);
/* All of the session's variables from a checkpoint, likewise. Counters stay. */
dlc_status weights_restore(dlc_session *session, const Checkpoint *checkpoint);
/* Gives the session's counters the checkpoint's values. */
dlc_status checkpoint_counters(dlc_session *session, const Checkpoint *checkpoint);

#endif
