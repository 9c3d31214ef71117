/* The CUDA text of representative kernels, built by hand: which threads run what, where barriers
 * stand, where locals live, and that nothing but plain CUDA C and the prelude's functions is in it.
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
    arena_init(&f->arena, NULL, &f->boundary);
    f->machine = (Machine){.target = "cuda",
                           .name = "sm_90",
                           .threads = 256,
                           .lanes = 32,
                           .shared_bytes = 227 * 1024,
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
}

static int count_of(const char *text, const char *part) {
    int count = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part)) {
        count++;
    }
    return count;
}

static const char *write_text(Fixture *f, Kernel *kernel) {
    static const char *const forbidden[] = {"asm",    "__shfl",    "__shared__", "__syncthreads",
                                            "float4", "threadIdx", "blockIdx",   "#include"};
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

/* -- more nodes than kernel_run.h has */
static KStmt *let_stmt(Arena *arena, const KVar *var, const KExpr *value) {
    KStmt *stmt = x_set(arena, var, value);
    stmt->kind = KS_LET;
    return stmt;
}

static KStmt *local_store(Arena *arena, const KLocal *local, const KExpr *at, const KExpr *value) {
    KStmt *stmt = ARENA_NEW(arena, KStmt);
    stmt->kind = KS_LOCAL_STORE;
    stmt->as.local_store.array = local;
    stmt->as.local_store.at = at;
    stmt->as.local_store.value = value;
    return stmt;
}

static KStmt *if_stmt(Arena *arena, const KExpr *condition, KStmt *body) {
    KStmt *stmt = ARENA_NEW(arena, KStmt);
    stmt->kind = KS_IF;
    stmt->as.branch.condition = condition;
    stmt->as.branch.then = body;
    return stmt;
}

static KLocal *add_local(Arena *arena, Kernel *kernel, DType dtype, int64_t count,
                         const char *hint) {
    KLocal *local = ARENA_NEW(arena, KLocal);
    *local = (KLocal){.dtype = dtype, .count = count, .id = kernel->n_locals, .hint = hint};
    KLocal **grown = ARENA_ARRAY(arena, KLocal *, kernel->n_locals + 1);
    for (int32_t i = 0; i < kernel->n_locals; i++) {
        grown[i] = kernel->locals[i];
    }
    grown[kernel->n_locals++] = local;
    kernel->locals = grown;
    return local;
}

static const KExpr *add(Arena *arena, const KExpr *a, const KExpr *b) {
    return x_op(arena, OP_add, a->dtype, a, b);
}

static const KExpr *times(Arena *arena, const KExpr *a, int64_t factor) {
    return x_op(arena, OP_mul, DT_I64, a, x_int(arena, factor));
}

static void buffers(Kernel *kernel, int32_t n, DType dtype, int32_t written) {
    for (int32_t i = 0; i < n; i++) {
        kernel->buffers[i] = (KBuffer){dtype, i == written};
    }
}

/* grid: one loop of 4 around `body` */
static void in_grid(Arena *arena, Kernel *kernel, KVar *tile, KStmt *body) {
    kernel->body = x_for(arena, KL_GRID, tile, x_int(arena, 4), body);
    kernel->n_grid = 1;
}

