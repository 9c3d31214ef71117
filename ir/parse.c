/* Reads the text form of the IR (docs/ir.md) back into a module: the module's dims and settings and
 * the functions with their arguments and results. Ops are parse_op.c's, small things parse_lex.c's.
 * What comes out is verified: other stages may trust it. */
#include "ir/mesh_layout.h"
#include "ir/parse_internal.h"

#include <string.h>

/* "data,model": a group of the module's ranks. */
static bool parse_group(Parser *p, MeshGroup *out) {
    if (!parse_keyword(p, "over")) {
        return false;
    }
    Mark mark = parse_mark(p);
    const char *text = parse_string(p, "axes of the mesh in quotes");
    if (text == NULL) {
        return false;
    }
    if (!module_group_parse(p->module, text, out)) {
        MeshGroup all = ((MeshGroup)1 << p->module->n_mesh_axes) - 1;
        Diag *diag = diag_report(&p->context->diags, DIAG_IR_UNKNOWN_NAME, parse_place(p, mark),
                                 "list of axes of the mesh, in its order,", text);
        diag_help(&p->context->diags, diag, "the mesh has \"%s\"",
                  module_group_text(p->module, all));
        return false;
    }
    return true;
}

/* "piece of B over "data"", behind "dim B.data is". */
static bool parse_rank_dim(Parser *p, const char *name, Mark mark) {
    MeshGroup group = 0;
    const Size *of = NULL;
    int source = parse_choice(p, DIM_SOURCE_WORDS + 1, DIM_N_SOURCES - 1, "source of a dim") + 1;
    if (source == 0) {
        return false;
    }
    if (source == DIM_PIECE || source == DIM_FIRST) {
        of = parse_keyword(p, "of") ? parse_size(p) : NULL;
        if (of == NULL) {
            return false;
        }
    }
    if (!parse_group(p, &group)) {
        return false;
    }
    const Dim *equal = module_find_rank_dim(p->module, (DimSource)source, group, of);
    if (equal != NULL) {
        diag_report(&p->context->diags, DIAG_IR_DUPLICATE, parse_place(p, mark),
                    "what is a dim already,", equal->name);
        return false;
    }
    module_add_rank_dim_as(p->module, (DimSource)source, group, of, name, parse_place(p, mark));
    return true;
}

/* "in 8..512 = 64", behind "dim H % 8". */
static bool parse_free_dim(Parser *p, const char *name, int64_t divisor, Mark mark) {
    int64_t low = 1;
    int64_t high = INT64_MAX;
    int64_t nominal = 0;
    if (!parse_keyword(p, "in") || !parse_int(p, &low) || !parse_expect(p, "..")) {
        return false;
    }
    parse_skip(p);
    if (*p->at >= '0' && *p->at <= '9' && !parse_int(p, &high)) {
        return false;
    }
    if (parse_accept(p, "=") && !parse_int(p, &nominal)) {
        return false;
    }
    if (divisor < 1 || low < 0 || high < low || nominal < 0) {
        diag_report(&p->context->diags, DIAG_IR_BAD_NUMBER, parse_place(p, mark),
                    "a dim needs a divisor of at least 1, bounds in order, and nothing negative");
        return false;
    }
    module_add_dim(p->module, name, low, high, divisor, nominal, parse_place(p, mark));
    return true;
}

/* dim H % 8 in 8..512 = 64, or dim B.data is piece of B over "data" */
static bool parse_dim(Parser *p) {
    Mark mark = parse_mark(p);
    const char *name = parse_dim_name(p);
    int64_t divisor = 1;
    if (name == NULL) {
        return false;
    }
    if (module_find_dim(p->module, name) != NULL) {
        diag_report(&p->context->diags, DIAG_IR_DUPLICATE, parse_place(p, mark), "dim", name);
        return false;
    }
    if (p->module->n_dims == PARSE_MAX_DIMS) {
        diag_report(&p->context->diags, DIAG_IR_LIMIT, parse_place(p, mark),
                    "a module has at most 1024 dims");
        return false;
    }
    if (parse_at_keyword(p, "is")) {
        return parse_keyword(p, "is") && parse_rank_dim(p, name, mark);
    }
    if (parse_accept(p, "%") && !parse_int(p, &divisor)) {
        return false;
    }
    return parse_free_dim(p, name, divisor, mark);
}

