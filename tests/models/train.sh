#!/usr/bin/env bash
# Trains one example as a user would, with dlc and dlrun, and checks what it reached.
# Usage: train.sh MODEL [SEED …]; several seeds: the median is judged. DLC and DLRUN name the programs, EXAMPLES the folder
# of the example programs' binaries. Prints "MODEL metric VALUE (want …)"; exits 1 when short, 77 when data is missing.
set -eu
root=${DLC_SOURCE_ROOT:-$(cd "$(dirname "$0")/../.." && pwd)}
dlc=${DLC:-$root/build/tools/dlc}
dlrun=${DLRUN:-$root/build/tools/dlrun}
bin=${EXAMPLES:-$root/build/examples}
data=$root/examples/data
model=$1
shift
seeds=${*:-1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

compile() {
    "$dlc" "$root/examples/$model.dl" -o model.plan "$@"
}
train() {
    "$dlrun" train model.plan --seed "$seed" --threads 1 --save w.safetensors --quiet "$@" # another test has the other core
}
metric() { # metric NAME, from `dlrun eval` output in eval.txt
    awk -v name="$1" '$1 == name { print $2 }' eval.txt
}
evaluate() {
    "$dlrun" eval model.plan --weights w.safetensors "$@" > eval.txt
}
bits() { # nats to bits
    awk -v nats="$1" 'BEGIN { print nats / log(2) }'
}

# A tenth of the text, from its middle, is held back.
split_text() {
    { head -c 750000 "$data/king_james.txt"; tail -c 250000 "$data/king_james.txt"; } > train.txt
    tail -c +750001 "$data/king_james.txt" | head -c 100000 > held.txt
}

values=()
record() { # record NAME VALUE: one seed's figure
    name=$1
    values+=("$2")
    echo "$model, seed $seed: $1 $2"
}
judge() { # judge at-least|at-most LIMIT
    middle=$(printf '%s\n' "${values[@]}" | LC_ALL=C sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }')
    echo "$model: median $name $middle (want $1 $2)"
    awk -v value="$middle" -v limit="$2" -v how="$1" \
        'BEGIN { exit !(value == value + 0 && (how == "at-least" ? value >= limit : value <= limit)) }'
}

case $model in
digits)
    compile
    for seed in $seeds; do
        train --epochs 20 --data "train=$data/digits_train.npz"
        evaluate --data "$data/digits_test.npz"
        record accuracy "$(metric accuracy)"
    done
    judge at-least 0.955
    ;;
tf_example)
    compile
    for seed in $seeds; do
        train --epochs 10 --data "train=$data/breast_cancer_train.npz"
        evaluate --data "$data/breast_cancer_test.npz"
        record accuracy "$(metric accuracy)"
    done
    judge at-least 0.97
    ;;
torch_example)
    compile
    awk 'BEGIN { srand(7); for (i = 0; i < 10; i++) printf "x[%d],", i; print "y[0]"
                 for (r = 0; r < 640; r++) { s = 0; for (i = 0; i < 10; i++) { v = rand() * 2 - 1; s += v * (i - 4.5) / 5; printf "%.6f,", v } printf "%.6f\n", s } }' > rows.csv
    for seed in $seeds; do
        train --epochs 40 --data train=rows.csv
        evaluate --data rows.csv
        record loss "$(metric loss)"
    done
    judge at-most 0.1
    ;;
char_lstm)
    compile
    split_text
    for seed in $seeds; do
        train --batch 8 --window 64 --steps 300 --data train=train.txt
        evaluate --batch 32 --window 128 --data held.txt
        record bits_per_character "$(bits "$(metric loss)")"
    done
    judge at-most 2.70
    ;;
gpt2)
    compile -D layers=4 -D width=128 -D heads=4 -D vocab=256 -D context=256
    split_text
    for seed in $seeds; do
        train --batch "${GPT2_BATCH:-8}" --window "${GPT2_WINDOW:-128}" --steps "${GPT2_STEPS:-1500}" --data train=train.txt
        evaluate --batch 8 --window "${GPT2_WINDOW:-128}" --data held.txt
        record bits_per_character "$(bits "$(metric loss)")"
    done
    judge at-most 2.5
    ;;
heat_pinn)
    compile
    mkdir points grid
    for seed in $seeds; do
        "$bin/heat_points" points 16384 "$seed"
        train --steps 1000 --data train=x=points/x.npy,t=points/t.npy,x0=points/x0.npy
        "$bin/heat_points" --grid 51 grid
        "$dlrun" infer model.plan --weights w.safetensors --input x=grid/x.npy --input t=grid/t.npy --output u=u.npy
        record max_error "$("$bin/heat_points" --compare u.npy 51 | awk '{ print $2 }')"
    done
    judge at-most 0.01
    ;;
unet)
    compile -D "width=${UNET_WIDTH:-16}" -D "depth=${UNET_DEPTH:-2}"
    "$bin/phantoms" 160 64 1 clean.npy noisy.npy
    "$bin/phantoms" 32 64 2 clean_test.npy noisy_test.npy
    for seed in $seeds; do
        train --epochs "${UNET_EPOCHS:-4}" --data train=clean=clean.npy,noisy=noisy.npy
        evaluate --data clean=clean_test.npy,noisy=noisy_test.npy
        # the noise has standard deviation 0.1, so the noisy input's own PSNR is 20 dB
        record psnr_gain "$(metric psnr | awk '{ print $1 - 20 }')"
    done
    judge at-least 4
    ;;
fashion)
    sets=/usr/share/datasets/fashion-mnist
    [ -f $sets/train-images-idx3-ubyte.gz ] || { echo "skipped: dataset-fashion-mnist is not installed"; exit 77; }
    compile
    for seed in $seeds; do
        train --epochs 5 --data "train=image=$sets/train-images-idx3-ubyte.gz,label=$sets/train-labels-idx1-ubyte.gz"
        evaluate --data "image=$sets/t10k-images-idx3-ubyte.gz,label=$sets/t10k-labels-idx1-ubyte.gz"
        record accuracy "$(metric accuracy)"
    done
    judge at-least 0.90
    ;;
*)
    echo "unknown model $model" >&2
    exit 2
    ;;
esac
