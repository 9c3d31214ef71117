/* Exchanges through the whole compiler: every program of IR text below, one rank's, is run by the
 * reference interpreter of all ranks and as a plan by a session of as many, on one to eight ranks
 * with rows for some, all or none of them, and gives the same bits. */
#include "dlc/dlc.h"
#include "ir/interp.h"
#include "tests/unit/api.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST_RANKS = 8, MOST_TENSORS = 6 };

typedef struct Case {
    const char *name, *text;
    int model; /* ranks of the second axis; 1: the mesh has none */
} Case;

#define HEAD                                                                                       \
    "module \"m\" {\n    mesh data = *\n    dim B in 0.. = 5\n"                                    \
    "    dim B.data is piece of B over \"data\"\n"                                                 \
    "    dim B.data.first is first of B over \"data\"\n"                                           \
    "    dim six.data is piece of 6 over \"data\"\n"                                               \
    "    dim data.rank is rank over \"data\"\n    dim data.ranks is ranks over \"data\"\n}\n\n"    \
    "func \"m.infer\" infer has sharded (\n"                                                       \
    "    %0: f64[B.data, 6] = input \"x\" of f64[B, 6] cut 0 (1, B, 1) over \"data\",\n"           \
    "    %1: f64[6] = input \"w\"\n) {\n"
#define ROWS_OUT "of f64[B, 6] cut 0 (1, B, 1) over \"data\""

