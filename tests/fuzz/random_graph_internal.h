/* What the files of the random graph generator share. */
#ifndef DLC_TESTS_FUZZ_RANDOM_GRAPH_INTERNAL_H
#define DLC_TESTS_FUZZ_RANDOM_GRAPH_INTERNAL_H

#include "tests/fuzz/random_graph.h"

/* A value that further ops may use. */
typedef struct Node {
    Value *value;
    double bound; /* largest magnitude, whatever the arguments */
    bool exact;   /* a multiple of 1/8 of at most 31: the same bits in every type */
} Node;

typedef VEC(Node) NodeList;

typedef struct Generator {
    Context *context;
    Module *module;
    Func *func;
    Builder b;
    const RandomGraphOptions *options;
    uint64_t state;
    NodeList nodes;
    int32_t depth;   /* of loops around */
    int32_t n_grads; /* grad ops so far */
} Generator;

enum { GRAPH_MAX_ELEMENTS = 1500, GRAPH_MAX_ARGS = 24 };

/* splitmix64 */
static inline uint64_t next_bits(uint64_t *state) {
    *state += 0x9E3779B97F4A7C15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* -- random_graph.c */
int64_t pick(Generator *g, int64_t n); /* 0 … n-1 */
bool chance(Generator *g, double probability);
const Size *constant(Generator *g, int64_t value);
const Size *random_size(Generator *g);
double nominal_elements(const Size *const *dims, int32_t rank);
/* Lets further ops use the value. One whose size might be negative is taken back, op and all, and
 * must not be read by any other: false. */
bool push(Generator *g, Value *value, double bound, bool exact);
Node new_arg(Generator *g, DType dtype, int32_t rank, const Size *const *dims);
Node any_float(Generator *g);
Node any_node(Generator *g);
bool find_exact(Generator *g, bool integer, Node *out);
/* The node scaled or squashed so that its bound is at most `limit`. */
Value *tame(Generator *g, Node node, double limit);
/* Another value of the same type. */
Node partner(Generator *g, Node x);
bool jumps_allowed(const Generator *g);
Value *number_like(Generator *g, double value, const Value *like);
/* i32 tensor of the shape with elements in 0 … n-1; n >= 1 wherever it has any. */
Value *indices_below(Generator *g, int32_t rank, const Size *const *shape, const Size *n);
/* Adds one random op, or a few that belong together. */
void grow(Generator *g);

/* -- random_values.c */
bool may_be_empty(const Size *size); /* of an axis */
/* -- one function a kind of op; each may find nothing fitting and add nothing */
void grow_unary(Generator *g);
void grow_binary(Generator *g);
void grow_select(Generator *g);
void grow_cast(Generator *g);
void grow_constant(Generator *g);
void grow_random(Generator *g);
/* -- random_graph_again.c */
void grow_twin(Generator *g);
void grow_around(Generator *g);
void grow_grad(Generator *g);
void grow_guarded(Generator *g);
/* -- random_graph_move.c */
void grow_broadcast(Generator *g);
void grow_reshape(Generator *g);
void grow_transpose(Generator *g);
void grow_slice(Generator *g);
void grow_pad(Generator *g);
void grow_concat(Generator *g);
void grow_reverse(Generator *g);
void grow_dynamic(Generator *g);
void grow_window(Generator *g);
void grow_index(Generator *g);
/* -- random_graph_compute.c */
void grow_reduce(Generator *g);
void grow_softmax(Generator *g);
void grow_norm(Generator *g);
void grow_arg(Generator *g);
void grow_cumsum(Generator *g);
void grow_sort(Generator *g);
void grow_contract(Generator *g);
void grow_conv(Generator *g);
void grow_scan(Generator *g);
void grow_while(Generator *g);
void grow_effect(Generator *g);

#endif
