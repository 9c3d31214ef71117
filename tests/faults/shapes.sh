#!/usr/bin/env bash
# Shapes that only look alike: [B, 1] against [B] is never averaged as a B x B table.
. "$(dirname "$0")/lib.sh"

# The row that was found: both shapes and both places are named, and the fix.
refuses "argument 'target' is f32[B]" "$dlc" check "$faults/mse_broadcast.dl"
says err.txt "[B, 1]" "mse_broadcast.dl:3:14" "mse_broadcast.dl:2:24" "squeeze(p, axis=1)"

# model DECLARATION…: a program around statements on p [B, 1], y [B] and labels [B, 1].
model() {
    {
        echo "dim B"
        cat
        echo "model m(x: f32[B, 16], y: f32[B], label: i32[B, 1], w: f32[1]) {"
        echo "    p = x |> linear(1) as l"
        echo "    output p"
        printf '    %s\n' "$@"
        echo "}"
    } > model.dl
}
wrong() {
    model "${@:2}" < /dev/null
    refuses "$1" "$dlc" check model.dl
}
right() {
    model "$@" < /dev/null
    expect 0 "$dlc" check model.dl
}

for loss in l1 huber smooth_l1 log_cosh hinge soft_margin binary_cross_entropy binary_cross_entropy_with_logits \
    poisson_nll focal kl_div dice; do
    wrong E0428 "loss $loss(p, y)"
    right "loss $loss(p, unsqueeze(y, axis=1))"
done
wrong E0428 "loss cross_entropy(x, label)"
wrong E0405 "loss cross_entropy(x, squeeze(label, axis=1), weight=w)"
wrong E0428 "loss gaussian_nll(p, unsqueeze(y, axis=1), y * y)"
wrong E0428 "loss margin_ranking(p, p, y)"
right "loss mse(p, 0.0)" "metric m = l1(1.0, p)"

wrong E0429 "metric a = mean(argmax(x, axis=-1) == label)"
wrong E0429 "metric a = mean((p > 0.5) == (y > 0.5))"
wrong E0429 "metric a = sum(where(p < y, 1.0, 0.0)) over B"
wrong E0429 "loss mean(p) + 1.0 - mean(cast(p > y, f32))"
wrong E0429 "metric a = mean(1.0 - cast(p == y, f32))"
wrong E0429 "metric a = mean(cast(p == y, f32) / 2.0)"
wrong E0429 "metric a = sum((p > 0.5) and (y > 0.5)) over B"
wrong E0429 "metric a = mean(logical_or(p > 0.5, y > 0.5))"
right "metric a = mean(argmax(x, axis=-1) == squeeze(label, axis=1))"
right "metric a = mean({b -> b 1}(y) <= {b -> 1 b}(y))" "metric b = mean(x >= max(x, axis=-1, keepdims=true))"
right "metric a = mean(x > w)" "metric c = mean(where({b -> b 1}(iota(B)) <= iota(B), p, 0.0))"
for averaged in "mean((p - y) ** 2)" "mean(abs(p - y) / y)" "2.0 * sum(p * y) / sum(p)"; do
    right "loss $averaged"
    says err.txt W0909
done

# A user's functions: one name is one list of axes, two names are two.
model "output s = near(p, y)" << 'END'
fn near(a: float[...], b: float[...]) { return a - b }
END
refuses "'b' is f32[B]" "$dlc" check model.dl
model "output s = near(p, y)" << 'END'
fn near(a: float[...a], b: float[...b]) -> float[...] { return a - b }
END
expect 0 "$dlc" check model.dl
model "output s = first(x, y)" << 'END'
fn first(a: float[..., C], b: float[...]) -> float[...] { return mean(a) + zeros([3, 1]) }
END
refuses "the result of 'first'" "$dlc" check model.dl

echo 'fn near(a: float[... a,C], b: float[ ...b]) -> float[...a] { return a }' > fmt.dl
expect 0 "$dlc" fmt fmt.dl
says out.txt 'fn near(a: float[...a, C], b: float[...b]) -> float[...a]'

# Sizes that may be equal are compared when the plan runs.
cat > run.dl << 'END'
dim N
dim M
model m(x: f32[N, 2], y: f32[M, 2]) { output s = mse(x, y) }
END
npy x.npy f4 3x2 1
npy y.npy f4 3x2 3
npy z.npy f4 4x2 3
gives run.dl "s 4" -- --input x=x.npy --input y=y.npy
refuses "axis 0 of argument 'target'" "$dlrun" infer program.plan --input x=x.npy --input y=z.npy

# A size that turns out below 0: the line, the size and the dims, wherever a size is written.
below() {
    printf 'dim B\ndim T\nmodel m(x: f32[B, T]) {\n    %s\n    output z\n    output x\n}\n' "$2" > below.dl
    expect 0 "$dlc" below.dl -o below.plan --quiet
    refuses "$1" "$dlrun" infer below.plan --input x=one.npy
    says err.txt "where T = 1" "${3:-where}"
    expect 0 "$dlrun" infer below.plan --input x=nine.npy
}
npy one.npy f4 2x1 1
npy nine.npy f4 2x9 1
for shape in "zeros([T - 5, 2])" "ones([T - 5, 2])" "full([T - 5, 2], 0.5)" "uniform([T - 5, 2])" "normal([T - 5])" "bernoulli([T - 5])" \
    "expand(sum(x), [T - 5])" "ones_like(zeros([T - 5]))" "reshape(zeros([2 * T - 10]), [T - 5, 2])"; do
    below "below.dl:4:" "z = $shape" "negative: 0 is above "
done
below "below.dl:4:21: a part of 'split' is negative: 0 is above T - 2 (-1 and 0)" "z, w = split(x, [2, T - 2], axis=1)"
below "below.dl:4:13: the size of an axis is negative: 0 is above T - 5 (-4 and 0)" "z = {-> t=(T - 5)}(sum(x))"
below "'linear.weight' is f32[T - 5, T]: its axis 0 would be -4" "z = linear(x, T - 5)"
below "'s' is f32[T - 5]: its axis 0 would be -4" "state s: [T - 5] = zeros; z = s"
finish
