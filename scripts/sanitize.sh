#!/bin/bash
# Looks for memory errors, undefined behaviour and races: every step stops at the first report.
#   scripts/sanitize.sh [address] [fuzz] [thread]      all three if none is named
# address: the quick suite and MUTANTS (default 10,000) mutants of IR (tests/fuzz/test_mutants.c) under the address and
#          undefined-behaviour sanitizers (build-asan).
# fuzz:    every fuzzer, FUZZ_RUNS (default 10,000) inputs each; the one of plans changes single numbers (build-fuzz, scripts/fuzz.sh).
# thread:  the pool, ranks that talk, sessions in threads and what reads data for them (there is no thread for data) under the thread
#          sanitizer (build-tsan).
# TEST_CACHE names a folder of compiled kernels to share with other builds (the option test_cache).
# Installs what it needs where apt-get may; the exit status is 1 if a step found something, 2 if one could not run.
set -u
cd "$(dirname "$0")/.."
. scripts/packages.sh
steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(address fuzz thread)
jobs=${JOBS:-$(nproc)}
# shellcheck disable=SC2086
install_packages $packages_needed $packages_for_tests || exit 2
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
# intercept_tls_get_addr: GCC 12's leak check misreads the sizes of thread-local data of libraries opened at run time
# (LLVM), and dies of it every third time.
export ASAN_OPTIONS=halt_on_error=1:detect_stack_use_after_return=1:allocator_may_return_null=1:intercept_tls_get_addr=0
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions=$PWD/tests/tsan.supp
# The thread sanitizer wants its own places in memory, which some kernels' randomness gives away.
unrandomised=
[ "$(cat /proc/sys/vm/mmap_rnd_bits 2> /dev/null || echo 28)" -le 28 ] || unrandomised="setarch $(uname -m) -R"
export DLC_SANITIZED=1 # tests of memory and time do not ask what a sanitizer takes

# configure FOLDER SANITIZERS
configure() {
    [ -f "$1/build.ninja" ] || CC=${CC:-gcc} meson setup "$1" --buildtype=debugoptimized -Dtest_cache="${TEST_CACHE:-}" \
        -Db_sanitize="$2" -Db_lundef=false > /dev/null || exit 2
    ninja -C "$1" -j "$jobs" || exit 2
}

failed=0
for step in "${steps[@]}"; do
    case $step in
    address)
        configure build-asan address,undefined
        meson test -C build-asan --no-rebuild --num-processes "$jobs" -t 20 --suite quick --print-errorlogs || failed=1
        build-asan/tests/ops/test_mutants 0 "${MUTANTS:-10000}" || failed=1
        ;;
    fuzz)
        # shellcheck disable=SC2086
        install_packages $packages_for_clang || exit 2
        FUZZ_RUNS=${FUZZ_RUNS:-10000} scripts/fuzz.sh 600 || failed=1
        ;;
    thread)
        configure build-tsan thread
        # pool: the pool, with kernels that the sanitizer sees. threads: sessions, compiles, files and one context
        # in several threads. The others run kernels on several threads, compile on several, or train from files.
        tests=(pool threads 'comm local' 'comm memory' 'comm tcp' 'comm sockets' 'comm meet' 'comm agree' 'parallel ranks' 'parallel apart' 'parallel exchange' 'parallel started' 'device cpu' 'device null' 'device far' api training calls
            dataset data remat groups 'memory torch_example' 'std training' 'cli train')
        for name in "${tests[@]}"; do
            meson test -C build-tsan --no-rebuild --list 2> /dev/null | sed 's/.* \/ //' | grep -qxF -- "$name" ||
                { echo "there is no test '$name'" && failed=1; }
        done
        $unrandomised meson test -C build-tsan --no-rebuild --num-processes 1 -t 20 --print-errorlogs "${tests[@]}" || failed=1
        ;;
    *)
        echo "unknown step '$step'; there are address, fuzz and thread" >&2
        exit 2
        ;;
    esac
done
exit $failed
