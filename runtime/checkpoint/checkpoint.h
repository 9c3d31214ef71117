/* Checkpoints: a folder "step-N" beside others in a run's folder, made under another name and
 * renamed when all of it is on the disk. It holds safetensors files, one for each process that
 * wrote, and manifest.json: the run that it belongs to, counters, and size and checksum of every
 * file. A tensor lies whole in one of the files. docs/files.md describes the format. */
#ifndef DLC_RUNTIME_CHECKPOINT_CHECKPOINT_H
#define DLC_RUNTIME_CHECKPOINT_CHECKPOINT_H

#include "runtime/data/safetensors.h"
#include "runtime/session/session.h"

enum {
    CHECKPOINT_NAME_BYTES = 64,
    CHECKPOINT_SHOWN_BYTES = 320,
    CHECKPOINT_MESSAGE_BYTES = 1024,
    CHECKPOINT_HASH_BYTES = 17, /* of 16 digits */
    CHECKPOINT_FILES = 4096,
    CHECKPOINT_COUNTERS = 32
};

#define CHECKPOINT_OLD_FILE "last.safetensors" /* the form before folders: one file */
#define CHECKPOINT_MANIFEST "manifest.json"

/* What must be the same for a run to go on with the same bits. */
typedef struct CheckpointRun {
    char program[CHECKPOINT_HASH_BYTES]; /* of the IR before passes; "": not known */
    char data[CHECKPOINT_HASH_BYTES];    /* of the training data; "": not known */
    int64_t seed, steps;                 /* planned */
    int64_t batch;                       /* rows of a step; 0: not known */
} CheckpointRun;

typedef struct CheckpointCounter {
    char name[SCALAR_NAME_BYTES];
    int64_t value;
} CheckpointCounter;

/* Of several that open it, which one this is: each reads a part of every file for its checksum. */
typedef struct CheckpointPart {
    int32_t number, n;
} CheckpointPart;

/* A file's checksum in the manifest, and what the parts that were read contribute (part_crc.h). */
typedef struct CheckpointSum {
    uint32_t wanted, parts;
} CheckpointSum;

/* One that was opened: checked as far as it can be without the model. */
typedef struct Checkpoint {
    const dlc_allocator *allocator;
    char name[CHECKPOINT_SHOWN_BYTES]; /* "runs/a/step-40", for messages */
    CheckpointRun run;
    int64_t step;
    CheckpointCounter counters[CHECKPOINT_COUNTERS];
    int32_t n_counters;
    Safetensors *files;
    char (*file_names)[CHECKPOINT_NAME_BYTES]; /* cut where they are longer; NULL: the old form */
    CheckpointSum *sums;                       /* [n_files]; NULL: the old form */
    int32_t n_files;
    CheckpointPart part;
} Checkpoint;

/* A run's folder; while it is open to write, no other process (or session) opens it so. */
typedef struct CheckpointFolder {
    dlc_context *context;
    const char *path; /* lent */
    int fd;           /* -1: not open */
} CheckpointFolder;

/* -- folder.c -- */

/* Makes the folder where it is missing, locks it (DLC_ERROR_LIMIT: another run has it) and removes
 * what a killed run left. */
dlc_status checkpoint_folder_open(CheckpointFolder *folder, dlc_context *context, const char *path);
void checkpoint_folder_close(CheckpointFolder *folder); /* accepts a zeroed one with fd -1 */
/* The steps that have a checkpoint in the folder, latest first; memory_free. The old form's single
 * file counts as one before all others, with step -1. */
dlc_status checkpoint_steps(const CheckpointFolder *folder, int64_t **out, int64_t *out_count);
/* Removes every checkpoint but `step` and the one before it; later ones are kept on demand. An
 * errno; any thread, no hooks. */
int checkpoint_prune(const CheckpointFolder *folder, int64_t step, bool keep_later);
dlc_status checkpoint_remove_all(CheckpointFolder *folder);

