/* Tensors of the interpreter as the bytes that the public API takes and gives. */
#ifndef DLC_TESTS_RANDOM_BYTES_H
#define DLC_TESTS_RANDOM_BYTES_H

#include "dlc/dlc.h"
#include "ir/interp.h"

DLDataType bytes_dtype(DType dtype);
/* Values already rounded to the type, as its bytes; the caller frees. NULL: out of memory. */
void *bytes_of(const EvalTensor *tensor);
/* The other way: fills a tensor made with the right type and shape. False: type or shape differ. */
bool bytes_read(const DLTensor *from, EvalTensor *out);

#endif
