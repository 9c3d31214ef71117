#!/usr/bin/env python3
"""Every library function that takes two tensors of one shape refuses tensors whose shapes only look alike.

The signatures of lang/std say which functions those are: those with two tensor parameters that share `...` or a named
size. Each is compiled once with the shapes it asks for, and then, for each later use of a shared size, with another one
there: `[B]` in place of `[B, 1]` for `...`, 1 in place of n for a name. The first must compile; the others must be
refused, by an error that names both shapes.

Usage: one_shape.py DLC SOURCE_ROOT
"""
import itertools
import os
import re
import subprocess
import sys
import tempfile

TENSOR = re.compile(r"^(float|int|bool|any|f32|i32)\[(.*)\]$")
ELEMENTS = {"float": "f32", "int": "i32", "any": "f32"}


def split(text):
    """At the commas outside of brackets."""
    parts, depth, last = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            parts.append(text[last:i].strip())
            last = i + 1
    return [p for p in parts + [text[last:].strip()] if p]


class Param:
    def __init__(self, text):
        head, _, default = text.partition(" = ")
        self.name, _, self.type = (s.strip() for s in head.partition(":"))
        self.optional = default != ""
        match = TENSOR.match(self.type)
        self.element = ELEMENTS.get(match.group(1), match.group(1)) if match else None
        self.sizes = split(match.group(2)) if match else None


def signatures(root):
    folder = os.path.join(root, "lang", "std")
    for file in sorted(os.listdir(folder)):
        for line in open(os.path.join(folder, file), encoding="utf-8"):
            match = re.match(r"fn (\w+)\((.*)\)(?: -> .*)? \{$", line.rstrip())
            if match:
                yield match.group(1), [Param(p) for p in split(match.group(2))]


def scalar(param, number):
    return {"int": number, "float": "0.5", "str": '"s"', "bool": "true", "fn": "relu"}.get(param.type, "2")


def program(name, params, shapes, number):
    """A model that calls the function on inputs of these shapes."""
    inputs, arguments = [], []
    for param in params:
        if param.sizes is not None:
            inputs.append(f"{param.name}_: {param.element}[{', '.join(shapes[param.name])}]")
            arguments.append(f"{param.name}={param.name}_")
        elif not param.optional:
            arguments.append(f"{param.name}={scalar(param, number)}")
    first = inputs[0].split(":")[0]
    return (f"dim B\nmodel m({', '.join(inputs)}) {{\n    r = {name}({', '.join(arguments)})\n"
            f"    output first = {first}\n}}\n")


def main():
    dlc, root = sys.argv[1:3]
    checked = refused = failed = 0
    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(work, "case.dl")

        def check(text):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            run = subprocess.run([dlc, "check", path], capture_output=True, text=True, timeout=60)
            return run.returncode, run.stderr

        for name, params in signatures(root):
            tensors = [p for p in params if p.sizes]
            uses = {}
            for p in tensors:
                for symbol in set(p.sizes):
                    if symbol.startswith("...") or re.match(r"^[A-Z]\w*$", symbol):
                        uses.setdefault(symbol, []).append(p)
            shared = {s: users for s, users in uses.items() if len(users) > 1}
            if not shared:
                continue
            fresh = itertools.count(6, 2)
            values = {s: ["B", "1"] if s.startswith("...") else [str(next(fresh))] for s in uses}

            def shape(param, changed=None, to=None):
                return [n for s in param.sizes for n in (to if s == changed else values.get(s, [s]))]

            shapes = {p.name: shape(p) for p in tensors}
            numbers = ["2"] + [v[0] for s, v in values.items() if not s.startswith("...")]
            number = next((n for n in numbers if check(program(name, params, shapes, n))[0] == 0), None)
            if number is None:
                print(f"FAILED: {name} does not compile:\n{check(program(name, params, shapes, '2'))[1]}")
                failed += 1
                continue
            checked += 1
            for symbol, users in shared.items():
                rest = symbol.startswith("...")
                for param in users[1:]:
                    for to in [["B"], ["B", "1", "1"], []] if rest else [["1"]]:
                        other = shape(param, symbol, to)
                        text = program(name, params, {**shapes, param.name: other}, number)
                        status, errors = check(text)
                        code = "E0428" if rest else "E0405"
                        refused += 1
                        if status == 0 or code not in errors:
                            print(f"FAILED: {name} takes '{param.name}' of [{', '.join(other)}]\n{text}{errors}")
                            failed += 1
                        if rest and not all(f"[{', '.join(s)}]" in errors for s in (values[symbol], to)):
                            print(f"FAILED: {name} does not name both shapes:\n{errors}")
                            failed += 1
    print(f"{checked} functions, {refused} shapes refused, {failed} failures")
    return 1 if failed or checked < 20 else 0


sys.exit(main())
