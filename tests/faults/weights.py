#!/usr/bin/env python3
"""weights.py A B TOLERANCE: two safetensors files hold the same names, and values that differ by no more.
weights.py finite A: all floats of a file are finite."""
import json
import math
import struct
import sys

CODES = {"F32": "f", "F64": "d", "I64": "q", "I32": "i", "BOOL": "?", "U8": "B"}


def load(path):
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            code = CODES[entry["dtype"]]
            tensors[name] = struct.unpack("<%d%s" % ((last - first) // struct.calcsize(code), code), data[start + first : start + last])
    return tensors


if sys.argv[1] == "finite":
    sys.exit(not all(math.isfinite(x) for values in load(sys.argv[2]).values() for x in values))
a, b, tolerance = load(sys.argv[1]), load(sys.argv[2]), float(sys.argv[3])
assert sorted(a) == sorted(b) and a, (sorted(a), sorted(b))
for name in a:
    worst = max(abs(x - y) if x == x and y == y else math.inf for x, y in zip(a[name], b[name]))
    if worst > tolerance:
        sys.exit("%s differs by %g" % (name, worst))
