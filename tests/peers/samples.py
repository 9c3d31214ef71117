#!/usr/bin/env python3
"""PyTorch's own sample inputs (torch.testing._internal) through dlc: every op that ops.py says in the language is
compiled, run and differentiated, and compared with PyTorch in double precision.

samples.py DLC DLRUN FOLDER [--ops GLOB] [--verbose]. Writes FOLDER/report.json. Ends with the number of cases and of mismatches that
known.txt does not explain; fails if there is one, or if an explanation there is no longer needed.
"""
import argparse
import collections
import fnmatch
import json
import os
import subprocess
import sys
import warnings

import numpy
import torch
from torch.testing._internal.common_methods_invocations import op_db

import ops

GROUP = 24  # samples of one program
TYPES = {torch.float32: "f32", torch.float64: "f64", torch.int64: "i64", torch.int32: "i32", torch.bool: "bool", torch.uint8: "u8"}
SKIPPED = "not said in the language"


class Case:
    """One sample: the tensors, how they are called in the program, and what PyTorch gives for it."""

    def __init__(self, op, number, sample):
        self.op, self.number, self.sample = op, number, sample
        self.tensors, self.text, self.why = [], None, None
        self.results, self.gradients, self.got = [], {}, {}

    def name(self):
        return "%s #%d" % (self.op.name, self.number)

    def tensor(self, value):
        """A tensor of the sample as an input of the program."""
        if value.layout != torch.strided or value.dtype not in TYPES:
            raise ops.Unsaid("elements of type %s" % value.dtype)
        self.tensors.append(value.detach())
        return "x%d_%d" % (self.number, len(self.tensors) - 1)

    def inputs(self):
        for k, value in enumerate(self.tensors):
            yield "x%d_%d" % (self.number, k), value

    def describe(self):
        shapes = ", ".join("%s%s" % (TYPES[t.dtype], list(t.shape)) for t in self.tensors)
        return "%s: %s of %s" % (self.name(), self.text, shapes)


def tuple_of(value):
    return list(value) if isinstance(value, (tuple, list)) else [value]


def widened(value):
    if isinstance(value, torch.Tensor):
        wide = value.detach().double() if value.dtype.is_floating_point else value.detach().clone()
        return wide.requires_grad_(value.dtype.is_floating_point)
    if isinstance(value, (tuple, list)):
        return type(value)(widened(item) for item in value) if type(value) in (tuple, list) else value
    return value


def leaves(value, found):
    if isinstance(value, torch.Tensor):
        found.append(value)
    elif isinstance(value, (tuple, list)):
        for item in value:
            leaves(item, found)
    elif isinstance(value, dict):
        for item in value.values():
            leaves(item, found)
    return found


def weights_like(value):
    """What the gradients are taken of: sum(y * weights), so that no sum is special."""
    return torch.cos(torch.arange(value.numel(), dtype=torch.float64) * 0.7 + 0.3).reshape(value.shape)


def refer(case):
    """PyTorch's values and gradients, in double precision."""
    sample = case.sample
    args = [widened(item) for item in [sample.input, *sample.args]]
    kwargs = {key: widened(item) for key, item in sample.kwargs.items()}
    given = leaves([args, kwargs], [])
    try:
        results = case.op(*args, **kwargs)
    except RuntimeError:  # not differentiable by some argument
        given = []
        with torch.no_grad():
            results = case.op(sample.input, *sample.args, **sample.kwargs)
    results = [r for r in tuple_of(results) if isinstance(r, torch.Tensor)]
    case.results = [r.detach() for r in results if r.layout == torch.strided][: case.kept or None]
    smooth = [r for r in results[: len(case.results)] if r.dtype.is_floating_point and r.requires_grad]
    if not smooth or not case.op.supports_autograd or not case.differentiable:
        return
    total = sum((r * weights_like(r)).sum() for r in smooth)
    wanted = [t for t in given if t.requires_grad]
    try:
        gradients = torch.autograd.grad(total, wanted, allow_unused=True)
    except RuntimeError:  # no derivative there
        return
    for t, g in zip(wanted, gradients):
        if g is not None:
            for k, value in enumerate(case.tensors):
                if value.shape == t.shape and torch.equal(value.double(), t.detach()) and k not in case.gradients:
                    case.gradients[k] = g.detach().to_dense() if g.layout != torch.strided else g.detach()
                    break


