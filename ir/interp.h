/* The reference interpreter: evaluates any Func in f64 or in the declared types. Slow, obvious, the
 * judge of everything else. Errors are explicit; memory is malloc'ed through the allocator. */
#ifndef DLC_IR_INTERP_H
#define DLC_IR_INTERP_H

#include "ir/ir.h"

/* A row-major tensor. Floats are held as double and rounded to the declared type after each op
 * (unless Interp.wide); integers and bools as int64_t. Exactly one of f and i is set when n > 0. */
typedef struct EvalTensor {
    DType dtype;
    int32_t rank;
    int64_t dims[TYPE_MAX_RANK];
    int64_t n; /* elements */
    double *f;
    int64_t *i;
} EvalTensor;

typedef struct Interp Interp;
struct Interp {
    Context *context;
    const dlc_allocator *allocator;
    const int64_t *dim_values; /* by dim id */
    int32_t n_dims;
    bool wide; /* every float type computes in f64 */
    EvalTensor *
        *values; /* by value id: what the value is now; points into storage or at an argument */
    EvalTensor *storage; /* by value id: tensors owned by the run */
    Func *func;          /* being run */
    /* Runs a collective together with the ranks of its group; NULL: there are none. */
    dlc_status (*meet)(struct Interp *interp, const Op *op);
    char message[512]; /* after a failure */
    Place fault_place;
};

dlc_status eval_tensor_init(EvalTensor *tensor, DType dtype, int32_t rank, const int64_t *dims,
                            const dlc_allocator *allocator); /* zeroed elements */
void eval_tensor_finish(EvalTensor *tensor, const dlc_allocator *allocator);

/* Runs the Func: args[i] for each argument (borrowed), results[i] receives owned tensors. On
 * failure results are untouched and interp->message says why. */
dlc_status interp_run(Interp *interp, Func *func, const EvalTensor *const *args,
                      EvalTensor *results);

/* The same for a Func that has been renumbered: nothing of it is changed, nor of the context. */
dlc_status interp_run_numbered(Interp *interp, Func *func, const EvalTensor *const *args,
                               EvalTensor *results);

/* A run of one Func by all ranks at once, each on a thread of its own. */
enum { INTERP_MAX_RANKS = 64 };
typedef struct InterpRanks {
    Context *context;
    const dlc_allocator *allocator; /* called from all ranks' threads; NULL: malloc */
    MeshShape shape;                /* fits the module's mesh; at most INTERP_MAX_RANKS ranks */
    const int64_t *dim_values;      /* by dim id; dims of ranks are bound here, each rank's own */
    int32_t n_dims;                 /* of dim_values; dims of higher ids must be dims of ranks */
    bool wide;
    char message[1024]; /* after a failure */
    Place fault_place;
    int64_t fault_rank; /* whose failure it was; -1: of none alone */
} InterpRanks;

/* args[r][i] for each argument of rank r (borrowed); results[r][i] receive owned tensors. Ranks
 * that meet at different collectives, or give them what does not fit together, and ranks that end
 * or fail while others wait for them, are failures of the run, as is a rank's own. On failure there
 * are no results. */
dlc_status interp_run_ranks(InterpRanks *run, Func *func, const EvalTensor *const *const *args,
                            EvalTensor *const *results);

/* Zeroed memory, never NULL but when memory runs out (then the message says so). */
void *interp_alloc(Interp *interp, size_t bytes);
void interp_free(Interp *interp, void *memory); /* accepts NULL */

/* For eval_<op> rules (ir/ops): operand tensors, and result tensors already allocated with their
 * types' concrete shapes. Region ops run their blocks with interp_block. */
const EvalTensor *interp_operand(Interp *interp, const Op *op, int32_t index);
EvalTensor *interp_result(Interp *interp, const Op *op, int32_t index);
dlc_status interp_fail(Interp *interp, const Op *op, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
dlc_status interp_size(Interp *interp, const Size *size, int64_t *out);
/* Binds args, runs the block, lends the yielded tensors (valid until the next run of the block). */
dlc_status interp_block(Interp *interp, const Block *block, const EvalTensor *const *args,
                        const EvalTensor **yields);
/* Scalar semantics shared with constant folding: floats in double. */
double scalar_eval_float(OpCode code, const double *operands);
int64_t scalar_eval_int(OpCode code, DType operand_dtype, const int64_t *operands);
double round_to_dtype(double value, DType dtype); /* f16/bf16: nearest, ties to even */
uint16_t float_bits16(double value, DType dtype); /* f16 or bf16: the value so rounded, as stored */
int64_t float_to_int(double value, DType dtype);  /* truncates, saturates, nan is 0 */
int64_t wrap_int(int64_t value, DType dtype);     /* two's complement */
/* The random numbers of random_uniform, which every backend reproduces bit for bit.
 * Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
 * 2011): ten rounds over a counter of four 32-bit words with a key of two, multipliers 0xD2511F53
 * and 0xCD9E8D57, key increments 0x9E3779B9 and 0xBB67AE85; philox() gives the four output words
 * w[0..3]. With low() and high() the halves of a 64-bit word, and block = flat / per_block: c0 =
 * low(block)                       key k0 = low(seed) ^ high(site) c1 = high(block) ^
 * low(iteration)         k1 = high(seed) ^ high(step) c2 = low(site) c3 = low(step) f32, f16 and
 * bf16 use one word an element (per_block 4, lane = flat % 4), the top bits of w[lane]: f32: (w >>
 * 8) / 2^24    f16: (w >> 21) / 2^11    bf16: (w >> 24) / 2^8 f64 uses two words an element
 * (per_block 2, lane = flat % 2):
 *   (((uint64)w[2*lane] << 32 | w[2*lane + 1]) >> 11) / 2^53
 * Every result is exact in its type and below 1. */
void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
double random_uniform_at(int64_t seed, int64_t step, int64_t site, int64_t iteration, int64_t flat,
                         DType dtype);

#endif
