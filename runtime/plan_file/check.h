/* Private to the checks of a plan: what they share. A check gives false after the first complaint,
 * which plan_check_fail keeps with the record that it is about. */
#ifndef DLC_RUNTIME_PLAN_FILE_CHECK_H
#define DLC_RUNTIME_PLAN_FILE_CHECK_H

#include "runtime/plan_file/read.h"

typedef struct Check {
    dlc_context *context;
    const PlanFile *file;
    const PlanTables *tables;
    const char *wrong;                /* the first complaint, or NULL */
    const void *where;                /* the record it is about */
    char order[PLAN_ORDER_TEXT + 80]; /* what `wrong` points to, where it is of order.c */
    bool no_memory;
    ProgramIndex index;
    int64_t *size_work; /* instructions of all PLAN_SIZES in front of one */
    int64_t work;       /* instructions that laying out the entries takes */
    int64_t refs_left, swaps_left, waits_left;
    MeshGroup *varies; /* by dim: the axes of the mesh along which it differs */
} Check;

/* -- check_base.c: what any record may refer to -- */

/* After an error plan_check_end all the same. */
dlc_status plan_check_begin(Check *c);
void plan_check_end(Check *c);
bool plan_check_fail(Check *c, const void *record, const char *what);
bool plan_check_range(int64_t first, int64_t count, int64_t limit);
bool plan_check_text(Check *c, const void *record, uint32_t offset);
/* `loops`: it may depend on loop indices. */
bool plan_check_program(Check *c, const void *record, PlanProgram program, bool loops);
bool plan_check_sizes(Check *c, const void *record, int32_t first, int32_t count);
bool plan_check_type(Check *c, const void *record, PlanType type);

/* -- check_ranks.c: what a plan for several ranks says -- */

bool plan_check_mesh(Check *c);
/* Where the dim's value comes from; the rest of it is sound. */
bool plan_check_dim_source(Check *c, int64_t number);
/* Of a value of this type, which is sound. */
bool plan_check_part(Check *c, const void *record, PlanType type, const PlanPart *part);
bool plan_check_collectives(Check *c);
/* What a command's exchange asks of its refs; all of them are sound otherwise. */
bool plan_check_collective_use(Check *c, const PlanCommand *command);

#endif
