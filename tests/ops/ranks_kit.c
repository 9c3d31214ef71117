/* See ranks_kit.h. */
#include "tests/ops/ranks_kit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kit_init(RanksKit *kit, const int64_t sizes[3], bool is_known, int64_t rows) {
    static const char *const NAMES[] = {"a", "b", "c"};
    memset(kit, 0, sizeof(*kit));
    context_init(&kit->context, NULL, &kit->boundary);
    arena_init(&kit->scratch, NULL, &kit->boundary);
    kit->module = module_create(&kit->context, "m");
    for (int i = 0; i < 3 && sizes[i] > 0; i++) {
        module_add_axis(kit->module, NAMES[i], is_known ? sizes[i] : 0);
        kit->shape.sizes[kit->shape.n_axes++] = sizes[i];
    }
    mesh_ranks(&kit->shape, &kit->n);
    kit->rows = rows;
    module_add_dim(kit->module, "B", 0, INT64_MAX, 1, 0, (Place){0});
}

void kit_finish(RanksKit *kit) {
    arena_finish(&kit->scratch);
    context_finish(&kit->context);
}

const Size *kit_rows(RanksKit *kit) {
    return size_dim(&kit->context, kit->module->dims[0]);
}

Type kit_type(RanksKit *kit, DType dtype, int32_t rank, const Size *d0, const Size *d1,
              const Size *d2) {
    return type_make(&kit->context, dtype, rank, (const Size *[]){d0, d1, d2});
}

static bool same_outside(const RanksKit *kit, MeshGroup group, int64_t a, int64_t b) {
    for (int32_t i = kit->shape.n_axes - 1; i >= 0; i--) {
        int64_t size = kit->shape.sizes[i];
        if ((group >> i & 1U) == 0 && a % size != b % size) {
            return false;
        }
        a /= size;
        b /= size;
    }
    return true;
}

int64_t kit_members(const RanksKit *kit, MeshGroup group, int64_t rank, int64_t *out) {
    int64_t n = 0;
    for (int64_t other = 0; other < kit->n; other++) {
        if (same_outside(kit, group, rank, other)) {
            out[n++] = other;
        }
    }
    return n;
}

void kit_deal(int64_t rows, int64_t n, int64_t *counts) {
    memset(counts, 0, (size_t)n * sizeof(counts[0]));
    for (int64_t row = 0; row < rows; row++) {
        counts[row % n]++;
    }
}

