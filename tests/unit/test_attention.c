/* Attention: the pass that finds it (with masks, lengths, heads of every kind, and what it must
 * leave alone), its kernels against the reference interpreter, interpreted with every access
 * checked and compiled, and its derivatives against finite differences. */
#include "ir/ops/attention.h"
#include "passes/fuse/fuse.h"
#include "passes/head.h"
#include "tests/fuzz/random_graph.h"
#include "tests/ops/harness.h"
#include "tests/ops/kernel_check.h"
#include "tests/ops/kernel_exec.h"
#include "tests/unit/block_machine.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Softmax attention as programs write it. */
typedef struct Form {
    int64_t batch, heads, queries, keys, width, values;
    DType dtype;
    bool causal, strict, masked, swapped, short_heads; /* k, v as [batch, time, head, width] */
    bool with_grad;
    bool safe; /* rows without a key give 0, and there are some */
    int64_t offset;
    const Size *free_queries, *free_keys; /* in place of the numbers */
} Form;

static Harness *harness_new(int64_t low) {
    Harness *h = calloc(1, sizeof *h);
    harness_init_dims(h, low);
    return h;
}

/* x, and `to` where it is `from`, with an axis of one as the front end keeps it. */
static Value *guard(Builder *b, Value *x, double from, double to) {
    const Size *dims[TYPE_MAX_RANK];
    Type type = x->type;
    memcpy(dims, type.dims, (size_t)type.rank * sizeof(*dims));
    dims[type.rank] = size_const(b->context, 1);
    x = b_reshape(b, x, type.rank + 1, dims);
    Value *is = b_binary(b, OP_eq, x, b_constant_like(b, from, x));
    return b_reshape(b, b_select(b, is, b_constant_like(b, to, x), x), type.rank, type.dims);
}

static Value *row_softmax(Builder *b, Value *s, bool safe) {
    int64_t axis = s->type.rank - 1;
    Value *top = b_reduce(b, OP_reduce_max, s, &axis, 1);
    top = b_stop_gradient(b, top);
    top = safe ? guard(b, top, -INFINITY, 0) : top;
    Value *wide = b_expand_axes(b, top, s->type, &axis, 1);
    Value *e = b_unary(b, OP_exp, b_sub(b, s, wide));
    Value *sum = b_reduce(b, OP_reduce_sum, e, &axis, 1);
    sum = safe ? guard(b, sum, 0, 1) : sum;
    return b_div(b, e, b_expand_axes(b, sum, e->type, &axis, 1));
}

static Value *below(Builder *b, const Form *form, Type type) {
    const Size *rows = type.dims[type.rank - 2], *columns = type.dims[type.rank - 1];
    const Size *square[2] = {rows, columns};
    int64_t zero = 0, one = 1;
    Value *row = b_iota(b, 0, type_make(b->context, DT_I32, 1, &rows));
    Value *offset = b_constant_like(b, (double)form->offset, row);
    row = b_add(b, row, offset);
    Value *column = b_iota(b, 0, type_make(b->context, DT_I32, 1, &columns));
    row = b_broadcast(b, row, 2, square, &zero);
    column = b_broadcast(b, column, 2, square, &one);
    Value *counts =
        form->strict ? b_binary(b, OP_gt, row, column) : b_binary(b, OP_le, column, row);
    int64_t axes[2] = {type.rank - 2, type.rank - 1};
    return b_broadcast(b, counts, type.rank, type.dims, axes);
}

static const Size *fixed(Harness *h, int64_t n) {
    return size_const(&h->context, n);
}

