/* The plan file: written, read back, laid out, walked; and every kind of damage refused with the
 * file's name and an offset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/plain_allocator.h"
#include "tests/unit/plan_sample.h"

#include <stdio.h>
#include <zlib.h>

typedef struct Fixture {
    dlc_context *context;
    uint8_t *bytes;
    size_t n_bytes;
} Fixture;

/* Lies may ask for any size: where malloc fills what it gives, that takes minutes and the machine's
 * memory. */
static void *bounded_alloc(void *user, size_t bytes) {
    (void)user;
    return bytes <= (size_t)1 << 30 ? malloc(bytes) : NULL;
}

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof(*f));
    const dlc_allocator allocator = {bounded_alloc, plain_free, NULL};
    const dlc_context_options hooks = {.struct_size = sizeof(hooks), .allocator = &allocator};
    assert_int_equal(dlc_context_create(&hooks, &f->context), DLC_OK);
    f->bytes = plan_sample(&f->n_bytes);
    assert_non_null(f->bytes);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    dlc_context_destroy(f->context);
    free(f->bytes);
    free(f);
    return 0;
}

static dlc_plan *load(Fixture *f) {
    dlc_plan *plan = NULL;
    dlc_status status = dlc_plan_load_memory(f->context, f->bytes, f->n_bytes, "a.plan", 0, &plan);
    if (status != DLC_OK) {
        fail_msg("%s", dlc_last_error(f->context));
    }
    return plan;
}

static void test_round_trip(void **state) {
    Fixture *f = *state;
    dlc_plan *plan = load(f);
    const void *bytes;
    size_t n_bytes;
    dlc_plan_bytes(plan, &bytes, &n_bytes);
    assert_int_equal(n_bytes, f->n_bytes);
    assert_memory_equal(bytes, f->bytes, n_bytes);
    assert_string_equal(dlc_plan_manifest(plan), "{}");
    assert_string_equal(dlc_plan_ir(plan), "module");
    assert_string_equal(dlc_plan_setting(plan, "batch"), "7");
    assert_null(dlc_plan_setting(plan, "none"));
    assert_string_equal(dlc_plan_parameter_text(plan), "4");
    assert_int_equal(dlc_plan_entry_count(plan), 1);
    dlc_entry_info entry = {.struct_size = sizeof(entry)};
    assert_int_equal(dlc_plan_entry(plan, 0, &entry), DLC_OK);
    assert_string_equal(entry.name, "sample.infer");
    assert_int_equal(entry.n_tensors, 3);
    dlc_tensor_info tensor = {.struct_size = sizeof(tensor)};
    assert_int_equal(dlc_plan_entry_tensor(plan, 0, 0, &tensor), DLC_OK);
    assert_string_equal(tensor.type, "f32[B, 4]");
    assert_int_equal(tensor.dims[0], -1);
    assert_int_equal(tensor.dims[1], 4);
    assert_int_equal(dlc_plan_entry_tensor(plan, 0, 3, &tensor), DLC_ERROR_NOT_FOUND);
    dlc_dim_info dim = {.struct_size = sizeof(dim)};
    assert_int_equal(dlc_plan_dim(plan, 0, &dim), DLC_OK);
    assert_int_equal(dim.high, 1000);
    char *text;
    assert_int_equal(dlc_plan_describe(plan, &text), DLC_OK);
    assert_non_null(strstr(text, "loop %5 times B"));
    assert_non_null(strstr(text, "or matmul f32 a f32%3 b f32%3 d f32%4 sizes 1, 1"));
    dlc_text_free(f->context, text);
    dlc_plan_destroy(plan);
}

