/* One program on many ranks gives what it gives on one: random graphs through passes/shard, on
 * random meshes with random wishes, all ranks in the interpreter, against the graph as it was.
 * Pieces may be uneven or empty. DLC_RANDOM_GRAPHS sets the number of graphs, DLC_RANDOM_FIRST the
 * first seed. */
#include "ir/mesh_layout.h"
#include "tests/fuzz/random_graph.h"
#include "tests/ops/harness.h"
#include "tests/parallel/shard_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_RANKS = 8, MAX_ARGS = 64, MAX_OUTPUTS = 16, MAX_GRADIENTS = 6 };

static const Machine MACHINE = {.target = "cpu", .name = "test", .features = ""};

static int64_t n_collectives, n_graphs_cut, n_hinted, n_refused, n_sent_short;

static uint64_t draw(uint64_t *state, uint64_t below) {
    *state += 0x9E3779B97F4A7C15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (z ^ (z >> 31)) % below;
}

/* -- What ranks, and what they are asked for */

static void choose_mesh(Harness *h, uint64_t *random, MeshShape *shape) {
    static const struct {
        const char *names[3];
        int64_t sizes[3];
    } MESHES[] = {{{"data"}, {2}},
                  {{"data"}, {3}},
                  {{"data"}, {4}},
                  {{"data"}, {8}},
                  {{"data"}, {1}},
                  {{"data"}, {5}},
                  {{"replica", "data"}, {2, 2}},
                  {{"data", "model"}, {2, 2}},
                  {{"model"}, {2}},
                  {{"data", "model"}, {1, 3}},
                  {{"model", "data"}, {2, 3}},
                  {{"replica", "data", "model"}, {2, 2, 2}}};
    size_t at = (size_t)draw(random, sizeof MESHES / sizeof MESHES[0]);
    bool is_known = draw(random, 2) == 0;
    *shape = (MeshShape){0};
    for (int32_t i = 0; i < 3 && MESHES[at].names[i]; i++) {
        module_add_axis(h->module, MESHES[at].names[i], is_known ? MESHES[at].sizes[i] : 0);
        shape->sizes[shape->n_axes++] = MESHES[at].sizes[i];
    }
}

static Value *product(Builder *b, Value *x, Value *w) {
    return b_contract(b, x, w, &(ContractAxes){.n_contract = 1, .contract_a = {1}});
}

/* A small network on rows of a batch, in which weights are used once, again, turned, or not at all:
 * random graphs hardly ever have gradients that are sums over rows. */
static Func *random_network(Harness *h, uint64_t *random) {
    Func *func = harness_func(h, "f64[B,3] f64[3,4] f64[4,3] f64[3] f64[3] f64[2,3]");
    Value **args = func->body->args, *x = args[0];
    Builder b = builder_at_end(func, func->body);
    for (uint64_t layer = 0, n = 2 + draw(random, 4); layer < n; layer++) {
        uint64_t kind = draw(random, 5);
        Value *row = args[kind == 2 ? 3 : 4], *turned, *two, *low;
        switch (kind) {
        case 0: /* a hidden layer and back, by a weight of its own or by the same one */
            turned = b_transpose(&b, args[1], (int64_t[]){1, 0});
            x = b_unary(&b, OP_tanh, product(&b, x, args[1]));
            x = product(&b, x, draw(random, 2) ? args[2] : turned);
            break;
        case 1: /* the weight of two rows in one of three */
            low = b_constant(&b, 0.5, type_scalar(DT_F64));
            two = b_pad(&b, args[5], low,
                        (const Size *[]){harness_size(h, "0"), harness_size(h, "0")},
                        (const Size *[]){harness_size(h, "1"), harness_size(h, "0")}, NULL);
            x = b_unary(&b, OP_sin, product(&b, x, two));
            break;
        case 2:
        case 3:
            row = b_broadcast(&b, row, 2, x->type.dims, (int64_t[]){1});
            x = kind == 2 ? b_add(&b, x, row) : b_mul(&b, x, row);
            break;
        default:
            x = b_unary(&b, OP_tanh, x);
        }
    }
    Value *loss = harness_loss(&b, x);
    func_set_results(func, &(FuncResult){.role = RESULT_LOSS, .name = "loss"}, &loss, 1);
    return func;
}

