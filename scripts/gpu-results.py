#!/usr/bin/env python3
"""What run-gpu-kit left, as bench/results/NAME.json and as rows of a table for README.

gpu-results.py RESULTS [--out FOLDER]     RESULTS: the kit's results folder, or its summary.json
gpu-results.py --table FILE               the table of a file that this script wrote

A run that failed in a part, or that was made on a simulated device, is refused: what stands in bench/results was measured.
"""
import argparse
import json
import pathlib
import re
import sys

NAMES = {"gpt2": "GPT-2 124M", "resnet50": "ResNet-50", "unet": "U-Net", "char_lstm": "LSTM", "digits": "digits"}


class Refused(Exception):
    pass


def read(path):
    path = pathlib.Path(path)
    summary = json.loads((path / "summary.json" if path.is_dir() else path).read_text())
    if summary.get("format") != 1:
        raise Refused("%s is no summary of a kit" % path)
    return summary


def device_of(parts):
    line = parts.get("versions", {}).get("device", "")
    if not line:
        raise Refused("the run does not say on which device it was made")
    if "Simulated" in line:
        raise Refused("'%s' is a simulated device: its figures are none" % line)
    return line


def slug(device):
    """"NVIDIA H200 (sm_90), driver …" -> "nvidia-h200"."""
    return re.sub(r"[^a-z0-9]+", "-", device.split(" (")[0].lower()).strip("-")


def worst_kernels(part, most=10):
    rows = sorted(part.get("kernels", []), key=lambda row: row["floor"] - row["seconds"])
    return [{key: row[key] for key in ("kernel", "launches", "seconds", "floor")} for row in rows[:most]]


def condense(summary):
    parts = summary["parts"]
    device = device_of(parts)
    failed = sorted(name for name, part in parts.items() if part.get("n_problems", 1))
    if failed:
        raise Refused("these parts failed: %s" % ", ".join(failed))
    result = {
        "machine": "%s; %s" % (device, summary["machine"]),
        "command": "run-gpu-kit",
        "kit": summary["kit"],
        "passed": sorted(name for name, part in parts.items() if "skipped" not in part),
        "skipped": {name: part["skipped"] for name, part in sorted(parts.items()) if "skipped" in part},
        "ceilings": {key: value for key, value in parts.get("ceilings", {}).items()
                     if isinstance(value, float) and key != "seconds"},
        "kernels": {}, "train": {}, "peers": parts.get("peers", {}).get("models", []),
        "peer": parts.get("peers", {}).get("peer"),
    }
    for name, part in parts.items():
        if name.startswith("kernels-") and "kernel_seconds" in part:
            result["kernels"][part["model"]] = {"seconds": part["kernel_seconds"], "floor_seconds": part["floor_seconds"],
                                                "launches": part["launches"], "time_lost": worst_kernels(part)}
        elif name.startswith("train-") and "step_seconds" in part:
            keys = ("batch", "step_seconds", "p10", "p90", "rows_per_second", "flops_per_second", "peak_bytes", "overhead_bytes")
            result["train"][part["model"]] = {key: part[key] for key in keys}
    return slug(device), result


def cell(side, key="median_s", scale=1e3, form="%.2f"):
    return form % (side[key] * scale) if side and side.get(key) is not None else "-"


def table(result):
    """Markdown: a training step of ours and PyTorch's, ratios above 1 where ours is faster."""
    rows = ["| model | dlc ms | eager ms | compiled ms | against eager | against compiled | of the ceiling | memory GiB, dlc / eager |",
            "|---|---|---|---|---|---|---|---|"]
    seen = set()
    for model in result["peers"]:
        own, eager, compiled = (model.get(key) for key in ("dlc", "eager", "compile"))
        seen.add(model["model"])
        sizes = ", ".join("%s %d" % (key, value) for key, value in model["sizes"].items() if key.isupper())
        ratios = [("%.2f" % model["ratio_" + key]) if "ratio_" + key in model else "-" for key in ("eager", "compile")]
        memory = "%.1f / %s" % ((own["peak_bytes"] + max(own["overhead_bytes"], 0)) / 2**30,
                                cell(eager, "peak_bytes", 2**-30, "%.1f"))
        rows.append("| %s, %s, %s | %s | %s | %s | %s | %s | %s | %s |" % (
            NAMES.get(model["model"], model["model"]), sizes, model["precision"], cell(own), cell(eager), cell(compiled), *ratios,
            cell(own, "utilisation", 100, "%.0f%%"), memory))
    for name, train in result["train"].items():
        if name not in seen:
            rows.append("| %s, B %d | %.2f | - | - | - | - | - | %.1f / - |" % (
                NAMES.get(name, name), train["batch"], 1e3 * train["step_seconds"], train["peak_bytes"] / 2**30))
    peer = ", %s" % result["peer"] if result.get("peer") else ""
    return "A training step on %s%s:\n\n%s\n" % (result["machine"].split(" (")[0], peer, "\n".join(rows))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("results", nargs="?")
    parser.add_argument("--out", default=pathlib.Path(__file__).resolve().parent.parent / "bench" / "results", type=pathlib.Path)
    parser.add_argument("--table")
    args = parser.parse_args()
    try:
        if args.table:
            print(table(json.loads(pathlib.Path(args.table).read_text())), end="")
            return 0
        if not args.results:
            parser.error("which results?")
        name, result = condense(read(args.results))
    except (Refused, OSError, KeyError, json.JSONDecodeError) as error:
        print("gpu-results.py: %s" % error, file=sys.stderr)
        return 1
    path = args.out / (name + ".json")
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result), end="")
    print("\n%s" % path, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
