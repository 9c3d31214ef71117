#!/usr/bin/env python3
"""Computes points.expect: values, first and second derivatives of scalar operations and of the library's functions at
±0, ±1, tiny and huge numbers, infinities, nan and at their kinks, from closed forms in mpmath (pip install mpmath).
Run it in its own folder: points.py > points.expect.

A function is written here as it is defined, not as the library has it. What is a convention, not a derivative, stands in
its row's `at`. Rows that begin with ~ say why a function has no points; test_points fails for one with neither.
"""
import math
import struct

from jets import *

ROWS = []
COMMON = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 2.0**-40, -2.0**-40, 2.0**-100, -2.0**-100, 2.0**-1000, 2.0**100, -2.0**100,
          2.0**1000, -2.0**1000, math.inf, -math.inf, math.nan]
SMALL = [x for x in COMMON if not 1e3 < abs(x) < math.inf]
MIDDLE = [x for x in COMMON if not (1e3 < abs(x) < math.inf or 0 < abs(x) < 1e-15)]


def f32(x):
    """The nearest number that both types have, if x is within the range of f32."""
    return struct.unpack("f", struct.pack("f", x))[0] if 2.0**-149 < abs(x) < 2.0**127 else x


def number(v):
    try:
        return repr(float(v)) if v is not None else "-"
    except OverflowError:
        return "inf" if v > 0 else "-inf"


def row(name, text, f, points=COMMON, more=(), at=None, loose=False, kind="close", note=""):
    """The function of x: its closed form f, `more` points (kinks), `at` what is a convention: {x: (value, first,
    second)}, with "nan" and "-0" for those, None for what is not compared. Loose: compared to an absolute bound, where terms cancel; kind "single": to
    the precision of f32 in both types."""
    at = at or {}
    lines = ["= %s | %s | %s" % (name, text, "loose" if loose else kind)]
    if note:
        lines.insert(0, "# " + note)
    for x in [f32(x) for x in list(points) + list(more)]:
        key = "nan" if x != x else "-0" if x == 0 and math.copysign(1, x) < 0 and "-0" in at else x
        key = next((k for k in at if k == key or not isinstance(k, str) and f32(k) == key), None)
        if x != x:
            out = at[key] if key else (NAN, None, None)
        elif key is not None:
            out = at[key]
        else:
            y = jet(f(Jet(x, 1, 0)))
            out = (y.v, y.a, y.b)
        lines.append(" ".join([repr(x)] + [number(v) for v in out]))
    ROWS.append("\n".join(lines))


def pair(name, text, f, points, at=None):
    """The function of x and y: value, derivative by x, by y, second by x."""
    lines = ["= %s | %s | pair" % (name, text)]
    for x, y in points:
        out = (at or {}).get((x, y))
        if out is None:
            v = f(Jet(x, 1, 0), Jet(y))
            out = (v.v, v.a, f(Jet(x), Jet(y, 1, 0)).a, v.b)
        lines.append(" ".join([repr(x), repr(y)] + [number(v) for v in out]))
    ROWS.append("\n".join(lines))


def without(why, *names):
    for name in names:
        ROWS.append("~ %s | %s" % (name, why))



inf, nan = math.inf, math.nan
FLAT = (0, 0)

# ---- scalar operations
row("neg", "-x", lambda x: -x)
row("abs", "abs(x)", absolute)
row("sign", "sign(x)", step(mp.sign))
for name, f in (("floor", mp.floor), ("ceil", mp.ceil), ("round", mp.nint), ("trunc", lambda v: mp.sign(v) * mp.floor(abs(v)))):
    row(name, "%s(x)" % name, step(lambda v, f=f: v if mp.isinf(v) else f(v)), more=[1.5, 2.5, -0.5, -1.5, 2.0**52 + 1])
