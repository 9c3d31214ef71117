#!/usr/bin/env python3
"""Kernels and cases of the GPU kit's part "intrinsics" (intrinsics.txt says what they are).

intrinsics.py text TABLE KERNELS PRELUDE... OUT   C constants: the kernels' text and the cases
intrinsics.py check TABLE KERNELS PRELUDE...      fails when the table lacks a function of the prelude
PRELUDE: prelude.cuh, and what prelude.py makes of the rest ("common").
"""
import os
import pathlib
import re
import subprocess
import sys

TYPES = {"unsigned char": "U8", "signed char": "U8", "bool": "BOOL", "unsigned short": "U16", "int": "I32", "long long": "I64",
         "float": "F32", "double": "F64"}
SUFFIXES = {"f32": "float", "f64": "double", "i32": "int", "i64": "long long", "bool": "bool", "u16": "unsigned short",
            "u8": "unsigned char"}
C_TYPES = {"U8": "unsigned char", "BOOL": "bool", "U16": "unsigned short", "I32": "int", "I64": "long long", "F32": "float",
           "F64": "double"}
COUNT, BLOCK = 4096, 128


def signatures(preludes):
    """{name: (result type, [argument types])} of all functions of the prelude, macros expanded."""
    text = "\n".join(pathlib.Path(path).read_text() for path in preludes)
    command = os.environ.get("CC", "cc").split() + ["-E", "-P", "-x", "c++", "-D__CUDA_ARCH__=900", "-"]
    text = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    found = {}
    for result, name, arguments in re.findall(
            r"static __device__ __forceinline__ ([^({};]*?[ *])(dlc_\w+)\(([^)]*)\)", " ".join(text.split())):
        types = [re.sub(r"\s*\b\w+$", "", argument).strip() for argument in arguments.split(",") if argument.strip()]
        found[name] = (result.strip(), types)
    return found


