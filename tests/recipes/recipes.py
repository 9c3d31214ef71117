#!/usr/bin/env python3
"""Adds one of each kind to a copy of the source tree, as docs/adding.md says, and counts the files that each touched: no more,
and no fewer, than its table "Files touched" claims. With --build the copy is built, and what the recipes expect of it is run.

recipes.py SOURCE WORK RECIPE…
recipes.py SOURCE WORK --build CC OPTION=VALUE… RECIPE…

WORK is a folder for the copy (WORK/dlc) and what commands write; it is emptied first. A recipe is described in README.md.
"""
import difflib
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

TESTS = "tests"
# What generators write is not counted.
GENERATED = ("docs/ops.md", "docs/std.md")
INSERTING = ("after", "before")
PASSIVE = ("#", "file", "run", "test", "generate")


class Wrong(Exception):
    """What a recipe claims is not so; the text says what."""


def read_recipe(path):
    """(kind, steps); a step is (verb, argument, lines)."""
    kind, steps = None, []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("== "):
            verb, _, argument = line[3:].partition(" ")
            steps.append((verb, argument, []))
        elif steps:
            steps[-1][2].append(line)
        elif line.startswith("kind: "):
            kind = line[len("kind: "):]
        elif line and not line.startswith("#"):
            raise Wrong("%s:%d: neither a comment nor a step" % (path.name, number))
    for verb, _, lines in steps:
        while verb not in INSERTING and lines and not lines[-1]:
            lines.pop()
    if not kind or not steps:
        raise Wrong("%s: has no kind or no steps" % path.name)
    return kind, steps


def read_claims(page):
    """The rows of adding.md's table: kind -> (files or folders of the product, files of tests)."""
    claims = {}
    for line in page.read_text().splitlines():
        row = re.fullmatch(r"\| ([^|]+) \| (\d+)[^|]* \| (\d+)[^|]* \|", line)
        if row:
            claims[row[1].strip()] = int(row[2]), int(row[3])
    return claims


def snapshot(tree):
    """Path in the tree -> hash of the bytes."""
    return {path.relative_to(tree).as_posix(): hashlib.sha256(path.read_bytes()).digest()
            for path in tree.rglob("*") if path.is_file() and ".git" not in path.parts}


def insert(tree, argument, lines, behind):
    """`argument` is FILE: ANCHOR; the anchor stands in one line of the file exactly."""
    name, _, anchor = argument.partition(": ")
    text = (tree / name).read_text().splitlines(keepends=True)
    at = [i for i, line in enumerate(text) if anchor in line]
    if len(at) != 1:
        raise Wrong("%s: %d lines have '%s', not one" % (name, len(at), anchor))
    place = at[0] + (1 if behind else 0)
    text[place:place] = [line + "\n" for line in lines]
    (tree / name).write_text("".join(text))


def copy_folder(tree, argument):
    """FROM TO OLD=NEW: a copy in whose names and texts OLD is NEW."""
    source, target, change = argument.split()
    old, new = change.split("=")
    (tree / target).mkdir()
    for path in sorted((tree / source).iterdir()):
        (tree / target / path.name.replace(old, new)).write_text(path.read_text().replace(old, new))


def apply_step(tree, verb, argument, lines):
    if verb in INSERTING:
        insert(tree, argument, lines, verb == "after")
    elif verb == "new":
        if (tree / argument).exists():
            raise Wrong("%s: is there already" % argument)
        (tree / argument).write_text("\n".join(lines) + "\n")
    elif verb == "copy":
        copy_folder(tree, argument)
    elif verb not in PASSIVE:
        raise Wrong("there is no step '%s'" % verb)


def count(before, after, folders):
    """(of the product, of tests, all names) of what differs; a file in a new folder of `folders` counts as the folder."""
    touched = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    touched = {name for name in touched if name not in GENERATED}
    touched = {next((folder + "/" for folder in folders if name.startswith(folder + "/")), name) for name in touched}
    tests = {name for name in touched if name.startswith(TESTS + "/")}
    return len(touched - tests), len(tests), sorted(touched)


