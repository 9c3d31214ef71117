/* The training Func: forward, gradients (summed over micro-batches), clipping, one optimiser per
 * parameter, averages, and stores that happen only when loss and gradient norm are finite. */
#include "frontend/lower.h"
#include "frontend/reach.h"

#include <string.h>

/* One `minimize` line, or the plain optimizers together. */
typedef struct Objective {
    const char *loss;         /* NULL: the sum of all losses */
    const AstExprs *over;     /* NULL: every parameter */
    OptimizerUse *optimizers; /* with their `for` globs */
    int32_t n_optimizers;
    Place place;
} Objective;

typedef struct Train {
    Lower *lw;
    FuncState *fs;
    Place place;
    int64_t accumulate;
    double clip, ema;
    bool has_clip, has_ema;
    Objective *objectives;
    int32_t n_objectives;
    PersistUse **params; /* of the objective at hand */
    Value **grads;
    int32_t n_params;
    bool *moved;         /* by index into fs->uses: has a next value */
    Value *loss, *norm2; /* of the objective at hand */
    Value *ok;           /* of all so far */
    Value *total_norm2;
} Train;

static Value *binary(Train *t, OpCode code, Value *x, Value *y) {
    lower_at(t->lw, t->place);
    return x && y ? lower_made(t->lw, b_binary(&t->lw->b, code, x, y), t->place) : NULL;
}

static Value *unary(Train *t, OpCode code, Value *x) {
    lower_at(t->lw, t->place);
    return x ? lower_made(t->lw, b_unary(&t->lw->b, code, x), t->place) : NULL;
}

static Value *number(Train *t, double value, Type type) {
    lower_at(t->lw, t->place);
    return lower_made(t->lw, b_constant(&t->lw->b, value, type), t->place);
}

/* A rank-0 value to the element type and shape of `like`. */
static Value *spread(Train *t, Value *x, Value *like) {
    lower_at(t->lw, t->place);
    Value *typed = x ? lower_made(t->lw, b_cast(&t->lw->b, x, like->type.dtype), t->place) : NULL;
    return lower_expand(t->lw, typed, like->type.dims, like->type.rank, t->place);
}

/* -- objectives */

static bool matches(Lower *lw, const AstExprs *globs, const char *path) {
    for (int32_t i = 0; i < globs->count; i++) {
        Val pattern = lower_constant_expr(lw, globs->items[i]);
        if (pattern.kind == VAL_STRING && glob_match(pattern.as.text, path)) {
            return true;
        }
    }
    return false;
}

static bool frozen(Lower *lw, const char *path) {
    const AstSettings *settings = &lw->train->as.train.settings;
    for (int32_t i = 0; i < settings->count; i++) {
        const AstSetting *setting = &settings->items[i];
        if (strcmp(setting->word.text, "freeze") == 0 &&
            (matches(lw, &setting->values, path) || matches(lw, &setting->for_globs, path) ||
             matches(lw, &setting->over_globs, path))) {
            return true;
        }
    }
    return false;
}

