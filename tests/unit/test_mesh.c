/* Ranks in the IR: pieces and groups as numbers, dims of ranks, shardings and collectives in the
 * text form both ways, and what parser and verifier refuse. */
#include "tests/unit/ir_sample.h"

#include <stdio.h>

/* -- numbers */

static void test_pieces(void **state) {
    (void)state;
    static const int64_t FIVE_ON_FOUR[] = {2, 1, 1, 1}, TWO_ON_FOUR[] = {1, 1, 0, 0};
    for (int64_t rank = 0; rank < 4; rank++) {
        assert_int_equal(mesh_piece(5, 4, rank).count, FIVE_ON_FOUR[rank]);
        assert_int_equal(mesh_piece(2, 4, rank).count, TWO_ON_FOUR[rank]);
    }
    for (int64_t rows = 0; rows < 40; rows++) {
        for (int64_t ranks = 1; ranks <= 9; ranks++) {
            int64_t next = 0;
            for (int64_t rank = 0; rank < ranks; rank++) {
                RowRange piece = mesh_piece(rows, ranks, rank);
                assert_int_equal(piece.first, next);
                assert_true(piece.count == rows / ranks || piece.count == rows / ranks + 1);
                next += piece.count;
            }
            assert_int_equal(next, rows);
        }
    }
    RowRange last = mesh_piece(INT64_MAX, MESH_MAX_RANKS, MESH_MAX_RANKS - 1);
    assert_int_equal(last.first + last.count, INT64_MAX);
}

static void test_groups(void **state) {
    (void)state;
    MeshShape shape = {.n_axes = 3, .sizes = {2, 3, 4}};
    int64_t ranks = 0;
    assert_true(mesh_ranks(&shape, &ranks));
    assert_int_equal(ranks, 24);
    int64_t rank = 1 * 12 + 2 * 4 + 3; /* coordinates 1, 2, 3 */
    assert_int_equal(mesh_group_ranks(&shape, 5), 8);
    assert_int_equal(mesh_coordinate(&shape, 2, rank), 2);
    assert_int_equal(mesh_coordinate(&shape, 5, rank), 1 * 4 + 3);
    assert_int_equal(mesh_coordinate(&shape, 6, rank), 2 * 4 + 3);
    assert_int_equal(mesh_member(&shape, 5, rank, 2), 0 * 12 + 2 * 4 + 2);
    for (MeshGroup group = 1; group < 8; group++) {
        for (rank = 0; rank < ranks; rank++) {
            int64_t n = mesh_group_ranks(&shape, group);
            int64_t own = mesh_coordinate(&shape, group, rank);
            assert_true(own < n);
            assert_int_equal(mesh_member(&shape, group, rank, own), rank);
            for (int64_t i = 0; i < n; i++) {
                int64_t member = mesh_member(&shape, group, rank, i);
                assert_int_equal(mesh_coordinate(&shape, group, member), i);
                assert_int_equal(mesh_coordinate(&shape, group ^ 7, member),
                                 mesh_coordinate(&shape, group ^ 7, rank));
            }
        }
    }
    shape.sizes[1] = 0;
    assert_false(mesh_ranks(&shape, &ranks));
    shape.sizes[1] = MESH_MAX_RANKS;
    assert_false(mesh_ranks(&shape, &ranks));
}

/* -- dims of ranks */

static Module *mesh_module(Fixture *f, int64_t data) {
    Module *module = module_create(&f->context, "m");
    assert_true(module_add_axis(module, "data", data));
    assert_true(module_add_axis(module, "model", 2));
    module_add_dim(module, "B", 0, 100, 1, 64, (Place){0});
    return module;
}

static void test_axes(void **state) {
    Fixture *f = *state;
    GUARD(f)
    Module *module = mesh_module(f, 0);
    MeshGroup group = 0;
    assert_false(module_add_axis(module, "data", 2));
    assert_false(module_add_axis(module, "3d", 2));
    assert_false(module_add_axis(module, "a,b", 2));
    assert_false(module_add_axis(module, "x", -1));
    assert_true(module_group_parse(module, "data,model", &group));
    assert_int_equal(group, 3);
    assert_string_equal(module_group_text(module, 3), "data,model");
    assert_true(module_group_parse(module, "model", &group));
    assert_int_equal(group, 2);
    static const char *const BAD[] = {"",          "model,data", "data,", ",data",
                                      "data,data", "dat",        "datas"};
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        assert_false(module_group_parse(module, BAD[i], &group));
    }
    assert_int_equal(module_group_ranks(module, 2), 2);
    assert_int_equal(module_group_ranks(module, 3), 0);
    for (int i = 0; i < MESH_MAX_AXES - 2; i++) {
        assert_true(module_add_axis(module, context_internf(&f->context, "a%d", i), 1));
    }
    assert_false(module_add_axis(module, "ninth", 1));
}

