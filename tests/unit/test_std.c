/* The library against independent references. Each tests/std/x.dl is compiled and its infer and
 * training steps are run by the interpreter in f64; tests/std/x.expect (made by expect.py, which
 * computes the same in NumPy from the published formulas) holds the results. Inputs, parameters,
 * state and slots get numbers that follow from their names and the flat index, in both. */
#include "frontend/frontend.h"
#include "ir/base/file.h"
#include "ir/interp.h"
#include "passes/pass.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { DIM_VALUE = 3, STEP = 4, LABELS = 5 };

static const char *source_root(void) {
    const char *root = getenv("DLC_SOURCE_ROOT");
    return root ? root : ".";
}

static int name_phase(const char *name) {
    int sum = 0;
    for (const char *c = name; *c; c++) {
        sum += (unsigned char)*c;
    }
    return sum % 17;
}

static double pattern(const FuncArg *arg, int64_t index) {
    double wave = sin(0.37 * (double)index + 1.3 * name_phase(arg->name) + 0.2);
    bool positive = arg->role == ARG_SLOT || arg->role == ARG_STATE;
    return positive ? 0.6 + 0.3 * wave : 0.5 * wave;
}

static double scalar_value(const char *name) {
    if (strcmp(name, "step") == 0) {
        return STEP;
    }
    if (strcmp(name, "steps") == 0) {
        return 20;
    }
    if (strcmp(name, "steps_per_epoch") == 0) {
        return 2;
    }
    return strcmp(name, "seed") == 0 || strcmp(name, "epoch") == 0 ? 1 : NAN;
}

static EvalTensor make_arg(const Func *func, int32_t index, const int64_t *dims, int32_t n_dims) {
    Type type = func->body->args[index]->type;
    const FuncArg *arg = &func->args[index];
    int64_t shape[TYPE_MAX_RANK];
    for (int32_t k = 0; k < type.rank; k++) {
        assert_true(size_eval(type.dims[k], dims, n_dims, &shape[k]));
    }
    EvalTensor tensor;
    assert_int_equal(eval_tensor_init(&tensor, type.dtype, type.rank, shape, NULL), DLC_OK);
    for (int64_t i = 0; i < tensor.n; i++) {
        double value = arg->role == ARG_SCALAR ? scalar_value(arg->name) : pattern(arg, i);
        if (tensor.f) {
            tensor.f[i] = value;
        } else if (arg->role == ARG_SCALAR) {
            tensor.i[i] = (int64_t)value;
        } else {
            tensor.i[i] = type.dtype == DT_BOOL ? i % 3 != 0 : (i * 7 + 3) % LABELS;
        }
    }
    return tensor;
}

/* One line of the expectations: `infer NAME v0 v1 …` or `train NAME v0 v1 …`. */
static void compare_line(const char *file, char *line, Func *func, const EvalTensor *results) {
    char *save = NULL;
    strtok_r(line, " ", &save);
    const char *name = strtok_r(NULL, " ", &save);
    int32_t found = -1;
    for (int32_t i = 0; i < func->n_results; i++) {
        if (strcmp(func->results[i].name, name) == 0) {
            found = i;
        }
    }
    if (found < 0) {
        fail_msg("%s: no result '%s' in %s", file, name, func->name);
    }
    const EvalTensor *have = &results[found];
    int64_t count = 0;
    for (char *word; (word = strtok_r(NULL, " ", &save)); count++) {
        double want = strtod(word, NULL);
        double got = count < have->n ? (have->f ? have->f[count] : (double)have->i[count]) : NAN;
        if (!(fabs(got - want) <= 2e-6 * (1 + fabs(want)))) {
            fail_msg("%s: %s %s[%lld] is %.9g, not %.9g", file, func->name, name, (long long)count,
                     got, want);
        }
    }
    assert_int_equal(count, have->n);
}

