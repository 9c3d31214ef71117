/* The public face of plans: loading, saving, and every question that can be asked without running.
 */
#include "runtime/session/session.h"
#include "runtime/session/tensor.h"

#include "ir/base/checked.h"
#include "runtime/border.h"
#include "runtime/plan_file/compile.h"

#include <inttypes.h>
#include <stdio.h>

/* Numbers of the file are given to the caller as they are. */
#define SAME(theirs, ours) _Static_assert((int)(theirs) == (int)(ours), #ours " mirrors " #theirs)
SAME(PLAN_ARG_INPUT, DLC_ROLE_INPUT);
SAME(PLAN_ARG_PARAM, DLC_ROLE_PARAM);
SAME(PLAN_ARG_STATE, DLC_ROLE_STATE);
SAME(PLAN_ARG_CACHE, DLC_ROLE_CACHE);
SAME(PLAN_ARG_SLOT, DLC_ROLE_SLOT);
SAME(PLAN_PURPOSE_INFER, DLC_PURPOSE_INFER);
SAME(PLAN_PURPOSE_EVAL, DLC_PURPOSE_EVAL);
SAME(PLAN_PURPOSE_TRAIN, DLC_PURPOSE_TRAIN);
SAME(PLAN_PURPOSE_INIT, DLC_PURPOSE_INIT);
SAME(PLAN_PURPOSE_OTHER, DLC_PURPOSE_OTHER);
SAME(PLAN_N_PURPOSES, DLC_PURPOSE_OTHER + 1);
#undef SAME

static bool only_host(const PlanFile *file) {
    for (int32_t t = 0; t < file->n_targets; t++) {
        if (strcmp(plan_text(file, file->targets[t].target->device), device_host()->name) != 0) {
            return false;
        }
    }
    return true;
}

/* The plan of the file, or of the bytes; compiled anew when its code is for other processors only,
 * or not wanted. Where there is code for other devices, the session decides. */
static dlc_status plan_open(dlc_context *context, const char *name, const void *bytes,
                            size_t n_bytes, unsigned flags, dlc_plan **out) {
    dlc_plan *plan = NULL;
    dlc_status status = plan_adopt(context, name, bytes, n_bytes, &plan);
    if (status != DLC_OK) {
        return status;
    }
    const PlanFile *file = &plan->file;
    const DeviceOps *host = device_host();
    char why[DEVICE_MESSAGE_BYTES] = "its code was not wanted";
    if (!(flags & DLC_PLAN_NO_NATIVE)) { /* a processor can, or it cannot */
        int32_t number;
        if (plan->target >= 0 || !only_host(file)) {
            *out = plan;
            return DLC_OK;
        }
        (void)plan_target_for(file, host, "", &number, why);
    }
    status = plan_retarget(context, file->ir, host->target, NULL, 0, out);
    if (status == DLC_OK) {
        context_log(context, DLC_LOG_INFO, "%s: compiled anew for this machine: %s", file->name,
                    why);
    } else {
        context_fail(context, status, "%s: %s, and compiling anew failed: %s", file->name, why,
                     context->error);
    }
    plan_release(plan);
    return status;
}

