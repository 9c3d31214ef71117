/* The verifier: every invariant of ir.h, and those of the properties a Func has reached. It
 * collects all problems, each below the op it concerns, and changes nothing. Passes are checked
 * with it after each run in debug and test builds. */
#include "ir/ir.h"

#include <string.h>

typedef struct Verify {
    Func *func;
    Context *context;
    Arena *scratch;
    Str *report;
    const Op *shown;  /* the op last printed into the report */
    int32_t *visible; /* by value id: 0, or 1 + the depth of the block that defined it */
    bool *seen;       /* by value id */
    bool *stored;     /* by argument: whether some result stores it */
    bool ok;
} Verify;

/* Adds a problem, below a line with the op when it is not the one of the problem before. */
__attribute__((format(printf, 3, 4))) static void problem(Verify *v, const Op *op,
                                                          const char *format, ...) {
    if (op != NULL && op != v->shown) {
        str_addf(v->report, "%s: ", v->func->name);
        op_print(op, v->report);
        str_add_char(v->report, '\n');
    } else if (op == NULL) {
        str_addf(v->report, "%s:\n", v->func->name);
    }
    v->shown = op;
    v->ok = false;
    str_add(v->report, "    ");
    va_list args;
    va_start(args, format);
    str_vaddf(v->report, format, args);
    va_end(args);
    str_add_char(v->report, '\n');
}

/* -- values */

static bool type_sound(Type type) {
    if ((int)type.dtype < 0 || type.dtype >= DT_COUNT || type.rank < 0 ||
        type.rank > TYPE_MAX_RANK) {
        return false;
    }
    for (int32_t i = 0; i < type.rank; i++) {
        if (type.dims == NULL || type.dims[i] == NULL || size_is_error(type.dims[i])) {
            return false;
        }
    }
    return true;
}

/* Enters a definition made in a block of `depth`. */
static void define(Verify *v, const Op *op, const Value *value, int32_t depth) {
    if (value->id < 0 || value->id >= v->func->n_values) {
        problem(v, op, "value number %d is not below the function's count %d", (int)value->id,
                (int)v->func->n_values);
        return;
    }
    if (v->seen[value->id]) {
        problem(v, op, "value number %%%d is given twice", (int)value->id);
    }
    v->seen[value->id] = true;
    v->visible[value->id] = depth + 1;
    if (!type_sound(value->type)) {
        problem(v, op, "%%%d has no sound type", (int)value->id);
    }
}

static void hide(Verify *v, const Value *value) {
    if (value->id >= 0 && value->id < v->func->n_values) {
        v->visible[value->id] = 0;
    }
}

/* `barrier` is the depth of the innermost isolated block: what lies further out is not seen. */
static bool verify_operand(Verify *v, const Op *op, int32_t index, int32_t barrier) {
    const Value *value = op->operands[index];
    if (value == NULL) {
        problem(v, op, "operand %d is missing", (int)index);
        return false;
    }
    if (value->id < 0 || value->id >= v->func->n_values) {
        problem(v, op, "operand %d is no value of this function", (int)index);
        return false;
    }
    const Value *const *owners = value->op != NULL      ? (const Value *const *)value->op->results
                                 : value->block != NULL ? (const Value *const *)value->block->args
                                                        : NULL;
    int32_t n_owned = value->op != NULL      ? value->op->n_results
                      : value->block != NULL ? value->block->n_args
                                             : 0;
    if (value->index < 0 || value->index >= n_owned || owners[value->index] != value) {
        problem(v, op, "operand %d (%%%d) does not belong to its op or block", (int)index,
                (int)value->id);
        return false;
    }
    int32_t depth = v->visible[value->id] - 1;
    if (depth < 0) {
        problem(v, op, "operand %d (%%%d) is used before its definition or outside its block",
                (int)index, (int)value->id);
        return false;
    }
    if (depth < barrier) {
        problem(v, op, "operand %d (%%%d) comes from outside an isolated block", (int)index,
                (int)value->id);
        return false;
    }
    return true;
}

/* -- attributes and shapes */

