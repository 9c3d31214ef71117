#!/usr/bin/env bash
# Convolutions by the stand-in for cuDNN and by kernels: the log says which, losses agree with the
# CPU's, in f32 and bf16, and the stand-in leaves nothing behind.
set -u
root=${DLC_SOURCE_ROOT:?}
tools=${DLC_BUILD_ROOT:?}/tools
folder=${DLC_CUDA_PATH%%:*}
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
command -v g++ > /dev/null || { echo "skipped: no C++ compiler (g++) for the simulated device's kernels"; exit 77; }
failed=0
say() {
    echo "$1"
    cat "$scratch/out" "$scratch/err"
    failed=$((failed + 1))
}
export DLC_CUDASIM_LEAKS=1
mkdir "$scratch/without"
for name in libcuda.so.1 libnvrtc.so.13; do
    ln -s "$(readlink -f "$folder/$name")" "$scratch/without/$name"
done

# train DEVICE: three steps; the last loss.
train() {
    (cd "$scratch" && "$tools/dlrun" train convs.plan --device "$1" --steps 3 --batch 4 --log log.jsonl \
        --data "train=$root/examples/data/digits_train.npz" >out 2>err) || say "train on $1: status $?"
    loss=$(grep -o "\"loss\": *[0-9.e+-]*" "$scratch/log.jsonl" | tail -1 | sed "s/.*: *//")
}
# near A B TOLERANCE: relative.
near() {
    awk -v a="$1" -v b="$2" -v t="$3" 'BEGIN { d = a - b; d = d < 0 ? -d : d; exit !(a != "" && b > 0 && d <= t * b) }'
}

for precision in f32 bf16; do
    tolerance=1e-5
    [ $precision = bf16 ] && tolerance=1e-2
    sed "s/^train convs {/&\n    precision $precision/" "$root/tests/cudasim/convs.dl" >"$scratch/convs.dl"
    "$tools/dlc" "$scratch/convs.dl" --emulate-precision --target cpu --target cuda:sm_90 -o "$scratch/convs.plan" \
        >"$scratch/out" 2>"$scratch/err" || say "compile"
    train cpu
    expected=$loss
    train cuda:0
    near "$loss" "$expected" $tolerance || say "$precision, cuDNN: loss $loss, not $expected"
    grep -q 'by cuDNN' "$scratch/err" || say "$precision: cuDNN is not named"
    grep -q 'cuDNN alive' "$scratch/err" && say "$precision: descriptors are left"
    grep -q '^cudasim: .*\(reads\|writes\|never written\)' "$scratch/err" && say "$precision: a fault"
    library=$loss
    DLC_CUDASIM_CUDNN=none train cuda:0
    near "$loss" "$expected" $tolerance || say "$precision, no engine: loss $loss, not $expected"
    grep -q 'generated kernels, because cuDNN' "$scratch/err" || say "$precision: no reason is given"
    DLC_CUDA_PATH=$scratch/without:- train cuda:0
    near "$loss" "$expected" $tolerance || say "$precision, no cuDNN: loss $loss, not $expected"
    grep -q 'libcudnn.so.9 is not on this machine' "$scratch/err" || say "$precision: its absence is not told"
    echo "$precision: CPU $expected, cuDNN $library, kernels $loss"
done
exit $failed