/* args: q, k, v, and the mask if masked. */
static Value *build_form(Builder *b, const Form *form, Value *const *x) {
    ContractAxes inner = {.n_batch = 2, .n_contract = 1};
    inner.batch_a[1] = 1;
    inner.batch_b[1] = form->short_heads ? 2 : 1;
    inner.contract_a[0] = inner.contract_b[0] = 3;
    Value *s = b_contract(b, x[0], x[1], &inner);
    Value *scale = b_constant_like(b, sqrt((double)form->width), s);
    s = b_div(b, s, scale);
    Value *none = b_constant_like(b, -INFINITY, s);
    if (form->causal) {
        s = b_select(b, below(b, form, s->type), s, none);
    }
    if (form->masked) {
        int64_t axes[2] = {0, 3};
        Value *mask = b_broadcast(b, x[3], 4, s->type.dims, axes);
        s = b_select(b, mask, s, none);
    }
    Value *p = row_softmax(b, s, form->safe);
    ContractAxes outer = {.n_batch = 2, .n_contract = 1};
    int64_t time = form->short_heads ? 1 : 2, head = form->short_heads ? 2 : 1;
    if (form->swapped) {
        outer.batch_a[1] = head;
        outer.batch_b[1] = 1;
        outer.contract_a[0] = time;
        outer.contract_b[0] = 3;
        return b_contract(b, x[2], p, &outer);
    }
    outer.batch_a[1] = 1;
    outer.batch_b[1] = head;
    outer.contract_a[0] = 3;
    outer.contract_b[0] = time;
    return b_contract(b, p, x[2], &outer);
}

static Func *make_func(Harness *h, const Form *form) {
    Func *func = func_create(h->module, "f", PURPOSE_OTHER);
    const Size *queries = form->free_queries ? form->free_queries : fixed(h, form->queries);
    const Size *keys = form->free_keys ? form->free_keys : fixed(h, form->keys);
    const Size *q[4] = {fixed(h, form->batch), fixed(h, form->heads), queries,
                        fixed(h, form->width)};
    const Size *k[4] = {q[0], q[1], keys, q[3]};
    const Size *v[4] = {q[0], q[1], k[2], fixed(h, form->values)};
    const Size *mask[2] = {q[0], k[2]};
    if (form->short_heads) {
        k[1] = v[1] = keys;
        k[2] = v[2] = q[1];
    }
    Value *x[4];
    x[0] =
        func_add_arg(func, ARG_INPUT, "q", type_make(&h->context, form->dtype, 4, q), (Place){0});
    x[1] =
        func_add_arg(func, ARG_INPUT, "k", type_make(&h->context, form->dtype, 4, k), (Place){0});
    x[2] =
        func_add_arg(func, ARG_INPUT, "v", type_make(&h->context, form->dtype, 4, v), (Place){0});
    if (form->masked) {
        x[3] = func_add_arg(func, ARG_INPUT, "m", type_make(&h->context, DT_BOOL, 2, mask),
                            (Place){0});
    }
    Builder b = builder_at_end(func, func->body);
    b.label = "";
    Value *results[4];
    FuncResult roles[4] = {{.name = ""}, {.name = ""}, {.name = ""}, {.name = ""}};
    results[0] = build_form(&b, form, x);
    int32_t n = 1;
    if (form->with_grad) {
        Value *loss = harness_loss(&b, results[0]);
        b_grad(&b, loss, x, 3, results + 1);
        n = 4;
    }
    func_set_results(func, roles, results, n);
    return func;
}

static int count_code(const Func *func, OpCode code) {
    int count = 0;
    BLOCK_EACH_OP (func->body, op) {
        count += op->code == code;
    }
    return count;
}

static void find_attention_for(Harness *h, Func *func, FusionMeasures measures) {
    const Machine machine = {.threads = 1, .fusion = measures};
    PassContext pass = {.context = &h->context, .scratch = &h->scratch, .machine = &machine};
    pass_attention(&pass, func);
    assert_true(harness_verify(h, func));
}

static void find_attention(Harness *h, Func *func) {
    find_attention_for(h, func,
                       (FusionMeasures){.attention_width = 256, .attention_scores = 128 * 128});
}

