/* One change at a time, taken back where the shape rules refuse what follows from it (mutate.h). */
#include "tests/fuzz/mutate.h"

#include <math.h>
#include <string.h>

int64_t mutate_pick(Mutator *m, int64_t n) {
    m->state = m->state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)(m->state >> 33) % n;
}

static int64_t any_int(Mutator *m, int64_t old) {
    static const int64_t EXTREMES[] = {0,         1,         2,         3,         7,
                                       INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 1 << 20};
    int64_t draw = mutate_pick(m, 14);
    return draw < 10   ? EXTREMES[draw]
           : draw < 12 ? (int64_t)((uint64_t)old + 1)
                       : (int64_t)((uint64_t)old - 1);
}

static const Size *any_size(Mutator *m, const Size *old) {
    Context *context = m->module->context;
    const Size *b = size_dim(context, m->module->dims[0]),
               *t = size_dim(context, m->module->dims[1]);
    int64_t n = mutate_pick(m, 9);
    switch (mutate_pick(m, 13)) {
    case 0:
        return size_const(context, n);
    case 1:
        return size_const(context, any_int(m, n));
    case 2:
        return b;
    case 3:
        return t;
    case 4:
        return size_sub(context, b, size_const(context, n));
    case 5:
        return size_add(context, t, size_const(context, n));
    case 6:
        return size_sub(context, t, b);
    case 7:
        return size_mul(context, b, t);
    case 8:
        return size_min(context, b, size_const(context, n));
    case 9:
        return size_floordiv(context, t, size_const(context, n + 1));
    case 10:
        return size_mul(context, old, size_const(context, n));
    case 11:
        return size_sub(context, old, size_const(context, 1));
    default:
        return size_add(context, old, size_const(context, 1));
    }
}

static bool infer_block(Context *context, Block *block) {
    BLOCK_EACH_OP (block, op) {
        OpProblem problem = {0};
        for (int32_t i = 0; i < op->n_blocks; i++) {
            if (!infer_block(context, op->blocks[i])) {
                return false;
            }
        }
        if (!op_infer(context, op, &problem)) {
            return false;
        }
    }
    return true;
}

/* Every type anew, and the whole as the verifier sees it. */
static bool still_sound(Mutator *m, Func *func) {
    Str report;
    str_init(&report, NULL);
    bool sound = infer_block(m->module->context, func->body) && func_verify(func, &report);
    str_finish(&report);
    return sound;
}

static void change_attr(Mutator *m, Op *op) {
    const OpInfo *info = op_info(op->code);
    if (info->n_attrs == 0) {
        return;
    }
    int64_t at = mutate_pick(m, info->n_attrs);
    AttrValue *attr = &op->attrs[at];
    int32_t count = attr->list.count;
    switch (info->attrs[at]->kind) {
    case ATTR_INT:
        attr->i = any_int(m, attr->i);
        break;
    case ATTR_BOOL:
        attr->i = !attr->i;
        break;
    case ATTR_DTYPE:
        attr->i = mutate_pick(m, DT_COUNT);
        break;
    case ATTR_FLOAT:
        attr->f = mutate_pick(m, 2) ? (double)NAN : (double)INFINITY;
        break;
    case ATTR_SIZE:
        attr->size = any_size(m, attr->size);
        break;
    case ATTR_INTS:
        if (count > 0) {
            int64_t *copy = ARENA_ARRAY(&m->module->arena, int64_t, count);
            memcpy(copy, attr->list.ints, (size_t)count * sizeof(*copy));
            int64_t k = mutate_pick(m, count);
            copy[k] = any_int(m, copy[k]);
            attr->list.ints = copy;
        }
        break;
    case ATTR_SIZES:
        if (count > 0) {
            const Size **copy = ARENA_ARRAY(&m->module->arena, const Size *, count);
            memcpy(copy, attr->list.sizes, (size_t)count * sizeof(*copy));
            int64_t k = mutate_pick(m, count);
            copy[k] = any_size(m, copy[k]);
            attr->list.sizes = copy;
        }
        break;
    default:
        break;
    }
}

typedef struct Ops {
    Op *items[512];
    int64_t count;
} Ops;

static void collect(Op *op, void *user) {
    Ops *ops = user;
    if (ops->count < 512 && op->code != OP_yield) {
        ops->items[ops->count++] = op;
    }
}

static bool change_operand(Mutator *m, const Ops *ops, Op *op) {
    if (op->n_operands == 0) {
        return false;
    }
    const Op *from = ops->items[mutate_pick(m, ops->count)];
    if (from->n_results == 0) {
        return false;
    }
    op_set_operand(op, (int32_t)mutate_pick(m, op->n_operands),
                   from->results[mutate_pick(m, from->n_results)]);
    return true;
}

static bool change_argument(Mutator *m, Func *func, Value *arg) {
    Type old = arg->type;
    if (old.rank == 0) {
        return false;
    }
    const Size *dims[TYPE_MAX_RANK];
    memcpy(dims, old.dims, (size_t)old.rank * sizeof(*dims));
    int64_t k = mutate_pick(m, old.rank);
    dims[k] = any_size(m, dims[k]);
    if (!dims[k] || size_is_error(dims[k])) {
        return false;
    }
    arg->type = type_make(m->module->context, old.dtype, old.rank, dims);
    if (still_sound(m, func)) {
        return true;
    }
    arg->type = old;
    (void)still_sound(m, func);
    return false;
}

bool mutate_func(Mutator *m, Func *func) {
    Ops ops = {.count = 0};
    func_each_op(func, collect, &ops);
    if (ops.count == 0) {
        return false;
    }
    int64_t kind = mutate_pick(m, 10);
    if (kind == 0 && func->body->n_args > 0) {
        return change_argument(m, func, func->body->args[mutate_pick(m, func->body->n_args)]);
    }
    Op *op = ops.items[mutate_pick(m, ops.count)];
    Op saved = *op;
    Value **operands = ARENA_ARRAY(&m->module->arena, Value *, op->n_operands + 1);
    for (int32_t i = 0; i < op->n_operands; i++) {
        operands[i] = op->operands[i];
    }
    if (kind < 3) {
        if (!change_operand(m, &ops, op)) {
            return false;
        }
    } else {
        change_attr(m, op);
    }
    if (still_sound(m, func)) {
        return true;
    }
    memcpy(op->attrs, saved.attrs, sizeof(saved.attrs));
    for (int32_t i = 0; i < op->n_operands; i++) {
        op->operands[i] = operands[i];
    }
    (void)still_sound(m, func);
    return false;
}

void mutate_text(Mutator *m, char *text, size_t length) {
    static const char BYTES[] = "0123456789%[](){},:=BT-*\" abcxyz\n";
    for (int64_t i = 1 + mutate_pick(m, 3); i > 0 && length > 0; i--) {
        text[mutate_pick(m, (int64_t)length)] = BYTES[mutate_pick(m, (int64_t)sizeof(BYTES) - 1)];
    }
}
