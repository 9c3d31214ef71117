#!/usr/bin/env python3
"""What went wrong in other systems, tried here on axes of data and model: each case has the number that README.md lists it by.
known.py [CASE…]"""
import json
import os

import kit


def plan_of(name, out, mesh=None, zero=0, more=()):
    """What dlc says of a plan that it makes, and of its training entry."""
    program = kit.Program(name)
    command = [kit.DLC, program.path, "--float", program.float, "--json", "-o", out] + program.compile + list(more)
    told = json.loads(kit.run(command + (["--mesh", mesh, "--zero", str(zero)] if mesh else []))[0])
    return told, next(one for one in told["entries"] if one["name"].endswith(".train"))


def options(name):
    train = kit.Program(name).train
    return ["--quiet", "--batch", train["batch"], "--steps", train["steps"]]


def data_of(name):
    return "train=" + kit.write_data(kit.Program(name), name + ".npz", int(kit.Program(name).train["rows"]))


def case_4():
    """A step in three parts on ranks is the step: no division but the one, whatever is cut; momentum would keep a wrong one."""
    large = ["-D", "vocab=1037"]  # smaller tables stay whole
    data = "train=" + kit.write_data(kit.Program("tied"), "parts.npz", 24)
    steps = ["--quiet", "--batch", "12", "--steps", "4"]
    plan_of("tied", "one.plan", more=large)
    log, _, weights = kit.trained("one.plan", data, 1, "one", steps)
    for zero in range(4):
        plan_of("tied", "many.plan", "data=*", zero, large + ["--accumulate"])
        for ranks in (2, 3):
            own, _, own_weights = kit.trained("many.plan", data, ranks, "many", steps + ["-D", "accumulate=3"])
            kit.same_log(log, own, 1e-9)
            kit.same_weights(weights, own_weights, 1e-7)


def case_5():
    """A parameter on a path that is cut and on one that every rank computes: its gradient is the sum of both, once."""
    plan_of("both_paths", "one.plan")
    log, _, weights = kit.trained("one.plan", data_of("both_paths"), 1, "one", options("both_paths"))
    for mesh, ranks in (("model=2", 2), ("data=*,model=2", 6)):
        _, entry = plan_of("both_paths", "many.plan", mesh)
        if not any(one["over"] == "model" for one in entry["exchanges"]):
            raise kit.Failure("%s: nothing is cut along the model axis" % mesh)
        own, _, own_weights = kit.trained("many.plan", data_of("both_paths"), ranks, "many", options("both_paths"))
        kit.same_log(log, own, 1e-9)
        kit.same_weights(weights, own_weights, 1e-7)


def case_7():
    """A tied gpt2 whose table has an odd number of rows: what ZeRO cuts of its gradient is cut of the sum of both places."""
    odd = ["-D", "vocab=257"]
    steps = ["--quiet", "--batch", kit.Program("gpt2").train["batch"], "--steps", "3"]
    plan_of("gpt2", "one.plan", more=odd)
    log, _, weights = kit.trained("one.plan", data_of("gpt2"), 1, "one", steps)
    for zero in (1, 2, 3):
        _, entry = plan_of("gpt2", "many.plan", "data=2", zero, odd)
        if not any(one["kind"] == "reduce_scatter" for one in entry["exchanges"]):
            raise kit.Failure("zero %d cuts nothing" % zero)
        own, _, own_weights = kit.trained("many.plan", data_of("gpt2"), 2, "many", steps)
        kit.same_log(log, own, 1e-9)
        kit.same_weights(weights, own_weights, 1e-6)


def case_8():
    """Tied tables: every level of ZeRO gives the same to rounding, decay is applied once, and no copy counts as a parameter."""
    large = ["-D", "vocab=1037"]  # smaller tables stay whole
    alone, _ = plan_of("tied", "one.plan", more=large)
    _, _, weights = kit.trained("one.plan", data_of("tied"), 1, "one", options("tied"))
    kept = None
    for zero in range(4):
        told, entry = plan_of("tied", "many.plan", "data=*", zero, large)
        if any(one["kind"] == "reduce_scatter" for one in entry["exchanges"]) != (zero > 0):
            raise kit.Failure("zero %d: exchanges %s" % (zero, entry["exchanges"]))
        if told["parameters"] != alone["parameters"]:
            raise kit.Failure("zero %d: %s parameters, on one device %s" % (zero, told["parameters"], alone["parameters"]))
        _, _, own = kit.trained("many.plan", data_of("tied"), 3, "zero%d" % zero, options("tied"))
        kit.same_weights(weights, own, 1e-7)
        if kept:
            kit.same_weights(kept, own, 1e-12)
        kept = own


def case_10():
    """A norm that is clipped from the first step on is that of all parameters, once, on every mesh."""
    plan_of("both_paths", "one.plan")
    log, _, _ = kit.trained("one.plan", data_of("both_paths"), 1, "one", options("both_paths"))
    if not log[0]["grad_norm"] > 0.5:
        raise kit.Failure("the first step is not clipped: %s" % log[0])
    for mesh, zero, ranks in (("data=*", 3, 5), ("replica=2,model=2", 0, 4)):
        plan_of("both_paths", "many.plan", mesh, zero)
        own, _, _ = kit.trained("many.plan", data_of("both_paths"), ranks, "many", options("both_paths"))
        kit.same_log(log, own, 1e-11, keys=["grad_norm"])