row("sqrt", "sqrt(x)", sqrt, at={0.0: (0, inf, -inf), "-0": (0, -inf, inf)}, more=[2.0, 1e-40])
row("rsqrt", "rsqrt(x)", rsqrt, at={0.0: (inf, -inf, inf), "-0": (None, None, None)}, more=[2.0, 1e-20])
row("exp", "exp(x)", exp, more=[88.0, 88.8, -87.0, -103.0, 709.0, 710.0, -745.0])
row("exp2", "exp2(x)", exp2, more=[127.0, 128.0, -149.0, 1023.5, 1024.0, -1074.0], at={128.0: (mp.mpf(2)**128, None, None), 1024.0: (inf, None, None)})
row("expm1", "expm1(x)", expm1, at={-inf: (-1, 0, 0), -20.0: (mp.expm1(-20), None, None)}, more=[88.0, -20.0, 709.0])
row("log", "log(x)", log, at={0.0: (-inf, inf, -inf), "-0": (-inf, -inf, -inf)}, more=[1.0 + 2.0**-20, 10.0, 1e-40])
row("log2", "log2(x)", lambda x: log(x) / mp.log(2), at={0.0: (-inf, inf, -inf), "-0": (-inf, -inf, -inf)}, more=[8.0, 2.0**29, 10.0])
row("log10", "log10(x)", lambda x: log(x) / mp.log(10), at={0.0: (-inf, inf, -inf), "-0": (-inf, -inf, -inf)}, more=[10.0, 1000.0, 1e15])
row("log1p", "log1p(x)", log1p, at={-1.0: (-inf, inf, -inf)}, more=[2.0**-20, -0.75])
row("sin", "sin(x)", sin, SMALL, more=[3.140625, 100.0])
row("cos", "cos(x)", cos, SMALL, more=[1.5703125, 100.0])
row("tan", "tan(x)", tan, SMALL, more=[1.5625, 100.0])
row("asin", "asin(x)", asin, at={1.0: (mp.pi / 2, inf, inf), -1.0: (-mp.pi / 2, inf, -inf)}, more=[1 - 2.0**-20, 2.0**-24 - 1])
row("acos", "acos(x)", acos, at={1.0: (0, -inf, -inf), -1.0: (mp.pi, -inf, inf)}, more=[1 - 2.0**-20, 2.0**-24 - 1])
row("atan", "atan(x)", atan, at={x: (mp.atan(x), 0, None) for x in (2.0**1000, -2.0**1000, inf, -inf)}, more=[3.0])
row("sinh", "sinh(x)", sinh, more=[1e-6, 1e-8, 0.3, 5.0, 88.0, 89.0, 89.5, -89.0, 710.0, 710.4, 711.0])
row("cosh", "cosh(x)", cosh, more=[1e-4, 0.3, 5.0, 88.0, 89.0, -89.0, 710.0, 710.4, 711.0])
row("tanh", "tanh(x)", tanh, more=[3.0], loose=True)
row("erf", "erf(x)", erf, more=[2.0, 4.0], at={inf: (1, 0, None), -inf: (-1, 0, None)})
row("erfc", "erfc(x)", erfc, more=[0.25, 0.9, 1.5, 4.0, 9.0, 10.0, 20.0, 26.0, 27.0, -5.0], at={inf: (0, 0, None), -inf: (2, 0, None)})
row("sigmoid", "sigmoid(x)", sigmoid, loose=True, more=[20.0, -80.0])
row("isfinite", "cast(isfinite(x), dtype(x))", step(lambda v: not mp.isinf(v)), at={"nan": (0, None, None)})
row("isnan", "cast(isnan(x), dtype(x))", step(lambda v: 0), at={"nan": (1, None, None)})
row("isinf", "cast(isinf(x), dtype(x))", step(lambda v: mp.isinf(v)), at={"nan": (0, None, None)})
row("square", "square(x)", square)
row("reciprocal", "reciprocal(x)", reciprocal, at={0.0: (inf, -inf, inf), "-0": (-inf, -inf, -inf)})
for n in (1, 2, 4):
    row("pow", "x ** -%d" % n, lambda x, n=n: reciprocal(x) if n == 1 else reciprocal(power(x, n)),
        [x for x in COMMON if abs(x) not in (2.0**1000, 2.0**-1000, 2.0**100, 2.0**-100)],
        at={0.0: (inf, -inf, inf), "-0": (-inf if n == 1 else inf, -inf if n == 1 else inf, -inf if n == 1 else inf)})
row("pow", "x ** 3", lambda x: power(x, 3))
row("pow", "x ** 0.5", sqrt, at={0.0: (0, inf, -inf), "-0": (0, -inf, inf)})
row("pow", "x ** 2.5", lambda x: power(x, mp.mpf(5) / 2), [0.0, 1.0, 0.5, 9.0, 2.0**100, 2.0**-40, inf, nan], at={inf: (inf, inf, inf)})
row("pow", "3.0 ** x", lambda x: exp(x * mp.log(3)), MIDDLE)

PAIRS = [(3.0, 4.0), (-3.0, 4.0), (1.0, -1.0), (0.5, 0.5), (2.0**-40, 1.0), (1.0, 2.0**-40), (2.0**60, 2.0**60), (2.0**-60, 2.0**-60)]
pair("add", "x + y", lambda x, y: x + y, PAIRS + [(inf, 1.0), (nan, 1.0)], at={(nan, 1.0): (nan, 1, 1, 0)})
pair("sub", "x - y", lambda x, y: x - y, PAIRS + [(-inf, 1.0), (1.0, inf)])
pair("mul", "x * y", lambda x, y: x * y, PAIRS + [(inf, 2.0), (0.0, -3.0)])
pair("div", "x / y", lambda x, y: x / y, PAIRS + [(1.0, inf), (inf, 2.0), (0.0, 3.0), (1.0, 0.0)], at={(1.0, 0.0): (inf, inf, -inf, 0), (1.0, inf): (0, 0, 0, 0), (inf, 2.0): (inf, 0.5, -inf, 0)})
DIVISIONS = [((6.0, 0.1), 59), ((5.0, 3.0), 1), ((-5.0, 3.0), -2), ((5.0, -3.0), -2), ((-5.0, -3.0), 1), ((5.0, inf), 0), ((-5.0, inf), -1), ((5.0, -inf), -1),
             ((-5.0, -inf), 0), ((inf, 3.0), nan), ((5.0, 0.0), inf), ((-5.0, 0.0), -inf), ((0.0, 0.0), nan), ((0.0, 5.0), 0), ((nan, 1.0), nan), ((1.0, nan), nan),
             ((2.0**-40, 3.0), 0), ((-2.0**-40, 3.0), -1), ((2.0**100, 3.0), mp.mpf(2)**100 / 3)]