static const Case cases[] = {
    {"sums of several, and a rank's own numbers",
     HEAD "    %2 = reduce_sum %0 {axes = [0]} : f64[6]\n"
          "    %3 = size {value = B.data, dtype = i64} : i64[]\n"
          "    %4 = size {value = B.data.first + 10*data.rank, dtype = i64} : i64[]\n"
          "    %5, %6, %7 = all_reduce %2, %3, %4 {combine = \"add\", over = \"data\"} : f64[6], "
          "i64[], i64[]\n"
          "    %8 = cast %6 {dtype = f64} : f64[]\n    %9 = cast %7 {dtype = f64} : f64[]\n"
          "    %10 = mul %0, %0 : f64[B.data, 6]\n"
          "    yield %5, %8, %9, %10\n} -> (\n    output \"s\",\n    output \"n\",\n"
          "    output \"p\",\n    output \"y\" " ROWS_OUT "\n)\n",
     1},
    {"greatest, least and product",
     HEAD
     "    %2 = reduce_max %0 {axes = [0]} : f64[6]\n"
     "    %3 = all_reduce %2 {combine = \"max\", over = \"data\"} : f64[6]\n"
     "    %4 = add %1, %2 : f64[6]\n"
     "    %5 = all_reduce %4 {combine = \"min\", over = \"data\"} : f64[6]\n"
     "    %6 = all_reduce %1 {combine = \"mul\", over = \"data\"} : f64[6]\n"
     "    yield %3, %5, %6\n} -> (\n    output \"a\",\n    output \"b\",\n    output \"c\"\n)\n",
     1},
    {"all rows, and each its own of what all have",
     HEAD
     "    %2 = all_gather %0 {axis = [0], size = [B], rows = [B], over = \"data\"} : f64[B, 6]\n"
     "    %3 = reduce_scatter %2 {axis = [0], size = [B.data], rows = [B], over = \"data\"} : "
     "f64[B.data, 6]\n"
     "    %4 = transpose %0 {permutation = [1, 0]} : f64[6, B.data]\n"
     "    %5 = all_gather %4 {axis = [1], size = [B], rows = [B], over = \"data\"} : f64[6, B]\n"
     "    yield %2, %3, %5\n} -> (\n    output \"all\",\n    output \"own\" " ROWS_OUT
     ",\n    output \"turned\"\n)\n",
     1},
    {"rows for columns and back",
     HEAD "    %2 = all_to_all %0 {axis = 0, size = B, rows = B, split = 1, split_size = six.data, "
          "split_rows = 6, over = \"data\"} : f64[B, six.data]\n"
          "    %3 = mul %2, %2 : f64[B, six.data]\n"
          "    %4 = all_to_all %3 {axis = 1, size = 6, rows = 6, split = 0, split_size = B.data, "
          "split_rows = B, over = \"data\"} : f64[B.data, 6]\n"
          "    yield %2, %4\n} -> (\n    output \"columns\" of f64[B, 6] cut 1 (1, 6, 1) over "
          "\"data\",\n    output \"rows\" " ROWS_OUT "\n)\n",
     1},
    {"round the ranks",
     HEAD "    %2 = size {value = data.rank, dtype = f64} : f64[]\n"
          "    %3 = broadcast %2 {shape = [6], axes = []} : f64[6]\n    %4 = add %1, %3 : f64[6]\n"
          "    %5 = shift %4 {by = 1, over = \"data\"} : f64[6]\n"
          "    %6 = shift %4 {by = -2, over = \"data\"} : f64[6]\n    %7 = mul %5, %4 : f64[6]\n"
          "    %8 = add %7, %6 : f64[6]\n"
          "    %9 = mul %8, %3 : f64[6]\n"
          "    %10 = all_reduce %9 {combine = \"add\", over = \"data\"} : f64[6]\n"
          "    yield %10\n} -> (\n    output \"y\"\n)\n",
     1},
    {"in a loop",
     HEAD "    %2 = reduce_sum %0 {axes = [0]} : f64[6]\n"
          "    %3 = scan %2 {length = 3, carries = 1, reverse = false} : f64[6] "
          "(%4: i32[], %5: f64[6]) {\n"
          "        %6 = mul %5, %1 : f64[6]\n"
          "        %7 = all_reduce %6 {combine = \"add\", over = \"data\"} : f64[6]\n"
          "        yield %7\n    }\n"
          "    yield %3\n} -> (\n    output \"y\"\n)\n",
     1},
    {"what is kept is cut too",
     "module \"m\" {\n    mesh data = *\n    dim B in 0.. = 5\n"
     "    dim six.data is piece of 6 over \"data\"\n}\n\n"
     "func \"m.infer\" infer has sharded (\n"
     "    %0: f64[six.data] = param \"w\" of f64[6] cut 0 (1, 6, 1) over \"data\",\n"
     "    %1: f64[4, six.data] = slot \"w#m\" of f64[4, 6] cut 1 (1, 6, 1) over \"data\",\n"
     "    %2: f64[6] = input \"g\"\n) {\n"
     "    %3 = reduce_scatter %2 {axis = [0], size = [six.data], rows = [6], over = \"data\"} : "
     "f64[six.data]\n"
     "    %4 = all_gather %0 {axis = [0], size = [6], rows = [6], over = \"data\"} : f64[6]\n"
     "    %5 = add %0, %3 : f64[six.data]\n    %6 = mul %1, %1 : f64[4, six.data]\n"
     "    yield %5, %6, %4\n} -> (\n"
     "    store %0 of f64[6] cut 0 (1, 6, 1) over \"data\",\n"
     "    store %1 of f64[4, 6] cut 1 (1, 6, 1) over \"data\",\n    output \"old\"\n)\n",
     1},
    {"several along other axes at once",
     HEAD "    %2 = transpose %0 {permutation = [1, 0]} : f64[6, B.data]\n"
          "    %3 = mul %2, %2 : f64[6, B.data]\n"
          "    %4, %5 = all_gather %0, %3 {axis = [0, 1], size = [B, B], rows = [B, B], over = "
          "\"data\"} : f64[B, 6], f64[6, B]\n"
          "    %6 = transpose %5 {permutation = [1, 0]} : f64[B, 6]\n"
          "    %7 = add %4, %6 : f64[B, 6]\n"
          "    %8, %9 = reduce_scatter %5, %7 {axis = [1, 0], size = [B.data, B.data], rows = [B, "
          "B], over = \"data\"} : f64[6, B.data], f64[B.data, 6]\n"
          "    %10 = transpose %8 {permutation = [1, 0]} : f64[B.data, 6]\n"
          "    yield %4, %5, %9, %10\n} -> (\n    output \"all\",\n    output \"turned\",\n"
          "    output \"own\" " ROWS_OUT ",\n    output \"other\" " ROWS_OUT "\n)\n",
     1},
    {"beside work",
     HEAD "    %2 = reduce_sum %0 {axes = [0]} : f64[6]\n"
          "    %3 = all_reduce %2 {combine = \"add\", over = \"data\"} : f64[6]\n"
          "    %4 = reduce_max %0 {axes = [0]} : f64[6]\n"
          "    %5 = all_reduce %4 {combine = \"max\", over = \"data\"} : f64[6]\n"
          "    %6 = all_gather %0 {axis = [0], size = [B], rows = [B], over = \"data\"} : f64[B, "
          "6]\n"
          "    %7 = reduce_min %0 {axes = [0]} : f64[6]\n"
          "    %8 = all_reduce %7 {combine = \"min\", over = \"data\"} : f64[6]\n"
          "    %9 = mul %0, %0 : f64[B.data, 6]\n"
          "    %10 = reduce_sum %9 {axes = [0]} : f64[6]\n"
          "    %11 = mul %10, %3 : f64[6]\n    %12 = sub %5, %8 : f64[6]\n"
          "    %13 = reduce_sum %6 {axes = [0]} : f64[6]\n    %14 = add %12, %13 : f64[6]\n"
          "    yield %3, %14, %6, %9\n} -> (\n    output \"s\",\n    output \"d\",\n"
          "    output \"all\",\n    output \"own\" " ROWS_OUT "\n)\n",
     1},
    {"beside work, in a loop and behind it",
     HEAD "    %2 = reduce_sum %0 {axes = [0]} : f64[6]\n"
          "    %3 = all_reduce %2 {combine = \"add\", over = \"data\"} : f64[6]\n"
          "    %4, %5 = scan %2, %1 {length = 4, carries = 2, reverse = false} : f64[6], f64[6] "
          "(%6: i32[], %7: f64[6], %8: f64[6]) {\n"
          "        %9 = mul %7, %1 : f64[6]\n"
          "        %10 = all_reduce %9 {combine = \"max\", over = \"data\"} : f64[6]\n"
          "        %11 = reduce_sum %8 {axes = [0]} : f64[]\n"
          "        %14 = broadcast %11 {shape = [6], axes = []} : f64[6]\n"
          "        %12 = sub %14, %8 : f64[6]\n"
          "        yield %10, %12\n    }\n"
          "    %13 = add %3, %5 : f64[6]\n"
          "    yield %4, %13\n} -> (\n    output \"y\",\n    output \"z\"\n)\n",
     1},
    {"two axes of ranks",
     "module \"m\" {\n    mesh data = *\n    mesh model = 2\n    dim B in 0.. = 5\n"
     "    dim B.data is piece of B over \"data\"\n    dim B.all is piece of B over "
     "\"data,model\"\n}\n\n"
     "func \"m.infer\" infer has sharded (\n"
     "    %0: f64[B.data, 3] = input \"x\" of f64[B, 6] cut 0 (1, B, 1) over \"data\" cut 1 (1, 6, "
     "1) over \"model\",\n"
     "    %1: f64[B.all] = input \"v\" of f64[B] cut 0 (1, B, 1) over \"data,model\"\n) {\n"
     "    %2 = reduce_sum %0 {axes = [0, 1]} : f64[]\n"
     "    %3 = all_reduce %2 {combine = \"add\", over = \"data\"} : f64[]\n"
     "    %4 = all_reduce %3 {combine = \"add\", over = \"model\"} : f64[]\n"
     "    %5 = all_reduce %2 {combine = \"add\", over = \"data,model\"} : f64[]\n"
     "    %6 = all_gather %0 {axis = [1], size = [6], rows = [6], over = \"model\"} : f64[B.data, "
     "6]\n"
     "    %7 = all_gather %1 {axis = [0], size = [B], rows = [B], over = \"data,model\"} : f64[B]\n"
     "    yield %4, %5, %6, %7, %0\n} -> (\n    output \"a\",\n    output \"b\",\n"
     "    output \"rows\" " ROWS_OUT ",\n    output \"all\",\n"
     "    output \"x\" of f64[B, 6] cut 0 (1, B, 1) over \"data\" cut 1 (1, 6, 1) over "
     "\"model\"\n)\n",
     2},
};

