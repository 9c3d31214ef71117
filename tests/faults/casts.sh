#!/usr/bin/env bash
# Casts that round wherever they stand, and numbers of elements beyond what an index holds.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A cast rounds to nearest, ties to even, whatever is fused with it: subnormals, infinities, nan; once from f64 and
# from long integers; sums and products of 16 bits are of 16 bits.
npy x.npy f4 6 70000 0.1 1e-7 nan 3.14159 65519.996
npy w.npy f8 3 1.00390625000001 1.00390625 1e300
npy n.npy i4 3 16842753 16842752 16908288
cat > rounds.dl <<'E2'
model m(x: f32[6], w: f64[3], n: i32[3]) {
    h = cast(x, f16)
    output a = cast(h, f32)
    output b = cast(cast(x, bf16), f32)
    output c = cast(cast(w, bf16), f64)
    output d = cast(cast(n, bf16), f32)
    output e = cast(h + h * h, f32)
    output k = x + cast(cast(0.1, f16), f32)
    output s = cast(sum(cast([2048.0, 1.0, 1.0], f16)), f32)
}
E2
for flags in "" "--skip-passes fuse" "--skip-passes fold,simplify,cse,dce" "--target cpu:x86-64-v2"; do
    near=5e-6 gives rounds.dl "a inf 0.0999755859375 1.1920929e-7 nan 3.140625 65504" \
        "b 70144 0.10009765625 1.0011718e-7 nan 3.140625 65536" "c 1.0078125 1 inf" "d 16908288 16777216 16908288" \
        "e inf 0.1099854 1.1920929e-7 nan 13.0078125 inf" "k 70000.1 0.19997559 0.09997569 nan 3.2415657 65520.094" "s 2050" \
        -- --input x=x.npy --input w=w.npy --input n=n.npy
done
flags=

# Constants and narrow integers: what is known when compiling is what a run gives.
npy x.npy f4 2 1e10 -200.7
npy n.npy i8 2 5000000300 -129
npy u.npy u1 4 43 44 200 255
cat > wraps.dl <<'E2'
model m(x: f32[2], n: i64[2], u: u8[4]) {
    output a = x + 9007199254740994
    output b = n + 9007199254740993
    output c = cast(u < cast(300, u8), i32)
    output d = cast(cast(300, u8), i32) + cast(n, i32)
    output e = cast(cast(3000000000, i32), f32) + x
    output f = cast(3e9, i32)
    output g = cast(cast(-1.5, u8), i32)
    output h = cast(cast(n, i8), i32)
    output i = cast(cast(x, i8), i32)
    output j = cast(u + u, i32)
}
E2
for flags in "" "--skip-passes fold,simplify,cse,dce"; do
    near=5e-6 gives wraps.dl "a 9007209254740994 9007199254740793" "b 9007204254741293 9007199254740864" "c 1 0 0 0" \
        "d 705033048 -85" "e 8705032704 -1294967497" "f 2147483647" "g 0" "h 44 127" "i 127 -128" "j 86 88 144 254" \
        -- --input x=x.npy --input n=n.npy --input u=u.npy
done
flags=

# A long list beside 16 bits lies outside every kernel.
list=$(for _ in $(seq 20); do printf '1.0, -0.1, 1e-7, 70000.0, '; done)
npy x.npy f2 80 1
for type in f16 bf16; do
    printf 'model m(x: f16[80]) {\n    y = cast(x, f32) |> cast(%s)\n    output a = cast(y * [%s], f32)\n}\n' $type "${list%, }" > list.dl
    expect 0 "$dlc" list.dl -o list.plan --quiet
    expect 0 "$dlrun" infer list.plan --input x=x.npy
    wanted="1 -0.0999756 1.19209e-07 inf"
    [ $type = f16 ] || wanted="1 -0.100098 1.00117e-07 70144"
    says out.txt "a [80]: $wanted 1 -0."
done