/* -- the pass */
static const Form plain = {.batch = 1,
                           .heads = 2,
                           .queries = 160,
                           .keys = 160,
                           .width = 8,
                           .values = 8,
                           .dtype = DT_F32,
                           .causal = true};

static void expect_found(Form form, int wanted, const char *offset, int n_masks) {
    Harness *h = harness_new(1);
    if (setjmp(h->boundary.jump)) {
        fail_msg("left through the boundary");
    }
    Func *func = make_func(h, &form);
    find_attention(h, func);
    assert_int_equal(count_code(func, OP_attention), wanted);
    BLOCK_EACH_OP (func->body, op) {
        if (op->code == OP_attention) {
            assert_int_equal(op_causal(op), offset != NULL);
            assert_int_equal(op_safe(op), form.safe);
            assert_int_equal(op->n_operands, ATTENTION_OPERANDS + n_masks);
            if (offset) {
                assert_string_equal(size_text(&h->context, op_offset(op)), offset);
            }
        }
    }
    harness_finish(h);
    free(h);
}

static void test_found(void **state) {
    (void)state;
    Form form = plain;
    expect_found(form, 1, "0", 0);
    form.strict = true;
    form.offset = 7;
    expect_found(form, 1, "6", 0);
    form.masked = true;
    expect_found(form, 1, "6", 1);
    form.causal = false;
    form.swapped = form.short_heads = true;
    expect_found(form, 1, NULL, 1);
    form.safe = true;
    expect_found(form, 1, NULL, 1);
    form.width = 300;
    expect_found(form, 0, NULL, 0);
    form = plain;
    form.queries = form.keys = 20;
    expect_found(form, 0, NULL, 0);
}

static void expect_measured(int64_t width, double scores, int wanted) {
    Harness *h = harness_new(1);
    if (setjmp(h->boundary.jump)) {
        fail_msg("left through the boundary");
    }
    Func *func = make_func(h, &plain);
    find_attention_for(h, func,
                       (FusionMeasures){.attention_width = width, .attention_scores = scores});
    assert_int_equal(count_code(func, OP_attention), wanted);
    harness_finish(h);
    free(h);
}

/* How wide and how long is the machine's to say. */
static void test_measures(void **state) {
    (void)state;
    expect_measured(8, 160 * 160, 1);
    expect_measured(7, 160 * 160, 0);
    expect_measured(8, 160 * 160 + 1, 0);
}

/* -- values */
static uint64_t random_state = 5;
static int64_t pick(int64_t low, int64_t high) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return low + (int64_t)((random_state >> 33) % (uint64_t)(high - low + 1));
}

static void fill_args(Harness *h, const Func *func, bool safe, EvalTensor *args) {
    for (int32_t i = 0; i < func->body->n_args; i++) {
        Type type = func->body->args[i]->type;
        int64_t dims[TYPE_MAX_RANK];
        for (int32_t k = 0; k < type.rank; k++) {
            assert_true(size_eval(type.dims[k], h->dim_values, 2, &dims[k]));
        }
        assert_int_equal(eval_tensor_init(&args[i], type.dtype, type.rank, dims, NULL), DLC_OK);
        for (int64_t k = 0; k < args[i].n; k++) {
            if (args[i].f) {
                args[i].f[k] = round_to_dtype((double)pick(-200, 200) / 100.0, type.dtype);
            } else if (safe) {
                /* Padding on the left, of the first row as long as it is. */
                args[i].i[k] = k >= dims[type.rank - 1] && k % dims[type.rank - 1] >= 37;
            } else {
                /* The first key always counts, so that no softmax is empty. */
                args[i].i[k] = k % dims[type.rank - 1] == 0 || pick(0, 3) > 0;
            }
        }
    }
}

static const struct {
    int32_t threads, lanes, rows, columns;
    int64_t shared;
    bool has_bf16;
} machines[] = {
    {1, 1, 0, 0, 0, false},
    {32, 8, 64, 64, 49152, false},
    {256, 32, 128, 128, 232448, true},
};
enum { N_MACHINES = sizeof machines / sizeof machines[0] };