/* Results behind the others: derivatives of the first, a loss, by some arguments. */
static void add_gradients(Harness *h, Func *func) {
    Op *yield = block_yield(func->body);
    Value *values[MAX_OUTPUTS], *xs[MAX_GRADIENTS];
    FuncResult results[MAX_OUTPUTS] = {0};
    int32_t n = yield->n_operands, n_xs = 0;
    for (int32_t i = 0; i < func->body->n_args && n_xs < MAX_GRADIENTS; i++) {
        Value *arg = func->body->args[i];
        if (dtype_is_float(arg->type.dtype) && n + n_xs < MAX_OUTPUTS) {
            xs[n_xs++] = arg;
        }
    }
    Builder b = builder_before(yield);
    for (int32_t i = 0; i < n; i++) {
        values[i] = yield->operands[i];
        results[i] = func->results[i];
    }
    if (n_xs > 0) {
        b_grad(&b, values[0], xs, n_xs, values + n);
    }
    for (int32_t i = n; i < n + n_xs; i++) {
        results[i] = (FuncResult){.role = RESULT_OUTPUT,
                                  .name = context_internf(&h->context, "slope%d", (int)(i - n))};
    }
    func_set_results(func, results, values, n + n_xs);
}

/* Some arguments are parameters and optimiser state, which may be cut. */
static void choose_roles(Func *func, uint64_t *random) {
    for (int32_t i = 1; i < func->body->n_args; i++) {
        uint64_t kind = draw(random, 4);
        func->args[i].role = kind == 0 ? ARG_PARAM : kind == 1 ? ARG_SLOT : ARG_INPUT;
    }
}

static void choose_wishes(Harness *h, const Func *func, uint64_t *random) {
    MeshLayout *layout = ARENA_NEW(&h->context.arena, MeshLayout);
    layout->zero = (int64_t)draw(random, 4);
    for (int32_t i = 1; i < func->body->n_args; i++) {
        Type type = func->body->args[i]->type;
        if (func->args[i].role != ARG_PARAM || type.rank == 0 || draw(random, 2) == 0) {
            continue;
        }
        MeshRule rule = {.globs = ARENA_ARRAY(&h->context.arena, const char *, 1), .n_globs = 1};
        rule.globs[0] = func->args[i].name;
        rule.placed.rank = type.rank;
        PlacedAxis *axis = &rule.placed.axes[draw(random, (uint64_t)type.rank)];
        axis->names[axis->count++] = "model";
        VEC_PUSH(&h->context.arena, &layout->rules, rule);
    }
    layout->exchange = draw(random, 2) == 0 ? "bf16" : NULL;
    layout->sequence = draw(random, 2) == 0 ? MESH_SEQUENCE_ON : MESH_SEQUENCE_AUTO;
    h->module->mesh_layout = layout;
}

/* An operand of some op, cut along one of its axes by `model`: rows, or whatever they are. */
static void choose_hint(Func *func, uint64_t *random) {
    int64_t n_ops = 0;
    BLOCK_EACH_OP (func->body, op) {
        n_ops++;
    }
    int64_t at = (int64_t)draw(random, (uint64_t)n_ops);
    BLOCK_EACH_OP (func->body, op) {
        Value *x = op->n_operands > 0 ? op->operands[0] : NULL;
        if (at-- > 0 || !x || !x->op || x->type.rank == 0) {
            continue;
        }
        int32_t axis = (int32_t)draw(random, (uint64_t)x->type.rank);
        if (size_is_one(x->type.dims[axis])) {
            continue;
        }
        char text[8 * TYPE_MAX_RANK] = "";
        for (int32_t i = 0; i < x->type.rank; i++) {
            strcat(text, i > 0 ? ", " : "");
            strcat(text, i == axis ? "model" : "_");
        }
        Builder b = builder_before(op);
        op->operands[0] = b_shard_hint(&b, x, context_intern(func->module->context, text));
        return;
    }
}

/* -- All ranks */

typedef struct AllRanks {
    EvalTensor args[MAX_RANKS][MAX_ARGS], results[MAX_RANKS][MAX_OUTPUTS];
} AllRanks;

