/* The CUDA text of representative kernels, themselves from text: which threads run what, where
 * barriers stand, where locals live, and that nothing but plain CUDA C and the prelude's functions
 * is in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "codegen/cuda/text/text.h"
#include "tests/unit/kernel_run.h"

typedef struct Fixture {
    Context context;
    Boundary boundary;
    Arena arena;
    Machine machine;
    Str text;
    CudaTextInfo info;
} Fixture;

static void open_fixture(Fixture *f) {
    memset(f, 0, sizeof(*f));
    context_init(&f->context, NULL, &f->boundary);
    arena_init(&f->arena, NULL, &f->boundary);
    f->machine = (Machine){.target = "cuda",
                           .name = "sm_90",
                           .threads = 256,
                           .lanes = 32,
                           .shared_bytes = 227 * 1024,
                           .shared_plain = 44 * 1024,
                           .architecture = 90,
                           .has_bf16 = true,
                           .tile_rows_f32 = 64,
                           .tile_columns_f32 = 64,
                           .tile_rows_f64 = 32,
                           .tile_columns_f64 = 32};
    str_init(&f->text, NULL);
}

static void close_fixture(Fixture *f) {
    str_finish(&f->text);
    arena_finish(&f->arena);
    context_finish(&f->context);
}

static int count_of(const char *text, const char *part) {
    int count = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part)) {
        count++;
    }
    return count;
}

static const char *write_kernel(Fixture *f, const Kernel *kernel) {
    static const char *const forbidden[] = {"asm",    "__shfl",    "__shared__", "__syncthreads",
                                            "float4", "threadIdx", "blockIdx",   "#include"};
    assert_non_null(kernel);
    str_clear(&f->text);
    cuda_text_kernel(&f->machine, kernel, "k", &f->text, &f->info);
    assert_false(f->text.failed);
    const char *text = str_text(&f->text);
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
        assert_null(strstr(text, forbidden[i]));
    }
    assert_int_equal(count_of(text, "{"), count_of(text, "}"));
    assert_int_equal(count_of(text, "("), count_of(text, ")"));
    return text;
}

static void assert_has(const char *text, const char *part) {
    if (!strstr(text, part)) {
        fail_msg("not found: %s\nin:\n%s", part, text);
    }
}

static void assert_before(const char *text, const char *first, const char *second) {
    const char *at = strstr(text, first);
    if (!at || !strstr(at, second)) {
        fail_msg("%s is not before %s in:\n%s", first, second, text);
    }
}

static const char *write_text(Fixture *f, const char *kernel) {
    return write_kernel(f, run_parse(&f->context, &f->arena, "%s", kernel));
}

/* -- elementwise: a nest is flattened over the threads, no barrier */
static void elementwise(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    const char *text = write_text(&f, "kernel \"elementwise\" (b0: bf16, b1: bf16 written) {\n"
                                      "  each %0 in 0..20 {\n"
                                      "    vector %1 in 0..96 {\n"
                                      "      b1[((%0 * 96) + %1)] = exp(b0[((%0 * 96) + %1)])\n"
                                      "    }\n"
                                      "  }\n"
                                      "}\n");
    assert_has(text, "extern \"C\" __global__ __launch_bounds__(256");
    assert_has(text, "void k(long long tiles, const unsigned short *b0, unsigned short *b1) {");
    assert_has(text, "for (int item_0 = thread; item_0 < 20 * 96; item_0 += 256) {");
    assert_has(text, "= dlc_small_div(item_0, 96);");
    assert_has(text, "dlc_f32_to_bf16(dlc_exp_f32(dlc_bf16_to_f32(b0[");
    assert_null(strstr(text, "dlc_sync"));
    assert_int_equal(f.info.threads, 256);
    assert_int_equal(f.info.shared_bytes, 0);
    assert_false(f.info.has_faults);
    close_fixture(&f);
}

/* -- a long loop: sixteen bytes at a time where addresses allow, halves eight and floats twice four
 */
