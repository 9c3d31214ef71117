/* Plans that lie: one plan with every kind of command and record, and one change at a time, each of
 * which must be refused in the words of its row (plan_lies.def). The plan as it is must load, lay
 * out and run, so that no row is refused for another reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/plan_sample.h"

#include <stdio.h>

/* Arguments, commands and references of the plan, by number. */
enum { ARG_W, ARG_X, ARG_P, ARG_S, N_ARGS };
/* Dims: two of the program, then two of ranks. */
enum { DIM_B, DIM_C, DIM_PIECE_OF_B, DIM_DATA };
/* Buffers: of the arguments, then of the arena and one constant. */
enum { W, X, P, S, ROW, NEXT, INDEX, ROWS, OF_C, FLAG, GATE, CONSTANT, N_BUFFERS };
enum {
    FIRST_COPY,
    COPY,
    LOOP,
    MOVING_COPY,
    CALL,
    SECOND,
    LOOP_END,
    WHILE,
    TEST,
    LAUNCH,
    OTHER_LAUNCH,
    WHILE_END,
    CHECK,
    SHOW,
    FILL,
    CONSTANT_COPY,
    BARRIER,
    STORE,
    LAST,
    REDUCE,
    GATHER,
    N_COMMANDS
};
enum {
    REF_COPY = 2,
    REF_LOOP = 4,
    REF_MOVING = 6,
    REF_TEST = 11,
    REF_LAUNCH = 12,
    REF_CHECK = 16,
    REF_SHOW = 17,
    REF_FILL = 18,
    REF_BARRIER = 21,
    REF_STORE = 23,
    REF_REDUCE = 28,
    REF_GATHER = 30
};

typedef struct PlanParts {
    PlanWriter *w;
    TargetTables *t;
    PlanEntry *entry; /* the first, and its records */
    PlanCommand *commands;
    PlanRef *refs;
    PlanBuffer *buffers;
    PlanProgram none, one, row, minus_one, beyond, turn; /* bytes; the last by a loop's turn */
    PlanProgram piece, data;                             /* the dims */
    int32_t many;                                        /* first of 64 sizes of 1 */
} PlanParts;

typedef void Change(PlanParts *p);

typedef struct Lie {
    const char *name, *refusal;
    bool when_laid_out;
    Change *change;
} Lie;

static PlanBuffer arena_buffer(PlanWriter *w, const Size *bytes, int64_t birth) {
    return (PlanBuffer){.kind = PLAN_BUFFER_ARENA,
                        .bytes = plan_writer_size(w, bytes),
                        .birth = birth,
                        .death = N_COMMANDS};
}

static void arg_add(PlanWriter *w, TargetTables *t, const char *name, PlanArgRole role, Type type) {
    int32_t number = (int32_t)t->args.count;
    bool is_variable = role == PLAN_ARG_PARAM;
    PlanArg arg = {.name = plan_writer_string(w, name),
                   .role = (int32_t)role,
                   .type = plan_writer_type(w, type),
                   .buffer = number,
                   .variable = is_variable ? plan_writer_variable(w, name, role, type, NULL) : -1};
    PlanBuffer buffer = {.kind = PLAN_BUFFER_ARG,
                         .index = number,
                         .bytes = plan_writer_size(w, type_bytes(w->context, type)),
                         .death = N_COMMANDS};
    VEC_PUSH(w->arena, &t->args, arg);
    VEC_PUSH(w->arena, &t->buffers, buffer);
}

static void launch_add(PlanWriter *w, TargetTables *t, int32_t kernel, const int32_t *buffers,
                       const Size *rows) {
    PlanCommand *launch = sample_command(w, t, PLAN_LAUNCH, buffers, 2);
    launch->kernel = kernel;
    launch->first_size = plan_writer_sizes(w, &rows, 1);
    launch->n_sizes = 1;
    launch->extent = plan_writer_size(w, rows);
}

