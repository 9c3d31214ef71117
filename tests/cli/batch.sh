#!/usr/bin/env bash
# dlrun train --batch auto: a step in parts that fit the memory given is the whole batch's step but
# for rounding; what is said of it, and of programs that cannot be cut.
. "$(dirname "$0")/lib.sh"

cat > net.dl <<'END'
dim B

model net(image: f32[B, 1, 8, 8], label: i32[B]) {
    y = image |> reshape([B, 64]) |> linear(48) as a |> relu |> linear(48) as b |> relu |> linear(10) as c
    output y
    loss cross_entropy(y, label)
}

train net {
    optimizer adam(lr=1e-3)
    batch 256
    clip_norm 1.0
}
END
"$dlc" net.dl -o net.plan --quiet || { echo "cannot compile"; exit 1; }
set="train=$data/digits_train.npz,eval=$data/digits_test.npz"
train() { # train STATUS PLAN OPTIONS…
    local status=$1 plan=$2
    shift 2
    expect "$status" "$dlrun" train "$plan" --data "$set" --steps 12 --seed 5 "$@"
}
near() { # near A B: the losses of two logs, step by step
    checks=$((checks + 1))
    python3 - "$1" "$2" <<'END' || bad "$1 and $2 are not near"
import json, sys
rows = [[json.loads(line) for line in open(path)] for path in sys.argv[1:3]]
a, b = [[row for row in log if row["kind"] != "start"] for log in rows]
assert len(a) == len(b) > 12, (len(a), len(b))
for x, y in zip(a, b):
    assert x["kind"] == y["kind"] and x.get("step") == y.get("step"), (x, y)
    assert abs(x["loss"] - y["loss"]) <= 2e-5 * abs(x["loss"]), (x, y)
END
}

train 0 net.plan --log whole.jsonl --save whole.safetensors
train 0 net.plan --batch auto --log fits.jsonl --save fits.safetensors
says out.txt "batch: 256, "
same whole.safetensors fits.safetensors
train 0 net.plan --batch auto --memory 580KiB --log parts.jsonl --save parts.safetensors
says out.txt "batch: 256 = 4 x 64, " " of 580.00 KiB"
says err.txt "compiled anew for cpu:" "its training step in parts"
near whole.jsonl parts.jsonl
differ whole.safetensors parts.safetensors
train 0 net.plan --batch auto --memory 580KiB --threads 1 --save again.safetensors --quiet
same parts.safetensors again.safetensors
train 0 net.plan --batch auto:128 --memory 0.405MiB
says out.txt "batch: 128 = "
train 1 net.plan --batch auto --memory 100000
says err.txt "a step of 256 rows in 256 parts still needs " " of 97.66 KiB" "--memory-limit"
train 2 net.plan --batch automatic
says err.txt "auto:N, not 'automatic'"
train 2 net.plan --batch 0
train 2 net.plan --memory 2GiB
says err.txt "with --batch auto"
train 2 net.plan --batch auto --memory 2parsec

# -- a plan made so: nothing is compiled when it runs, and the parts may be given
"$dlc" net.dl -o parts.plan --accumulate --quiet || bad "dlc --accumulate"
train 0 parts.plan --batch auto --memory 580KiB --save made.safetensors
empty err.txt
same parts.safetensors made.safetensors
train 0 parts.plan -D accumulate=4 --save given.safetensors
same parts.safetensors given.safetensors
train 0 parts.plan --log one.jsonl
near whole.jsonl one.jsonl
train 1 parts.plan -D accumulate=3
says err.txt "the number of parts must divide the batch"

# -- a state goes through the parts in turn; several losses are several steps and cannot be cut
cat > state.dl <<'END'
dim B

model net(image: f32[B, 1, 8, 8], label: i32[B]) {
    state seen: [] = zeros
    seen <- seen + 1.0
    y = image |> reshape([B, 64]) |> linear(16) as a |> relu |> dropout(0.5) |> linear(10) as c
    output y
    loss cross_entropy(y, label)
}

train net {
    optimizer sgd(lr=0.1)
    batch 256
}
END
"$dlc" state.dl -o state.plan --accumulate --quiet || bad "a state"
train 0 state.plan -D accumulate=8 --save state.safetensors --quiet
python3 - <<'END' || bad "the state went through each part once"
import json, struct
raw = open("state.safetensors", "rb").read()
size = struct.unpack("<Q", raw[:8])[0]
at = json.loads(raw[8:8 + size])["seen"]["data_offsets"][0]
assert struct.unpack_from("<f", raw, 8 + size + at)[0] == 12 * 8
END
sed -e 's/loss cross_entropy(y, label)/loss one = cross_entropy(y, label)\n    loss two = mean(y * y)/' \
    -e 's/optimizer sgd(lr=0.1)/minimize one over "a.*" sgd(lr=0.1)\n    minimize two over "c.*" sgd(lr=0.1)/' state.dl > two.dl
expect 1 "$dlc" two.dl -o two.plan --accumulate
says err.txt "cannot be computed in parts" "several \`minimize\` lines"
sed 's/batch 256/batch 256\n    accumulate 2/' net.dl > own.dl
expect 1 "$dlc" own.dl -o own.plan --accumulate
says err.txt "says \`accumulate\` itself"
for example in "$examples"/*.dl; do
    expect 0 "$dlc" "$example" --accumulate --emit ir
    says out.txt 'setting parts_dim = "accumulate"'
done
finish
