#!/usr/bin/env python3
"""Training on many ranks is training on one device: losses, metrics, gradient norms of every step, evaluations between them and the weights
at the end, to the rounding of f64; the same bits in a second run.
equal.py [PROGRAM…]: of programs/, whose first lines say how they are tried; PROGRAM:f32, the same in f32, losses alone"""
import glob
import os

import kit

SINGLE = 2e-6  # of losses in f32


def options(program):
    known = {"batch": "--batch", "steps": "--steps", "seed": "--seed", "eval_batch": "--eval-batch", "epochs": "--epochs"}
    chosen = ["--quiet"]
    for key, value in program.train.items():
        if key not in ("rows", "eval_rows"):
            chosen += [known[key], value]
    return chosen


def data_of(program):
    rows = int(program.train["rows"])
    data = "train=" + kit.write_data(program, program.name + ".npz", rows)
    if "eval_rows" in program.train:
        data += ",eval=" + kit.write_data(program, program.name + ".eval.npz", int(program.train["eval_rows"]), seed=2)
    return data


def shown(text):
    """What `show` printed: these lines are not the progress line's, and equal those of one device."""
    return [line for line in text.splitlines() if "compiled anew" not in line]


def numbers_of(lines):
    """Lines as words and numbers, so that numbers may be compared as such."""
    return [word.strip(",:[]") for line in lines for word in line.split()]


def same_shown(wanted, got):
    a, b = numbers_of(shown(wanted)), numbers_of(shown(got))
    if len(a) != len(b):
        raise kit.Failure("printed\n%s\nwanted\n%s" % (got, wanted))
    for one, other in zip(a, b):
        try:
            fits = kit.close(float(one), float(other), 1e-5)
        except ValueError:
            fits = one == other
        if not fits:
            raise kit.Failure("printed %s, on one device %s" % (other, one))


def equal(name):
    program = kit.Program(name)
    chosen, data = options(program), data_of(program)
    plan = program.plan()
    log, text, weights = kit.trained(plan, data, 1, name + ".1", chosen)
    for ranks in program.ranks:
        try:
            own_log, own_text, own_weights = kit.trained(plan, data, ranks, "%s.%d" % (name, ranks), chosen)
            kit.same_log(log, own_log, program.tolerance)
            kit.same_weights(weights, own_weights, program.tolerance)
            same_shown(text, own_text)
        except kit.Failure as failure:
            raise kit.Failure("on %d ranks: %s" % (ranks, failure)) from None
    again_log, _, again = kit.trained(plan, data, ranks, name + ".again", chosen)
    kit.same_log(own_log, again_log, 0.0)
    kit.same_bytes(own_weights, again)


def single(name):
    """In f32, 20 losses."""
    program = kit.Program(name)
    chosen, data = options(program), data_of(program)
    plan = program.plan("f32")
    log, _, _ = kit.trained(plan, data, 1, name + ".1", chosen)
    for ranks in program.ranks[-2:]:
        own_log, _, _ = kit.trained(plan, data, ranks, "%s.%d" % (name, ranks), chosen)
        kit.same_log(log, own_log, SINGLE, keys=["loss"])


CASES = {}
for path in sorted(glob.glob(os.path.join(kit.HERE, "programs", "*.dl"))):
    NAME = os.path.basename(path)[:-3]
    CASES[NAME] = lambda name=NAME: equal(name)
    CASES[NAME + ":f32"] = lambda name=NAME: single(name)
if __name__ == "__main__":
    kit.main(CASES)