static double element(int32_t argument, int64_t i) {
    return (double)((i * 7919 + argument * 104729 + 13) % 65 - 32) / 8; /* sums of few are exact */
}

/* -- whole tensors and parts, one element at a time */

/* The position along one axis of the whole of position `i` of a rank's part: rows are dealt out one
 * by one. */
static int64_t whole_position(const MeshShape *shape, const AxisCut *cut, int64_t rows,
                              int64_t rank, int64_t i) {
    int64_t n = 1, own = 0;
    for (int32_t a = 0; a < shape->n_axes; a++) {
        int64_t stride = 1;
        for (int32_t b = a + 1; b < shape->n_axes; b++) {
            stride *= shape->sizes[b];
        }
        if (cut->group >> a & 1) {
            n *= shape->sizes[a];
            own = own * shape->sizes[a] + rank / stride % shape->sizes[a];
        }
    }
    int64_t first = 0;
    for (int64_t r = 0; r < own; r++) {
        first += (rows + n - 1 - r) / n;
    }
    return first + i;
}

static int64_t concrete(const Size *size, int64_t rows) {
    int64_t values[16] = {rows}, value = -1;
    assert_true(size_eval(size, values, 16, &value));
    return value;
}

/* The place in the whole tensor of element `flat` of the rank's part. */
static int64_t whole_index(const Sharding *sharding, const MeshShape *shape, int64_t rows,
                           int64_t rank, const EvalTensor *part, int64_t flat) {
    int64_t index = 0, position[TYPE_MAX_RANK] = {0};
    for (int32_t a = part->rank - 1; a >= 0; a--) {
        position[a] = flat % part->dims[a];
        flat /= part->dims[a];
    }
    for (int32_t a = 0; a < part->rank; a++) {
        int64_t size = sharding ? concrete(sharding->whole.dims[a], rows) : part->dims[a];
        int64_t at = position[a];
        for (int32_t c = 0; sharding && c < sharding->n_cuts; c++) {
            const AxisCut *cut = &sharding->cuts[c];
            if (cut->axis == a) {
                at = whole_position(shape, cut, concrete(cut->rows, rows), rank, at);
            }
        }
        index = index * size + at;
    }
    return index;
}

