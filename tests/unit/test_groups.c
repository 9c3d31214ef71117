/* Kernels that differ in lengths alone become one, and launches that depend on nothing of each
 * other are brought together: tables built by hand, looked at afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "codegen/schedule/state.h"
#include "tests/unit/kernel_run.h"

#include <string.h>

enum { BUFFERS = 12 };

typedef struct Fixture {
    Context context;
    Boundary boundary;
    Arena arena;
    Machine machine;
    Module *module;
    PlanWriter writer;
    TargetTables tables;
    KernelPool pool;
} Fixture;

static void open_fixture(Fixture *f) {
    memset(f, 0, sizeof(*f));
    context_init(&f->context, NULL, &f->boundary);
    arena_init(&f->arena, NULL, &f->boundary);
    f->machine = (Machine){.threads = 256, .merges_kernels = true, .group_words = 64};
    f->module = module_create(&f->context, "groups");
    plan_writer_init(&f->writer, &f->context, &f->arena);
    kernel_pool_init(&f->pool, &f->context, &f->arena);
}

static void close_fixture(Fixture *f) {
    arena_finish(&f->arena);
    context_finish(&f->context);
}

/* for i < length: b1[i * stride] = b0[i] */
static int32_t add_kernel(Fixture *f, int64_t length, int64_t stride) {
    Kernel *kernel = run_parse(&f->context, &f->arena,
                               "kernel \"k\" (b0: f32, b1: f32 written) {\n"
                               "  vector %%0 i in 0..%lld {\n"
                               "    b1[(%%0 * %lld)] = b0[%%0]\n"
                               "  }\n"
                               "}\n",
                               (long long)length, (long long)stride);
    assert_non_null(kernel);
    VEC_PUSH(&f->arena, &f->pool.kernels, kernel);
    PlanKernel record = {.n_buffers = 2, .hash = kernel_hash(kernel)};
    VEC_PUSH(&f->arena, &f->tables.kernels, record);
    return (int32_t)f->pool.kernels.count - 1;
}

static void add_launch(Fixture *f, int32_t kernel, int32_t from, int32_t to) {
    PlanCommand command = {.kind = PLAN_LAUNCH,
                           .kernel = kernel,
                           .first_ref = (int32_t)f->tables.refs.count,
                           .n_refs = 2,
                           .first_size = (int32_t)f->writer.sizes.count,
                           .match = -1,
                           .site = -1,
                           .library = -1,
                           .limit = (int64_t)f->tables.commands.count}; /* to know it again */
    PlanRef refs[2] = {{.buffer = from}, {.buffer = to}};
    VEC_PUSH(&f->arena, &f->tables.refs, refs[0]);
    VEC_PUSH(&f->arena, &f->tables.refs, refs[1]);
    VEC_PUSH(&f->arena, &f->tables.commands, command);
}

/* One entry of all commands; buffers live from their first to their last use. */
static void add_entry(Fixture *f, int64_t bytes) {
    PlanEntry entry = {.n_buffers = BUFFERS, .n_commands = (int32_t)f->tables.commands.count};
    for (int32_t b = 0; b < BUFFERS; b++) {
        PlanBuffer buffer = {
            .kind = b < 2 ? PLAN_BUFFER_ARG : PLAN_BUFFER_ARENA,
            .bytes = plan_writer_size(&f->writer, size_const(&f->context, bytes)),
            .birth = -1,
        };
        for (size_t i = 0; i < f->tables.commands.count; i++) {
            for (int32_t r = 0; r < 2; r++) {
                if (f->tables.refs.items[f->tables.commands.items[i].first_ref + r].buffer == b) {
                    buffer.birth = buffer.birth < 0 ? (int64_t)i : buffer.birth;
                    buffer.death = (int64_t)i;
                }
            }
        }
        buffer.birth = buffer.birth < 0 ? 0 : buffer.birth;
        VEC_PUSH(&f->arena, &f->tables.buffers, buffer);
    }
    VEC_PUSH(&f->arena, &f->tables.entries, entry);
}

static void group(Fixture *f) {
    schedule_group(f->module, &f->machine, &f->writer, &f->tables, &f->pool);
}

