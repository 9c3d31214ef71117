/* Reporting from elaboration: diagnostics are placed where the user can act, carry the calls that
 * led there, and describe values in the user's words. */
#include "frontend/elaborate/elaborate.h"

#include "ir/base/number.h"

#include <string.h>

enum { MAX_CALL_NOTES = 2 };

/* The innermost place of a call chain that is not inside the embedded library. */
Place elaborate_user_place(Elaborator *el, Place place) {
    Frame *frame = el->frame;
    while (place.source && place.source->is_library && frame) {
        place = frame->call_place;
        frame = frame->caller;
    }
    return place;
}

/* Adds the calls that lead from the model to the open diagnostic, and lets go of it. */
void elaborate_diag_close(Elaborator *el) {
    Diag *diag = el->open_diag;
    if (diag == NULL) {
        return;
    }
    el->open_diag = NULL;
    Place inner = el->open_place;
    if (inner.source && inner.source->is_library) {
        diag_note(&el->context->diags, diag, inner, "found here, inside the library");
    }
    int added = 0;
    for (Frame *f = el->open_frame; f && f->caller && added < MAX_CALL_NOTES; f = f->caller) {
        Place at = f->call_place;
        bool same = at.source == diag->place.source && at.line == diag->place.line;
        if (same || at.source == NULL || at.source->is_library) {
            continue;
        }
        diag_note(&el->context->diags, diag, at, "in this call of '%s'", f->fn_name);
        added++;
    }
}

/* More than are shown, so that what comes later is not hidden by those of one place. */
enum { ENOUGH_ERRORS = 10 * DIAG_MAX_ERRORS };

Diag *elaborate_diag_opened(Elaborator *el, Diag *diag, Place place) {
    el->n_errors += diag->severity == SEVERITY_ERROR;
    if (el->context->diags.n_errors >= ENOUGH_ERRORS) {
        el->limit_hit = true; /* none of them would be shown, and each looks for near names */
    }
    el->open_diag = diag;
    el->open_frame = el->frame;
    el->open_place = place;
    return diag;
}

void elaborate_note(Elaborator *el, Diag *diag, Place place, const char *format, ...) {
    if (diag->n_notes > 0 && diag->notes[diag->n_notes - 1].place.source == place.source &&
        place.source == NULL) {
        return;
    }
    va_list args;
    va_start(args, format);
    const char *text = arena_vformat(el->arena, format, args);
    va_end(args);
    bool library = place.source && place.source->is_library;
    diag_note(&el->context->diags, diag, place, library ? "%s (in the library)" : "%s", text);
}

void elaborate_help(Elaborator *el, Diag *diag, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *text = arena_vformat(el->arena, format, args);
    va_end(args);
    diag_help(&el->context->diags, diag, "%s", text);
}

Val elaborate_limit(Elaborator *el, Place place, const char *text) {
    if (!el->limit_hit) {
        el->limit_hit = true;
        EL_REPORT(el, LIMIT, place, text);
    }
    return val_error();
}

bool elaborate_may_nest(Elaborator *el, Place place) {
    if (el->trial && --el->trial_steps < 0) {
        el->limit_hit = true; /* of the trial, and not worth telling */
    }
    if (el->limit_hit) {
        return false;
    }
    if (boundary_stack_low(el->context->boundary)) {
        elaborate_limit(el, place,
                        "this nests too deeply for the stack of the thread that compiles");
        return false;
    }
    if (el->depth >= ELABORATE_MAX_DEPTH) {
        elaborate_limit(el, place, "expressions and calls nest too deeply");
        return false;
    }
    return true;
}

/* Deeper ones are not quoted: printing recurses. */
enum { MAX_QUOTED_DEPTH = 100 };

const char *expr_source(Elaborator *el, const AstExpr *expr) {
    if (expr->depth > MAX_QUOTED_DEPTH) {
        return "this expression";
    }
    dlc_allocator hooks = arena_hooks(el->arena);
    Str text;
    str_init(&text, &hooks);
    ast_print_expr(expr, &text);
    return context_intern(el->context, str_text(&text));
}

const char *type_source(Elaborator *el, const AstType *type) {
    for (int32_t i = 0; i < type->sizes.count; i++) {
        const AstExpr *size = type->sizes.items[i].expr;
        if (size && size->depth > MAX_QUOTED_DEPTH) {
            return "this type";
        }
    }
    dlc_allocator hooks = arena_hooks(el->arena);
    Str text;
    str_init(&text, &hooks);
    ast_print_type(type, &text);
    return context_intern(el->context, str_text(&text));
}

const char *val_kind_text(ValKind kind) {
    switch (kind) {
    case VAL_ERROR:
    case VAL_NONE:
        return "nothing";
    case VAL_INT:
        return "an integer";
    case VAL_SIZE:
        return "a size";
    case VAL_FLOAT:
        return "a number";
    case VAL_BOOL:
        return "a bool";
    case VAL_STRING:
        return "a string";
    case VAL_DTYPE:
        return "an element type";
    case VAL_LIST:
        return "a list";
    case VAL_TUPLE:
        return "a tuple";
    case VAL_FN:
        return "a function";
    case VAL_TENSOR:
        return "a tensor";
    }
    return "a value";
}

const char *val_describe(Elaborator *el, Val value) {
    Arena *arena = el->arena;
    switch (value.kind) {
    case VAL_INT:
        return arena_format(arena, "the integer %lld", (long long)value.as.i);
    case VAL_SIZE:
        return arena_format(arena, "the size %s", size_text(el->context, value.as.size));
    case VAL_FLOAT:
        return arena_format(arena, "the number %s", number_text(value.as.f, 6).text);
    case VAL_BOOL:
        return value.as.i ? "the bool true" : "the bool false";
    case VAL_STRING:
        return arena_format(arena, "the string \"%s\"", value.as.text);
    case VAL_DTYPE:
        return arena_format(arena, "the element type %s", dtype_name(value.as.dtype));
    case VAL_LIST:
        return arena_format(arena, "a list of %d", (int)value.as.list.count);
    case VAL_TUPLE:
        return arena_format(arena, "a tuple of %d", (int)value.as.list.count);
    case VAL_FN:
        return arena_format(arena, "the function '%s'", value.as.fn->name);
    case VAL_TENSOR:
        return arena_format(arena, "a tensor %s", type_text(el->context, value.as.tensor->type));
    case VAL_ERROR:
    case VAL_NONE:
        break;
    }
    return val_kind_text(value.kind);
}
