/* The static check (check.h): a walk over the Func for each axis of the mesh, which says of every
 * value what the ranks along it have. */
#include "passes/shard/check_state.h"

/* -- Collectives */

static const char *collective_problem(const Op *op, int32_t i, const State *state) {
    if (state->kind == HAVE_ANY) {
        return NULL;
    }
    if (op->code == OP_all_gather) {
        int64_t axis = op_each_axis(op).at[i];
        bool right = state->kind == HAVE_UNKNOWN ||
                     (state->kind == HAVE_PART && (state->axis < 0 || state->axis == axis));
        return right ? NULL : "is gathered";
    }
    OpCode code = OP_add;
    if (op->code == OP_all_reduce) {
        op_code_from_name(op_combine(op), &code); /* the shape rule knows it */
    }
    bool again = code != OP_add && code != OP_mul; /* of equals: that */
    bool right =
        (state->kind == HAVE_SUM && state->combine == code) || (again && state->kind != HAVE_SUM);
    return right ? NULL : "is combined";
}

static void of_collective(Check *c, const Op *op) {
    MeshGroup group = 0;
    module_group_parse(c->func->module, op_over(op), &group); /* the shape rule took it */
    for (int32_t i = 0; i < op->n_operands; i++) {
        State *out = check_state(c, op->results[i]);
        const State *state = check_state(c, op->operands[i]);
        *out = *state;
        if ((group & c->axis) == 0) {
            continue;
        }
        const char *what = collective_problem(op, i, state);
        if (what) {
            check_problem(c, op, "operand %d, %s, %s", (int)i, check_state_text(state), what);
        }
        *out = (State){.kind = HAVE_EQUAL};
        if (op->code == OP_reduce_scatter) {
            int32_t axis = (int32_t)op_each_axis(op).at[i];
            *out = check_part_of(c, op->results[i]->type, axis);
        } else if (op->code == OP_all_to_all || op->code == OP_shift) {
            out->kind = HAVE_UNKNOWN;
        }
    }
}

/* -- Loops */

static void visit_block(Check *c, const Block *block);

static State shifted(State state, int32_t by) {
    bool vague = state.kind == HAVE_PART && state.axis < 0;
    state.axis += vague ? 0 : by;
    bool gone = state.kind == HAVE_PART && state.axis < 0 && !vague;
    return gone ? (State){.kind = HAVE_UNKNOWN} : state;
}

/* Of a carry that was `before` and is `after` in the next turn. */
static State merged(State before, State after) {
    if (before.kind == after.kind || after.kind == HAVE_ANY) {
        return before;
    }
    bool weaker =
        before.kind == HAVE_ANY || (before.kind == HAVE_UNKNOWN && after.kind == HAVE_PART);
    bool stronger = before.kind == HAVE_PART && after.kind == HAVE_UNKNOWN;
    return weaker ? after : stronger ? before : (State){.kind = HAVE_UNKNOWN};
}

/* Runs `body` until what its first `n` arguments behind `first` are does not change. */
static void settle(Check *c, const Block *body, int32_t first, int32_t n) {
    bool was_quiet = c->is_quiet;
    for (int32_t turn = 0, changed = 1; turn < 8 && changed; turn++) {
        changed = 0;
        c->is_quiet = true;
        visit_block(c, body);
        for (int32_t i = 0; i < n; i++) {
            State *arg = check_state(c, body->args[first + i]);
            State next = merged(*arg, *check_state(c, block_yield(body)->operands[i]));
            changed |= next.kind != arg->kind;
            *arg = next;
        }
    }
    c->is_quiet = was_quiet;
    visit_block(c, body);
}

static void check_carry(Check *c, const Op *op, int32_t i, const State *inside) {
    const Value *begin = op->operands[i];
    if (inside->kind == HAVE_SUM && !check_is_sum(c, begin) && !check_may_be_added(c, begin)) {
        check_problem(c, op, "operand %d, %s, begins what becomes a sum over the ranks", (int)i,
                      check_state_text(check_state(c, begin)));
    }
}

static void of_scan(Check *c, const Op *op) {
    const Block *body = op->blocks[0];
    int32_t n_carries = (int32_t)scan_carries(op);
    *check_state(c, body->args[0]) = (State){.kind = HAVE_EQUAL};
    for (int32_t i = 0; i < op->n_operands; i++) {
        *check_state(c, body->args[i + 1]) =
            shifted(*check_state(c, op->operands[i]), i < n_carries ? 0 : -1);
    }
    settle(c, body, 1, n_carries);
    for (int32_t r = 0; r < op->n_results; r++) {
        const Value *value = r < n_carries ? body->args[r + 1] : block_yield(body)->operands[r];
        *check_state(c, op->results[r]) = shifted(*check_state(c, value), r < n_carries ? 0 : 1);
        if (r < n_carries) {
            check_carry(c, op, r, check_state(c, value));
        }
    }
}

