/* What the files of the static check share (check.h): what the ranks along one axis of the mesh
 * have of each value. */
#ifndef DLC_PASSES_SHARD_CHECK_STATE_H
#define DLC_PASSES_SHARD_CHECK_STATE_H

#include "passes/shard/check.h"
#include "passes/shard/shard.h"

typedef enum Have {
    HAVE_ANY,    /* one number in every element: equal, and a part of itself */
    HAVE_EQUAL,  /* the same on every rank */
    HAVE_PART,   /* each its rows of a whole */
    HAVE_SUM,    /* the value is all ranks' combined */
    HAVE_OWN,    /* made of the rank's number */
    HAVE_UNKNOWN /* may differ, nobody knows how */
} Have;

typedef struct State {
    Have kind;
    int32_t axis; /* PART: that lies outer x rows x inner, rows the rank's; -1: one of them */
    const Size *outer, *rows; /* PART; NULL: not known so closely */
    OpCode combine;           /* SUM */
    bool is_rounded;          /* SUM: to the type in which it is sent, and so not for reading */
} State;

typedef struct Check {
    Func *func;
    Context *context;
    Arena *scratch;
    Str *report;
    MeshGroup axis; /* of the mesh */
    State *states;  /* by value */
    bool is_quiet;  /* a loop is not through yet */
    bool ok;
} Check;

static inline State *check_state(const Check *c, const Value *value) {
    return &c->states[value->id];
}

static inline bool check_is_equal(const Check *c, const Value *value) {
    return check_state(c, value)->kind <= HAVE_EQUAL;
}

const char *check_state_text(const State *state);
/* Adds what is wrong with the op, below it. */
__attribute__((format(printf, 3, 4))) void check_problem(Check *c, const Op *op, const char *format,
                                                         ...);
/* Whether the value is zero everywhere. */
bool check_is_zero(const Value *value);
/* Whether it may be added to a sum on every rank: zero, or what may well be a sum itself. */
bool check_may_be_added(const Check *c, const Value *value);
/* Whether ranks along the axis may have different values of the size. */
bool check_differs(const Check *c, const Size *size);
State check_part(int32_t axis, const Size *outer, const Size *rows);
/* The part that axis `axis` of the type is: its rows are the piece that its size is a multiple of,
 * where the ranks' differ. */
State check_part_of(const Check *c, Type type, int32_t axis);

/* -- check_sums.c */

bool check_is_sum(const Check *c, const Value *value);
/* The states of an op's results, of those of its operands: by the columns `axes` and `linear` of
 * its row. */
void check_any(Check *c, const Op *op);

/* -- check_parts.c: likewise, of ops with rules of their own */

void check_reshape(Check *c, const Op *op);
void check_placing(Check *c, const Op *op);   /* slice, pad, concat */
void check_broadcast(Check *c, const Op *op); /* and iota */
void check_picking(Check *c, const Op *op);   /* take, gather, take_add, scatter_add */
void check_select(Check *c, const Op *op);
void check_source(Check *c, const Op *op); /* size, constant, random_uniform */
void check_cast(Check *c, const Op *op);

#endif
