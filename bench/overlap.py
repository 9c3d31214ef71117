#!/usr/bin/env python3
"""How much of what two ranks exchange is hidden behind what they compute: two network namespaces with a cable between them, whose rate (tc tbf) is set
so that a step's exchange alone takes SHARE of the time that a rank computes. bench/overlap.py [SHARE…] (default 0.5 1) as root in a built tree; MODEL
(default resnet18), BUILD, ROUNDS (default 5), SECONDS_EACH (default 8). Told is the median over rounds of step time over the longer of computing
and exchanging, with the least and the most; and over their sum, what a rank that waits for each exchange would take."""
import json
import os
import statistics
import subprocess
import sys
import tempfile

import ranks

HOSTS = ["dlc-overlap-%d-%s" % (os.getpid(), host) for host in "ab"]


def run(*words):
    subprocess.run(words, check=True)


def hosts_make():
    for host in HOSTS:
        run("ip", "netns", "add", host)
        run("ip", "-n", host, "link", "set", "lo", "up")
    run("ip", "link", "add", "eth0", "netns", HOSTS[0], "type", "veth", "peer", "name", "eth0", "netns", HOSTS[1])
    for number, host in enumerate(HOSTS, 1):
        run("ip", "-n", host, "addr", "add", "10.98.0.%d/24" % number, "dev", "eth0")
        run("ip", "-n", host, "link", "set", "eth0", "up")


def hosts_end():
    for host in HOSTS:
        subprocess.run(["ip", "netns", "del", host], stderr=subprocess.DEVNULL)


def rate_set(bytes_per_second):
    bits = "%dkbit" % (8 * bytes_per_second / 1000)
    for host in HOSTS:
        run("tc", "-n", host, "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", bits, "burst", "512kb", "latency", "50ms")


def exchanged(name, sizes, folder):
    """Bytes that a rank sends in a step."""
    program = os.path.join(ranks.ROOT, "examples", name + ".dl")
    command = [ranks.DLC, program, "--json", "--mesh", "data=2", "-o", os.path.join(folder, "told.plan")] + sizes
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    entry = next(one for one in told["entries"] if one["name"].endswith(".train"))
    return sum(one["bytes"] for one in entry["exchanges"])


def step(plan, sizes):
    options = ["--threads", "1", "--ranks", "2", "--rendezvous", "10.98.0.1:29544", "--rank"]
    both = [ranks.bench(plan, sizes, options + [str(rank)], before=["ip", "netns", "exec", host], pin=rank) for rank, host in enumerate(HOSTS)]
    return max(ranks.seconds(process, needed=rank == 0) for rank, process in enumerate(both))


def measure(name, shares, folder):
    consts, whole, half = ranks.MODELS[name]
    single, many = ranks.plans_make(name, folder)
    sent = exchanged(name, consts + whole, folder)
    for share in shares:
        over_longer, over_sum = [], []
        for _ in range(ranks.ROUNDS):
            computing = ranks.floor(single, half)
            exchanging = share * computing
            rate_set(sent / exchanging)
            took = step(many, whole)
            over_longer.append(took / max(computing, exchanging))
            over_sum.append(took / (computing + exchanging))
        print("%s, exchange %g of computing (%.0f ms, %.1f MB): step %.3f (%.3f to %.3f) of the longer, %.3f of the sum"
              % (name, share, 1e3 * computing, sent / 1e6, statistics.median(over_longer), min(over_longer), max(over_longer),
                 statistics.median(over_sum)), flush=True)


def main():
    try:
        hosts_make()
        with tempfile.TemporaryDirectory() as folder:
            measure(os.environ.get("MODEL", "resnet18"), [float(share) for share in sys.argv[1:] or ("0.5", "1")], folder)
    finally:
        hosts_end()


main()
