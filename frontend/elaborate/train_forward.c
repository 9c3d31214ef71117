/* The forward half of a training step: what each objective trains, the model's body, the gradients.
 */
#include "frontend/elaborate/reach.h"
#include "frontend/elaborate/train.h"

#include <string.h>

/* -- objectives */

void train_warn_unmatched(Train *t, const AstExprs *globs) {
    for (int32_t i = 0; i < globs->count; i++) {
        AstExprs one = {.items = &globs->items[i], .count = 1};
        bool found = false;
        for (size_t k = 0; k < t->fs->uses.count; k++) {
            const PersistUse *use = t->fs->uses.entries[k].value;
            found = found || (use->persist->kind == PERSIST_PARAM &&
                              setting_matches(t->el, &one, use->persist->path));
        }
        Val pattern = elaborate_constant_expr(t->el, globs->items[i]);
        if (!found && pattern.kind == VAL_STRING) {
            EL_REPORT(t->el, GLOB_UNMATCHED, globs->items[i]->place, pattern.as.text);
        }
    }
}

static bool read_minimize(Train *t, const AstSetting *setting, Objective *out) {
    *out = (Objective){.loss = setting->values.items[0]->as.name,
                       .over = &setting->over_globs,
                       .n_optimizers = 1,
                       .place = setting->place};
    out->optimizers = ARENA_NEW(t->el->arena, OptimizerUse);
    return optimizer_read(t->el, setting, setting->over_value, &out->optimizers[0]);
}

/* The `optimizer` lines together: those with globs first, in order, the plain one for the rest. */
static bool read_plain(Train *t, Objective *out) {
    const AstSettings *settings = &t->el->train->as.train.settings;
    *out = (Objective){.place = t->el->train->place};
    out->optimizers = ARENA_ARRAY(t->el->arena, OptimizerUse, settings->count + 1);
    for (int plain = 0; plain < 2; plain++) {
        for (int32_t i = 0; i < settings->count; i++) {
            const AstSetting *setting = &settings->items[i];
            if (strcmp(setting->word.text, "optimizer") != 0 ||
                (setting->for_globs.count == 0) != (plain == 1)) {
                continue;
            }
            OptimizerUse *use = &out->optimizers[out->n_optimizers++];
            if (!optimizer_read(t->el, setting, setting->values.items[0], use)) {
                return false;
            }
        }
    }
    return true;
}

bool train_read_objectives(Train *t) {
    const AstSettings *settings = &t->el->train->as.train.settings;
    t->objectives = ARENA_ARRAY(t->el->arena, Objective, settings->count + 1);
    for (int32_t i = 0; i < settings->count; i++) {
        if (strcmp(settings->items[i].word.text, "minimize") == 0 &&
            !read_minimize(t, &settings->items[i], &t->objectives[t->n_objectives++])) {
            return false;
        }
    }
    if (t->n_objectives > 0) {
        return true;
    }
    if (find_setting(t->el->train, "optimizer") == NULL) {
        Diag *diag = EL_REPORT(t->el, NO_OPTIMIZER, t->el->train->place, t->el->model->name.text);
        elaborate_help(t->el, diag, "add a line: optimizer adam(lr=1e-3)");
        return false;
    }
    t->n_objectives = 1;
    return read_plain(t, &t->objectives[0]);
}

/* -- the forward pass */

/* The sum of two losses, which may be of different float types. */
static Value *add_loss(Train *t, Value *total, Value *loss) {
    DType wider = loss->type.dtype;
    elaborate_at(t->el, t->place);
    if (dtype_promote(total->type.dtype, loss->type.dtype, &wider)) {
        total = elaborate_made(t->el, b_cast(&t->el->b, total, wider), t->place);
        loss = elaborate_made(t->el, b_cast(&t->el->b, loss, wider), t->place);
    }
    return train_binary(t, OP_add, total, loss);
}

