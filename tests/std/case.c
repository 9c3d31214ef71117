/* One case of a table: writes the program around the case's body, checks values against the
 * reference, and first and second derivatives by inputs and parameters against central differences.
 */
#include "tests/std/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double STEP = 1e-5, TOLERANCE = 2e-6, VALUE_TOLERANCE = 1e-11;

static void write_program(const Case *one, char *text, size_t capacity) {
    bool derivatives = !(one->flags & CASE_VALUES_ONLY);
    bool by_x = derivatives && !(one->flags & CASE_NO_X);
    bool second = by_x && !(one->flags & CASE_FIRST_ONLY);
    snprintf(text, capacity,
             "dim B\n"
             "model m(%s) {\n"
             "    param probe: [1] = ones\n"
             "    %s\n"
             "%s%s%s"
             "    output y\n"
             "%s"
             "}\n"
             "%s",
             one->inputs, one->body, derivatives ? "    l = sum(sin(1.3 * y) + 0.2 * y * y)\n" : "",
             by_x ? "    gx = grad(l, x)\n    output l\n    output gx\n" : "",
             second
                 ? "    s = sum(sin(0.7 * gx))\n    hx = grad(s, x)\n    output s\n    output hx\n"
                 : "",
             !derivatives ? ""
             : second     ? "    loss l + 0.1 * s + sum(probe * probe)\n"
                          : "    loss l + sum(probe * probe)\n",
             derivatives ? "train m {\n    optimizer sgd(lr=1.0)\n    batch 2\n}\n" : "");
}

static bool check_values(Model *model, const Case *one) {
    Array y = {0};
    if (!model_run(model, "infer") || !model_output(model, "y", &y)) {
        return false;
    }
    double *expected = calloc((size_t)y.n + 1, sizeof *expected);
    bool good = expected != NULL;
    if (one->reference) {
        one->reference(model, &y, expected);
    } else if (one->scalar) {
        const Array *x = model_input(model, "x");
        good = x && x->n == y.n;
        for (int64_t i = 0; good && i < y.n; i++) {
            expected[i] = one->scalar(4 * x->v[i]);
        }
    }
    for (int64_t i = 0; good && i < y.n; i++) {
        if (isnan(y.v[i]) && !isnan(expected[i])) {
            good = model_fail(model, "y[%lld] is nan", (long long)i);
        } else if ((one->reference || one->scalar) && !near(y.v[i], expected[i], VALUE_TOLERANCE)) {
            good = model_fail(model, "y[%lld] = %.15g, expected %.15g", (long long)i, y.v[i],
                              expected[i]);
        }
    }
    free(expected);
    free(y.v);
    return good;
}

static bool scalar_output(Model *model, const char *name, double *out) {
    Array array = {0};
    if (!model_run(model, "infer") || !model_output(model, name, &array)) {
        return false;
    }
    *out = array.v[0];
    free(array.v);
    return true;
}

/* Output `gradient` against differences of the scalar output `value` by input x. */
static bool check_by_input(Model *model, const char *value, const char *gradient) {
    Array g = {0}, *x = model_input(model, "x");
    if (!x || !model_restore(model) || !model_run(model, "infer") ||
        !model_output(model, gradient, &g)) {
        return false;
    }
    bool good = g.n == x->n || model_fail(model, "%s has another shape than x", gradient);
    for (int64_t i = 0; good && i < x->n; i++) {
        double kept = x->v[i], sides[2] = {0, 0};
        for (int side = 0; side < 2 && good; side++) {
            x->v[i] = kept + (side ? STEP : -STEP);
            good = model_restore(model) && scalar_output(model, value, &sides[side]);
        }
        x->v[i] = kept;
        double expected = (sides[1] - sides[0]) / (2 * STEP);
        if (good && !near(g.v[i], expected, TOLERANCE)) {
            good = model_fail(model, "%s[%lld] = %.10g, differences of %s give %.10g", gradient,
                              (long long)i, g.v[i], value, expected);
        }
    }
    free(g.v);
    return good && model_restore(model);
}

static bool train_loss(Model *model, double *out) {
    dlc_step_info info;
    if (!model_restore(model) || !model_train_step(model, &info)) {
        return false;
    }
    *out = info.loss;
    return true;
}

/* One step of plain descent with rate 1 moves every parameter by minus its gradient. */
static bool check_by_parameters(Model *model) {
    double loss = 0;
    Array moved[MAX_ARRAYS] = {0};
    bool good = train_loss(model, &loss);
    for (size_t k = 0; k < model->n_variables && good; k++) {
        good = model_now(model, model->variables[k].name, &moved[k]);
    }
    for (size_t k = 0; k < model->n_variables && good; k++) {
        Array *variable = &model->variables[k];
        dlc_tensor_info info = {.struct_size = sizeof(info)};
        if (dlc_plan_variable(model->plan, k, &info) != DLC_OK || info.role != DLC_ROLE_PARAM) {
            continue;
        }
        for (int64_t i = 0; good && i < variable->n; i++) {
            double kept = variable->v[i], sides[2] = {0, 0};
            for (int side = 0; side < 2 && good; side++) {
                variable->v[i] = kept + (side ? STEP : -STEP);
                good = train_loss(model, &sides[side]);
            }
            variable->v[i] = kept;
            double expected = (sides[1] - sides[0]) / (2 * STEP), got = kept - moved[k].v[i];
            if (good && !near(got, expected, TOLERANCE)) {
                good = model_fail(model, "gradient by %s[%lld] = %.10g, differences give %.10g",
                                  variable->name, (long long)i, got, expected);
            }
        }
    }
    for (size_t k = 0; k < MAX_ARRAYS; k++) {
        free(moved[k].v);
    }
    return good && model_restore(model);
}

static bool check_eval_loss(Model *model) {
    double trained = 0, evaluated = 0;
    if (!train_loss(model, &trained) || !model_restore(model) || !model_run(model, "eval") ||
        !model_metric(model, "eval", "loss", &evaluated)) {
        return false;
    }
    return near(trained, evaluated, 1e-12) ||
           model_fail(model, "loss %.15g in training, %.15g in eval", trained, evaluated);
}

bool case_check(const Case *one) {
    char text[4096];
    Model model;
    write_program(one, text, sizeof text);
    bool good = model_open(&model, text, 2) && check_values(&model, one);
    if (good && !(one->flags & (CASE_VALUES_ONLY | CASE_NO_X))) {
        good = check_by_input(&model, "l", "gx") &&
               ((one->flags & CASE_FIRST_ONLY) || check_by_input(&model, "s", "hx"));
    }
    if (good && !(one->flags & CASE_VALUES_ONLY)) {
        good = check_by_parameters(&model) &&
               ((one->flags & CASE_TRAINING) || check_eval_loss(&model));
    }
    if (!good) {
        printf("FAILED %s: %s\n", one->name, model.error);
    }
    model_close(&model);
    return good;
}
