/* What the files of training share: a step under way. Private to elaborate_train*.c. */
#ifndef DLC_FRONTEND_ELABORATE_TRAIN_H
#define DLC_FRONTEND_ELABORATE_TRAIN_H

#include "frontend/elaborate/elaborate.h"

/* One `minimize` line, or the plain optimizers together. */
typedef struct Objective {
    const char *loss;         /* NULL: the sum of all losses */
    const AstExprs *over;     /* NULL: every parameter */
    OptimizerUse *optimizers; /* with their `for` globs */
    int32_t n_optimizers;
    Place place;
} Objective;

typedef struct Train {
    Elaborator *el;
    FuncState *fs;
    Place place;
    int64_t accumulate;
    double clip, ema;
    bool has_clip, has_ema;
    Objective *objectives;
    int32_t n_objectives;
    PersistUse **params; /* of the objective at hand */
    Value **grads;
    int32_t n_params;
    bool *moved;         /* by index into fs->uses: has a next value */
    Value *loss, *norm2; /* of the objective at hand */
    Value *ok;           /* of all so far */
    Value *loss_ok;      /* the losses are finite; f16 only */
    Value *run_ok; /* what the run is told; f16: an overflow that the scale answers is no failure */
    bool is_short; /* products are in bf16 or f16 */
    PersistUse *scale, *good_steps; /* f16 only */
    Value *total_norm2;
} Train;

/* train_arith.c */
Value *train_binary(Train *t, OpCode code, Value *x, Value *y);
Value *train_number(Train *t, double value, Type type);
/* A rank-0 value to the element type and shape of `like`. */
Value *train_spread(Train *t, Value *x, Value *like);
Value *train_unary(Train *t, OpCode code, Value *x);

/* scaling.c: f16's scale of the loss; in other precisions these do nothing */
bool scaling_begin(Train *t);
Value *scaling_of_loss(Train *t, Value *loss);
bool scaling_of_gradients(Train *t);
bool scaling_finish(Train *t);
bool scaling_owns(const Train *t, const PersistUse *use);

/* train_forward.c: which parameters are trained on what, and their gradients */
void train_warn_unmatched(Train *t, const AstExprs *globs);
bool train_read_objectives(Train *t);
/* Elaborates the model's body on `inputs`. */
bool train_body(Train *t, Value *const *inputs);
/* The same, and takes the gradients of one objective. */
bool train_forward(Train *t, const Objective *objective, Value *const *inputs);

/* train_parts.c: train_forward in a loop over `accumulate` parts of the batch */
bool train_micro_batches(Train *t, const Objective *objective);

#endif
