#!/usr/bin/env bash
# What names mean, what a line is, and what is written in a file: nothing is dropped or taken for something else.
. "$(dirname "$0")/lib.sh"

# An importer never changes what an imported file means.
expect 0 "$dlc" "$faults/same_name/samename.dl" --emit=ir
says out.txt '"a.fc.weight"' '"a.out.bias"'
cat > base.dl << 'END'
import "lib.dl"
dim T in 1..8
fn scale(x) { return x * 3.0 }
END
cat > lib.dl << 'END'
import "base.dl"
const width = 8
dim T in 1..width
fn act(x: float[...]) { return relu(x) * scale(1.0) }
optimizer mine(lr = 0.1) { param <- param - lr * grad }
model inner(x: f32[T, 2]) { output act(x) }
END
cat > root.dl << 'END'
import "lib.dl"
const width = 2
fn scale(x) { return x * 100.0 }
fn relu(x: float[...]) { return x - 1000.0 }
model q(x: f32[T, width]) { output x |> act }
END
npy x.npy f4 2x2 1
gives root.dl "output 3" -- --input x=x.npy
expect 0 "$dlc" check root.dl -D T=4
echo 'fn act(x) { return x }' > other.dl
sed -i '1i import "other.dl"' root.dl
refuses E0214 "$dlc" check root.dl
says err.txt "lib.dl:4:4" "other.dl:1:4"
echo 'fn act(x) { return x }' >> root.dl
expect 0 "$dlc" check root.dl
sed -i 's/1\.\.8/1..9/' base.dl
refuses E0203 "$dlc" check root.dl
sed -i 's/1\.\.9/1..8/' base.dl

# A model of an imported file is not the program's: the message says which file has it.
echo 'import "lib.dl"' > none.dl
refuses E0601 "$dlc" none.dl -o none.plan
says err.txt "lib.dl:6:7" "compile 'lib.dl' itself"

# statement LINE…: a model around these lines.
statement() {
    printf 'dim B\nfn seen(x: float[B, C]) {\n    state n: [] = 0.0\n    n <- n + 1.0\n    return x\n}\n' > line.dl
    printf 'model m(x: f32[B, 4], y: f32[B, 4]) {\n' >> line.dl
    printf '%s\n' "$@" >> line.dl
    printf '    output x\n}\n' >> line.dl
}
lost() {
    statement "${@:2}"
    refuses E0334 "$dlc" check line.dl
    says err.txt "$1"
}
lost "put the operator at the end of the line before" "    a = x" "      - y"
lost 'put the `(` at the end of the line before' "    a = relu" "      (x)"
lost 'put the `[` at the end of the line before' "    a = x" "      [0]"
lost 'put the `(` at the end of the line before' "    a = x" "    (x) |> relu"
lost "bind it" "    x + y"
lost "bind it" "    x"
lost "bind it" "    relu(x)"
statement "    a = x -" "        y" "    seen(a)"
expect 0 "$dlc" check line.dl
says err.txt W0905

# `/` of integers where a float is wanted: never 0 without a word.
fraction() {
    printf 'dim B\nmodel m(x: f32[B, 4], y: f32[B, 4]) {\n    p = x |> linear(4)\n    output p\n    %s\n    loss mse(p, y)\n}\n' "$1" > float.dl
    printf 'train m {\n    optimizer %s\n    batch 4\n    %s\n}\n' "${2:-sgd()}" "${3:-}" >> float.dl
}
for case in "output a = x * (1 / 2)" "output a = x ** (1 / 2)" "output a = dropout(x, 1 / 3)" "output a = x * sqrt(1 / 2)" \
    "output a = x * [1 / 2, 0.5, 0.1, 1.0]" "output a = 0.5 * (2 * (1 / 4)) * x" "output a = clip(x, 0, -(1 / 2))"; do
    fraction "$case"
    refuses E0335 "$dlc" check float.dl
done
fraction "" "sgd(lr=1 / 10)"
refuses "1.0 / 10" "$dlc" check float.dl
fraction "" "sgd()" "clip_norm 1 / 2"
refuses E0335 "$dlc" check float.dl
fraction "" "sgd()" "ema 9 / 10"
refuses E0335 "$dlc" check float.dl
fraction "output a = x * (4 / 2) + zeros([9 / 2])[0] + zeros([floordiv(5, 2)])[1] * floordiv(3, 2)" "sgd(lr=10 / 10)"
expect 0 "$dlc" check float.dl

# Settings known when compiling say so; a mesh that changes nothing gets a note; figures name their sizes.
fraction "" "sgd(lr=cosine(0.1, total=steps))" "clip_norm cosine(1.0, total=steps)"
refuses "only the arguments of an optimizer" "$dlc" check float.dl
cat > sizes.dl << 'END'
dim B
dim T in 1..128
dim H % 8 in 8..1000000
dim W = 24
mesh data=2
model m(x: f32[B, T, H, W], y: f32[B, 1]) {
    p = mean(x, axis=[1, 2]) |> linear(1) as l
    output p
    loss mse(p, y)
}
train m {
    optimizer sgd()
    batch 4
}
END
expect 0 "$dlc" sizes.dl -o sizes.plan
says out.txt "figures for B = 4, T = 128, H = 64, W = 24" "mesh data=2: noted; this plan is for one device"

