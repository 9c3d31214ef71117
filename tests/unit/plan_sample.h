/* For tests: a plan made by hand, for the null device: a parameter, an input with a free dim, and a
 * loop over its rows. No compiler needed. */
#ifndef DLC_TESTS_UNIT_PLAN_SAMPLE_H
#define DLC_TESTS_UNIT_PLAN_SAMPLE_H

#include "codegen/schedule/plan_write.h"

#include <stdlib.h>

/* Adds a command with up to two references at no offset. */
static inline PlanCommand *sample_command(PlanWriter *w, TargetTables *t, PlanCommandKind kind,
                                          const int32_t *buffers, int32_t n) {
    PlanCommand command = {.kind = (int32_t)kind,
                           .kernel = -1,
                           .first_ref = (int32_t)t->refs.count,
                           .n_refs = n,
                           .match = -1,
                           .site = -1,
                           .library = -1,
                           .signal = -1};
    for (int32_t i = 0; i < n; i++) {
        PlanRef ref = {.buffer = buffers[i], .access = plan_access((int32_t)kind, i)};
        ref.access = kind == PLAN_LAUNCH && i == 0 ? PLAN_WRITES : ref.access; /* as kernels here */
        VEC_PUSH(w->arena, &t->refs, ref);
    }
    VEC_PUSH(w->arena, &t->commands, command);
    return &t->commands.items[t->commands.count - 1];
}

static inline void sample_tables(PlanWriter *w, TargetTables *t, const Size *rows) {
    Context *context = w->context;
    const Size *shape[] = {rows, size_const(context, 4)};
    Type type = type_make(context, DT_F32, 2, shape);
    Type row = type_make(context, DT_F32, 1, shape + 1);
    const Size *bytes = type_bytes(context, type), *row_bytes = type_bytes(context, row);
    t->target = (PlanTarget){.device = plan_writer_string(w, "null"),
                             .machine = plan_writer_string(w, "null"),
                             .abi = 1};
    PlanKernel kernel = {.name = plan_writer_string(w, "kernel"), .n_buffers = 2, .n_sizes = 1};
    VEC_PUSH(w->arena, &t->kernels, kernel);
    PlanSite site = {plan_writer_string(w, "a.dl:1:2"), plan_writer_string(w, "sizes differ")};
    VEC_PUSH(w->arena, &t->sites, site);
    PlanArg x = {.name = plan_writer_string(w, "x"),
                 .role = PLAN_ARG_INPUT,
                 .type = plan_writer_type(w, type),
                 .variable = -1};
    PlanArg p = {.name = plan_writer_string(w, "fc.weight"),
                 .role = PLAN_ARG_PARAM,
                 .type = plan_writer_type(w, row),
                 .buffer = 1,
                 .variable = plan_writer_variable(w, "fc.weight", PLAN_ARG_PARAM, row, NULL)};
    VEC_PUSH(w->arena, &t->args, x);
    VEC_PUSH(w->arena, &t->args, p);
    const Size *sizes[] = {bytes, row_bytes, bytes, row_bytes, row_bytes, size_const(context, 4)};
    const int64_t births[] = {0, 0, 0, 1, 1, 2}, deaths[] = {8, 8, 8, 8, 8, 5};
    for (int32_t i = 0; i < 6; i++) {
        PlanBuffer buffer = {.kind = i < 2 ? PLAN_BUFFER_ARG : PLAN_BUFFER_ARENA,
                             .index = i < 2 ? i : 0,
                             .bytes = plan_writer_size(w, sizes[i]),
                             .birth = births[i],
                             .death = deaths[i]};
        VEC_PUSH(w->arena, &t->buffers, buffer);
    }
    /* On a queue of their own: y = copy of x; h = copy of w. Behind that, per row: h' = copy of h,
     * swapped; then w = h. */
    sample_command(w, t, PLAN_COPY, (int32_t[]){2, 0}, 2)->extent = plan_writer_size(w, bytes);
    sample_command(w, t, PLAN_COPY, (int32_t[]){3, 1}, 2)->extent = plan_writer_size(w, row_bytes);
    t->commands.items[0].queue = t->commands.items[1].queue = 1;
    t->commands.items[1].signal = 0;
    PlanCommand *loop = sample_command(w, t, PLAN_LOOP, (int32_t[]){5}, 1);
    VEC_PUSH(w->arena, &t->waits, 0);
    loop->n_waits = 1;
    loop->extent = plan_writer_size(w, rows);
    loop->match = 5;
    sample_command(w, t, PLAN_COPY, (int32_t[]){4, 3}, 2)->extent = plan_writer_size(w, row_bytes);
    PlanCommand *launch = sample_command(w, t, PLAN_LAUNCH, (int32_t[]){4, 3}, 2);
    launch->kernel = 0;
    launch->first_size = plan_writer_sizes(w, shape, 1);
    launch->n_sizes = 1;
    launch->extent = plan_writer_size(w, rows);
    launch->library = 0;
    const Size *one = size_const(context, 1), *matmul[PLAN_MATMUL_SIZES];
    for (int i = 0; i < PLAN_MATMUL_SIZES; i++) {
        matmul[i] = one;
    }
    PlanLibrary library = {.kind = PLAN_LIBRARY_MATMUL,
                           .refs = {1, 1, -1, -1, 0},
                           .dtypes = {PLAN_F32, PLAN_F32, PLAN_F32, PLAN_F32, PLAN_F32},
                           .first_size = plan_writer_sizes(w, matmul, PLAN_MATMUL_SIZES),
                           .n_sizes = PLAN_MATMUL_SIZES};
    VEC_PUSH(w->arena, &t->libraries, library);
    PlanCommand *end = sample_command(w, t, PLAN_LOOP_END, NULL, 0);
    end->match = 2;
    end->n_swaps = 1;
    PlanSwap swap = {3, 4};
    VEC_PUSH(w->arena, &t->swaps, swap);
    sample_command(w, t, PLAN_BARRIER, NULL, 0);
    sample_command(w, t, PLAN_STORE, (int32_t[]){1, 3}, 2)->extent = plan_writer_size(w, row_bytes);
    PlanResult y = {.name = plan_writer_string(w, "y"),
                    .role = PLAN_RESULT_OUTPUT,
                    .type = plan_writer_type(w, type),
                    .ref = {.buffer = 2},
                    .arg = -1};
    VEC_PUSH(w->arena, &t->results, y);
    PlanEntry entry = {.name = plan_writer_string(w, "sample.infer"),
                       .purpose = PLAN_PURPOSE_INFER,
                       .n_args = 2,
                       .n_results = 1,
                       .n_buffers = 6,
                       .n_commands = 8,
                       .n_loop_depth = 1,
                       .n_queues = 2,
                       .n_events = 1};
    VEC_PUSH(w->arena, &t->entries, entry);
}