def make_case(op, number, sample):
    case = Case(op, number, sample)
    case.kept, case.differentiable = 0, True
    try:
        case.text = ops.say(case, op.name, sample)
        if any(0 in t.shape for t in case.tensors):
            raise ops.Unsaid("empty tensors")
        refer(case)
        if any(r.dtype not in TYPES and r.dtype != torch.float64 for r in case.results):
            raise ops.Unsaid("results of type %s" % [r.dtype for r in case.results])
        if not case.results:
            raise ops.Unsaid("results that are no tensors")
        if any(0 in r.shape for r in case.results):
            raise ops.Unsaid("empty tensors")
    except ops.Unsaid as reason:
        case.why = str(reason)
    return case


def declare(name, value):
    return "%s: %s[%s]" % (name, TYPES[value.dtype], ", ".join(str(n) for n in value.shape))


def program(cases):
    lines, inputs = [], []
    for case in cases:
        n = case.number
        inputs += [declare(name, value) for name, value in case.inputs()]
        smooth = [k for k, r in enumerate(case.results) if r.dtype.is_floating_point]
        targets = ["y%d_%d" % (n, k) for k in range(len(case.results))]
        lines.append("    %s = %s" % (", ".join(targets), case.text))
        lines += ["    output %s" % t for t in targets]
        if case.gradients:
            for k in smooth:
                inputs.append(declare("w%d_%d" % (n, k), case.results[k].float()))
            total = " + ".join("sum(y%d_%d * w%d_%d)" % (n, k, n, k) for k in smooth)
            lines.append("    s%d = %s" % (n, total))
            lines += ["    output g%d_%d = grad(s%d, x%d_%d)" % (n, k, n, n, k) for k in case.gradients]
    return "model m(%s) {\n%s\n}\n" % (", ".join(inputs), "\n".join(lines))