class Tables:
    def __init__(self, functions):
        self.functions, self.covered, self.text, self.cases, self.problems = functions, set(), [], [], []

    def case(self, kernel, out, inputs, mode="SAME", sm=0, threads=BLOCK, tiles=0, shared=0, fault=0, near=0.0):
        count = out[1]
        tiles = tiles or (count + threads - 1) // threads
        rows = ", ".join("{INTRINSIC_%s, VALUES_%s, %d}" % row for row in inputs)
        self.cases.append(
            '{.kernel = "%s", .sm = %d, .threads = %d, .tiles = %d, .shared_bytes = %d, .has_faults = %d, .mode = COMPARE_%s, '
            ".n_inputs = %d, .out_type = INTRINSIC_%s, .out_count = %d, .near = %r, .inputs = {%s}}"
            % (kernel, sm, threads, tiles, shared, fault, mode, len(inputs), out[0], out[1], near, rows or "{0}"))

    def kernel(self, name, arguments, body, threads=BLOCK):
        self.text.append("KERNEL(%d) %s(long long tiles, %s) {\n%s\n}\n" % (threads, name, arguments, body))

    def known(self, name):
        self.covered.add(name)
        if name not in self.functions:
            self.problems.append("%s is in the table and not in the prelude" % name)
            return False
        return True

    def each(self, name, values, mode):
        result, types = self.functions[name]
        count, inputs, call, parameters = COUNT, [], [], []
        for i, kind in enumerate(types):
            if i < len(values) and values[i].isdigit():
                call.append(values[i])
                continue
            chosen = values[i].upper() if i < len(values) else "ANY"
            if kind == "unsigned short" or ("_to_f16" in name or "_to_bf16" in name):
                chosen, count = "HALVES", 65536 if kind == "unsigned short" else 4 * 65536
            inputs.append([TYPES[kind], chosen])
            parameters.append("const %s *a%d" % (kind, i))
            call.append("a%d[i]" % i)
        out = TYPES[result]
        self.kernel("each_" + name, ", ".join(parameters + ["%s *out" % C_TYPES[out]]), """\
    for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {
        long long i = tile * %d + dlc_thread();
        out[i] = (%s)%s(%s);
    }""" % (BLOCK, C_TYPES[out], name, ", ".join(call)))
        self.case("each_" + name, (out, count), [(kind, chosen, count) for kind, chosen in inputs], mode)

    def lanes(self, name, calls, kind):
        """Expressions over `value` that all lanes compute together."""
        out = "\n".join("        out[(tile * %d + %d) * %d + dlc_thread()] = %s;" % (len(calls), i, BLOCK, call)
                        for i, call in enumerate(calls))
        self.kernel(name, "const %s *in, %s *out" % (kind, kind), """\
    for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {
        %s value = in[tile * %d + dlc_thread()];
%s
    }""" % (kind, BLOCK, out))
        mild = "MILD" if re.search("_(add|mul)_f", name) else "ANY"
        self.case(name, (TYPES[kind], 1024 * len(calls)), [(TYPES[kind], mild, 1024)], tiles=1024 // BLOCK)

    def slot(self, name):
        kind, suffix = self.functions[name][0], name.rsplit("_", 1)[1]
        self.known("dlc_slot_put_" + suffix)
        self.kernel(name + "_test", "const %s *in, %s *out" % (kind, kind), """\
    for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {
        dlc_slot_put_%s(dlc_shared(), in[tile * %d + dlc_thread()]);
        dlc_sync();
        out[tile * %d + dlc_thread()] = %s(dlc_shared(), %d);
        dlc_sync();
    }""" % (suffix, BLOCK, BLOCK, name, BLOCK // 32))
        mild = "MILD" if re.search("_(add|mul)_f", name) else "ANY"
        self.case(name + "_test", (TYPES[kind], 1024), [(TYPES[kind], mild, 1024)], shared=8 * BLOCK // 32)

    def move(self, name):
        vector = name.replace("dlc_load_", "")
        kind, width = SUFFIXES[vector.split("x")[0]], int(vector.split("x")[1])
        self.known("dlc_store_" + vector)
        self.kernel("move_" + vector, "const %s *in, %s *out" % (kind, kind), """\
    for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {
        long long i = (tile * %d + dlc_thread()) * %d;
        dlc_%s value = dlc_load_%s(in + i);
        %s first = value.v[0];
        for (int k = 0; k < %d; k++) {
            value.v[k] = value.v[k + 1];
        }
        value.v[%d] = first;
        dlc_store_%s(out + i, value);
    }""" % (BLOCK, width, vector, vector, kind, width - 1, width - 1, vector))
        count = 512 * width
        self.case("move_" + vector, (TYPES[kind], count), [(TYPES[kind], "ANY", count)], "EXACT", tiles=512 // BLOCK)

    def own(self, words, functions, text):
        name, keys, inputs, out = words[0], {}, [], None
        for word in words[1:]:
            key, value = word.split("=")
            parts = value.split(":")
            if key == "in":
                inputs.append((parts[0].upper(), parts[2].upper(), int(parts[1])))
            elif key == "out":
                out = (parts[0].upper(), int(parts[1]))
            else:
                keys[key] = float(value) if key == "near" else int(value)
        mode = "NEVER" if keys.pop("rate", 0) else "NEAR" if "near" in keys else "SAME"
        if not re.search(r"\b%s\b" % name, text):
            self.problems.append("intrinsics.cu has no kernel %s" % name)
        for function in functions:
            if self.known(function) and not re.search(r"\b%s\b" % function, text):
                self.problems.append("intrinsics.cu does not use %s" % function)
        self.case(name, out, inputs, mode, **keys)

    def row(self, line, text):
        head, _, tail = line.partition(" : ")
        kind, *words = head.split()
        if kind == "kernel":
            self.own(words, tail.split(), text)
            return
        for name in words:
            if not self.known(name):
                continue
            if kind in ("each", "exact"):
                self.each(name, tail.split(), "SAME" if kind == "each" else "EXACT")
            elif kind == "warp":
                self.lanes(name + "_test", ["%s(value)" % name], self.functions[name][0])
            elif kind in ("xor", "broadcast"):
                lanes = [1, 2, 4, 8, 16, 31] if kind == "xor" else [0, 7, 31]
                self.lanes(name + "_test", ["%s(value, %d)" % (name, lane) for lane in lanes], self.functions[name][0])
            elif kind == "slot":
                self.slot(name)
            elif kind == "move":
                self.move(name)
            else:
                self.problems.append("what is '%s'?" % kind)


def expanded(text, sm):
    """Macros expanded: the simulated compiler looks for kernels in the text itself."""
    command = os.environ.get("CC", "cc").split() + ["-E", "-P", "-x", "c++", "-D__CUDA_ARCH__=%d0" % sm, "-"]
    head = '#define KERNEL(THREADS) extern "C" __global__ void __launch_bounds__(THREADS)\n'
    return subprocess.run(command, input=head + text, capture_output=True, text=True, check=True).stdout


def quoted(text):
    return "\n".join('    "%s\\n"' % line.replace("\\", "\\\\").replace('"', '\\"') for line in text.splitlines())


def main():
    mode, table, kernels, *preludes = sys.argv[1:]
    out = pathlib.Path(preludes.pop()) if mode == "text" else None
    functions = signatures(preludes)
    tables, text = Tables(functions), pathlib.Path(kernels).read_text()
    for line in pathlib.Path(table).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            tables.row(line, text)
    missing = sorted(set(functions) - tables.covered)
    tables.problems += ["%s is a function of the prelude and not in the table" % name for name in missing]
    if len(functions) < 150:
        tables.problems.append("only %d functions were found in the prelude" % len(functions))
    if mode == "check":
        print("%d functions, %d kernels" % (len(functions), len(tables.cases)))
        for problem in tables.problems:
            print("%s: %s" % (table, problem))
        return 1 if tables.problems else 0
    include = '#include "dlc_prelude.cuh"\n'
    out.write_text("/* Made by intrinsics.py. */\n#include \"tests/gpu/make_intrinsics.h\"\n\n"
                   "const char intrinsics_include[] =\n%s;\nconst char intrinsics_own_75[] =\n%s;\n"
                   "const char intrinsics_own_80[] =\n%s;\nconst char *const intrinsics_texts[] = {\n%s,\n};\n"
                   "const int intrinsics_n_texts = %d;\n"
                   "const IntrinsicCase intrinsics_cases[] = {\n    %s,\n};\nconst int intrinsics_n_cases = %d;\n"
                   % (quoted(include), quoted(expanded(text, 75)), quoted(expanded(text, 80)),
                      ",\n".join(quoted(expanded(part, 80)) for part in tables.text), len(tables.text),
                      ",\n    ".join(tables.cases), len(tables.cases)))
    return 0


sys.exit(main())
