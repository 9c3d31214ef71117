/* Fusion, first step: the units of a block and what each reads, seen through free ops. */
#include "ir/view.h"
#include "passes/fuse/fuse.h"

enum { SMALL_LITERAL = 8, WINDOW_LIMIT = 64 };

/* Casts to 16 bits say what is to be stored so: they are computed, where the value is. */
static bool is_rounding(const Op *op) {
    DType to = op->results[0]->type.dtype;
    return (op->parent->func->properties & PROP_SHORT) && (to == DT_BF16 || to == DT_F16) &&
           op->operands[0]->type.dtype != to;
}

static bool is_small(const Op *op) {
    Context *context = op->parent->func->module->context;
    int64_t n;
    return size_is_const(type_elements(context, op->results[0]->type), &n) && n <= SMALL_LITERAL;
}

bool fuse_op_is_free(const Op *op) {
    switch (op_info(op->code)->fusion) {
    case FUSION_VIEW:
    case FUSION_SPREAD:
    case FUSION_FREE:
        return true;
    case FUSION_FREE_IF_SMALL:
        return is_small(op);
    case FUSION_FREE_UNLESS_STORED:
        return !is_rounding(op);
    default:
        return false;
    }
}

bool fuse_op_is_barrier(const Op *op) {
    return op_info(op->code)->fusion == FUSION_BARRIER;
}

/* -- spaces and maps */
Space fuse_space(Type type) {
    Space space = {0};
    for (int32_t i = 0; i < type.rank; i++) {
        if (!size_is_one(type.dims[i])) {
            space.dims[space.rank++] = type.dims[i];
        }
    }
    return space;
}

bool space_equal(const Space *a, const Space *b) {
    if (a->rank != b->rank) {
        return false;
    }
    for (int32_t i = 0; i < a->rank; i++) {
        if (a->dims[i] != b->dims[i]) {
            return false;
        }
    }
    return true;
}

double space_elements(const Space *space) {
    double n = 1;
    for (int32_t i = 0; i < space->rank; i++) {
        n *= (double)size_nominal(space->dims[i], UNSET_SIZE);
    }
    return n;
}

bool map_is_same(const AxisMap *map, int32_t rank) {
    if (map->is_general || map->rank != rank) {
        return false;
    }
    for (int32_t i = 0; i < rank; i++) {
        if (map->axis[i] != i) {
            return false;
        }
    }
    return true;
}

bool map_is_kept(const AxisMap *map, int32_t rank, uint32_t reduced) {
    if (map->is_general) {
        return false;
    }
    int32_t at = 0;
    for (int32_t i = 0; i < rank; i++) {
        if (reduced >> i & 1) {
            continue;
        }
        if (at >= map->rank || map->axis[at++] != i) {
            return false;
        }
    }
    return at == map->rank;
}

/* Maps in terms of all axes of a type, while walking; -1 for axes of size one. */
typedef struct Walk {
    bool is_general;
    int8_t axis[TYPE_MAX_RANK];
} Walk;

static Walk walk_identity(Type type) {
    Walk walk = {0};
    int8_t wide = 0;
    for (int32_t i = 0; i < type.rank; i++) {
        walk.axis[i] = size_is_one(type.dims[i]) ? -1 : wide++;
    }
    return walk;
}

static AxisMap map_of(const Walk *walk, Type type) {
    AxisMap map = {.is_general = walk->is_general};
    for (int32_t i = 0; i < type.rank; i++) {
        if (!size_is_one(type.dims[i])) {
            map.axis[map.rank++] = walk->axis[i];
        }
    }
    return map;
}

/* -- a view read as axes: positions point at a walk's axes, or at NO_AXIS */
static const int8_t NO_AXIS = -1;

typedef struct AxisReader {
    ViewReader reader;
    bool is_general; /* what is read is more than axes in another order */
} AxisReader;

static Position no_axis(ViewReader *r, int64_t number) {
    (void)r;
    (void)number;
    return &NO_AXIS;
}

static Position is_general(ViewReader *r) {
    ((AxisReader *)r)->is_general = true;
    return &NO_AXIS;
}

static Position general_size(ViewReader *r, const Size *size) {
    (void)size;
    return is_general(r);
}

static Position general_sum(ViewReader *r, Position a, Position b) {
    (void)a;
    (void)b;
    return is_general(r);
}