/* Removes what a killed run left; gives an errno, as the next two do. */
int checkpoint_clean(const CheckpointFolder *folder);
/* A folder of files; the checkpoint of a step. */
int checkpoint_tree_remove(int folder, const char *name);
int checkpoint_step_remove(int folder, int64_t step);
/* `pattern` with the step in place of its %s. */
void checkpoint_step_name(int64_t step, const char *pattern, char out[CHECKPOINT_NAME_BYTES]);
/* Sets the error: what could not be done to `name` ("": the folder itself), by this errno. */
dlc_status checkpoint_folder_fail(const CheckpointFolder *folder, const char *what,
                                  const char *name, int error);

/* -- write.c -- */

/* Writes step-N of the session's state and keeps it and the one before, no other. Of sessions that
 * share a communicator all come here, and each writes what its ranks have (share.h) into one file;
 * the folder is open in the one that makes it. Where they do not see one folder that one gathers
 * all and writes alone, which is said once. */
dlc_status checkpoint_write(CheckpointFolder *folder, dlc_session *session,
                            const CheckpointRun *run);

/* The same in steps, so that training goes on meanwhile. Begin, join and end are calls of all
 * sessions, in this order, whatever came of the ones before. */
typedef struct CheckpointSaving CheckpointSaving;
/* `copies`: the state as it is now is kept apart, if there is memory; if not, saving_part is to be
 * called before the next step. *out NULL, also with DLC_OK: nothing is left to be done. */
dlc_status checkpoint_begin(CheckpointFolder *folder, dlc_session *session,
                            const CheckpointRun *run, bool copies, CheckpointSaving **out);
bool saving_is_copied(const CheckpointSaving *saving);
/* Writes and syncs this session's share; of a copied one on any thread. How it went, join tells. */
void saving_part(CheckpointSaving *saving);
dlc_status saving_join(CheckpointSaving *saving);
/* Manifest, name and pruning, in the session that makes the folder; after a join that went well, on
 * any thread. How it went, end tells. */
void saving_finish(CheckpointSaving *saving);
dlc_status saving_end(CheckpointSaving *saving);
/* Instead of what is left of them, alone: nothing has been saved. NULL will do. */
void saving_abandon(CheckpointSaving *saving);

/* -- read.c -- */

/* Opens the checkpoint of that step (-1: the old file; CHECKPOINT_ITSELF: that which the folder's
 * path names) and reads the part of its files. Of one part, which is all, every byte is checked
 * against the manifest. Failure fills `message` (CHECKPOINT_MESSAGE_BYTES); out is closed then. */
enum { CHECKPOINT_ITSELF = -2 };
dlc_status checkpoint_open(Checkpoint *out, const CheckpointFolder *folder, int64_t step,
                           CheckpointPart part, char *message);
/* Whether the files' checksums are right, where `sums` have all parts. */
dlc_status checkpoint_sums_check(const Checkpoint *checkpoint, char *message);
void checkpoint_close(Checkpoint *checkpoint); /* accepts a zeroed one */
/* Lists what differs ("seed 5, here 6; …"); empty: nothing that both know. */
void checkpoint_compare(const Checkpoint *checkpoint, const CheckpointRun *run, Str *out);

/* -- open.c -- */

/* The latest that is whole; says by the log which were not. DLC_ERROR_NOT_FOUND: there is none.
 * Sets the error. Of sessions that share a communicator all come here with their own (NULL: whoever
 * asks is alone) and end alike; the folder is open in the one that writes. */
dlc_status checkpoint_open_latest(Checkpoint *out, dlc_session *session,
                                  const CheckpointFolder *folder);
/* A run's folder, one of its checkpoints, or a file of the old form; likewise. */
dlc_status checkpoint_open_path(Checkpoint *out, dlc_context *context, dlc_session *session,
                                const char *path);

#endif
