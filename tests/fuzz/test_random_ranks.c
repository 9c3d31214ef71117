/* Random programs of ranks: collectives of all kinds one after another, on random meshes and
 * groups, with elementwise ops and loops between them. The text form gives the same program back,
 * the whole pipeline keeps what every rank computes, and gradients are those of all ranks together.
 * DLC_RANDOM_GRAPHS sets how many, DLC_RANDOM_FIRST the first seed. */
#include "tests/ops/ranks_kit.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const Machine MACHINE = {.target = "cpu",
                                .name = "test",
                                .features = "",
                                .vector_bytes = 32,
                                .tile_rows_f32 = 6,
                                .tile_columns_f32 = 16,
                                .tile_rows_f64 = 6,
                                .tile_columns_f64 = 8,
                                .l1_bytes = 32768,
                                .fusion = {.small_space = 32768,
                                           .least_rows = 8,
                                           .attention_width = 256,
                                           .attention_scores = 16384,
                                           .head = {1 << 24, 1 << 24, 64}},
                                .launch_seconds = 1e-7,
                                .flops_per_second = 1e11,
                                .bytes_per_second = 2e10};

static bool seen[OP_CODE_COUNT];

/* A matrix [B, 5], of which an axis may be cut. */
typedef struct Walk {
    RanksKit *kit;
    Builder *b;
    uint64_t state;
    Value *y;
    MeshGroup cut[2]; /* 0: whole */
} Walk;

static int64_t draw(Walk *w, int64_t below) {
    w->state = w->state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)(w->state >> 33) % below;
}

static MeshGroup all_axes(const RanksKit *kit) {
    return ((MeshGroup)1 << kit->shape.n_axes) - 1;
}

/* A group among those axes of the mesh; 0: there is none. */
static MeshGroup draw_group(Walk *w, MeshGroup among) {
    MeshGroup group = 0;
    for (int turn = 0; turn < 16 && group == 0; turn++) {
        group = (MeshGroup)draw(w, (int64_t)all_axes(w->kit) + 1) & among;
    }
    return group;
}

static const Size *rows_of(RanksKit *kit, int axis) {
    return axis == 0 ? kit_rows(kit) : size_const(&kit->context, 5);
}

static const Size *part_of(RanksKit *kit, int axis, MeshGroup group) {
    return module_rank_size(kit->module, DIM_PIECE, group, rows_of(kit, axis));
}

static void step_cut(Walk *w, int axis, MeshGroup free_axes) {
    MeshGroup group = draw_group(w, free_axes);
    if (group) {
        const Size *rows = rows_of(w->kit, axis), *part = part_of(w->kit, axis, group);
        w->y = b_reduce_scatter(w->b, w->y, axis, part, rows, group);
        w->cut[axis] = group;
    }
}

static void step_gather(Walk *w, int axis) {
    const Size *rows = rows_of(w->kit, axis);
    w->y = b_all_gather(w->b, w->y, axis, rows, rows, w->cut[axis]);
    w->cut[axis] = 0;
}

static void step_turn(Walk *w, int axis) {
    AllToAll how = {.axis = axis,
                    .size = rows_of(w->kit, axis),
                    .rows = rows_of(w->kit, axis),
                    .split = !axis,
                    .split_size = part_of(w->kit, !axis, w->cut[axis]),
                    .split_rows = rows_of(w->kit, !axis),
                    .group = w->cut[axis]};
    w->y = b_all_to_all(w->b, w->y, &how);
    w->cut[!axis] = w->cut[axis];
    w->cut[axis] = 0;
}

static void step_reduce(Walk *w, MeshGroup free_axes) {
    static const OpCode CODES[] = {OP_add, OP_add, OP_max, OP_min};
    MeshGroup group = draw_group(w, free_axes);
    if (!group) {
        return;
    }
    Value *outs[2], *xs[2] = {w->y, b_unary(w->b, OP_sin, w->y)};
    b_all_reduce(w->b, xs, 2, CODES[draw(w, 4)], group, outs);
    w->y = b_add(w->b, outs[0], outs[1]);
}