pair("floordiv", "floordiv(x, y)", None, [p for p, _ in DIVISIONS], at={p: (q, 0, 0, 0) for p, q in DIVISIONS})
MODULI = [((6.0, 0.1), mp.mpf(6) - 59 * mp.mpf(0.1)), ((5.0, 3.0), 2), ((-5.0, 3.0), 1), ((5.0, -3.0), -1), ((-5.0, -3.0), -2), ((5.0, inf), 5), ((-5.0, inf), inf),
          ((5.0, -inf), -inf), ((-5.0, -inf), -5), ((inf, 3.0), nan), ((5.0, 0.0), nan), ((0.0, 5.0), 0), ((2.0**100, 3.0), 1), ((2.0**-40, 3.0), mp.mpf(2)**-40)]
pair("mod", "x % y", None, [p for p, _ in MODULI], at={p: (q, 1, None, 0) for p, q in MODULI})


def power_by(x, y):
    """x^y for x > 0: e^(y log x)."""
    return exp(log(x) * y)


pair("pow", "pow(x, y)", power_by, [(3.0, 4.0), (0.5, -2.5), (2.0, 0.0), (1.0, 7.0), (2.0**-40, 0.5), (0.0, 2.0), (0.0, 0.0), (0.0, -1.0), (-2.0, 3.0), (-2.0, 0.5), (inf, 2.0), (2.0, inf), (0.5, inf)],
     at={(0.0, 2.0): (0, 0, 0, 2), (0.0, 0.0): (1, 0, 0, 0), (0.0, -1.0): (inf, -inf, 0, inf), (-2.0, 3.0): (-8, 12, 0, -12), (-2.0, 0.5): (nan, None, 0, None),
         (inf, 2.0): (inf, inf, inf, 2), (2.0, inf): (inf, inf, inf, None), (0.5, inf): (0, None, 0, None)})


def length(x, y):
    return sqrt(x * x + y * y)


def angle(x, y):
    v = mp.atan2(x.v, y.v)
    w = x.v**2 + y.v**2
    d = (x.a * y.v - y.a * x.v) / w
    return Jet(v, d, -2 * (x.v * x.a + y.v * y.a) / w * d)


FAR = [(2.0**100, 2.0**100), (2.0**-100, 2.0**-100), (-2.0**100, 2.0**-100), (2.0**1000, 2.0**1000), (2.0**-1000, -2.0**-1000)]
pair("hypot", "hypot(x, y)", length, [(3.0, 4.0), (-3.0, 4.0), (1.0, -1.0), (0.0, 0.0), (0.0, -2.0), (2.0, 0.0), (inf, 1.0), (1.0, -inf), (inf, nan), (nan, 1.0)] + FAR,
     at={(0.0, 0.0): (0, 0, 0, 0), (inf, 1.0): (inf, 1, 0, 0), (1.0, -inf): (inf, 0, -1, 0), (inf, nan): (inf, None, None, None), (nan, 1.0): (nan, None, None, None),
         FAR[0]: (mp.sqrt(2) * mp.mpf(2)**100, mp.sqrt(0.5), mp.sqrt(0.5), None), FAR[1]: (mp.sqrt(2) * mp.mpf(2)**-100, mp.sqrt(0.5), mp.sqrt(0.5), None),
         FAR[2]: (mp.mpf(2)**100, -1, mp.mpf(2)**-200, None), FAR[3]: (mp.sqrt(2) * mp.mpf(2)**1000, mp.sqrt(0.5), mp.sqrt(0.5), None), FAR[4]: (mp.sqrt(2) * mp.mpf(2)**-1000, mp.sqrt(0.5), -mp.sqrt(0.5), None)})
pair("atan2", "atan2(x, y)", angle, [(3.0, 4.0), (-3.0, 4.0), (3.0, -4.0), (1.0, -1.0), (0.0, 2.0), (2.0, 0.0), (0.0, 0.0), (0.0, -2.0), (inf, 1.0), (1.0, inf), (1.0, -inf), (inf, inf), (nan, 1.0), (2.0**100, 2.0**100), (2.0**-60, 2.0**-60)],
     at={(0.0, 0.0): (0, 0, 0, 0), (inf, 1.0): (mp.pi / 2, 0, 0, 0), (1.0, inf): (0, 0, 0, 0), (1.0, -inf): (mp.pi, 0, 0, 0), (inf, inf): (mp.pi / 4, 0, 0, 0), (nan, 1.0): (nan, None, None, None)})