static void test_rank_dims(void **state) {
    Fixture *f = *state;
    GUARD(f)
    Module *module = mesh_module(f, 0);
    const Size *rows = size_dim(&f->context, module->dims[0]);
    const Dim *piece = module_add_rank_dim(module, DIM_PIECE, 1, rows);
    assert_ptr_equal(piece, module_add_rank_dim(module, DIM_PIECE, 1, rows));
    assert_string_equal(piece->name, "B.data");
    assert_string_equal(module_add_rank_dim(module, DIM_FIRST, 1, rows)->name, "B.data.first");
    assert_string_equal(module_add_rank_dim(module, DIM_RANKS, 1, NULL)->name, "data.ranks");
    assert_string_equal(module_add_rank_dim(module, DIM_COORDINATE, 3, NULL)->name,
                        "data.model.rank");
    const Size *twice = size_mul(&f->context, rows, size_const(&f->context, 2));
    const Size *thrice = size_mul(&f->context, rows, size_const(&f->context, 3));
    assert_string_equal(module_add_rank_dim(module, DIM_PIECE, 1, twice)->name, "rows.data");
    assert_string_equal(module_add_rank_dim(module, DIM_PIECE, 1, thrice)->name, "rows.data'2");
    assert_int_equal(piece->low, 0);
    assert_int_equal(piece->high, 100);
    const Dim *half = module_add_rank_dim(module, DIM_PIECE, 2, rows); /* among 2 */
    assert_int_equal(half->high, 50);
    assert_int_equal(half->nominal, 32);
    const Dim *odd = module_add_dim(module, "C", 5, 9, 1, 0, (Place){0});
    const Dim *part = module_add_rank_dim(module, DIM_PIECE, 2, size_dim(&f->context, odd));
    assert_int_equal(part->low, 2);
    assert_int_equal(part->high, 5);
    assert_int_equal(module_size_differs(module, size_dim(&f->context, piece)), 1);
    const Size *nested = module_rank_size(module, DIM_PIECE, 2, size_dim(&f->context, piece));
    assert_int_equal(module_size_differs(module, nested), 3);
    assert_int_equal(module_size_differs(module, rows), 0);
}

/* What every rank has as much of needs no dim. */
static void test_even_sizes(void **state) {
    Fixture *f = *state;
    GUARD(f)
    Context *context = &f->context;
    Module *module = mesh_module(f, 4);
    const Size *rows = size_dim(context, module->dims[0]), *four = size_const(context, 4);
    const Size *many = size_mul(context, rows, four);
    int32_t before = module->n_dims;
    assert_ptr_equal(module_rank_size(module, DIM_PIECE, 1, many), rows);
    assert_ptr_equal(module_rank_size(module, DIM_PIECE, 1, size_const(context, 8)),
                     size_const(context, 2));
    assert_ptr_equal(module_rank_size(module, DIM_RANKS, 3, NULL), size_const(context, 8));
    assert_int_equal(module->n_dims, before);
    assert_non_null(size_as_dim(module_rank_size(module, DIM_PIECE, 1, size_const(context, 9))));

    Module *open = mesh_module(f, 0);
    const Size *ranks = module_rank_size(open, DIM_RANKS, 1, NULL);
    assert_ptr_equal(module_rank_size(open, DIM_PIECE, 1, ranks), size_const(context, 1));
    assert_null(module_even_size(open, DIM_PIECE, 1, size_dim(context, open->dims[0])));
}

