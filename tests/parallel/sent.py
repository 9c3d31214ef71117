#!/usr/bin/env python3
"""Gradients that are sent in bf16 (`--exchange bf16`): half the bytes, one rounding of the sum, the same bits over every transport, and training
that goes as it would. What is no gradient is sent as ever.
sent.py [CASE…]"""
import json
import os
import re
import shutil
import struct
import types

import kit

# Each rank's piece of the gradient is what its rows are, to the bit, and the first update leaves minus the sum of the pieces.
PIECES = """dim B
model net(x: [B, 16400]) {
    param w: [16400] = zeros()
    y = x @ w
    output y
    loss mean(y)
}
train net {
    optimizer sgd(lr=1.0, momentum=0.5)
}
"""

# Mesh, ZeRO level, and the most elements that may be summed in f32 over data: a loss, a norm, and in resnet18 what a batch norm sums of rows.
NETWORKS = {
    "gpt2": [("data=4", 0, 2), ("data=2,model=2", 2, 16), ("replica=2,data=2", 3, 16)],
    "encoder_decoder": [("data=4", 0, 2)],
    "both_paths": [("model=2", 0, 0)],
    "resnet18": [("data=4", 2, 2500)],
}


def program_path(name):
    return os.path.join(kit.HERE, "programs", name + ".dl")


def exchanges(name, mesh, zero, exchange):
    """Of the training entry: {(kind, combine, axes, type): (elements, bytes)}."""
    command = [kit.DLC, program_path(name), "--mesh", mesh, "--zero", str(zero), "--exchange", exchange, "--json", "-o", "sent.plan"]
    told = json.loads(kit.run(command)[0])
    entry = next(one for one in told["entries"] if one["name"].endswith(".train"))
    return {(one["kind"], one["combine"], one["over"], one["type"]): (one["elements"], one["bytes"]) for one in entry["exchanges"]}


def halves(name, mesh, zero):
    """What leaves f32 comes back as bf16, of half the bytes; nothing else changes. Returns the elements that stay f32, over data ranks."""
    before, after = exchanges(name, mesh, zero, "f32"), exchanges(name, mesh, zero, "bf16")
    what = "%s, %s, zero %d" % (name, mesh, zero)
    if any(key[3] == "bf16" for key in before):
        raise kit.Failure("%s: bf16 is sent without being asked for: %s" % (what, before))
    rest = 0
    for key in sorted(set(before) | {key[:3] + ("f32",) for key in after if key[3] == "bf16"} | {key for key in after if key[3] != "bf16"}):
        short = key[:3] + ("bf16",) if key[3] == "f32" else None
        kept, sent = after.get(key, (0, 0)), after.get(short, (0, 0))
        sums = key[0] in ("all_reduce", "reduce_scatter") and key[1] == "add" and re.search("data|replica", key[2])
        if before.get(key) != (kept[0] + sent[0], kept[1] + 2 * sent[1]) or (sent[0] and not sums):
            raise kit.Failure("%s: %s is %s, and with bf16 %s and %s" % (what, key, before.get(key), kept, sent))
        rest += kept[0] if sums and key[3] == "f32" else 0
    return rest


def bytes_of_networks():
    """Every gradient is sent so, but for those of a batch norm, which are sums that the gradients of its rows are made of too."""
    for name, meshes in NETWORKS.items():
        for mesh, zero, most in meshes:
            rest = halves(name, mesh, zero)
            if rest > most:
                raise kit.Failure("%s, %s, zero %d: %d elements are summed in f32 over data" % (name, mesh, zero, rest))


def rounded(x):
    """The nearest number of bf16, the even one of two."""
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def one_rounding():
    """64 ranks whose pieces are numbers of bf16: their sum, which f32 holds, is rounded once, whole or scattered."""
    with open("pieces.dl", "w", encoding="utf-8") as file:
        file.write(PIECES)
    fields = [("x", "f8", "16400", "-127..127")]
    data = "train=" + kit.write_data(types.SimpleNamespace(fields=fields), "pieces.npz", 64)
    options = ["--quiet", "--batch", "64", "--steps", "1"]
    kit.run([kit.DLC, "pieces.dl", "-o", "one.plan", "--quiet"])
    exact = kit.read_weights(kit.trained("one.plan", data, 1, "one", options)[2])["w"]
    wanted = tuple(rounded(x) for x in exact)
    if sum(a != b for a, b in zip(exact, wanted)) < len(exact) // 4:
        raise kit.Failure("hardly a sum needs to be rounded")
    for zero in (0, 2):
        kit.run([kit.DLC, "pieces.dl", "--mesh", "data=*", "--zero", str(zero), "--exchange", "bf16", "-o", "many.plan", "--quiet"])
        got = kit.read_weights(kit.trained("many.plan", data, 64, "many", options)[2])["w"]
        if got != wanted:
            at = next(i for i, (a, b) in enumerate(zip(got, wanted)) if a != b)
            raise kit.Failure("zero %d: element %d is %r, wanted %r of %r" % (zero, at, got[at], wanted[at], exact[at]))