static const char *attr_problem(AttrKind kind, const AttrValue *attr) {
    switch (kind) {
    case ATTR_SIZE:
        return attr->size == NULL          ? "is missing"
               : size_is_error(attr->size) ? "is a size that left the 64-bit range"
                                           : NULL;
    case ATTR_TEXT:
    case ATTR_WORD:
        return attr->text == NULL ? "is missing" : NULL;
    case ATTR_BOOL:
        return attr->i != 0 && attr->i != 1 ? "is neither true nor false" : NULL;
    case ATTR_DTYPE:
        return attr->i < 0 || attr->i >= DT_COUNT ? "is no element type" : NULL;
    case ATTR_INTS:
    case ATTR_DATA:
        return attr->list.count < 0 || (attr->list.count > 0 && attr->list.ints == NULL)
                   ? "is a malformed list"
                   : NULL;
    case ATTR_SIZES:
        if (attr->list.count < 0 || (attr->list.count > 0 && attr->list.sizes == NULL)) {
            return "is a malformed list";
        }
        for (int32_t i = 0; i < attr->list.count; i++) {
            if (attr->list.sizes[i] == NULL || size_is_error(attr->list.sizes[i])) {
                return "has a malformed size";
            }
        }
        return NULL;
    case ATTR_INT:
    case ATTR_FLOAT:
        break;
    }
    return NULL;
}

static bool verify_attrs(Verify *v, const Op *op) {
    const OpInfo *info = op_info(op->code);
    bool ok = true;
    for (int i = 0; i < info->n_attrs; i++) {
        const char *text = attr_problem(info->attrs[i]->kind, &op->attrs[i]);
        if (text != NULL) {
            problem(v, op, "attribute '%s' %s", info->attrs[i]->name, text);
            ok = false;
        }
    }
    return ok;
}

/* Runs the shape rule and puts the recorded types back. */
static void verify_types(Verify *v, Op *op) {
    Type *recorded = ARENA_ARRAY(v->scratch, Type, op->n_results + 1);
    for (int32_t i = 0; i < op->n_results; i++) {
        recorded[i] = op->results[i]->type;
    }
    OpProblem complaint = {0};
    bool ok = op_infer(v->context, op, &complaint);
    for (int32_t i = 0; i < op->n_results; i++) {
        Type inferred = op->results[i]->type;
        op->results[i]->type = recorded[i];
        if (ok && type_sound(recorded[i]) && !type_equal(inferred, recorded[i])) {
            problem(v, op, "result %d is %s by the op's rule, not %s", (int)i,
                    type_text(v->context, inferred), type_text(v->context, recorded[i]));
        }
    }
    if (!ok) {
        problem(v, op, "%s", complaint.text != NULL ? complaint.text : "its shape rule refuses it");
    }
}

static bool verify_counts(Verify *v, const Op *op) {
    const OpInfo *info = op_info(op->code);
    bool ok = true;
    if (info->n_operands >= 0 && op->n_operands != info->n_operands) {
        problem(v, op, "has %d operands, not %d", (int)op->n_operands, info->n_operands);
        ok = false;
    }
    if (info->n_results >= 0 && op->n_results != info->n_results) {
        problem(v, op, "has %d results, not %d", (int)op->n_results, info->n_results);
        ok = false;
    }
    if (op->n_blocks != info->n_blocks) {
        problem(v, op, "has %d blocks, not %d", (int)op->n_blocks, info->n_blocks);
        ok = false;
    }
    return ok;
}

/* -- properties */

static void verify_op_properties(Verify *v, const Op *op, bool in_fusion) {
    unsigned properties = v->func->properties;
    bool for_grad = op->code == OP_grad || op->code == OP_opaque;
    if ((properties & PROP_NO_GRAD_OPS) != 0 && for_grad) {
        problem(v, op, "stands in a function that is already differentiated");
    }
    if (in_fusion && op_info(op->code)->kind == KIND_COLLECTIVE) {
        problem(v, op, "is a collective in a fusion, whose kernel no other rank runs with");
    }
    if ((properties & PROP_FUSED) == 0) {
        return;
    }
    if (in_fusion && op->code == OP_fusion) {
        problem(v, op, "is a fusion in a fusion");
    }
    bool needs_kernel = op_info(op->code)->kind == KIND_ELEMENTWISE;
    if (!in_fusion && needs_kernel) {
        problem(v, op, "stands outside a fusion in a function that is already fused");
    }
}

