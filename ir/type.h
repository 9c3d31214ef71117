/* Element types, symbolic sizes and tensor types. Sizes are normalised, interned polynomials over
 * dims and floordiv/mod/min/max atoms: equal sizes are equal pointers, and whether two sizes are
 * equal, or how they compare, is decided in ir/size.c and nowhere else. */
#ifndef DLC_IR_TYPE_H
#define DLC_IR_TYPE_H

#include "ir/base/context.h"
#include "ir/base/mesh.h"
#include "ir/base/program.h"

typedef enum DType {
    DT_F64,
    DT_F32,
    DT_F16,
    DT_BF16,
    DT_I64,
    DT_I32,
    DT_I8,
    DT_U8,
    DT_BOOL, /* one byte, 0 or 1 */
    DT_COUNT
} DType;

const char *dtype_name(DType dtype); /* "f32" */
bool dtype_from_name(const char *name, DType *out);
int dtype_bytes(DType dtype);
bool dtype_is_float(DType dtype);
bool dtype_is_integer(DType dtype); /* i64 i32 i8 u8; not bool */

/* A size known only when the plan runs. Owned by the module; `id` is its slot among the bound dims.
 */
typedef struct Size Size; /* interned in the context, immutable */

typedef struct Dim {
    const char *name; /* interned */
    int32_t id;
    int64_t low, high; /* bounds, both included; high INT64_MAX: none. low >= 1 unless stated */
    int64_t divisor;   /* the dim is a multiple of this; >= 1 */
    int64_t nominal;   /* for printing and cost; 0: none */
    Place place;
    /* Dims of other sources than DIM_FREE are never given: each rank computes its own once the dims
     * of lower ids are bound (ir/base/mesh.h). */
    DimSource source;
    MeshGroup group;   /* of these sources; not empty */
    const Size *of;    /* the rows that DIM_PIECE and DIM_FIRST are of; else NULL */
    MeshGroup differs; /* axes of the mesh along which ranks may have different values */
} Dim;

typedef enum Truth { TRUTH_NO, TRUTH_YES, TRUTH_MAYBE } Truth;

const Size *size_const(Context *context, int64_t value);
const Size *size_dim(Context *context, const Dim *dim); /* divisor k: k times the atom dim/k */
const Size *size_add(Context *context, const Size *a, const Size *b);
const Size *size_sub(Context *context, const Size *a, const Size *b);
const Size *size_mul(Context *context, const Size *a, const Size *b);
/* b provably nonzero, else NULL. floordiv(k·p + q, k) = p + floordiv(q, k). */
const Size *size_floordiv(Context *context, const Size *a, const Size *b);
/* q so that whole = part * q: exactly where that is seen, whatever the dims are, else
 * floordiv(whole, max(part, 1)), which is 0 where both are. NULL: part is 0. */
const Size *size_other_factor(Context *context, const Size *whole, const Size *part);
const Size *size_cdiv(Context *context, const Size *a, const Size *b);
const Size *size_mod(Context *context, const Size *a, const Size *b);
const Size *size_min(Context *context, const Size *a, const Size *b);
const Size *size_max(Context *context, const Size *a, const Size *b);

/* Arithmetic that leaves int64 gives the error size, which all operations keep; check once. */
bool size_is_error(const Size *size);
bool size_is_const(const Size *size, int64_t *out); /* out may be NULL */
bool size_is_one(const Size *size);
Truth size_equal(Context *context, const Size *a, const Size *b);
Truth size_less_equal(Context *context, const Size *a, const Size *b);
/* Bounds over all values of the dims, both included, saturating. */
void size_range(const Size *size, int64_t *low, int64_t *high);
bool size_divisible(const Size *size, int64_t divisor); /* provably */
/* The largest constant that provably divides the size (0 for the size 0). */
int64_t size_gcd(const Size *size);
/* Value for dims bound by id; false on overflow or division by zero. */
bool size_eval(const Size *size, const int64_t *dim_values, int32_t n_dims, int64_t *out);
/* The dim if the size is exactly one dim (divisor included), else NULL. */
const Dim *size_as_dim(const Size *size);
bool size_uses_dim(const Size *size, const Dim *dim);
/* What stands for a dim without a nominal value: costs and choices need a number, results never
 * depend on it. Where a wrong guess costs more in one direction, the guess leans the other way. */
enum {
    UNSET_SIZE = 64,     /* of any size */
    UNSET_LONG = 256,    /* where a shorter one costs little: stages of a reduction */
    UNSET_LENGTH = 1024, /* of a sequence that attends */
    UNSET_DEPTH = 2048,  /* of a size that is summed over: a batch may be long */
    UNSET_BATCH = 8      /* of examples, where few are the hard case */
};
/* Value at the dims' nominal values (`unset` where a dim has none: one of UNSET_SIZE...), for costs
 * and choices; within +-SIZE_NOMINAL_MAX, so that what is computed from it stays in range. */
#define SIZE_NOMINAL_MAX (INT64_C(1) << 40)
int64_t size_nominal(const Size *size, int64_t unset);
/* `size` with each dim replaced by by[dim->id] (NULL: kept). */
const Size *size_substitute(Context *context, const Size *size, const Size *const *by,
                            int32_t n_by);
/* "10*I + 21", "floordiv(T, 2)", "min(T, 8)". Parsed back by size_parse to the same size. */
void size_print(const Size *size, Str *out);
const char *size_text(Context *context, const Size *size); /* in the context arena */
/* Parses what size_print prints; names are looked up among `dims`. NULL: *out_end is where it
 * stopped. Leaves *out_end after the last character used on success. */
const Size *size_parse(Context *context, const char *text, const Dim *const *dims, int32_t n_dims,
                       const char **out_end);
size_t
size_name_length(const char *text); /* of the dim's name that the text begins with; 0: none */
/* Appends postfix code that computes the size from dims numbered by id. */
typedef VEC(ProgramInstr) ProgramVec;
void size_to_program(Arena *arena, const Size *size, ProgramVec *out);
int size_compare(const Size *a, const Size *b); /* a stable total order for printing and sorting */

/* A tensor type. `dims` is an array of `rank` sizes in some arena that outlives the type. */
typedef struct Type {
    DType dtype;
    int32_t rank;
    const Size *const *dims;
} Type;

enum { TYPE_MAX_RANK = 16 };

Type type_make(Context *context, DType dtype, int32_t rank, const Size *const *dims); /* copies */
Type type_scalar(DType dtype);
Type type_with_dtype(Type type, DType dtype);
/* The axes before and behind one of them; they share its dims. */
static inline Type type_lead(Type type, int32_t axis) {
    return (Type){type.dtype, axis, type.dims};
}
static inline Type type_tail(Type type, int32_t axis) {
    return (Type){type.dtype, type.rank - axis - 1, type.dims + axis + 1};
}
bool type_equal(Type a, Type b); /* provably: same dtype, rank and interned sizes */
const Size *type_elements(Context *context, Type type);
const Size *type_bytes(Context *context, Type type);
void type_print(Type type, Str *out); /* "f32[B, 10]", "f32[]" */
const char *type_text(Context *context, Type type);

#endif
