/* The op table: every row complete and coherent, so that who reads it may rely on it. */
#include "codegen/kernel.h"
#include "ir/build.h"
#include "ir/interp.h"

#include <ctype.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_rows_are_complete(void **state) {
    (void)state;
    for (int i = 0; i < OP_CODE_COUNT; i++) {
        const OpInfo *info = op_info((OpCode)i);
        assert_non_null(info->name);
        assert_non_null(info->doc);
        assert_true(strlen(info->doc) > 2);
        assert_non_null(info->shape);
        assert_non_null(info->eval);
        assert_in_range(info->n_attrs, 0, OP_MAX_ATTRS);
        assert_in_range(info->n_blocks, 0, 2);
        assert_true(info->n_operands >= -1 && info->n_results >= -1);
        assert_int_equal(info->is_scalar, op_is_scalar((OpCode)i));
        for (const char *p = info->name; *p != '\0'; p++) {
            assert_true(islower((unsigned char)*p) || isdigit((unsigned char)*p) || *p == '_');
        }
    }
}

static void test_names_are_unique_and_found(void **state) {
    (void)state;
    for (int i = 0; i < OP_CODE_COUNT; i++) {
        OpCode found = OP_CODE_COUNT;
        assert_true(op_code_from_name(op_info((OpCode)i)->name, &found));
        assert_int_equal(found, i);
    }
    OpCode none = OP_add;
    assert_false(op_code_from_name("no_such_op", &none));
    assert_int_equal(none, OP_add);
}

/* A gradient rule, or a flag that says why there is none. */
static void test_gradients(void **state) {
    (void)state;
    const unsigned none = OPF_NODIFF | OPF_EFFECT | OPF_ISOLATED | OPF_OWN_GRAD;
    for (int i = 0; i < OP_CODE_COUNT; i++) {
        const OpInfo *info = op_info((OpCode)i);
        if ((info->grad == NULL) != ((info->flags & none) != 0)) {
            fail_msg("op %s: gradient rule and flags disagree", info->name);
        }
        if (info->is_scalar) {
            assert_int_equal(info->grad == NULL, info->scalar_gradient == GRADIENT_NONE ||
                                                     info->scalar_gradient == GRADIENT_BRANCHES);
            assert_int_equal((info->flags & OPF_NODIFF) != 0, info->scalar_result == RESULT_BOOL);
        }
    }
    assert_true((op_info(OP_scan)->flags & OPF_OWN_GRAD) != 0);
    assert_true((op_info(OP_fusion)->flags & OPF_ISOLATED) != 0);
    assert_true((op_info(OP_check)->flags & OPF_EFFECT) != 0);
}

static void test_attributes(void **state) {
    (void)state;
    for (int i = 0; i < OP_CODE_COUNT; i++) {
        const OpInfo *info = op_info((OpCode)i);
        bool has_dtype = false;
        for (int k = 0; k < info->n_attrs; k++) {
            assert_non_null(info->attrs[k]->name);
            for (int j = 0; j < k; j++) {
                assert_string_not_equal(info->attrs[j]->name, info->attrs[k]->name);
            }
            /* the parser must know the element type before it meets the data */
            assert_true(info->attrs[k]->kind != ATTR_DATA || has_dtype);
            has_dtype = has_dtype || info->attrs[k]->kind == ATTR_DTYPE;
            /* the text form begins with one that is never left out */
            assert_true(info->attrs[k]->kind != ATTR_WORD || k > 0);
        }
        assert_null(info->attrs[info->n_attrs]);
    }
    const OpInfo *conv = op_info(OP_conv);
    assert_int_equal(conv->n_attrs, 6);
    assert_string_equal(conv->attrs[4]->name, "groups");
    assert_int_equal(conv->attrs[4]->kind, ATTR_INT);
    assert_int_equal(conv->attrs[5]->kind, ATTR_WORD);
    assert_int_equal(op_info(OP_yield)->n_attrs, 0);
}

