#!/bin/bash
# IR, plans and data files from somebody who wishes harm.
. "$(dirname "$0")/lib.sh"

plan() {
    checks=$((checks + 1))
    python3 "$faults/plan.py" "$@" || bad "plan.py $*"
}
npy three.npy f4 3 1
npy five.npy f4 5 2

# A premise that the verifier cannot prove is checked when the sizes are known.
for name in reshape slice; do
    expect 0 "$dlc" --from-ir "$faults/$name.ir" -o $name.plan --quiet
done
refuses "reshape.ir:10:5: reshape: the number of elements: B is not C (3 and 5)" \
    "$dlrun" infer reshape.plan --input x=three.npy --input y=five.npy
expect 0 "$dlrun" infer reshape.plan --input x=five.npy --input y=five.npy
says out.txt "4 4 4 4 4"
refuses "slice.ir:8:5: slice: the limit is behind the axis: 1000000 is above B" \
    "$dlrun" infer slice.plan --input x=three.npy

# So it is in the IR of a plan whose code is not trusted.
cat > small.dl <<'DL'
dim B
model m(x: f32[B]) {
    output o = x[0:3]
}
DL
expect 0 "$dlc" small.dl -o small.plan --quiet
plan ir small.plan hostile.plan 'limit = [3], step = [1]} : f32[3]' 'limit = [99999], step = [1]} : f32[99999]'
refuses "99999 is above B" "$dlrun" infer hostile.plan --no-native --input x=five.npy
expect 0 "$dlrun" infer small.plan --no-native --input x=five.npy
says out.txt "2 2 2"

finish
