#!/bin/bash
# Builds every tests/fuzz/fuzz_*.c with clang's libFuzzer, address and undefined-behaviour sanitizers, and runs
# each on its corpus (tests/fuzz/corpus/<name>).
#   scripts/fuzz.sh [seconds for each, default 60] [name ...]
# FUZZ_RUNS=10000 ends each after so many inputs instead.
# Inputs that fail are kept in build-fuzz/failures; the exit status is 1 if there are any.
set -u
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift $(($# > 0 ? 1 : 0))
build=${FUZZ_BUILD:-build-fuzz}
mkdir -p "$build/failures"
if [ ! -f "$build/build.ninja" ]; then
    CC=${FUZZ_CC:-clang} meson setup "$build" -Dfuzz=true -Dtests=true --buildtype=debugoptimized \
        -Db_sanitize=address,undefined -Db_lundef=false -Dc_args=-fsanitize=fuzzer-no-link || exit 2
fi
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        name=${source#tests/fuzz/fuzz_}
        names+=("${name%.c}")
    done
fi
targets=("${names[@]/#/tests/fuzz/fuzz_}")
ninja -C "$build" "${targets[@]}" || exit 2
failed=0
for name in "${names[@]}"; do
    found="$build/corpus/$name"
    mkdir -p "$found" "tests/fuzz/corpus/$name"
    options=(${FUZZ_RUNS:+-runs="$FUZZ_RUNS"} -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536)
    [ -f "tests/fuzz/$name.dict" ] && options+=(-dict="tests/fuzz/$name.dict")
    log="$build/failures/$name.log"
    if UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 "$build/tests/fuzz/fuzz_$name" \
        "${options[@]}" -print_final_stats=1 -artifact_prefix="$build/failures/$name-" "$found" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -1)
        echo "$name: ok, ${runs:-?} inputs, ${coverage:-no coverage}"
    else
        echo "$name: FAILED, see $log"
        failed=1
    fi
done
exit $failed
