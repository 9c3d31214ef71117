/* Elaboration on whole programs: every program of examples/ becomes valid Funcs that print and
 * parse back; at small sizes the reference interpreter initialises, trains and evaluates them. */
#include "frontend/frontend.h"
#include "ir/interp.h"
#include "passes/pass.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

typedef struct Program {
    const char *name;
    FrontendDefine defines[8];
    int32_t n_defines;
    int64_t dims[4]; /* by dim id */
    int steps;
    double rate;  /* of learning, given to the run */
    double falls; /* the loss ends below this part of where it began */
} Program;

static const Program programs[] = {
    {"torch_example.dl", {{0}}, 0, {6}, 12, 0.05, 0.8},
    {"tf_example.dl", {{0}}, 0, {6, 5}, 12, 0.05, 0.97},
    {"digits.dl", {{0}}, 0, {4}, 4, 0.005, 0.9},
    {"heat_pinn.dl", {{0}}, 0, {5}, 6, 0.002, 0.9},
    {"char_lstm.dl", {{"vocab", "7"}, {"width", "6"}}, 2, {3, 4}, 10, 0.02, 0.9},
    {"gpt2.dl",
     {{"vocab", "11"}, {"context", "6"}, {"layers", "2"}, {"heads", "2"}, {"width", "8"}},
     5,
     {2, 5},
     10,
     0.01,
     0.9},
    {"unet.dl", {{"width", "8"}, {"depth", "1"}}, 2, {1, 8, 8}, 3, 0.003, 0.95},
    {"elaborate/features.dl", {{0}}, 0, {4, 3}, 6, 0.01, 0.9},
    {"elaborate/adversarial.dl", {{0}}, 0, {6}, 6, NAN, 10.0},
    {"elaborate/variational.dl", {{0}}, 0, {4}, 8, 0.05, 1.0},
};

static char *read_text(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *length = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(*length + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, *length, file), *length);
    text[*length] = '\0';
    fclose(file);
    return text;
}

static void complain(Context *context) {
    Str out;
    str_init(&out, NULL);
    for (size_t i = 0; i < context->diags.count; i++) {
        diag_print(context->diags.items[i], &out, false);
    }
    print_error("%s", str_text(&out));
    str_finish(&out);
}

/* Text of the program replaced before it is compiled. */
typedef struct Edit {
    const char *from, *to;
} Edit;

static const Source *read_source(Context *context, const char *name, const Edit *edit) {
    const char *root = getenv("DLC_SOURCE_ROOT");
    char path[1024];
    size_t length = 0;
    const char *folder = strchr(name, '/') ? "tests/unit" : "examples";
    snprintf(path, sizeof path, "%s/%s/%s", root ? root : ".", folder, name);
    char *text = read_text(path, &length);
    if (edit) {
        char *at = strstr(text, edit->from);
        assert_non_null(at);
        size_t skip = strlen(edit->from), left = strlen(at + skip) + 1;
        char *grown = malloc(length + strlen(edit->to) + 1);
        assert_non_null(grown);
        memcpy(grown, text, (size_t)(at - text));
        memcpy(grown + (at - text), edit->to, strlen(edit->to));
        memcpy(grown + (at - text) + strlen(edit->to), at + skip, left);
        free(text);
        text = grown;
        length = strlen(text);
    }
    const Source *source = context_source(context, name, text, length, false);
    free(text);
    return source;
}

static Module *compile_file(Context *context, const char *name, const FrontendDefine *defines,
                            int32_t n_defines, const Edit *edit) {
    const Source *source = read_source(context, name, edit);
    FrontendOptions options = {
        .source = source, .defines = defines, .n_defines = n_defines, .default_float = DT_F32};
    Module *module = frontend_compile(context, &options);
    if (module == NULL) {
        complain(context);
    }
    assert_non_null(module);
    return module;
}

static void check_valid(Module *module) {
    Str report;
    str_init(&report, NULL);
    if (!module_verify(module, &report)) {
        print_error("%s\n", str_text(&report));
        fail();
    }
    str_finish(&report);
}

static void check_round_trip(Context *context, Module *module) {
    Str first, second;
    str_init(&first, NULL);
    str_init(&second, NULL);
    module_print(module, &first);
    const Source *source =
        context_source(context, "printed", str_text(&first), first.length, false);
    Module *again = module_parse(context, source);
    if (again == NULL) {
        complain(context);
    }
    assert_non_null(again);
    module_print(again, &second);
    assert_string_equal(str_text(&first), str_text(&second));
    str_finish(&first);
    str_finish(&second);
}

static const char *const full_size[] = {
    "torch_example.dl", "tf_example.dl", "digits.dl",   "heat_pinn.dl",
    "char_lstm.dl",     "gpt2.dl",       "resnet18.dl", "unet.dl",
};

