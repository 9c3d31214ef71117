/* Values as tensors: element types under the weak rules, broadcasting, reshaping. Everything here
 * is explicit ops; the IR knows no broadcasting of its own. */
#include "frontend/elaborate/elaborate.h"
#include "ir/interp.h"

#include <math.h>
#include <string.h>

int32_t elaborate_next_value(const Elaborator *el) {
    return el->fs ? el->fs->func->n_values : 0;
}

Val elaborate_own(Elaborator *el, Val value, int32_t first, Place place) {
    if (!el->has_grads || !el->fs) {
        return value;
    }
    if (value.kind == VAL_TUPLE) {
        Val result = val_list(el, VAL_TUPLE, value.as.list.count, value.place);
        for (int32_t i = 0; i < value.as.list.count; i++) {
            result.as.list.items[i] = elaborate_own(el, value.as.list.items[i], first, place);
        }
        return result;
    }
    if (value.kind != VAL_TENSOR || !dtype_is_float(value.as.tensor->type.dtype) ||
        value.as.tensor->id >= first) {
        return value;
    }
    elaborate_at(el, place);
    Value *own = elaborate_made(el, b_opaque(&el->b, value.as.tensor), place);
    return val_tensor(own, value.weak, value.place);
}

DType elaborate_float(const Elaborator *el) {
    return (DType)el->context->default_float;
}

/* -- element types */

/* 0 bool, 1 integer, 2 float. */
static int dtype_class(DType dtype) {
    return dtype == DT_BOOL ? 0 : dtype_is_integer(dtype) ? 1 : 2;
}

bool dtype_promote(DType a, DType b, DType *out) {
    if (a == b) {
        *out = a;
        return true;
    }
    int class_a = dtype_class(a), class_b = dtype_class(b);
    if (class_a == 2 && class_b == 2) {
        bool wide = a == DT_F64 || b == DT_F64;
        *out = wide ? DT_F64 : DT_F32;
        return true;
    }
    if (class_a == 1 && class_b == 1) {
        *out = a == DT_I64 || b == DT_I64 ? DT_I64 : DT_I32;
        return true;
    }
    /* u8 and i8 become any float they meet. */
    if (class_a == 2 && (b == DT_U8 || b == DT_I8)) {
        *out = a;
        return true;
    }
    if (class_b == 2 && (a == DT_U8 || a == DT_I8)) {
        *out = b;
        return true;
    }
    return false;
}

static const Val *list_first(const Val *value) {
    while ((value->kind == VAL_LIST || value->kind == VAL_TUPLE) && value->as.list.count > 0) {
        value = &value->as.list.items[0];
    }
    return value;
}

static bool list_has_float(const Val *value) {
    if (value->kind != VAL_LIST && value->kind != VAL_TUPLE) {
        return value->kind == VAL_FLOAT;
    }
    for (int32_t i = 0; i < value->as.list.count; i++) {
        if (list_has_float(&value->as.list.items[i])) {
            return true;
        }
    }
    return false;
}

/* The element type a value has by itself; false when it is no tensor and cannot become one. */
static bool own_dtype(Elaborator *el, const Val *value, DType *out, bool *out_weak) {
    *out_weak = true;
    switch (value->kind) {
    case VAL_TENSOR:
        *out = value->as.tensor->type.dtype;
        *out_weak = value->weak;
        return true;
    case VAL_INT:
        *out = value->as.i >= INT32_MIN && value->as.i <= INT32_MAX ? DT_I32 : DT_I64;
        return true;
    case VAL_SIZE:
        *out = DT_I32;
        return true;
    case VAL_FLOAT:
        *out = elaborate_float(el);
        return true;
    case VAL_BOOL:
        *out = DT_BOOL;
        return true;
    case VAL_LIST: {
        const Val *first = list_first(value);
        if (list_has_float(value)) {
            *out = elaborate_float(el);
            return true;
        }
        return first->kind != VAL_LIST && first->kind != VAL_TENSOR &&
               own_dtype(el, first, out, out_weak);
    }
    default:
        return false;
    }
}

