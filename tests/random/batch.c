/* See batch.h. */
#include "tests/random/batch.h"
#include "passes/pass.h"
#include "tests/random/bytes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const Variant VARIANTS[N_VARIANTS] = {
    {"all passes", NULL, NULL},
    {"without fuse", "fuse", NULL},
    {"without fold, simplify, cse, dce", "fold,simplify,cse,dce", NULL},
    {"precision bf16", NULL, "bf16"},
    {"precision bf16 without fuse", "fuse", "bf16"},
};

void batch_init(Batch *batch) {
    memset(batch, 0, sizeof *batch);
    context_init(&batch->context, NULL, &batch->boundary);
    arena_init(&batch->scratch, NULL, &batch->boundary);
    str_init(&batch->text, NULL);
}

static void graph_free(Graph *graph) {
    for (int32_t i = 0; i < GRAPH_ARGS; i++) {
        eval_tensor_finish(&graph->args[i], NULL);
    }
    for (int32_t i = 0; i < GRAPH_RESULTS; i++) {
        eval_tensor_finish(&graph->wide[i], NULL);
        eval_tensor_finish(&graph->declared[i], NULL);
    }
    free(graph);
}

void batch_finish(Batch *batch) {
    for (int32_t i = 0; i < batch->n_graphs; i++) {
        graph_free(batch->graphs[i]);
    }
    str_finish(&batch->text);
    arena_finish(&batch->scratch);
    context_finish(&batch->context);
}

/* What derivatives are by: arguments, and values inside the graph. */
typedef struct Targets {
    Value *items[GRAPH_TARGETS];
    int32_t count;
} Targets;

static void add_target(Targets *targets, Value *value, int32_t most) {
    if (targets->count < most && dtype_is_float(value->type.dtype)) {
        targets->items[targets->count++] = value;
    }
}

static int64_t small_size(Type type) {
    int64_t n = 1;
    for (int32_t i = 0; i < type.rank; i++) {
        n *= size_nominal(type.dims[i], 8);
    }
    return n;
}

/* Moves every use of an inner value to its sum with a new argument: the derivative by the argument
 * is that by the sum, however the passes treat the latter. */
static Value *shift(Batch *batch, Func *func, Value *value) {
    const char *name = context_internf(&batch->context, "d%d", (int)func->body->n_args);
    Value *by = func_add_arg(func, ARG_INPUT, name, value->type, (Place){0});
    func_renumber(func);
    Value **map = ARENA_ARRAY(&batch->scratch, Value *, func->n_values + 1);
    Builder b = builder_before(value->op->next);
    Value *sum = b_add(&b, value, by);
    map[value->id] = sum;
    func_replace_values(func, map);
    op_set_operand(sum->op, 0, value);
    return by;
}

/* Shifts are by nothing: another value might leave the domain of what is made of it. */
static void shifts_clear(Graph *graph) {
    for (int32_t i = 0; i < graph->func->body->n_args; i++) {
        if (graph->func->args[i].name[0] == 'd') {
            EvalTensor *by = &graph->args[i];
            memset(by->f, 0, (size_t)by->n * sizeof(*by->f));
        }
    }
}

/* A few values of the body, chosen by the seed; every other one beside an argument that shifts it.
 */
static void choose_inner(Batch *batch, Graph *graph, const Value *loss, Targets *targets) {
    uint64_t state = graph->seed * 0x9E3779B97F4A7C15u;
    Func *func = graph->func;
    BLOCK_EACH_OP (func->body, op) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        Value *value = op->n_results > 0 ? op->results[state >> 40 & (op->n_results > 1)] : NULL;
        if (!value || value == loss || state >> 61 != 0 || !dtype_is_float(value->type.dtype) ||
            small_size(value->type) > 400) {
            continue;
        }
        if ((state >> 50 & 1) && graph->n_shifts < GRAPH_SHIFTS &&
            targets->count + 2 <= GRAPH_TARGETS && value->op->code != OP_constant) {
            graph->shifts[graph->n_shifts++] = targets->count;
            add_target(targets, shift(batch, func, value), GRAPH_TARGETS);
            op = op->next;
            value = op->results[0];
        }
        add_target(targets, value, GRAPH_TARGETS);
    }
}

