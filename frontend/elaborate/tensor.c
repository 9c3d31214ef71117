/* Values as tensors: element types under the weak rules, broadcasting, reshaping. Everything here
 * is explicit ops; the IR knows no broadcasting of its own. */
#include "frontend/elaborate/elaborate.h"
#include "ir/interp.h"

#include <math.h>
#include <string.h>

void lower_at(Lower *lw, Place place) {
    lw->b.place = lower_user_place(lw, place);
    for (Frame *f = lw->frame; f; f = f->caller) {
        if (f->path) {
            lw->b.label = f->path;
            return;
        }
    }
    lw->b.label = "";
}

bool lower_building_failed(Lower *lw, Place place) {
    if (lw->b.problem.text == NULL) {
        return false;
    }
    LW_REPORT(lw, SHAPE_RULE, place, lw->b.problem.text);
    lw->b.problem.text = NULL;
    return true;
}

int32_t lower_next_value(const Lower *lw) {
    return lw->fs ? lw->fs->func->n_values : 0;
}

Val lower_own(Lower *lw, Val value, int32_t first, Place place) {
    if (!lw->has_grads || !lw->fs) {
        return value;
    }
    if (value.kind == VAL_TUPLE) {
        Val result = val_list(lw, VAL_TUPLE, value.as.list.count, value.place);
        for (int32_t i = 0; i < value.as.list.count; i++) {
            result.as.list.items[i] = lower_own(lw, value.as.list.items[i], first, place);
        }
        return result;
    }
    if (value.kind != VAL_TENSOR || !dtype_is_float(value.as.tensor->type.dtype) ||
        value.as.tensor->id >= first) {
        return value;
    }
    lower_at(lw, place);
    Value *own = lower_made(lw, b_opaque(&lw->b, value.as.tensor), place);
    return val_tensor(own, value.weak, value.place);
}

Value *lower_made(Lower *lw, Value *value, Place place) {
    if (lower_building_failed(lw, place)) {
        return NULL;
    }
    if (++lw->n_ops > LOWER_MAX_OPS) {
        lower_limit(lw, place, "the program has more than 1,000,000 operations");
        return NULL;
    }
    return value;
}

DType lower_float(const Lower *lw) {
    return (DType)lw->context->default_float;
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
static bool own_dtype(Lower *lw, const Val *value, DType *out, bool *out_weak) {
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
        *out = lower_float(lw);
        return true;
    case VAL_BOOL:
        *out = DT_BOOL;
        return true;
    case VAL_LIST: {
        const Val *first = list_first(value);
        if (list_has_float(value)) {
            *out = lower_float(lw);
            return true;
        }
        return first->kind != VAL_LIST && first->kind != VAL_TENSOR &&
               own_dtype(lw, first, out, out_weak);
    }
    default:
        return false;
    }
}

static bool mix_error(Lower *lw, const char *what, Place place, DType a, DType b, const Val *values,
                      int32_t count) {
    Diag *diag = LW_REPORT(lw, DTYPES_MIX, place, what, dtype_name(a), dtype_name(b));
    DType to = dtype_class(a) >= dtype_class(b) ? a : b;
    int shown = 0;
    for (int32_t i = 0; i < count && shown < 2; i++) {
        Place from = values[i].place;
        if (values[i].kind == VAL_TENSOR && from.source && from.line != place.line) {
            lower_note(lw, diag, from, "this is %s",
                       type_text(lw->context, values[i].as.tensor->type));
            shown++;
        }
    }
    lower_help(lw, diag, "convert one: cast(x, %s)", dtype_name(to));
    return false;
}

