#!/bin/bash
# Builds every tests/fuzz/fuzz_*.c with clang's libFuzzer, address and undefined-behaviour sanitizers, and runs
# each on its corpus (tests/fuzz/corpus/<name>; of plans, which only one version of the format reads, made anew).
#   scripts/fuzz.sh [seconds for each, default 60] [name ...]
# FUZZ_RUNS=10000 ends each after so many inputs instead.
# Inputs that fail are kept in build-fuzz/failures; the exit status is 1 if there are any, or if a fuzzer had
# fewer than one input in a hundred accepted: it then tests little beyond the first check.
set -u
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift $(($# > 0 ? 1 : 0))
build=${FUZZ_BUILD:-build-fuzz}
if [ ! -f "$build/build.ninja" ]; then
    CC=${FUZZ_CC:-clang} meson setup "$build" -Dfuzz=true -Dtests=true --buildtype=debugoptimized \
        -Db_sanitize=address,undefined -Db_lundef=false -Dc_args=-fsanitize=fuzzer-no-link > /dev/null || exit 2
fi
mkdir -p "$build/failures"
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        name=${source#tests/fuzz/fuzz_}
        names+=("${name%.c}")
    done
fi
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

# make_plans FOLDER: one by hand, and programs with every kind of command
make_plans() {
    local library
    library=$(ninja -C "$build" -t targets all | sed -n 's/^\(libdlc-compile\.so[0-9.]*\): .*/\1/p')
    ninja -C "$build" -j "${JOBS:-$(nproc)}" tests/fuzz/make_plans tools/dlc "$library" > "$build/failures/seeds.log" 2>&1 &&
        LD_LIBRARY_PATH=$build ASAN_OPTIONS=detect_leaks=0 bash -c '
            set -e
            "$1/tests/fuzz/make_plans" "$2/sample"
            "$1/tools/dlc" tests/device/every.dl -o "$2/every" --target null --quiet
            "$1/tools/dlc" tests/device/every.dl -o "$2/accumulate" --target null --accumulate --quiet
            "$1/tools/dlc" tests/device/every.dl -o "$2/queues" --target null,queues=2 --quiet
            "$1/tools/dlc" tests/device/every.dl -o "$2/ranks" --target null --mesh "data=*" --zero 3 --quiet
        ' - "$build" "$1" >> "$build/failures/seeds.log" 2>&1 && return
    echo "seeds of plans: FAILED, see $build/failures/seeds.log"
    return 1
}

ninja -C "$build" -j "${JOBS:-$(nproc)}" "${names[@]/#/tests/fuzz/fuzz_}" || exit 2
failed=0
for name in "${names[@]}"; do
    found="$build/corpus/$name" seeds="tests/fuzz/corpus/$name" longest=65536
    mkdir -p "$found"
    if [ "$name" = plan ]; then
        seeds="$build/seeds/plan" longest=200000
        mkdir -p "$seeds"
        make_plans "$seeds" || failed=1
    fi
    options=(${FUZZ_RUNS:+-runs="$FUZZ_RUNS"} -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048)
    [ -f "tests/fuzz/$name.dict" ] && options+=(-dict="tests/fuzz/$name.dict")
    log="$build/failures/$name.log"
    if "$build/tests/fuzz/fuzz_$name" "${options[@]}" -max_len=$longest -print_final_stats=1 -artifact_prefix="$build/failures/$name-" \
        "$found" "$seeds" >"$log" 2>&1; then
        read -r accepted runs < <(sed -n 's/^accepted: \([0-9]*\) of \([0-9]*\)$/\1 \2/p' "$log")
        coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -1)
        verdict=ok
        if [ $((${accepted:-0} * 100)) -lt "${runs:-1}" ]; then
            verdict="FAILED, it refuses nearly everything"
            failed=1
        fi
        echo "$name: $verdict, ${runs:-?} inputs, ${accepted:-?} accepted, ${coverage:-no coverage}"
    else
        echo "$name: FAILED, see $log"
        failed=1
    fi
done
exit $failed
