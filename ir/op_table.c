/* The op table: one OpInfo a row of scalar.def and ops.def, in the order of OpCode. Rules are named
 * by pasting (ir/ops/ops.h), so that a missing one does not link. */
#include "ir/ops/ops.h"

#include <string.h>

enum { OPF_0 = 0 }; /* the flags word of a plain row */

/* A bool result carries no gradient; the other scalar rows share one rule. */
#define SCALAR_GRAD_SAME  grad_scalar
#define SCALAR_GRAD_BOOL  NULL
#define SCALAR_FLAGS_SAME 0
#define SCALAR_FLAGS_BOOL OPF_NODIFF

#define OP_GRAD_0(name)        grad_##name
#define OP_GRAD_NODIFF(name)   NULL
#define OP_GRAD_EFFECT(name)   NULL
#define OP_GRAD_ISOLATED(name) NULL
#define OP_GRAD_OWN_GRAD(name) NULL

static const AttrDesc ATTR_TABLE[ATTR_ID_COUNT] = {
#define ATTR(word, attr_kind, attr_name) [ATTR_ID_##word] = {attr_name, ATTR_##attr_kind},
#include "ir/attributes.def"
#undef ATTR
};

#define ATTR_COUNT(op, index, word) +1
#define ATTR_DESC(op, index, word)  &ATTR_TABLE[ATTR_ID_##word],
#define ATTR_PLACE(op, index, word) [OP_##op][ATTR_ID_##word] = (index) + 1,

const int8_t OP_ATTR_INDEX[OP_CODE_COUNT][ATTR_ID_COUNT] = {
#define OP(name, kind, n_operands, n_results, n_blocks, flags, attrs, doc)                         \
    ATTR_EACH(ATTR_PLACE, name attrs)
#include "ir/ops.def"
#undef OP
};

static const OpInfo OP_TABLE[OP_CODE_COUNT] = {
#define SCALAR(op_name, arity, class_, result, op_kind, op_cost, c, cuda, text)                    \
    [OP_##op_name] = {.name = #op_name,                                                            \
                      .kind = KIND_ELEMENTWISE,                                                    \
                      .n_operands = arity,                                                         \
                      .n_results = 1,                                                              \
                      .n_blocks = 0,                                                               \
                      .flags = SCALAR_FLAGS_##result,                                              \
                      .doc = text,                                                                 \
                      .is_scalar = true,                                                           \
                      .scalar_class = CLASS_##class_,                                              \
                      .scalar_result = RESULT_##result,                                            \
                      .scalar_cost = op_cost,                                                      \
                      .scalar_c = #c,                                                              \
                      .shape = shape_scalar,                                                       \
                      .grad = SCALAR_GRAD_##result,                                                \
                      .cost = cost_scalar,                                                         \
                      .eval = eval_scalar},
#include "ir/scalar.def"
#undef SCALAR
#define OP(op_name, op_kind, operand_count, result_count, block_count, op_flags, op_attrs, text)   \
    [OP_##op_name] = {.name = #op_name,                                                            \
                      .kind = KIND_##op_kind,                                                      \
                      .n_operands = operand_count,                                                 \
                      .n_results = result_count,                                                   \
                      .n_blocks = block_count,                                                     \
                      .flags = OPF_##op_flags,                                                     \
                      .n_attrs = 0 ATTR_EACH(ATTR_COUNT, op_name op_attrs),                        \
                      .attrs = {ATTR_EACH(ATTR_DESC, op_name op_attrs) NULL},                      \
                      .doc = text,                                                                 \
                      .shape = shape_##op_name,                                                    \
                      .grad = OP_GRAD_##op_flags(op_name),                                         \
                      .cost = cost_##op_name,                                                      \
                      .eval = eval_##op_name},
#include "ir/ops.def"
#undef OP
};

const OpInfo *op_info(OpCode code) {
    return &OP_TABLE[code];
}

bool op_code_from_name(const char *name, OpCode *out) {
    for (int i = 0; i < OP_CODE_COUNT; i++) {
        if (strcmp(OP_TABLE[i].name, name) == 0) {
            *out = (OpCode)i;
            return true;
        }
    }
    return false;
}

bool op_is_view(OpCode code) {
    switch (code) {
    case OP_broadcast:
    case OP_reshape:
    case OP_transpose:
    case OP_slice:
    case OP_pad:
    case OP_reverse:
    case OP_unfold:
        return true;
    default:
        return false;
    }
}

bool op_problem(Context *context, OpProblem *problem, const char *format, ...) {
    va_list args;
    va_start(args, format);
    problem->text = arena_vformat(&context->arena, format, args);
    va_end(args);
    return false;
}