/* -- both ways */

typedef struct Trial {
    const Case *c;
    Func *func;
    MeshShape shape;
    int64_t n, rows;
    EvalTensor args[MOST_RANKS][MOST_TENSORS], results[MOST_RANKS][MOST_TENSORS];
} Trial;

static void interpret(Trial *t, Context *ir, Module *module) {
    const EvalTensor *lists[MOST_RANKS][MOST_TENSORS];
    const EvalTensor *const *args[MOST_RANKS];
    EvalTensor *results[MOST_RANKS];
    for (int64_t r = 0; r < t->n; r++) {
        int64_t values[16] = {t->rows};
        assert_true(mesh_bind(module, &t->shape, r, values));
        for (int32_t a = 0; a < t->func->body->n_args; a++) {
            Type type = t->func->body->args[a]->type;
            int64_t dims[TYPE_MAX_RANK];
            for (int32_t k = 0; k < type.rank; k++) {
                assert_true(size_eval(type.dims[k], values, 16, &dims[k]));
            }
            EvalTensor *arg = &t->args[r][a];
            assert_int_equal(eval_tensor_init(arg, type.dtype, type.rank, dims, NULL), DLC_OK);
            for (int64_t i = 0; i < arg->n; i++) {
                arg->f[i] = element(
                    a, whole_index(t->func->args[a].sharding, &t->shape, t->rows, r, arg, i));
            }
            lists[r][a] = arg;
        }
        args[r] = lists[r];
        results[r] = t->results[r];
    }
    InterpRanks run = {.context = ir, .shape = t->shape, .dim_values = &t->rows, .n_dims = 1};
    if (interp_run_ranks(&run, t->func, args, results) != DLC_OK) {
        fail_msg("%s: interpreter: %s", t->c->name, run.message);
    }
}

