/* The settings of a train block: which there are, their forms, and what the run time is told of
 * them. */
#include "frontend/elaborate/elaborate.h"

#include "ir/base/number.h"

#include <string.h>

typedef enum SettingKind { SET_INT, SET_NUMBER, SET_NAME, SET_BATCH, SET_OTHER } SettingKind;

typedef struct SettingRow {
    const char *word;
    SettingKind kind;
    double least;
} SettingRow;

static const SettingRow setting_rows[] = {
    {"batch", SET_BATCH, 1},    {"accumulate", SET_INT, 1}, {"epochs", SET_INT, 1},
    {"steps", SET_INT, 1},      {"seed", SET_INT, 0},       {"clip_norm", SET_NUMBER, 0},
    {"ema", SET_NUMBER, 0},     {"precision", SET_NAME, 0}, {"optimizer", SET_OTHER, 0},
    {"minimize", SET_OTHER, 0}, {"freeze", SET_OTHER, 0},
};

enum { N_SETTING_ROWS = sizeof(setting_rows) / sizeof(setting_rows[0]) };

static const SettingRow *row_of(const char *word) {
    for (int i = 0; i < N_SETTING_ROWS; i++) {
        if (strcmp(setting_rows[i].word, word) == 0) {
            return &setting_rows[i];
        }
    }
    return NULL;
}

const AstSetting *find_setting(const AstDecl *train, const char *word) {
    for (int32_t i = 0; train && i < train->as.train.settings.count; i++) {
        if (strcmp(train->as.train.settings.items[i].word.text, word) == 0) {
            return &train->as.train.settings.items[i];
        }
    }
    return NULL;
}

bool setting_matches(Elaborator *el, const AstExprs *globs, const char *path) {
    for (int32_t i = 0; i < globs->count; i++) {
        Val pattern = elaborate_constant_expr(el, globs->items[i]);
        if (pattern.kind == VAL_STRING && path_matches(pattern.as.text, path)) {
            return true;
        }
    }
    return false;
}

bool setting_freezes(Elaborator *el, const char *path) {
    const AstSettings *settings = &el->train->as.train.settings;
    for (int32_t i = 0; i < settings->count; i++) {
        const AstSetting *setting = &settings->items[i];
        if (strcmp(setting->word.text, "freeze") == 0 &&
            (setting_matches(el, &setting->values, path) ||
             setting_matches(el, &setting->for_globs, path) ||
             setting_matches(el, &setting->over_globs, path))) {
            return true;
        }
    }
    return false;
}

/* The value expression: the last of `batch N 1024`, else the only one. */
static const AstExpr *value_expr(const AstSetting *setting) {
    return setting->values.count > 0 ? setting->values.items[setting->values.count - 1] : NULL;
}

Val setting_value(Elaborator *el, const char *word) {
    const AstSetting *setting = find_setting(el->train, word);
    const AstExpr *expr = setting ? value_expr(setting) : NULL;
    return expr ? elaborate_constant_expr(el, expr) : (Val){.kind = VAL_NONE};
}

/* -- checking */

static void unknown_setting(Elaborator *el, const AstSetting *setting) {
    Map names;
    map_init(&names, el->arena);
    for (int i = 0; i < N_SETTING_ROWS; i++) {
        map_set(&names, setting_rows[i].word, &names);
    }
    const char *near = map_suggest(&names, setting->word.text);
    Diag *diag = EL_REPORT(el, SETTING_UNKNOWN, setting->word.place, setting->word.text);
    if (near) {
        elaborate_help(el, diag, "did you mean '%s'?", near);
    } else {
        elaborate_help(el, diag,
                       "there are: optimizer minimize freeze batch accumulate epochs steps "
                       "clip_norm precision ema seed");
    }
}

