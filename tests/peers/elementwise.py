"""PyTorch's elementwise functions and reductions in the language."""
import math

import torch

from words import TABLE, Tensor, Unsaid, axes_of, default_only, floats, number, numbers_only, op, same_kind, sizes

# -- elementwise, one operand

def plain(name, text=None, floating=True):
    def say_it(case, x, **kw):
        default_only(**{k: (v, None) for k, v in kw.items()})
        if x.value.dtype == torch.bool and not floating:
            raise Unsaid("arithmetic on bool")
        return (text or name + "({})").format(floats(x) if floating else x)

    return say_it


for torch_name, own in {
    "acos": "arccos", "asin": "arcsin", "atan": "arctan", "ceil": "ceil", "cos": "cos", "cosh": "cosh", "erf": "erf", "erfc": "erfc",
    "exp": "exp", "exp2": "exp2", "expm1": "expm1", "floor": "floor", "log": "log", "log10": "log10", "log1p": "log1p", "log2": "log2",
    "reciprocal": "reciprocal", "rsqrt": "rsqrt", "sigmoid": "sigmoid", "sin": "sin", "sinh": "sinh", "sqrt": "sqrt",
    "tan": "tan", "tanh": "tanh",
    "nn.functional.relu": "relu", "nn.functional.relu6": "relu6", "nn.functional.selu": "selu", "nn.functional.silu": "silu", "nn.functional.mish": "mish",
    "nn.functional.softsign": "softsign", "nn.functional.tanhshrink": "tanhshrink", "nn.functional.hardsigmoid": "hardsigmoid", "nn.functional.hardswish": "hardswish",
    "nn.functional.logsigmoid": "log_sigmoid", "erfinv": "erfinv",
}.items():
    TABLE[torch_name] = plain(own)
for torch_name, text in {"abs": "abs({})", "neg": "-{}", "square": "square({})", "trunc": "trunc({})", "sign": "sign({})", "sgn": "sign({})", "positive": "{} * 1"}.items():
    TABLE[torch_name] = plain(torch_name, text, floating=False)
for torch_name in ("ceil", "floor", "trunc"):
    own_text = torch_name + "({})"
    TABLE[torch_name] = (lambda text: lambda case, x: text.format(x) if x.is_float else same_integer(x))(own_text)
TABLE["frac"] = plain("frac", "{0} - trunc({0})")
TABLE["deg2rad"] = plain("deg2rad", "{} * 0.017453292519943295")
TABLE["rad2deg"] = plain("rad2deg", "{} * 57.29577951308232")
TABLE["isnan"] = plain("isnan")
TABLE["isinf"] = plain("isinf")
TABLE["isfinite"] = plain("isfinite")


def same_integer(x):
    numbers_only(x)
    return "%s * 1" % x


@op("round")
def say_round(case, x, decimals=0):
    default_only(decimals=(decimals, 0))
    return "round(%s)" % x if x.is_float else same_integer(x)


@op("logical_not")
def say_not(case, x):
    return "not %s" % x if x.value.dtype == torch.bool else "%s == 0" % x


@op("nn.functional.leaky_relu")
def say_leaky(case, x, negative_slope=0.01, inplace=False):
    return "leaky_relu(%s, %s)" % (x, number(float(negative_slope)))


@op("nn.functional.elu", "nn.functional.celu")
def say_elu(case, x, alpha=1.0, inplace=False):
    return "%s(%s, %s)" % (case.op.name.split(".")[-1], x, number(float(alpha)))


@op("nn.functional.gelu")
def say_gelu(case, x, approximate="none"):
    return ("gelu_tanh(%s)" if approximate == "tanh" else "gelu(%s)") % x


@op("nn.functional.softplus")
def say_softplus(case, x, beta=1, threshold=20):
    default_only(threshold=(threshold, 20))
    return "softplus(%s, %s)" % (x, number(float(beta)))


@op("nn.functional.hardshrink", "nn.functional.softshrink")
def say_shrink(case, x, lambd=0.5):
    return "%s(%s, %s)" % (case.op.name.split(".")[-1], x, number(float(lambd)))


@op("nn.functional.threshold")
def say_threshold(case, x, threshold, value, inplace=False):
    numbers_only(x)
    if not x.is_float:
        raise Unsaid("activations of integers")
    return "threshold(%s, %s, %s)" % (x, number(float(threshold)), number(float(value)))


@op("nn.functional.hardtanh")
def say_hardtanh(case, x, min_val=-1.0, max_val=1.0, inplace=False):
    if not x.is_float:
        raise Unsaid("activations of integers")
    return "hardtanh(%s, %s, %s)" % (x, number(float(min_val)), number(float(max_val)))


@op("nn.functional.glu")
def say_glu(case, x, dim=-1):
    return "glu(%s, axis=%d)" % (x, dim)


