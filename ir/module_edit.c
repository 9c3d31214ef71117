/* Walking and rewriting functions: numbering, uses, replacement, copies, comparing attributes. What
 * passes do to ops beyond making and linking them. */
#include "ir/ir.h"

#include <string.h>

/* -- walking */

static void block_each_op(Block *block, void (*visit)(Op *op, void *user), void *user) {
    Op *next = NULL;
    for (Op *op = block->first; op != NULL; op = next) {
        next = op->next;
        visit(op, user);
        if (op->parent != block) {
            continue; /* the visitor took it out */
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            block_each_op(op->blocks[i], visit, user);
        }
    }
}

void func_each_op(Func *func, void (*visit)(Op *op, void *user), void *user) {
    block_each_op(func->body, visit, user);
}

static void block_renumber(Func *func, Block *block) {
    for (int32_t i = 0; i < block->n_args; i++) {
        block->args[i]->id = func->n_values++;
    }
    BLOCK_EACH_OP (block, op) {
        op->id = func->n_ops++;
        for (int32_t i = 0; i < op->n_results; i++) {
            op->results[i]->id = func->n_values++;
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            block_renumber(func, op->blocks[i]);
        }
    }
}

void func_renumber(Func *func) {
    func->n_values = 0;
    func->n_ops = 0;
    block_renumber(func, func->body);
    func->n_numbered = func->n_values;
}

static void block_count_uses(const Block *block, int32_t *counts) {
    BLOCK_EACH_OP (block, op) {
        for (int32_t i = 0; i < op->n_operands; i++) {
            counts[op->operands[i]->id]++;
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            block_count_uses(op->blocks[i], counts);
        }
    }
}

int32_t *func_use_counts(const Func *func, Arena *arena) {
    int32_t *counts = ARENA_ARRAY(arena, int32_t, func->n_values > 0 ? func->n_values : 1);
    block_count_uses(func->body, counts);
    return counts;
}

static void block_replace_values(Block *block, Value **map, int32_t n_map) {
    BLOCK_EACH_OP (block, op) {
        for (int32_t i = 0; i < op->n_operands; i++) {
            Value *value = op->operands[i];
            while (value->id < n_map && map[value->id] != NULL) {
                value = map[value->id];
            }
            op->operands[i] = value;
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            block_replace_values(op->blocks[i], map, n_map);
        }
    }
}

void func_replace_values(Func *func, Value **map) {
    int32_t n_map = func->n_numbered > 0 ? func->n_numbered : func->n_values;
    block_replace_values(func->body, map, n_map);
}

/* -- copies */

/* Copies what an attribute points to where it is the source's own memory. Sizes and texts are
 * interned in the context. */
static AttrValue attr_copy(Func *to, const Op *op, int index) {
    AttrValue value = op->attrs[index];
    switch (op_info(op->code)->attrs[index]->kind) {
    case ATTR_INTS:
    case ATTR_DATA: /* doubles and int64_t are both 8 bytes */
        value.list.ints = ints_copy(to, value.list.ints, value.list.count).at;
        return value;
    case ATTR_SIZES:
        value.list.sizes = sizes_copy(to, value.list.sizes, value.list.count).at;
        return value;
    default:
        return value;
    }
}

static void block_clone_into(Func *to, const Block *from, Op *position, Block *append_to,
                             Value **map, bool with_yield);

static Op *op_clone(Func *to, const Op *op, Value **map) {
    Op *copy = op_create(to, op->code, op->operands, op->n_operands, op->n_results, op->n_blocks);
    copy->place = op->place;
    copy->label = op->label;
    for (int32_t i = 0; i < op->n_operands; i++) {
        Value *mapped = map[op->operands[i]->id];
        if (mapped != NULL) {
            copy->operands[i] = mapped;
        }
    }
    for (int i = 0; i < op_info(op->code)->n_attrs; i++) {
        copy->attrs[i] = attr_copy(to, op, i);
    }
    for (int32_t i = 0; i < op->n_results; i++) {
        copy->results[i]->type = op->results[i]->type;
        copy->results[i]->name = op->results[i]->name;
        map[op->results[i]->id] = copy->results[i];
    }
    for (int32_t i = 0; i < op->n_blocks; i++) {
        const Block *from = op->blocks[i];
        for (int32_t k = 0; k < from->n_args; k++) {
            map[from->args[k]->id] =
                block_add_arg(copy->blocks[i], from->args[k]->type, from->args[k]->name);
        }
        block_clone_into(to, from, NULL, copy->blocks[i], map, true);
    }
    return copy;
}

static void block_clone_into(Func *to, const Block *from, Op *position, Block *append_to,
                             Value **map, bool with_yield) {
    const Op *yield = block_yield(from);
    BLOCK_EACH_OP (from, op) {
        if (op == yield && !with_yield) {
            break;
        }
        Op *copy = op_clone(to, op, map);
        if (position != NULL) {
            op_insert_before(copy, position);
        } else {
            op_append(append_to, copy);
        }
    }
}

