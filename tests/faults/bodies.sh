#!/usr/bin/env bash
# Bodies of functions that nobody calls are checked: what fails whatever the arguments are fails there. What some
# argument makes right passes.
. "$(dirname "$0")/lib.sh"

model='
dim B
model m(x: f32[B, 4]) {
    output x
}'

# fault CODE LINE:COLUMN DECLARATIONS: refused there, in the root file and in an imported one, called by nobody or by a
# function that nobody calls.
fault() {
    printf '%s\n%s\n' "$3" "$model" > fault.dl
    refuses "fault.dl:$2: error[$1]" "$dlc" check fault.dl
    refuses "error[$1]" "$dlc" fault.dl -o fault.plan
    printf '%s\n' "$3" > own.dl
    printf 'import "own.dl"\n%s\n' "$model" > root.dl
    refuses "own.dl:$2: error[$1]" "$dlc" check root.dl
    printf '%s\n' "$3" > alone.dl # a file of functions alone, as an editor has it open
    refuses "alone.dl:$2: error[$1]" "$dlc" check alone.dl
}
# help TEXT: what the last refusal says besides.
help() {
    says err.txt "$1"
}

# Names.
fault E0201 1:41 'fn f(x: float[B, C]) { return x * 2.0 + hiden }'
fault E0201 2:16 'fn f(x: float[B, C], hidden: int) {
    return x * hiden
}'
help "did you mean 'hidden'?"
fault E0201 2:9 'fn f(x: float[B, C]) {
    y = h + x
    h = x
    return y
}'
fault E0201 5:12 'fn f(x: float[B, C], deep: bool) {
    if deep {
        h = x
    }
    return h
}'
fault E0201 3:17 'fn f(x: float[B, C], n: int) {
    for i in 0..n {
        x = x * k
    }
    return x
}'
fault E0201 3:21 'fn f(x: float[B, C]) {
    scan a in x carry h = 0.0 {
        h = h + a * w
        yield h
    } -> hs
    return hs
}'
fault E0201 2:23 'fn f(x: float[B, C]) {
    param weight: [C, width] = zeros
    return x @ weight
}'
fault E0201 1:34 'fn f(x: float[B, C]) -> float[B, D] { return x }'
fault E0201 1:31 'fn f(x: float[B, C], n: int = m) { return x * n }'
fault E0201 2:22 'fn f(x: float[B, C]) {
    return linear(x, n) as "a{i}"
}'
fault E0202 1:36 'fn f(x: float[B, C]) { return x |> rleu }'
help "did you mean 'relu'?"
fault E0202 2:30 'fn f(x: float[B, C]) {
    return linear(x, 4, init=nomal(0.0, 1.0))
}'
fault E0207 1:31 'fn f(x: float[B, C]) { return x(1) }'
fault E0212 3:16 'fn f(x: float[B, C]) {
    y = linear(x, 4) as first
    return y * frist.weight
}'
help "did you mean 'first'?"
fault E0213 1:9 'fn f(x: f31[B, C]) { return x }'
fault E0213 2:14 'fn f(x: float[B, C]) {
    state s: f23[C] = zeros
    return x
}'
fault E0115 1:2 '@kept fn f(x) { return x }'
fault E0203 1:16 'fn f(x: any[], x: any[]) { return x }'
# Calls.
fault E0310 2:22 'fn f(x: float[B, C]) {
    return linear(x, featres=4)
}'
help "did you mean 'features'?"
fault E0310 1:38 'fn f(x: float[B, C]) { return sum(x, axes=1) }'
fault E0309 1:31 'fn f(x: float[B, C]) { return linear(x) }'
fault E0309 1:31 'fn f(x: float[B, C]) { return where(x > 0.0, x) }'
fault E0311 1:45 'fn f(x: float[B, C]) { return softmax(x, 1, 2) }'
fault E0311 2:36 'fn g(x) { return x }
fn f(x: float[B, C]) { return g(x, x) }'
fault E0316 2:31 'fn g(x: float[B, C]) { y = x }
fn f(x: float[B, C]) { return g(x) }'
fault E0317 2:5 'fn f(x: float[B, C]) {
    a, b = (x, x, x)
    return a
}'
fault E0317 3:5 'fn g(x) { return x, x }
fn f(x: float[B, C]) {
    a, b, c = g(x)
    return a
}'
fault E0010 2:18 'fn g(x) { return f(x) }
fn f(x) { return g(x) }'
fault E0010 2:12 'fn f(x: float[B, C]) {
    return f(x) + 1.0
}'
# Statements where they cannot stand.
fault E0211 2:5 'fn f(x: float[B, C]) {
    output x
}'
fault E0211 2:5 'fn f(x: float[B, C]) {
    yield x
    return x
}'
fault E0211 3:9 'fn f(x: float[B, C]) {
    scan a in x {
        return a
    }
}'
fault E0333 3:5 'fn f(x: float[B, C]) {
    return x
    y = x
}'
fault E0615 3:9 'fn f(x: float[B, C]) {
    scan a in x {
        yield a, a
    } -> xs
    return xs
}'
fault E0505 2:5 'fn f(x: float[B, C]) {
    param w: [C]
    return x * w
}'
fault E0506 2:5 'fn f(x: float[B, C]) {
    state s = zeros
    return x + s
}'
fault E0507 3:5 'fn f(x: float[B, C]) {
    state seen: [] = 0.0
    sene <- 1.0
    return x
}'
help "did you mean 'seen'?"
# Optimisers, and choices that this compile does not take.
fault E0201 2:27 'optimizer f(lr = 0.1) {
    param <- param - lr * gard
}'
help "did you mean 'grad'?"
printf 'dim B\nmodel m(x: f32[B, 4]) {\n    if training {\n        y = x + typo\n    }\n    output x\n}\n' > choice.dl
refuses "choice.dl:4:17: error[E0201]" "$dlc" check choice.dl