static void wide(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    /* b1 is read at every other element: one by one */
    const char *text = write_text(&f, "kernel \"wide\" (b0: bf16, b1: f32, b2: f32 written) {\n"
                                      "  vector %0 in 0..5003 {\n"
                                      "    let %1: f32 = b0[(%0 + 8)]\n"
                                      "    b2[%0] = add(%1, b1[(%0 * 2)])\n"
                                      "  }\n"
                                      "}\n");
    assert_has(text, "if (dlc_is_aligned(&b0[(v_0 + 8)]) && dlc_is_aligned(&b2[v_0])) {");
    assert_has(text, "stop_0 += (5003 - v_0) / 8 * 8;");
    assert_has(text, "w0[0] = dlc_load_u16x8(&b0[(v_0 + 8)]);");
    assert_has(text, "dlc_bf16_to_f32(w0[e / 8].v[e % 8])");
    assert_has(text, "+ b1[(v_0 * 2)]");
    assert_has(text, "dlc_store_f32x4(&b2[v_0 + 4], w1[1]);");
    assert_has(text, "for (long long v_0 = stop_0 + thread; v_0 < 5003; v_0 += 256) {");
    close_fixture(&f);
}

/* -- rows: one to a warp; its cache of the row is the warp's own */
static const Kernel *make_rows(Fixture *f, int length) {
    return run_parse(&f->context, &f->arena,
                     "kernel \"rows\" (b0: f32, b1: f32 written) {\n"
                     "  local l0 row: f32*%d\n"
                     "  each %%0 in 0..40 {\n"
                     "    set %%3: f32 = -1e30:f32\n"
                     "    vector %%1 in 0..%d {\n"
                     "      l0[%%1] = b0[((%%0 * %d) + %%1)]\n"
                     "      set %%3: f32 = max(%%3, b0[((%%0 * %d) + %%1)])\n"
                     "    }\n"
                     "    vector %%2 in 0..%d {\n"
                     "      b1[((%%0 * %d) + %%2)] = sub(l0[sub(%d, %%2)], %%3)\n"
                     "    }\n"
                     "  }\n"
                     "}\n",
                     length, length, length, length, length, length, length - 1);
}

static void rows(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    const char *text = write_kernel(&f, make_rows(&f, 100));
    assert_has(text, "for (long long v_0 = warp; v_0 < 40; v_0 += 8) {");
    assert_has(text, "for (long long v_1 = lane; v_1 < 100; v_1 += 32) {");
    assert_has(text, "row_l0_warp = (float *)(dlc_shared() + 0) + warp * 100");
    assert_has(text, "v_3 = dlc_max_f32(v_3, dlc_warp_max_f32(v_3_part));");
    /* the second loop reads what other lanes wrote, the next row overwrites it */
    assert_before(text, "dlc_warp_max_f32", "dlc_sync_warp();");
    assert_int_equal(count_of(text, "dlc_sync_warp();"), 2);
    assert_null(strstr(text, "dlc_sync();"));
    assert_true(f.info.shared_bytes >= 8 * 100 * 4);
    close_fixture(&f);
}

/* -- long rows: the whole block, with one barrier a reduction */
static void long_rows(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    const char *text = write_kernel(&f, make_rows(&f, 5000));
    assert_has(text, "for (long long v_1 = thread; v_1 < 5000; v_1 += 256) {");
    assert_before(text, "dlc_slot_put_f32(slots + 0, dlc_warp_max_f32(v_3_part));", "dlc_sync();");
    assert_has(text, "v_3 = dlc_max_f32(v_3, dlc_slot_max_f32(slots + 0, 8));");
    assert_null(strstr(text, "dlc_sync_warp();"));
    close_fixture(&f);
}

