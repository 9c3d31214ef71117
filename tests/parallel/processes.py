#!/usr/bin/env python3
"""Ranks that are processes, as a user starts them: by dlrun itself, by hand, by mpirun. What they compute is what threads of one process
compute; one of them speaks; a rank that dies ends all, and all go on from the last checkpoint. Nothing is left behind.
processes.py [NAME…]"""
import atexit
import fcntl
import glob
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import kit

MESH = "data=*"
BOUND = 30  # seconds in which every rank ends when one has failed
LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "OMPI_", "PMIX_", "PMI_", "MPI_", "SLURM_", "TORCHELASTIC_", "OMP_NUM_THREADS")


# What an MPI keeps until the process ends is no leak of ours.
UNDER_MPI = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


def environment(**variables):
    """This one without what any launcher may have set, and with these."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)}
    return dict(own, **{name: str(value) for name, value in variables.items()})


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started(command, variables=()):
    """A process that a case which fails leaves to nobody: it may be stopped."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**dict(variables)))
    atexit.register(lambda: process.poll() is None and process.kill())
    return process


def ended(process, code):
    """Both outputs of a process that must end with this code."""
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise kit.Failure("%s hangs\n%s%s" % (" ".join(process.args), out, err)) from None
    if process.returncode != code:
        raise kit.Failure("%s: ended with %d, not %d\n%s%s" % (" ".join(process.args), process.returncode, code, out, err))
    return out, err


def done(command, code=0, variables=()):
    return ended(started(command, variables), code)


def says(text, *wanted):
    for one in wanted:
        if not re.search(one, text):
            raise kit.Failure("'%s' is not in:\n%s" % (one, text))


def said_once(text, wanted):
    if len(re.findall(wanted, text)) != 1:
        raise kit.Failure("'%s' is not once in:\n%s" % (wanted, text))


def steps(path):
    """The lines of a log by step; of a step that was done twice the last."""
    found = {}
    for line in open(path):
        line = json.loads(line) if line.endswith("\n") else {}
        line.pop("seconds", None)
        if line.get("kind") in ("step", "eval"):
            found[line["kind"], line["step"]] = line
    return [found[key] for key in sorted(found)]


def same(wanted, got):
    kit.same_log(steps(wanted + ".jsonl"), steps(got + ".jsonl"), 0)
    kit.same_bytes(wanted + ".safetensors", got + ".safetensors")