static void test_save_is_the_same_file(void **state) {
    Fixture *f = *state;
    dlc_plan *plan = load(f), *again = NULL;
    char path[] = "plan_test_XXXXXX";
    assert_int_equal(dlc_plan_save(plan, path), DLC_OK);
    assert_int_equal(dlc_plan_load(f->context, path, 0, &again), DLC_OK);
    const void *bytes;
    size_t n_bytes;
    dlc_plan_bytes(again, &bytes, &n_bytes);
    assert_int_equal(n_bytes, f->n_bytes);
    assert_memory_equal(bytes, f->bytes, n_bytes);
    dlc_plan_destroy(again);
    dlc_plan_destroy(plan);
    remove(path);
    assert_int_equal(dlc_plan_load(f->context, "no/such.plan", 0, &again), DLC_ERROR_IO);
    assert_non_null(strstr(dlc_last_error(f->context), "no/such.plan"));
}

static void test_summary(void **state) {
    Fixture *f = *state;
    dlc_plan *plan = load(f);
    dlc_entry_summary by_default = {.struct_size = sizeof(by_default)},
                      bound = {.struct_size = sizeof(bound)};
    assert_int_equal(dlc_plan_summarize(plan, NULL, NULL, 0, &by_default), DLC_OK);
    dlc_dim_info dim = {.struct_size = sizeof(dim)};
    assert_int_equal(dlc_plan_dim(plan, 0, &dim), DLC_OK);
    const dlc_binding usual = {dim.name, dim.usual};
    assert_int_equal(dlc_plan_summarize(plan, NULL, &usual, 1, &bound), DLC_OK);
    assert_memory_equal(&bound, &by_default, sizeof(bound));
    dlc_binding seven = {"B", 7}, none = {"C", 1}, large = {"B", 1001};
    assert_int_equal(dlc_plan_summarize(plan, "sample.infer", &seven, 1, &bound), DLC_OK);
    assert_int_equal(by_default.arena_bytes, bound.arena_bytes);
    assert_int_equal(bound.persistent_bytes, 64);
    assert_int_equal(bound.input_bytes, 128); /* 7 * 4 * 4 = 112 */
    /* y 128, h 64, and h' with the index beside it */
    assert_int_equal(bound.arena_bytes, 128 + 64 + 64 + 64);
    assert_int_equal(dlc_plan_summarize(plan, NULL, &none, 1, &bound), DLC_ERROR_NOT_FOUND);
    assert_int_equal(dlc_plan_summarize(plan, NULL, &large, 1, &bound), DLC_ERROR_MISMATCH);
    assert_int_equal(dlc_plan_summarize(plan, "train", NULL, 0, &bound), DLC_ERROR_NOT_FOUND);
    dlc_plan_destroy(plan);
}

static void test_walk(void **state) {
    Fixture *f = *state;
    dlc_plan *plan = load(f);
    for (int64_t rows = 1; rows < 4; rows++) {
        dlc_session_options options = {
            .struct_size = sizeof(options), .device = "null", .poison = (int)(rows % 3)};
        dlc_session *session;
        assert_int_equal(dlc_session_create(plan, &options, &session), DLC_OK);
        float x[12], w[4] = {1, 2, 3, 4};
        for (int i = 0; i < 12; i++) {
            x[i] = (float)i;
        }
        int64_t shape[2] = {4, rows}, strides[2] = {1, 4}, four = 4;
        DLTensor tensor = {.data = x,
                           .device = {kDLCPU, 0},
                           .ndim = 2,
                           .dtype = {kDLFloat, 32, 1},
                           .shape = (int64_t[]){rows, 4},
                           .strides = strides};
        tensor.strides = (int64_t[]){4, 1};
        (void)shape;
        DLTensor weight = {.data = w,
                           .device = {kDLCPU, 0},
                           .ndim = 1,
                           .dtype = {kDLFloat, 32, 1},
                           .shape = &four};
        assert_int_equal(dlc_run(session, NULL), DLC_ERROR_NOT_FOUND);
        assert_int_equal(dlc_set_variable(session, "fc.weight", &weight), DLC_OK);
        assert_int_equal(dlc_set_input(session, NULL, "x", &tensor), DLC_OK);
        assert_int_equal(dlc_run(session, NULL), DLC_OK);
        const DLTensor *out;
        assert_int_equal(dlc_view_output(session, NULL, "y", &out), DLC_OK);
        assert_int_equal(out->shape[0], rows);
        assert_memory_equal(out->data, x, (size_t)rows * 16);
        assert_int_equal(dlc_view_variable(session, "fc.weight", &out), DLC_OK);
        assert_memory_equal(out->data, w, 16);
        dlc_session_destroy(session);
    }
    dlc_plan_destroy(plan);
}

