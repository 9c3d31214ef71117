#!/usr/bin/env bash
# Gradients by inner values: what a name holds is a value of its own, whatever equals it or could be
# computed without it.
. "$(dirname "$0")/lib.sh"

npy x.npy f4 1x4 1 2 3 4
npy w.npy f4 4 1 2 3 4
npy a.npy f4 4 1 2 3 4
npy b.npy f4 4 1 1 2 2
npy wide.npy f8 4 1 2 3 4

gives "$faults/grad_inner_equal.dl" "g 3" -- --input x=x.npy
gives "$faults/grad_inner_reshape.dl" "g 1" -- --input x=x.npy
gives "$faults/grad_constant.dl" "g 2 4 6 8" -- --input x=x.npy
expect 0 "$dlc" "$faults/grad_inner.dl" -o inner.plan
says err.txt "this gradient is zero" "output g_apart"
# A warning names what was asked, not what a function called it; numbers and lists are said as they stand.
cat > named.dl << 'END'
model m(x: f32[4]) {
    output a = grad(sum(x ** 0), x)
    output b = silu(x)
    output c = grad(sum(grad(sum(relu6(x)), x)), x)
}
END
expect 0 "$dlc" named.dl -o named.plan
says err.txt "named.dl:2:16: warning[W0904]: the value does not depend on 'x'" "named.dl:4:16: warning[W0904]: the value does not depend on 'x'"
printf 'model m(x: f32[3]) {\n    q = [1.0, 2.0, 3.0]\n    output a = grad(sum(x * q), q)\n}\n' > number.dl
refuses "but this is a list of 3" "$dlc" number.dl
says err.txt "full(shape, value)"
for flags in "" "--skip-passes fold,simplify,cse,dce"; do
    gives "$faults/grad_inner.dl" "g_equal 3" "g_reshape 1" "g_transpose 3" "g_neg -2" "g_zero 2 4 6 8" \
        "g_tenth 0.2 0.4 0.6 0.8" "g_row 2 4 6 8" "g_scalar 10" "g_noise 1 2 3 4" "g_same 1 2 3 4" "g_itself 3 6 9 12" \
        "g_alias 2 4 6 8" "g_both 1 2 3 4" "g_of_grad 2" "g_broadcast 3" "g_part 1 2 3 4" "g_dropped 1 2 3 4" \
        "g_weak 1 2 3 4" "g_apart 0" "g_max 1" "g_where 1 2 3 4" "g_power 1 2 3 4" -- --input x=x.npy --input w=wide.npy
    near=1e-5 gives "$faults/grad_nested.dl" "by_v 0.6561 0.8192 1.4406 1.0368" "by_w2 0.81 1.28 2.94 2.88" \
        "by_w 0.6561 0.8192 1.4406 1.0368" "by_twice 0.860934 0.671089 1.38355 0.537477" \
        "z_by_h0 0.6561 0.8192 1.4406 1.0368" "z_by_h 0.81 1.28 2.94 2.88" "qs 3" \
        "rs 109.898 6891.65 296552 1.0464e+07 190.241 13346.5 588263 2.08803e+07" "r_by_k1 10.8731 59.1124 241.026 873.57" \
        "r_by_k0 1" "p_by_p 2.71828 7.38906 20.0855 54.5982" "p_by_k2 932.371 2534.45 6889.34 18727.2" \
        -- --input w=w.npy --input a=a.npy --input b=b.npy
done

# Groups of the fused loops stand in no circle (E0002: a block does not end in yield).
npy pair.npy f4 3x2 0.5 -0.25 1 0.75 -1 0.125
near=1e-5 gives "$faults/scan_grad.dl" "y -225.943" -- --input x=pair.npy

# What is not chosen leaves no nan in a derivative; what is chosen keeps its own.
npy points.npy f4 5 -1 0 0.25 4 nan
npy two.npy f4 - 2
for flags in "" "--skip-passes fold,simplify,cse,dce,fuse"; do
    near=1e-5 gives "$faults/grad_where.dl" "first 1 1 1 0.25 1" "second 0 0 -2 -0.03125 0" "chain 0 0 0.6666667 0.0833333 0" \
        "nested 1 1 1 0.2886751 1" "quotient 1 1 -16 -0.0625 1" "power 1 1 1 0.25 1" "arcs 1 1 1.0327956 1 1" \
        "twice 1 1 1.3068528 0.9232868 1" "apart -0.5 0 1 0.25 0" "overflow 0 0 0 1 nan" "kept 1 inf 1 0.25 1" \
        "missing 0.0535423" "product -55.990828" "rows 1 0 4 0.25 0" "shaped nan 0 0 0.25 0" "looped 1.2253244" \
        -- --input x=points.npy --input w=two.npy
done
finish