static Position general_scale(ViewReader *r, Position a, int64_t factor) {
    (void)a;
    (void)factor;
    return is_general(r);
}

static void general_divide(ViewReader *r, Position a, int64_t divisor, Position *out,
                           Position *out_rest) {
    (void)a;
    (void)divisor;
    *out = *out_rest = is_general(r);
}

/* The axes of a size other than one, in order, where they stay. */
static void axes_reshape(ViewReader *r, Type from, const Position *at, Type to, Position *out) {
    Space a = fuse_space(to), b = fuse_space(from);
    if (!space_equal(&a, &b)) {
        is_general(r);
    }
    for (int32_t i = 0, j = 0; i < to.rank; i++) {
        out[i] = &NO_AXIS;
        if (!size_is_one(to.dims[i]) && !((AxisReader *)r)->is_general) {
            while (size_is_one(from.dims[j])) {
                j++;
            }
            out[i] = at[j++];
        }
    }
}

static void general_need(ViewReader *r, Position a) {
    (void)a;
    is_general(r);
}

static void general_below(ViewReader *r, Position a, const Size *limit) {
    (void)limit;
    general_need(r, a);
}

/* The walk seen from operand 0 of a free op. */
static Walk walk_through(const Op *op, const Walk *walk) {
    if (op->code == OP_cast) {
        return *walk;
    }
    AxisReader reader = {.reader = {.number = no_axis,
                                    .size = general_size,
                                    .add = general_sum,
                                    .sub = general_sum,
                                    .scale = general_scale,
                                    .divide = general_divide,
                                    .reshape = axes_reshape,
                                    .need_natural = general_need,
                                    .need_zero = general_need,
                                    .need_below = general_below},
                         .is_general = walk->is_general};
    Position at[TYPE_MAX_RANK], out[TYPE_MAX_RANK];
    for (int32_t i = 0; i < op->results[0]->type.rank; i++) {
        at[i] = &walk->axis[i];
    }
    view_read(&reader.reader, op, at, out);
    Walk inner = {.is_general = reader.is_general};
    for (int32_t i = 0; i < TYPE_MAX_RANK; i++) {
        bool is_known = !inner.is_general && i < op->operands[0]->type.rank;
        inner.axis[i] = is_known ? *(const int8_t *)out[i] : NO_AXIS;
    }
    return inner;
}

static bool map_equal(const AxisMap *a, const AxisMap *b) {
    if (a->is_general || b->is_general) {
        return a->is_general == b->is_general;
    }
    return a->rank == b->rank && memcmp(a->axis, b->axis, (size_t)a->rank) == 0;
}

static int32_t unit_of_value(const Fuse *f, const Value *v) {
    if (!v->op || v->op->parent != f->block || v->op->id >= f->n_ids) {
        return -1;
    }
    return f->unit_of[v->op->id];
}

static void add_edge(Fuse *f, int32_t unit, const Value *v, AxisMap map) {
    Unit *reader = &f->units.items[unit];
    for (size_t i = 0; i < reader->reads.count && !map.is_general; i++) {
        if (reader->reads.items[i].value == v && map_equal(&reader->reads.items[i].map, &map)) {
            return;
        }
    }
    Edge edge = {.unit = unit_of_value(f, v), .value = v, .map = map};
    VEC_PUSH(f->arena, &reader->reads, edge);
    if (edge.unit >= 0) {
        VEC_PUSH(f->arena, &f->units.items[edge.unit].users, unit);
    }
}

/* Without a map a unit comes to a value once, however many ways lead there: a pad reads two values,
 * so that the ways of a chain double with each. With a map there is one way, along operand 0. */
static void walk_reads(Fuse *f, int32_t unit, const Value *v, Walk walk) {
    boundary_check_stack(f->context->boundary);
    if (walk.is_general) {
        if (f->walked[v->id] == unit + 1) {
            return;
        }
        f->walked[v->id] = unit + 1;
    }
    if (!v->op || unit_of_value(f, v) >= 0 || !fuse_op_is_free(v->op)) {
        add_edge(f, unit, v, map_of(&walk, v->type));
        return;
    }
    for (int32_t i = 0; i < v->op->n_operands; i++) {
        Walk inner = i == 0 ? walk_through(v->op, &walk) : (Walk){.is_general = true};
        walk_reads(f, unit, v->op->operands[i], inner);
    }
}

