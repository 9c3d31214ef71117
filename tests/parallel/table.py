#!/usr/bin/env python3
"""The table of what each rank takes: as dlc prints it, as JSON, and as dlrun train prints it before it begins. What the numbers are is
test_rank_memory.c's; here that they are told, rows folded, and the sizes that published tables have.
table.py [CASE…]"""
import json
import os
import re

import kit

HEAD = r"^  (\S+) on (\d+) ranks \((.*)\): TP (\d+)  PP (\d+)  DP (\d+)  MBS (\d+)  GBS (\d+)  GA (\d+)$"
ROW = r"^    (\d+)(?:-(\d+))? +((?:\d+(?:\.\d+)? (?:B|[KMG]iB) *)+) (\d+(?:\.\d+)? \w?FLOP)$"
COLUMNS = ["parameters", "optimiser", "inputs", "gradients", "activations", "transients", "arena", "peak"]
MEMBERS = ["parameter", "slot", "input", "gradient", "activation", "transient", "arena", "peak"]


def table(out):
    """The sizes of the first line, and the rows: (first, last, bytes of the columns)."""
    head = re.search(HEAD, out, re.M)
    if not head:
        raise kit.Failure("no line of sizes:\n%s" % out)
    names = re.search(r"^    rank +(.*) compute$", out, re.M)
    if not names or names.group(1).split() != COLUMNS:
        raise kit.Failure("no columns:\n%s" % out)
    rows = []
    for first, last, sizes, _ in re.findall(ROW, out, re.M):
        rows.append((int(first), int(last or first), re.findall(r"\d+(?:\.\d+)? \w+", sizes)))
    return [head.group(1), head.group(3)] + [int(number) for number in head.groups()[3:]], rows


def expect(what, got, wanted):
    if got != wanted:
        raise kit.Failure("%s: %s, wanted %s" % (what, got, wanted))


def shown(count):
    """Bytes as the programs print them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return "%d B" % count if unit == "B" else "%.2f %s" % (count, unit)
        count /= 1024


def printed():
    """32 rows on three data ranks are 11, 11 and 10; slots are cut in pieces that differ by rows of a weight."""
    path = os.path.join(kit.HERE, "programs", "gpt2.dl")
    command = [kit.DLC, path, "--mesh", "data=3,model=2", "--zero", "1", "-o", "ranks.plan"]
    out, _ = kit.run(command)
    head, rows = table(out)
    expect("sizes", head, ["gpt2.train", "data=3, model=2", 2, 1, 3, 11, 32, 1])
    expect("rows", [row[:2] for row in rows], [(0, 1), (2, 3), (4, 5)])
    told = json.loads(kit.run(command + ["--json"])[0])
    entry = next(one for one in told["entries"] if one["name"] == "gpt2.train")
    expect("parallel", entry["parallel"], {"tp": 2, "pp": 1, "dp": 3, "mbs": 11, "gbs": 32, "ga": 1})
    for (first, last, sizes), row in zip(rows, entry["ranks"]):
        expect("ranks", (row["first"], row["last"]), (first, last))
        expect("bytes", sizes, [shown(row[name + "_bytes"]) for name in MEMBERS])
        parts = ["parameter", "slot", "state", "input", "arena"]
        expect("the sum", sum(row[name + "_bytes"] for name in parts), row["peak_bytes"])
    expect("json's rows", len(entry["ranks"]), 3)
    for name in ("gpt2.infer", "gpt2.init"):
        if not next(one for one in told["entries"] if one["name"] == name)["ranks"]:
            raise kit.Failure("%s: no rows" % name)


def inspected():
    """Of other numbers of ranks and other sizes."""
    kit.run([kit.DLC, os.path.join(kit.HERE, "programs", "gpt2.dl"), "--mesh", "replica=2,data=*", "-o", "ranks.plan", "--quiet"])
    head, rows = table(kit.run([kit.DLRUN, "inspect", "ranks.plan", "--ranks", "8", "-D", "B=16"])[0])
    expect("sizes", head, ["gpt2.train", "replica=2, data=4", 1, 1, 8, 2, 16, 1])
    expect("rows", [row[:2] for row in rows], [(0, 7)])


def copied():
    """What a rank copies for a checkpoint: all ranks together what its file has, evenly; told where one is written."""
    path = os.path.join(kit.HERE, "programs", "gpt2.dl")
    told = json.loads(kit.run([kit.DLC, path, "--mesh", "data=2,model=2", "--zero", "1", "-o", "ranks.plan", "--json"])[0])
    data = kit.write_data(kit.Program("gpt2"), "words.npz", 8)
    command = [kit.DLRUN, "train", "ranks.plan", "--data", data, "--steps", "1", "--batch", "8", "--device", "cpu*4"]
    most = max(row["checkpoint_bytes"] for row in next(one for one in told["entries"] if one["name"] == "gpt2.train")["ranks"])
    out, _ = kit.run(command + ["--checkpoint", "run"])
    line = "    a checkpoint is written from a copy of up to %s a rank, in host memory\n" % shown(most)
    if out.count(line) != 1 or "from a copy" in kit.run(command)[0]:
        raise kit.Failure("not said, or where there is none: %s" % out)
    share = sum(4 * len(values) for values in kit.read_weights("run/step-1/rank-0.safetensors").values()) / 4
    if not share <= most <= 1.2 * share:
        raise kit.Failure("%d bytes a rank, a quarter of the file's are %d" % (most, share))


def trained():
    """dlrun says it before the first step, for the batch that is asked for; of one rank, or quiet, nothing."""
    program = kit.Program("accumulate_ignored")
    plan = program.plan()
    data = kit.write_data(program, "train.npz", 12)
    command = [kit.DLRUN, "train", plan, "--data", data, "--steps", "1", "--batch", "12"]
    out, _ = kit.run(command + ["--device", "cpu*2"])
    head, rows = table(out)
    expect("sizes", head, ["net.train", "data=2", 1, 1, 2, 2, 12, 3])
    expect("rows", [row[:2] for row in rows], [(0, 1)])
    if out.index("TP 1") > out.index("step 1/1"):
        raise kit.Failure("the table comes late:\n%s" % out)
    for quiet in (["--device", "cpu"], ["--device", "cpu*2", "--quiet"]):
        if "TP 1" in kit.run(command + quiet)[0]:
            raise kit.Failure("a table for %s" % " ".join(quiet))


def gradients():
    """As large as the parameters that are trained, however updates are written: in lines of 64 bytes, counted by hand."""
    wanted = {"lamb": 768, "frozen": 704, "two_losses": 704, "batch_norm": 1024, "contrastive": 448}
    for name, count in wanted.items():
        path = os.path.join(kit.HERE, "programs", name + ".dl")
        command = [kit.DLC, path, "--mesh", "data=3", "--json", "-D", "B=33", "-o", "ranks.plan"]
        told = json.loads(kit.run(command)[0])
        row = next(one for one in told["entries"] if one["name"].endswith(".train"))["ranks"][0]
        expect(name, row["gradient_bytes"], count)


kit.main({"copied": copied, "gradients": gradients, "printed": printed, "inspected": inspected, "trained": trained})
