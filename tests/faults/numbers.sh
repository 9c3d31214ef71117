#!/usr/bin/env bash
# Values and derivatives at kinks, at infinities and over the whole range. tests/std/points.* is the whole table.
. "$(dirname "$0")/lib.sh"

# Smooth at 0, though the text has two branches there.
npy x.npy f4 2 0 -0.0
gives "$faults/elu0.dl" "g 1" -- --input x=x.npy
sed 's/elu(x)/celu(x, 2.0)/' "$faults/elu0.dl" > celu.dl
gives celu.dl "g 1" -- --input x=x.npy
sed 's/elu(x)/selu(x)/' "$faults/elu0.dl" > selu.dl
gives selu.dl "g 1.7580993408473766" -- --input x=x.npy

npy x.npy f4 3 -inf inf 0
gives "$faults/logaddexp.dl" "y -inf inf 0.6931471805599453" "g 1" -- --input x=x.npy

# Exponentials of both signs, to where they leave f32.
npy x.npy f4 5 -2 0 5 80 -100
gives "$faults/sinh_cosh_erfc.dl" "s -3.62686 0 74.2032 2.77031e34 -inf" "c 3.7622 1 74.21 2.77031e34 inf" \
    "e 1.99532 1 0 0 2" "g 3.7622 1 74.21 2.77031e34 inf" -- --input x=x.npy

# No direction at 0: the derivative there is 0.
npy x.npy f4 3 0
gives "$faults/norm0.dl" "y 0" "g 0" -- --input x=x.npy
sed 's/norm(x)/std(x)/' "$faults/norm0.dl" > std0.dl
gives std0.dl "y 0" "g 0" -- --input x=x.npy
sed 's/norm(x)/hypot(x, x)/' "$faults/norm0.dl" > hypot0.dl
gives hypot0.dl "y 0" "g 0" -- --input x=x.npy
sed 's/norm(x)/atan2(x, x)/' "$faults/norm0.dl" > atan0.dl
gives atan0.dl "y 0" "g 0" -- --input x=x.npy
for p in 1.0 2.0 3.0 0.5 inf; do
    sed "s/norm(x)/normalize(x, $p, eps=0.5)/" "$faults/norm0.dl" > normalize0.dl
    gives normalize0.dl "y 0" "g 2" -- --input x=x.npy
done
npy x.npy f4 2 3 -4
sed "s/norm(x)/normalize(x, inf)/" "$faults/norm0.dl" > normalize_inf.dl
gives normalize_inf.dl "y 0.75 -1" -- --input x=x.npy

# The whole range; quotients, because small numbers compare to an absolute bound.
cat > "range.dl" << 'END'
dim N
model m(x: f32[N], s: f32[N], c: f32[N], e: f32[N]) {
    output s = sinh(x) / s
    output c = cosh(x) / c
    output e = where(e == 0, erfc(x), erfc(x) / e)
    output g = grad(sum(sinh(x)), x) / c
}
END
npy x.npy f4 5 1e-6 1e-8 88.8 4 -89
npy s.npy f4 5 1e-6 1e-8 1.8378977e38 27.289917 -2.2448064e38
npy c.npy f4 5 1 1 1.8378977e38 27.308233 2.2448064e38
npy e.npy f4 5 0.9999988716 0.9999999887 0 1.5417257900e-8 2
gives range.dl "s 1" "c 1" "e 1 1 0 1 1" "g 1" -- --input x=x.npy --input s=s.npy --input c=c.npy --input e=e.npy

cat > hypot.dl << 'END'
dim N
model m(x: f32[N], y: f32[N], h: f32[N]) {
    r = hypot(x, y)
    output r = where(h == inf, r, r / h)
    output g = grad(sum(r), x)
    output a = grad(sum(atan2(x, y)), x) * where(h == inf, 1.0, h)
}
END
npy x.npy f4 4 1e20 1e-30 inf 3
npy y.npy f4 4 1e20 1e-30 nan 4
npy h.npy f4 4 1.41421356e20 1.41421356e-30 inf 5
gives hypot.dl "r 1 1 inf 1" "g 0.70710678 0.70710678 1 0.6" "a 0.70710678 0.70710678 0 0.8" -- --input x=x.npy --input y=y.npy --input h=h.npy

