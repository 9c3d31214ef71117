/* See example.h. */
#include "tests/models/example.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const Example examples[] = {
    {.name = "digits", .dims = {{"B", 2}}},
    {.name = "tf_example", .dims = {{"B", 7}, {"I", 30}}},
    {.name = "torch_example", .dims = {{"B", 5}}},
    {.name = "fashion", .dims = {{"B", 2}}},
    {.name = "char_lstm",
     .defines = {{"width", "24"}, {"vocab", "50"}},
     .dims = {{"B", 3}, {"T", 9}}},
    {.name = "heat_pinn", .dims = {{"N", 9}}},
    {.name = "unet",
     .defines = {{"width", "8"}, {"depth", "1"}},
     .dims = {{"B", 1}, {"H", 16}, {"W", 8}},
     .noise = ".conv"},  /* each channel is its own norm group */
    {.name = "resnet18", /* norms over eight elements, steps of 0.1: roundings grow */
     .dims = {{"B", 2}},
     .loss_tolerance = 2e-4,
     .variable_tolerance = 1e-2,
     .replace = {{"224, 224", "34, 34"},
                 {"conv2d(64", "conv2d(4"},
                 {"64 * 2 **", "4 * 2 **"},
                 {"linear(1000)", "linear(20)"}}},
    {.name = "gpt2", /* in bf16: the two differ by roundings of 2^-9 */
     .defines =
         {{"layers", "2"}, {"width", "64"}, {"heads", "2"}, {"vocab", "40"}, {"context", "32"}},
     .dims = {{"B", 2}, {"T", 24}},
     .loss_tolerance = 5e-3,
     .variable_tolerance = 2e-2},
    {.name = "gpt2_long", /* rows long enough for fused attention, and none a multiple of a tile */
     .file = "gpt2",
     .defines =
         {{"layers", "1"}, {"width", "64"}, {"heads", "1"}, {"vocab", "40"}, {"context", "160"}},
     .dims = {{"B", 1}, {"T", 136}},
     .loss_tolerance = 5e-3,
     .variable_tolerance = 2e-2},
};
const int n_examples = sizeof examples / sizeof examples[0];

bool example_fail(ExampleRun *run, const char *what) {
    snprintf(run->error, sizeof run->error, "%s: %s %s", what, dlc_last_error(run->context),
             dlc_diagnostics_text(run->context, 0));
    return false;
}

/* -- A context -- */

/* Whether another thread of this process wants a processor. */
static bool others_run(void) {
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *task;
    bool found = false;
    while (tasks && !found && (task = readdir(tasks)) != NULL) {
        char path[512], state = 0;
        snprintf(path, sizeof path, "/proc/self/task/%s/stat", task->d_name);
        FILE *file = atol(task->d_name) > 0 && atol(task->d_name) != (long)gettid()
                         ? fopen(path, "r")
                         : NULL;
        if (file) {
            found = fscanf(file, "%*d (%*[^)]) %c", &state) == 1 && state == 'R';
            fclose(file);
        }
    }
    if (tasks) {
        closedir(tasks);
    }
    return found;
}

static int let_read(void *user) {
    (void)user;
    while (others_run()) {
        usleep(200);
    }
    return 0;
}

bool example_context(ExampleRun *run) {
    dlc_context_options options = {.struct_size = sizeof options, .cancel = let_read};
    return dlc_context_create(&options, &run->context) == DLC_OK;
}

/* -- Compiling -- */

static char *text_read(const Example *example) {
    const char *root = getenv("DLC_SOURCE_ROOT");
    char path[1024];
    snprintf(path, sizeof path, "%s/examples/%s.dl", root ? root : ".",
             example->file ? example->file : example->name);
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 16);
    if (!file || !text || fread(text, 1, (1 << 16) - 1, file) == 0) {
        printf("cannot read %s\n", path);
        exit(1);
    }
    fclose(file);
    for (int i = 0; i < 4 && example->replace[i][0]; i++) {
        const char *from = example->replace[i][0], *to = example->replace[i][1];
        char *at = text;
        while ((at = strstr(at, from)) != NULL) {
            memmove(at + strlen(to), at + strlen(from), strlen(at + strlen(from)) + 1);
            memcpy(at, to, strlen(to));
            at += strlen(to);
        }
    }
    return text;
}

