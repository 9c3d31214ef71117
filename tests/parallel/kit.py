"""What the scripts here share: programs compiled as their first lines ask, data written for them, dlrun on one device and on ranks, and
what came of it read back. Python without NumPy.

Lines of a program that begin with `#:` say how it is tried:
  #: compile --emulate-precision      options of dlc, beside --float
  #: float f32 1e-4                   a program of another type than f64, to another tolerance than 1e-7
  #: train rows=23 batch=7 steps=20 …  of data; of a step; seed, eval_batch (another options of dlrun train)
  #: infer IN… -> OUT…                fields that infer reads, and its outputs
  #: ranks 2 3 5 8                     on how many
  #: data NAME TYPE SHAPE HOW          a field: f8 or i4, the shape of a row (- is a number), what is in it:
                                       normal, LOW..HIGH (integers below HIGH), tokens of which most rows are ignored: ignored LOW..HIGH
"""
import json
import math
import os
import random
import re
import struct
import subprocess
import sys
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
DLC, DLRUN = os.environ["DLC"], os.environ["DLRUN"]
CODES = {"F64": "d", "F32": "f", "I64": "q", "I32": "i", "BOOL": "?", "U8": "B"}
IGNORED = -100


class Failure(Exception):
    """What a test found wrong, in words."""


class Program:
    """A program of programs/, and what its `#:` lines say."""

    def __init__(self, name):
        self.name = name
        self.path = os.path.join(HERE, "programs", name + ".dl")
        self.compile, self.train, self.ranks, self.fields = [], {}, [2, 3, 5, 8], []
        self.inputs, self.outputs = [], []
        self.float, self.tolerance = "f64", 1e-7
        for line in re.findall(r"^#: (.*)$", open(self.path).read(), re.M):
            word, *rest = line.split()
            if word == "compile":
                self.compile = rest
            elif word == "float":
                self.float, self.tolerance = rest[0], float(rest[1])
            elif word == "train":
                self.train = dict(part.split("=") for part in rest)
            elif word == "infer":
                arrow = rest.index("->")
                self.inputs, self.outputs = rest[:arrow], rest[arrow + 1 :]
            elif word == "ranks":
                self.ranks = [int(part) for part in rest]
            elif word == "data":
                self.fields.append(rest)
            else:
                raise Failure("%s: what is '%s'?" % (name, line))

    def plan(self, float_type=None, mesh=None, defines=()):
        """The path of a plan, for a mesh if there is one."""
        float_type = float_type or self.float
        out = "%s.%s%s.plan" % (self.name, float_type, ".ranks" if mesh else "")
        command = [DLC, self.path, "--float", float_type, "-o", out, "--quiet"] + self.compile
        for define in defines:
            command += ["-D", define]
        run(command + (["--mesh", mesh] if mesh else []))
        return out


def run(command, code=0):
    """Both outputs of a command that must end with this code."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != code:
        raise Failure("%s: ended with %d\n%s%s" % (" ".join(command), done.returncode, done.stdout, done.stderr))
    return done.stdout, done.stderr


# -- Data


def numbers(rng, count, how):
    if how[0] == "normal":
        return [rng.gauss(0.0, 1.0) for _ in range(count)]
    low, high = (int(end) for end in how[-1].split(".."))
    return [rng.randrange(low, high) for _ in range(count)]


def field(rng, rows, each, how):
    """The numbers of `rows` rows of `each`."""
    values = []
    for row in range(rows):
        of_row = numbers(rng, each, how)
        if how[0] == "ignored":  # two rows of three as a whole, and half of the others
            of_row = [x if row % 3 == 0 and (i == 0 or rng.random() < 0.5) else IGNORED for i, x in enumerate(of_row)]
        values += of_row
    return values


def array(dtype, sizes, values):
    """The bytes of an .npy file."""
    header = "{'descr': '<%s', 'fortran_order': False, 'shape': (%s), }" % (dtype, "".join("%d, " % size for size in sizes))
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    code = {"f8": "d", "i4": "i"}[dtype]
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack("<%d%s" % (len(values), code), *values)


def write_data(program, path, rows, seed=1, given=None, changed=None):
    """An .npz file of the program's fields; some with numbers that are given, or changed at an index: {field: {index: number}}."""
    rng = random.Random(seed)
    with zipfile.ZipFile(path, "w") as file:
        for name, dtype, shape, *how in program.fields:
            sizes = [] if shape == "-" else [int(size) for size in shape.split("x")]
            values = field(rng, rows, math.prod(sizes), how)
            values = (given or {}).get(name, values)
            for index, value in (changed or {}).get(name, {}).items():
                values[index] = value
            file.writestr(name + ".npy", array(dtype, [rows] + sizes, values))
    return path