static void test_bind(void **state) {
    Fixture *f = *state;
    GUARD(f)
    Context *context = &f->context;
    Module *module = mesh_module(f, 0);
    const Size *rows = size_dim(context, module->dims[0]);
    const Dim *piece = module_add_rank_dim(module, DIM_PIECE, 1, rows);
    const Dim *first = module_add_rank_dim(module, DIM_FIRST, 1, rows);
    const Dim *rank = module_add_rank_dim(module, DIM_COORDINATE, 3, NULL);
    const Dim *ranks = module_add_rank_dim(module, DIM_RANKS, 1, NULL);
    const Dim *nested = module_add_rank_dim(module, DIM_PIECE, 2, size_dim(context, piece));
    MeshShape shape = {.n_axes = 2, .sizes = {4, 2}};
    int64_t values[8] = {5};
    assert_true(mesh_bind(module, &shape, 1, values)); /* data 0, model 1 */
    assert_int_equal(values[piece->id], 2);
    assert_int_equal(values[first->id], 0);
    assert_int_equal(values[rank->id], 1);
    assert_int_equal(values[ranks->id], 4);
    assert_int_equal(values[nested->id], 1);
    assert_true(mesh_bind(module, &shape, 7, values));
    assert_int_equal(values[piece->id], 1);
    assert_int_equal(values[first->id], 4);
    assert_int_equal(values[nested->id], 0);
    assert_false(mesh_bind(module, &shape, 8, values));
    shape.sizes[1] = 3; /* the module says 2 */
    assert_false(mesh_bind(module, &shape, 0, values));
    shape = (MeshShape){.n_axes = 1, .sizes = {4}};
    assert_false(mesh_bind(module, &shape, 0, values));
    shape = (MeshShape){.n_axes = 2, .sizes = {4, 2}};
    values[0] = -1;
    assert_false(mesh_bind(module, &shape, 0, values));
}

/* -- the text form */

#define HEAD                                                                                       \
    "module \"m\" {\n"                                                                             \
    "    mesh data = *\n"                                                                          \
    "    mesh model = 2\n"                                                                         \
    "    dim B in 0..\n"                                                                           \
    "    dim data.ranks is ranks over \"data\"\n"                                                  \
    "    dim data.model.rank is rank over \"data,model\"\n"                                        \
    "    dim B.data is piece of B over \"data\"\n"                                                 \
    "    dim B.data.first is first of B over \"data\"\n"                                           \
    "    dim rows.data'2 is piece of 2*B + 1 over \"data\"\n"                                      \
    "    dim six.data is piece of 6 over \"data\"\n"

static const char *const TEXT = HEAD
    "}\n"
    "\n"
    "func \"m.train\" train has no_grad_ops, sharded (\n"
    "    %0 x: f32[B.data, 6] = input \"x\" of f32[B, 6] cut 0 (1, B, 1) over \"data\",\n"
    "    %1: f32[3] = param \"w\" of f32[6] cut 0 (1, 6, 1) over \"model\",\n"
    "    %2: f32[3*B.data] = state \"s\" of f32[6*B] cut 0 (1, B, 6) over \"data\" cut 0 (B, 6, 1) "
    "over \"model\"\n"
    ") {\n"
    "    %3 = all_gather %0 {axis = [0], size = [B], rows = [B], over = \"data\"} : f32[B, 6]\n"
    "    %4 = reduce_scatter %3 {axis = [1], size = [3], rows = [6], over = \"model\"} : f32[B, "
    "3]\n"
    "    %5 = all_to_all %0 {axis = 0, size = B, rows = B, split = 1, split_size = six.data, "
    "split_rows = 6, over = \"data\"} : f32[B, six.data]\n"
    "    %6 = shift %1 {by = -1, over = \"data,model\"} : f32[3]\n"
    "    %7 = size {value = data.model.rank, dtype = i64} : i64[]\n"
    "    %8, %9 = all_reduce %6, %7 {combine = \"add\", over = \"data,model\"} : f32[3], i64[]\n"
    "    yield %0, %8, %2, %9\n"
    "} -> (\n"
    "    output \"y\" of f32[B, 6] cut 0 (1, B, 1) over \"data\",\n"
    "    store %1 of f32[6] cut 0 (1, 6, 1) over \"model\",\n"
    "    store %2 of f32[6*B] cut 0 (1, B, 6) over \"data\" cut 0 (B, 6, 1) over \"model\",\n"
    "    info \"n\"\n"
    ")\n";

static Module *parse(Fixture *f, const char *text) {
    const Source *source = context_source(&f->context, "t.ir", text, strlen(text), false);
    return module_parse(&f->context, source);
}