static int32_t add_grads(Builder *b, Value *y, const Targets *targets, Value **out) {
    b_grad(b, y, targets->items, targets->count, out);
    return targets->count;
}

/* A rank-0 value that depends on every element of the values. */
static Value *weigh(Builder *b, Value *const *values, int32_t count) {
    Value *total = NULL;
    for (int32_t i = 0; i < count; i++) {
        int64_t axes[TYPE_MAX_RANK];
        for (int32_t k = 0; k < values[i]->type.rank; k++) {
            axes[k] = k;
        }
        Value *wave = b_unary(b, OP_sin, values[i]);
        Value *part =
            wave->type.rank > 0 ? b_reduce(b, OP_reduce_sum, wave, axes, wave->type.rank) : wave;
        total = total ? b_add(b, total, part) : part;
    }
    return total;
}

/* Turns a graph whose first result is a loss into one that also gives its derivatives. */
static void differentiate_loss(Batch *batch, Graph *graph, bool twice) {
    Func *func = graph->func;
    Op *yield = block_yield(func->body);
    Value *values[GRAPH_RESULTS];
    FuncResult results[GRAPH_RESULTS] = {0};
    Targets targets = {0};
    values[0] = yield->operands[0];
    op_unlink(yield);
    for (int32_t i = 0; i < func->body->n_args; i++) {
        add_target(&targets, func->body->args[i], 12);
    }
    choose_inner(batch, graph, values[0], &targets);
    Builder b = builder_at_end(func, func->body);
    int32_t n = add_grads(&b, values[0], &targets, values + 1);
    int32_t count = 1 + n;
    if (twice && n > 0) {
        Value *total = weigh(&b, values + 1, n);
        count += add_grads(&b, total, &targets, values + count);
    }
    graph->n_targets = n;
    for (int32_t i = 0; i < count; i++) {
        results[i] = (FuncResult){.role = RESULT_OUTPUT,
                                  .name = context_internf(&batch->context, "y%d", (int)i)};
    }
    func_set_results(func, results, values, count);
}

static void mark_product(Op *op, void *user) {
    if (op_has_precision(op) && op->operands[0]->type.dtype == DT_F32) {
        op_set_precision(op, user);
    }
}

/* Products of the batch's precision; the interpreter judges what the precision pass made. */
static void lower_precision(Batch *batch, Func *func) {
    char *precision = (char *)context_intern(&batch->context, batch->precision);
    const Machine machine = {.has_bf16 = true, .has_f16 = true};
    PassContext pass = {
        .context = &batch->context, .scratch = &batch->scratch, .machine = &machine};
    func_each_op(func, mark_product, precision);
    pass_precision(&pass, func);
}

static Func *add_graph(Batch *batch, Graph *graph, bool grads_among) {
    uint64_t seed = graph->seed;
    if (batch->source == GRAPHS_CASTS) {
        return random_casts(batch->module, seed);
    }
    if (batch->source == GRAPHS_ROWS) {
        return table_row(batch->module, seed);
    }
    RandomGraphOptions smooth = {
        .n_ops = 12, .smooth = true, .grads = grads_among, .dtypes = batch->dtypes};
    RandomGraphOptions plain = {.n_ops = seed % 4 == 0 ? 24 : 8, /* compiling takes the time */
                                .dtypes = batch->dtypes};
    if (batch->precision) {
        plain = (RandomGraphOptions){.n_ops = 24, .dtypes = 1u << DT_F32};
    }
    return random_graph(batch->module, seed, graph->has_grad ? &smooth : &plain);
}

