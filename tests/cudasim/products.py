"""Products by cuBLASLt's stand-in against the CPU: products.py FOLDER, with DLC and DLRUN naming the
tools and FOLDER the simulated libraries'. Each program trains three steps on the CPU, with the library
(plain, poisoned, guarded), told not to use it, and without one to be found: weights close to the
CPU's, and the same bits wherever the library serves."""
import array
import json
import math
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile

PLAIN = """
dim B in 1..4096

model products(x: TYPE[B, 128], target: TYPE[B, 64]) {
    h = x |> linear(256) as a |> relu
    g = h |> linear(256) as b |> gelu_tanh
    r = h + (g |> linear(256) as c)
    y = r |> linear(64) as d
    output y
    loss mean((y - target) * (y - target))
}

train products {
    optimizer sgd(lr=0.05)
    batch 160
    steps 3
    PRECISION
}
"""
# Batched, transposed on either side, with an operand that has to be copied.
HEADS = """
dim B in 1..64

model products(x: TYPE[B, 64, 128], target: TYPE[B, 64, 128]) {
    param q: TYPE[128, 2, 64] = normal(0, 0.05)
    param o: TYPE[2, 64, 128] = normal(0, 0.05)
    h = {b t c, c h d -> b h t d}(x, q)
    s = {b h i d, b h j d -> b h i j}(h, h) * 0.125
    m = {b h i j, b h j d -> b h i d}(s, h)
    y = {b h t d, h d c -> b t c}(m, o)
    output y
    loss mean((y - target) * (y - target))
}

train products {
    optimizer sgd(lr=0.05)
    batch 8
    steps 3
    PRECISION
}
"""
CASES = [
    ("f32", PLAIN, "f32", "", 2e-5),
    ("f64", PLAIN, "f64", "", 1e-12),
    ("bf16", PLAIN, "f32", "precision bf16", 2e-2),
    ("f16", PLAIN, "f32", "precision f16", 4e-3),
    ("heads", HEADS, "f32", "", 2e-5),
]
failures = 0


def check(good, what):
    global failures
    if not good:
        print("FAILED:", what)
        failures += 1


def weights(path):
    """Of a safetensors file: name -> array."""
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    types = {"F32": "f", "F64": "d"}
    out = {}
    for name, tensor in header.items():
        if name != "__metadata__" and tensor["dtype"] in types:
            first, last = tensor["data_offsets"]
            out[name] = array.array(types[tensor["dtype"]], data[8 + length + first:8 + length + last])
    return out


def distance(want, got):
    worst = 0.0
    for name in want:
        scale = max(abs(x) for x in want[name]) + 1e-30
        for x, y in zip(want[name], got[name], strict=True):
            worst = max(worst, abs(x - y) / scale if math.isfinite(y) else math.inf)
    return worst


def run(arguments, libraries):
    done = subprocess.run(arguments, env={**os.environ, "DLC_CUDA_PATH": libraries + ":-"}, text=True,
                          capture_output=True)
    check(done.returncode == 0, " ".join(arguments) + "\n" + done.stdout + done.stderr)
    return done.stdout + done.stderr


def train(work, name, options, libraries):
    path = os.path.join(work, "weights.safetensors")
    text = run([os.environ["DLRUN"], "train", os.path.join(work, name + ".plan"), "--data",
                "train=" + os.path.join(work, name + ".npz"), "--save", path] + options, libraries)
    return weights(path), text


def npy_normal(shape, kind):
    """A .npy file of normal numbers, from one seed."""
    numbers = random.Random(7)
    values = array.array(kind, (numbers.gauss(0, 1) for _ in range(math.prod(shape))))
    header = "{'descr': '<f%d', 'fortran_order': False, 'shape': %r, }" % (values.itemsize, shape)
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + values.tobytes()


def case(work, libraries, bare, name, program, dtype, precision, tolerance):
    text = program.replace("TYPE", dtype).replace("PRECISION", precision)
    source, plan = os.path.join(work, name + ".dl"), os.path.join(work, name + ".plan")
    with open(source, "w") as file:
        file.write(text)
    rows, shapes = (480, ((128,), (64,))) if program is PLAIN else (24, ((64, 128), (64, 128)))
    with zipfile.ZipFile(os.path.join(work, name + ".npz"), "w") as file:
        for array_name, shape in zip(("x", "target"), shapes):
            file.writestr(array_name + ".npy", npy_normal((rows,) + shape, "d" if dtype == "f64" else "f"))
    run([os.environ["DLC"], source, "-o", plan, "--target", "cuda:sm_90", "--target", "cpu", "--quiet",
         "--float", "f64" if dtype == "f64" else "f32"], libraries)
    if not os.path.exists(plan):
        return
    # All begin with the same weights: what a CPU makes of its own.
    train(work, name, ["--device", "cpu"], libraries)
    start = os.path.join(work, "start.safetensors")
    os.replace(os.path.join(work, "weights.safetensors"), start)
    cpu, _ = train(work, name, ["--device", "cpu", "--weights", start], libraries)
    ways = [("library", ["--device", "cuda"], libraries, True),
            ("poison", ["--device", "cuda", "--poison", "A"], libraries, True),
            ("guarded", ["--device", "cuda", "--arena", "guarded", "--poison", "B"], libraries, True),
            ("told not to", ["--device", "cuda", "--no-libraries"], libraries, False),
            ("absent", ["--device", "cuda"], bare, False)]
    first = None
    for way, options, where, served in ways:
        got, said = train(work, name, options + ["--weights", start], where)
        far = distance(cpu, got)
        print(f"{name} {way}: {far:.2e} from the CPU")
        check(far <= tolerance, f"{name} {way}: {far:.2e}, over {tolerance:.0e}")
        check(("calls by cuBLASLt" in said) == served, f"{name} {way}: who served?\n{said}")
        check(not served or "calls by cuBLASLt 13.2.0" in said, f"{name} {way}: which version served?\n{said}")
        if way == "absent":
            check(said.count("generated kernels, because libcublasLt.so.13 is not on this machine") == 1,
                  f"{name}: the reason, once\n{said}")
        if served and first is not None:
            check(all(first[n].tobytes() == got[n].tobytes() for n in first), f"{name} {way}: other bits")
        first = got if first is None else first


def main():
    if not shutil.which("g++"):
        print("skipped: no C++ compiler (g++) for the simulated device's kernels")
        sys.exit(77)
    libraries = sys.argv[1]
    with tempfile.TemporaryDirectory() as work:
        bare = os.path.join(work, "bare")
        os.mkdir(bare)
        for library in ("libcuda.so.1", "libnvrtc.so.13"):
            os.symlink(os.path.realpath(os.path.join(libraries, library)), os.path.join(bare, library))
        for row in CASES:
            if len(sys.argv) < 3 or row[0] in sys.argv[2:]:
                case(work, libraries, bare, *row)
    sys.exit(1 if failures else 0)


main()
