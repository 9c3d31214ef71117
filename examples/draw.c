/* Draws test images of examples/digits.dl in the terminal, each with the model's prediction: a
 * plan, its weights and a dataset used from C. Usage: draw digits.plan digits.safetensors
 * digits_test.npz [COUNT] */
#include "dlc/dlc.h"
#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 8, PER_ROW = 10, MAX_IMAGES = 60 };

/* Two pixel rows a text line: the upper half block takes the upper pixel as foreground, the lower
 * as background. */
static void draw_row(const float *images, const int32_t *labels, const int *predictions,
                     int count) {
    for (int y = 0; y < SIDE; y += 2) {
        for (int i = 0; i < count; i++) {
            const float *image = images + i * SIDE * SIDE;
            for (int x = 0; x < SIDE; x++) {
                int upper = 232 + (int)(23 * image[y * SIDE + x]);
                int lower = 232 + (int)(23 * image[(y + 1) * SIDE + x]);
                printf("\033[38;5;%dm\033[48;5;%dm\xe2\x96\x80", upper, lower);
            }
            printf("\033[0m  ");
        }
        putchar('\n');
    }
    for (int i = 0; i < count; i++) {
        int right = predictions[i] == labels[i];
        char text[32];
        snprintf(text, sizeof text, right ? "%d" : "%d (is %d)", predictions[i], (int)labels[i]);
        printf("%s%-10s\033[0m", right ? "\033[32m" : "\033[31m", text);
    }
    puts("\n");
}

static int draw(dlc_context *context, char **argv, int64_t count) {
    dlc_plan *plan = NULL;
    dlc_session *session = NULL;
    dlc_dataset *data = NULL;
    const DLTensor *logits = NULL;
    float images[MAX_IMAGES * SIDE * SIDE];
    int32_t labels[MAX_IMAGES];
    int64_t rows[MAX_IMAGES];
    int predictions[MAX_IMAGES];
    dlc_status status = dlc_plan_load(context, argv[1], 0, &plan);
    if (status == DLC_OK && (status = dlc_session_create(plan, NULL, &session)) == DLC_OK &&
        (status = dlc_weights_load(session, argv[2], NULL)) == DLC_OK) {
        status = dlc_dataset_open(context, argv[3], NULL, &data);
    }
    if (status == DLC_OK && count > dlc_dataset_rows(data)) {
        count = dlc_dataset_rows(data);
    }
    for (int64_t i = 0; i < count; i++) {
        rows[i] = i;
    }
    size_t n = (size_t)count;
    if (status == DLC_OK &&
        (status = dlc_dataset_read(data, "image", rows, count, images,
                                   n * SIDE * SIDE * sizeof *images)) == DLC_OK &&
        (status = dlc_dataset_read(data, "label", rows, count, labels, n * sizeof *labels)) ==
            DLC_OK &&
        (status = dlc_set_inputs(session, "infer", data, rows, count)) == DLC_OK &&
        (status = dlc_run(session, "infer")) == DLC_OK) {
        status = dlc_view_output(session, "infer", NULL, &logits);
    }
    if (status == DLC_OK) {
        for (int i = 0; i < count; i++) {
            const float *row = (const float *)logits->data + i * 10;
            predictions[i] = 0;
            for (int c = 1; c < 10; c++) {
                predictions[i] = row[c] > row[predictions[i]] ? c : predictions[i];
            }
        }
        for (int i = 0; i < count; i += PER_ROW) {
            draw_row(images + i * SIDE * SIDE, labels + i, predictions + i,
                     count - i < PER_ROW ? (int)count - i : PER_ROW);
        }
    } else {
        fprintf(stderr, "draw: %s\n", dlc_last_error(context));
    }
    dlc_dataset_destroy(data);
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
    return status == DLC_OK ? 0 : 1;
}

int main(int argc, char **argv) {
    int64_t count = argc > 4 ? atoll(argv[4]) : 20;
    if (argc < 4 || count < 1 || count > MAX_IMAGES) {
        fprintf(stderr, "usage: draw PLAN WEIGHTS DATA [COUNT up to %d]\n", MAX_IMAGES);
        return 2;
    }
    dlc_context *context = NULL;
    if (dlc_context_create(NULL, &context) != DLC_OK) {
        return 1;
    }
    int status = draw(context, argv, count);
    dlc_context_destroy(context);
    return status;
}
