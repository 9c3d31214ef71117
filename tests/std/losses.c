/* Losses against PyTorch's formulas, written out. Inputs: x the prediction [B, 5], t a target of
 * the same shape, ids labels 0 to 2. */
#include "tests/std/model.h"

#include <math.h>
#include <string.h>

enum { CLASSES = 5 };

static double sigmoid_of(double x) {
    return 1 / (1 + exp(-x));
}

static double log_probability(const Array *x, int64_t row, int64_t class_index) {
    double total = 0;
    for (int64_t c = 0; c < CLASSES; c++) {
        total += exp(x->v[row * CLASSES + c]);
    }
    return x->v[row * CLASSES + class_index] - log(total);
}

/* torch.nn.functional.cross_entropy with mean reduction. */
static double entropy(Model *model, double smoothing, int64_t ignored, const double *weight) {
    const Array *x = model_input(model, "x"), *ids = model_input(model, "ids");
    double total = 0, shares = 0;
    for (int64_t r = 0; r < ids->n; r++) {
        int64_t label = (int64_t)ids->v[r];
        if (label == ignored) {
            continue;
        }
        double share = weight ? weight[label] : 1, smooth = 0;
        for (int64_t c = 0; c < CLASSES; c++) {
            smooth -= (weight ? weight[c] : 1) * log_probability(x, r, c);
        }
        total +=
            (1 - smoothing) * share * -log_probability(x, r, label) + smoothing / CLASSES * smooth;
        shares += share;
    }
    return total / shares;
}
static void r_entropy(Model *model, const Array *y, double *out) {
    (void)y;
    *out = entropy(model, 0, -100, NULL);
}
static void r_entropy_smooth(Model *model, const Array *y, double *out) {
    (void)y;
    *out = entropy(model, 0.1, -100, NULL);
}
static void r_entropy_ignore(Model *model, const Array *y, double *out) {
    (void)y;
    *out = entropy(model, 0, 1, NULL);
}
static void r_entropy_ignore_smooth(Model *model, const Array *y, double *out) {
    (void)y;
    *out = entropy(model, 0.2, 1, NULL);
}
static void r_entropy_weight(Model *model, const Array *y, double *out) {
    (void)y;
    *out = entropy(model, 0.1, 0, model_input(model, "w")->v);
}
static void r_soft_entropy(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x"), *t = model_input(model, "t");
    (void)y;
    for (int64_t i = 0; i < x->n; i++) {
        *out -= sigmoid_of(t->v[i]) * log_probability(x, i / CLASSES, i % CLASSES) /
                (double)(x->n / CLASSES);
    }
}
static void r_multi_margin(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x"), *ids = model_input(model, "ids");
    (void)y;
    for (int64_t i = 0; i < x->n; i++) {
        int64_t row = i / CLASSES, label = (int64_t)ids->v[row];
        if (i % CLASSES != label) {
            *out += fmax(0, 0.8 - x->v[row * CLASSES + label] + x->v[i]) / (double)x->n;
        }
    }
}

/* Means over elements of a function of (x, t). */
static void mean_of(Model *model, double (*f)(double x, double t), double *out) {
    const Array *x = model_input(model, "x"), *t = model_input(model, "t");
    for (int64_t i = 0; i < x->n; i++) {
        *out += f(x->v[i], t->v[i]) / (double)x->n;
    }
}
#define MEAN(name, formula)                                                                        \
    static double e_##name(double x, double t) {                                                   \
        return formula;                                                                            \
    }                                                                                              \
    static void r_##name(Model *model, const Array *y, double *out) {                              \
        (void)y;                                                                                   \
        mean_of(model, e_##name, out);                                                             \
    }
static double sign_of(double t) {
    return t > 0 ? 1 : -1;
}
static double positive(double t) {
    return t > 0 ? 1 : 0;
}
MEAN(bce, -(sigmoid_of(t) * log(sigmoid_of(x)) + (1 - sigmoid_of(t)) * log(1 - sigmoid_of(x))))
MEAN(bce_logits, -(positive(t) * log(sigmoid_of(x)) + (1 - positive(t)) * log(1 - sigmoid_of(x))))
MEAN(bce_pos, -(3 * positive(t) * log(sigmoid_of(x)) + (1 - positive(t)) * log(1 - sigmoid_of(x))))
MEAN(mse, (x - t) * (x - t))
MEAN(l1, fabs(x - t))
MEAN(huber, fabs(x - t) < 1 ? 0.5 * (x - t) * (x - t) : fabs(x - t) - 0.5)
MEAN(huber7, fabs(x - t) < 0.7 ? 0.5 * (x - t) * (x - t) : 0.7 * (fabs(x - t) - 0.35))
MEAN(smooth_l1, fabs(x - t) < 0.7 ? 0.5 * (x - t) * (x - t) / 0.7 : fabs(x - t) - 0.35)
MEAN(log_cosh, log(cosh(x - t)))
MEAN(hinge, fmax(0, 1 - sign_of(t) * x))
MEAN(soft_margin, log(1 + exp(-sign_of(t) * x)))
MEAN(margin_ranking, fmax(0, -(x - t) + 0.5))
MEAN(poisson, exp(x) - t * x)
MEAN(gaussian, 0.5 * (log(fmax(exp(0.5 * t), 1e-6)) + (x - t) * (x - t) / exp(0.5 * t)))
MEAN(focal, (positive(t) > 0 ? -0.25 * pow(1 - sigmoid_of(x), 2) * log(sigmoid_of(x))
                             : -0.75 * pow(sigmoid_of(x), 2) * log(1 - sigmoid_of(x))))
