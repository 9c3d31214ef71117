/* Reads a plan and finds its sections: magic, version, table, places, checksums. Nothing beyond the
 * checked bytes is ever read, whatever the header says. */
#include "runtime/plan_file/read.h"
#include "ir/base/checked.h"

#include <inttypes.h>
#include <stddef.h>
#include <zlib.h>

static dlc_status bad(dlc_context *context, const PlanFile *file, size_t offset, const char *what) {
    return context_fail(context, DLC_ERROR_FORMAT, "%s: offset %zu: %s", file->name, offset, what);
}

static dlc_status header_read(dlc_context *context, PlanFile *file) {
    file->header = (const PlanHeader *)file->bytes;
    const PlanHeader *header = file->header;
    size_t n_magic = sizeof(header->magic);
    if (file->n_bytes >= n_magic && memcmp(file->bytes, PLAN_MAGIC, n_magic) != 0) {
        return bad(context, file, 0,
                   "this is not a plan; of a program, `dlc FILE.dl -o FILE.plan` makes one");
    }
    if (file->n_bytes < sizeof(PlanHeader)) {
        return bad(context, file, file->n_bytes, "the file is too short for a plan");
    }
    if (header->version != PLAN_VERSION) {
        return context_fail(context, DLC_ERROR_UNSUPPORTED,
                            "%s: offset 8: plan version %" PRIu32 "; this library reads version %d",
                            file->name, header->version, PLAN_VERSION);
    }
    if (header->file_bytes != file->n_bytes) {
        return context_fail(context, DLC_ERROR_FORMAT,
                            "%s: offset 16: the header says %" PRIu64
                            " bytes, the file has %zu: truncated or overwritten",
                            file->name, header->file_bytes, file->n_bytes);
    }
    if (header->n_sections > PLAN_MAX_SECTIONS || header->n_targets > PLAN_MAX_TARGETS) {
        return bad(context, file, offsetof(PlanHeader, n_sections), "too many sections");
    }
    size_t head = sizeof(PlanHeader) + header->n_sections * sizeof(PlanSection);
    if (head > file->n_bytes) {
        return bad(context, file, sizeof(PlanHeader), "the section table leaves the file");
    }
    file->sections = (const PlanSection *)(file->bytes + sizeof(PlanHeader));
    PlanHeader zeroed = *header;
    zeroed.table_crc = 0;
    uLong crc = crc32(0, (const Bytef *)&zeroed, sizeof(zeroed));
    crc = crc32(crc, (const Bytef *)file->sections, (uInt)(head - sizeof(zeroed)));
    if ((uint32_t)crc != header->table_crc) {
        return bad(context, file, offsetof(PlanHeader, table_crc),
                   "the section table's checksum is wrong");
    }
    return DLC_OK;
}

/* Where a section's pointer and count go, and how large its records are. */
typedef struct Slot {
    PlanSectionKind kind;
    size_t pointer, count; /* offsets in PlanFile or PlanTables */
    size_t record;
} Slot;

