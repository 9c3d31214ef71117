#!/usr/bin/env python3
"""Compares the files of tests/ with the build: none lies there unused, so that no test can vanish by a line that was lost.
The same for the sources of the product.

registered.py SOURCE_ROOT BUILD_ROOT

- test_*.c is part of a program that a registered test runs, and every other *.c of some target;
- *.sh and *.py are run by a registered test;
- a folder of tests/golden has a test, and one of tests/fuzz/corpus a fuzzer and an input;
- tests/std/X.expect stands beside X.dl, and the other way round;
- tests/mutants/list holds what mutants.py reads;
- every other file is named by a test;
- *.c of the product is part of some target.
unregistered.txt lists the files that are none of this, each with its reason; what is listed needlessly is wrong too.
"""
import json
import pathlib
import re
import sys

ROOT, BUILD = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
TESTS = ROOT / "tests"
PRODUCT = ["ir", "lang", "frontend", "passes", "codegen", "driver", "runtime", "tools", "examples"]
CODE = {".c", ".h", ".sh", ".py", ".def", ".hpp", ".cu"}
problems = []


def complain(path, what):
    problems.append("%s: %s" % (path.relative_to(ROOT), what))


def introspect(what):
    return json.loads((BUILD / "meson-info" / ("intro-%s.json" % what)).read_text())


def load_unregistered():
    listed = {}
    for line in (TESTS / "scripts" / "unregistered.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, reason = line.partition(" ")
            listed[TESTS / name] = reason.strip()
    return listed


def main():
    words = {str(pathlib.Path(word).resolve()) for test in introspect("tests") for word in test["cmd"] if "/" in word}
    built, run = set(), set()
    for target in introspect("targets"):
        sources = {str(pathlib.Path(source).resolve()) for part in target["target_sources"]
                   for source in part.get("sources", [])}
        built |= sources
        if any(str(pathlib.Path(name).resolve()) in words for name in target["filename"]):
            run |= sources
    files = sorted(path for path in TESTS.rglob("*")
                   if path.is_file() and not path.name.startswith(".") and "__pycache__" not in path.parts)
    named = {path: set(re.findall(r"\w+", path.read_text(errors="replace")))
             for path in files if path.suffix in CODE or path.name == "meson.build"}
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file()]
    named.update({path: set(re.findall(r"\w+", path.read_text())) for path in scripts})
    mentioned = set().union(*named.values())
    listed, missing = load_unregistered(), set()
    for path in files:
        place = path.relative_to(TESTS).parts
        if place[0] == "golden" and len(place) > 2:
            good = str(TESTS / "golden" / place[1]) in words
            what = "tests/golden/%s has no test" % place[1]
        elif place[:2] == ("fuzz", "corpus"):
            good = (TESTS / "fuzz" / ("fuzz_%s.c" % place[2])).exists()
            what = "no fuzzer takes these inputs"
        elif path.parent.name == "fuzz" and path.name.startswith("fuzz_") and path.suffix == ".c":
            good = "'%s':" % path.stem[len("fuzz_"):] in (TESTS / "fuzz" / "meson.build").read_text()
            what = "meson.build has no such fuzzer"
        elif path.suffix == ".c":
            good = str(path) in (run if path.name.startswith("test_") else built)
            what = "no registered test runs it" if path.name.startswith("test_") else "no target has it"
        elif path.suffix in (".sh", ".py"):
            good = str(path) in words
            what = "no registered test runs it"
        elif path.suffix in (".h", ".md") or path.name == "meson.build":
            continue
        elif place[:2] == ("mutants", "list"):
            good = path.suffix == ".txt" and str(TESTS / "mutants" / "mutants.py") in words
            what = "mutants.py reads no such file"
        else:
            good = path.stem in mentioned
            what = "no test names it"
        if not good:
            missing.add(path)
            if path not in listed:
                complain(path, what)
    for folder in PRODUCT:
        for path in sorted((ROOT / folder).rglob("*.c")):
            # Compiled by hand to vecmath.ll.
            if str(path) not in built and not path.name.startswith("vecmath_"):
                complain(path, "no target has it")
    for path in TESTS.glob("std/*.expect"):
        if path.name != "points.expect" and not path.with_suffix(".dl").exists():
            complain(path, "has no .dl beside it")
    for path in TESTS.glob("std/*.dl"):
        if not path.with_suffix(".expect").exists():
            complain(path, "has no .expect beside it")
    for path in TESTS.glob("fuzz/fuzz_*.c"):
        folder = TESTS / "fuzz" / "corpus" / path.stem[len("fuzz_"):]
        if path.stem != "fuzz_plan" and not (folder.is_dir() and any(folder.iterdir())):
            complain(path, "its corpus is empty")
    for path, reason in listed.items():
        if not reason:
            complain(path, "is listed in unregistered.txt without a reason")
        if path not in missing:
            complain(path, "is listed in unregistered.txt needlessly" if path.exists() else "is listed in unregistered.txt, and is none")
    for problem in problems:
        print(problem)
    print("%d files, %d problems" % (len(files), len(problems)))
    return 1 if problems or len(files) < 100 else 0


sys.exit(main())
