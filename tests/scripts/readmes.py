#!/usr/bin/env python3
"""Compares the README of every folder of the product with the folder: there is one, it names each file of the folder (`x.c`
stands for its header too; `x*.c`; `x` for x.c and x.h; a table of passes, `pipeline.def`, for the file of each of its rows), and
what it names there exists."""
import fnmatch, os, re, sys

root = os.environ.get("DLC_SOURCE_ROOT") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
os.chdir(root)
TOPS = ("include/dlc", "ir", "frontend", "lang", "passes", "codegen", "driver", "runtime", "tools")
ENDINGS = ("c", "h", "l", "y", "def", "cu", "cuh", "py", "sh", "dl", "ll")
UNNAMED = ("README.md", "meson.build")


def check(folder, names):
    problems = []
    readme = os.path.join(folder, "README.md")
    files = [name for name in names if name not in UNNAMED and not name.startswith(".")]
    if not os.path.exists(readme):
        return [f"{folder}/: has no README.md"]
    text = open(readme, encoding="utf-8").read()
    spans = re.findall(r"`([^`\n]+)`", text)
    # In a table of files several may stand in one cell without commas.
    words = {word.rstrip(",;.") for span in spans for word in span.split()}
    here = {word for word in words if "/" not in word}
    if "pipeline.def" in here and "pipeline.def" in files:
        table = open(os.path.join(folder, "pipeline.def"), encoding="utf-8").read()
        here |= {row + ".c" for row in re.findall(r"^PASS\((\w+),", table, re.M)}
    for name in files:
        stem = name.rsplit(".", 1)[0]
        twin = stem + ".c" if name.endswith(".h") else name
        if not any(fnmatch.fnmatchcase(name, word) or fnmatch.fnmatchcase(twin, word) or word == stem for word in here):
            problems.append(f"{readme}: does not name {name}")
    for word in sorted(words):
        if not re.fullmatch(r"[\w./*-]+\.(" + "|".join(ENDINGS) + ")", word) or word.startswith("."):
            if not word.startswith("../"):
                continue
        places = [os.path.join(folder, word), word]
        if word.endswith("/") or word.endswith(".md"):
            continue
        found = any(os.path.exists(place) for place in places)
        if not found and "*" in word:
            found = any(fnmatch.fnmatchcase(name, word) for name in files) or "/" in word
        # A name alone may be a file of another folder that the sentence is about.
        if not found and "/" not in word:
            found = word in EVERYWHERE
        if not found:
            problems.append(f"{readme}: names {word}, which is not there")
    return problems


EVERYWHERE = set()
for _, _, names in os.walk("."):
    EVERYWHERE.update(names)
problems, folders = [], 0
for top in TOPS:
    for path, inner, names in os.walk(top):
        inner.sort()
        if "__pycache__" in path:
            continue
        folders += 1
        problems += check(path, sorted(names))
print("\n".join(problems))
print(f"{folders} folders, {len(problems)} problems")
sys.exit(1 if problems or folders < 20 else 0)
