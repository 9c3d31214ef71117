/* Reading a plan: every offset, range and program in it is validated once, and
 * then its tables are used in place. */
#ifndef DLC_RUNTIME_PLAN_FILE_READ_H
#define DLC_RUNTIME_PLAN_FILE_READ_H

#include "ir/base/file.h"
#include "runtime/context.h"
#include "runtime/plan.h"

typedef struct PlanTables {
    const PlanTarget *target;
    const uint8_t *image;
    int64_t n_image;
    const PlanKernel *kernels;
    const PlanSite *sites;
    const PlanEntry *entries;
    const PlanArg *args;
    const PlanResult *results;
    const PlanBuffer *buffers;
    const PlanCommand *commands;
    const PlanRef *refs;
    const PlanSwap *swaps;
    const PlanLibrary *libraries;
    const int32_t *waits;
    const PlanCollective *collectives;
    int64_t n_target, n_kernels, n_sites, n_entries, n_args, n_results, n_buffers, n_commands,
        n_refs, n_swaps, n_libraries, n_waits, n_collectives;
} PlanTables;

typedef struct PlanFile {
    char *name;     /* for messages */
    uint8_t *owned; /* the file's bytes: nobody else changes them, and constants are aligned */
    const uint8_t *bytes;
    size_t n_bytes;
    const PlanHeader *header;
    const PlanSection *sections;
    const char *manifest, *ir; /* copies with NUL */
    const char *strings;
    const ProgramInstr *programs;
    const PlanProgram *sizes;
    const PlanDim *dims;
    const PlanVariable *variables;
    const PlanSetting *settings;
    const uint8_t *constants;
    const PlanMeshAxis *mesh;
    const PlanCut *cuts;
    int64_t n_manifest, n_ir, n_strings, n_programs, n_sizes, n_dims, n_variables, n_settings,
        n_constants, n_mesh, n_cuts;
    PlanTables *targets;
    int32_t n_targets;
} PlanFile;

/* `bytes` NULL: opens the file `name`. Else copies the bytes. On failure sets the context's error,
 * which names the file and the byte offset, and leaves `out` zeroed. */
dlc_status plan_file_open(dlc_context *context, const char *name, const void *bytes, size_t n_bytes,
                          PlanFile *out);
void plan_file_close(dlc_context *context, PlanFile *file);
/* check.c: everything beyond the sections' places and checksums. */
dlc_status plan_file_check(dlc_context *context, const PlanFile *file);
/* Both of an entry whose numbers and loops check.c has found sound; what is wrong goes into `text`
 * (PLAN_ORDER_TEXT), with the commands and buffers.
 * lives.c: whether it uses buffers in their lives alone. */
enum { PLAN_ORDER_TEXT = 256 };
bool plan_lives_check(const PlanTables *tables, const PlanEntry *entry, char *text);
/* order.c: whether what its queues do to one memory has an order, of buffers whose lives are sound.
 * DLC_ERROR_FORMAT: it has not. */
dlc_status plan_order_check(const dlc_allocator *allocator, const PlanTables *tables,
                            const PlanEntry *entry, char *text);

static inline const char *plan_text(const PlanFile *file, uint32_t offset) {
    return file->strings + offset;
}
/* `vars`: n_dims dims, then PLAN_MAX_LOOP_DEPTH loop indices. An absent program is 0. */
bool plan_eval(const PlanFile *file, PlanProgram program, const int64_t *vars, int64_t *out);
/* The dim that the size is, standing alone; -1: it is none. */
int32_t plan_size_dim(const PlanFile *file, PlanProgram program);
/* The type of what the value is the part of: `type` itself where it is not cut. */
static inline PlanType plan_whole(PlanType type, const PlanPart *part) {
    return part->n_cuts > 0 ? part->whole : type;
}
const char *plan_setting(const PlanFile *file, const char *name); /* NULL: none */
bool plan_program_uses_loops(const PlanFile *file, PlanProgram program);
int plan_dtype_bytes(int32_t dtype);
const char *plan_dtype_name(int32_t dtype);

#endif
