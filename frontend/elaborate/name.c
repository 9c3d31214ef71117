/* What a name means: a local, a parameter, a const or dim, what is built in, a function; and the
 * guess at what was meant where it means nothing. */
#include "frontend/elaborate/elaborate.h"

#include <math.h>
#include <string.h>

static Val value_of_itself(Elaborator *el, const Global *global, Place place) {
    Diag *diag = EL_REPORT(el, CONST_CYCLE, global->place, global->name);
    elaborate_note(el, diag, place, "the cycle comes back to '%s' here", global->name);
    return val_error();
}

Val global_value(Elaborator *el, Global *global, Place place) {
    global->used = true;
    if (global->kind == GLOBAL_DIM) {
        elaborate_dim(el, global); /* if it stands further down */
        if (global->state == GLOBAL_BUSY) {
            return value_of_itself(el, global, place);
        }
        if (global->dim == NULL) { /* fixed with -D, or its declaration had errors */
            return global->value;
        }
        const Size *size = el->dim_values ? el->dim_values[global->dim->id] : NULL;
        return val_size(size ? size : size_dim(el->context, global->dim), global->place);
    }
    if (global->state == GLOBAL_DONE) {
        return global->value;
    }
    if (global->state == GLOBAL_BUSY) {
        return value_of_itself(el, global, place);
    }
    global->state = GLOBAL_BUSY;
    Frame *frame = el->frame;
    Scope *scope = el->scope;
    Frame top = {.env = global->env, .fn_name = "const", .path = ""};
    el->frame = &top;
    el->scope = NULL;
    global->value = elaborate_expr(el, global->expr);
    elaborate_diag_close(el); /* its frame is about to go */
    el->frame = frame;
    el->scope = scope;
    if (global->value.kind == VAL_TENSOR) {
        EL_REPORT(el, NOT_COMPILE_TIME, global->expr->place, "a const",
                  val_describe(el, global->value));
        global->value = val_error();
    }
    global->value.place = global->place;
    global->state = GLOBAL_DONE;
    return global->value;
}

static bool is_run_scalar(const char *name) {
    return strcmp(name, "step") == 0 || strcmp(name, "steps") == 0 || strcmp(name, "epoch") == 0 ||
           strcmp(name, "steps_per_epoch") == 0;
}

bool name_is_built_in(const char *name) {
    static const char *const others[] = {"float", "training", "none", "pi", "inf", "nan"};
    DType dtype = DT_F32;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (strcmp(others[i], name) == 0) {
            return true;
        }
    }
    return dtype_from_name(name, &dtype) || is_run_scalar(name);
}

/* What every program knows besides its own names. */
static Val built_in_name(Elaborator *el, const char *name, Place place) {
    DType dtype = DT_F32;
    if (dtype_from_name(name, &dtype)) {
        return (Val){.kind = VAL_DTYPE, .place = place, .as.dtype = dtype};
    }
    if (strcmp(name, "float") == 0) {
        return (Val){.kind = VAL_DTYPE, .place = place, .as.dtype = elaborate_float(el)};
    }
    if (strcmp(name, "training") == 0) {
        return val_bool(el->training, place);
    }
    if (strcmp(name, "none") == 0) {
        return (Val){.kind = VAL_NONE, .place = place};
    }
    if (strcmp(name, "pi") == 0) {
        return val_float(3.14159265358979323846, place);
    }
    if (strcmp(name, "inf") == 0) {
        return val_float(HUGE_VAL, place);
    }
    if (strcmp(name, "nan") == 0) {
        return val_float(NAN, place);
    }
    if (is_run_scalar(name)) {
        if (el->fs == NULL || el->init_path) {
            EL_REPORT(el, NOT_COMPILE_TIME, place, "a value here",
                      arena_format(el->arena, "'%s', which only the run knows", name));
            return val_error();
        }
        return val_tensor(elaborate_run_scalar(el, name, DT_I64), true, place);
    }
    return (Val){.kind = VAL_NONE, .as.text = "unknown"};
}

/* Everything that could have been meant by a mistyped name. */
static void collect_names(Elaborator *el, Map *names, bool functions) {
    map_init(names, el->arena);
    for (Scope *s = el->scope; s; s = s->parent) {
        for (Binding *b = s->first; b; b = b->next) {
            map_set(names, b->name, b);
        }
    }
    env_names(el, el->frame ? el->frame->env : el->user, functions ? NAMES_FN : NAMES_VALUE, names);
    if (functions) {
        builtin_names(el, names);
    }
}

