/* Values of elaboration: making them and asking them for what an argument needs, with the
 * diagnostic when they are something else. */
#include "frontend/elaborate/elaborate.h"

#include <math.h>

Val val_int(int64_t value, Place place) {
    return (Val){.kind = VAL_INT, .place = place, .as.i = value};
}

Val val_float(double value, Place place) {
    return (Val){.kind = VAL_FLOAT, .place = place, .as.f = value};
}

Val val_bool(bool value, Place place) {
    return (Val){.kind = VAL_BOOL, .place = place, .as.i = value};
}

Val val_string(const char *text, Place place) {
    return (Val){.kind = VAL_STRING, .place = place, .as.text = text};
}

Val val_size(const Size *size, Place place) {
    int64_t constant = 0;
    if (size == NULL) {
        return val_error();
    }
    if (size_is_const(size, &constant)) {
        return val_int(constant, place);
    }
    return (Val){.kind = VAL_SIZE, .place = place, .as.size = size};
}

Val val_tensor(Value *value, bool weak, Place place) {
    if (value == NULL) {
        return val_error();
    }
    return (Val){.kind = VAL_TENSOR, .weak = weak, .place = place, .as.tensor = value};
}

Val val_list(Elaborator *el, ValKind kind, int32_t count, Place place) {
    Val value = {.kind = kind, .place = place};
    el->trial_steps -= el->trial ? count : 0;
    value.as.list.items = ARENA_ARRAY(el->arena, Val, count > 0 ? count : 1);
    value.as.list.count = count;
    return value;
}

Val val_fn(Elaborator *el, FnKind kind, const char *name, Place place) {
    Val value = {.kind = VAL_FN, .place = place};
    value.as.fn = ARENA_NEW(el->arena, Fn);
    value.as.fn->kind = kind;
    value.as.fn->name = name;
    return value;
}

bool val_as_size(Elaborator *el, Val value, const Size **out) {
    if (value.kind == VAL_INT) {
        *out = size_const(el->context, value.as.i);
        return true;
    }
    if (value.kind == VAL_SIZE) {
        *out = value.as.size;
        return true;
    }
    return false;
}
