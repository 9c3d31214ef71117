/* elemental_value: dispatch over the ops of a fusion body, with what was already emitted remembered
 * per scope. Views live in elemental_view.c, other movement in elemental_move.c, inner loops in
 * elemental_reduce.c and elemental_product.c. */
#include "codegen/lower/elemental_impl.h"

int64_t elemental_ordinal(KBuild *k, const Op *op) {
    int64_t ordinal = 1;
    for (const Op *other = k->body->first; other && other != op; other = other->next) {
        ordinal++;
    }
    return ordinal;
}

const KExpr *elemental_guarded(KBuild *k, const KExpr *condition, const Value *v, Index index,
                               const KExpr *otherwise) {
    if (k_is_true(condition)) {
        return elemental_value(k, v, index);
    }
    if (k_is_false(condition)) {
        return otherwise;
    }
    const KVar *var = kb_var(k, v->type.dtype, "guarded");
    kb_set(k, var, otherwise);
    kb_if(k, condition);
    const KExpr *value = elemental_value(k, v, index);
    kb_set(k, var, value);
    kb_if_end(k);
    return kb_let(k, k_get(k, var), "guarded");
}

const KExpr *elemental_clamped_id(KBuild *k, const Op *op, const KExpr *id, const Size *bound,
                                  const char *text) {
    const KExpr *zero = k_int(k, 0), *limit = k_size(k, bound);
    const KExpr *negative = k_lt(k, id, zero), *beyond = k_le(k, limit, id);
    const KExpr *bad = k_is_false(negative) ? beyond : k_binary(k, OP_or, negative, beyond);
    kb_fault(k, op->place, text, bad, id, limit);
    const KExpr *last = k_sub(k, limit, k_int(k, 1));
    const KExpr *low = k_min(k, id, last);
    return k_max(k, low, zero);
}

const KExpr *elemental_literal(KBuild *k, const Op *op, Index index) {
    Type type = op->results[0]->type;
    AttrList data = literal_data(op);
    const KExpr *flat = k_flat(k, type, index);
    bool is_float = dtype_is_float(type.dtype);
    const KExpr *value = NULL;
    int64_t at;
    bool known = k_is_int(flat, &at);
    for (int32_t i = data.count - 1; i >= 0; i--) {
        if (known && i != at) {
            continue;
        }
        const KExpr *element = is_float ? k_constant(k, type.dtype, data.floats[i])
                                        : k_integer(k, type.dtype, data.ints[i]);
        const KExpr *here = value ? k_binary(k, OP_eq, flat, k_int(k, i)) : NULL;
        value = value ? k_select(k, here, element, value) : element;
    }
    return value ? value : k_constant(k, type.dtype, 0);
}

/* The element's index in the logical tensor of which the result is a piece. */
static const KExpr *uniform_index(KBuild *k, const Op *op, Index index) {
    Sizes stride = random_uniform_piece_strides(op);
    const KExpr *flat = stride.count == 0 ? k_flat(k, op->results[0]->type, index) : k_int(k, 0);
    for (int32_t a = 0; a < stride.count; a++) {
        flat = k_add(k, flat, k_scale(k, index[a], stride.at[a]));
    }
    if (op->n_operands > 3) {
        const KExpr *start = k_cast(k, elemental_value(k, op->operands[3], NULL), DT_I64);
        flat = k_add(k, start, flat);
    }
    return flat;
}

const KExpr *elemental_random_uniform(KBuild *k, const Op *op, Index index) {
    const KExpr *operands[4];
    for (int32_t i = 0; i < 3; i++) {
        const KExpr *value = elemental_value(k, op->operands[i], NULL);
        operands[i] = k_cast(k, value, i == 2 ? DT_I32 : DT_I64);
    }
    operands[3] = uniform_index(k, op, index);
    DType dtype = op->results[0]->type.dtype;
    const KExpr *value = k_uniform(k, operands, random_uniform_site(op), dtype);
    if (dtype != DT_F16 && dtype != DT_BF16) {
        return value;
    }
    /* Short types take fewer bits of the same word, so that the value is below 1 in them too. */
    double scale = dtype == DT_F16 ? 0x1p11 : 0x1p8;
    value = k_binary(k, OP_mul, value, k_constant(k, DT_F32, scale));
    value = k_scalar(k, OP_floor, &value, 1);
    return k_binary(k, OP_mul, value, k_constant(k, DT_F32, 1 / scale));
}

static const KExpr *scalar_value(KBuild *k, const Op *op, Index index) {
    const KExpr *operands[3] = {NULL, NULL, NULL};
    for (int32_t i = 0; i < op->n_operands; i++) {
        operands[i] = elemental_value(k, op->operands[i], index);
    }
    return k_scalar(k, op->code, operands, op->n_operands);
}

const KExpr *elemental_constant(KBuild *k, const Op *op, Index index) {
    (void)index;
    return k_constant(k, op->results[0]->type.dtype, constant_value(op));
}

const KExpr *elemental_size(KBuild *k, const Op *op, Index index) {
    (void)index;
    return k_cast(k, k_size(k, size_extent(op)), op->results[0]->type.dtype);
}

const KExpr *elemental_iota(KBuild *k, const Op *op, Index index) {
    return k_cast(k, index[op_axis(op)], op->results[0]->type.dtype);
}

