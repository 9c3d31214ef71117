#!/usr/bin/env python3
"""The trace of several ranks: one file, a process a rank, each rank's events in their order, the same exchanges on all ranks of a group, at
the same time, with the bytes that dlc foretells.
trace.py [CASE…]"""
import collections
import json

import kit

STEPS = 3


def events(mesh, device, name, zero="0"):
    """Spans of a training run by (process, track), names of tracks, and what dlc says of the plan's training entry."""
    program = kit.Program(name)
    command = [kit.DLC, program.path, "--float", "f64", "--json", "-o", "traced.plan", "--zero", zero] + (["--mesh", mesh] if mesh else [])
    told = json.loads(kit.run(command)[0])
    data = kit.write_data(program, "train.npz", 12)
    batch = ["--batch", "12", "--steps", str(STEPS)]
    kit.run([kit.DLRUN, "train", "traced.plan", "--data", data, "--device", device, "--trace", "trace.json", "--quiet"] + batch)
    spans, names = collections.defaultdict(list), {}
    for event in json.load(open("trace.json")):
        if event["ph"] == "M":
            names[event["pid"], event["tid"], event["name"]] = event["args"]["name"]
        else:
            spans[event["pid"], event["tid"]].append(event)
    return spans, names, next(one for one in told["entries"] if one["name"].endswith(".train"))


def in_order(track, what):
    if not track:
        raise kit.Failure("%s: no events" % what)
    for a, b in zip(track, track[1:]):
        if a["ts"] + a["dur"] > b["ts"] + 0.002:  # microseconds, told to a thousandth
            raise kit.Failure("%s: %s begins before %s ends" % (what, b, a))


def exchanges(track):
    return [event for event in track if event["args"]["kernel"] == "exchange"]


def met(tracks):
    """Of the ranks of a group the one that comes last comes before any can leave. tracks: exchanges by rank."""
    seen = {rank: collections.Counter() for rank in tracks}
    rounds = collections.defaultdict(list)
    for rank, track in tracks.items():
        for event in track:
            group = tuple(event["args"]["ranks"])
            if rank not in group:
                raise kit.Failure("rank %d takes part in %s" % (rank, event))
            rounds[group, seen[rank][group]].append((event["ts"], event["ts"] + event["dur"], event["name"]))
            seen[rank][group] += 1
    for (group, number), parts in rounds.items():
        if len(parts) != len(group) or len({name for _, _, name in parts}) != 1:
            raise kit.Failure("exchange %d among %s: %s" % (number, group, parts))
        if max(start for start, _, _ in parts) > min(end for _, end, _ in parts) + 0.002:
            raise kit.Failure("exchange %d among %s: a rank left before another came: %s" % (number, group, parts))


def goes_on(track, work):
    """Kernels run while an exchange goes on."""
    if not any(a["ts"] < b["ts"] and b["ts"] + b["dur"] < a["ts"] + a["dur"] for a in track for b in work):
        raise kit.Failure("nothing runs beside %s" % track)


def many():
    ranks = 4
    spans, names, told = events("data=2,model=2", "cpu*%d" % ranks, "digits", "1")
    tracks = {}
    for rank in range(ranks):
        process = rank + 1
        if names.get((process, 0, "process_name")) != "rank %d" % rank or names.get((process, 1, "thread_name")) != "host":
            raise kit.Failure("rank %d is called %s" % (rank, names))
        runs = [event["name"] for event in spans[process, 1] if "." in event["name"]]
        if runs != ["digits.init"] + ["digits.train"] * STEPS:
            raise kit.Failure("rank %d runs %s" % (rank, runs))
        in_order(spans[process, 1], "host of rank %d" % rank)
        in_order(spans[process, 2], "queue of rank %d" % rank)
        beside = sorted(track for of, track in spans if of == process and names[process, track, "thread_name"].startswith("exchanges beside, "))
        for track in beside:
            in_order(spans[process, track], "exchanges of rank %d" % rank)
        if not beside or exchanges(spans[process, 2]) == []:
            raise kit.Failure("rank %d has exchanges beside its work on tracks %s" % (rank, beside))
        goes_on(spans[process, beside[0]], spans[process, 2])
        tracks[rank] = sorted(sum((exchanges(spans[process, track]) for track in [2] + beside), []),
                              key=lambda event: (event["ts"], event["args"]["command"]))
        same = [(event["name"], event["args"]["command"]) for event in tracks[rank]]
        if same != [(event["name"], event["args"]["command"]) for event in tracks[0]]:
            raise kit.Failure("rank %d exchanges %s" % (rank, same))
    if {process for process, _ in spans} != set(range(1, ranks + 1)):
        raise kit.Failure("processes %s" % sorted(spans))
    met(tracks)
    names = {" ".join(filter(None, (one["kind"], one["combine"], "over", one["over"]))) for one in told["exchanges"]}
    if {event["name"] for event in tracks[0]} != names:
        raise kit.Failure("exchanges %s, wanted %s" % (tracks[0], names))


def bytes_told():
    """For the rows that dlc takes for its figures: what the first rank sends in a step, to the byte."""
    program = kit.Program("digits")
    told = json.loads(kit.run([kit.DLC, program.path, "--json", "--mesh", "data=2,model=2", "-D", "B=12", "-o", "traced.plan"])[0])
    data = kit.write_data(kit.Program("digits"), "train.npz", 12)
    command = [kit.DLRUN, "train", "traced.plan", "--data", data, "--device", "cpu*4", "--trace", "trace.json", "--quiet"]
    kit.run(command + ["--batch", "12", "--steps", str(STEPS)])
    sent = sum(event.get("args", {}).get("bytes", 0) for event in json.load(open("trace.json")) if event["ph"] == "X" and event["pid"] == 1)
    entry = next(one for one in told["entries"] if one["name"] == "digits.train")
    wanted = STEPS * sum(one["bytes"] for one in entry["exchanges"])
    if sent != wanted or sent == 0:
        raise kit.Failure("the first rank sends %d bytes in %d steps, dlc says %d" % (sent, STEPS, wanted))


def one():
    """Of one device: one process, and no exchanges."""
    spans, names, _ = events(None, "cpu", "digits")
    if {process for process, _ in spans} != {1} or any(kind == "process_name" for _, _, kind in names):
        raise kit.Failure("processes %s, names %s" % (sorted(spans), names))
    in_order(spans[1, 2], "the device")
    if exchanges(spans[1, 2]):
        raise kit.Failure("one device exchanges")


kit.main({"many": many, "bytes": bytes_told, "one": one})
