/* Scalar expressions of the kernel builder: interned nodes, constants, operations, casts and reads.
 */
#include "codegen/lower/build/build_impl.h"
#include "ir/interp.h"
#include <string.h>

static bool is_short(DType dtype) {
    return dtype == DT_F16 || dtype == DT_BF16;
}

static uint64_t node_hash(const Node *node) {
    const KExpr *operands[KERNEL_EXPR_OPERANDS];
    int64_t words[6] = {node->e.kind, node->e.dtype, node->parameter, 0, 0, 0};
    kernel_expr_key(&node->e, &words[3]);
    int32_t n = kernel_expr_operands(&node->e, operands);
    for (int32_t i = 0; i < n; i++) {
        words[5] = words[5] * 31337 + node_of(operands[i])->serial;
    }
    return hash_bytes(words, sizeof(words), 5);
}

/* Operands are interned: equal ones are the same. */
static bool node_equal(const Node *a, const Node *b) {
    int64_t key_a[2], key_b[2];
    kernel_expr_key(&a->e, key_a);
    kernel_expr_key(&b->e, key_b);
    if (a->e.kind != b->e.kind || a->e.dtype != b->e.dtype || a->parameter != b->parameter ||
        memcmp(key_a, key_b, sizeof(key_a)) != 0) {
        return false;
    }
    const KExpr *in_a[KERNEL_EXPR_OPERANDS], *in_b[KERNEL_EXPR_OPERANDS];
    int32_t n = kernel_expr_operands(&a->e, in_a);
    kernel_expr_operands(&b->e, in_b);
    return n == 0 || memcmp(in_a, in_b, (size_t)n * sizeof(in_a[0])) == 0;
}

const KExpr *node_intern(KBuild *k, const Node *prototype) {
    uint64_t hash = node_hash(prototype);
    Node **bucket = &k->nodes[hash % NODE_BUCKETS];
    if (!prototype->is_volatile) {
        for (Node *node = *bucket; node; node = node->next) {
            if (node->hash == hash && !node->is_volatile && node_equal(node, prototype)) {
                return &node->e;
            }
        }
    }
    Node *node = POOL_NEW(k, Node);
    *node = *prototype;
    node->weight = 1;
    const KExpr *operands[KERNEL_EXPR_OPERANDS];
    int32_t n = kernel_expr_operands(&node->e, operands);
    for (int32_t i = 0; i < n; i++) {
        int32_t sum = node->weight + node_of(operands[i])->weight;
        node->weight = sum < HEAVIEST ? sum : HEAVIEST;
    }
    node->hash = hash;
    node->serial = k->next_serial++;
    node->next = *bucket;
    *bucket = node;
    return &node->e;
}

/* i64 values may serve as indices: they are atoms of sums. */
static const KExpr *finish_node(KBuild *k, Node *node) {
    const KExpr *operands[KERNEL_EXPR_OPERANDS];
    int32_t n = kernel_expr_operands(&node->e, operands);
    for (int32_t i = 0; i < n; i++) {
        const Node *operand = node_of(operands[i]);
        node->depth = operand->depth > node->depth ? operand->depth : node->depth;
        node->is_volatile = node->is_volatile || operand->is_volatile;
    }
    return node->e.dtype == DT_I64 ? index_atom(k, node) : node_intern(k, node);
}

const KExpr *k_integer(KBuild *k, DType dtype, int64_t value) {
    if (dtype == DT_I64) {
        return k_int(k, value);
    }
    Node node = {.e = {.kind = KE_INT, .dtype = dtype, .as.integer = wrap_int(value, dtype)}};
    return node_intern(k, &node);
}

const KExpr *k_constant(KBuild *k, DType dtype, double value) {
    DType type = dtype_in_register(dtype);
    if (!dtype_is_float(type)) {
        return k_integer(k, type, float_to_int(value, type == DT_BOOL ? type : DT_I64));
    }
    Node node = {.e = {.kind = KE_FLOAT, .dtype = type, .as.real = round_to_dtype(value, dtype)}};
    return node_intern(k, &node);
}

bool k_is_int(const KExpr *a, int64_t *out) {
    if (a->kind != KE_INT) {
        return false;
    }
    *out = a->as.integer;
    return true;
}

bool k_is_true(const KExpr *a) {
    return a->kind == KE_INT && a->dtype == DT_BOOL && a->as.integer != 0;
}

bool k_is_false(const KExpr *a) {
    return a->kind == KE_INT && a->dtype == DT_BOOL && a->as.integer == 0;
}

