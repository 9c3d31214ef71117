/* Which queue each command is given to, and the events between queues. */
#include "codegen/schedule/state.h"

/* What a kernel does to its buffers, as PlanAccess. */
static int32_t *kernel_accesses(Arena *arena, const Kernel *kernel) {
    bool *reads = ARENA_ARRAY(arena, bool, kernel->n_buffers + 1);
    int32_t *accesses = ARENA_ARRAY(arena, int32_t, kernel->n_buffers + 1);
    kernel_mark_reads(kernel->body, reads);
    for (int32_t b = 0; b < kernel->n_buffers; b++) {
        accesses[b] =
            (reads[b] ? PLAN_READS : 0) | (kernel->buffers[b].is_written ? PLAN_WRITES : 0);
    }
    return accesses;
}

void schedule_accesses(TargetTables *tables, const KernelPool *pool) {
    int32_t **accesses = ARENA_ARRAY(pool->arena, int32_t *, pool->kernels.count + 1);
    for (size_t i = 0; i < tables->commands.count; i++) {
        const PlanCommand *command = &tables->commands.items[i];
        if (command->kind != PLAN_LAUNCH) {
            continue;
        }
        int32_t **of = &accesses[command->kernel];
        if (!*of) {
            *of = kernel_accesses(pool->arena, pool->kernels.items[command->kernel]);
        }
        for (int32_t r = 0; r < command->n_refs; r++) {
            tables->refs.items[command->first_ref + r].access = (*of)[r];
        }
    }
}
