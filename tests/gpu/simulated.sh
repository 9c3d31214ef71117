#!/usr/bin/env bash
# A small kit, built as for a GPU, moved elsewhere and run from its folder alone on the simulated device.
set -u
command -v g++ > /dev/null || { echo "skipped: no C++ compiler (g++) for the simulated device's kernels"; exit 77; }
simulated=$DLC_CUDA_PATH
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$DLC_SOURCE_ROOT" || exit 1
unset DLC_CUDA_PATH
if ! scripts/gpu-kit.sh --quick --targets cuda:sm_90 "$scratch/kit" 2> "$scratch/err"; then
    cat "$scratch/err"
    grep -q 'no libnvrtc' "$scratch/err" && echo "skipped: no NVRTC here, which the kit is made with" && exit 77
    exit 1
fi
mkdir "$scratch/elsewhere" && mv "$scratch/kit" "$scratch/elsewhere/" || exit 1
kit=$scratch/elsewhere/kit
env -i PATH="$PATH" DLC_CUDA_PATH="$simulated:-" "$kit/run-gpu-kit" --quick
status=$?
# Once more: what is done is kept, but for one part that is gone.
rm "$kit"/results/*-versions.json
env -i PATH="$PATH" DLC_CUDA_PATH="$simulated:-" "$kit/run-gpu-kit" --quick --resume --only "versions intrinsics" > "$scratch/resumed" || status=1
grep -q '^passed  versions' "$scratch/resumed" && grep -q '^kept    intrinsics' "$scratch/resumed" || status=1
# Every part left a whole JSON object.
for file in "$kit"/results/*.json; do
    python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$file" || status=1
done
exit $status