static bool run_ranks(Harness *h, Func *func, const MeshShape *shape, int64_t n,
                      const EvalTensor *whole, AllRanks *all) {
    const EvalTensor *list[MAX_RANKS][MAX_ARGS];
    const EvalTensor *const *args[MAX_RANKS];
    EvalTensor *results[MAX_RANKS];
    for (int64_t r = 0; r < n; r++) {
        for (int32_t i = 0; i < func->body->n_args; i++) {
            list[r][i] = &all->args[r][i];
            if (!shard_part(h->module, shape, r, h->dim_values, func->args[i].sharding, &whole[i],
                            &all->args[r][i])) {
                return false;
            }
        }
        args[r] = list[r];
        results[r] = all->results[r];
    }
    InterpRanks run = {
        .context = &h->context, .shape = *shape, .dim_values = h->dim_values, .n_dims = 2};
    dlc_status status = interp_run_ranks(&run, func, args, results);
    snprintf(h->message, sizeof h->message, "%s", run.message);
    return status == DLC_OK;
}

/* Every element of every result, from whichever rank has it, where several do from all. */
static bool join(Harness *h, const Func *func, const MeshShape *shape, int64_t n, int32_t result,
                 AllRanks *all, EvalTensor *out) {
    int32_t *written = calloc((size_t)out->n + 1, sizeof *written);
    int64_t differs = -1;
    bool good = true;
    for (int64_t r = 0; r < n && good; r++) {
        good = shard_join(h->module, shape, r, h->dim_values, func->results[result].sharding,
                          &all->results[r][result], out, written, &differs);
        snprintf(h->message, sizeof h->message, "result %d: rank %d's part has another shape",
                 (int)result, (int)r);
    }
    for (int64_t i = 0; i < out->n && good; i++) {
        good = written[i] > 0;
        snprintf(h->message, sizeof h->message, "result %d: no rank has element %lld", (int)result,
                 (long long)i);
    }
    if (good && differs >= 0) {
        good = false;
        snprintf(h->message, sizeof h->message, "result %d: ranks differ in element %lld",
                 (int)result, (long long)differs);
    }
    free(written);
    return good;
}

static void count_collective(Op *op, void *user) {
    *(int64_t *)user += op_info(op->code)->kind == KIND_COLLECTIVE;
}

/* Sums that are sent as bf16 and then are f64 again. */
static void count_short(Op *op, void *user) {
    const Op *from = op->code == OP_cast ? op->operands[0]->op : NULL;
    bool is_sent = from && (from->code == OP_all_reduce || from->code == OP_reduce_scatter) &&
                   op->operands[0]->type.dtype == DT_BF16 && op_dtype(op) == DT_F64;
    *(int64_t *)user += is_sent;
}

static bool compare(Harness *h, const Func *func, const MeshShape *shape, int64_t n, AllRanks *all,
                    const EvalTensor *wide, const EvalTensor *declared, DType coarsest) {
    for (int32_t i = 0; i < func->n_results; i++) {
        EvalTensor got = {0};
        int64_t at = 0;
        if (eval_tensor_init(&got, wide[i].dtype, wide[i].rank, wide[i].dims, NULL)) {
            return false;
        }
        bool good = join(h, func, shape, n, i, all, &got);
        if (good && !random_close(&wide[i], &declared[i], &got, coarsest, &at)) {
            good = false;
            snprintf(h->message, sizeof h->message,
                     "result %d, element %lld: %.9g on ranks, but %.9g", (int)i, (long long)at,
                     got.f ? got.f[at] : (double)got.i[at],
                     got.f ? wide[i].f[at] : (double)declared[i].i[at]);
        }
        eval_tensor_finish(&got, NULL);
        if (!good) {
            return false;
        }
    }
    return true;
}

/* What the hint asks for cannot be: it is of an input's batch, say. */
static bool is_refused(const Harness *h) {
    const DiagList *diags = &h->context.diags;
    return diags->n_errors == 1 &&
           strstr(diags->items[diags->count - 1]->message, "cannot be cut along") != NULL;
}

