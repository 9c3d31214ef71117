#!/usr/bin/env bash
# Builds a folder that checks and measures this compiler's GPU code on another machine, which needs a driver
# and nothing else: no compiler, no toolkit; Python with PyTorch for the part "peers" alone. Copy the folder there and run ./run-gpu-kit.
# Usage: scripts/gpu-kit.sh [--quick] [--targets "cuda:sm_90 …"] [FOLDER]     (default: build/gpu-kit)
#   --quick: small models and few graphs, as tests run it on the simulated device.
# Needs NVRTC (docs/cuda.md) and a finished build in $DLC_BUILD_DIR (default: build).
set -eu
cd "$(dirname "$0")/.."
build=${DLC_BUILD_DIR:-build}
quick=no
targets="cuda:sm_80 cuda:sm_90 cuda:sm_100 cuda:sm_120"
out=
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=yes ;;
    --targets) targets=$2; shift ;;
    -*) echo "gpu-kit.sh: unknown option $1" >&2; exit 2 ;;
    *) out=$1 ;;
    esac
    shift
done
out=${out:-$build/gpu-kit}
dlc=$build/tools/dlc
make_cases=$build/tests/gpu/make_cases
make_intrinsics=$build/tests/gpu/make_intrinsics
ninja -C "$build" tools/dlc libdlc-compile.so.0.1.0 tests/gpu/make_cases tests/gpu/make_intrinsics tests/cudasim/links.stamp \
    runtime/libdlc-runtime.a ir/base/libdlc-base.a > "$build/gpu-kit.log" ||
    { tail -20 "$build/gpu-kit.log" >&2; exit 1; }

rm -rf "$out"
mkdir -p "$out/plans" "$out/cases" "$out/expected" "$out/matmul"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Everything but glibc is linked in. Its newest symbol decides how old a system may be.
cc -O2 -s -std=c11 -D_GNU_SOURCE -I. -Iinclude -static-libgcc -o "$out/gpukit" tests/gpu/gpukit.c tests/gpu/kit_*.c \
    "$build/runtime/libdlc-runtime.a" "$build/ir/base/libdlc-base.a" -l:libz.a -lm -ldl -lpthread
newest=$(objdump -T "$out/gpukit" | grep -o 'GLIBC_[0-9.]*' | sort -V | tail -n 1)
if [ "$(printf '%s\nGLIBC_2.34\n' "$newest" | sort -V | tail -n 1)" != GLIBC_2.34 ]; then
    echo "gpu-kit.sh: gpukit needs $newest, newer than GLIBC_2.34" >&2
    exit 1
fi
if ldd "$out/gpukit" | grep -vE 'linux-vdso|libc\.so|libm\.so|libdl\.so|libpthread\.so|ld-linux'; then
    echo "gpu-kit.sh: gpukit needs the libraries above" >&2
    exit 1
fi

target_options=
for target in $targets; do
    target_options="$target_options --target $target"
done

# The prelude's functions; their host twins run on the simulated device.
# shellcheck disable=SC2086
"$make_intrinsics" "$out/intrinsics" $targets
DLC_CUDA_PATH="$(realpath "$build")/tests/cudasim/lib:-" "$out/gpukit" --device cuda:0 record-intrinsics "$out/intrinsics" \
    "$out/expected/intrinsics" > "$scratch/intrinsics.json"

# Products of large matrices, for the ceilings.
size=8192
[ $quick = yes ] && size=64
for type in f32 bf16 f16; do
    sed "s/bf16/$type/g" tests/gpu/matmul.dl > "$scratch/matmul.dl"
    # shellcheck disable=SC2086
    "$dlc" "$scratch/matmul.dl" -D size=$size $target_options --quiet -o "$out/matmul/matmul_$type.plan"
done

# Random graphs, 40 to a plan.
graphs=400
[ $quick = yes ] && graphs=3
for first in $(seq 0 40 $((graphs - 1))); do
    count=$((graphs - first < 40 ? graphs - first : 40))
    # shellcheck disable=SC2086
    "$make_cases" "$first" "$count" "$out/plans/ops-$first.plan" "$out/cases/ops-$first" $targets
done

