/* Words of the text form that printer and parser share: one table each, indexed by the enum. */
#ifndef DLC_IR_TEXT_H
#define DLC_IR_TEXT_H

#include "ir/ir.h"

enum {
    N_PURPOSES = PURPOSE_OTHER + 1,
    N_ARG_ROLES = ARG_SCALAR + 1,
    N_RESULT_ROLES = RESULT_LOSS_OVER + 1
};
enum { N_PROPERTIES = 5 };

static const char *const PURPOSE_WORDS[N_PURPOSES] = {
    [PURPOSE_INFER] = "infer", [PURPOSE_EVAL] = "eval",   [PURPOSE_TRAIN] = "train",
    [PURPOSE_INIT] = "init",   [PURPOSE_OTHER] = "other",
};

static const char *const ARG_ROLE_WORDS[N_ARG_ROLES] = {
    [ARG_INPUT] = "input", [ARG_PARAM] = "param", [ARG_STATE] = "state",
    [ARG_CACHE] = "cache", [ARG_SLOT] = "slot",   [ARG_SCALAR] = "scalar",
};

static const char *const RESULT_ROLE_WORDS[N_RESULT_ROLES] = {
    [RESULT_OUTPUT] = "output", [RESULT_METRIC] = "metric",       [RESULT_METRIC_OVER] = "over",
    [RESULT_LOSS] = "loss",     [RESULT_STORE] = "store",         [RESULT_OK] = "ok",
    [RESULT_INFO] = "info",     [RESULT_LOSS_OVER] = "loss_over",
};

static const char *const DIM_SOURCE_WORDS[DIM_N_SOURCES] = {
    [DIM_FREE] = "free",   [DIM_RANKS] = "ranks", [DIM_COORDINATE] = "rank",
    [DIM_PIECE] = "piece", [DIM_FIRST] = "first",
};

static const char *const PROPERTY_WORDS[N_PROPERTIES] = {"no_grad_ops", "fused", "placed", "short",
                                                         "sharded"};

#endif
