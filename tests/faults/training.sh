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
# Losses that leave rows out or weigh them, and `a over b`, divide sums over the whole step.
for program in accumulate accumulate_draws accumulate_scaled accumulate_own_grad accumulate_losses; do
    trained whole "$faults/$program.dl" -D parts=1
    trained parts "$faults/$program.dl" -D parts=4
    trained fixed "$faults/$program.dl" -D parts=4 -D B=64
    grep -v 'accumulate parts' "$faults/$program.dl" > plain.dl
    trained plain plain.dl
    near whole plain 0
    near whole parts 1e-12
    near whole fixed 1e-12
done
# A divisor depends on what it is made of, not on all that the same loop computes: neither the loop over parts nor one
# of the program. Losses, and what they are divided by, may be of different float types.
cat > divisor.dl << 'END'
dim B
const parts = 1

fn row_sums(rows: float[B, Y, X]) { return mean(mean(rows, axis=2), axis=1) }
fn weighed(h: float[B, K], w: float[B]) { return sum({b -> b 1}(w) * h) over sum(w) }

model m(image: f32[B, 1, 8, 8], label: i32[B]) {
    rows = {b 1 y x -> b y x}(image)
    scan row in rows along 1 carry h = zeros([B, 6]), n = zeros([B]), total = zeros([B]) {
        h = tanh(linear(row, 6) as i + linear(h, 6) as r)
        seen = mean(row, axis=1)
        n = n + seen
        total = total + seen * sum(h ** 2, axis=1)
        yield seen
    } -> seens
    output h
    loss read = sum(rows[:, 0, 3] * h[:, 0]) over sum(rows[:, 0, 3])
    loss carried = sum(total) over sum(n)
    loss stacked = sum(h) over sum(seens)
    loss half = mean(cast(h, f16))
    loss called = weighed(h, cast(row_sums(rows), f16))
}

train m {
    optimizer sgd(lr=0.05)
    batch 64
    accumulate parts
}
END
trained one divisor.dl -D parts=1
trained four divisor.dl -D parts=4
near one four 1e-12
sed 's/over sum(n)/over sum(total)/' divisor.dl > trained.dl
refuses "the divisor of a loss depends on the trained parameter 'i.weight'" "$dlc" trained.dl

# The same in parts that `dlc --accumulate` makes.
run="--batch auto:64 --memory 386K" trained fitted plain.dl --accumulate --target cpu:x86-64-v3
near whole fitted 1e-12
expect 0 "$dlrun" train fitted.plan --data "train=$digits" --steps 1 --batch auto:64 --memory 386K
says out.txt "batch: 64 = " " x "
# An evaluation does not depend on its batch either.
for batch in 64 7; do
    expect 0 "$dlrun" eval whole.plan --weights whole.safetensors --data "$data/digits_test.npz" --batch $batch
    cp out.txt "eval$batch.txt"
done
same eval64.txt eval7.txt
grep -v 'accumulate parts' "$faults/accumulate_draws.dl" > plain.dl
run="--batch auto:64 --memory 550K" trained fitted plain.dl --accumulate --target cpu:x86-64-v3
trained whole plain.dl
near whole fitted 1e-12
expect 0 "$dlrun" train fitted.plan --data "train=$digits" --steps 1 --batch auto:64 --memory 550K
says out.txt "batch: 64 = 4 x 16"

# A gradient by a parameter that is the model's own is no second `minimize`.
grep -v 'accumulate parts' "$faults/accumulate_own_grad.dl" > plain.dl
run="--batch auto:64 --memory 312K" trained fitted plain.dl --accumulate --target cpu:x86-64-v3
trained whole plain.dl
near whole fitted 1e-12
expect 0 "$dlrun" train fitted.plan --data "train=$digits" --steps 1 --batch auto:64 --memory 312K
says out.txt "batch: 64 = " " x "

# Statistics of one value a channel: an error that names the layer, when compiling where the batch is fixed.
expect 0 "$dlc" "$faults/bn_accumulate.dl" -o bn.plan --quiet
refuses "bn: batch_norm trains on more than one value a channel" "$dlrun" train bn.plan --data "train=$faults/bn4.npz" --save bn.safetensors
absent bn.safetensors
refuses "bn: batch_norm trains on more than one value a channel" "$dlc" "$faults/bn_accumulate.dl" -D B=4
says err.txt "bn_accumulate.dl:3:14"

# No state is stored that is not finite, though loss and gradients are; nor where another entry stores it.
cat > state.dl <<'END'
dim B
const rate = 1.2

model m(x: f32[B, 3], y: f32[B, 1]) {
    state grown: [2] = [1.0, 3e38]
    p = x |> linear(1) as a
    grown <- grown * rate
    output p
    output seen = grown + 0.0
    loss mse(p, y)
}

train m {
    optimizer sgd(lr=0.01)
    batch 4
    steps 2
}
END
expect 0 "$dlc" state.dl -o state.plan --quiet
refuses "gradients or state are not finite" "$dlrun" train state.plan --data "train=$faults/bn4.npz" --save state.safetensors
says err.txt "step 1 of 'm.train'" "nothing was stored" "state.dl:7:5"
absent state.safetensors
npy x.npy f4 2x3 1
expect 0 "$dlc" state.dl -o still.plan --quiet -D rate=1.0
expect 0 "$dlrun" train still.plan --data "train=$faults/bn4.npz" --save state.safetensors --quiet
expect 0 "$dlrun" infer still.plan --weights state.safetensors --input x=x.npy
refuses "'m.infer': state is not finite; nothing was stored" "$dlrun" infer state.plan --weights state.safetensors --input x=x.npy