bool common_dtype(Lower *lw, const Val *values, int32_t count, TypeUse use, const char *what,
                  Place place, DType *out, bool *out_weak) {
    DType strong = DT_COUNT, weak = DT_COUNT;
    for (int32_t i = 0; i < count; i++) {
        DType dtype = DT_F32;
        bool is_weak = false;
        if (values[i].kind == VAL_ERROR) {
            return false;
        }
        if (!own_dtype(lw, &values[i], &dtype, &is_weak)) {
            LW_REPORT(lw, OPERAND_ONE, place, what, val_describe(lw, values[i]));
            return false;
        }
        DType *slot = is_weak ? &weak : &strong;
        if (*slot == DT_COUNT) {
            *slot = dtype;
        } else if (is_weak && dtype_class(*slot) != dtype_class(dtype)) {
            if (dtype_class(*slot) == 0 || dtype_class(dtype) == 0) {
                return mix_error(lw, what, place, *slot, dtype, values, count);
            }
            *slot = dtype_class(*slot) == 2 ? *slot : dtype;
        } else if (!dtype_promote(*slot, dtype, slot)) {
            return mix_error(lw, what, place, *slot, dtype, values, count);
        }
    }
    *out_weak = strong == DT_COUNT;
    *out = *out_weak ? weak : strong;
    if (!*out_weak && weak != DT_COUNT) {
        int have = dtype_class(strong), extra = dtype_class(weak);
        if (extra > have || (have > 0 && extra == 0)) {
            return mix_error(lw, what, place, strong, weak, values, count);
        }
    }
    if (use == USE_ARITHMETIC && *out == DT_BOOL) {
        Diag *diag = LW_REPORT(lw, BOOL_ARITHMETIC, place, what);
        lower_help(lw, diag, "use and, or, not; or cast(x, i32) first");
        return false;
    }
    if (use == USE_FLOAT && !dtype_is_float(*out)) {
        if (*out_weak && *out != DT_BOOL) {
            *out = lower_float(lw);
            return true;
        }
        Diag *diag = LW_REPORT(lw, WRONG_DTYPE, place, what, "floats", dtype_name(*out));
        lower_help(lw, diag, "convert it: cast(x, %s)", dtype_name(lower_float(lw)));
        return false;
    }
    return true;
}

/* -- constants of values */