static void programs_lower(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(full_size) / sizeof(full_size[0]); i++) {
        Context context;
        Boundary boundary = {0};
        if (setjmp(boundary.jump)) {
            fail_msg("%s left through the boundary: %d", full_size[i], (int)boundary.status);
        }
        context_init(&context, NULL, &boundary);
        clock_t start = clock();
        Module *module = compile_file(&context, full_size[i], NULL, 0, NULL);
        assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 2.0);
        assert_int_equal(context.diags.n_warnings, 0);
        int purposes[PURPOSE_OTHER + 1] = {0};
        for (const Func *func = module->first; func; func = func->next) {
            purposes[func->purpose]++;
        }
        for (int purpose = 0; purpose < PURPOSE_OTHER; purpose++) {
            assert_int_equal(purposes[purpose], 1);
        }
        check_valid(module);
        check_round_trip(&context, module);
        context_finish(&context);
    }
}

/* What is told of functions that nobody calls is told of no function that somebody does call: of
 * the library and of whole programs, each tried by its signature alone. */
static void signatures_hold(void **state) {
    (void)state;
    static const char *const names[] = {
        "torch_example.dl",
        "tf_example.dl",
        "digits.dl",
        "heat_pinn.dl",
        "char_lstm.dl",
        "gpt2.dl",
        "resnet18.dl",
        "unet.dl",
        "fashion.dl",
        "",
        "elaborate/features.dl",
        "elaborate/adversarial.dl",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        Context context;
        Boundary boundary = {0};
        if (setjmp(boundary.jump)) {
            fail_msg("%s left through the boundary: %d", names[i], (int)boundary.status);
        }
        context_init(&context, NULL, &boundary);
        const Source *source = names[i][0]
                                   ? read_source(&context, names[i], NULL)
                                   : context_source(&context, "none.dl", "dim B\n", 6, false);
        FrontendOptions options = {.source = source, .default_float = DT_F32};
        if (!frontend_check_all(&context, &options)) {
            complain(&context);
            fail();
        }
        assert_int_equal(context.diags.n_warnings, 0);
        context_finish(&context);
    }
}

/* -- running */

/* Everything a model persists, by name. */
typedef struct Store {
    const char *names[512];
    EvalTensor values[512];
    int count;
} Store;

static EvalTensor *store_find(Store *store, const char *name) {
    for (int i = 0; i < store->count; i++) {
        if (strcmp(store->names[i], name) == 0) {
            return &store->values[i];
        }
    }
    return NULL;
}

static Func *find_func(Module *module, Purpose purpose) {
    for (Func *func = module->first; func; func = func->next) {
        if (func->purpose == purpose) {
            return func;
        }
    }
    return NULL;
}

static void make_tensor(EvalTensor *out, Type type, const Program *program, int32_t n_dims) {
    int64_t dims[TYPE_MAX_RANK];
    for (int32_t i = 0; i < type.rank; i++) {
        assert_true(size_eval(type.dims[i], program->dims, n_dims, &dims[i]));
    }
    assert_int_equal(eval_tensor_init(out, type.dtype, type.rank, dims, NULL), DLC_OK);
}

/* The same made-up batch in every step: small waves, and small ids. */
static void fill_input(EvalTensor *tensor, int salt) {
    for (int64_t i = 0; i < tensor->n; i++) {
        if (tensor->f) {
            tensor->f[i] = 0.5 + 0.5 * sin((double)(i * (salt + 2)));
        } else {
            tensor->i[i] = (i * 3 + salt) % 5;
        }
    }
}

static double scalar_arg(const Program *program, const char *name, int step) {
    if (strncmp(name, "set.", 4) == 0) {
        return NAN; /* not set by the run */
    }
    if (strcmp(name, "lr") == 0) {
        return program->rate;
    }
    if (strcmp(name, "seed") == 0) {
        return 7;
    }
    return strcmp(name, "step") == 0 ? step : strcmp(name, "epoch") == 0 ? 0 : 100;
}

