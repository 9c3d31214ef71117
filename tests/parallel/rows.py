#!/usr/bin/env python3
"""Evaluation and inference of few and many rows on eight ranks: what one device gives, outputs in order.
rows.py [PROGRAM…]: of programs/ that say what infer reads and gives"""
import glob
import os

import kit

RANKS = 8
ROWS = [1, 3, 5, 17]


def weights_of(program, plan):
    """Of a few steps, so that running statistics and averages are not what they began as."""
    data = kit.write_data(program, "train.npz", 24)
    _, _, weights = kit.trained(plan, "train=" + data, 1, "train", ["--quiet", "--batch", "12", "--steps", "3"])
    return weights


def inferred(program, plan, weights, data, ranks):
    command = [kit.DLRUN, "infer", plan, "--weights", weights, "--device", kit.device(ranks)]
    for name in program.inputs:
        command += ["--input", "%s=%s:%s" % (name, data, name)]
    for name in program.outputs:
        command += ["--output", "%s=%s.%d.npy" % (name, name, ranks)]
    kit.run(command)
    return {name: kit.read_array("%s.%d.npy" % (name, ranks)) for name in program.outputs}


def same_arrays(wanted, got, tolerance):
    for name, (sizes, values) in wanted.items():
        if got[name][0] != sizes:
            raise kit.Failure("output %s has sizes %s, on one device %s" % (name, got[name][0], sizes))
        largest = max([abs(x) for x in values] + [1e-3])
        for i, (a, b) in enumerate(zip(values, got[name][1])):
            if not (a == b or abs(a - b) <= tolerance * largest):
                raise kit.Failure("output %s, element %d: %s, on one device %s" % (name, i, b, a))


def rows(name):
    program = kit.Program(name)
    plan = program.plan()
    weights = weights_of(program, plan)
    ranked = program.plan(mesh="data=*")
    for count in ROWS:
        data = kit.write_data(program, "rows.npz", count, seed=count)
        try:
            wanted = inferred(program, plan, weights, data, 1)
            same_arrays(wanted, inferred(program, ranked, weights, data, RANKS), program.tolerance)
            for batch in (17, 4):
                one = kit.evaluated(plan, weights, data, 1, batch)
                many = kit.evaluated(ranked, weights, data, RANKS, batch)
                kit.same_log([one], [many], program.tolerance)
        except kit.Failure as failure:
            raise kit.Failure("%d rows: %s" % (count, failure)) from None


CASES = {}
for path in sorted(glob.glob(os.path.join(kit.HERE, "programs", "*.dl"))):
    NAME = os.path.basename(path)[:-3]
    if kit.Program(NAME).inputs:
        CASES[NAME] = lambda name=NAME: rows(name)
if __name__ == "__main__":
    kit.main(CASES)
