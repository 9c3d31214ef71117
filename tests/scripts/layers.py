#!/usr/bin/env python3
"""Compares every #include of ours with the table of docs/architecture.md: a folder includes only what its row allows.

The row of a file is that of the longest folder that holds it. Beside what the row lists, a file may include its own folder and
the folders in it. `x/*.h` stands for the headers that lie in x itself."""
import fnmatch, os, re, subprocess, sys

root = os.environ.get("DLC_SOURCE_ROOT") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
os.chdir(root)
SOURCES = (".c", ".h", ".l", ".y", ".def")
FOLDERS = ("include", "ir", "frontend", "lang", "passes", "codegen", "driver", "runtime", "tools", "examples")


def read_table(path):
    """Rows `| `folder/` | … | what it may include |`: folder -> list of prefixes or patterns."""
    table = {}
    for line in open(path, encoding="utf-8"):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 3 and cells[0].endswith("/`"):
            table[cells[0].strip("`").rstrip("/")] = re.findall(r"`([^`]+)`", cells[2])
    return table


def row_of(path, table):
    folder = os.path.dirname(path)
    while folder and folder not in table:
        folder = os.path.dirname(folder)
    return folder


def allowed(included, folder, entries):
    if "/" not in included:
        return True  # generated beside the file
    if included.startswith(folder + "/") or included.startswith("dlc/"):
        return True
    for entry in entries:
        if "*" in entry:
            if fnmatch.fnmatch(included, entry) and included.count("/") == entry.count("/"):
                return True
        elif entry.endswith("/"):
            if included.startswith(entry):
                return True
        elif included == entry:
            return True
    return False


def main():
    table = read_table("docs/architecture.md")
    checked = wrong = 0
    for folder in table:
        if not os.path.isdir(folder):
            print(f"docs/architecture.md: the table has a row for {folder}/, and there is no such folder")
            wrong += 1
    seen = set()
    for top in FOLDERS:
        for path, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                file = os.path.join(path, name)
                if not name.endswith(SOURCES):
                    continue
                row = row_of(file, table)
                if not row:
                    print(f"{file}: no row of docs/architecture.md holds it")
                    wrong += 1
                    continue
                seen.add(row)
                for number, line in enumerate(open(file, encoding="utf-8"), 1):
                    match = re.match(r'\s*#\s*include\s*"([^"]*)"', line)
                    if not match:
                        continue
                    checked += 1
                    if not allowed(match.group(1), row, table[row]):
                        print(f'{file}:{number}: includes "{match.group(1)}"; {row}/ may include only: '
                              + " ".join([row + "/"] + table[row]))
                        wrong += 1
    print(f"{checked} includes checked against {len(seen)} rows, {wrong} wrong")
    return 0 if wrong == 0 and checked > 500 and len(seen) >= 10 else 1


sys.exit(main())
