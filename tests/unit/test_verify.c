/* The verifier on each kind of damage: every invariant is broken once, by hand, and must be named.
 */
#include "tests/unit/ir_sample.h"

typedef void (*Damage)(Module *module);

static void damage_operand_missing(Module *module) {
    find_op(module, OP_mul)->operands[0] = NULL;
}
static void damage_operand_late(Module *module) {
    find_op(module, OP_mul)->operands[0] = find_op(module, OP_literal)->results[0];
}
static void damage_operand_inner(Module *module) {
    Op *scan = find_op(module, OP_scan);
    op_set_operand(block_yield(module->first->body), 0, scan->blocks[0]->args[1]);
}
static void damage_type(Module *module) {
    find_op(module, OP_mul)->results[0]->type.dtype = DT_F64;
}
static void damage_attr_size(Module *module) {
    op_set_length(find_op(module, OP_scan), NULL);
}
static void damage_attr_bool(Module *module) {
    Op *scan = find_op(module, OP_scan);
    scan->attrs[op_attr_index(scan, ATTR_ID_reverse)].i = 2;
}
static void damage_attr_dtype(Module *module) {
    op_set_dtype(find_op(module, OP_constant), 99);
}
static void damage_attr_axes(Module *module) {
    int64_t axis = 7;
    op_set_axes(find_op(module, OP_reduce_sum), ints_copy(module->first, &axis, 1));
}
static void damage_operand_count(Module *module) {
    find_op(module, OP_mul)->n_operands = 1;
}
static void damage_no_yield(Module *module) {
    op_unlink(block_yield(module->first->body));
}
static void damage_inner_yield(Module *module) {
    Op *scan = find_op(module, OP_scan);
    op_unlink(block_yield(scan->blocks[0]));
}
static void damage_inner_yield_count(Module *module) {
    block_yield(find_op(module, OP_scan)->blocks[0])->n_operands = 1;
}
static void damage_early_yield(Module *module) {
    Op *extra = op_create(module->first, OP_yield, NULL, 0, 0, 0);
    op_insert_before(extra, find_op(module, OP_scan));
}
static void damage_link(Module *module) {
    find_op(module, OP_scan)->prev = NULL;
}
static void damage_owner(Module *module) {
    find_op(module, OP_scan)->blocks[0]->owner = NULL;
}
static void damage_id(Module *module) {
    find_op(module, OP_mul)->results[0]->id = 0;
}
static void damage_id_range(Module *module) {
    find_op(module, OP_mul)->results[0]->id = 1 << 20;
}
static void damage_back_pointer(Module *module) {
    find_op(module, OP_mul)->results[0]->index = 3;
}
static void damage_result_count(Module *module) {
    module->first->n_results = 2;
}
static void damage_store_arg(Module *module) {
    module->first->results[1].arg = 9;
}
static void damage_store_input(Module *module) {
    module->first->results[1].arg = 0;
}
static void damage_store_type(Module *module) {
    op_set_operand(block_yield(module->first->body), 1, find_op(module, OP_literal)->results[0]);
}
static void damage_store_twice(Module *module) {
    module->first->results[2] = module->first->results[1];
}
static void damage_ok_type(Module *module) {
    module->first->results[0].role = RESULT_OK;
}
static void damage_over(Module *module) {
    module->first->results[0].role = RESULT_METRIC_OVER;
}
static void damage_arg_name(Module *module) {
    module->first->args[1] = module->first->args[0];
}
static void damage_scalar_rank(Module *module) {
    module->first->args[0].role = ARG_SCALAR;
}
static void damage_fused(Module *module) {
    module->first->properties |= PROP_FUSED;
}
static void damage_grad_op(Module *module) {
    Func *func = module->first;
    Builder b = builder_before(block_yield(func->body));
    Value *dw = NULL;
    b_grad(&b, find_op(module, OP_reduce_sum)->results[0], &func->body->args[1], 1, &dw);
    func->properties |= PROP_NO_GRAD_OPS;
}
static void damage_func_name(Module *module) {
    func_clone(module->first, "sample.train");
}
static void damage_dim(Module *module) {
    module_add_dim(module, "B", 1, 2, 1, 0, (Place){0});
}

typedef struct DamageCase {
    Damage damage;
    const char *message;
} DamageCase;

static const DamageCase DAMAGES[] = {
    {damage_operand_missing, "operand 0 is missing"},
    {damage_operand_late, "used before its definition"},
    {damage_operand_inner, "outside its block"},
    {damage_type, "by the op's rule, not f64[B]"},
    {damage_attr_size, "attribute 'length' is missing"},
    {damage_attr_bool, "attribute 'reverse' is neither"},
    {damage_attr_dtype, "attribute 'dtype' is no element type"},
    {damage_attr_axes, "= reduce_sum"},
    {damage_operand_count, "has 1 operands, not 2"},
    {damage_no_yield, "the body does not end in yield"},
    {damage_inner_yield, "a block does not end in yield"},
    {damage_inner_yield_count, "= scan"},
    {damage_early_yield, "but ops follow"},
    {damage_link, "not linked properly"},
    {damage_owner, "does not point back at its op and function"},
    {damage_id, "%0 is given twice"},
    {damage_id_range, "not below the function's count"},
    {damage_back_pointer, "does not point back"},
    {damage_result_count, "yields 5 values for 2 results"},
    {damage_store_arg, "stores argument 9"},
    {damage_store_input, "an input or a scalar"},
    {damage_store_type, "into 'fc.weight' of type f32[3]"},
    {damage_store_twice, "stored twice"},
    {damage_ok_type, "is not bool"},
    {damage_over, "divides a metric"},
    {damage_arg_name, "are called 'x'"},
    {damage_scalar_rank, "is not of rank 0"},
    {damage_fused, "outside a fusion"},
    {damage_grad_op, "already differentiated"},
    {damage_func_name, "two functions are called"},
    {damage_dim, "two dims are called B"},
};

static void check_damage(const DamageCase *damage) {
    void *each = NULL;
    setup(&each);
    Fixture *f = each;
    GUARD(f);
    Module *module = sample_module(&f->context);
    damage->damage(module);
    bool ok = module_verify(module, &f->report);
    if (ok || strstr(str_text(&f->report), damage->message) == NULL) {
        fail_msg("expected \"%s\", got:\n%s", damage->message, str_text(&f->report));
    }
    teardown(&each);
}

static void test_verify_failures(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(DAMAGES) / sizeof(DAMAGES[0]); i++) {
        check_damage(&DAMAGES[i]);
    }
}

static void test_verify_collects(void **state) {
    Fixture *f = *state;
    GUARD(f);
    Module *module = sample_module(&f->context);
    damage_attr_bool(module);
    damage_type(module);
    damage_store_arg(module);
    assert_false(module_verify(module, &f->report));
    assert_non_null(strstr(str_text(&f->report), "'reverse'"));
    assert_non_null(strstr(str_text(&f->report), "f64[B]"));
    assert_non_null(strstr(str_text(&f->report), "argument 9"));
    assert_int_equal(find_op(module, OP_mul)->results[0]->type.dtype, DT_F64);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verify_failures),
        cmocka_unit_test_setup_teardown(test_verify_collects, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