/* The old number of the command that now stands at `at`, and whether it joins the one before. */
static void assert_command(const Fixture *f, int32_t at, int64_t old, bool grouped) {
    const PlanCommand *command = &f->tables.commands.items[at];
    assert_int_equal(command->limit, old);
    assert_int_equal((command->flags & PLAN_COMMAND_GROUPED) != 0, grouped);
}

static void check_merge(Fixture *f) {
    int32_t a = add_kernel(f, 1000, 3), b = add_kernel(f, 5000, 3);
    int32_t c = add_kernel(f, 1000, 4), d = add_kernel(f, 70000, 3);
    add_launch(f, a, 0, 2);
    add_launch(f, b, 0, 3);
    add_launch(f, c, 0, 4);
    add_launch(f, d, 0, 5);
    schedule_merge(&f->writer, &f->tables, &f->pool);
    /* a, b and d are one; the stride of c is a small constant, which stays */
    assert_int_equal(f->pool.kernels.count, 2);
    assert_int_equal(f->tables.kernels.count, 2);
    const Kernel *kernel = f->pool.kernels.items[0];
    assert_int_equal(kernel->n_sizes, 1);
    assert_int_equal(f->tables.kernels.items[0].n_sizes, 1);
    assert_int_equal(kernel->body->as.loop.end->kind, KE_SIZE);
    int64_t most = 0;
    assert_true(size_is_const(kernel->sizes[0], &most));
    assert_int_equal(most, 70000);
    static const int64_t lengths[] = {1000, 5000, 0, 70000};
    for (int i = 0; i < 4; i++) {
        const PlanCommand *command = &f->tables.commands.items[i];
        assert_int_equal(command->kernel, i == 2 ? 1 : 0);
        assert_int_equal(command->n_sizes, i == 2 ? 0 : 1);
        if (i != 2) {
            PlanProgram program = f->writer.sizes.items[command->first_size];
            int64_t value = 0;
            assert_true(program_eval(f->writer.programs.items + program.first, program.count, NULL,
                                     0, &value));
            assert_int_equal(value, lengths[i]);
        }
    }
    assert_int_equal(f->pool.kernels.items[1]->n_sizes, 0);
}

static void check_brought_together(Fixture *f) {
    int32_t a = add_kernel(f, 1000, 1), b = add_kernel(f, 10, 1);
    add_launch(f, a, 0, 2); /* 0 */
    add_launch(f, b, 2, 3); /* 1: of what 0 gave */
    add_launch(f, a, 0, 4); /* 2: free */
    add_launch(f, a, 3, 5); /* 3: of what 1 gave */
    add_launch(f, a, 0, 6); /* 4: free */
    add_launch(f, a, 0, 2); /* 5: writes over what 1 reads */
    add_entry(f, 0);
    group(f);
    assert_command(f, 0, 0, false);
    assert_command(f, 1, 2, true);
    assert_command(f, 2, 4, true);
    assert_command(f, 3, 1, false);
    assert_command(f, 4, 3, false);
    assert_command(f, 5, 5, true); /* independent of 3 once 1 is done */
    const Kernel *kernel = f->pool.kernels.items[a];
    assert_true(kernel->group >= 2);
    assert_int_equal(kernel->common, 0); /* 3 and 5 read different buffers */
    assert_int_equal(f->pool.kernels.items[b]->group, 0);
    /* All that a group needs lives while any of it runs. */
    const PlanBuffer *buffers = f->tables.buffers.items;
    assert_int_equal(buffers[2].birth, 0);
    assert_int_equal(buffers[4].birth, 0);
    assert_int_equal(buffers[4].death, 2);
    assert_int_equal(buffers[6].birth, 0);
    assert_int_equal(buffers[6].death, 2);
    assert_int_equal(buffers[3].birth, 3);
    assert_int_equal(buffers[3].death, 5);
}

static void check_common(Fixture *f) {
    int32_t a = add_kernel(f, 1000, 1);
    for (int32_t i = 0; i < 4; i++) {
        add_launch(f, a, 0, 2 + i);
    }
    add_entry(f, 0);
    group(f);
    const Kernel *kernel = f->pool.kernels.items[a];
    assert_int_equal(kernel->common, 1);
    assert_int_equal(kernel->group, (64 - 1) / 2); /* a first tile and a buffer for each */
}