static bool list_shape(Lower *lw, const Val *value, int64_t *dims, int32_t *rank, Place place) {
    if (value->kind != VAL_LIST) {
        return true;
    }
    if (*rank == TYPE_MAX_RANK) {
        LW_REPORT(lw, RANK_LIMIT, place, (int)*rank + 1);
        return false;
    }
    dims[(*rank)++] = value->as.list.count;
    return value->as.list.count == 0 || list_shape(lw, &value->as.list.items[0], dims, rank, place);
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

static bool list_exact(Lower *lw, const Val *value, Place place) {
    for (int32_t i = 0; value->kind == VAL_LIST && i < value->as.list.count; i++) {
        if (!list_exact(lw, &value->as.list.items[i], place)) {
            return false;
        }
    }
    return number_exact(lw, *value, place);
}

static Value *list_as(Lower *lw, Val value, DType dtype, Place place) {
    int64_t dims[TYPE_MAX_RANK];
    const Size *shape[TYPE_MAX_RANK];
    int32_t rank = 0;
    if (!list_shape(lw, &value, dims, &rank, place)) {
        return NULL;
    }
    if (!list_all_constant(&value)) {
        LW_REPORT(lw, LIST_KIND, place, "sizes that are not constant");
        return NULL;
    }
    int64_t count = 1;
    for (int32_t i = 0; i < rank; i++) {
        count *= dims[i];
        shape[i] = size_const(lw->context, dims[i]);
    }
    bool is_float = dtype_is_float(dtype);
    if (is_float && !list_exact(lw, &value, place)) {
        return NULL;
    }
    void *data = ARENA_ARRAY(lw->arena, double, count > 0 ? count : 1);
    int64_t at = 0;
    list_fill(&value, is_float, data, &at);
    Type type = type_make(lw->context, dtype, rank, shape);
    return lower_made(lw, b_literal(&lw->b, type, data, count), place);
}

/* Whether a constant is converted as any other value, so that `grad` finds what a name holds; not
 * where only a new constant of the wanted type has all digits of the number. */
static bool keeps_apart(const Lower *lw, const Value *x) {
    double number = op_float(x->op, "value");
    return lw->has_grads && dtype_is_float(x->type.dtype) &&
           round_to_dtype(number, x->type.dtype) == number;
}

Value *lower_as(Lower *lw, Val value, DType dtype, Place place) {
    value = val_settled(lw, value);
    lower_at(lw, place);
    switch (value.kind) {
    case VAL_TENSOR: {
        Value *x = value.as.tensor;
        if (x->type.dtype == dtype) {
            return x;
        }
        if (value.weak && x->op && x->op->code == OP_constant && !keeps_apart(lw, x)) {
            double number = op_float(x->op, "value");
            return lower_made(lw, b_constant(&lw->b, number, type_with_dtype(x->type, dtype)),
                              place);
        }
        if (value.weak && x->op && x->op->code == OP_iota) {
            int64_t axis = op_int(x->op, "axis");
            return lower_made(lw, b_iota(&lw->b, axis, type_with_dtype(x->type, dtype)), place);
        }
        return lower_made(lw, b_cast(&lw->b, x, dtype), place);
    }
    case VAL_INT:
        if (dtype_is_float(dtype) && !number_exact(lw, value, place)) {
            return NULL;
        }
        if (!dtype_is_float(dtype) &&
            (value.as.i > (INT64_C(1) << 53) || value.as.i < -(INT64_C(1) << 53))) {
            return lower_made(lw, b_literal(&lw->b, type_scalar(dtype), &value.as.i, 1), place);
        }
        return lower_made(lw, b_constant(&lw->b, (double)value.as.i, type_scalar(dtype)), place);
    case VAL_BOOL:
        return lower_made(lw, b_constant(&lw->b, (double)value.as.i, type_scalar(dtype)), place);
    case VAL_FLOAT:
        return lower_made(lw, b_constant(&lw->b, value.as.f, type_scalar(dtype)), place);
    case VAL_SIZE:
        return lower_made(lw, b_size(&lw->b, value.as.size, dtype), place);
    case VAL_LIST:
        return list_as(lw, value, dtype, place);
    default:
        return NULL;
    }
}

/* -- shapes */

bool lower_same_size(Lower *lw, const Size *a, Place place_a, const Size *b, Place place_b,
                     Place place, const char *what) {
    Truth truth = size_equal(lw->context, a, b);
    if (truth == TRUTH_YES) {
        return true;
    }
    const char *text_a = size_text(lw->context, a), *text_b = size_text(lw->context, b);
    if (truth == TRUTH_NO) {
        Diag *diag = LW_REPORT(lw, SIZES_DIFFER, place, what, text_a, text_b);
        if (place_a.line != place.line) {
            lower_note(lw, diag, place_a, "%s comes from here", text_a);
        }
        if (place_b.line != place.line) {
            lower_note(lw, diag, place_b, "%s comes from here", text_b);
        }
        return false;
    }
    Place first = lower_user_place(lw, place), other = place_b.source ? place_b : place_a;
    const char *text =
        first.source && other.source
            ? arena_format(lw->arena, "%s:%d:%d: %s: %s is not %s (from %s:%d:%d)",
                           first.source->name, (int)first.line, (int)first.column, what, text_a,
                           text_b, other.source->name, (int)other.line, (int)other.column)
            : arena_format(lw->arena, "%s: %s is not %s", what, text_a, text_b);
    lower_at(lw, place);
    b_size_check(&lw->b, a, b, text);
    return !lower_building_failed(lw, place);
}

static int32_t val_shape(Lower *lw, const Val *value, const Size **dims) {
    if (value->kind == VAL_TENSOR) {
        Type type = value->as.tensor->type;
        copy_sizes(dims, type.dims, type.rank);
        return type.rank;
    }
    int64_t sizes[TYPE_MAX_RANK];
    int32_t rank = 0;
    list_shape(lw, value, sizes, &rank, value->place);
    for (int32_t i = 0; i < rank; i++) {
        dims[i] = size_const(lw->context, sizes[i]);
    }
    return rank;
}

static bool broadcast_error(Lower *lw, const Val *values, int32_t i, int32_t j, int32_t axis,
                            const Size *a, const Size *b, const char *what, Place place) {
    Context *context = lw->context;
    const Size *dims[TYPE_MAX_RANK];
    int32_t rank_a = val_shape(lw, &values[i], dims);
    const char *text_a = type_text(context, type_make(context, DT_F32, rank_a, dims));
    int32_t rank_b = val_shape(lw, &values[j], dims);
    const char *text_b = type_text(context, type_make(context, DT_F32, rank_b, dims));
    Diag *diag = LW_REPORT(lw, BROADCAST, place, what, strchr(text_a, '['), strchr(text_b, '['),
                           (int)axis, size_text(context, a), size_text(context, b));
    const int32_t both[] = {i, j};
    const char *const texts[] = {text_a, text_b};
    for (int k = 0; k < 2; k++) {
        Place from = values[both[k]].place;
        if (from.source) {
            lower_note(lw, diag, from, "%s comes from here", strchr(texts[k], '['));
        }
    }
    if (rank_a != rank_b) {
        lower_help(lw, diag, "shapes are compared from the last axis; {b c -> b c 1} adds an axis");
    } else {
        lower_help(lw, diag, "only an axis whose size is exactly 1 is repeated");
    }
    return false;
}

static bool either_may_be_one(Lower *lw, const Size *a, const Size *b) {
    const Size *one = size_const(lw->context, 1);
    return size_equal(lw->context, a, one) != TRUTH_NO ||
           size_equal(lw->context, b, one) != TRUTH_NO;
}

bool common_shape(Lower *lw, const Val *values, int32_t count, const char *what, Place place,
                  const Size **out, int32_t *out_rank) {
    const Size *dims[TYPE_MAX_RANK];
    int32_t owner[TYPE_MAX_RANK];
    int32_t rank = 0;
    for (int32_t i = 0; i < count; i++) {
        int32_t own = val_shape(lw, &values[i], dims);
        rank = own > rank ? own : rank;
    }
    *out_rank = rank;
    for (int32_t axis = 0; axis < rank; axis++) {
        out[axis] = size_const(lw->context, 1);
        owner[axis] = -1;
    }
    for (int32_t i = 0; i < count; i++) {
        int32_t own = val_shape(lw, &values[i], dims);
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
            Truth truth = size_equal(lw->context, out[axis], dims[k]);
            if (truth != TRUTH_YES && lw->trial && either_may_be_one(lw, out[axis], dims[k])) {
                if (truth == TRUTH_NO) { /* unless that one is 1 */
                    return false;
                }
                out[axis] = trial_joined(lw, out[axis], dims[k]);
                continue;
            }
            if (truth == TRUTH_NO) {
                return broadcast_error(lw, values, owner[axis], i, axis, out[axis], dims[k], what,
                                       place);
            }
            if (truth == TRUTH_MAYBE && !lower_same_size(lw, out[axis], values[owner[axis]].place,
                                                         dims[k], values[i].place, place, what)) {
                return false;
            }
        }
    }
    return true;
}

