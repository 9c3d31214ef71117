/* Attention written out head by head, transformer layers, positions. */
#include "tests/std/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One head: q [T, D], k [S, D], v [S, E] with row strides; out [T, E]. */
typedef struct Head {
    const double *q, *k, *v;
    int64_t q_row, k_row, v_row, out_row, t, s, d, e;
    bool causal;
} Head;

static void attend(const Head *h, double *out) {
    for (int64_t i = 0; i < h->t; i++) {
        double total = 0;
        for (int64_t c = 0; c < h->e; c++) {
            out[i * h->out_row + c] = 0;
        }
        for (int64_t j = 0; j < h->s && (!h->causal || j <= i); j++) {
            double score = 0;
            for (int64_t c = 0; c < h->d; c++) {
                score += h->q[i * h->q_row + c] * h->k[j * h->k_row + c];
            }
            score = exp(score / sqrt((double)h->d));
            total += score;
            for (int64_t c = 0; c < h->e; c++) {
                out[i * h->out_row + c] += score * h->v[j * h->v_row + c];
            }
        }
        for (int64_t c = 0; c < h->e; c++) {
            out[i * h->out_row + c] /= total;
        }
    }
}

/* x is q [B, 2, 3, 4]; k [B, 2, 5, 4]; v [B, 2, 5, 3]. */
static void sdpa(Model *model, bool causal, double *out) {
    const Array *q = model_input(model, "x"), *k = model_input(model, "k");
    const Array *v = model_input(model, "v");
    for (int64_t bh = 0; bh < q->dims[0] * 2; bh++) {
        Head head = {.q = q->v + bh * 12,
                     .k = k->v + bh * 20,
                     .v = v->v + bh * 15,
                     .q_row = 4,
                     .k_row = 4,
                     .v_row = 3,
                     .out_row = 3,
                     .t = 3,
                     .s = 5,
                     .d = 4,
                     .e = 3,
                     .causal = causal};
        attend(&head, out + bh * 9);
    }
}
static void r_sdpa(Model *model, const Array *y, double *out) {
    (void)y;
    sdpa(model, false, out);
}
static void r_sdpa_causal(Model *model, const Array *y, double *out) {
    (void)y;
    sdpa(model, true, out);
}

static void project(const double *x, int64_t rows, int64_t width, const double *w, const double *b,
                    double *out) {
    for (int64_t i = 0; i < rows * width; i++) {
        out[i] = b ? b[i % width] : 0;
        for (int64_t c = 0; c < width; c++) {
            out[i] += x[i / width * width + c] * w[i % width * width + c];
        }
    }
}
/* x [B, 3, 4], two heads; key and value from `memory` [B, 5, 4] if there is one. */
static void multi_head(Model *model, bool causal, double *out) {
    enum { WIDTH = 4, HEADS = 2, EACH = 2 };
    const Array *x = model_input(model, "x"), *memory = model_input(model, "memory");
    memory = memory ? memory : x;
    const Array *w = model_variable(model, "in_proj_weight"),
                *b = model_variable(model, "in_proj_bias");
    const Array *ow = model_variable(model, "out_proj.weight"),
                *ob = model_variable(model, "out_proj.bias");
    ow = ow ? ow : model_variable(model, "weight");
    ob = ob ? ob : model_variable(model, "bias");
    int64_t t = x->dims[1], s = memory->dims[1];
    double q[64], k[64], v[64], mixed[64];
    for (int64_t row = 0; row < x->dims[0]; row++) {
        const double *in = memory->v + row * s * WIDTH;
        project(x->v + row * t * WIDTH, t, WIDTH, w->v, b ? b->v : NULL, q);
        project(in, s, WIDTH, w->v + WIDTH * WIDTH, b ? b->v + WIDTH : NULL, k);
        project(in, s, WIDTH, w->v + 2 * WIDTH * WIDTH, b ? b->v + 2 * WIDTH : NULL, v);
        for (int64_t h = 0; h < HEADS; h++) {
            Head head = {.q = q + h * EACH,
                         .k = k + h * EACH,
                         .v = v + h * EACH,
                         .q_row = WIDTH,
                         .k_row = WIDTH,
                         .v_row = WIDTH,
                         .out_row = WIDTH,
                         .t = t,
                         .s = s,
                         .d = EACH,
                         .e = EACH,
                         .causal = causal};
            attend(&head, mixed + h * EACH);
        }
        project(mixed, t, WIDTH, ow->v, ob ? ob->v : NULL, out + row * t * WIDTH);
    }
}
static void r_multi_head(Model *model, const Array *y, double *out) {
    (void)y;
    multi_head(model, false, out);
}
static void r_multi_head_causal(Model *model, const Array *y, double *out) {
    (void)y;
    multi_head(model, true, out);
}
/* x [B, 3, 5]: row i sees the keys before it, row 0 none. */
static void r_masked_softmax(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x");
    for (int64_t i = 0; i < y->n; i++) {
        int64_t row = i / 5 * 5, seen = i / 5 % 3;
        double total = 0;
        for (int64_t j = 0; j < seen; j++) {
            total += exp(x->v[row + j]);
        }
        out[i] = i - row < seen ? exp(x->v[i]) / total : 0;
    }
}
/* [6, 4] added to x [B, 6, 4]. */
static void r_sinusoidal(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x");
    for (int64_t i = 0; i < y->n; i++) {
        double rate = pow(10000, -(double)(i % 4 / 2 * 2) / 4), angle = (double)(i / 4 % 6) * rate;
        out[i] = x->v[i] + (double)(float)(i % 2 ? cos(angle) : sin(angle));
    }
}
/* x [B, 3, 4]: pairs (0, 2) and (1, 3) turned. */
static void r_rotary(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x");
    for (int64_t i = 0; i < y->n; i++) {
        int64_t c = i % 4, row = i / 4 * 4, pair = c % 2;
        double angle = (double)(i / 4 % 3) * pow(10000, -(double)pair / 2);
        double a = x->v[row + pair], b = x->v[row + pair + 2];
        out[i] = c < 2 ? a * cos(angle) - b * sin(angle) : a * sin(angle) + b * cos(angle);
    }
}

