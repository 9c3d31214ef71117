/* Modules, functions, blocks and ops: making them, linking them, reading their attributes.
 * Everything lives in the module's arena; nothing is freed one by one. Rewriting is
 * module_edit.c's. */
#include "ir/ir.h"

#include <assert.h>
#include <string.h>

/* An array that grows by one: its capacity is always the next power of two, from 4, so that no
 * capacity has to be stored. Returns the array to use for `count + 1` items. */
static void *array_room(Arena *arena, void *items, int32_t count, size_t item_size) {
    bool full = count == 0 || (count >= 4 && (count & (count - 1)) == 0);
    if (!full) {
        return items;
    }
    size_t capacity = count == 0 ? 4 : (size_t)count * 2;
    void *grown = arena_alloc_array(arena, capacity, item_size);
    if (count > 0) {
        memcpy(grown, items, (size_t)count * item_size);
    }
    return grown;
}

/* -- modules and dims */

Module *module_create(Context *context, const char *name) {
    /* The struct is the context's, so that the context can free the arena after a jump. */
    Module *module = ARENA_NEW(&context->arena, Module);
    module->context = context;
    arena_init(&module->arena, context->allocator, context->boundary);
    arena_init(&module->scratch, context->allocator, context->boundary);
    context_own_arena(context, &module->arena);
    context_own_arena(context, &module->scratch);
    module->name = context_intern(context, name);
    map_init(&module->settings, &module->arena);
    map_init(&module->agreed, &module->arena);
    return module;
}

void module_destroy(Module *module) {
    if (module != NULL) {
        arena_finish(&module->arena);
        arena_finish(&module->scratch);
    }
}

/* Dims are the context's: interned sizes refer to them and outlive the module. */
const Dim *module_add_dim(Module *module, const char *name, int64_t low, int64_t high,
                          int64_t divisor, int64_t nominal, Place place) {
    Arena *arena = &module->context->arena;
    Dim *dim = ARENA_NEW(arena, Dim);
    *dim = (Dim){.name = context_intern(module->context, name),
                 .id = module->n_dims,
                 .low = low,
                 .high = high,
                 .divisor = divisor,
                 .nominal = nominal,
                 .place = place};
    module->dims = array_room(arena, module->dims, module->n_dims, sizeof(module->dims[0]));
    module->dims[module->n_dims++] = dim;
    return dim;
}

const Dim *module_find_dim(const Module *module, const char *name) {
    for (int32_t i = 0; i < module->n_dims; i++) {
        if (strcmp(module->dims[i]->name, name) == 0) {
            return module->dims[i];
        }
    }
    return NULL;
}

/* -- functions */

static Value *value_create(Func *func) {
    Value *value = ARENA_NEW(&func->module->arena, Value);
    value->id = func->n_values++;
    return value;
}

Func *func_create(Module *module, const char *name, Purpose purpose) {
    Func *func = ARENA_NEW(&module->arena, Func);
    func->module = module;
    func->name = context_intern(module->context, name);
    func->purpose = purpose;
    func->body = block_create(func, NULL);
    if (module->last != NULL) {
        module->last->next = func;
    } else {
        module->first = func;
    }
    module->last = func;
    return func;
}

void func_remove(Func *func) {
    Module *module = func->module;
    Func *previous = NULL;
    for (Func *f = module->first; f != NULL; previous = f, f = f->next) {
        if (f != func) {
            continue;
        }
        if (previous != NULL) {
            previous->next = func->next;
        } else {
            module->first = func->next;
        }
        if (module->last == func) {
            module->last = previous;
        }
        func->next = NULL;
        return;
    }
}

Value *func_add_arg(Func *func, ArgRole role, const char *name, Type type, Place place) {
    int32_t count = func->body->n_args;
    func->args = array_room(&func->module->arena, func->args, count, sizeof(func->args[0]));
    func->args[count] = (FuncArg){
        .role = role, .name = context_intern(func->module->context, name), .place = place};
    return block_add_arg(func->body, type, NULL);
}

void func_set_results(Func *func, const FuncResult *results, Value *const *values, int32_t count) {
    Arena *arena = &func->module->arena;
    Op *old = block_yield(func->body);
    if (old != NULL) {
        op_unlink(old);
    }
    op_append(func->body, op_create(func, OP_yield, values, count, 0, 0));
    FuncResult *copy = ARENA_ARRAY(arena, FuncResult, count);
    for (int32_t i = 0; i < count; i++) {
        copy[i] = results[i];
        copy[i].name =
            context_intern(func->module->context, results[i].name ? results[i].name : "");
    }
    func->results = copy;
    func->n_results = count;
}

