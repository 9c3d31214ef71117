#!/usr/bin/env bash
# No text crashes, hangs or exhausts the machine: every bound has a name and is met soon, in little memory and on a
# small stack.
. "$(dirname "$0")/lib.sh"
small_stack=${SMALL_STACK:?}
export DLC_CPU_CACHE= # the bounds are those of making code

# limited SECONDS COMMAND…: of a processor, and in $kib of memory; not under sanitizers, which take more of both. A program,
# for timeout to start.
export kib=unlimited
cat > limited <<'EOF'
#!/bin/bash
[ -n "${DLC_SANITIZED:-}" ] || ulimit -t "$1" -d "$kib"
shift
exec "$@"
EOF
chmod +x limited
PATH=$PWD:$PATH

# soon TEXT COMMAND…: refused with this text, in 200 MB and 10 seconds of a busy processor (one of a quiet one).
soon() {
    local text=$1
    shift
    kib=200000 refuses "$text" limited 10 "$@"
}
# text PYTHON: a program made by an expression.
text() {
    python3 -c "print($1)" > text.dl || bad "text $1"
}

# -- Calls, texts, lists, loops, files
sed 's/f(60)/f(30)/' "$faults/fn_exp_noop.dl" > calls.dl
soon "more than 100,000 calls" "$dlc" check calls.dl
soon "more than 100,000 calls" "$dlc" check "$faults/fn_exp_noop.dl"
soon "a string is longer than 65,536 bytes" "$dlc" check "$faults/str_dbl.dl"
text "'model m(x: f32[2]) {\n t = \"' + 'a' * 60000 + '\"\n for i in 0..50000 { u = \"{t}{i}\" }\n output x }'"
soon "more than 16 MiB in all" "$dlc" check text.dl
text "'model m(x: f32[2]) {\n a = [1]\n for i in 0..50000 { a = a + [i] }\n output x * a[3] }'"
soon "more than 2,000,000 elements in all" "$dlc" check text.dl
text "'model m(x: f32[2]) {\n' + ' a = spread(1, 1000000)\n' * 30 + ' output x * a[3] }'"
soon "more than 2,000,000 elements in all" "$dlc" check text.dl
text "'model m(x: f32[2]) {\n a = spread(1, 1000000)\n' + ' b = a[0:999999]\n' * 30 + ' output x * b[3] }'"
soon "more than 2,000,000 elements in all" "$dlc" check text.dl
text "'model m(x: f32[2]) {\n y = sum(sin(x))\n' + ' g = grad(y, x)\n y = sum(g * g * sin(x))\n' * 40 + ' output y }'"
soon "with this derivative there are more than 300000 operations" "$dlc" text.dl -o text.plan
text "'const a = [' + ', '.join(map(str, range(1000000))) + ']\nmodel m(x: f32[2]) { output x * a[3] }'"
soon "more than 500,000 expressions" "$dlc" check text.dl
text "'model m(x: f32[4]) {\n' + '\n'.join(' output q%d = zz%d' % (i, i) for i in range(50000)) + '\n}'"
soon "unknown name 'zz0'" "$dlc" check text.dl
for n in 10000 100000; do
    text "'const a = [' + ', '.join(map(str, range($n))) + ']\nmodel m(x: f32[2]) { output x * a[3] }'"
    expect 0 limited 10 "$dlc" check text.dl
done
text "'fn f(x: f32[2], n: int) { if n == 0 { return x }\n scan i in iota(2) carry h = x { h = f(h, n - 1); yield h } -> ys\n return h }\nmodel m(x: f32[2]) { output f(x, 40) }'"
soon "nest more than 16 deep" "$dlc" text.dl -o text.plan
echo 'import "/dev/zero"' > zero.dl
soon "no regular file" "$dlc" check zero.dl
soon "no regular file" "$dlc" check -I /dev zero.dl
mkfifo pipe.dl
echo 'import "pipe.dl"' > piped.dl
soon "no regular file" "$dlc" check piped.dl
soon "larger than 16 MiB" "$dlc" check /dev/zero
soon "larger than 16 MiB" "$dlc" fmt /dev/zero
expect 0 "$dlc" "$faults/small.dl" -o small.plan --quiet
for command in "inspect /dev/zero" "infer /dev/zero" "infer small.plan --weights /dev/zero" "infer small.plan --input x=/dev/zero" \
    "train small.plan --data train=/dev/zero"; do
    # shellcheck disable=SC2086
    soon "larger than 64 MiB" "$dlrun" $command