static void make_machine(Harness *h, int shape, Machine *machine) {
    assert_true(block_machine_shapes(&h->context.arena, machine));
    if (machines[shape].threads > 1) {
        machine->threads = machines[shape].threads;
        machine->lanes = machines[shape].lanes;
        machine->processors = 4;
        machine->shared_bytes = machines[shape].shared;
        machine->has_bf16 = machines[shape].has_bf16;
        machine->tile_rows_f32 = machines[shape].rows;
        machine->tile_columns_f32 = machines[shape].columns;
        machine->tile_rows_f64 = machine->tile_columns_f64 = 32;
    }
}

static bool compare(Harness *h, Func *func, const EvalTensor *wide, const EvalTensor *declared,
                    const EvalTensor *got) {
    for (int32_t i = 0; i < func->n_results; i++) {
        int64_t at = 0;
        if (!random_close(&wide[i], &declared[i], &got[i], random_coarsest(func), &at)) {
            snprintf(h->message, sizeof h->message, "result %d, element %lld: %.9g, not %.9g",
                     (int)i, (long long)at, got[i].f[at], wide[i].f[at]);
            return false;
        }
    }
    return true;
}

/* The unfused program by the interpreter is what the fused one's kernels must give. */
static bool run_form(Harness *h, const Form *form, int shape, bool compiled) {
    Machine machine;
    make_machine(h, shape, &machine);
    Func *func = make_func(h, form), *plain_func = func_clone(func, "plain");
    find_attention(h, func);
    if (count_code(func, OP_attention) != 1 || !harness_differentiate(h, func) ||
        !harness_differentiate(h, plain_func)) {
        snprintf(h->message, sizeof h->message, "no attention");
        return false;
    }
    EvalTensor args[4] = {0}, wide[4] = {0}, declared[4] = {0}, same[4] = {0}, got[4] = {0};
    fill_args(h, func, form->safe, args);
    bool good = harness_run(h, plain_func, args, wide, true) &&
                harness_run(h, plain_func, args, declared, false) &&
                harness_run(h, func, args, same, true) && compare(h, func, wide, wide, same);
    PassContext pass = {.context = &h->context, .scratch = &h->scratch, .machine = &machine};
    pass_fuse(&pass, func);
    good = good && harness_verify(h, func);
    KernelExec exec = {.context = &h->context,
                       .machine = &machine,
                       .dim_values = h->dim_values,
                       .n_dims = 2,
                       .compiled = compiled,
                       .inplace = true,
                       .backwards = true,
                       .check = machine.threads > 1 ? kernel_check : NULL};
    if (good && !kernel_exec(&exec, func, args, got)) {
        snprintf(h->message, sizeof h->message, "%s", exec.message);
        good = false;
    }
    good = good && compare(h, func, wide, declared, got);
    harness_free(args, 4);
    harness_free(wide, 4);
    harness_free(declared, 4);
    harness_free(same, 4);
    harness_free(got, 4);
    return good;
}

static Form random_form(Harness *h, bool is_large) {
    static const int64_t widths[] = {1, 3, 16, 24, 64};
    Form form = {.batch = pick(1, 2), .heads = pick(1, 3), .dtype = DT_F32};
    int64_t kind = pick(0, 5);
    form.dtype = kind == 0 ? DT_F64 : kind == 1 ? DT_BF16 : DT_F32;
    form.width = widths[pick(0, 4)];
    form.values = pick(0, 1) ? form.width : widths[pick(0, 4)];
    form.queries = pick(1, is_large ? 450 : 200);
    form.keys = 16384 / form.queries + pick(1, is_large ? 300 : 60);
    form.causal = pick(0, 2) > 0;
    form.offset = form.causal ? pick(0, 40) : 0;
    form.strict = form.causal && form.offset > 0 && pick(0, 1);
    form.masked = pick(0, 2) == 0;
    form.swapped = pick(0, 1);
    form.short_heads = pick(0, 1);
    form.with_grad = true;
    form.safe = pick(0, 1);
    form.offset = form.safe ? 0 : form.offset;
    form.masked = form.masked || form.safe;
    if (pick(0, 2) == 0) {
        form.free_queries = size_mul(&h->context, fixed(h, 40), harness_size(h, "T"));
        form.queries = 40 * HARNESS_T;
        form.keys = form.keys > 110 ? form.keys : 110;
    }
    return form;
}