# --emulate-precision: products read rounded operands in every entry; f16 overflows. Both values of bf16 lie halfway
# between neighbours, so both are rounded to even; what is done to a factor before is rounded with it.
cat > products.dl <<'E2'
dim B
model m(x: f32[B], y: f32[B]) {
    param w: f32[1] = ones()
    out = {b i, i -> b}(reshape(x, [B, 1]), w)
    twice = {b i, i -> b}(relu(reshape(x, [B, 1])) * 2.0, w)
    output out
    output twice
    loss mean(out - y)
}
train m {
    precision bf16
    optimizer sgd(lr=0.0)
    batch 2
    steps 1
}
E2
# emulated PRECISION "X X" "OUT OUT" "TWICE TWICE" LOSS
emulated() {
    sed "s/precision bf16/precision $1/" products.dl > p.dl
    printf 'x,y\n%s,0\n%s,0\n' $2 > x.csv
    npy x.npy f4 2 $2
    expect 0 "$dlc" p.dl -o p.plan --emulate-precision --quiet
    expect 0 "$dlrun" train p.plan --data train=x.csv --log log.jsonl --save w.safetensors --quiet
    grep -q "\"loss\": *$5[,}]" log.jsonl || bad "$1: trained with $(grep loss log.jsonl), not $5"
    expect 0 "$dlrun" eval p.plan --data x.csv --weights w.safetensors
    says out.txt "loss $(printf %.6g $5)"
    expect 0 "$dlrun" infer p.plan --weights w.safetensors --input x=x.npy
    checks=$((checks + 2))
    python3 -IS "$faults/npy.py" compare out.txt 5e-6 out $3 || bad "$1: out"
    python3 -IS "$faults/npy.py" compare out.txt 5e-6 twice $4 || bad "$1: twice"
    # Compiled anew from the portable form, the option holds.
    expect 0 "$dlrun" infer p.plan --weights w.safetensors --input x=x.npy --no-native
    checks=$((checks + 1))
    python3 -IS "$faults/npy.py" compare out.txt 5e-6 twice $4 || bad "$1: compiled anew"
}
emulated bf16 "1.00390625 1.01171875" "1 1.015625" "2 2.03125" 1.0078125
emulated f16 "1.00048828125 1.00146484375" "1 1.001953125" "2 2.00390625" 1.00097656
npy x.npy f4 2 70000 -65520
expect 0 "$dlrun" infer p.plan --weights w.safetensors --input x=x.npy
python3 -IS "$faults/npy.py" compare out.txt 1e-6 out inf -inf || bad "f16 does not overflow"

# A query that sees no key: 0 and finite gradients to second order, in long rows (one op) and short ones, by a bool
# mask and by one that is added. softmax itself gives nan there, as PyTorch's.
cat > hidden.dl <<'E2'
model m(q: f32[2, 1, LENGTH, 8], pad: i32[2], bias: f32[1]) {
    at = {s -> 1 s}(iota(LENGTH))
    keep = {b s -> b 1 1 s}(at >= {b -> b 1}(pad))
    x = q * (1.0 + 0.01 * {t -> 1 1 t 1}(cast(iota(LENGTH), f32)))
    y = scaled_dot_product_attention(x, -x, 0.5 * x, causal=true, mask=MASK)
    g = grad(sum(y * y), x)
    h = grad(sum(g * g), x)
    output hidden = sum(abs(y[0, 0, 0:3])) + sum(abs(y[1])) + sum(abs(g[1])) + sum(abs(h[1]))
    output seen = sum(y)
    output first = sum(abs(g))
    output second = sum(abs(h))
    output safe = sum(masked_softmax(log(bias)))
    output plain = sum(softmax(log(bias)))
}
E2
npy pad.npy i4 2 3 140
npy bias.npy f4 1 0
# hidden LENGTH MASK COUNT SEEN FIRST SECOND: COUNT of ops `attention` in each entry
hidden() {
    sed "s/LENGTH/$1/; s/LENGTH/$1/; s/MASK/$2/" hidden.dl > h.dl
    npy q.npy f4 "2x1x$1x8" 0.1 0.3 -0.2 0.7 0.5
    expect 0 "$dlc" h.dl --emit=attention
    checks=$((checks + 1))
    [ "$(grep -c "= attention " out.txt)" = $((2 * $3)) ] || bad "attention is not one op: $1, $2"
    for flags in "" "--skip-passes attention" "--skip-passes fuse,attention"; do
        near=1e-5 gives h.dl "hidden 0" "seen $4" "first $5" "second $6" "safe 0" "plain nan" \
            -- --input q=q.npy --input pad=pad.npy --input bias=bias.npy
    done
    flags=
}
hidden 140 keep 1 204.075 202.524 466.699
hidden 140 "where(keep, bias, -inf)" 0 204.075 202.524 466.699
hidden 6 keep 0 3.50526 3.69417 5.70812
hidden 6 "where(keep, bias, -inf)" 0 3.50526 3.69417 5.70812

# Indices are i32: an axis beyond is refused, when compiling where it is known and else by a run, and so are counts.
cp "$faults/argmax_long.dl" .
npy x.npy i1 4 0 0 1 0
gives argmax_long.dl "a 131072" "n 65536" -- --input x=x.npy
npy x.npy i1 40000 0
refuses "argmax_long.dl:5:16: the size of the axis of 'argmax' must be at most 2147483648" \
    "$dlrun" infer program.plan --input x=x.npy
