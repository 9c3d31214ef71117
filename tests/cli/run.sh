#!/usr/bin/env bash
# dlrun eval, infer, bench, inspect.
. "$(dirname "$0")/lib.sh"

"$dlc" "$examples/digits.dl" -o m.plan --quiet || { echo "cannot compile"; exit 1; }
expect 0 "$dlrun" train m.plan --data "train=$data/digits_train.npz" --epochs 3 --save w.safetensors --quiet

# -- eval
expect 0 "$dlrun" eval m.plan --weights w.safetensors --data "$data/digits_test.npz"
says out.txt "loss " "accuracy "
empty err.txt
cp out.txt eval.txt
awk '$1 == "accuracy" && $2 > 0.8 { found = 1 } END { exit !found }' out.txt || bad "accuracy too low"
expect 0 "$dlrun" eval m.plan --weights w.safetensors --data "$data/digits_test.npz" --batch 7 --threads 1
awk 'NR == FNR { v[$1] = $2; next } { d = v[$1] - $2; if (d > 1e-4 || d < -1e-4) bad = 1 } END { exit bad }' \
    eval.txt out.txt || bad "other metrics with batch 7"
expect 0 "$dlrun" eval m.plan --weights w.safetensors --data "$data/digits_test.npz" --json
python3 -c "import json; v = json.load(open('out.txt')); assert v['accuracy'] > 0.8" || bad "eval --json"
expect 0 "$dlrun" eval m.plan --weights w.safetensors --data "$data/digits_test.npz" --no-native
expect 2 "$dlrun" eval m.plan --data "$data/digits_test.npz"
says err.txt "--weights"
expect 1 "$dlrun" eval m.plan --weights missing.safetensors --data "$data/digits_test.npz"
says err.txt "missing.safetensors"
head -c 3000 w.safetensors > short.safetensors
expect 1 "$dlrun" eval m.plan --weights short.safetensors --data "$data/digits_test.npz"
says err.txt "short.safetensors"

# -- infer
expect 0 "$dlrun" infer m.plan --weights w.safetensors --input "image=$data/digits_test.npz:image" --output logits=l.npy
empty out.txt
expect 0 "$dlrun" m.plan --weights w.safetensors --input "image=$data/digits_test.npz:image"
says out.txt "logits ["
expect 0 "$dlrun" infer m.plan --weights w.safetensors --input "image=$data/digits_test.npz:image" --output logits=l2.npy --threads 1
same l.npy l2.npy
expect 1 "$dlrun" infer m.plan --weights w.safetensors --input "picture=$data/digits_test.npz:image"
says err.txt "picture"
expect 1 "$dlrun" infer m.plan --weights w.safetensors
says err.txt "image"
expect 1 "$dlrun" infer m.plan --weights w.safetensors --input "image=$data/digits_test.npz:label"
says err.txt "image"
expect 1 "$dlrun" infer m.plan --weights w.safetensors --input "image=$data/digits_test.npz:image" --output wrong=o.npy
absent o.npy
expect 1 "$dlrun" infer m.plan --entry nothing --weights w.safetensors
says err.txt "nothing"

# -- bench
expect 0 "$dlrun" bench m.plan -D B=8 --repeats 5
says out.txt "median" "FLOP/s" "items/s"
expect 0 "$dlrun" bench m.plan --entry infer -D B=8 --repeats 5 --json
python3 -c "import json; v = json.load(open('out.txt')); assert v['repeats'] == 5 and 0 < v['p10_s'] <= v['median_s'] <= v['p90_s'] and v['rows'] == 8" || bad "bench --json"
expect 2 "$dlrun" bench m.plan -D B=x
# Inputs are made up over the whole range that the program takes: never outside (an index would fail), never all the same.
for check in 'max(word) >= 5' 'max(cast(pixel, i32)) > 200' 'max(label) >= 2'; do
    cat > indices.dl <<END
dim B
model m(word: i32[B, 4], pixel: u8[B, 4], label: i64[B]) {
    h = word |> embedding(7, 5) as words
    output h
    check $check, "all are small"
    loss cross_entropy(mean(h, axis=1) |> linear(3) as head, label) + mean(cast(pixel, f32))
}
train m {
    optimizer sgd(lr=0.1)
    batch 64
}
END
    expect 0 "$dlc" indices.dl -o indices.plan --quiet
    expect 0 "$dlrun" bench indices.plan --repeats 5
    says out.txt "of batch 64"
done
expect 0 "$dlrun" bench m.plan -D B=8 --repeats 5 --data "$data/digits_test.npz"
expect 0 "$dlrun" bench m.plan --repeats 5 --data "$data/digits_test.npz" --entry eval
says out.txt "of batch 64"
expect 1 "$dlrun" bench m.plan --repeats 5 --data "$data/king_james.txt"

# -- inspect
expect 0 "$dlrun" inspect m.plan
says out.txt "model digits" "conv1.weight" "f32[32, 1, 3, 3]" "entry" "dim B"
expect 0 "$dlrun" inspect m.plan --json
python3 -c "import json; json.load(open('out.txt'))" || bad "inspect --json"
expect 0 "$dlrun" inspect m.plan --commands
says out.txt "launch"
expect 0 "$dlrun" inspect m.plan --ir
says out.txt "module"

# -- plans that are none: an error that names the file, never a crash
head -c 5000 m.plan > short.plan
expect 1 "$dlrun" inspect short.plan
says err.txt "short.plan"
: > none.plan
expect 1 "$dlrun" inspect none.plan
says err.txt "none.plan"
cp w.safetensors weights.plan
expect 0 "$dlrun" inspect weights.plan
says out.txt "conv1.weight" "f32[32, 1, 3, 3]"
expect 1 "$dlrun" infer weights.plan
size=$(wc -c < m.plan)
for i in $(seq 40); do
    cp m.plan flipped.plan
    printf '\xA5' | dd of=flipped.plan bs=1 seek=$((size * i / 41)) conv=notrunc 2> /dev/null
    "$dlrun" inspect flipped.plan > out.txt 2> err.txt
    status=$?
    checks=$((checks + 1))
    [ $status -le 1 ] || bad "status $status for a plan with byte $((size * i / 41)) changed"
done
finish