Val elaborate_unknown_name(Elaborator *el, const char *name, Place place) {
    Map names;
    collect_names(el, &names, false);
    bool guess = strlen(name) > 2; /* anything is near a shorter name */
    const char *near = guess ? map_suggest(&names, name) : NULL;
    if (guess && near == NULL) {
        collect_names(el, &names, true);
        near = map_suggest(&names, name);
    }
    Diag *diag = EL_REPORT(el, NAME_UNKNOWN, place, name);
    if (near) {
        elaborate_help(el, diag, "did you mean '%s'?", near);
        Binding *binding = scope_find(el->scope, near, false);
        if (binding && binding->place.source) {
            elaborate_note(el, diag, binding->place, "'%s' is declared here", near);
        }
    }
    return val_error();
}

/* A tensor of another Func: an initial value cannot use what a run computes. */
static bool of_other_func(Elaborator *el, Val value) {
    if (value.kind != VAL_TENSOR || !el->init_path) {
        return false;
    }
    const Value *v = value.as.tensor;
    const Block *block = v->op ? v->op->parent : v->block;
    return block && block->func != el->init;
}

Val elaborate_name(Elaborator *el, const char *name, Place place) {
    Binding *binding = scope_find(el->scope, name, false);
    if (binding && binding->persist) {
        if (el->init_path) {
            EL_REPORT(el, INIT_RUN_TIME, place, el->init_path);
            return val_error();
        }
        return val_tensor(persist_current(el, binding->persist, place), false, binding->place);
    }
    if (binding) {
        if (of_other_func(el, binding->value)) {
            Diag *diag = EL_REPORT(el, INIT_RUN_TIME, place, el->init_path);
            elaborate_note(el, diag, binding->place, "'%s' is computed here", name);
            return val_error();
        }
        return binding->value;
    }
    Val persist = persist_read(el, name, place);
    if (persist.kind != VAL_NONE) {
        return persist;
    }
    Env *env = el->frame ? el->frame->env : el->user;
    if (el->trial && el->has_shares && env->library) {
        return val_error(); /* a parameter of what calls it `as _`, perhaps */
    }
    Global *global = env_find(el, env, NAMES_VALUE, name, place);
    if (global) {
        return global_value(el, global, place);
    }
    Val known = built_in_name(el, name, place);
    if (known.kind != VAL_NONE || known.as.text == NULL) {
        return known;
    }
    Fn *fn = find_function(el, env, name, place);
    if (fn) {
        return (Val){.kind = VAL_FN, .place = place, .as.fn = fn};
    }
    return elaborate_unknown_name(el, name, place);
}

Fn *elaborate_unknown_function(Elaborator *el, const char *name, Place place) {
    static const char *const later[] = {"nms", "nonzero",  "fft",     "ifft", "rfft", "irfft",
                                        "ctc", "ctc_loss", "complex", "real", "imag"};
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
        if (strcmp(later[i], name) == 0) {
            EL_REPORT(el, NOT_AVAILABLE, place, name);
            return NULL;
        }
    }
    Map names;
    collect_names(el, &names, true);
    const char *near = map_suggest(&names, name);
    Diag *diag = EL_REPORT(el, FUNCTION_UNKNOWN, place, name);
    if (near) {
        elaborate_help(el, diag, "did you mean '%s'?", near);
    }
    return NULL;
}

Fn *elaborate_callee(Elaborator *el, const AstExpr *callee) {
    while (callee->kind == AST_PAREN) {
        callee = callee->as.inner;
    }
    if (callee->kind == AST_NAME) {
        Binding *binding = scope_find(el->scope, callee->as.name, false);
        if (binding && binding->value.kind == VAL_FN) {
            return binding->value.as.fn;
        }
        if (binding && val_is_error(binding->value)) {
            return NULL;
        }
        Env *env = el->frame ? el->frame->env : el->user;
        Fn *fn = find_function(el, env, callee->as.name, callee->place);
        if (fn == NULL && binding) {
            Diag *diag =
                EL_REPORT(el, NOT_A_FUNCTION, callee->place, val_describe(el, binding->value));
            elaborate_note(el, diag, binding->place, "'%s' is bound here", callee->as.name);
            return NULL;
        }
        if (fn == NULL) {
            const Global *global = env_find(el, env, NAMES_VALUE, callee->as.name, callee->place);
            if (global) {
                Diag *diag = EL_REPORT(el, NOT_A_FUNCTION, callee->place, callee->as.name);
                elaborate_note(el, diag, global->place, "'%s' is declared here", callee->as.name);
                return NULL;
            }
            return elaborate_unknown_function(el, callee->as.name, callee->place);
        }
        return fn;
    }
    Val value = elaborate_expr(el, callee);
    if (value.kind == VAL_FN) {
        return value.as.fn;
    }
    if (!val_is_error(value)) {
        EL_REPORT(el, NOT_A_FUNCTION, callee->place, val_describe(el, value));
    }
    return NULL;
}