def run(cases, tools, folder):
    """Compiles and runs one program; the message of what failed, or None with case.got filled."""
    stem = os.path.join(folder, "p")
    arrays, outputs = {}, []
    for case in cases:
        arrays.update({name: value.contiguous().numpy() for name, value in case.inputs()})
        for k, r in enumerate(case.results):
            outputs.append((case, ("y", k), "y%d_%d" % (case.number, k)))
            if case.gradients and r.dtype.is_floating_point:
                arrays["w%d_%d" % (case.number, k)] = weights_like(r).float().numpy()
        outputs += [(case, ("g", k), "g%d_%d" % (case.number, k)) for k in case.gradients]
    with open(stem + ".dl", "w") as file:
        file.write(program(cases))
    numpy.savez(stem + ".npz", **arrays)
    compiled = subprocess.run([tools[0], stem + ".dl", "-o", stem + ".plan", "--quiet"], capture_output=True, text=True, timeout=300)
    if compiled.returncode:
        return compiled.stderr.strip() or "status %d" % compiled.returncode
    command = [tools[1], "infer", stem + ".plan"]
    for name in arrays:
        command += ["--input", "%s=%s.npz:%s" % (name, stem, name)]
    for i, (_, _, name) in enumerate(outputs):
        command += ["--output", "%s=%s.%d.npy" % (name, stem, i)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if ran.returncode:
        return ran.stderr.strip() or "status %d" % ran.returncode
    for i, (case, key, _) in enumerate(outputs):
        path = "%s.%d.npy" % (stem, i)
        case.got[key] = torch.from_numpy(numpy.load(path))
        os.unlink(path)
    return None


def run_all(cases, tools, folder, failures):
    """Halves a program that fails until the sample that fails stands alone."""
    message = run(cases, tools, folder)
    if message is None:
        return
    if len(cases) == 1:
        failures[cases[0]] = message
        return
    run_all(cases[: len(cases) // 2], tools, folder, failures)
    run_all(cases[len(cases) // 2 :], tools, folder, failures)


def differs(got, wanted, tolerance):
    if list(got.shape) != list(wanted.shape):
        return "shape %s instead of %s" % (list(got.shape), list(wanted.shape))
    a, b = got.double(), wanted.double()
    scale = b[torch.isfinite(b)].abs().max().item() if torch.isfinite(b).any() else 1.0
    if b.abs().max().item() > 3e38:
        b = b.float().double()  # beyond f32
    close = torch.isclose(a, b, rtol=tolerance, atol=tolerance * max(scale, 0.1), equal_nan=True)
    if bool(close.all()):
        return None
    at = int((~close).flatten().nonzero()[0])
    return "element %d is %r instead of %r" % (at, a.flatten()[at].item(), b.flatten()[at].item())


def judge(case):
    tolerance = ops.tolerance(case.op.name)
    for k, wanted in enumerate(case.results):
        problem = differs(case.got["y", k], wanted, tolerance)
        if problem:
            return "value: " + problem
    for k, wanted in case.gradients.items():
        problem = differs(case.got["g", k], wanted, 4 * tolerance)
        if problem:
            return "gradient by input %d: %s" % (k, problem)
    return None


def samples_of(op):
    torch.manual_seed(7)
    for dtype in (torch.float32, torch.int64, torch.bool):
        if op.supported_dtypes("cpu") and dtype in op.supported_dtypes("cpu"):
            yield from op.sample_inputs("cpu", dtype)
            if op.reference_inputs_func is not None and dtype == torch.float32:
                yield from op.reference_inputs("cpu", dtype)


def collect(pattern, counts):
    seen, cases = set(), []
    for op in op_db:
        if not fnmatch.fnmatch(op.name, pattern):
            continue
        if not ops.known(op.name):
            counts[SKIPPED] += 1
            continue
        if op.name in seen:
            continue  # a variant of the same function
        seen.add(op.name)
        own = []
        for sample in samples_of(op):
            if len(own) >= ops.MOST:
                break
            if max([t.numel() for t in leaves([sample.input, sample.args, sample.kwargs], [])] or [0]) <= 1 << 16:
                own.append(make_case(op, len(cases) + len(own), sample))
        cases += own
    return cases


def known_reasons():
    """known.txt: a line `GLOB OF THE NAME | part of what is found | why it is so`."""
    rows = []
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "known.txt")) as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                rows.append([part.strip() for part in line.split("|")])
    return rows


def report(cases, failures, counts, options):
    rows, known = [], known_reasons()
    used = [0] * len(known)
    for case in cases:
        if case.why:
            counts["unsaid: " + case.why] += 1
            continue
        problem = failures.get(case)
        problem = judge(case) if problem is None else "refused: " + problem.split("\n")[0].split("error")[-1].strip(": ")
        if problem is None:
            counts["equal"] += 1
            continue
        index = next((i for i, row in enumerate(known) if fnmatch.fnmatch(case.op.name, row[0]) and row[1] in problem), None)
        kind = "mismatches" if index is None else "explained"
        counts[kind] += 1
        rows.append({"case": case.describe(), "found": problem, "why": None if index is None else known[index][2]})
        if index is not None:
            used[index] += 1
        if options.verbose or index is None:
            print("%s\n    %s" % (case.describe()[:400], problem))
    unused = [row for row, n in zip(known, used) if n == 0] if options.ops == "*" else []
    for row in unused:
        print("known.txt: no longer needed: " + " | ".join(row))
    with open(os.path.join(options.folder, "report.json"), "w") as file:
        json.dump({"torch": torch.__version__, "counts": counts, "not_equal": rows}, file, indent=1)
    return len(unused)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dlc")
    parser.add_argument("dlrun")
    parser.add_argument("folder")
    parser.add_argument("--ops", default="*")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    counts, failures = collections.Counter(), {}
    cases = collect(options.ops, counts)
    ready = [case for case in cases if case.text and not case.why]
    for name in dict.fromkeys(case.op.name for case in ready):
        own = [case for case in ready if case.op.name == name]
        for first in range(0, len(own), GROUP):
            run_all(own[first : first + GROUP], (options.dlc, options.dlrun), options.folder, failures)
    unused = report(cases, failures, counts, options)
    for key, n in sorted(counts.items()):
        print("%6d %s" % (n, key))
    print("torch %s: %d cases, %d mismatches, %d explained" % (torch.__version__, len(ready), counts["mismatches"], counts["explained"]))
    return 1 if counts["mismatches"] or unused or not ready else 0


if __name__ == "__main__":
    sys.exit(main())