/* -- blocks */

static void verify_block(Verify *v, Block *block, int32_t depth, int32_t barrier, bool in_fusion);

static void verify_op(Verify *v, Op *op, int32_t depth, int32_t barrier, bool in_fusion) {
    const OpInfo *info = op_info(op->code);
    bool sound = verify_counts(v, op);
    sound &= verify_attrs(v, op);
    for (int32_t i = 0; i < op->n_operands; i++) {
        sound &= verify_operand(v, op, i, barrier);
    }
    if (op->label == NULL) {
        problem(v, op, "has no label");
    }
    bool isolated = (info->flags & OPF_ISOLATED) != 0;
    for (int32_t i = 0; i < op->n_blocks; i++) {
        Block *inner = op->blocks[i];
        if (inner->owner != op || inner->func != v->func) {
            problem(v, op, "block %d does not point back at its op and function", (int)i);
        }
        verify_block(v, inner, depth + 1, isolated ? depth + 1 : barrier,
                     in_fusion || op->code == OP_fusion);
        sound &= block_yield(inner) != NULL;
    }
    for (int32_t i = 0; i < op->n_results; i++) {
        const Value *result = op->results[i];
        if (result->op != op || result->index != i || result->block != NULL) {
            problem(v, op, "result %d does not point back at its op", (int)i);
        }
        define(v, op, result, depth);
    }
    if (sound) {
        verify_types(v, op);
    }
    verify_op_properties(v, op, in_fusion);
}

static void verify_block(Verify *v, Block *block, int32_t depth, int32_t barrier, bool in_fusion) {
    const Op *owner = block->owner;
    for (int32_t i = 0; i < block->n_args; i++) {
        const Value *arg = block->args[i];
        if (arg->block != block || arg->index != i || arg->op != NULL) {
            problem(v, owner, "block argument %d does not point back at its block", (int)i);
        }
        define(v, owner, arg, depth);
    }
    const Op *previous = NULL;
    for (Op *op = block->first; op != NULL; previous = op, op = op->next) {
        if (op->prev != previous || op->parent != block) {
            problem(v, op, "is not linked properly into its block");
            break;
        }
        if (op->code == OP_yield && op->next != NULL) {
            problem(v, op, "ends the block, but ops follow");
        }
        verify_op(v, op, depth, barrier, in_fusion);
    }
    if (block_yield(block) == NULL) {
        problem(v, owner, "%s does not end in yield", owner != NULL ? "a block" : "the body");
    }
    for (int32_t i = 0; i < block->n_args; i++) {
        hide(v, block->args[i]);
    }
    BLOCK_EACH_OP (block, op) {
        for (int32_t i = 0; i < op->n_results; i++) {
            hide(v, op->results[i]);
        }
    }
}

/* -- ranks */

/* A size that cuts and wholes may have: the same on every rank. */
static bool size_is_common(const Verify *v, const Size *size) {
    return size != NULL && !size_is_error(size) && module_size_differs(v->func->module, size) == 0;
}

static bool type_is_common(const Verify *v, Type type) {
    bool common = type_sound(type);
    for (int32_t i = 0; common && i < type.rank; i++) {
        common = size_is_common(v, type.dims[i]);
    }
    return common;
}

static const char *sharding_problem(const Verify *v, const Sharding *sharding, Type *local) {
    if ((v->func->properties & PROP_SHARDED) == 0) {
        return "the function is not one rank's";
    }
    bool common = type_is_common(v, sharding->whole);
    for (int32_t i = 0; common && i < sharding->n_cuts; i++) {
        const AxisCut *cut = &sharding->cuts[i];
        common = size_is_common(v, cut->outer) && size_is_common(v, cut->rows) &&
                 size_is_common(v, cut->inner);
    }
    return common ? module_cut_problem(v->func->module, sharding->whole, sharding->cuts,
                                       sharding->n_cuts, local)
                  : "the whole, or a size of a cut, is not sound, or differs among ranks";
}

