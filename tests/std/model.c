/* See model.h. */
#include "tests/std/model.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool near(double a, double b, double tolerance) {
    return (isnan(a) && isnan(b)) || a == b || fabs(a - b) <= tolerance * (1 + fabs(a) + fabs(b));
}

bool model_fail(Model *model, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(model->error, sizeof model->error, format, args);
    va_end(args);
    return false;
}

static bool good(Model *model, const char *what, dlc_status status) {
    if (status == DLC_OK) {
        return true;
    }
    return model_fail(model, "%s: %s", what, model->context ? dlc_last_error(model->context) : "");
}

static int64_t elements(const Array *array) {
    int64_t n = 1;
    for (int32_t i = 0; i < array->rank; i++) {
        n *= array->dims[i];
    }
    return n;
}

static double to_double(DLDataType dtype, const void *data, int64_t i) {
    if (dtype.code == kDLFloat) {
        return dtype.bits == 64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
    }
    if (dtype.code == kDLInt && dtype.bits == 64) {
        return (double)((const int64_t *)data)[i];
    }
    return dtype.bits == 32 ? (double)((const int32_t *)data)[i]
                            : (double)((const uint8_t *)data)[i];
}

static void from_double(DLDataType dtype, void *data, int64_t i, double value) {
    if (dtype.code == kDLFloat && dtype.bits == 64) {
        ((double *)data)[i] = value;
    } else if (dtype.code == kDLFloat) {
        ((float *)data)[i] = (float)value;
    } else if (dtype.bits == 64) {
        ((int64_t *)data)[i] = (int64_t)value;
    } else if (dtype.bits == 32) {
        ((int32_t *)data)[i] = (int32_t)value;
    } else {
        ((uint8_t *)data)[i] = (uint8_t)value;
    }
}

static bool copy_tensor(const DLTensor *tensor, const char *name, Array *out) {
    *out = (Array){.dtype = tensor->dtype, .rank = tensor->ndim};
    snprintf(out->name, sizeof out->name, "%s", name);
    for (int32_t i = 0; i < tensor->ndim && i < MAX_AXES; i++) {
        out->dims[i] = tensor->shape[i];
    }
    out->n = elements(out);
    out->v = calloc((size_t)out->n + 1, sizeof *out->v);
    for (int64_t i = 0; out->v && i < out->n; i++) {
        out->v[i] = to_double(tensor->dtype, (const char *)tensor->data + tensor->byte_offset, i);
    }
    return out->v != NULL;
}

/* The array as a tensor in memory of its own; the caller frees ->data. */
static DLTensor tensor_of(Array *array) {
    DLTensor tensor = {.data = malloc((size_t)array->n * 8 + 8),
                       .device = {kDLCPU, 0},
                       .ndim = array->rank,
                       .dtype = array->dtype,
                       .shape = array->dims};
    for (int64_t i = 0; tensor.data && i < array->n; i++) {
        from_double(array->dtype, tensor.data, i, array->v[i]);
    }
    return tensor;
}

static uint64_t random_bits(uint64_t *state) {
    *state += 0x9E3779B97F4A7C15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static void fill(Array *array) {
    uint64_t state = 77;
    for (const char *c = array->name; *c; c++) {
        state = state * 131 + (uint64_t)*c;
    }
    for (int64_t i = 0; i < array->n; i++) {
        uint64_t bits = random_bits(&state);
        double unit = (double)(bits >> 11) * 0x1p-53;
        array->v[i] = array->dtype.code == kDLFloat  ? 4 * unit - 2
                      : array->dtype.code == kDLBool ? (double)(bits >> 63)
                                                     : (double)(bits >> 33 % 3);
        if (array->dtype.code != kDLFloat && array->dtype.code != kDLBool) {
            array->v[i] = (double)((bits >> 33) % 3);
        }
    }
}

static bool add_inputs(Model *model) {
    for (size_t e = 0; e < dlc_plan_entry_count(model->plan); e++) {
        dlc_entry_info entry = {.struct_size = sizeof(entry)};
        if (dlc_plan_entry(model->plan, e, &entry) != DLC_OK) {
            return model_fail(model, "entry %zu", e);
        }
        for (size_t t = 0; t < entry.n_tensors; t++) {
            dlc_tensor_info info = {.struct_size = sizeof(info)};
            bool known = false;
            if (dlc_plan_entry_tensor(model->plan, e, t, &info) != DLC_OK) {
                return model_fail(model, "tensor %zu of %s", t, entry.name);
            }
            for (size_t k = 0; k < model->n_inputs; k++) {
                known |= !strcmp(model->inputs[k].name, info.name);
            }
            if (info.role != DLC_ROLE_INPUT || known || model->n_inputs == MAX_ARRAYS) {
                continue;
            }
            Array *array = &model->inputs[model->n_inputs++];
            *array = (Array){.dtype = info.dtype, .rank = info.rank};
            snprintf(array->name, sizeof array->name, "%s", info.name);
            for (int32_t i = 0; i < info.rank && i < MAX_AXES; i++) {
                array->dims[i] = info.dims[i] < 0 ? model->batch : info.dims[i];
            }
            array->n = elements(array);
            array->v = calloc((size_t)array->n + 1, sizeof *array->v);
            fill(array);
        }
    }
    return true;
}

/* Copies the variables, giving parameters values of our own: initialisers such as zeros would hide
 * mistakes. */
static bool add_variables(Model *model) {
    for (size_t i = 0; i < dlc_plan_variable_count(model->plan) && i < MAX_ARRAYS; i++) {
        dlc_tensor_info info = {.struct_size = sizeof(info)};
        const DLTensor *tensor = NULL;
        if (!good(model, "variable", dlc_plan_variable(model->plan, i, &info)) ||
            !good(model, info.name, dlc_view_variable(model->session, info.name, &tensor)) ||
            !copy_tensor(tensor, info.name, &model->variables[i])) {
            return false;
        }
        model->n_variables++;
        if (info.role == DLC_ROLE_PARAM) {
            fill(&model->variables[i]);
            for (int64_t k = 0; k < model->variables[i].n; k++) {
                model->variables[i].v[k] *= 0.45;
            }
        }
    }
    return true;
}

bool model_open(Model *model, const char *text, int64_t batch) {
    *model = (Model){.batch = batch};
    dlc_compile_options options = {
        .struct_size = sizeof options, .source_name = "case.dl", .float_type = "f64", .threads = 1};
    dlc_status status = dlc_context_create(NULL, &model->context);
    if (status == DLC_OK) {
        status = dlc_compile(model->context, text, strlen(text), &options, &model->plan);
    }
    if (status != DLC_OK) {
        return model_fail(model, "compile: %s\n%s",
                          model->context ? dlc_last_error(model->context) : "",
                          model->context ? dlc_diagnostics_text(model->context, 0) : "");
    }
    dlc_binding binding = {"B", batch};
    dlc_session_options session_options = {.struct_size = sizeof session_options,
                                           .bindings = &binding,
                                           .n_bindings = dlc_plan_dim_count(model->plan) ? 1 : 0,
                                           .threads = 1,
                                           .poison = 1};
    return good(model, "session",
                dlc_session_create(model->plan, &session_options, &model->session)) &&
           add_inputs(model) && good(model, "init", dlc_init_weights(model->session)) &&
           add_variables(model) && model_restore(model);
}

void model_close(Model *model) {
    for (size_t i = 0; i < model->n_inputs; i++) {
        free(model->inputs[i].v);
    }
    for (size_t i = 0; i < model->n_variables; i++) {
        free(model->variables[i].v);
    }
    dlc_session_destroy(model->session);
    dlc_plan_destroy(model->plan);
    dlc_context_destroy(model->context);
}

static Array *find(Model *model, Array *arrays, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        const char *dot = strrchr(arrays[i].name, '.');
        if (!strcmp(arrays[i].name, name) || (dot && !strcmp(dot + 1, name))) {
            return &arrays[i];
        }
    }
    model_fail(model, "no '%s'", name);
    return NULL;
}

