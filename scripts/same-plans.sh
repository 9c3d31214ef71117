#!/usr/bin/env bash
# Compiles every example (and bench's ResNet-50) for CPUs and GPUs and in the modes of dlc that take other ways through the compiler,
# and keeps one checksum a plan: a change that should not change what is compiled is checked with it.
#   scripts/same-plans.sh record FILE [BUILD]    before the change
#   scripts/same-plans.sh check FILE [BUILD]     after it: names each plan that differs; status 1 if any does
# BUILD (default: build) is a built folder. Takes a minute on two cores; with ALL=1 all targets and modes, three. ONLY=PATTERN keeps
# the plans of that name: ONLY='char_lstm*'. Builds by gcc and by clang compile to the same plans.
set -u
all=${ALL:-0} only=${ONLY:-*}
cd "$(dirname "$0")/.." || exit 2
mode=${1:-}
file=${2:-}
dlc=$(realpath "${3:-build}/tools/dlc") || exit 2
case $mode:$file in
record:?* | check:?*) ;;
*)
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
[ -x "$dlc" ] || { echo "$0: there is no $dlc; build first" >&2; exit 2; }

scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT

# One line a plan: a name, a program, options.
cases() {
    local program name target
    for program in examples/*.dl bench/*.dl; do
        name=$(basename "$program" .dl)
        for target in cpu:x86-64-v3 cuda:sm_90 cpu:x86-64-v2 cpu:x86-64-v4 cuda:sm_80; do
            [ "$all" = 1 ] || [ "$target" = cpu:x86-64-v3 ] || [ "$target" = cuda:sm_90 ] || continue
            echo "$name-${target/:/-} $program --target $target"
        done
    done
    for name in digits char_lstm gpt2 unet; do
        [ "$all" = 1 ] || [ "$name" = digits ] || [ "$name" = char_lstm ] || continue
        program=examples/$name.dl
        echo "$name-accumulate $program --target cpu:x86-64-v3 --accumulate"
        echo "$name-remat $program --target cpu:x86-64-v3 --memory-limit 40000000"
        echo "$name-f64 $program --target cpu:x86-64-v3 --float f64"
        echo "$name-own-kernels $program --target cuda:sm_90 --no-libraries"
        echo "$name-emulated $program --target cpu:x86-64-v3 --emulate-precision"
        echo "$name-unfused $program --target cpu:x86-64-v3 --skip-passes fuse,simplify,attention"
    done
}

# compile_one NAME PROGRAM OPTION...: leaves "CHECKSUM NAME" (of the plan, or of the message where there is none) in the scratch folder.
compile_one() {
    local name=$1 program=$2
    shift 2
    local plan=$scratch/$name.plan
    "$dlc" "$program" "$@" --quiet -o "$plan" > "$scratch/$name.log" 2>&1 || cp "$scratch/$name.log" "$plan"
    echo "$(sha256sum < "$plan" | cut -c1-64) $name" > "$scratch/$name.sum"
    rm -f "$plan"
}
export -f compile_one
export dlc scratch

# The cases whose name ONLY asks for.
chosen() {
    cases | while read -r name rest; do
        # shellcheck disable=SC2053
        [[ $name != $only ]] || echo "$name $rest"
    done
}

wanted=$(chosen | wc -l)
[ "$wanted" -gt 0 ] || { echo "$0: no plan is called '$only'" >&2; exit 2; }
chosen | xargs -P "$(nproc)" -L 1 bash -c 'compile_one "$@"' compile_one
sort -k 2 "$scratch"/*.sum > "$scratch/all"
made=$(wc -l < "$scratch/all")
[ "$made" -eq "$wanted" ] || { echo "$0: $made of $wanted plans were made" >&2; exit 2; }
if [ "$mode" = record ]; then
    cp "$scratch/all" "$file"
    echo "$made plans recorded"
    exit 0
fi
if grep -Fxvf "$file" "$scratch/all" > "$scratch/other"; then
    sed 's/^[0-9a-f]* /differs: /' "$scratch/other"
    echo "$(wc -l < "$scratch/other") of $made plans differ"
    exit 1
fi
echo "$made plans are the same"
