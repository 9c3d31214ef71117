/* Numbers that the run sets, or may set: `val_settled` reads those at run time where they are used.
 */
#include "frontend/elaborate/elaborate.h"
#include "ir/base/number.h"
#include <string.h>

Value *elaborate_run_scalar(Elaborator *el, const char *name, DType dtype) {
    FuncState *fs = el->fs;
    Value *value = map_get(&fs->scalars, name);
    if (value == NULL) {
        value = func_add_arg(fs->func, ARG_SCALAR, name, type_scalar(dtype), (Place){0});
        map_set(&fs->scalars, name, value);
    }
    return value;
}

Val val_settled(Elaborator *el, Val value) {
    if (value.setting == NULL || value.kind != VAL_FLOAT || el->fs == NULL || el->init_path) {
        return value;
    }
    const char *key =
        arena_format(el->arena, "%s=%s", value.setting, number_shortest(value.as.f).text);
    Value *settled = map_get(&el->fs->scalars, key);
    if (settled == NULL) {
        Place place = value.place;
        Value *given = elaborate_run_scalar(el, value.setting, DT_F64);
        elaborate_at(el, place);
        Value *own = elaborate_made(el, b_constant(&el->b, value.as.f, type_scalar(DT_F64)), place);
        Value *absent = elaborate_made(el, b_unary(&el->b, OP_isnan, given), place);
        settled =
            own && absent ? elaborate_made(el, b_select(&el->b, absent, own, given), place) : NULL;
        if (settled == NULL) {
            return val_error();
        }
        map_set(&el->fs->scalars, key, settled);
    }
    return val_tensor(settled, true, value.place);
}
