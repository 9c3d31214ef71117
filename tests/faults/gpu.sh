#!/usr/bin/env bash
# What GPUs do otherwise, on the simulated one (tests/cudasim); skipped without a host compiler for its kernels.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
build=$(cd "$(dirname "$dlc")/.." && pwd)
export DLC_CUDA_PATH=${DLC_CUDA_PATH:-$build/tests/cudasim/lib} DLC_CUDASIM_CACHE=${DLC_CUDASIM_CACHE:-$build/tests/cudasim/cache}
needs_simulated_device
flags="--target cuda:sm_90"

# A query that sees no key gives 0 and finite gradients.
npy q.npy f4 2x1x140x8 0.1 0.3 -0.2 0.7 0.5
npy pad.npy i4 2 3 140
cat > hidden.dl <<'E2'
model m(q: f32[2, 1, 140, 8], pad: i32[2]) {
    at = {s -> 1 s}(iota(140))
    keep = {b s -> b 1 1 s}(at >= {b -> b 1}(pad))
    x = q * (1.0 + 0.01 * {t -> 1 1 t 1}(cast(iota(140), f32)))
    y = scaled_dot_product_attention(x, -x, 0.5 * x, causal=true, mask=keep)
    g = grad(sum(y * y), x)
    output hidden = sum(abs(y[0, 0, 0:3])) + sum(abs(y[1])) + sum(abs(g[1]))
    output seen = sum(y)
    output first = sum(abs(g))
}
E2
near=1e-5 gives hidden.dl "hidden 0" "seen 204.075" "first 202.524" -- --device cuda:0 --input q=q.npy --input pad=pad.npy

# Lines sorted by blocks of threads, and extremes found by them.
orders_nan --device cuda:0

finish
