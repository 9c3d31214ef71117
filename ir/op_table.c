/* The op table: one OpInfo a row of scalar.def and ops.def, in the order of OpCode. Rules are named
 * by pasting (ir/ops/ops.h), so that a missing one does not link. */
#include "ir/ops/ops.h"

#include <string.h>

/* The gradient column: of ops.def it is the flag that says why there is no rule, of scalar.def rows
 * with a rule or a derivative of zero share grad_scalar. Exactly a bool result has NONE. */
enum { OPF_RULE = 0 };

#define OP_GRAD_RULE(name)     grad_##name
#define OP_GRAD_NODIFF(name)   NULL
#define OP_GRAD_EFFECT(name)   NULL
#define OP_GRAD_ISOLATED(name) NULL
#define OP_GRAD_OWN_GRAD(name) NULL

#define OP_FLOPS_NONE(name)    NULL
#define OP_FLOPS_OPERAND(name) flops_per_operand
#define OP_FLOPS_RULE(name)    flops_##name

#define OP_AXES_NONE(name) NULL
#define OP_AXES_OWN(name)  NULL
#define OP_AXES_EACH(name) axes_of_each
#define OP_AXES_RULE(name) axes_##name

#define SCALAR_GRAD_SAME_RULE     .grad = grad_scalar
#define SCALAR_GRAD_SAME_ZERO     .grad = grad_scalar
#define SCALAR_GRAD_BOOL_NONE     .flags = OPF_NODIFF
#define SCALAR_GRAD_SAME_BRANCHES .flags = OPF_OWN_GRAD

static const AttrDesc ATTR_TABLE[ATTR_ID_COUNT] = {
#define ATTR(word, attr_kind, attr_name) [ATTR_ID_##word] = {attr_name, ATTR_##attr_kind},
#include "ir/attributes.def"
#undef ATTR
};

#define ATTR_COUNT(op, index, word) +1
#define ATTR_DESC(op, index, word)  &ATTR_TABLE[ATTR_ID_##word],
#define ATTR_PLACE(op, index, word) [OP_##op][ATTR_ID_##word] = (index) + 1,

const int8_t OP_ATTR_INDEX[OP_CODE_COUNT][ATTR_ID_COUNT] = {
#define OP(name, kind, n_operands, n_results, n_blocks, gradient, fusion, work, flops, combines,   \
           precision, elements, axes, linear, attrs, doc)                                          \
    ATTR_EACH(ATTR_PLACE, name attrs)
#include "ir/ops.def"
#undef OP
};

static const OpInfo OP_TABLE[OP_CODE_COUNT] = {
#define SCALAR(op_name, arity, class_, result, cost_, gradient, domain, slope, precision_,         \
               elements_, sign, identity, linear_, function, c_f64, c_i64, cpu, cuda_f32, text)    \
    [OP_##op_name] = {.name = #op_name,                                                            \
                      .kind = KIND_ELEMENTWISE,                                                    \
                      .n_operands = arity,                                                         \
                      .n_results = 1,                                                              \
                      .fusion = FUSION_LOOP,                                                       \
                      .work = cost_,                                                               \
                      .combines = OP_NONE,                                                         \
                      .precision = PRECISION_##precision_,                                         \
                      .elements = ELEMENTS_##elements_,                                            \
                      .linear = LINEAR_##linear_,                                                  \
                      .doc = text,                                                                 \
                      .is_scalar = true,                                                           \
                      .scalar_class = CLASS_##class_,                                              \
                      .scalar_result = RESULT_##result,                                            \
                      .scalar_gradient = GRADIENT_##gradient,                                      \
                      .scalar_domain = DOMAIN_##domain,                                            \
                      .scalar_slope = SLOPE_##slope,                                               \
                      .scalar_sign = SIGN_##sign,                                                  \
                      .scalar_identity = IDENTITY_##identity,                                      \
                      .scalar_c = #c_f64,                                                          \
                      .shape = shape_scalar,                                                       \
                      .axes = axes_of_each,                                                        \
                      SCALAR_GRAD_##result##_##gradient,                                           \
                      .flops = flops_scalar,                                                       \
                      .eval = eval_scalar},
#include "ir/scalar.def"
#undef SCALAR
#define OP(op_name, op_kind, operand_count, result_count, block_count, gradient, fusion_, work_,   \
           flops_, combines_, precision_, elements_, axes_, linear_, op_attrs, text)               \
    [OP_##op_name] = {.name = #op_name,                                                            \
                      .kind = KIND_##op_kind,                                                      \
                      .n_operands = operand_count,                                                 \
                      .n_results = result_count,                                                   \
                      .n_blocks = block_count,                                                     \
                      .flags = OPF_##gradient,                                                     \
                      .fusion = FUSION_##fusion_,                                                  \
                      .work = work_,                                                               \
                      .combines = OP_##combines_,                                                  \
                      .precision = PRECISION_##precision_,                                         \
                      .elements = ELEMENTS_##elements_,                                            \
                      .linear = LINEAR_##linear_,                                                  \
                      .axes = OP_AXES_##axes_(op_name),                                            \
                      .n_attrs = 0 ATTR_EACH(ATTR_COUNT, op_name op_attrs),                        \
                      .attrs = {ATTR_EACH(ATTR_DESC, op_name op_attrs) NULL},                      \
                      .doc = text,                                                                 \
                      .shape = shape_##op_name,                                                    \
                      .grad = OP_GRAD_##gradient(op_name),                                         \
                      OP_IF_VIEW_##fusion_(.view = view_##op_name, ).flops =                       \
                          OP_FLOPS_##flops_(op_name),                                              \
                      .eval = eval_##op_name},
#include "ir/ops.def"
#undef OP
};

const OpInfo *op_info(OpCode code) {
    return &OP_TABLE[code];
}

const Size *op_flops(Context *context, const Op *op) {
    const OpInfo *info = op_info(op->code);
    return info->flops ? info->flops(context, op) : size_const(context, 0);
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

bool op_problem(Context *context, OpProblem *problem, const char *format, ...) {
    va_list args;
    va_start(args, format);
    problem->text = arena_vformat(&context->arena, format, args);
    va_end(args);
    return false;
}