static void run_random(uint64_t seed, int shape, bool compiled) {
    Harness *h = harness_new(1);
    if (setjmp(h->boundary.jump)) {
        const DiagList *diags = &h->context.diags;
        fail_msg("seed %llu: left through the boundary: %s", (unsigned long long)seed,
                 diags->count ? diags->items[diags->count - 1]->message : "no diagnostic");
    }
    random_state = seed;
    Form form = random_form(h, compiled);
    form.dtype = machines[shape].threads > 1 && form.dtype == DT_F64 ? DT_F32 : form.dtype;
    if (!run_form(h, &form, shape, compiled)) {
        fail_msg("seed %llu, machine %d (%lld x %lld, q %lld, k %lld, width %lld, %lld%s%s%s): %s",
                 (unsigned long long)seed, shape, (long long)form.batch, (long long)form.heads,
                 (long long)form.queries, (long long)form.keys, (long long)form.width,
                 (long long)form.values, form.causal ? ", causal" : "",
                 form.masked ? ", masked" : "", form.swapped ? ", swapped" : "", h->message);
    }
    harness_finish(h);
    free(h);
}

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void each_seed(uint64_t count, bool compiled) {
    uint64_t first = setting("DLC_ATTENTION_FIRST", 1);
    for (uint64_t i = 0; i < setting("DLC_ATTENTION_GRAPHS", count); i++) {
        for (int shape = 0; shape < N_MACHINES; shape++) {
            run_random(first + i, shape, compiled);
        }
    }
}

static void test_interpreted(void **state) {
    (void)state;
    each_seed(3, false);
}

static void test_compiled(void **state) {
    (void)state;
    each_seed(8, true);
}

static void run_empty(int which, int shape) {
    Harness *h = harness_new(0);
    if (setjmp(h->boundary.jump)) {
        fail_msg("left through the boundary");
    }
    h->dim_values[1] = 0;
    const Size *empty = size_mul(&h->context, fixed(h, 40), harness_size(h, "T"));
    Form form = plain;
    form.with_grad = form.masked = form.safe = true;
    form.batch = which & 1 ? 0 : 1;
    form.free_keys = which & 2 ? empty : NULL;
    form.free_queries = which & 4 ? empty : NULL;
    if (!run_form(h, &form, shape, shape == 0)) {
        fail_msg("form %d, machine %d: %s", which, shape, h->message);
    }
    harness_finish(h);
    free(h);
}

/* No examples, no keys, no queries. */
static void test_empty(void **state) {
    (void)state;
    for (int i = 0; i < 8 * N_MACHINES; i++) {
        run_empty(i % 8, i / 8);
    }
}

/* -- derivatives of the op itself */
static Value *op_case(Harness *h, Builder *b, Value **x, bool causal) {
    AttentionAttrs attrs = {.scale = 0.7, .causal = causal, .offset = fixed(h, 1)};
    Value *lse, *y = b_attention(b, x, x + 3, causal ? 0 : 1, &attrs, &lse);
    int64_t axis = y->type.rank - 1;
    Value *sums = b_reduce(b, OP_reduce_sum, y, &axis, 1);
    return b_mul(b, sums, lse);
}

static Value *causal_case(Harness *h, Builder *b, Value **x) {
    return op_case(h, b, x, true);
}

