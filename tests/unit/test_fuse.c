/* What fuses with what: IR text in, the forms of the kernels out. That fused kernels compute the
 * same is tests/ops/test_kernels.c's business. */
#include "passes/pass.h"
#include "tests/unit/ir_sample.h"

#include <stdio.h>

static const char head[] = "module \"m\" {\n"
                           "    dim B in 1.. = 64\n"
                           "}\n\n";

typedef struct Case {
    const char *name, *text, *forms; /* forms in order, "row:1" is a row kernel of one result */
} Case;

static const Case cases[] = {
    {"softmax is one row kernel",
     "func \"f\" infer (\n    %0: f32[B, 100] = input \"x\"\n) {\n"
     "    %1 = reduce_max %0 {axes = [1]} : f32[B]\n"
     "    %2 = broadcast %1 {shape = [B, 100], axes = [0]} : f32[B, 100]\n"
     "    %3 = sub %0, %2 : f32[B, 100]\n"
     "    %4 = exp %3 : f32[B, 100]\n"
     "    %5 = reduce_sum %4 {axes = [1]} : f32[B]\n"
     "    %6 = broadcast %5 {shape = [B, 100], axes = [0]} : f32[B, 100]\n"
     "    %7 = div %4, %6 : f32[B, 100]\n"
     "    yield %7\n} -> (\n    output \"y\"\n)\n",
     "row:1"},
    {"bias and activation join the contraction, which keeps one result",
     "func \"f\" infer (\n    %0: f32[B, 64] = input \"x\",\n    %1: f32[64, 32] = param \"w\",\n"
     "    %2: f32[32] = param \"b\"\n) {\n"
     "    %3 = contract %0, %1 {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : "
     "f32[B, 32]\n"
     "    %4 = broadcast %2 {shape = [B, 32], axes = [1]} : f32[B, 32]\n"
     "    %5 = add %3, %4 : f32[B, 32]\n"
     "    %6 = tanh %5 : f32[B, 32]\n"
     "    yield %6\n} -> (\n    output \"y\"\n)\n",
     "contract:1"},
    {"two contractions stay two",
     "func \"f\" infer (\n    %0: f32[B, 64] = input \"x\",\n    %1: f32[64, 64] = param \"w\"\n) "
     "{\n"
     "    %2 = contract %0, %1 {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : "
     "f32[B, 64]\n"
     "    %3 = exp %2 : f32[B, 64]\n"
     "    %4 = contract %3, %1 {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : "
     "f32[B, 64]\n"
     "    %5 = add %4, %0 : f32[B, 64]\n"
     "    yield %5\n} -> (\n    output \"y\"\n)\n",
     "contract:1 contract:1"},
    {"an update is one loop with several results",
     "func \"f\" train (\n    %0: f32[4096] = param \"w\",\n    %1: f32[4096] = input \"g\",\n"
     "    %2: f32[4096] = slot \"w#m\"\n) {\n"
     "    %3 = add %2, %1 : f32[4096]\n"
     "    %4 = sub %0, %3 : f32[4096]\n"
     "    yield %4, %3\n} -> (\n    store %0,\n    store %2\n)\n",
     "loop:2"},
    {"a long sum reads its producer at once",
     "func \"f\" infer (\n    %0: f32[1000000] = input \"x\"\n) {\n"
     "    %1 = mul %0, %0 : f32[1000000]\n"
     "    %2 = reduce_sum %1 {axes = [0]} : f32[]\n"
     "    %3 = sqrt %2 : f32[]\n"
     "    yield %3\n} -> (\n    output \"y\"\n)\n",
     "reduce:1"},
    {"a sum over all that everything waits for is a kernel of its own",
     "func \"f\" infer (\n    %0: f32[1000000] = input \"x\"\n) {\n"
     "    %1 = reduce_sum %0 {axes = [0]} : f32[]\n"
     "    %2 = broadcast %1 {shape = [1000000], axes = []} : f32[1000000]\n"
     "    %3 = div %0, %2 : f32[1000000]\n"
     "    yield %3\n} -> (\n    output \"y\"\n)\n",
     "reduce:1 loop:1"},
    {"a view costs nothing, a constant result is a kernel",
     "func \"f\" infer (\n    %0: f32[B, 6] = input \"x\"\n) {\n"
     "    %1 = reshape %0 {shape = [B, 2, 3]} : f32[B, 2, 3]\n"
     "    %2 = constant {value = 2.0, dtype = f32, shape = [3]} : f32[3]\n"
     "    yield %1, %2\n} -> (\n    output \"y\",\n    output \"z\"\n)\n",
     "loop:1"},
    {"no kernel may wait for itself",
     "func \"f\" infer (\n    %0: f32[B, 64] = input \"x\",\n    %1: f32[64, 64] = param \"w\"\n) "
     "{\n"
     "    %2 = exp %0 : f32[B, 64]\n"
     "    %3 = contract %2, %1 {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : "
     "f32[B, 64]\n"
     "    %4 = mul %3, %2 : f32[B, 64]\n"
     "    yield %4\n} -> (\n    output \"y\"\n)\n",
     "loop:1 contract:1"},
};