half = mp.mpf(0.5)
EXTREMES = [(1.0, 2.0), (2.0, 1.0), (1.0, 1.0), (0.0, -0.0), (inf, 1.0), (-inf, inf), (nan, 1.0), (1.0, nan)]
for name, call, sign in (("max", "maximum", 1), ("min", "minimum", -1)):
    at = {}
    for x, y in EXTREMES:
        first = sign * x > sign * y
        at[(x, y)] = (nan, None, None, None) if x != x or y != y else (x, half, half, 0) if x == y else (x if first else y, int(first), int(not first), 0)
    pair(name, "%s(x, y)" % call, None, EXTREMES, at=at)
for name, sign, f in (("eq", "==", lambda x, y: x == y), ("ne", "!=", lambda x, y: x != y), ("lt", "<", lambda x, y: x < y), ("le", "<=", lambda x, y: x <= y), ("gt", ">", lambda x, y: x > y), ("ge", ">=", lambda x, y: x >= y)):
    pair(name, "cast(x %s y, dtype(x))" % sign, None, EXTREMES, at={p: (int(f(*p)), 0, 0, 0) for p in EXTREMES})
for name, f in (("and", lambda x, y: x > 0 and y > 0), ("or", lambda x, y: x > 0 or y > 0)):
    pair(name, "cast(x > 0 %s y > 0, dtype(x))" % name, None, EXTREMES, at={p: (int(f(*p)), 0, 0, 0) for p in EXTREMES})
row("not", "cast(not (x > 0), dtype(x))", step(lambda v: not v > 0), at={"nan": (1, None, None)})
pair("select", "where(x > y, x * x, y)", None, EXTREMES[:3], at={(1.0, 2.0): (2, 0, 1, 0), (2.0, 1.0): (4, 4, 0, 2), (1.0, 1.0): (1, 0, 1, 0)})


def log_sum(x, y):
    return y + softplus(x - y) if x.v < y.v else x + softplus(y - x)


pair("logaddexp", "logaddexp(x, y)", log_sum, [(0.0, 0.0), (1.0, 1.0), (1.0, 2.0), (2.0, 1.0), (-300.0, -300.0), (1000.0, 0.0), (inf, inf), (-inf, -inf), (inf, -inf), (-inf, inf), (-inf, 3.0), (3.0, -inf), (inf, 3.0), (nan, 1.0)],
     at={(inf, inf): (inf, half, half, 0), (-inf, -inf): (-inf, half, half, 0), (inf, -inf): (inf, 1, 0, 0), (-inf, inf): (inf, 0, 1, 0), (-inf, 3.0): (3, 0, 1, 0), (3.0, -inf): (3, 1, 0, 0), (inf, 3.0): (inf, 1, 0, 0), (nan, 1.0): (nan, None, None, None)})
row("clip", "clip(x, -1.0, 0.5)", lambda x: x if -1 < x.v < 0.5 else Jet(-1 if x.v < 0 else 0.5), at={0.5: (0.5, half, 0), -1.0: (-1, half, 0)})

LOST = (nan, None, None)

# ---- reductions: no direction where all is 0
ROOTS = {0.0: (0, 0, 0), inf: (inf, None, None), -inf: (inf, None, None), 2.0**1000: (None, None, None), -2.0**1000: (None, None, None), 2.0**100: (None, None, None), -2.0**100: (None, None, None)}
NORMS = [x for x in COMMON if not 0 < abs(x) < 1e-15]
row("norm", "norm({b -> b 1}(x) * ones([1, 2], dtype=dtype(x)), axis=1)", lambda x: absolute(x) * mp.sqrt(2), NORMS, loose=True,
    at={**ROOTS, 2.0**-40: (mp.sqrt(2) * mp.mpf(2)**-40, mp.sqrt(2), None), -2.0**-40: (mp.sqrt(2) * mp.mpf(2)**-40, -mp.sqrt(2), None)})
row("std", "std(stack(x, zeros_like(x), axis=1), axis=1)", lambda x: absolute(x) / 2, NORMS, loose=True, at={**ROOTS, inf: LOST, -inf: LOST})
row("logsumexp", "logsumexp(stack(x, zeros_like(x), axis=1), axis=1)", softplus, loose=True, at={inf: (inf, None, None)})
row("logsumexp", "logsumexp(stack(x, x, axis=1), axis=1)", lambda x: x + mp.log(2), MIDDLE, loose=True, at={-inf: (-inf, 0, 0), inf: (inf, None, None)})

# ---- activations. nan of a product with 0 at infinity: as PyTorch has it, whose formulas these are.
row("relu", "relu(x)", lambda x: x if x > 0 else Jet(0))
row("relu6", "relu6(x)", lambda x: x if 0 < x.v < 6 else Jet(0 if x.v < 6 else 6), more=[6.0, 5.5, 7.0])
row("leaky_relu", "leaky_relu(x, 0.25)", lambda x: x if x > 0 else x * 0.25)
row("prelu", "prelu(x)", lambda x: x if x > 0 else x * 0.25)
for alpha in (1, 2):
    row("elu", "elu(x, %d.0)" % alpha, lambda x: x if x > 0 else alpha * expm1(x), at={-inf: (-alpha, 0, 0)}, loose=True)
    row("celu", "celu(x, %d.0)" % alpha, lambda x: x if x > 0 else alpha * expm1(x / alpha), at={-inf: (-alpha, 0, 0)}, loose=True)