def apply_recipe(tree, path, claims):
    kind, steps = read_recipe(path)
    if kind not in claims:
        raise Wrong("docs/adding.md's table has no row '%s'" % kind)
    before = snapshot(tree)
    for verb, argument, lines in steps:
        apply_step(tree, verb, argument, lines)
    for verb, argument, _ in steps:
        if verb == "generate":
            subprocess.run(["bash", "-c", argument], cwd=tree, check=True)
    folders = [argument.split()[1] for verb, argument, _ in steps if verb == "copy"]
    product, tests, names = count(before, snapshot(tree), folders)
    print("%s: %d of the product, %d of tests: %s" % (kind, product, tests, ", ".join(names)))
    if (product, tests) != claims[kind]:
        raise Wrong("%s: docs/adding.md claims %d files of the product and %d of tests; touched are %d and %d"
                    % ((kind,) + claims[kind] + (product, tests)))
    return steps


def copy_tree(source, tree):
    """What git knows of, and what it would take in; without git, all but builds."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=source, capture_output=True, text=True)
    if listed.returncode != 0:
        shutil.copytree(source, tree, ignore=lambda folder, names: [
            name for name in names if name == ".git" or os.path.exists(os.path.join(folder, name, "build.ninja"))])
        return
    for name in listed.stdout.splitlines():
        if (source / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, tree / name)


def introspect(build, what):
    return json.loads((build / "meson-info" / ("intro-%s.json" % what)).read_text())


def targets_of(build, names):
    """What ninja must make for the tests of these names, as paths in the build, and dlc and dlrun."""
    made = {target["id"]: target["filename"] for target in introspect(build, "targets")}
    wanted = {str(build / "tools" / "dlc"), str(build / "tools" / "dlrun")}
    tests = introspect(build, "tests")
    for name in names:
        found = [test for test in tests if test["name"] == name]
        if not found:
            raise Wrong("there is no test '%s'" % name)
        for test in found:
            wanted.update(word for word in test["cmd"] if word.startswith(str(build) + "/"))
            wanted.update(file for target in test["depends"] for file in made[target])
    known = {file for files in made.values() for file in files}
    return sorted(os.path.relpath(name, build) for name in wanted if name in known)


def call(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise Wrong("%s: status %d\n%s" % (" ".join(command), done.returncode, done.stdout[-6000:]))


def build_tree(tree, compiler, options, names):
    build = tree / "build"
    call(["meson", "setup", str(build), "--buildtype=debug"] + ["-D" + option for option in options], cwd=tree,
         env=dict(os.environ, CC=compiler))
    call(["ninja", "-C", str(build)] + targets_of(build, names))
    return build


def run_step(scratch, environment, argument, lines):
    done = subprocess.run(["bash", "-c", argument], cwd=scratch, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    got = done.stdout.splitlines()
    if done.returncode != 0 or got != lines:
        shown = difflib.unified_diff(lines, got, "expected", "printed", lineterm="")
        raise Wrong("%s: status %d\n%s" % (argument, done.returncode, "\n".join(shown)))


def check_recipe(build, scratch, steps):
    scratch.mkdir()
    environment = dict(os.environ, tree=str(build.parent), PATH="%s:%s" % (build / "tools", os.environ["PATH"]), LC_ALL="C")
    for verb, argument, lines in steps:
        if verb == "file":
            (scratch / argument).write_text("\n".join(lines) + "\n")
        elif verb == "run":
            run_step(scratch, environment, argument, lines)


def main():
    arguments = sys.argv[1:]
    source, work = (pathlib.Path(word).resolve() for word in arguments[:2])
    compiler, options, names = None, [], arguments[2:]
    if names[:1] == ["--build"]:
        compiler = names[1]
        options = [word for word in names[2:] if "=" in word]
        names = [word for word in names[2:] if "=" not in word]
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    tree = work / "dlc"
    copy_tree(source, tree)
    claims = read_claims(source / "docs" / "adding.md")
    wrong, recipes = 0, {}
    for name in names:
        try:
            recipes[name] = apply_recipe(tree, source / TESTS / "recipes" / (name + ".recipe"), claims)
        except Wrong as problem:
            print("%s: %s" % (name, problem))
            wrong += 1
    if compiler and not wrong:
        tests = sorted({argument for steps in recipes.values() for verb, argument, _ in steps if verb == "test"})
        try:
            build = build_tree(tree, compiler, options, tests)
            call(["meson", "test", "-C", str(build), "--no-rebuild", "-t", "3"] + tests)
        except Wrong as problem:
            print(problem)
            return 1
        for name, steps in recipes.items():
            try:
                check_recipe(build, work / name, steps)
            except Wrong as problem:
                print("%s: %s" % (name, problem))
                wrong += 1
    if not wrong:
        shutil.rmtree(work)
    print("%d recipes, %d wrong" % (len(names), wrong))
    return 1 if wrong or len(names) < 6 else 0


sys.exit(main())
