#!/usr/bin/env bash
# Which device runs a plan: by name, by choice, compiled anew; what is said of it; guarded memory.
. "$(dirname "$0")/lib.sh"

"$dlc" "$examples/tf_example.dl" -o m.plan --quiet || { echo "cannot compile"; exit 1; }
"$dlc" "$examples/tf_example.dl" -o two.plan --target null --target cpu:x86-64-v2 --quiet || echo "cannot compile"
"$dlc" "$examples/tf_example.dl" -o null.plan --target null --quiet || echo "cannot compile"
set="train=$data/breast_cancer_train.npz"
train() { # train STATUS PLAN OPTIONS…
    local status=$1 plan=$2
    shift 2
    expect "$status" "$dlrun" train "$plan" --data "$set" --steps 20 --seed 5 "$@"
}
export DLC_CUDA_PATH=$work/nothing # no GPU, also where there is one
export CUDA_VISIBLE_DEVICES=

train 0 m.plan --save plain.safetensors
says out.txt "device: cpu (" "code for x86-64"
empty err.txt
train 0 m.plan --save named.safetensors --device cpu --quiet
empty out.txt
same plain.safetensors named.safetensors
train 0 m.plan --save guarded.safetensors --arena guarded --threads 2 --quiet
same plain.safetensors guarded.safetensors
train 0 m.plan --save both.safetensors --arena guarded --poison B --log run.jsonl --quiet
same plain.safetensors both.safetensors
says run.jsonl '"kind": "start"' '"device": "cpu ('
train 0 m.plan --save packed.safetensors --arena packed --quiet
same plain.safetensors packed.safetensors
train 2 m.plan --arena loose
says err.txt "packed or guarded"

# -- devices that are not there
train 1 m.plan --device tpu
says err.txt "unknown device 'tpu'" "cpu"
train 1 m.plan --device cpu:1
says err.txt "cpu:1"
train 1 m.plan --device cuda --save no.safetensors
says err.txt "cuda cannot be used" "--device cpu"
absent no.safetensors

# -- several targets: the best that this machine has; none: said, or compiled anew
train 0 two.plan --save two.safetensors
says out.txt "device: cpu (" "x86-64-v2"
expect 0 "$dlrun" inspect two.plan
says out.txt "target null:" "target cpu:x86-64-v2: "
train 1 null.plan
says err.txt "null.plan cannot run here" "--device cpu"
train 0 null.plan --device cpu --save anew.safetensors --quiet
says err.txt "compiled anew for cpu"
same plain.safetensors anew.safetensors
# Made for GPUs alone; where the toolkit is missing, so are these checks.
if "$dlc" "$examples/tf_example.dl" -o gpu.plan --target cuda:sm_80 --quiet > /dev/null 2>&1; then
    train 1 gpu.plan --save no.safetensors
    says err.txt "gpu.plan cannot run here: cuda: " "--device cpu"
    absent no.safetensors
    expect 0 "$dlrun" inspect gpu.plan
    says out.txt "target cuda:sm_80: " "; not here: "
    train 0 gpu.plan --device cpu --save from_gpu.safetensors --quiet
    says err.txt "gpu.plan: compiled anew for cpu"
    same plain.safetensors from_gpu.safetensors
    "$dlc" "$examples/tf_example.dl" -o mixed.plan --target cpu:x86-64-v3 --target cuda:sm_80 --quiet
    train 0 mixed.plan --save mixed.safetensors
    says out.txt "device: cpu (" "; not cuda: "
    same plain.safetensors mixed.safetensors
fi
expect 0 "$dlrun" bench m.plan --device null --repeats 2
says out.txt "device     null"
expect 0 "$dlrun" bench m.plan --repeats 2 --json
python3 -c "import json; assert json.load(open('out.txt'))['device'].startswith('cpu (')" || bad "bench --json names no device"

# -- eval and infer say it where it is not plainly the CPU
expect 0 "$dlrun" eval m.plan --weights plain.safetensors --data "$data/breast_cancer_test.npz" --device cpu
says err.txt "note: device cpu ("
cp out.txt eval.txt
expect 0 "$dlrun" eval m.plan --weights plain.safetensors --data "$data/breast_cancer_test.npz" --arena guarded
empty err.txt
same out.txt eval.txt
finish
