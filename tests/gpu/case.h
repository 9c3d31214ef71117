/* The file of cases that make_cases writes on the machine that builds the kit and gpukit reads on
 * the one that has the GPU: entries of one plan with their inputs, and what the reference
 * interpreter says of their results. Little-endian, packed one after another: CaseFile, then
 * n_graphs times: CaseGraph, its arguments, its results; an argument: CaseTensor, then its bytes
 * and zeros to a multiple of 8; a result: CaseTensor, then n doubles (float types) or n int64 (the
 * others). */
#ifndef DLC_TESTS_GPU_CASE_H
#define DLC_TESTS_GPU_CASE_H

#include <stdint.h>

#define CASE_MAGIC "DLCCASE1"

enum { CASE_NAME = 64, CASE_RANK = 16 };

typedef struct CaseFile {
    char magic[8];
    int32_t n_graphs, reserved;
} CaseFile;

typedef struct CaseGraph {
    char entry[CASE_NAME];
    int64_t dims[2]; /* B, T */
    int32_t n_args, n_results;
} CaseGraph;

typedef struct CaseTensor {
    char name[CASE_NAME];
    int32_t dtype, rank; /* PlanDType */
    int64_t dims[CASE_RANK];
    int64_t n;
    double allowed; /* results of float types: how far a value may be off; a nan must be one */
} CaseTensor;

#endif
