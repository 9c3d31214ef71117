/* The static check: states of values as text, and what they are told by. */
#include "passes/shard/check_state.h"

#include <stdarg.h>

const char *check_state_text(const State *state) {
    static const char *const texts[] = {"one number",
                                        "equal on all ranks",
                                        "each rank's part",
                                        "a sum over the ranks that is not taken",
                                        "made of the rank's number",
                                        "not known to be equal on all ranks"};
    return state->kind == HAVE_SUM && state->is_rounded
               ? "a sum over the ranks that is not taken, rounded to be sent"
               : texts[state->kind];
}

__attribute__((format(printf, 3, 4))) void check_problem(Check *c, const Op *op, const char *format,
                                                         ...) {
    if (c->is_quiet) {
        return;
    }
    c->ok = false;
    str_addf(c->report, "%s: ", c->func->name);
    op_print(op, c->report);
    str_addf(c->report, "\n    over %s: ", module_group_text(c->func->module, c->axis));
    va_list args;
    va_start(args, format);
    str_vaddf(c->report, format, args);
    va_end(args);
    str_add_char(c->report, '\n');
}

static const Op *constant_of(const Value *value) {
    while (value->op && (value->op->code == OP_broadcast || value->op->code == OP_reshape)) {
        value = value->op->operands[0];
    }
    return value->op && value->op->code == OP_constant ? value->op : NULL;
}

bool check_is_zero(const Value *value) {
    const Op *op = constant_of(value);
    return op && constant_value(op) == 0;
}

bool check_may_be_added(const Check *c, const Value *value) {
    return check_is_zero(value) || (c->states[value->id].kind == HAVE_ANY && !constant_of(value));
}

bool check_differs(const Check *c, const Size *size) {
    return (module_size_differs(c->func->module, size) & c->axis) != 0;
}

State check_part(int32_t axis, const Size *outer, const Size *rows) {
    return (State){.kind = HAVE_PART, .axis = axis, .outer = outer, .rows = rows};
}

State check_part_of(const Check *c, Type type, int32_t axis) {
    const Module *module = c->func->module;
    const Size *rows = type.dims[axis];
    for (int32_t d = 0; d < module->n_dims; d++) {
        const Dim *dim = module->dims[d];
        bool is_piece = dim->source == DIM_PIECE && (dim->group & c->axis) != 0;
        if (is_piece && exact_quotient(c->context, type.dims[axis], size_dim(c->context, dim))) {
            rows = size_dim(c->context, dim);
        }
    }
    return check_part(axis, size_const(c->context, 1), rows);
}