static void result_add(PlanWriter *w, TargetTables *t, PlanResultRole role, Type type,
                       int32_t buffer, int32_t arg) {
    PlanResult result = {.name = plan_writer_string(w, "r"),
                         .role = (int32_t)role,
                         .type = plan_writer_type(w, type),
                         .ref = {.buffer = buffer},
                         .arg = arg};
    VEC_PUSH(w->arena, &t->results, result);
}

/* Among the ranks of the mesh: a row summed, and four elements gathered, twice. */
static void exchanges_add(PlanWriter *w, TargetTables *t, const Size *row_bytes) {
    const Size *one = size_const(w->context, 1);
    PlanCollective sum = {.kind = PLAN_ALL_REDUCE, .group = 1};
    PlanCollective gather = {.kind = PLAN_ALL_GATHER,
                             .group = 1,
                             .outer = plan_writer_size(w, one),
                             .rows = plan_writer_size(w, size_const(w->context, 4)),
                             .unit = plan_writer_size(w, one)};
    VEC_PUSH(w->arena, &t->collectives, sum);
    VEC_PUSH(w->arena, &t->collectives, gather);
    VEC_PUSH(w->arena, &t->collectives, gather);
    for (int32_t i = 0; i < 2; i++) {
        int32_t n = i == 0 ? 2 : 4;
        sample_command(w, t, PLAN_COLLECTIVE, (int32_t[]){NEXT, ROW, NEXT, ROW}, n)->collective = i;
        PlanRef *refs = &t->refs.items[t->refs.count - (size_t)n];
        for (int32_t r = 0; r < n; r++) {
            refs[r].written = r % 2 == 0 ? PLAN_F32 + 1 : 0;
            refs[r].bytes = plan_writer_size(w, row_bytes);
        }
    }
}

static void commands_add(PlanWriter *w, TargetTables *t, const Size *rows, const Size *bytes,
                         const Size *row_bytes, PlanProgram turn) {
    const int32_t pair[] = {NEXT, ROW};
    sample_command(w, t, PLAN_COPY, (int32_t[]){ROWS, X}, 2)->extent = plan_writer_size(w, bytes);
    sample_command(w, t, PLAN_COPY, (int32_t[]){ROW, P}, 2)->extent =
        plan_writer_size(w, row_bytes);
    PlanCommand *loop = sample_command(w, t, PLAN_LOOP, (int32_t[]){INDEX}, 1);
    loop->extent = plan_writer_size(w, rows);
    loop->match = LOOP_END;
    sample_command(w, t, PLAN_COPY, (int32_t[]){NEXT, ROWS}, 2)->extent =
        plan_writer_size(w, row_bytes);
    t->refs.items[REF_MOVING].offset = turn;
    launch_add(w, t, 0, pair, rows);
    t->commands.items[CALL].library = 0;
    launch_add(w, t, 0, pair, rows);
    PlanCommand *end = sample_command(w, t, PLAN_LOOP_END, NULL, 0);
    end->match = LOOP;
    end->n_swaps = 1;
    PlanCommand *again = sample_command(w, t, PLAN_LOOP, NULL, 0);
    again->flags = PLAN_COMMAND_WHILE;
    again->limit = 5;
    again->site = 0;
    again->match = WHILE_END;
    sample_command(w, t, PLAN_TEST, (int32_t[]){FLAG}, 1)->match = WHILE_END;
    launch_add(w, t, 0, pair, rows);
    launch_add(w, t, 1, pair, rows);
    sample_command(w, t, PLAN_LOOP_END, NULL, 0)->match = WHILE;
    sample_command(w, t, PLAN_CHECK, (int32_t[]){FLAG}, 1)->site = 0;
    sample_command(w, t, PLAN_SHOW, (int32_t[]){ROWS}, 1)->type = t->args.items[ARG_X].type;
    sample_command(w, t, PLAN_FILL, (int32_t[]){ROW}, 1)->extent = plan_writer_size(w, row_bytes);
    sample_command(w, t, PLAN_COPY, (int32_t[]){ROW, CONSTANT}, 2)->extent =
        plan_writer_size(w, row_bytes);
    sample_command(w, t, PLAN_BARRIER, (int32_t[]){GATE, FLAG}, 2);
    sample_command(w, t, PLAN_STORE, (int32_t[]){P, ROW, GATE}, 3)->extent =
        plan_writer_size(w, row_bytes);
    launch_add(w, t, 0, pair, rows);
    exchanges_add(w, t, row_bytes);
    launch_add(w, t, 0, (int32_t[]){0, 1}, rows); /* of the second entry */
}