static void keep_ir(void *user, const char *stage, const char *text) {
    ExampleRun *run = user;
    if (!strcmp(stage, "grad")) {
        free(run->ir);
        run->ir = strdup(text);
    }
}

/* Plan, or what is emitted. */
static bool compile(ExampleRun *run, const char *const *targets, size_t n_targets, const char *emit,
                    dlc_plan **out) {
    char *text = text_read(run->example);
    dlc_compile_options options = {.struct_size = sizeof options,
                                   .source_name = run->example->name,
                                   .defines = run->example->defines,
                                   .targets = targets,
                                   .n_targets = n_targets,
                                   .emit = emit,
                                   .on_text = keep_ir,
                                   .user = run,
                                   .threads = 2};
    while (options.n_defines < 8 && run->example->defines[options.n_defines].name) {
        options.n_defines++;
    }
    bool good = dlc_compile(run->context, text, strlen(text), &options, out) == DLC_OK;
    free(text);
    return good || example_fail(run, "compile");
}

bool example_compile(ExampleRun *run, const char *const *targets, size_t n_targets) {
    dlc_plan *none = NULL;
    while (run->n_dims < 4 && run->example->dims[run->n_dims].name) {
        run->n_dims++;
    }
    return compile(run, targets, n_targets, NULL, &run->plan) &&
           compile(run, targets, n_targets, "grad", &none);
}

bool example_compile_again(ExampleRun *run, const char *const *targets, size_t n_targets,
                           dlc_plan **out) {
    return compile(run, targets, n_targets, NULL, out);
}

void example_end(ExampleRun *run) {
    free(run->ir);
    dlc_plan_destroy(run->plan);
    dlc_context_destroy(run->context);
    *run = (ExampleRun){.example = run->example};
}

/* -- Inputs -- */

static int64_t dim_value(const ExampleRun *run, const char *type, int axis, int64_t known) {
    if (known >= 0) {
        return known;
    }
    const char *at = strchr(type, '[') + 1; /* "f32[B, 1, H, W]" */
    for (; axis > 0; axis--) {
        at = strchr(at, ',') + 2;
    }
    for (size_t i = 0; i < run->n_dims; i++) {
        size_t length = strlen(run->example->dims[i].name);
        if (!strncmp(at, run->example->dims[i].name, length) && strchr(",]", at[length])) {
            return run->example->dims[i].value;
        }
    }
    return 1;
}

static void fill(void *data, DLDataType dtype, int64_t n) {
    unsigned state = 12345;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1103515245u + 12345u;
        unsigned bits = state >> 8 & 0xFFFF;
        if (dtype.code == kDLFloat) {
            ((float *)data)[i] = (float)bits / 65536;
        } else if (dtype.bits == 8) {
            ((uint8_t *)data)[i] = (uint8_t)(bits % 5);
        } else {
            ((int32_t *)data)[i] = (int32_t)(bits % 5);
        }
    }
}

