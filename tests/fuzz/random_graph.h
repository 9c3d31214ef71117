/* Random Funcs over all kinds of op, for tests that compare one way of running a graph with
 * another. A seed gives the same graph on every machine. Graphs are valid and free of faults:
 * indices are in range, no check fails, floats stay finite and moderate. Ops that jump (floor,
 * comparisons, argmax, sort, casts to integer) are applied only to values that are exact in every
 * element type, so that rounding cannot tip them; everything else is continuous. */
#ifndef DLC_TESTS_FUZZ_RANDOM_GRAPH_H
#define DLC_TESTS_FUZZ_RANDOM_GRAPH_H

#include "ir/build.h"
#include "ir/interp.h"

typedef struct RandomGraphOptions {
    int32_t n_ops;   /* roughly; 0: 24 */
    unsigned dtypes; /* bit per float DType that arguments may have; 0: f32 mostly, others too */
    bool smooth;     /* for gradient checks: f64, nothing with jumps; result 0 is a rank-0 loss */
    bool grads;      /* with smooth: derivatives of inner values by inner values among the ops */
    bool no_control; /* no scan, while */
    bool no_random;  /* no random_uniform */
    bool constant_dims; /* no symbolic sizes */
} RandomGraphOptions;

/* The dims B and T, at least `low`: of a module that has none. */
void random_add_dims(Module *module, int64_t low);
/* Adds to the module, which gets dims B and T, at least 1, if it has not (they must be the first
 * two). Where they may be 0, so may axes of what is softmaxed, normed, reduced, taken from … */
Func *random_graph(Module *module, uint64_t seed, const RandomGraphOptions *options);
/* Values for the dims B and T. Where they admit 0, one of them is at three of four seeds, or both
 * are. */
void random_dims(const Module *module, uint64_t seed, int64_t dim_values[2]);
/* Room for every argument, in its shape: `out` holds n_args tensors then, or none. False: out of
 * memory. */
bool random_args_shape(const Func *func, const int64_t *dim_values, int32_t n_dims,
                       EvalTensor *out);
/* Values for every argument; `exact`: multiples of 1/8, as graphs without `smooth` need. False: out
 * of memory. */
bool random_args(const Func *func, uint64_t seed, const int64_t *dim_values, int32_t n_dims,
                 bool exact, EvalTensor *out);

/* Whether `got` is as near to the truth as its element type allows. `wide` is the interpreter's
 * result in f64 and `declared` the one in the declared types: what those two differ by shows how
 * far rounding alone carries the value, so a backend may be off by a multiple of that, plus a few
 * units of the coarsest type in the graph. Not equal: *out_index is the element. */
bool random_close(const EvalTensor *wide, const EvalTensor *declared, const EvalTensor *got,
                  DType coarsest, int64_t *out_index);
/* The float type with the fewest digits that occurs in the Func. */
DType random_coarsest(Func *func);

#endif
