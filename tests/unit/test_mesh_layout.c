/* Mesh layouts (ir/mesh_layout.h): the words of axes, what a layout refuses, its text both ways,
 * and shard_hint, whose gradient lies as what it is the gradient of. */
#include "ir/build.h"
#include "ir/mesh_layout.h"
#include "passes/hint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four headers above first. */
#include <cmocka.h>

typedef struct Fixture {
    Boundary boundary;
    Context context;
    Str text;
} Fixture;

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    context_init(&f->context, NULL, &f->boundary);
    str_init(&f->text, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    str_finish(&f->text);
    context_finish(&f->context);
    free(f);
    return 0;
}

static void words(void **state) {
    Fixture *f = *state;
    assert_string_equal(mesh_axis_name("tp"), "model");
    assert_string_equal(mesh_axis_name("tensor"), "model");
    assert_string_equal(mesh_axis_name("dp"), "data");
    assert_string_equal(mesh_axis_name("pp"), "pipe");
    assert_string_equal(mesh_axis_name("replica"), "replica");
    assert_null(mesh_axis_name("tens"));
    assert_null(mesh_axis_name(""));
    assert_string_equal(mesh_axis_near("modle"), "model");
    assert_null(mesh_axis_near("expert_"));
    mesh_axis_print_words(&f->text);
    assert_string_equal(str_text(&f->text), "replica, data (dp), model (tensor, tp), pipe (pp)");
}

static void axes(void **state) {
    (void)state;
    MeshLayout layout = {.n_axes = 0};
    assert_int_equal(mesh_layout_add_axis(&layout, "shelf", 2), MESH_PROBLEM_UNKNOWN);
    assert_int_equal(mesh_layout_add_axis(&layout, "cp", 2), MESH_PROBLEM_REFUSED);
    assert_int_equal(mesh_layout_add_axis(&layout, "data", -2), MESH_PROBLEM_SIZE);
    assert_int_equal(mesh_layout_add_axis(&layout, "data", MESH_MAX_RANKS + 1), MESH_PROBLEM_SIZE);
    assert_int_equal(mesh_layout_add_axis(&layout, "dp", 3), MESH_PROBLEM_NONE);
    assert_int_equal(mesh_layout_add_axis(&layout, "data", 3), MESH_PROBLEM_TWICE);
    assert_int_equal(mesh_layout_ranks(&layout), 3);
    assert_int_equal(mesh_layout_add_axis(&layout, "tp", MESH_MAX_RANKS / 2), MESH_PROBLEM_SIZE);
    assert_int_equal(mesh_layout_add_axis(&layout, "tp", -1), MESH_PROBLEM_NONE);
    assert_int_equal(mesh_layout_add_axis(&layout, "pipe", 0), MESH_PROBLEM_TWO_ANY);
    assert_int_equal(mesh_layout_add_axis(&layout, "pipe", 4), MESH_PROBLEM_NONE);
    assert_int_equal(mesh_layout_ranks(&layout), 0);
    assert_int_equal(mesh_layout_least(&layout), 12);
    assert_int_equal(layout.n_axes, 3);
    assert_string_equal(layout.axes[1].name, "model");
}

static const MeshLayout *expect_text(Fixture *f, const char *text, const char *printed) {
    const char *problem = NULL;
    const MeshLayout *layout = mesh_layout_read(&f->context, text, &problem);
    if (!layout) {
        fail_msg("%s: %s", text, problem);
    }
    str_clear(&f->text);
    mesh_layout_print(layout, false, &f->text);
    assert_string_equal(str_text(&f->text), printed);
    /* A block is read back to the same layout. */
    str_clear(&f->text);
    mesh_layout_print(layout, true, &f->text);
    const MeshLayout *again = mesh_layout_read(&f->context, str_text(&f->text), &problem);
    assert_non_null(again);
    str_clear(&f->text);
    mesh_layout_print(again, false, &f->text);
    assert_string_equal(str_text(&f->text), printed);
    return layout;
}

