/* Decoding on ranks: an entry with caches, run token by token, each rank with its rows of the
 * cache; and one that loops until every row of the batch has ended, which all ranks see alike. */
#include "tests/unit/api.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 5, VOCAB = 11, CONTEXT = 12, TOKENS = 9 };

#define MODEL                                                                                      \
    "const vocab = 11, width = 8, heads = 2, context = 12\n"                                       \
    "dim B\ndim T in 1..context\n"                                                                 \
    "fn project(x: float[B, T, C]) -> (float[B, heads, T, C / heads], float[B, heads, T, C / "     \
    "heads], float[B, heads, T, C / heads]) {\n"                                                   \
    "    q, k, v = x |> linear(3 * C) as c_attn |> {b t (three=3 h=heads d) -> three b h t d}\n"   \
    "    return q, k, v\n}\n"                                                                      \
    "fn behind(x: float[B, T, C], y: float[B, heads, T, C / heads]) -> float[B, T, C] {\n"         \
    "    x = x + (y |> {b h t d -> b t (h d)} |> linear(C) as c_proj)\n"                           \
    "    return x + (x |> layer_norm as ln |> linear(2 * C) as fc |> gelu |> linear(C) as "        \
    "out)\n}\n"                                                                                    \
    "model gpt(tokens: i32[B, T], targets: i32[B, T]) {\n"                                         \
    "    x = tokens |> embedding(vocab, width) as wte\n"                                           \
    "    q, k, v = project(x) as h\n"                                                              \
    "    x = behind(x, scaled_dot_product_attention(q, k, v, causal=true)) as tail\n"              \
    "    logits = x |> linear(vocab, bias=false) as head\n"                                        \
    "    output logits\n    loss cross_entropy(logits, targets)\n}\n"                              \
    "train gpt {\n    optimizer sgd(lr=0.1)\n    batch 4\n}\n"
#define STEP                                                                                       \
    "entry step(token: i32[B], at: i32[]) {\n"                                                     \
    "    cache ks: [B, heads, context, width / heads] = zeros\n"                                   \
    "    cache vs: [B, heads, context, width / heads] = zeros\n"                                   \
    "    x = {b -> b 1}(token) |> embedding(vocab, width) as wte\n"                                \
    "    q, k, v = project(x) as h\n"                                                              \
    "    ks <- update(ks, k, at, axis=2)\n    vs <- update(vs, v, at, axis=2)\n"                   \
    "    seen = iota([1, 1, 1, context], axis=3) <= at\n"                                          \
    "    x = behind(x, scaled_dot_product_attention(q, ks, vs, mask=seen)) as tail\n"              \
    "    output logits = (x |> linear(vocab, bias=false) as head)[:, 0]\n}\n"
#define WRITE                                                                                      \
    "entry write(token: i32[B]) {\n"                                                               \
    "    while not all(ended) and n < 40 carry token = token, n = 0, ended = token < 0, text = "   \
    "zeros([B, 40], dtype=i32) {\n"                                                                \
    "        x = token |> embedding(vocab, width) as wte |> tanh\n"                                \
    "        next = argmax(x |> linear(vocab, bias=false) as head, axis=-1)\n"                     \
    "        text = update(text, {b -> b 1}(next), n, axis=1)\n"                                   \
    "        token = (next + token + n) % vocab\n"                                                 \
    "        ended = ended or token == 3\n"                                                        \
    "        n = n + 1\n    }\n"                                                                   \
    "    output text\n    output turns = n\n    output ended\n}\n"

typedef struct Bench {
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
} Bench;

/* `rows`: what B is for good; 0: it is free. */
static void bench_open(Bench *b, const char *text, const char *device, int64_t rows) {
    const dlc_context_options hooks = {.struct_size = sizeof(hooks)};
    const dlc_compile_options options = {.struct_size = sizeof(options), .float_type = "f64"};
    const dlc_session_options run = {.struct_size = sizeof(run), .device = device};
    assert_int_equal(dlc_context_create(&hooks, &b->context), DLC_OK);
    b->plan = api_compile(b->context, text, &options);
    OK(b->context, dlc_session_create(b->plan, &run, &b->session));
    if (rows > 0) {
        OK(b->context, dlc_session_bind(b->session, "B", rows));
    }
    OK(b->context, dlc_init_weights(b->session));
}

static void bench_close(Bench *b) {
    dlc_session_destroy(b->session);
    dlc_plan_destroy(b->plan);
    dlc_context_destroy(b->context);
}