/* Divided by the rows, not the elements. */
static double e_kl(double x, double t) {
    return CLASSES * sigmoid_of(t) * (log(sigmoid_of(t)) - x);
}
static void r_kl(Model *model, const Array *y, double *out) {
    (void)y;
    mean_of(model, e_kl, out);
}
static void r_nll(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x"), *ids = model_input(model, "ids");
    double n = 0;
    (void)y;
    for (int64_t r = 0; r < ids->n; r++) {
        if (ids->v[r] != 2) {
            *out -= x->v[r * CLASSES + (int64_t)ids->v[r]];
            n++;
        }
    }
    *out /= n;
}

static double dot(const double *a, const double *b) {
    double total = 0;
    for (int c = 0; c < CLASSES; c++) {
        total += a[c] * b[c];
    }
    return total;
}
static double cosine_of(const double *a, const double *b) {
    return dot(a, b) / sqrt(dot(a, a) * dot(b, b));
}
static void r_cosine(Model *model, const Array *y, double *out) {
    for (int64_t r = 0; r < y->n; r++) {
        out[r] = cosine_of(model_input(model, "x")->v + r * CLASSES,
                           model_input(model, "t")->v + r * CLASSES);
    }
}
static void r_cosine_embedding(Model *model, const Array *y, double *out) {
    const Array *side = model_input(model, "side");
    (void)y;
    for (int64_t r = 0; r < side->n; r++) {
        double s = cosine_of(model_input(model, "x")->v + r * CLASSES,
                             model_input(model, "t")->v + r * CLASSES);
        *out += (side->v[r] > 0 ? 1 - s : fmax(0, s - 0.1)) / (double)side->n;
    }
}
static double distance(const double *a, const double *b) {
    double total = 0;
    for (int c = 0; c < CLASSES; c++) {
        total += pow(a[c] - b[c] + 1e-6, 2);
    }
    return sqrt(total);
}
static void r_triplet(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x");
    (void)y;
    for (int64_t r = 0; r < x->n / CLASSES; r++) {
        const double *a = x->v + r * CLASSES;
        *out += fmax(0, distance(a, model_input(model, "t")->v + r * CLASSES) -
                            distance(a, model_input(model, "u")->v + r * CLASSES) + 1) /
                (double)(x->n / CLASSES);
    }
}
static void r_dice(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x"), *t = model_input(model, "t");
    int64_t rows = x->n / CLASSES;
    (void)y;
    for (int64_t r = 0; r < rows; r++) {
        double both = 0, each = 0;
        for (int64_t i = r * CLASSES; i < (r + 1) * CLASSES; i++) {
            both += sigmoid_of(x->v[i]) * positive(t->v[i]);
            each += sigmoid_of(x->v[i]) + positive(t->v[i]);
        }
        *out += (1 - (2 * both + 1) / (each + 1)) / (double)rows;
    }
}
static void r_info_nce(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x"), *t = model_input(model, "t");
    int64_t rows = x->n / CLASSES;
    (void)y;
    for (int64_t i = 0; i < rows; i++) {
        double total = 0;
        for (int64_t j = 0; j < rows; j++) {
            total += exp(cosine_of(x->v + i * CLASSES, t->v + j * CLASSES) / 0.5);
        }
        *out -=
            (cosine_of(x->v + i * CLASSES, t->v + i * CLASSES) / 0.5 - log(total)) / (double)rows;
    }
}