@op("softmax", "log_softmax", "nn.functional.softmin")
def say_softmax(case, x, dim, dtype=None, **kw):
    default_only(dtype=(dtype, None), **{k: (v, None) for k, v in kw.items()})
    if x.rank == 0:
        raise Unsaid("axes of scalars")
    return "%s(%s, axis=%d)" % (case.op.name.split(".")[-1], floats(x), dim)


# -- elementwise, more operands

def binary(text):
    def say_it(case, x, y, **kw):
        default_only(**{k: (v, None) for k, v in kw.items()})
        same_kind(x, y)
        return text.format(number(x), number(y))

    return say_it


for torch_name, text in {
    "mul": "{} * {}", "maximum": "maximum({}, {})", "minimum": "minimum({}, {})", "atan2": "arctan2({}, {})", "hypot": "hypot({}, {})",
    "logaddexp": "logaddexp({}, {})", "remainder": "{} % {}", "floor_divide": "floordiv({}, {})", "ne": "{} != {}", "eq": "{} == {}", "lt": "{} < {}", "le": "{} <= {}", "gt": "{} > {}",
    "ge": "{} >= {}",
}.items():
    TABLE[torch_name] = binary(text)


@op("__rmul__")
def say_rmul(case, x, y):
    same_kind(x, y)
    return "%s * %s" % (number(y), x)


@op("__rmod__")
def say_rmod(case, x, y):
    same_kind(x, y)
    return "%s %% %s" % (number(y), x)


@op("add", "sub", "rsub", "__radd__", "__rsub__")
def say_add(case, x, y, alpha=1):
    same_kind(x, y, alpha)
    sign = "+" if "add" in case.op.name else "-"
    a, b = (x, y) if case.op.name in ("add", "sub", "__radd__") else (y, x)
    if case.op.name == "rsub":
        return "%s - %s * %s" % (number(y), number(x), number(alpha))
    scaled = number(b) if alpha == 1 else "%s * %s" % (number(b), number(alpha))
    return "%s %s %s" % (number(a), sign, scaled)


@op("div", "true_divide", "__rdiv__")
def say_div(case, x, y, rounding_mode=None):
    if rounding_mode is None:
        a, b = (x, y) if case.op.name != "__rdiv__" else (y, x)
        return "%s / %s" % (floats(a), floats(b))
    same_kind(x, y)
    if rounding_mode == "floor":
        return "floordiv(%s, %s)" % (number(x), number(y))
    if not x.is_float:
        raise Unsaid("division of integers towards zero")
    return "trunc(%s / %s)" % (number(x), number(y))


@op("pow", "__rpow__", "float_power")
def say_pow(case, x, y):
    a, b = (x, y) if case.op.name != "__rpow__" else (y, x)
    if case.op.name == "float_power" or not getattr(x, "is_float", True):
        raise Unsaid("powers of integers")
    same_kind(x, y)
    return "%s ** %s" % (number(a), number(b))


@op("logical_and", "logical_or")
def say_logical(case, x, y):
    if any(t.value.dtype != torch.bool for t in (x, y)):
        raise Unsaid("logic of numbers")
    return "%s %s %s" % (x, case.op.name.split("_")[1], y)


@op("clamp")
def say_clamp(case, x, min=None, max=None):
    same_kind(x, min, max)
    text = [x] + ["%s=%s" % (k, number(v)) for k, v in (("low", min), ("high", max)) if v is not None]
    return "clip(%s)" % ", ".join(text)


@op("clamp_min", "clamp_max")
def say_clamp_one(case, x, limit):
    same_kind(x, limit)
    return "%s(%s, %s)" % ("maximum" if case.op.name == "clamp_min" else "minimum", x, number(limit))


@op("where")
def say_where(case, x, condition, y):
    """The operator of PyTorch's table takes the condition second."""
    if condition.value.dtype != torch.bool:
        raise Unsaid("conditions that are not bool")
    if isinstance(x, Tensor) and isinstance(y, Tensor) and x.value.dtype != y.value.dtype:
        raise Unsaid("operands of several types")
    for scalar, other in ((x, y), (y, x)):
        if isinstance(scalar, bool) and isinstance(other, Tensor) and other.value.dtype != torch.bool:
            raise Unsaid("operands of several types")
    return "where(%s, %s, %s)" % (condition, number(x), number(y))


@op("masked_fill")
def say_masked_fill(case, x, mask, value):
    same_kind(x, value)
    return "where(%s, %s, %s)" % (mask, number(value), x)


@op("lerp")
def say_lerp(case, x, end, weight):
    same_kind(x, end, weight)
    return "%s + %s * (%s - %s)" % (x, number(weight), end, x)


