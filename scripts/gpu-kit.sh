#!/usr/bin/env bash
# Builds a folder that checks and measures this compiler's GPU code on another machine, which needs a driver
# and nothing else: no compiler, no toolkit, no Python. Copy the folder there and run ./run-gpu-kit.
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
ninja -C "$build" tools/dlc libdlc-compile.so.0.1.0 tests/gpu/make_cases runtime/libdlc-runtime.a ir/base/libdlc-base.a > "$build/gpu-kit.log" ||
    { tail -20 "$build/gpu-kit.log" >&2; exit 1; }

rm -rf "$out"
mkdir -p "$out/plans" "$out/cases" "$out/expected"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Everything but glibc is linked in. Its newest symbol decides how old a system may be.
cc -O2 -std=c11 -D_GNU_SOURCE -I. -Iinclude -static-libgcc -o "$out/gpukit" tests/gpu/gpukit.c tests/gpu/kit_*.c \
    "$build/runtime/libdlc-runtime.a" "$build/ir/base/libdlc-base.a" -l:libgomp.a -l:libz.a -lm -ldl -lpthread
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

# Random graphs, 40 to a plan.
graphs=400
[ $quick = yes ] && graphs=6
for first in $(seq 0 40 $((graphs - 1))); do
    count=$((graphs - first < 40 ? graphs - first : 40))
    # shellcheck disable=SC2086
    "$make_cases" "$first" "$count" "$out/plans/ops-$first.plan" "$out/cases/ops-$first" $targets
done

# add NAME EXAMPLE PARTS STEPS TOLERANCE "DIM=N …" [-D NAME=VALUE …]
# PARTS: model (steps against the CPU's, recorded here), kernels, train; separated by commas.
add() {
    local name=$1 example=$2 parts=$3 steps=$4 tolerance=$5 dims=$6
    shift 6
    # shellcheck disable=SC2086
    "$dlc" "examples/$example.dl" "$@" $target_options --quiet -o "$out/plans/$name.plan"
    for part in $(echo "$parts" | tr , ' '); do
        echo "$part $name plans/$name.plan expected/$name $steps $tolerance $dims" >> "$out/models.txt"
        if [ "$part" = model ]; then
            "$dlc" "examples/$example.dl" "$@" --target cpu --quiet -o "$scratch/$name.plan"
            # shellcheck disable=SC2086
            "$out/gpukit" --device cpu record "$name" "$scratch/$name.plan" "$out/expected/$name" "$steps" \
                "$tolerance" $dims > "$scratch/record.json"
        fi
    done
}
tiny_gpt2="-D layers=2 -D width=64 -D heads=4 -D vocab=64 -D context=32"
steps=20
[ $quick = yes ] && steps=2
add torch torch_example model $steps 1e-4 "B=8"
add tf tf_example model $steps 1e-4 "B=8 I=10"
# shellcheck disable=SC2086
if [ $quick = yes ]; then
    add gpt2_tiny gpt2 model,kernels,train $steps 2e-2 "B=1 T=8" -D layers=1 -D width=32 -D heads=2 -D vocab=32 -D context=8
else
    add gpt2_tiny gpt2 model $steps 2e-2 "B=2 T=16" $tiny_gpt2
    add digits digits model,train $steps 1e-3 "B=64"
    add heat_pinn heat_pinn model $steps 1e-3 "N=256"
    add char_lstm_small char_lstm model $steps 1e-3 "B=4 T=16" -D width=64
    add unet_small unet model $steps 1e-3 "B=2 H=32 W=32" -D width=8
    add fashion fashion model $steps 1e-3 "B=32"
    add resnet18 resnet18 train 1 1 "B=64"
    add char_lstm char_lstm train 1 1 "B=32 T=128"
    add unet unet train 1 1 "B=8 H=128 W=128"
    add gpt2 gpt2 kernels,train 1 1 "B=8 T=1024"
fi

cp tests/gpu/run-gpu-kit "$out/run-gpu-kit"
chmod +x "$out/run-gpu-kit"
{
    "$dlc" --version
    echo "targets: $targets"
    echo "newest symbol: $newest"
} > "$out/VERSION"
kilobytes=$(du -sk "$out" | cut -f 1)
echo "$out: $((kilobytes / 1024)).$((kilobytes % 1024 * 10 / 1024)) MB, newest symbol $newest"
if [ "$kilobytes" -gt 61440 ]; then
    echo "gpu-kit.sh: the folder is larger than 60 MB" >&2
    exit 1
fi
