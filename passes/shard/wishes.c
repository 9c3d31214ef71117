/* What is asked for before anything is chosen: the program's own words (a mesh block, `|>
 * shard(…)`), and what another Func of the module has chosen for the same parameter, which lies on
 * a rank in one way only. */
#include "ir/mesh_layout.h"
#include "passes/hint.h"
#include "passes/shard/shard.h"

#include <string.h>

static MeshGroup group_of(const Module *module, const PlacedAxis *axis) {
    MeshGroup group = 0;
    for (int32_t i = 0; i < axis->count; i++) {
        for (int32_t k = 0; k < module->n_mesh_axes; k++) {
            bool is_it = strcmp(module->mesh[k].name, axis->names[i]) == 0;
            group |= is_it && module->mesh[k].size != 1 ? (MeshGroup)1 << k : 0;
        }
    }
    return group;
}

void wish_unmet(Shard *s, Place place, const char *name, const Value *value, const AxisCut *cut) {
    DiagList *diags = &s->context->diags;
    const char *text = arena_format(s->arena, "%s%s%s cannot be cut along axis %d over \"%s\"",
                                    name ? "'" : "", name ? name : "this value", name ? "'" : "",
                                    (int)cut->axis, module_group_text(s->module, cut->group));
    Diag *diag = diag_report(diags, DIAG_MESH_FORM, place, text);
    const Cuts *cuts = &spread_of(s, value)->cuts;
    if (cuts->n > 0) {
        diag_help(diags, diag, "it is %s already, by another line, or in another entry",
                  cuts_text(s, value->type, cuts));
    }
}

/* -- Rows of what lies between products */

typedef struct WeightCuts {
    Shard *s;
    int32_t n;
} WeightCuts;

static bool is_cut_by_model(const Shard *s, const Value *value, const AxesRow row, int8_t factor) {
    const Cuts *cuts = &spread_of(s, value)->cuts;
    for (int32_t i = 0; i < cuts->n; i++) {
        if ((cuts->at[i].group & s->model) != 0 && row[cuts->at[i].axis] == factor) {
            return true;
        }
    }
    return false;
}

static void count_weight_cuts(Op *op, void *user) {
    WeightCuts *count = user;
    if (!op_is_product(op)) {
        return;
    }
    OpAxes axes = op_factors(count->s->arena, op);
    for (int8_t factor = 0; factor < axes.n_factors; factor++) {
        if (!is_of_weight(count->s, op, &axes, factor)) {
            continue;
        }
        for (int32_t i = 0; i < op->n_operands; i++) {
            count->n += is_cut_by_model(count->s, op->operands[i], axes.operands[i], factor);
        }
        for (int32_t r = 0; r < op->n_results; r++) {
            count->n += is_cut_by_model(count->s, op->results[r], axes.results[r], factor);
        }
    }
}

/* How many operands and results of products are cut by `model` along an axis of a weight. */
static int32_t weight_cuts(Shard *s) {
    WeightCuts count = {.s = s};
    func_each_op(s->func, count_weight_cuts, &count);
    return count.n;
}

/* Whether the cut of a value that is computed never comes to an axis of a weight, were there no
 * other: it is one of rows, and products are to be cut first, as if it were not there. */
static bool lies_between(Shard *s, const Value *value, const AxisCut *cut) {
    if (!value->op) {
        return false;
    }
    Arena *arena = s->arena;
    Spread *spreads = s->spreads;
    s->arena = s->trial;
    s->spreads = ARENA_ARRAY(s->trial, Spread, (size_t)s->n_values + 1);
    cut_offer(s, value, cut, cut->axis);
    propagate_further(s);
    bool between = weight_cuts(s) == 0;
    arena_clear(s->trial);
    s->arena = arena;
    s->spreads = spreads;
    return between;
}

/* Cuts the value as asked; what it is cut by already must be that. */
static void wish(Shard *s, const Value *value, const Placed *placed, Place place,
                 const char *name) {
    for (int32_t axis = 0; axis < placed->rank && axis < value->type.rank; axis++) {
        MeshGroup group = group_of(s->module, &placed->axes[axis]);
        AxisCut cut = cut_of_rows(s, group, value->type.dims[axis]);
        Cuts *cuts = &spread_of(s, value)->cuts;
        const AxisCut *old = cuts_of_axis(cuts, axis);
        cut.axis = axis;
        int64_t rows;
        bool is_none = group == 0 || (size_is_const(cut.rows, &rows) && rows == 0) ||
                       (old && cut_equal(old, &cut));
        bool between = !is_none && group == s->model && lies_between(s, value, &cut);
        if (!is_none && !cuts_add(cuts, &cut, axis, between ? CUT_BETWEEN : CUT_CHOSEN)) {
            wish_unmet(s, place, name, value, &cut);
        }
    }
}

/* -- The program's words */

typedef struct Hint {
    Value *value;
    const char *text;
    Place place;
} Hint;

/* A gradient, and in which type sums of it are sent. */
typedef struct SentHint {
    Value *value;
    DType type;
} SentHint;

typedef struct Hints {
    Arena *arena;
    VEC(Hint) list;
    VEC(SentHint) sent;
} Hints;

