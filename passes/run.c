/* The pass runner: walks pipeline.def over each Func, repeats groups until nothing changes,
 * verifies, prints and times. Passes themselves do none of that. */
#include "passes/fuse/fuse.h"
#include "passes/pass.h"
#include "passes/shard/check.h"
#include <time.h>

typedef enum StepKind { STEP_PASS, STEP_GROUP_BEGIN, STEP_GROUP_END } StepKind;

typedef struct Step {
    StepKind kind;
    const char *name, *doc;
    bool (*run)(PassContext *pass, Func *func);
    unsigned needs, gives;
    int limit;
} Step;

static const Step steps[] = {
#define PASS(pass, needs_, gives_, doc_)                                                           \
    {.kind = STEP_PASS,                                                                            \
     .name = #pass,                                                                                \
     .doc = doc_,                                                                                  \
     .run = pass_##pass,                                                                           \
     .needs = (needs_),                                                                            \
     .gives = (gives_)},
#define GROUP_BEGIN(group, limit_) {.kind = STEP_GROUP_BEGIN, .name = #group, .limit = limit_},
#define GROUP_END                  {.kind = STEP_GROUP_END},
#include "passes/pipeline.def"
#undef PASS
#undef GROUP_BEGIN
#undef GROUP_END
};
enum { N_STEPS = (int)(sizeof(steps) / sizeof(steps[0])) };

typedef struct Run {
    Module *module;
    const Machine *machine;
    const PipelineOptions *options;
    PipelineReport *report;
    const Func *sharded; /* the last Func that became one rank's program here */
} Run;

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Whether `name` is one of the comma-separated names. */
static bool list_has(const char *list, const char *name) {
    size_t length = strlen(name);
    for (const char *at = list; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        if (!strncmp(at, name, length) && (at[length] == ',' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

static void verify_after(Run *run, Func *func, const char *pass) {
    Str report;
    str_init(&report, run->module->context->allocator);
    bool sound = func_verify(func, &report);
    if (sound && run->options->verify_each && run->sharded == func) {
        sound = shard_check(func, &run->module->scratch, &report);
        arena_clear(&run->module->scratch);
    }
    if (!sound) {
        Diag *diag =
            diag_report(&run->module->context->diags, DIAG_BROKEN_IR, (Place){0}, func->name, pass);
        diag_note(&run->module->context->diags, diag, (Place){0}, "%s", str_text(&report));
    }
    str_finish(&report);
    if (!sound) {
        boundary_leave(run->module->context->boundary, DLC_ERROR_INTERNAL);
    }
}

static void print_after(Run *run, Func *func, const char *pass) {
    const PipelineOptions *options = run->options;
    if (!options->print || !options->print_after ||
        (strcmp(options->print_after, "all") != 0 && strcmp(options->print_after, pass) != 0)) {
        return;
    }
    Str text;
    str_init(&text, run->module->context->allocator);
    func_print(func, &text);
    options->print(options->print_user, pass, str_text(&text));
    str_finish(&text);
}

/* The pass that gives one of the properties. */
static const char *giver(unsigned properties) {
    for (int i = 0; i < N_STEPS; i++) {
        if (steps[i].gives & properties) {
            return steps[i].name;
        }
    }
    return "?";
}

/* Runs one pass. Scratch memory hangs on the context's boundary, so that a jump during a pass
 * reaches the public call; it is released here on the ordinary path and with the module otherwise.
 */
static bool run_pass(Run *run, Func *func, const Step *step) {
    bool skipped = run->options->skip && list_has(run->options->skip, step->name);
    if (skipped && !(step->gives & PROP_FUSED)) {
        return false;
    }
    if ((func->properties & step->needs) != step->needs) {
        const char *missing = giver(step->needs & ~func->properties);
        DiagList *diags = &run->module->context->diags;
        Diag *diag = diag_report(diags, DIAG_PASS_SKIPPED, (Place){0}, step->name, missing);
        diag_help(diags, diag, "take '%s' out of the passes to skip", missing);
        boundary_leave(run->module->context->boundary, DLC_ERROR_INVALID_ARGUMENT);
    }
    Arena *scratch = &run->module->scratch;
    PassContext pass = {.context = run->module->context,
                        .scratch = scratch,
                        .machine = run->machine,
                        .memory_limit = run->options->memory_limit,
                        .report = run->options->explains ? run->report : NULL};
    func_renumber(func);
    int32_t ops_before = func->n_ops;
    double start = run->options->time_passes ? seconds_now() : 0;
    bool changed = false, was_sharded = (func->properties & PROP_SHARDED) != 0;
    if (skipped) {
        fuse_trivially(&pass, func); /* backends take kernels only: one op in each */
    } else {
        changed = step->run(&pass, func);
    }
    double seconds = run->options->time_passes ? seconds_now() - start : 0;
    arena_clear(scratch);
    func->properties |= step->gives;
    run->sharded = !was_sharded && (func->properties & PROP_SHARDED) != 0 ? func : run->sharded;
    if (run->options->verify_each) {
        verify_after(run, func, step->name);
    }
    print_after(run, func, step->name);
    if (run->options->time_passes) {
        func_renumber(func);
        PassTime time = {.pass = step->name,
                         .seconds = seconds,
                         .ops_before = ops_before,
                         .ops_after = func->n_ops,
                         .changed = changed};
        VEC_PUSH(&run->module->context->arena, &run->report->times, time);
    }
    return changed;
}

static int group_end(int begin) {
    int at = begin;
    while (steps[at].kind != STEP_GROUP_END) {
        at++;
    }
    return at;
}

static void run_func(Run *run, Func *func) {
    const char *stop = run->options->stop_after;
    for (int at = 0; at < N_STEPS; at++) {
        if (steps[at].kind == STEP_PASS) {
            run_pass(run, func, &steps[at]);
            if (run->module->context->diags.n_errors > 0 ||
                (stop && !strcmp(stop, steps[at].name))) {
                return;
            }
            continue;
        }
        int end = group_end(at);
        bool stops_here = false;
        for (int round = 0; round < steps[at].limit; round++) {
            bool changed = false;
            for (int i = at + 1; i < end; i++) {
                changed |= run_pass(run, func, &steps[i]);
                stops_here |= stop && !strcmp(stop, steps[i].name);
            }
            if (!changed) {
                break;
            }
        }
        if (stops_here) {
            return;
        }
        at = end;
    }
}

bool passes_run(Module *module, const Machine *machine, const PipelineOptions *options,
                PipelineReport *report) {
    static const PipelineOptions defaults = {0};
    PipelineReport unused = {0};
    Run run = {.module = module,
               .machine = machine,
               .options = options ? options : &defaults,
               .report = report ? report : &unused};
    for (Func *func = module->first; func; func = func->next) {
        run_func(&run, func);
        if (module->context->diags.n_errors > 0) {
            return false;
        }
        verify_after(&run, func, "the pipeline");
    }
    return true;
}

static const Step *step_of(int index) {
    for (int at = 0; at < N_STEPS; at++) {
        if (steps[at].kind == STEP_PASS && index-- == 0) {
            return &steps[at];
        }
    }
    return NULL;
}

const char *pass_name(int index) {
    const Step *step = step_of(index);
    return step ? step->name : NULL;
}

const char *pass_doc(int index) {
    const Step *step = step_of(index);
    return step ? step->doc : NULL;
}