static bool mix_error(Elaborator *el, const char *what, Place place, DType a, DType b,
                      const Val *values, int32_t count) {
    Diag *diag = EL_REPORT(el, DTYPES_MIX, place, what, dtype_name(a), dtype_name(b));
    DType to = dtype_class(a) >= dtype_class(b) ? a : b;
    int shown = 0;
    for (int32_t i = 0; i < count && shown < 2; i++) {
        Place from = values[i].place;
        if (values[i].kind == VAL_TENSOR && from.source && from.line != place.line) {
            elaborate_note(el, diag, from, "this is %s",
                           type_text(el->context, values[i].as.tensor->type));
            shown++;
        }
    }
    elaborate_help(el, diag, "convert one: cast(x, %s)", dtype_name(to));
    return false;
}

bool common_dtype(Elaborator *el, const Val *values, int32_t count, TypeUse use, const char *what,
                  Place place, DType *out, bool *out_weak) {
    DType strong = DT_COUNT, weak = DT_COUNT;
    for (int32_t i = 0; i < count; i++) {
        DType dtype = DT_F32;
        bool is_weak = false;
        if (values[i].kind == VAL_ERROR) {
            return false;
        }
        if (!own_dtype(el, &values[i], &dtype, &is_weak)) {
            EL_REPORT(el, OPERAND_ONE, place, what, val_describe(el, values[i]));
            return false;
        }
        DType *slot = is_weak ? &weak : &strong;
        if (*slot == DT_COUNT) {
            *slot = dtype;
        } else if (is_weak && dtype_class(*slot) != dtype_class(dtype)) {
            if (dtype_class(*slot) == 0 || dtype_class(dtype) == 0) {
                return mix_error(el, what, place, *slot, dtype, values, count);
            }
            *slot = dtype_class(*slot) == 2 ? *slot : dtype;
        } else if (!dtype_promote(*slot, dtype, slot)) {
            return mix_error(el, what, place, *slot, dtype, values, count);
        }
    }
    *out_weak = strong == DT_COUNT;
    *out = *out_weak ? weak : strong;
    if (!*out_weak && weak != DT_COUNT) {
        int have = dtype_class(strong), extra = dtype_class(weak);
        if (extra > have || (have > 0 && extra == 0)) {
            return mix_error(el, what, place, strong, weak, values, count);
        }
    }
    if (use == USE_ARITHMETIC && *out == DT_BOOL) {
        Diag *diag = EL_REPORT(el, BOOL_ARITHMETIC, place, what);
        elaborate_help(el, diag, "use and, or, not; or cast(x, i32) first");
        return false;
    }
    if (use == USE_FLOAT && !dtype_is_float(*out)) {
        if (*out_weak && *out != DT_BOOL) {
            *out = elaborate_float(el);
            return true;
        }
        Diag *diag = EL_REPORT(el, WRONG_DTYPE, place, what, "floats", dtype_name(*out));
        elaborate_help(el, diag, "convert it: cast(x, %s)", dtype_name(elaborate_float(el)));
        return false;
    }
    return true;
}

/* -- constants of values */

static bool list_shape(Elaborator *el, const Val *value, int64_t *dims, int32_t *rank,
                       Place place) {
    if (value->kind != VAL_LIST) {
        return true;
    }
    if (*rank == TYPE_MAX_RANK) {
        EL_REPORT(el, RANK_LIMIT, place, (int)*rank + 1);
        return false;
    }
    dims[(*rank)++] = value->as.list.count;
    return value->as.list.count == 0 || list_shape(el, &value->as.list.items[0], dims, rank, place);
}

static void list_fill(const Val *value, bool is_float, void *data, int64_t *at) {
    if (value->kind == VAL_LIST) {
        for (int32_t i = 0; i < value->as.list.count; i++) {
            list_fill(&value->as.list.items[i], is_float, data, at);
        }
        return;
    }
    double number = 0;
    int64_t integer = value->kind == VAL_FLOAT ? float_to_int(value->as.f, DT_I64) : value->as.i;
    if (is_float) {
        number_to_double(*value, &number);
        if (value->kind == VAL_BOOL) {
            number = (double)value->as.i;
        }
        ((double *)data)[(*at)++] = number;
    } else {
        ((int64_t *)data)[(*at)++] = integer;
    }
}

static bool list_all_constant(const Val *value) {
    if (value->kind != VAL_LIST) {
        return value->kind == VAL_INT || value->kind == VAL_FLOAT || value->kind == VAL_BOOL;
    }
    for (int32_t i = 0; i < value->as.list.count; i++) {
        if (!list_all_constant(&value->as.list.items[i])) {
            return false;
        }
    }
    return true;
}