static void set_arguments(const Trial *t, dlc_context *context, dlc_session *session) {
    for (int32_t a = 0; a < t->func->body->n_args; a++) {
        const FuncArg *arg = &t->func->args[a];
        Type whole = arg->sharding ? arg->sharding->whole : t->func->body->args[a]->type;
        int64_t dims[TYPE_MAX_RANK], n = 1;
        for (int32_t k = 0; k < whole.rank; k++) {
            dims[k] = concrete(whole.dims[k], t->rows);
            n *= dims[k];
        }
        double *data = malloc((size_t)(n + 1) * sizeof(*data));
        assert_non_null(data);
        for (int64_t i = 0; i < n; i++) {
            data[i] = element(a, i);
        }
        DLTensor tensor = api_tensor(data, whole.rank, dims, kDLFloat, 64);
        if (arg->role == ARG_INPUT) {
            OK(context, dlc_set_input(session, NULL, arg->name, &tensor));
        } else {
            OK(context, dlc_set_variable(session, arg->name, &tensor));
        }
        free(data);
    }
}

/* Every element of every rank's part is where it belongs, and all of the whole are someone's. */
static void expect(const Trial *t, int32_t result, const DLTensor *got) {
    const Sharding *sharding = t->func->results[result].sharding;
    const double *values = got->data;
    int64_t n = 1;
    for (int32_t a = 0; a < got->ndim; a++) {
        n *= got->shape[a];
    }
    bool *met = calloc((size_t)n + 1, 1);
    assert_non_null(met);
    for (int64_t r = 0; r < t->n; r++) {
        const EvalTensor *want = &t->results[r][result];
        assert_int_equal(got->ndim, want->rank);
        for (int64_t i = 0; i < want->n; i++) {
            int64_t at = whole_index(sharding, &t->shape, t->rows, r, want, i);
            assert_in_range(at, 0, n - 1);
            if (memcmp(&values[at], &want->f[i], sizeof(double)) != 0) {
                fail_msg("%s, %lld ranks, %lld rows: result %d of rank %lld at %lld: %.17g, "
                         "not %.17g",
                         t->c->name, (long long)t->n, (long long)t->rows, (int)result, (long long)r,
                         (long long)i, values[at], want->f[i]);
            }
            met[at] = true;
        }
    }
    for (int64_t i = 0; i < n; i++) {
        assert_true(met[i]);
    }
    free(met);
}

static void run_plan(const Trial *t, dlc_context *context, dlc_plan *plan) {
    char device[16];
    dlc_session *session = NULL;
    snprintf(device, sizeof(device), "cpu*%d", (int)t->n);
    dlc_session_options options = {
        .struct_size = sizeof(options), .device = device, .poison = t->rows == 5 ? 1 : 0};
    OK(context, dlc_session_create(plan, &options, &session));
    for (int again = 0; again < 2; again++) {
        set_arguments(t, context, session);
        OK(context, dlc_run(session, NULL));
        for (int32_t r = 0; r < t->func->n_results; r++) {
            const DLTensor *got;
            const FuncResult *result = &t->func->results[r];
            if (result->role == RESULT_STORE) {
                const char *name = t->func->args[result->arg].name;
                OK(context, dlc_view_variable(session, name, &got));
            } else {
                OK(context, dlc_view_output(session, NULL, result->name, &got));
            }
            expect(t, r, got);
        }
    }
    dlc_session_destroy(session);
}

