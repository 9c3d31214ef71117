/* Lays a plan out as bytes: pools with equal entries stored once, then sections one after another,
 * each with its checksum. */
#include "codegen/schedule/plan_write.h"

#include <zlib.h>

/* Numbers of the IR go into the file as they are: the run side's enums mirror the IR's. */
#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs " mirrors " #ours)
SAME(DT_F64, PLAN_F64);
SAME(DT_F32, PLAN_F32);
SAME(DT_F16, PLAN_F16);
SAME(DT_BF16, PLAN_BF16);
SAME(DT_I64, PLAN_I64);
SAME(DT_I32, PLAN_I32);
SAME(DT_I8, PLAN_I8);
SAME(DT_U8, PLAN_U8);
SAME(DT_BOOL, PLAN_BOOL);
SAME(DT_COUNT, PLAN_N_DTYPES);
SAME(ARG_INPUT, PLAN_ARG_INPUT);
SAME(ARG_PARAM, PLAN_ARG_PARAM);
SAME(ARG_STATE, PLAN_ARG_STATE);
SAME(ARG_CACHE, PLAN_ARG_CACHE);
SAME(ARG_SLOT, PLAN_ARG_SLOT);
SAME(ARG_SCALAR, PLAN_ARG_SCALAR);
SAME(ARG_SCALAR + 1, PLAN_N_ARG_ROLES);
SAME(RESULT_OUTPUT, PLAN_RESULT_OUTPUT);
SAME(RESULT_METRIC, PLAN_RESULT_METRIC);
SAME(RESULT_METRIC_OVER, PLAN_RESULT_METRIC_OVER);
SAME(RESULT_LOSS, PLAN_RESULT_LOSS);
SAME(RESULT_STORE, PLAN_RESULT_STORE);
SAME(RESULT_OK, PLAN_RESULT_OK);
SAME(RESULT_INFO, PLAN_RESULT_INFO);
SAME(RESULT_LOSS_OVER, PLAN_RESULT_LOSS_OVER);
SAME(RESULT_LOSS_OVER + 1, PLAN_N_RESULT_ROLES);
SAME(PURPOSE_INFER, PLAN_PURPOSE_INFER);
SAME(PURPOSE_EVAL, PLAN_PURPOSE_EVAL);
SAME(PURPOSE_TRAIN, PLAN_PURPOSE_TRAIN);
SAME(PURPOSE_INIT, PLAN_PURPOSE_INIT);
SAME(PURPOSE_OTHER, PLAN_PURPOSE_OTHER);
SAME(PURPOSE_OTHER + 1, PLAN_N_PURPOSES);
#undef SAME

void plan_writer_init(PlanWriter *writer, Context *context, Arena *arena) {
    *writer = (PlanWriter){.context = context, .arena = arena};
    map_init(&writer->string_offsets, arena);
    map_init(&writer->variable_numbers, arena);
    VEC_PUSH(arena, &writer->strings, '\0');
    writer->n_program_slots = 1024;
    writer->program_slots = ARENA_ARRAY(arena, uint32_t, writer->n_program_slots);
}

uint32_t plan_writer_string(PlanWriter *writer, const char *text) {
    if (!text || !*text) {
        return 0;
    }
    void *known = map_get(&writer->string_offsets, text);
    if (known) {
        return (uint32_t)((uintptr_t)known - 1);
    }
    uint32_t offset = (uint32_t)writer->strings.count;
    for (const char *c = text;; c++) {
        VEC_PUSH(writer->arena, &writer->strings, *c);
        if (!*c) {
            break;
        }
    }
    map_set(&writer->string_offsets, text, (void *)((uintptr_t)offset + 1));
    return offset;
}

static uint64_t program_hash(const ProgramInstr *code, size_t n_code) {
    return hash_bytes(code, n_code * sizeof(*code), 1);
}

static void program_slots_insert(PlanWriter *writer, uint32_t number) {
    PlanProgram program = writer->known.items[number];
    uint64_t hash = program_hash(writer->programs.items + program.first, (size_t)program.count);
    size_t slot = hash & (writer->n_program_slots - 1);
    while (writer->program_slots[slot]) {
        slot = (slot + 1) & (writer->n_program_slots - 1);
    }
    writer->program_slots[slot] = number + 1;
}

PlanProgram plan_writer_program(PlanWriter *writer, const ProgramInstr *code, size_t n_code) {
    size_t slot = program_hash(code, n_code) & (writer->n_program_slots - 1);
    for (; writer->program_slots[slot]; slot = (slot + 1) & (writer->n_program_slots - 1)) {
        PlanProgram known = writer->known.items[writer->program_slots[slot] - 1];
        if ((size_t)known.count == n_code &&
            memcmp(writer->programs.items + known.first, code, n_code * sizeof(*code)) == 0) {
            return known;
        }
    }
    PlanProgram program = {(int32_t)writer->programs.count, (int32_t)n_code};
    for (size_t i = 0; i < n_code; i++) {
        VEC_PUSH(writer->arena, &writer->programs, code[i]);
    }
    VEC_PUSH(writer->arena, &writer->known, program);
    if (writer->known.count * 2 > writer->n_program_slots) {
        writer->n_program_slots *= 2;
        writer->program_slots = ARENA_ARRAY(writer->arena, uint32_t, writer->n_program_slots);
        for (uint32_t i = 0; i < writer->known.count; i++) {
            program_slots_insert(writer, i);
        }
    } else {
        program_slots_insert(writer, (uint32_t)writer->known.count - 1);
    }
    return program;
}

