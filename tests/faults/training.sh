#!/usr/bin/env bash
# Training steps: the same numbers in any number of parts, state and parameters that stay finite, and what is said
# where they do not.
. "$(dirname "$0")/lib.sh"

digits="$data/digits_train.npz"
# trained NAME PROGRAM OPTION-OF-DLC…: 20 steps on the digits in f64, weights in NAME.safetensors; options of dlrun in $run.
trained() {
    local name=$1 program=$2
    shift 2
    expect 0 "$dlc" "$program" -o "$name.plan" --quiet --float f64 "$@" || return
    # shellcheck disable=SC2086
    expect 0 "$dlrun" train "$name.plan" --data "train=$digits" --steps 20 --quiet --save "$name.safetensors" ${run:-}
}
# near A B TOLERANCE: weights of two runs.
near() {
    checks=$((checks + 1))
    python3 "$faults/weights.py" "$1.safetensors" "$2.safetensors" "$3" || bad "$1 and $2 are not near"
}

# Dropout and other draws are those of the whole batch, whatever the parts: over rows, in every layout of them, in loops
# over rows and over other axes, and of shapes without rows.
for program in accumulate accumulate_draws; do
    trained whole "$faults/$program.dl" -D parts=1
    trained parts "$faults/$program.dl" -D parts=4
    trained fixed "$faults/$program.dl" -D parts=4 -D B=64
    grep -v 'accumulate parts' "$faults/$program.dl" > plain.dl
    trained plain plain.dl
    near whole plain 0
    near whole parts 1e-12
    near whole fixed 1e-12
done
# The same in parts that `dlc --accumulate` makes.
run="--batch auto:64 --memory 540K" trained fitted plain.dl --accumulate
near whole fitted 1e-12
expect 0 "$dlrun" train fitted.plan --data "train=$digits" --steps 1 --batch auto:64 --memory 540K
says out.txt "batch: 64 = 4 x 16"

finish