/* -- short rows: one to a thread, everything inside in order */
static void short_rows(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    const char *text = write_kernel(&f, make_rows(&f, 6));
    assert_has(text, "for (long long v_0 = thread; v_0 < 40; v_0 += 256) {");
    assert_has(text, "for (long long v_1 = 0; v_1 < 6; v_1++) {");
    assert_has(text, "row_l0_thread[(v_1) * 256] = ");
    assert_null(strstr(text, "dlc_sync"));
    assert_int_equal(f.info.shared_bytes, 6 * 256 * 4);
    close_fixture(&f);
}

/* -- a local too large for shared memory is in the block's scratch */
static void scratch(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    f.machine.shared_bytes = 16 * 1024;
    const char *text = write_kernel(&f, make_rows(&f, 5000));
    assert_has(text, ", unsigned char *scratch) {");
    assert_has(text, "row_l0 = (float *)(scratch + dlc_block() * 20096ll + 0);");
    assert_int_equal(f.info.scratch_bytes, 20096);
    close_fixture(&f);
}

/* -- a contraction over steps of the depth: panels shared, sums in registers */
static const Kernel *make_contraction(Fixture *f, DType panel) {
    const char *type = dtype_name(panel);
    return run_parse(&f->context, &f->arena,
                     "kernel \"contraction\" (b0: %s, b1: %s, b2: f32 written) {\n"
                     "  tiles 4\n"
                     "  local l0 c: f32*4096\n"
                     "  local l1 a: %s*1024\n"
                     "  local l2 b: %s*1024\n"
                     "  grid %%0 in 0..4 {\n"
                     "    vector %%2 in 0..4096 {\n"
                     "      l0[%%2] = 0.0:f32\n"
                     "    }\n"
                     "    for %%1 in 0..9 {\n"
                     "      vector %%3 in 0..1024 {\n"
                     "        l1[%%3] = b0[((%%1 * 1024) + %%3)]\n"
                     "      }\n"
                     "      vector %%4 in 0..1024 {\n"
                     "        l2[%%4] = b1[((%%1 * 1024) + %%4)]\n"
                     "      }\n"
                     "      contract l0[0 by 64] += l1[0] * l2[0] depth 16\n"
                     "    }\n"
                     "    vector %%5 in 0..4096 {\n"
                     "      b2[((%%0 * 4096) + %%5)] = l0[%%5]\n"
                     "    }\n"
                     "  }\n"
                     "}\n",
                     type, type, type, type);
}

static void contraction(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    const char *text = write_kernel(&f, make_contraction(&f, DT_F32));
    /* four stages of 8 KiB panels fit; the sums begin from zeros that are not stored, and their
     * tile lies where the panels lay */
    assert_before(text, "float sum_", "for (int ahead = 0; ahead < steps_1 + 3; ahead++) {");
    assert_before(text, "dlc_copy_wait_2();", "dlc_copy4_async(&a_l1[dlc_exchange(");
    assert_has(text, "float *const a_l1 = a_l1_stages + (ahead) % 4 * 1024;");
    assert_has(text, "float *const a_l1_stages = (float *)(dlc_shared() + 0);");
    assert_has(text, "float *const c_l0 = (float *)(dlc_shared() + 0);");
    assert_int_equal(count_of(text, "c_l0["), 2);
    assert_has(text, "dlc_fma_f32(x[i], y[j], sum_");
    assert_has(text, "dlc_load_f32x4(&a_l1[dlc_exchange(");
    /* before the first panels, which lie where the last tile's sums lay, in every step, and around
     * the sums */
    assert_int_equal(count_of(text, "dlc_sync();"), 4);
    close_fixture(&f);
}

static void fragments(void **state) {
    (void)state;
    static const struct {
        DType panel;
        int32_t architecture;
        const char *part;
    } rows_[] = {
        {DT_BF16, 90, "dlc_mma_bf16(sum_"},
        {DT_F16, 90, "dlc_mma_f16(sum_"},
        {DT_F16, 75, "dlc_mma_f16(sum_"},
        {DT_BF16, 75, "dlc_fma_f32(x[i], y[j]"},
    };
    for (size_t i = 0; i < sizeof(rows_) / sizeof(rows_[0]); i++) {
        Fixture f;
        open_fixture(&f);
        f.machine.architecture = rows_[i].architecture;
        const char *text = write_kernel(&f, make_contraction(&f, rows_[i].panel));
        assert_has(text, rows_[i].part);
        assert_has(text, "unsigned short *const a_l1 = ");
        close_fixture(&f);
    }
}

