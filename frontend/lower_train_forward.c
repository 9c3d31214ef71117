/* The forward half of a training step: what each objective trains, the model's body, the gradients;
 * over micro-batches these are sums in a loop. */
#include "frontend/lower_train.h"
#include "frontend/reach.h"

#include <string.h>

/* -- objectives */

bool train_matches(Lower *lw, const AstExprs *globs, const char *path) {
    for (int32_t i = 0; i < globs->count; i++) {
        Val pattern = lower_constant_expr(lw, globs->items[i]);
        if (pattern.kind == VAL_STRING && glob_match(pattern.as.text, path)) {
            return true;
        }
    }
    return false;
}

bool train_frozen(Lower *lw, const char *path) {
    const AstSettings *settings = &lw->train->as.train.settings;
    for (int32_t i = 0; i < settings->count; i++) {
        const AstSetting *setting = &settings->items[i];
        if (strcmp(setting->word.text, "freeze") == 0 &&
            (train_matches(lw, &setting->values, path) ||
             train_matches(lw, &setting->for_globs, path) ||
             train_matches(lw, &setting->over_globs, path))) {
            return true;
        }
    }
    return false;
}

void train_warn_unmatched(Train *t, const AstExprs *globs) {
    for (int32_t i = 0; i < globs->count; i++) {
        AstExprs one = {.items = &globs->items[i], .count = 1};
        bool found = false;
        for (size_t k = 0; k < t->fs->uses.count; k++) {
            const PersistUse *use = t->fs->uses.entries[k].value;
            found = found || (use->persist->kind == PERSIST_PARAM &&
                              train_matches(t->lw, &one, use->persist->path));
        }
        Val pattern = lower_constant_expr(t->lw, globs->items[i]);
        if (!found && pattern.kind == VAL_STRING) {
            LW_REPORT(t->lw, GLOB_UNMATCHED, globs->items[i]->place, pattern.as.text);
        }
    }
}

static bool read_minimize(Train *t, const AstSetting *setting, Objective *out) {
    *out = (Objective){.loss = setting->values.items[0]->as.name,
                       .over = &setting->over_globs,
                       .n_optimizers = 1,
                       .place = setting->place};
    out->optimizers = ARENA_NEW(t->lw->arena, OptimizerUse);
    return optimizer_read(t->lw, setting, setting->over_value, &out->optimizers[0]);
}

/* The `optimizer` lines together: those with globs first, in order, the plain one for the rest. */
static bool read_plain(Train *t, Objective *out) {
    const AstSettings *settings = &t->lw->train->as.train.settings;
    *out = (Objective){.place = t->lw->train->place};
    out->optimizers = ARENA_ARRAY(t->lw->arena, OptimizerUse, settings->count + 1);
    for (int plain = 0; plain < 2; plain++) {
        for (int32_t i = 0; i < settings->count; i++) {
            const AstSetting *setting = &settings->items[i];
            if (strcmp(setting->word.text, "optimizer") != 0 ||
                (setting->for_globs.count == 0) != (plain == 1)) {
                continue;
            }
            OptimizerUse *use = &out->optimizers[out->n_optimizers++];
            if (!optimizer_read(t->lw, setting, setting->values.items[0], use)) {
                return false;
            }
        }
    }
    return true;
}

bool train_read_objectives(Train *t) {
    const AstSettings *settings = &t->lw->train->as.train.settings;
    t->objectives = ARENA_ARRAY(t->lw->arena, Objective, settings->count + 1);
    for (int32_t i = 0; i < settings->count; i++) {
        if (strcmp(settings->items[i].word.text, "minimize") == 0 &&
            !read_minimize(t, &settings->items[i], &t->objectives[t->n_objectives++])) {
            return false;
        }
    }
    if (t->n_objectives > 0) {
        return true;
    }
    if (find_setting(t->lw->train, "optimizer") == NULL) {
        Diag *diag = LW_REPORT(t->lw, NO_OPTIMIZER, t->lw->train->place, t->lw->model->name.text);
        lower_help(t->lw, diag, "add a line: optimizer adam(lr=1e-3)");
        return false;
    }
    t->n_objectives = 1;
    return read_plain(t, &t->objectives[0]);
}

/* -- the forward pass */