static void text(void **state) {
    Fixture *f = *state;
    expect_text(f, "data=4,model=2", "data=4, model=2");
    expect_text(f, " mesh dp = * ", "data=*");
    expect_text(f, "data=-1{}", "data=*");
    expect_text(f, "data=2 { ; zero 0 ; }", "data=2");
    expect_text(f, "model=2 { sequence \"auto\" }", "model=2");
    const MeshLayout *off = expect_text(f, "model=2 { sequence \"off\"; zero 1 }",
                                        "model=2 { zero 1; sequence \"off\" }");
    assert_int_equal(off->sequence, MESH_SEQUENCE_OFF);
    const MeshLayout *layout = expect_text(
        f,
        "data=2, tensor=4, pipe=2 {\n shard (_, (tp, dp)) for \"a.*\", \"b\\\"\\{\\\\\"\n"
        "shard (pp,) for \"*\"; cut \"h.6\", \"h.9\"\nzero 3; sequence \"on\"; schedule \"1f1b\" "
        ";microbatches 8\nexchange bf16 }",
        "data=2, model=4, pipe=2 { shard (_, (model, data)) for \"a.*\", \"b\\\"\\{\\\\\"; "
        "shard (pipe) for \"*\"; cut \"h.6\"; cut \"h.9\"; zero 3; sequence \"on\"; "
        "schedule \"1f1b\"; microbatches 8; exchange bf16 }");
    assert_int_equal(mesh_layout_rule(layout, "a.b")->placed.rank, 2);
    assert_int_equal(mesh_layout_rule(layout, "b\"{\\")->placed.rank, 2);
    assert_int_equal(mesh_layout_rule(layout, "ab")->placed.rank, 1);
    assert_int_equal(layout->cuts.count, 2);
    assert_int_equal(layout->zero, 3);
    assert_int_equal(layout->sequence, MESH_SEQUENCE_ON);
    assert_int_equal(layout->microbatches, 8);
    assert_string_equal(layout->exchange, "bf16");
    assert_null(expect_text(f, "data=2 { exchange f32 }", "data=2")->exchange);
}

/* Under a mesh that lacks axes the lines are kept; the block has what counts. */
static void other_mesh(void **state) {
    Fixture *f = *state;
    const char *kept = "data=2 { shard (_, (model, data)) for \"a\"; cut \"b\" }", *problem = NULL;
    const MeshLayout *layout = mesh_layout_read(&f->context, kept, &problem);
    assert_non_null(layout);
    mesh_layout_print(layout, false, &f->text);
    assert_string_equal(str_text(&f->text), kept);
    str_clear(&f->text);
    mesh_layout_print(layout, true, &f->text);
    assert_string_equal(str_text(&f->text), "mesh data=2 {\n    shard (_, data) for \"a\"\n}\n");
}

static void expect_problem(Fixture *f, const char *text, const char *problem) {
    const char *found = NULL;
    assert_null(mesh_layout_read(&f->context, text, &found));
    assert_string_equal(found, problem);
}

