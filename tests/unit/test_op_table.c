/* The op table: every row complete and coherent, so that who reads it may rely on it. */
#include "ir/build.h"

#include <ctype.h>
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
        assert_non_null(info->cost);
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
            assert_int_equal(info->grad == NULL, info->scalar_result == RESULT_BOOL);
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
            /* what may be left out of the text stands last */
            assert_true(info->attrs[k]->kind != ATTR_WORD || k + 1 == info->n_attrs);
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
        OpCost cost = info->cost(result->op);
        assert_true(cost.flops >= 0.0 && cost.bytes >= 0.0);
    }
    (void)context;
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_complete), cmocka_unit_test(test_names_are_unique_and_found),
        cmocka_unit_test(test_gradients),         cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_attribute_places),  cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_scalar_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