/* -- scatter: what one loop wrote, another reads elsewhere */
static void scatter(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    /* the second loop meets the same elements again: each thread its own */
    const char *text =
        write_text(&f, "kernel \"scatter\" (b0: i32, b1: i32 written) {\n"
                       "  tiles 4\n"
                       "  grid %0 in 0..4 {\n"
                       "    vector %1 in 0..64 {\n"
                       "      b1[%1] = b0[%1]\n"
                       "    }\n"
                       "    vector %3 in 0..64 {\n"
                       "      b1[%3] = add(b1[%3], b1[%3])\n"
                       "    }\n"
                       "    for %2 in 0..50 {\n"
                       "      b1[cast.i64(b0[%2])] = add(b1[cast.i64(b0[%2])], b0[%2])\n"
                       "    }\n"
                       "  }\n"
                       "}\n");
    assert_int_equal(count_of(text, "dlc_sync();"), 1);
    assert_before(text, "dlc_sync();", "if (thread == 0) {");
    assert_has(text, "b1[(long long)b0[v_2]] = dlc_add_i32(b1[(long long)b0[v_2]], b0[v_2]);");
    close_fixture(&f);
}

/* -- in-order code over a local: one thread does all of it, and the others wait */
static void in_order(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    const char *text = write_text(&f, "kernel \"sort\" (b0: f32, b1: f32 written) {\n"
                                      "  local l0 keys: f32*32\n"
                                      "  vector %0 in 0..32 {\n"
                                      "    l0[%0] = b0[%0]\n"
                                      "  }\n"
                                      "  for %1 in 0..31 {\n"
                                      "    if gt(l0[%1], l0[(%1 + 1)]) {\n"
                                      "      let %3: f32 = l0[%1]\n"
                                      "      l0[%1] = l0[(%1 + 1)]\n"
                                      "      l0[(%1 + 1)] = %3\n"
                                      "    }\n"
                                      "  }\n"
                                      "  vector %2 in 0..32 {\n"
                                      "    b1[%2] = l0[%2]\n"
                                      "  }\n"
                                      "}\n");
    assert_before(text, "dlc_sync();", "if (thread == 0) {");
    assert_int_equal(count_of(text, "if (thread == 0) {"), 1);
    assert_has(text, "if ((keys_l0[v_1] > keys_l0[(v_1 + 1)])) {");
    /* after filling and after sorting; the next tile fills what the same threads read */
    assert_int_equal(count_of(text, "dlc_sync();"), 2);
    close_fixture(&f);
}

static void faults(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    const char *text = write_text(&f, "kernel \"gather\" (b0: i32, b1: i32 written) {\n"
                                      "  vector %0 in 0..99 {\n"
                                      "    let %1: i32 = b0[%0]\n"
                                      "    fault if ge(%1, 10:i32) site 6 value %1 bound 10\n"
                                      "    b1[%0] = %1\n"
                                      "  }\n"
                                      "}\n");
    assert_has(text, ", DlcFault *fault) {");
    assert_has(text, "dlc_fault_set(fault, 6, (long long)v_1, 10);");
    assert_true(f.info.has_faults);
    close_fixture(&f);
}