static void problems(void **state) {
    Fixture *f = *state;
    expect_problem(f, "", "expected an axis of the mesh, found the end");
    expect_problem(f, "data", "expected '=', found the end");
    expect_problem(f, "data=x", "expected a number, found 'x'");
    expect_problem(f, "data=1234567890", "expected a number, found '1234567890'");
    expect_problem(f, "data=2 model=2", "expected ',' or '{', found 'model'");
    expect_problem(f, "date=2", "there is no mesh axis 'date'; did you mean 'data'?");
    expect_problem(f, "cp=2", "a mesh axis 'cp' is not supported");
    expect_problem(f, "data=2, dp=2", "the mesh axis 'data' is named twice");
    expect_problem(f, "data=*, model=*", "only one axis of a mesh may have any number of devices");
    expect_problem(
        f, "data=2 {",
        "expected shard, cut, zero, sequence, schedule, microbatches or exchange, found the end");
    expect_problem(f, "data=2 { split \"a\" }", "there is no 'split' in a mesh block");
    expect_problem(f, "data=2 { shard (data, data) for \"a\" }",
                   "the mesh axis 'data' is named twice");
    expect_problem(f, "data=2 { shard () for \"a\" }",
                   "expected an axis of the mesh or _, found ')'");
    expect_problem(f, "data=2 { shard (data) \"a\" }", "expected 'for', found '\"'");
    expect_problem(f, "data=2 { shard (data) for a }", "expected a path in quotes, found 'a'");
    expect_problem(f, "data=2 { cut \"a }", "expected '\"', found the end");
    expect_problem(f, "data=2 { zero 4 }", "`zero` is 0 to 3, not 4");
    expect_problem(f, "data=2 { exchange f16 }", "`exchange` is f32 or bf16, not 'f16'");
    expect_problem(f, "data=2 { exchange \"bf16\" }", "expected a type of floats, found '\"'");
    expect_problem(f, "data=2 { sequence on }", "expected \"auto\", \"on\" or \"off\", found 'on'");
    expect_problem(f, "data=2 { sequence \"yes\" }",
                   "`sequence` is \"auto\", \"on\" or \"off\", not \"yes\"");
    expect_problem(f, "data=2 { microbatches 0 }", "`microbatches` is 1 to 1048576, not 0");
    expect_problem(f, "data=2 { zero 1 zero 2 }", "expected ';' or '}', found 'zero'");
}

static void unbuilt(void **state) {
    Fixture *f = *state;
    static const struct {
        const char *text, *unbuilt;
    } rows[] = {
        {"data=*, replica=2, model=1", NULL},
        {"model=2", NULL},
        {"data=2, pipe=*", "the axis pipe=*"},
        {"data=2 { zero 1 }", NULL},
        {"data=2 { schedule \"x\" }", "the schedule \"x\""},
        {"data=2 { microbatches 2 }", "a pipe in micro-batches"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *problem = NULL;
        const MeshLayout *layout = mesh_layout_read(&f->context, rows[i].text, &problem);
        const char *found = mesh_layout_unbuilt(layout, &f->context.arena);
        assert_true(found ? rows[i].unbuilt && strcmp(found, rows[i].unbuilt) == 0
                          : rows[i].unbuilt == NULL);
    }
}

/* y = hint(x) * x: taken out, what is left is x * x, under the user's name. */
static void hints(void **state) {
    Fixture *f = *state;
    Module *module = module_create(&f->context, "m");
    Func *func = func_create(module, "m.infer", PURPOSE_INFER);
    const Size *dims[] = {size_const(&f->context, 4)};
    Value *x =
        func_add_arg(func, ARG_INPUT, "x", type_make(&f->context, DT_F32, 1, dims), (Place){0});
    Builder b = builder_at_end(func, func->body);
    Value *negative = b_unary(&b, OP_neg, x);
    Value *hint = b_shard_hint(&b, negative, context_intern(&f->context, "(data, model)"));
    hint->name = context_intern(&f->context, "placed");
    Value *y = b_mul(&b, hint, x);
    FuncResult result = {.role = RESULT_OUTPUT, .name = context_intern(&f->context, "y")};
    func_set_results(func, &result, &y, 1);
    assert_true(func_verify(func, &f->text));
    assert_true(hints_drop(func));
    assert_true(func_verify(func, &f->text));
    assert_ptr_equal(y->op->operands[0], negative);
    assert_string_equal(negative->name, "placed");
    assert_false(hints_drop(func));
    module_destroy(module);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(words, setup, teardown),
        cmocka_unit_test_setup_teardown(axes, setup, teardown),
        cmocka_unit_test_setup_teardown(text, setup, teardown),
        cmocka_unit_test_setup_teardown(other_mesh, setup, teardown),
        cmocka_unit_test_setup_teardown(problems, setup, teardown),
        cmocka_unit_test_setup_teardown(unbuilt, setup, teardown),
        cmocka_unit_test_setup_teardown(hints, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