#define FILE_SLOT(kind, field, type)                                                               \
    { kind, offsetof(PlanFile, field), offsetof(PlanFile, n_##field), sizeof(type) }
#define TABLE_SLOT(kind, field, type)                                                              \
    { kind, offsetof(PlanTables, field), offsetof(PlanTables, n_##field), sizeof(type) }

static const Slot file_slots[] = {
    FILE_SLOT(PLAN_MANIFEST, manifest, char),
    FILE_SLOT(PLAN_IR, ir, char),
    FILE_SLOT(PLAN_STRINGS, strings, char),
    FILE_SLOT(PLAN_PROGRAMS, programs, ProgramInstr),
    FILE_SLOT(PLAN_SIZES, sizes, PlanProgram),
    FILE_SLOT(PLAN_DIMS, dims, PlanDim),
    FILE_SLOT(PLAN_VARIABLES, variables, PlanVariable),
    FILE_SLOT(PLAN_SETTINGS, settings, PlanSetting),
    FILE_SLOT(PLAN_CONSTANTS, constants, uint8_t),
    FILE_SLOT(PLAN_MESH, mesh, PlanMeshAxis),
    FILE_SLOT(PLAN_CUTS, cuts, PlanCut),
};
static const Slot table_slots[] = {
    TABLE_SLOT(PLAN_TARGET, target, PlanTarget),
    TABLE_SLOT(PLAN_IMAGE, image, uint8_t),
    TABLE_SLOT(PLAN_KERNELS, kernels, PlanKernel),
    TABLE_SLOT(PLAN_SITES, sites, PlanSite),
    TABLE_SLOT(PLAN_ENTRIES, entries, PlanEntry),
    TABLE_SLOT(PLAN_ARGS, args, PlanArg),
    TABLE_SLOT(PLAN_RESULTS, results, PlanResult),
    TABLE_SLOT(PLAN_BUFFERS, buffers, PlanBuffer),
    TABLE_SLOT(PLAN_COMMANDS, commands, PlanCommand),
    TABLE_SLOT(PLAN_REFS, refs, PlanRef),
    TABLE_SLOT(PLAN_SWAPS, swaps, PlanSwap),
    TABLE_SLOT(PLAN_LIBRARIES, libraries, PlanLibrary),
    TABLE_SLOT(PLAN_WAITS, waits, int32_t),
    TABLE_SLOT(PLAN_COLLECTIVES, collectives, PlanCollective),
};

static const Slot *slot_find(uint32_t kind, bool *of_target) {
    for (size_t i = 0; i < sizeof(file_slots) / sizeof(file_slots[0]); i++) {
        if (file_slots[i].kind == kind) {
            *of_target = false;
            return &file_slots[i];
        }
    }
    for (size_t i = 0; i < sizeof(table_slots) / sizeof(table_slots[0]); i++) {
        if (table_slots[i].kind == kind) {
            *of_target = true;
            return &table_slots[i];
        }
    }
    return NULL;
}

static dlc_status section_read(dlc_context *context, PlanFile *file, uint32_t number) {
    const PlanSection *section = &file->sections[number];
    size_t at = sizeof(PlanHeader) + number * sizeof(PlanSection);
    if (section->offset % PLAN_ALIGNMENT != 0 || section->offset > file->n_bytes ||
        section->size > file->n_bytes - section->offset) {
        return bad(context, file, at, "a section leaves the file");
    }
    size_t head = sizeof(PlanHeader) + file->header->n_sections * sizeof(PlanSection);
    if (section->size > 0 && section->offset < head) {
        return bad(context, file, at, "a section overlaps the table");
    }
    for (uint32_t i = 0; i < number; i++) {
        const PlanSection *other = &file->sections[i];
        if (section->size > 0 && other->size > 0 && section->offset < other->offset + other->size &&
            other->offset < section->offset + section->size) {
            return bad(context, file, at, "two sections overlap");
        }
    }
    bool of_target;
    const Slot *slot = slot_find(section->kind, &of_target);
    if (!slot || section->target >= (of_target ? file->header->n_targets : 1)) {
        return bad(context, file, at, "unknown kind of section");
    }
    if (section->size % slot->record != 0) {
        return bad(context, file, at, "a section holds part of a record");
    }
    if (section->size / slot->record > INT32_MAX && slot->record > 1) {
        return bad(context, file, at, "a section has too many records");
    }
    if ((uint32_t)crc32_z(0, file->bytes + section->offset, section->size) != section->crc) {
        return bad(context, file, section->offset, "a section's checksum is wrong");
    }
    char *base = of_target ? (char *)&file->targets[section->target] : (char *)file;
    const uint8_t *bytes = file->bytes + section->offset;
    const void *known;
    memcpy(&known, base + slot->pointer, sizeof(known));
    if (known) {
        return bad(context, file, at, "a section is there twice");
    }
    int64_t count = (int64_t)(section->size / slot->record);
    memcpy(base + slot->pointer, &bytes, sizeof(bytes));
    memcpy(base + slot->count, &count, sizeof(count));
    return DLC_OK;
}

static bool all_there(const char *base, const Slot *slots, size_t n_slots) {
    for (size_t i = 0; i < n_slots; i++) {
        const void *known;
        memcpy(&known, base + slots[i].pointer, sizeof(known));
        if (!known) {
            return false;
        }
    }
    return true;
}

static dlc_status sections_read(dlc_context *context, PlanFile *file) {
    file->n_targets = (int32_t)file->header->n_targets;
    file->targets =
        memory_new(&context->allocator, (size_t)file->n_targets, sizeof(*file->targets));
    if (!file->targets) {
        return context_out_of_memory(context);
    }
    for (uint32_t i = 0; i < file->header->n_sections; i++) {
        dlc_status status = section_read(context, file, i);
        if (status != DLC_OK) {
            return status;
        }
    }
    bool whole = all_there((const char *)file, file_slots, sizeof(file_slots) / sizeof(Slot));
    for (int32_t t = 0; t < file->n_targets; t++) {
        whole = whole && all_there((const char *)&file->targets[t], table_slots,
                                   sizeof(table_slots) / sizeof(Slot));
    }
    if (!whole || file->n_targets == 0) {
        return bad(context, file, sizeof(PlanHeader), "a section is missing");
    }
    return DLC_OK;
}

/* The texts get a NUL, which the file does not give them. */
static dlc_status texts_copy(dlc_context *context, PlanFile *file) {
    const char **texts[2] = {&file->manifest, &file->ir};
    const int64_t lengths[2] = {file->n_manifest, file->n_ir};
    char *copies[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        copies[i] = memory_new(&context->allocator, (size_t)lengths[i] + 1, 1);
        if (!copies[i]) {
            memory_free(&context->allocator, copies[0]);
            file->manifest = NULL;
            file->ir = NULL;
            return context_out_of_memory(context);
        }
        memcpy(copies[i], *texts[i], (size_t)lengths[i]);
    }
    file->manifest = copies[0];
    file->ir = copies[1];
    return DLC_OK;
}

dlc_status plan_file_open(dlc_context *context, const char *name, const void *bytes, size_t n_bytes,
                          PlanFile *out) {
    memset(out, 0, sizeof(*out));
    bool copied = false;
    dlc_status status;
    out->name = memory_strdup(&context->allocator, name ? name : "memory");
    if (!out->name) {
        return context_out_of_memory(context);
    }
    FileView view = {.data = bytes, .size = n_bytes};
    if (!bytes) {
        char message[FILE_MESSAGE_BYTES] = "";
        status = file_view_open(name, &view, message);
        if (status != DLC_OK) {
            context_fail(context, status, "%s", message);
            goto fail;
        }
    }
    out->owned = memory_new_aligned(&context->allocator, view.size);
    if (out->owned) {
        memcpy(out->owned, view.data, view.size);
    }
    out->bytes = out->owned;
    out->n_bytes = view.size;
    file_view_close(&view);
    if (!out->owned) {
        status = context_out_of_memory(context);
        goto fail;
    }
    status = header_read(context, out);
    if (status == DLC_OK) {
        status = sections_read(context, out);
    }
    if (status == DLC_OK) {
        status = texts_copy(context, out);
        copied = status == DLC_OK;
    }
    if (status == DLC_OK) {
        status = plan_file_check(context, out);
    }
    if (status == DLC_OK) {
        return DLC_OK;
    }
fail:
    if (!copied) {
        out->manifest = NULL;
        out->ir = NULL;
    }
    plan_file_close(context, out);
    return status;
}

void plan_file_close(dlc_context *context, PlanFile *file) {
    memory_free(&context->allocator, (void *)(uintptr_t)file->manifest);
    memory_free(&context->allocator, (void *)(uintptr_t)file->ir);
    memory_free(&context->allocator, file->targets);
    memory_free(&context->allocator, file->name);
    memory_free_aligned(&context->allocator, file->owned);
    memset(file, 0, sizeof(*file));
}

bool plan_eval(const PlanFile *file, PlanProgram program, const int64_t *vars, int64_t *out) {
    if (program.count == 0) {
        *out = 0;
        return true;
    }
    return program_eval(file->programs + program.first, program.count, vars,
                        file->n_dims + PLAN_MAX_LOOP_DEPTH, out);
}

bool plan_program_uses_loops(const PlanFile *file, PlanProgram program) {
    for (int32_t i = 0; i < program.count; i++) {
        const ProgramInstr *instr = &file->programs[program.first + i];
        if (instr->code == PROGRAM_VAR && instr->immediate >= file->n_dims) {
            return true;
        }
    }
    return false;
}

int32_t plan_size_dim(const PlanFile *file, PlanProgram program) {
    int32_t found = -1;
    for (int32_t i = 0; i < program.count; i++) {
        const ProgramInstr *instr = &file->programs[program.first + i];
        if (instr->code == PROGRAM_VAR) {
            if (found >= 0 && found != instr->immediate) {
                return -1;
            }
            found = (int32_t)instr->immediate;
        }
    }
    if (found < 0 || found >= file->n_dims) {
        return -1;
    }
    /* A dim that must be a multiple of k may be written k * floordiv(dim, k): try instead of
     * matching. */
    int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0};
    const int64_t factors[3] = {1, 7, 1000003};
    for (int i = 0; i < 3; i++) {
        int64_t value;
        if (!checked_mul(file->dims[found].divisor, factors[i], &vars[found]) ||
            !plan_eval(file, program, vars, &value) || value != vars[found]) {
            return -1;
        }
    }
    return found;
}

const char *plan_setting(const PlanFile *file, const char *name) {
    for (int64_t i = 0; i < file->n_settings; i++) {
        if (strcmp(plan_text(file, file->settings[i].name), name) == 0) {
            return plan_text(file, file->settings[i].value);
        }
    }
    return NULL;
}

int plan_dtype_bytes(int32_t dtype) {
    static const int bytes[PLAN_N_DTYPES] = {8, 4, 2, 2, 8, 4, 1, 1, 1};
    return bytes[dtype];
}

const char *plan_dtype_name(int32_t dtype) {
    static const char *const names[PLAN_N_DTYPES] = {"f64", "f32", "f16", "bf16", "i64",
                                                     "i32", "i8",  "u8",  "bool"};
    return names[dtype];
}
