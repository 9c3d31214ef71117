/* What the op tests share: a compile context, argument specs as text, the interpreter around it,
 * and the comparison of gradients with central finite differences in f64. */
#ifndef DLC_TESTS_OPS_HARNESS_H
#define DLC_TESTS_OPS_HARNESS_H

#include "ir/build.h"
#include "ir/interp.h"
#include "passes/pass.h"

enum { HARNESS_MAX_ARGS = 8, HARNESS_MAX_RESULTS = 32 };

/* Dims that specs may name, with the values they are bound to. */
enum { HARNESS_B = 3, HARNESS_T = 4 };

typedef struct Harness {
    Context context;
    Boundary boundary;
    Arena scratch;
    Module *module;
    int64_t dim_values[2];
    char message[1024]; /* why the last call failed */
} Harness;

/* After harness_init set the boundary: if (setjmp(h->boundary.jump)) … */
void harness_init(Harness *harness);
void harness_init_dims(Harness *harness, int64_t low); /* the least that B and T may be */
void harness_finish(Harness *harness);
const Size *harness_size(Harness *harness, const char *text); /* "B", "2*T", "3" */

/* "f64[3,B]+ i32[4]%5 bool[2]": types, each with an optional domain: + positive (0.5 to 2), u
 * inside
 * (-0.9, 0.9), %n integers below n; otherwise floats in (-2, 2), integers in -5..5. */
Func *harness_func(Harness *harness, const char *spec);
/* Deterministic values for every argument. Tensors are owned by the caller. */
void harness_args(Harness *harness, const Func *func, const char *spec, uint64_t seed,
                  EvalTensor *out);
/* Runs a Func; results are owned by the caller. False: see message. */
bool harness_run(Harness *harness, Func *func, const EvalTensor *args, EvalTensor *results,
                 bool wide);
void harness_free(EvalTensor *tensors, int32_t count);
bool harness_verify(Harness *harness, Func *func);
void harness_print_func(Func *func); /* to stderr */
bool harness_differentiate(Harness *harness, Func *func);

/* A rank-0 value that depends on every element of y with its own weight. */
Value *harness_loss(Builder *b, Value *y);

typedef Value *HarnessBuild(Harness *harness, Builder *b, Value **x);
/* Builds y from the spec's arguments, the loss of y, its gradient by every float argument, the loss
 * of those gradients, and its gradient; compares both with finite differences. `order` 1: first
 * only. */
bool harness_check_gradients(Harness *harness, const char *spec, HarnessBuild *build, int order);
/* The same for a Func with its loss as result 0 (more results are ignored). */
bool harness_check_func(Harness *harness, Func *func, const EvalTensor *args, int order,
                        double tolerance);

#endif