# refused TEXT LINE…: the program of these lines does not compile.
refused() {
    local text=$1
    shift
    { printf 'model m(x: f32[1], z: f32[1, 1, 4]) {\n    e = z[0, 0:0]\n'; printf '    %s\n' "$@"; echo "}"; } > refused.dl
    refuses "$text" "$dlc" refused.dl -o refused.plan --quiet
}
long='b = {i -> i r=3000000000}(x)[0]'
refused "the size of the axis of 'argmin' must be at most 2147483648" "$long" 'output y = argmin(b)'
refused "the size of the axis of 'argsort' must be at most" "$long" 'output y = argsort(b)[0]'
refused "the size of the axis of 'topk' must be at most" "$long" 'output y = topk(b, 2).1'
refused "the number of bools that 'sum' counts must be at most 2147483647" "$long" 'output y = sum(b > 0)'
refused "the number of bools that 'cumsum' counts must be" "$long" 'output y = cumsum(b > 0)[0]'
refused "an axis that i32 indices count must be at most" 'output y = sum(iota(3000000000))'
refused "an axis that i8 indices count must be at most 128, not 200" 'output y = iota(200, dtype=i8)'
refused "an axis that i32 indices count must be at most" "$long" 'output y = sum(tril({r -> 1 r}(b)))'
refused "the length of a scan must be at most" "$long" 'scan v in b carry c = 0.0 {' '    c = c + v' '}' 'output c'
printf 'model m(x: i64[1]) {\n    output y = sum(iota(3000000000, dtype=i64) * 0 + x)\n}\n' > wide.dl
expect 0 "$dlc" wide.dl -o wide.plan --quiet

# A start beyond i32 is out of range, not what its low half says.
printf 'model m(x: f32[4], at: i64[1]) {\n    output y = slice(x, at[0], 2, 0)\n}\n' > start.dl
npy x.npy f4 4 1 2 3 4
npy at.npy i8 1 1
gives start.dl "y 2 3" -- --input x=x.npy --input at=at.npy
for at in 4294967297 -4294967295; do
    npy at.npy i8 1 $at
    refuses "start.dl:2" "$dlrun" infer program.plan --input x=x.npy --input at=at.npy
done

# What has no value over no elements, and kernels wider than what they go over: fixed and free.
refused "the size of the axis of 'argmax' must be at least 1, not 0" 'output y = argmax(e, axis=0)'
refused "the size of an axis of 'max' must be at least 1, not 0" 'output y = max(e, axis=0)'
refused "the size of an axis of 'min' must be at least 1, not 0" 'output y = min(e)'
refused "below 1" 'output y = max_pool1d(z, 5)'
refused "below 1" 'output y = conv(z, ones([1, 1, 5]))'
refused "below 1" 'output y = unfold(z, 2, 5)'
cat > free.dl <<'E2'
dim N in 0..9
dim W
model m(e: f32[N, 2], z: f32[1, 1, W]) {
    output y = YIELD
}
E2
# checked YIELD N W [TEXT]: a run with these sizes gives something, or is refused with TEXT.
checked() {
    sed "s/YIELD/$1/" free.dl > f.dl
    expect 0 "$dlc" f.dl -o f.plan --quiet
    npy e.npy f4 "$2x2" 1
    npy z.npy f4 "1x1x$3" 1
    if [ -n "${4:-}" ]; then
        refuses "$4" "$dlrun" infer f.plan --input e=e.npy --input z=z.npy
        says err.txt "f.dl:4:"
    else
        expect 0 "$dlrun" infer f.plan --input e=e.npy --input z=z.npy
    fi
}
for call in "argmax(e, axis=0)" "argmin(e, axis=0)" "max(e, axis=0)" "min(e)"; do
    checked "sum(cast($call, f32)) + sum(z)" 0 4 "must be at least 1"
    checked "sum(cast($call, f32)) + sum(z)" 1 4
done
for call in "conv(z, ones([1, 1, 3]))" "conv(z, ones([1, 1, 2]), dilation=2)" "max_pool1d(z, 3, stride=1)" \
    "avg_pool1d(z, 3)" "unfold(z, 2, 3)"; do
    checked "sum(e) + sum($call)" 1 2 "the kernel reaches beyond its input"
    checked "sum(e) + sum($call)" 1 3
done
checked "sum(e) + sum(pad(z[0, 0], [0, W - 3]))" 1 2 "is negative"
checked "sum(e) + sum(conv_transpose(z, ones([1, 1, 3]), padding=3))" 1 2 "would be empty"
checked "sum(e) + sum(conv_transpose(z, ones([1, 1, 3]), padding=3))" 1 5
checked "sum(e) + sum(z[:, :, 2:-1])" 1 2 "a slice ends before it starts"
checked "sum(cast(any(e > 2, axis=0), f32)) + sum(z)" 0 2

finish