static void warn_unmatched(Train *t, const AstExprs *globs) {
    for (int32_t i = 0; i < globs->count; i++) {
        AstExprs one = {.items = &globs->items[i], .count = 1};
        bool found = false;
        for (size_t k = 0; k < t->fs->uses.count; k++) {
            const PersistUse *use = t->fs->uses.entries[k].value;
            found = found || (use->persist->kind == PERSIST_PARAM &&
                              matches(t->lw, &one, use->persist->path));
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

static bool read_objectives(Train *t) {
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
            total = total ? binary(t, OP_add, total, loss) : loss;
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
        if (use->persist->kind != PERSIST_PARAM || frozen(lw, path) ||
            (objective->over && !matches(lw, objective->over, path))) {
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
    if (t->n_params > 0) {
        b_grad(&lw->b, loss, xs, t->n_params, t->grads);
    }
    return !lower_building_failed(lw, t->place);
}

/* Lowers the body and takes the gradients of one objective on `inputs`. */
static bool forward(Train *t, const Objective *objective, Value *const *inputs) {
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
    memcpy(shape + 2, type.dims + 1, (size_t)(type.rank - 1) * sizeof(shape[0]));
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
        t->grads[i] = binary(t, OP_mul, sum, number(t, part, sum->type));
    }
    t->loss = binary(t, OP_mul, op->results[at], number(t, part, op->results[at]->type));
    at++;
    for (size_t i = 0; i < t->fs->losses.count; i++, at++) {
        Value *mean = binary(t, OP_mul, op->results[at], number(t, part, op->results[at]->type));
        t->fs->losses.items[i].value = val_tensor(mean, false, t->place);
    }
    for (size_t i = 0; i < t->fs->metrics.count; i++, at++) {
        Named *metric = &t->fs->metrics.items[i];
        Value *sum = op->results[at];
        if (metric->over) {
            metric->over = op->results[++at];
        } else {
            sum = binary(t, OP_mul, sum, number(t, part, sum->type));
        }
        metric->value = val_tensor(sum, false, t->place);
    }
}

static bool micro_batches(Train *t, const Objective *objective) {
    Lower *lw = t->lw;
    Context *context = lw->context;
    const Dim *dim = lw->batch;
    const AstParams *params = &lw->model->as.fn.params;
    if (dim == NULL) {
        LW_REPORT(lw, BATCH_DIM, t->place,
                  "`accumulate` cuts the batch, but no input begins with a dim");
        return false;
    }
    const Size *rows = size_dim(context, dim), *k = size_const(context, t->accumulate);
    const Size *part = size_floordiv(context, rows, k);
    Value **xs = ARENA_ARRAY(lw->arena, Value *, params->count + 1);
    Value **inputs = ARENA_ARRAY(lw->arena, Value *, params->count + 1);
    int32_t n_xs = 0;
    if (!lower_same_size(lw, rows, dim->place, size_mul(context, k, part), t->place, t->place,
                         "`accumulate` must divide the batch")) {
        return false;
    }
    for (int32_t i = 0; i < params->count; i++) {
        Type type = t->fs->inputs[i]->type;
        if (type.rank > 0 && size_as_dim(type.dims[0]) == dim) {
            xs[n_xs] = cut_input(t, t->fs->inputs[i], part);
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
        Type type = t->fs->inputs[i]->type;
        bool cut = type.rank > 0 && size_as_dim(type.dims[0]) == dim;
        inputs[i] = cut ? body->args[at++] : t->fs->inputs[i];
    }
    Loop loop = {.length = k, .index = body->args[0]};
    LoopEntry entry = loop_enter(lw, &loop, body);
    lw->dim_values = ARENA_ARRAY(lw->arena, const Size *, lw->module->n_dims + 1);
    lw->dim_values[dim->id] = part;
    bool good = forward(t, objective, inputs);
    lw->dim_values = NULL;
    lw->scope = scope_push(lw, true); /* forward leaves none; loop_leave takes one away */
    size_t most = (size_t)t->n_params + 1 + t->fs->losses.count + 2 * t->fs->metrics.count;
    Value **nexts = ARENA_ARRAY(lw->arena, Value *, most + 1);
    Value **starts = ARENA_ARRAY(lw->arena, Value *, most + 1);
    Value **args = ARENA_ARRAY(lw->arena, Value *, most + (size_t)n_xs + 2);
    int32_t count = good ? summed_values(t, nexts) : 0;
    args[0] = body->args[0];
    for (int32_t i = 0; i < count; i++) {
        args[1 + i] = block_add_arg(body, nexts[i]->type, NULL);
        nexts[i] = binary(t, OP_add, args[1 + i], nexts[i]);
        good = good && nexts[i];
    }
    memcpy(args + 1 + count, body->args + 1, (size_t)n_xs * sizeof(args[0]));
    loop_leave(lw, &entry);
    if (!good) {
        return false;
    }
    for (int32_t i = 0; i < count; i++) {
        starts[i] = number(t, 0.0, args[1 + i]->type);
    }
    body->args = args; /* hidden carries are known to the loop, not by position */
    Op *op = scan_finish(lw, &loop, starts, nexts, count, xs, n_xs, NULL, 0, t->place);
    if (op == NULL) {
        return false;
    }
    take_sums(t, op);
    return true;
}

/* -- updates */

static Value *square_sum(Train *t, Value *x) {
    int64_t axes[TYPE_MAX_RANK];
    for (int32_t i = 0; i < x->type.rank; i++) {
        axes[i] = i;
    }
    lower_at(t->lw, t->place);
    Value *wide = lower_made(t->lw, b_cast(&t->lw->b, x, lower_float(t->lw)), t->place);
    Value *squared = binary(t, OP_mul, wide, wide);
    if (squared && x->type.rank > 0) {
        squared = lower_made(t->lw, b_reduce(&t->lw->b, OP_reduce_sum, squared, axes, x->type.rank),
                             t->place);
    }
    return squared;
}

/* The norm of all gradients; and, with clip_norm, gradients scaled so that it is at most that. */
static bool clip_gradients(Train *t) {
    t->norm2 = NULL;
    for (int32_t i = 0; i < t->n_params; i++) {
        Value *one = square_sum(t, t->grads[i]);
        t->norm2 = t->norm2 ? binary(t, OP_add, t->norm2, one) : one;
    }
    if (t->norm2 == NULL || !t->has_clip) {
        return t->norm2 != NULL;
    }
    Type scalar = t->norm2->type;
    Value *norm = binary(t, OP_add, unary(t, OP_sqrt, t->norm2), number(t, 1e-6, scalar));
    Value *scale = binary(t, OP_div, number(t, t->clip, scalar), norm);
    scale = binary(t, OP_min, scale, number(t, 1.0, scalar));
    for (int32_t i = 0; i < t->n_params; i++) {
        t->grads[i] = binary(t, OP_mul, t->grads[i], spread(t, scale, t->grads[i]));
        if (t->grads[i] == NULL) {
            return false;
        }
    }
    return scale != NULL;
}

static OptimizerUse *optimizer_of(Train *t, const Objective *objective, const char *path) {
    for (int32_t i = 0; i < objective->n_optimizers; i++) {
        OptimizerUse *use = &objective->optimizers[i];
        if (use->setting->for_globs.count == 0 || matches(t->lw, &use->setting->for_globs, path)) {
            return use;
        }
    }
    Diag *diag = LW_REPORT(t->lw, NO_OPTIMIZER, t->lw->train->place, path);
    lower_help(t->lw, diag, "add a line without `for`: optimizer adam(lr=1e-3)");
    return NULL;
}

static void average(Train *t, PersistUse *param, Value *next) {
    Lower *lw = t->lw;
    const char *path = context_internf(lw->context, "%s#ema", param->persist->path);
    Persist *persist = map_get(&lw->slots, path);
    if (persist == NULL) {
        persist = ARENA_NEW(lw->arena, Persist);
        *persist = (Persist){.path = path,
                             .kind = PERSIST_SLOT,
                             .type = param->persist->type,
                             .place = param->persist->place};
        map_set(&lw->slots, path, persist);
        persist_init(lw, persist, NULL, param->persist->path);
    }
    PersistUse *use = persist_declare(lw, PERSIST_SLOT, path, persist->type, NULL, persist->place);
    if (use) {
        Value *kept = binary(t, OP_mul, use->value, number(t, t->ema, persist->type));
        Value *fresh = binary(t, OP_mul, next, number(t, 1.0 - t->ema, persist->type));
        persist_write(lw, use, binary(t, OP_add, kept, fresh));
    }
}

static bool update_params(Train *t, const Objective *objective) {
    for (int32_t i = 0; i < t->n_params; i++) {
        PersistUse *param = t->params[i];
        OptimizerUse *optimizer = optimizer_of(t, objective, param->persist->path);
        Value *next = optimizer ? optimizer_apply(t->lw, optimizer, param, t->grads[i]) : NULL;
        if (next == NULL) {
            return false;
        }
        param->value = next;
        param->written = true;
        if (t->has_ema) {
            average(t, param, next);
        }
    }
    return true;
}

/* -- the whole step */

static bool run_objective(Train *t, int32_t index) {
    const Objective *objective = &t->objectives[index];
    bool good =
        t->accumulate > 1 ? micro_batches(t, objective) : forward(t, objective, t->fs->inputs);
    if (!good || !clip_gradients(t)) {
        return false;
    }
    Value *fine =
        binary(t, OP_and, unary(t, OP_isfinite, t->loss), unary(t, OP_isfinite, t->norm2));
    t->ok = t->ok ? binary(t, OP_and, t->ok, fine) : fine;
    t->total_norm2 = t->total_norm2 ? binary(t, OP_add, t->total_norm2, t->norm2) : t->norm2;
    return update_params(t, objective);
}

/* State is stored as the first objective left it; later passes read what the step began with. */
static void keep_states(Train *t, Value **kept, bool restore) {
    for (size_t i = 0; i < t->fs->uses.count; i++) {
        PersistUse *use = t->fs->uses.entries[i].value;
        bool state = use->persist->kind == PERSIST_STATE || use->persist->kind == PERSIST_CACHE;
        if (!state) {
            continue;
        }
        if (restore) {
            use->value = kept[i] ? kept[i] : use->value;
        } else {
            kept[i] = use->value;
            use->value = use->arg;
        }
    }
}

static void train_results(Train *t, const NamedVec *losses, const NamedVec *metrics,
                          ResultVec *vec) {
    Lower *lw = t->lw;
    for (size_t i = 0; i < losses->count; i++) {
        result_add(lw, vec, RESULT_LOSS, losses->items[i].name, -1,
                   losses->items[i].value.as.tensor);
    }
    for (size_t i = 0; i < metrics->count; i++) {
        const Named *metric = &metrics->items[i];
        result_add(lw, vec, RESULT_METRIC, metric->name, -1, metric->value.as.tensor);
        if (metric->over) {
            result_add(lw, vec, RESULT_METRIC_OVER, metric->name, -1, metric->over);
        }
    }
    Value *norm = unary(t, OP_sqrt, t->total_norm2);
    result_add(lw, vec, RESULT_OK, "ok", -1, t->ok);
    for (int32_t i = 0; i < t->objectives[0].n_optimizers; i++) {
        if (t->objectives[0].optimizers[i].lr) {
            result_add(lw, vec, RESULT_INFO, "lr", -1, t->objectives[0].optimizers[i].lr);
            break;
        }
    }
    result_add(lw, vec, RESULT_INFO, "grad_norm", -1, norm);
}

/* new = ok ? new : old, for everything that is stored. */
static void train_stores(Train *t, ResultVec *vec) {
    Lower *lw = t->lw;
    for (size_t i = 0; i < t->fs->uses.count; i++) {
        PersistUse *use = t->fs->uses.entries[i].value;
        if (!use->written || use->arg == NULL || use->value == use->arg) {
            continue;
        }
        lower_at(lw, t->place);
        Value *test = lower_expand(lw, t->ok, use->arg->type.dims, use->arg->type.rank, t->place);
        lower_at(lw, t->place);
        Value *next =
            test ? lower_made(lw, b_select(&lw->b, test, use->value, use->arg), t->place) : NULL;
        if (next) {
            result_add(lw, vec, RESULT_STORE, use->persist->path, use->arg->index, next);
        }
    }
}

static void read_numbers(Train *t) {
    Val accumulate = setting_value(t->lw, "accumulate");
    Val clip = setting_value(t->lw, "clip_norm"), ema = setting_value(t->lw, "ema");
    t->accumulate = accumulate.kind == VAL_INT ? accumulate.as.i : 1;
    t->has_clip = number_to_double(clip, &t->clip);
    t->has_ema = number_to_double(ema, &t->ema);
}

void lower_train_func(Lower *lw) {
    const char *name = context_internf(lw->context, "%s.train", lw->model->name.text);
    Train *t = ARENA_NEW(lw->arena, Train);
    *t = (Train){.lw = lw, .place = lw->train->place};
    t->fs = func_state_new(lw, name, PURPOSE_TRAIN);
    Frame *frame = ARENA_NEW(lw->arena, Frame);
    ResultVec vec = {0};
    read_numbers(t);
    func_state_inputs(lw, t->fs, lw->model);
    *frame = (Frame){.env = lw->user, .fn_name = "train", .path = "", .call_place = t->place};
    frame->labels = ARENA_NEW(lw->arena, Map);
    map_init(frame->labels, lw->arena);
    lw->frame = frame;
    lw->scope = NULL;
    if (!read_objectives(t)) {
        lower_diag_close(lw);
        return;
    }
    NamedVec losses = {0}, metrics = {0};
    Value **kept = NULL;
    for (int32_t i = 0; i < t->n_objectives; i++) {
        if (!run_objective(t, i)) {
            lower_diag_close(lw);
            return;
        }
        if (i == 0) {
            losses = t->fs->losses;
            metrics = t->fs->metrics;
            kept = ARENA_ARRAY(lw->arena, Value *, t->fs->uses.count + 1);
            t->fs->losses = t->fs->metrics = t->fs->outputs = (NamedVec){0};
        }
        if (i + 1 < t->n_objectives) {
            keep_states(t, kept, false);
        }
    }
    if (t->n_objectives > 1) {
        keep_states(t, kept, true);
    }
    const AstSettings *settings = &lw->train->as.train.settings;
    for (int32_t i = 0; i < settings->count; i++) {
        bool freeze = strcmp(settings->items[i].word.text, "freeze") == 0;
        warn_unmatched(t, &settings->items[i].for_globs);
        warn_unmatched(t, &settings->items[i].over_globs);
        if (freeze) {
            warn_unmatched(t, &settings->items[i].values);
        }
    }
    train_results(t, &losses, &metrics, &vec);
    train_stores(t, &vec);
    func_finish(lw, t->fs, lw->model, &vec);
    lw->frame = NULL;
}