/* That the value `name` is the part of a whole that its sharding says, or the whole. */
static void verify_sharding(Verify *v, const Op *op, const char *name, Type type,
                            const Sharding *sharding) {
    Type local = type;
    if (sharding == NULL) {
        if ((v->func->properties & PROP_SHARDED) != 0 && !type_is_common(v, type)) {
            problem(v, op, "'%s' is said to be equal on every rank, but %s may differ", name,
                    type_text(v->context, type));
        }
        return;
    }
    const char *text = sharding_problem(v, sharding, &local);
    if (text != NULL) {
        problem(v, op, "the sharding of '%s': %s", name, text);
    } else if (!type_equal(local, type)) {
        problem(v, op, "'%s' is %s, but a rank's part of %s, so cut, is %s", name,
                type_text(v->context, type), type_text(v->context, sharding->whole),
                type_text(v->context, local));
    }
}

/* -- arguments and results of the function */

static void verify_args(Verify *v) {
    const Func *func = v->func;
    Map names[ARG_SCALAR + 1];
    for (int role = 0; role <= ARG_SCALAR; role++) {
        map_init(&names[role], v->scratch);
    }
    for (int32_t i = 0; i < func->body->n_args; i++) {
        const FuncArg *arg = &func->args[i];
        if (arg->role > ARG_SCALAR || arg->name == NULL) {
            problem(v, NULL, "argument %d has no role or no name", (int)i);
            continue;
        }
        if (map_has(&names[arg->role], arg->name)) {
            problem(v, NULL, "two arguments of one role are called '%s'", arg->name);
        }
        map_set(&names[arg->role], arg->name, NULL);
        if (arg->role == ARG_SCALAR && func->body->args[i]->type.rank != 0) {
            problem(v, NULL, "scalar argument '%s' is not of rank 0", arg->name);
        }
        if (type_sound(func->body->args[i]->type)) {
            verify_sharding(v, NULL, arg->name, func->body->args[i]->type, arg->sharding);
        }
    }
}

static void verify_store(Verify *v, const Op *yield, int32_t index) {
    const Func *func = v->func;
    const FuncResult *result = &func->results[index];
    if (result->arg < 0 || result->arg >= func->body->n_args) {
        problem(v, yield, "result %d stores argument %d, which does not exist", (int)index,
                (int)result->arg);
        return;
    }
    const FuncArg *arg = &func->args[result->arg];
    if (arg->role == ARG_INPUT || arg->role == ARG_SCALAR) {
        problem(v, yield, "result %d stores '%s', which is an input or a scalar", (int)index,
                arg->name);
    }
    if (v->stored[result->arg]) {
        problem(v, yield, "'%s' is stored twice", arg->name);
    }
    v->stored[result->arg] = true;
    Type old_type = func->body->args[result->arg]->type;
    Type new_type = yield->operands[index]->type;
    if (type_sound(old_type) && type_sound(new_type) && !type_equal(old_type, new_type)) {
        problem(v, yield, "result %d stores %s into '%s' of type %s", (int)index,
                type_text(v->context, new_type), arg->name, type_text(v->context, old_type));
    }
    if (!sharding_equal(result->sharding, arg->sharding)) {
        problem(v, yield, "result %d stores into '%s' another part than its", (int)index,
                arg->name);
    }
}