Graph *batch_add(Batch *batch, uint64_t seed) {
    Graph *graph = calloc(1, sizeof *graph);
    if (!graph || batch->n_graphs == BATCH_MAX) {
        abort();
    }
    batch->graphs[batch->n_graphs++] = graph;
    if (batch->empty && batch->module->n_dims == 0) {
        random_add_dims(batch->module, 0);
    }
    graph->seed = seed;
    graph->source = batch->source;
    graph->has_grad = seed % 8 == 7 && !batch->precision && batch->source == GRAPHS_RANDOM;
    bool twice = seed % 16 == 15; /* the others have derivatives among their ops as well */
    graph->func = add_graph(batch, graph, !twice);
    if (graph->has_grad) {
        differentiate_loss(batch, graph, twice);
    }
    if (batch->precision) {
        lower_precision(batch, graph->func);
    }
    random_dims(batch->module, seed, graph->dims);
    return graph;
}

typedef struct Search {
    int32_t id;
    Value *found;
} Search;

static void visit_result(Op *op, void *user) {
    Search *search = user;
    for (int32_t i = 0; i < op->n_results; i++) {
        if (op->results[i]->id == search->id && op->parent && !op->parent->owner) {
            search->found = op->results[i];
        }
    }
}

bool graph_only(Graph *graph, int32_t value_id) {
    func_renumber(graph->func);
    Search search = {.id = value_id};
    func_each_op(graph->func, visit_result, &search);
    if (!search.found) {
        return false;
    }
    op_unlink(block_yield(graph->func->body));
    FuncResult result = {.role = RESULT_OUTPUT, .name = "y0"};
    func_set_results(graph->func, &result, &search.found, 1);
    return true;
}