static Value *objective_loss(Train *t, const Objective *objective) {
    Lower *lw = t->lw;
    NamedVec *losses = &t->fs->losses;
    Value *total = NULL;
    Map names;
    map_init(&names, lw->arena);
    for (size_t i = 0; i < losses->count; i++) {
        Value *loss = losses->items[i].value.as.tensor;
        map_set(&names, losses->items[i].name, loss);
        if (objective->loss == NULL) {
            total = total ? train_binary(t, OP_add, total, loss) : loss;
        } else if (losses->items[i].name == objective->loss) {
            total = loss;
        }
    }
    if (losses->count == 0) {
        Diag *diag = LW_REPORT(lw, NO_LOSS, lw->train->place, lw->model->name.text);
        lower_note(lw, diag, lw->model->place, "the model");
        lower_help(lw, diag, "add one: loss mse(prediction, y)");
    } else if (total == NULL && objective->loss) {
        Diag *diag = LW_REPORT(lw, MINIMIZE_UNKNOWN, objective->place, lw->model->name.text,
                               objective->loss);
        const char *near = map_suggest(&names, objective->loss);
        if (near) {
            lower_help(lw, diag, "did you mean '%s'?", near);
        }
    }
    return total;
}

/* The parameters that this objective trains: not frozen, matched, and reached by the loss. */
static void choose_params(Train *t, const Objective *objective, Value *loss) {
    Lower *lw = t->lw;
    size_t count = t->fs->uses.count;
    Value **values = ARENA_ARRAY(lw->arena, Value *, count + 1);
    bool *reached = ARENA_ARRAY(lw->arena, bool, count + 1);
    for (size_t i = 0; i < count; i++) {
        values[i] = ((PersistUse *)t->fs->uses.entries[i].value)->value;
    }
    values_reached(lw->arena, loss, values, (int32_t)count, reached);
    t->params = ARENA_ARRAY(lw->arena, PersistUse *, count + 1);
    t->n_params = 0;
    for (size_t i = 0; i < count; i++) {
        PersistUse *use = t->fs->uses.entries[i].value;
        const char *path = use->persist->path;
        if (use->persist->kind != PERSIST_PARAM || train_frozen(lw, path) ||
            (objective->over && !train_matches(lw, objective->over, path))) {
            continue;
        }
        if (!reached[i]) {
            Diag *diag = LW_REPORT(lw, NO_GRADIENT, use->place, path);
            lower_help(lw, diag, "it keeps its value; say so with: freeze \"%s\"", path);
            continue;
        }
        t->params[t->n_params++] = use;
    }
    t->grads = ARENA_ARRAY(lw->arena, Value *, t->n_params + 1);
}

static bool gradients(Train *t, Value *loss) {
    Lower *lw = t->lw;
    Value **xs = ARENA_ARRAY(lw->arena, Value *, t->n_params + 1);
    for (int32_t i = 0; i < t->n_params; i++) {
        xs[i] = t->params[i]->value;
    }
    lower_at(lw, t->place);
    loss = scaling_of_loss(t, loss);
    lower_at(lw, t->place);
    if (t->n_params > 0 && loss) {
        b_grad(&lw->b, loss, xs, t->n_params, t->grads);
    }
    return !lower_building_failed(lw, t->place);
}

bool train_forward(Train *t, const Objective *objective, Value *const *inputs) {
    Lower *lw = t->lw;
    FuncState *fs = t->fs;
    fs->outputs.count = fs->metrics.count = fs->losses.count = 0;
    for (size_t i = 0; i < fs->uses.count; i++) {
        ((PersistUse *)fs->uses.entries[i].value)->declared = false;
    }
    for (size_t i = 0; i < fs->ordinals.count; i++) {
        *(int64_t *)fs->ordinals.entries[i].value = 0; /* every pass draws the same numbers */
    }
    Frame *frame = lw->frame;
    int64_t errors = lw->n_errors;
    lower_model_body(lw, lw->model, inputs);
    lw->frame = frame;
    if (lw->n_errors > errors) {
        return false;
    }
    t->loss = objective_loss(t, objective);
    if (t->loss == NULL) {
        return false;
    }
    choose_params(t, objective, t->loss);
    if (t->n_params == 0) {
        LW_REPORT(lw, NOTHING_TRAINED, objective->place,
                  "every parameter is frozen, unmatched or not reached by the loss");
        return false;
    }
    return gradients(t, t->loss);
}

/* -- micro-batches */

