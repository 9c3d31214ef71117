/* The IR's infrastructure: building by hand, printing, parsing, the exact round trip, copies and
 * replacement, and what a failing allocation leaves behind. The verifier's tests: test_verify.c. */
#include "tests/unit/ir_sample.h"

#include "ir/base/file.h"
#include "tests/unit/meter.h"

static const char SAMPLE_TEXT[] =
    "module \"sample\" {\n"
    "    dim B in 1.. = 64\n"
    "    dim H % 8 in 8..512\n"
    "    setting batch = \"64\"\n"
    "    setting \"set.odd name\" = \"a \\\"quoted\\\"\\n\\ttext\\\\ \\x01\"\n"
    "}\n"
    "\n"
    "func \"sample.train\" train (\n"
    "    %0 x: f32[B, 3] = input \"x\",\n"
    "    %1: f32[3] = param \"fc.weight\"\n"
    ") {\n"
    "    %2 y = contract %0, %1 {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : "
    "f32[B] @\"fc\"\n"
    "    %3 = mul %2, %2 : f32[B]\n"
    "    %4 = reduce_sum %3 {axes = [0]} : f32[]\n"
    "    %5 = constant {value = 0.1, dtype = f32, shape = [3]} : f32[3]\n"
    "    %6 = mul %5, %1 : f32[3]\n"
    "    %7 = sub %1, %6 : f32[3]\n"
    "    %8 = constant {value = 0.0, dtype = f32, shape = []} : f32[]\n"
    "    %9, %10 = scan %8, %2 {length = B, carries = 1, reverse = false} : f32[], f32[B] "
    "(%11: i32[], %12: f32[], %13: f32[]) {\n"
    "        %14 = add %12, %13 : f32[]\n"
    "        yield %14, %14\n"
    "    }\n"
    "    %15 = literal {dtype = f32, shape = [2, 3], data = [1.0, -0.0, inf, -inf, 0.1, 5e-324]} : "
    "f32[2, 3]\n"
    "    yield %4, %7, %10, %9, %15\n"
    "} -> (\n"
    "    loss \"loss\",\n"
    "    store %1,\n"
    "    output \"running\",\n"
    "    metric \"last\",\n"
    "    output \"numbers\"\n"
    ")\n";

static void test_print(void **state) {
    Fixture *f = *state;
    GUARD(f);
    Module *module = sample_module(&f->context);
    assert_true(module_verify(module, &f->report));
    module_print(module, &f->report);
    assert_string_equal(str_text(&f->report), SAMPLE_TEXT);
    module_destroy(module);
}

static Module *parse_text(Fixture *f, const char *text) {
    const Source *source = context_source(&f->context, "test.ir", text, strlen(text), false);
    Module *module = module_parse(&f->context, source);
    if (module == NULL && f->context.diags.count > 0) {
        str_clear(&f->report);
        diag_print(f->context.diags.items[0], &f->report, false);
    }
    return module;
}

static void assert_round_trip(Fixture *f, const char *text) {
    Module *module = parse_text(f, text);
    if (module == NULL) {
        fail_msg("%s", str_text(&f->report));
    }
    str_clear(&f->report);
    module_print(module, &f->report);
    assert_string_equal(str_text(&f->report), text);
    module_destroy(module);
}

static void test_round_trip(void **state) {
    Fixture *f = *state;
    GUARD(f);
    assert_round_trip(f, SAMPLE_TEXT);
}