def case_13():
    """Memory that two results share by mistake: each value in memory of its own gives the same bits, on 2 to 8 ranks."""
    plan_of("lamb", "many.plan", "data=*", 1, ["-D", "B=9"])
    data = data_of("lamb")
    for ranks in (2, 3, 4, 5, 8):
        _, _, packed = kit.trained("many.plan", data, ranks, "packed", ["--quiet", "--batch", "9", "--steps", "3"])
        _, _, apart = kit.trained("many.plan", data, ranks, "apart", ["--quiet", "--batch", "9", "--steps", "3", "--arena", "guarded"])
        kit.same_bytes(packed, apart)


def case_15():
    """What runs again in the backward pass for want of memory draws the numbers that it drew: the same bits as without."""
    rows = ["-D", "B=64"]
    for mesh, zero, ranks in (("data=3", 0, 3), ("data=2,model=2", 1, 4)):
        _, entry = plan_of("recomputed", "kept.plan", mesh, zero, rows)
        _, _, kept = kit.trained("kept.plan", data_of("recomputed"), ranks, "kept", options("recomputed"))
        limit = entry["ranks"][0]["peak_bytes"] * 7 // 8
        _, again = plan_of("recomputed", "again.plan", mesh, zero, rows + ["--memory-limit", str(limit)])
        if again["commands"] <= entry["commands"] or again["ranks"][0]["arena_bytes"] >= entry["ranks"][0]["arena_bytes"]:
            raise kit.Failure("%s: nothing is computed again: %s, %s" % (mesh, entry, again))
        _, _, own = kit.trained("again.plan", data_of("recomputed"), ranks, "again", options("recomputed"))
        kit.same_bytes(kept, own)


def case_24():
    """Products in 16 bits: what is summed over ranks is summed in f32, along every axis, and 64 ranks give what one device gives."""
    plan_of("short", "one.plan")
    log, _, weights = kit.trained("one.plan", data_of("short"), 1, "one", options("short"))
    for mesh, zero, ranks in (("data=*", 0, 64), ("data=*,model=2", 3, 8)):
        _, entry = plan_of("short", "many.plan", mesh, zero)
        sums = [one for one in entry["exchanges"] if one["combine"] in ("add", "mul")]
        if not sums or any(one["type"] in ("bf16", "f16") for one in sums):
            raise kit.Failure("%s sums in %s" % (mesh, [one["type"] for one in sums]))
        own, _, own_weights = kit.trained("many.plan", data_of("short"), ranks, "many", options("short"))
        kit.same_log(log, own, 1e-5, keys=["loss"])
        kit.same_weights(weights, own_weights, 1e-4)


def case_25():
    """The bits of a sum do not depend on what travels with it: one network beside a small one and beside one that fills buckets."""
    kept, sizes = None, []
    for wide in (4, 800):  # 800 x 800 numbers of 8 bytes are more than a bucket of 4 MiB
        _, entry = plan_of("buckets", "many.plan", "data=*", 0, ["-D", "wide=%d" % wide])
        sizes.append(sum(one["calls"] for one in entry["exchanges"]))
        _, _, weights = kit.trained("many.plan", data_of("buckets"), 3, "wide%d" % wide, options("buckets"))
        tensors = {name: values for name, values in kit.read_weights(weights).items() if name.split(".")[0] in ("first", "second")}
        if len(tensors) != 4 or (kept and tensors != kept):
            raise kit.Failure("beside %d: %s, beside 4: %s" % (wide, tensors, kept))
        kept = tensors
    if sizes[0] == sizes[1]:
        raise kit.Failure("%s calls: the buckets are the same" % sizes)


def case_29():
    """What is frozen stays as it began, to the bit, on every mesh, and what is made of integers and masks is what one device makes."""
    plan_of("masks", "one.plan")
    log, _, weights = kit.trained("one.plan", data_of("masks"), 1, "one", options("masks"))
    for mesh, zero, ranks in (("data=*", 3, 3), ("model=2", 0, 2), ("data=*,model=2", 1, 4), ("data=*,model=2", 3, 6)):
        told, _ = plan_of("masks", "many.plan", mesh, zero)
        own, _, own_weights = kit.trained("many.plan", data_of("masks"), ranks, "many", options("masks"))
        kit.same_log(log, own, 1e-9)
        kit.same_weights(weights, own_weights, 1e-7)
        _, _, first = kit.trained("many.plan", data_of("masks"), ranks, "first", options("masks")[:-1] + ["1"])
        last, first = kit.read_weights(own_weights), kit.read_weights(first)
        for name in last:
            frozen = name.split(".")[0] in ("table", "wide")
            if (last[name] == first[name]) != frozen:
                raise kit.Failure("%s: %s %s" % (mesh, name, "has moved" if frozen else "is as it was"))


def case_31():
    """More threads than the processors that ranks may use are told."""
    plan_of("tied", "two.plan", "data=*")
    command = ["taskset", "-c", str(min(os.sched_getaffinity(0))), kit.DLRUN, "train", "two.plan", "--data", data_of("tied"), "--batch", "5", "--steps", "1"]
    _, err = kit.run(command + ["--processes", "2", "--threads", "2"])
    if err.count("warning: 2 ranks of this machine, 2 threads each, on 1 processor\n") != 1:
        raise kit.Failure("not said once: %s" % err)
    _, err = kit.run(command + ["--processes", "2"])
    if "warning" in err:
        raise kit.Failure("of ranks that share what there is: %s" % err)


kit.main({"4": case_4, "5": case_5, "7": case_7, "8": case_8, "10": case_10, "13": case_13, "15": case_15, "24": case_24, "25": case_25, "29": case_29, "31": case_31})