static bool list_exact(Elaborator *el, const Val *value, Place place) {
    for (int32_t i = 0; value->kind == VAL_LIST && i < value->as.list.count; i++) {
        if (!list_exact(el, &value->as.list.items[i], place)) {
            return false;
        }
    }
    return number_exact(el, *value, place);
}

static Value *list_as(Elaborator *el, Val value, DType dtype, Place place) {
    int64_t dims[TYPE_MAX_RANK];
    const Size *shape[TYPE_MAX_RANK];
    int32_t rank = 0;
    if (!list_shape(el, &value, dims, &rank, place)) {
        return NULL;
    }
    if (!list_all_constant(&value)) {
        EL_REPORT(el, LIST_KIND, place, "sizes that are not constant");
        return NULL;
    }
    int64_t count = 1;
    for (int32_t i = 0; i < rank; i++) {
        count *= dims[i];
        shape[i] = size_const(el->context, dims[i]);
    }
    bool is_float = dtype_is_float(dtype);
    if (is_float && !list_exact(el, &value, place)) {
        return NULL;
    }
    void *data = ARENA_ARRAY(el->arena, double, count > 0 ? count : 1);
    int64_t at = 0;
    list_fill(&value, is_float, data, &at);
    Type type = type_make(el->context, dtype, rank, shape);
    return elaborate_made(el, b_literal(&el->b, type, data, count), place);
}

/* Whether a constant is converted as any other value, so that `grad` finds what a name holds; not
 * where only a new constant of the wanted type has all digits of the number. */
static bool keeps_apart(const Elaborator *el, const Value *x) {
    double number = constant_value(x->op);
    return el->has_grads && dtype_is_float(x->type.dtype) &&
           round_to_dtype(number, x->type.dtype) == number;
}

Value *elaborate_as(Elaborator *el, Val value, DType dtype, Place place) {
    value = val_settled(el, value);
    elaborate_at(el, place);
    switch (value.kind) {
    case VAL_TENSOR: {
        Value *x = value.as.tensor;
        if (x->type.dtype == dtype) {
            return x;
        }
        if (value.weak && x->op && x->op->code == OP_constant && !keeps_apart(el, x)) {
            double number = constant_value(x->op);
            return elaborate_made(el, b_constant(&el->b, number, type_with_dtype(x->type, dtype)),
                                  place);
        }
        if (value.weak && x->op && x->op->code == OP_iota) {
            int64_t axis = op_axis(x->op);
            return elaborate_made(el, b_iota(&el->b, axis, type_with_dtype(x->type, dtype)), place);
        }
        return elaborate_made(el, b_cast(&el->b, x, dtype), place);
    }
    case VAL_INT:
        if (dtype_is_float(dtype) && !number_exact(el, value, place)) {
            return NULL;
        }
        if (!dtype_is_float(dtype) &&
            (value.as.i > (INT64_C(1) << 53) || value.as.i < -(INT64_C(1) << 53))) {
            return elaborate_made(el, b_literal(&el->b, type_scalar(dtype), &value.as.i, 1), place);
        }
        return elaborate_made(el, b_constant(&el->b, (double)value.as.i, type_scalar(dtype)),
                              place);
    case VAL_BOOL:
        return elaborate_made(el, b_constant(&el->b, (double)value.as.i, type_scalar(dtype)),
                              place);
    case VAL_FLOAT:
        return elaborate_made(el, b_constant(&el->b, value.as.f, type_scalar(dtype)), place);
    case VAL_SIZE:
        return elaborate_made(el, b_size(&el->b, value.as.size, dtype), place);
    case VAL_LIST:
        return list_as(el, value, dtype, place);
    default:
        return NULL;
    }
}

/* -- shapes */

bool elaborate_same_size(Elaborator *el, const Size *a, Place place_a, const Size *b, Place place_b,
                         Place place, const char *what) {
    Truth truth = size_equal(el->context, a, b);
    if (truth == TRUTH_YES) {
        return true;
    }
    const char *text_a = size_text(el->context, a), *text_b = size_text(el->context, b);
    if (truth == TRUTH_NO) {
        Diag *diag = EL_REPORT(el, SIZES_DIFFER, place, what, text_a, text_b);
        if (place_a.line != place.line) {
            elaborate_note(el, diag, place_a, "%s comes from here", text_a);
        }
        if (place_b.line != place.line) {
            elaborate_note(el, diag, place_b, "%s comes from here", text_b);
        }
        return false;
    }
    Place first = elaborate_user_place(el, place), other = place_b.source ? place_b : place_a;
    const char *text =
        first.source && other.source
            ? arena_format(el->arena, "%s:%d:%d: %s: %s is not %s (from %s:%d:%d)",
                           first.source->name, (int)first.line, (int)first.column, what, text_a,
                           text_b, other.source->name, (int)other.line, (int)other.column)
            : arena_format(el->arena, "%s: %s is not %s", what, text_a, text_b);
    elaborate_at(el, place);
    b_size_check(&el->b, a, b, text);
    return !elaborate_building_failed(el, place);
}