/* mesh data = *, or mesh data = 4 */
static bool parse_axis(Parser *p) {
    Mark mark = parse_mark(p);
    const char *name = parse_word(p, "the name of an axis of the mesh");
    int64_t size = 0;
    if (name == NULL || !parse_expect(p, "=")) {
        return false;
    }
    bool is_any = parse_accept(p, "*");
    if (!is_any && !parse_int(p, &size)) {
        return false;
    }
    if (!is_any && (size < 1 || size > MESH_MAX_RANKS)) {
        diag_report(&p->context->diags, DIAG_IR_BAD_NUMBER, parse_place(p, mark),
                    "an axis of the mesh has from 1 to 1048576 ranks, or *: any number");
        return false;
    }
    if (p->module->n_mesh_axes == MESH_MAX_AXES) {
        diag_report(&p->context->diags, DIAG_IR_LIMIT, parse_place(p, mark),
                    "a mesh has at most 8 axes");
        return false;
    }
    if (!module_add_axis(p->module, name, size)) {
        diag_report(&p->context->diags, DIAG_IR_DUPLICATE, parse_place(p, mark), "axis of the mesh",
                    name);
        return false;
    }
    return true;
}

static bool parse_setting(Parser *p) {
    Mark mark = parse_mark(p);
    const char *name = parse_name(p, "the name of a setting");
    if (name == NULL) {
        return false;
    }
    if (map_has(&p->module->settings, name)) {
        diag_report(&p->context->diags, DIAG_IR_DUPLICATE, parse_place(p, mark), "setting", name);
        return false;
    }
    if (!parse_expect(p, "=")) {
        return false;
    }
    const char *text = parse_string(p, "the setting's text");
    if (text == NULL) {
        return false;
    }
    map_set(&p->module->settings, name, (void *)(uintptr_t)text);
    if (strcmp(name, "mesh") != 0) {
        return true;
    }
    const char *problem = NULL;
    p->module->mesh_layout = mesh_layout_read(p->context, text, &problem);
    if (p->module->mesh_layout == NULL) {
        diag_report(&p->context->diags, DIAG_IR_MESH, parse_place(p, mark), problem);
    }
    return p->module->mesh_layout != NULL;
}

bool parse_module_head(Parser *p) {
    static const char *const WORDS[] = {"dim", "setting", "mesh"};
    static bool (*const PARTS[])(Parser *) = {parse_dim, parse_setting, parse_axis};
    if (!parse_keyword(p, "module")) {
        return false;
    }
    const char *name = parse_string(p, "the name of the module");
    if (name == NULL || !parse_expect(p, "{")) {
        return false;
    }
    p->module = module_create(p->context, name);
    while (!parse_accept(p, "}")) {
        int choice = parse_choice(p, WORDS, 3, "part of a module");
        if (choice < 0 || !PARTS[choice](p)) {
            return false;
        }
    }
    return true;
}

/* "has no_grad_ops, fused" */
static bool parse_properties(Parser *p) {
    if (!parse_at_word(p)) {
        return true;
    }
    if (!parse_keyword(p, "has")) {
        return false;
    }
    do {
        int choice = parse_choice(p, PROPERTY_WORDS, N_PROPERTIES, "property");
        if (choice < 0) {
            return false;
        }
        module_parser(p)->func->properties |= 1U << choice;
    } while (parse_accept(p, ","));
    return true;
}

/* " of f32[B, 3] cut 0 (1, B, 1) over "data"": which part of a whole a value is; *out stays NULL
 * where that does not stand. The verifier looks at what it says. */
static bool parse_sharding(Parser *p, const Sharding **out) {
    VEC(AxisCut) cuts = {0};
    Type whole = {0};
    if (!parse_at_keyword(p, "of")) {
        return true;
    }
    if (!parse_keyword(p, "of") || !parse_type(p, &whole)) {
        return false;
    }
    do {
        AxisCut cut = {0};
        int64_t axis = 0;
        if (!parse_keyword(p, "cut") || !parse_int(p, &axis) || !parse_expect(p, "(") ||
            !(cut.outer = parse_size(p)) || !parse_expect(p, ",") || !(cut.rows = parse_size(p)) ||
            !parse_expect(p, ",") || !(cut.inner = parse_size(p)) || !parse_expect(p, ")") ||
            !parse_group(p, &cut.group)) {
            return false;
        }
        cut.axis = axis >= 0 && axis < TYPE_MAX_RANK ? (int32_t)axis : TYPE_MAX_RANK;
        VEC_PUSH(&p->context->arena, &cuts, cut);
    } while (parse_at_keyword(p, "cut"));
    *out = module_sharding(p->module, whole, cuts.items, (int32_t)cuts.count);
    return true;
}

