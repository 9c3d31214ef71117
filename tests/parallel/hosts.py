#!/usr/bin/env python3
"""Ranks on hosts of their own: two network namespaces with a cable between them, and in each a bridge that leads nowhere under the same address,
as container engines make one. They meet, compute what one host computes, and when the cable is pulled each ends within the bound and names the
other. Needs the right to make namespaces; else skipped."""
import os
import subprocess
import sys
import time

import kit
import processes

NAMES = ["dlc-%d-%s" % (os.getpid(), host) for host in "ab"]
SKIPPED = 77


def ip(*words, check=True):
    return subprocess.run(["ip"] + list(words), capture_output=True, text=True, check=check)


def hosts_make():
    for name in NAMES:
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", "docker0", "type", "veth", "peer", "name", "inside")
        ip("-n", name, "addr", "add", "172.17.0.1/16", "dev", "docker0")
        ip("-n", name, "link", "set", "docker0", "up")
    ip("link", "add", "eth0", "netns", NAMES[0], "type", "veth", "peer", "name", "eth0", "netns", NAMES[1])
    for number, name in enumerate(NAMES, 1):
        ip("-n", name, "addr", "add", "10.99.0.%d/24" % number, "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")


def hosts_end():
    for name in NAMES:
        ip("netns", "del", name, check=False)


def ranks(digits, name):
    """Rank 0 on the first host, rank 1 on the second."""
    options = ["--ranks", "2", "--rendezvous", "10.99.0.1:29533"]
    command = digits.train(name, evaluates=False)
    return [processes.started(["ip", "netns", "exec", host] + command + options + ["--rank", str(rank)]) for rank, host in enumerate(NAMES)]


def together():
    digits = processes.Digits()
    first, second = ranks(digits, "hosts")
    processes.ended(second, 0)
    _, err = processes.ended(first, 0)
    # Both have this machine's name, and no memory in common.
    processes.says(err, r"ranks 0 and 1 \(host \S+\) exchange by sockets: it is on another host, or in a container with a network of its own")
    processes.done(digits.train("threads", "--device", "cpu*2", evaluates=False))
    processes.same("threads", "hosts")


def cut_off():
    digits = processes.long_run()
    both = ranks(digits, "cut")
    processes.until_step("cut.jsonl", 5, both[0])
    ip("-n", NAMES[0], "link", "set", "eth0", "down")
    since = time.time()
    for rank, process in enumerate(both):
        _, err = processes.ended(process, 1)
        processes.says(err, r"rank %d \(host \S+\) has not been heard from for 20 s" % (1 - rank))
    if time.time() - since > processes.BOUND:
        raise kit.Failure("it took %.1f s" % (time.time() - since))


def small_shm():
    """Two processes of one host whose /dev/shm has room for nothing share memory all the same; where they may not, sockets do, as a warning says."""
    digits = processes.Digits()
    processes.done(digits.train("threads", "--device", "cpu*2", evaluates=False))
    for name, before, warns in (("small", "", False), ("none", "ulimit -f 256 && ", True)):
        script = before + 'mount -t tmpfs -o size=1m tmpfs /dev/shm && { cat /dev/zero > /dev/shm/full 2> /dev/null; exec "$@"; }'
        command = digits.train(name, "--device", "cpu", "--processes", "2", evaluates=False)
        _, err = processes.done(["unshare", "--mount", "bash", "-c", script, "bash"] + command)
        processes.same("threads", name)
        if warns != ("exchange by sockets: shared memory of 525312 bytes is wanted, and the limit of a file's size (ulimit -f) is 262144" in err):
            raise kit.Failure(err)


CASES = {case.__name__: case for case in (together, cut_off, small_shm)}
if __name__ == "__main__":
    try:
        hosts_make()
    except (OSError, subprocess.CalledProcessError) as problem:
        print("no network namespaces here: %s" % getattr(problem, "stderr", problem))
        hosts_end()
        sys.exit(SKIPPED)
    try:
        kit.main(CASES)
    finally:
        hosts_end()