# What is asked of several devices and is not there is refused by name; a mesh of one device is one device.
cp sizes.plan one.plan
refuses "the axis pipe=* is not built yet" "$dlc" sizes.dl --mesh 'pp=*'
refuses "did you mean 'data'? (axes are replica, data (dp), model (tensor, tp), pipe (pp)" "$dlc" sizes.dl --mesh date=2
refuses "expected '=', found the end" "$dlc" sizes.dl --mesh data
refuses "a ZeRO level is 0 to 3" "$dlc" sizes.dl --mesh data=2 --zero 4
refuses 'sequence is "auto", "on" or "off", not "yes"' "$dlc" sizes.dl --mesh model=2 --sequence yes
refuses 'the schedule "1f1b" is not built yet' "$dlc" sizes.dl --mesh data=2 --schedule 1f1b
refuses "a pipe in micro-batches is not built yet" "$dlc" sizes.dl --mesh data=2 --microbatches 4
refuses "name the mesh too" "$dlc" sizes.dl --zero 1
refuses "name the mesh too" "$dlc" sizes.dl --schedule 1f1b
refuses "name the mesh too" "$dlc" sizes.dl --sequence on
refuses "there is no 'cuts' in a mesh block" "$dlc" sizes.dl --mesh 'data=2 { cuts "a" }'
expect 0 "$dlc" sizes.dl --mesh data=1,model=1 --zero 0 -o ones.plan --quiet
same one.plan ones.plan
# One rank's program is there; the layout is told as a block that a program may have.
expect 0 "$dlc" sizes.dl --mesh program --emit=shard --explain
says out.txt "mesh data = 2" "has no_grad_ops, sharded" "mesh data=2"
# A plan for several devices says so, with its layout, and has the program's name.
expect 0 "$dlc" sizes.dl --mesh 'data=*' -o ranks.plan
says out.txt "mesh data=*"
! grep -q "noted" out.txt || bad "a plan for several devices is called one of one"
expect 0 "$dlc" sizes.dl --mesh 'data=*,model=1 { shard (model, _) for "l.weight" }' --emit=shard --explain
says out.txt "mesh data = *" 'mesh data=*, model=1 {' '    shard (model, _) for "l.weight"'
sed 's/^mesh data=2/mesh data=2, model=2 { shard (data, model) for "l"; shard (model, _) for "l.weight" }/' sizes.dl > hints.dl
expect 0 "$dlc" hints.dl --mesh 'data=*' --emit=shard --explain
says out.txt 'mesh data=* {' '    shard (data, _) for "l"' '    shard (_, _) for "l.weight"'
# A program is the same program under other hints, for its checkpoints: and so are its kernels.
expect 0 "$dlc" hints.dl -o hints.plan --quiet
program() { "$dlrun" inspect "$1" --json | grep -o '"program": "[^"]*"'; }
[ -n "$(program one.plan)" ] && [ "$(program one.plan)" = "$(program ranks.plan)" ] || bad "a mesh changes the program's name"
[ "$(program one.plan)" = "$(program hints.plan)" ] || bad "hints change the program's name"
"$dlc" sizes.dl --emit=fuse | grep -v 'setting mesh' > one.ir
"$dlc" hints.dl --emit=fuse | grep -v 'setting mesh' > hints.ir
same one.ir hints.ir
expect 0 "$dlc" sizes.dl -o sizes.plan --json
says out.txt '"sizes": {"B": 4, "T": 128, "H": 64, "W": 24}'
# The same sizes wherever figures are: inspect and bench, and with what is bound.
expect 0 "$dlrun" inspect sizes.plan
says out.txt "dim B: from 1; figures for 4" "dim T: from 1 to 128; figures for 128" "a multiple of 8; figures for 64"
expect 0 "$dlrun" inspect sizes.plan -D T=5
says out.txt "dim T: from 1 to 128; figures for 5"
expect 0 "$dlrun" bench sizes.plan --repeats 1 --warmup 1 -D H=16
says out.txt "sizes      B = 4, T = 128, H = 16, W = 24"
# A dim bounded by itself, straight or round about; one that stands further down, where -D gives its value.
for lines in 'dim H % H' 'dim H in 1..H' 'dim H in H..9' 'dim H = H' 'dim H % G;dim G % H' 'const c = H;dim H in 1..c' \
    'dim H in 1..f(2);fn f(n) { return H }'; do
    printf '%s\nmodel m(x: f32[H]) { output x }\n' "${lines//;/$'\n'}" > round.dl
    refuses "the value of 'H' depends on itself" "$dlc" check round.dl
done
printf 'dim H in 1..G\ndim G\nmodel m(x: f32[H]) { output x }\n' > later.dl
refuses "the upper bound must be known when compiling" "$dlc" check later.dl
expect 0 "$dlc" check later.dl -D G=7
refuses "it is in 1..7" "$dlc" check later.dl -D G=7 -D H=8
finish