static uint64_t next_random(uint64_t *state) {
    *state += 0x9E3779B97F4A7C15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static void rank_dims(const RanksKit *kit, int64_t rank, int64_t values[64]) {
    if (kit->module->n_dims > 64) {
        abort();
    }
    memset(values, 0, 64 * sizeof(values[0]));
    values[0] = kit->rows;
    if (!mesh_bind(kit->module, &kit->shape, rank, values)) {
        abort();
    }
}

void kit_args(RanksKit *kit, const Func *func, uint64_t seed, RankTensors *out) {
    for (int64_t r = 0; r < kit->n; r++) {
        int64_t values[64];
        rank_dims(kit, r, values);
        for (int32_t k = 0; k < func->body->n_args; k++) {
            Type type = func->body->args[k]->type;
            int64_t dims[TYPE_MAX_RANK] = {0};
            for (int32_t i = 0; i < type.rank; i++) {
                size_eval(type.dims[i], values, kit->module->n_dims, &dims[i]);
            }
            EvalTensor *t = &out->of[r][k];
            if (eval_tensor_init(t, type.dtype, type.rank, dims, NULL)) {
                abort();
            }
            for (int64_t i = 0; i < t->n; i++) {
                int64_t small = (int64_t)(next_random(&seed) >> 33) % 65 - 32;
                if (t->f) {
                    t->f[i] = (double)small / 8;
                } else {
                    t->i[i] = type.dtype == DT_BOOL ? small > 0 : small;
                }
            }
        }
    }
}

bool kit_run(RanksKit *kit, Func *func, const RankTensors *args, RankTensors *results, bool wide) {
    const EvalTensor *list[KIT_MAX_RANKS][KIT_MAX_TENSORS];
    const EvalTensor *const *arg_lists[KIT_MAX_RANKS];
    EvalTensor *result_lists[KIT_MAX_RANKS];
    for (int64_t r = 0; r < kit->n; r++) {
        for (int32_t k = 0; k < func->body->n_args; k++) {
            list[r][k] = &args->of[r][k];
        }
        arg_lists[r] = list[r];
        result_lists[r] = results->of[r];
    }
    InterpRanks run = {.context = &kit->context,
                       .shape = kit->shape,
                       .dim_values = &kit->rows,
                       .n_dims = 1,
                       .wide = wide};
    dlc_status status = interp_run_ranks(&run, func, arg_lists, result_lists);
    snprintf(kit->message, sizeof(kit->message), "interpreter: %s", run.message);
    return status == DLC_OK;
}

void kit_free(RanksKit *kit, RankTensors *tensors, int32_t count) {
    for (int64_t r = 0; r < kit->n; r++) {
        for (int32_t k = 0; k < count; k++) {
            eval_tensor_finish(&tensors->of[r][k], NULL);
        }
    }
}

/* -- gradients */

/* A rank-0 value that depends on every element with its own weight, and on the rank. */
static Value *weighted(RanksKit *kit, Builder *b, Value *y) {
    MeshGroup all = ((MeshGroup)1 << kit->shape.n_axes) - 1;
    const Size *rank = module_rank_size(kit->module, DIM_COORDINATE, all, NULL);
    Value *number = b_size(b, rank, DT_F64);
    Value *weight = b_splat(b, number, y->type.rank, y->type.dims);
    int64_t axes[TYPE_MAX_RANK];
    for (int32_t i = 0; i < y->type.rank; i++) {
        axes[i] = i;
        Value *position = b_iota(b, i, y->type);
        Value *scale = b_constant_like(b, 1.3 + 0.71 * i, y);
        Value *angle = b_mul(b, position, scale);
        Value *sum = b_add(b, angle, weight);
        weight = b_unary(b, OP_cos, sum);
    }
    Value *product = b_mul(b, y, weight);
    Value *bent = b_mul(b, product, y); /* so that there is a second derivative */
    Value *both = b_add(b, product, bent);
    return y->type.rank ? b_reduce(b, OP_reduce_sum, both, axes, y->type.rank) : both;
}

/* Results: loss, loss of its gradients, gradients, second gradients; returns how many of each. */
static int32_t add_gradients(RanksKit *kit, Builder *b, Func *func, Value *loss) {
    Value *xs[8], *first[8], *second[8], *values[KIT_MAX_TENSORS];
    FuncResult results[KIT_MAX_TENSORS] = {0};
    int32_t n = 0, count = 0;
    for (int32_t i = 0; i < func->body->n_args; i++) {
        if (dtype_is_float(func->body->args[i]->type.dtype)) {
            xs[n++] = func->body->args[i];
        }
    }
    b_grad(b, loss, xs, n, first);
    Value *total = NULL;
    for (int32_t i = 0; i < n; i++) {
        Value *part = weighted(kit, b, first[i]);
        total = total ? b_add(b, total, part) : part;
    }
    b_grad(b, total, xs, n, second);
    values[count++] = loss;
    values[count++] = total;
    for (int32_t i = 0; i < 2 * n; i++) {
        values[count++] = i < n ? first[i] : second[i - n];
    }
    for (int32_t i = 0; i < count; i++) {
        results[i] =
            (FuncResult){.role = RESULT_OUTPUT, .name = context_internf(b->context, "r%d", (int)i)};
    }
    func_set_results(func, results, values, count);
    return n;
}

/* The sum over all ranks of result `index`, with one element of one argument moved. */
static bool total_at(RanksKit *kit, Func *func, RankTensors *args, double *element, double value,
                     double out[2]) {
    RankTensors results = {0};
    double kept = *element;
    *element = value;
    bool ran = kit_run(kit, func, args, &results, true);
    *element = kept;
    out[0] = out[1] = 0;
    for (int64_t r = 0; ran && r < kit->n; r++) {
        out[0] += results.of[r][0].f[0];
        out[1] += results.of[r][1].f[0];
    }
    kit_free(kit, &results, func->n_results);
    return ran;
}

/* Compares with differences of fourth order: what many ranks sum is large, so that the step must
 * not be small. */
static bool compare_element(RanksKit *kit, Func *func, RankTensors *args, int64_t rank, int32_t arg,
                            int64_t i, const double got[2]) {
    static const double STEPS[4] = {-2, -1, 1, 2}, WEIGHTS[4] = {1, -8, 8, -1};
    const double step = 2e-4;
    double *element = &args->of[rank][arg].f[i], wanted[2] = {0}, noise[2] = {0};
    for (int k = 0; k < 4; k++) {
        double totals[2];
        if (!total_at(kit, func, args, element, *element + STEPS[k] * step, totals)) {
            return false;
        }
        for (int order = 0; order < 2; order++) {
            wanted[order] += WEIGHTS[k] * totals[order] / (12 * step);
            noise[order] = 1e-13 * fabs(totals[order]) / step;
        }
    }
    for (int order = 0; order < 2; order++) {
        double room = 1e-5 * (1 + fabs(wanted[order]) + fabs(got[order])) + noise[order];
        if (!(fabs(wanted[order] - got[order]) <= room)) {
            snprintf(kit->message, sizeof(kit->message),
                     "order %d, rank %d, argument %d, element %d: gradient %.9g, differences %.9g",
                     order + 1, (int)rank, (int)arg, (int)i, got[order], wanted[order]);
            return false;
        }
    }
    return true;
}

static bool verify(RanksKit *kit, Func *func) {
    Str report;
    str_init(&report, NULL);
    bool good = func_verify(func, &report);
    if (!good) {
        snprintf(kit->message, sizeof(kit->message), "verifier: %.900s", str_text(&report));
    }
    str_finish(&report);
    return good;
}

/* All different, so that a maximum has one place, and small, so that differences are exact enough.
 */
static void spread(RanksKit *kit, const Func *func, RankTensors *args) {
    int count = 0;
    for (int64_t r = 0; r < kit->n; r++) {
        for (int32_t k = 0; k < func->body->n_args; k++) {
            EvalTensor *t = &args->of[r][k];
            for (int64_t i = 0; t->f && i < t->n; i++) {
                t->f[i] = cos(1.7 * count++ + t->f[i]);
            }
        }
    }
}

bool kit_check_gradients(RanksKit *kit, Func *func, KitBuild *build) {
    Builder b = builder_at_end(func, func->body);
    Value *y = build(kit, &b, func->body->args);
    Value *loss = weighted(kit, &b, y);
    int32_t n = add_gradients(kit, &b, func, loss);
    PassContext pass = {.context = &kit->context, .scratch = &kit->scratch};
    pass_differentiate(&pass, func);
    if (!verify(kit, func)) {
        return false;
    }
    RankTensors args = {0}, results = {0};
    kit_args(kit, func, 4321, &args);
    spread(kit, func, &args);
    bool good = kit_run(kit, func, &args, &results, true);
    for (int64_t r = 0; good && r < kit->n; r++) {
        for (int32_t k = 0, at = 2; good && k < func->body->n_args; k++) {
            const EvalTensor *arg = &args.of[r][k];
            for (int64_t i = 0; good && arg->f && i < arg->n; i++) {
                double got[2] = {results.of[r][at].f[i], results.of[r][at + n].f[i]};
                good = compare_element(kit, func, &args, r, k, i, got);
            }
            at += arg->f != NULL;
        }
    }
    kit_free(kit, &args, func->body->n_args);
    kit_free(kit, &results, func->n_results);
    return good;
}