static void of_while(Check *c, const Op *op) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        *check_state(c, op->blocks[1]->args[i]) = *check_state(c, op->operands[i]);
    }
    settle(c, op->blocks[1], 0, op->n_operands);
    for (int32_t i = 0; i < op->n_operands; i++) {
        *check_state(c, op->results[i]) = *check_state(c, op->blocks[1]->args[i]);
        *check_state(c, op->blocks[0]->args[i]) = *check_state(c, op->blocks[1]->args[i]);
    }
    visit_block(c, op->blocks[0]);
    const Value *goes_on = block_yield(op->blocks[0])->operands[0];
    if (!check_is_equal(c, goes_on)) {
        check_problem(c, op, "whether it goes on is %s", check_state_text(check_state(c, goes_on)));
    }
}

/* -- One op after another */

static void visit(Check *c, const Op *op) {
    switch ((int)op->code) {
    case OP_yield:
    case OP_size_check:
        break;
    case OP_size:
    case OP_constant:
    case OP_random_uniform:
        check_source(c, op);
        break;
    case OP_reshape:
        check_reshape(c, op);
        break;
    case OP_slice:
    case OP_pad:
    case OP_concat:
        check_placing(c, op);
        break;
    case OP_broadcast:
    case OP_iota:
        check_broadcast(c, op);
        break;
    case OP_take:
    case OP_gather:
    case OP_take_add:
    case OP_scatter_add:
        check_picking(c, op);
        break;
    case OP_cast:
        check_cast(c, op);
        break;
    case OP_select:
        check_select(c, op);
        break;
    case OP_scan:
        of_scan(c, op);
        break;
    case OP_while:
        of_while(c, op);
        break;
    case OP_check:
    case OP_show:
        if (!check_is_equal(c, op->operands[0])) {
            check_problem(c, op, "what it tells is %s",
                          check_state_text(check_state(c, op->operands[0])));
        }
        break;
    default:
        if (op_info(op->code)->kind == KIND_COLLECTIVE) {
            of_collective(c, op);
        } else {
            check_any(c, op);
        }
    }
}

static bool is_empty(Type type) {
    int64_t size;
    for (int32_t axis = 0; axis < type.rank; axis++) {
        if (size_is_const(type.dims[axis], &size) && size == 0) {
            return true;
        }
    }
    return false;
}

/* What has no elements may be equal, and a part along any axis. */
static void visit_block(Check *c, const Block *block) {
    BLOCK_EACH_OP (block, op) {
        visit(c, op);
        for (int32_t r = 0; r < op->n_results; r++) {
            State *state = check_state(c, op->results[r]);
            bool may_differ = state->kind == HAVE_SUM || state->kind == HAVE_OWN;
            if (!may_differ && is_empty(op->results[r]->type)) {
                state->kind = HAVE_ANY;
            }
        }
    }
}

/* -- The Func */

/* The cut among the axis' ranks; NULL: there is none. */
static const AxisCut *cut_along(const Check *c, const Sharding *sharding) {
    for (int32_t i = 0; sharding && i < sharding->n_cuts; i++) {
        if ((sharding->cuts[i].group & c->axis) != 0) {
            return &sharding->cuts[i];
        }
    }
    return NULL;
}

/* How closely it is known: where another axis of the mesh cuts the same rows, only which axis. */
static State state_of_cut(const Check *c, const Sharding *sharding) {
    const AxisCut *cut = cut_along(c, sharding);
    if (!cut) {
        return (State){.kind = HAVE_EQUAL};
    }
    for (int32_t i = 0; i < sharding->n_cuts; i++) {
        if (&sharding->cuts[i] != cut && sharding->cuts[i].axis == cut->axis) {
            return check_part(cut->axis, NULL, NULL);
        }
    }
    return check_part(cut->axis, cut->outer,
                      module_rank_size(c->func->module, DIM_PIECE, cut->group, cut->rows));
}

static void check_result(Check *c, const Op *yield, int32_t r) {
    const FuncResult *result = &c->func->results[r];
    const AxisCut *cut = cut_along(c, result->sharding);
    const State *state = check_state(c, yield->operands[r]);
    bool good =
        !cut ? state->kind <= HAVE_EQUAL
             : state->kind <= HAVE_EQUAL || state->kind == HAVE_UNKNOWN ||
                   (state->kind == HAVE_PART && (state->axis < 0 || state->axis == cut->axis));
    if (!good) {
        check_problem(c, yield, "result %d ('%s') is to be %s, but is %s", (int)r, result->name,
                      cut ? "each rank's part" : "equal on all ranks", check_state_text(state));
    }
}

bool shard_check(Func *func, Arena *scratch, Str *report) {
    bool ok = true;
    const Op *yield = block_yield(func->body);
    if ((func->properties & PROP_SHARDED) == 0 || (func->properties & PROP_FUSED) != 0 || !yield) {
        return true;
    }
    func_renumber(func);
    for (int32_t a = 0; a < func->module->n_mesh_axes; a++) {
        Check c = {.func = func,
                   .context = func->module->context,
                   .scratch = scratch,
                   .report = report,
                   .axis = (MeshGroup)1 << a,
                   .states = ARENA_ARRAY(scratch, State, (size_t)func->n_values + 1),
                   .ok = true};
        for (int32_t i = 0; i < func->body->n_args; i++) {
            *check_state(&c, func->body->args[i]) = state_of_cut(&c, func->args[i].sharding);
        }
        visit_block(&c, func->body);
        for (int32_t r = 0; r < func->n_results; r++) {
            check_result(&c, yield, r);
        }
        ok = ok && c.ok;
    }
    return ok;
}
