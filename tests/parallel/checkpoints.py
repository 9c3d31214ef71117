#!/usr/bin/env python3
"""Checkpoints of ranks that are processes: saved by some, gone on with by others; a disk that is full for the rank that writes; ranks that are
killed while they save."""
import os
import random
import signal
import subprocess
import time

import kit
import processes

STEPS = 9


class Dropped:
    """A program that draws numbers, whose optimiser has state, with cut parameters; rows in an order of their own in each epoch."""

    def __init__(self):
        self.program = kit.Program("draws")
        self.data = kit.write_data(self.program, "rows.npz", 31)

    def plan(self, mesh, zero):
        compiled = self.program.compile
        self.program.compile = compiled + (["--zero", str(zero)] if mesh else [])
        plan = self.program.plan(mesh=mesh)
        self.program.compile = compiled
        return plan

    def train(self, plan, name, *more):
        return [kit.DLRUN, "train", plan, "--data", "train=" + self.data, "--batch", "7", "--steps", str(STEPS), "--seed", "5", "--log",
                name + ".jsonl", "--save", name + ".safetensors"] + list(more)


def other_ranks():
    """Case 16, 21: saved at step 5 by four ranks, gone on with by one, two and three, and on another mesh: numbers drawn and order of rows are
    those of a run that was never interrupted."""
    made = Dropped()
    processes.done(made.train(made.plan(None, 0), "whole", "--device", "cpu"))
    wanted = processes.steps("whole.jsonl")
    saver = made.plan("data=*", 3)
    processes.done(made.train(saver, "first", "--processes", "4", "--checkpoint", "kept", "--stop-after", "5"))
    for number, (mesh, zero, ways) in enumerate([(None, 0, ["--device", "cpu"]), ("data=*", 1, ["--processes", "2"]), ("data=*", 2, ["--processes", "3"]),
                                                 ("data=2,model=2", 3, ["--processes", "4"]), ("data=*", 0, ["--device", "cpu*3"])]):
        folder, name = "kept%d" % number, "rest%d" % number
        subprocess.run(["cp", "-r", "kept", folder], check=True)
        processes.done(made.train(made.plan(mesh, zero), name, "--checkpoint", folder, "--resume", *ways))
        kit.same_log(wanted[5:], processes.steps(name + ".jsonl"), 1e-10)
        kit.same_weights("whole.safetensors", name + ".safetensors", 1e-10)


