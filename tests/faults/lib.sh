# Shared by the scripts beside it, over tests/cli/lib.sh: arrays as files, programs compiled and run, outputs compared.
faults=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$faults/../cli/lib.sh"

# npy FILE DTYPE SHAPE VALUE…: DTYPE as NumPy writes it (f4, f8, i4, i1, u2, b1, …), SHAPE as 2x3.
npy() {
    python3 "$faults/npy.py" write "$@" || bad "npy $*"
}
# gives PROGRAM.dl "OUTPUT VALUE…" … [-- OPTION…]: what `dlrun infer` prints, value by value; options of dlc in $flags.
gives() {
    local program=$1 wanted=()
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        wanted+=("$1")
        shift
    done
    [ $# -eq 0 ] || shift
    # shellcheck disable=SC2086
    expect 0 "$dlc" "$program" -o program.plan --quiet ${flags:-} || return
    expect 0 "$dlrun" infer program.plan "$@"
    for output in "${wanted[@]}"; do
        checks=$((checks + 1))
        # shellcheck disable=SC2086
        python3 "$faults/npy.py" compare out.txt "${near:-1e-6}" $output || bad "$(basename "$program"): $output"
    done
}
# refuses TEXT COMMAND…: fails as a refusal does, never by a signal or a time limit, and says TEXT.
refuses() {
    local text=$1 got
    shift
    checks=$((checks + 1))
    timeout 60 "$@" > out.txt 2> err.txt
    got=$?
    case $got in
    1 | 2) says err.txt "$text" ;;
    *) bad "status $got instead of a refusal: ${*/$root/…}" ;;
    esac
}
