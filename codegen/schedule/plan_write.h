/* Building a plan file: shared pools (strings, size programs, shapes, variables) and one set of
 * tables a target. Everything lives in one arena; plan_writer_finish lays the sections out. The
 * same calls in the same order give the same bytes. */
#ifndef DLC_CODEGEN_SCHEDULE_PLAN_WRITE_H
#define DLC_CODEGEN_SCHEDULE_PLAN_WRITE_H

#include "ir/ir.h"
#include "runtime/plan.h"

/* What a target's compiler said of a kernel, for the manifest; -1: unknown. */
typedef struct ManifestFigures {
    const char *name;
    int32_t registers, shared_bytes, stack_bytes, spill_bytes;
    int64_t scratch_bytes;
} ManifestFigures;

/* The tables of one target; see runtime/plan.h. */
typedef struct TargetTables {
    PlanTarget target;
    const uint8_t *image; /* borrowed until plan_writer_finish */
    size_t n_image;
    VEC(PlanKernel) kernels;
    VEC(PlanSite) sites;
    VEC(PlanEntry) entries;
    VEC(PlanArg) args;
    VEC(PlanResult) results;
    VEC(PlanBuffer) buffers;
    VEC(PlanCommand) commands;
    VEC(PlanRef) refs;
    VEC(PlanSwap) swaps;
    VEC(PlanLibrary) libraries;
    VEC(int32_t) waits;
    VEC(PlanCollective) collectives;
    VEC(ManifestFigures) figures; /* one a kernel, or none */
} TargetTables;

typedef struct PlanWriter {
    Context *context;
    Arena *arena;
    const char *manifest; /* JSON */
    const char *ir;
    VEC(char) strings;
    Map string_offsets; /* text -> offset + 1, as a pointer */
    VEC(ProgramInstr) programs;
    VEC(PlanProgram) sizes;
    VEC(PlanDim) dims;
    VEC(PlanVariable) variables;
    Map variable_numbers;            /* name -> number + 1 */
    VEC(const Sharding *) shardings; /* of the variables */
    VEC(PlanSetting) settings;
    VEC(uint8_t) constants;
    VEC(PlanMeshAxis) mesh;
    VEC(PlanCut) cuts;
    VEC(TargetTables *) targets;
    /* Equal programs are stored once: open addressing by hash, entries are index + 1 of `known`. */
    VEC(PlanProgram) known;
    uint32_t *program_slots;
    size_t n_program_slots;
} PlanWriter;

void plan_writer_init(PlanWriter *writer, Context *context, Arena *arena);
/* Dims and settings of the module; once. */
void plan_writer_module(PlanWriter *writer, const Module *module);
/* The mesh, and the dims that passes have added since; once. */
void plan_writer_ranks(PlanWriter *writer, const Module *module);
TargetTables *plan_writer_target(PlanWriter *writer);

uint32_t plan_writer_string(PlanWriter *writer, const char *text); /* NULL is "" */
PlanProgram plan_writer_program(PlanWriter *writer, const ProgramInstr *code, size_t n_code);
PlanProgram plan_writer_size(PlanWriter *writer, const Size *size);
/* Appends the sizes to PLAN_SIZES; returns the number of the first. */
int32_t plan_writer_sizes(PlanWriter *writer, const Size *const *sizes, int32_t count);
PlanType plan_writer_type(PlanWriter *writer, Type type);
/* What a sharding says, NULL for the whole. */
PlanPart plan_writer_part(PlanWriter *writer, const Sharding *sharding);
/* The number of the variable; made at first sight. -1: known with another type, role or sharding.
 */
int32_t plan_writer_variable(PlanWriter *writer, const char *name, PlanArgRole role, Type type,
                             const Sharding *sharding);
/* Copies the bytes to PLAN_CONSTANTS; returns their offset. */
int64_t plan_writer_constant(PlanWriter *writer, const void *bytes, size_t n_bytes);

/* The whole file, appended to `out` (sticky failure: out->failed). */
void plan_writer_finish(PlanWriter *writer, Str *out);

#endif