static Value *masked_case(Harness *h, Builder *b, Value **x) {
    Value *zero = b_constant_like(b, 0, x[3]);
    Value *masked[4] = {x[0], x[1], x[2], b_binary(b, OP_ge, x[3], zero)};
    return op_case(h, b, masked, false);
}

static void test_derivatives(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        HarnessBuild *build;
    } cases[] = {
        {"f64[2,3,2] f64[2,4,2] f64[2,4,3]", causal_case},
        {"f64[B,2] f64[4,2] f64[4,1]", causal_case},
        {"f64[2,2] f64[3,2] f64[3,2] i32[2,3]%3", masked_case},
    };
    for (volatile int i = 0; i < 3; i++) {
        Harness *volatile h = harness_new(1);
        if (setjmp(h->boundary.jump)) {
            fail_msg("case %d: left through the boundary", i);
        }
        if (!harness_check_gradients(h, cases[i].spec, cases[i].build, 2)) {
            fail_msg("case %d: %s", i, h->message);
        }
        harness_finish(h);
        free(h);
    }
}

/* -- heads in chunks of rows */
enum { HEAD_RESULTS = 8 };

typedef struct HeadForm {
    bool smooth, shown, swapped; /* the logits are a result too; weights [width, classes] */
    bool free_time;
    bool chained; /* more results, of rows and of what only the whole loop knows */
} HeadForm;

static Func *make_head(Harness *h, const HeadForm *form) {
    Func *func = func_create(h->module, "head", PURPOSE_OTHER);
    const Size *time = form->free_time ? harness_size(h, "T") : fixed(h, 8);
    const Size *x[3] = {harness_size(h, "B"), time, fixed(h, 3)};
    const Size *w[2] = {fixed(h, form->swapped ? 3 : 7), fixed(h, form->swapped ? 7 : 3)};
    Value *args[3];
    args[0] = func_add_arg(func, ARG_INPUT, "x", type_make(&h->context, DT_F64, 3, x), (Place){0});
    args[1] = func_add_arg(func, ARG_INPUT, "w", type_make(&h->context, DT_F64, 2, w), (Place){0});
    args[2] =
        func_add_arg(func, ARG_INPUT, "labels", type_make(&h->context, DT_I32, 2, x), (Place){0});
    Builder b = builder_at_end(func, func->body);
    b.label = "";
    ContractAxes axes = {.n_contract = 1, .contract_a = {2}, .contract_b = {form->swapped ? 0 : 1}};
    Value *logits = b_contract(&b, args[0], args[1], &axes), *z = logits;
    int64_t last = 2, all[2] = {0, 1};
    Value *top = b_stop_gradient(&b, b_reduce(&b, OP_reduce_max, z, &last, 1));
    z = b_sub(&b, z, b_expand_axes(&b, top, z->type, &last, 1));
    Value *sum = b_reduce(&b, OP_reduce_sum, b_unary(&b, OP_exp, z), &last, 1);
    Value *logp = b_sub(&b, z, b_expand_axes(&b, b_unary(&b, OP_log, sum), z->type, &last, 1));
    const Size *column[3] = {x[0], x[1], fixed(h, 1)};
    Value *ids = b_reshape(&b, args[2], 3, column);
    Value *rows = b_reshape(&b, b_gather(&b, logp, ids, 2), 2, x);
    if (form->smooth) {
        Value *mean = b_reduce(&b, OP_reduce_sum, logp, &last, 1);
        rows = b_add(&b, rows, b_mul(&b, mean, b_constant_like(&b, 0.1, mean)));
    }
    Value *zero = b_constant_like(&b, 0, args[2]), *none = b_constant_like(&b, 0, rows);
    Value *valid = b_binary(&b, OP_ne, args[2], zero);
    rows = b_select(&b, valid, rows, none);
    Value *results[HEAD_RESULTS] = {b_reduce(&b, OP_reduce_sum, rows, all, 2)};
    b_grad(&b, results[0], args, 2, results + 1);
    int32_t n = 3;
    if (form->chained) {
        Value *total = b_expand_axes(&b, results[0], rows->type, all, 2);
        Value *slopes = b_reduce(&b, OP_reduce_sum, results[1], &last, 1);
        Value *weights = b_reduce(&b, OP_reduce_max, results[2], all, 2);
        weights = b_expand_axes(&b, weights, rows->type, all, 2);
        results[n++] = b_mul(&b, rows, total);
        results[n++] = b_mul(&b, rows, slopes);
        results[n++] = b_add(&b, b_mul(&b, rows, slopes), b_mul(&b, rows, weights));
        results[n++] = b_reduce(&b, OP_reduce_max, b_mul(&b, rows, total), all, 2);
    }
    if (form->shown) {
        results[n++] = logits;
    }
    FuncResult roles[HEAD_RESULTS];
    for (int32_t i = 0; i < HEAD_RESULTS; i++) {
        roles[i] = (FuncResult){.name = ""};
    }
    func_set_results(func, roles, results, n);
    return func;
}

