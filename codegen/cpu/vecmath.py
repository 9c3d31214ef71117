#!/usr/bin/env python3
"""The two steps from the vecmath sources to the text that kernels inline.

vecmath.py ll CLANG OUT      compiles vecmath_*.c to LLVM IR, one self-contained function after another;
                             run by hand when a source changes, its result vecmath.ll is kept.
vecmath.py table IN OUT      turns vecmath.ll into a C table of strings; run by the build.
"""
import pathlib
import re
import subprocess
import sys

SOURCES = ["vecmath_f32.c", "vecmath_f64.c", "vecmath_bits.c"]
LOOPS = ["dlc_mod_f64", "dlc_floordiv_f64"]  # scalar code: a remainder of f64 is as many divisions as it takes
HEAD = "; Made by vecmath.py from vecmath_*.c; not edited by hand.\n"


def functions_of(text):
    """(name, text) of every definition, without attributes and metadata."""
    for match in re.finditer(r"^define .*?^}\n", text, re.M | re.S):
        body = match.group(0)
        name = re.search(r"@(\w+)\(", body).group(1)
        body = re.sub(r"^define .*?(float|double|i16|zeroext i16|i32) @", r"define \1 @", body)
        body = re.sub(r"\) [^)\n]*\{\n", ") {\n", body, count=1)
        body = re.sub(r", ![\w.]+ !\d+", "", body)
        body = re.sub(r" #\d+", "", body)
        body = re.sub(r"\b(noundef|zeroext|signext|local_unnamed_addr|tail) ", "", body)
        body = re.sub(r"^\s*;.*\n", "", body, flags=re.M)
        body = re.sub(r"\s*; preds.*$", "", body, flags=re.M)
        if "br " in body and name not in LOOPS:
            sys.exit(name + " is not free of branches:\n" + body)
        yield name, body


def make_ll(clang, out):
    here = pathlib.Path(__file__).resolve().parent
    parts = [HEAD]
    for source in SOURCES:
        text = subprocess.run(
            [clang, "-O1", "-S", "-emit-llvm", "-ffp-contract=on", "-fwrapv", "-fno-math-errno", "-mno-sse4.2",
             "-fno-vectorize", "-mllvm", "-phi-node-folding-threshold=1000",
             "-mllvm", "-two-entry-phi-node-folding-threshold=1000", "-fno-slp-vectorize", "-Wno-unknown-pragmas", "-I", str(here.parent.parent), "-o", "-",
             str(here / source)],
            check=True, stdout=subprocess.PIPE, text=True).stdout
        parts += [body for _, body in functions_of(text)]
    pathlib.Path(out).write_text("\n".join(parts))


def make_table(path, out):
    text = pathlib.Path(path).read_text()
    lines = ["/* Made by vecmath.py from vecmath.ll. */", '#include "codegen/cpu/emit.h"', "",
             "const VecmathFunction vecmath_functions[] = {"]
    count = 0
    for name, body in functions_of(text):
        count += 1
        quoted = "\n".join('     "%s\\n"' % line for line in body.splitlines())
        lines.append('    {"%s",\n%s},' % (name, quoted.replace("\t", " ")))
    lines += ["};", "const int vecmath_n_functions = %d;" % count, ""]
    pathlib.Path(out).write_text("\n".join(lines))


if len(sys.argv) == 4 and sys.argv[1] == "ll":
    make_ll(sys.argv[2], sys.argv[3])
elif len(sys.argv) == 4 and sys.argv[1] == "table":
    make_table(sys.argv[2], sys.argv[3])
else:
    sys.exit(__doc__)