static void tables_fill(PlanWriter *w, TargetTables *t, const Size *rows, const Size *more,
                        PlanProgram turn) {
    Context *context = w->context;
    const Size *shape[] = {rows, size_const(context, 4)};
    Type type = type_make(context, DT_F32, 2, shape);
    Type row = type_make(context, DT_F32, 1, shape + 1), scalar = type_scalar(DT_F32);
    const Size *bytes = type_bytes(context, type), *row_bytes = type_bytes(context, row);
    t->target = (PlanTarget){.device = plan_writer_string(w, "null"),
                             .machine = plan_writer_string(w, "null"),
                             .abi = 1};
    for (int i = 0; i < 2; i++) {
        PlanKernel kernel = {.name = plan_writer_string(w, "k"), .n_buffers = 2, .n_sizes = 1};
        VEC_PUSH(w->arena, &t->kernels, kernel);
    }
    PlanSite site = {plan_writer_string(w, "a.dl:1:2"), plan_writer_string(w, "asked")};
    VEC_PUSH(w->arena, &t->sites, site);
    arg_add(w, t, "w", PLAN_ARG_INPUT, row);
    arg_add(w, t, "x", PLAN_ARG_INPUT, type);
    PlanCut by_rows = {0, 1, plan_writer_size(w, size_const(context, 1)), plan_writer_size(w, rows),
                       plan_writer_size(w, size_const(context, 1))};
    VEC_PUSH(w->arena, &w->cuts, by_rows);
    t->args.items[ARG_X].part = (PlanPart){.whole = t->args.items[ARG_X].type, .n_cuts = 1};
    arg_add(w, t, "p", PLAN_ARG_PARAM, row);
    arg_add(w, t, "s", PLAN_ARG_SCALAR, scalar);
    const Size *one = size_const(context, 1);
    const Size *sizes[] = {row_bytes, row_bytes, size_const(context, 4), bytes, more, one, one};
    for (int32_t i = 0; i < 7; i++) {
        PlanBuffer buffer = arena_buffer(w, sizes[i], 0);
        VEC_PUSH(w->arena, &t->buffers, buffer);
    }
    PlanBuffer constant = {
        .kind = PLAN_BUFFER_CONSTANT, .bytes = plan_writer_size(w, row_bytes), .death = N_COMMANDS};
    VEC_PUSH(w->arena, &t->buffers, constant);
    static const uint8_t constants[PLAN_ALIGNMENT + 8];
    plan_writer_constant(w, constants, sizeof(constants));
    commands_add(w, t, rows, bytes, row_bytes, turn);
    PlanSwap swap = {ROW, NEXT};
    VEC_PUSH(w->arena, &t->swaps, swap);
    const Size *ones[64];
    for (int i = 0; i < 64; i++) {
        ones[i] = one;
    }
    PlanLibrary library = {.kind = PLAN_LIBRARY_MATMUL,
                           .refs = {1, 1, -1, -1, 0},
                           .dtypes = {PLAN_F32, PLAN_F32, PLAN_F32, PLAN_F32, PLAN_F32},
                           .first_size = plan_writer_sizes(w, ones, PLAN_MATMUL_SIZES),
                           .n_sizes = PLAN_MATMUL_SIZES};
    VEC_PUSH(w->arena, &t->libraries, library);
    result_add(w, t, PLAN_RESULT_OUTPUT, type, ROWS, -1);
    result_add(w, t, PLAN_RESULT_LOSS, scalar, ROW, -1);
    result_add(w, t, PLAN_RESULT_STORE, row, ROW, ARG_P);
    PlanEntry entry = {.name = plan_writer_string(w, "a.train"),
                       .purpose = PLAN_PURPOSE_TRAIN,
                       .n_args = N_ARGS,
                       .n_results = 3,
                       .n_buffers = N_BUFFERS,
                       .n_commands = N_COMMANDS,
                       .n_loop_depth = 1,
                       .n_queues = 1};
    PlanEntry other = {.name = plan_writer_string(w, "a.eval"),
                       .purpose = PLAN_PURPOSE_EVAL,
                       .first_arg = N_ARGS,
                       .first_result = 3,
                       .first_buffer = N_BUFFERS,
                       .n_buffers = 2,
                       .first_command = N_COMMANDS,
                       .n_commands = 1,
                       .n_queues = 1};
    VEC_PUSH(w->arena, &t->entries, entry);
    VEC_PUSH(w->arena, &t->entries, other);
    for (int i = 0; i < 2; i++) {
        PlanBuffer buffer = arena_buffer(w, row_bytes, 0);
        buffer.death = 1;
        VEC_PUSH(w->arena, &t->buffers, buffer);
    }
}