/* -- every scalar operation of every type it takes has text */
static void operations(void **state) {
    (void)state;
    static const DType types[] = {DT_F32, DT_F64, DT_I64, DT_I32, DT_I8, DT_U8, DT_BOOL};
    for (int op = 0; op < OP_N_SCALAR; op++) {
        const OpInfo *info = op_info((OpCode)op);
        for (size_t d = 0; d < sizeof(types) / sizeof(types[0]); d++) {
            DType dtype = types[d];
            bool taken = info->scalar_class == CLASS_ANY ||
                         (dtype_is_float(dtype) && info->scalar_class <= CLASS_NUMBER) ||
                         (dtype_is_integer(dtype) && (info->scalar_class == CLASS_NUMBER ||
                                                      info->scalar_class == CLASS_INTEGER)) ||
                         (dtype == DT_BOOL && info->scalar_class == CLASS_BOOL);
            if (!taken) {
                continue;
            }
            Fixture f;
            open_fixture(&f);
            bool is_bool = info->scalar_result == RESULT_BOOL;
            const char *operands = op == OP_select         ? "ne(b0[%0], b0[1]), b0[%0], b0[%0]"
                                   : info->n_operands == 2 ? "b0[%0], b0[%0]"
                                                           : "b0[%0]";
            const Kernel *kernel = run_parse(
                &f.context, &f.arena,
                "kernel \"operation\" (b0: %s, b1: %s written) {\n"
                "  vector %%0 in 0..9 {\n"
                "    b1[%%0] = %s(%s)\n"
                "  }\n"
                "}\n",
                dtype_name(dtype), is_bool ? "bool" : dtype_name(dtype), info->name, operands);
            const char *text = write_kernel(&f, kernel);
            assert_null(strchr(text, '%') && strstr(text, "%0") ? text : NULL);
            /* each function it names is in the prelude */
            for (const char *at = strstr(text, "dlc_"); at; at = strstr(at + 1, "dlc_")) {
                char name[64];
                size_t n = strcspn(at, "( ;");
                assert_true(n < sizeof(name) - 1);
                memcpy(name, at, n);
                name[n] = 0;
                if (!strstr(cuda_prelude_text, name)) {
                    fail_msg("the prelude has no %s", name);
                }
            }
            close_fixture(&f);
        }
    }
}

/* -- loops that seem wide: an index that grows by two, a buffer that the loop writes itself */
static void not_wide(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    const char *text = write_text(&f, "kernel \"twice\" (b0: f32, b1: f32, b2: f32 written) {\n"
                                      "  vector %0 in 0..5003 {\n"
                                      "    b2[%0] = add(b0[%0], b1[(%0 + %0)])\n"
                                      "  }\n"
                                      "}\n");
    assert_has(text, "dlc_load_f32x4(&b0[v_0");
    assert_null(strstr(text, "dlc_load_f32x4(&b1"));
    text = write_text(&f, "kernel \"written\" (b0: f32, b1: f32 written, b2: f32 written) {\n"
                          "  vector %0 in 0..5003 {\n"
                          "    b2[%0] = add(b0[%0], b1[%0])\n"
                          "  }\n"
                          "  b1[0] = b0[0]\n"
                          "}\n");
    assert_null(strstr(text, "dlc_load_f32x4("));
    close_fixture(&f);
}

/* -- divisions of indices: in 32 bits where both operands are sure to fit them */
static void index_bits(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    static const char form[] = "kernel \"bits\" (b0: i64 written) {\n"
                               "  vector %%0 in 0..%s {\n"
                               "    b0[0] = floordiv(%s, 7)\n"
                               "  }\n"
                               "}\n";
    static const struct {
        const char *end, *index, *has;
    } cases[] = {
        {"2147483648", "%0", "dlc_small_div("},
        {"2147483649", "%0", "dlc_index_div("},
        {"65536", "(%0 * 32767)", "dlc_small_div("},
        {"65537", "(%0 * 32768)", "dlc_index_div("},
        {"65536", "(%0 * 65535)", "dlc_index_div("},
        {"3000000000", "%0", "dlc_index_div("},
        {"2000000000", "(%0 + %0)", "dlc_index_div("},
        {"1000000000", "(%0 + %0)", "dlc_small_div("},
        {"9000000000", "mod(%0, 100)", "dlc_small_div(dlc_index_mod("},
        {"9000000000", "min(%0, 100)", "dlc_small_div("},
        {"9000000000", "max(%0, 100)", "dlc_index_div("},
        {"9000000000", "floordiv(%0, 100)", "dlc_small_div(dlc_index_div("},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const Kernel *kernel = run_parse(&f.context, &f.arena, form, cases[i].end, cases[i].index);
        assert_has(write_kernel(&f, kernel), cases[i].has);
    }
    close_fixture(&f);
}

