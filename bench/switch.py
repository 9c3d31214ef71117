#!/usr/bin/env python3
"""What an all_reduce between hosts takes beside what its bytes take: RANKS network namespaces, each with a cable to one switch (a bridge), limited
both ways by tc tbf. bench/switch.py PROGRAM [RANKS…] (default 2 8 16) as root; PROGRAM: comm_bench, built as its first lines say; MEGABITS (of a
cable, default 50), BYTES (default 4 MiB), CALLS (default 5). Told is the time over that in which a cable carries the 2 (n - 1)/n of the buffer that
each rank sends and receives, which no schedule goes below: a ring sends the same bytes."""
import os
import subprocess
import sys

MEGABITS, BYTES, CALLS = (int(os.environ.get(name, usual)) for name, usual in (("MEGABITS", "50"), ("BYTES", "4194304"), ("CALLS", "5")))
SWITCH = "dlc-switch"


def host(rank):
    return "dlc-host-%d" % rank


def run(*words):
    subprocess.run(words, check=True)


def limit(*where):
    run("tc", *where, "root", "tbf", "rate", "%dmbit" % MEGABITS, "burst", "64kb", "latency", "50ms")


def hosts_make(n):
    run("ip", "netns", "add", SWITCH)
    run("ip", "-n", SWITCH, "link", "add", "br0", "type", "bridge")
    run("ip", "-n", SWITCH, "link", "set", "br0", "up")
    for rank in range(n):
        port = "port%d" % rank
        run("ip", "netns", "add", host(rank))
        run("ip", "link", "add", "eth0", "netns", host(rank), "type", "veth", "peer", "name", port, "netns", SWITCH)
        run("ip", "-n", host(rank), "addr", "add", "10.97.0.%d/24" % (rank + 1), "dev", "eth0")
        run("ip", "-n", SWITCH, "link", "set", port, "master", "br0")
        limit("-n", host(rank), "qdisc", "add", "dev", "eth0")
        limit("-n", SWITCH, "qdisc", "add", "dev", port)
        run("ip", "-n", host(rank), "link", "set", "eth0", "up")
        run("ip", "-n", SWITCH, "link", "set", port, "up")


def hosts_end(n):
    for name in [host(rank) for rank in range(n)] + [SWITCH]:
        subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)


def measure(program, n):
    command = [program, "tcp", str(n), str(BYTES), str(CALLS)]
    ranks = []
    for rank in range(n):
        told = dict(os.environ, RANK=str(rank), ADDRESS="10.97.0.1:29555")
        ranks.append(subprocess.Popen(["ip", "netns", "exec", host(rank)] + command, env=told, stdout=subprocess.PIPE, text=True))
    outputs = [one.communicate()[0] for one in ranks]
    if any(one.returncode != 0 for one in ranks):
        sys.exit("a rank has failed")
    took = float(outputs[0].split(" us ")[0].split()[-1]) * 1e-6
    least = 2 * (n - 1) / n * BYTES * 8 / (MEGABITS * 1e6)
    print("%d ranks: %.3f s, %.3f of what the bytes take" % (n, took, took / least), flush=True)


def main():
    for n in [int(word) for word in sys.argv[2:]] or [2, 8, 16]:
        try:
            hosts_make(n)
            measure(os.path.abspath(sys.argv[1]), n)
        finally:
            hosts_end(n)


main()