static void run_head(const HeadForm *form, bool found, const char *length) {
    Harness *h = harness_new(1);
    if (setjmp(h->boundary.jump)) {
        fail_msg("left through the boundary");
    }
    Func *func = make_head(h, form);
    assert_true(harness_differentiate(h, func));
    Func *chunks = func_clone(func, "chunks");
    PassContext pass = {.context = &h->context, .scratch = &h->scratch};
    HeadMeasures measures = {.worth = 50, .chunk = 30, .least_rows = 2};
    pass_simplify(&pass, chunks);
    pass_cse(&pass, chunks);
    pass_dce(&pass, chunks);
    assert_int_equal(head_in_chunks(&pass, chunks, &measures), found);
    assert_true(harness_verify(h, chunks));
    BLOCK_EACH_OP (chunks->body, op) {
        if (op->code == OP_scan) {
            assert_string_equal(size_text(&h->context, scan_length(op)), length);
        }
        if (found && op->code == OP_contract) {
            fail_msg("a product outside the loop");
        }
    }
    EvalTensor args[3] = {0}, plain_results[HEAD_RESULTS] = {0}, results[HEAD_RESULTS] = {0};
    fill_args(h, func, false, args);
    assert_true(harness_run(h, func, args, plain_results, true));
    assert_true(harness_run(h, chunks, args, results, true));
    for (int32_t i = 0; i < func->n_results; i++) {
        for (int64_t k = 0; k < results[i].n; k++) {
            double got = results[i].f[k], wanted = plain_results[i].f[k];
            if (!(fabs(got - wanted) < 1e-11 * (1 + fabs(wanted)))) {
                fail_msg("a head in chunks, result %d, element %lld: %.12g, not %.12g", (int)i,
                         (long long)k, got, wanted);
            }
        }
    }
    harness_free(args, 3);
    harness_free(plain_results, HEAD_RESULTS);
    harness_free(results, HEAD_RESULTS);
    harness_finish(h);
    free(h);
}

static void test_heads(void **state) {
    (void)state;
    run_head(&(HeadForm){0}, true, "2*B");
    run_head(&(HeadForm){.smooth = true, .swapped = true}, true, "2*B");
    run_head(&(HeadForm){.free_time = true}, true, "B");
    run_head(&(HeadForm){.shown = true}, false, "");
    run_head(&(HeadForm){.chained = true}, true, "2*B");
    run_head(&(HeadForm){.chained = true, .smooth = true, .swapped = true}, true, "2*B");
    run_head(&(HeadForm){.chained = true, .free_time = true}, true, "B");
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),       cmocka_unit_test(test_measures),
        cmocka_unit_test(test_derivatives), cmocka_unit_test(test_heads),
        cmocka_unit_test(test_interpreted), cmocka_unit_test(test_compiled),
        cmocka_unit_test(test_empty),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
