/* Some random graphs in one module: made, evaluated by the interpreter, printed, compiled through
 * the public API and run, with every result compared. */
#ifndef DLC_TESTS_RANDOM_BATCH_H
#define DLC_TESTS_RANDOM_BATCH_H

#include "dlc/dlc.h"
#include "tests/fuzz/random_casts.h"
#include "tests/fuzz/random_graph.h"
#include "tests/fuzz/table_rows.h"

enum {
    BATCH_MAX = 64,
    GRAPH_ARGS = 96,
    GRAPH_RESULTS = 96,
    GRAPH_TARGETS = 24, /* that a graph's derivatives are by */
    GRAPH_SHIFTS = 8,
    OUTCOME_TEXT = 600
};

/* How one graph fared. */
typedef enum Verdict {
    VERDICT_NOT_RUN = 0, /* the process died before, or the module did not compile */
    VERDICT_GOOD,
    VERDICT_BAD
} Verdict;

typedef struct Outcome {
    Verdict verdict;
    int32_t result; /* the first that differs; -1: none, the message says what failed */
    char message[OUTCOME_TEXT];
} Outcome;

/* What graphs are made by. */
typedef enum GraphSource {
    GRAPHS_RANDOM, /* random_graph.h */
    GRAPHS_CASTS,  /* random_casts.h: results are those of the interpreter, to the bit */
    GRAPHS_ROWS    /* table_rows.h */
} GraphSource;

typedef struct Graph {
    uint64_t seed;
    GraphSource source;
    Func *func;
    bool has_grad;
    int32_t n_targets;
    int32_t shifts[GRAPH_SHIFTS], n_shifts; /* targets; the next one is the value it shifts */
    int64_t dims[2];
    DType coarsest;
    EvalTensor args[GRAPH_ARGS], wide[GRAPH_RESULTS], declared[GRAPH_RESULTS];
} Graph;

typedef struct Batch {
    Context context;
    Boundary boundary;
    Arena scratch;
    Module *module;
    Graph *graphs[BATCH_MAX];
    int32_t n_graphs;
    Str text;
    const char *precision; /* of the products of every graph added; NULL: their own */
    unsigned dtypes;       /* of the graphs, a bit each; 0: all */
    GraphSource source;    /* of every graph added */
    bool empty;            /* the dims of random graphs may be 0 */
} Batch;

/* A way to compile: its name for messages, the passes left out, and the precision of products. */
typedef struct Variant {
    const char *name, *skip, *precision;
} Variant;
enum { N_VARIANTS = 5 };
extern const Variant VARIANTS[N_VARIANTS];

/* Zeroes and sets up; then the caller sets the boundary: if (setjmp(batch->boundary.jump)) … */
void batch_init(Batch *batch);
void batch_finish(Batch *batch);
/* Adds the graph of a seed. Every eighth one has derivatives in it, every sixteenth second ones. */
Graph *batch_add(Batch *batch, uint64_t seed);
/* Makes the value with this id (dense after func_renumber) the only result. False: there is none.
 */
bool graph_only(Graph *graph, int32_t value_id);
/* Prints the module, then evaluates every graph (expanding derivatives); false: see outcomes, one a
 * graph. */
bool batch_evaluate(Batch *batch, Outcome *outcomes);
/* Compiles the text and compares every graph. False: it did not compile, and `message` says why. */
bool batch_run(Batch *batch, const Variant *variant, Outcome *outcomes, char *message,
               size_t capacity);

#endif
