"""IR whose values are read twice on each of many levels, or stand at the end of very long chains: the ways back double
with each level, so that nothing may follow them one by one.
  deep.py KIND COUNT"""
import sys

lines = []


def add(op, operands, attrs, type):
    """One op; gives its value."""
    name = f"%{len(lines) + FIRST}"
    attrs = f" {{{attrs}}}" if attrs else ""
    lines.append(f"    {name} = {op} {', '.join(operands)}{attrs} : {type}")
    return name


def pads(n):
    """Each pads by an element of the one before."""
    at = "%0"
    for k in range(n):
        element = add("slice", [at], "start = [3], limit = [4], step = [1]", "f32[1]")
        element = add("reshape", [element], "shape = []", "f32[]")
        at = add("pad", [at, element], "low = [0], high = [1], interior = [0]", f"f32[{64 + k + 1}]")
    return add("neg", [at], "", f"f32[{64 + n}]"), f"f32[{64 + n}]"


def shapes(n):
    """Reshapes that do not undo the transposes between them: quotient and remainder of quotients and remainders."""
    at = add("slice", ["%0"], "start = [0], limit = [60], step = [1]", "f32[60]")
    at, shape = add("reshape", [at], "shape = [6, 10]", "f32[6, 10]"), (6, 10)
    for k in range(n):
        at = add("transpose", [at], "permutation = [1, 0]", f"f32[{shape[1]}, {shape[0]}]")
        shape = ((4, 15), (6, 10), (12, 5), (20, 3))[k % 4]
        at = add("reshape", [at], f"shape = [{shape[0]}, {shape[1]}]", f"f32[{shape[0]}, {shape[1]}]")
    return add("sin", [at], "", f"f32[{shape[0]}, {shape[1]}]"), f"f32[{shape[0]}, {shape[1]}]"


def product(at):
    matrix = add("reshape", ["%0"], "shape = [8, 8]", "f32[8, 8]") if at is None else at
    return add("contract", [matrix, "%1"], "batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]", "f32[8, 8]")


def epilogue(n):
    """A product, times a value of many steps that does not depend on it."""
    y = product(None)
    c = "%1"
    for _ in range(n):
        c = add("mul", [c, add("sin", [c], "", "f32[8, 8]")], "", "f32[8, 8]")
    return add("mul", [c, y], "", "f32[8, 8]"), "f32[8, 8]"


def views(n):
    """A product of what was turned many times."""
    at = add("reshape", ["%0"], "shape = [8, 8]", "f32[8, 8]")
    for k in range(n):
        at = add("transpose", [at], "permutation = [1, 0]", "f32[8, 8]")
        if k % 2:
            at = add("reshape", [at], "shape = [4, 16]", "f32[4, 16]")
            at = add("reshape", [at], "shape = [8, 8]", "f32[8, 8]")
    return product(at), "f32[8, 8]"


def joined(n):
    """One op of many operands."""
    parts = [add("slice", ["%0"], f"start = [{k % 60}], limit = [{k % 60 + 2}], step = [1]", "f32[2]") for k in range(n)]
    return add("concat", parts, "axis = 0", f"f32[{2 * n}]"), f"f32[{2 * n}]"


def chain(n):
    """Many reductions, each of the one before."""
    at = "%0"
    for _ in range(n):
        total = add("reduce_sum", [at], "axes = [0]", "f32[]")
        wide = add("broadcast", [total], "shape = [64], axes = []", "f32[64]")
        at = add("sub", [at, wide], "", "f32[64]")
    return at, "f32[64]"


def readers(n):
    """Many reductions of one value."""
    at = add("sin", ["%0"], "", "f32[64]")
    totals = []
    for k in range(n):
        part = add("slice", [at], f"start = [{k % 60}], limit = [{k % 60 + 2}], step = [1]", "f32[2]")
        total = add("reduce_max", [part], "axes = [0]", "f32[]")
        totals.append(add("reshape", [total], "shape = [1]", "f32[1]"))
    return add("concat", totals, "axis = 0", f"f32[{n}]"), f"f32[{n}]"


def maps(n):
    """Many maps of two values, each of two before it."""
    at, before = "%0", "%0"
    for k in range(n):
        at, before = add(("add", "mul", "sub")[k % 3], [at, before], "", "f32[64]"), at
    return at, "f32[64]"


FIRST = 2
KINDS = {f.__name__: f for f in (pads, shapes, epilogue, views, joined, chain, readers, maps)}
result, _ = KINDS[sys.argv[1]](int(sys.argv[2]))
print('module "deep" {\n}\n\nfunc "f" infer (\n    %0: f32[64] = input "x",\n    %1: f32[8, 8] = input "w"\n) {')
print("\n".join(lines))
print(f'    yield {result}\n}} -> (\n    output "y"\n)')