/* Regions in regions, every attribute kind, every role, properties, a fusion, integers. */
static void test_round_trip_rich(void **state) {
    Fixture *f = *state;
    GUARD(f);
    assert_round_trip(
        f,
        "module \"rich\" {\n"
        "    dim N in 1..\n"
        "    dim T in 2..1024 = 128\n"
        "}\n"
        "\n"
        "func \"rich.infer\" infer has no_grad_ops (\n"
        "    %0 x: f64[N, 2*T + 1] = input \"x\",\n"
        "    %1: i64[] = scalar \"seed\",\n"
        "    %2: i64[] = scalar \"step\",\n"
        "    %3: f64[N] = state \"running\",\n"
        "    %4: f64[N] = cache \"k\",\n"
        "    %5: f64[N] = slot \"w#m\"\n"
        ") {\n"
        "    %6 = size {value = floordiv(N, 2), dtype = i32} : i32[]\n"
        "    %7 = constant {value = 3.0, dtype = i32, shape = []} : i32[]\n"
        "    %8 = constant {value = nan, dtype = f64, shape = [N]} : f64[N]\n"
        "    %9 = random_uniform %1, %2, %7 {site = -5, dtype = f64, shape = [N], stride = []} : "
        "f64[N] "
        "@\"h.0.drop\"\n"
        "    %10 values, %11 indices = sort %0 {axis = 1, descending = true} : f64[N, 2*T + 1], "
        "i32[N, 2*T + 1]\n"
        "    %12 = literal {dtype = i64, shape = [2], data = [9007199254740993, "
        "-9223372036854775808]} : i64[2]\n"
        "    %13 = literal {dtype = bool, shape = [], data = [1]} : bool[]\n"
        "    check %13 {text = \"always\"}\n"
        "    size_check {left = N, right = T, text = \"rows: model.dl:3:4\"}\n"
        "    %14, %15 \"odd name\" = while %7, %9 {limit = 10} : i32[], f64[N] (%16: i32[], %17: "
        "f64[N]) {\n"
        "        %18 = lt %16, %6 : bool[]\n"
        "        yield %18\n"
        "    } (%19: i32[], %20: f64[N]) {\n"
        "        %21 = add %19, %7 : i32[]\n"
        "        %22 = fusion %20, %8 {form = \"loop\"} : f64[N] (%23: f64[N], %24: f64[N]) {\n"
        "            %25 = max %23, %24 : f64[N]\n"
        "            yield %25\n"
        "        }\n"
        "        yield %21, %22\n"
        "    }\n"
        "    %26 = cast %15 {dtype = bf16} : bf16[N]\n"
        "    %27 = broadcast %26 {shape = [T, N], axes = [1]} : bf16[T, N]\n"
        "    yield %27, %15, %8, %9\n"
        "} -> (\n"
        "    output \"out\",\n"
        "    store %3,\n"
        "    store %4 \"k\",\n"
        "    store %5\n"
        ")\n"
        "\n"
        "func \"rich.init\" init () {\n"
        "    yield\n"
        "} -> ()\n");
}

static const char *source_root(void) {
    const char *root = getenv("DLC_SOURCE_ROOT");
    return root ? root : "."; /* by hand, from the project's folder */
}

/* The seeds of the fuzz target: together they hold every op. */
static void test_corpus_round_trip(void **state) {
    static const char *const NAMES[] = {"sample.ir", "rich.ir", "ops.ir"};
    Fixture *f = *state;
    GUARD(f);
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        char message[FILE_MESSAGE_BYTES];
        FileView view = {0};
        const char *path =
            arena_format(&f->context.arena, "%s/tests/fuzz/corpus/ir/%s", source_root(), NAMES[i]);
        if (file_view_open(path, &view, message) != DLC_OK) {
            fail_msg("%s", message);
        }
        const char *text = arena_strndup(&f->context.arena, (const char *)view.data, view.size);
        file_view_close(&view);
        assert_round_trip(f, text);
    }
}

static void test_parse_is_lenient_about_space_and_numbers(void **state) {
    Fixture *f = *state;
    GUARD(f);
    Module *module = parse_text(f, "# a comment\nmodule\"m\"{}func \"f\" other(%7:f32[]=input\"x\")"
                                   "{%3=neg %7:f32[] # x\nyield %3}->(output\"y\")");
    assert_non_null(module);
    str_clear(&f->report);
    module_print(module, &f->report);
    assert_string_equal(str_text(&f->report),
                        "module \"m\" {\n}\n\n"
                        "func \"f\" other (\n    %0: f32[] = input \"x\"\n) {\n"
                        "    %1 = neg %0 : f32[]\n    yield %1\n"
                        "} -> (\n    output \"y\"\n)\n");
}

/* Each malformed text and a part of its message. */
typedef struct BadText {
    const char *text, *message;
} BadText;

#define HEAD "module \"m\" { dim N in 1.. }\nfunc \"f\" infer (%0: f32[N] = input \"x\") {\n"
#define TAIL "\n} -> (output \"y\")\n"