int32_t func_find_arg(const Func *func, ArgRole role, const char *name) {
    for (int32_t i = 0; i < func->body->n_args; i++) {
        if (func->args[i].role == role && strcmp(func->args[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* -- blocks */

Op *block_yield(const Block *block) {
    return block->last != NULL && block->last->code == OP_yield ? block->last : NULL;
}

Block *block_create(Func *func, Op *owner) {
    Block *block = ARENA_NEW(&func->module->arena, Block);
    block->func = func;
    block->owner = owner;
    return block;
}

Value *block_add_arg(Block *block, Type type, const char *name) {
    Func *func = block->func;
    Value *value = value_create(func);
    value->type = type;
    value->block = block;
    value->index = block->n_args;
    value->name = name != NULL ? context_intern(func->module->context, name) : NULL;
    block->args =
        array_room(&func->module->arena, block->args, block->n_args, sizeof(block->args[0]));
    block->args[block->n_args++] = value;
    return value;
}

/* -- ops */

Op *op_create(Func *func, OpCode code, Value *const *operands, int32_t n_operands,
              int32_t n_results, int32_t n_blocks) {
    Arena *arena = &func->module->arena;
    const OpInfo *info = op_info(code);
    Op *op = ARENA_NEW(arena, Op);
    op->code = code;
    op->label = context_intern(func->module->context, "");
    op->id = func->n_ops++;
    op->n_operands = n_operands;
    op->n_results = n_results;
    op->n_blocks = n_blocks;
    if (n_operands > 0) {
        op->operands = ARENA_ARRAY(arena, Value *, n_operands);
        memcpy(op->operands, operands, (size_t)n_operands * sizeof(operands[0]));
    }
    if (n_results > 0) {
        op->results = ARENA_ARRAY(arena, Value *, n_results);
    }
    for (int32_t i = 0; i < n_results; i++) {
        op->results[i] = value_create(func);
        op->results[i]->op = op;
        op->results[i]->index = i;
    }
    if (n_blocks > 0) {
        op->blocks = ARENA_ARRAY(arena, Block *, n_blocks);
    }
    for (int32_t i = 0; i < n_blocks; i++) {
        op->blocks[i] = block_create(func, op);
    }
    for (int i = 0; i < info->n_attrs; i++) {
        if (info->attrs[i]->kind == ATTR_TEXT || info->attrs[i]->kind == ATTR_WORD) {
            op->attrs[i].text = op->label;
        }
    }
    return op;
}

void op_insert_before(Op *op, Op *position) {
    Block *block = position->parent;
    op->parent = block;
    op->next = position;
    op->prev = position->prev;
    if (position->prev != NULL) {
        position->prev->next = op;
    } else {
        block->first = op;
    }
    position->prev = op;
}

void op_append(Block *block, Op *op) {
    op->parent = block;
    op->next = NULL;
    op->prev = block->last;
    if (block->last != NULL) {
        block->last->next = op;
    } else {
        block->first = op;
    }
    block->last = op;
}

void op_unlink(Op *op) {
    Block *block = op->parent;
    if (op->prev != NULL) {
        op->prev->next = op->next;
    } else {
        block->first = op->next;
    }
    if (op->next != NULL) {
        op->next->prev = op->prev;
    } else {
        block->last = op->prev;
    }
    op->parent = NULL;
    op->prev = op->next = NULL;
}

void op_set_operand(Op *op, int32_t index, Value *value) {
    assert(index >= 0 && index < op->n_operands);
    op->operands[index] = value;
}

/* -- attributes */

bool op_data_is_float(const Op *op) {
    int index = OP_ATTR_INDEX[op->code][ATTR_ID_dtype];
    int64_t dtype = index > 0 ? op->attrs[index - 1].i : -1; /* a parsed one may be out of range */
    return dtype >= 0 && dtype < DT_COUNT && dtype_is_float((DType)dtype);
}

Ints ints_copy(Func *func, const int64_t *ints, int32_t count) {
    int64_t *copy = ARENA_ARRAY(&func->module->arena, int64_t, count > 0 ? count : 1);
    if (count > 0) {
        memcpy(copy, ints, (size_t)count * sizeof(copy[0]));
    }
    return (Ints){count, copy};
}

Sizes sizes_copy(Func *func, const Size *const *sizes, int32_t count) {
    const Size **copy = ARENA_ARRAY(&func->module->arena, const Size *, count > 0 ? count : 1);
    if (count > 0) {
        memcpy(copy, sizes, (size_t)count * sizeof(copy[0]));
    }
    return (Sizes){count, copy};
}

bool op_infer(Context *context, Op *op, OpProblem *problem) {
    problem->text = NULL;
    return op_info(op->code)->shape(context, op, problem);
}
