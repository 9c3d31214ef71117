/* Parameters that are gathered where they are needed are gathered one step earlier: beside the work
 * that stands behind the gathers before them, instead of in front of the work that waits. Ops keep
 * their order otherwise; what is gathered lives that much longer. */
#include "passes/shard/shard.h"

/* A tensor that is a larger part of all parameters stays where it is: its memory counts more than
 * its time. */
static const double GREATEST_PART = 1.0 / 16;

static double parameter_bytes(const Func *func) {
    double bytes = 0;
    for (int32_t i = 0; i < func->body->n_args; i++) {
        const FuncArg *arg = &func->args[i];
        Type type = arg->sharding ? arg->sharding->whole : func->body->args[i]->type;
        bytes += arg->role == ARG_PARAM ? type_nominal_bytes(type) : 0;
    }
    return bytes;
}

static bool is_argument(const Func *func, const Value *value) {
    return !value->op && value->block == func->body;
}

/* An argument in another type, as 16 bits are gathered of what is kept in 32. */
static bool is_cast(const Func *func, const Op *op) {
    return op->code == OP_cast && is_argument(func, op->operands[0]);
}

static bool may_stand_in_row(const Func *func, const Op *op) {
    return op->code == OP_all_gather || is_cast(func, op);
}

/* Whether it is of what is there from the beginning, and small. */
static bool may_go_ahead(const Func *func, const Op *op, double most_bytes) {
    double bytes = 0;
    if (op->code != OP_all_gather) {
        return false;
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        const Value *operand = op->operands[i];
        if (!is_argument(func, operand) && !(operand->op && is_cast(func, operand->op))) {
            return false;
        }
        bytes += type_nominal_bytes(op->results[i]->type);
    }
    return bytes <= most_bytes;
}

static void move(Op *op, Op *place) {
    op_unlink(op);
    op_insert_before(op, place);
}

/* With those casts of its operands that stand in its row, which begins with op number `first`. */
static void move_with_casts(Op *op, int32_t first, Op *place) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        Op *cast = op->operands[i]->op;
        if (cast && cast->id >= first) {
            move(cast, place);
        }
    }
    move(op, place);
}

/* The row is of numbers from op's to that of `behind`; whether there is a gather in it. */
static bool row_move(const Func *func, Op *op, const Op *behind, Op *place, double most_bytes) {
    bool gathers = false;
    int32_t first = op->id;
    while (op != behind) {
        Op *next = op->next;
        gathers = gathers || op->code == OP_all_gather;
        if (place && may_go_ahead(func, op, most_bytes)) {
            move_with_casts(op, first, place);
        }
        op = next;
    }
    return gathers;
}

void gathers_ahead(Func *func) {
    double most_bytes = GREATEST_PART * parameter_bytes(func);
    Op *place = NULL; /* behind the gathers before these */
    func_renumber(func);
    for (Op *op = func->body->first; op;) {
        Op *behind = op;
        while (may_stand_in_row(func, behind)) {
            behind = behind->next;
        }
        if (behind == op) {
            op = op->next;
            continue;
        }
        place = row_move(func, op, behind, place, most_bytes) ? behind : place;
        op = behind;
    }
}
