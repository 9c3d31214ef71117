/* Batches read ahead: while a step runs, a thread gathers the rows of the next ones out of the
 * dataset, and a queue of its own takes them to the device. Which rows, and in which order, is said
 * by the caller; what a step gets is what data_set_inputs would have given it. */
#ifndef DLC_RUNTIME_API_PREFETCH_H
#define DLC_RUNTIME_API_PREFETCH_H

#include "runtime/api/data.h"

typedef struct Prefetch Prefetch;

/* For batches of `batch` rows of the entry's inputs; the dataset outlives it. No other call sets
 * inputs of the entry meanwhile. */
dlc_status prefetch_create(dlc_session *session, EntryState *entry, const Dataset *data,
                           int64_t batch, Prefetch **out);
/* Waits until the thread has ended its batch, and frees. NULL will do. */
void prefetch_destroy(Prefetch *prefetch);
/* Whether one more batch may be asked for. */
bool prefetch_has_room(const Prefetch *prefetch);
/* Asks for these rows, as the batch after those that were asked for; they are copied. */
void prefetch_ask(Prefetch *prefetch, const int64_t *rows);
/* Sends the oldest batch to the device already, if it was read; waits for nothing. */
dlc_status prefetch_send(Prefetch *prefetch);
/* Sets the inputs from the oldest batch that was asked for, waiting where it is not there yet. An
 * error in reading it is told here. */
dlc_status prefetch_take(Prefetch *prefetch);
/* Forgets the batches that were asked for and not taken. */
void prefetch_drop(Prefetch *prefetch);
#endif