static void expect_refused(Fixture *f, const uint8_t *bytes, size_t n_bytes, const char *what) {
    dlc_plan *plan = NULL;
    dlc_status status = dlc_plan_load_memory(f->context, bytes, n_bytes, "a.plan", 0, &plan);
    if (status == DLC_OK) {
        fail_msg("accepted: %s", what);
    }
    assert_null(plan);
    assert_non_null(strstr(dlc_last_error(f->context), "a.plan: offset "));
}

static void test_truncated(void **state) {
    Fixture *f = *state;
    for (size_t n = 0; n < f->n_bytes; n += n < 4096 ? 1 : 97) {
        expect_refused(f, f->bytes, n, "truncated");
    }
}

static void test_flipped(void **state) {
    Fixture *f = *state;
    uint8_t *copy = malloc(f->n_bytes);
    const PlanHeader *header = (const PlanHeader *)f->bytes;
    const PlanSection *sections = (const PlanSection *)(f->bytes + sizeof(*header));
    for (uint32_t i = 0; i < header->n_sections; i++) {
        for (uint64_t at = sections[i].offset; at < sections[i].offset + sections[i].size; at++) {
            memcpy(copy, f->bytes, f->n_bytes);
            copy[at] ^= 0x10;
            expect_refused(f, copy, f->n_bytes, "a flipped bit in a section");
        }
    }
    size_t head = sizeof(*header) + header->n_sections * sizeof(*sections);
    for (size_t at = 0; at < head; at++) {
        memcpy(copy, f->bytes, f->n_bytes);
        copy[at] ^= 1;
        expect_refused(f, copy, f->n_bytes, "a flipped bit in the header");
    }
    free(copy);
}

/* Recomputes all checksums: what a liar would do. */
static void reseal(uint8_t *bytes) {
    PlanHeader *header = (PlanHeader *)bytes;
    PlanSection *sections = (PlanSection *)(bytes + sizeof(*header));
    for (uint32_t i = 0; i < header->n_sections; i++) {
        sections[i].crc = (uint32_t)crc32(0, bytes + sections[i].offset, (uInt)sections[i].size);
    }
    header->table_crc = 0;
    size_t head = sizeof(*header) + header->n_sections * sizeof(*sections);
    header->table_crc = (uint32_t)crc32(0, bytes, (uInt)head);
}

static void use_somehow(Fixture *f, dlc_plan *plan) {
    dlc_entry_summary summary = {.struct_size = sizeof(summary)};
    (void)!dlc_plan_summarize(plan, NULL, NULL, 0, &summary);
    char *text;
    if (dlc_plan_describe(plan, &text) == DLC_OK) {
        dlc_text_free(f->context, text);
    }
    dlc_session_options options = {.struct_size = sizeof(options), .device = "null", .threads = 1};
    dlc_session *session;
    if (dlc_session_create(plan, &options, &session) == DLC_OK) {
        float x[28] = {0};
        DLTensor tensor = {.data = x,
                           .device = {kDLCPU, 0},
                           .ndim = 2,
                           .dtype = {kDLFloat, 32, 1},
                           .shape = (int64_t[]){7, 4}};
        (void)!dlc_set_input(session, NULL, "x", &tensor);
        (void)!dlc_run(session, NULL);
        dlc_session_destroy(session);
    }
}

/* Every 32-bit word of every table set to values that lie, checksums right: refused, or harmless.
 */
