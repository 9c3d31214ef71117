#!/bin/bash
# Looks for memory errors, undefined behaviour and races: every step stops at the first report.
#   scripts/sanitize.sh [address] [fuzz] [thread]      all three if none is named
# address: the quick suite and 10,000 mutants of IR (tests/fuzz/test_mutants.c) under the address and
#          undefined-behaviour sanitizers (build-asan).
# fuzz:    every fuzzer, 10,000 inputs each; the one of plans changes single numbers (build-fuzz, scripts/fuzz.sh).
# thread:  pool, sessions in threads and the data thread under the thread sanitizer (build-tsan).
# Installs what it needs where apt-get may; the exit status is 1 if a step found something, 2 if one could not run.
set -u
cd "$(dirname "$0")/.."
steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(address fuzz thread)
jobs=${JOBS:-$(nproc)}
if ! command -v clang > /dev/null && [ "$(id -u)" = 0 ]; then
    apt-get install -y clang > /dev/null 2>&1
fi
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export ASAN_OPTIONS=halt_on_error=1:detect_stack_use_after_return=1:allocator_may_return_null=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
export DLC_SANITIZED=1 # tests of memory and time do not ask what a sanitizer takes

# configure FOLDER SANITIZERS
configure() {
    [ -f "$1/build.ninja" ] || CC=${CC:-gcc} meson setup "$1" --buildtype=debugoptimized \
        -Db_sanitize="$2" -Db_lundef=false > /dev/null || exit 2
    ninja -C "$1" -j "$jobs" || exit 2
}

failed=0
for step in "${steps[@]}"; do
    case $step in
    address)
        configure build-asan address,undefined
        meson test -C build-asan --no-rebuild --num-processes "$jobs" -t 20 --suite quick || failed=1
        build-asan/tests/ops/test_mutants 0 10000 || failed=1
        ;;
    fuzz)
        FUZZ_RUNS=${FUZZ_RUNS:-10000} scripts/fuzz.sh 600 || failed=1
        ;;
    thread)
        configure build-tsan thread
        # Each of these runs kernels on several threads, sessions on several threads, or trains from files.
        meson test -C build-tsan --no-rebuild --num-processes 1 -t 20 'device cpu' api calls dataset 'faults api' \
            'faults data' 'memory torch_example' 'std training' || failed=1
        ;;
    *)
        echo "unknown step '$step'; there are address, fuzz and thread" >&2
        exit 2
        ;;
    esac
done
exit $failed