static void check_number(Elaborator *el, const AstSetting *setting, const SettingRow *row) {
    const AstExpr *expr = value_expr(setting);
    int64_t integer = 0;
    double number = 0;
    if (expr == NULL || setting->values.count > (row->kind == SET_BATCH ? 2 : 1)) {
        EL_REPORT(el, SETTING_FORM, setting->place,
                  arena_format(el->arena, "`%s` takes one value", row->word));
        return;
    }
    Val value = elaborate_constant_expr(el, expr);
    const char *what = arena_format(el->arena, "`%s`", row->word);
    if (value.kind == VAL_TENSOR) {
        Diag *diag = EL_REPORT(el, NOT_COMPILE_TIME, expr->place, what, "a value of the run");
        elaborate_help(el, diag, "only the arguments of an optimizer may change from step to step");
        return;
    }
    bool good = row->kind == SET_NUMBER ? need_float(el, value, what, expr->place, &number)
                                        : need_int(el, value, what, expr->place, &integer);
    if (good && row->kind != SET_NUMBER) {
        number = (double)integer;
    }
    if (good && number < row->least) {
        EL_REPORT(el, VALUE_RANGE, expr->place, what,
                  arena_format(el->arena, "at least %s", number_text(row->least, 6).text),
                  val_describe(el, value));
    }
    if (good && strcmp(row->word, "ema") == 0 && number >= 1) {
        EL_REPORT(el, VALUE_RANGE, expr->place, what, "below 1", val_describe(el, value));
    }
}

static const char *const PRECISIONS[] = {"f32", "tf32", "bf16", "f16"};

const char *compute_precision(Elaborator *el) {
    const AstSetting *setting = find_setting(el->train, "precision");
    const AstExpr *expr = setting ? value_expr(setting) : NULL;
    for (int i = 1; i < 4 && expr && expr->kind == AST_NAME; i++) {
        if (strcmp(expr->as.name, PRECISIONS[i]) == 0) {
            return PRECISIONS[i];
        }
    }
    return NULL;
}

static void check_precision(Elaborator *el, const AstSetting *setting) {
    const AstExpr *expr = value_expr(setting);
    const char *precision = compute_precision(el);
    bool plain = expr && expr->kind == AST_NAME && setting->values.count == 1 &&
                 strcmp(expr->as.name, PRECISIONS[0]) == 0;
    if (!plain && (!precision || setting->values.count != 1)) {
        Diag *diag =
            EL_REPORT(el, SETTING_FORM, setting->place, "`precision` takes the type of products");
        elaborate_help(el, diag, "f32, tf32, bf16 or f16");
    } else if (precision && elaborate_float(el) != DT_F32) {
        Diag *diag = EL_REPORT(el, SETTING_FORM, setting->place,
                               arena_format(el->arena, "`precision %s` is of f32 programs, not %s",
                                            precision, dtype_name(elaborate_float(el))));
        elaborate_help(el, diag, "compile without --float, or leave the line out");
    }
}

static bool repeats(const AstSetting *setting) {
    return strcmp(setting->word.text, "freeze") == 0 ||
           strcmp(setting->word.text, "minimize") == 0 ||
           (strcmp(setting->word.text, "optimizer") == 0 && setting->for_globs.count > 0);
}

static bool all_strings(const AstExprs *exprs) {
    for (int32_t i = 0; i < exprs->count; i++) {
        if (exprs->items[i]->kind != AST_STRING) {
            return false;
        }
    }
    return exprs->count > 0;
}

void check_settings(Elaborator *el) {
    const AstSettings *settings = &el->train->as.train.settings;
    for (int32_t i = 0; i < settings->count; i++) {
        const AstSetting *setting = &settings->items[i];
        const SettingRow *row = row_of(setting->word.text);
        if (row == NULL) {
            unknown_setting(el, setting);
            continue;
        }
        for (int32_t k = 0; k < i && !repeats(setting); k++) {
            if (settings->items[k].word.text == setting->word.text &&
                !repeats(&settings->items[k])) {
                Diag *diag = EL_REPORT(el, SETTING_TWICE, setting->place, setting->word.text);
                elaborate_note(el, diag, settings->items[k].place, "first given here");
            }
        }
        if (row->kind == SET_NAME) {
            check_precision(el, setting);
        } else if (row->kind != SET_OTHER) {
            check_number(el, setting, row);
        } else if (strcmp(row->word, "optimizer") == 0 && setting->values.count != 1) {
            EL_REPORT(el, SETTING_FORM, setting->place, "`optimizer` takes one optimizer");
        } else if (strcmp(row->word, "freeze") == 0 && !all_strings(&setting->values)) {
            Diag *diag =
                EL_REPORT(el, SETTING_FORM, setting->place, "`freeze` takes globs of paths");
            elaborate_help(el, diag, "freeze \"embed.*\"");
        } else if (strcmp(row->word, "minimize") == 0 &&
                   (setting->values.count != 1 || setting->values.items[0]->kind != AST_NAME ||
                    setting->over_value == NULL)) {
            Diag *diag = EL_REPORT(el, SETTING_FORM, setting->place,
                                   "`minimize` takes a loss, globs and an optimizer");
            elaborate_help(el, diag, "minimize d over \"disc.*\" adam(lr=2e-4)");
        }
    }
    elaborate_diag_close(el);
}