static bool parse_args(Parser *p) {
    if (!parse_expect(p, "(")) {
        return false;
    }
    while (!parse_accept(p, ")")) {
        if (module_parser(p)->func->body->n_args > 0 && !parse_expect(p, ",")) {
            return false;
        }
        Mark mark = parse_mark(p);
        int32_t number = 0;
        const char *name = NULL;
        Type type = {0};
        if (!parse_definition(p, &number, &name) || !parse_expect(p, ":") ||
            !parse_type(p, &type) || !parse_expect(p, "=")) {
            return false;
        }
        int role = parse_choice(p, ARG_ROLE_WORDS, N_ARG_ROLES, "role of an argument");
        const char *outer = role >= 0 ? parse_string(p, "the name of the argument") : NULL;
        if (outer == NULL) {
            return false;
        }
        Value *arg =
            func_add_arg(module_parser(p)->func, (ArgRole)role, outer, type, parse_place(p, mark));
        arg->name = name;
        if (!parse_sharding(p, &module_parser(p)->func->args[arg->index].sharding)) {
            return false;
        }
        if (!parse_define(p, number, arg, mark)) {
            return false;
        }
    }
    return true;
}

/* "store %1", "loss "loss"", "ok" */
static bool parse_result(Parser *p, FuncResult *out) {
    int role = parse_choice(p, RESULT_ROLE_WORDS, N_RESULT_ROLES, "role of a result");
    if (role < 0) {
        return false;
    }
    *out = (FuncResult){.role = (ResultRole)role, .name = context_intern(p->context, "")};
    if (out->role == RESULT_STORE) {
        Mark mark = parse_mark(p);
        int32_t number = 0;
        if (!parse_value_number(p, &number)) {
            return false;
        }
        Value *value = parse_defined(p, number);
        if (value == NULL || value->block != module_parser(p)->func->body) {
            diag_report(&p->context->diags, DIAG_IR_UNDEFINED, parse_place(p, mark), (int)number);
            return false;
        }
        out->arg = value->index;
    }
    if (parse_at(p, "\"")) {
        out->name = parse_string(p, "the name of the result");
        if (out->name == NULL) {
            return false;
        }
    }
    return parse_sharding(p, &out->sharding);
}

static bool parse_results(Parser *p) {
    VEC(FuncResult) results = {0};
    if (!parse_expect(p, "->") || !parse_expect(p, "(")) {
        return false;
    }
    while (!parse_accept(p, ")")) {
        FuncResult result = {0};
        if ((results.count > 0 && !parse_expect(p, ",")) || !parse_result(p, &result)) {
            return false;
        }
        VEC_PUSH(&p->module->arena, &results, result);
    }
    module_parser(p)->func->results = results.items;
    module_parser(p)->func->n_results = (int32_t)results.count;
    return true;
}

static bool parse_func(Parser *p) {
    if (!parse_keyword(p, "func")) {
        return false;
    }
    Mark mark = parse_mark(p);
    const char *name = parse_string(p, "the name of a function");
    if (name == NULL) {
        return false;
    }
    if (map_has(&module_parser(p)->func_names, name)) {
        diag_report(&p->context->diags, DIAG_IR_DUPLICATE, parse_place(p, mark), "function", name);
        return false;
    }
    map_set(&module_parser(p)->func_names, name, NULL);
    int purpose = parse_choice(p, PURPOSE_WORDS, N_PURPOSES, "purpose");
    if (purpose < 0) {
        return false;
    }
    module_parser(p)->func = func_create(p->module, name, (Purpose)purpose);
    p->nesting = 0;
    if (!parse_properties(p) || !parse_args(p) || !parse_expect(p, "{") ||
        !parse_block(p, module_parser(p)->func->body) || !parse_results(p)) {
        return false;
    }
    func_renumber(module_parser(p)->func);
    return true;
}

/* Lets a Str take its memory from the context: a jump then leaks nothing. */
static void *arena_hook_alloc(void *user, size_t bytes) {
    return arena_alloc(user, bytes);
}

static void arena_hook_free(void *user, void *memory) {
    (void)user;
    (void)memory;
}

static bool check_module(Parser *p) {
    dlc_allocator hook = {
        .alloc = arena_hook_alloc, .free = arena_hook_free, .user = &p->context->arena};
    Str report;
    str_init(&report, &hook);
    if (module_verify(p->module, &report)) {
        return true;
    }
    if (report.length > 0 && report.text[report.length - 1] == '\n') {
        report.text[report.length - 1] = '\0';
    }
    diag_report(&p->context->diags, DIAG_IR_INVALID, (Place){.source = p->source},
                str_text(&report));
    return false;
}

Module *module_parse(Context *context, const Source *source) {
    ModuleParser parser = {.func = NULL};
    Parser *p = &parser.text;
    parse_start(p, context, source);
    map_init(&module_parser(p)->func_names, &context->arena);
    bool ok = parse_module_head(p);
    for (parse_skip(p); ok && p->at < p->end; parse_skip(p)) {
        ok = parse_func(p);
    }
    if (ok && check_module(p)) {
        return p->module;
    }
    module_destroy(p->module);
    return NULL;
}
