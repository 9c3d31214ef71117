/* What locals take of a block's memory, where they are placed now. */
#include "codegen/cuda/team/team.h"

enum { LOCAL_ALIGN = 128 };

static int64_t aligned(int64_t bytes) {
    return (bytes + LOCAL_ALIGN - 1) / LOCAL_ALIGN * LOCAL_ALIGN;
}

int64_t room_of_one(const KLocal *local) {
    return aligned(local->count * team_memory_bytes(local->dtype));
}

int64_t room_of_slots(const Text *t) {
    return aligned((int64_t)t->n_slots * t->warps * SLOT_BYTES);
}

int64_t room_of_copies(const Text *t, const KLocal *local, const LocalPlace *place) {
    int64_t bytes = local->count * team_memory_bytes(local->dtype) * place->copies;
    return aligned(bytes) * t->locals[local->id].stages;
}

int64_t room_of_overlaid(const Text *t, const KLocal *local) {
    int64_t bytes = 0;
    for (int32_t i = 0; i < t->kernel->n_locals; i++) {
        const KLocal *panel = t->kernel->locals[i];
        const LocalInfo *info = &t->locals[panel->id];
        if (info->overlaid == local) {
            bytes += room_of_copies(t, panel, &info->by_team[TEAM_BLOCK]);
        }
    }
    return bytes;
}

int64_t room_of_place(const Text *t, const KLocal *local, const LocalPlace *place) {
    if (t->locals[local->id].overlaid) {
        return 0;
    }
    int64_t own = room_of_copies(t, local, place), panels = room_of_overlaid(t, local);
    return own > panels ? own : panels;
}

int64_t room_shared(const Text *t) {
    int64_t total = room_of_slots(t);
    for (int32_t i = 0; i < t->kernel->n_locals; i++) {
        const KLocal *local = t->kernel->locals[i];
        for (int team = 0; team < 3; team++) {
            const LocalPlace *place = &t->locals[local->id].by_team[team];
            total += place->placement == PLACE_SHARED ? room_of_place(t, local, place) : 0;
        }
    }
    return total;
}
