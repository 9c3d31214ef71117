/* Update rules: five steps on a quadratic with a known gradient, beside PyTorch's formulas in C.
 * The loss is sum(a / 2 * w^2 + b * w) over w [2, 3], so that the gradient is a * w + b. */
#include "tests/std/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N = 6, STEPS = 7 };

/* One parameter tensor with what an optimiser keeps; t counts from 1. */
typedef struct Slots {
    double m[N], v[N], u[N], product;
} Slots;
typedef void Rule(double *p, const double *g, Slots *s, double t);

#define EACH for (int i = 0; i < N; i++)

static void u_sgd(double *p, const double *g, Slots *s, double t) {
    (void)s, (void)t;
    EACH {
        p[i] -= 1e-3 * g[i];
    }
}
static void sgd_with(double *p, const double *g, Slots *s, double t, double damp, bool nesterov,
                     double decay) {
    EACH {
        double d = g[i] + decay * p[i];
        s->m[i] = t == 1 ? d : 0.9 * s->m[i] + (1 - damp) * d;
        p[i] -= 0.05 * (nesterov ? d + 0.9 * s->m[i] : s->m[i]);
    }
}
static void u_sgd_momentum(double *p, const double *g, Slots *s, double t) {
    sgd_with(p, g, s, t, 0, false, 0.1);
}
static void u_sgd_damp(double *p, const double *g, Slots *s, double t) {
    sgd_with(p, g, s, t, 0.3, false, 0);
}
static void u_sgd_nesterov(double *p, const double *g, Slots *s, double t) {
    sgd_with(p, g, s, t, 0, true, 0.1);
}
static void adam_with(double *p, const double *g, Slots *s, double t, double lr, double b1,
                      double b2, double eps, double decay, double decoupled, bool amsgrad) {
    EACH {
        double d = g[i] + decay * p[i];
        p[i] *= 1 - lr * decoupled;
        s->m[i] = b1 * s->m[i] + (1 - b1) * d;
        s->v[i] = b2 * s->v[i] + (1 - b2) * d * d;
        s->u[i] = fmax(s->u[i], s->v[i]);
        double second = (amsgrad ? s->u[i] : s->v[i]) / (1 - pow(b2, t));
        p[i] -= lr * (s->m[i] / (1 - pow(b1, t))) / (sqrt(second) + eps);
    }
}
static void u_adam(double *p, const double *g, Slots *s, double t) {
    adam_with(p, g, s, t, 1e-3, 0.9, 0.999, 1e-8, 0, 0, false);
}
static void u_adam_all(double *p, const double *g, Slots *s, double t) {
    adam_with(p, g, s, t, 0.1, 0.8, 0.95, 1e-3, 0.1, 0, true);
}
static void u_adamw(double *p, const double *g, Slots *s, double t) {
    adam_with(p, g, s, t, 1e-3, 0.9, 0.999, 1e-8, 0, 0.01, false);
}
static void u_adamw_all(double *p, const double *g, Slots *s, double t) {
    adam_with(p, g, s, t, 0.1, 0.8, 0.95, 1e-3, 0, 0.2, true);
}
static void u_adamax(double *p, const double *g, Slots *s, double t) {
    EACH {
        double d = g[i] + 0.1 * p[i];
        s->m[i] = 0.9 * s->m[i] + 0.1 * d;
        s->v[i] = fmax(0.999 * s->v[i], fabs(d) + 1e-8);
        p[i] -= 2e-3 / (1 - pow(0.9, t)) * s->m[i] / s->v[i];
    }
}
static void u_nadam(double *p, const double *g, Slots *s, double t) {
    double mu = 0.9 * (1 - 0.5 * pow(0.96, t * 4e-3));
    double next = 0.9 * (1 - 0.5 * pow(0.96, (t + 1) * 4e-3));
    s->product = (t == 1 ? 1 : s->product) * mu;
    EACH {
        double d = g[i] + 0.1 * p[i];
        s->m[i] = 0.9 * s->m[i] + 0.1 * d;
        s->v[i] = 0.999 * s->v[i] + 0.001 * d * d;
        double root = sqrt(s->v[i] / (1 - pow(0.999, t))) + 1e-8;
        p[i] -= 2e-3 * (1 - mu) / (1 - s->product) * d / root;
        p[i] -= 2e-3 * next / (1 - s->product * next) * s->m[i] / root;
    }
}
static void u_radam(double *p, const double *g, Slots *s, double t) {
    double c2 = 1 - pow(0.999, t), longest = 2 / (1 - 0.999) - 1;
    double length = longest - 2 * t * pow(0.999, t) / c2;
    EACH {
        double d = g[i] + 0.1 * p[i];
        s->m[i] = 0.9 * s->m[i] + 0.1 * d;
        s->v[i] = 0.999 * s->v[i] + 0.001 * d * d;
        double m = s->m[i] / (1 - pow(0.9, t));
        if (length > 5) {
            double rect = sqrt((length - 4) * (length - 2) * longest /
                               ((longest - 4) * (longest - 2) * length));
            p[i] -= 1e-3 * m * rect * sqrt(c2) / (sqrt(s->v[i]) + 1e-8);
        } else {
            p[i] -= 1e-3 * m;
        }
    }
}
static void rmsprop_with(double *p, const double *g, Slots *s, double momentum, bool centred) {
    EACH {
        double d = g[i] + 0.1 * p[i];
        s->v[i] = 0.99 * s->v[i] + 0.01 * d * d;
        s->m[i] = 0.99 * s->m[i] + 0.01 * d;
        double root = sqrt(s->v[i] - (centred ? s->m[i] * s->m[i] : 0)) + 1e-8;
        s->u[i] = momentum * s->u[i] + d / root;
        p[i] -= 0.01 * s->u[i];
    }
}
static void u_rmsprop(double *p, const double *g, Slots *s, double t) {
    (void)t;
    rmsprop_with(p, g, s, 0, false);
}
static void u_rmsprop_all(double *p, const double *g, Slots *s, double t) {
    (void)t;
    rmsprop_with(p, g, s, 0.9, true);
}
static void u_adagrad(double *p, const double *g, Slots *s, double t) {
    EACH {
        double d = g[i] + 0.1 * p[i];
        s->v[i] = (t == 1 ? 0.5 : s->v[i]) + d * d;
        p[i] -= 0.01 / (1 + (t - 1) * 0.2) * d / (sqrt(s->v[i]) + 1e-10);
    }
}
static void u_adadelta(double *p, const double *g, Slots *s, double t) {
    (void)t;
    EACH {
        double d = g[i] + 0.1 * p[i];
        s->v[i] = 0.9 * s->v[i] + 0.1 * d * d;
        double delta = sqrt(s->u[i] + 1e-6) / sqrt(s->v[i] + 1e-6) * d;
        s->u[i] = 0.9 * s->u[i] + 0.1 * delta * delta;
        p[i] -= delta;
    }
}
static void u_lamb(double *p, const double *g, Slots *s, double t) {
    double r[N], p_norm = 0, r_norm = 0;
    EACH {
        s->m[i] = 0.9 * s->m[i] + 0.1 * g[i];
        s->v[i] = 0.999 * s->v[i] + 0.001 * g[i] * g[i];
        r[i] = s->m[i] / (1 - pow(0.9, t)) / (sqrt(s->v[i] / (1 - pow(0.999, t))) + 1e-6) +
               0.01 * p[i];
        p_norm += p[i] * p[i];
        r_norm += r[i] * r[i];
    }
    EACH {
        p[i] -= 0.02 * sqrt(p_norm / r_norm) * r[i];
    }
}
static void u_lion(double *p, const double *g, Slots *s, double t) {
    (void)t;
    EACH {
        double way = 0.9 * s->m[i] + 0.1 * g[i];
        p[i] *= 1 - 0.01 * 0.2;
        p[i] -= 0.01 * (way > 0 ? 1 : way < 0 ? -1 : 0);
        s->m[i] = 0.99 * s->m[i] + 0.01 * g[i];
    }
}
static void u_heavy(double *p, const double *g, Slots *s, double t) {
    (void)t;
    EACH {
        s->m[i] = 0.9 * s->m[i] + g[i];
        p[i] -= 0.05 * s->m[i];
    }
}