def training():
    """Digits learn as they do in f32: threads, processes and MPI give the same bits, and a plan for f32 is compiled anew."""
    program = kit.Program("digits")
    data = "train=" + kit.write_data(program, "digits.npz", 88)
    options = ["--batch", "22", "--steps", "8"]
    for exchange in ("f32", "bf16"):
        kit.run([kit.DLC, program.path, "--float", "f32", "--mesh", "data=*", "--zero", "1", "--exchange", exchange, "-o", exchange + ".plan", "--quiet"])
    log, _, _ = kit.trained("f32.plan", data, 4, "f32", options + ["--quiet"])
    sent, _, weights = kit.trained("bf16.plan", data, 4, "bf16", options + ["--quiet"])
    kit.same_log(log[:1], sent[:1], 1e-6, keys=["loss"])  # before any update
    kit.same_log(log[:1], sent[:1], 2.0**-8, keys=["grad_norm"])
    kit.same_log(log, sent, 0.02, keys=["loss"])
    if [one["loss"] for one in log[1:]] == [one["loss"] for one in sent[1:]]:
        raise kit.Failure("nothing was rounded: %s" % log)
    _, text, renewed = kit.trained("f32.plan", data, 4, "renewed", options + ["--exchange", "bf16"])
    if "f32.plan: compiled anew for cpu: the mesh data=* with gradients sent in bf16 is asked for\n" not in text:
        raise kit.Failure("compiled anew without a note:\n%s" % text)
    kit.same_bytes(weights, renewed)
    _, text, back = kit.trained("bf16.plan", data, 4, "back", options + ["--exchange", "f32"])
    kit.same_bytes("f32.safetensors", back)
    command = [kit.DLRUN, "train", "bf16.plan", "--data", data] + options
    kit.run(command + ["--quiet", "--processes", "4", "--save", "apart.safetensors"])
    kit.same_bytes(weights, "apart.safetensors")
    if "mpich" in os.environ.get("MPI_MODULES", "").split() and shutil.which("mpirun.mpich"):
        os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"  # what an MPI keeps is no leak of ours
        _, err = kit.run(["mpirun.mpich", "-n", "4"] + command + ["--save", "mpi.safetensors"])
        if "4 ranks (PMI), over mpi" not in err:
            raise kit.Failure("not over MPI:\n%s" % err)
        kit.same_bytes(weights, "mpi.safetensors")


def refused():
    """Other words say what there is; one device sends nothing."""
    for more, words in (
        (["--mesh", "data=2", "--exchange", "f16"], "gradients are exchanged in f32 or bf16, not in 'f16'"),
        (["--mesh", "data=2 { exchange f16 }"], "`exchange` is f32 or bf16, not 'f16'"),
        (["--exchange", "bf16"], "name the mesh too"),
    ):
        _, err = kit.run([kit.DLC, program_path("digits"), "-o", "refused.plan"] + more, code=1)
        if words not in err:
            raise kit.Failure("%s: says\n%s\nwanted\n%s" % (more, err, words))
    program = kit.Program("digits")
    kit.run([kit.DLC, program.path, "-o", "one.plan", "--quiet"])
    command = [kit.DLRUN, "train", "one.plan", "--data", "train=" + kit.write_data(program, "few.npz", 8), "--batch", "8", "--steps", "1", "--quiet"]
    _, err = kit.run(command + ["--exchange", "bfloat16"], code=1)
    if "dlc_session_options.exchange is f32 or bf16, not 'bfloat16'" not in err:
        raise kit.Failure("dlrun says\n%s" % err)
    kit.run(command + ["--exchange", "bf16"])


CASES = {"bytes": bytes_of_networks, "one_rounding": one_rounding, "training": training, "refused": refused}
kit.main(CASES)
