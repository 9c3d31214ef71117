/* Fused Funcs -> kernels and the commands that launch them. After this nothing is decided any more:
 * every buffer has its lifetime, every argument its place. */
#ifndef DLC_CODEGEN_SCHEDULE_SCHEDULE_H
#define DLC_CODEGEN_SCHEDULE_SCHEDULE_H

#include "codegen/kernel.h"
#include "codegen/schedule/plan_write.h"

/* The different kernels of a target, in order of first use; numbers are those of PLAN_KERNELS. */
typedef struct KernelPool {
    Arena *arena;
    VEC(Kernel *) kernels;
    Map by_text;                 /* kernel_identity -> the first Kernel lowered to it */
    Map sites;                   /* "place\ntext" -> number + 1 */
    Arena *bodies;               /* of all that were lowered and are different */
    struct KBuildPool *building; /* working memory of every lowering, one after another */
    Str key;                     /* of the kernel looked up, in the arena */
    dlc_allocator hooks;
} KernelPool;

void kernel_pool_init(KernelPool *pool, Context *context, Arena *arena);

/* Schedules every Func of the module (fused, verified) into the tables; `pool` receives the
 * kernels. Leaves through the boundary with DLC_ERROR_INTERNAL and a diagnostic when an op has no
 * place in a schedule. */
void schedule_module(Module *module, const Machine *machine, PlanWriter *writer,
                     TargetTables *tables, KernelPool *pool);

#endif