static void test_lying(void **state) {
    Fixture *f = *state;
    uint8_t *copy = malloc(f->n_bytes);
    const PlanHeader *header = (const PlanHeader *)f->bytes;
    const PlanSection *sections = (const PlanSection *)(f->bytes + sizeof(*header));
    const uint32_t lies[] = {0xffffffffu, 0x7fffffffu, 0x80000000u, 1000, 9};
    int refused = 0, accepted = 0;
    for (uint32_t i = 0; i < header->n_sections; i++) {
        if (sections[i].kind <= PLAN_IR) {
            continue;
        }
        for (uint64_t at = sections[i].offset; at + 4 <= sections[i].offset + sections[i].size;
             at += 4) {
            for (size_t k = 0; k < sizeof(lies) / sizeof(lies[0]); k++) {
                memcpy(copy, f->bytes, f->n_bytes);
                memcpy(copy + at, &lies[k], 4);
                reseal(copy);
                dlc_plan *plan = NULL;
                if (dlc_plan_load_memory(f->context, copy, f->n_bytes, "a.plan", 0, &plan) ==
                    DLC_OK) {
                    use_somehow(f, plan);
                    dlc_plan_destroy(plan);
                    accepted++;
                } else {
                    assert_non_null(strstr(dlc_last_error(f->context), "a.plan"));
                    refused++;
                }
            }
        }
    }
    assert_true(refused > 100);
    assert_true(accepted > 0);
    free(copy);
}

static PlanSection *section_of(uint8_t *bytes, uint32_t kind) {
    PlanSection *sections = (PlanSection *)(bytes + sizeof(PlanHeader));
    while (sections->kind != kind) {
        sections++;
    }
    return sections;
}

/* Every field of a library call, and of the command that names it. */
static void test_lying_libraries(void **state) {
    Fixture *f = *state;
    static const struct {
        size_t at; /* in PlanLibrary, or past it: in the launch */
        int32_t value;
        const char *what;
    } lies[] = {
        {offsetof(PlanLibrary, kind), PLAN_N_LIBRARY_KINDS, "a kind of no library"},
        {offsetof(PlanLibrary, kind), PLAN_LIBRARY_CONV, "a convolution with a matmul's sizes"},
        {offsetof(PlanLibrary, compute), -1, "no such type of sums"},
        {offsetof(PlanLibrary, epilogue), PLAN_N_EPILOGUES, "no such epilogue"},
        {offsetof(PlanLibrary, more), 1, "a call that stands for the end of a loop"},
        {offsetof(PlanLibrary, more), 1000, "a call that leaves the entry"},
        {offsetof(PlanLibrary, more), -1, "a call that stands for fewer than one"},
        {offsetof(PlanLibrary, refs), -1, "no operand a"},
        {offsetof(PlanLibrary, refs), 2, "an operand past the launch's"},
        {offsetof(PlanLibrary, dtypes), PLAN_N_DTYPES, "no such dtype"},
        {offsetof(PlanLibrary, first_size), INT32_MAX, "sizes outside their section"},
        {offsetof(PlanLibrary, n_sizes), 15, "a size too few"},
        {sizeof(PlanLibrary), 1, "a call outside its section"},
        {sizeof(PlanLibrary), -2, "a negative call"},
    };
    uint8_t *copy = malloc(f->n_bytes);
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        memcpy(copy, f->bytes, f->n_bytes);
        PlanCommand *launch = (PlanCommand *)(copy + section_of(copy, PLAN_COMMANDS)->offset) + 4;
        assert_int_equal(launch->kind, PLAN_LAUNCH);
        uint8_t *at = lies[i].at == sizeof(PlanLibrary)
                          ? (uint8_t *)&launch->library
                          : copy + section_of(copy, PLAN_LIBRARIES)->offset + lies[i].at;
        memcpy(at, &lies[i].value, sizeof(lies[i].value));
        reseal(copy);
        expect_refused(f, copy, f->n_bytes, lies[i].what);
    }
    memcpy(copy, f->bytes, f->n_bytes);
    PlanCommand *commands = (PlanCommand *)(copy + section_of(copy, PLAN_COMMANDS)->offset);
    commands[0].library = 0;
    reseal(copy);
    expect_refused(f, copy, f->n_bytes, "a copy by a library");
    free(copy);
}

