#!/usr/bin/env python3
"""Arrays as .npy files, and the values that `dlrun infer` prints, without NumPy.
npy.py write FILE DTYPE SHAPE VALUE…      npy.py compare PRINTED TOLERANCE OUTPUT VALUE…"""
import math
import struct
import sys

CODES = {"f4": "f", "f8": "d", "f2": "e", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q", "b1": "?"}


def write(path, dtype, shape, values):
    sizes = [] if shape == "-" else [int(size) for size in shape.split("x")]
    count = math.prod(sizes)
    number = float if dtype[0] == "f" else lambda text: int(text) if dtype != "b1" else text in ("1", "true")
    numbers = [number(value) for value in values]
    numbers = (numbers * (count // max(len(numbers), 1) + 1))[:count]
    listed = "(" + "".join("%d, " % size for size in sizes) + ")"
    mark = "|" if dtype[1] == "1" else "<"
    header = "{'descr': '%s%s', 'fortran_order': False, 'shape': %s, }" % (mark, dtype, listed)
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        file.write(struct.pack("<%d%s" % (count, CODES[dtype]), *numbers))


def close(got, wanted, tolerance):
    if math.isnan(wanted):
        return math.isnan(got)
    if math.isinf(wanted) or math.isinf(got):
        return got == wanted
    return abs(got - wanted) <= tolerance * max(1.0, abs(wanted))


def compare(path, tolerance, output, wanted):
    for line in open(path):
        name = line.split(" ", 1)[0].rstrip(":")
        if name != output or ":" not in line:
            continue
        got = [{"true": 1.0, "false": 0.0}.get(text) if text in ("true", "false") else float(text) for text in line.split(":", 1)[1].split()]
        expected = [float(text) for text in wanted]
        if len(expected) == 1:
            expected *= len(got)
        if len(got) == len(expected) and all(close(g, w, tolerance) for g, w in zip(got, expected)):
            return 0
        print("%s: got %s, wanted %s" % (output, got, expected))
        return 1
    print("no output " + output)
    return 1


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    else:
        sys.exit(compare(sys.argv[2], float(sys.argv[3]), sys.argv[4], sys.argv[5:]))
