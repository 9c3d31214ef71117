"""Numbers with two derivatives (Jet), in mpmath, and the scalar functions on them. 0 times infinity is 0, which gives the
limits at infinity of products such as x * sigmoid(x)."""
import math
import mpmath as mp

mp.mp.dps = 60
INF, NAN = mp.inf, mp.nan


def times(a, b):
    return mp.mpf(0) if a == 0 or b == 0 else a * b


class Jet:
    def __init__(self, v, a=0, b=0):
        self.v, self.a, self.b = mp.mpf(v), mp.mpf(a), mp.mpf(b)

    def chain(self, v, first, second):
        return Jet(v, times(first, self.a), times(second, times(self.a, self.a)) + times(first, self.b))

    def __add__(self, o):
        o = jet(o)
        return Jet(self.v + o.v, self.a + o.a, self.b + o.b)

    def __mul__(self, o):
        o = jet(o)
        return Jet(times(self.v, o.v), times(self.a, o.v) + times(self.v, o.a),
                   times(self.b, o.v) + times(2, times(self.a, o.a)) + times(self.v, o.b))

    def __neg__(self):
        return Jet(-self.v, -self.a, -self.b)

    def __sub__(self, o):
        return self + -jet(o)

    def __rsub__(self, o):
        return jet(o) + -self

    def __truediv__(self, o):
        return self * reciprocal(jet(o))

    def __rtruediv__(self, o):
        return jet(o) * reciprocal(self)

    __radd__, __rmul__ = __add__, __mul__

    def __gt__(self, o):
        return self.v > jet(o).v

    def __lt__(self, o):
        return self.v < jet(o).v

    def __ge__(self, o):
        return self.v >= jet(o).v

    def __le__(self, o):
        return self.v <= jet(o).v


def jet(x):
    return x if isinstance(x, Jet) else Jet(x)


def over(a, b):
    """a / b, infinite for b = 0."""
    if b == 0:
        return NAN if a == 0 else mp.sign(a) * (INF if math.copysign(1, float(b)) > 0 else -INF)
    return a / b


def expv(v):
    return mp.mpf(0) if v < -100000 else INF if v > 100000 else mp.exp(v)


def reciprocal(x):
    if x.v == 0:  # the sign of zero is lost in mpmath: rows give such points themselves
        return x.chain(INF, -INF, INF)
    return x.chain(1 / x.v, -1 / x.v**2, 2 / x.v**3)


def exp(x):
    e = expv(x.v)
    return x.chain(e, e, e)


def exp2(x):
    e, c = expv(x.v * mp.log(2)), mp.log(2)
    return x.chain(e, times(c, e), times(c * c, e))


def expm1(x):
    e = expv(x.v)
    return x.chain(e - 1 if not abs(x.v) < 1 else mp.expm1(x.v), e, e)


def logv(v):
    return NAN if v < 0 else -INF if v == 0 else mp.log(v)


def log(x):
    return x.chain(logv(x.v), over(1, x.v), -over(1, x.v**2))


def log1p(x):
    one = 1 + x.v
    return x.chain(mp.log1p(x.v) if abs(x.v) < 0.5 else logv(one), over(1, one), -over(1, one**2))


def sqrt(x):
    r = mp.sqrt(x.v) if x.v >= 0 else NAN
    return x.chain(r, over(mp.mpf(0.5), r), -over(mp.mpf(0.25), r**3))


def rsqrt(x):
    r = over(1, mp.sqrt(x.v)) if x.v >= 0 else NAN
    return x.chain(r, -r**3 / 2, r**5 * 3 / 4)


def sinv(v):
    return NAN if mp.isinf(v) else mp.sin(v)


def cosv(v):
    return NAN if mp.isinf(v) else mp.cos(v)


def sin(x):
    return x.chain(sinv(x.v), cosv(x.v), -sinv(x.v))


def cos(x):
    return x.chain(cosv(x.v), -sinv(x.v), -cosv(x.v))


def tan(x):
    t = sinv(x.v) / cosv(x.v)
    return x.chain(t, 1 + t * t, 2 * t * (1 + t * t))


def inside(v, f):
    return f(v) if -1 <= v <= 1 else NAN


def asin(x):
    w = inside(x.v, lambda v: (1 - v) * (1 + v))
    r = mp.sqrt(w) if w >= 0 else NAN
    return x.chain(inside(x.v, mp.asin), over(1, r), times(x.v, over(1, r**3)))


def acos(x):
    return mp.pi / 2 - asin(x)


def atan(x):
    w = 1 + x.v**2
    return x.chain(mp.atan(x.v), 1 / w, -2 * times(x.v, 1 / w / w))


def sinhv(v):
    return v * INF if abs(v) > 100000 else mp.sinh(v)


def coshv(v):
    return INF if abs(v) > 100000 else mp.cosh(v)


def sinh(x):
    return x.chain(sinhv(x.v), coshv(x.v), sinhv(x.v))


def cosh(x):
    return x.chain(coshv(x.v), sinhv(x.v), coshv(x.v))


def tanhv(v):
    return mp.sign(v) if abs(v) > 100000 else mp.tanh(v)


def tanh(x):
    t, s = tanhv(x.v), 1 / coshv(x.v)**2
    return x.chain(t, s, -2 * t * s)


def bell(v):
    return 2 / mp.sqrt(mp.pi) * expv(-v * v)


def erf(x):
    v = mp.sign(x.v) if abs(x.v) > 1000 else mp.erf(x.v)
    return x.chain(v, bell(x.v), -2 * times(x.v, bell(x.v)))


def erfc(x):
    v = 1 - mp.sign(x.v) if abs(x.v) > 1000 else mp.erfc(x.v)
    return x.chain(v, -bell(x.v), 2 * times(x.v, bell(x.v)))


def sigmoid(x):
    s, t = 1 / (1 + expv(-x.v)), 1 / (1 + expv(x.v))
    return x.chain(s, s * t, s * t * (t - s))


def softplus(x):
    v = x.v + mp.log1p(expv(-x.v)) if x.v > 0 else mp.log1p(expv(x.v))
    s, t = 1 / (1 + expv(-x.v)), 1 / (1 + expv(x.v))
    return x.chain(v, s, s * t)


def square(x):
    return x * x


def absolute(x):
    return x if x.v > 0 else Jet(0) if x.v == 0 else -x


def power(x, n):
    """Of x > 0, or a whole n >= 0."""
    return x.chain(x.v**n, n * times(1, x.v**(n - 1)) if n != 0 else 0, n * (n - 1) * x.v**(n - 2) if n not in (0, 1) else 0)


def root_mean_norm(parts, eps):
    return rsqrt(sum((square(p) for p in parts), Jet(0)) / len(parts) + eps)


def step(v, g=0):
    """Constant pieces."""
    return lambda x: Jet(v(x.v), g, 0)