static bool is_hint(const Op *op) {
    return op && (op->code == OP_shard_hint || op->code == OP_exchange_hint);
}

static void note_hint(Op *op, void *user) {
    Hints *hints = user;
    Value *value = is_hint(op) ? op->operands[0] : NULL;
    while (value && is_hint(value->op)) {
        value = value->op->operands[0];
    }
    if (op->code == OP_shard_hint) {
        VEC_PUSH(hints->arena, &hints->list, ((Hint){value, shard_hint_placed(op), op->place}));
    } else if (op->code == OP_exchange_hint) {
        VEC_PUSH(hints->arena, &hints->sent, ((SentHint){value, op_dtype(op)}));
    }
}

Hints *hints_take(Arena *arena, Func *func) {
    Hints *hints = ARENA_NEW(arena, Hints);
    hints->arena = arena;
    func_each_op(func, note_hint, hints);
    hints_drop(func);
    return hints;
}

/* The parameter that an optimiser's state is of, by its name: "path#slot". */
static const char *path_of(Shard *s, const char *name) {
    const char *end = strchr(name, '#');
    return end ? arena_format(s->arena, "%.*s", (int)(end - name), name) : name;
}

static void wish_by_path(Shard *s, int32_t arg) {
    const FuncArg *record = &s->func->args[arg];
    bool has_path = record->role == ARG_PARAM || record->role == ARG_SLOT;
    const MeshRule *rule = has_path && s->module->mesh_layout
                               ? mesh_layout_rule(s->module->mesh_layout, path_of(s, record->name))
                               : NULL;
    Value *value = s->func->body->args[arg];
    if (rule && rule->placed.rank == value->type.rank) {
        wish(s, value, &rule->placed, record->place, record->name);
    }
}

void seed_wishes(Shard *s, const Hints *hints) {
    for (size_t i = 0; i < hints->list.count; i++) {
        const char *problem = NULL;
        Placed placed;
        if (placed_read(s->context, hints->list.items[i].text, &placed, &problem)) {
            spread_of(s, hints->list.items[i].value)->is_left_whole |= placed_is_whole(&placed);
            wish(s, hints->list.items[i].value, &placed, hints->list.items[i].place, NULL);
        }
    }
    for (size_t i = 0; i < hints->sent.count; i++) {
        Spread *spread = spread_of(s, hints->sent.items[i].value);
        spread->is_sent = true;
        spread->sent = hints->sent.items[i].type;
    }
    for (int32_t i = 0; i < s->func->body->n_args; i++) {
        wish_by_path(s, i);
    }
}

/* -- What another Func has chosen */

static bool lasts(ArgRole role) {
    return role == ARG_PARAM || role == ARG_SLOT || role == ARG_STATE || role == ARG_CACHE;
}

static const Sharding *agreed_on(const Shard *s, int32_t arg) {
    const FuncArg *record = &s->func->args[arg];
    return lasts(record->role) ? map_get(&s->module->agreed, record->name) : NULL;
}

/* The cuts of ZeRO, or all others. */
static void seed_agreed_cuts(Shard *s, int32_t arg, const Sharding *agreed, bool kept) {
    Spread *spread = spread_of(s, s->func->body->args[arg]);
    ArgRole role = s->func->args[arg].role;
    bool may_be_kept = s->level > 0 && (role == ARG_PARAM || role == ARG_SLOT);
    for (int32_t c = 0; c < agreed->n_cuts; c++) {
        bool is_kept = may_be_kept && (agreed->cuts[c].group & ~s->zero) == 0;
        if (is_kept == kept) {
            cuts_add(&spread->cuts, &agreed->cuts[c], agreed->cuts[c].axis,
                     kept ? CUT_KEPT : CUT_CHOSEN);
        }
    }
}

void seed_agreed(Shard *s) {
    for (int32_t i = 0; i < s->func->body->n_args; i++) {
        Spread *spread = spread_of(s, s->func->body->args[i]);
        const Sharding *agreed = agreed_on(s, i);
        if (agreed) {
            s->is_agreed = s->is_agreed || s->func->args[i].role == ARG_PARAM;
            spread->cuts.n = 0;
            seed_agreed_cuts(s, i, agreed, false);
            spread->pinned = ~(MeshGroup)0;
        }
    }
}

void seed_agreed_kept(Shard *s) {
    for (int32_t i = 0; i < s->func->body->n_args; i++) {
        const Sharding *agreed = agreed_on(s, i);
        if (agreed) {
            seed_agreed_cuts(s, i, agreed, true);
        }
    }
}

void agree(Shard *s) {
    for (int32_t i = 0; i < s->func->body->n_args; i++) {
        const FuncArg *arg = &s->func->args[i];
        const Value *value = s->func->body->args[i];
        const Cuts *cuts = &spread_of(s, value)->cuts;
        if (lasts(arg->role) && !map_get(&s->module->agreed, arg->name)) {
            const Sharding *sharding = module_sharding(s->module, value->type, cuts->at, cuts->n);
            map_set(&s->module->agreed, arg->name, (void *)(uintptr_t)sharding);
        }
    }
}
