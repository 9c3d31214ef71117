/* Inputs given ahead: a batch lies ready in one of two slots, and on its way to the device, while
 * the rank still works on the one before. Where the device's memory is the host's, a slot's memory
 * becomes the input's, and the input's the slot's. Elsewhere a queue of its own brings the batch
 * from pinned memory to the device, beside the input, which takes it over at the step's turn. */
#ifndef DLC_RUNTIME_SESSION_AHEAD_H
#define DLC_RUNTIME_SESSION_AHEAD_H

#include "runtime/session/session.h"

enum { AHEAD_SLOTS = 2 };

typedef struct Ahead Ahead;

typedef struct AheadInput {
    int32_t arg; /* of the entry, an INPUT */
    int64_t dims[PLAN_MAX_RANK], bytes;
} AheadInput;

/* Bytes of a rank's device that reading all inputs of the entry ahead takes, beside the inputs
 * themselves, for the dims of `layout`: both slots where its memory is the host's, else the batch
 * that waits there. INT64_MAX if they are more than can be counted. */
int64_t ahead_bytes(const Rank *rank, const PlanEntry *entry, const Layout *layout);
/* For these `n` inputs of the entry; the list is the caller's and stays. */
dlc_status ahead_create(dlc_session *session, EntryState *entry, const AheadInput *inputs,
                        int32_t n, Ahead **out);
void ahead_destroy(Ahead *ahead); /* NULL will do */
/* Host memory for input `i` of the slot, 64-byte aligned, to be filled; others may be filled by
 * another thread. Another address after each ahead_take of the slot. */
void *ahead_memory(const Ahead *ahead, int slot, int32_t i);
/* Begins to bring the filled slot to the devices, if that takes a way and there is room for it;
 * nothing else need be done, and nothing waits. One slot at a time. */
dlc_status ahead_send(Ahead *ahead, int slot);
/* Sets the inputs from the filled slot, whose memory may then be filled anew. */
dlc_status ahead_take(Ahead *ahead, int slot);

#endif