PlanProgram plan_writer_size(PlanWriter *writer, const Size *size) {
    ProgramVec code = {0};
    size_to_program(writer->arena, size, &code);
    return plan_writer_program(writer, code.items, code.count);
}

int32_t plan_writer_sizes(PlanWriter *writer, const Size *const *sizes, int32_t count) {
    int32_t first = (int32_t)writer->sizes.count;
    for (int32_t i = 0; i < count; i++) {
        PlanProgram program = plan_writer_size(writer, sizes[i]);
        VEC_PUSH(writer->arena, &writer->sizes, program);
    }
    return first;
}

PlanType plan_writer_type(PlanWriter *writer, Type type) {
    PlanType made = {.dtype = (int32_t)type.dtype, .rank = type.rank};
    made.first_size = plan_writer_sizes(writer, type.dims, type.rank);
    made.text = plan_writer_string(writer, type_text(writer->context, type));
    return made;
}

PlanPart plan_writer_part(PlanWriter *writer, const Sharding *sharding) {
    if (!sharding || sharding->n_cuts == 0) {
        return (PlanPart){.n_cuts = 0};
    }
    PlanPart part = {.first_cut = (int32_t)writer->cuts.count, .n_cuts = sharding->n_cuts};
    part.whole = plan_writer_type(writer, sharding->whole);
    for (int32_t i = 0; i < sharding->n_cuts; i++) {
        const AxisCut *cut = &sharding->cuts[i];
        PlanCut record = {.axis = cut->axis, .group = cut->group};
        record.outer = plan_writer_size(writer, cut->outer);
        record.rows = plan_writer_size(writer, cut->rows);
        record.inner = plan_writer_size(writer, cut->inner);
        VEC_PUSH(writer->arena, &writer->cuts, record);
    }
    return part;
}

int32_t plan_writer_variable(PlanWriter *writer, const char *name, PlanArgRole role, Type type,
                             const Sharding *sharding) {
    void *known = map_get(&writer->variable_numbers, name);
    if (known) {
        int32_t number = (int32_t)((uintptr_t)known - 1);
        const PlanVariable *variable = &writer->variables.items[number];
        bool same =
            variable->role == (int32_t)role &&
            variable->type.text == plan_writer_string(writer, type_text(writer->context, type)) &&
            sharding_equal(writer->shardings.items[number], sharding);
        return same ? number : -1;
    }
    PlanVariable variable = {.role = (int32_t)role};
    variable.name = plan_writer_string(writer, name);
    variable.type = plan_writer_type(writer, type);
    variable.bytes = plan_writer_size(writer, type_bytes(writer->context, type));
    variable.part = plan_writer_part(writer, sharding);
    VEC_PUSH(writer->arena, &writer->variables, variable);
    VEC_PUSH(writer->arena, &writer->shardings, sharding);
    map_set(&writer->variable_numbers, name, (void *)(uintptr_t)writer->variables.count);
    return (int32_t)writer->variables.count - 1;
}

int64_t plan_writer_constant(PlanWriter *writer, const void *bytes, size_t n_bytes) {
    while (writer->constants.count % PLAN_ALIGNMENT != 0) {
        VEC_PUSH(writer->arena, &writer->constants, 0);
    }
    int64_t offset = (int64_t)writer->constants.count;
    for (size_t i = 0; i < n_bytes; i++) {
        VEC_PUSH(writer->arena, &writer->constants, ((const uint8_t *)bytes)[i]);
    }
    return offset;
}

static void dims_write(PlanWriter *writer, const Module *module) {
    for (int32_t i = (int32_t)writer->dims.count; i < module->n_dims; i++) {
        const Dim *dim = module->dims[i];
        PlanDim record = {.name = plan_writer_string(writer, dim->name),
                          .source = (int32_t)dim->source,
                          .group = dim->group,
                          .low = dim->low,
                          .high = dim->high,
                          .divisor = dim->divisor,
                          .nominal = dim->nominal};
        if (dim->of) {
            record.of = plan_writer_size(writer, dim->of);
        }
        VEC_PUSH(writer->arena, &writer->dims, record);
    }
}

void plan_writer_module(PlanWriter *writer, const Module *module) {
    dims_write(writer, module);
    for (size_t i = 0; i < module->settings.count; i++) {
        const MapEntry *entry = &module->settings.entries[i];
        PlanSetting setting = {0};
        setting.name = plan_writer_string(writer, entry->key);
        setting.value = plan_writer_string(writer, entry->value);
        VEC_PUSH(writer->arena, &writer->settings, setting);
    }
}

