#!/bin/bash
# Ranks that an MPI starts: mpi.sh openmpi|mpich PROGRAM TRAIN MODULE HANDED [--long]. PROGRAM is test_comm_mpi, TRAIN train_launched, MODULE that MPI's
# part of dlc, HANDED train_handed of that MPI.
set -u
mpi=$1 program=$2 train=$3 module=$4 handed=$5 long=${6:-}
if [ -z "$module" ]; then
    echo "skipped: the build has found no $mpi (its development files, or its launcher)"
    exit 77
fi
export DLC_MPI=$module
# What an MPI has not freed when the process ends is its own.
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0

# launch N ARGUMENTS…: $program as N ranks; "survivors" before N: the launcher lets the others live when one dies, also MPICH's, which kills
# what is in its children's sessions whatever it is told.
launch() {
    local recover="" apart=()
    if [ "$1" = survivors ]; then
        recover=1 apart=(setsid --wait)
        shift
    fi
    local n=$1
    shift
    if [ "$mpi" = openmpi ]; then
        timeout -k 5 "${limit:-100}" mpirun.openmpi --allow-run-as-root --oversubscribe --bind-to none ${recover:+--enable-recovery} -n "$n" "${apart[@]}" "$program" "$@"
    else
        timeout -k 5 "${limit:-100}" mpiexec.mpich ${recover:+-disable-auto-cleanup} -n "$n" "${apart[@]}" "$program" "$@"
    fi
}

# expect NAME COMMAND…: it ends well; else its output is shown.
expect() {
    local name=$1 began=$SECONDS
    shift
    if "$@" >"$folder/output" 2>&1; then
        echo "ok: $name ($((SECONDS - began)) s)"
    else
        echo "FAILED: $name (status $?)"
        tail -n 60 "$folder/output"
        failed=1
    fi
}

# refused TEXT COMMAND…: it ends badly, and says so.
refused() {
    local text=$1
    shift
    if "$@" >"$folder/output" 2>&1 || ! grep -qF "$text" "$folder/output"; then
        echo "FAILED: expected a refusal with '$text' of: $*"
        tail -n 20 "$folder/output"
        failed=1
    else
        echo "ok: refused: $text"
    fi
}

# killed N: the last of N ranks dies, and all others are told within 5 s.
killed() {
    local n=$1 rank i
    rm -rf "$folder/kill"
    mkdir "$folder/kill"
    launch survivors "$n" kill "$folder/kill" >"$folder/output" 2>&1
    for ((rank = 0; rank < n - 1; rank++)); do
        for ((i = 0; i < 50; i++)); do # the launcher may be gone before
            [ -s "$folder/kill/$rank" ] && break
            sleep 0.1
        done
        if ! grep -qE "^after [0-4]\.[0-9]* s: status [0-9]+, rank $((n - 1)) \(host [^)]*\) has died" "$folder/kill/$rank"; then
            echo "FAILED: rank $((n - 1)) of $n died, and rank $rank was told: $(cat "$folder/kill/$rank" 2>&1)"
            tail -n 20 "$folder/output"
            failed=1
            return
        fi
    done
    echo "ok: rank $((n - 1)) of $n dies: $(cat "$folder/kill/0")"
}

if [ "$long" = --long ]; then
    limit=300
    for n in 4 5 8; do
        expect "suite, $n ranks" launch $n suite
    done
    for ((i = 0; i < 100; i++)); do
        expect "start $i" launch 8 once
    done
    for n in 2 3 5 8; do
        for ((i = 0; i < 5; i++)); do
            killed $n
        done
    done
    expect "more than 2 GiB" launch 2 beyond
    exit $failed
fi

expect "one rank, without a launcher" "$program" once
for n in 2 3; do
    expect "suite, $n ranks" launch $n suite
done
expect "suite without its waits, 8 ranks" launch 8 short
for n in 2 8; do
    killed $n
done
for n in 1 3; do
    program=$train DLC_MPI='' expect "training by $n ranks" launch $n
done
for n in 2 3; do
    program=$handed DLC_MPI='' expect "communicators of the program's, $n ranks" launch $n
done
program=$handed DLC_MPI='' expect "a program with one thread for MPI" launch 2 single
other=$([ "$mpi" = openmpi ] && echo mpich || echo openmpi)
program=$handed DLC_MPI=$other refused "and this process has loaded" launch 1 single
# All exit with 17, by themselves: nothing crashes, as long as MPI lets them.
left=0
for ((i = 0; i < 5; i++)); do
    "$program" open >"$folder/output" 2>&1
    left=$((left + ($? == 17)))
done
if [ $left -ne 5 ]; then
    echo "FAILED: of 5 exits with an open communicator $left went well"
    failed=1
fi
expect "the program starts MPI with all threads" launch 2 host "$module" 3
expect "the program starts MPI with one thread" launch 2 host "$module" 0
refused "but MPI knows of one rank only" env OMPI_COMM_WORLD_SIZE=4 "$program" once
refused "expected openmpi, mpich or the path of a module" env DLC_MPI=nonsense "$program" once
refused "no MPI has started this process" env DLC_MPI= "$program" once
refused "/nowhere/module.so: cannot open" env DLC_MPI=/nowhere/module.so "$program" once
exit $failed