static void run_func(Interp *interp, Module *module, Purpose purpose, const Program *program,
                     Store *store, int step, double *out_loss) {
    Func *func = find_func(module, purpose);
    int32_t n_args = func->body->n_args, n_results = func->n_results;
    EvalTensor *own = calloc((size_t)n_args + 1, sizeof(EvalTensor));
    const EvalTensor **args = calloc((size_t)n_args + 1, sizeof(EvalTensor *));
    EvalTensor *results = calloc((size_t)n_results + 1, sizeof(EvalTensor));
    for (int32_t i = 0; i < n_args; i++) {
        const FuncArg *arg = &func->args[i];
        bool unborn = purpose == PURPOSE_INIT && arg->role != ARG_SCALAR;
        if (unborn) { /* what an init Func stores to; it does not read it */
            make_tensor(&own[i], func->body->args[i]->type, program, module->n_dims);
            args[i] = &own[i];
        } else if (arg->role == ARG_INPUT || arg->role == ARG_SCALAR) {
            make_tensor(&own[i], func->body->args[i]->type, program, module->n_dims);
            if (arg->role == ARG_INPUT) {
                fill_input(&own[i], (int)strlen(arg->name));
            } else if (own[i].f) {
                own[i].f[0] = scalar_arg(program, arg->name, step);
            } else {
                own[i].i[0] = (int64_t)scalar_arg(program, arg->name, step);
            }
            args[i] = &own[i];
        } else {
            args[i] = store_find(store, arg->name);
            if (args[i] == NULL) {
                fail_msg("%s: nothing was made for '%s'", func->name, arg->name);
            }
        }
    }
    dlc_status status = interp_run(interp, func, args, results);
    if (status != DLC_OK) {
        fail_msg("%s: %s", func->name, interp->message);
    }
    if (out_loss) {
        *out_loss = 0;
    }
    for (int32_t i = 0; i < n_results; i++) {
        const FuncResult *result = &func->results[i];
        for (int64_t k = 0; k < results[i].n && results[i].f; k++) {
            if (!isfinite(results[i].f[k])) {
                fail_msg("%s: '%s' is not finite", func->name, result->name);
            }
        }
        if (result->role == RESULT_LOSS && out_loss) {
            *out_loss += results[i].f[0]; /* of several losses the sum */
        }
        if (result->role == RESULT_OK) {
            assert_int_equal(results[i].i[0], 1);
        }
        if (result->role != RESULT_STORE) {
            eval_tensor_finish(&results[i], NULL);
            continue;
        }
        EvalTensor *place = store_find(store, result->name);
        if (place) {
            eval_tensor_finish(place, NULL);
        } else {
            assert_true(store->count < 512);
            store->names[store->count] = result->name;
            place = &store->values[store->count++];
        }
        *place = results[i];
    }
    for (int32_t i = 0; i < n_args; i++) {
        eval_tensor_finish(&own[i], NULL);
    }
    free(own);
    free(args);
    free(results);
}

/* Initialises, takes the program's steps, evaluates and infers; `store` is left with what it
 * learned. */
static void train_program(const Program *program, const Edit *edit, Store *store) {
    Context context;
    Boundary boundary = {0};
    if (setjmp(boundary.jump)) {
        complain(&context);
        fail_msg("%s left through the boundary: %d", program->name, (int)boundary.status);
    }
    context_init(&context, NULL, &boundary);
    Module *module =
        compile_file(&context, program->name, program->defines, program->n_defines, edit);
    Machine machine = {0};
    PipelineOptions options = {.skip = "fuse", .verify_each = true};
    assert_true(passes_run(module, &machine, &options, NULL));
    Interp interp = {.context = &context, .dim_values = program->dims, .n_dims = module->n_dims};
    double first = 0, loss = 0;
    run_func(&interp, module, PURPOSE_INIT, program, store, 0, NULL);
    for (int step = 0; step < program->steps; step++) {
        run_func(&interp, module, PURPOSE_TRAIN, program, store, step, &loss);
        first = step == 0 ? loss : first;
    }
    run_func(&interp, module, PURPOSE_EVAL, program, store, 0, &loss);
    run_func(&interp, module, PURPOSE_INFER, program, store, 0, NULL);
    print_message("%-18s loss %g -> %g\n", program->name, first, loss);
    assert_true(loss < first * program->falls);
    for (int i = 0; i < store->count; i++) {
        store->names[i] = strdup(store->names[i]);
    }
    context_finish(&context);
}

static void store_free(Store *store) {
    for (int i = 0; i < store->count; i++) {
        eval_tensor_finish(&store->values[i], NULL);
        free((void *)(uintptr_t)store->names[i]);
    }
    free(store);
}

static void programs_train(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        Store *store = calloc(1, sizeof(Store));
        train_program(&programs[i], NULL, store);
        store_free(store);
    }
}

/* The mean gradient over equal parts of the batch is the gradient over the batch. */
static void accumulation_changes_nothing(void **state) {
    (void)state;
    const Program program = {"torch_example.dl", {{0}}, 0, {6}, 3, 0.05, 1.0};
    const Edit edit = {"batch 32", "batch 32; accumulate 3"};
    Store *whole = calloc(1, sizeof(Store)), *parts = calloc(1, sizeof(Store));
    train_program(&program, NULL, whole);
    train_program(&program, &edit, parts);
    assert_int_equal(whole->count, parts->count);
    for (int i = 0; i < whole->count; i++) {
        const EvalTensor *other = store_find(parts, whole->names[i]);
        assert_non_null(other);
        for (int64_t k = 0; k < whole->values[i].n; k++) {
            assert_true(fabs(whole->values[i].f[k] - other->f[k]) < 1e-6);
        }
    }
    store_free(whole);
    store_free(parts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_lower),
        cmocka_unit_test(signatures_hold),
        cmocka_unit_test(programs_train),
        cmocka_unit_test(accumulation_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