/* The optimiser as the train block has it, and its rule. `inputs` stays NULL: no case of the common
 * kind. */
static const Case CASES[] = {
    {.name = "sgd", .body = "sgd"},
    {.name = "sgd momentum", .body = "sgd(lr=0.05, momentum=0.9, weight_decay=0.1)"},
    {.name = "sgd dampening", .body = "sgd(lr=0.05, momentum=0.9, dampening=0.3)"},
    {.name = "sgd nesterov", .body = "sgd(0.05, momentum=0.9, nesterov=true, weight_decay=0.1)"},
    {.name = "adam", .body = "adam"},
    {.name = "adam all",
     .body = "adam(lr=0.1, beta1=0.8, beta2=0.95, eps=1e-3, weight_decay=0.1, amsgrad=true)"},
    {.name = "adamw", .body = "adamw"},
    {.name = "adamw all",
     .body = "adamw(lr=0.1, beta1=0.8, beta2=0.95, eps=1e-3, weight_decay=0.2, amsgrad=true)"},
    {.name = "adamax", .body = "adamax(weight_decay=0.1)"},
    {.name = "nadam", .body = "nadam(weight_decay=0.1)"},
    {.name = "radam", .body = "radam(weight_decay=0.1)"},
    {.name = "rmsprop", .body = "rmsprop(weight_decay=0.1)"},
    {.name = "rmsprop all", .body = "rmsprop(weight_decay=0.1, momentum=0.9, centered=true)"},
    {.name = "adagrad", .body = "adagrad(weight_decay=0.1, lr_decay=0.2, initial=0.5)"},
    {.name = "adadelta", .body = "adadelta(weight_decay=0.1)"},
    {.name = "lamb", .body = "lamb(lr=0.02)"},
    {.name = "lion", .body = "lion(lr=0.01, weight_decay=0.2)"},
    {.name = "heavy_ball, the user's", .body = "heavy_ball(momentum=0.9)"},
};
static Rule *const RULES[] = {u_sgd,      u_sgd_momentum, u_sgd_damp,    u_sgd_nesterov, u_adam,
                              u_adam_all, u_adamw,        u_adamw_all,   u_adamax,       u_nadam,
                              u_radam,    u_rmsprop,      u_rmsprop_all, u_adagrad,      u_adadelta,
                              u_lamb,     u_lion,         u_heavy};