static const char *said(Fixture *f) {
    str_clear(&f->report);
    for (size_t i = 0; i < f->context.diags.count; i++) {
        diag_print(f->context.diags.items[i], &f->report, false);
    }
    return str_text(&f->report);
}

static void test_text(void **state) {
    Fixture *f = *state;
    GUARD(f)
    Module *module = parse(f, TEXT);
    if (!module) {
        fail_msg("%s", said(f));
    }
    Str out;
    str_init(&out, NULL);
    module_print(module, &out);
    assert_string_equal(str_text(&out), TEXT);
    /* A copy keeps shardings and attributes. */
    Func *copy = func_clone(module->first, "m.train");
    func_remove(module->first);
    assert_ptr_equal(module->first, copy);
    str_clear(&out);
    module_print(module, &out);
    assert_string_equal(str_text(&out), TEXT);
    str_finish(&out);
}

/* The hash tells apart what only the mesh, a dim's source or a cut differ in. */
static void test_hash(void **state) {
    Fixture *f = *state;
    GUARD(f)
    uint64_t plain = module_hash(parse(f, TEXT), &f->report);
    Module *module = parse(f, TEXT);
    module->mesh[0].size = 4;
    assert_true(module_hash(module, &f->report) != plain);
    module = parse(f, TEXT);
    ((Dim *)module->dims[3])->source = DIM_FIRST;
    assert_true(module_hash(module, &f->report) != plain);
    module = parse(f, TEXT);
    ((AxisCut *)module->first->args[1].sharding->cuts)->group = 1;
    assert_true(module_hash(module, &f->report) != plain);
    assert_true(module_hash(parse(f, TEXT), &f->report) == plain);
}

typedef struct Refused {
    const char *head; /* behind the lines of HEAD */
    const char *args, *ops, *results;
    const char *said; /* part of the message */
} Refused;

#define X_ARG "    %0: f32[B.data, 6] = input \"x\" of f32[B, 6] cut 0 (1, B, 1) over \"data\"\n"
#define Y_OUT "    output \"y\" of f32[B, 6] cut 0 (1, B, 1) over \"data\"\n"
#define W_ARG "    %0: f32[B, 6] = input \"x\"\n"