void plan_writer_ranks(PlanWriter *writer, const Module *module) {
    dims_write(writer, module);
    for (int32_t i = 0; i < module->n_mesh_axes; i++) {
        const MeshAxis *axis = &module->mesh[i];
        PlanMeshAxis record = {.name = plan_writer_string(writer, axis->name), .size = axis->size};
        VEC_PUSH(writer->arena, &writer->mesh, record);
    }
}

TargetTables *plan_writer_target(PlanWriter *writer) {
    TargetTables *tables = ARENA_NEW(writer->arena, TargetTables);
    VEC_PUSH(writer->arena, &writer->targets, tables);
    return tables;
}

/* One section before it has a place. */
typedef struct Part {
    uint32_t kind, target;
    const void *bytes;
    size_t size;
} Part;
typedef VEC(Part) PartVec;

static void part_add(PlanWriter *writer, PartVec *parts, PlanSectionKind kind, uint32_t target,
                     const void *bytes, size_t size) {
    Part part = {kind, target, bytes, size};
    VEC_PUSH(writer->arena, parts, part);
}

#define PART_VEC(kind, target, vec)                                                                \
    part_add(writer, parts, (kind), (target), (vec).items, (vec).count * sizeof((vec).items[0]))

static void parts_collect(PlanWriter *writer, PartVec *parts) {
    part_add(writer, parts, PLAN_MANIFEST, 0, writer->manifest, strlen(writer->manifest));
    part_add(writer, parts, PLAN_IR, 0, writer->ir, strlen(writer->ir));
    PART_VEC(PLAN_STRINGS, 0, writer->strings);
    PART_VEC(PLAN_PROGRAMS, 0, writer->programs);
    PART_VEC(PLAN_SIZES, 0, writer->sizes);
    PART_VEC(PLAN_DIMS, 0, writer->dims);
    PART_VEC(PLAN_VARIABLES, 0, writer->variables);
    PART_VEC(PLAN_SETTINGS, 0, writer->settings);
    PART_VEC(PLAN_CONSTANTS, 0, writer->constants);
    PART_VEC(PLAN_MESH, 0, writer->mesh);
    PART_VEC(PLAN_CUTS, 0, writer->cuts);
    for (uint32_t t = 0; t < writer->targets.count; t++) {
        const TargetTables *tables = writer->targets.items[t];
        part_add(writer, parts, PLAN_TARGET, t, &tables->target, sizeof(tables->target));
        part_add(writer, parts, PLAN_IMAGE, t, tables->image, tables->n_image);
        PART_VEC(PLAN_KERNELS, t, tables->kernels);
        PART_VEC(PLAN_SITES, t, tables->sites);
        PART_VEC(PLAN_ENTRIES, t, tables->entries);
        PART_VEC(PLAN_ARGS, t, tables->args);
        PART_VEC(PLAN_RESULTS, t, tables->results);
        PART_VEC(PLAN_BUFFERS, t, tables->buffers);
        PART_VEC(PLAN_COMMANDS, t, tables->commands);
        PART_VEC(PLAN_REFS, t, tables->refs);
        PART_VEC(PLAN_SWAPS, t, tables->swaps);
        PART_VEC(PLAN_LIBRARIES, t, tables->libraries);
        PART_VEC(PLAN_WAITS, t, tables->waits);
        PART_VEC(PLAN_COLLECTIVES, t, tables->collectives);
    }
}

static void pad_to(Str *out, size_t start) {
    static const char zeros[PLAN_ALIGNMENT] = {0};
    size_t over = (out->length - start) % PLAN_ALIGNMENT;
    if (over) {
        str_add_bytes(out, zeros, PLAN_ALIGNMENT - over);
    }
}

void plan_writer_finish(PlanWriter *writer, Str *out) {
    PartVec parts = {0};
    parts_collect(writer, &parts);
    size_t n = parts.count;
    size_t head = sizeof(PlanHeader) + n * sizeof(PlanSection);
    uint8_t *table = arena_alloc(writer->arena, head);
    PlanHeader *header = (PlanHeader *)table;
    PlanSection *sections = (PlanSection *)(table + sizeof(PlanHeader));
    uint64_t offset = (head + PLAN_ALIGNMENT - 1) / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
    for (size_t i = 0; i < n; i++) {
        const Part *part = &parts.items[i];
        sections[i] = (PlanSection){.kind = part->kind,
                                    .target = part->target,
                                    .offset = offset,
                                    .size = part->size,
                                    .crc = (uint32_t)crc32_z(0, part->bytes, part->size)};
        offset += (part->size + PLAN_ALIGNMENT - 1) / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
    }
    memcpy(header->magic, PLAN_MAGIC, sizeof(header->magic));
    header->version = PLAN_VERSION;
    header->n_sections = (uint32_t)n;
    header->file_bytes = offset;
    header->n_targets = (uint32_t)writer->targets.count;
    header->table_crc = (uint32_t)crc32_z(0, table, head);
    size_t start = out->length;
    str_add_bytes(out, table, head);
    pad_to(out, start);
    for (size_t i = 0; i < n; i++) {
        if (parts.items[i].size > 0) {
            str_add_bytes(out, parts.items[i].bytes, parts.items[i].size);
        }
        pad_to(out, start);
    }
}