Value *lower_reshape(Lower *lw, Value *x, const Size *const *shape, int32_t rank, Place place) {
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
    lower_at(lw, place);
    return lower_made(lw, b_reshape(&lw->b, x, rank, shape), place);
}

Value *lower_transpose(Lower *lw, Value *x, const int64_t *permutation, Place place) {
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
    lower_at(lw, place);
    return lower_made(lw, b_transpose(&lw->b, x, permutation), place);
}

Value *lower_expand(Lower *lw, Value *x, const Size *const *shape, int32_t rank, Place place) {
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
    if (x->op && x->op->code == OP_constant && widens && !lw->has_grads) {
        lower_at(lw, place);
        Type type = type_make(lw->context, x->type.dtype, rank, shape);
        return lower_made(lw, b_constant(&lw->b, op_float(x->op, "value"), type), place);
    }
    /* Repeated axes are dropped first; sizes that a check made equal take the common text. */
    x = lower_reshape(lw, x, kept, n_kept, place);
    if (x == NULL || n_kept == rank) {
        return x;
    }
    lower_at(lw, place);
    return lower_made(lw, b_broadcast(&lw->b, x, rank, shape, axes), place);
}

bool lower_unify(Lower *lw, const Val *values, int32_t count, TypeUse use, const char *what,
                 Place place, Value **out, bool *out_weak) {
    DType dtype = DT_F32;
    const Size *shape[TYPE_MAX_RANK];
    int32_t rank = 0;
    if (!common_dtype(lw, values, count, use, what, place, &dtype, out_weak) ||
        !common_shape(lw, values, count, what, place, shape, &rank)) {
        return false;
    }
    for (int32_t i = 0; i < count; i++) {
        double number = 0;
        if (values[i].setting == NULL && number_to_double(values[i], &number) &&
            fabs(number) < 9007199254740992.0) { /* an integer is exact */
            if (dtype_is_float(dtype) && !number_exact(lw, values[i], place)) {
                return false;
            }
            lower_at(lw, place);
            Type type = type_make(lw->context, dtype, rank, shape);
            out[i] = lower_made(lw, b_constant(&lw->b, number, type), place);
        } else {
            out[i] = lower_expand(lw, lower_as(lw, values[i], dtype, place), shape, rank, place);
        }
        if (out[i] == NULL) {
            return false;
        }
    }
    return true;
}
