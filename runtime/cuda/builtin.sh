#!/bin/sh
# Makes builtin_text.h of builtin.cu: its text and its PTX as C strings. Needs nvcc and ptxas. The
# instructions are old ones, so the PTX is marked with the first version that knows sm_75, for the
# sake of old drivers; ptxas checks that.
set -eu
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
: >"$folder/dlc_prelude.cuh"
nvcc -ptx -arch=compute_75 -std=c++17 -I"$folder" builtin.cu -o "$folder/raw.ptx"
grep -v '^//' "$folder/raw.ptx" | grep -v '^[[:space:]]*//' | grep -v '^[[:space:]]*$' |
    sed 's/^\.version .*/.version 6.3/' >"$folder/builtin.ptx"
ptxas -arch=sm_75 "$folder/builtin.ptx" -o "$folder/cubin"
quote() {
    sed 's/\\/\\\\/g; s/"/\\"/g; s/	/\\t/g; s/^/    "/; s/$/\\n"/' "$1"
}
{
    echo "/* Made by builtin.sh of builtin.cu: text and PTX of the run side's own kernels. */"
    echo "#ifndef DLC_RUNTIME_CUDA_BUILTIN_TEXT_H"
    echo "#define DLC_RUNTIME_CUDA_BUILTIN_TEXT_H"
    echo
    echo "/* clang-format off */"
    echo "static const char builtin_source[] ="
    quote builtin.cu | sed '$s/$/;/'
    echo
    echo "static const char builtin_ptx[] ="
    quote "$folder/builtin.ptx" | sed '$s/$/;/'
    echo "/* clang-format on */"
    echo
    echo "#endif"
} >builtin_text.h