static const BadText BAD_TEXTS[] = {
    {"", "expected 'module'"},
    {"modul \"m\" {}", "expected 'module'"},
    {"module m {}", "expected the name of the module"},
    {"module \"m {}\n", "closed on its line"},
    {"module \"m\\q\" {}", "escapes"},
    {"module \"m\" {", "part of a module"},
    {"module \"m\" { dims N in 1.. }", "unknown part of a module 'dims'"},
    {"module \"m\" { dim N in 1.. dim N in 1.. }", "dim 'N' stands here twice"},
    {"module \"m\" { dim N in 5..2 }", "bounds in order"},
    {"module \"m\" { dim N in 1..99999999999999999999 }", "64 bits"},
    {"module \"m\" { setting a = \"1\" setting a = \"2\" }", "setting 'a' stands here twice"},
    {"module \"m\" {} func \"f\" fly () { yield } -> ()", "unknown purpose 'fly'"},
    {"module \"m\" {} func \"f\" infer with () { yield } -> ()", "expected 'has'"},
    {"module \"m\" {} func \"f\" infer has wings () { yield } -> ()", "unknown property 'wings'"},
    {"module \"m\" {} func \"f\" infer () { yield } -> () func \"f\" infer () { yield } -> ()",
     "function 'f' stands here twice"},
    {HEAD "yield %0" TAIL "junk", "expected 'func'"},
    {HEAD "%1 = negate %0 : f32[N]\nyield %1" TAIL, "no op is called 'negate'"},
    {HEAD "%1 = ngg %0 : f32[N]\nyield %1" TAIL, "did you mean 'neg'"},
    {HEAD "%1 = neg %2 : f32[N]\nyield %1" TAIL, "%2 is not defined"},
    {HEAD "%0 = neg %0 : f32[N]\nyield %0" TAIL, "%0 is defined twice"},
    {HEAD "%1 = neg %0 : f32[M]\nyield %1" TAIL, "malformed size"},
    {HEAD "%1 = neg %0 : f32[2*N]\nyield %1" TAIL, "gives f32[N] here, not f32[2*N]"},
    {HEAD "%1 = neg %0 : f31[N]\nyield %1" TAIL, "unknown element type 'f31'"},
    {HEAD "%1 = neg %0, %0 : f32[N]\nyield %1" TAIL, "takes 1 operands, not 2"},
    {HEAD "%1, %2 = neg %0 : f32[N], f32[N]\nyield %1" TAIL, "takes 1 results, not 2"},
    {HEAD "%1 = and %0, %0 : f32[N]\nyield %1" TAIL, "op 'and'"},
    {HEAD "%1 = reduce_sum %0 : f32[]\nyield %1" TAIL, "expected '{'"},
    {HEAD "%1 = reduce_sum %0 {axis = [0]} : f32[]\nyield %1" TAIL, "expected 'axes'"},
    {HEAD "%1 = reduce_sum %0 {axes = [0, 0]} : f32[]\nyield %1" TAIL, "op 'reduce_sum'"},
    {HEAD "%1 = reduce_sum %0 {axes = [4]} : f32[]\nyield %1" TAIL, "op 'reduce_sum'"},
    {HEAD "%1 = cumsum %0 {axis = 0, reverse = maybe, exclusive = false} : f32[N]\nyield %1" TAIL,
     "unknown truth value 'maybe'"},
    {HEAD "%1 = constant {value = 1.5.2, dtype = f32, shape = []} : f32[]\nyield %1" TAIL,
     "malformed number"},
    {HEAD "%999999999 = neg %0 : f32[N]\nyield %0" TAIL, "out of proportion"},
    {HEAD "%1 = neg %0 : f32[N]" TAIL, "with which a block ends"},
    {HEAD "yield %0\n%1 = neg %0 : f32[N]" TAIL, "'}' after yield"},
    {HEAD "yield %0\n} -> (outpt \"y\")", "unknown role of a result 'outpt'"},
    {HEAD "yield %0\n} -> (store %4)", "%4 is not defined"},
    {HEAD "yield %0\n} -> (store %0)", "an input or a scalar"},
    {HEAD "yield %0, %0" TAIL, "yields 2 values for 1 results"},
    {HEAD "yield %0\n} -> (loss \"loss\")", "not of rank 0"},
    {"module \"m\" {} func \"f\" infer (%0: f32[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1] = input \"x\") "
     "{",
     "at most 16 axes"},
    {HEAD "%1 = fusion %0 {form = \"\"} : f32[N] (%2: f32[N]) {\n%3 = neg %0 : f32[N]\nyield "
          "%3\n}\nyield %1" TAIL,
     "outside an isolated block"},
    {HEAD "%1 = fusion %0 {form = \"\"} : f32[N] (%2: f32[N]) {\n%3 = neg %2 : f32[N]\nyield "
          "%3\n}\n%4 = neg %3 : f32[N]\nyield %4" TAIL,
     "outside its block"},
};

static void check_bad_text(const BadText *bad) {
    void *each = NULL;
    setup(&each);
    Fixture *f = each;
    GUARD(f);
    Module *module = parse_text(f, bad->text);
    if (module != NULL || strstr(str_text(&f->report), bad->message) == NULL) {
        fail_msg("text:\n%s\nexpected: %s\ngot: %s", bad->text, bad->message, str_text(&f->report));
    }
    teardown(&each);
}