static PlanProgram constant_program(PlanWriter *w, int64_t value) {
    const ProgramInstr code = {PROGRAM_CONST, value};
    return plan_writer_program(w, &code, 1);
}

/* What a test makes of a plan's tables. */
typedef void Fill(PlanWriter *w, TargetTables *t, const Size *rows, const Size *more,
                  PlanProgram turn);

/* What is filled in, and then changed. */
typedef struct Made {
    Fill *fill;
    Change *change; /* NULL: nothing is */
} Made;

/* A mesh of one axis of any size, and dims of its ranks. */
static void ranks_add(PlanWriter *w, const Size *rows) {
    PlanMeshAxis data = {.name = plan_writer_string(w, "data")};
    PlanDim piece = {.name = plan_writer_string(w, "b"),
                     .source = DIM_PIECE,
                     .group = 1,
                     .high = 1000,
                     .divisor = 1,
                     .of = plan_writer_size(w, rows)};
    PlanDim ranks = {.name = plan_writer_string(w, "n"),
                     .source = DIM_RANKS,
                     .group = 1,
                     .low = 1,
                     .high = 1000,
                     .divisor = 1};
    VEC_PUSH(w->arena, &w->mesh, data);
    VEC_PUSH(w->arena, &w->dims, piece);
    VEC_PUSH(w->arena, &w->dims, ranks);
}

static void made_fill(PlanWriter *w, Context *context, Module *module, void *user) {
    const Made *made = user;
    const Dim *b = module_add_dim(module, "B", 1, 1000, 1, 0, (Place){0});
    const Dim *c = module_add_dim(module, "C", 10, 1000, 8, 0, (Place){0});
    plan_writer_module(w, module);
    ranks_add(w, size_dim(context, b));
    const ProgramInstr moving[] = {
        {PROGRAM_CONST, 16}, {PROGRAM_VAR, (int64_t)w->dims.count}, {PROGRAM_MUL, 0}};
    PlanProgram turn = plan_writer_program(w, moving, 3);
    TargetTables *tables = plan_writer_target(w);
    made->fill(w, tables, size_dim(context, b), size_dim(context, c), turn);
    const Size *ones[64];
    for (int i = 0; i < 64; i++) {
        ones[i] = size_const(context, 1);
    }
    PlanParts parts = {.w = w,
                       .t = tables,
                       .none = constant_program(w, 0),
                       .one = constant_program(w, 1),
                       .row = constant_program(w, 16),
                       .minus_one = constant_program(w, -1),
                       .beyond = constant_program(w, 1 << 20),
                       .turn = turn,
                       .piece =
                           plan_writer_program(w, &(ProgramInstr){PROGRAM_VAR, DIM_PIECE_OF_B}, 1),
                       .data = plan_writer_program(w, &(ProgramInstr){PROGRAM_VAR, DIM_DATA}, 1),
                       .many = plan_writer_sizes(w, ones, 64)};
    parts.entry = tables->entries.items;
    parts.commands = tables->commands.items;
    parts.refs = tables->refs.items;
    parts.buffers = tables->buffers.items;
    if (made->change) {
        made->change(&parts);
    }
}