bool example_input(const ExampleRun *run, int which, int64_t rows, ExampleInput *out) {
    dlc_entry_info entry = {.struct_size = sizeof(entry)};
    *out = (ExampleInput){.info = {.struct_size = sizeof(out->info)}};
    for (size_t e = 0; entry.purpose != DLC_PURPOSE_TRAIN || e == 0; e++) {
        if (dlc_plan_entry(run->plan, e, &entry) != DLC_OK) {
            return false;
        }
        for (size_t t = 0; t < entry.n_tensors && entry.purpose == DLC_PURPOSE_TRAIN; t++) {
            if (dlc_plan_entry_tensor(run->plan, e, t, &out->info) != DLC_OK) {
                return false;
            }
            if (out->info.role != DLC_ROLE_INPUT || which-- > 0) {
                continue;
            }
            int64_t n = out->dims[0] = rows;
            for (int32_t i = 1; i < out->info.rank && i < EXAMPLE_AXES; i++) {
                out->dims[i] = dim_value(run, out->info.type, i, out->info.dims[i]);
                n *= out->dims[i];
            }
            out->tensor = (DLTensor){.data = malloc((size_t)n * 8),
                                     .device = {kDLCPU, 0},
                                     .ndim = out->info.rank,
                                     .dtype = out->info.dtype,
                                     .shape = out->dims};
            if (out->tensor.data) {
                fill(out->tensor.data, out->info.dtype, n);
            }
            return out->tensor.data != NULL;
        }
    }
    return false;
}

/* -- Runs -- */

bool example_variables(ExampleRun *run, ExampleResult *result) {
    for (size_t i = 0; i < dlc_plan_variable_count(run->plan) && i < EXAMPLE_VARIABLES; i++) {
        dlc_tensor_info info = {.struct_size = sizeof(info)};
        const DLTensor *tensor = NULL;
        if (dlc_plan_variable(run->plan, i, &info) != DLC_OK ||
            dlc_view_variable(run->session, info.name, &tensor) != DLC_OK) {
            return example_fail(run, "variable");
        }
        ExampleVariable *variable = &result->variables[result->n++];
        snprintf(variable->name, sizeof variable->name, "%s", info.name);
        variable->dtype = tensor->dtype;
        variable->bytes = tensor->dtype.bits / 8;
        for (int32_t k = 0; k < tensor->ndim; k++) {
            variable->bytes *= (size_t)tensor->shape[k];
        }
        variable->data = malloc(variable->bytes + 1);
        if (!variable->data) {
            return example_fail(run, "memory");
        }
        memcpy(variable->data, (const char *)tensor->data + tensor->byte_offset, variable->bytes);
    }
    return true;
}

bool example_begin(ExampleRun *run) {
    return (dlc_set_counter(run->session, "steps", 100) == DLC_OK &&
            dlc_set_counter(run->session, "steps_per_epoch", 1) == DLC_OK) ||
           example_fail(run, "counters");
}

bool example_steps(ExampleRun *run, ExampleResult *result) {
    ExampleInput input;
    bool good = example_begin(run);
    for (int i = 0; good && example_input(run, i, run->example->dims[0].value, &input); i++) {
        good = dlc_set_input(run->session, "train", input.info.name, &input.tensor) == DLC_OK ||
               example_fail(run, input.info.name);
        free(input.tensor.data);
    }
    good = good && (dlc_init_weights(run->session) == DLC_OK || example_fail(run, "init"));
    result->steps = EXAMPLE_STEPS;
    for (int step = 0; good && step < EXAMPLE_STEPS; step++) {
        dlc_step_info info = {.struct_size = sizeof info};
        good = dlc_train_step(run->session, &info) == DLC_OK || example_fail(run, "train step");
        result->losses[step] = info.loss;
    }
    return good && example_variables(run, result);
}

static void keep_loss(void *user, const dlc_step_info *info) {
    ExampleResult *result = user;
    if (result->steps < EXAMPLE_ROWS_STEPS) {
        result->losses[result->steps++] = info->loss;
    }
}