const KExpr *elemental_cast(KBuild *k, const Op *op, Index index) {
    const KExpr *value = elemental_value(k, op->operands[0], index);
    return k_cast(k, value, op->results[0]->type.dtype);
}

const KExpr *elemental_copy(KBuild *k, const Op *op, Index index) {
    return elemental_value(k, op->operands[0], index);
}

/* Passes drop these four: they are lowered only where such a pass is skipped. */
const KExpr *elemental_stop_gradient(KBuild *k, const Op *op, Index index) {
    return elemental_copy(k, op, index);
}

const KExpr *elemental_opaque(KBuild *k, const Op *op, Index index) {
    return elemental_copy(k, op, index);
}

const KExpr *elemental_shard_hint(KBuild *k, const Op *op, Index index) {
    return elemental_copy(k, op, index);
}

const KExpr *elemental_exchange_hint(KBuild *k, const Op *op, Index index) {
    return elemental_copy(k, op, index);
}

/* -- the column of fusion */
#define ELEMENT_FREE(name)               elemental_##name
#define ELEMENT_FREE_IF_SMALL(name)      elemental_##name
#define ELEMENT_FREE_UNLESS_STORED(name) elemental_##name
#define ELEMENT_LOOP(name)               elemental_##name
#define ELEMENT_PICK(name)               elemental_##name
#define ELEMENT_VIEW(name)               elemental_view
#define ELEMENT_SPREAD(name)             elemental_view
#define ELEMENT_REDUCE(name)             elemental_reduce
#define ELEMENT_ARG_REDUCE(name)         elemental_argreduce
#define ELEMENT_CONTRACT(name)           elemental_contract
#define ELEMENT_CONV(name)               elemental_conv
/* Roots only: their lowerings never ask for an element. */
#define ELEMENT_PREFIX(name)    NULL
#define ELEMENT_SORT(name)      NULL
#define ELEMENT_SCATTER(name)   NULL
#define ELEMENT_UPDATE(name)    NULL
#define ELEMENT_ATTENTION(name) NULL
#define ELEMENT_BARRIER(name)   NULL

typedef const KExpr *(*ElementRule)(KBuild *k, const Op *op, Index index);
static const ElementRule ELEMENTS[OP_CODE_COUNT] = {
#define SCALAR(name, ...) [OP_##name] = scalar_value,
#include "ir/scalar.def"
#undef SCALAR
#define OP(name, kind, n_operands, n_results, n_blocks, gradient, fusion, ...)                     \
    [OP_##name] = ELEMENT_##fusion(name),
#include "ir/ops.def"
#undef OP
};

static const KExpr *value_of_op(KBuild *k, const Op *op, Index index) {
    ElementRule rule = ELEMENTS[op->code];
    if (!rule) {
        INTERNAL_ERROR(k->context, op->place, op_info(op->code)->name,
                       "no element of it can be asked for");
    }
    return rule(k, op, index);
}

static const KExpr *argument_value(KBuild *k, const Value *v, Index index) {
    if (!kb_is_body_arg(k, v)) {
        INTERNAL_ERROR(k->context, k->fusion->place, fusion_form(k->fusion),
                       "a value of another block is read");
    }
    int32_t buffer = kb_operand_buffer(k, v->index);
    const KExpr *flat = k_flat(k, v->type, index);
    return k_load(k, buffer, flat);
}

/* Whether the op's elements are those of its operands, or made in its type: all else is computed in
 * f32 where the type has 16 bits, and is to be rounded. */
static bool keeps_type(OpCode code) {
    return op_info(code)->elements == ELEMENTS_PICKED;
}

const KExpr *elemental_value(KBuild *k, const Value *v, const KExpr *const *index) {
    boundary_check_stack(k->context->boundary);
    int32_t rank = v->type.rank;
    const KExpr *found = memo_find(k, v, index, rank);
    if (found) {
        return found;
    }
    Scope *saved = scope_enter(k, index_depth(index, rank));
    const KExpr *value = v->op ? value_of_op(k, v->op, index) : argument_value(k, v, index);
    if (v->op && dtype_in_register(v->type.dtype) != v->type.dtype && !keeps_type(v->op->code)) {
        value = k_cast(k, value, v->type.dtype);
    }
    const char *hint = v->op ? op_info(v->op->code)->name : "x";
    value = kb_let(k, value, hint);
    if (!node_of(value)->is_volatile) {
        memo_add(k, scope_at(k, node_of(value)->depth), v, index, rank, value);
    }
    scope_restore(k, saved);
    return value;
}

void elemental_bind(KBuild *k, const Value *v, const KExpr *const *index, const KExpr *value) {
    const KExpr *variable = kb_let(k, k_cast(k, value, v->type.dtype), "root");
    memo_add(k, k->scope, v, index, v->type.rank, variable);
}

const KExpr *elemental_find(KBuild *k, const Value *v, const KExpr *const *index) {
    return memo_find(k, v, index, v->type.rank);
}

void elemental_store_result(KBuild *k, int32_t result, const KExpr *const *index) {
    const Value *v = kb_result_value(k, result);
    const KExpr *value = elemental_value(k, v, index);
    const KExpr *flat = k_flat(k, v->type, index);
    kb_store(k, kb_result_buffer(k, result), flat, value);
}