/* A loop over the rows of the other axis, in which ranks sum. */
static void step_loop(Walk *w, MeshGroup free_axes) {
    MeshGroup group = draw_group(w, free_axes);
    Type type = w->y->type;
    if (!group) {
        return;
    }
    Value *carry = b_constant(w->b, 0.5, type_make(w->b->context, DT_F64, 1, &type.dims[1]));
    Op *scan = b_scan_begin(w->b, &carry, 1, &w->y, 1, type.dims[0], draw(w, 2) == 1, 1);
    Builder inner = builder_at_end(w->b->func, scan->blocks[0]);
    Value *product = b_mul(&inner, scan->blocks[0]->args[1], scan->blocks[0]->args[2]);
    Value *sum = b_all_sum(&inner, product, group);
    Value *small = b_unary(&inner, OP_sin, sum);
    Value *yields[] = {small, sum};
    b_yield(&inner, yields, 2);
    b_op(w->b, scan);
    w->y = scan->results[1];
}

static void step(Walk *w) {
    MeshGroup free_axes = all_axes(w->kit) & ~(w->cut[0] | w->cut[1]);
    int axis = (int)draw(w, 2);
    /* A loop of as many turns as a rank has rows may meet with ranks of the cut alone. */
    switch (draw(w, 7)) {
    case 0:
    case 1:
        if (w->cut[axis]) {
            step_gather(w, axis);
        } else {
            step_cut(w, axis, free_axes);
        }
        break;
    case 2:
        if (w->cut[axis] && !w->cut[!axis]) {
            step_turn(w, axis);
        }
        break;
    case 3:
        step_reduce(w, free_axes);
        break;
    case 4:
        if (draw_group(w, free_axes)) {
            MeshGroup group = draw_group(w, free_axes);
            w->y = group ? b_shift(w->b, w->y, draw(w, 7) - 3, group) : w->y;
        }
        break;
    case 5:
        step_loop(w, free_axes);
        break;
    default:
        w->y = b_unary(w->b, OP_tanh, w->y);
    }
    Value *scale = b_constant_like(w->b, 0.75, w->y);
    w->y = b_mul(w->b, w->y, scale);
}

static uint64_t the_seed;

/* Which part of [B, 5] the value of a walk is. */
static const Sharding *sharding_of(Walk *w) {
    const Size *one = size_const(&w->kit->context, 1);
    AxisCut cuts[2];
    int32_t n = 0;
    for (int axis = 0; axis < 2; axis++) {
        if (w->cut[axis]) {
            cuts[n++] = (AxisCut){axis, w->cut[axis], one, rows_of(w->kit, axis), one};
        }
    }
    Type whole = kit_type(w->kit, DT_F64, 2, rows_of(w->kit, 0), rows_of(w->kit, 1), NULL);
    return n > 0 ? module_sharding(w->kit->module, whole, cuts, n) : NULL;
}

static Value *walk(RanksKit *kit, Builder *b, Value **x, const Sharding **out) {
    Walk w = {.kit = kit, .b = b, .state = the_seed * 2654435761u + 12345, .y = x[0]};
    int64_t steps = 3 + draw(&w, 6);
    for (int64_t i = 0; i < steps; i++) {
        step(&w);
    }
    *out = sharding_of(&w);
    return w.y;
}

static Value *build(RanksKit *kit, Builder *b, Value **x) {
    const Sharding *sharding = NULL;
    return walk(kit, b, x, &sharding);
}

static Func *random_ranks(RanksKit *kit, uint64_t seed) {
    Func *func = func_create(kit->module, "f", PURPOSE_OTHER);
    Type type = kit_type(kit, DT_F64, 2, kit_rows(kit), size_const(&kit->context, 5), NULL);
    func_add_arg(func, ARG_INPUT, "x", type, (Place){0});
    the_seed = seed;
    return func;
}

static void note_op(Op *op, void *user) {
    (void)user;
    seen[op->code] = true;
}

/* What is printed reads back to what is printed. */
static bool same_text(RanksKit *kit) {
    Str first, second;
    str_init(&first, NULL);
    str_init(&second, NULL);
    module_print(kit->module, &first);
    const Source *source =
        context_source(&kit->context, "t.ir", str_text(&first), first.length, false);
    Module *again = module_parse(&kit->context, source);
    if (again) {
        module_print(again, &second);
    }
    bool same = again && strcmp(str_text(&first), str_text(&second)) == 0;
    snprintf(kit->message, sizeof(kit->message), "%s",
             again ? "the text reads back to another program" : "the text does not read back");
    str_finish(&first);
    str_finish(&second);
    return same;
}

