/* Ops that exchange values among ranks -> commands. What is told of tensors is how their elements
 * lie around the axis whose rows ranks have; the run side knows no other shape. */
#include "codegen/schedule/state.h"

static MeshGroup group_of(Schedule *s, const Op *op) {
    MeshGroup group = 0;
    if (!module_group_parse(s->module, op_over(op), &group)) {
        SCHEDULE_REFUSE(s, op, "its group is none of the mesh's");
    }
    return group;
}

static PlanCombine combine_of(Schedule *s, const Op *op) {
    static const struct {
        OpCode code;
        PlanCombine combine;
    } known[] = {{OP_add, PLAN_COMBINE_ADD}, {OP_mul, PLAN_COMBINE_MUL}, {OP_min, PLAN_COMBINE_MIN},
                 {OP_max, PLAN_COMBINE_MAX}, {OP_and, PLAN_COMBINE_AND}, {OP_or, PLAN_COMBINE_OR}};
    OpCode code = OP_NONE;
    if (op->code == OP_all_reduce && op_code_from_name(op_combine(op), &code)) {
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
            if (known[i].code == code) {
                return known[i].combine;
            }
        }
        SCHEDULE_REFUSE(s, op, "nothing on the run side combines so");
    }
    return PLAN_COMBINE_ADD;
}

/* What is left of `size` elements of an axis beside its rows. */
static const Size *unit_of(Schedule *s, const Op *op, const Size *size, const Size *rows) {
    const Size *unit = size_other_factor(s->context, size, rows);
    if (!unit) {
        SCHEDULE_REFUSE(s, op, "its axis is no multiple of its rows");
    }
    return unit;
}

/* The product of axes [first, end) of the type. */
static const Size *axes_product(Schedule *s, Type type, int64_t first, int64_t end) {
    const Size *product = size_const(s->context, 1);
    for (int64_t i = first; i < end; i++) {
        product = size_mul(s->context, product, type.dims[i]);
    }
    return product;
}

/* Axis `axis` of a tensor of this type, which there has `size` elements: `rows` times a unit. */
static void rows_around(Schedule *s, const Op *op, Type type, int64_t axis, const Size *size,
                        const Size *rows, PlanCollective *out) {
    const Size *unit = size_mul(s->context, unit_of(s, op, size, rows),
                                axes_product(s, type, axis + 1, type.rank));
    out->outer = plan_writer_size(s->writer, axes_product(s, type, 0, axis));
    out->rows = plan_writer_size(s->writer, rows);
    out->unit = plan_writer_size(s->writer, unit);
}

/* Of an all_to_all, whose operand has all of `split` and whose result all of `axis`. */
static void two_axes(Schedule *s, const Op *op, Type type, PlanCollective *out) {
    int64_t axis = op_axis(op), split = op_split(op);
    int64_t low = axis < split ? axis : split, high = axis < split ? split : axis;
    const Size *unit = unit_of(s, op, op_size(op), op_rows(op));
    const Size *split_unit = unit_of(s, op, type.dims[split], op_split_rows(op));
    const Size *low_unit = axis < split ? unit : split_unit;
    const Size *high_unit = axis < split ? split_unit : unit;
    const Size *middle = size_mul(s->context, low_unit, axes_product(s, type, low + 1, high));
    const Size *inner = size_mul(s->context, high_unit, axes_product(s, type, high + 1, type.rank));
    out->split_first = split < axis;
    out->outer = plan_writer_size(s->writer, axes_product(s, type, 0, low));
    out->rows = plan_writer_size(s->writer, op_rows(op));
    out->middle = plan_writer_size(s->writer, middle);
    out->split_rows = plan_writer_size(s->writer, op_split_rows(op));
    out->unit = plan_writer_size(s->writer, inner);
}

/* What is said of operand `index`: rows move otherwise in each. */
static PlanCollective collective_of(Schedule *s, const Op *op, int32_t index) {
    Type from = op->operands[index]->type, to = op->results[index]->type;
    PlanCollective collective = {.group = group_of(s, op), .combine = (int32_t)combine_of(s, op)};
    switch (op->code) {
    case OP_all_reduce:
        collective.kind = PLAN_ALL_REDUCE;
        break;
    case OP_all_gather:
        collective.kind = PLAN_ALL_GATHER;
        rows_around(s, op, to, op_each_axis(op).at[index], op_each_size(op).at[index],
                    op_each_rows(op).at[index], &collective);
        break;
    case OP_reduce_scatter:
        collective.kind = PLAN_REDUCE_SCATTER;
        rows_around(s, op, from, op_each_axis(op).at[index], from.dims[op_each_axis(op).at[index]],
                    op_each_rows(op).at[index], &collective);
        break;
    case OP_all_to_all:
        collective.kind = PLAN_ALL_TO_ALL;
        two_axes(s, op, from, &collective);
        break;
    default:
        collective.kind = PLAN_SHIFT;
        collective.by = (int32_t)op_by(op);
        break;
    }
    return collective;
}

static void add_ref(Schedule *s, PlanCommand *command, const Spot *spot, Type type, bool written) {
    command_add_ref(s, command, spot);
    PlanRef *ref = &s->tables->refs.items[s->tables->refs.count - 1];
    ref->written = written ? (int32_t)type.dtype + 1 : 0;
    ref->bytes = plan_writer_size(s->writer, type_bytes(s->context, type));
}

/* What all ranks combine may lie where the operand did: each gives before it takes. */
void schedule_collective(Schedule *s, const Op *op) {
    Spot *results = ARENA_ARRAY(s->arena, Spot, op->n_results);
    const Size *bytes = size_const(s->context, 0);
    for (int32_t r = 0; r < op->n_results; r++) {
        results[r].memory = -1;
    }
    for (int32_t r = 0; r < op->n_results; r++) {
        results[r] = result_apart(s, op, r, op->code == OP_all_reduce ? r : -1, results);
        bytes = size_add(s->context, bytes, type_bytes(s->context, op->results[r]->type));
    }
    PlanCommand *command = command_add(s, PLAN_COLLECTIVE);
    command->collective = (int32_t)s->tables->collectives.count;
    command->bytes = plan_writer_size(s->writer, bytes);
    command->text = plan_writer_string(s->writer, op->label);
    command->place = plan_writer_string(s->writer, place_text(s, op->place));
    for (int32_t r = 0; r < op->n_results; r++) {
        const Value *operand = op->operands[r];
        if (r == 0 || op->code != OP_all_reduce) {
            PlanCollective collective = collective_of(s, op, r);
            VEC_PUSH(s->arena, &s->tables->collectives, collective);
        }
        add_ref(s, command, &results[r], op->results[r]->type, true);
        add_ref(s, command, spot_at(s, op, operand), operand->type, false);
        s->spots[op->results[r]->id] = results[r];
    }
}