static void check_seed(Harness *h, uint64_t seed) {
    static AllRanks all;
    uint64_t random = seed;
    RandomGraphOptions options = {.smooth = draw(&random, 3) == 0};
    options.grads = options.smooth;
    bool is_network = options.smooth && draw(&random, 2) == 0;
    Func *func = is_network ? random_network(h, &random) : random_graph(h->module, seed, &options);
    if (options.smooth) {
        add_gradients(h, func);
    }
    EvalTensor args[MAX_ARGS] = {0}, wide[MAX_OUTPUTS] = {0}, declared[MAX_OUTPUTS] = {0};
    MeshShape shape;
    int64_t n = 0, before = n_collectives;
    memset(&all, 0, sizeof all);
    random_dims(h->module, seed, h->dim_values);
    DType coarsest = random_coarsest(func);
    Func *whole = func_clone(func, NULL);
    bool good = random_args(func, seed, h->dim_values, 2, !options.smooth, args) &&
                (!options.smooth || harness_differentiate(h, whole)) &&
                harness_run(h, whole, args, wide, true) &&
                harness_run(h, whole, args, declared, false);
    choose_roles(func, &random);
    choose_mesh(h, &random, &shape);
    choose_wishes(h, func, &random);
    if (draw(&random, 2) == 0) {
        choose_hint(func, &random);
        n_hinted++;
    }
    PipelineOptions pipeline = {.verify_each = true, .stop_after = "shard"};
    PipelineReport report = {0};
    good = good && mesh_ranks(&shape, &n);
    bool is_made = good && passes_run(h->module, &MACHINE, &pipeline, &report);
    int64_t n_short = 0;
    func_each_op(func, count_short, &n_short);
    if (good && !is_made && is_refused(h)) {
        n_refused++;
    } else {
        good = is_made && run_ranks(h, func, &shape, n, args, &all) &&
               compare(h, func, &shape, n, &all, wide, declared, n_short ? DT_BF16 : coarsest);
        n_sent_short += n_short;
    }
    if (!good) {
        harness_print_func(whole);
        harness_print_func(func);
        fail_msg("seed %llu, %d ranks: %s", (unsigned long long)seed, (int)n, h->message);
    }
    func_each_op(func, count_collective, &n_collectives);
    n_graphs_cut += n_collectives > before;
    for (int64_t r = 0; r < n; r++) {
        harness_free(all.args[r], func->body->n_args);
        harness_free(all.results[r], func->n_results);
    }
    harness_free(args, func->body->n_args);
    harness_free(wide, func->n_results);
    harness_free(declared, func->n_results);
}

static void run_seed(uint64_t seed) {
    Harness *h = calloc(1, sizeof *h);
    harness_init_dims(h, seed % 4 != 3); /* every fourth graph's axes may be empty */
    if (setjmp(h->boundary.jump)) {
        const DiagList *diags = &h->context.diags;
        const Diag *diag = diags->count ? diags->items[diags->count - 1] : NULL;
        fail_msg("seed %llu: left through the boundary: %s\n%s", (unsigned long long)seed,
                 diag ? diag->message : "no diagnostic",
                 diag && diag->n_notes > 0 ? diag->notes[0].text : "");
    }
    check_seed(h, seed);
    harness_finish(h);
    free(h);
}

/* Right ones of which the static check said otherwise: numbers in each rank's rows, ranks of one
 * row, values without elements. */
static void test_false_alarms(void **state) {
    (void)state;
    static const uint64_t seeds[] = {6702, 7628, 8725, 13395, 17946, 19688};
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        run_seed(seeds[i]);
    }
}

static void test_shard(void **state) {
    (void)state;
    const char *text = getenv("DLC_RANDOM_GRAPHS"), *first = getenv("DLC_RANDOM_FIRST");
    uint64_t start = first ? strtoull(first, NULL, 10) : 0;
    uint64_t count = text ? strtoull(text, NULL, 10) : 2000;
    for (uint64_t seed = start; seed < start + count; seed++) {
        run_seed(seed);
    }
    if (count >= 1000 && (n_graphs_cut * 2 < (int64_t)count || n_collectives < (int64_t)count ||
                          n_sent_short < (int64_t)count / 100)) {
        fail_msg("of %d graphs only %d exchange anything, by %d collectives, %d gradients in bf16",
                 (int)count, (int)n_graphs_cut, (int)n_collectives, (int)n_sent_short);
    }
    if (count >= 1000 && (n_hinted * 4 < (int64_t)count || n_refused * 10 > n_hinted)) {
        fail_msg("of %d graphs %d have a hint, of which %d are refused", (int)count, (int)n_hinted,
                 (int)n_refused);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shard),
                                       cmocka_unit_test(test_false_alarms)};
    return cmocka_run_group_tests_name("shard", tests, NULL, NULL);
}