class Cut:
    """A gpt2 whose parameters, and state beside them, are cut along both axes: heads by a factor, columns, rows."""

    def __init__(self, count=2):
        program = kit.Program("gpt2")
        program.compile += ["--zero", "3"]
        self.plan = os.path.abspath(program.plan(mesh="data=2,model=2"))
        self.data = os.path.abspath(kit.write_data(program, "words.npz", int(program.train["rows"])))
        self.options = ["--batch", program.train["batch"], "--steps", str(count), "--seed", "5"]

    def train(self, name, *more):
        return [kit.DLRUN, "train", self.plan, "--data", "train=" + self.data, "--log", name + ".jsonl", "--save", name + ".safetensors",
                "--checkpoint", name] + self.options + list(more)

    def ranks(self, name, *more):
        told = {"WORLD_SIZE": 4, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": processes.free_port()}
        return [(self.train(name, *more), dict(told, RANK=rank)) for rank in range(4)]


def shard(folder, step=2):
    return "%s/step-%d/rank-0.safetensors" % (folder, step)


def one_file():
    """Four processes write one file, each its part: the bytes that one process writes. Without a folder in common one gathers all, says so
    once, and the bytes are the same."""
    made = Cut()
    processes.done(made.train("alone", "--device", "cpu*4"))
    processes.done(made.train("several", "--processes", "4"))
    os.mkdir("elsewhere")
    options = ["--checkpoint-every", "1"]
    apart = []
    for rank, (command, variables) in enumerate(made.ranks("apart", *options)):
        place = ["env", "-C", "elsewhere"] if rank == 2 else []
        apart.append(processes.started(place + command, variables))
    text = "".join("".join(processes.ended(one, 0)) for one in apart)
    processes.said_once(text, r"no common folder: rank 2 on host '.*' does not see 'apart/\.step-1\.[0-9]*\.tmp/rank-0.safetensors'")
    for other in ("several", "apart"):
        kit.same_bytes("alone.safetensors", other + ".safetensors")
        kit.same_bytes(shard("alone"), shard(other))
    if os.listdir("elsewhere") != []:
        raise kit.Failure("written elsewhere: %s" % os.listdir("elsewhere"))


def failed_write():
    """Case 23: a write that fails on one rank alone is known to all; no checkpoint comes of it, and the one before it stands."""
    made = Cut(3)
    options = ["--checkpoint-every", "1", "--resume"]
    processes.done(made.train("stands", "--processes", "4", "--stop-after", "1"))
    before = open(shard("stands", 1), "rb").read()
    ranks = []
    for rank, (command, variables) in enumerate(made.ranks("stands", *options)):
        limit = ["bash", "-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "bash"] if rank == 2 else []
        ranks.append(processes.started(limit + command, variables))
    for rank, one in enumerate(ranks):
        text = "".join(processes.ended(one, 1))
        if rank in (0, 2):
            processes.says(text, r"%scannot write a checkpoint in 'stands': File too large" % ("rank 2: " if rank == 0 else ""))
    if sorted(os.listdir("stands")) != ["step-1"] or open(shard("stands", 1), "rb").read() != before:
        raise kit.Failure("not as before: %s" % os.listdir("stands"))
    processes.done(made.train("stands", "--processes", "4", *options))
    processes.done(made.train("complete", "--device", "cpu*4"))
    kit.same_bytes(shard("complete", 3), shard("stands", 3))


def damaged():
    """A checkpoint that is damaged in one byte is found so by ranks that read a part each, and the one before it is taken; a folder that one
    rank does not see is an error that names it."""
    made = Cut(3)
    options = ["--checkpoint-every", "1", "--resume"]
    processes.done(made.train("untouched", "--device", "cpu*4"))
    processes.done(made.train("hurt", "--processes", "4", "--stop-after", "2", *options))
    size = os.path.getsize(shard("hurt"))
    for at in (size // 8, size - 1):  # of the first rank's part, of the last one's
        subprocess.run(["cp", "-r", "hurt", "hurt%d" % at], check=True)
        with open(shard("hurt%d" % at), "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 16]))
        _, err = processes.done(made.train("hurt%d" % at, "--processes", "4", *options))
        processes.said_once(err, r"warning: a checkpoint is damaged, the one before it is taken: hurt%d/step-2/rank-0.safetensors: its checksum" % at)
        if processes.steps("hurt%d.jsonl" % at)[0]["step"] != 2:
            raise kit.Failure("went on at %s" % processes.steps("hurt%d.jsonl" % at)[0])
        kit.same_bytes("untouched.safetensors", "hurt%d.safetensors" % at)
    os.mkdir("away")
    apart = [processes.started((["env", "-C", "away"] if rank == 3 else []) + command, variables)
             for rank, (command, variables) in enumerate(made.ranks("hurt", *options))]
    for rank, one in enumerate(apart):
        text = "".join(processes.ended(one, 1))
        if rank == 0:
            processes.says(text, r"rank 3 on host '.*': cannot open 'hurt/step-2/manifest.json'.*'hurt' has to be a folder that all ranks share")


def full_disk():
    """Case 23: no room for the checkpoint: every rank ends with it, and what was there before stands."""
    digits = processes.Digits(rows=66, batch=22, count=8)
    os.mkdir("small")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", "small"], capture_output=True, text=True)
    if mounted.returncode != 0:
        print("no small disk here: %s" % mounted.stderr)
        return
    try:
        options = ["--checkpoint", "small/run", "--checkpoint-every", "2"]
        ranks = [processes.started(*rank) for rank in digits.ranks("full", 3, *options, evaluates=False)]
        text = "".join(processes.ended(rank, 1)[1] for rank in ranks)
        processes.says(text, "No space left on device")
        left = sorted(os.listdir("small/run"))
        if [name for name in left if name.startswith(".")]:
            raise kit.Failure("unfinished: %s" % left)
    finally:
        subprocess.run(["umount", "small"], check=True)


def file_limit():
    """A file may not become as large as the weights: a write that fails, on one device and on ranks, and no signal."""
    digits = processes.Digits(rows=66, batch=22, count=2)
    for device in ("cpu", "cpu*3"):
        command = digits.train("limited", "--device", device, evaluates=False)
        _, err = processes.done(["bash", "-c", 'ulimit -f 4; exec "$@"', "limited"] + command, code=1)
        processes.says(err, "File too large")
        if os.path.exists("limited.safetensors"):
            raise kit.Failure("there are weights")


def killed_saving():
    """Case 22: a rank is killed at some point of a run that saves after every step: the next run goes on from a whole checkpoint, and says which."""
    digits = processes.Digits(rows=66, batch=22, count=60)
    rng = random.Random(3)
    options = ["--checkpoint", "saved", "--checkpoint-every", "1"]
    done = 0
    for turn in range(6):
        name = "turn%d" % turn
        resumed = ["--resume"] if turn else []
        parent = processes.started(digits.train(name, "--processes", "2", *options, *resumed, evaluates=False))
        processes.until_step(name + ".jsonl", 1, parent)
        time.sleep(rng.random() * 0.1)
        children = processes.children(parent.pid)
        if not children:
            break
        os.kill(children[turn % 2], signal.SIGKILL)
        processes.ended(parent, 128 + signal.SIGKILL)
        first = processes.steps(name + ".jsonl")[0]["step"]
        if turn and first > done + 1:
            raise kit.Failure("the run went on at step %d, after one that had done %d" % (first, done))
        done = processes.steps(name + ".jsonl")[-1]["step"]
    processes.done(digits.train("last", "--processes", "2", *options, "--resume", evaluates=False))
    processes.done(digits.train("once", "--device", "cpu*2", evaluates=False))
    kit.same_bytes("once.safetensors", "last.safetensors")


CASES = {case.__name__: case for case in (other_ranks, one_file, failed_write, damaged, full_disk, file_limit, killed_saving)}
if __name__ == "__main__":
    kit.main(CASES)
