/* Compiles a model from memory, trains it on data made here, and predicts: the library on one page.
 *     cc embed.c $(pkg-config --cflags --libs dlc) -lm -o embed && ./embed */
#include <dlc/dlc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char program[] = "dim B\n"
                              "model curve(x: f32[B, 1], y: f32[B, 1]) {\n"
                              "    fit = x |> linear(32) as first |> tanh |> linear(1) as last\n"
                              "    output fit\n"
                              "    loss mse(fit, y)\n"
                              "}\n"
                              "train curve { optimizer adam(lr=0.01); batch 64; steps 2000 }\n";
static dlc_context *context;

static void check(dlc_status status) {
    if (status != DLC_OK) {
        fprintf(stderr, "%s\n%s", dlc_last_error(context), dlc_diagnostics_text(context, 0));
        exit(1);
    }
}

int main(void) {
    dlc_plan *plan;
    dlc_session *session;
    check(dlc_context_create(NULL, &context));
    check(dlc_compile(context, program, strlen(program), NULL, &plan));
    check(dlc_session_create(plan, NULL, &session));
    check(dlc_init_weights(session));

    float x[64], y[64];
    int64_t shape[2] = {64, 1};
    DLTensor xs = {
        .data = x, .device = {kDLCPU, 0}, .ndim = 2, .dtype = {kDLFloat, 32, 1}, .shape = shape};
    DLTensor ys = xs;
    ys.data = y;
    dlc_step_info info = {.struct_size = sizeof info};
    while (info.step < 2000) {
        for (int i = 0; i < 64; i++) {
            x[i] = 6.0f * (float)rand() / (float)RAND_MAX - 3.0f;
            y[i] = sinf(x[i]);
        }
        check(dlc_set_input(session, "train", "x", &xs));
        check(dlc_set_input(session, "train", "y", &ys));
        check(dlc_train_step(session, &info));
    }
    const DLTensor *fit;
    check(dlc_set_input(session, "infer", "x", &xs));
    check(dlc_run(session, "infer"));
    check(dlc_view_output(session, "infer", "fit", &fit));
    printf("loss %.6f: sin(%.3f) = %.3f, predicted %.3f\n", info.loss, x[0], y[0],
           ((float *)fit->data)[0]);
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
}
