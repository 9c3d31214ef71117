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
        if (!is_none && !cuts_add(cuts, &cut, axis, false)) {
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
            cuts_add(&spread->cuts, &agreed->cuts[c], agreed->cuts[c].axis, kept);
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
