/* The examples at small sizes, through the public API with a counting allocator: what a plan says
 * it takes is what a session takes; no step allocates; threads, poison and the choice of passes
 * change nothing. test_memory [PROGRAM…]   DLC_SOURCE_ROOT names the folder that holds examples/ */
#include "dlc/dlc.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INPUTS = 16, MAX_AXES = 8, STEPS = 5, SLACK = 2048, ROUNDING = 1024, BLOCK = 80 };

/* Bytes and blocks handed out by one context's allocator. */
typedef struct Meter {
    size_t live, blocks, count;
} Meter;

static void *meter_alloc(void *user, size_t bytes) {
    Meter *meter = user;
    size_t *block = malloc(bytes + 16);
    if (!block) {
        return NULL;
    }
    block[0] = bytes;
    __atomic_add_fetch(&meter->live, bytes, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&meter->count, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&meter->blocks, 1, __ATOMIC_SEQ_CST);
    return block + 2;
}

static void meter_free(void *user, void *memory) {
    Meter *meter = user;
    size_t *block = (size_t *)memory - 2;
    __atomic_sub_fetch(&meter->live, block[0], __ATOMIC_SEQ_CST);
    __atomic_sub_fetch(&meter->blocks, 1, __ATOMIC_SEQ_CST);
    free(block);
}

typedef struct Program {
    const char *name;
    dlc_define defines[8];
    dlc_binding dims[4];
} Program;

static const Program PROGRAMS[] = {
    {"digits", {{NULL, NULL}}, {{"B", 4}}},
    {"tf_example", {{NULL, NULL}}, {{"B", 7}, {"I", 30}}},
    {"torch_example", {{NULL, NULL}}, {{"B", 5}}},
    {"char_lstm", {{"width", "24"}, {"vocab", "50"}}, {{"B", 3}, {"T", 9}}},
    {"heat_pinn", {{NULL, NULL}}, {{"N", 33}}},
    {"unet", {{"width", "8"}, {"depth", "1"}}, {{"B", 2}, {"H", 16}, {"W", 24}}},
    {"gpt2",
     {{"layers", "2"}, {"width", "32"}, {"heads", "2"}, {"vocab", "40"}, {"context", "16"}},
     {{"B", 2}, {"T", 11}}},
};
enum { N_PROGRAMS = sizeof PROGRAMS / sizeof PROGRAMS[0] };

/* How one run differs from the plain one. */
typedef struct Way {
    const char *name, *skip;
    int threads, poison;
    bool same_bits;
} Way;

static const Way WAYS[] = {
    {"1 thread", NULL, 1, 0, true},
    {"2 threads", NULL, 2, 0, true},
    {"3 threads", NULL, 3, 0, true},
    {"poison A", NULL, 1, 1, true},
    {"poison B, 2 threads", NULL, 2, 2, true},
    {"without fuse", "fuse", 1, 0, false},
    {"without fold, simplify, cse, dce", "fold,simplify,cse,dce", 1, 0, false},
};
enum { N_WAYS = sizeof WAYS / sizeof WAYS[0] };

typedef struct Result {
    double losses[STEPS];
    unsigned long long bits;  /* a hash of every variable after the steps */
    int64_t wanted, taken;    /* bytes for tensors by the plan; bytes that the session holds */
    int64_t overhead, blocks; /* what it says it holds beside tensors; blocks of memory */
} Result;

typedef struct Run {
    const Program *program;
    dlc_binding dims[4];
    Meter meter;
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
    size_t n_dims;
    char error[1024];
} Run;

static bool fail(Run *run, const char *what) {
    snprintf(run->error, sizeof run->error, "%s: %s %s", what,
             run->context ? dlc_last_error(run->context) : "",
             run->context ? dlc_diagnostics_text(run->context, 0) : "");
    return false;
}

/* `times` as many rows as the program's own. */
static bool compile(Run *run, const char *skip, int64_t times) {
    const char *root = getenv("DLC_SOURCE_ROOT");
    char path[1024];
    dlc_allocator allocator = {meter_alloc, meter_free, &run->meter};
    dlc_context_options context_options = {.struct_size = sizeof context_options,
                                           .allocator = &allocator};
    dlc_compile_options options = {
        .struct_size = sizeof options, .defines = run->program->defines, .skip_passes = skip};
    while (options.n_defines < 8 && run->program->defines[options.n_defines].name) {
        options.n_defines++;
    }
    memcpy(run->dims, run->program->dims, sizeof run->dims);
    run->dims[0].value *= times;
    while (run->n_dims < 4 && run->dims[run->n_dims].name) {
        run->n_dims++;
    }
    snprintf(path, sizeof path, "%s/examples/%s.dl", root ? root : ".", run->program->name);
    return (dlc_context_create(&context_options, &run->context) == DLC_OK &&
            dlc_compile_file(run->context, path, &options, &run->plan) == DLC_OK) ||
           fail(run, "compile");
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
        size_t length = strlen(run->dims[i].name);
        if (!strncmp(at, run->dims[i].name, length) && strchr(",]", at[length])) {
            return run->dims[i].value;
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
        } else {
            ((int32_t *)data)[i] = (int32_t)(bits % 5);
        }
    }
}

