/* Element types and tensor types (type.h). */
#include "ir/type.h"

typedef struct DTypeRow {
    const char *name;
    int bytes;
    bool is_float, is_integer;
} DTypeRow;

static const DTypeRow dtype_rows[DT_COUNT] = {
    [DT_F64] = {"f64", 8, true, false},    [DT_F32] = {"f32", 4, true, false},
    [DT_F16] = {"f16", 2, true, false},    [DT_BF16] = {"bf16", 2, true, false},
    [DT_I64] = {"i64", 8, false, true},    [DT_I32] = {"i32", 4, false, true},
    [DT_I8] = {"i8", 1, false, true},      [DT_U8] = {"u8", 1, false, true},
    [DT_BOOL] = {"bool", 1, false, false},
};

const char *dtype_name(DType dtype) {
    return (unsigned)dtype < DT_COUNT ? dtype_rows[dtype].name : "?";
}

bool dtype_from_name(const char *name, DType *out) {
    for (int i = 0; i < DT_COUNT; i++) {
        if (strcmp(dtype_rows[i].name, name) == 0) {
            *out = (DType)i;
            return true;
        }
    }
    return false;
}

int dtype_bytes(DType dtype) {
    return dtype_rows[dtype].bytes;
}

bool dtype_is_float(DType dtype) {
    return dtype_rows[dtype].is_float;
}

bool dtype_is_integer(DType dtype) {
    return dtype_rows[dtype].is_integer;
}

Type type_make(Context *context, DType dtype, int32_t rank, const Size *const *dims) {
    const Size **copy = NULL;
    if (rank > 0) {
        copy = ARENA_ARRAY(&context->arena, const Size *, rank);
        memcpy(copy, dims, (size_t)rank * sizeof(*copy));
    }
    return (Type){.dtype = dtype, .rank = rank, .dims = copy};
}

Type type_scalar(DType dtype) {
    return (Type){.dtype = dtype};
}

Type type_with_dtype(Type type, DType dtype) {
    type.dtype = dtype;
    return type;
}

bool type_equal(Type a, Type b) {
    if (a.dtype != b.dtype || a.rank != b.rank) {
        return false;
    }
    for (int32_t i = 0; i < a.rank; i++) {
        if (a.dims[i] != b.dims[i] || size_is_error(a.dims[i])) {
            return false;
        }
    }
    return true;
}

const Size *type_elements(Context *context, Type type) {
    const Size *count = size_const(context, 1);
    for (int32_t i = 0; i < type.rank; i++) {
        count = size_mul(context, count, type.dims[i]);
    }
    return count;
}

const Size *type_bytes(Context *context, Type type) {
    return size_mul(context, type_elements(context, type),
                    size_const(context, dtype_bytes(type.dtype)));
}

void type_print(Type type, Str *out) {
    str_addf(out, "%s[", dtype_name(type.dtype));
    for (int32_t i = 0; i < type.rank; i++) {
        if (i > 0) {
            str_add(out, ", ");
        }
        size_print(type.dims[i], out);
    }
    str_add_char(out, ']');
}

const char *type_text(Context *context, Type type) {
    dlc_allocator hooks = arena_hooks(&context->arena);
    Str text;
    str_init(&text, &hooks);
    type_print(type, &text);
    return context_intern(context, str_text(&text));
}
