/* A model's Funcs: its body is elaborated once for each purpose, then pruned to what the purpose
 * needs, and checked. */
#include "frontend/elaborate/elaborate.h"

#include <string.h>

/* State and caches; only if all state is finite. */
static void add_stores(Elaborator *el, FuncState *fs, Place place, ResultVec *vec) {
    Value *fine = persist_states_finite(el, place);
    for (size_t i = 0; i < fs->uses.count; i++) {
        PersistUse *use = fs->uses.entries[i].value;
        bool stores = use->written && use->arg && use->persist->kind != PERSIST_PARAM;
        Value *next = stores ? use->value : NULL;
        if (next && fine && next != use->arg) {
            next = persist_guarded(el, fine, next, use->arg, place);
        }
        if (next) {
            result_add(el, vec, RESULT_STORE, use->persist->path, use->arg->index, next);
        }
    }
    if (fine) {
        result_add(el, vec, RESULT_OK, "ok", -1, fine);
    }
}

static void add_named(Elaborator *el, FuncState *fs, ResultVec *vec) {
    for (size_t i = 0; i < fs->metrics.count; i++) {
        Named *metric = &fs->metrics.items[i];
        result_add(el, vec, RESULT_METRIC, metric->name, -1, metric->value.as.tensor);
        if (metric->over) {
            result_add(el, vec, RESULT_METRIC_OVER, metric->name, -1, metric->over);
        }
    }
    for (size_t i = 0; i < fs->losses.count; i++) {
        Named *loss = &fs->losses.items[i];
        result_add(el, vec, RESULT_LOSS, loss->name, -1,
                   loss->over ? loss->sum : loss->value.as.tensor);
        if (loss->over) {
            result_add(el, vec, RESULT_LOSS_OVER, loss->name, -1, loss->over);
        }
    }
}

static void elaborate_purpose(Elaborator *el, const AstDecl *decl, const char *suffix,
                              Purpose purpose) {
    const char *name = context_internf(el->context, "%s.%s", el->model->name.text, suffix);
    FuncState *fs = func_state_new(el, name, purpose);
    ResultVec vec = {0};
    int64_t errors = el->n_errors;
    func_state_inputs(el, fs, decl);
    if (el->n_errors > errors) {
        return;
    }
    elaborate_model_body(el, decl, fs->inputs);
    for (size_t i = 0; i < fs->outputs.count; i++) {
        Named *output = &fs->outputs.items[i];
        result_add(el, &vec, RESULT_OUTPUT, output->name, -1, output->value.as.tensor);
    }
    if (purpose != PURPOSE_INFER) {
        add_named(el, fs, &vec);
    }
    if (purpose != PURPOSE_EVAL) {
        add_stores(el, fs, decl->place, &vec);
    }
    if (purpose == PURPOSE_OTHER && fs->outputs.count == 0 && vec.results.count == 0 &&
        el->context->diags.n_errors == 0) {
        EL_REPORT(el, NO_OUTPUT, decl->place, decl->name.text);
    }
    func_finish(el, fs, decl, &vec);
}

static void begin_init(Elaborator *el) {
    const char *name = context_internf(el->context, "%s.init", el->model->name.text);
    el->init = func_create(el->module, name, PURPOSE_INIT);
    func_remove(el->init);
    el->init_seed = func_add_arg(el->init, ARG_SCALAR, "seed", type_scalar(DT_I64), (Place){0});
}

static void end_init(Elaborator *el) {
    func_set_results(el->init, el->init_results.items, el->init_values.items,
                     (int32_t)el->init_results.count);
    if (el->module->last) {
        el->module->last->next = el->init;
    } else {
        el->module->first = el->init;
    }
    el->module->last = el->init;
    el->init->next = NULL;
    func_renumber(el->init);
}

static void warn_unused(Elaborator *el, const AstDecl *decl) {
    const AstParams *params = &decl->as.fn.params;
    for (int32_t i = 0; i < params->count; i++) {
        if (!map_has(&el->input_used, params->items[i].name.text)) {
            EL_REPORT(el, INPUT_UNUSED, params->items[i].name.place, params->items[i].name.text);
        }
    }
}

void elaborate_model_funcs(Elaborator *el) {
    if (el->train && el->train->name.text != el->model->name.text) {
        Diag *diag = EL_REPORT(el, TRAIN_UNKNOWN, el->train->name.place, el->train->name.text);
        elaborate_note(el, diag, el->model->name.place, "the model is '%s'", el->model->name.text);
        return;
    }
    begin_init(el);
    elaborate_purpose(el, el->model, "infer", PURPOSE_INFER);
    elaborate_purpose(el, el->model, "eval", PURPOSE_EVAL); /* tells of metrics and losses too */
    if (el->train) {
        check_settings(el);
    }
    if (el->context->diags.n_errors == 0) {
        el->batch = batch_dim(el);
    }
    if (el->train && el->context->diags.n_errors == 0) {
        elaborate_train_func(el);
    }
    el->persists_closed = true;
    for (size_t i = 0; i < el->entries.count && el->context->diags.n_errors == 0; i++) {
        elaborate_purpose(el, el->entries.items[i], el->entries.items[i]->name.text, PURPOSE_OTHER);
    }
    if (el->context->diags.n_errors > 0) {
        return;
    }
    mesh_check_paths(el);
    if (el->context->diags.n_errors > 0) {
        return;
    }
    end_init(el);
    warn_unused(el, el->model);
    for (size_t i = 0; i < el->entries.count; i++) {
        warn_unused(el, el->entries.items[i]);
    }
    record_settings(el);
}
