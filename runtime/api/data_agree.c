/* Whether the ranks of several processes train or evaluate on the same rows. A file that is shorter
 * on one of them is found before the first step, not where others wait for a batch that it has not.
 */
#include "runtime/api/data.h"
#include "runtime/border.h"

#include <inttypes.h>
#include <stdio.h>

/* What is asked for, and where all are given the same rows, those. */
static void facts_add(AgreeTable *table, const char *name, const Dataset *data, bool is_whole,
                      uint64_t hash, const DataAsked *asked) {
    char subject[AGREE_SUBJECT_BYTES];
    if (is_whole) {
        snprintf(subject, sizeof(subject), "the number of rows of '%s'", name);
        agree_add(table, subject, "%" PRId64, dataset_rows(data));
        snprintf(subject, sizeof(subject), "the contents of '%s'", name);
        agree_add_hash(table, subject, hash);
    }
    agree_add(table, "the rows of a step that are asked for", "%" PRId64, asked->batch);
    agree_add(table, "the steps that are asked for", "%" PRId64, asked->steps);
    agree_add(table, "the epochs that are asked for", "%" PRId64, asked->epochs);
    agree_add(table, "the step after which it stops", "%" PRId64, asked->stop_after);
    agree_add(table, "how often it evaluates", "%" PRId64, asked->eval_every);
    agree_add(table, "how often it writes checkpoints", "%" PRId64, asked->checkpoint_every);
    agree_add(table, "where it begins", "%s",
              !asked->resumes ? "at its beginning" : "at its last checkpoint");
}

dlc_status data_agree(dlc_session *session, const EntryState *entry, const char *name,
                      const Dataset *data, const DataAsked *asked) {
    char message[DATA_MESSAGE_BYTES] = "";
    if (!session->communicator) {
        return DLC_OK;
    }
    const dlc_allocator *allocator = &session->context->allocator;
    AgreeTable *table = memory_new(allocator, 1, sizeof(*table));
    if (!table) {
        return session_abandon(session, context_out_of_memory(session->context));
    }
    uint64_t hash = 0;
    dlc_status status = dataset_hash(data, &hash, message);
    if (status != DLC_OK) { /* the others find it in the table */
        agree_add(table, "data that can be read", "%s", "none");
    }
    facts_add(table, name, data, !session_brings_any(session, entry), hash, asked);
    dlc_status agreed = session_compare(session, table);
    memory_free(allocator, table);
    return status == DLC_OK ? agreed : context_fail(session->context, status, "%s", message);
}