class Digits:
    """The program and its data, and what threads of one process make of them: on two ranks, on three."""

    def __init__(self, rows=66, batch=22, count=8):
        self.program = kit.Program("digits")
        self.plan = self.program.plan(mesh=MESH)
        self.data = kit.write_data(self.program, "rows.npz", rows)
        self.eval_data = kit.write_data(self.program, "eval.npz", 21, seed=2)
        self.options = ["--batch", str(batch), "--steps", str(count)]

    def train(self, name, *more, evaluates=True):
        data = "train=" + self.data + (",eval=" + self.eval_data if evaluates else "")
        return [kit.DLRUN, "train", self.plan, "--data", data, "--log", name + ".jsonl", "--save", name + ".safetensors"] + self.options + list(more)

    def ranks(self, name, n, *more, **keywords):
        """A command for each of n ranks, told by variables; and the variables."""
        told = {"WORLD_SIZE": n, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        return [(self.train(name, *more, **keywords), dict(told, RANK=rank)) for rank in range(n)]


def own():
    """--processes 2 and 3 against threads; evaluation and inference too; rank 0 alone speaks."""
    digits = Digits()
    for n in (2, 3):
        done(digits.train("threads", "--device", "cpu*%d" % n, "--quiet"))
        out, err = done(digits.train("processes", "--device", "cpu", "--processes", str(n)))
        same("threads", "processes")
        said_once(out, r"device: .*cpu \(")
        said_once(out, "done after 8 of 8 steps")
        said_once(err, r"note: %d ranks \(--processes\), over tcp and shared memory\n" % n)
        out, err = done(digits.train("sockets", "--device", "cpu", "--processes", str(n), "--transport", "sockets"))
        same("threads", "sockets")
        said_once(err, r"note: %d ranks \(--processes\), over sockets\n" % n)
        command = [kit.DLRUN, "eval", digits.plan, "--weights", "threads.safetensors", "--data", digits.eval_data, "--batch", "8"]
        wanted, _ = done(command + ["--device", "cpu*%d" % n])
        if done(command + ["--processes", str(n)])[0] != wanted:
            raise kit.Failure("evaluated otherwise than by threads")
        kit.unpack(digits.eval_data, "fields")
        command = [kit.DLRUN, "infer", digits.plan, "--weights", "threads.safetensors", "--input", "image=fields/image.npy"]
        done(command + ["--device", "cpu*%d" % n, "--output", "logits=threads.npy"])
        done(command + ["--processes", str(n), "--output", "logits=processes.npy"])
        kit.same_bytes("threads.npy", "processes.npy")
    left = [name for name in glob.glob("*.journals") if name.split(".")[0] in ("threads", "processes")]
    if left:
        raise kit.Failure("runs that ended well left %s" % left)


def journals():
    """Where ranks keep their journals when nobody says it: beside the weights, or the checkpoint; they stay where a rank was killed, and are gone
    when the run, started again, has ended well."""
    digits = long_run()
    for beside, more in (("beside.safetensors", ()), ("beside", ("--checkpoint", "beside/"))):
        ranks = [started(*rank) for rank in digits.ranks("beside", 2, *more, evaluates=False)]
        until_step("beside.jsonl", 5, ranks[0])
        ranks[1].kill()
        ended(ranks[1], -signal.SIGKILL)
        ended(ranks[0], 1)
        out, _ = done([kit.DLRUN, "explain-hang", beside + ".journals"])
        says(out, r"(?m)^rank 1 left no word when the others were stopped: it was killed, or hangs")
        os.remove("beside.jsonl")
    _, err = done([kit.DLRUN, "explain-hang"], 2)
    says(err, r"no folder of journals given: ", r"(?m)^  dlrun explain-hang beside.journals$", r"(?m)^  dlrun explain-hang beside.safetensors.journals$")
    short = Digits()
    done(short.train("beside", "--device", "cpu*2"))
    done(short.train("none", "--processes", "2", "--journal", "none", "--stop-after", "2"))
    if sorted(glob.glob("beside*.journals") + glob.glob("none*.journals")) != ["beside.journals"]:
        raise kit.Failure("there are %s" % glob.glob("*.journals"))
    done(short.train("asked", "--processes", "2", "--journal", "asked"))
    if sorted(os.listdir("asked")) != ["rank-0000.journal", "rank-0001.journal"]:
        raise kit.Failure("of those that were asked for there are %s" % os.listdir("asked"))


def one_trace(path, error):
    """Of three ranks, whose clocks differ by so many microseconds at most."""
    events = json.load(open(path))
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    if names != {rank + 1: "rank %d" % rank for rank in range(3)}:
        raise kit.Failure("processes %s" % names)
    tracks = {pid: [event for event in events if event["pid"] == pid and event.get("args", {}).get("kernel") == "exchange"] for pid in names}
    if not tracks[1] or any([one["name"] for one in track] != [one["name"] for one in tracks[1]] for track in tracks.values()):
        raise kit.Failure("exchanges %s" % {pid: len(track) for pid, track in tracks.items()})
    for same in zip(*tracks.values()):  # nobody leaves before the last has come, on one clock
        if max(one["ts"] for one in same) > min(one["ts"] + one["dur"] for one in same) + error:
            raise kit.Failure("a rank left before another came: %s" % (same,))
    if glob.glob(path + ".*"):
        raise kit.Failure("there are %s" % glob.glob(path + ".*"))


def traced():
    """One trace of ranks that are processes, also where a clock is 5000 s ahead; where one was killed its part is missing, which the file says."""
    digits = Digits()
    done(digits.train("traced", "--processes", "3", "--trace", "trace.json"))
    one_trace("trace.json", 0.01)
    ahead = ["unshare", "--time", "--monotonic", "5000", "--fork"]
    if subprocess.run(ahead + ["true"], capture_output=True).returncode == 0:  # who may not make one tries it elsewhere
        commands = digits.ranks("ahead", 3, "--trace", "ahead.json")
        commands[1] = (ahead + commands[1][0], commands[1][1])
        for process in [started(*command) for command in commands]:
            ended(process, 0)
        one_trace("ahead.json", 2e5)  # half of the quickest answer, on a machine that is busy
    ranks = [started(*rank) for rank in long_run().ranks("lost", 3, "--trace", "lost.json", evaluates=False)]
    until_step("lost.jsonl", 3, ranks[0])
    ranks[2].kill()
    ended(ranks[2], -signal.SIGKILL)
    ended(ranks[1], 1)
    _, err = ended(ranks[0], 1)
    says(err, "the trace is not of all ranks: ")
    events = json.load(open("lost.json"))
    if {event["pid"] for event in events} != {1} or [event["name"] for event in events if event["ph"] == "i"] != \
            ["the trace of rank %d is missing" % rank for rank in (1, 2)]:
        raise kit.Failure("of a rank that was killed: %s" % events[-3:])
    if {event["pid"] for event in json.load(open("lost.json.1"))} != {2} or os.path.exists("lost.json.2"):
        raise kit.Failure("of the rank that lived, or of the one that did not: %s" % glob.glob("lost.json*"))


def one():
    """One process, supervised; one rank by the variables; one that WORLD_SIZE alone tells: all as without."""
    digits = Digits()
    done(digits.train("plain", "--device", "cpu", "--quiet"))
    for name, more, variables in (("own", ["--processes", "1"], {}), ("told", [], {"RANK": 0, "WORLD_SIZE": 1}), ("size", [], {"WORLD_SIZE": 1})):
        out, err = done(digits.train(name, "--device", "cpu", *more), variables=variables)
        same("plain", name)
        if "note:" in err:
            raise kit.Failure(err)


def told():
    """RANK and WORLD_SIZE, each rank started by itself, rank 0 last; flags; Slurm's step."""
    digits = Digits()
    done(digits.train("threads", "--device", "cpu*2", "--quiet"))
    port = free_port()
    slurm = {"SLURM_STEP_ID": 0, "SLURM_JOB_ID": os.getpid(), "SLURM_STEP_NUM_TASKS": 2, "SLURM_NTASKS": 2, "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_TASKS_PER_NODE": "2"}
    ways = {
        "RANK and WORLD_SIZE": digits.ranks("told", 2),
        "--rank and --ranks": [
            (digits.train("told", "--rank", str(r), "--ranks", "2", "--rendezvous", "localhost:%d" % port), {}) for r in range(2)
        ],
        "srun": [(digits.train("told"), dict(slurm, SLURM_PROCID=r, SLURM_LOCALID=r)) for r in range(2)],
    }
    for source, ranks in ways.items():
        second = started(*ranks[1])
        time.sleep(0.3)
        first = started(*ranks[0])
        out, err = ended(first, 0)
        if ended(second, 0) != ("", ""):
            raise kit.Failure("rank 1 speaks")
        says(err, r"^note: 2 ranks \(%s\), over tcp and shared memory, which meet at [a-z0-9.]+:\d+\n" % source)
        said_once(out, "done after 8 of 8 steps")
        same("threads", "told")


def devices():
    """A process for each GPU of a list, in the list's order; ranks that are threads on one GPU; without a device each its own. On the simulated
    device."""
    folder = os.environ.get("CUDASIM")
    if not folder or not shutil.which("g++"):
        print("no simulated device")
        return
    program = kit.Program("small_batch")
    plan = "gpu.plan"
    kit.run([kit.DLC, program.path, "--float", "f64", "--mesh", MESH, "--target", "cuda:sm_90", "-o", plan, "--quiet"])
    data = kit.write_data(program, "gpu.npz", 20)
    there = {"DLC_CUDA_PATH": folder, "DLC_CUDASIM_DEVICES": 2, "DLC_CUDASIM_CACHE": os.path.join(os.path.dirname(folder), "cache")}

    def train(name, *more, code=0):
        command = [kit.DLRUN, "train", plan, "--data", "train=" + data, "--batch", "5", "--steps", "3"]
        return done(command + ["--log", name + ".jsonl", "--save", name + ".safetensors"] + list(more), code, there)

    train("threads", "--device", "cuda:0*2", "--quiet")
    for device, first in (("cuda:0-1", 0), ("cuda:1,0", 1), ("cuda", 0), (None, 0)):
        more = (["--device", device] if device else []) + ([] if device and ":" in device else ["--processes", "2"])
        out, err = train("processes", *more)
        says(out, "device: rank 0 of 2, cuda:%d " % first)
        says(err, r"note: 2 ranks \(--processes\), over tcp")
        same("threads", "processes")
    _, err = train("missing", "--processes", "3", code=1)
    said_once(err, "cuda:2 cannot be used: there is no GPU 2")


def launched():
    """mpirun of each MPI that is here, over MPI or TCP."""
    digits = Digits()
    done(digits.train("threads", "--device", "cpu*2", "--quiet"))
    launchers = {"openmpi": (["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe"], "Open MPI's mpirun"), "mpich": (["mpirun.mpich"], "PMI")}
    for name, (launcher, source) in launchers.items():
        if not shutil.which(launcher[0]):
            print("%s is not here" % launcher[0])
            continue
        last = "mpi" if name in os.environ.get("MPI_MODULES", "").split() else "tcp"  # TCP, where this build has no module for it
        for more, transport in ((["--transport", "tcp"], "tcp"), ([], last)):
            out, err = done(launcher + ["-n", "2"] + digits.train("launched", *more), variables=UNDER_MPI)
            said_once(out, "done after 8 of 8 steps")
            if re.findall(r"note: 2 ranks \(%s\), over (\w+)" % source, err)[-1:] != [transport]:
                raise kit.Failure("not over %s:\n%s" % (transport, err))
            same("threads", "launched")


def block(page, start):
    """The block of the page that begins so."""
    return re.search(r"^```[a-z]+\n(%s.*?)^```$" % re.escape(start), page, re.M | re.S).group(1)


def documented():
    """What docs/parallel.md has mpirun, Slurm and Kubernetes do: their commands, under the variables that these set."""
    source = os.path.dirname(os.path.dirname(kit.HERE))
    page = open(os.path.join(source, "docs/parallel.md")).read()
    for name, target in (("examples", os.path.join(source, "examples")), ("build", os.path.dirname(os.path.dirname(kit.DLRUN)))):
        if not os.path.islink(name):
            os.symlink(target, name)
    kit.run([kit.DLC, "examples/digits.dl", "--mesh", MESH, "-o", "digits.plan", "--quiet"])
    train = [kit.DLRUN, "train", "digits.plan", "--data", "train=examples/data/digits_train.npz", "--epochs", "2", "--quiet"]
    done(train + ["--device", "cpu*2", "--save", "threads.safetensors"])
    port = free_port()

    def together(commands):
        shutil.rmtree("run", ignore_errors=True)
        ranks = [started(*command) for command in reversed(commands)]
        outs = [ended(rank, 0) for rank in ranks]
        said_once(outs[-1][0], r"done after \d+ of \d+ steps")
        kit.same_bytes("threads.safetensors", "digits.safetensors")
        os.remove("digits.safetensors")

    words = [line for line in block(page, "#!/bin/bash\n#SBATCH").splitlines() if line.startswith("srun ")][0].split()
    slurm = {"SLURM_STEP_ID": 0, "SLURM_JOB_ID": os.getpid(), "SLURM_STEP_NUM_TASKS": 2, "SLURM_NTASKS": 2,
             "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_CPU_BIND_TYPE": "mask_cpu:"}
    command = words[[i for i, word in enumerate(words) if word.endswith("dlrun")][0] :]
    together([(command, dict(slurm, SLURM_PROCID=rank, SLURM_LOCALID=rank)) for rank in range(2)])
    job = block(page, "apiVersion: batch/v1")
    command = [word.strip('"') for word in re.search(r"command: \[(.*)\]", job).group(1).split(", ")]
    command = [word.replace("/data/run", "run") for word in command] + ["--save", "digits.safetensors"]
    told = dict(re.findall(r'name: ([A-Z_]+), value: "?([^"}]+)', job), MASTER_PORT=port, MASTER_ADDR="127.0.0.1")
    if sorted(told) != ["MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE"] or "- name: RANK\n" not in job:
        raise kit.Failure("the job sets %s" % sorted(told))
    together([(command, dict(told, RANK=rank)) for rank in range(2)])
    if shutil.which("mpirun.openmpi"):
        line = block(page, "mpirun --host").replace("node1:1,node2:1", "localhost:2")
        together([(["mpirun.openmpi", "--allow-run-as-root"] + line.split()[1:], UNDER_MPI)])


# -- What goes wrong


def until_step(log, number, process):
    """Waits until the log has so many steps."""
    deadline = time.time() + 60
    while not os.path.exists(log) or len(open(log).readlines()) <= number:
        if process.poll() is not None or time.time() > deadline:
            raise kit.Failure("no step %d: %s" % (number, process.communicate()))
        time.sleep(0.005)


def long_run():
    """Digits, longer than any test waits."""
    return Digits(rows=660, batch=110, count=100000)


def killed():
    """kill -9 of one: every other ends within the bound, naming it; the parent says whom and ends with its number."""
    digits = long_run()
    for victim in (1, 0, 2):
        ranks = [started(*rank) for rank in digits.ranks("killed", 3, evaluates=False)]
        until_step("killed.jsonl", 5, ranks[0])
        ranks[victim].kill()
        since = time.time()
        text = "".join(ended(rank, 1)[1] for rank in ranks if rank is not ranks[victim])
        if time.time() - since > BOUND:
            raise kit.Failure("it took %.1f s" % (time.time() - since))
        ended(ranks[victim], -signal.SIGKILL)
        said_once(text, r"dlrun train: .*rank %d \(host \S+\)" % victim)
        os.remove("killed.jsonl")
    parent = started(digits.train("killed", "--processes", "3", evaluates=False))
    until_step("killed.jsonl", 5, parent)
    os.kill(children(parent.pid)[1], signal.SIGKILL)
    _, err = ended(parent, 128 + signal.SIGKILL)
    said_once(err, r"dlrun train: rank 1 \(process \d+\) was ended by signal 9")
    said_once(err, r"dlrun train: .*rank 1 \(host \S+\)")
    if os.path.exists("killed.safetensors"):
        raise kit.Failure("weights were saved")


def words_of(error):
    """Without the rank from which rank 0 may have it, which fails in the same step."""
    return re.sub(r"^(dlrun train: )rank \d+: (.*) \(host \S+\)$", r"\1\2", error, flags=re.M)


def failing():
    """A step that fails on one rank fails on all, and rank 0 says it as one device does, however the ranks were started."""
    program = kit.Program("faulty")
    plan = program.plan(mesh=MESH)
    for changed in ({"label": {11: 4}}, {"x": {33: 60.0}}, {"x": {35: float("nan")}}, {"x": {2: -30.0}}):
        data = kit.write_data(program, "failing.npz", 12, changed=changed)
        command = [kit.DLRUN, "train", plan, "--data", "train=" + data, "--batch", "12", "--steps", "4", "--quiet"]
        wanted = done(command + ["--device", "cpu"], 1)[1]
        got = done(command + ["--processes", "3"], 1)[1]
        if words_of(got) != wanted:
            raise kit.Failure("processes say\n%s\nwanted\n%s" % (got, wanted))
        told = {"WORLD_SIZE": 3, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        ranks = [started(command, dict(told, RANK=rank)) for rank in range(3)]
        got = "".join(ended(rank, 1)[1] for rank in ranks)
        if words_of(got) != wanted:
            raise kit.Failure("ranks say\n%s\nwanted\n%s" % (got, wanted))


def stopped():
    """A rank that stands still: the others notice it within the bound, and it does not stay behind."""
    digits = long_run()
    parent = started(digits.train("still", "--processes", "3", evaluates=False))
    until_step("still.jsonl", 5, parent)
    os.kill(children(parent.pid)[1], signal.SIGSTOP)
    since = time.time()
    _, err = ended(parent, 1)
    if time.time() - since > BOUND:
        raise kit.Failure("it took %.1f s" % (time.time() - since))
    says(err, r"rank 1 \(process \d+\) has been stopped and does not go on: killed", r"dlrun train: .*rank 1")


def unlike():
    """A rank that is given other data or options than the others: all are told before the first step, by rank and difference."""
    digits = Digits()
    fewer = kit.write_data(digits.program, "fewer.npz", 60)
    for more, wanted in (
        ([fewer], r"ranks differ in the number of rows of 'train': rank 1 has 60, rank 0 has 66"),
        (["--steps", "9"], r"ranks differ in the steps that are asked for: rank 1 has 9, rank 0 has 8"),
        (["--seed", "4"], r"ranks differ in 'seed': rank 1 has 4, rank 0 has 0"),
    ):
        ranks = digits.ranks("unlike", 3, "--quiet", evaluates=False)
        command = [word.replace(digits.data, fewer) for word in ranks[1][0]] if more == [fewer] else ranks[1][0] + more
        ranks[1] = (command, ranks[1][1])
        ends = [ended(rank, 1)[1] for rank in [started(*rank) for rank in ranks]]
        said_once("".join(ends), wanted)
        if steps("unlike.jsonl"):
            raise kit.Failure("steps were done")


def explained():
    """Journals of ranks of which one stands still, and is then killed: dlrun explain-hang says which, where the others wait, and afterwards
    that it left no word."""
    digits = long_run()
    ranks = [started(*rank) for rank in digits.ranks("explained", 3, "--journal", "journals", evaluates=False)]
    until_step("explained.jsonl", 5, ranks[0])
    ranks[1].send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    out, _ = done([kit.DLRUN, "explain-hang", "journals"])
    says(out, r"(?m)^rank [02] on \S+: waits in ", r"(?m)^rank 1 on .*; its process is stopped$",
         r"(?m)^the process of rank 1 \(%d\) is stopped, " % ranks[1].pid, r"(?m)^last events of rank 1:$")
    ranks[1].kill()
    ended(ranks[1], -signal.SIGKILL)
    text = "".join(ended(ranks[r], 1)[1] for r in (0, 2))
    said_once(text, r"dlrun train: .*rank 1 \(host \S+\)")
    out, _ = done([kit.DLRUN, "explain-hang", "journals"])
    says(out, r"(?m)^rank 1 left no word when the others were stopped: it was killed, or hangs; rank [02] was told: .*rank 1",
         r"(?m)^rank 1 on .*; its process is gone$", r"(?m)^last events of rank 1:$")


def stuck():
    """A rank that lives and does not come, as nobody reads its log any more: the others say who, and where it is."""
    digits = long_run()
    os.mkfifo("stuck.jsonl")
    log = os.open("stuck.jsonl", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(log, 1031, 4096)  # F_SETPIPE_SZ: some dozen lines
    ranks = [started(*rank) for rank in digits.ranks("stuck", 2, "--stall", "1", "--quiet", evaluates=False)]
    _, err = ended(ranks[1], 1)
    says(err, r"rank 0 does not come \(host \S+\): it has not started ", r"; rank 1 is at .*dlrun explain-hang stuck.safetensors.journals\)")
    os.set_blocking(log, True)
    reader = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(log, 65536), b"")])
    reader.start()
    _, err = ended(ranks[0], 1)
    reader.join()
    os.close(log)
    says(err, r"rank 0 does not come ", r"; rank 0 is at its caller's on_result, step \d+ of digits.train behind it")