row("selu", "selu(x)", lambda x: (x if x > 0 else expm1(x) * mp.mpf("1.6732632423543772848")) * mp.mpf("1.0507009873554804934"), loose=True, at={-inf: (mp.mpf("-1.7580993408473768599"), 0, 0)})
row("gelu", "gelu(x)", lambda x: x * (1 + erf(x / mp.sqrt(2))) / 2, loose=True, at={-inf: LOST, inf: (inf, None, None)}, more=[-5.0, 3.0])
row("gelu_tanh", "gelu_tanh(x)", lambda x: x * (1 + tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x * x * x))) / 2, MIDDLE, loose=True, at={-inf: LOST, inf: (inf, None, None)}, more=[-5.0, 3.0])
row("quick_gelu", "quick_gelu(x)", lambda x: x * sigmoid(x * mp.mpf("1.702")), loose=True, at={-inf: LOST, inf: (inf, None, None)})
row("silu", "silu(x)", lambda x: x * sigmoid(x), loose=True, at={-inf: LOST, inf: (inf, None, None)})
row("swish", "swish(x, 2.0)", lambda x: x * sigmoid(2 * x), loose=True, at={-inf: LOST, inf: (inf, None, None)})
row("mish", "mish(x)", lambda x: x * tanh(softplus(x)), loose=True, at={-inf: LOST, inf: (inf, None, None)})
row("softplus", "softplus(x)", softplus, more=[30.0, -30.0, -80.0])
row("softplus", "softplus(x, 2.0)", lambda x: softplus(2 * x) / 2)
row("softsign", "softsign(x)", lambda x: x / (1 + absolute(x)), loose=True, at={0.0: (0, 1, 0), inf: LOST, -inf: LOST})
row("tanhshrink", "tanhshrink(x)", lambda x: x - tanh(x), MIDDLE, loose=True)
row("hardshrink", "hardshrink(x)", lambda x: x if abs(x.v) > 0.5 else Jet(0), more=[-0.5, 0.75])
row("softshrink", "softshrink(x)", lambda x: x - 0.5 if x.v > 0.5 else x + 0.5 if x.v < -0.5 else Jet(0), more=[-0.5, 0.75])
row("threshold", "threshold(x, 0.5, 2.0)", lambda x: x if x.v > 0.5 else Jet(2), more=[0.75])
row("hardsigmoid", "hardsigmoid(x)", lambda x: Jet(0 if x.v < 0 else 1) if abs(x.v) >= 3 else x / 6 + half, more=[-3.0, 3.0, 2.5], loose=True)
row("hardswish", "hardswish(x)", lambda x: Jet(0) if x.v <= -3 else x if x.v >= 3 else x * (x / 6 + half), more=[-3.0, 3.0, 2.5], loose=True, at={-inf: LOST})
row("hardtanh", "hardtanh(x)", lambda x: x if abs(x.v) < 1 else Jet(mp.sign(x.v)), more=[1.5])
row("log_sigmoid", "log_sigmoid(x)", lambda x: -softplus(-x), more=[30.0, -30.0])
BOTH = "stack(x, zeros_like(x), axis=1)"
row("softmax", "softmax(%s)[:, 0]" % BOTH, sigmoid, loose=True, at={inf: LOST})
row("softmin", "softmin(%s)[:, 0]" % BOTH, lambda x: sigmoid(-x), loose=True, at={-inf: LOST})
row("log_softmax", "log_softmax(%s)[:, 0]" % BOTH, lambda x: -softplus(-x), loose=True, at={inf: LOST, -inf: (-inf, None, None)})
row("glu", "glu(stack(2.0 * ones_like(x), x, axis=1))[:, 0]", lambda x: 2 * sigmoid(x), loose=True)
row("swiglu", "swiglu(stack(x, 2.0 * ones_like(x), axis=1))[:, 0]", lambda x: 2 * x * sigmoid(x), loose=True, at={-inf: LOST, inf: (inf, None, None)})
row("geglu", "geglu(stack(x, 2.0 * ones_like(x), axis=1))[:, 0]", lambda x: x * (1 + erf(x / mp.sqrt(2))), loose=True, at={-inf: LOST, inf: (inf, None, None)})

# ---- losses, of one row; the target is y, or 0.25 where there is no pair.
ONE = "expand(%s, shape(x))"
ENDS = [x for x in COMMON if not mp.isinf(x)]


def logistic_loss(x):
    return softplus(x) - x / 4


row("mse", "mse(x, ones_like(x))", lambda x: square(x - 1))
row("l1", "l1(x, ones_like(x))", lambda x: absolute(x - 1))
for delta in ("1.0", "0.5"):
    d = mp.mpf(delta)
    row("huber", "huber(x, zeros_like(x), %s)" % delta, lambda x: square(x) / 2 if abs(x.v) < d else d * (absolute(x) - d / 2), ENDS)
    row("smooth_l1", "smooth_l1(x, zeros_like(x), %s)" % delta, lambda x: square(x) / 2 / d if abs(x.v) < d else absolute(x) - d / 2, ENDS)
