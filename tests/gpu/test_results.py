#!/usr/bin/env python3
"""scripts/gpu-results.py on made-up results, which stay in a temporary folder; and bench/peers_gpu.py's turns.

test_results.py SOURCE_ROOT
"""
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
root = pathlib.Path(sys.argv[1])
script = root / "scripts" / "gpu-results.py"


def summary(device="Made-up GPU 1 (sm_90), driver 1 (CUDA 13.0)", problems=0):
    def part(**keys):
        return dict(keys, seconds=1.5, problems=[], n_problems=0)

    own = {"load_s": 1.0, "peak_bytes": 2**30, "overhead_bytes": 2**29, "median_s": 0.1, "utilisation": 0.5}
    eager = {"first_step_s": 1.0, "peak_bytes": 2**31, "median_s": 0.15, "utilisation": 0.3333}
    kernels = [{"kernel": "slow", "hash": "1", "launches": 2, "seconds": 0.5, "floor": 0.1, "flops": 1.0, "bytes": 1.0},
               {"kernel": "fast", "hash": "2", "launches": 1, "seconds": 0.2, "floor": 0.19, "flops": 1.0, "bytes": 1.0}]
    return {"format": 1, "kit": "made up", "machine": "Linux, 4 cores", "quick": "", "parts": {
        "versions": part(device=device),
        "ceilings": part(device=device, copy_bytes_per_second=1.5e12, bf16_library=1.5e14, f32_library="none"),
        "kernels-gpt2": part(model="gpt2", launches=3, kernel_seconds=0.7, floor_seconds=0.29, kernels=kernels[::-1]),
        "train-fashion": part(model="fashion", batch=128, step_seconds=0.001, p10=0.001, p90=0.002, rows_per_second=128000.0,
                              flops_per_second=1e12, peak_bytes=2**28, overhead_bytes=1),
        "peers": part(peer="torch 0.0", models=[
            {"model": "gpt2", "precision": "bf16", "sizes": {"B": 32, "T": 1024, "vocab": 50257}, "dlc": own, "eager": eager,
             "compile": {"failed": "no compiler"}, "ratio_eager": 1.5}]),
        "sanitizer-memcheck-digits": part(skipped="compute-sanitizer is not found"),
        "intrinsics": dict(part(kernels=1), n_problems=problems)}}


def run(folder, data):
    (folder / "summary.json").write_text(json.dumps(data))
    return subprocess.run([sys.executable, script, str(folder), "--out", str(folder)], capture_output=True, text=True)


def check(condition, what):
    if not condition:
        print("FAILED: %s" % what)
        sys.exit(1)


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    done = run(folder, summary())
    check(done.returncode == 0, done.stderr)
    result = json.loads((folder / "made-up-gpu-1.json").read_text())
    check(result["machine"].startswith("Made-up GPU 1"), "the machine in words")
    check([row["kernel"] for row in result["kernels"]["gpt2"]["time_lost"]] == ["slow", "fast"], "kernels by time lost")
    check(result["skipped"] == {"sanitizer-memcheck-digits": "compute-sanitizer is not found"}, "skipped parts are named")
    check(result["ceilings"] == {"copy_bytes_per_second": 1.5e12, "bf16_library": 1.5e14}, "ceilings are numbers")
    row = "| GPT-2 124M, B 32, T 1024, bf16 | 100.00 | 150.00 | - | 1.50 | - | 50% | 1.5 / 2.0 |"
    check(row in done.stdout and "| fashion, B 128 | 1.00 |" in done.stdout, done.stdout)
    again = subprocess.run([sys.executable, script, "--table", folder / "made-up-gpu-1.json"], capture_output=True, text=True)
    check(again.stdout == done.stdout, "the table of the file is the table of the run")
    check(run(folder, summary(device="Simulated sm_90 (sm_90)")).returncode == 1, "a simulated device is refused")
    failed = run(folder, summary(problems=2))
    check(failed.returncode == 1 and "intrinsics" in failed.stderr, "failed parts are refused by name")

spec = importlib.util.spec_from_file_location("peers_gpu", root / "bench" / "peers_gpu.py")
peers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(peers)
turns = []


class Side:
    def __init__(self, name):
        self.name = name

    def steps(self, n):
        turns.append(self.name)
        return 0.5 if self.name == "a" else 1.0


times = peers.measure({"a": Side("a"), "b": Side("b")}, 3)
check(turns == ["a", "b"] * 4, "sides take turns")
check(times["a"]["median_s"] == 0.5 and times["a"]["steps_a_round"] == 3 and times["b"]["steps_a_round"] == 2, "steps a round")
print("results: good")