done
soon "larger than 64 MiB" "$dlc" --from-ir /dev/zero
for k in 0 1; do echo "import \"ring$((1 - k)).dl\"" > ring$k.dl; done
echo 'model m(x: f32[2]) { output x }' >> ring0.dl
expect 0 "$dlc" check ring0.dl

# -- Linear in what is written
text "'model m(x: f32[2]) { check true, \"' + '{1}' * 20000 + '\"\n output x }'"
expect 0 limited 10 "$dlc" check text.dl
text "'model m(x: f32[2]) { ' + ''.join(f'x{i} = x\n' for i in range(40000)) + ' output x39999 }'"
expect 0 limited 5 "$dlc" check text.dl
text "'model m(' + ', '.join(f'x{i}: f32[2]' for i in range(5000)) + ') { output x0 }'"
expect 0 limited 10 "$dlc" check text.dl
text "'fn f(' + ', '.join(f'x{i}: int' for i in range(5000)) + ') { return x0 }\nmodel m(x: f32[2]) { output x * f(' + ', '.join(f'x{i}=1' for i in range(5000)) + ') }'"
expect 0 limited 10 "$dlc" check text.dl

# -- IR whose ways back double with each level, or are very long (deep.py): none is followed way by way
for levels in "pads 200" "shapes 60" "epilogue 31" "epilogue 2000" "views 20000" "joined 200" "chain 2000" "maps 20000"; do
    # shellcheck disable=SC2086
    python3 "$faults/deep.py" $levels > deep.ir || bad "deep.py $levels"
    expect 0 limited 10 "$dlc" --from-ir deep.ir -o deep.plan \
        --target cpu:x86-64-v2 --quiet
done
cat > mask.dl <<'EOF'
model m(q: f32[2, 4, 256, 32], k: f32[2, 4, 256, 32], v: f32[2, 4, 256, 32]) {
    i = unsqueeze(iota(256), 1)
    j = unsqueeze(iota(256), 0)
    for n in 0..30 { i = i + i }
    output scaled_dot_product_attention(q, k, v, mask=j <= i)
}
EOF
expect 0 limited 10 "$dlc" mask.dl -o mask.plan --quiet

# -- Long messages are cut
text "'model m(x: f32[2]) { output ' + 'y' * 100000 + ' + ' + 'z' * 100000 + ' }'"
soon E0201 "$dlc" check text.dl
checks=$((checks + 1))
[ "$(wc -c < err.txt)" -lt 10000 ] || bad "a diagnostic of $(wc -c < err.txt) bytes"

# -- The stack there is
for room in 256 512 8192; do
    refuses "limit reached" "$small_stack" $room "$faults/fn_exp_noop.dl"
    text "''.join(f'const a{i} = a{i + 1} + 1\n' for i in range(5000)) + 'const a5000 = 1\nmodel m(x: f32[2]) { output x * a0 }'"
    refuses "too deeply" "$small_stack" $room text.dl
    text "'fn f(x, n: int) { if n == 0 { return x }\n return f(x + 1.0, n - 1) ' + '+ 1.0' * 500 + ' }\nmodel m(x: f32[2]) { output f(x, 250) }'"
    refuses "too deeply" "$small_stack" $room text.dl
    text "'model m(x: f32[2]) { output ' + '(' * 100000 + 'x' + ')' * 100000 + ' }'"
    refuses "E0108" "$small_stack" $room text.dl
done
[ -n "${DLC_SANITIZED:-}" ] || expect 0 "$small_stack" 8192 "$faults/cc.dl"
refuses "the stack of the thread" "$small_stack" 256 "$faults/cc.dl"
text "'model m(x: f32[2]) { output x' + ' + x' * 1000 + ' }'"
[ -n "${DLC_SANITIZED:-}" ] || expect 0 "$small_stack" "${STACK_OF_A_THOUSAND:-512}" text.dl

# -- Sizes near 2^63
refuses "a nominal value is at most 2^40" "$dlc" "$faults/dim_nom_c.dl" -o dim.plan
# refused or compiled, never killed
number() {
    checks=$((checks + 1))
    echo "$1" > number.dl
    timeout 60 "$dlc" number.dl -o number.plan > out.txt 2> err.txt
    [ $? -le 1 ] || bad "status $? for: $1"
}
least=-9223372036854775807
for op in '/ -1' '% -1' '/ 1' '* -1' '- 2' '** 3' '% 0' '/ 0'; do
    number "const low = $least - 1, n = low $op
model m(x: f32[2]) { output x }"
done
for f in abs floordiv cdiv mod max min; do
    arguments="low, -1"
    [ $f != abs ] || arguments="low"
    number "const low = $least - 1