/* Each attribute is found where the row has it, as what attributes.def says. */
static void test_attribute_places(void **state) {
    (void)state;
    static const AttrDesc words[ATTR_ID_COUNT] = {
#define ATTR(word, kind, name) [ATTR_ID_##word] = {name, ATTR_##kind},
#include "ir/attributes.def"
#undef ATTR
    };
    bool is_used[ATTR_ID_COUNT] = {false};
    for (int code = 0; code < OP_CODE_COUNT; code++) {
        const OpInfo *info = op_info((OpCode)code);
        int n_found = 0;
        for (int id = 0; id < ATTR_ID_COUNT; id++) {
            int place = OP_ATTR_INDEX[code][id];
            if (place == 0) {
                continue;
            }
            n_found++;
            is_used[id] = true;
            assert_in_range(place, 1, info->n_attrs);
            assert_string_equal(info->attrs[place - 1]->name, words[id].name);
            assert_int_equal(info->attrs[place - 1]->kind, words[id].kind);
        }
        if (n_found != info->n_attrs) {
            fail_msg("%s: %d of %d attributes are found", info->name, n_found, info->n_attrs);
        }
    }
    for (int id = 0; id < ATTR_ID_COUNT; id++) {
        if (!is_used[id]) {
            fail_msg("attribute '%s': no op has it", words[id].name);
        }
    }
}

static void test_kinds(void **state) {
    (void)state;
    for (int i = 0; i < OP_N_SCALAR; i++) {
        const OpInfo *info = op_info((OpCode)i);
        assert_int_equal(info->kind, KIND_ELEMENTWISE);
        assert_in_range(info->n_operands, 1, 3);
        assert_int_equal(info->n_results, 1);
        assert_true(info->work >= 1);
        assert_non_null(info->scalar_c);
    }
    assert_int_equal(op_info(OP_contract)->kind, KIND_CONTRACTION);
    assert_int_equal(op_info(OP_while)->n_blocks, 2);
}

/* Scalar rules accept the dtypes of the row's class and refuse the others. */
static bool class_allows(ScalarClass class_, DType dtype) {
    switch (class_) {
    case CLASS_FLOAT:
        return dtype_is_float(dtype);
    case CLASS_NUMBER:
        return dtype != DT_BOOL;
    case CLASS_INTEGER:
        return dtype_is_integer(dtype);
    case CLASS_BOOL:
        return dtype == DT_BOOL;
    case CLASS_ANY:
        return true;
    }
    return false;
}

static void check_scalar(Context *context, Func *func, OpCode code, DType dtype) {
    const OpInfo *info = op_info(code);
    Builder b = builder_at_end(func, func->body);
    b.soft = true;
    Value *operands[3];
    for (int32_t i = 0; i < info->n_operands; i++) {
        bool condition = code == OP_select && i == 0;
        operands[i] = b_constant(&b, 1.0, type_scalar(condition ? DT_BOOL : dtype));
    }
    Value *result = b_scalar(&b, code, operands, info->n_operands);
    if ((result != NULL) != class_allows(info->scalar_class, dtype)) {
        fail_msg("%s on %s: %s", info->name, dtype_name(dtype),
                 result != NULL ? "accepted" : b.problem.text);
    }
    if (result != NULL) {
        assert_int_equal(result->type.dtype, info->scalar_result == RESULT_BOOL ? DT_BOOL : dtype);
        int64_t flops = 0;
        assert_true(size_is_const(op_flops(context, result->op), &flops));
        assert_int_equal(flops, info->work);
    }
}

static void test_scalar_classes(void **state) {
    (void)state;
    Boundary boundary = {0};
    Context context;
    context_init(&context, NULL, &boundary);
    if (setjmp(boundary.jump) != 0) {
        fail_msg("left through the boundary");
    }
    Module *module = module_create(&context, "table");
    Func *func = func_create(module, "f", PURPOSE_OTHER);
    for (int i = 0; i < OP_N_SCALAR; i++) {
        for (int dtype = 0; dtype < DT_COUNT; dtype++) {
            check_scalar(&context, func, (OpCode)i, (DType)dtype);
        }
    }
    context_finish(&context);
}

/* -- columns of scalar.def that say something of numbers, against the column c_i64 and c_f64 */

static const int64_t NUMBERS[] = {-7, -2, -1, 0, 1, 2, 3, 100};
enum { N_NUMBERS = sizeof(NUMBERS) / sizeof(NUMBERS[0]) };

/* What the column says of an expression of leaves, through the backends' function. */
static bool said_natural(OpCode code, const bool *natural) {
    static const KVar vars[3] = {
        {.dtype = DT_I64, .id = 0}, {.dtype = DT_I64, .id = 1}, {.dtype = DT_I64, .id = 2}};
    KExpr leaves[3], expr = {.kind = KE_SCALAR, .dtype = DT_I64};
    expr.as.scalar.op = code;
    expr.as.scalar.n = op_info(code)->n_operands;
    for (int32_t i = 0; i < expr.as.scalar.n; i++) {
        leaves[i] = (KExpr){.kind = KE_VAR, .dtype = DT_I64};
        leaves[i].as.var = &vars[i];
        expr.as.scalar.a[i] = &leaves[i];
    }
    const Kernel kernel = {0};
    return kernel_expr_is_natural(&kernel, natural, &expr);
}