@op("addcmul", "addcdiv")
def say_addc(case, x, a, b, value=1):
    same_kind(x, a, b)
    return "%s + %s * %s %s %s" % (x, number(float(value) if x.is_float else value), a, "*" if case.op.name == "addcmul" else "/", b)


@op("copysign", "fmod", "heaviside", "nextafter", "ldexp", "xlogy")
def say_missing(case, *args, **kwargs):
    raise Unsaid("no such function: " + case.op.name)


@op("logit")
def say_logit(case, x, eps=None):
    default_only(eps=(eps, None))
    return "log({0} / (1.0 - {0}))".format(floats(x))


@op("broadcast_tensors", "meshgrid")
def say_several(case, *xs, **kw):
    raise Unsaid("several results of one call")


# -- reductions

def reduction(own, floating=False):
    def say_it(case, x, dim=None, keepdim=False, dtype=None, **kw):
        default_only(dtype=(dtype, None), **{k: (v, None) for k, v in kw.items()})
        if x.rank == 0 and dim is not None:
            raise Unsaid("axes of scalars")
        if not floating and own != "any" and own != "all":
            numbers_only(x)
        text = [floats(x) if floating else x]
        if dim is not None and dim != () and dim != []:
            text.append("axis=" + axes_of(dim))
        if keepdim:
            if len(text) == 1:
                text.append("axis=" + sizes(range(x.rank)))
            text.append("keepdims=true")
        return "%s(%s)" % (own, ", ".join(text))

    return say_it


for torch_name, own in {"sum": "sum", "prod": "prod", "amax": "max", "amin": "min", "argmax": "argmax", "argmin": "argmin"}.items():
    TABLE[torch_name] = reduction(own)
TABLE["mean"] = reduction("mean", floating=True)
TABLE["logsumexp"] = reduction("logsumexp", floating=True)


@op("all", "any")
def say_all(case, x, dim=None, keepdim=False):
    if x.value.dtype != torch.bool:
        raise Unsaid("logic of numbers")
    return reduction(case.op.name)(case, x, dim, keepdim)


@op("max", "min")
def say_max(case, x, dim=None, keepdim=False):
    if isinstance(dim, Tensor):
        same_kind(x, dim)
        return "%simum(%s, %s)" % (case.op.name, x, dim)
    case.kept = 1
    return reduction(case.op.name)(case, x, dim, keepdim)



@op("std", "var")
def say_var(case, x, dim=None, unbiased=None, correction=None, keepdim=False):
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    ddof = correction if correction is not None else 1 if unbiased in (None, True) else 0
    if ddof not in (0, 1) and not isinstance(ddof, (int, float)):
        raise Unsaid("correction=%s" % ddof)
    dims = [d % x.rank for d in ([dim] if isinstance(dim, int) else dim or range(x.rank))] if x.rank else []
    n = math.prod(x.shape[d] for d in dims)
    if n - ddof <= 0:
        raise Unsaid("no degrees of freedom")
    inner = reduction("var")(case, x, dim, keepdim)
    text = "%s * %s" % (inner, number(n / (n - ddof)))
    return text if case.op.name == "var" else "sqrt(%s)" % text


@op("norm", "linalg.vector_norm")
def say_norm(case, x, ord=2, dim=None, keepdim=False, p=None, dtype=None):
    order = p if p is not None else ord
    default_only(dtype=(dtype, None))
    if order not in (2, 2.0, "fro"):
        raise Unsaid("norms of order %s" % order)
    return reduction("norm", floating=True)(case, x, dim, keepdim)


@op("count_nonzero")
def say_count(case, x, dim=None):
    if x.rank == 0 and dim is not None:
        raise Unsaid("axes of scalars")
    truth = x if x.value.dtype == torch.bool else "%s != 0" % x
    axis = "" if dim in (None, [], ()) else ", axis=" + axes_of(dim)
    return "cast(sum(%s%s), i64)" % (truth, axis)


@op("std_mean", "var_mean")
def say_var_mean(case, x, dim=None, unbiased=None, correction=None, keepdim=False):
    class Only:
        name = case.op.name.split("_")[0]

    part = type("Part", (), {"op": Only})
    mean_dim = None if isinstance(dim, bool) else dim
    return "(%s, %s)" % (say_var(part, x, dim, unbiased, correction, keepdim), reduction("mean", floating=True)(case, x, mean_dim, keepdim))


@op("aminmax")
def say_aminmax(case, x, dim=None, keepdim=False):
    return "(%s, %s)" % (reduction("min")(case, x, dim, keepdim), reduction("max")(case, x, dim, keepdim))


@op("cumsum")
def say_cumsum(case, x, dim, dtype=None):
    default_only(dtype=(dtype, None))
    numbers_only(x)
    if x.rank == 0:
        raise Unsaid("axes of scalars")
    return "cumsum(%s, axis=%d)" % (x, dim)