static bool set_inputs(Run *run) {
    for (size_t e = 0; e < dlc_plan_entry_count(run->plan); e++) {
        dlc_entry_info entry = {.struct_size = sizeof(entry)};
        if (dlc_plan_entry(run->plan, e, &entry) != DLC_OK) {
            return fail(run, "entry");
        }
        for (size_t t = 0; t < entry.n_tensors && entry.purpose == DLC_PURPOSE_TRAIN; t++) {
            dlc_tensor_info info = {.struct_size = sizeof(info)};
            int64_t shape[MAX_AXES], n = 1;
            if (dlc_plan_entry_tensor(run->plan, e, t, &info) != DLC_OK) {
                return fail(run, "tensor");
            }
            if (info.role != DLC_ROLE_INPUT) {
                continue;
            }
            for (int32_t i = 0; i < info.rank && i < MAX_AXES; i++) {
                shape[i] = dim_value(run, info.type, i, info.dims[i]);
                n *= shape[i];
            }
            DLTensor tensor = {.data = malloc((size_t)n * 8),
                               .device = {kDLCPU, 0},
                               .ndim = info.rank,
                               .dtype = info.dtype,
                               .shape = shape};
            fill(tensor.data, info.dtype, n);
            dlc_status status = dlc_set_input(run->session, "train", info.name, &tensor);
            free(tensor.data);
            if (status != DLC_OK) {
                return fail(run, info.name);
            }
        }
    }
    return true;
}

static bool hash_variables(Run *run, unsigned long long *out) {
    unsigned long long hash = 1469598103934665603u;
    for (size_t i = 0; i < dlc_plan_variable_count(run->plan); i++) {
        dlc_tensor_info info = {.struct_size = sizeof(info)};
        const DLTensor *tensor = NULL;
        if (dlc_plan_variable(run->plan, i, &info) != DLC_OK ||
            dlc_view_variable(run->session, info.name, &tensor) != DLC_OK) {
            return fail(run, "variable");
        }
        int64_t bytes = tensor->dtype.bits / 8;
        for (int32_t k = 0; k < tensor->ndim; k++) {
            bytes *= tensor->shape[k];
        }
        const unsigned char *data = (const unsigned char *)tensor->data + tensor->byte_offset;
        for (int64_t k = 0; k < bytes; k++) {
            hash = (hash ^ data[k]) * 1099511628211u;
        }
    }
    *out = hash;
    return true;
}

/* What the plan says the session takes: the train entry, but the arena also serves init. */
static bool expected_bytes(Run *run, int64_t *out) {
    dlc_entry_summary train = {.struct_size = sizeof(train)}, init = {.struct_size = sizeof(init)};
    if (dlc_plan_summarize(run->plan, "train", run->dims, run->n_dims, &train) != DLC_OK ||
        dlc_plan_summarize(run->plan, "init", run->dims, run->n_dims, &init) != DLC_OK) {
        return fail(run, "summarize");
    }
    if (train.peak_bytes != train.persistent_bytes + train.input_bytes + train.arena_bytes) {
        return fail(run, "the peak is not the sum of its parts");
    }
    *out = train.peak_bytes +
           (init.arena_bytes > train.arena_bytes ? init.arena_bytes - train.arena_bytes : 0);
    return true;
}