# Shapes and element types, as far as the signature tells them.
fault E0410 1:56 'fn f(x: float[B, C], w: float[C, C, D]) { return {b c, c d -> b d}(x, w) }'
help "nothing calls 'f', but no call of it can be right"
fault E0427 1:43 'fn f(x: float[B, C]) -> float[B] { return x }'
fault E0426 1:50 'fn f(x: float[B, C]) -> float[B, C + 1] { return x * 2.0 }'
fault E0302 1:60 'fn f(x: float[B, C], y: int[B, C]) -> float[B, C] { return x == y }'
fault E0428 2:19 'fn f(x: float[B, C], y: float[B, C]) {
    return mse(x, sum(y, axis=1))
}'
fault E0302 1:46 'fn f(x: float[B, C], k: bool[B, C]) { return x + k }'
fault E0303 1:37 'fn f(x: f32[B], y: i32[B]) { return cast(x, i32) / cast(y, i32) }'
fault E0407 3:12 'fn f(x: float[B, C], n: int) {
    y = linear(x, n)
    return softmax(y, axis=3)
}'
fault E0324 1:31 'fn f(x: float[B, C]) { return x[0, 0, 0] }'
fault E0322 1:34 'fn f(x: f32[B, 4]) { return x[:, 5] }'
fault E0403 1:29 'fn f(x: f32[B, 4]) { return x + zeros([3]) }'
fault E0424 1:31 'fn f(x: float[B, C]) { return concat(x, sum(x)) }'
fault E0325 2:8 'fn f(x: float[B, C]) {
    if x > 0.0 {
        return x
    }
    return x
}'
fault E0318 2:5 'fn f(x: float[B, C]) {
    a, b = sum(x)
    return a
}'
fault E0317 2:5 'fn f(x: float[B, T, C]) {
    a, b = split(linear(x, 3 * C), 3, axis=-1)
    return a
}'
fault E0420 2:23 'fn f(x: float[B, C]) {
    scan a in x carry h = 0.0 {
        h = h + a
        yield h
    } -> hs
    return hs
}'
fault E0404 2:30 'fn g(x: float[B, C]) { return x * 2.0 }
fn f(x: float[N]) { return g(x) }'
fault E0314 1:41 'fn f(x: float[B, C]) { return linear(x, 2.5) }'
fault E0326 1:41 'fn f(x: float[B, C], r: float) { return x + r and x }'
fault E0501 3:25 'fn f(x: float[B, C]) {
    h = linear(x, 4) as a
    return linear(h, 4) as a
}'
fault E0404 4:41 'fn f(x: float[B, T, C], deep: bool) {
    h = x if deep else x
    y = layer_norm(x)
    return scaled_dot_product_attention(y, y, y)
}'
fault E0509 3:10 'fn f(x: float[B, C], y: int[B]) {
    state s: [3] = zeros
    s <- x @ zeros([C, 4])
    return x
}'
fault E0327 1:36 'fn f(x: float[B, C]) { return grad(x, x) }'
fault E0314 1:65 'fn f(x: float[..., C], y: float[...]) { return cross_entropy(x, y) }'
fault E0409 1:60 'fn f(x: float[B, C], mask: bool[B, C] = none) { return x @ {b c, c d -> b d}(x) }'
fault E0212 3:16 'fn f(x: float[B, C]) {
    y = linear(x, 4) as a
    return y @ a.weigth
}'
fault E0503 3:25 'fn f(x: float[B, C]) {
    y = linear(x, 4) as a
    return linear(y, 4) as shared b
}'