static bool has_result(const Func *func, ResultRole role, const char *name) {
    for (int32_t i = 0; i < func->n_results; i++) {
        if (func->results[i].role == role && strcmp(func->results[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void verify_result(Verify *v, const Op *yield, int32_t index) {
    const FuncResult *result = &v->func->results[index];
    Type type = yield->operands[index]->type;
    if (result->name == NULL) {
        problem(v, yield, "result %d has no name, not even an empty one", (int)index);
        return;
    }
    if (result->role != RESULT_STORE) {
        verify_sharding(v, yield, result->name, type, result->sharding);
    }
    if (result->role == RESULT_STORE) {
        verify_store(v, yield, index);
    } else if (result->role != RESULT_OUTPUT && type.rank != 0) {
        problem(v, yield, "result %d ('%s') is not of rank 0", (int)index, result->name);
    }
    if (result->role == RESULT_OK && type.dtype != DT_BOOL) {
        problem(v, yield, "result %d, the ok flag, is not bool", (int)index);
    }
    if (result->role == RESULT_LOSS && !dtype_is_float(type.dtype)) {
        problem(v, yield, "result %d, a loss, is not of a float type", (int)index);
    }
    if (result->role == RESULT_METRIC_OVER && !has_result(v->func, RESULT_METRIC, result->name)) {
        problem(v, yield, "result %d divides a metric '%s' that does not exist", (int)index,
                result->name);
    }
    if (result->role == RESULT_LOSS_OVER && !has_result(v->func, RESULT_LOSS, result->name)) {
        problem(v, yield, "result %d divides a loss '%s' that does not exist", (int)index,
                result->name);
    }
}

static void verify_results(Verify *v) {
    const Op *yield = block_yield(v->func->body);
    if (yield == NULL) {
        return;
    }
    if (yield->n_operands != v->func->n_results) {
        problem(v, yield, "yields %d values for %d results", (int)yield->n_operands,
                (int)v->func->n_results);
        return;
    }
    for (int32_t i = 0; i < v->func->n_results; i++) {
        if (yield->operands[i] != NULL) {
            verify_result(v, yield, i);
        }
    }
}

bool func_verify(Func *func, Str *report) {
    Context *context = func->module->context;
    Arena *scratch = ARENA_NEW(&context->arena, Arena);
    arena_init(scratch, context->allocator, context->boundary);
    context_own_arena(context, scratch);
    Verify v = {.func = func, .context = context, .scratch = scratch, .report = report, .ok = true};
    v.visible = ARENA_ARRAY(scratch, int32_t, func->n_values + 1);
    v.seen = ARENA_ARRAY(scratch, bool, func->n_values + 1);
    v.stored = ARENA_ARRAY(scratch, bool, func->body->n_args + 1);
    if (func->body->owner != NULL || func->body->func != func) {
        problem(&v, NULL, "the body does not point back at its function");
    }
    if ((func->properties & PROP_SHARDED) != 0 && func->module->n_mesh_axes == 0) {
        problem(&v, NULL, "is one rank's program in a module without a mesh");
    }
    verify_args(&v);
    verify_block(&v, func->body, 0, 0, false);
    verify_results(&v);
    arena_finish(scratch);
    return v.ok;
}

/* A dim of ranks: of a group of the mesh, and of rows that are bound before it. */
static bool rank_dim_sound(const Module *module, const Dim *dim) {
    bool cuts = dim->source == DIM_PIECE || dim->source == DIM_FIRST;
    bool sound = (int)dim->source < DIM_N_SOURCES && dim->group != 0 &&
                 dim->group >> module->n_mesh_axes == 0 && cuts == (dim->of != NULL);
    for (int32_t i = dim->id; sound && dim->of != NULL && i < module->n_dims; i++) {
        sound = !size_uses_dim(dim->of, module->dims[i]);
    }
    return sound && module_find_rank_dim(module, dim->source, dim->group, dim->of) == dim;
}

static bool verify_dims(const Module *module, Str *report) {
    bool ok = true;
    for (int32_t i = 0; i < module->n_dims; i++) {
        const Dim *dim = module->dims[i];
        if (dim->id != i || dim->divisor < 1 || dim->low > dim->high) {
            str_addf(report, "dim %s has a wrong number, divisor or bounds\n", dim->name);
            ok = false;
        }
        if (dim->source != DIM_FREE && !rank_dim_sound(module, dim)) {
            str_addf(report,
                     "dim %s of ranks has a group that the mesh has not, rows that are bound "
                     "later, or an equal dim\n",
                     dim->name);
            ok = false;
        }
        if (module_find_dim(module, dim->name) != dim) {
            str_addf(report, "two dims are called %s\n", dim->name);
            ok = false;
        }
    }
    return ok;
}

bool module_verify(Module *module, Str *report) {
    bool ok = verify_dims(module, report);
    Map names;
    map_init(&names, &module->context->arena);
    for (Func *func = module->first; func != NULL; func = func->next) {
        if (map_has(&names, func->name)) {
            str_addf(report, "two functions are called %s\n", func->name);
            ok = false;
        }
        map_set(&names, func->name, NULL);
        if (func->next == NULL && module->last != func) {
            str_add(report, "the list of functions does not end where it says\n");
            ok = false;
        }
        ok &= func_verify(func, report);
    }
    return ok;
}
