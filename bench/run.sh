#!/usr/bin/env bash
# Times a training step of every example on the first rows of its data, and of the same model and rows in PyTorch where it is
# importable, one after the other in one run. Writes bench/results/NAME.json (one object a model) and prints a table with ratios (above 1: dlc is faster).
# Usage: bench/run.sh [MODEL …]. BUILD: the build folder (default build); PYTHON: the interpreter to look for torch in
# (default python3); SECONDS_EACH: how long to measure each side (default 5); NAME: of the result (default cpu).
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}
python=${PYTHON:-python3}
seconds=${SECONDS_EACH:-5}
name=${NAME:-cpu}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# model: consts for dlc, then sizes bound at run time, then what the peer needs to know
consts_of() {
    case $1 in gpt2) echo "-D layers=4 -D width=128 -D heads=4 -D vocab=256 -D context=256" ;; esac
}
sizes_of() {
    case $1 in
    digits) echo "-D B=64" ;;
    tf_example) echo "-D B=32 -D I=30" ;;
    torch_example) echo "-D B=32" ;;
    char_lstm) echo "-D B=32 -D T=128" ;;
    heat_pinn) echo "-D N=1024" ;;
    unet) echo "-D B=8 -D H=64 -D W=64" ;;
    resnet18) echo "-D B=8" ;;
    fashion) echo "-D B=128" ;;
    gpt2) echo "-D B=8 -D T=128" ;;
    esac
}
# Real rows where a model has them here: zeros and noise meet other branches, caches and scatters than data does.
fashion=${FASHION:-/usr/share/datasets/fashion-mnist}
data_of() {
    case $1 in
    digits) echo "examples/data/digits_train.npz" ;;
    fashion) [ -d "$fashion" ] && echo "image=$fashion/train-images-idx3-ubyte.gz,label=$fashion/train-labels-idx1-ubyte.gz" ;;
    char_lstm | gpt2) echo "examples/data/king_james.txt" ;;
    esac
    return 0
}
# dlrun's options for them
input_of() {
    local data
    data=$(data_of "$1")
    [ -z "$data" ] || echo "--data $data"
    case $1 in char_lstm | gpt2) echo "--window 128" ;; esac
}
models=${*:-digits tf_example torch_example char_lstm heat_pinn unet gpt2 fashion resnet18}
have_torch=0
if "$python" -c 'import torch' 2>/dev/null; then have_torch=1; fi

field() { sed -n "s/.*\"$2\": \([-0-9.e+]*\).*/\1/p" "$1"; }
mkdir -p bench/results
result=bench/results/$name.json
{
    printf '{"machine": "%s, %s cores", "command": "bench/run.sh", "results": [\n' \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)"
} > "$work/result.json"
printf '%-14s %12s %12s %12s %8s %10s\n' model "compile s" "dlc ms" "torch ms" ratio "of peak"
first=1
for model in $models; do
    # shellcheck disable=SC2046
    "$build/tools/dlc" "examples/$model.dl" -o "$work/$model.plan" --json $(consts_of "$model") > "$work/compile.json" 2>/dev/null
    # shellcheck disable=SC2046
    "$build/tools/dlrun" bench "$work/$model.plan" --seconds "$seconds" --json $(sizes_of "$model") $(input_of "$model") > "$work/dlc.json" 2>/dev/null
    echo '{}' > "$work/torch.json"
    if [ $have_torch = 1 ]; then
        # shellcheck disable=SC2046
        "$python" bench/peer_torch.py "$model" "$seconds" "$(data_of "$model")" $(sizes_of "$model" | sed 's/-D//g') > "$work/torch.json"
    fi
    awk -v model="$model" -v compile="$(field "$work/compile.json" seconds)" -v own="$(field "$work/dlc.json" median_s)" \
        -v peer="$(field "$work/torch.json" median_s)" -v rate="$(field "$work/dlc.json" flops_per_s)" \
        -v peak="$(field "$work/dlc.json" peak_flops_per_s)" 'BEGIN {
            printf "%-14s %12.2f %12.3f %12s %8s %9.1f%%\n", model, compile, own * 1e3,
                (peer == "" ? "-" : sprintf("%.3f", peer * 1e3)), (peer == "" ? "-" : sprintf("%.2f", peer / own)), 100 * rate / peak }'
    {
        [ $first = 1 ] || printf ',\n'
        printf '{"model": "%s", "sizes": "%s", "compile_s": %s, "dlc": %s, "torch": %s}' "$model" \
            "$(sizes_of "$model")" "$(field "$work/compile.json" seconds)" "$(cat "$work/dlc.json")" "$(cat "$work/torch.json")"
    } >> "$work/result.json"
    first=0
done
printf '\n]}\n' >> "$work/result.json"
mv "$work/result.json" "$result"
echo "$result"
