#!/usr/bin/env python3
"""What went wrong in other systems for data-parallel training, a function each, and what fails on one rank: as on one device.
cases.py [NAME…]"""
import os
import random
import re
import shutil

import kit

MESH = "data=*"


def both(program, data, options, ranks, tolerance=1e-7, plan=None, ranked=None):
    """Logs and weights of a run on each of `ranks` against one device's."""
    plan, ranked = plan or program.plan(), ranked or program.plan(mesh=MESH)
    log, _, weights = kit.trained(plan, data, 1, "one", options)
    for count in ranks:
        own, _, own_weights = kit.trained(ranked, data, count, "many", options)
        try:
            kit.same_log(log, own, tolerance)
            kit.same_weights(weights, own_weights, tolerance)
        except kit.Failure as failure:
            raise kit.Failure("%d ranks, %s: %s" % (count, " ".join(options), failure)) from None
    return log


def token_counts():
    """Sums over valid tokens, never means of means: 7, 1, 0 and 4 valid tokens of a row, each row a part's and a rank's own, so that one
    has none at all. The gradient's norm is before clipping, which is active."""
    program = kit.Program("parts")
    rng = random.Random(4)
    targets = []
    for count in (7, 1, 0, 4):
        valid = rng.sample(range(7), count)
        targets += [rng.randrange(11) if i in valid else kit.IGNORED for i in range(7)]
    data = kit.write_data(program, "four.npz", 4, given={"targets": targets})
    options = ["--quiet", "--batch", "4", "--steps", "5"]
    plain = program.plan()
    for parts in (1, 2, 4):
        plan = program.plan(mesh=MESH, defines=["parts=%d" % parts])
        both(program, "train=" + data, options, [1, 2, 4, 8], plan=plain, ranked=plan)