static int32_t val_shape(Elaborator *el, const Val *value, const Size **dims) {
    if (value->kind == VAL_TENSOR) {
        Type type = value->as.tensor->type;
        copy_sizes(dims, type.dims, type.rank);
        return type.rank;
    }
    int64_t sizes[TYPE_MAX_RANK];
    int32_t rank = 0;
    list_shape(el, value, sizes, &rank, value->place);
    for (int32_t i = 0; i < rank; i++) {
        dims[i] = size_const(el->context, sizes[i]);
    }
    return rank;
}

static bool broadcast_error(Elaborator *el, const Val *values, int32_t i, int32_t j, int32_t axis,
                            const Size *a, const Size *b, const char *what, Place place) {
    Context *context = el->context;
    const Size *dims[TYPE_MAX_RANK];
    int32_t rank_a = val_shape(el, &values[i], dims);
    const char *text_a = type_text(context, type_make(context, DT_F32, rank_a, dims));
    int32_t rank_b = val_shape(el, &values[j], dims);
    const char *text_b = type_text(context, type_make(context, DT_F32, rank_b, dims));
    Diag *diag = EL_REPORT(el, BROADCAST, place, what, strchr(text_a, '['), strchr(text_b, '['),
                           (int)axis, size_text(context, a), size_text(context, b));
    const int32_t both[] = {i, j};
    const char *const texts[] = {text_a, text_b};
    for (int k = 0; k < 2; k++) {
        Place from = values[both[k]].place;
        if (from.source) {
            elaborate_note(el, diag, from, "%s comes from here", strchr(texts[k], '['));
        }
    }
    if (rank_a != rank_b) {
        elaborate_help(el, diag,
                       "shapes are compared from the last axis; {b c -> b c 1} adds an axis");
    } else {
        elaborate_help(el, diag, "only an axis whose size is exactly 1 is repeated");
    }
    return false;
}

static bool either_may_be_one(Elaborator *el, const Size *a, const Size *b) {
    const Size *one = size_const(el->context, 1);
    return size_equal(el->context, a, one) != TRUTH_NO ||
           size_equal(el->context, b, one) != TRUTH_NO;
}

bool common_shape(Elaborator *el, const Val *values, int32_t count, const char *what, Place place,
                  const Size **out, int32_t *out_rank) {
    const Size *dims[TYPE_MAX_RANK];
    int32_t owner[TYPE_MAX_RANK];
    int32_t rank = 0;
    for (int32_t i = 0; i < count; i++) {
        int32_t own = val_shape(el, &values[i], dims);
        rank = own > rank ? own : rank;
    }
    *out_rank = rank;
    for (int32_t axis = 0; axis < rank; axis++) {
        out[axis] = size_const(el->context, 1);
        owner[axis] = -1;
    }
    for (int32_t i = 0; i < count; i++) {
        int32_t own = val_shape(el, &values[i], dims);
        for (int32_t k = 0; k < own; k++) {
            int32_t axis = rank - own + k;
            if (size_is_one(dims[k])) {
                continue;
            }
            if (owner[axis] < 0) {
                out[axis] = dims[k];
                owner[axis] = i;
                continue;
            }
            Truth truth = size_equal(el->context, out[axis], dims[k]);
            if (truth != TRUTH_YES && el->trial && either_may_be_one(el, out[axis], dims[k])) {
                if (truth == TRUTH_NO) { /* unless that one is 1 */
                    return false;
                }
                out[axis] = trial_joined(el, out[axis], dims[k]);
                continue;
            }
            if (truth == TRUTH_NO) {
                return broadcast_error(el, values, owner[axis], i, axis, out[axis], dims[k], what,
                                       place);
            }
            if (truth == TRUTH_MAYBE &&
                !elaborate_same_size(el, out[axis], values[owner[axis]].place, dims[k],
                                     values[i].place, place, what)) {
                return false;
            }
        }
    }
    return true;
}

