/* Random graphs: dims and arguments to run them with, and how near results must be. */
#include "tests/fuzz/random_graph_internal.h"

#include <math.h>

void random_add_dims(Module *module, int64_t low) {
    module_add_dim(module, "B", low, INT64_MAX, 1, 5, (Place){0});
    module_add_dim(module, "T", low, 64, 1, 4, (Place){0});
}

bool may_be_empty(const Size *size) {
    int64_t low = 0, high = 0;
    size_range(size, &low, &high);
    return low < 1;
}

void random_dims(const Module *module, uint64_t seed, int64_t dim_values[2]) {
    static const int64_t ROWS[] = {1, 2, 3, 5, 8, 17}, STEPS[] = {1, 2, 3, 4, 7};
    uint64_t state = seed ^ 0xD1A5;
    dim_values[0] = ROWS[(next_bits(&state) >> 33) % 6];
    dim_values[1] = STEPS[(next_bits(&state) >> 33) % 5];
    uint64_t empty = (next_bits(&state) >> 33) % 4; /* a bit each */
    for (int i = 0; i < 2; i++) {
        dim_values[i] = empty >> i & 1 && module->dims[i]->low == 0 ? 0 : dim_values[i];
    }
}

bool random_args_shape(const Func *func, const int64_t *dim_values, int32_t n_dims,
                       EvalTensor *out) {
    for (int32_t k = 0; k < func->body->n_args; k++) {
        Type type = func->body->args[k]->type;
        int64_t dims[TYPE_MAX_RANK] = {0};
        bool good = true;
        for (int32_t i = 0; i < type.rank; i++) {
            good = good && size_eval(type.dims[i], dim_values, n_dims, &dims[i]);
        }
        if (!good || eval_tensor_init(&out[k], type.dtype, type.rank, dims, NULL)) {
            while (k-- > 0) {
                eval_tensor_finish(&out[k], NULL);
            }
            return false;
        }
    }
    return true;
}

bool random_args(const Func *func, uint64_t seed, const int64_t *dim_values, int32_t n_dims,
                 bool exact, EvalTensor *out) {
    uint64_t state = seed ^ 0xA265;
    if (!random_args_shape(func, dim_values, n_dims, out)) {
        return false;
    }
    for (int32_t k = 0; k < func->body->n_args; k++) {
        DType dtype = func->body->args[k]->type.dtype;
        for (int64_t i = 0; i < out[k].n; i++) {
            uint64_t bits = next_bits(&state);
            if (out[k].f) {
                double unit = (double)(bits >> 11) * 0x1p-53;
                out[k].f[i] = exact ? (double)((int64_t)(bits >> 33) % 33 - 16) / 8 : 4 * unit - 2;
            } else if (dtype == DT_BOOL) {
                out[k].i[i] = (int64_t)(bits >> 63);
            } else {
                int64_t number = (int64_t)(bits >> 33) % 21 - 10;
                out[k].i[i] = dtype == DT_U8 && number < 0 ? -number : number;
            }
        }
    }
    return true;
}

static double unit_of(DType dtype) {
    return dtype == DT_F16    ? 0x1p-10
           : dtype == DT_BF16 ? 0x1p-7
           : dtype == DT_F64  ? 0x1p-46
                              : 0x1p-23;
}

bool random_close(const EvalTensor *wide, const EvalTensor *declared, const EvalTensor *got,
                  DType coarsest, int64_t *out_index) {
    double scale = 0, apart = 0;
    for (int64_t i = 0; wide->f && i < wide->n; i++) {
        scale = fmax(scale, fabs(wide->f[i]));
        apart = fmax(apart, fabs(wide->f[i] - declared->f[i]));
    }
    double allowed = 60 * unit_of(coarsest) * (scale + 0.1) + 30 * apart;
    for (int64_t i = 0; i < got->n; i++) {
        bool good = got->f ? fabs(got->f[i] - wide->f[i]) <= allowed : got->i[i] == declared->i[i];
        if (got->f && isnan(wide->f[i])) {
            good = isnan(got->f[i]);
        }
        if (!good && !(got->f && got->f[i] == wide->f[i])) {
            *out_index = i;
            return false;
        }
    }
    return true;
}

static void visit_coarsest(Op *op, void *user) {
    DType *coarsest = user;
    for (int32_t i = 0; i < op->n_results; i++) {
        DType dtype = op->results[i]->type.dtype;
        if (dtype_is_float(dtype) && unit_of(dtype) > unit_of(*coarsest)) {
            *coarsest = dtype;
        }
    }
}

DType random_coarsest(Func *func) {
    DType coarsest = DT_F64;
    func_each_op(func, visit_coarsest, &coarsest);
    for (int32_t i = 0; i < func->body->n_args; i++) {
        DType dtype = func->body->args[i]->type.dtype;
        if (dtype_is_float(dtype) && unit_of(dtype) > unit_of(coarsest)) {
            coarsest = dtype;
        }
    }
    return coarsest;
}