static Value *objective_loss(Train *t, const Objective *objective) {
    Elaborator *el = t->el;
    NamedVec *losses = &t->fs->losses;
    Value *total = NULL;
    Map names;
    map_init(&names, el->arena);
    for (size_t i = 0; i < losses->count; i++) {
        Value *loss = losses->items[i].value.as.tensor;
        map_set(&names, losses->items[i].name, loss);
        if (objective->loss == NULL) {
            total = total ? add_loss(t, total, loss) : loss;
        } else if (losses->items[i].name == objective->loss) {
            total = loss;
        }
    }
    if (losses->count == 0) {
        Diag *diag = EL_REPORT(el, NO_LOSS, el->train->place, el->model->name.text);
        elaborate_note(el, diag, el->model->place, "the model");
        elaborate_help(el, diag, "add one: loss mse(prediction, y)");
    } else if (total == NULL && objective->loss) {
        Diag *diag = EL_REPORT(el, MINIMIZE_UNKNOWN, objective->place, el->model->name.text,
                               objective->loss);
        const char *near = map_suggest(&names, objective->loss);
        if (near) {
            elaborate_help(el, diag, "did you mean '%s'?", near);
        }
    }
    return total;
}

/* The parameters that this objective trains: not frozen, matched, and reached by the loss. */
static void choose_params(Train *t, const Objective *objective, Value *loss) {
    Elaborator *el = t->el;
    size_t count = t->fs->uses.count;
    Value **values = ARENA_ARRAY(el->arena, Value *, count + 1);
    bool *reached = ARENA_ARRAY(el->arena, bool, count + 1);
    for (size_t i = 0; i < count; i++) {
        values[i] = ((PersistUse *)t->fs->uses.entries[i].value)->value;
    }
    values_reached(el->arena, loss, values, (int32_t)count, reached);
    t->params = ARENA_ARRAY(el->arena, PersistUse *, count + 1);
    t->n_params = 0;
    for (size_t i = 0; i < count; i++) {
        PersistUse *use = t->fs->uses.entries[i].value;
        const char *path = use->persist->path;
        if (use->persist->kind != PERSIST_PARAM || setting_freezes(el, path) ||
            (objective->over && !setting_matches(el, objective->over, path))) {
            continue;
        }
        if (!reached[i]) {
            Diag *diag = EL_REPORT(el, NO_GRADIENT, use->place, path);
            elaborate_help(el, diag, "it keeps its value; say so with: freeze \"%s\"", path);
            continue;
        }
        t->params[t->n_params++] = use;
    }
    t->grads = ARENA_ARRAY(el->arena, Value *, t->n_params + 1);
}

static bool gradients(Train *t, Value *loss) {
    Elaborator *el = t->el;
    Value **xs = ARENA_ARRAY(el->arena, Value *, t->n_params + 1);
    for (int32_t i = 0; i < t->n_params; i++) {
        xs[i] = t->params[i]->value;
    }
    elaborate_at(el, t->place);
    loss = scaling_of_loss(t, loss);
    elaborate_at(el, t->place);
    if (t->n_params > 0 && loss) {
        b_grad(&el->b, loss, xs, t->n_params, t->grads);
    }
    return !elaborate_building_failed(el, t->place);
}

bool train_body(Train *t, Value *const *inputs) {
    Elaborator *el = t->el;
    FuncState *fs = t->fs;
    fs->outputs.count = fs->metrics.count = fs->losses.count = 0;
    for (size_t i = 0; i < fs->uses.count; i++) {
        ((PersistUse *)fs->uses.entries[i].value)->declared = false;
    }
    for (size_t i = 0; i < fs->ordinals.count; i++) {
        *(int64_t *)fs->ordinals.entries[i].value = 0; /* every pass draws the same numbers */
    }
    Frame *frame = el->frame;
    int64_t errors = el->n_errors;
    elaborate_model_body(el, el->model, inputs);
    el->frame = frame;
    return el->n_errors == errors;
}

bool train_forward(Train *t, const Objective *objective, Value *const *inputs) {
    Elaborator *el = t->el;
    if (!train_body(t, inputs)) {
        return false;
    }
    t->loss = objective_loss(t, objective);
    if (t->loss == NULL) {
        return false;
    }
    choose_params(t, objective, t->loss);
    if (t->n_params == 0) {
        EL_REPORT(el, NOTHING_TRAINED, objective->place,
                  "every parameter is frozen, unmatched or not reached by the loss");
        return false;
    }
    return gradients(t, t->loss);
}