static void test_bad_texts(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(BAD_TEXTS) / sizeof(BAD_TEXTS[0]); i++) {
        check_bad_text(&BAD_TEXTS[i]);
    }
}

static void test_nesting_limit(void **state) {
    Fixture *f = *state;
    GUARD(f);
    Str text;
    str_init(&text, NULL);
    str_add(&text, HEAD);
    for (int i = 0; i < 100; i++) {
        str_addf(&text, "%%%d = fusion {form = \"\"} : f32[N] () {\n", i + 1);
    }
    assert_null(parse_text(f, str_text(&text)));
    assert_non_null(strstr(str_text(&f->report), "nested more than 64"));
    str_finish(&text);
}

/* -- changing */

static void test_clone(void **state) {
    Fixture *f = *state;
    GUARD(f);
    Module *module = sample_module(&f->context);
    Func *copy = func_clone(module->first, "sample.copy");
    assert_ptr_equal(module->last, copy);
    assert_true(module_verify(module, &f->report));
    Str original;
    Str copied;
    str_init(&original, NULL);
    str_init(&copied, NULL);
    func_print(module->first, &original);
    func_print(copy, &copied);
    assert_string_equal(strchr(str_text(&original), '('), strchr(str_text(&copied), '('));
    str_finish(&original);
    str_finish(&copied);
    /* nothing is shared that a change would show through */
    op_set_reverse(find_op(module, OP_scan), 1);
    BLOCK_EACH_OP (copy->body, op) {
        if (op->code == OP_scan) {
            assert_false(op_reverse(op));
        }
    }
    Func *loose = func_clone(copy, NULL);
    assert_string_equal(loose->name, "sample.copy");
    assert_ptr_equal(module->last, copy);
    func_remove(copy);
    assert_ptr_equal(module->last, module->first);
    assert_null(module->first->next);
}

static void test_block_clone(void **state) {
    Fixture *f = *state;
    GUARD(f);
    Module *module = sample_module(&f->context);
    Func *func = module->first;
    Op *scan = find_op(module, OP_scan);
    Value *zero = scan->operands[0];
    Value **map = ARENA_ARRAY(&module->arena, Value *, func->n_values);
    map[scan->blocks[0]->args[1]->id] = zero;
    map[scan->blocks[0]->args[2]->id] = zero;
    Value *sum = block_yield(scan->blocks[0])->operands[0];
    block_clone_ops(func, scan->blocks[0], scan, NULL, map);
    assert_int_equal(scan->prev->code, OP_add);
    assert_ptr_equal(map[sum->id], scan->prev->results[0]);
    assert_ptr_equal(scan->prev->operands[1], zero);
    func_renumber(func);
    assert_true(module_verify(module, &f->report));
}

static void test_replace_and_uses(void **state) {
    Fixture *f = *state;
    GUARD(f);
    Module *module = sample_module(&f->context);
    Func *func = module->first;
    Op *contract = find_op(module, OP_contract);
    Value *y = contract->results[0];
    int32_t *uses = func_use_counts(func, &module->arena);
    assert_int_equal(uses[y->id], 3); /* twice in mul, once in scan */
    assert_int_equal(uses[func->body->args[0]->id], 1);
    Value **map = ARENA_ARRAY(&module->arena, Value *, func->n_values);
    Builder b = builder_before(contract->next);
    Value *first = b_neg(&b, y);
    Value *second = b_neg(&b, first);
    map[y->id] = second; /* also the operand of `first`: put back below */
    func_replace_values(func, map);
    op_set_operand(first->op, 0, y);
    uses = func_use_counts(func, &module->arena);
    assert_int_equal(uses[y->id], 1);
    assert_int_equal(uses[second->id], 3);
    func_renumber(func);
    assert_true(module_verify(module, &f->report));
    assert_int_equal(func->n_values, 18);
}

static void test_chained_replacement(void **state) {
    Fixture *f = *state;
    GUARD(f);
    Module *module = sample_module(&f->context);
    Func *func = module->first;
    Op *sub = find_op(module, OP_sub);
    Value **map = ARENA_ARRAY(&module->arena, Value *, func->n_values);
    map[sub->results[0]->id] = sub->operands[1];
    map[sub->operands[1]->id] = func->body->args[1];
    func_replace_values(func, map);
    assert_ptr_equal(block_yield(func->body)->operands[1], func->body->args[1]);
}

