/* IR from an attacker: random modules, changed where the rules allow it, written as text, read back
 * as a stranger's, checked, optimised, lowered, and run with every access looked at. Whatever is
 * neither refused when it is read nor by a size check must stay inside its buffers.
 *   test_mutants [FIRST COUNT]      prints what became of the cases */
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/random_graph.h"
#include "tests/ops/harness.h"
#include "tests/ops/kernel_exec.h"

#include "codegen/target.h"
#include "passes/pass.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ELEMENTS = 20000, MOST_LENGTH = 200 };

typedef struct Counts {
    int64_t unparsed, refused, unbound, large, faults, ran, left, failed;
} Counts;

static char *make_text(uint64_t seed) {
    char *volatile text = NULL; /* read after a jump */
    Harness *h = calloc(1, sizeof(*h));
    harness_init(h);
    if (setjmp(h->boundary.jump) == 0) {
        RandomGraphOptions options = {.n_ops = 10};
        Func *func = random_graph(h->module, seed, &options);
        func_renumber(func);
        Mutator m = {.state = seed * 2654435761u + 1, .module = h->module};
        for (int done = 0, tries = 0; done < 3 && tries < 40; tries++) {
            done += mutate_func(&m, func);
            func_renumber(func);
        }
        Str printed;
        str_init(&printed, NULL);
        module_print(h->module, &printed);
        text = strdup(str_text(&printed));
        str_finish(&printed);
        if (mutate_pick(&m, 6) == 0) {
            mutate_text(&m, text, strlen(text));
        }
    }
    harness_finish(h);
    free(h);
    return text;
}

typedef struct Limits {
    const int64_t *dims;
    int32_t n_dims;
    bool holds, is_small;
} Limits;

static void limit_type(Limits *l, Type type) {
    double elements = 1;
    for (int32_t i = 0; i < type.rank; i++) {
        int64_t n = 0;
        l->is_small = l->is_small && size_eval(type.dims[i], l->dims, l->n_dims, &n);
        elements *= (double)n;
    }
    l->is_small = l->is_small && elements <= MOST_ELEMENTS;
}

static void limit_op(Op *op, void *user) {
    Limits *l = user;
    if (op->code == OP_size_check) {
        int64_t a = 0, b = 0;
        l->holds = l->holds && size_eval(size_check_left(op), l->dims, l->n_dims, &a) &&
                   size_eval(size_check_right(op), l->dims, l->n_dims, &b) && a == b;
    }
    if (op->code == OP_scan) {
        int64_t length = 0;
        l->is_small = l->is_small && size_eval(scan_length(op), l->dims, l->n_dims, &length) &&
                      length <= MOST_LENGTH;
    }
    l->is_small = l->is_small && op->code != OP_while; /* may never end, which is no harm */
    for (int32_t i = 0; i < op->n_results; i++) {
        limit_type(l, op->results[i]->type);
    }
}

/* A fault is an answer; leaving a buffer is none. */
static bool is_answer(const char *message) {
    return strncmp(message, "fault at site", 13) == 0 ||
           strncmp(message, "check failed", 12) == 0 || strcmp(message, "a size has no value") == 0;
}

static void run_func(Context *context, const Machine *machine, Func *func, uint64_t seed,
                     Counts *counts) {
    for (int round = 0; round < 3; round++) {
        int64_t dims[2] = {1 + (int64_t)((seed >> (4 * round)) % 9),
                           1 + (int64_t)((seed >> (4 * round + 8)) % 9)};
        Limits limits = {.dims = dims, .n_dims = 2, .holds = true, .is_small = true};
        func_each_op(func, limit_op, &limits);
        for (int32_t i = 0; i < func->body->n_args; i++) {
            limit_type(&limits, func->body->args[i]->type);
        }
        if (!limits.holds) {
            counts->unbound++;
            continue;
        }
        EvalTensor args[64] = {0}, results[HARNESS_MAX_RESULTS] = {0};
        if (!limits.is_small || func->body->n_args > 64 || func->n_results > HARNESS_MAX_RESULTS ||
            !random_args(func, seed, dims, 2, true, args)) {
            counts->large++;
            continue;
        }
        KernelExec exec = {.context = context, .machine = machine, .dim_values = dims, .n_dims = 2};
        if (kernel_exec(&exec, func, args, results)) {
            counts->ran++;
        } else if (is_answer(exec.message)) {
            counts->faults++;
        } else {
            counts->failed++;
            fprintf(stderr, "seed %llu, B = %lld, T = %lld: %s\n", (unsigned long long)seed,
                    (long long)dims[0], (long long)dims[1], exec.message);
            harness_print_func(func);
        }
        harness_free(args, func->body->n_args);
        harness_free(results, func->n_results);
    }
}

static void run_text(const Machine *machine, const char *text, uint64_t seed, Counts *counts) {
    Boundary boundary = {0};
    Context context;
    context_init(&context, NULL, &boundary);
    context.arena.limit = (size_t)512 << 20;
    if (setjmp(boundary.jump)) {
        counts->left++;
        if (boundary.status == DLC_ERROR_INTERNAL) {
            size_t n = context.diags.count;
            fprintf(stderr, "seed %llu: internal error: %s\n%s\n", (unsigned long long)seed,
                    n ? context.diags.items[n - 1]->message : "no diagnostic", text);
            counts->failed++;
        }
        context_finish(&context);
        return;
    }
    const Source *source = context_source(&context, "mutant", text, strlen(text), false);
    Module *module = module_parse(&context, source);
    PipelineOptions options = {.verify_each = true};
    PipelineReport report = {0};
    if (!module) {
        counts->unparsed++;
    } else if (!module_check_premises(module, false) ||
               !passes_run(module, machine, &options, &report) ||
               !module_check_premises(module, true)) {
        counts->refused++;
    } else if (module->n_dims == 2) {
        for (Func *func = module->first; func; func = func->next) {
            run_func(&context, machine, func, seed, counts);
        }
    }
    context_finish(&context);
}

int main(int argc, char **argv) {
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 400;
    Machine machine;
    Arena arena;
    Boundary boundary = {0};
    char why[512];
    arena_init(&arena, NULL, &boundary);
    if (setjmp(boundary.jump) ||
        target_find("cpu")->describe("x86-64-v2", &arena, &machine, why) != DLC_OK) {
        return 2;
    }
    Counts counts = {0};
    for (uint64_t seed = first; seed < first + count; seed++) {
        char *text = make_text(seed);
        if (text) {
            run_text(&machine, text, seed, &counts);
        }
        free(text);
    }
    printf(
        "%llu cases: %lld unreadable, %lld refused, %lld left; runs: %lld refused by sizes, %lld "
        "too large, %lld faults, %lld ran; %lld wrong\n",
        (unsigned long long)count, (long long)counts.unparsed, (long long)counts.refused,
        (long long)counts.left, (long long)counts.unbound, (long long)counts.large,
        (long long)counts.faults, (long long)counts.ran, (long long)counts.failed);
    arena_finish(&arena);
    return counts.failed != 0;
}
