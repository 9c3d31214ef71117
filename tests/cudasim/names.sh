#!/bin/sh
# names.sh SOURCE_ROOT FOLDER: every function of the device's prelude has its host twin (but for the f16
# conversions, which the host takes from prelude_common.cuh), and every entry point that we call is in
# the simulated libraries.
set -u
root=$1 folder=$2 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
functions() {
    grep -ohE '^(DLC_INLINE|DLCSIM_QUIET)[^(;=]*dlc_[a-z0-9_]+\(' "$@" | sed -E 's/.*(dlc_[a-z0-9_]+)\($/\1/' |
        sort -u
}
functions "$root/codegen/cuda/prelude.cuh" | grep -vx -e dlc_f16_to_f32 -e dlc_f32_to_f16 >"$work/device"
functions "$root/tests/cudasim/prelude_host.hpp" | grep -v '^dlc_soft_' >"$work/host"
if ! diff "$work/device" "$work/host"; then
    echo "prelude.cuh (<) and prelude_host.hpp (>) have different functions"
    failed=1
fi
for library in libcuda.so.1 libnvrtc.so.13 libcudnn.so.9 libcublasLt.so.13; do
    nm -D --defined-only "$folder/$library" >"$work/$library"
done
has() {
    grep -q " T $2\$" "$work/$1" || {
        echo "$1 lacks $2"
        failed=1
    }
}
for name in $(grep -oE '"cu[A-Z][A-Za-z0-9_]+"' "$root/runtime/cuda/driver.def" "$root/codegen/cuda/machine.c" -h | tr -d '"'); do
    has libcuda.so.1 "$name"
done
for name in $(grep -ohE '"nvrtc[A-Z][A-Za-z0-9_]+"' "$root/runtime/cuda/nvrtc.def" "$root/codegen/cuda/nvrtc.c" | tr -d '"'); do
    has libnvrtc.so.13 "$name"
done
for name in $(grep -ohE '"cudnn[A-Z][A-Za-z0-9_]+"' "$root/runtime/cuda/cudnn.def" | tr -d '"'); do
    has libcudnn.so.9 "$name"
done
for name in $(grep -ohE '"cublasLt[A-Z][A-Za-z0-9_]+"' "$root/runtime/cuda/cublaslt.def" | tr -d '"'); do
    has libcublasLt.so.13 "$name"
done
exit $failed