/* Two chains of large temporaries: side by side they would need twice the memory. */
static void check_peak(Fixture *f) {
    int32_t a = add_kernel(f, 1000, 1), b = add_kernel(f, 10, 1);
    for (int32_t i = 0; i < 4; i++) {
        add_launch(f, a, 0, 2 + i);
        add_launch(f, b, 2 + i, 1);
    }
    add_entry(f, 1 << 20);
    group(f);
    for (int32_t i = 0; i < 8; i++) {
        assert_command(f, i, i, false);
    }
    assert_int_equal(f->pool.kernels.items[a]->group, 0);
}

static void check_in_the_way(Fixture *f) {
    int32_t a = add_kernel(f, 1000, 1);
    add_launch(f, a, 0, 2);
    add_launch(f, a, 0, 3);
    PlanCommand barrier = {.kind = PLAN_BARRIER, .kernel = -1, .library = -1, .limit = 2};
    VEC_PUSH(&f->arena, &f->tables.commands, barrier);
    add_launch(f, a, 0, 4);
    add_launch(f, a, 0, 5);
    f->tables.commands.items[4].library = 0;
    PlanLibrary library = {0};
    VEC_PUSH(&f->arena, &f->tables.libraries, library);
    add_launch(f, a, 0, 6);
    PlanEntry entry = {.n_buffers = BUFFERS, .n_commands = 6};
    PlanBuffer buffer = {.kind = PLAN_BUFFER_ARG};
    buffer.bytes = plan_writer_size(&f->writer, size_const(&f->context, 4));
    for (int32_t i = 0; i < BUFFERS; i++) {
        VEC_PUSH(&f->arena, &f->tables.buffers, buffer);
    }
    VEC_PUSH(&f->arena, &f->tables.entries, entry);
    group(f);
    for (int32_t i = 0; i < 6; i++) {
        assert_command(f, i, i, i == 1);
    }
}

/* Numbers that agree in all kernels are one parameter, not those that agree in the first alone. */
static void check_merge_numbers(Fixture *f) {
    int32_t a = add_kernel(f, 1000, 1000), b = add_kernel(f, 5000, 7000);
    add_launch(f, a, 0, 2);
    add_launch(f, b, 0, 3);
    schedule_merge(&f->writer, &f->tables, &f->pool);
    assert_int_equal(f->pool.kernels.count, 1);
    assert_int_equal(f->pool.kernels.items[0]->n_sizes, 2);
    assert_int_equal(f->tables.commands.items[0].n_sizes, 2);
}

static void check_merge_agreeing(Fixture *f) {
    int32_t a = add_kernel(f, 1000, 1000), b = add_kernel(f, 5000, 5000);
    add_launch(f, a, 0, 2);
    add_launch(f, b, 0, 3);
    schedule_merge(&f->writer, &f->tables, &f->pool);
    assert_int_equal(f->pool.kernels.count, 1);
    assert_int_equal(f->pool.kernels.items[0]->n_sizes, 1);
}

/* for i < s0: …, a size that is `size`, so many apart. */
static int32_t add_sized_kernel(Fixture *f, int64_t size, int64_t stride) {
    int32_t number = add_kernel(f, 9, stride);
    Kernel *kernel = f->pool.kernels.items[number];
    KExpr *end = ARENA_NEW(&f->arena, KExpr);
    *end = (KExpr){.kind = KE_SIZE, .dtype = DT_I64};
    kernel->body->as.loop.end = end;
    kernel->n_sizes = 1;
    kernel->sizes = ARENA_ARRAY(&f->arena, const Size *, 1);
    kernel->sizes[0] = size_const(&f->context, size);
    return number;
}

/* What the backend may take for granted of a size, that it is not negative, holds in both or they
 * are two. */
