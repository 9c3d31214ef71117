#!/usr/bin/env python3
"""Ranks on simulated GPUs: digits and a small gpt2, three steps, a batch or a model cut in two, against one CPU device; in several legal
orders of the device's queues the same bits and no race; with one wait left out, a race is reported or the bits are the same."""
import os

import kit

ORDERS = [("earliest", "1"), ("latest", "1"), ("random", "2"), ("random", "3")]
SMALL = {"digits": [], "gpt2": ["layers=2", "width=16", "context=16", "vocab=64"]}
REPORT = "report.txt"
MOST = 400  # waits looked at: all of a run of three steps


def settings(order, left_out=0):
    os.environ.update(DLC_CUDASIM_ORDER=order[0], DLC_CUDASIM_SEED=order[1], DLC_CUDASIM_LEAVE_OUT=str(left_out), DLC_CUDASIM_REPORT=REPORT)
    open(REPORT, "w").close()


def data_of(program, defines):
    for field in program.fields:
        if "context=16" in defines and field[2] == "64":
            field[2], field[3] = "16", "0..64"
    return kit.write_data(program, program.name + ".npz", 13)


def trained(plan, data, device, name):
    """Log and weights; a run that fails with a wait left out gives neither."""
    kit.device = lambda ranks: device
    return kit.trained(plan, data, 2, name, ["--batch", "5", "--steps", "3", "--seed", "3", "--threads", "1"])


def on_gpus(name, mesh):
    program, defines = kit.Program(name), SMALL[name]
    data = data_of(program, defines)
    log, _, weights = trained(program.plan(defines=defines), data, "cpu", name + ".one")
    program.compile += ["--target", "cuda:sm_90"]
    plan = program.plan(mesh=mesh, defines=defines)
    first = None
    for order in ORDERS:
        settings(order)
        own_log, said, own_weights = trained(plan, data, "cuda:0*2", "%s.%s.%s" % (name, *order))
        report = open(REPORT).read()
        if report:
            raise kit.Failure("%s in order %s %s: %s" % (mesh, *order, report))
        if "compiled anew" in said:
            raise kit.Failure("the plan was not for these ranks: " + said)
        kit.same_log(log, own_log, program.tolerance)
        kit.same_weights(weights, own_weights, program.tolerance)
        if first:
            kit.same_bytes(first, own_weights)
        first = first or own_weights
    return plan, data, first


def left_out(plan, data, whole, step):
    """Every `step`th wait left out, each alone."""
    reported = same = 0
    for number in range(1, MOST, step):
        settings(("random", "2"), number)
        try:
            _, _, weights = trained(plan, data, "cuda:0*2", "without")
        except kit.Failure:
            weights = None
        report = open(REPORT).read()
        if "left out: that " not in report:
            break
        if report.count("\n") > report.count("left out: that "):
            reported += 1
        elif weights is None:
            raise kit.Failure("without wait %d the run fails, and no race is reported:\n%s" % (number, report))
        else:
            kit.same_bytes(whole, weights)
            same += 1
    if reported == 0:
        raise kit.Failure("no wait matters: of %d left out none was reported" % same)
    print("%d waits left out: %d reported, without %d the same bits" % (reported + same, reported, same))


def digits_data():
    on_gpus("digits", "data=2")


def digits_model():
    left_out(*on_gpus("digits", "model=2"), step=7)


def gpt2_data():
    left_out(*on_gpus("gpt2", "data=2"), step=29)


def gpt2_model():
    on_gpus("gpt2", "model=2")


CASES = {case.__name__: case for case in (digits_data, digits_model, gpt2_data, gpt2_model)}
if __name__ == "__main__":
    kit.main(CASES)
