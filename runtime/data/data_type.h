/* Element types that data files hold, and conversion between them. The first nine are numbered as
 * PlanDType; the rest occur in files only and are read as the next wider type of a plan. */
#ifndef DLC_RUNTIME_DATA_DATA_TYPE_H
#define DLC_RUNTIME_DATA_DATA_TYPE_H

#include "runtime/plan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum DataType {
    DATA_F64 = PLAN_F64,
    DATA_F32 = PLAN_F32,
    DATA_F16 = PLAN_F16,
    DATA_BF16 = PLAN_BF16,
    DATA_I64 = PLAN_I64,
    DATA_I32 = PLAN_I32,
    DATA_I8 = PLAN_I8,
    DATA_U8 = PLAN_U8,
    DATA_BOOL = PLAN_BOOL, /* one byte, 0 or 1 */
    DATA_I16 = PLAN_N_DTYPES,
    DATA_U16,
    DATA_U32,
    DATA_U64,
    DATA_N_TYPES
} DataType;

const char *data_type_name(DataType type); /* "f32", "u16" */
size_t data_type_bytes(DataType type);
bool data_type_from_name(const char *name, DataType *out);
bool data_type_is_float(DataType type);
/* The type of a plan that holds every value: u16, i16 -> i32; u32, u64 -> i64 (u64: if it fits). */
PlanDType data_type_natural(DataType type);

typedef enum ConvertResult {
    CONVERT_OK,
    CONVERT_FRACTION, /* element *out_bad is not whole, but an integer or bool is wanted */
    CONVERT_RANGE     /* element *out_bad does not fit: integer range, finite value to infinity */
} ConvertResult;

/* Converts `count` elements, at any alignment, to a type of a plan. Floats round to nearest even;
 * integers go to floats and to integer types that hold their value, and so do floats that are
 * whole; nothing is clamped or cut off. `scale` multiplies the value when the destination is a
 * float (0 or 1: none). */
ConvertResult data_convert(const void *source, DataType from, void *target, PlanDType to,
                           int64_t count, double scale, int64_t *out_bad);

/* Whether all bytes are bools, 0 or 1; *out_bad: the first that is none. */
bool data_are_bools(const uint8_t *bytes, size_t n, size_t *out_bad);

/* One element as text: "1.5", "-3". */
enum { DATA_VALUE_BYTES = 48 };
void data_value_text(const void *element, DataType type, char out[DATA_VALUE_BYTES]);

float half_to_float(uint16_t bits);
uint16_t half_from_float(float value); /* nearest even */
float bfloat_to_float(uint16_t bits);
uint16_t bfloat_from_float(float value); /* nearest even; nan stays nan */

#endif