static void run_case(const Case *c, dlc_context *context, dlc_plan *plan, int64_t n, int64_t rows) {
    Context ir;
    Boundary boundary = {.status = DLC_OK};
    if (setjmp(boundary.jump) != 0) {
        fail_msg("%s: left through the boundary", c->name);
    }
    context_init(&ir, NULL, &boundary);
    Module *module =
        module_parse(&ir, context_source(&ir, c->name, c->text, strlen(c->text), false));
    assert_non_null(module);
    Trial t = {.c = c, .func = module->first, .n = n, .rows = rows};
    t.shape.n_axes = c->model > 1 ? 2 : 1;
    t.shape.sizes[0] = n / c->model;
    t.shape.sizes[1] = c->model;
    interpret(&t, &ir, module);
    run_plan(&t, context, plan);
    for (int64_t r = 0; r < n; r++) {
        for (int32_t k = 0; k < MOST_TENSORS; k++) {
            eval_tensor_finish(&t.args[r][k], NULL);
            eval_tensor_finish(&t.results[r][k], NULL);
        }
    }
    module_destroy(module);
    context_finish(&ir);
}

static dlc_plan *compile(dlc_context *context, const Case *c) {
    dlc_compile_options options = {.struct_size = sizeof(options),
                                   .flags = DLC_COMPILE_INPUT_IR | DLC_COMPILE_VERIFY_EACH};
    return api_compile(context, c->text, &options);
}

static void test_cases(void **state) {
    (void)state;
    static const int64_t rows[] = {5, 17, 1, 0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dlc_context *context;
        assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
        dlc_plan *plan = compile(context, &cases[i]);
        for (int64_t n = cases[i].model; n <= MOST_RANKS; n += cases[i].model) {
            for (int k = 0; k < 4; k++) {
                run_case(&cases[i], context, plan, n, rows[k]);
            }
        }
        dlc_plan_destroy(plan);
        dlc_context_destroy(context);
    }
}

/* Weights that are cut are one file: saved by three ranks, read by five and by one. */
static void test_weights(void **state) {
    (void)state;
    static const char path[] = "parallel_exchange_weights.safetensors";
    static const char *const devices[] = {"cpu*5", "cpu"};
    const Case *c = &cases[6];
    dlc_context *context;
    dlc_session *session = NULL;
    const DLTensor *view;
    double w[6] = {3, 1, 4, 1, 5, 9};
    int64_t shape[] = {6};
    assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
    dlc_plan *plan = compile(context, c);
    dlc_session_options options = {.struct_size = sizeof(options), .device = "cpu*3"};
    OK(context, dlc_session_create(plan, &options, &session));
    DLTensor tensor = api_tensor(w, 1, shape, kDLFloat, 64);
    OK(context, dlc_set_variable(session, "w", &tensor));
    OK(context, dlc_weights_save(session, path));
    dlc_session_destroy(session);
    for (int d = 0; d < 2; d++) {
        options.device = devices[d];
        OK(context, dlc_session_create(plan, &options, &session));
        OK(context, dlc_weights_load(session, path, NULL));
        OK(context, dlc_view_variable(session, "w", &view));
        assert_int_equal(view->shape[0], 6);
        assert_memory_equal(view->data, w, sizeof(w));
        dlc_session_destroy(session);
    }
    assert_int_equal(remove(path), 0);
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
}

