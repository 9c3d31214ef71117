/* The stand-in for cuBLASLt: what its two files share. cublaslt.c keeps descriptions and checks
 * them as the real library does; cublaslt_product.c computes. */
#ifndef DLC_TESTS_CUDASIM_CUBLASLT_H
#define DLC_TESTS_CUDASIM_CUBLASLT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/cuda/cublaslt.h"

typedef struct LtMatrix { /* column-major, as the library has them */
    void *memory;
    int type;
    uint64_t rows, columns;
    int64_t stride, batch_stride;
} LtMatrix;

typedef struct LtWork {
    LtMatrix a, b, c, d;
    bool transpose_a, transpose_b;
    int32_t batch;
    double alpha, beta;
    uint32_t epilogue;
    const void *bias;
    int bias_type;
    void *workspace;
    size_t workspace_bytes;
} LtWork;

int lt_width(int type); /* bytes; 0: no type that is multiplied */
/* Queues it; a CUresult. */
int lt_queue(const LtWork *work, void *stream);

#endif
