#!/usr/bin/env python3
"""What two ranks cost beside two processes that each train half the batch at the same time and tell each other nothing: the floor, as they share
the machine alike. bench/ranks.py [MODEL…] in a built tree; BUILD: the build folder (default build), ROUNDS (default 5), SECONDS_EACH (default 8).
Every round measures all ways one after another; what is told is the median over rounds of step time over the floor's, with the least and the most."""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
DLC, DLRUN = (os.path.join(BUILD, "tools", name) for name in ("dlc", "dlrun"))
ROUNDS, SECONDS = int(os.environ.get("ROUNDS", "5")), os.environ.get("SECONDS_EACH", "8")
# consts for dlc; dims for both ranks together; the floor's
MODELS = {
    "gpt2": ([], ["-D", "B=4", "-D", "T=256"], ["-D", "B=2", "-D", "T=256"]),
    "resnet18": ([], ["-D", "B=8"], ["-D", "B=4"]),
    "digits": ([], ["-D", "B=64"], ["-D", "B=32"]),
}


def bench(plan, sizes, options, before=(), pin=None):
    command = list(before) + [DLRUN, "bench", plan, "--entry", "train", "--json", "--seconds", SECONDS] + sizes + options
    if pin is not None:
        command = ["taskset", "-c", str(pin)] + command
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def seconds(process, needed=True):
    """The step time that it told; not needed of a rank that tells none."""
    out, err = process.communicate()
    if process.returncode != 0:
        sys.exit("%s\n%s" % (" ".join(process.args), err))
    if not needed:
        return 0
    found = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return found[-1]["median_s"]


def launcher():
    if shutil.which("mpirun.openmpi"):
        return ["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe", "--bind-to", "core", "-n", "2"]
    return ["mpiexec.mpich", "-n", "2"] if shutil.which("mpiexec.mpich") else None


def ways(single, ranks, whole):
    """Each gives its step time, in seconds."""
    yield "local", lambda: seconds(bench(ranks, whole, ["--device", "cpu*2", "--threads", "2"]))
    yield "tcp", lambda: seconds(bench(ranks, whole, ["--processes", "2", "--threads", "1"]))
    yield "sockets", lambda: seconds(bench(ranks, whole, ["--processes", "2", "--threads", "1", "--transport", "sockets"]))
    if launcher():
        yield "mpi", lambda: seconds(bench(ranks, whole, ["--threads", "1"], before=launcher()))


def floor(single, half):
    both = [bench(single, half, ["--threads", "1"], pin=core) for core in (0, 1)]
    return max(seconds(process) for process in both)


def plans_make(name, folder):
    """Of one device, and of two ranks."""
    consts, plans = MODELS[name][0], []
    for kind, mesh in (("one", []), ("ranks", ["--mesh", "data=*"])):
        plans.append(os.path.join(folder, "%s.%s.plan" % (name, kind)))
        subprocess.run([DLC, os.path.join(ROOT, "examples", name + ".dl"), "-o", plans[-1], "--quiet"] + consts + mesh, check=True)
    return plans


def measure(name, folder):
    _, whole, half = MODELS[name]
    plans = plans_make(name, folder)
    ratios, floors = {}, []
    for _ in range(ROUNDS):
        floors.append(floor(plans[0], half))
        for way, run in ways(*plans, whole):
            ratios.setdefault(way, []).append(run() / floors[-1])
    for way, found in ratios.items():
        print("%-9s %-6s %.3f (%.3f to %.3f) of %.1f ms" % (name, way, statistics.median(found), min(found), max(found), 1e3 * statistics.median(floors)),
              flush=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or MODELS:
            measure(name, folder)


if __name__ == "__main__":
    main()
