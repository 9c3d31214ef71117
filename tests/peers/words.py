"""What the tables of PyTorch's functions are made with: `op` adds a row, from a sample's arguments to an expression of the language. What the
language says otherwise on purpose (a missing argument, no such element type) raises Unsaid with the reason, and is counted."""
import math

import torch

MOST = 60  # samples of an op
TABLE = {}
LOOSE = {"nn.functional.gelu": 1e-5, "cumprod": 5e-5, "prod": 5e-5, "std": 3e-5, "var": 3e-5}


class Unsaid(Exception):
    """A sample that the language has no words for."""


def known(name):
    return name in TABLE


def tolerance(name):
    return LOOSE.get(name, 2e-5)


def say(case, name, sample):
    arguments = [given(case, a) for a in [sample.input, *sample.args]]
    named = {key: given(case, a) for key, a in sample.kwargs.items()}
    try:
        return TABLE[name](case, *arguments, **named)
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise Unsaid("arguments that this table does not foresee: %s" % error) from None


class Tensor(str):
    """The name of an input, with the tensor's facts."""

    def __new__(cls, name, value):
        made = super().__new__(cls, name)
        made.value, made.shape, made.rank = value, tuple(value.shape), value.dim()
        made.is_float = value.dtype.is_floating_point
        return made


def given(case, a):
    if isinstance(a, torch.Tensor):
        return Tensor(case.tensor(a), a)
    if isinstance(a, (list, tuple)) and any(isinstance(item, torch.Tensor) for item in a):
        return [given(case, item) for item in a]
    return a


def op(*names):
    def add(function):
        for name in names:
            TABLE[name] = function
        return function

    return add


# -- pieces

def number(v):
    if isinstance(v, Tensor):
        return v
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, int):
        return str(v) if v >= 0 else "(%d)" % v
    if isinstance(v, float):
        if not math.isfinite(v):
            raise Unsaid("infinite or nan scalars")
        text = repr(v)
        text = text if "." in text or "e" in text else text + ".0"
        if "e" in text and "." not in text.split("e")[0]:
            text = text.replace("e", ".0e")
        return text if v >= 0 else "(%s)" % text
    raise Unsaid("scalars of type %s" % type(v).__name__)


def sizes(shape):
    return "[%s]" % ", ".join(str(n) for n in shape)


def floats(x):
    """Integers become floats before functions that are float in PyTorch."""
    if isinstance(x, Tensor) and not x.is_float:
        if x.value.dtype == torch.bool:
            return "where(%s, 1.0, 0.0)" % x
        return "cast(%s, f32)" % x
    return number(x)


def numbers_only(*xs):
    for x in xs:
        if isinstance(x, Tensor) and x.value.dtype == torch.bool:
            raise Unsaid("arithmetic on bool")


def same_kind(*xs):
    """The language does not mix integers with floats without a cast."""
    kinds = {x.value.dtype for x in xs if isinstance(x, Tensor)}
    if len(kinds) > 1:
        raise Unsaid("operands of several types")
    if any(isinstance(x, float) for x in xs) and any(not k.is_floating_point for k in kinds):
        raise Unsaid("operands of several types")
    numbers_only(*xs)


def default_only(**options):
    for key, (value, usual) in options.items():
        if value not in (usual, None):
            raise Unsaid("%s=%s" % (key, value))


def axes_of(dim):
    return sizes(dim) if isinstance(dim, (list, tuple)) else str(dim)
