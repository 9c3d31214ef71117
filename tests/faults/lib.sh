# Shared by the scripts beside it, over tests/cli/lib.sh: arrays as files, programs compiled and run, outputs compared.
faults=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$faults/../cli/lib.sh"

# npy FILE DTYPE SHAPE VALUE…: DTYPE as NumPy writes it (f4, f8, i4, i1, u2, b1, …), SHAPE as 2x3.
npy() {
    python3 -IS "$faults/npy.py" write "$@" || bad "npy $*"
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
        python3 -IS "$faults/npy.py" compare out.txt "${near:-1e-6}" $output || bad "$(basename "$program"): $output"
    done
}
# small_model FILE SETTINGS LINE…: a model m of x: f32[B, 2], which the lines make y of, its train block with these settings.
small_model() {
    local file=$1 settings=$2
    shift 2
    printf 'dim B\nmodel m(x: f32[B, 2]) {\n' > "$file"
    printf '    %s\n' "$@" 'output y' 'loss mean(square(y))' >> "$file"
    printf '}\ntrain m { optimizer sgd(lr=0.1); batch 2; %s }\n' "$settings" >> "$file"
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
# orders_nan [-- OPTION…]: nan_order.dl, short lines and long ones.
orders_nan() {
    npy x.npy f4 2x7 3 nan 1 inf 1 -inf nan 0 2 -1 -2 2 -1 nan
    npy w.npy f4 2x300 5 nan 1 inf -inf
    gives "$faults/nan_order.dl" "a nan nan inf nan 2 2" "b 1 6 3 6 1 4" "c nan nan inf 3 1 1 -inf nan 2 2 0 -1 -1 -2" \
        "d 1 6 3 0 2 4 5 6 1 4 0 2 5 3" "e -inf 1 1 3 inf nan nan -2 -1 -1 0 2 2 nan" "f 5 2 4 0 3 1 6 3 2 5 0 1 4 6" \
        "g 1 6" "h 1 6" "i nan nan" "j nan nan" "k nan nan nan 2 inf 2" "l nan inf inf nan inf inf" "n 296 3 8 296 3 8" \
        "o 293 298 1 6 293 298 1 6" "p 1 1" "q 1 1" "r nan nan" -- --input x=x.npy --input w=w.npy "$@"
}
