/* Memory of the arena is filled with a pattern when a buffer is born and when it dies, for sessions
 * that ask for it: who reads what nobody wrote, or what is dead, gives other results. */
#include "runtime/session/rank.h"

static int poison_byte(const Rank *rank) {
    return rank->orders->poison == 1 ? 0xff : 0x41;
}

dlc_status poison_at(Rank *rank, const Layout *layout, int32_t at, bool born) {
    const PlanEntry *entry = layout->entry;
    const PlanBuffer *buffers = layout->tables->buffers + entry->first_buffer;
    dlc_status status = DLC_OK;
    for (int32_t i = 0; status == DLC_OK && i < entry->n_buffers; i++) {
        if (buffers[i].kind == PLAN_BUFFER_ARENA &&
            (born ? buffers[i].birth : buffers[i].death) == at) {
            status = rank_fill(rank, rank->bases[i], poison_byte(rank), layout->buffer_bytes[i]);
        }
    }
    return status;
}