def products():
    """No factor of ranks or parts: the norm of the gradient is the same for all pairs whose product is 8."""
    program = kit.Program("parts")
    data = kit.write_data(program, "eight.npz", 8)
    options = ["--quiet", "--batch", "8", "--steps", "2"]
    plain = program.plan()
    for ranks in (1, 2, 4, 8):
        plan = program.plan(mesh=MESH, defines=["parts=%d" % (8 // ranks)])
        both(program, "train=" + data, options, [ranks], plan=plain, ranked=plan)


def uneven():
    """Rows that do not divide, and fewer than ranks: forward, backward, norms, checkpoints."""
    program = kit.Program("small_batch")
    plan, ranked = program.plan(), program.plan(mesh=MESH)
    for batch in (1, 2, 5, 7):
        data = "train=" + kit.write_data(program, "uneven.npz", 2 * batch)
        shutil.rmtree("uneven", ignore_errors=True)
        options = ["--quiet", "--batch", str(batch), "--steps", "4", "--checkpoint", "uneven", "--overwrite"]
        both(program, data, options, [2, 3, 4, 8], plan=plan, ranked=ranked)


def last_batches():
    """Nobody waits for a batch that one rank has not: 10 rows by 4 on 3 ranks, 2 rows on 4."""
    program = kit.Program("batch_norm")
    plan, ranked = program.plan(), program.plan(mesh=MESH)
    for rows, batch, ranks in ((10, 4, 3), (2, 2, 4)):
        data = "train=" + kit.write_data(program, "few.npz", rows) + ",eval=" + kit.write_data(program, "few.eval.npz", rows + 1)
        log = both(program, data, ["--quiet", "--batch", str(batch), "--epochs", "3"], [ranks], plan=plan, ranked=ranked)
        steps = sum(line["kind"] == "step" for line in log)
        if steps != 3 * (rows // batch):
            raise kit.Failure("%d steps of %d rows by %d" % (steps, rows, batch))


def counted_once():
    """No row is counted twice where rows do not divide: metrics of 21 rows on 1, 2, 4 and 8 ranks, also by counts."""
    program = kit.Program("metrics")
    data = kit.write_data(program, "train.npz", 13)
    _, _, weights = kit.trained(program.plan(), "train=" + data, 1, "one", ["--quiet", "--batch", "13", "--steps", "1"])
    rows = kit.write_data(program, "rows.npz", 21)
    for batch in ("21", "8"):
        wanted = kit.evaluated(program.plan(), weights, rows, 1, batch)
        if batch == "21" and wanted["rows"] != 21:
            raise kit.Failure("%s rows of 21" % wanted["rows"])
        for ranks in (1, 2, 4, 8):
            kit.same_log([wanted], [kit.evaluated(program.plan(mesh=MESH), weights, rows, ranks, batch)], 1e-7)


def files():
    """Fewer files than ranks: three, a field each, on four."""
    program = kit.Program("take_add")
    data = kit.write_data(program, "all.npz", 11)
    paths = ["users=all.npz:users"]
    kit.unpack(data, "fields")
    paths = ",".join("%s=fields/%s.npy" % (field[0], field[0]) for field in program.fields)
    both(program, "train=" + paths, ["--quiet", "--batch", "5", "--steps", "6"], [4])


def shared_work():
    """Ranks share the work: of no product and no convolution of a training step does every rank compute all."""
    for name in ("digits", "char_lstm", "unet", "gpt2", "resnet18", "encoder_decoder", "detector", "lamb", "parts", "free_scan", "tied"):
        program = kit.Program(name)
        defines = ["-D", "parts=2"] if name == "parts" else []
        text, _ = kit.run([kit.DLC, program.path, "--float", "f64", "--mesh", MESH, "--emit", "shard"] + defines)
        step = re.search(r'^func "[^"]*train" .*?^}', text, re.M | re.S).group(0)
        types = dict(re.findall(r"(%\d+)(?: \w+)?: (\w+\[[^\]]*\])", step))  # arguments
        products = 0
        for results, op, operands, types_of in re.findall(r"^ *(%\d+[^=\n]*) = (\w+) ([^{\n]*).*?\}? : (\w+\[.*)", step, re.M):
            made, read = re.findall(r"%\d+", results), re.findall(r"%\d+", operands)
            types.update(zip(made, re.findall(r"\w+\[[^\]]*\]", types_of)))
            if op == "contract" or op.startswith("conv"):
                products += 1
                if not any(".data" in types[value] for value in made + read):
                    raise kit.Failure("%s: every rank computes all of %s = %s %s: %s" % (name, results, op, operands, types_of))
        if products < 2:
            raise kit.Failure("%s: %d products" % (name, products))


# -- Steps that fail


def failing_data(change):
    """Rows of `faulty`, a few of which are changed: {field: {index: value}}."""
    program = kit.Program("faulty")
    return program, kit.write_data(program, "faulty.npz", 12, changed=change)


def error_of(plan, data, ranks):
    """What a run says that fails at its third step, and what is stored then."""
    shutil.rmtree("kept", ignore_errors=True)
    options = ["--quiet", "--batch", "12", "--steps", "9", "--checkpoint", "kept", "--checkpoint-every", "1"]
    kit.run([kit.DLRUN, "train", plan, "--data", "train=" + kit.write_data(kit.Program("faulty"), "good.npz", 12), "--device", kit.device(ranks),
             "--stop-after", "2"] + options)
    before = sorted(os.listdir("kept"))
    _, err = kit.run([kit.DLRUN, "train", plan, "--data", "train=" + data, "--device", kit.device(ranks), "--resume=force"] + options, code=1)
    if sorted(os.listdir("kept")) != before:
        raise kit.Failure("stored %s, where there was %s" % (os.listdir("kept"), before))
    return [line for line in err.splitlines() if line.startswith("dlrun train:")]


def failures():
    """The words of one device, whichever rank has the row, and nothing stored."""
    kinds = {
        "index out of range: 4 is not in 0..4": {"label": {0: 4}},
        "holds nan in row": {"x": {2: float("nan")}},
        "the first is below fifty": {"x": {0: 60.0}},
        "the second is above minus fifty": {"x": {1: -60.0}},
        "first nan comes from": {"x": {2: -30.0}},
    }
    program = kit.Program("faulty")
    plan, ranked = program.plan(), program.plan(mesh=MESH)
    for words, change in kinds.items():
        for row in (0, 5, 11):
            wide = {"x": 3, "label": 1}
            changed = {field: {wide[field] * row + place: value for place, value in spots.items()} for field, spots in change.items()}
            _, data = failing_data(changed)
            wanted = error_of(plan, data, 1)
            if len(wanted) != 1 or words not in wanted[0]:
                raise kit.Failure("one device says %s, not '%s'" % (wanted, words))
            for ranks in (3, 8):
                got = error_of(ranked, data, ranks)
                if got != wanted:
                    raise kit.Failure("%d ranks, row %d: says\n%s\nwanted\n%s" % (ranks, row, got, wanted))


def several_failures():
    """Where rows of several ranks fail, each in its way, the words are still those of one device."""
    nan, inf = float("nan"), float("inf")
    program = kit.Program("faulty")
    plan, ranked = program.plan(), program.plan(mesh=MESH)
    for changed in ({"label": {2: 4, 9: 5}}, {"x": {8: inf, 29: nan}}, {"label": {9: 7}, "x": {3: 60.0}}, {"x": {0: 60.0, 28: -60.0}},
                    {"label": {2: 7}, "x": {29: nan}}):
        data = kit.write_data(program, "several.npz", 12, changed=changed)
        wanted, got = error_of(plan, data, 1), error_of(ranked, data, 8)
        if len(wanted) != 1 or got != wanted:
            raise kit.Failure("%s: says\n%s\nwanted\n%s" % (changed, got, wanted))


def places():
    """A plan that is compiled anew names the program's file and line; where what says so is damaged, a line of the portable form."""
    program = kit.Program("faulty")
    plan = program.plan()
    _, data = failing_data({"label": {5: 4}})
    wanted = error_of(plan, data, 1)
    if len(wanted) != 1 or not re.search(r"/faulty\.dl:\d+:\d+: index out of range", wanted[0]):
        raise kit.Failure("one device says %s" % wanted)
    got = error_of(plan, data, 3)
    if got != wanted:
        raise kit.Failure("compiled anew for 3 ranks it says\n%s\nwanted\n%s" % (got, wanted))
    text, _ = kit.run([kit.DLRUN, "inspect", plan, "--ir"])
    where = re.match(r".*?(\d+:\d+): index", wanted[0]).group(1)
    for before, after, place in (("", "", r"faulty\.dl:" + where), ("# at 0:", "# at 1:", r"other\.ir:\d+:\d+"), ("# in ", "# inn ", r"other\.ir:\d+:\d+"),
                                 ("*", "*9", r"other\.ir:\d+:\d+"), (" -\n", "\n", r"other\.ir:\d+:\d+"), (":", ":99999999999999999999", r"other\.ir:\d+:\d+")):
        head, tail = text.split("\n# places\n")
        with open("other.ir", "w") as file:
            file.write(head + "\n# places\n" + (tail.replace(before, after, 1) if before != " -\n" else tail.rstrip()[: -len(" -")] + "\n"))
        kit.run([kit.DLC, "other.ir", "--from-ir", "-o", "other.plan", "--quiet"])
        got = error_of("other.plan", data, 1)
        if len(got) != 1 or not re.search(r"[ /]%s: index" % place, got[0]):
            raise kit.Failure("'%s' for '%s': %s" % (after, before, got))


def another_mesh():
    """A plan for one mesh on another: compiled anew, with a note, it computes what one device does; else the refusal says how."""
    program = kit.Program("digits")
    plan, data = program.plan(), "train=" + kit.write_data(program, "other.npz", 66)
    options = ["--batch", "22", "--steps", "5"]
    log, _, weights = kit.trained(plan, data, 1, "one", options + ["--quiet"])
    kit.run([kit.DLC, program.path, "--float", "f64", "--mesh", "data=*,model=2", "--zero", "1", "-o", "two.plan", "--quiet"])
    for ranks, more, note in (
        (4, ["--mesh", "data=1,model=4"], "the mesh data=1,model=4 is asked for"),
        (3, ["--mesh", "data=*", "--zero", "3"], "the mesh data=* with a ZeRO level is asked for"),
        (4, ["--zero", "0"], "the mesh data=*, model=2 with a ZeRO level is asked for"),
        (4, ["--mesh", " data=*,model=2"], None),  # its own
    ):
        own, text, own_weights = kit.trained("two.plan", data, ranks, "many", options + more)
        kit.same_log(log, own, 1e-7, keys=["loss", "grad_norm"])
        kit.same_weights(weights, own_weights, 1e-7)
        if ("two.plan: compiled anew for cpu: %s\n" % note not in text) if note else "compiled anew" in text:
            raise kit.Failure("%s: the note is not '%s':\n%s" % (more, note, text))
    command = [kit.DLRUN, "train", "two.plan", "--data", data, "--quiet"] + options
    for ranks, more, words in (
        (3, [], "two.plan: its mesh data=*, model=2 is of a multiple of 2 ranks, not of 3: 2 or 4 would fit (--device cpu*2; --mesh compiles it anew"),
        (3, ["--mesh", "model=2"], "two.plan: its mesh model=2 is of 2 ranks, not of 3 (--device cpu*2; --mesh compiles it anew for another)"),
        (3, ["--mesh", "data=1"], "the mesh data=1 is of one rank, not of 3: data=* is of any number"),
        (2, ["--mesh", "dta=2"], "did you mean 'data'?"),
    ):
        _, err = kit.run(command + ["--device", kit.device(ranks)] + more, code=1)
        if words not in err:
            raise kit.Failure("%d ranks, %s: says\n%s\nwanted\n%s" % (ranks, more, err, words))


def heads():
    """Three heads on two ranks are refused, by dlc and where dlrun compiles anew; left whole, by a line of the mesh block or in the pipe, they train as
    on one device."""
    program = kit.Program("gpt2")
    with open(program.path, encoding="utf-8") as file:
        text = file.read()
    three = text.replace("layers = 4, heads = 4, width = 64", "layers = 2, heads = 3, width = 24")
    line = 'mesh data=*, model=2 { shard (_, _, _) for "h.*.attn" }\n'
    pipe = three.replace("(softmax(causal_mask(score)), qkv[2])", "(softmax(causal_mask(score)), qkv[2]) |> shard(_, _, _, _)")
    if three == text or pipe == three:
        raise kit.Failure("programs/gpt2.dl has other heads, or mixes them otherwise")
    data = "train=" + kit.write_data(program, "heads.npz", 6)
    options = ["--batch", "3", "--steps", "4"]
    for name, source in (("plain", three), ("line", three + line), ("pipe", pipe)):
        with open(name + ".dl", "w", encoding="utf-8") as file:
            file.write(source)
    kit.run([kit.DLC, "plain.dl", "--float", "f64", "-o", "plain.plan", "--quiet"])
    log, _, weights = kit.trained("plain.plan", data, 1, "one", options + ["--quiet"])
    for name in ("line", "pipe"):
        kit.run([kit.DLC, name + ".dl", "--float", "f64", "--mesh", "data=*,model=2", "-o", name + ".plan", "--quiet"])
        own, _, own_weights = kit.trained(name + ".plan", data, 4, "many", options + ["--quiet"])
        kit.same_log(log, own, 1e-7)
        kit.same_weights(weights, own_weights, 1e-7)
    said = ("error[E0629]: the 3 heads of the attention in 'h.0.attn' do not divide by model=2", "help: model=1 or 3 would do; ")
    command = [kit.DLRUN, "train", "plain.plan", "--data", data, "--device", kit.device(2), "--mesh", "model=2"] + options
    for words, (_, err) in (
        ("plain.dl:14:13: ", kit.run([kit.DLC, "plain.dl", "--mesh", "model=2", "-o", "refused.plan"], code=1)),
        ("plain.plan: the mesh model=2 is asked for, and compiling anew for cpu failed: ", kit.run(command, code=1)),
    ):
        if any(one not in err for one in (words,) + said):
            raise kit.Failure("says\n%s\nwanted\n%s" % (err, "\n".join((words,) + said)))


def fitted():
    """`--batch auto` in parts on ranks, and what a plan says of its free sizes: those of the program alone."""
    program = kit.Program("digits")
    plan, ranked = program.plan(), program.plan(mesh=MESH)
    data = "train=" + kit.write_data(program, "fitted.npz", 66)
    log, _, _ = kit.trained(plan, data, 1, "one", ["--quiet", "--batch", "22", "--steps", "5"])
    options = ["--batch", "auto:22", "--memory", "900KiB", "--steps", "5"]
    own, text, _ = kit.trained(ranked, data, 2, "many", options)
    if "batch: 22 = 2 x 11" not in text:
        raise kit.Failure("not in two parts:\n" + text)
    kit.same_log(log, own, 1e-7, keys=["loss", "grad_norm"])
    out, _ = kit.run([kit.DLRUN, "inspect", ranked])
    dims = [line for line in out.splitlines() if line.startswith("dim ")]
    if len(dims) != 1 or not dims[0].startswith("dim B:"):
        raise kit.Failure("the dims of the program are %s" % dims)


def resumed():
    """A checkpoint of eight ranks is any device's: the same steps follow on one, three and eight."""
    for name, rows, batch in (("lamb", 27, 9), ("batch_norm", 13, 5), ("half", 15, 7)):
        program = kit.Program(name)
        plan, ranked = program.plan(), program.plan(mesh=MESH)
        data = "train=" + kit.write_data(program, name + ".npz", rows)
        options = ["--quiet", "--batch", str(batch), "--steps", "12"]
        log, _, weights = kit.trained(plan, data, 1, "whole", options)
        stop = ["--checkpoint", "first", "--stop-after", "5", "--overwrite"]
        for first in (8, 1):
            kit.trained(ranked if first > 1 else plan, data, first, "first", options + stop)
            for then in (1, 3, 8):
                shutil.rmtree("then", ignore_errors=True)
                shutil.copytree("first", "then")
                open("then.jsonl", "w").close()  # a run that is resumed goes on with its log
                own, _, own_weights = kit.trained(plan if then == 1 else ranked, data, then, "then", options + ["--checkpoint", "then", "--resume"])
                try:
                    kit.same_log(log[5:], own, program.tolerance)
                    kit.same_weights(weights, own_weights, program.tolerance)
                except kit.Failure as failure:
                    raise kit.Failure("%s, %d ranks, then %d: %s" % (name, first, then, failure)) from None


CASES = {case.__name__: case for case in (token_counts, products, uneven, last_batches, shared_work, counted_once, files, failures, several_failures, places, another_mesh, heads, fitted, resumed)}
if __name__ == "__main__":
    kit.main(CASES)