/* The file's bytes, from malloc, with the change made; NULL when out of memory. */
static uint8_t *plan_made(Fill *fill, Change *change, size_t *out_n) {
    Made made = {fill, change};
    return plan_filled(made_fill, &made, out_n);
}

static void mesh_add(PlanParts *p, int64_t size) {
    PlanMeshAxis axis = {.size = size};
    VEC_PUSH(p->w->arena, &p->w->mesh, axis);
}

static void mesh_fill(PlanParts *p) {
    while (p->w->mesh.count <= MESH_MAX_AXES) {
        mesh_add(p, 1);
    }
}

/* Input x is cut a second time, among the ranks of the second axis of the mesh. */
static void cut_again(PlanParts *p) {
    PlanCut cut = p->w->cuts.items[0];
    cut.group = 2;
    VEC_PUSH(p->w->arena, &p->w->cuts, cut);
    p->t->args.items[ARG_X].part.n_cuts = 2;
}

/* Event 0, signalled by the first command and named by one wait, which nobody has yet. */
static void first_copy_signals(PlanParts *p) {
    VEC_PUSH(p->w->arena, &p->t->waits, 0);
    p->entry->n_events = 1;
    p->commands[FIRST_COPY].signal = 0;
}

/* -- the rows */
#define LIE(name, refusal, change)                                                                 \
    static void lie_##name(PlanParts *p) {                                                         \
        (void)(change);                                                                            \
    }
#define LAID LIE
#include "tests/unit/plan_lies.def"
#undef LIE
#undef LAID

static const Lie lies[] = {
#define LIE(name, refusal, change)  {#name, refusal, false, lie_##name},
#define LAID(name, refusal, change) {#name, refusal, true, lie_##name},
#include "tests/unit/plan_lies.def"
#undef LIE
#undef LAID
};

static int setup(void **state) {
    return dlc_context_create(NULL, (dlc_context **)state) == DLC_OK ? 0 : -1;
}

static int teardown(void **state) {
    dlc_context_destroy(*state);
    return 0;
}

static dlc_status load(dlc_context *context, Fill *fill, Change *change, dlc_plan **out) {
    size_t n = 0;
    uint8_t *bytes = plan_made(fill, change, &n);
    assert_non_null(bytes);
    *out = NULL;
    dlc_status status = dlc_plan_load_memory(context, bytes, n, "a.plan", 0, out);
    free(bytes);
    return status;
}

static const dlc_binding two_rows = {"B", 2};

static void test_lies(void **state) {
    dlc_context *context = *state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        const Lie *lie = &lies[i];
        dlc_plan *plan;
        dlc_entry_summary summary = {.struct_size = sizeof(summary)};
        dlc_status status = load(context, tables_fill, lie->change, &plan);
        const char *when = "loaded";
        if (status == DLC_OK) {
            when = "laid out";
            status = dlc_plan_summarize(plan, "a.train", &two_rows, 1, &summary);
        }
        const char *said = status == DLC_OK ? "nothing" : dlc_last_error(context);
        if (strcmp(when, lie->when_laid_out ? "laid out" : "loaded") != 0 ||
            strstr(said, lie->refusal) == NULL) {
            print_error("%s: to be refused when %s: \"%s\"; when %s: \"%s\"\n", lie->name,
                        lie->when_laid_out ? "laid out" : "loaded", lie->refusal, when, said);
            wrong++;
        }
        dlc_plan_destroy(plan);
    }
    assert_int_equal(wrong, 0);
}