row("smooth_l1", "smooth_l1(x, zeros_like(x), 0.0)", absolute, ENDS)
row("log_cosh", "log_cosh(x, zeros_like(x))", lambda x: (lambda a: x.chain(a + mp.log1p(expv(-2 * a)) - mp.log(2) if a > 1 else mp.log(coshv(a)), tanhv(x.v), 1 / coshv(x.v)**2))(abs(x.v)),
    [x for x in ENDS if not 0 < abs(x) < 1e-15], loose=True, more=[2.0**-20, 1.5, -20.0])
row("binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits(x, 0.25 * ones_like(x))", logistic_loss, ENDS, loose=True)
row("binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits(x, 0.25 * ones_like(x), 3.0)", lambda x: x * 0.75 + softplus(-x) * 1.5, ENDS, loose=True)
row("binary_cross_entropy", "binary_cross_entropy(x, 0.25 * ones_like(x))", lambda x: -(log(x) + 3 * log(1 - x)) / 4, [0.5, 0.75, 2.0**-10], more=[0.0, 1.0], at={0.0: (25, None, None), 1.0: (75, None, None)})
row("clamped_log", "clamped_log(x)", log, [1.0, 0.5, 2.0**-40, 2.0**100], more=[0.0], at={0.0: (-100, 0, 0)})
row("focal", "focal(x, 0.25 * ones_like(x))", lambda x: mp.mpf("0.625") * square(sigmoid(x) * half + 0.25) * logistic_loss(x), MIDDLE[:-3], loose=True)
row("soft_margin", "soft_margin(x, ones_like(x))", lambda x: softplus(-x), ENDS)
row("hinge", "hinge(x, ones_like(x))", lambda x: 1 - x if x.v < 1 else Jet(0), ENDS)
row("margin_ranking", "margin_ranking(x, zeros_like(x), ones_like(x), 0.5)", lambda x: 0.5 - x if x.v < 0.5 else Jet(0), ENDS)
row("kl_div", "kl_div(zeros_like(x), x)", lambda x: x * log(x), [1.0, 0.5, 2.0**-40], more=[0.0], at={0.0: (0, 0, 0)})
row("poisson_nll", "poisson_nll(x, 2.0 * ones_like(x))", lambda x: exp(x) - 2 * x, ENDS, loose=True)
row("gaussian_nll", "gaussian_nll(x, zeros_like(x), 4.0 * ones_like(x))", lambda x: square(x) / 8 + mp.log(4) / 2, [x for x in ENDS if abs(x) != 2.0**1000], loose=True)
row("gaussian_nll", "gaussian_nll(2.0 * ones_like(x), zeros_like(x), x)", lambda x: log(x) / 2 + 2 / x, [1.0, 0.5, 4.0], more=[0.0], at={0.0: (mp.log(mp.mpf("1e-6")) / 2 + mp.mpf("2e6"), None, None)})
row("dice", "dice(stack(x, 1.0 - x, axis=1), stack(ones_like(x), zeros_like(x), axis=1))", lambda x: 1 - (2 * x + 1) / 3, MIDDLE[:-3], loose=True)
CLASSES = "stack(x, zeros_like(x), axis=1), zeros([shape(x)[0]], dtype=i32)"
row("cross_entropy", "cross_entropy(%s)" % CLASSES, lambda x: softplus(-x), ENDS, loose=True)
row("nll_loss", "nll_loss(%s)" % CLASSES, lambda x: -x, ENDS)
row("soft_cross_entropy", "soft_cross_entropy(stack(x, zeros_like(x), axis=1), stack(0.25 * ones_like(x), 0.75 * ones_like(x), axis=1))", lambda x: softplus(x) - x / 4, ENDS, loose=True)
row("multi_margin", "multi_margin(%s)" % CLASSES, lambda x: (1 - x) / 2 if x.v < 1 else Jet(0), ENDS)
row("multi_margin", "multi_margin(%s, -0.5)" % CLASSES, lambda x: (-0.5 - x) / 2 if x.v < -0.5 else Jet(0), ENDS)


def cosine(x):
    return x * rsqrt(square(x) + 1)


NEAR = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 2.0**-40, nan]
UNIT = "stack(x, ones_like(x), axis=1), stack(ones_like(x), zeros_like(x), axis=1)"
row("cosine_similarity", "cosine_similarity(%s)" % UNIT, cosine, NEAR, loose=True)
row("cosine_similarity", "cosine_similarity({b -> b 1}(x), ones([1, 1], dtype=dtype(x)))", step(mp.sign), [1.0, -1.0, 0.5, -2.5], more=[0.0], at={0.0: (0, mp.mpf(10)**8, 0)}, loose=True)
row("cosine_embedding", "cosine_embedding(%s, ones_like(x))" % UNIT, lambda x: 1 - cosine(x), NEAR, loose=True)
row("triplet_margin", "triplet_margin({b -> b 1}(x), zeros([1, 1], dtype=dtype(x)), 3.0 * ones([1, 1], dtype=dtype(x)))",
    lambda x: (lambda d: d if d.v > 0 else Jet(0))(absolute(x + mp.mpf("1e-6")) - absolute(x - 3 + mp.mpf("1e-6")) + 1), [-1.0, 0.5, 2.0, 5.0, 1.5], loose=True)
