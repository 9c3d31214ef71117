#!/usr/bin/env python3
"""Training steps of the kit's models beside PyTorch, eager and compiled, on one GPU, interleaved in one run: the part "peers".

peers_gpu.py --kit FOLDER [--ceilings FILE] [--device D] [--torch-device D] [--rounds N] [--only MODEL,…]
FOLDER has gpukit, models.txt (lines "peer NAME PLAN … precision=P DIM=N…") and peer_torch.py. Prints one JSON object.
Where torch cannot be imported the part is skipped, and says so.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

BUDGET_S = 1.5  # of one side in one round


class Ours:
    """gpukit serve: measures N steps when told to."""

    def __init__(self, kit, device, quick, name, words):
        command = [str(kit / "gpukit"), "--device", device] + ([quick] if quick else []) + ["serve", name, *words]
        begin = time.perf_counter()
        self.process = subprocess.Popen(command, cwd=kit, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        line = self.process.stdout.readline()
        self.start_s = time.perf_counter() - begin
        try:
            self.about = json.loads(line)
        except json.JSONDecodeError:
            self.process.stdin.close()
            raise RuntimeError(self.process.stderr.read().strip()[-400:] or "gpukit serve failed") from None

    def steps(self, n):
        self.process.stdin.write("%d\n" % n)
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        try:
            return json.loads(line)["median_s"]
        except (json.JSONDecodeError, KeyError):
            raise RuntimeError(self.process.stderr.read().strip()[-400:]) from None

    def close(self):
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.wait()


class Torch:
    """The same model by PyTorch; `compiled` by torch.compile."""

    def __init__(self, torch, peer, device, name, sizes, precision, compiled):
        torch.manual_seed(0)
        self.torch, self.device = torch, device
        module, data, optimizer, clip = peer.build(name, sizes)
        module, data = module.to(device), [tensor.to(device) for tensor in data]
        on_gpu = device.startswith("cuda")
        if on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        optimizer = optimizer(module.parameters())
        forward = torch.compile(module) if compiled else module
        low = {"bf16": torch.bfloat16, "f16": torch.float16}.get(precision)

        def step():
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.split(":")[0], dtype=low, enabled=low is not None):
                loss = forward(*data)
            loss.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
            optimizer.step()

        self.step = step
        begin = time.perf_counter()
        step()
        self.wait()
        self.first_s = time.perf_counter() - begin
        for _ in range(2):
            step()
        self.wait()

    def wait(self):
        if self.device.startswith("cuda"):
            self.torch.cuda.synchronize()

    def steps(self, n):
        times = []
        for _ in range(n):
            begin = time.perf_counter()
            self.step()
            self.wait()
            times.append(time.perf_counter() - begin)
        return statistics.median(times)

    def peak(self):
        return self.torch.cuda.max_memory_allocated() if self.device.startswith("cuda") else None


def ceiling(path, kind):
    try:
        for line in pathlib.Path(path).read_text().splitlines():
            name, rate = line.split()
            if name == kind:
                return float(rate)
    except (OSError, TypeError, ValueError):
        pass
    return 0.0


def measure(sides, rounds):
    """Seconds of a step of every side: the median over rounds in which the sides take turns."""
    counts = {}
    for key, side in sides.items():
        first = side.steps(2)
        counts[key] = max(2, min(50, int(BUDGET_S / max(first, 1e-6))))
    times = {key: [] for key in sides}
    for _ in range(rounds):
        for key, side in sides.items():
            times[key].append(side.steps(counts[key]))
    return {key: {"median_s": statistics.median(list_), "rounds": list_, "steps_a_round": counts[key]}
            for key, list_ in times.items()}


def one(args, torch, peer, name, words):
    sizes, precision, kind = {}, "f32", name
    for word in words[4:]:
        key, _, value = word.partition("=")
        if key == "precision":
            precision = value
        elif key == "model":
            kind = value
        else:
            sizes[key] = int(value)
    own_words = [word for word in words if not word.startswith(("model=", "const_"))]
    sizes = {key.removeprefix("const_"): value for key, value in sizes.items()}
    result, sides = {"model": name, "precision": precision, "sizes": sizes}, {}
    try:
        sides["dlc"] = Ours(args.kit, args.device, args.quick, name, own_words)
        about = sides["dlc"].about
        result["dlc"] = {"load_s": about["load_s"], "peak_bytes": about["peak_bytes"], "overhead_bytes": about["overhead_bytes"]}
        for key, compiled in (("eager", False), ("compile", True)):
            if compiled and args.no_compile:
                continue
            try:
                sides[key] = Torch(torch, peer, args.torch_device, kind, sizes, precision, compiled)
                result[key] = {"first_step_s": sides[key].first_s, "peak_bytes": sides[key].peak()}
            except Exception as error:  # a peer that fails is named, not hidden
                sides.pop(key, None)
                result[key] = {"failed": str(error).strip().splitlines()[-1][:300] if str(error).strip() else repr(error)}
        for key, times in measure(sides, args.rounds).items():
            result[key].update(times)
        own, peak = result["dlc"]["median_s"], ceiling(args.ceilings, precision)
        for key in sides:
            seconds = result[key]["median_s"]
            if key != "dlc":
                result["ratio_" + key] = seconds / own
            if peak and about["step_flops"]:
                result[key]["utilisation"] = about["step_flops"] / seconds / peak
    finally:
        if "dlc" in sides:
            sides["dlc"].close()
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kit", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--ceilings", default=None)
    parser.add_argument("--device", default=os.environ.get("DLC_KIT_DEVICE", "cuda:0"))
    parser.add_argument("--torch-device", default=None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=420, help="no model is begun later")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    args = parser.parse_args()
    args.kit, args.quick = args.kit.resolve(), os.environ.get("DLC_KIT_QUICK", "")
    begin = time.perf_counter()
    print('{"part": "peers", ', end="")

    def skip(why):
        print('"skipped": %s, "problems": [], "n_problems": 0}' % json.dumps(why))
        return 0

    try:
        import torch
    except ImportError as error:
        return skip("%s cannot import torch: %s" % (sys.executable, error))
    if args.torch_device is None:
        if not torch.cuda.is_available():
            return skip("torch %s has no GPU" % torch.__version__)
        args.torch_device = args.device
    sys.path.insert(0, str(args.kit))
    import peer_torch as peer

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    results, problems, late = [], [], []
    for line in (args.kit / "models.txt").read_text().splitlines():
        kind, name, *words = line.split()
        if kind != "peer" or (args.only and name not in args.only.split(",")):
            continue
        if time.perf_counter() - begin > args.seconds:
            late.append(name)
            continue
        try:
            results.append(one(args, torch, peer, name, words))
        except Exception as error:
            problems.append("%s: %s" % (name, str(error)[:300]))
        if args.torch_device.startswith("cuda"):
            torch.cuda.empty_cache()
    print('"peer": %s, "models": %s, "not_reached": %s, "seconds": %.1f, "problems": %s, "n_problems": %d}' % (
        json.dumps("torch " + torch.__version__), json.dumps(results), json.dumps(late), time.perf_counter() - begin, json.dumps(problems),
        len(problems)))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
