/* The training Func: forward, gradients (summed over micro-batches), clipping, one optimiser per
 * parameter, averages, and stores that happen only when loss, gradient norm and state are finite.
 */
#include "frontend/elaborate/train.h"

#include <string.h>

/* -- updates */

static Value *square_sum(Train *t, Value *x) {
    int64_t axes[TYPE_MAX_RANK];
    for (int32_t i = 0; i < x->type.rank; i++) {
        axes[i] = i;
    }
    elaborate_at(t->el, t->place);
    Value *wide = elaborate_made(t->el, b_cast(&t->el->b, x, elaborate_float(t->el)), t->place);
    Value *squared = train_binary(t, OP_mul, wide, wide);
    if (squared && x->type.rank > 0) {
        squared = elaborate_made(
            t->el, b_reduce(&t->el->b, OP_reduce_sum, squared, axes, x->type.rank), t->place);
    }
    return squared;
}

/* The norm of all gradients; and, with clip_norm, gradients scaled so that it is at most that. */
static bool clip_gradients(Train *t) {
    t->norm2 = NULL;
    for (int32_t i = 0; i < t->n_params; i++) {
        Value *one = square_sum(t, t->grads[i]);
        t->norm2 = t->norm2 ? train_binary(t, OP_add, t->norm2, one) : one;
    }
    if (t->norm2 == NULL || !t->has_clip) {
        return t->norm2 != NULL;
    }
    Type scalar = t->norm2->type;
    Value *least = train_number(t, 1e-6, scalar);
    Value *norm = train_binary(t, OP_add, train_unary(t, OP_sqrt, t->norm2), least);
    Val limit = val_float(t->clip, t->place);
    limit.setting = context_intern(t->el->context, "set.clip_norm");
    Value *scale =
        train_binary(t, OP_div, elaborate_as(t->el, limit, scalar.dtype, t->place), norm);
    scale = train_binary(t, OP_min, scale, train_number(t, 1.0, scalar));
    for (int32_t i = 0; i < t->n_params; i++) {
        t->grads[i] = train_binary(t, OP_mul, t->grads[i], train_spread(t, scale, t->grads[i]));
        if (t->grads[i] == NULL) {
            return false;
        }
    }
    return scale != NULL;
}

static OptimizerUse *optimizer_of(Train *t, const Objective *objective, const char *path) {
    for (int32_t i = 0; i < objective->n_optimizers; i++) {
        OptimizerUse *use = &objective->optimizers[i];
        if (use->setting->for_globs.count == 0 ||
            setting_matches(t->el, &use->setting->for_globs, path)) {
            return use;
        }
    }
    Diag *diag = EL_REPORT(t->el, NO_OPTIMIZER, t->el->train->place, path);
    elaborate_help(t->el, diag, "add a line without `for`: optimizer adam(lr=1e-3)");
    return NULL;
}

static void average(Train *t, PersistUse *param, Value *next) {
    Elaborator *el = t->el;
    const char *path = context_internf(el->context, "%s#ema", param->persist->path);
    Persist *persist = map_get(&el->slots, path);
    if (persist == NULL) {
        persist = ARENA_NEW(el->arena, Persist);
        *persist = (Persist){.path = path,
                             .kind = PERSIST_SLOT,
                             .type = param->persist->type,
                             .place = param->persist->place};
        map_set(&el->slots, path, persist);
        persist_init(el, persist, NULL, param->persist->path);
    }
    PersistUse *use = persist_declare(el, PERSIST_SLOT, path, persist->type, NULL, persist->place);
    if (use) {
        Value *kept = train_binary(t, OP_mul, use->value, train_number(t, t->ema, persist->type));
        Value *fresh = train_binary(t, OP_mul, next, train_number(t, 1.0 - t->ema, persist->type));
        persist_write(el, use, train_binary(t, OP_add, kept, fresh));
    }
}

