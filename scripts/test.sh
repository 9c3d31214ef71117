#!/usr/bin/env bash
# Builds everything and runs every test; ends with the tests that were left out, each with its reason, and the line
# "N passed, N failed[, N skipped]". Works from a clean clone, as root or with sudo, and again without harm.
# Usage: scripts/test.sh [--quick | --long]; --long adds what takes an hour.
set -u
cd "$(dirname "$0")/.." || exit 1
. scripts/packages.sh
# shellcheck disable=SC2086
install_packages $packages_needed $packages_for_tests || exit 1

build=${DLC_BUILD_DIR:-build}
if [ ! -f "$build/build.ninja" ]; then
    meson setup "$build" --buildtype=debugoptimized || exit 1
fi
ninja -C "$build" || exit 1

suite=(--no-suite long) wanted=(-long)
if [ "${1:-}" = "--long" ]; then
    suite=() wanted=()
elif [ "${1:-}" = "--quick" ]; then
    suite=(--suite quick) wanted=(quick)
fi
rm -f "$build/meson-logs/testlog.json"
# What tests keep for each other: a day.
find "$build/tests/cache" "$build/tests/cudasim/cache" -type f -mtime +0 -delete
meson test -C "$build" --no-rebuild --print-errorlogs "${suite[@]}"
python3 scripts/test-summary.py "$build" "${wanted[@]}"