static bool note(Outcome *outcome, int32_t result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool note(Outcome *outcome, int32_t result, const char *format, ...) {
    va_list args;
    va_start(args, format);
    outcome->verdict = VERDICT_BAD;
    outcome->result = result;
    vsnprintf(outcome->message, sizeof outcome->message, format, args);
    va_end(args);
    return false;
}

static bool evaluate(Batch *batch, Graph *graph, Outcome *outcome, bool wide, EvalTensor *out) {
    Interp interp = {
        .context = &batch->context, .dim_values = graph->dims, .n_dims = 2, .wide = wide};
    const EvalTensor *list[GRAPH_ARGS];
    for (int32_t i = 0; i < graph->func->body->n_args; i++) {
        list[i] = &graph->args[i];
    }
    if (interp_run(&interp, graph->func, list, out) != DLC_OK) {
        return note(outcome, -1, "the interpreter: %.400s", interp.message);
    }
    return true;
}

/* Derivatives are all in f64: rounding only, though second derivatives carry it further. */
static bool grads_close(const EvalTensor *wide, const EvalTensor *got, int64_t *out_index) {
    double scale = 1;
    for (int64_t i = 0; wide->f && i < wide->n; i++) {
        scale = fmax(scale, fabs(wide->f[i]));
    }
    for (int64_t i = 0; i < got->n; i++) {
        bool good = got->f ? fabs(got->f[i] - wide->f[i]) <= 1e-9 * scale ||
                                 (isnan(got->f[i]) && isnan(wide->f[i])) || got->f[i] == wide->f[i]
                           : got->i[i] == wide->i[i];
        if (!good) {
            *out_index = i;
            return false;
        }
    }
    return true;
}

/* Whether the derivatives by an inner value are those by the argument that shifts it, and all are
 * numbers. */
static bool grads_sound(const Graph *graph, Outcome *outcome) {
    for (int32_t i = 0; graph->has_grad && i < graph->func->n_results; i++) {
        for (int64_t k = 0; k < graph->wide[i].n; k++) {
            if (!isfinite(graph->wide[i].f[k])) {
                return note(outcome, i, "result %d, element %lld is %g", (int)i, (long long)k,
                            graph->wide[i].f[k]);
            }
        }
    }
    for (int32_t i = 0; i < graph->n_shifts; i++) {
        for (int32_t at = 1 + graph->shifts[i]; at + 1 < graph->func->n_results;
             at += graph->n_targets) {
            const EvalTensor *shifted = &graph->wide[at], *inner = &graph->wide[at + 1];
            int64_t k = 0;
            if (!grads_close(shifted, inner, &k)) {
                return note(outcome, at + 1,
                            "element %lld: %.9g by an inner value, %.9g by a shift", (long long)k,
                            inner->f[k], shifted->f[k]);
            }
        }
    }
    return true;
}

static bool make_args(Graph *graph) {
    switch (graph->source) {
    case GRAPHS_CASTS:
        return random_casts_args(graph->func, graph->seed, graph->dims, 2, graph->args);
    case GRAPHS_ROWS:
        return table_rows_args(graph->func, graph->dims, 2, graph->args);
    case GRAPHS_RANDOM:
        break;
    }
    return random_args(graph->func, graph->seed, graph->dims, 2, !graph->has_grad, graph->args);
}

bool batch_evaluate(Batch *batch, Outcome *outcomes) {
    bool good = true;
    module_print(batch->module, &batch->text);
    for (int32_t i = 0; i < batch->n_graphs; i++) {
        Graph *graph = batch->graphs[i];
        if (graph->func->body->n_args > GRAPH_ARGS || graph->func->n_results > GRAPH_RESULTS) {
            good = note(&outcomes[i], -1, "too many arguments or results for this test");
            continue;
        }
        if (graph->has_grad) {
            PassContext pass = {.context = &batch->context, .scratch = &batch->scratch};
            pass_differentiate(&pass, graph->func);
        }
        graph->coarsest = random_coarsest(graph->func);
        if (!make_args(graph)) {
            good = note(&outcomes[i], -1, "no arguments");
            continue;
        }
        shifts_clear(graph);
        good = evaluate(batch, graph, &outcomes[i], true, graph->wide) &&
               evaluate(batch, graph, &outcomes[i], false, graph->declared) &&
               grads_sound(graph, &outcomes[i]) && good;
    }
    return good;
}

static bool results_close(const Graph *graph, const EvalTensor *wide, const EvalTensor *declared,
                          const EvalTensor *got, int64_t *out_index) {
    if (graph->source == GRAPHS_CASTS) {
        return random_casts_equal(declared, got, out_index);
    }
    if (graph->source == GRAPHS_ROWS) {
        return table_rows_close(graph->func, declared, got, out_index);
    }
    return graph->has_grad ? grads_close(wide, got, out_index)
                           : random_close(wide, declared, got, graph->coarsest, out_index);
}

/* Of a row of scalar.def: its name and what its operands were at the element. */
static void tell_operands(const Graph *graph, int32_t index, int64_t at, char *text, size_t size) {
    const Op *op = block_yield(graph->func->body)->operands[index]->op;
    int used = snprintf(text, size, "; %s of", op_info(op->code)->name);
    for (int32_t k = 0; k < op->n_operands; k++) {
        const EvalTensor *arg = &graph->args[op->operands[k]->index];
        double value = arg->f ? arg->f[at] : (double)arg->i[at];
        used += snprintf(text + used, size - (size_t)used, " %.17g", value);
    }
}

static bool compare(const Graph *graph, int32_t index, const DLTensor *tensor, Outcome *outcome) {
    const EvalTensor *wide = &graph->wide[index], *declared = &graph->declared[index];
    EvalTensor got = {0};
    if (eval_tensor_init(&got, declared->dtype, declared->rank, declared->dims, NULL) != DLC_OK) {
        return note(outcome, -1, "out of memory");
    }
    int64_t at = 0;
    bool good = true;
    if (!bytes_read(tensor, &got)) {
        good = note(outcome, index, "result %d has another type or shape", (int)index);
    } else if (!results_close(graph, wide, declared, &got, &at)) {
        double expected = wide->f ? wide->f[at] : (double)wide->i[at];
        double rounded = declared->f ? declared->f[at] : (double)declared->i[at];
        double value = got.f ? got.f[at] : (double)got.i[at];
        char operands[128] = "";
        if (graph->source == GRAPHS_ROWS) {
            tell_operands(graph, index, at, operands, sizeof operands);
        }
        good =
            note(outcome, index,
                 "result %d (%s, %lld elements), element %lld: expected %.9g (%.9g in f64), "
                 "got %.9g; B = %lld, T = %lld%s",
                 (int)index, dtype_name(got.dtype), (long long)got.n, (long long)at, rounded,
                 expected, value, (long long)graph->dims[0], (long long)graph->dims[1], operands);
    }
    eval_tensor_finish(&got, NULL);
    return good;
}

static dlc_status set_arguments(dlc_session *session, const Graph *graph) {
    dlc_status status = DLC_OK;
    for (int32_t i = 0; i < graph->func->body->n_args && status == DLC_OK; i++) {
        const EvalTensor *arg = &graph->args[i];
        int64_t shape[TYPE_MAX_RANK];
        memcpy(shape, arg->dims, sizeof shape);
        DLTensor tensor = {.data = bytes_of(arg),
                           .device = {kDLCPU, 0},
                           .ndim = arg->rank,
                           .dtype = bytes_dtype(arg->dtype),
                           .shape = shape};
        status = tensor.data
                     ? dlc_set_input(session, graph->func->name, graph->func->args[i].name, &tensor)
                     : DLC_ERROR_OUT_OF_MEMORY;
        free(tensor.data);
    }
    return status;
}

static void run_graph(dlc_context *context, dlc_plan *plan, const Graph *graph, Outcome *outcome) {
    dlc_binding bindings[] = {{"B", graph->dims[0]}, {"T", graph->dims[1]}};
    dlc_session_options options = {.struct_size = sizeof options,
                                   .bindings = bindings,
                                   .n_bindings = 2,
                                   .device = getenv("RANDOM_DEVICE"),
                                   .threads = 1 + (int)(graph->seed / 3 % 2),
                                   .poison = (int)(graph->seed % 3)};
    dlc_session *session = NULL;
    const char *what = "session";
    dlc_status status = dlc_session_create(plan, &options, &session);
    if (status == DLC_OK) {
        what = "set_input";
        status = set_arguments(session, graph);
    }
    if (status == DLC_OK) {
        what = "run";
        status = dlc_run(session, graph->func->name);
    }
    bool good = true;
    for (int32_t i = 0; i < graph->func->n_results && status == DLC_OK && good; i++) {
        const DLTensor *tensor = NULL;
        what = "view_output";
        status = dlc_view_output(session, graph->func->name, graph->func->results[i].name, &tensor);
        good = status == DLC_OK && compare(graph, i, tensor, outcome);
    }
    if (status != DLC_OK) {
        note(outcome, -1, "%s: %.400s", what, dlc_last_error(context));
    } else if (good) {
        outcome->verdict = VERDICT_GOOD;
    }
    dlc_session_destroy(session);
}

bool batch_run(Batch *batch, const Variant *variant, Outcome *outcomes, char *message,
               size_t capacity) {
    dlc_context *context = NULL;
    dlc_plan *plan = NULL;
    const char *target = getenv("RANDOM_TARGET");
    dlc_compile_options options = {.struct_size = sizeof options,
                                   .source_name = "random",
                                   .flags = DLC_COMPILE_INPUT_IR | DLC_COMPILE_VERIFY_EACH,
                                   .skip_passes = variant->skip,
                                   .targets = &target,
                                   .n_targets = target != NULL,
                                   .threads = target ? 2 : 1,
                                   .mesh = getenv("RANDOM_MESH")};
    dlc_status status = dlc_context_create(NULL, &context);
    if (status == DLC_OK) {
        status = dlc_compile(context, str_text(&batch->text), batch->text.length, &options, &plan);
    }
    if (status != DLC_OK) {
        const char *diagnostics = context ? dlc_diagnostics_text(context, 0) : "";
        snprintf(message, capacity, "compile: %s %.400s",
                 context ? dlc_last_error(context) : "no context", diagnostics);
    }
    for (int32_t i = 0; i < batch->n_graphs && status == DLC_OK; i++) {
        run_graph(context, plan, batch->graphs[i], &outcomes[i]);
    }
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
    return status == DLC_OK;
}