static dlc_status run_two_rows(dlc_context *context, dlc_plan *plan) {
    dlc_session_options options = {.struct_size = sizeof(options), .device = "null", .threads = 1};
    dlc_session *session;
    assert_int_equal(dlc_session_create(plan, &options, &session), DLC_OK);
    float x[8] = {0};
    DLTensor of_w = {.data = x,
                     .device = {kDLCPU, 0},
                     .ndim = 1,
                     .dtype = {kDLFloat, 32, 1},
                     .shape = (int64_t[]){4}};
    DLTensor of_x = of_w;
    of_x.ndim = 2;
    of_x.shape = (int64_t[]){2, 4};
    assert_int_equal(dlc_set_input(session, "a.train", "w", &of_w), DLC_OK);
    assert_int_equal(dlc_set_input(session, "a.train", "x", &of_x), DLC_OK);
    dlc_status status = dlc_run(session, "a.train");
    dlc_session_destroy(session);
    (void)context;
    return status;
}

/* The plan without a change, so that the rows are refused for what they change. Its dims' defaults:
 * B is the first axis of the second input, as the first one's is no dim, so it takes the batch of
 * the settings; C the least multiple of 8 from 10 on. */
static void test_truth(void **state) {
    dlc_context *context = *state;
    dlc_plan *plan;
    dlc_entry_summary summary = {.struct_size = sizeof(summary)},
                      bound = {.struct_size = sizeof(bound)};
    if (load(context, tables_fill, NULL, &plan) != DLC_OK) {
        fail_msg("%s", dlc_last_error(context));
    }
    const dlc_binding usual[] = {{"B", 7}, {"C", 1000}};
    assert_int_equal(dlc_plan_summarize(plan, "a.train", NULL, 0, &summary), DLC_OK);
    assert_int_equal(dlc_plan_summarize(plan, "a.train", usual, 2, &bound), DLC_OK);
    assert_int_equal(summary.arena_bytes, bound.arena_bytes);
    assert_int_equal(dlc_plan_summarize(plan, "a.eval", NULL, 0, &summary), DLC_OK);
    dlc_status status = run_two_rows(context, plan);
    if (status != DLC_ERROR_FAULT) { /* the null device's flags are false */
        fail_msg("status %d: %s", (int)status, dlc_last_error(context));
    }
    dlc_plan_destroy(plan);
}

static void rows_by_eights(PlanParts *p) {
    p->w->dims.items[0].low = 10;
    p->w->dims.items[0].divisor = 8;
}

/* A default is a multiple of the divisor and at least the least value: of 7, at least 10, by eights
 * it is 16, not 8. */
static void test_default(void **state) {
    dlc_context *context = *state;
    dlc_plan *plan;
    dlc_entry_summary summary = {.struct_size = sizeof(summary)},
                      bound = {.struct_size = sizeof(bound)};
    const dlc_binding sixteen = {"B", 16};
    assert_int_equal(load(context, tables_fill, rows_by_eights, &plan), DLC_OK);
    assert_int_equal(dlc_plan_summarize(plan, "a.train", NULL, 0, &summary), DLC_OK);
    assert_int_equal(dlc_plan_summarize(plan, "a.train", &sixteen, 1, &bound), DLC_OK);
    assert_int_equal(summary.arena_bytes, bound.arena_bytes);
    dlc_plan_destroy(plan);
}

static void move_from_row(PlanParts *p) {
    p->refs[REF_MOVING].buffer = ROW;
}

/* A place that moves with the loop is only known in it: its second turn leaves the row. */
static void test_moving_place(void **state) {
    dlc_context *context = *state;
    dlc_plan *plan;
    assert_int_equal(load(context, tables_fill, move_from_row, &plan), DLC_OK);
    assert_int_equal(run_two_rows(context, plan), DLC_ERROR_FORMAT);
    assert_non_null(strstr(dlc_last_error(context), "a command leaves its buffer"));
    dlc_plan_destroy(plan);
}

/* -- loops in loops */

static int32_t nested; /* how many, for nest_fill */

