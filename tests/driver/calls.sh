#!/usr/bin/env bash
# Two steps of digits on the simulated GPU, with the driver's n-th call failing, for every n (or
# every STRIDE-th, the first argument): each run ends with status 0 (a call that frees may fail
# unheard) or with one error of dlrun's, never by a signal, and leaves nothing allocated on the
# device. DLC_CUDA_PATH names the simulator's folder.
set -u
root=${DLC_SOURCE_ROOT:?}
tools=${DLC_BUILD_ROOT:?}/tools
stride=${1:-1}
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
export DLC_CUDASIM_LEAKS=1
[ -e "${DLC_CUDA_PATH%%:*}/libcuda.so.1" ] && command -v g++ >/dev/null || exit 77
"$tools/dlc" "$root/examples/digits.dl" --target cuda:sm_90 -o "$scratch/digits.plan" >"$scratch/log" 2>&1 || {
    cat "$scratch/log"
    exit 1
}

train() {
    (cd "$scratch" && "$tools/dlrun" train digits.plan --device cuda:0 --steps 2 --batch 1 \
        --data "train=$root/examples/data/digits_train.npz" >out 2>err)
}

failed=0
say() {
    echo "$1"
    cat "$scratch/out" "$scratch/err"
    failed=$((failed + 1))
}

train || { say "without a failing call"; exit 1; }
calls=$(sed -n 's/.*cudasim: *\([0-9]*\) calls;.*/\1/p' "$scratch/err")
[ "${calls:-0}" -gt 100 ] || { say "the simulator counts no calls"; exit 1; }
errors=0 runs=0
n=1
while [ "$n" -le "$calls" ]; do
    DLC_CUDASIM_FAIL_CALL=$n train
    status=$?
    runs=$((runs + 1))
    if [ "$status" -ge 124 ]; then
        say "call $n: status $status"
    elif [ "$status" -ne 0 ]; then
        errors=$((errors + 1))
        grep -q '^dlrun train: .*CUDA_ERROR_[A-Z_]* (\|^dlrun train: .*out of GPU memory' "$scratch/err" ||
            say "call $n: status $status without the driver's error"
    fi
    if grep -q 'alive:' "$scratch/err" &&
        ! grep -q 'alive: 0 allocations, 0 streams, 0 events, 0 graphs, 0 executable graphs, 0 modules' "$scratch/err"; then
        say "call $n: something is left on the device"
    fi
    n=$((n + stride))
done
echo "$calls calls, $runs of them failed: $errors runs ended with an error, $failed wrongly"
[ "$failed" -eq 0 ] && [ "$errors" -gt $((runs / 2)) ]
