#!/usr/bin/env bash
# From nothing to a trained model: installs what is missing, builds, compiles examples/digits.dl, trains it on the
# handwritten digits, evaluates on the held-back ones, draws a few with their predictions. As root or with sudo; run
# again without harm.
set -eu
cd "$(dirname "$0")/.."
. scripts/packages.sh
# shellcheck disable=SC2086
install_packages $packages_needed

build=${DLC_BUILD_DIR:-build}
out=demo-out
if [ ! -f "$build/build.ninja" ]; then
    meson setup "$build" --buildtype=debugoptimized >/dev/null
fi
echo "Building …"
ninja -C "$build" --quiet tools/dlc tools/dlrun examples/draw libdlc-compile.so.0.1.0
mkdir -p "$out"
dlc=$build/tools/dlc
dlrun=$build/tools/dlrun

echo
echo "== dlc examples/digits.dl"
"$dlc" examples/digits.dl -o "$out/digits.plan"
echo
echo "== dlrun train"
"$dlrun" train "$out/digits.plan" --data train=examples/data/digits_train.npz,eval=examples/data/digits_test.npz \
    --save "$out/digits.safetensors" --log "$out/digits.jsonl" --plot "$out/digits-loss.svg"
echo
echo "== dlrun eval, on 360 digits that training never saw"
"$dlrun" eval "$out/digits.plan" --weights "$out/digits.safetensors" --data examples/data/digits_test.npz
echo
"$build/examples/draw" "$out/digits.plan" "$out/digits.safetensors" examples/data/digits_test.npz 20
cat <<END
Loss curve: $out/digits-loss.svg     Log: $out/digits.jsonl

Try next:
  $dlc --emit=fuse examples/digits.dl             the training step after fusion
  $dlrun bench $out/digits.plan             how fast a step is, against this machine's peak
  $dlrun inspect $out/digits.plan           what the plan holds
  change a layer in examples/digits.dl and run this again; docs/language.md has the rest
END