static void nested_reads(Fuse *f, int32_t unit, const Block *block) {
    BLOCK_EACH_OP (block, op) {
        for (int32_t i = 0; i < op->n_operands; i++) {
            const Value *v = op->operands[i];
            if (v->op && v->op->parent == f->block) {
                walk_reads(f, unit, v, (Walk){.is_general = true});
            }
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            nested_reads(f, unit, op->blocks[i]);
        }
    }
}

/* -- units */
/* A pooling: a reduction of a few elements of a window. */
static bool is_window_reduction(const Op *op, double *out_total) {
    Ints axes = op_axes(op);
    *out_total = 1;
    for (int32_t i = 0; i < axes.count; i++) {
        int64_t extent;
        if (!size_is_const(op->operands[0]->type.dims[axes.at[i]], &extent)) {
            return false;
        }
        *out_total *= (double)extent;
    }
    if (*out_total > WINDOW_LIMIT) {
        return false;
    }
    for (const Op *at = op->operands[0]->op; at && at->n_operands > 0; at = at->operands[0]->op) {
        if (at->code == OP_unfold) {
            return true;
        }
        if (!fuse_op_is_free(at)) {
            return false;
        }
    }
    return false;
}

static GroupKind unit_kind(const Op *op) {
    double total;
    switch (op_info(op->code)->fusion) {
    case FUSION_REDUCE:
        return is_window_reduction(op, &total) ? GROUP_LOOP : GROUP_REDUCE;
    case FUSION_ARG_REDUCE:
        return GROUP_REDUCE;
    case FUSION_CONTRACT:
        return GROUP_CONTRACT;
    case FUSION_CONV:
        return GROUP_CONV;
    case FUSION_PREFIX:
    case FUSION_SORT:
    case FUSION_SCATTER:
    case FUSION_UPDATE:
    case FUSION_ATTENTION:
        return GROUP_ROOT;
    case FUSION_BARRIER:
        return GROUP_BARRIER;
    case FUSION_VIEW: /* seen through where they are free */
    case FUSION_SPREAD:
    case FUSION_FREE:
    case FUSION_FREE_IF_SMALL:
    case FUSION_FREE_UNLESS_STORED:
    case FUSION_LOOP:
    case FUSION_PICK:
        break;
    }
    return GROUP_LOOP;
}

/* Operations an element: of a window's reduction and of fold, which have inner loops, as many as
 * these have turns. */
static double unit_cost(const Op *op) {
    const OpInfo *info = op_info(op->code);
    double total = 0;
    int64_t extent;
    if (info->fusion == FUSION_REDUCE && is_window_reduction(op, &total)) {
        return total;
    }
    if (op->code == OP_fold) {
        const Size *window = op->operands[0]->type.dims[fold_axis(op) + 1];
        return size_is_const(window, &extent) ? (double)extent : 64;
    }
    return info->work;
}

static void set_reduction(Unit *unit) {
    const Op *op = unit->op;
    Type x = op->operands[0]->type;
    int64_t axis = op_has_axis(op) ? op_axis(op) : 0;
    Ints axes = op_has_axis(op) ? (Ints){1, &axis} : op_axes(op);
    unit->space = fuse_space(x);
    unit->kept = fuse_space(op->results[0]->type);
    int32_t wide = 0;
    for (int32_t i = 0; i < x.rank; i++) {
        if (size_is_one(x.dims[i])) {
            continue;
        }
        for (int32_t j = 0; j < axes.count; j++) {
            unit->reduced |= axes.at[j] == i ? 1u << wide : 0;
        }
        wide++;
    }
}

/* Ops whose operands are read at the result's own index. */
static bool reads_elementwise(const Unit *unit) {
    return op_info(unit->op->code)->kind == KIND_ELEMENTWISE || unit->kind == GROUP_REDUCE;
}

static void collect_reads(Fuse *f, int32_t index) {
    Unit *unit = &f->units.items[index];
    Op *op = unit->op;
    for (int32_t i = 0; i < op->n_operands; i++) {
        Walk walk = reads_elementwise(unit) ? walk_identity(op->operands[i]->type)
                                            : (Walk){.is_general = true};
        walk_reads(f, index, op->operands[i], walk);
    }
    for (int32_t i = 0; i < op->n_blocks; i++) {
        nested_reads(f, index, op->blocks[i]);
    }
}