static void run_func(Context *context, const char *file, Func *func, char *expected,
                     const char *prefix) {
    int64_t dims[16];
    for (int i = 0; i < 16; i++) {
        dims[i] = DIM_VALUE;
    }
    func_renumber(func);
    int32_t n_args = func->body->n_args;
    EvalTensor *tensors = calloc((size_t)n_args + 1, sizeof *tensors);
    const EvalTensor **args = calloc((size_t)n_args + 1, sizeof *args);
    EvalTensor *results = calloc((size_t)func->n_results + 1, sizeof *results);
    for (int32_t i = 0; i < n_args; i++) {
        tensors[i] = make_arg(func, i, dims, func->module->n_dims);
        args[i] = &tensors[i];
    }
    Interp interp = {
        .context = context, .dim_values = dims, .n_dims = func->module->n_dims, .wide = true};
    if (interp_run(&interp, func, args, results) != DLC_OK) {
        fail_msg("%s: %s: %s", file, func->name, interp.message);
    }
    size_t length = strlen(prefix);
    char *save = NULL;
    for (char *line = strtok_r(expected, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, prefix, length) == 0) {
            compare_line(file, line, func, results);
        }
    }
    for (int32_t i = 0; i < n_args; i++) {
        eval_tensor_finish(&tensors[i], NULL);
    }
    for (int32_t i = 0; i < func->n_results; i++) {
        eval_tensor_finish(&results[i], NULL);
    }
    free(tensors);
    free(args);
    free(results);
}

static char *read_text(const char *name, const char *ending) {
    char path[1024], message[FILE_MESSAGE_BYTES];
    snprintf(path, sizeof path, "%s/tests/std/%s%s", source_root(), name, ending);
    FileView view;
    if (file_view_open(path, &view, message) != DLC_OK) {
        fail_msg("%s", message);
    }
    char *text = strndup((const char *)view.data, view.size);
    file_view_close(&view);
    return text;
}

static void run_case(void **state) {
    const char *name = *state;
    Boundary boundary = {0};
    Context context;
    char *text = read_text(name, ".dl"), *expected = read_text(name, ".expect");
    if (setjmp(boundary.jump)) {
        fail_msg("%s: the compile was left with status %d", name, (int)boundary.status);
    }
    context_init(&context, NULL, &boundary);
    FrontendOptions options = {.source = context_source(&context, name, text, strlen(text), false),
                               .default_float = DT_F32};
    Module *module = frontend_compile(&context, &options);
    for (size_t i = 0; !module && i < context.diags.count; i++) {
        Str out;
        str_init(&out, NULL);
        diag_print(context.diags.items[i], &out, false);
        print_message("%s", str_text(&out));
        str_finish(&out);
    }
    assert_non_null(module);
    Arena scratch;
    arena_init(&scratch, NULL, &boundary);
    for (Func *func = module->first; func; func = func->next) {
        bool trains = func->purpose == PURPOSE_TRAIN;
        if (!trains && func->purpose != PURPOSE_INFER) {
            continue;
        }
        PassContext pass = {.context = &context, .scratch = &scratch};
        pass_differentiate(&pass, func);
        char *copy = strdup(expected);
        run_func(&context, name, func, copy, trains ? "train " : "infer ");
        free(copy);
    }
    arena_finish(&scratch);
    context_finish(&context);
    free(text);
    free(expected);
}

int main(void) {
    static char activations[] = "activations", losses[] = "losses", norms[] = "norms",
                convolutions[] = "convolutions", pooling[] = "pooling", recurrent[] = "recurrent",
                attention[] = "attention";
    static char sgd[] = "sgd", adam[] = "adam", adamw[] = "adamw", rmsprop[] = "rmsprop",
                adagrad[] = "adagrad", adadelta[] = "adadelta", adamax[] = "adamax",
                nadam[] = "nadam", radam[] = "radam", lamb[] = "lamb", lion[] = "lion";
    static char schedules[] = "schedules", boxes[] = "boxes";
    struct CMUnitTest tests[] = {
#define CASE(name) {#name, run_case, NULL, NULL, name}
        CASE(activations), CASE(losses),    CASE(norms),    CASE(convolutions), CASE(pooling),
        CASE(recurrent),   CASE(attention), CASE(sgd),      CASE(adam),         CASE(adamw),
        CASE(rmsprop),     CASE(adagrad),   CASE(adadelta), CASE(adamax),       CASE(nadam),
        CASE(radam),       CASE(lamb),      CASE(lion),     CASE(schedules),    CASE(boxes),
#undef CASE
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