Array *model_input(Model *model, const char *name) {
    return find(model, model->inputs, model->n_inputs, name);
}

Array *model_variable(Model *model, const char *name) {
    return find(model, model->variables, model->n_variables, name);
}

bool model_now(Model *model, const char *name, Array *out) {
    const DLTensor *tensor = NULL;
    const Array *variable = model_variable(model, name);
    return variable &&
           good(model, name, dlc_view_variable(model->session, variable->name, &tensor)) &&
           copy_tensor(tensor, variable->name, out);
}

static bool entry_has_input(Model *model, size_t index, const dlc_entry_info *entry,
                            const char *name) {
    for (size_t t = 0; t < entry->n_tensors; t++) {
        dlc_tensor_info info = {.struct_size = sizeof(info)};
        if (dlc_plan_entry_tensor(model->plan, index, t, &info) == DLC_OK &&
            info.role == DLC_ROLE_INPUT && !strcmp(info.name, name)) {
            return true;
        }
    }
    return false;
}

bool model_restore(Model *model) {
    bool done = good(model, "step", dlc_set_counter(model->session, "step", 0));
    for (size_t i = 0; i < model->n_variables && done; i++) {
        DLTensor tensor = tensor_of(&model->variables[i]);
        done = good(model, model->variables[i].name,
                    dlc_set_variable(model->session, model->variables[i].name, &tensor));
        free(tensor.data);
    }
    for (size_t e = 0; e < dlc_plan_entry_count(model->plan) && done; e++) {
        dlc_entry_info entry = {.struct_size = sizeof(entry)};
        done = good(model, "entry", dlc_plan_entry(model->plan, e, &entry));
        for (size_t i = 0; i < model->n_inputs && done; i++) {
            if (entry_has_input(model, e, &entry, model->inputs[i].name)) {
                DLTensor tensor = tensor_of(&model->inputs[i]);
                done =
                    good(model, model->inputs[i].name,
                         dlc_set_input(model->session, entry.name, model->inputs[i].name, &tensor));
                free(tensor.data);
            }
        }
    }
    return done;
}

bool model_run(Model *model, const char *entry) {
    return good(model, entry, dlc_run(model->session, entry));
}

bool model_output(Model *model, const char *name, Array *out) {
    const DLTensor *tensor = NULL;
    return good(model, name, dlc_view_output(model->session, "infer", name, &tensor)) &&
           copy_tensor(tensor, name, out);
}

bool model_metric(Model *model, const char *entry, const char *name, double *out) {
    dlc_metric metrics[32];
    size_t count = 0;
    if (!good(model, name, dlc_metrics(model->session, entry, metrics, 32, &count))) {
        return false;
    }
    for (size_t i = 0; i < count && i < 32; i++) {
        if (!strcmp(metrics[i].name, name)) {
            *out = metrics[i].value;
            return true;
        }
    }
    return model_fail(model, "no metric '%s'", name);
}

bool model_train_step(Model *model, dlc_step_info *out) {
    *out = (dlc_step_info){.struct_size = sizeof *out};
    return good(model, "train step", dlc_train_step(model->session, out));
}