/* An input cut into `accumulate` parts along the batch: [k, B/k, …]. */
static Value *cut_input(Train *t, Value *input, const Size *part) {
    Lower *lw = t->lw;
    const Size *k = size_const(lw->context, t->accumulate);
    const Size *shape[TYPE_MAX_RANK];
    Type type = input->type;
    if (type.rank == TYPE_MAX_RANK) {
        LW_REPORT(lw, RANK_LIMIT, t->place, TYPE_MAX_RANK + 1);
        return NULL;
    }
    const Size *whole = size_mul(lw->context, k, part);
    lower_at(lw, t->place);
    Value *rows =
        whole == type.dims[0]
            ? input
            : lower_made(lw, b_slice_axis(&lw->b, input, 0, size_const(lw->context, 0), whole),
                         t->place);
    shape[0] = k;
    shape[1] = part;
    copy_sizes(shape + 2, type.dims + 1, type.rank - 1);
    return lower_reshape(lw, rows, shape, type.rank + 1, t->place);
}

/* The values summed over the micro-batches: gradients, losses, metrics. */
static int32_t summed_values(Train *t, Value **out) {
    int32_t count = 0;
    for (int32_t i = 0; i < t->n_params; i++) {
        out[count++] = t->grads[i];
    }
    out[count++] = t->loss;
    for (size_t i = 0; i < t->fs->losses.count; i++) {
        out[count++] = t->fs->losses.items[i].value.as.tensor;
    }
    for (size_t i = 0; i < t->fs->metrics.count; i++) {
        out[count++] = t->fs->metrics.items[i].value.as.tensor;
        if (t->fs->metrics.items[i].over) {
            out[count++] = t->fs->metrics.items[i].over;
        }
    }
    return count;
}

/* The loop's sums in place of the body's values; means where the sum is one of means. */
static void take_sums(Train *t, const Op *op) {
    int32_t at = 0;
    double part = 1.0 / (double)t->accumulate;
    for (int32_t i = 0; i < t->n_params; i++, at++) {
        Value *sum = op->results[at];
        t->grads[i] = train_binary(t, OP_mul, sum, train_number(t, part, sum->type));
    }
    t->loss =
        train_binary(t, OP_mul, op->results[at], train_number(t, part, op->results[at]->type));
    at++;
    for (size_t i = 0; i < t->fs->losses.count; i++, at++) {
        Value *mean =
            train_binary(t, OP_mul, op->results[at], train_number(t, part, op->results[at]->type));
        t->fs->losses.items[i].value = val_tensor(mean, false, t->place);
    }
    for (size_t i = 0; i < t->fs->metrics.count; i++, at++) {
        Named *metric = &t->fs->metrics.items[i];
        Value *sum = op->results[at];
        if (metric->over) {
            metric->over = op->results[++at];
        } else {
            sum = train_binary(t, OP_mul, sum, train_number(t, part, sum->type));
        }
        metric->value = val_tensor(sum, false, t->place);
    }
}

/* What counts the rows: a free dim, or one that -D fixed (then a number goes by its name). */
typedef struct Rows {
    const Dim *dim;
    Global *fixed;
    const Size *all, *part;
    Place place;
} Rows;

/* The dim that the declared type of an input begins with; NULL when there is none. */
static Global *leading_dim(Lower *lw, const AstParam *param) {
    const AstSizes *sizes = &param->type->sizes;
    const AstExpr *first = sizes->count > 0 ? sizes->items[0].expr : NULL;
    if (first == NULL || first->kind != AST_NAME) {
        return NULL;
    }
    Global *global = map_get(&lw->user->values, first->as.name);
    return global && global->kind == GLOBAL_DIM ? global : NULL;
}

static bool find_rows(Train *t, Rows *out) {
    Lower *lw = t->lw;
    const AstParams *params = &lw->model->as.fn.params;
    *out = (Rows){.dim = lw->batch};
    for (int32_t i = 0; i < params->count && lw->batch == NULL; i++) {
        Global *global = leading_dim(lw, &params->items[i]);
        out->fixed = out->fixed ? out->fixed : global;
        if (global && global != out->fixed) {
            out->fixed = NULL;
            break;
        }
    }
    if (out->dim) {
        out->all = size_dim(lw->context, out->dim);
        out->place = out->dim->place;
    } else if (out->fixed && val_as_size(lw, out->fixed->value, &out->all)) {
        out->place = out->fixed->place;
    } else {
        LW_REPORT(lw, BATCH_DIM, t->place,
                  "`accumulate` cuts the batch, but no input begins with a dim");
        return false;
    }
    const Size *k = size_const(lw->context, t->accumulate);
    Place asked = find_setting(lw->train, "accumulate")->place;
    out->part = size_floordiv(lw->context, out->all, k);
    return lower_same_size(lw, out->all, out->place, size_mul(lw->context, k, out->part), asked,
                           asked, "`accumulate` must divide the batch");
}