static void test_attrs(void **state) {
    Fixture *f = *state;
    GUARD(f);
    Module *module = sample_module(&f->context);
    Op *scan = find_op(module, OP_scan);
    Op *constant = find_op(module, OP_constant);
    Func *copy = func_clone(module->first, NULL);
    BLOCK_EACH_OP (copy->body, op) {
        if (op->code == OP_constant && constant_value(op) != 0.0) {
            assert_true(op_attrs_equal(op, constant));
            assert_true(op_attrs_hash(op) == op_attrs_hash(constant));
            op_set_value(op, 0.2);
            assert_false(op_attrs_equal(op, constant));
        } else if (op->code == OP_scan) {
            assert_true(op_attrs_equal(op, scan));
            assert_false(op_attrs_equal(op, constant));
        }
    }
    assert_true(op_has_carries(scan));
    assert_false(op_has_axes(scan));
    assert_int_equal(scan_carries(scan), 1);
    assert_non_null(op_shape(constant).at);
    assert_int_equal(constant_shape(constant).count, 1);
}

/* -- the builder's complaints */

static void test_builder_soft(void **state) {
    Fixture *f = *state;
    GUARD(f);
    Module *module = sample_module(&f->context);
    Func *func = module->first;
    Builder b = builder_before(block_yield(func->body));
    b.soft = true;
    Value *bad = b_add(&b, func->body->args[0], func->body->args[1]);
    assert_null(bad);
    assert_non_null(b.problem.text);
    const char *first = b.problem.text;
    assert_null(b_neg(&b, bad)); /* quiet: the same trouble */
    assert_ptr_equal(b.problem.text, first);
    Value *out[1];
    b_grad(&b, bad, &func->body->args[1], 1, out);
    assert_null(out[0]);
    assert_ptr_equal(b.problem.text, first);
    func_renumber(func);
    assert_true(module_verify(module, &f->report));
}

static void test_builder_hard(void **state) {
    Fixture *f = *state;
    if (setjmp(f->boundary.jump) == 0) {
        Module *module = sample_module(&f->context);
        Func *func = module->first;
        Builder b = builder_before(block_yield(func->body));
        b_add(&b, func->body->args[0], func->body->args[1]);
        fail_msg("an ill-typed op was built");
    }
    assert_int_equal(f->boundary.status, DLC_ERROR_INTERNAL);
    assert_int_equal(f->context.diags.n_errors, 1);
}

/* -- failing allocations */

/* Parses, verifies, clones and prints with the n-th allocation failing. */
static dlc_status run_failing(Meter *failing) {
    dlc_allocator hook = {.alloc = meter_alloc, .free = meter_free, .user = failing};
    Boundary boundary = {0};
    Context context;
    Str text;
    dlc_status status = DLC_OK;
    str_init(&text, &hook);
    context_init(&context, &hook, &boundary);
    if (setjmp(boundary.jump) == 0) {
        const Source *source =
            context_source(&context, "t.ir", SAMPLE_TEXT, sizeof(SAMPLE_TEXT) - 1, false);
        Module *module = module_parse(&context, source);
        assert_non_null(module);
        func_clone(module->first, "copy");
        module_print(module, &text);
        assert_true(text.failed ||
                    strncmp(str_text(&text), SAMPLE_TEXT, sizeof(SAMPLE_TEXT) - 1) == 0);
        status = text.failed ? DLC_ERROR_OUT_OF_MEMORY : DLC_OK;
    } else {
        status = boundary.status;
    }
    str_finish(&text);
    context_finish(&context);
    return status;
}

static void test_failing_allocations(void **state) {
    (void)state;
    int64_t n = 0;
    for (;; n++) {
        Meter failing = {.left = n};
        dlc_status status = run_failing(&failing);
        assert_int_equal(failing.alive, 0);
        if (status == DLC_OK) {
            break;
        }
        assert_int_equal(status, DLC_ERROR_OUT_OF_MEMORY);
    }
    assert_true(n > 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_print, setup, teardown),
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_round_trip_rich, setup, teardown),
        cmocka_unit_test_setup_teardown(test_corpus_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parse_is_lenient_about_space_and_numbers, setup,
                                        teardown),
        cmocka_unit_test(test_bad_texts),
        cmocka_unit_test_setup_teardown(test_nesting_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_block_clone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replace_and_uses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chained_replacement, setup, teardown),
        cmocka_unit_test_setup_teardown(test_attrs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_builder_soft, setup, teardown),
        cmocka_unit_test_setup_teardown(test_builder_hard, setup, teardown),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
