/* See kernel_agree.h. */
#include "tests/ops/kernel_agree.h"
#include "passes/fuse/fuse.h"
#include "tests/fuzz/random_graph.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct Mode {
    const char *name;
    bool trivial, compiled, inplace, backwards;
} Mode;

static const Mode modes[] = {
    {"one op at a time, interpreted", true, false, false, false},
    {"fused, interpreted", false, false, true, true},
    {"fused, compiled", false, true, true, true},
};
enum { N_MODES = 3 };

static bool check_mode(Harness *h, const Mode *mode, const Machine *machine, Func *func,
                       const EvalTensor *args, const EvalTensor *wide, const EvalTensor *declared,
                       KernelCheck *check) {
    Func *copy = func_clone(func, "fused");
    PassContext pass = {.context = &h->context, .scratch = &h->scratch, .machine = machine};
    if (mode->trivial) {
        fuse_trivially(&pass, copy);
    } else {
        pass_fuse(&pass, copy);
    }
    bool good = harness_verify(h, copy);
    EvalTensor got[HARNESS_MAX_RESULTS] = {0};
    KernelExec exec = {.context = &h->context,
                       .machine = machine,
                       .dim_values = h->dim_values,
                       .n_dims = 2,
                       .compiled = mode->compiled,
                       .inplace = mode->inplace,
                       .backwards = mode->backwards,
                       .check = check};
    if (good && !kernel_exec(&exec, copy, args, got)) {
        snprintf(h->message, sizeof h->message, "%s", exec.message);
        good = false;
    }
    DType coarsest = random_coarsest(func);
    for (int32_t i = 0; good && i < func->n_results; i++) {
        int64_t at = 0;
        if (!random_close(&wide[i], &declared[i], &got[i], coarsest, &at)) {
            snprintf(h->message, sizeof h->message, "result %d, element %lld: %.9g, not %.9g",
                     (int)i, (long long)at, got[i].f ? got[i].f[at] : (double)got[i].i[at],
                     wide[i].f ? wide[i].f[at] : (double)wide[i].i[at]);
            good = false;
        }
    }
    harness_free(got, func->n_results);
    if (!good && getenv("DLC_KERNEL_VERBOSE")) {
        harness_print_func(func);
        harness_print_func(copy);
        exec.verbose = true;
        EvalTensor again[HARNESS_MAX_RESULTS] = {0};
        kernel_exec(&exec, copy, args, again);
        harness_free(again, func->n_results);
    }
    func_remove(copy);
    return good;
}

bool kernel_agree(Harness *h, const Machine *machine, Func *func, const EvalTensor *args,
                  bool compiled, KernelCheck *check) {
    EvalTensor wide[HARNESS_MAX_RESULTS] = {0}, declared[HARNESS_MAX_RESULTS] = {0};
    bool good =
        harness_run(h, func, args, wide, true) && harness_run(h, func, args, declared, false);
    for (int m = 0; m < N_MODES && good; m++) {
        if (modes[m].compiled != compiled) {
            continue;
        }
        good = check_mode(h, &modes[m], machine, func, args, wide, declared, check);
        if (!good) {
            char why[sizeof h->message];
            snprintf(why, sizeof why, "%s", h->message);
            snprintf(h->message, sizeof h->message, "%s: %.900s", modes[m].name, why);
        }
    }
    harness_free(wide, func->n_results);
    harness_free(declared, func->n_results);
    return good;
}
