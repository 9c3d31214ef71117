#!/usr/bin/env bash
# Builds everything and runs every test; ends with the line "N passed, N failed". Works from a clean clone,
# as root or with sudo, and again without harm. Usage: scripts/test.sh [--quick | --long]; --long adds what takes an hour.
set -u
cd "$(dirname "$0")/.." || exit 1
. scripts/packages.sh
# shellcheck disable=SC2086
install_packages $packages_needed dataset-fashion-mnist || exit 1

build=${DLC_BUILD_DIR:-build}
if [ ! -f "$build/build.ninja" ]; then
    meson setup "$build" --buildtype=debugoptimized || exit 1
fi
ninja -C "$build" || exit 1

suite=(--no-suite long)
if [ "${1:-}" = "--long" ]; then
    suite=()
elif [ "${1:-}" = "--quick" ]; then
    suite=(--suite quick)
fi
log="$build/test-summary.txt"
meson test -C "$build" --no-rebuild --print-errorlogs "${suite[@]}" | tee "$log"

count() {
    sed -n "s/^$1: *\([0-9]*\) *$/\1/p" "$log" | tail -n 1
}
passed=$(( $(count Ok || echo 0) + $(count "Expected Fail" || echo 0) ))
failed=$(( $(count Fail || echo 0) + $(count "Unexpected Pass" || echo 0) + $(count Timeout || echo 0) ))
skipped=$(count Skipped)
if [ "$passed" -eq 0 ]; then
    echo "No test ran." >&2
    failed=$((failed + 1))
fi
if [ "${skipped:-0}" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ]