# right DECLARATIONS: nothing to say.
right() {
    printf '%s\n%s\n' "$1" "$model" > right.dl
    expect 0 "$dlc" check right.dl
    checks=$((checks + 1))
    [ ! -s err.txt ] || bad "$1: $(cat err.txt)"
}
right 'fn f(x: float[..., C], act: fn = gelu, n: int = 2, mask = none, name: str = "a") {
    h = x
    for i in 0..n {
        h = h |> linear(C) as "{name}{i}" |> act
    }
    if mask != none {
        h = where(mask, h, 0.0)
    }
    return h
}'
right 'fn f(x: any[...], deep: bool) {
    if rank(x) == 3 {
        return x[.., 0, 0]
    } else if deep and dtype(x) == i32 {
        return cast(x, f32)
    }
    return x
}'
right 'fn f(x, n: int) {
    return x if n == 0 else f(x, n - 1)
}
fn g(x, n: int) {
    if n == 0 { return x }
    return g(x, n - 1)
}'
right 'fn norm(x: float[B, C], norm: fn = layer_norm) {
    mean = mean(x, axis=-1)
    y = norm(x)
    return y, mean
}
fn f(x: float[B, C]) {
    y, m = norm(x)
    a, b = x
    return y
}'
right 'fn own(x: float[B, C], bias: bool = true) {
    if bias {
        param bias: [C] = zeros
        x = x + bias
    }
    param wte.weight: [C, C] = normal(0.0, 0.02)
    param w as "w_{1}": [C] = zeros if bias else ones
    h = linear(x, C) as h[0]
    return h @ wte.weight * h[0].bias + w + w_1
}
fn spliced(x: float[B, C]) {
    y = own(x) as _
    y = own(y) as a.b
    return y * bias + (own(y) as shared a.b)
}
fn pair(x: float[B, C]) {
    p = (x, x)
    return p.0 + p.1 + linear(linear(x, C), C) + linear_1.bias
}'
right 'fn f(x: float[B, T, C], steps: int = 3) {
    scan a in x along 1 carry h = zeros([B, C]) {
        h = 0.5 * h + a
        yield h, a
    } -> hs, as_
    n = 0
    while n < 3 carry n = n, h = h {
        h = h * 2.0
        n = n + 1
    }
    return hs + as_, h, n
}
optimizer f(lr = 0.1) {
    state v = zeros
    v <- v + grad
    param <- param - lr * v * steps_per_epoch
}'
right 'fn fail(text: str) {
    check false, text
    return 0
}
fn f(x: float[...], how: str) {
    if how == "a" { return x }
    return fail("no such way: {how}")
}'
right 'fn f(x: float[B, C], n: int, w) {
    if n > 2 {
        y = linear(x, 4) as a
    }
    y = linear(x, w) as b
    for i in 0..n {
        x = linear(x, C) as h[i]
    }
    return x * a.bias + h[0].bias + y @ b.weight
}
fn g(x: float[B, C], act: fn = none) {
    y = x if act == none else act(x)
    return y * act.weight
}'
cp "$faults/bodies.dl" "$faults/bodies_calls.dl" .
for file in bodies.dl bodies_calls.dl; do
    expect 0 "$dlc" check $file
    checks=$((checks + 1))
    [ ! -s err.txt ] || bad "$(cat err.txt)"
done

# No text takes long: ten thousand functions, with faults in some ways of each; calls that double; long lists and loops.
quick() {
    checks=$((checks + 1))
    (
        ulimit -t "${DLC_SANITIZED:+1}10" # a sanitizer takes time and memory of its own
        [ -n "${DLC_SANITIZED:-}" ] || ulimit -d 200000
        "$dlc" check "$1" > out.txt 2> err.txt
    ) && [ ! -s err.txt ] || bad "$1: $(head -3 err.txt)"
}
printf 'fn f%d(x: float[...], y: float[...b], z: any[C]) {\n    y = sum(x, axis=-1)\n    a, b, c, d, e, f = shape(x)\n    return y * z\n}\n' \
    $(seq 10000) > many.dl
quick many.dl
for i in $(seq 300); do echo "fn f$i(x: float[B, C]) { return f$((i + 1))(x) + f$((i + 1))(x) }"; done > double.dl
echo 'fn f301(x) { return x }' >> double.dl
quick double.dl
{
    echo 'fn f(x: float[...], y: float[...b]) {'
    echo "    l = [$(seq -s, 100000)]"
    echo '    for i in 0..100000 {'
    echo '        n = "{i}" if i > 0 else "{l[i]}"'
    echo '    }'
    echo '    a, b, c, d, e, f = shape(x)'
    echo '    return y'
    echo '}'
} > long.dl
quick long.dl
finish
