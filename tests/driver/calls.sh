#!/usr/bin/env bash
# Usage: calls.sh PROGRAM. Two steps of it on the simulated GPU, with the driver's n-th call failing, for every n: at each
# call the run splits off a process in which that call fails. Each ends with status 0 (a call that
# frees may fail unheard) or with one error of dlrun's, never by a signal, and leaves nothing
# allocated on the device. (A library tells its own error.) The run has no threads, which a process split off would miss. DLC_CUDA_PATH names the simulator's folder.
set -u
root=${DLC_SOURCE_ROOT:?}
tools=${DLC_BUILD_ROOT:?}/tools
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
command -v g++ > /dev/null || { echo "skipped: no C++ compiler (g++) for the simulated device's kernels"; exit 77; }
"$tools/dlc" "$1" --target cuda:sm_90 --target cpu -o "$scratch/program.plan" >"$scratch/log" 2>&1 || {
    cat "$scratch/log"
    exit 1
}

mkdir "$scratch/calls"
(cd "$scratch" && LD_PRELOAD=${DLC_NO_THREADS:?} DLC_CUDASIM_LEAKS=1 DLC_CUDASIM_FORK=$scratch/calls "$tools/dlrun" train program.plan \
    --device cuda:0 --steps 2 --batch 1 --data "train=$root/examples/data/digits_train.npz" >out 2>err)
status=$?
calls=$(sed -n 's/.*cudasim: *\([0-9]*\) calls;.*/\1/p' "$scratch/err")
if [ "$status" -ne 0 ] || [ "${calls:-0}" -lt 100 ]; then
    echo "without a failing call: status $status"
    cat "$scratch/err"
    exit 1
fi

failed=0 errors=0 runs=0
say() {
    echo "$1"
    cat "$scratch/calls/$n.log"
    failed=$((failed + 1))
}
none='alive: 0 allocations, 0 streams, 0 events, 0 graphs, 0 executable graphs, 0 modules'
while read -r n status; do
    text=$(<"$scratch/calls/$n.log")
    runs=$((runs + 1))
    if [ "$status" -ge 124 ]; then
        say "call $n: status $status"
    elif [ "$status" -ne 0 ]; then
        errors=$((errors + 1))
        [[ $text =~ dlrun\ train:\ .*(CUDA_ERROR_[A-Z_]*\ \(|out\ of\ GPU\ memory|cublasLt[A-Za-z]*:|CUDNN_STATUS_) ]] ||
            say "call $n: status $status without the driver's error"
    fi
    [[ $text != *alive:* || $text == *"$none"* ]] || say "call $n: something is left on the device"
done <"$scratch/calls/ends"

# Only an error that says by its name that the machine cannot leads another way, with a line about it.
again() { # again CALL RESULT OPTIONS…
    local call=$1 result=$2
    shift 2
    (cd "$scratch" && DLC_CUDASIM_FAIL_CALL=$call DLC_CUDASIM_FAIL_RESULT=$result "$tools/dlrun" train program.plan \
        --steps 2 --batch 1 --data "train=$root/examples/data/digits_train.npz" "$@" >again.out 2>&1)
}
wrong() {
    echo "$1"
    cat "$scratch/again.out"
    failed=$((failed + 1))
}
capture=$(grep -l 'cuStreamBeginCapture on' "$scratch"/calls/*.log | sed 's/.*\/\([0-9]*\)\.log/\1/' | sort -n | head -1)
again "${capture:-0}" 900 --device cuda:0 && grep -q 'steps are not recorded: .*cuStreamBeginCapture' "$scratch/again.out" ||
    wrong "call $capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: the run does without"
again "${capture:-0}" 901 --device cuda:0 && wrong "call $capture, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED: the run ends"
again 1 100 && grep -q 'device: cpu.*finds no GPU' "$scratch/again.out" || wrong "no GPU: the processor, and why"
again 1 999 && wrong "a GPU that does not start for no known reason: no processor instead"
grep -q 'cuInit: CUDA_ERROR_UNKNOWN (999).*--device cpu' "$scratch/again.out" || wrong "what failed, and what helps"

echo "$calls calls, $runs of them failed: $errors runs ended with an error, $failed wrongly"
[ "$failed" -eq 0 ] && [ "$runs" -eq "$calls" ] && [ "$errors" -gt $((runs / 2)) ]
