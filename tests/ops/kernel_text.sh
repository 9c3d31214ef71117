#!/usr/bin/env bash
# Every kernel of the examples, printed and read back: the same text, the same LLVM IR, the same CUDA text.
# Usage: kernel_text.sh TEST_PROGRAM EXAMPLE…
set -u
program=$1
shift
root=${DLC_SOURCE_ROOT:?}
dlc=${DLC_BUILD_ROOT:?}/tools/dlc
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
failed=0
for target in cpu:x86-64-v3 cuda:sm_90; do
    for example in "$@"; do
        ir=$scratch/$example-${target%%:*}.ir
        if ! "$dlc" "$root/examples/$example.dl" --target "$target" --emit=fuse --quiet -o "$ir" ||
            ! "$program" "$target" "$ir"; then
            echo "$example: kernels for $target" >&2
            failed=1
        fi
    done
done
exit "$failed"
