/* Writes the manifest: model, dims, settings, targets, entries with their tensors. */
#include "driver/manifest.h"

#include <inttypes.h>

static const char *writer_text(const PlanWriter *writer, uint32_t offset) {
    return writer->strings.items + offset;
}

static void add_member(Str *out, const char *key, const char *value, bool first) {
    str_add(out, first ? "" : ", ");
    json_add_string(out, key);
    str_add(out, ": ");
    json_add_string(out, value);
}

static void add_tensor(const PlanWriter *writer, const char *role, uint32_t name, PlanType type,
                       bool first, Str *out) {
    str_add(out, first ? "\n        {" : ",\n        {");
    add_member(out, "role", role, true);
    add_member(out, "name", writer_text(writer, name), false);
    add_member(out, "type", writer_text(writer, type.text), false);
    str_add(out, "}");
}

static PlanType whole_of(const PlanWriter *writer, const PlanArg *arg) {
    const PlanPart *part =
        arg->variable >= 0 ? &writer->variables.items[arg->variable].part : &arg->part;
    return part->n_cuts > 0 ? part->whole : arg->type;
}

static void add_entry(const PlanWriter *writer, const TargetTables *tables, const PlanEntry *entry,
                      Str *out) {
    static const char *const purposes[] = {"infer", "eval", "train", "init", "other"};
    static const char *const roles[] = {"input", "param", "state", "cache", "slot", "scalar"};
    static const char *const result_roles[] = {"output", "metric", "over", "loss",
                                               "store",  "ok",     "info", "loss_over"};
    str_add(out, "{");
    add_member(out, "name", writer_text(writer, entry->name), true);
    add_member(out, "purpose", purposes[entry->purpose], false);
    str_addf(out, ", \"commands\": %d, \"tensors\": [", entry->n_commands);
    bool first = true;
    for (int32_t i = 0; i < entry->n_args; i++) {
        const PlanArg *arg = &tables->args.items[entry->first_arg + i];
        add_tensor(writer, roles[arg->role], arg->name, whole_of(writer, arg), first, out);
        first = false;
    }
    for (int32_t i = 0; i < entry->n_results; i++) {
        const PlanResult *result = &tables->results.items[entry->first_result + i];
        if (result->role != PLAN_RESULT_STORE) {
            PlanType type = result->part.n_cuts > 0 ? result->part.whole : result->type;
            add_tensor(writer, result_roles[result->role], result->name, type, first, out);
            first = false;
        }
    }
    str_add(out, "]}");
}

static void add_figures(const TargetTables *tables, Str *out) {
    for (size_t i = 0; i < tables->figures.count; i++) {
        const ManifestFigures *row = &tables->figures.items[i];
        str_add(out, i ? ",\n      {" : ", \"resources\": [\n      {");
        add_member(out, "kernel", row->name, true);
        str_addf(out,
                 ", \"registers\": %d, \"shared_bytes\": %d, \"stack_bytes\": %d, "
                 "\"spill_bytes\": %d, \"scratch_bytes\": %" PRId64 "}",
                 row->registers, row->shared_bytes, row->stack_bytes, row->spill_bytes,
                 row->scratch_bytes);
    }
    str_add(out, tables->figures.count > 0 ? "]" : "");
}

static void add_dims(const Module *module, Str *out) {
    static const char *const sources[DIM_N_SOURCES] = {"free", "ranks", "coordinate", "piece",
                                                       "first"};
    str_add(out, ",\n  \"dims\": [");
    for (int32_t i = 0; i < module->n_dims; i++) {
        const Dim *dim = module->dims[i];
        str_add(out, i ? ", {" : "{");
        add_member(out, "name", dim->name, true);
        str_addf(out, ", \"low\": %" PRId64 ", \"divisor\": %" PRId64, dim->low, dim->divisor);
        if (dim->high != INT64_MAX) {
            str_addf(out, ", \"high\": %" PRId64, dim->high);
        }
        if (dim->nominal) {
            str_addf(out, ", \"nominal\": %" PRId64, dim->nominal);
        }
        if (dim->source != DIM_FREE) {
            add_member(out, "source", sources[dim->source], false);
            add_member(out, "over", module_group_text(module, dim->group), false);
        }
        str_add(out, "}");
    }
    str_add(out, "]");
}

static void add_mesh(const Module *module, Str *out) {
    for (int32_t i = 0; i < module->n_mesh_axes; i++) {
        str_add(out, i ? ", {" : ",\n  \"mesh\": [{");
        add_member(out, "name", module->mesh[i].name, true);
        str_addf(out, ", \"size\": %" PRId64 "}", module->mesh[i].size);
    }
    str_add(out, module->n_mesh_axes > 0 ? "]" : "");
}

const char *manifest_text(PlanWriter *writer, const Module *module, Str *out) {
    str_addf(out, "{\n  \"format\": %d,\n  \"dlc\": \"%d.%d.%d\",\n  \"model\": ", PLAN_VERSION,
             DLC_VERSION_MAJOR, DLC_VERSION_MINOR, DLC_VERSION_PATCH);
    json_add_string(out, module->name);
    add_dims(module, out);
    add_mesh(module, out);
    str_add(out, ",\n  \"settings\": {");
    for (size_t i = 0; i < writer->settings.count; i++) {
        const PlanSetting *setting = &writer->settings.items[i];
        add_member(out, writer_text(writer, setting->name), writer_text(writer, setting->value),
                   i == 0);
    }
    str_add(out, "},\n  \"targets\": [");
    for (size_t t = 0; t < writer->targets.count; t++) {
        const TargetTables *tables = writer->targets.items[t];
        str_add(out, t ? ", {" : "{");
        add_member(out, "device", writer_text(writer, tables->target.device), true);
        add_member(out, "machine", writer_text(writer, tables->target.machine), false);
        add_member(out, "features", writer_text(writer, tables->target.features), false);
        str_addf(out, ", \"kernels\": %zu, \"code_bytes\": %zu", tables->kernels.count,
                 tables->n_image);
        add_figures(tables, out);
        str_add(out, "}");
    }
    str_add(out, "],\n  \"entries\": [");
    if (writer->targets.count > 0) {
        const TargetTables *tables = writer->targets.items[0];
        for (size_t i = 0; i < tables->entries.count; i++) {
            str_add(out, i ? ",\n    " : "\n    ");
            add_entry(writer, tables, &tables->entries.items[i], out);
        }
    }
    str_add(out, "]\n}\n");
    if (out->failed) {
        boundary_leave(writer->context->boundary, DLC_ERROR_OUT_OF_MEMORY);
    }
    const char *text = arena_strndup(writer->arena, out->text, out->length);
    str_clear(out);
    return text;
}