def children(parent):
    """Process numbers, in the order of ranks."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            name = open(path).read()
        except OSError:
            continue
        fields = name.rsplit(")", 1)[1].split()
        if int(fields[1]) == parent:
            found.append(int(path.split("/")[2]))
    return sorted(found)


def orphans():
    """Who is started does not outlive the one that started them."""
    digits = long_run()
    parent = started(digits.train("orphans", "--processes", "2", evaluates=False))
    until_step("orphans.jsonl", 3, parent)
    parent.kill()
    parent.communicate(timeout=BOUND)  # the ranks have its standard output and error


def restarted():
    """A rank is killed twice; the losses are those of a run that was left alone, and so are the weights."""
    digits = Digits(rows=660, batch=110, count=60)
    done(digits.train("alone", "--device", "cpu*2", "--quiet", evaluates=False))
    more = ["--processes", "2", "--checkpoint", "folder", "--checkpoint-every", "4", "--restarts", "3"]
    parent = started(digits.train("again", *more, evaluates=False))
    for turn in range(2):
        until_step("again.jsonl", 8 + 14 * turn, parent)
        victims = children(parent.pid)
        os.kill(victims[1 - turn], signal.SIGKILL)
        deadline = time.time() + BOUND
        while set(children(parent.pid)) & set(victims) and time.time() < deadline:
            time.sleep(0.01)
    out, err = ended(parent, 0)
    says(err, r"rank 1 failed; all ranks are started again from the last checkpoint in 'folder' \(restart 1 of 3\)", r"rank 0 failed; .*\(restart 2 of 3\)")
    same("alone", "again")


def interrupted():
    """Ctrl-C on one rank, or on the one that started them: all end, with one checkpoint, and it can be gone on from."""
    digits = long_run()
    more = ["--checkpoint", "stopped", "--checkpoint-every", "100000", "--overwrite"]
    for victim in (1, 0):
        ranks = [started(*rank) for rank in digits.ranks("stopped", 2, *more, evaluates=False)]
        until_step("stopped.jsonl", 3, ranks[0])
        ranks[victim].send_signal(signal.SIGINT)
        out, _ = ended(ranks[0], 130)
        if ended(ranks[1], 130)[0]:
            raise kit.Failure("rank 1 speaks")
        said_once(out, r"interrupted after \d+ of 100000 steps")
        kept(out)
        os.remove("stopped.jsonl")
    parent = started(digits.train("stopped", "--processes", "2", *more, evaluates=False))
    until_step("stopped.jsonl", 3, parent)
    parent.send_signal(signal.SIGTERM)
    out, _ = ended(parent, 130)
    kept(out)


def typed():
    """Ctrl-C on a terminal, which all processes hear: they finish the step, none takes it for a second one."""
    digits = long_run()
    command = digits.train("typed", "--processes", "3", "--checkpoint", "stopped", "--checkpoint-every", "100000", "--overwrite", evaluates=False)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, environment(TERM="dumb"))
    deadline = time.time() + 60
    while (not os.path.exists("typed.jsonl") or len(open("typed.jsonl").readlines()) < 4) and time.time() < deadline:
        time.sleep(0.005)
    os.write(terminal, b"\x03")
    out = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # all have closed it
            break
        if not part:
            break
        out += part
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != 130:
        raise kit.Failure("ended with %d\n%s" % (code, out.decode()))
    kept(out.decode())


def kept(out):
    """The checkpoint is of the step at which all were interrupted."""
    step = int(re.search(r"interrupted after (\d+) of", out).group(1))
    if not [name for name in os.listdir("stopped") if re.fullmatch("step-0*%d" % step, name)]:
        raise kit.Failure("interrupted after %d, and there are %s" % (step, os.listdir("stopped")))


def mistakes():
    """Each with one message, of the rank that knows it, whatever the number of processes."""
    digits = Digits()
    train = digits.train("wrong")
    two = {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}
    step = {"SLURM_STEP_ID": 0, "SLURM_STEP_NUM_TASKS": 4, "SLURM_NTASKS": 4, "SLURM_PROCID": 0}
    rows = [
        (["--processes", "0"], {}, "--processes takes a whole number of at least 1"),
        (["--processes", "2"], two, r"already \(RANK and WORLD_SIZE\); --processes starts ranks itself"),
        (["--rank", "1"], {}, "--rank and --ranks belong together"),
        (["--rank", "2", "--ranks", "2"], {}, "--rank is 2 and --ranks is 2"),
        (["--rank", "1", "--ranks", "2"], {}, "--rendezvous HOST:PORT"),
        (["--rank", "1", "--ranks", "2", "--rendezvous", "x:y"], {}, "--rendezvous takes HOST:PORT"),
        (["--rank", "1", "--ranks", "2", "--rendezvous", "x:1"], two, r"--rank and --ranks: rank 1 of 2; RANK and WORLD_SIZE: rank 0 of 2"),
        (["--transport", "pigeon"], {}, "--transport takes tcp, sockets or mpi, not 'pigeon'"),
        (["--restarts", "2"], {}, "needs --processes"),
        (["--restarts", "2", "--processes", "2"], {}, "--restarts needs --checkpoint DIR"),
        (["--device", "cpu*2"], two, r"--device cpu\*2: ranks of one process"),
        (["--device", "cuda:0-"], {}, "'cuda:0-' is no list of devices"),
        (["--device", "cuda:0-2", "--processes", "2"], {}, "names 3 devices, and --processes is 2"),
        ([], dict(step, OMPI_COMM_WORLD_RANK=0, OMPI_COMM_WORLD_SIZE=1), "srun --mpi=pmix"),
        ([], {"RANK": 0, "WORLD_SIZE": 2}, "MASTER_ADDR is not"),
    ]
    for more, variables, wanted in rows:
        out, err = done(train + more, 2, variables)
        said_once(err, wanted)
        if out:
            raise kit.Failure("on standard output: " + out)
    out, err = done(train + ["--data", "train=missing.npz", "--processes", "3"], 1)
    said_once(err, "missing.npz")
    # Rank 0 cannot write: the parent finds it before anything starts; by variables the other rank hears of it.
    _, err = done(train + ["--save", "nowhere/w.safetensors", "--processes", "3"], 1)
    said_once(err, "nowhere/w.safetensors")
    for unwritable in (["--save", "nowhere/w.safetensors"], ["--log", "nowhere/run.jsonl"]):
        since = time.time()
        ranks = [started(*rank) for rank in digits.ranks("wrong", 2, *unwritable)]
        text = "".join(ended(rank, 1)[1] for rank in ranks)
        said_once(text, unwritable[1])
        if time.time() - since > BOUND:
            raise kit.Failure("it took %.1f s" % (time.time() - since))
    leftover = [name for name in os.listdir(".") if name.startswith("wrong")]
    if [name for name in leftover if name.endswith(".safetensors")]:
        raise kit.Failure("left: %s" % leftover)


def strangers():
    """A rank of another number of ranks, or of another job, is told so; the port is free again afterwards."""
    digits = Digits()
    port = free_port()
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    first = started(digits.train("strange"), dict(told, RANK=0, WORLD_SIZE=2))
    second = started(digits.train("strange"), dict(told, RANK=1, WORLD_SIZE=3))
    text = ended(first, 1)[1] + ended(second, 1)[1]
    says(text, r"rank 1 \(\S+\) was told of 3 ranks, rank 0 of 2")
    with socket.socket() as one_socket:
        one_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one_socket.bind(("127.0.0.1", port))


def nothing_left():
    """No process works in this folder, and no file is half written."""
    deadline = time.time() + 5
    while time.time() < deadline:
        here = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid() and of_this_folder(pid)]
        if not here:
            break
        time.sleep(0.05)
    else:
        raise kit.Failure("still here: %s" % here)
    rest = [name for name in glob.glob("**", recursive=True) if "tmp" in name]
    if rest:
        raise kit.Failure("left: %s" % rest)


def of_this_folder(pid):
    try:
        return os.readlink("/proc/%s/cwd" % pid) == os.getcwd() and "dlrun" in os.readlink("/proc/%s/exe" % pid)
    except OSError:
        return False


CASES = {case.__name__: case for case in (own, journals, traced, one, told, devices, launched, documented, failing, unlike, explained, stuck, killed, orphans, restarted, interrupted, typed,
                                          mistakes, strangers, nothing_left)}
LONG = {case.__name__: case for case in (stopped,)}
if __name__ == "__main__":
    kit.main(dict(CASES, **LONG) if sys.argv[1:] else CASES)