row("info_nce", "info_nce({b -> b 1}(x), {b -> b 1}(x))", step(lambda v: 0), [1.0, -1.0, 0.5, 0.0], loose=True, at={0.0: (0, 0, 0)})

# ---- normalisation
def centred(eps):
    def f(x):
        h = x / 2
        return h * rsqrt(square(h) + mp.mpf(eps))
    return f


EVEN = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 2.0**-20, nan]
COLUMN = "{b c -> b c 1}(%s)" % BOTH
row("standardise", "standardise(%s)[:, 0]" % BOTH, centred("1e-5"), EVEN, loose=True)
row("layer_norm", "layer_norm(%s, affine=false)[:, 0]" % BOTH, centred("1e-5"), EVEN, loose=True)
row("group_norm", "group_norm({b c -> b c 1}(%s), 1, affine=false)[:, 0, 0]" % BOTH, centred("1e-5"), EVEN, loose=True)
row("channel_norm", "channel_norm(%s)[:, 0, 0]" % COLUMN, centred("1e-6"), EVEN, loose=True)
row("instance_norm", "instance_norm({b t -> b 1 t}(%s))[:, 0, 0]" % BOTH, centred("1e-5"), EVEN, loose=True)
row("rms_norm", "rms_norm(%s)[:, 0]" % BOTH, lambda x: x * rsqrt(square(x) / 2 + mp.mpf("1e-6")), EVEN, loose=True)
row("batch_norm", "squeeze(batch_norm({b -> b 1}(x)), 1)", lambda x: x / mp.sqrt(1 + mp.mpf("1e-5")), at={inf: (inf, None, None), -inf: (-inf, None, None)})
row("trailing", "squeeze(trailing(x, 1), 1)", lambda x: x)
row("per_channel", "squeeze(per_channel(x, {b -> 1 b 1}(x)), 1)", lambda x: x)
POWERS = [0.5, -2.5, 1.0, 2.0**-10]
for p in ("1.0", "2.0", "3.0", "0.5"):
    def by_power(x, p=mp.mpf(p)):
        a = absolute(x)
        return x / power(power(a, p) + 1, 1 / p)
    row("normalize", "normalize(stack(x, ones_like(x), axis=1), %s)[:, 0]" % p, by_power, POWERS, loose=True)
    row("normalize", "normalize({b -> b 1}(x), %s, eps=0.5)[:, 0]" % p, lambda x: 2 * x, [0.0, -0.0, 0.25, -0.25], loose=True)
row("normalize", "normalize(stack(x, ones_like(x), axis=1), 0.0)[:, 0]", lambda x: x if x.v == 0 else x / 2, [0.0, 0.5, -2.5])
row("normalize", "normalize(stack(x, 3.0 * ones_like(x), axis=1), inf)[:, 0]", lambda x: x / 3, [0.0, 0.5, -2.5, 1.0])
row("normalize", "normalize({b -> b 1}(x), inf, eps=0.5)[:, 0]", lambda x: 2 * x, [0.0, -0.0, 0.25])

# ---- layers, as what they are on one number
WIDE = "{b -> b 1 %s}(x)"
for name, axes, at in (("conv1d", "1", "[:, 0, 0]"), ("conv2d", "1 1", "[:, 0, 0, 0]"), ("conv3d", "1 1 1", "[:, 0, 0, 0, 0]")):
    row(name, "%s(%s, 1, kernel=1, bias=false, init=ones)%s" % (name, WIDE % axes, at), lambda x: x)
    other = name.replace("conv", "conv_transpose")
    row(other, "%s(%s, 1, kernel=1, bias=false, init=ones)%s" % (other, WIDE % axes, at), lambda x: x)
row("linear", "squeeze(linear({b -> b 1}(x), 1, bias=false, init=ones), 1)", lambda x: x)
row("linear_in_out", "squeeze(linear_in_out({b -> b 1}(x), 1, bias=false, init=ones), 1)", lambda x: x)
for name in ("dropout", "drop_path"):
    row(name, "%s(x, 1.0)" % name, lambda x: x, note="as it infers; tests/faults/numbers.sh trains with it")
row("dropout_channels", "squeeze(dropout_channels({b -> b 1}(x), 1.0), 1)", lambda x: x)
row("channel_bias", "squeeze(channel_bias({b -> b 1}(x), 0.0), 1)", lambda x: x)
row("flatten", "squeeze(flatten({b -> b 1 1}(x)), 1)", lambda x: x)
row("erfinv", "erfinv(x)", lambda x: Jet(mp.erfinv(x.v)), [0.5, -0.25], at={0.5: (mp.erfinv(half), None, None), -0.25: (mp.erfinv(-half / 2), None, None), 1.0: (inf, None, None), -1.0: (-inf, None, None), 0.0: (0, mp.sqrt(mp.pi) / 2, None), 2.0: (nan, None, None)}, more=[1.0, -1.0, 0.0, 2.0], kind="single")

