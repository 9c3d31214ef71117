#!/usr/bin/env bash
# A small kit, built as for a GPU, moved elsewhere and run from its folder alone on the simulated device.
set -u
simulated=$DLC_CUDA_PATH
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$DLC_SOURCE_ROOT" || exit 1
unset DLC_CUDA_PATH
scripts/gpu-kit.sh --quick --targets cuda:sm_90 "$scratch/kit" || exit 1
mkdir "$scratch/elsewhere" && mv "$scratch/kit" "$scratch/elsewhere/" || exit 1
env -i PATH="$PATH" DLC_CUDA_PATH="$simulated" "$scratch/elsewhere/kit/run-gpu-kit" --quick
status=$?
# Every part left a whole JSON object.
for file in "$scratch"/elsewhere/kit/results/*.json; do
    python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$file" || status=1
done
exit $status