static void check_merge_signs(Fixture *f) {
    int32_t a = add_sized_kernel(f, 70, 1000), b = add_sized_kernel(f, -70, 5000);
    int32_t c = add_sized_kernel(f, 90, 6000);
    add_launch(f, a, 0, 2);
    add_launch(f, b, 0, 3);
    add_launch(f, c, 0, 4);
    f->tables.commands.items[0].n_sizes = f->tables.commands.items[2].n_sizes = 0;
    schedule_merge(&f->writer, &f->tables, &f->pool);
    assert_int_equal(f->pool.kernels.count, 2);
    assert_int_equal(f->tables.commands.items[0].kernel, f->tables.commands.items[2].kernel);
    assert_int_not_equal(f->tables.commands.items[0].kernel, f->tables.commands.items[1].kernel);
}

/* What a command in between reads is not written before it. */
static void check_reader_in_between(Fixture *f) {
    int32_t a = add_kernel(f, 1000, 1), b = add_kernel(f, 10, 1);
    add_launch(f, a, 0, 2);
    add_launch(f, b, 5, 3);
    add_launch(f, a, 0, 5); /* writes over what 1 reads */
    add_launch(f, a, 0, 4); /* free */
    add_entry(f, 0);
    group(f);
    assert_command(f, 0, 0, false);
    assert_command(f, 1, 3, true);
    assert_command(f, 2, 1, false);
    assert_command(f, 3, 2, false);
}

/* A buffer whose last reader moves up lives on for one that is now behind, to the end of its group.
 */
static void check_lives(Fixture *f) {
    int32_t a = add_kernel(f, 1000, 1), b = add_kernel(f, 10, 1);
    add_launch(f, a, 0, 2);
    add_launch(f, b, 6, 3);
    add_launch(f, a, 6, 4); /* moves up */
    add_launch(f, b, 0, 5); /* moves up, beside 1 */
    add_entry(f, 0);
    group(f);
    assert_command(f, 1, 2, true);
    assert_command(f, 2, 1, false);
    assert_command(f, 3, 3, true);
    assert_int_equal(f->tables.buffers.items[6].birth, 0);
    assert_int_equal(f->tables.buffers.items[6].death, 3);
}

/* Common to all groups of a kernel, not to its last one alone. */
static void check_common_to_all(Fixture *f) {
    int32_t a = add_kernel(f, 1000, 1), b = add_kernel(f, 10, 1);
    add_launch(f, a, 0, 2);
    add_launch(f, a, 1, 3);
    add_launch(f, b, 2, 4);
    add_launch(f, a, 4, 5);
    add_launch(f, a, 4, 6);
    add_entry(f, 0);
    group(f);
    assert_command(f, 1, 1, true);
    assert_command(f, 4, 4, true);
    assert_int_equal(f->pool.kernels.items[a]->common, 0);
}

/* -- each with tables of its own */
static void with_fixture(void (*check)(Fixture *f)) {
    Fixture f;
    open_fixture(&f);
    if (setjmp(f.boundary.jump)) {
        fail_msg("left through the boundary");
    }
    check(&f);
    close_fixture(&f);
}

static void test_merge(void **state) {
    (void)state;
    with_fixture(check_merge);
}

static void test_brought_together(void **state) {
    (void)state;
    with_fixture(check_brought_together);
}

static void test_common(void **state) {
    (void)state;
    with_fixture(check_common);
}

static void test_peak(void **state) {
    (void)state;
    with_fixture(check_peak);
}

static void test_in_the_way(void **state) {
    (void)state;
    with_fixture(check_in_the_way);
}

static void test_merge_numbers(void **state) {
    (void)state;
    with_fixture(check_merge_numbers);
    with_fixture(check_merge_agreeing);
}

static void test_merge_signs(void **state) {
    (void)state;
    with_fixture(check_merge_signs);
}

static void test_reader_in_between(void **state) {
    (void)state;
    with_fixture(check_reader_in_between);
}

static void test_lives(void **state) {
    (void)state;
    with_fixture(check_lives);
}

static void test_common_to_all(void **state) {
    (void)state;
    with_fixture(check_common_to_all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),       cmocka_unit_test(test_brought_together),
        cmocka_unit_test(test_common),      cmocka_unit_test(test_peak),
        cmocka_unit_test(test_in_the_way),  cmocka_unit_test(test_merge_numbers),
        cmocka_unit_test(test_merge_signs), cmocka_unit_test(test_reader_in_between),
        cmocka_unit_test(test_lives),       cmocka_unit_test(test_common_to_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