/* Gives the module its dims, writes it (plan_writer_module), then the target's tables. */
typedef void PlanFill(PlanWriter *w, Context *context, Module *module, void *user);

/* The bytes of the file that `fill` makes, from malloc; NULL when out of memory. */
static inline uint8_t *plan_filled(PlanFill *fill, void *user, size_t *out_n) {
    Boundary boundary = {.status = DLC_OK};
    Context context;
    Arena arena;
    Str out;
    str_init(&out, NULL);
    if (setjmp(boundary.jump) != 0) {
        return NULL;
    }
    context_init(&context, NULL, &boundary);
    arena_init(&arena, NULL, &boundary);
    Module *module = module_create(&context, "sample");
    map_set(&module->settings, "batch", (void *)(uintptr_t) "7");
    PlanWriter writer;
    plan_writer_init(&writer, &context, &arena);
    writer.manifest = "{}";
    writer.ir = "module";
    fill(&writer, &context, module, user);
    plan_writer_finish(&writer, &out);
    uint8_t *bytes = out.failed ? NULL : malloc(out.length);
    if (bytes) {
        memcpy(bytes, out.text, out.length);
        *out_n = out.length;
    }
    module_destroy(module);
    str_finish(&out);
    arena_finish(&arena);
    context_finish(&context);
    return bytes;
}

static inline void sample_fill(PlanWriter *w, Context *context, Module *module, void *user) {
    (void)user;
    const Dim *dim = module_add_dim(module, "B", 1, 1000, 1, 0, (Place){0});
    plan_writer_module(w, module);
    sample_tables(w, plan_writer_target(w), size_dim(context, dim));
}

static inline uint8_t *plan_sample(size_t *out_n) {
    return plan_filled(sample_fill, NULL, out_n);
}

#endif