bool example_rows(ExampleRun *run, ExampleResult *result) {
    enum { INPUTS = 4, BATCHES = 3 };
    ExampleInput inputs[INPUTS];
    const char *names[INPUTS];
    const DLTensor *tensors[INPUTS];
    int64_t batch = run->example->dims[0].value;
    size_t n = 0;
    while (n < INPUTS && example_input(run, (int)n, BATCHES * batch, &inputs[n])) {
        names[n] = inputs[n].info.name;
        tensors[n] = &inputs[n].tensor;
        n++;
    }
    dlc_dataset *data = NULL;
    dlc_train_options options = {.struct_size = sizeof options,
                                 .steps = EXAMPLE_ROWS_STEPS,
                                 .batch = batch,
                                 .on_result = keep_loss,
                                 .user = result};
    bool good = dlc_dataset_from_tensors(run->context, names, tensors, n, &data) == DLC_OK;
    options.data = data;
    good = good && dlc_train(run->session, &options, NULL) == DLC_OK;
    good = good || example_fail(run, "train");
    dlc_dataset_destroy(data);
    for (size_t i = 0; i < n; i++) {
        free(inputs[i].tensor.data);
    }
    return good && example_variables(run, result);
}

/* -- Comparing -- */

static double element(const ExampleVariable *variable, size_t i) {
    if (variable->dtype.code == kDLFloat && variable->dtype.bits == 32) {
        float x;
        memcpy(&x, variable->data + 4 * i, sizeof x);
        return x;
    }
    if (variable->dtype.code == kDLFloat && variable->dtype.bits == 64) {
        double x;
        memcpy(&x, variable->data + 8 * i, sizeof x);
        return x;
    }
    return 0;
}

/* The norm of the difference against the norm of what it should be, or of elements of SMALL: biases
 * whose true gradient is 0 are the roundings' own, made large by the optimiser. */
static double distance(const ExampleVariable *want, const ExampleVariable *got) {
    const double SMALL = 0.05;
    double difference = 0, norm = 0;
    size_t n = want->bytes * 8 / want->dtype.bits;
    for (size_t i = 0; i < n; i++) {
        double x = element(want, i), d = element(got, i) - x;
        difference += d * d;
        norm += fmax(x * x, SMALL * SMALL);
    }
    return difference == 0 ? 0 : sqrt(difference / norm);
}

bool example_near(ExampleRun *run, const ExampleResult *want, const ExampleResult *got,
                  double *worst) {
    double loss_tolerance = run->example->loss_tolerance > 0 ? run->example->loss_tolerance : 1e-5;
    double tolerance =
        run->example->variable_tolerance > 0 ? run->example->variable_tolerance : 1e-3;
    for (int i = 0; i < want->steps; i++) {
        double off = fabs(want->losses[i] - got->losses[i]) / (1e-3 + fabs(want->losses[i]));
        *worst = off > *worst ? off : *worst;
        if (!(off <= loss_tolerance)) {
            snprintf(run->error, sizeof run->error, "loss of step %d is %.9g, on the CPU %.9g", i,
                     got->losses[i], want->losses[i]);
            return false;
        }
    }
    const char *noise = run->example->noise;
    for (size_t i = 0; i < want->n; i++) {
        const char *name = want->variables[i].name;
        if (noise && strstr(name, noise) && strstr(name, ".bias")) {
            continue;
        }
        double off = distance(&want->variables[i], &got->variables[i]);
        if (!(off <= tolerance)) {
            snprintf(run->error, sizeof run->error, "%s is %.3g off, relative to its norm",
                     want->variables[i].name, off);
            return false;
        }
    }
    return true;
}

bool example_same(ExampleRun *run, const ExampleResult *want, const ExampleResult *got) {
    for (size_t i = 0; i < want->n; i++) {
        const ExampleVariable *a = &want->variables[i], *b = &got->variables[i];
        if (a->bytes != b->bytes || memcmp(a->data, b->data, a->bytes) != 0) {
            snprintf(run->error, sizeof run->error, "%s has other bits than in the plain run",
                     a->name);
            return false;
        }
    }
    return true;
}

void example_result_free(ExampleResult *result) {
    for (size_t i = 0; result && i < result->n; i++) {
        free(result->variables[i].data);
    }
    free(result);
}