/* An average that is cut while its parameter is whole: every other entry reads it, whole. */
static void test_average(void **state) {
    (void)state;
    static const Case c = {
        .name = "average",
        .text = "module \"m\" {\n    mesh data = *\n"
                "    dim six.data is piece of 6 over \"data\"\n}\n\n"
                "func \"m.train\" train has sharded (\n    %0: f64[6] = param \"w\",\n"
                "    %1: f64[six.data] = slot \"w#ema\" of f64[6] cut 0 (1, 6, 1) over \"data\",\n"
                "    %2: f64[6] = input \"g\"\n) {\n    %3 = add %0, %2 : f64[6]\n"
                "    %4 = mul %1, %1 : f64[six.data]\n    yield %3, %4\n} -> (\n    store %0,\n"
                "    store %1 of f64[6] cut 0 (1, 6, 1) over \"data\"\n)\n\n"
                "func \"m.infer\" infer has sharded (\n    %0: f64[6] = param \"w\"\n) {\n"
                "    %1 = add %0, %0 : f64[6]\n    yield %1\n} -> (\n    output \"y\"\n)\n"};
    for (int n = 1; n <= MOST_RANKS; n++) {
        for (int raw = 0; raw < 2; raw++) {
            dlc_context *context;
            dlc_session *session = NULL;
            const DLTensor *y;
            double w[6] = {1, 2, 3, 4, 5, 6}, ema[6] = {10, 20, 30, 40, 50, 60}, want[6];
            int64_t shape[] = {6};
            char device[16];
            snprintf(device, sizeof(device), "cpu*%d", n);
            assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
            dlc_plan *plan = compile(context, &c);
            dlc_session_options options = {
                .struct_size = sizeof(options), .device = device, .raw_weights = raw};
            OK(context, dlc_session_create(plan, &options, &session));
            DLTensor of_w = api_tensor(w, 1, shape, kDLFloat, 64);
            DLTensor of_ema = api_tensor(ema, 1, shape, kDLFloat, 64);
            OK(context, dlc_set_variable(session, "w", &of_w));
            OK(context, dlc_run(session, "infer")); /* the average begins at the parameter */
            OK(context, dlc_view_output(session, "infer", "y", &y));
            for (int i = 0; i < 6; i++) {
                assert_true(((const double *)y->data)[i] == 2 * w[i]);
            }
            OK(context, dlc_set_variable(session, "w#ema", &of_ema));
            OK(context, dlc_set_input(session, "train", "g", &of_w));
            for (int round = 0; round < 2; round++) {
                OK(context, dlc_run(session, "infer"));
                OK(context, dlc_view_output(session, "infer", "y", &y));
                for (int i = 0; i < 6; i++) {
                    double averaged = round ? ema[i] * ema[i] : ema[i];
                    want[i] = 2 * (raw ? (round ? 2 * w[i] : w[i]) : averaged);
                }
                assert_memory_equal(y->data, want, sizeof(want));
                OK(context, dlc_run(session, "train"));
            }
            dlc_session_destroy(session);
            dlc_plan_destroy(plan);
            dlc_context_destroy(context);
        }
    }
}

/* A number of ranks that the mesh does not admit: what would fit. */
static void test_misfits(void **state) {
    (void)state;
    dlc_context *context;
    dlc_session *session = NULL;
    assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
    dlc_plan *plan = compile(context, &cases[sizeof(cases) / sizeof(cases[0]) - 1]);
    dlc_session_options options = {.struct_size = sizeof(options), .device = "cpu*5"};
    assert_int_equal(dlc_session_create(plan, &options, &session), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(dlc_last_error(context),
                           "its mesh data=*, model=2 is of a multiple of 2 ranks, not of 5: 4 or "
                           "6 would fit (--device cpu*4; --mesh compiles it anew for another)"));
    options.device = "cpu";
    assert_int_equal(dlc_session_create(plan, &options, &session), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(dlc_last_error(context),
                           "at least 2 ranks, not of 1 (--device cpu*2; --mesh compiles"));
    static const char *const texts[] = {"cpu*0", "cpu*", "cpu*257", "cpu*2x", "*4", "cpu*-1"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        options.device = texts[i];
        assert_int_equal(dlc_session_create(plan, &options, &session), DLC_ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(dlc_last_error(context), "names no device and how many ranks"));
    }
    options.device = "cpu*4";
    OK(context, dlc_session_create(plan, &options, &session));
    assert_non_null(strstr(dlc_session_describe(session), "4 ranks, each cpu"));
    assert_int_equal(dlc_session_bind(session, "B.data", 2), DLC_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(dlc_last_error(context), "each rank's own"));
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_weights),
                                       cmocka_unit_test(test_average),
                                       cmocka_unit_test(test_misfits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