# add NAME PROGRAM PARTS STEPS TOLERANCE "precision=P DIM=N …" [-D NAME=VALUE …]
# PARTS: model (steps against the CPU's, recorded here), ptx (the same, compiled by the driver), guarded (for
# compute-sanitizer), kernels, train, peer (beside PyTorch); separated by commas.
add() {
    local name=$1 program=$2 parts=$3 steps=$4 tolerance=$5 dims=$6 part consts='' word
    shift 6
    for word in "$@"; do
        [ "$word" = -D ] || consts="$consts const_$word"
    done
    # shellcheck disable=SC2086
    "$dlc" "$program" "$@" $target_options --quiet --json -o "$out/plans/$name.plan" > "$scratch/$name.json"
    echo "$name $(sed -n 's/.*"seconds": \([0-9.]*\).*/\1/p' "$scratch/$name.json" | head -n 1)" >> "$out/compile.txt"
    for part in $(echo "$parts" | tr , ' '); do
        if [ "$part" = peer ]; then
            echo "peer $name plans/$name.plan expected/$name $steps $tolerance $dims model=$(basename "$program" .dl)$consts" >> "$out/models.txt"
        else
            echo "$part $name plans/$name.plan expected/$name $steps $tolerance $dims" >> "$out/models.txt"
        fi
        if [ "$part" = model ]; then
            "$dlc" "$program" "$@" --target cpu --quiet -o "$scratch/$name.plan"
            # shellcheck disable=SC2086
            "$out/gpukit" --device cpu record "$name" "$scratch/$name.plan" "$out/expected/$name" "$steps" \
                "$tolerance" $dims > "$scratch/record.json"
        fi
    done
}
tiny_gpt2="-D layers=2 -D width=64 -D heads=4 -D vocab=64 -D context=32"
if [ $quick = yes ]; then
    add torch_example examples/torch_example.dl model,ptx,guarded,train,peer 2 1e-4 "B=8"
    add gpt2_tiny examples/gpt2.dl kernels 2 2e-2 "precision=bf16 B=1 T=8" -D layers=1 -D width=32 -D heads=2 -D vocab=32 -D context=8
else
    add torch_example examples/torch_example.dl model 20 1e-4 "B=8"
    add tf_example examples/tf_example.dl model 20 1e-4 "B=8 I=10"
    # shellcheck disable=SC2086
    add gpt2_tiny examples/gpt2.dl model,ptx,guarded 20 2e-2 "precision=bf16 B=2 T=16" $tiny_gpt2
    add digits examples/digits.dl model,ptx,guarded,kernels,train,peer 20 1e-3 "B=64"
    add heat_pinn examples/heat_pinn.dl model 20 1e-3 "N=256"
    add char_lstm_small examples/char_lstm.dl model 20 1e-3 "B=4 T=16" -D width=64
    add unet_small examples/unet.dl model 20 1e-3 "B=2 H=32 W=32" -D width=8
    add fashion examples/fashion.dl model,kernels,train 20 1e-3 "B=128"
    add gpt2 examples/gpt2.dl kernels,train,peer 1 1 "precision=bf16 B=32 T=1024" -D vocab=50257 -D context=1024 -D layers=12 \
        -D heads=12 -D width=768
    add resnet50 bench/resnet50.dl kernels,train,peer 1 1 "precision=bf16 B=256"
    add char_lstm examples/char_lstm.dl kernels,train,peer 1 1 "B=32 T=128"
    add unet examples/unet.dl kernels,train,peer 1 1 "B=8 H=128 W=128"
fi

cp tests/gpu/run-gpu-kit "$out/run-gpu-kit"
cp bench/peers_gpu.py "$out/peers.py"
cp bench/peer_torch.py "$out/peer_torch.py"
chmod +x "$out/run-gpu-kit"
"$out/gpukit" pack "$out"/plans/*.plan > "$scratch/pack.json"
rm "$out"/plans/*.plan
{
    "$dlc" --version
    echo "targets: $targets"
    echo "newest symbol: $newest"
    echo "compiled for all targets on $(nproc) cores, seconds: $(paste -sd, "$out/compile.txt")"
} > "$out/VERSION"
kilobytes=$(du -sk "$out" | cut -f 1)
echo "$out: $((kilobytes / 1024)).$((kilobytes % 1024 * 10 / 1024)) MB, newest symbol $newest"
if [ "$kilobytes" -gt 61440 ]; then
    echo "gpu-kit.sh: the folder is larger than 60 MB" >&2
    exit 1
fi