/* -- elementwise: a nest is flattened over the threads, no barrier */
static void elementwise(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    Arena *a = &f.arena;
    Kernel *kernel = x_kernel(a, "elementwise", 2);
    buffers(kernel, 2, DT_BF16, 1);
    KVar *i = x_make_var(a, kernel, DT_I64, false), *j = x_make_var(a, kernel, DT_I64, false);
    const KExpr *at = add(a, times(a, x_var(a, i), 96), x_var(a, j));
    const KExpr *value = x_op(a, OP_exp, DT_F32, x_load(a, 0, DT_F32, at), NULL);
    KStmt *inner = x_for(a, KL_VECTOR, j, x_int(a, 96), x_store(a, 1, at, value));
    kernel->body = x_for(a, KL_INDEPENDENT, i, x_int(a, 20), inner);
    const char *text = write_text(&f, kernel);
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
    Arena *a = &f.arena;
    Kernel *kernel = x_kernel(a, "wide", 3);
    kernel->buffers[0] = (KBuffer){DT_BF16, false};
    kernel->buffers[1] = (KBuffer){DT_F32, false};
    kernel->buffers[2] = (KBuffer){DT_F32, true};
    KVar *i = x_make_var(a, kernel, DT_I64, false), *x = x_make_var(a, kernel, DT_F32, false);
    const KExpr *at = add(a, x_var(a, i), x_int(a, 8));
    /* b1 is read at every other element: one by one */
    const KExpr *apart = x_load(a, 1, DT_F32, times(a, x_var(a, i), 2));
    KStmt *body = let_stmt(a, x, x_load(a, 0, DT_F32, at));
    body->next = x_store(a, 2, x_var(a, i), add(a, x_var(a, x), apart));
    kernel->body = x_for(a, KL_VECTOR, i, x_int(a, 5003), body);
    const char *text = write_text(&f, kernel);
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
static Kernel *make_rows(Arena *a, int64_t length, KLoopKind outer) {
    Kernel *kernel = x_kernel(a, "rows", 2);
    buffers(kernel, 2, DT_F32, 1);
    KVar *i = x_make_var(a, kernel, DT_I64, false), *j = x_make_var(a, kernel, DT_I64, false);
    KVar *j2 = x_make_var(a, kernel, DT_I64, false), *most = x_make_var(a, kernel, DT_F32, true);
    KLocal *row = add_local(a, kernel, DT_F32, length, "row");
    const KExpr *at = add(a, times(a, x_var(a, i), length), x_var(a, j));
    KStmt *first = x_set(a, most, x_real(a, DT_F32, -1e30));
    KStmt *cache = local_store(a, row, x_var(a, j), x_load(a, 0, DT_F32, at));
    cache->next = x_set(a, most, x_op(a, OP_max, DT_F32, x_var(a, most), x_load(a, 0, DT_F32, at)));
    first->next = x_for(a, KL_VECTOR, j, x_int(a, length), cache);
    const KExpr *back = x_op(a, OP_sub, DT_I64, x_int(a, length - 1), x_var(a, j2));
    const KExpr *value = x_op(a, OP_sub, DT_F32, x_local(a, row, back), x_var(a, most));
    const KExpr *to = add(a, times(a, x_var(a, i), length), x_var(a, j2));
    first->next->next = x_for(a, KL_VECTOR, j2, x_int(a, length), x_store(a, 1, to, value));
    kernel->body = x_for(a, outer, i, x_int(a, 40), first);
    return kernel;
}

static void rows(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    const char *text = write_text(&f, make_rows(&f.arena, 100, KL_INDEPENDENT));
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
    const char *text = write_text(&f, make_rows(&f.arena, 5000, KL_INDEPENDENT));
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
    const char *text = write_text(&f, make_rows(&f.arena, 6, KL_INDEPENDENT));
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
    const char *text = write_text(&f, make_rows(&f.arena, 5000, KL_INDEPENDENT));
    assert_has(text, ", unsigned char *scratch) {");
    assert_has(text, "row_l0 = (float *)(scratch + dlc_block() * 20096ll + 0);");
    assert_int_equal(f.info.scratch_bytes, 20096);
    close_fixture(&f);
}

/* -- a contraction over steps of the depth: panels shared, sums in registers */
static Kernel *make_contraction(Arena *a, DType panel) {
    Kernel *kernel = x_kernel(a, "contraction", 3);
    buffers(kernel, 3, DT_F32, 2);
    kernel->buffers[0].dtype = kernel->buffers[1].dtype = panel;
    KVar *tile = x_make_var(a, kernel, DT_I64, false), *step = x_make_var(a, kernel, DT_I64, false);
    KVar *q[4];
    for (int i = 0; i < 4; i++) {
        q[i] = x_make_var(a, kernel, DT_I64, false);
    }
    KLocal *c = add_local(a, kernel, DT_F32, 64 * 64, "c");
    KLocal *pa = add_local(a, kernel, panel, 16 * 64, "a");
    KLocal *pb = add_local(a, kernel, panel, 16 * 64, "b");
    const KExpr *zero = x_int(a, 0), *shift = times(a, x_var(a, step), 1024);
    KStmt *clear = x_for(a, KL_VECTOR, q[0], x_int(a, 4096),
                         local_store(a, c, x_var(a, q[0]), x_real(a, DT_F32, 0)));
    KStmt *pack = x_for(
        a, KL_VECTOR, q[1], x_int(a, 1024),
        local_store(a, pa, x_var(a, q[1]), x_load(a, 0, DT_F32, add(a, shift, x_var(a, q[1])))));
    pack->next = x_for(
        a, KL_VECTOR, q[2], x_int(a, 1024),
        local_store(a, pb, x_var(a, q[2]), x_load(a, 1, DT_F32, add(a, shift, x_var(a, q[2])))));
    KStmt *contract = ARENA_NEW(a, KStmt);
    *contract = (KStmt){.kind = KS_CONTRACT,
                        .as.contract = {.c_local = c,
                                        .a_local = pa,
                                        .b_local = pb,
                                        .a_offset = zero,
                                        .b_offset = zero,
                                        .c_offset = zero,
                                        .depth = x_int(a, 16),
                                        .c_stride = x_int(a, 64),
                                        .accumulate = true}};
    pack->next->next = contract;
    clear->next = x_for(a, KL_SERIAL, step, x_int(a, 9), pack);
    const KExpr *to = add(a, times(a, x_var(a, tile), 4096), x_var(a, q[3]));
    clear->next->next =
        x_for(a, KL_VECTOR, q[3], x_int(a, 4096), x_store(a, 2, to, x_local(a, c, x_var(a, q[3]))));
    in_grid(a, kernel, tile, clear);
    return kernel;
}

static void contraction(void **state) {
    (void)state;
    Fixture f;
    open_fixture(&f);
    const char *text = write_text(&f, make_contraction(&f.arena, DT_F32));
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
        const char *text = write_text(&f, make_contraction(&f.arena, rows_[i].panel));
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
    Arena *a = &f.arena;
    Kernel *kernel = x_kernel(a, "scatter", 2);
    buffers(kernel, 2, DT_I32, 1);
    KVar *tile = x_make_var(a, kernel, DT_I64, false);
    KVar *i = x_make_var(a, kernel, DT_I64, false), *j = x_make_var(a, kernel, DT_I64, false);
    KVar *m = x_make_var(a, kernel, DT_I64, false);
    KStmt *fill = x_for(a, KL_VECTOR, i, x_int(a, 64),
                        x_store(a, 1, x_var(a, i), x_load(a, 0, DT_I32, x_var(a, i))));
    /* the same element again: each thread meets its own */
    const KExpr *twice =
        add(a, x_load(a, 1, DT_I32, x_var(a, m)), x_load(a, 1, DT_I32, x_var(a, m)));
    fill->next = x_for(a, KL_VECTOR, m, x_int(a, 64), x_store(a, 1, x_var(a, m), twice));
    const KExpr *where = x_cast(a, DT_I64, x_load(a, 0, DT_I32, x_var(a, j)));
    const KExpr *sum = add(a, x_load(a, 1, DT_I32, where), x_load(a, 0, DT_I32, x_var(a, j)));
    fill->next->next = x_for(a, KL_SERIAL, j, x_int(a, 50), x_store(a, 1, where, sum));
    in_grid(a, kernel, tile, fill);
    const char *text = write_text(&f, kernel);
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
    Arena *a = &f.arena;
    Kernel *kernel = x_kernel(a, "sort", 2);
    buffers(kernel, 2, DT_F32, 1);
    KVar *i = x_make_var(a, kernel, DT_I64, false), *j = x_make_var(a, kernel, DT_I64, false);
    KVar *n = x_make_var(a, kernel, DT_I64, false), *x = x_make_var(a, kernel, DT_F32, false);
    KLocal *keys = add_local(a, kernel, DT_F32, 32, "keys");
    KStmt *fill = x_for(a, KL_VECTOR, i, x_int(a, 32),
                        local_store(a, keys, x_var(a, i), x_load(a, 0, DT_F32, x_var(a, i))));
    const KExpr *next = add(a, x_var(a, j), x_int(a, 1));
    KStmt *swap = let_stmt(a, x, x_local(a, keys, x_var(a, j)));
    swap->next = local_store(a, keys, x_var(a, j), x_local(a, keys, next));
    swap->next->next = local_store(a, keys, next, x_var(a, x));
    const KExpr *wrong =
        x_op(a, OP_gt, DT_BOOL, x_local(a, keys, x_var(a, j)), x_local(a, keys, next));
    fill->next = x_for(a, KL_SERIAL, j, x_int(a, 31), if_stmt(a, wrong, swap));
    fill->next->next = x_for(a, KL_VECTOR, n, x_int(a, 32),
                             x_store(a, 1, x_var(a, n), x_local(a, keys, x_var(a, n))));
    kernel->body = fill;
    const char *text = write_text(&f, kernel);
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
    Arena *a = &f.arena;
    Kernel *kernel = x_kernel(a, "gather", 2);
    buffers(kernel, 2, DT_I32, 1);
    KVar *i = x_make_var(a, kernel, DT_I64, false), *at = x_make_var(a, kernel, DT_I32, false);
    KStmt *body = let_stmt(a, at, x_load(a, 0, DT_I32, x_var(a, i)));
    KStmt *fault = ARENA_NEW(a, KStmt);
    KExpr *bound = x_new(a, KE_INT, DT_I32);
    bound->as.integer = 10;
    *fault = (KStmt){.kind = KS_FAULT,
                     .as.fault = {.bad = x_op(a, OP_ge, DT_BOOL, x_var(a, at), bound),
                                  .value = x_var(a, at),
                                  .bound = x_int(a, 10),
                                  .site = 6}};
    body->next = fault;
    fault->next = x_store(a, 1, x_var(a, i), x_var(a, at));
    kernel->body = x_for(a, KL_VECTOR, i, x_int(a, 99), body);
    const char *text = write_text(&f, kernel);
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
            Arena *a = &f.arena;
            bool is_bool = info->scalar_result == RESULT_BOOL;
            Kernel *kernel = x_kernel(a, "operation", 2);
            kernel->buffers[0] = (KBuffer){dtype, false};
            kernel->buffers[1] = (KBuffer){is_bool ? DT_BOOL : dtype, true};
            KVar *i = x_make_var(a, kernel, DT_I64, false);
            KExpr *value = x_new(a, KE_SCALAR, is_bool ? DT_BOOL : dtype);
            value->as.scalar.op = (OpCode)op;
            value->as.scalar.n = info->n_operands;
            for (int n = 0; n < info->n_operands; n++) {
                value->as.scalar.a[n] = x_load(a, 0, dtype, x_var(a, i));
            }
            if (op == OP_select) {
                value->as.scalar.a[0] = x_cast(a, DT_BOOL, value->as.scalar.a[0]);
            }
            kernel->body = x_for(a, KL_VECTOR, i, x_int(a, 9), x_store(a, 1, x_var(a, i), value));
            const char *text = write_text(&f, kernel);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elementwise), cmocka_unit_test(wide),       cmocka_unit_test(rows),
        cmocka_unit_test(long_rows),   cmocka_unit_test(short_rows), cmocka_unit_test(scratch),
        cmocka_unit_test(contraction), cmocka_unit_test(fragments),  cmocka_unit_test(scatter),
        cmocka_unit_test(in_order),    cmocka_unit_test(faults),     cmocka_unit_test(operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