/* -- numbers of the program: its own i64 wrap, the least of a type can be written in C, f64 is
 * rounded to 16 bits once */
static void numbers(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    const char *text = write_text(&f, "kernel \"wrap\" (b0: i64, b1: i64 written) {\n"
                                      "  vector %0 in 0..9 {\n"
                                      "    let %1: i64 = b0[%0]\n"
                                      "    b1[%0] = mul(add(%1, %1), sub(%1, 3))\n"
                                      "  }\n"
                                      "}\n");
    assert_has(text, "dlc_mul_i64(dlc_add_i64(");
    assert_has(text, "dlc_sub_i64(");
    text = write_text(&f, "kernel \"least\" (b0: i32 written, b1: i64 written) {\n"
                          "  vector %0 in 0..9 {\n"
                          "    b0[%0] = -2147483648:i32\n"
                          "    b1[%0] = -9223372036854775808:i64\n"
                          "  }\n"
                          "}\n");
    assert_has(text, "= (-2147483647 - 1);");
    assert_has(text, "= (-9223372036854775807ll - 1);");
    static const char *const halves[] = {"bf16", "f16"};
    for (int i = 0; i < 2; i++) {
        const Kernel *kernel = run_parse(&f.context, &f.arena,
                                         "kernel \"round\" (b0: f64, b1: %s written) {\n"
                                         "  vector %%0 in 0..9 {\n"
                                         "    b1[%%0] = cast.f32(cast.%s(b0[%%0]))\n"
                                         "  }\n"
                                         "}\n",
                                         halves[i], halves[i]);
        assert_has(write_kernel(&f, kernel), "dlc_f64_to_odd(");
    }
    close_fixture(&f);
}

/* -- what a loop's reduction begins with, in each type */
static void identities(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    static const struct {
        const char *op, *type, *begin;
    } cases[] = {
        {"add", "f32", "= 0.0f;"},
        {"mul", "f64", "= 1.0;"},
        {"max", "f32", "= (-dlc_f32_of_bits(0x7f800000));"},
        {"min", "f64", "= dlc_f64_of_bits(0x7ff0000000000000ll);"},
        {"max", "i32", "= (-2147483647 - 1);"},
        {"min", "i64", "= 9223372036854775807ll;"},
        {"max", "u8", "= 0;"},
        {"min", "i8", "= 127;"},
        {"or", "bool", "= false;"},
        {"and", "bool", "= true;"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const Kernel *kernel =
            run_parse(&f.context, &f.arena,
                      "kernel \"fold\" (b0: %s, b1: %s written) {\n"
                      "  set %%1 acc: %s = b0[0]\n"
                      "  vector %%0 in 0..4096 {\n"
                      "    set %%1 acc: %s = %s(%%1, b0[%%0])\n"
                      "  }\n"
                      "  b1[0] = %%1\n"
                      "}\n",
                      cases[i].type, cases[i].type, cases[i].type, cases[i].type, cases[i].op);
        assert_has(write_kernel(&f, kernel), cases[i].begin);
    }
    close_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elementwise), cmocka_unit_test(wide),       cmocka_unit_test(rows),
        cmocka_unit_test(long_rows),   cmocka_unit_test(short_rows), cmocka_unit_test(scratch),
        cmocka_unit_test(contraction), cmocka_unit_test(fragments),  cmocka_unit_test(scatter),
        cmocka_unit_test(in_order),    cmocka_unit_test(faults),     cmocka_unit_test(operations),
        cmocka_unit_test(not_wide),    cmocka_unit_test(index_bits), cmocka_unit_test(numbers),
        cmocka_unit_test(identities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