static bool close_tensors(RanksKit *kit, const RankTensors *a, const RankTensors *b) {
    for (int64_t r = 0; r < kit->n; r++) {
        const EvalTensor *x = &a->of[r][0], *y = &b->of[r][0];
        for (int64_t i = 0; x->n == y->n && i < x->n; i++) {
            if (!(fabs(x->f[i] - y->f[i]) <= 1e-12 * (1 + fabs(x->f[i])))) {
                snprintf(kit->message, sizeof(kit->message),
                         "rank %d, element %d: %.17g, not %.17g", (int)r, (int)i, y->f[i], x->f[i]);
                return false;
            }
        }
        if (x->n != y->n) {
            snprintf(kit->message, sizeof(kit->message), "rank %d has %d elements, not %d", (int)r,
                     (int)y->n, (int)x->n);
            return false;
        }
    }
    return true;
}

static bool check_passes(RanksKit *kit, uint64_t seed) {
    Func *func = random_ranks(kit, seed);
    Builder b = builder_at_end(func, func->body);
    FuncResult result = {.role = RESULT_OUTPUT, .name = "y"};
    Value *y = walk(kit, &b, func->body->args, &result.sharding);
    func->properties = PROP_SHARDED;
    func_set_results(func, &result, &y, 1);
    func_each_op(func, note_op, NULL);
    RankTensors args = {0}, before = {0}, after = {0};
    kit_args(kit, func, seed, &args);
    PipelineOptions options = {.verify_each = true};
    PipelineReport report = {0};
    bool good = same_text(kit) && kit_run(kit, func, &args, &before, false) &&
                passes_run(kit->module, &MACHINE, &options, &report) && same_text(kit) &&
                kit_run(kit, kit->module->first, &args, &after, false) &&
                close_tensors(kit, &before, &after);
    kit_free(kit, &args, 1);
    kit_free(kit, &before, 1);
    kit_free(kit, &after, 1);
    return good;
}

static void check_seed(uint64_t seed, bool gradients) {
    static const int64_t MESHES[][3] = {{2},    {3},    {4},       {2, 2},
                                        {1, 3}, {2, 3}, {2, 1, 2}, {2, 2, 2}};
    RanksKit *kit = calloc(1, sizeof(*kit));
    kit_init(kit, MESHES[seed % (gradients ? 4 : 8)], seed % 3 == 0,
             (int64_t)(seed / 8 % (gradients ? 3 : 5)) + gradients);
    if (setjmp(kit->boundary.jump)) {
        const DiagList *diags = &kit->context.diags;
        fail_msg("seed %llu: left through the boundary: %s", (unsigned long long)seed,
                 diags->count ? diags->items[diags->count - 1]->message : "no diagnostic");
    }
    bool good = gradients ? kit_check_gradients(kit, random_ranks(kit, seed), build)
                          : check_passes(kit, seed);
    if (!good) {
        Str text;
        str_init(&text, NULL);
        module_print(kit->module, &text);
        fprintf(stderr, "%s\n", str_text(&text));
        fail_msg("seed %llu%s, %d ranks, %d rows: %s", (unsigned long long)seed,
                 gradients ? ", gradients" : "", (int)kit->n, (int)kit->rows, kit->message);
    }
    kit_finish(kit);
    free(kit);
}

static uint64_t from_environment(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void test_passes(void **state) {
    (void)state;
    uint64_t first = from_environment("DLC_RANDOM_FIRST", 0);
    uint64_t count = from_environment("DLC_RANDOM_GRAPHS", 400);
    for (uint64_t seed = first; seed < first + count; seed++) {
        check_seed(seed, false);
    }
    for (int code = 0; count >= 400 && code < OP_CODE_COUNT; code++) {
        if (op_info((OpCode)code)->kind == KIND_COLLECTIVE && !seen[code]) {
            fail_msg("no program has %s", op_info((OpCode)code)->name);
        }
    }
}

static void test_gradients(void **state) {
    (void)state;
    uint64_t first = from_environment("DLC_RANDOM_FIRST", 0);
    uint64_t count = from_environment("DLC_RANDOM_GRAPHS", 400) / 10;
    for (uint64_t seed = first; seed < first + count; seed++) {
        check_seed(seed, true);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_passes),
                                       cmocka_unit_test(test_gradients)};
    return cmocka_run_group_tests_name("random_ranks", tests, NULL, NULL);
}
