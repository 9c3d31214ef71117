/* A model's or entry's body, elaborated into the Func under construction. */
#include "frontend/elaborate/elaborate.h"

void elaborate_model_body(Elaborator *el, const AstDecl *decl, Value *const *inputs) {
    const AstParams *params = &decl->as.fn.params;
    Frame *frame = ARENA_NEW(el->arena, Frame);
    *frame = (Frame){.fn_name = decl->name.text,
                     .call_place = decl->place,
                     .env = el->user,
                     .path = "",
                     .is_model = true,
                     .loop = el->fs->loop};
    frame->labels = ARENA_NEW(el->arena, Map);
    map_init(frame->labels, el->arena);
    el->frame = frame;
    el->scope = NULL;
    frame->scope = scope_push(el, true);
    for (int32_t i = 0; i < params->count; i++) {
        AstName name = params->items[i].name;
        scope_define(el, el->scope, name.text, val_tensor(inputs[i], false, name.place),
                     name.place);
    }
    elaborate_stmts(el, &decl->as.fn.body);
    el->frame = NULL;
    el->scope = NULL;
}