static void mark_live(Fuse *f) {
    for (size_t i = f->units.count; i > 0; i--) {
        Unit *unit = &f->units.items[i - 1];
        unit->is_live = unit->kind == GROUP_BARRIER;
        for (size_t j = 0; j < unit->users.count && !unit->is_live; j++) {
            unit->is_live = f->units.items[unit->users.items[j]].is_live;
        }
    }
}

/* Whether the yield stores every use of the unit's values as a parameter or optimiser slot. */
static bool only_stored(const Fuse *f, const Unit *unit, const Op *yield) {
    if (f->block != f->func->body || yield->parent != f->block) {
        return false;
    }
    for (int32_t i = 0; i < yield->n_operands && i < f->func->n_results; i++) {
        const Value *v = yield->operands[i];
        while (v->op && v->op->code == OP_reshape) {
            v = v->op->operands[0];
        }
        if (v->op != unit->op) {
            continue;
        }
        const FuncResult *result = &f->func->results[i];
        ArgRole role = result->role == RESULT_STORE ? f->func->args[result->arg].role : ARG_INPUT;
        if (role != ARG_PARAM && role != ARG_SLOT) {
            return false;
        }
    }
    return true;
}

static void mark_updates(Fuse *f) {
    for (size_t i = f->units.count; i > 0; i--) {
        Unit *unit = &f->units.items[i - 1];
        unit->is_update =
            (unit->kind == GROUP_LOOP || unit->kind == GROUP_REDUCE) && unit->users.count > 0;
        for (size_t j = 0; j < unit->users.count && unit->is_update; j++) {
            const Unit *user = &f->units.items[unit->users.items[j]];
            unit->is_update =
                user->op->code == OP_yield ? only_stored(f, unit, user->op) : user->is_update;
        }
    }
}

/* What the program shows and checks is shown and checked in its order: each waits for the one
 * before. None gives anything that a group could read, so that this forbids no fusion. */
static void keep_effects_ordered(Fuse *f) {
    int32_t before = -1;
    for (int32_t i = 0; i < (int32_t)f->units.count; i++) {
        const Op *op = f->units.items[i].op;
        if ((op_info(op->code)->flags & OPF_EFFECT) && op->n_operands > 0 && op->n_results == 0) {
            if (before >= 0) {
                VEC_PUSH(f->arena, &f->units.items[before].users, i);
            }
            before = i;
        }
    }
}

void fuse_collect(Fuse *f) {
    f->n_ids = f->func->n_ops;
    f->unit_of = ARENA_ARRAY(f->arena, int32_t, f->n_ids + 1);
    for (int32_t i = 0; i < f->n_ids; i++) {
        f->unit_of[i] = -1;
    }
    BLOCK_EACH_OP (f->block, op) {
        if (fuse_op_is_free(op)) {
            continue;
        }
        Unit unit = {.op = op, .kind = unit_kind(op), .group = (int32_t)f->units.count};
        unit.cost = unit_cost(op);
        if (unit.kind == GROUP_REDUCE) {
            set_reduction(&unit);
        } else if (unit.kind != GROUP_BARRIER) {
            unit.space = fuse_space(op->results[0]->type);
        }
        f->unit_of[op->id] = (int32_t)f->units.count;
        VEC_PUSH(f->arena, &f->units, unit);
    }
    f->walked = ARENA_ARRAY(f->arena, int32_t, f->func->n_values + 1);
    f->groups = ARENA_ARRAY(f->arena, Group, f->units.count + 1);
    for (size_t i = 0; i < f->units.count; i++) {
        collect_reads(f, (int32_t)i);
        const Unit *unit = &f->units.items[i];
        Group *group = &f->groups[i];
        *group = (Group){.merged_into = -1,
                         .kind = unit->kind,
                         .space = unit->space,
                         .kept = unit->kept,
                         .reduced = unit->reduced,
                         .first = (int32_t)i,
                         .last = (int32_t)i,
                         .n_reduce = unit->kind == GROUP_REDUCE};
        VEC_PUSH(f->arena, &group->units, (int32_t)i);
    }
    keep_effects_ordered(f);
    mark_live(f);
    mark_updates(f);
}
