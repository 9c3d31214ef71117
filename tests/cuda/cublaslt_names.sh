#!/bin/sh
# cublaslt_names.sh SOURCE_ROOT: our names for values of cuBLASLt, and its structs as we declare them, are those of
# cublasLt.h. Skipped where the header is not installed.
set -u
root=$1
for folder in "${CUDA_HOME:-/nowhere}/include" "${CUDA_PATH:-/nowhere}/include" /usr/local/cuda/include \
    /usr/local/include /usr/include; do
    if [ -f "$folder/cublasLt.h" ] && [ -f "$folder/cuda_runtime_api.h" ]; then
        found=$folder
        break
    fi
done
if [ -z "${found:-}" ]; then
    echo "skipped: no cublasLt.h here"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/check.c" <<'TEXT'
#include <cublasLt.h>
#include "runtime/cuda/cublaslt.h"
#define X(ours, theirs, value) \
    _Static_assert((unsigned long long)(ours) == (unsigned long long)(theirs), #theirs);
LT_NAMES(X)
#undef X
_Static_assert(sizeof(LtAlgorithm) == sizeof(cublasLtMatmulAlgo_t), "algorithm");
_Static_assert(sizeof(LtChoice) == sizeof(cublasLtMatmulHeuristicResult_t), "choice");
_Static_assert(offsetof(LtChoice, workspace_bytes) ==
                   offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize), "workspace");
_Static_assert(offsetof(LtChoice, status) == offsetof(cublasLtMatmulHeuristicResult_t, state), "status");
/* As many arguments, all of a size. */
size_t (*version)(void) = cublasLtGetVersion;
TEXT
if ! ${CC:-cc} -std=c11 -fsyntax-only -I"$root" -I"$root/include" -I"$found" "$work/check.c"; then
    exit 1
fi
# Every entry point is declared there.
failed=0
for name in $(grep -oE '"cublasLt[A-Za-z0-9_]+"' "$root/runtime/cuda/cublaslt.def" | tr -d '"'); do
    grep -q "$name(" "$found/cublasLt.h" || {
        echo "cublasLt.h has no $name"
        failed=1
    }
done
exit $failed