static bool has_rows(Train *t, const Rows *rows, int32_t input) {
    Type type = t->fs->inputs[input]->type;
    if (rows->dim) {
        return type.rank > 0 && size_as_dim(type.dims[0]) == rows->dim;
    }
    return leading_dim(t->lw, &t->lw->model->as.fn.params.items[input]) == rows->fixed;
}

/* The model's body on one part, where the dim's name means a part's rows. */
static bool forward_part(Train *t, const Objective *objective, const Rows *rows,
                         Value *const *inputs) {
    Lower *lw = t->lw;
    Val whole = rows->fixed ? rows->fixed->value : val_error();
    if (rows->fixed) {
        rows->fixed->value = val_size(rows->part, rows->place);
    } else {
        lw->dim_values = ARENA_ARRAY(lw->arena, const Size *, lw->module->n_dims + 1);
        lw->dim_values[rows->dim->id] = rows->part;
    }
    bool good = train_forward(t, objective, inputs);
    lw->dim_values = NULL;
    if (rows->fixed) {
        rows->fixed->value = whole;
    }
    lw->scope = scope_push(lw, true); /* forward leaves none; loop_leave takes one away */
    return good;
}

bool train_micro_batches(Train *t, const Objective *objective) {
    Lower *lw = t->lw;
    const AstParams *params = &lw->model->as.fn.params;
    const Size *k = size_const(lw->context, t->accumulate);
    Value **xs = ARENA_ARRAY(lw->arena, Value *, params->count + 1);
    Value **inputs = ARENA_ARRAY(lw->arena, Value *, params->count + 1);
    int32_t n_xs = 0;
    Rows rows;
    if (!find_rows(t, &rows)) {
        return false;
    }
    for (int32_t i = 0; i < params->count; i++) {
        if (has_rows(t, &rows, i)) {
            xs[n_xs] = cut_input(t, t->fs->inputs[i], rows.part);
            if (xs[n_xs++] == NULL) {
                return false;
            }
        }
    }
    lower_at(lw, t->place);
    Op *draft = b_scan_begin(&lw->b, NULL, 0, xs, n_xs, k, false, 0);
    if (lower_building_failed(lw, t->place) || draft == NULL) {
        return false;
    }
    Block *body = draft->blocks[0];
    for (int32_t i = 0, at = 1; i < params->count; i++) {
        inputs[i] = has_rows(t, &rows, i) ? body->args[at++] : t->fs->inputs[i];
    }
    Loop loop = {.length = k, .index = body->args[0]};
    LoopEntry entry = loop_enter(lw, &loop, body);
    bool good = forward_part(t, objective, &rows, inputs);
    size_t most = (size_t)t->n_params + 1 + t->fs->losses.count + 2 * t->fs->metrics.count;
    Value **nexts = ARENA_ARRAY(lw->arena, Value *, most + 1);
    Value **starts = ARENA_ARRAY(lw->arena, Value *, most + 1);
    Value **args = ARENA_ARRAY(lw->arena, Value *, most + (size_t)n_xs + 2);
    int32_t count = good ? summed_values(t, nexts) : 0;
    args[0] = body->args[0];
    for (int32_t i = 0; i < count; i++) {
        args[1 + i] = block_add_arg(body, nexts[i]->type, NULL);
        nexts[i] = train_binary(t, OP_add, args[1 + i], nexts[i]);
        good = good && nexts[i];
    }
    for (int32_t i = 0; i < n_xs; i++) {
        args[1 + count + i] = body->args[1 + i];
    }
    loop_leave(lw, &entry);
    if (!good) {
        return false;
    }
    for (int32_t i = 0; i < count; i++) {
        starts[i] = train_number(t, 0.0, args[1 + i]->type);
    }
    body->args = args; /* hidden carries are known to the loop, not by position */
    Op *op = scan_finish(lw, &loop, starts, nexts, count, xs, n_xs, NULL, 0, t->place);
    if (op == NULL) {
        return false;
    }
    take_sums(t, op);
    return true;
}
