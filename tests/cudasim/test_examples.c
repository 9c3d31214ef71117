/* Every example program, at a small size, trained for some steps by the interpreter, on the CPU and
 * on the simulated GPU: the same losses and variables within a tolerance, and on the GPU the same
 * bits whatever dead memory holds, with every value in memory of its own, and with recorded steps
 * or without. test_examples [PROGRAM…]   DLC_SOURCE_ROOT names the folder that holds examples/ */
#include "dlc/dlc.h"
#include "tests/models/interpreted.h"
#include "tests/random/bytes.h"
#include "tests/unit/needs.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_AXES = 8, STEPS = 3, MAX_VARIABLES = 400 };

typedef struct Program {
    const char *name, *file; /* NULL file: the name's */
    dlc_define defines[8];
    dlc_binding dims[4];
    double loss_tolerance, variable_tolerance; /* relative */
    const char *noise;         /* in names of biases whose true gradient is 0: not compared */
    const char *replace[4][2]; /* in its text, for what no constant names */
} Program;

static const Program PROGRAMS[] = {
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
enum { N_PROGRAMS = sizeof PROGRAMS / sizeof PROGRAMS[0] };

typedef struct Way {
    const char *name, *device; /* NULL device: the interpreter */
    int poison, guarded;
} Way;
static const Way WAYS[] = {
    {"cpu", "cpu", 0, 0},
    {"cuda", "cuda:0", 0, 0},
    {"cuda, poison A", "cuda:0", 1, 0},
    {"cuda, poison B", "cuda:0", 2, 0},
    {"cuda, guarded", "cuda:0", 0, 1},
    {"interpreter", NULL, 0, 0},
};
enum { N_WAYS = sizeof WAYS / sizeof WAYS[0] };

typedef struct Variable {
    char name[128];
    unsigned char *data;
    size_t bytes;
    DLDataType dtype;
} Variable;

typedef struct Result {
    double losses[STEPS];
    Variable variables[MAX_VARIABLES];
    size_t n;
} Result;

typedef struct Run {
    const Program *program;
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
    Interpreted *interpreted; /* instead of the session */
    char *ir;                 /* differentiated */
    size_t n_dims;
    double seed; /* the program's, as the first session tells */
    char error[1024];
} Run;

static bool fail(Run *run, const char *what) {
    snprintf(run->error, sizeof run->error, "%s: %s %s", what, dlc_last_error(run->context),
             dlc_diagnostics_text(run->context, 0));
    return false;
}

static char *text_read(const Program *program) {
    const char *root = getenv("DLC_SOURCE_ROOT");
    char path[1024];
    snprintf(path, sizeof path, "%s/examples/%s.dl", root ? root : ".",
             program->file ? program->file : program->name);
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 16);
    if (!file || !text || fread(text, 1, (1 << 16) - 1, file) == 0) {
        printf("cannot read %s\n", path);
        exit(1);
    }
    fclose(file);
    for (int i = 0; i < 4 && program->replace[i][0]; i++) {
        const char *from = program->replace[i][0], *to = program->replace[i][1];
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
    Run *run = user;
    if (!strcmp(stage, "grad")) {
        free(run->ir);
        run->ir = strdup(text);
    }
}

static bool compile(Run *run) {
    static const char *const targets[] = {"cpu", "cuda:sm_90"};
    char *text = text_read(run->program);
    dlc_compile_options options = {.struct_size = sizeof options,
                                   .source_name = run->program->name,
                                   .defines = run->program->defines,
                                   .targets = targets,
                                   .n_targets = 2,
                                   .on_text = keep_ir,
                                   .user = run,
                                   .threads = 2};
    while (options.n_defines < 8 && run->program->defines[options.n_defines].name) {
        options.n_defines++;
    }
    while (run->n_dims < 4 && run->program->dims[run->n_dims].name) {
        run->n_dims++;
    }
    bool good = dlc_compile(run->context, text, strlen(text), &options, &run->plan) == DLC_OK;
    dlc_plan *none = NULL;
    options.emit = "grad";
    good = good && dlc_compile(run->context, text, strlen(text), &options, &none) == DLC_OK;
    free(text);
    return good || fail(run, "compile");
}

static int64_t dim_value(const Run *run, const char *type, int axis, int64_t known) {
    if (known >= 0) {
        return known;
    }
    const char *at = strchr(type, '[') + 1; /* "f32[B, 1, H, W]" */
    for (; axis > 0; axis--) {
        at = strchr(at, ',') + 2;
    }
    for (size_t i = 0; i < run->n_dims; i++) {
        size_t length = strlen(run->program->dims[i].name);
        if (!strncmp(at, run->program->dims[i].name, length) && strchr(",]", at[length])) {
            return run->program->dims[i].value;
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

static bool set_input(Run *run, const dlc_tensor_info *info) {
    int64_t shape[MAX_AXES], n = 1;
    for (int32_t i = 0; i < info->rank && i < MAX_AXES; i++) {
        shape[i] = dim_value(run, info->type, i, info->dims[i]);
        n *= shape[i];
    }
    DLTensor tensor = {.data = malloc((size_t)n * 8),
                       .device = {kDLCPU, 0},
                       .ndim = info->rank,
                       .dtype = info->dtype,
                       .shape = shape};
    fill(tensor.data, info->dtype, n);
    bool good = run->interpreted
                    ? interpreted_input(run->interpreted, info->name, &tensor)
                    : dlc_set_input(run->session, "train", info->name, &tensor) == DLC_OK ||
                          fail(run, info->name);
    free(tensor.data);
    return good;
}

static bool set_inputs(Run *run) {
    for (size_t e = 0; e < dlc_plan_entry_count(run->plan); e++) {
        dlc_entry_info entry = {.struct_size = sizeof(entry)};
        if (dlc_plan_entry(run->plan, e, &entry) != DLC_OK) {
            return fail(run, "entry");
        }
        for (size_t t = 0; t < entry.n_tensors && entry.purpose == DLC_PURPOSE_TRAIN; t++) {
            dlc_tensor_info info = {.struct_size = sizeof(info)};
            if (dlc_plan_entry_tensor(run->plan, e, t, &info) != DLC_OK) {
                return fail(run, "tensor");
            }
            if (info.role == DLC_ROLE_INPUT && !set_input(run, &info)) {
                return false;
            }
        }
    }
    return true;
}

static bool variables_read(Run *run, Result *result) {
    for (size_t i = 0; i < dlc_plan_variable_count(run->plan) && i < MAX_VARIABLES; i++) {
        dlc_tensor_info info = {.struct_size = sizeof(info)};
        const DLTensor *tensor = NULL;
        if (dlc_plan_variable(run->plan, i, &info) != DLC_OK ||
            dlc_view_variable(run->session, info.name, &tensor) != DLC_OK) {
            return fail(run, "variable");
        }
        Variable *variable = &result->variables[result->n++];
        snprintf(variable->name, sizeof variable->name, "%s", info.name);
        variable->dtype = tensor->dtype;
        variable->bytes = tensor->dtype.bits / 8;
        for (int32_t k = 0; k < tensor->ndim; k++) {
            variable->bytes *= (size_t)tensor->shape[k];
        }
        variable->data = malloc(variable->bytes + 1);
        if (!variable->data) {
            return fail(run, "memory");
        }
        memcpy(variable->data, (const char *)tensor->data + tensor->byte_offset, variable->bytes);
    }
    return true;
}

static bool train(Run *run, const Way *way, Result *result) {
    dlc_session_options options = {.struct_size = sizeof options,
                                   .bindings = run->program->dims,
                                   .n_bindings = run->n_dims,
                                   .device = way->device,
                                   .threads = 2,
                                   .poison = way->poison,
                                   .guarded = way->guarded};
    if (dlc_session_create(run->plan, &options, &run->session) != DLC_OK) {
        return fail(run, "session");
    }
    if (dlc_set_counter(run->session, "steps", 100) != DLC_OK ||
        dlc_set_counter(run->session, "steps_per_epoch", 1) != DLC_OK || !set_inputs(run) ||
        dlc_init_weights(run->session) != DLC_OK) {
        return run->error[0] ? false : fail(run, "init");
    }
    int64_t seed = 0;
    if (dlc_get_counter(run->session, "seed", &seed) != DLC_OK) {
        return fail(run, "seed");
    }
    run->seed = (double)seed;
    for (int step = 0; step < STEPS; step++) {
        dlc_step_info info = {.struct_size = sizeof info};
        if (dlc_train_step(run->session, &info) != DLC_OK) {
            return fail(run, "train step");
        }
        result->losses[step] = info.loss;
    }
    return variables_read(run, result);
}

static bool interpreted_read(Run *run, Result *result) {
    for (size_t i = 0; i < dlc_plan_variable_count(run->plan) && i < MAX_VARIABLES; i++) {
        dlc_tensor_info info = {.struct_size = sizeof(info)};
        if (dlc_plan_variable(run->plan, i, &info) != DLC_OK) {
            return fail(run, "variable");
        }
        Variable *variable = &result->variables[result->n++];
        snprintf(variable->name, sizeof variable->name, "%s", info.name);
        const EvalTensor *tensor = interpreted_variable(run->interpreted, info.name);
        if (!tensor) {
            return fail(run, info.name);
        }
        variable->dtype = bytes_dtype(tensor->dtype);
        variable->bytes = (size_t)tensor->n * variable->dtype.bits / 8;
        variable->data = bytes_of(tensor);
        if (!variable->data) {
            return fail(run, "memory");
        }
    }
    return true;
}

/* As train() does, but by what the program means. */
static bool interpret(Run *run, Result *result) {
    static const struct {
        const char *name;
        double value;
    } NUMBERS[] = {{"steps", 100}, {"steps_per_epoch", 1}, {"lr", NAN}};
    run->interpreted = interpreted_create(run->ir, run->program->dims, run->n_dims, run->error);
    if (!run->interpreted || !set_inputs(run)) {
        return false;
    }
    for (size_t i = 0; i < sizeof NUMBERS / sizeof NUMBERS[0]; i++) {
        interpreted_scalar(run->interpreted, NUMBERS[i].name, NUMBERS[i].value);
    }
    interpreted_scalar(run->interpreted, "seed", run->seed);
    if (!interpreted_init(run->interpreted)) {
        return false;
    }
    for (int step = 0; step < STEPS; step++) {
        interpreted_scalar(run->interpreted, "step", step);
        if (!interpreted_step(run->interpreted, &result->losses[step])) {
            return false;
        }
    }
    return interpreted_read(run, result);
}

static double element(const Variable *variable, size_t i) {
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
static double distance(const Variable *want, const Variable *got) {
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

static bool compare_cpu(Run *run, const Result *want, const Result *got, double *worst) {
    double loss_tolerance = run->program->loss_tolerance > 0 ? run->program->loss_tolerance : 1e-5;
    double tolerance =
        run->program->variable_tolerance > 0 ? run->program->variable_tolerance : 1e-3;
    for (int i = 0; i < STEPS; i++) {
        double off = fabs(want->losses[i] - got->losses[i]) / (1e-3 + fabs(want->losses[i]));
        *worst = off > *worst ? off : *worst;
        if (!(off <= loss_tolerance)) {
            snprintf(run->error, sizeof run->error, "loss of step %d is %.9g, on the CPU %.9g", i,
                     got->losses[i], want->losses[i]);
            return false;
        }
    }
    const char *noise = run->program->noise;
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

static bool compare_bits(Run *run, const Result *want, const Result *got) {
    for (size_t i = 0; i < want->n; i++) {
        const Variable *a = &want->variables[i], *b = &got->variables[i];
        if (a->bytes != b->bytes || memcmp(a->data, b->data, a->bytes) != 0) {
            snprintf(run->error, sizeof run->error, "%s has other bits than in the plain run",
                     a->name);
            return false;
        }
    }
    return true;
}

static void result_free(Result *result) {
    for (size_t i = 0; i < result->n; i++) {
        free(result->variables[i].data);
    }
    free(result);
}

static int check_program(const Program *program) {
    Result *results[N_WAYS] = {NULL};
    Run run = {.program = program};
    int failed = 0;
    double worst = 0;
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    bool good = dlc_context_create(NULL, &run.context) == DLC_OK && compile(&run);
    if (!good) {
        printf("FAILED %s: %s\n", program->name, run.error);
        failed++;
    }
    for (int w = 0; w < N_WAYS && good; w++) {
        results[w] = calloc(1, sizeof *results[w]);
        run.error[0] = 0;
        bool is_interpreted = !WAYS[w].device;
        bool right = results[w] && (is_interpreted ? interpret(&run, results[w])
                                                   : train(&run, &WAYS[w], results[w]));
        right = right && (w == 0 || compare_cpu(&run, results[0], results[w], &worst));
        right = right && (w <= 1 || is_interpreted || compare_bits(&run, results[1], results[w]));
        if (!right) {
            printf("FAILED %s, %s: %s\n", program->name, WAYS[w].name, run.error);
            failed++;
        }
        dlc_session_destroy(run.session);
        run.session = NULL;
        interpreted_destroy(run.interpreted);
        run.interpreted = NULL;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%s: loss %.7g to %.7g, %.2g from the CPU's, %.1f s, %d failed\n", program->name,
           results[0] ? results[0]->losses[0] : NAN,
           results[0] ? results[0]->losses[STEPS - 1] : NAN, worst,
           (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec),
           failed);
    fflush(stdout);
    for (int w = 0; w < N_WAYS; w++) {
        if (results[w]) {
            result_free(results[w]);
        }
    }
    free(run.ir);
    dlc_plan_destroy(run.plan);
    dlc_context_destroy(run.context);
    return failed;
}

int main(int argc, char **argv) {
    int failed = 0;
    if (!cudasim_can_compile()) {
        return TEST_SKIPPED;
    }
    for (int i = 0; i < N_PROGRAMS; i++) {
        bool wanted = argc == 1;
        for (int k = 1; k < argc; k++) {
            wanted |= !strcmp(argv[k], PROGRAMS[i].name);
        }
        failed += wanted ? check_program(&PROGRAMS[i]) : 0;
    }
    return failed ? 1 : 0;
}