static void list_forms(const Block *block, Str *out) {
    BLOCK_EACH_OP (block, op) {
        if (op->code == OP_fusion) {
            str_addf(out, "%s%s:%d", out->length ? " " : "", fusion_form(op), (int)op->n_results);
        }
    }
}

static void check_forms(Fixture *f, const Case *test, const Machine *machine, const char *wanted) {
    Str text, forms;
    str_init(&text, NULL);
    str_init(&forms, NULL);
    str_addf(&text, "%s%s", head, test->text);
    const Source *source = context_source(&f->context, "fuse", str_text(&text), text.length, false);
    Module *module = module_parse(&f->context, source);
    if (!module) {
        fail_msg("%s: %s", test->name, f->context.diags.items[0]->message);
    }
    Arena scratch;
    arena_init(&scratch, NULL, &f->boundary);
    PassContext pass = {.context = &f->context, .scratch = &scratch, .machine = machine};
    module->first->properties |= PROP_NO_GRAD_OPS;
    assert_true(pass_fuse(&pass, module->first));
    arena_finish(&scratch);
    str_clear(&f->report);
    if (!func_verify(module->first, &f->report)) {
        fail_msg("%s: %s", test->name, str_text(&f->report));
    }
    list_forms(module->first->body, &forms);
    if (strcmp(str_text(&forms), wanted) != 0) {
        fail_msg("%s: %s, not %s", test->name, str_text(&forms), wanted);
    }
    str_finish(&text);
    str_finish(&forms);
    module_destroy(module);
}

static const Machine usual = {
    .target = "any", .vector_bytes = 32, .fusion = {.small_space = 32768, .least_rows = 8}};

static void test_forms(void **state) {
    Fixture *f = *state;
    GUARD(f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_forms(f, &cases[i], &usual, cases[i].forms);
    }
}

/* What goes row by row depends on the machine: on what it takes for small, and for few rows. */
static void test_measures(void **state) {
    Fixture *f = *state;
    GUARD(f);
    static const Case softmax = {
        "a softmax of 16 rows",
        "func \"f\" infer (\n    %0: f32[16, 100] = input \"x\"\n) {\n"
        "    %1 = exp %0 : f32[16, 100]\n"
        "    %2 = reduce_sum %1 {axes = [1]} : f32[16]\n"
        "    %3 = broadcast %2 {shape = [16, 100], axes = [0]} : f32[16, 100]\n"
        "    %4 = div %1, %3 : f32[16, 100]\n"
        "    yield %4\n} -> (\n    output \"y\"\n)\n",
        NULL};
    Machine machine = usual;
    check_forms(f, &softmax, &machine, "row:1");
    machine.fusion = (FusionMeasures){.small_space = 1599, .least_rows = 17};
    check_forms(f, &softmax, &machine, "loop:1 reduce:1 loop:1");
    machine.fusion.small_space = 1600;
    check_forms(f, &softmax, &machine, "row:1");
    machine.fusion = (FusionMeasures){.small_space = 1599, .least_rows = 16};
    check_forms(f, &softmax, &machine, "row:1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_forms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_measures, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