/* Loops of no other contents, one in another. */
static void nest_fill(PlanWriter *w, TargetTables *t, const Size *rows, const Size *more,
                      PlanProgram turn) {
    (void)more;
    (void)turn;
    t->target = (PlanTarget){.device = plan_writer_string(w, "null"),
                             .machine = plan_writer_string(w, "null"),
                             .abi = 1};
    PlanBuffer index = arena_buffer(w, size_const(w->context, 4), 0);
    index.death = 2 * nested;
    VEC_PUSH(w->arena, &t->buffers, index);
    for (int32_t i = 0; i < 2 * nested; i++) {
        bool begins = i < nested;
        const int32_t buffer = 0;
        PlanCommand *command =
            sample_command(w, t, begins ? PLAN_LOOP : PLAN_LOOP_END, &buffer, begins);
        command->match = 2 * nested - 1 - i;
        command->depth = begins ? i : 0;
        command->extent = begins ? plan_writer_size(w, rows) : command->extent;
    }
    PlanEntry entry = {.name = plan_writer_string(w, "a.train"),
                       .purpose = PLAN_PURPOSE_TRAIN,
                       .n_buffers = 1,
                       .n_commands = 2 * nested,
                       .n_loop_depth = nested,
                       .n_queues = 1};
    VEC_PUSH(w->arena, &t->entries, entry);
}

/* The two ends of two loops in each other's place: each names a loop that names it. */
static void ends_cross(PlanParts *p) {
    p->commands[0].match = 2;
    p->commands[2].match = 0;
    p->commands[1].match = 3;
    p->commands[3].match = 1;
}

static void test_nests(void **state) {
    dlc_context *context = *state;
    dlc_plan *plan;
    nested = PLAN_MAX_LOOP_DEPTH;
    assert_int_equal(load(context, nest_fill, NULL, &plan), DLC_OK);
    dlc_plan_destroy(plan);
    nested = PLAN_MAX_LOOP_DEPTH + 1;
    assert_int_equal(load(context, nest_fill, NULL, &plan), DLC_ERROR_FORMAT);
    assert_non_null(strstr(dlc_last_error(context), "a loop nests wrongly"));
    nested = 2;
    assert_int_equal(load(context, nest_fill, ends_cross, &plan), DLC_ERROR_FORMAT);
    assert_non_null(strstr(dlc_last_error(context), "a loop ends wrongly"));
}

/* -- work out of proportion */

enum { MANY_SIZES = 1 << 15, MANY_COMMANDS = (1 << 13) + 1 };

static int32_t n_barriers; /* for work_fill */

/* Barriers that name all of many sizes, a few bytes each. */
static void work_fill(PlanWriter *w, TargetTables *t, const Size *rows, const Size *more,
                      PlanProgram turn) {
    (void)more;
    nest_fill(w, t, rows, more, turn);
    const Size *one = size_const(w->context, 1);
    int32_t first = plan_writer_sizes(w, &one, 1);
    for (int32_t i = 1; i < MANY_SIZES; i++) {
        VEC_PUSH(w->arena, &w->sizes, w->sizes.items[first]);
    }
    for (int32_t i = 0; i < n_barriers; i++) {
        PlanCommand *barrier = sample_command(w, t, PLAN_BARRIER, NULL, 0);
        barrier->first_size = first;
        barrier->n_sizes = MANY_SIZES;
    }
    t->entries.items[0].n_commands += n_barriers;
}

static void test_work(void **state) {
    dlc_context *context = *state;
    dlc_plan *plan;
    nested = 1;
    n_barriers = 8;
    assert_int_equal(load(context, work_fill, NULL, &plan), DLC_OK);
    dlc_plan_destroy(plan);
    n_barriers = MANY_COMMANDS;
    assert_int_equal(load(context, work_fill, NULL, &plan), DLC_ERROR_FORMAT);
    assert_non_null(strstr(dlc_last_error(context), "the sizes are out of proportion"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_truth, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_default, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moving_place, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_work, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