Value *elaborate_reshape(Elaborator *el, Value *x, const Size *const *shape, int32_t rank,
                         Place place) {
    if (x == NULL) {
        return NULL;
    }
    bool same = x->type.rank == rank;
    for (int32_t i = 0; same && i < rank; i++) {
        same = x->type.dims[i] == shape[i];
    }
    if (same) {
        return x;
    }
    elaborate_at(el, place);
    return elaborate_made(el, b_reshape(&el->b, x, rank, shape), place);
}

Value *elaborate_transpose(Elaborator *el, Value *x, const int64_t *permutation, Place place) {
    if (x == NULL) {
        return NULL;
    }
    bool identity = true;
    for (int32_t i = 0; i < x->type.rank; i++) {
        identity = identity && permutation[i] == i;
    }
    if (identity) {
        return x;
    }
    elaborate_at(el, place);
    return elaborate_made(el, b_transpose(&el->b, x, permutation), place);
}

Value *elaborate_expand(Elaborator *el, Value *x, const Size *const *shape, int32_t rank,
                        Place place) {
    if (x == NULL) {
        return NULL;
    }
    const Size *kept[TYPE_MAX_RANK];
    int64_t axes[TYPE_MAX_RANK];
    int32_t n_kept = 0;
    int32_t offset = rank - x->type.rank;
    for (int32_t i = 0; i < x->type.rank; i++) {
        bool repeated = size_is_one(x->type.dims[i]) && !size_is_one(shape[offset + i]);
        if (!repeated) {
            kept[n_kept] = shape[offset + i];
            axes[n_kept++] = offset + i;
        }
    }
    bool widens = n_kept < rank || x->type.rank < rank;
    if (x->op && x->op->code == OP_constant && widens && !el->has_grads) {
        elaborate_at(el, place);
        Type type = type_make(el->context, x->type.dtype, rank, shape);
        return elaborate_made(el, b_constant(&el->b, constant_value(x->op), type), place);
    }
    /* Repeated axes are dropped first; sizes that a check made equal take the common text. */
    x = elaborate_reshape(el, x, kept, n_kept, place);
    if (x == NULL || n_kept == rank) {
        return x;
    }
    elaborate_at(el, place);
    return elaborate_made(el, b_broadcast(&el->b, x, rank, shape, axes), place);
}

bool elaborate_unify(Elaborator *el, const Val *values, int32_t count, TypeUse use,
                     const char *what, Place place, Value **out, bool *out_weak) {
    DType dtype = DT_F32;
    const Size *shape[TYPE_MAX_RANK];
    int32_t rank = 0;
    if (!common_dtype(el, values, count, use, what, place, &dtype, out_weak) ||
        !common_shape(el, values, count, what, place, shape, &rank)) {
        return false;
    }
    for (int32_t i = 0; i < count; i++) {
        double number = 0;
        if (values[i].setting == NULL && number_to_double(values[i], &number) &&
            fabs(number) < 9007199254740992.0) { /* an integer is exact */
            if (dtype_is_float(dtype) && !number_exact(el, values[i], place)) {
                return false;
            }
            elaborate_at(el, place);
            Type type = type_make(el->context, dtype, rank, shape);
            out[i] = elaborate_made(el, b_constant(&el->b, number, type), place);
        } else {
            out[i] =
                elaborate_expand(el, elaborate_as(el, values[i], dtype, place), shape, rank, place);
        }
        if (out[i] == NULL) {
            return false;
        }
    }
    return true;
}

Value *need_tensor(Elaborator *el, Val value, const char *what, Place place) {
    if (value.kind == VAL_TENSOR) {
        return value.as.tensor;
    }
    if (val_is_number(value) || value.kind == VAL_BOOL || value.kind == VAL_LIST) {
        DType dtype = DT_F32;
        bool weak = false;
        if (!common_dtype(el, &value, 1, USE_SELECT, what, place, &dtype, &weak)) {
            return NULL;
        }
        return elaborate_as(el, value, dtype, place);
    }
    if (value.kind != VAL_ERROR) {
        EL_REPORT(el, WRONG_KIND, place, what, "a tensor", val_describe(el, value));
    }
    return NULL;
}
