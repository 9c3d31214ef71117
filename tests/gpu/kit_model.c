/* Training steps of a model on made-up data: what the CPU gave when the kit was built is met within
 * a tolerance; a run by recorded graphs, one without, one under each poison and a second one give
 * the same bits. */
#include "tests/gpu/gpukit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_STEPS = 64 };

bool kit_spec(Kit *kit, char **words, int n) {
    Spec *spec = &kit->spec;
    *spec = (Spec){.name = words[0],
                   .plan = words[1],
                   .expected = words[2],
                   .precision = "f32",
                   .steps = atoi(words[3]),
                   .tolerance = atof(words[4])};
    spec->steps = spec->steps > MOST_STEPS ? MOST_STEPS : spec->steps;
    for (int i = 5; i < n && spec->n_bindings < MOST_BINDINGS; i++) {
        const char *equals = strchr(words[i], '=');
        if (!strncmp(words[i], "precision=", 10)) {
            spec->precision = words[i] + 10;
            continue;
        }
        if (!equals || equals - words[i] >= 32) {
            return false;
        }
        char *name = spec->names[spec->n_bindings];
        snprintf(name, 32, "%.*s", (int)(equals - words[i]), words[i]);
        spec->bindings[spec->n_bindings++] = (dlc_binding){name, atoll(equals + 1)};
    }
    return spec->steps > 0;
}

/* splitmix64 */
static uint64_t next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Floats in [0, 1), whole numbers below 8: labels and tokens of every example are that. */
static void fill(void *to, int32_t dtype, int64_t bytes, uint64_t seed) {
    uint64_t state = seed;
    int width = plan_dtype_bytes(dtype);
    memset(to, 0, (size_t)bytes);
    for (int64_t i = 0; i < bytes / width; i++) {
        double real = (double)(next(&state) >> 40) * 0x1p-24;
        if (dtype == PLAN_F32) {
            ((float *)to)[i] = (float)real;
        } else if (dtype == PLAN_F64) {
            ((double *)to)[i] = real;
        } else if (dtype == PLAN_I64 || dtype == PLAN_I32 || dtype == PLAN_U8 || dtype == PLAN_I8) {
            ((uint8_t *)to)[i * width] = (uint8_t)(real * 8);
        }
    }
}

dlc_status kit_inputs(dlc_session *session, EntryState *entry, uint64_t seed) {
    dlc_status status = session_layout(session, entry, true);
    for (int32_t i = 0; i < entry->record->n_args && status == DLC_OK; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        int64_t dims[PLAN_MAX_RANK], bytes;
        void *to;
        if (arg->role != PLAN_ARG_INPUT) {
            continue;
        }
        if (!plan_shape(session->file, arg->type, entry->slots[0].layout->vars, dims, &bytes)) {
            return DLC_ERROR_MISMATCH;
        }
        status = session_input(session, entry, i, arg->type.rank, dims, &to);
        if (status == DLC_OK) {
            fill(to, arg->type.dtype, bytes, seed + (uint64_t)i);
            status = session_input_done(session, entry, i);
        }
    }
    return status;
}

typedef struct Run {
    double losses[MOST_STEPS];
    uint64_t hash; /* of all losses and variables */
    double seconds;
    char how[256];
} Run;

static uint64_t variables_hash(dlc_session *session, uint64_t hash) {
    for (int64_t i = 0; i < session->ranks->n_variables; i++) {
        const char *name = plan_text(session->file, session->ranks->variables[i].record->name);
        const DLTensor *tensor = NULL;
        if (dlc_view_variable(session, name, &tensor) == DLC_OK) {
            hash = hash_bytes(tensor->data, (size_t)session->ranks->variables[i].bytes, hash);
        }
    }
    return hash;
}