def unpack(path, folder):
    """The fields of an .npz file, a file each."""
    with zipfile.ZipFile(path) as file:
        file.extractall(folder)


def read_array(path):
    """Sizes and numbers of an .npy file."""
    data = open(path, "rb").read()
    length = struct.unpack("<H", data[8:10])[0]
    header = eval(data[10 : 10 + length].decode(), {"__builtins__": {}})
    code = {"f8": "d", "f4": "f", "i4": "i", "b1": "?"}[header["descr"][1:]]
    body = data[10 + length :]
    return header["shape"], struct.unpack("<%d%s" % (len(body) // struct.calcsize(code), code), body)


def read_weights(path):
    """Tensors of a safetensors file, by name."""
    data = open(path, "rb").read()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            code = CODES[entry["dtype"]]
            tensors[name] = struct.unpack("<%d%s" % ((last - first) // struct.calcsize(code), code), data[start + first : start + last])
    return tensors


# -- Running


def device(ranks):
    return "cpu" if ranks == 1 else "cpu*%d" % ranks


def trained(plan, data, ranks, name, options, code=0):
    """The log of a training run, what it printed, and its weights' file."""
    log, weights = name + ".jsonl", name + ".safetensors"
    command = [DLRUN, "train", plan, "--data", data, "--device", device(ranks), "--log", log, "--save", weights] + options
    out, err = run(command, code)
    lines = [json.loads(line) for line in open(log)]
    for line in lines:
        line.pop("seconds", None)
    return [line for line in lines if line["kind"] in ("step", "eval")], out + err, weights


def evaluated(plan, weights, data, ranks, batch):
    """Losses and metrics of an evaluation, as a line of a log."""
    out, _ = run([DLRUN, "eval", plan, "--weights", weights, "--data", data, "--batch", str(batch), "--device", device(ranks), "--json"])
    found = json.loads(out)
    del found["device"]
    return dict(found, kind="eval")


# -- Comparing


def close(a, b, tolerance):
    if isinstance(a, str) or isinstance(b, str) or a is None or b is None:
        return a == b
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b or abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-3)


def same_log(wanted, got, tolerance, keys=None):
    """Every number of every line, or of these keys alone."""
    if len(wanted) != len(got) or not wanted:
        raise Failure("%d lines of log, wanted %d" % (len(got), len(wanted)))
    for one, other in zip(wanted, got):
        for key in keys or sorted(set(one) | set(other)):
            a, b = one.get(key), other.get(key)
            if not close(a, b, tolerance):
                raise Failure("%s %s, %s: %s, on one device %s" % (one["kind"], one.get("step"), key, b, a))


def same_weights(wanted, got, tolerance):
    """Every tensor, to a share of its largest element."""
    a, b = read_weights(wanted), read_weights(got)
    if sorted(a) != sorted(b) or not a:
        raise Failure("%s has %s, wanted %s" % (got, sorted(b), sorted(a)))
    for name in a:
        largest = max([abs(x) for x in a[name]] + [1e-3])
        worst = max([abs(x - y) if x - y == x - y else math.inf for x, y in zip(a[name], b[name])] + [0.0])
        if len(a[name]) != len(b[name]) or worst > tolerance * largest:
            raise Failure("%s: %s differs by %g of %g" % (got, name, worst, largest))


def same_bytes(a, b):
    if open(a, "rb").read() != open(b, "rb").read():
        raise Failure("%s and %s differ" % (a, b))


def main(cases):
    """Runs the named cases, or all of them, in a folder of their own; every failure is told."""
    import tempfile

    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in sys.argv[1:] or cases:
            try:
                cases[name]()
            except Failure as failure:
                failed += 1
                print("%s: %s" % (name, failure))
    sys.exit(1 if failed else 0)
