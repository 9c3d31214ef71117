#!/usr/bin/env python3
"""Compiles the examples for GPU architectures through NVRTC and looks at what ptxas made of them: no
kernel uses a stack or spills registers, and registers and shared memory are those of resources.txt.

resources.py [--update] [--twice] [--verbose] [--rotate] [--only EXAMPLE]... [ARCHITECTURE]...

--rotate compiles each example for two of the architectures only, others for each, so that all are met.
A program that needs bf16 must be refused on sm_75, by name.

Registers depend on the toolkit, so the table is compared only when its first line names the toolkit at
hand. Then a kernel of the table may use at most SLACK registers more, and no more shared memory, than its
row says; a kernel's name tells its loop IR, so one without a row is a new one, and is only counted. --update
writes the rows of what was compiled anew, after each example. Without NVRTC the test is skipped (status 77).
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = pathlib.Path(os.environ.get("DLC_SOURCE_ROOT", HERE.parent.parent))
DLC = os.environ.get("DLC", "dlc")
TABLE = HERE / "resources.txt"
ALL = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"]

# Equal layers share their kernels: two are enough to see all of them.
DEFINES = {"gpt2": ["-D", "layers=2"]}

# Registers that a kernel may use beyond the table's.
SLACK = 4

# Kernels that may use a stack or spill: (example, architecture or *, pattern of the name) -> why.
EXCEPTIONS = {}


def load_table():
    toolkit, rows = "", {}
    if TABLE.exists():
        for line in TABLE.read_text().splitlines():
            words = line.split()
            if line.startswith("# toolkit "):
                toolkit = words[2]
            elif words and not line.startswith("#"):
                rows.setdefault((words[0], words[1]), {})[words[2]] = [int(w) for w in words[3:]]
    return toolkit, rows


def save_table(toolkit, rows):
    lines = ["# toolkit %s" % toolkit,
             "# What ptxas says of every kernel of the examples; made by resources.py --update.",
             "# example architecture kernel registers shared_bytes"]
    for key in sorted(rows):
        for kernel in sorted(rows[key]):
            lines.append("%s %s %s %d %d" % (*key, kernel, *rows[key][kernel][:2]))
    TABLE.write_text("\n".join(lines) + "\n")


def compile_plan(example, architecture, plan, threads):
    command = [DLC, "examples/%s.dl" % example, "--target", "cuda:" + architecture, "--json", "-o", plan,
               "--threads", str(threads)] + DEFINES.get(example, [])
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def toolkit_of(scratch):
    """The version of NVRTC as images carry it; None: there is none."""
    program = scratch / "probe.dl"
    program.write_text("model probe(x: f32[4]) {\n    output x + 1.0\n}\n")
    plan = scratch / "probe.plan"
    done = subprocess.run([DLC, str(program), "--target", "cuda:sm_90", "--quiet", "-o", str(plan)],
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit("the probe does not compile: " + done.stderr)
    data = plan.read_bytes()
    at = data.index(b"DLCCUDA\n")
    toolkit = int.from_bytes(data[at + 24:at + 28], "little")
    return str(toolkit) if toolkit else None


def needs_bf16(example):
    return "precision bf16" in (ROOT / "examples" / (example + ".dl")).read_text()


def excused(example, architecture, kernel):
    return any(e == example and a in ("*", architecture) and re.search(p, kernel)
               for e, a, p in EXCEPTIONS)


def check(example, architecture, figures, known, same_toolkit):
    problems = []
    for row in figures:
        name = row["kernel"]
        if row["registers"] < 0:
            problems.append("%s: ptxas said nothing of it" % name)
        if (row["stack_bytes"] or row["spill_bytes"]) and not excused(example, architecture, name):
            problems.append("%s: %d bytes of stack, %d spilled" % (name, row["stack_bytes"], row["spill_bytes"]))
    for row in figures if same_toolkit else []:
        now, then = [row["registers"], row["shared_bytes"]], (known or {}).get(row["kernel"])
        if then and (now[0] > then[0] + SLACK or now[1] > then[1]):
            problems.append("%s: registers and shared bytes %s, in resources.txt %s" % (row["kernel"], now, then))
    return problems


def main():
    words = sys.argv[1:]
    update, twice, verbose, rotate = ("--" + w in words for w in ("update", "twice", "verbose", "rotate"))
    only = [words[i + 1] for i, w in enumerate(words[:-1]) if w == "--only"]
    architectures = [w for w in words if w.startswith("sm_")] or ALL
    examples = only or sorted(p.stem for p in (ROOT / "examples").glob("*.dl"))
    bad = compiled = kernels = unknown = 0
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        toolkit = toolkit_of(scratch)
        if not toolkit:
            print("skipped: no NVRTC here")
            sys.exit(77)
        table_toolkit, rows = load_table()
        if table_toolkit != toolkit:
            print("note: resources.txt is of toolkit %s, this one is %s: only stack and spills are looked at" %
                  (table_toolkit or "none", toolkit))
            rows = {} if update else rows
        for architecture in architectures:
            for number, example in enumerate(examples):
                if rotate and architecture not in (ALL[number % len(ALL)], ALL[(number + 3) % len(ALL)]):
                    continue
                plan = scratch / "a.plan"
                begin = time.monotonic()
                done = compile_plan(example, architecture, plan, 2)
                if architecture == "sm_75" and needs_bf16(example):
                    if done.returncode == 0 or "sm_75 has no bf16" not in done.stderr:
                        bad += 1
                        print("%s for sm_75: bf16 is not refused: %s" % (example, done.stderr.strip()))
                    continue
                if done.returncode != 0:
                    bad += 1
                    print("%s for %s: %s" % (example, architecture, done.stderr.strip()))
                    continue
                target = json.loads(done.stdout)["targets"][0]
                figures = target.get("resources", [])
                compiled += 1
                if verbose:
                    print("%s %s %.1f s, %d kernels" % (example, architecture, time.monotonic() - begin, len(figures)),
                          flush=True)
                kernels += len(figures)
                known = rows.get((example, architecture))
                unknown += sum(row["kernel"] not in (known or {}) for row in figures)
                problems = check(example, architecture, figures, known, table_toolkit == toolkit and not update)
                if twice:
                    again = scratch / "b.plan"
                    compile_plan(example, architecture, again, 1)
                    if plan.read_bytes() != again.read_bytes():
                        problems.append("compiled twice, on two threads and on one, the plans differ")
                for problem in problems:
                    print("%s for %s: %s" % (example, architecture, problem))
                bad += len(problems)
                rows[(example, architecture)] = {
                    row["kernel"]: [row["registers"], row["shared_bytes"]] for row in figures}
                if update:
                    save_table(toolkit, rows)
    print("%d plans, %d kernels, %d without a row, %d problems" % (compiled, kernels, unknown, bad))
    sys.exit(1 if bad and not update else 0)


main()