static bool run_steps(Kit *kit, dlc_plan *plan, const char *device, int poison, bool guarded,
                      Run *out) {
    const Spec *spec = &kit->spec;
    dlc_session_options options = {.struct_size = sizeof options,
                                   .bindings = spec->bindings,
                                   .n_bindings = (size_t)spec->n_bindings,
                                   .device = device,
                                   .has_seed = 1,
                                   .seed = 7,
                                   .poison = poison,
                                   .guarded = guarded};
    dlc_session *session = NULL;
    memset(out, 0, sizeof *out);
    dlc_status status = kit_session(kit, plan, &options, &session);
    EntryState *entry = status == DLC_OK ? session_entry(session, "train") : NULL;
    status = status == DLC_OK && !entry ? DLC_ERROR_NOT_FOUND : status;
    if (status == DLC_OK) {
        snprintf(out->how, sizeof out->how, "%s", dlc_session_describe(session));
        status = kit_inputs(session, entry, 1);
    }
    if (status == DLC_OK) {
        status = dlc_init_weights(session);
    }
    if (status == DLC_OK) { /* lengths that schedules may read */
        status = dlc_set_counter(session, "steps", spec->steps);
    }
    if (status == DLC_OK) {
        status = dlc_set_counter(session, "steps_per_epoch", 1);
    }
    double begin = kit_seconds();
    for (int i = 0; i < spec->steps && status == DLC_OK; i++) {
        dlc_step_info info = {.struct_size = sizeof info};
        status = kit_inputs(session, entry, (uint64_t)(1 + i % 4));
        if (status == DLC_OK) {
            status = dlc_train_step(session, &info);
            out->losses[i] = info.loss;
        }
    }
    out->seconds = kit_seconds() - begin;
    if (status == DLC_OK) {
        out->hash = hash_bytes(out->losses, sizeof(double) * (size_t)spec->steps, 0);
        out->hash = variables_hash(session, out->hash);
    } else {
        kit_problem(kit, "%s on %s, poison %d%s: %s", spec->name, device, poison,
                    guarded ? ", guarded" : "", dlc_last_error(kit->context));
    }
    dlc_session_destroy(session);
    return status == DLC_OK;
}

static void record(Kit *kit, dlc_plan *plan) {
    Run run;
    FILE *file = fopen(kit->spec.expected, "w");
    bool good = file && run_steps(kit, plan, "cpu", 0, false, &run);
    for (int i = 0; good && i < kit->spec.steps; i++) {
        good = fprintf(file, "%a\n", run.losses[i]) > 0;
    }
    if (!file || fclose(file) != 0 || !good) {
        kit_problem(kit, "%s is not written", kit->spec.expected);
    }
    printf("\"model\": \"%s\"", kit->spec.name);
}