model m(x: f32[2]) { output x + 0.0 * $f($arguments) }"
done
for n in 9223372036854775807 4611686018427387904 1152921504606846976 4294967296 1099511627776; do
    number "dim B in 1..$n
model m(x: f32[B, B]) { output x @ x }"
    number "dim B in $n..
model m(x: f32[B, B]) { output x @ x }"
    number "dim B = 1099511627776
dim C in 1..$n = 1099511627776
model m(x: f32[B, C], y: f32[C, B]) { output x @ y @ x; output s = {i j, k l -> i j k l}(x, y) |> sum }"
    number "model m(x: f32[$n]) { output s = sum({i -> i j=$n}(x)) }"
    number "model m(x: f32[2]) { output x + zeros([$n])[0] + sum(ones([$n, 8])) }"
done

# -- Budgets, and where imports may come from
text "'model m(x: f32[2]) { for i in 0..60000 { x = x * 1.5 + tanh(x) }\n output x }'"
refuses "the time that the compile was given (compile_seconds) is over" "$dlc" text.dl -o text.plan --compile-seconds 1
refuses "the memory that the compile was given (compile_bytes) is used up" "$dlc" check text.dl --compile-bytes 20000000
mkdir -p project/models library
echo 'fn twice(x) { return 2.0 * x }' > library/lib.dl
cp library/lib.dl project/models/near.dl
ln -s ../library/lib.dl project/link.dl
use() {
    printf 'import "%s"\nmodel m(x: f32[2]) { output twice(x) }\n' "$1" > project/main.dl
}
use models/near.dl
expect 0 "$dlc" check project/main.dl
for path in ../library/lib.dl link.dl "$work/library/lib.dl" models/../../library/lib.dl; do
    use "$path"
    refuses "allow another folder with -I" "$dlc" check project/main.dl
    expect 0 "$dlc" check project/main.dl -I library
done

# -- Bytes that are no text
for file in nul3 u9; do
    refuses E0103 "$dlc" check "$faults/$file.dl"
    cp "$faults/$file.dl" copy.dl
    refuses E0103 "$dlc" fmt -w copy.dl
    same copy.dl "$faults/$file.dl"
done
says err.txt "3:26"
for bytes in '\xc0\x80' '\xed\xa0\x80' '\xf4\x90\x80\x80' '\xe2\x82' '\x80' '\xf8\x88\x80\x80\x80' '\x00'; do
    for around in '# a %b b' 'model m(x: f32[2]) { output x as "a%b" }' 'a %b b'; do
        printf "$(printf '%s' "$around" | sed "s/%b/\\$bytes/")\n" > bytes.dl
        refuses E0103 "$dlc" check bytes.dl
    done
done
printf '# caf\xc3\xa9 \xf0\x9f\x99\x82\nmodel m(x: f32[2]) {\n    output x\n}\n' > bytes.dl
expect 0 "$dlc" fmt bytes.dl
same out.txt bytes.dl

# -- A cache may live in an entry alone
cat > cache.dl << 'END'
dim B
model m(x: f32[B, 2]) {
    output x |> linear(2) as l
}
entry count(x: f32[2]) {
    cache seen: [2] = zeros
    seen <- seen + x
    output seen
}
END
expect 0 "$dlc" cache.dl -o cache.plan
expect 0 "$dlc" check "$faults/cache_in_entry.dl"

# -- What the tool says of options and codes
refuses "f32 or f64, not 'banana'" "$dlc" cache.dl -o cache.plan --float banana
sed -n 's/^DIAG("\([EW][0-9]*\)".*/\1/p' "$root/ir/base/diag.def" > codes.txt
expect 0 xargs -P 4 -n 1 "$dlc" --what < codes.txt
checks=$((checks + 2))
[ "$(grep -c '^[EW][0-9]*: ' out.txt)" = "$(wc -l < codes.txt)" ] || bad "--what does not explain every code"
! grep '%[a-z.*]' out.txt || bad "--what prints a raw format"

# -- Sizes near 2^63 are rounded to no negative ones
text "'dim B % 8 in 9223372036854775801..9223372036854775807\nmodel m(x: f32[B]) { output x * 2.0 }'"
soon "they hold no multiple of 8" "$dlc" check text.dl
text "'dim B % 8\nmodel m(x: f32[B, 3]) {\n h = x |> linear(3) as a\n output h\n loss mean(h)\n}\ntrain m { optimizer sgd(lr=0.1); batch 9223372036854775807; epochs 1 }'"
expect 0 "$dlc" text.dl -o text.plan
says out.txt "figures for B = 9223372036854775800"
soon "beyond 64 bits, where B = 9223372036854775800" "$dlrun" bench text.plan --entry infer
finish