const KExpr *k_and(KBuild *k, const KExpr *a, const KExpr *b) {
    if (!a || !b) {
        return a ? a : b;
    }
    if (k_is_true(a) || k_is_false(b)) {
        return b;
    }
    return k_is_true(b) || k_is_false(a) ? a : k_binary(k, OP_and, a, b);
}

const KExpr *k_scalar(KBuild *k, OpCode op, const KExpr *const *operands, int32_t n) {
    const OpInfo *info = op_info(op);
    if (op == OP_select && operands[0]->kind == KE_INT) {
        return operands[0]->as.integer ? operands[1] : operands[2];
    }
    Node node = {.e = {.kind = KE_SCALAR, .as.scalar = {.op = op, .n = n}}};
    for (int32_t i = 0; i < n; i++) {
        node.e.as.scalar.a[i] = operands[i];
    }
    node.e.dtype = info->scalar_result == RESULT_BOOL ? DT_BOOL
                   : op == OP_select                  ? operands[1]->dtype
                                                      : operands[0]->dtype;
    return finish_node(k, &node);
}

const KExpr *k_binary(KBuild *k, OpCode op, const KExpr *a, const KExpr *b) {
    const KExpr *operands[2] = {a, b};
    return k_scalar(k, op, operands, 2);
}

const KExpr *k_select(KBuild *k, const KExpr *condition, const KExpr *a, const KExpr *b) {
    const KExpr *operands[3] = {condition, a, b};
    return a == b ? a : k_scalar(k, OP_select, operands, 3);
}

static const KExpr *cast_node(KBuild *k, const KExpr *a, DType dtype) {
    Node node = {.e = {.kind = KE_CAST, .dtype = dtype, .as.cast = a}};
    return finish_node(k, &node);
}

const KExpr *k_cast(KBuild *k, const KExpr *a, DType dtype) {
    if (a->kind == KE_INT && dtype_is_float(dtype)) {
        return k_constant(k, dtype, (double)a->as.integer);
    }
    if (a->kind == KE_FLOAT && dtype_is_float(dtype)) {
        return k_constant(k, dtype, a->as.real);
    }
    if (is_short(dtype)) {
        /* Long integers by way of f64: f32 would round a first time. */
        bool is_long = a->dtype == DT_I32 || a->dtype == DT_I64;
        return cast_node(k, cast_node(k, is_long ? cast_node(k, a, DT_F64) : a, dtype), DT_F32);
    }
    if (a->dtype == dtype) {
        return a;
    }
    if (a->kind == KE_INT && dtype == DT_I64) {
        return k_int(k, a->as.integer);
    }
    return cast_node(k, a, dtype);
}

const KExpr *k_load(KBuild *k, int32_t buffer, const KExpr *index) {
    Node node = {.e = {.kind = KE_LOAD, .as.load = {buffer, index}}};
    node.e.dtype = dtype_in_register(k->buffers.items[buffer].dtype);
    return finish_node(k, &node);
}

const KExpr *k_load_here(KBuild *k, int32_t buffer, const KExpr *index) {
    Node node = {.e = {.kind = KE_LOAD, .as.load = {buffer, index}}};
    node.e.dtype = dtype_in_register(k->buffers.items[buffer].dtype);
    node.is_volatile = true;
    node.depth = k->scope->depth;
    return finish_node(k, &node);
}

const KExpr *k_local(KBuild *k, const KLocal *local, const KExpr *index) {
    Node node = {.e = {.kind = KE_LOCAL, .as.local = {local, index}}};
    node.e.dtype = dtype_in_register(local->dtype);
    node.is_volatile = true;
    node.depth = k->scope->depth;
    return finish_node(k, &node);
}

const KExpr *k_get(KBuild *k, const KVar *var) {
    Node node = {.e = {.kind = KE_VAR, .dtype = var->dtype, .as.var = var}};
    node.is_volatile = true;
    node.depth = k->scope->depth;
    return finish_node(k, &node);
}

/* Operands: seed, step, iteration, flat index. */
const KExpr *k_uniform(KBuild *k, const KExpr *const *operands, int64_t site, DType dtype) {
    Node node = {.e = {.kind = KE_UNIFORM, .dtype = dtype_in_register(dtype)}, .parameter = site};
    node.e.as.uniform.seed = operands[0];
    node.e.as.uniform.step = operands[1];
    node.e.as.uniform.iteration = operands[2];
    node.e.as.uniform.flat = operands[3];
    return finish_node(k, &node);
}