static const Refused REFUSED[] = {
    {.head = "    mesh data = 2\n", .said = "axis of the mesh 'data' stands here twice"},
    {.head = "    mesh x = 0\n", .said = "an axis of the mesh has from 1 to 1048576 ranks"},
    {.head = "    mesh x = -\n", .said = "expected an integer, found '-'"},
    {.head = "    mesh 3 = 2\n", .said = "expected the name of an axis of the mesh, found '3'"},
    {.head = "    dim C is piece of B over \"model,data\"\n",
     .said = "unknown list of axes of the mesh, in its order, 'model,data'"},
    {.head = "    dim C is piece of D over \"data\"\n", .said = "names a dim the module has not"},
    {.head = "    dim C is piece over \"data\"\n", .said = "expected 'of', found 'over'"},
    {.head = "    dim C is part of B over \"data\"\n", .said = "unknown source of a dim 'part'"},
    {.head = "    dim C is piece of B over \"data\"\n",
     .said = "what is a dim already, 'B.data' stands here twice"},
    {.head = "    dim B.data in 1..\n", .said = "dim 'B.data' stands here twice"},
    {.args = "    %0: f32[B.data, 6] = input \"x\" of f32[B, 6]\n",
     .said = "expected 'cut', found ')'"},
    {.args = "    %0: f32[B.data, 6] = input \"x\" of f32[B, 6] cut 0 (1, B) over \"data\"\n",
     .said = "expected ',', found ')'"},
    {.args = "    %0: f32[B.data, 6] = input \"x\"\n",
     .results = Y_OUT,
     .said = "'x' is said to be equal on every rank, but f32[B.data, 6] may differ"},
    {.args = X_ARG,
     .results = "    output \"y\"\n",
     .said = "'y' is said to be equal on every rank, but f32[B.data, 6] may differ"},
    {.args = "    %0: f32[B, 6] = input \"x\" of f32[B, 6] cut 0 (1, B, 1) over \"data\"\n",
     .said = "'x' is f32[B, 6], but a rank's part of f32[B, 6], so cut, is f32[B.data, 6]"},
    {.args = "    %0: f32[B.data, 6] = input \"x\" of f32[B, 6] cut 2 (1, B, 1) over \"data\"\n",
     .said = "a cut of axis 2 is of none of the whole's 2 axes"},
    {.args = "    %0: f32[B.data, 6] = input \"x\" of f32[B, 6] cut 0 (2, B, 1) over \"data\"\n",
     .said = "axis 0 has B elements, but is cut as 2 x B x 1"},
    {.args =
         "    %0: f32[B.data, 6] = input \"x\" of f32[B.data, 6] cut 0 (1, B, 1) over \"data\"\n",
     .said = "is not sound, or differs among ranks"},
    {.args = "    %0: f32[B.data, 3] = input \"x\" of f32[B, 6] cut 1 (1, 6, 1) over \"model\" "
             "cut 0 (1, B, 1) over \"data\"\n",
     .said = "a cut of axis 0 is of none of the whole's 2 axes, or stands behind one of a later"},
    {.args = "    %0: f32[B.data, 6] = input \"x\" of f32[B, 6] cut 0 (1, B, 1) over \"data\" "
             "cut 1 (1, 6, 1) over \"data\"\n",
     .said = "two cuts are over the mesh's axis \"data\""},
    {.args = "    %0: f32[B.data] = input \"x\" of f32[6*B] cut 0 (1, B, 6) over \"data\" "
             "cut 0 (1, 6, B) over \"model\"\n",
     .said =
         "the cut 1 x 6 x B of axis 0 does not lie within the inner elements of the cut 1 x B x 6"},
    {.args = "    %0: f32[3*B.data] = input \"x\" of f32[6*B] cut 0 (1, B, 6) over \"data\" "
             "cut 0 (1, 6, 1) over \"model\"\n",
     .said = "the cut 1 x 6 x 1 of axis 0 does not lie within"},
    {.args = "    %0: f32[3] = param \"w\" of f32[6] cut 0 (1, 6, 1) over \"model\"\n",
     .results = "    store %0\n",
     .said = "result 0 stores into 'w' another part than its"},
    {.args = W_ARG,
     .ops = "    %1 = all_reduce %0 {combine = \"sub\", over = \"data\"} : f32[B, 6]\n",
     .said = "combine = \"sub\" is no scalar operation with an identity"},
    {.args = W_ARG,
     .ops = "    %1 = all_reduce %0 {combine = \"and\", over = \"data\"} : f32[B, 6]\n",
     .said = "and does not take operand 0 of f32"},
    {.args = W_ARG,
     .ops =
         "    %1, %2 = all_reduce %0 {combine = \"add\", over = \"data\"} : f32[B, 6], f32[B, 6]\n",
     .said = "1 operands have 2 results"},
    {.args = W_ARG,
     .ops = "    %1 = all_reduce %0 {combine = \"add\", over = \"rows\"} : f32[B, 6]\n",
     .said =
         "over = \"rows\" is no list of axes of the mesh, which has \"data,model\" in that order"},
    {.args = X_ARG,
     .ops = "    %1 = all_reduce %0 {combine = \"add\", over = \"data\"} : f32[B.data, 6]\n",
     .said = "axis 0 of operand 0 is B.data, which may differ among the ranks over \"data\""},
    {.args = X_ARG,
     .ops = "    %1 = shift %0 {by = 1, over = \"data,model\"} : f32[B.data, 6]\n",
     .said = "axis 0 of operand 0 is B.data, which may differ"},
    {.args = W_ARG,
     .ops = "    %1 = all_gather %0 {axis = [0], size = [B], rows = [B], over = \"data\"} : f32[B, "
            "6]\n",
     .said = "a rank's part of B is B.data, not B"},
    {.args = W_ARG,
     .ops =
         "    %1 = reduce_scatter %0 {axis = [0], size = [B.data], rows = [B], over = \"model\"} : "
         "f32[B.data, 6]\n",
     .said = "the module has no dim for pieces of B over \"model\""},
    {.args = W_ARG,
     .ops = "    %1 = reduce_scatter %0 {axis = [1], size = [2], rows = [4], over = \"model\"} : "
            "f32[B, "
            "2]\n",
     .said = "6 elements are no multiple of 4 rows"},
    {.args = W_ARG,
     .ops = "    %1 = reduce_scatter %0 {axis = [2], size = [2], rows = [4], over = \"model\"} : "
            "f32[B, "
            "2]\n",
     .said = "axis 2 is outside a value of rank 2"},
    {.args = W_ARG,
     .ops = "    %1, %2 = reduce_scatter %0, %0 {axis = [1], size = [3, 3], rows = [6, 6], over = "
            "\"model\"} : f32[B, 3], f32[B, 3]\n",
     .said = "2 operands have 1 axes, 2 sizes, 2 rows and 2 results"},
    {.args = W_ARG,
     .ops =
         "    %1, %2 = reduce_scatter %0, %0 {axis = [1, 1], size = [3, 2], rows = [6, 6], over = "
         "\"model\"} : f32[B, 3], f32[B, 2]\n",
     .said = "a rank's part of 6 is 3, not 2"},
    {.args = W_ARG,
     .ops = "    %1 = fusion %0 {form = \"loop\"} : f32[B, 6] (%2: f32[B, 6]) {\n"
            "        %3 = shift %2 {by = 1, over = \"data\"} : f32[B, 6]\n"
            "        yield %3\n    }\n",
     .said = "is a collective in a fusion"},
    {.args = X_ARG,
     .ops = "    %1 = all_to_all %0 {axis = 0, size = B, rows = B, split = 0, split_size = 3, "
            "split_rows = 6, over = \"model\"} : f32[B, 3]\n",
     .said = "axis and split are both 0"},
};

