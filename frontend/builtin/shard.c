/* `x |> shard(data, _, model)`: how a value without a path is to be cut among devices. */
#include "frontend/builtin/builtin.h"

Val builtin_shard(BuiltinCall *call) {
    Elaborator *el = call->el;
    if (call->n_rest == 0) {
        Diag *diag = EL_REPORT(el, ARG_MISSING, call->place, call->builtin->name, "x");
        elaborate_help(el, diag, "x |> shard(data, _): cut along the first of two axes");
        return val_error();
    }
    const Arg *first = &call->rest[0];
    Value *x = need_tensor(el, first->value, "what 'shard' takes", first->place);
    const char *axes = "", *problem = NULL;
    for (int32_t i = 1; i < call->n_rest; i++) {
        const Arg *arg = &call->rest[i];
        if (arg->value.kind != VAL_STRING) {
            return val_error();
        }
        axes = arena_format(el->arena, "%s%s%s", axes, i > 1 ? ", " : "", arg->value.as.text);
    }
    if (x == NULL) {
        return val_error();
    }
    if (call->n_rest - 1 != x->type.rank) {
        Diag *diag = EL_REPORT(el, MESH_RANK, call->place, "the value", (int)x->type.rank,
                               (int)(call->n_rest - 1));
        elaborate_help(el, diag, "one for each axis, `_` for those that are not cut");
        return val_error();
    }
    Placed placed;
    if (x->type.rank == 0) {
        return first->value;
    }
    if (!placed_read(el->context, axes, &placed, &problem)) {
        EL_REPORT(el, MESH_FORM, call->place, problem);
        return val_error();
    }
    elaborate_at(el, call->place);
    return made(call, b_shard_hint(&el->b, x, context_intern(el->context, axes)),
                is_weak(first->value));
}
