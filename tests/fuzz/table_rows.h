/* One Func for each row of scalar.def, so that an operation is tested because it stands in the
 * table: on every element type that it takes, at zeros, infinities, nan, ties, ends of ranges, and
 * numbers small and large, in pairs where it has two operands. */
#ifndef DLC_TESTS_FUZZ_TABLE_ROWS_H
#define DLC_TESTS_FUZZ_TABLE_ROWS_H

#include "ir/build.h"
#include "ir/interp.h"

/* The row's number is the seed modulo their count. Adds to the module, which gets dims B and T if
 * it has none (they are not used). */
Func *table_row(Module *module, uint64_t seed);
/* The points; the same for every row. False: out of memory. */
bool table_rows_args(const Func *func, const int64_t *dim_values, int32_t n_dims, EvalTensor *out);
/* Whether each element of a result of the row's Func is as near to `expected` (the interpreter's,
 * in declared types) as the row and its type allow; equal where that is no finite float. Not:
 * *out_index is the element. */
bool table_rows_close(const Func *func, const EvalTensor *expected, const EvalTensor *got,
                      int64_t *out_index);

#endif
