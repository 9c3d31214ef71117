/* Datasets at the public border, for the calls that walk over rows. */
#ifndef DLC_RUNTIME_API_DATA_H
#define DLC_RUNTIME_API_DATA_H

#include "runtime/data/dataset.h"
#include "runtime/session/session.h"

struct dlc_dataset {
    ContextChild child;
    dlc_context *context;
    Dataset data;
};

/* The field that the input's rows come from, and the shape of `count` rows as the input wants it
 * (PLAN_MAX_RANK). */
dlc_status data_input_field(dlc_session *session, const Dataset *data, const PlanArg *arg,
                            int64_t count, const DataField **out, int64_t *out_dims);
/* Notes which rows the inputs hold, for messages. */
dlc_status data_rows_note(dlc_session *session, EntryState *entry, const int64_t *rows,
                          int64_t count);
/* Copies the rows to the entry's inputs. */
dlc_status data_set_inputs(dlc_session *session, EntryState *entry, const Dataset *data,
                           const int64_t *rows, int64_t count);
/* Rows of a batch for this entry: `asked` if > 0, else what is bound or fixed, else the setting,
 * else 32. */
dlc_status data_batch(dlc_session *session, const EntryState *entry, int64_t asked, int64_t *out);
/* Refuses data of fewer rows than the `wanted` of a batch; where the entry takes any number of them
 * and `whole` is false, only such as have none. `who`: for the message, "" or "of rank 2 ". */
dlc_status data_rows_check(dlc_session *session, const EntryState *entry, const char *who,
                           int64_t n_rows, int64_t wanted, bool whole);
/* Whether the entry takes any number of rows (its batch dim is free). */
bool data_batch_is_free(const dlc_session *session, const EntryState *entry);

/* What a training or an evaluation was asked for, which must be the same on all ranks. */
typedef struct DataAsked {
    int64_t batch, steps, epochs, stop_after, eval_every, checkpoint_every;
    bool resumes;
} DataAsked;
/* Where other processes have ranks too: an error on all unless all were given the same rows and
 * asked for the same, DLC_ERROR_MISMATCH with what differs. `name`: "train". Where each rank brings
 * rows of its own to the entry, those that compute the same rows must have the same. */
dlc_status data_agree(dlc_session *session, const EntryState *entry, const char *name,
                      const Dataset *data, const DataAsked *asked);

#endif