# ---- pooling: the greater of two, their mean
GREATEST = [x for x in COMMON if x != 1]
for name, shape, at in (("max_pool1d", "{b t -> b 1 t}(%s)", "[:, 0, 0]"), ("max_pool2d", "{b t -> b 1 1 t}(%s)", "[:, 0, 0, 0]"), ("max_pool3d", "{b t -> b 1 1 1 t}(%s)", "[:, 0, 0, 0, 0]")):
    n = int(name[-2])
    kernel = "2" if n == 1 else "[%s]" % ", ".join(["1"] * (n - 1) + ["2"])
    row(name, "%s(%s, %s)%s" % (name, shape % BOTH, kernel, at), lambda x: x if x.v > 0 else Jet(0), at={0.0: (0, 1, 0)}, note="a tie goes to the first")
    mean = name.replace("max", "avg")
    row(mean, "%s(%s, %s)%s" % (mean, shape % BOTH, kernel, at), lambda x: x / 2)
row("global_max_pool", "global_max_pool({b t -> b 1 t}(%s))[:, 0]" % BOTH, lambda x: x if x.v > 0 else Jet(0), at={0.0: (0, 1, 0)})
row("global_avg_pool", "global_avg_pool({b t -> b 1 t}(%s))[:, 0]" % BOTH, lambda x: x / 2)
row("adaptive_avg_pool2d", "adaptive_avg_pool2d({b t -> b 1 1 t}(%s), [1, 1])[:, 0, 0, 0]" % BOTH, lambda x: x / 2)
row("upsample_nearest2d", "upsample_nearest2d({b -> b 1 1 1}(x))[:, 0, 0, 0]", lambda x: x)
row("box_area", "box_area(stack(zeros_like(x), zeros_like(x), x, 2.0 * ones_like(x), axis=1))", lambda x: 2 * x)
row("box_iou", "squeeze(box_iou(stack(zeros_like(x), zeros_like(x), x, ones_like(x), axis=1), [[0.0, 0.0, 1.0, 1.0]]), 1)", lambda x: x if x.v < 1 else 1 / x, [0.5, 2.5, 0.25], more=[0.0], at={0.0: (0, 0, 0)})
row("causal_mask", "causal_mask({b -> b 1 1}(x))[:, 0, 0]", lambda x: x)
row("masked_softmax", "masked_softmax(%s)[:, 0]" % BOTH, sigmoid, loose=True, at={inf: LOST})
row("masked_softmax", "squeeze(masked_softmax({b -> b 1}(x)), 1)", step(lambda v: 1), SMALL, loose=True, at={-inf: (0, 0, 0), inf: LOST}, note="a row with nothing visible is 0")
row("attention_mask", "attention_mask({b -> b 1 1 1}(x), {b -> b 1}(y == 0))[:, 0, 0, 0]", lambda x: x)
row("scaled_dot_product_attention", "scaled_dot_product_attention({b -> b 1 1 1}(x), {b two -> b 1 two 1}(stack(ones_like(x), zeros_like(x), axis=1)), {b two -> b 1 two 1}(stack(ones_like(x), zeros_like(x), axis=1)))[:, 0, 0, 0]",
    sigmoid, loose=True, at={inf: LOST, -inf: (None, None, None)})
row("rotary", "rotary({b c -> b 1 c}(%s))[:, 0, 0]" % BOTH, lambda x: x, at={inf: (None, None, None), -inf: (None, None, None)})

without("moves elements only: tests/std/pooling.dl", "pixel_shuffle", "pixel_unshuffle", "resize_linear", "upsample_bilinear2d")
without("random: tests/random", "gumbel_softmax")
without("random weights, made of linear maps and of what has rows: tests/std", "bilinear", "embedding", "squeeze_excite", "depthwise_conv2d", "multi_head_attention", "transformer_encoder_layer", "transformer_decoder_layer",
        "lstm", "lstm_from", "lstm_pass", "gru", "gru_from", "gru_pass", "rnn", "rnn_pass")
without("no derivative: tests/std/boxes.dl", "nonzero", "nms")
without("a number when compiling", "same", "fan_in", "fan_out", "number", "progress", "update_number", "bias_correction")
without("takes no tensor: tests/std/initialisers.c, attention.dl", "kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal", "fan_in_uniform", "lecun_normal", "trunc_normal", "identity", "orthogonal", "sinusoidal_position")
without("a function of the step: tests/std/schedules.dl", "constant", "step_decay", "multi_step", "exponential", "linear_decay", "polynomial", "cosine", "warmup_cosine", "warmup_linear", "warmup_constant", "inverse_sqrt", "one_cycle", "cosine_restarts")
without("an update rule: tests/std/*.dl", "sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "radam", "lamb", "lion")

print("# Made by points.py; not edited by hand. Of one number: x, value, first and second derivative. Of a pair: x, y, value,")
print("# derivative by x, by y, second by x. - is not compared; ~ says why a function has no points.")
print("\n".join(ROWS))
