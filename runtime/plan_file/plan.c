/* A plan in memory: its tables, how many hold it, the image that this processor can run, and which
 * image is the best for a device. */
#include "runtime/plan_file/plan.h"

#include "ir/base/checked.h"
#include "runtime/border.h"
#include "runtime/kernel_abi.h"

#include <inttypes.h>
#include <stdio.h>

/* The number that a machine's name ends in: 90 of "sm_90" and of "sm_90a". */
static int machine_number(const char *machine) {
    const char *digit = strpbrk(machine, "0123456789");
    int number = 0;
    for (; digit && *digit >= '0' && *digit <= '9' && number < 100000; digit++) {
        number = 10 * number + (*digit - '0');
    }
    return number;
}

static bool is_better(const DeviceOps *ops, const char *machine, const char *than) {
    if (!ops->is_numbered) {
        return false;
    }
    int a = machine_number(machine), b = machine_number(than);
    return a != b ? a > b : strlen(machine) > strlen(than);
}

dlc_status plan_target_for(const PlanFile *file, const DeviceOps *ops, const char *which,
                           int32_t *out, char *message) {
    int32_t best = -1;
    char why[DEVICE_MESSAGE_BYTES] = "";
    *out = -1;
    message[0] = '\0';
    for (int32_t t = 0; t < file->n_targets; t++) {
        const PlanTarget *target = file->targets[t].target;
        const char *machine = plan_text(file, target->machine);
        if (strcmp(plan_text(file, target->device), ops->name) != 0) {
            continue;
        }
        dlc_status status = DLC_ERROR_UNSUPPORTED;
        if (target->abi != KERNEL_ABI_VERSION) {
            snprintf(why, sizeof(why), "its code is of another version than this library");
        } else {
            status = ops->supports(machine, plan_text(file, target->features), which, why);
        }
        if (status == DLC_OK) {
            bool better =
                best < 0 ||
                is_better(ops, machine, plan_text(file, file->targets[best].target->machine));
            best = better ? t : best;
        } else if (status != DLC_ERROR_UNSUPPORTED) {
            memcpy(message, why, sizeof(why));
            return status;
        }
        if (best < 0 && !message[0]) {
            memcpy(message, why, sizeof(why));
        }
    }
    *out = best;
    return best >= 0 ? DLC_OK : DLC_ERROR_UNSUPPORTED;
}

/* Elements of all parameters: the constant part, then one term a product of dims. */
static dlc_status parameters_count(dlc_plan *plan) {
    const PlanFile *file = &plan->file;
    Str text;
    str_init(&text, &plan->context->allocator);
    int64_t fixed = 0;
    for (int64_t i = 0; i < file->n_variables; i++) {
        const PlanVariable *variable = &file->variables[i];
        if (variable->role != PLAN_ARG_PARAM) {
            continue;
        }
        int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0};
        int64_t known = 1;
        char term[256] = "";
        size_t at = 0;
        const PlanType whole = plan_whole(variable->type, &variable->part);
        for (int32_t a = 0; a < whole.rank; a++) {
            PlanProgram program = file->sizes[whole.first_size + a];
            int32_t dim = plan_size_dim(file, program);
            int64_t size;
            if (dim >= 0) {
                int n = snprintf(term + at, sizeof(term) - at, "*%s",
                                 plan_text(file, file->dims[dim].name));
                at += n > 0 && (size_t)n < sizeof(term) - at ? (size_t)n : 0;
            } else if (!plan_eval(file, program, vars, &size) ||
                       !checked_mul(known, size, &known)) {
                known = 0;
            }
        }
        if (at > 0) {
            str_addf(&text, "%s%" PRId64 "%s", text.length ? " + " : "", known, term);
        } else if (!checked_add(fixed, known, &fixed)) {
            fixed = INT64_MAX;
        }
    }
    if (fixed > 0 || text.length == 0) {
        str_addf(&text, "%s%" PRId64, text.length ? " + " : "", fixed);
    }
    plan->parameter_text = text.failed ? NULL : memory_strdup(&plan->context->allocator, text.text);
    str_finish(&text);
    return plan->parameter_text ? DLC_OK : context_out_of_memory(plan->context);
}

static void plan_end(ContextChild *child) {
    plan_release((dlc_plan *)child);
}

dlc_status plan_adopt(dlc_context *context, const char *name, const void *bytes, size_t n_bytes,
                      dlc_plan **out) {
    dlc_plan *plan = memory_new(&context->allocator, 1, sizeof(*plan));
    if (!plan) {
        return context_out_of_memory(context);
    }
    plan->context = context;
    plan->references = 1;
    dlc_status status = plan_file_open(context, name, bytes, n_bytes, &plan->file);
    if (status != DLC_OK) {
        memory_free(&context->allocator, plan);
        return status;
    }
    border_child_begin(context, &plan->child, plan_end);
    char message[DEVICE_MESSAGE_BYTES];
    (void)plan_target_for(&plan->file, device_host(), "", &plan->target, message);
    status = parameters_count(plan);
    if (status != DLC_OK) {
        plan_release(plan);
        return status;
    }
    *out = plan;
    return DLC_OK;
}

void plan_release(dlc_plan *plan) {
    if (!plan || --plan->references > 0) {
        return;
    }
    dlc_context *context = plan->context;
    plan_file_close(context, &plan->file);
    memory_free(&context->allocator, plan->parameter_text);
    memory_free(&context->allocator, plan);
    border_child_ended(context);
}