#define QKV "x: f64[B, 2, 3, 4], k: f64[B, 2, 5, 4], v: f64[B, 2, 5, 3]"
#define XM  "x: f64[B, 3, 4], memory: f64[B, 5, 4]"
#define X3  "x: f64[B, 3, 4]"
static const Case CASES[] = {
    {"causal_mask", "x: f64[B, 3, 5]", "y = softmax(causal_mask(x, offset=1))", 0, NULL, NULL},
    {"masked_softmax", "x: f64[B, 3, 5]", "y = masked_softmax(causal_mask(x, offset=-1))", 0,
     r_masked_softmax, NULL},
    {"scaled_dot_product_attention added mask", QKV,
     "keep = {i j -> 1 1 i j}({i -> i 1}(iota(3)) > {j -> 1 j}(iota(5)))\n"
     "    y = scaled_dot_product_attention(x, k, v, mask=where(keep, 0.5, -inf))",
     0, NULL, NULL},
    {"scaled_dot_product_attention", QKV, "y = scaled_dot_product_attention(x, k, v)", 0, r_sdpa,
     NULL},
    {"scaled_dot_product_attention causal", QKV,
     "y = scaled_dot_product_attention(x, k, v, causal=true)", 0, r_sdpa_causal, NULL},
    {"scaled_dot_product_attention mask", QKV,
     "keep = {i j -> 1 1 i j}({i -> i 1}(iota(3)) + {j -> 1 j}(iota(5)) < 5)\n"
     "    y = scaled_dot_product_attention(x, k, v, mask=keep)",
     0, NULL, NULL},
    {"multi_head_attention", X3, "y = multi_head_attention(x, 2)", 0, r_multi_head, NULL},
    {"multi_head_attention causal", X3, "y = multi_head_attention(x, heads=2, causal=true)",
     CASE_FIRST_ONLY, r_multi_head_causal, NULL},
    {"multi_head_attention cross", XM,
     "y = multi_head_attention(x, 2, key=memory, value=memory, bias=false)", CASE_FIRST_ONLY,
     r_multi_head, NULL},
    {"multi_head_attention dropout", X3, "y = multi_head_attention(x, 2, dropout_rate=0.2)",
     CASE_FIRST_ONLY | CASE_TRAINING, r_multi_head, NULL},
    {"transformer_encoder_layer", X3,
     "y = transformer_encoder_layer(x, 2, inner=5, dropout_rate=0.0)", 0, NULL, NULL},
    {"transformer_encoder_layer norm_first", X3,
     "y = transformer_encoder_layer(x, 2, inner=5, act=gelu, norm_first=true, causal=true)",
     CASE_FIRST_ONLY | CASE_TRAINING, NULL, NULL},
    {"transformer_decoder_layer", XM,
     "y = transformer_decoder_layer(x, memory, 2, inner=5, act=silu, dropout_rate=0.0)",
     CASE_FIRST_ONLY, NULL, NULL},
    {"transformer_decoder_layer norm_first", XM,
     "y = transformer_decoder_layer(x, memory, 2, inner=5, dropout_rate=0.0, norm_first=true,\n"
     "        causal=true, memory_mask=ones([3, 5]) > 0.0, bias=false)",
     CASE_FIRST_ONLY, NULL, NULL},
    {"attention_mask", X3,
     "keep = cast(round(x) * 0.0 + 1.0, bool)[:, :, 0]\n"
     "    y = multi_head_attention(x, 2, mask=attention_mask(zeros([3, 3]), keep))",
     0, r_multi_head, NULL},
    {"sinusoidal_position", "x: f64[B, 6, 4]", "y = x + sinusoidal_position(6, 4)", 0, NULL, NULL},
    {"rotary", X3, "y = rotary(x)", 0, r_rotary, NULL},
    {"rotary offset", X3, "y = rotary(x, base=100.0, offset=2)", 0, NULL, NULL},
};

/* In single precision, as the positions are made. */
static bool positions(void) {
    Model model;
    Array y = {0};
    bool good =
        model_open(
            &model,
            "dim B\nmodel m(x: f64[B, 6, 4]) {\n    output y = x + sinusoidal_position(6, 4)\n}\n",
            2) &&
        model_run(&model, "infer") && model_output(&model, "y", &y);
    double *expected = calloc(128, sizeof *expected);
    if (good && expected) {
        r_sinusoidal(&model, &y, expected);
        for (int64_t i = 0; good && i < y.n; i++) {
            good = near(y.v[i], expected[i], 1e-6) ||
                   model_fail(&model, "y[%d] = %.9g, expected %.9g", (int)i, y.v[i], expected[i]);
        }
    }
    if (!good) {
        printf("FAILED positions: %s\n", model.error);
    }
    free(expected);
    free(y.v);
    model_close(&model);
    return good;
}

const Group ATTENTION = {"attention", CASES, sizeof CASES / sizeof CASES[0], positions};