/* A loop that swaps the memory of a row and of all rows, though its commands know the sizes: with
 * one row they are equal, with more the loop would leave the smaller one. */
static void test_lying_swap(void **state) {
    Fixture *f = *state;
    uint8_t *copy = malloc(f->n_bytes);
    memcpy(copy, f->bytes, f->n_bytes);
    PlanBuffer *buffers = (PlanBuffer *)(copy + section_of(copy, PLAN_BUFFERS)->offset);
    buffers[4].bytes = buffers[2].bytes;
    reseal(copy);
    dlc_plan *plan = NULL;
    dlc_entry_summary summary = {.struct_size = sizeof(summary)};
    dlc_binding one = {"B", 1}, two = {"B", 2};
    assert_int_equal(dlc_plan_load_memory(f->context, copy, f->n_bytes, "a.plan", 0, &plan),
                     DLC_OK);
    assert_int_equal(dlc_plan_summarize(plan, NULL, &one, 1, &summary), DLC_OK);
    assert_int_equal(dlc_plan_summarize(plan, NULL, &two, 1, &summary), DLC_ERROR_FORMAT);
    assert_non_null(strstr(dlc_last_error(f->context), "swaps buffers of 16 and 32 bytes"));
    dlc_plan_destroy(plan);
    free(copy);
}

static void test_lying_table(void **state) {
    Fixture *f = *state;
    uint8_t *copy = malloc(f->n_bytes);
    const PlanHeader *header = (const PlanHeader *)f->bytes;
    const uint64_t lies[] = {
        0, 1, 63, UINT64_MAX, UINT64_MAX - 63, (uint64_t)1 << 32, f->n_bytes, f->n_bytes + 64};
    for (uint32_t i = 0; i < header->n_sections; i++) {
        for (size_t field = 0; field < 3; field++) {
            for (size_t k = 0; k < sizeof(lies) / sizeof(lies[0]); k++) {
                memcpy(copy, f->bytes, f->n_bytes);
                PlanSection *section = (PlanSection *)(copy + sizeof(*header)) + i;
                uint64_t *fields[] = {(uint64_t *)(void *)section, &section->offset,
                                      &section->size};
                if (*fields[field] == lies[k] || (section->size == 0 && field == 1)) {
                    continue;
                }
                *fields[field] = lies[k];
                PlanHeader *changed = (PlanHeader *)copy;
                changed->table_crc = 0;
                size_t head = sizeof(*header) + header->n_sections * sizeof(PlanSection);
                changed->table_crc = (uint32_t)crc32(0, copy, (uInt)head);
                expect_refused(f, copy, f->n_bytes, "a lying section");
            }
        }
    }
    free(copy);
}

/* Each constant begins where a vector load may, whatever lies before it. */
static void test_constants(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 63, 8, 64, 65, 40, 4};
    static const int64_t places[] = {0, 64, 128, 192, 256, 384, 448};
    Boundary boundary = {.status = DLC_OK};
    Context context;
    Arena arena;
    PlanWriter writer;
    if (setjmp(boundary.jump) != 0) {
        fail_msg("left through the boundary");
    }
    context_init(&context, NULL, &boundary);
    arena_init(&arena, NULL, &boundary);
    plan_writer_init(&writer, &context, &arena);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t bytes[65];
        memset(bytes, (int)i + 1, sizeof(bytes));
        int64_t at = plan_writer_constant(&writer, bytes, sizes[i]);
        assert_int_equal(at, places[i]);
        assert_memory_equal(writer.constants.items + at, bytes, sizes[i]);
    }
    arena_finish(&arena);
    context_finish(&context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_save_is_the_same_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_summary, setup, teardown),
        cmocka_unit_test_setup_teardown(test_walk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flipped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lying, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lying_libraries, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lying_swap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lying_table, setup, teardown),
        cmocka_unit_test(test_constants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