/* An index that is said not to be negative never is, for operands that are said so as well. */
static void test_signs_hold(void **state) {
    (void)state;
    int n_said = 0;
    for (int code = 0; code < OP_N_SCALAR; code++) {
        const OpInfo *info = op_info((OpCode)code);
        for (int known = 0; known < 8; known++) {
            bool natural[3] = {known & 1, known & 2, known & 4};
            bool said = said_natural((OpCode)code, natural);
            n_said += said;
            for (int i = 0; said && i < N_NUMBERS * N_NUMBERS * N_NUMBERS; i++) {
                int64_t x[3] = {NUMBERS[i % N_NUMBERS], NUMBERS[i / N_NUMBERS % N_NUMBERS],
                                NUMBERS[i / N_NUMBERS / N_NUMBERS]};
                bool fits = !(natural[0] && x[0] < 0) && !(natural[1] && x[1] < 0) &&
                            !(natural[2] && x[2] < 0);
                if (fits && scalar_eval_int((OpCode)code, DT_I64, x) < 0) {
                    fail_msg("%s(%" PRId64 ", %" PRId64 ", %" PRId64 ") is %" PRId64
                             ", and said not to be negative",
                             info->name, x[0], x[1], x[2],
                             scalar_eval_int((OpCode)code, DT_I64, x));
                }
            }
        }
    }
    /* Both of four rows, of 8 choices; either of one; the second of one; the branches of one. */
    assert_int_equal(n_said, 4 * 2 + 6 + 4 + 2);
}

/* What combines nothing changes nothing that it is combined with, in any type. */
static void test_identities_hold(void **state) {
    (void)state;
    int n_rows = 0;
    for (int code = 0; code < OP_N_SCALAR; code++) {
        const OpInfo *info = op_info((OpCode)code);
        if (info->scalar_identity == IDENTITY_NONE) {
            continue;
        }
        n_rows++;
        for (int dtype = 0; dtype < DT_COUNT; dtype++) {
            for (int i = 0; i < N_NUMBERS && class_allows(info->scalar_class, (DType)dtype); i++) {
                int64_t x = wrap_int(NUMBERS[i], (DType)dtype);
                double real[2] = {scalar_identity((OpCode)code), (double)x};
                int64_t whole[2] = {scalar_int_identity((OpCode)code, (DType)dtype), x};
                double got = dtype_is_float((DType)dtype)
                                 ? scalar_eval_float((OpCode)code, real)
                                 : (double)scalar_eval_int((OpCode)code, (DType)dtype, whole);
                if (got != (double)x) {
                    fail_msg("%s of %s: the identity and %" PRId64 " give %g", info->name,
                             dtype_name((DType)dtype), x, got);
                }
            }
        }
    }
    assert_int_equal(n_rows, 6);
    for (int code = 0; code < OP_CODE_COUNT; code++) {
        OpCode combines = op_info((OpCode)code)->combines;
        assert_true(combines == OP_NONE || op_info(combines)->scalar_identity != IDENTITY_NONE);
        assert_int_equal(op_info((OpCode)code)->kind == KIND_REDUCTION ||
                             op_info((OpCode)code)->kind == KIND_PREFIX,
                         combines != OP_NONE);
    }
    /* The ends of the types themselves, which no smaller number stands for. */
    assert_int_equal(scalar_int_identity(OP_max, DT_I64), INT64_MIN);
    assert_int_equal(scalar_int_identity(OP_min, DT_I64), INT64_MAX);
    assert_int_equal(scalar_int_identity(OP_max, DT_I32), INT32_MIN);
    assert_int_equal(scalar_int_identity(OP_min, DT_I32), INT32_MAX);
    assert_int_equal(scalar_int_identity(OP_max, DT_I8), INT8_MIN);
    assert_int_equal(scalar_int_identity(OP_min, DT_I8), INT8_MAX);
    assert_int_equal(scalar_int_identity(OP_min, DT_U8), UINT8_MAX);
    assert_true(scalar_identity(OP_max) < -1e308 && scalar_identity(OP_min) > 1e308);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_complete), cmocka_unit_test(test_names_are_unique_and_found),
        cmocka_unit_test(test_gradients),         cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_attribute_places),  cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_scalar_classes),    cmocka_unit_test(test_signs_hold),
        cmocka_unit_test(test_identities_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