static bool update_params(Train *t, const Objective *objective) {
    for (int32_t i = 0; i < t->n_params; i++) {
        PersistUse *param = t->params[i];
        OptimizerUse *optimizer = optimizer_of(t, objective, param->persist->path);
        Value *next = optimizer ? optimizer_apply(t->el, optimizer, param, t->grads[i]) : NULL;
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
    bool good = t->accumulate > 1 ? train_micro_batches(t, objective)
                                  : train_forward(t, objective, t->fs->inputs);
    if (!good || !scaling_of_gradients(t) || !clip_gradients(t)) {
        return false;
    }
    Value *norm_fine = train_unary(t, OP_isfinite, t->norm2);
    Value *loss_fine = train_unary(t, OP_isfinite, t->loss);
    Value *fine = train_binary(t, OP_and, loss_fine, norm_fine);
    if (t->scale) {
        t->loss_ok = t->loss_ok ? train_binary(t, OP_and, t->loss_ok, loss_fine) : loss_fine;
    }
    t->ok = t->ok ? train_binary(t, OP_and, t->ok, fine) : fine;
    t->total_norm2 = t->total_norm2 ? train_binary(t, OP_add, t->total_norm2, t->norm2) : t->norm2;
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

/* What a rate is a rate of: the loss of a `minimize` line, the first glob of an `optimizer` line.
 */
static const char *rate_name(Train *t, const Objective *objective, const OptimizerUse *use) {
    const AstExprs *globs = &use->setting->for_globs;
    Val glob = {.kind = VAL_NONE};
    if (!objective->loss && globs->count > 0) {
        glob = elaborate_constant_expr(t->el, globs->items[0]);
    }
    const char *what = objective->loss           ? objective->loss
                       : glob.kind == VAL_STRING ? glob.as.text
                                                 : "*";
    return context_internf(t->el->context, "lr.%s", what);
}

/* The first rate is "lr"; where there are several, each goes by a name of its own too. */
static void rate_results(Train *t, ResultVec *vec) {
    const OptimizerUse *first = NULL;
    bool several = false;
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t o = 0; o < t->n_objectives; o++) {
            for (int32_t i = 0; i < t->objectives[o].n_optimizers; i++) {
                const OptimizerUse *use = &t->objectives[o].optimizers[i];
                if (use->lr && pass == 0) {
                    several = several || first;
                    first = first ? first : use;
                } else if (use->lr && several) {
                    const char *name = rate_name(t, &t->objectives[o], use);
                    result_add(t->el, vec, RESULT_INFO, name, -1, use->lr);
                }
            }
        }
        if (pass == 0 && first) {
            result_add(t->el, vec, RESULT_INFO, context_intern(t->el->context, "lr"), -1,
                       first->lr);
        }
    }
}

static void train_results(Train *t, const NamedVec *losses, const NamedVec *metrics,
                          ResultVec *vec) {
    Elaborator *el = t->el;
    for (size_t i = 0; i < losses->count; i++) {
        const Named *loss = &losses->items[i];
        result_add(el, vec, RESULT_LOSS, loss->name, -1,
                   loss->over ? loss->sum : loss->value.as.tensor);
        if (loss->over) {
            result_add(el, vec, RESULT_LOSS_OVER, loss->name, -1, loss->over);
        }
    }
    for (size_t i = 0; i < metrics->count; i++) {
        const Named *metric = &metrics->items[i];
        result_add(el, vec, RESULT_METRIC, metric->name, -1, metric->value.as.tensor);
        if (metric->over) {
            result_add(el, vec, RESULT_METRIC_OVER, metric->name, -1, metric->over);
        }
    }
    Value *norm = train_unary(t, OP_sqrt, t->total_norm2);
    result_add(el, vec, RESULT_OK, "ok", -1, t->run_ok ? t->run_ok : t->ok);
    if (t->scale) {
        result_add(el, vec, RESULT_INFO, "loss_scale", -1, t->scale->arg);
    }
    rate_results(t, vec);
    result_add(el, vec, RESULT_INFO, "grad_norm", -1, norm);
}

/* State is part of what must be finite before anything is stored; it does not depend on the scale
 * of the loss. */
