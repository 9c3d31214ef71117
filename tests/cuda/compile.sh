#!/usr/bin/env bash
# Compiling for GPUs as a user meets it: targets and their names, what is printed, what happens without NVRTC.
set -u
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$DLC_SOURCE_ROOT" || exit 1
unset DLC_CUDA_PATH DLC_CUDA_CACHE
failed=0
fail() {
    echo "compile.sh: $*"
    failed=$((failed + 1))
}

cat > "$scratch/probe.dl" <<'PROGRAM'
dim N

model probe(x: f32[N, 64]) {
    y = sigmoid(x) * 2.0
    output softmax(y)
}
PROGRAM
cat > "$scratch/bf16.dl" <<'PROGRAM'
dim N

model half(x: bf16[N, 64]) {
    output x + x
}
PROGRAM
probe=$scratch/probe.dl

# Names.
"$DLC" "$probe" --target cuda:sm_42 -o "$scratch/a.plan" > "$scratch/out" 2>&1 && fail "sm_42 was accepted"
for name in sm_75 sm_80 sm_86 sm_89 sm_90 sm_100 sm_120; do
    grep -q "$name" "$scratch/out" || fail "the message does not name $name: $(cat "$scratch/out")"
done

# Without NVRTC: text only, said once, and nothing fails.
DLC_CUDA_PATH=- "$DLC" "$probe" --quiet --target cuda -o "$scratch/text.plan" > "$scratch/out" 2>&1 ||
    fail "without NVRTC: $(cat "$scratch/out")"
[ "$(grep -c 'as text only' "$scratch/out")" = 1 ] || fail "no single note without NVRTC: $(cat "$scratch/out")"
# The default without a GPU is four architectures.
DLC_CUDA_PATH=- "$DLC" "$probe" --emit plan --target cuda > "$scratch/out" 2> "$scratch/err"
machines=$(grep -o '"machine": "sm_[0-9]*"' "$scratch/out" | grep -o 'sm_[0-9]*' | tr '\n' ' ')
[ "$machines" = "sm_80 sm_90 sm_100 sm_120 " ] || fail "default targets: $machines"

# bf16 has no hardware on sm_75.
"$DLC" "$scratch/bf16.dl" --target cuda:sm_75 -o "$scratch/a.plan" > "$scratch/out" 2>&1 && fail "bf16 on sm_75"
grep -q 'sm_75 has no bf16' "$scratch/out" || fail "bf16 on sm_75: $(cat "$scratch/out")"

# The text, with the lines it came from.
"$DLC" "$probe" --target cuda:sm_90 --emit kernels > "$scratch/out" 2>&1 || fail "--emit=kernels: $(cat "$scratch/out")"
grep -q '__global__' "$scratch/out" || fail "--emit=kernels shows no CUDA C"
grep -q 'probe.dl:[0-9]*:[0-9]*: .*softmax' "$scratch/out" || fail "--emit=kernels does not say where it comes from"
"$DLC" "$probe" --target cpu --emit kernels | grep -q '__global__' && fail "the CPU's kernels are CUDA C"

# One translation unit: the kernels under the names they have in the image, each once, behind what they use.
cat > "$scratch/twice.dl" <<'PROGRAM'
dim N

model twice(x: f32[N, 64]) {
    y = exp(x) @ ones([64, 64])
    output a = y @ transpose(y)
    output b = sort(x, axis=0)
    output c = sort(x, axis=1)
}
PROGRAM
"$DLC" "$scratch/twice.dl" --target cuda:sm_90 --emit kernels > "$scratch/twice.cu" 2> "$scratch/err" ||
    fail "--emit=kernels: $(cat "$scratch/err")"