static void set_tokens(Bench *b, const char *entry, const char *name, int32_t *tokens,
                       int64_t rows) {
    DLTensor value = api_tensor(tokens, 1, &rows, kDLInt, 32);
    OK(b->context, dlc_set_input(b->session, entry, name, &value));
}

/* The logits of every token in turn, [TOKENS, ROWS, VOCAB]. */
static void decode(Bench *b, double *out) {
    for (int32_t at = 0; at < TOKENS; at++) {
        int32_t tokens[ROWS];
        for (int32_t i = 0; i < ROWS; i++) {
            tokens[i] = (at * 3 + i * i + 1) % VOCAB;
        }
        const DLTensor *view;
        DLTensor place = api_tensor(&at, 0, NULL, kDLInt, 32);
        set_tokens(b, "step", "token", tokens, ROWS);
        OK(b->context, dlc_set_input(b->session, "step", "at", &place));
        OK(b->context, dlc_run(b->session, "step"));
        OK(b->context, dlc_view_output(b->session, "step", "logits", &view));
        assert_int_equal(view->shape[0], ROWS);
        memcpy(out + at * ROWS * VOCAB, view->data, ROWS * VOCAB * sizeof(double));
    }
}

static void same(const double *a, const double *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        assert_true(fabs(a[i] - b[i]) <= 1e-12);
    }
}

/* The cache as the session tells it, whole. */
static void same_cache(Bench *one, Bench *many, const char *name) {
    const DLTensor *a, *b;
    OK(one->context, dlc_view_variable(one->session, name, &a));
    OK(many->context, dlc_view_variable(many->session, name, &b));
    assert_int_equal(a->ndim, 4);
    assert_int_equal(b->ndim, 4);
    size_t n = 1;
    for (int axis = 0; axis < 4; axis++) {
        assert_int_equal(a->shape[axis], b->shape[axis]);
        n *= (size_t)a->shape[axis];
    }
    same(a->data, b->data, n);
}

static void test_cache(void **state) {
    (void)state;
    static const char *const devices[] = {"cpu*2", "cpu*3", "cpu*8"};
    static double wanted[TOKENS * ROWS * VOCAB], got[TOKENS * ROWS * VOCAB];
    Bench one;
    bench_open(&one, MODEL STEP, "cpu", ROWS);
    decode(&one, wanted);
    for (size_t d = 0; d < sizeof(devices) / sizeof(devices[0]); d++) {
        Bench many;
        bench_open(&many, MODEL STEP, devices[d], ROWS);
        decode(&many, got);
        same(wanted, got, TOKENS * ROWS * VOCAB);
        same_cache(&one, &many, "ks");
        same_cache(&one, &many, "vs");
        OK(many.context, dlc_reset_caches(many.session));
        decode(&many, got);
        same(wanted, got, TOKENS * ROWS * VOCAB);
        bench_close(&many);
    }
    bench_close(&one);
}

static void test_while(void **state) {
    (void)state;
    static const char *const outputs[] = {"text", "turns", "ended"};
    static const int64_t rows[] = {5, 1, 3, 17};
    Bench one, many;
    int32_t least = 40;
    bench_open(&one, MODEL WRITE, "cpu", 0);
    bench_open(&many, MODEL WRITE, "cpu*8", 0);
    for (int k = 0; k < 4; k++) {
        int32_t tokens[17];
        for (int32_t i = 0; i < rows[k]; i++) {
            tokens[i] = (7 * i + k) % VOCAB;
        }
        Bench *both[] = {&one, &many};
        for (int i = 0; i < 2; i++) {
            set_tokens(both[i], "write", "token", tokens, rows[k]);
            OK(both[i]->context, dlc_run(both[i]->session, "write"));
        }
        for (int i = 0; i < 3; i++) {
            const DLTensor *a, *b;
            OK(one.context, dlc_view_output(one.session, "write", outputs[i], &a));
            OK(many.context, dlc_view_output(many.session, "write", outputs[i], &b));
            assert_int_equal(a->ndim, b->ndim);
            size_t bytes = a->dtype.bits / 8;
            for (int axis = 0; axis < a->ndim; axis++) {
                assert_int_equal(a->shape[axis], b->shape[axis]);
                bytes *= (size_t)a->shape[axis];
            }
            assert_memory_equal(a->data, b->data, bytes);
            if (i == 1) {
                int32_t turns = *(const int32_t *)a->data;
                least = turns < least ? turns : least;
            }
        }
    }
    assert_in_range(least, 2, 39); /* some batches end by themselves */
    bench_close(&one);
    bench_close(&many);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cache), cmocka_unit_test(test_while)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