static void compare(Kit *kit, const Run *run) {
    FILE *file = fopen(kit->spec.expected, "r");
    double worst = 0;
    for (int i = 0; i < kit->spec.steps; i++) {
        char line[64] = "";
        if (!file || !fgets(line, sizeof line, file)) {
            kit_problem(kit, "%s ends at step %d", kit->spec.expected, i);
            break;
        }
        double expected = strtod(line, NULL);
        double off = fabs(run->losses[i] - expected) / (fabs(expected) + 1e-3);
        worst = off > worst || isnan(off) ? off : worst;
        /* Rounding differences grow from step to step. */
        if (!(off <= kit->spec.tolerance * (1 + i))) {
            kit_problem(kit, "%s: loss of step %d is %.9g, on the CPU %.9g", kit->spec.name, i + 1,
                        run->losses[i], expected);
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    printf(", \"worst_relative_difference\": %.3g", worst);
}

static void check(Kit *kit, dlc_plan *plan) {
    static const struct {
        const char *name;
        int poison;
        bool guarded;
    } ways[] = {
        {"second run", 0, false},
        {"every value apart, no graph", 0, true},
        {"poison A", 1, false},
        {"poison B", 2, false},
    };
    Run first, other;
    printf("\"model\": \"%s\", \"steps\": %d", kit->spec.name, kit->spec.steps);
    if (!run_steps(kit, plan, kit->device, 0, false, &first)) {
        return;
    }
    printf(", \"how\": ");
    kit_text(first.how);
    printf(", \"step_seconds\": %.6f", first.seconds / kit->spec.steps);
    compare(kit, &first);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (run_steps(kit, plan, kit->device, ways[i].poison, ways[i].guarded, &other) &&
            other.hash != first.hash) {
            int step = 0;
            while (step < kit->spec.steps && other.losses[step] == first.losses[step]) {
                step++;
            }
            kit_problem(kit, "%s: other bits by '%s', losses from step %d on", kit->spec.name,
                        ways[i].name, step + 1);
        }
    }
}

static void train(Kit *kit, dlc_plan *plan) {
    const Spec *spec = &kit->spec;
    dlc_session_options options = {.struct_size = sizeof options,
                                   .bindings = spec->bindings,
                                   .n_bindings = (size_t)spec->n_bindings,
                                   .device = kit->device};
    dlc_bench_options bench = {.struct_size = sizeof bench};
    dlc_bench_result result = {.struct_size = sizeof result};
    dlc_memory memory = {.struct_size = sizeof(memory)};
    dlc_session *session = NULL;
    if (kit->quick) {
        bench.warmup = 1;
        bench.repeats = 2;
    }
    dlc_status status = kit_session(kit, plan, &options, &session);
    if (status == DLC_OK) {
        status = dlc_bench(session, "train", &bench, &result);
    }
    if (status == DLC_OK) {
        status = dlc_session_memory(session, "train", &memory);
    }
    if (status != DLC_OK) {
        kit_problem(kit, "%s: %s", spec->name, dlc_last_error(kit->context));
    }
    printf(
        "\"model\": \"%s\", \"batch\": %lld, \"step_seconds\": %.6g, \"p10\": %.6g, \"p90\": %.6g, "
        "\"rows_per_second\": %.6g, \"flops_per_second\": %.4g, \"step_flops\": %.6g, "
        "\"step_bytes\": %.6g, \"peak_bytes\": %lld, \"overhead_bytes\": %lld",
        spec->name, (long long)result.rows, result.median, result.p10, result.p90,
        result.median > 0 ? (double)result.rows / result.median : 0,
        result.median > 0 ? result.flops / result.median : 0, result.flops, result.bytes,
        (long long)memory.peak_bytes, (long long)memory.overhead_bytes);
    dlc_session_destroy(session);
}

/* One run with every value in an allocation of its own and no recorded steps, as checkers of memory
 * want it. */
static void guarded(Kit *kit, dlc_plan *plan) {
    Run run;
    printf("\"model\": \"%s\", \"steps\": %d", kit->spec.name, kit->spec.steps);
    if (run_steps(kit, plan, kit->device, 0, true, &run)) {
        compare(kit, &run);
    }
}

/* Measures as often as it is asked to: a line "N" is answered by a line of JSON for N steps, after
 * a first line that says how the model was loaded. The end of the questions is the end. */
static void serve(Kit *kit, dlc_plan *plan) {
    const Spec *spec = &kit->spec;
    dlc_session_options options = {.struct_size = sizeof options,
                                   .bindings = spec->bindings,
                                   .n_bindings = (size_t)spec->n_bindings,
                                   .device = kit->device};
    dlc_session *session = NULL;
    dlc_memory memory = {.struct_size = sizeof(memory)};
    char line[64];
    double begin = kit_seconds();
    dlc_bench_options bench = {.struct_size = sizeof bench, .warmup = 1, .repeats = 1};
    dlc_bench_result result = {.struct_size = sizeof result};
    dlc_status status = kit_session(kit, plan, &options, &session);
    if (status == DLC_OK) {
        status = dlc_bench(session, "train", &bench, &result);
    }
    if (status == DLC_OK) {
        status = dlc_session_memory(session, "train", &memory);
    }
    if (status == DLC_OK) {
        printf("\"ready\": 1, \"load_s\": %.3f, \"step_flops\": %.6g, \"peak_bytes\": %lld, "
               "\"overhead_bytes\": %lld, \"how\": ",
               kit_seconds() - begin, result.flops, (long long)memory.peak_bytes,
               (long long)memory.overhead_bytes);
        kit_text(dlc_session_describe(session));
        printf("}\n");
        fflush(stdout);
    }
    while (status == DLC_OK && fgets(line, sizeof line, stdin)) {
        bench.repeats = atoll(line) > 0 ? atoll(line) : 1;
        status = dlc_bench(session, "train", &bench, &result);
        if (status == DLC_OK) {
            printf("{\"median_s\": %.9g, \"p10_s\": %.9g, \"p90_s\": %.9g, \"repeats\": %lld}\n",
                   result.median, result.p10, result.p90, (long long)result.repeats);
            fflush(stdout);
        }
    }
    if (status != DLC_OK) {
        kit_problem(kit, "%s: %s", spec->name, dlc_last_error(kit->context));
    }
    printf("{\"end\": 1");
    dlc_session_destroy(session);
}

void kit_model(Kit *kit, const char *part) {
    dlc_plan *plan = kit_plan(kit, kit->spec.plan);
    if (!plan) {
        return;
    }
    if (!strcmp(part, "record")) {
        record(kit, plan);
    } else if (!strcmp(part, "model")) {
        check(kit, plan);
    } else if (!strcmp(part, "guarded")) {
        guarded(kit, plan);
    } else if (!strcmp(part, "serve")) {
        serve(kit, plan);
    } else if (!strcmp(part, "train")) {
        train(kit, plan);
    } else if (!strcmp(part, "kernels")) {
        kit_kernels(kit, plan);
    } else {
        kit_problem(kit, "unknown part: %s", part);
    }
    dlc_plan_destroy(plan);
}