/* The text of one of them: what it does not say is a program that is well. */
static void refused_text(const Refused *refused, char *text, size_t size) {
    const char *args = refused->args ? refused->args : X_ARG;
    const char *results = refused->results                        ? refused->results
                          : strstr(args, "B, 6] = input \"x\"\n") ? "    output \"y\"\n"
                                                                  : Y_OUT;
    snprintf(text, size,
             HEAD
             "%s}\n\nfunc \"m.infer\" infer has sharded (\n%s) {\n%s    yield %%0\n} -> (\n%s)\n",
             refused->head ? refused->head : "", args, refused->ops ? refused->ops : "", results);
}

static void check_refused(Fixture *f, const Refused *refused, bool is_good) {
    char text[4096];
    GUARD(f)
    refused_text(refused, text, sizeof(text));
    Module *module = parse(f, text);
    const char *message = said(f);
    if ((module != NULL) != is_good || !strstr(message, refused->said)) {
        fail_msg("it should say \"%s\":\n%s\nbut says:\n%s", refused->said, text, message);
    }
}

static void test_refused(void **state) {
    for (size_t i = 0; i < sizeof(REFUSED) / sizeof(REFUSED[0]); i++) {
        setup(state);
        check_refused(*state, &REFUSED[i], false);
        teardown(state);
    }
    setup(state);
    check_refused(*state, &(Refused){.said = ""}, true);
    teardown(state);
}

/* Neither shardings nor the property without a mesh, nor collectives. */
static void test_no_mesh(void **state) {
    Fixture *f = *state;
    GUARD(f)
    assert_null(
        parse(f, "module \"m\" {\n}\nfunc \"f\" infer has sharded () {\n yield\n} -> ()\n"));
    assert_non_null(strstr(said(f), "is one rank's program in a module without a mesh"));
    assert_null(parse(f, "module \"m\" {\n}\nfunc \"f\" infer (%0: f32[] = input \"x\") {\n"
                         " %1 = all_reduce %0 {combine = \"add\", over = \"data\"} : f32[]\n"
                         " yield %1\n} -> (output \"y\")\n"));
    assert_non_null(strstr(said(f), "the module has no mesh, so there are no ranks"));
    assert_null(
        parse(f, HEAD "}\nfunc \"f\" infer (\n" X_ARG ") {\n yield %0\n} -> (\n" Y_OUT ")\n"));
    assert_non_null(strstr(said(f), "the sharding of 'x': the function is not one rank's"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_groups),
        cmocka_unit_test_setup_teardown(test_axes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rank_dims, setup, teardown),
        cmocka_unit_test_setup_teardown(test_even_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hash, setup, teardown),
        cmocka_unit_test(test_refused),
        cmocka_unit_test_setup_teardown(test_no_mesh, setup, teardown),
    };
    return cmocka_run_group_tests_name("mesh", tests, NULL, NULL);
}