# As NumPy divides and rounds.
cat > division.dl << 'END'
dim N
model m(x: f64[N], y: f64[N]) {
    output m = x % y
    output f = floordiv(x, y)
    output c = cdiv(x, y)
    output m32 = cast(x, f32) % cast(y, f32)
    output f32 = floordiv(cast(x, f32), cast(y, f32))
    output k = floordiv(6.0, 0.1) + 0.0 * y
}
END
npy x.npy f8 9 6 5 -5 5 -5 inf 1 -1 0
npy y.npy f8 9 0.1 inf inf -inf -inf 2 0 0 0
gives division.dl "m 0.0999999999 5 inf -inf -5 nan nan nan nan" "f 59 0 -1 -1 0 nan inf -inf nan" \
    "c 60 1 0 0 1 nan inf -inf nan" "m32 0.0999999 5 inf -inf -5 nan nan nan nan" "f32 59 0 -1 -1 0 nan inf -inf nan" -- --input x=x.npy --input y=y.npy
cat > whole.dl << 'END'
dim N
model m(x: i32[N], y: i32[N]) {
    output m = x % y
    output f = floordiv(x, y)
}
END
npy x.npy i4 6 -7 7 -7 5 -2147483648 -1
npy y.npy i4 6 2 -2 -2 0 -1 2147483647
gives whole.dl "m 1 -1 -1 0 0 2147483646" "f -4 -4 3 0 -2147483648 -1" -- --input x=x.npy --input y=y.npy

# Powers of 0 with an infinite derivative of one sign.
cat > power.dl << 'END'
dim N
model m(x: f32[N]) {
    output a = grad(sum(x ** -1), x)
    output b = grad(sum(x ** -2), x)
    output c = grad(sum(x ** -4), x)
    output s = grad(sum(grad(sum(x ** -2), x)), x)
}
END
npy x.npy f4 3 0 -0.0 2
gives power.dl "a -inf -inf -0.25" "b -inf inf -0.25" "c -inf inf -0.125" "s inf inf 0.375" -- --input x=x.npy

# Layers and losses at the ends of their parameters.
cat > ends.dl << 'END'
dim N
model m(x: f32[N], y: f32[N]) {
    param w: [1] = ones
    output d = grad(sum(dropout(w * x, 1.0)), x)
    output s = smooth_l1(x, y, 0.0)
    output g = grad(smooth_l1(x, y, 0.0), x)
    output h = hardshrink(x) + softshrink(x) + threshold(x, 0.0, 0.0)
    output m = multi_margin(unsqueeze(x, 0), zeros([1], dtype=i32), -0.5)
    loss sum(dropout(w * x, 1.0))
}
END
npy x.npy f4 4 nan 1 2 4
npy y.npy f4 4 0 1 0 1
gives ends.dl "h nan 2.5 5.5 11.5" -- --input x=x.npy --input y=y.npy
npy x.npy f4 4 3 1 2 4
gives ends.dl "d 1" "s 2" "g 0.25 0 0.25 0.25" "m 0.125" -- --input x=x.npy --input y=y.npy
cat > dropout.dl << 'END'
dim B
model m(x: f32[B, 3]) {
    param w: [3] = ones
    y = dropout(w * x, 1.0)
    loss sum(y) + sum(grad(sum(y), x)) + sum(dropout_channels(w * x, 1.0)) + sum(drop_path(w * x, 1.0))
}
train m {
    optimizer sgd(lr=1.0)
    batch 2
}
END
npy x.npy f4 2x3 1 2 3 4 5 6
python3 - << 'END'
import zipfile
with zipfile.ZipFile("x.npz", "w") as file:
    file.write("x.npy")
END
expect 0 "$dlc" dropout.dl -o dropout.plan --quiet
expect 0 "$dlrun" train dropout.plan --data train=x.npz --steps 1 --save w.safetensors

# Long sums: a float has 24 bits, and a running sum in them stops growing.
cat > long.dl << 'END'
dim N
model m(v: f32[1], n: i8[N]) {
    x = v + cast(n, f32)
    output c = cumsum(x)[-1]
    output r = grad(sum(cumsum(x)), x)[0]
    output k = max(cumsum(unsqueeze(x, 1), axis=0))
    output s = sum(x)
    output m = mean(x)
    output t = sum(unsqueeze(x, 1) * iota(3, dtype=f32), axis=0)
}
END
npy v.npy f4 1 0.1
npy n.npy i1 3000000 0
for threads in 1 2; do
    near=1e-5 gives long.dl "c 300000.00447" "r 3000000" "k 300000.00447" "s 300000.00447" "m 0.1" "t 0 300000 600000" -- \
        --input v=v.npy --input n=n.npy --threads $threads
done

# One order of numbers: nan is the greatest in each way to ask for it.
for flags in "" "--skip-passes fuse" "--target cpu:x86-64-v2"; do
    orders_nan
done
flags=

finish