dlc_status dlc_plan_load(dlc_context *context, const char *path, unsigned flags, dlc_plan **out) {
    BORDER_CALL(context);
    if (!path || !out) {
        return border_missing(context, !path ? "path" : "out");
    }
    if (!border_flags(context, "dlc_plan_load: flags", flags, DLC_PLAN_NO_NATIVE)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    return plan_open(context, path, NULL, 0, flags, out);
}

dlc_status dlc_plan_load_memory(dlc_context *context, const void *bytes, size_t n_bytes,
                                const char *name, unsigned flags, dlc_plan **out) {
    BORDER_CALL(context);
    if (!bytes || !out) {
        return border_missing(context, !bytes ? "bytes" : "out");
    }
    if (!border_flags(context, "dlc_plan_load_memory: flags", flags, DLC_PLAN_NO_NATIVE)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    return plan_open(context, name, bytes, n_bytes, flags, out);
}

void dlc_plan_destroy(dlc_plan *plan) {
    if (plan) {
        border_child_end(plan->context, &plan->child);
    }
}

dlc_status dlc_plan_save(const dlc_plan *plan, const char *path) {
    BORDER_CALL(plan ? plan->context : NULL);
    if (!path) {
        return border_missing(plan->context, "path");
    }
    char message[FILE_MESSAGE_BYTES] = "";
    const void *parts[1] = {plan->file.bytes};
    size_t lengths[1] = {plan->file.n_bytes};
    dlc_status status = file_write(path, parts, lengths, 1, message);
    return status == DLC_OK ? DLC_OK : context_fail(plan->context, status, "%s", message);
}

void dlc_plan_bytes(const dlc_plan *plan, const void **out_bytes, size_t *out_n_bytes) {
    if (out_bytes) {
        *out_bytes = plan ? plan->file.bytes : NULL;
    }
    if (out_n_bytes) {
        *out_n_bytes = plan ? plan->file.n_bytes : 0;
    }
}

const char *dlc_plan_manifest(const dlc_plan *plan) {
    return plan ? plan->file.manifest : "";
}

const char *dlc_plan_ir(const dlc_plan *plan) {
    return plan ? plan->file.ir : "";
}

const char *dlc_plan_setting(const dlc_plan *plan, const char *name) {
    return plan && name ? plan_setting(&plan->file, name) : NULL;
}

const char *dlc_plan_model(const dlc_plan *plan) {
    const char *name = dlc_plan_setting(plan, "model");
    return name ? name : "";
}

const char *dlc_plan_parameter_text(const dlc_plan *plan) {
    return plan ? plan->parameter_text : "";
}

size_t dlc_plan_kernel_count(const dlc_plan *plan) {
    return plan ? (size_t)plan_tables(plan)->n_kernels : 0;
}

/* The number of the dim, in the file, that is number `index` of those that are not computed by each
 * rank; n_dims: there are no more. */
static int64_t free_dim(const PlanFile *file, size_t index) {
    size_t n = 0;
    for (int64_t d = 0; d < file->n_dims; d++) {
        if (file->dims[d].source == DIM_FREE && n++ == index) {
            return d;
        }
    }
    return file->n_dims;
}

size_t dlc_plan_dim_count(const dlc_plan *plan) {
    size_t n = 0;
    while (plan && free_dim(&plan->file, n) < plan->file.n_dims) {
        n++;
    }
    return n;
}

static dlc_status no_such(const dlc_plan *plan, const char *what, size_t index) {
    return context_fail(plan->context, DLC_ERROR_NOT_FOUND, "the plan has no %s number %zu", what,
                        index);
}

size_t dlc_plan_target_count(const dlc_plan *plan) {
    return plan ? (size_t)plan->file.n_targets : 0;
}

dlc_status dlc_plan_target(const dlc_plan *plan, size_t index, dlc_target_info *out) {
    BORDER_CALL(plan ? plan->context : NULL);
    if (!border_result_needed(plan->context, "dlc_target_info", out)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    if (index >= (size_t)plan->file.n_targets) {
        return no_such(plan, "target", index);
    }
    const PlanTables *tables = &plan->file.targets[index];
    dlc_target_info info = {.device = plan_text(&plan->file, tables->target->device),
                            .machine = plan_text(&plan->file, tables->target->machine),
                            .n_kernels = (size_t)tables->n_kernels,
                            .image_bytes = (size_t)tables->n_image};
    border_result_write(out, &info, sizeof(info));
    return DLC_OK;
}

dlc_status dlc_plan_target_check(const dlc_plan *plan, size_t index) {
    BORDER_CALL(plan ? plan->context : NULL);
    if (index >= (size_t)plan->file.n_targets) {
        return no_such(plan, "target", index);
    }
    const PlanTarget *target = plan->file.targets[index].target;
    const DeviceOps *ops = device_find(plan_text(&plan->file, target->device));
    char message[DEVICE_MESSAGE_BYTES] = "this library knows no such device";
    dlc_status status = DLC_ERROR_UNSUPPORTED;
    if (ops && target->abi != KERNEL_ABI_VERSION) {
        snprintf(message, sizeof(message), "its code is of another version than this library");
    } else if (ops) {
        status = ops->supports(plan_text(&plan->file, target->machine),
                               plan_text(&plan->file, target->features), "", message);
    }
    return status == DLC_OK ? DLC_OK : context_fail(plan->context, status, "%s", message);
}

dlc_status dlc_plan_dim(const dlc_plan *plan, size_t index, dlc_dim_info *out) {
    BORDER_CALL(plan ? plan->context : NULL);
    if (!border_result_needed(plan->context, "dlc_dim_info", out)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    int64_t number = free_dim(&plan->file, index);
    if (number == plan->file.n_dims) {
        return no_such(plan, "dim", index);
    }
    const PlanDim *dim = &plan->file.dims[number];
    int64_t usual[PLAN_MAX_DIMS];
    for (int32_t d = 0; d < plan->file.n_dims; d++) {
        usual[d] = -1;
    }
    place_dims_default(&plan->file, usual);
    dlc_dim_info info = {.name = plan_text(&plan->file, dim->name),
                         .low = dim->low,
                         .high = dim->high,
                         .divisor = dim->divisor,
                         .nominal = dim->nominal,
                         .usual = usual[number]};
    border_result_write(out, &info, sizeof(info));
    return DLC_OK;
}

size_t dlc_plan_entry_count(const dlc_plan *plan) {
    return plan ? (size_t)plan_tables(plan)->n_entries : 0;
}

static bool arg_is_listed(const PlanArg *arg) {
    return arg->role != PLAN_ARG_SCALAR;
}

static bool result_is_listed(const PlanResult *result) {
    return result->role != PLAN_RESULT_STORE && result->role != PLAN_RESULT_OK &&
           result->role != PLAN_RESULT_METRIC_OVER && result->role != PLAN_RESULT_LOSS_OVER;
}

dlc_status dlc_plan_entry(const dlc_plan *plan, size_t index, dlc_entry_info *out) {
    BORDER_CALL(plan ? plan->context : NULL);
    if (!border_result_needed(plan->context, "dlc_entry_info", out)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    const PlanTables *tables = plan_tables(plan);
    if (index >= (size_t)tables->n_entries) {
        return no_such(plan, "entry", index);
    }
    const PlanEntry *entry = &tables->entries[index];
    size_t n = 0;
    for (int32_t i = 0; i < entry->n_args; i++) {
        n += arg_is_listed(&tables->args[entry->first_arg + i]);
    }
    for (int32_t i = 0; i < entry->n_results; i++) {
        n += result_is_listed(&tables->results[entry->first_result + i]);
    }
    dlc_entry_info info = {.name = plan_text(&plan->file, entry->name),
                           .purpose = (dlc_purpose)entry->purpose,
                           .n_tensors = n};
    border_result_write(out, &info, sizeof(info));
    return DLC_OK;
}

static void tensor_info(const PlanFile *file, PlanType type, uint32_t name, dlc_tensor_role role,
                        dlc_tensor_info *out) {
    dlc_tensor_info info = {.role = role,
                            .name = plan_text(file, name),
                            .type = plan_text(file, type.text),
                            .dtype = dl_dtype(type.dtype),
                            .rank = type.rank};
    for (int32_t a = 0; a < type.rank; a++) {
        PlanProgram program = file->sizes[type.first_size + a];
        bool fixed = true;
        for (int32_t i = 0; i < program.count; i++) {
            fixed = fixed && file->programs[program.first + i].code != PROGRAM_VAR;
        }
        int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0};
        if (!fixed || !plan_eval(file, program, vars, &info.dims[a])) {
            info.dims[a] = -1;
        }
    }
    border_result_write(out, &info, sizeof(info));
}

dlc_status dlc_plan_entry_tensor(const dlc_plan *plan, size_t number, size_t index,
                                 dlc_tensor_info *out) {
    BORDER_CALL(plan ? plan->context : NULL);
    if (!border_result_needed(plan->context, "dlc_tensor_info", out)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    static const dlc_tensor_role result_roles[PLAN_N_RESULT_ROLES] = {
        [PLAN_RESULT_OUTPUT] = DLC_ROLE_OUTPUT,
        [PLAN_RESULT_METRIC] = DLC_ROLE_METRIC,
        [PLAN_RESULT_LOSS] = DLC_ROLE_LOSS,
        [PLAN_RESULT_INFO] = DLC_ROLE_INFO,
    };
    const PlanTables *tables = plan_tables(plan);
    if (number >= (size_t)tables->n_entries) {
        return no_such(plan, "entry", number);
    }
    const PlanEntry *entry = &tables->entries[number];
    size_t left = index;
    for (int32_t i = 0; i < entry->n_args; i++) {
        const PlanArg *arg = &tables->args[entry->first_arg + i];
        if (arg_is_listed(arg) && left-- == 0) {
            tensor_info(&plan->file, plan_whole(arg->type, &arg->part), arg->name,
                        (dlc_tensor_role)arg->role, out);
            return DLC_OK;
        }
    }
    for (int32_t i = 0; i < entry->n_results; i++) {
        const PlanResult *result = &tables->results[entry->first_result + i];
        if (result_is_listed(result) && left-- == 0) {
            tensor_info(&plan->file, plan_whole(result->type, &result->part), result->name,
                        result_roles[result->role], out);
            return DLC_OK;
        }
    }
    return no_such(plan, "tensor", index);
}

size_t dlc_plan_variable_count(const dlc_plan *plan) {
    return plan ? (size_t)plan->file.n_variables : 0;
}

dlc_status dlc_plan_variable(const dlc_plan *plan, size_t index, dlc_tensor_info *out) {
    BORDER_CALL(plan ? plan->context : NULL);
    if (!border_result_needed(plan->context, "dlc_tensor_info", out)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    if (index >= (size_t)plan->file.n_variables) {
        return no_such(plan, "variable", index);
    }
    const PlanVariable *variable = &plan->file.variables[index];
    tensor_info(&plan->file, plan_whole(variable->type, &variable->part), variable->name,
                (dlc_tensor_role)variable->role, out);
    return DLC_OK;
}