static bool train(Run *run, const Way *way, Result *result) {
    size_t before = run->meter.live, blocks_before = run->meter.blocks;
    dlc_session_options options = {.struct_size = sizeof options,
                                   .bindings = run->dims,
                                   .n_bindings = run->n_dims,
                                   .threads = way->threads,
                                   .poison = way->poison};
    if (dlc_session_create(run->plan, &options, &run->session) != DLC_OK) {
        return fail(run, "session");
    }
    if (dlc_set_counter(run->session, "steps", 100) != DLC_OK || !set_inputs(run) ||
        dlc_init_weights(run->session) != DLC_OK) {
        return run->error[0] ? false : fail(run, "init");
    }
    size_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        dlc_step_info info = {.struct_size = sizeof info};
        if (dlc_train_step(run->session, &info) != DLC_OK) {
            return fail(run, "train step");
        }
        result->losses[step] = info.loss;
        if (step > 0 && run->meter.count != count) {
            snprintf(run->error, sizeof run->error, "step %d allocated %zu times", step,
                     run->meter.count - count);
            return false;
        }
        count = run->meter.count;
    }
    result->taken = (int64_t)(run->meter.live - before);
    result->blocks = (int64_t)(run->meter.blocks - blocks_before);
    dlc_memory memory = {.struct_size = sizeof(memory)};
    if (dlc_session_memory(run->session, "train", &memory) != DLC_OK) {
        return fail(run, "session memory");
    }
    result->overhead = memory.overhead_bytes;
    if (!expected_bytes(run, &result->wanted) || !hash_variables(run, &result->bits)) {
        return false;
    }
    /* Beside tensors and what it tells, a session holds what lies between blocks to align them. */
    int64_t told = result->wanted + result->overhead;
    if (result->taken < result->wanted || result->taken > told + BLOCK * result->blocks + SLACK ||
        result->taken < told - SLACK) {
        snprintf(run->error, sizeof run->error,
                 "the plan says %lld bytes for tensors, the session %lld beside; it took %lld",
                 (long long)result->wanted, (long long)result->overhead, (long long)result->taken);
        return false;
    }
    return true;
}

/* With more rows a session takes exactly as much more as the plan says: the rest stays as it is. */
static bool check_growth(Run *run, const Result *plain, const Result *more) {
    int64_t wanted = more->wanted - plain->wanted, taken = more->taken - plain->taken;
    if (taken < wanted - ROUNDING || taken > wanted + ROUNDING) {
        snprintf(run->error, sizeof run->error,
                 "four times the rows take %lld bytes more by the plan, %lld in the session",
                 (long long)wanted, (long long)taken);
        return false;
    }
    return true;
}

static bool compare(Run *run, const Way *way, const Result *plain, const Result *got) {
    if (way->same_bits && plain->bits != got->bits) {
        snprintf(run->error, sizeof run->error, "other bits than with 1 thread");
        return false;
    }
    for (int i = 0; i < STEPS; i++) {
        if (!(fabs(plain->losses[i] - got->losses[i]) <= 2e-3 * (1 + fabs(plain->losses[i])))) {
            snprintf(run->error, sizeof run->error, "loss of step %d is %.9g instead of %.9g", i,
                     got->losses[i], plain->losses[i]);
            return false;
        }
    }
    return true;
}

static bool finish(Run *run, const char *way, bool good) {
    if (!good) {
        printf("FAILED %s, %s: %s\n", run->program->name, way, run->error);
    }
    dlc_session_destroy(run->session);
    dlc_plan_destroy(run->plan);
    dlc_context_destroy(run->context);
    if (run->meter.live != 0) {
        printf("FAILED %s, %s: %zu bytes were never freed\n", run->program->name, way,
               run->meter.live);
        good = false;
    }
    return good;
}

static int check_program(const Program *program) {
    Result plain = {0}, more = {0};
    int failed = 0;
    for (int w = 0; w < N_WAYS; w++) {
        Run run = {.program = program};
        Result result = {0};
        bool good = compile(&run, WAYS[w].skip, 1) && train(&run, &WAYS[w], &result);
        if (w == 0) {
            plain = result;
        } else if (good) {
            good = compare(&run, &WAYS[w], &plain, &result);
        }
        failed += !finish(&run, WAYS[w].name, good);
    }
    Run run = {.program = program};
    bool good =
        compile(&run, NULL, 4) && train(&run, &WAYS[0], &more) && check_growth(&run, &plain, &more);
    failed += !finish(&run, "four times the rows", good);
    printf("%s: loss %g to %g, %lld bytes for tensors, %lld told beside, %lld in all, %d failed\n",
           program->name, plain.losses[0], plain.losses[STEPS - 1], (long long)plain.wanted,
           (long long)plain.overhead, (long long)plain.taken, failed);
    fflush(stdout);
    return failed;
}

int main(int argc, char **argv) {
    int failed = 0;
    for (int i = 0; i < N_PROGRAMS; i++) {
        bool wanted = argc == 1;
        for (int k = 1; k < argc; k++) {
            wanted |= !strcmp(argv[k], PROGRAMS[i].name);
        }
        failed += wanted ? check_program(&PROGRAMS[i]) : 0;
    }
    return failed ? 1 : 0;
}
