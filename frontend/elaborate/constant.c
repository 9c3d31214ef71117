/* Expressions outside any function: consts, bounds of dims, settings. */
#include "frontend/elaborate/elaborate.h"

Val elaborate_constant_in(Elaborator *el, Env *env, const AstExpr *expr) {
    Frame *frame = el->frame;
    Scope *scope = el->scope;
    Frame top = {.env = env, .fn_name = "file", .path = ""};
    el->frame = &top;
    el->scope = NULL;
    Val value = elaborate_expr(el, expr);
    elaborate_diag_close(el);
    el->frame = frame;
    el->scope = scope;
    return value;
}

Val elaborate_constant_expr(Elaborator *el, const AstExpr *expr) {
    return elaborate_constant_in(el, el->user, expr);
}