static void test_states(Train *t) {
    Value *fine = persist_states_finite(t->el, t->place);
    if (fine) {
        t->ok = train_binary(t, OP_and, t->ok, fine);
        t->loss_ok = t->loss_ok ? train_binary(t, OP_and, t->loss_ok, fine) : NULL;
    }
}

/* new = ok ? new : old, for everything that is stored but the scale of the loss. Both conditions of
 * f16 stand at the store: what the run is told shows the scheduler that it is guarded. */
static void train_stores(Train *t, ResultVec *vec) {
    Elaborator *el = t->el;
    for (size_t i = 0; i < t->fs->uses.count; i++) {
        PersistUse *use = t->fs->uses.entries[i].value;
        if (!use->written || use->arg == NULL || use->value == use->arg) {
            continue;
        }
        Value *next = use->value;
        if (!scaling_owns(t, use)) {
            next = persist_guarded(el, t->ok, next, use->arg, t->place);
        }
        if (next && t->run_ok) {
            next = persist_guarded(el, t->run_ok, next, use->arg, t->place);
        }
        if (next) {
            result_add(el, vec, RESULT_STORE, use->persist->path, use->arg->index, next);
        }
    }
}

static void read_numbers(Train *t) {
    Val accumulate = setting_value(t->el, "accumulate");
    Val clip = setting_value(t->el, "clip_norm"), ema = setting_value(t->el, "ema");
    t->accumulate = accumulate.kind == VAL_INT ? accumulate.as.i : 1;
    t->has_clip = number_to_double(clip, &t->clip);
    t->has_ema = number_to_double(ema, &t->ema);
}

void elaborate_train_func(Elaborator *el) {
    const char *name = context_internf(el->context, "%s.train", el->model->name.text);
    Train *t = ARENA_NEW(el->arena, Train);
    *t = (Train){.el = el, .place = el->train->place};
    t->fs = func_state_new(el, name, PURPOSE_TRAIN);
    Frame *frame = ARENA_NEW(el->arena, Frame);
    ResultVec vec = {0};
    read_numbers(t);
    func_state_inputs(el, t->fs, el->model);
    *frame = (Frame){.env = el->user, .fn_name = "train", .path = "", .call_place = t->place};
    frame->labels = ARENA_NEW(el->arena, Map);
    map_init(frame->labels, el->arena);
    el->frame = frame;
    el->scope = NULL;
    if (!train_read_objectives(t) || !scaling_begin(t)) {
        elaborate_diag_close(el);
        return;
    }
    NamedVec losses = {0}, metrics = {0};
    Value **kept = NULL;
    for (int32_t i = 0; i < t->n_objectives; i++) {
        if (!run_objective(t, i)) {
            elaborate_diag_close(el);
            return;
        }
        if (i == 0) {
            losses = t->fs->losses;
            metrics = t->fs->metrics;
            kept = ARENA_ARRAY(el->arena, Value *, t->fs->uses.count + 1);
            t->fs->losses = t->fs->metrics = t->fs->outputs = (NamedVec){0};
        }
        if (i + 1 < t->n_objectives) {
            keep_states(t, kept, false);
        }
    }
    if (t->n_objectives > 1) {
        keep_states(t, kept, true);
    }
    const AstSettings *settings = &el->train->as.train.settings;
    for (int32_t i = 0; i < settings->count; i++) {
        bool freeze = strcmp(settings->items[i].word.text, "freeze") == 0;
        train_warn_unmatched(t, &settings->items[i].for_globs);
        train_warn_unmatched(t, &settings->items[i].over_globs);
        if (freeze) {
            train_warn_unmatched(t, &settings->items[i].values);
        }
    }
    test_states(t);
    if (!scaling_finish(t)) {
        elaborate_diag_close(el);
        return;
    }
    train_results(t, &losses, &metrics, &vec);
    train_stores(t, &vec);
    func_finish(el, t->fs, el->model, &vec);
    el->frame = NULL;
}