# An update that is not finite of finite numbers. Where it is computed before the OK is known, as a fused part of something else,
# nothing is stored of the step; else it is seen as it is stored. The name, which of the two, and the checkpoint before it.
update() { # update OPTIMIZER: the program with it
    cat > update.dl <<END
dim B

model m(x: f32[B, 3], y: f32[B, 1]) {
    p = x |> linear(4) as a |> linear(1) as b
    output p
    loss mse(p, y)
}

train m {
    optimizer for "b.*" $1(lr=where(step < 2, 0.01, 3e38))
    optimizer adam(lr=0.01)
    batch 4
    steps 4
}
END
    expect 0 "$dlc" update.dl -o update.plan --quiet
    refuses "step 3 of 'm.train': loss, gradients and state are finite, but the update is not: parameter 'b." \
        "$dlrun" train update.plan --data "train=$faults/bn4.npz" --save update.safetensors --checkpoint update --checkpoint-every 1 \
        --overwrite
}
update sgd
says err.txt "becomes infinity at [0" "nothing was stored" "the checkpoint of step 2 in 'update' stands"
update adam
says err.txt "infinity at [0" "this step was stored" "the checkpoint of step 2 in 'update' stands"
absent update.safetensors
absent update/step-3
expect 0 "$dlrun" inspect update/step-2

# What was first: the data with field and row, a parameter, or a line of the program.
cat > rows.py <<'END'
import struct, sys, zipfile
def npy(shape, values):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }" % (shape,)
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack("<%df" % len(values), *values)
bad = float(sys.argv[2])
x = [0.5] * 32
if bad:
    x[5 * 4 + 2] = bad
with zipfile.ZipFile(sys.argv[1], "w") as file:
    file.writestr("x.npy", npy((8, 4), x))
    file.writestr("y.npy", npy((8, 1), [1.0] * 8))
END
python3 rows.py nan.npz nan
python3 rows.py good.npz 0
expect 0 "$dlc" "$faults/nanl.dl" -o nanl.plan --quiet
expect 1 "$dlrun" train nanl.plan --data train=nan.npz --seed 3
says err.txt "input 'x' holds nan in row 5 of the data" "nothing was stored"
expect 1 "$dlrun" train nanl.plan --data train=good.npz
says err.txt "log at " "nanl.dl:6:9"
cat > held.dl <<'END'
dim B
model m(x: f32[B, 4], y: f32[B, 1]) {
    param w: [4, 1] = full(nan)
    p = x @ w
    output p
    loss mse(p, y)
}
train m {
    optimizer sgd(lr=0.01)
    batch 4
    steps 2
}
END
expect 0 "$dlc" held.dl -o held.plan --quiet
expect 1 "$dlrun" train held.plan --data train=good.npz
says err.txt "parameter 'w' holds nan"

# In f64 programs rates, schedules and bias corrections are f64: Adam under a cosine, against the formula.
cat > rates.dl <<'END'
dim B
model m(x: [B, 4], y: [B, 1]) {
    param w: [1] = ones
    output w
    loss mean(x) * sum(w)
}
train m {
    optimizer adam(lr=warmup_cosine(peak=1e-2, warmup=2, total=steps))
    batch 4
    steps 5
}
END
expect 0 "$dlc" rates.dl -o rates.plan --quiet --float f64
expect 0 "$dlrun" train rates.plan --data train=good.npz --save rates.safetensors --quiet
cat > rates.py <<'END'
import math, struct
w, m, v, g = 1.0, 0.0, 0.0, 0.5
for step in range(5):
    t = step + 1
    rate = 1e-2 * t / 2 if step < 2 else 0.5e-2 * (1 + math.cos(math.pi * (step - 2) / 3))
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    w -= rate / (1 - 0.9 ** t) * m / (math.sqrt(v) / math.sqrt(1 - 0.999 ** t) + 1e-8)
header = b'{"w":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}'
open("wanted.safetensors", "wb").write(struct.pack("<Q", len(header)) + header + struct.pack("<d", w))
END
python3 rates.py
near rates wanted 1e-14

# Weights of positive targets may be one a class.
cat > positive.dl <<'END'
model m(x: f32[2, 3], y: f32[2, 3]) {
    output y = binary_cross_entropy_with_logits(x, y, pos_weight=[1.0, 2.0, 4.0])
    output same = binary_cross_entropy_with_logits(x, y, pos_weight=where(y[0] >= 0, 2.0, 0.0))
    output one = binary_cross_entropy_with_logits(x, y, pos_weight=2.0)
}
END
npy ones.npy f4 2x3 1
npy zeros.npy f4 2x3 0
near=1e-5 gives positive.dl "y 1.617343" "same 1.386294" "one 1.386294" -- --input x=zeros.npy --input y=ones.npy

# Every loss, metric and rate by its name, in the log and on the terminal's line.
cat > named.dl <<'END'
dim B
model m(x: f32[B, 4], y: f32[B, 1]) {
    h = x |> linear(4) as body
    p = h |> linear(1) as head
    output p
    metric step = mean(abs(p - y))
    loss fit = mse(p, y)
    loss size = 0.1 * sum(square(h)) over B
}
train m {
    optimizer for "head.*" sgd(lr=0.05)
    optimizer sgd(lr=0.01)
    batch 4
    steps 2
}
END
expect 0 "$dlc" named.dl -o named.plan --quiet
expect 0 "$dlrun" train named.plan --data train=good.npz --log named.jsonl
says out.txt "  fit " "  size " "  step " "  lr.head.* 0.05" "  lr.* 0.01"
expect 0 python3 -c '
import json
row = [json.loads(line) for line in open("named.jsonl")][-1]
assert abs(row["loss"] - row["fit"] - row["size"]) < 1e-6 * row["loss"], row
assert row["step"] == 2 and row["metric.step"] > 0 and row["lr.head.*"] > 4 * row["lr.*"] > 0, row
'

finish