#define XT  "x: f64[B, 5], t: f64[B, 5]"
#define XI  "x: f64[6, 5], ids: i32[6]"
#define T01 "t1 = cast(t > 0, f64)\n    "
#define TPM "t1 = where(t > 0, 1.0, zeros_like(t) - 1.0)\n    "
static const Case CASES[] = {
    {"cross_entropy", XI, "y = cross_entropy(x, ids)", 0, r_entropy, NULL},
    {"cross_entropy large", XI, "y = cross_entropy(x * 1000.0, ids)", CASE_VALUES_ONLY, NULL, NULL},
    {"cross_entropy smoothing", XI, "y = cross_entropy(x, ids, label_smoothing=0.1)", 0,
     r_entropy_smooth, NULL},
    {"cross_entropy ignore", XI, "y = cross_entropy(x, ids, ignore_index=1)", 0, r_entropy_ignore,
     NULL},
    {"cross_entropy ignore smoothing", XI,
     "y = cross_entropy(x, ids, label_smoothing=0.2, ignore_index=1)", 0, r_entropy_ignore_smooth,
     NULL},
    {"cross_entropy weight", XI ", w: f64[5]",
     "y = cross_entropy(x, ids, label_smoothing=0.1, ignore_index=0, weight=w)", 0,
     r_entropy_weight, NULL},
    {"cross_entropy 3d", "x: f64[B, 3, 4], ids: i32[B, 3]", "y = cross_entropy(x, ids)", 0, NULL,
     NULL},
    {"soft_cross_entropy", XT, "y = soft_cross_entropy(x, sigmoid(t))", 0, r_soft_entropy, NULL},
    {"nll_loss", XI, "y = nll_loss(x, ids, ignore_index=2)", 0, r_nll, NULL},
    {"clamped_log", XT, "y = clamped_log(sigmoid(x))", 0, NULL, NULL},
    {"clamped_log zero", XT, "y = clamped_log(relu(x))", CASE_FIRST_ONLY, NULL, NULL},
    {"binary_cross_entropy", XT, "y = binary_cross_entropy(sigmoid(x), sigmoid(t))", 0, r_bce,
     NULL},
    {"binary_cross_entropy_with_logits", XT, T01 "y = binary_cross_entropy_with_logits(x, t1)", 0,
     r_bce_logits, NULL},
    {"binary_cross_entropy_with_logits pos_weight", XT,
     T01 "y = binary_cross_entropy_with_logits(x, t1, pos_weight=3.0)", 0, r_bce_pos, NULL},
    {"mse", XT, "y = mse(x, t)", 0, r_mse, NULL},
    {"l1", XT, "y = l1(x, t)", 0, r_l1, NULL},
    {"huber", XT, "y = huber(x, t)", 0, r_huber, NULL},
    {"huber delta", XT, "y = huber(x, t, delta=0.7)", 0, r_huber7, NULL},
    {"smooth_l1", XT, "y = smooth_l1(x, t, beta=0.7)", 0, r_smooth_l1, NULL},
    {"log_cosh", XT, "y = log_cosh(x, t)", 0, r_log_cosh, NULL},
    {"kl_div", XT, "y = kl_div(x, sigmoid(t))", 0, r_kl, NULL},
    {"hinge", XT, TPM "y = hinge(x, t1)", 0, r_hinge, NULL},
    {"soft_margin", XT, TPM "y = soft_margin(x, t1)", 0, r_soft_margin, NULL},
    {"multi_margin", XI, "y = multi_margin(x, ids, margin=0.8)", 0, r_multi_margin, NULL},
    {"cosine_similarity", XT, "y = cosine_similarity(x, t)", 0, r_cosine, NULL},
    {"cosine_embedding", XT ", side: f64[B]", "y = cosine_embedding(x, t, side, margin=0.1)", 0,
     r_cosine_embedding, NULL},
    {"triplet_margin", XT ", u: f64[B, 5]", "y = triplet_margin(x, t, u)", 0, r_triplet, NULL},
    {"margin_ranking", XT, "y = margin_ranking(x, t, ones_like(x), margin=0.5)", 0,
     r_margin_ranking, NULL},
    {"poisson_nll", XT, "y = poisson_nll(x, t)", 0, r_poisson, NULL},
    {"gaussian_nll", XT, "y = gaussian_nll(x, t, exp(0.5 * t))", 0, r_gaussian, NULL},
    {"gaussian_nll variance", XT, "y = gaussian_nll(t, t + 1.0, exp(x))", 0, NULL, NULL},
    {"dice", XT, T01 "y = dice(sigmoid(x), t1)", 0, r_dice, NULL},
    {"focal", XT, T01 "y = focal(x, t1)", 0, r_focal, NULL},
    {"info_nce", XT, "y = info_nce(x, t, temperature=0.5)", 0, r_info_nce, NULL},
};

const Group LOSSES = {"losses", CASES, sizeof CASES / sizeof CASES[0], NULL};