/* -- the batch dim */

static const Dim *named_batch_dim(Elaborator *el, const AstSetting *setting, bool *out_bad) {
    const AstExpr *expr = setting->values.items[0];
    const Dim *dim = expr->kind == AST_NAME ? module_find_dim(el->module, expr->as.name) : NULL;
    if (dim == NULL) {
        Diag *diag = EL_REPORT(el, BATCH_DIM, expr->place, "this names no free dim");
        elaborate_help(el, diag, "batch N 1024, with `dim N`");
        *out_bad = true;
    }
    return dim;
}

const Dim *batch_dim(Elaborator *el) {
    const AstSetting *setting = find_setting(el->train, "batch");
    bool bad = false;
    if (setting && setting->values.count == 2) {
        return named_batch_dim(el, setting, &bad);
    }
    const Dim *found = NULL;
    const FuncState *fs = el->fs;
    const AstParams *params = &el->model->as.fn.params;
    for (int32_t i = 0; fs && i < params->count; i++) {
        Type type = fs->inputs[i]->type;
        const Dim *dim = type.rank > 0 ? size_as_dim(type.dims[0]) : NULL;
        if (dim == NULL || dim == found) {
            continue;
        }
        if (found && el->train == NULL) {
            return NULL;
        }
        if (found) {
            Diag *diag = EL_REPORT(el, BATCH_DIM, setting ? setting->place : el->train->place,
                                   arena_format(el->arena, "the inputs begin with '%s' and '%s'",
                                                found->name, dim->name));
            elaborate_note(el, diag, params->items[i].place, "this input begins with '%s'",
                           dim->name);
            elaborate_help(el, diag, "name it: batch %s 64", found->name);
            return NULL;
        }
        found = dim;
    }
    return found;
}

/* -- recording */

static void record(Elaborator *el, const char *key, const char *text) {
    Module *module = el->module;
    map_set(&module->settings, key, (void *)context_intern(el->context, text));
}

static void record_train(Elaborator *el) {
    const AstSettings *settings = &el->train->as.train.settings;
    const char *optimizers = "";
    for (int32_t i = 0; i < settings->count; i++) {
        const AstSetting *setting = &settings->items[i];
        const SettingRow *row = row_of(setting->word.text);
        const AstExpr *expr = value_expr(setting);
        if (row->kind == SET_NAME) {
            record(el, row->word, expr->as.name);
        } else if (row->kind != SET_OTHER) {
            Val value = elaborate_constant_expr(el, expr);
            record(el, row->word,
                   value.kind == VAL_INT
                       ? arena_format(el->arena, "%lld", (long long)value.as.i)
                       : arena_format(el->arena, "%s", number_shortest(value.as.f).text));
        } else if (strcmp(row->word, "freeze") != 0) {
            const AstExpr *shown = setting->over_value ? setting->over_value : expr;
            optimizers = arena_format(el->arena, "%s%s%s", optimizers, optimizers[0] ? "; " : "",
                                      expr_source(el, shown));
        }
    }
    record(el, "optimizer", optimizers);
}

void record_settings(Elaborator *el) {
    record(el, "model", el->model->name.text);
    if (el->train) {
        record_train(el);
    }
    if (el->batch) {
        record(el, "batch_dim", el->batch->name);
    }
    if (el->layout) {
        module_set_mesh_layout(el->module, el->layout);
    }
}