_Static_assert(sizeof RULES / sizeof RULES[0] == sizeof CASES / sizeof CASES[0], "a rule a case");

static bool check_rule(const Case *one, Rule *rule) {
    Model model;
    char text[2048];
    snprintf(text, sizeof text,
             "optimizer heavy_ball(lr = 0.05, momentum = 0.5) {\n"
             "    state v = zeros\n"
             "    v <- momentum * v + grad\n"
             "    param <- param - lr * v\n}\n"
             "model m(a: f64[2, 3], b: f64[2, 3]) {\n"
             "    param w: [2, 3] = ones\n"
             "    output w\n"
             "    loss sum(0.5 * a * w * w + b * w)\n}\n"
             "train m {\n    optimizer %s\n    batch 1\n}\n",
             one->body);
    bool good = model_open(&model, text, 1);
    const Array *a = good ? model_input(&model, "a") : NULL;
    const Array *b = good ? model_input(&model, "b") : NULL;
    Slots slots = {.product = 1};
    double p[N] = {0}, g[N];
    good = good && a && b && model_variable(&model, "w");
    if (good) {
        memcpy(p, model_variable(&model, "w")->v, sizeof p);
    }
    for (int step = 1; step <= STEPS && good; step++) {
        dlc_step_info info;
        const DLTensor *tensor = NULL;
        EACH {
            g[i] = a->v[i] * p[i] + b->v[i];
        }
        rule(p, g, &slots, step);
        good = model_train_step(&model, &info);
        if (good && dlc_view_variable(model.session, "w", &tensor) != DLC_OK) {
            good = model_fail(&model, "w: %s", dlc_last_error(model.context));
        }
        for (int i = 0; i < N && good; i++) {
            double got = ((const double *)tensor->data)[i];
            good = near(got, p[i], 1e-7) ||
                   model_fail(&model, "after step %d w[%d] = %.12g, expected %.12g", step, i, got,
                              p[i]);
        }
    }
    if (!good) {
        printf("FAILED %s: %s\n", one->name, model.error);
    }
    model_close(&model);
    return good;
}

static bool check_rules(void) {
    bool good = true;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        good = check_rule(&CASES[i], RULES[i]) && good;
    }
    return good;
}

const Group OPTIMIZERS = {"optimizers", CASES, sizeof CASES / sizeof CASES[0], check_rules};
