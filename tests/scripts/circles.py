#!/usr/bin/env python3
"""Compares the files of the product that need each other with the list of docs/architecture.md.

circles.py SOURCE_ROOT BUILD_ROOT

Who needs whom is read from the objects: a file needs the one that defines a symbol of its. A circle of files, or of folders, must lie
within one row "| `file`, `file` … | why |" of the list, and every row must still hold a circle. A folder and the folders in it
count as one where a list of the parent names them (backends, devices, passes)."""
import collections
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys

ROOT, BUILD = (os.path.realpath(word) for word in sys.argv[1:3])
MOST_LINES = 40
PRODUCT = ("ir/", "lang/", "frontend/", "passes/", "codegen/", "driver/", "runtime/")


def objects():
    """Object of the build -> source, for every source of the product."""
    found = {}
    with open(os.path.join(BUILD, "compile_commands.json"), encoding="utf-8") as file:
        for entry in json.load(file):
            source = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
            made = os.path.relpath(source, BUILD)
            name = os.path.relpath(source, ROOT) if made.startswith("..") else made
            if name.startswith(PRODUCT):
                found.setdefault(name, os.path.join(entry["directory"], entry["output"]))
    return {path: name for name, path in found.items() if os.path.exists(path)}


def needs(paths):
    """Source -> {source: symbols}."""
    defined, wanted = {}, collections.defaultdict(set)
    out = subprocess.run(["nm", "-A", *paths], stdout=subprocess.PIPE, text=True, check=True).stdout
    for line in out.splitlines():
        path, _, rest = line.partition(".o:")
        name, words = paths[path + ".o"], rest.split()
        if len(words) == 3 and words[1] in "TDRBCVW":
            defined.setdefault(words[2], name)
        elif len(words) == 2 and words[0] == "U":
            wanted[name].add(words[1])
    edges = collections.defaultdict(lambda: collections.defaultdict(set))
    for name, symbols in wanted.items():
        for symbol in symbols:
            if defined.get(symbol, name) != name:
                edges[name][defined[symbol]].add(symbol)
    return edges


def circles(edges):
    """Strongly connected components of more than one node (Tarjan)."""
    number, low, stack, found = {}, {}, [], []

    def visit(node):
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            at = stack.index(node)
            found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(edges):
        if node not in number:
            visit(node)
    return [circle for circle in found if len(circle) > 1]


def folders_of(edges):
    found = collections.defaultdict(lambda: collections.defaultdict(set))
    for source, others in edges.items():
        for other, symbols in others.items():
            a, b = os.path.dirname(source) + "/", os.path.dirname(other) + "/"
            if not a.startswith(b) and not b.startswith(a):
                found[a][b] |= symbols
    return found


def read_rows():
    """The patterns of each row of the list."""
    with open(os.path.join(ROOT, "docs/architecture.md"), encoding="utf-8") as file:
        part = file.read().split("\n## Circles\n")[1].split("\n## ")[0]
    return [re.findall(r"`([^`]+)`", line.split("|")[1]) for line in part.splitlines() if line.startswith("| `")]


def main():
    if not shutil.which("nm"):
        print("circles: there is no nm, which binutils have")
        return 77
    sys.setrecursionlimit(10000)
    edges = needs(objects())
    if len(edges) < 100:
        print("circles: only %d objects tell whom they need (built with -flto?)" % len(edges))
        return 77 if not edges else 1
    rows, used, wrong = read_rows(), set(), 0
    for graph in (edges, folders_of(edges)):
        for circle in circles(graph):
            row = next((i for i, patterns in enumerate(rows)
                        if all(any(fnmatch.fnmatch(name, p) for p in patterns) for name in circle)), None)
            if row is not None:
                used.add(row)
                continue
            wrong += 1
            print("a circle that docs/architecture.md (Circles) does not list:")
            lines = ["    %s needs %s: %s" % (a, b, " ".join(sorted(graph[a][b])[:6]))
                     for a in circle for b in circle if b in graph[a]]
            print("\n".join(lines[:MOST_LINES] + ["    and %d more" % (len(lines) - MOST_LINES)] * (len(lines) > MOST_LINES)))
    for i, patterns in enumerate(rows):
        if i not in used:
            wrong += 1
            print("docs/architecture.md (Circles): these do not need each other any more: " + ", ".join(patterns))
    print("%d files, %d circles listed, %d wrong" % (len(edges), len(rows), wrong))
    return 1 if wrong else 0


sys.exit(main())
