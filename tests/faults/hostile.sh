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

# Plans and IR are checked in time that is linear in the file, whatever they say: these took minutes.
plan grow small.plan grown.plan 100000 100000
expect 0 timeout 20 "$dlrun" infer grown.plan --input x=five.npy
says out.txt "2 2 2"
python3 - > functions.ir <<'PY'
print('module "m" {\n}')
for i in range(20000):
    print(f'func "f{i}" other (%{i * 40}: f32[] = input "x") {{ yield %{i * 40} }} -> (output "y")')
PY
expect 0 timeout 20 "$dlc" --from-ir functions.ir --emit=ir

# How deep a chain of views may be is a matter of the stack there is, never a crash.
python3 - > chain.ir <<'PY'
print('module "m" {\ndim B in 1..\n}\nfunc "f" infer (%0: f32[B] = input "x") {')
for i in range(20000):
    print(f'%{i + 1} = reverse %{i} {{axes = [0]}} : f32[B]')
print('%20001 = exp %20000 : f32[B]\nyield %20001\n} -> (output "y")')
PY
checks=$((checks + 1))
(ulimit -s 1024 && timeout 60 "$dlc" --from-ir chain.ir -o chain.plan) > out.txt 2> err.txt
[ $? = 1 ] || bad "a chain of views on a small stack: status is not that of a refusal"
says err.txt "too deeply for the stack"

# The compiler's memory grows with the program, not with its kernels; here 1.5 GB once.
cat > deep.dl <<'DL'
dim B
model deep(x: f32[B, 64], y: f32[B, 64]) {
    h = x
    for i in 0..400 {
        h = h |> linear(64) as fc[i] |> tanh
    }
    loss mse(h, y)
}
train deep {
    optimizer adamw(lr=1e-3)
    batch 16
    epochs 1
}
DL
checks=$((checks + 1)) # what sanitizers take is not asked (scripts/sanitize.sh)
[ -n "${DLC_SANITIZED:-}" ] || python3 - "$dlc" <<'PY' || bad "400 layers take more memory or time than they may"
import resource, subprocess, sys
status = subprocess.run([sys.argv[1], 'deep.dl', '-o', 'deep.plan', '--quiet']).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
megabytes, seconds = used.ru_maxrss / 1024, used.ru_utime
print(f'400 layers: {megabytes:.0f} MB, {seconds:.1f} s')
sys.exit(status or megabytes > 300 or seconds > 5)
PY


# -- Reshapes whose premises contradict each other: no rewrite may put them together
cat > premises.ir <<'IR'
module "m" {
    dim B in 1.. = 3
}

func "f" infer (
    %0: f32[16, 33] = input "x"
) {
    %1 = reshape %0 {shape = [B - 1]} : f32[B - 1]
    %2 = reshape %1 {shape = [16, 8]} : f32[16, 8]
    yield %2
} -> (
    output "y"
)
IR
checks=$((checks + 1))
"$dlc" --from-ir premises.ir -o premises.plan > out.txt 2> err.txt
! grep -q "internal error" err.txt || bad "contradicting premises: $(head -c 300 err.txt)"

finish
