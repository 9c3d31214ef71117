/* Makes the data of examples/heat_pinn.dl: random points (x, t) in the unit square and points x0 on
 * the start line, each [N, 1] f32, as NPY files X.npy, T.npy, X0.npy in a folder. With --grid N
 * instead: an N x N grid of (x, t). With --compare U.npy N: the largest distance of a prediction on
 * that grid from exp(-a pi^2 t) sin(pi x), a = 0.1. */
#include "dlc/dlc.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

static double random_unit(uint64_t *state) {
    uint64_t z = (*state += 0x9E3779B97F4A7C15u); /* SplitMix64 */
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
}

static int write_column(dlc_context *context, const char *folder, const char *name, float *data,
                        int64_t n) {
    char path[4096];
    int64_t shape[2] = {n, 1};
    DLTensor tensor = {
        .data = data, .device = {kDLCPU, 0}, .ndim = 2, .dtype = {kDLFloat, 32, 1}, .shape = shape};
    snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    if (dlc_tensor_write(context, path, &tensor) != DLC_OK) {
        fprintf(stderr, "heat_points: %s\n", dlc_last_error(context));
        return 1;
    }
    return 0;
}

static int write_points(dlc_context *context, const char *folder, int64_t n, uint64_t seed,
                        int64_t grid) {
    static const char *const names[] = {"x", "t", "x0"};
    float *data = malloc((size_t)n * sizeof *data);
    int status = data ? 0 : 1;
    for (int column = 0; status == 0 && column < (grid ? 2 : 3); column++) {
        for (int64_t i = 0; i < n; i++) {
            int64_t at = grid == 0 ? 0 : column == 0 ? i % grid : i / grid;
            double on_grid = grid == 0 ? 0 : (double)at / (double)(grid - 1);
            data[i] = (float)(grid ? on_grid : random_unit(&seed));
        }
        status = write_column(context, folder, names[column], data, n);
    }
    free(data);
    return status;
}

static int compare(dlc_context *context, const char *path, int64_t grid) {
    DLManagedTensorVersioned *u = NULL;
    if (dlc_tensor_read(context, path, &u) != DLC_OK) {
        fprintf(stderr, "heat_points: %s\n", dlc_last_error(context));
        return 1;
    }
    const float *values = u->dl_tensor.data;
    double worst = 0;
    int status = u->dl_tensor.ndim == 2 && u->dl_tensor.shape[0] == grid * grid ? 0 : 1;
    for (int64_t i = 0; status == 0 && i < grid * grid; i++) {
        double x = (double)(i % grid) / (double)(grid - 1),
               t = (double)(i / grid) / (double)(grid - 1);
        worst = fmax(worst, fabs((double)values[i] - exp(-0.1 * pi * pi * t) * sin(pi * x)));
    }
    u->deleter(u);
    if (status == 0) {
        printf("max_error %.6g\n", worst);
    }
    return status;
}

int main(int argc, char **argv) {
    dlc_context *context = NULL;
    int64_t number =
        argc == 4 ? atoll(argv[argc == 4 && !strcmp(argv[1], "--compare") ? 3 : 2]) : 0;
    if (number < 2 || number > 100000000 || dlc_context_create(NULL, &context) != DLC_OK) {
        fprintf(stderr,
                "usage: heat_points FOLDER COUNT SEED | --grid N FOLDER | --compare U.npy N\n");
        return 2;
    }
    int status;
    if (!strcmp(argv[1], "--compare")) {
        status = compare(context, argv[2], number);
    } else if (!strcmp(argv[1], "--grid")) {
        status = write_points(context, argv[3], number * number, 0, number);
    } else {
        status = write_points(context, argv[1], number, strtoull(argv[3], NULL, 10), 0);
    }
    dlc_context_destroy(context);
    return status;
}
