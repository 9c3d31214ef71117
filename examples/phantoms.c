/* Makes the data of examples/unet.dl: phantoms of overlapping ellipses, as in tomography (after
 * Shepp and Logan, 1974), and the same images with noise. Writes clean and noisy [N, 1, size, size]
 * f32 as NPY files. Usage: phantoms COUNT SIZE SEED CLEAN.npy NOISY.npy */
#include "dlc/dlc.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t random_state;

/* SplitMix64 (Steele, Lea & Flood, 2014). */
static double random_unit(void) {
    uint64_t z = (random_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
}

static double random_normal(void) {
    double radius = sqrt(-2 * log(1 - random_unit()));
    return radius * cos(6.283185307179586 * random_unit());
}

static void add_ellipse(float *image, int size, double cx, double cy, double a, double b,
                        double angle, double value) {
    double c = cos(angle), s = sin(angle);
    for (int y = 0; y < size; y++) {
        for (int x = 0; x < size; x++) {
            double u = 2.0 * x / (size - 1) - 1 - cx, v = 2.0 * y / (size - 1) - 1 - cy;
            double p = (c * u + s * v) / a, q = (c * v - s * u) / b;
            if (p * p + q * q <= 1) {
                image[y * size + x] += (float)value;
            }
        }
    }
}

static void draw_phantom(float *image, int size) {
    add_ellipse(image, size, 0, 0, 0.7 + 0.2 * random_unit(), 0.75 + 0.2 * random_unit(), 0, 0.3);
    int n = 4 + (int)(5 * random_unit());
    for (int i = 0; i < n; i++) {
        double cx = random_unit() - 0.5, cy = random_unit() - 0.5;
        double a = 0.05 + 0.3 * random_unit(), b = 0.05 + 0.3 * random_unit();
        double angle = 3.14159265358979 * random_unit();
        add_ellipse(image, size, cx, cy, a, b, angle, 0.5 * random_unit() - 0.15);
    }
}

static int write_images(dlc_context *context, const char *path, float *data, int64_t count,
                        int64_t size) {
    int64_t shape[4] = {count, 1, size, size};
    DLTensor tensor = {
        .data = data, .device = {kDLCPU, 0}, .ndim = 4, .dtype = {kDLFloat, 32, 1}, .shape = shape};
    if (dlc_tensor_write(context, path, &tensor) != DLC_OK) {
        fprintf(stderr, "phantoms: %s\n", dlc_last_error(context));
        return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    int count = argc == 6 ? atoi(argv[1]) : 0, size = argc == 6 ? atoi(argv[2]) : 0;
    if (count < 1 || count > 100000 || size < 8 || size > 1024) {
        fprintf(stderr, "usage: phantoms COUNT SIZE SEED CLEAN.npy NOISY.npy\n");
        return 2;
    }
    random_state = strtoull(argv[3], NULL, 10);
    size_t pixels = (size_t)size * (size_t)size;
    float *clean = calloc((size_t)count * pixels, sizeof *clean);
    float *noisy = calloc((size_t)count * pixels, sizeof *noisy);
    dlc_context *context = NULL;
    int status = clean && noisy && dlc_context_create(NULL, &context) == DLC_OK ? 0 : 1;
    for (int i = 0; status == 0 && i < count; i++) {
        draw_phantom(clean + (size_t)i * pixels, size);
        for (size_t p = 0; p < pixels; p++) {
            size_t at = (size_t)i * pixels + p;
            noisy[at] = clean[at] + (float)(0.1 * random_normal());
        }
    }
    if (status == 0) {
        status = write_images(context, argv[4], clean, count, size) ||
                 write_images(context, argv[5], noisy, count, size);
    }
    dlc_context_destroy(context);
    free(clean);
    free(noisy);
    return status;
}