DLC_CUDA_PATH=- "$DLC" "$scratch/twice.dl" --json --target cuda:sm_90 -o "$scratch/a.plan" > "$scratch/out" 2> "$scratch/err"
shown=$(grep -o '__global__.* void k_[a-z0-9_]*' "$scratch/twice.cu" | grep -o 'k_[a-z0-9_]*$' | sort)
held=$(grep -o '"k_[a-z0-9_]*"' "$scratch/out" | tr -d '"' | sort)
[ "$(echo "$shown" | wc -l)" -ge 4 ] || fail "too few kernels to tell apart: $shown"
[ "$shown" = "$held" ] || fail "--emit=kernels names $shown; the image has $held"
[ -z "$(echo "$shown" | uniq -d)" ] || fail "--emit=kernels says twice $(echo "$shown" | uniq -d)"
nvcc=$(PATH=$PATH:/usr/local/cuda/bin command -v nvcc)
if ! "${nvcc:-nvcc}" --version > /dev/null 2>&1; then
    echo "skipped: no nvcc here: what --emit=kernels prints is not compiled"
else
    "$nvcc" -std=c++17 -fmad=false -arch=sm_90 -cubin "$scratch/twice.cu" -o "$scratch/twice.cubin" > "$scratch/err" 2>&1 ||
        fail "what --emit=kernels prints does not compile: $(head -5 "$scratch/err")"
    for name in $held; do
        grep -qa "$name" "$scratch/twice.cubin" || fail "no $name in what --emit=kernels compiles to"
    done
fi

DLC_CUDA_PATH='' "$DLC" "$probe" --quiet --target cuda:sm_90 -o "$scratch/a.plan" > "$scratch/out" 2>&1 ||
    fail "sm_90: $(cat "$scratch/out")"
if grep -q 'as text only' "$scratch/out"; then
    echo "skipped: no NVRTC here: what it makes, the same bytes, its cache"
    [ "$failed" -eq 0 ] && exit 77
    exit 1
fi

# Figures, same bytes, cache, several targets.
"$DLC" "$probe" --explain --target cuda:sm_90 -o "$scratch/b.plan" | grep -q 'registers' || fail "--explain has no figures"
"$DLC" "$probe" --json --target cuda:sm_90 -o "$scratch/b.plan" | grep -q '"registers": [1-9]' || fail "--json has no figures"
cmp -s "$scratch/a.plan" "$scratch/b.plan" || fail "two compiles differ"
mkdir "$scratch/cache" "$scratch/elsewhere"
for i in 1 2; do
    DLC_CUDA_CACHE=$scratch/cache "$DLC" "$probe" --quiet --target cuda:sm_90 -o "$scratch/c$i.plan" || fail "with a cache"
    cmp -s "$scratch/a.plan" "$scratch/c$i.plan" || fail "with a cache the plan differs ($i)"
done
[ -n "$(ls -A "$scratch/cache")" ] || fail "the cache is empty"
for unit in "$scratch"/cache/*; do
    printf 'damaged' | dd of="$unit" bs=1 seek=100 conv=notrunc status=none
done
DLC_CUDA_CACHE=$scratch/cache "$DLC" "$probe" --quiet --target cuda:sm_90 -o "$scratch/c3.plan" || fail "with a damaged cache"
cmp -s "$scratch/a.plan" "$scratch/c3.plan" || fail "with a damaged cache the plan differs"
# Another folder for the program and the plan: only the name of the source may show, and it is the same here.
(cd "$scratch" && "$DLC" probe.dl --quiet --target cuda:sm_90 -o elsewhere/a.plan && cp probe.dl elsewhere/ &&
    cd elsewhere && "$DLC" probe.dl --quiet --target cuda:sm_90 -o b.plan && cmp -s a.plan b.plan) ||
    fail "the plan depends on the folder it was made in"
"$DLC" "$probe" --quiet --target cpu:x86-64-v3 --target cuda:sm_80 --target cuda:sm_90 -o "$scratch/two.plan" ||
    fail "three targets"
[ "$failed" -eq 0 ] && echo "compile.sh: passed"
[ "$failed" -eq 0 ]