void block_clone_ops(Func *func, const Block *block, Op *position, Block *append_to, Value **map) {
    block_clone_into(func, block, position, append_to, map, false);
}

Func *func_clone(Func *func, const char *name) {
    Module *module = func->module;
    Func *copy = func_create(module, name != NULL ? name : func->name, func->purpose);
    if (name == NULL) {
        func_remove(copy);
    }
    copy->properties = func->properties;
    Value **map = ARENA_ARRAY(&module->arena, Value *, func->n_values > 0 ? func->n_values : 1);
    for (int32_t i = 0; i < func->body->n_args; i++) {
        Value *arg = func->body->args[i];
        Value *new_arg = func_add_arg(copy, func->args[i].role, func->args[i].name, arg->type,
                                      func->args[i].place);
        copy->args[i].sharding = func->args[i].sharding;
        new_arg->name = arg->name;
        map[arg->id] = new_arg;
    }
    block_clone_into(copy, func->body, NULL, copy->body, map, true);
    FuncResult *results = ARENA_ARRAY(&module->arena, FuncResult, func->n_results);
    if (func->n_results > 0) {
        memcpy(results, func->results, (size_t)func->n_results * sizeof(results[0]));
    }
    copy->results = results;
    copy->n_results = func->n_results;
    func_renumber(copy);
    return copy;
}

/* -- comparing attributes */

static bool text_equal(const char *a, const char *b) {
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool list_equal(const AttrValue *a, const AttrValue *b) {
    return a->list.count == b->list.count &&
           (a->list.count == 0 ||
            memcmp(a->list.ints, b->list.ints, (size_t)a->list.count * sizeof(int64_t)) == 0);
}

static bool sizes_equal(const AttrValue *a, const AttrValue *b) {
    if (a->list.count != b->list.count) {
        return false;
    }
    for (int32_t i = 0; i < a->list.count; i++) {
        if (a->list.sizes[i] != b->list.sizes[i]) {
            return false;
        }
    }
    return true;
}

bool op_attrs_equal(const Op *a, const Op *b) {
    const OpInfo *info = op_info(a->code);
    if (a->code != b->code) {
        return false;
    }
    for (int i = 0; i < info->n_attrs; i++) {
        const AttrValue *x = &a->attrs[i];
        const AttrValue *y = &b->attrs[i];
        bool equal = true;
        switch (info->attrs[i]->kind) {
        case ATTR_INT:
        case ATTR_BOOL:
        case ATTR_DTYPE:
            equal = x->i == y->i;
            break;
        case ATTR_FLOAT: /* bits: -0.0 differs from 0.0, a nan equals itself */
            equal = memcmp(&x->f, &y->f, sizeof(x->f)) == 0;
            break;
        case ATTR_TEXT:
        case ATTR_WORD:
            equal = text_equal(x->text, y->text);
            break;
        case ATTR_SIZE: /* interned */
            equal = x->size == y->size;
            break;
        case ATTR_SIZES:
            equal = sizes_equal(x, y);
            break;
        case ATTR_INTS:
        case ATTR_DATA:
            equal = list_equal(x, y);
            break;
        }
        if (!equal) {
            return false;
        }
    }
    return true;
}

/* Sizes enter by their nominal value, not their address: the hash is the same in every run. Any
 * number will do for dims without one. */
static uint64_t hash_size(const Size *size, uint64_t seed) {
    int64_t nominal = size != NULL ? size_nominal(size, 3) : -1;
    return hash_bytes(&nominal, sizeof(nominal), seed);
}

uint64_t op_attrs_hash(const Op *op) {
    const OpInfo *info = op_info(op->code);
    int64_t code = (int64_t)op->code;
    uint64_t hash = hash_bytes(&code, sizeof(code), 0);
    for (int i = 0; i < info->n_attrs; i++) {
        const AttrValue *attr = &op->attrs[i];
        switch (info->attrs[i]->kind) {
        case ATTR_INT:
        case ATTR_BOOL:
        case ATTR_DTYPE:
            hash = hash_bytes(&attr->i, sizeof(attr->i), hash);
            break;
        case ATTR_FLOAT:
            hash = hash_bytes(&attr->f, sizeof(attr->f), hash);
            break;
        case ATTR_TEXT:
        case ATTR_WORD:
            if (attr->text != NULL) {
                hash = hash_bytes(attr->text, strlen(attr->text), hash);
            }
            break;
        case ATTR_SIZE:
            hash = hash_size(attr->size, hash);
            break;
        case ATTR_SIZES:
            for (int32_t k = 0; k < attr->list.count; k++) {
                hash = hash_size(attr->list.sizes[k], hash);
            }
            break;
        case ATTR_INTS:
        case ATTR_DATA:
            if (attr->list.count > 0) {
                hash =
                    hash_bytes(attr->list.ints, (size_t)attr->list.count * sizeof(int64_t), hash);
            }
            break;
        }
    }
    return hash;
}
