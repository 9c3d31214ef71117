#!/usr/bin/env python3
"""What the launch code passes to a kernel is what its cubin takes: a check on real NVRTC output, no GPU needed.

parameters.py DLC SOURCE_ROOT [PROGRAM…]

Compiles programs for every kind of GPU and reads the plans' images (runtime/cuda_image.h). Each cubin must be an ELF file for
CUDA of the image's architecture; each kernel of the image must be in the cubin of its unit, with parameters as
runtime/cuda/module.c gives them: tiles, a pointer a buffer, an 8-byte size each, the fault word and the scratch if it has them,
8 bytes each one after another and nothing else (a kernel of groups: tiles, members, the group's words, the common buffers); static shared memory none; and threads of a block within what it was compiled for.
"""
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

PROGRAMS = {"torch_example": [], "digits": [], "gpt2": ["layers=1", "width=64", "heads=2", "vocab=64", "context=32"], "char_lstm": []}
TARGETS = ["cuda:sm_80", "cuda:sm_90", "cuda:sm_100", "cuda:sm_120"]
MAGIC = b"DLCCUDA\n"
EM_CUDA = 190
# Attributes of .nv.info sections: (format, number) as binutils of CUDA print them.
FORMAT_SIZED, KPARAM_INFO, CBANK_PARAM_SIZE, PARAM_CBANK, MAX_THREADS = 4, 0x17, 0x19, 0x0a, 0x05


class Elf:
    def __init__(self, data):
        self.data = data
        assert data[:5] == b"\x7fELF\x02", "no 64-bit ELF file"
        (self.machine,) = struct.unpack_from("<H", data, 18)
        (self.flags,) = struct.unpack_from("<I", data, 48)
        (self.abi,) = struct.unpack_from("<B", data, 8)
        (at,) = struct.unpack_from("<Q", data, 40)
        size, count, names = struct.unpack_from("<HHH", data, 58)
        headers = [struct.unpack_from("<IIQQQQIIQQ", data, at + i * size) for i in range(count)]
        strings = headers[names]
        self.sections = {}
        for header in headers:
            name = data[strings[4] + header[0]:].split(b"\0", 1)[0].decode()
            self.sections[name] = (header, b"" if header[1] == 8 else data[header[4]:header[4] + header[5]])

    def sm(self):
        """The architecture is in the flags: the low byte until ABI 7, the second byte from ABI 8 on."""
        return self.flags >> 8 & 0xff if self.abi >= 8 else self.flags & 0xff

    def attributes(self, kernel):
        """[(format, attribute, value or bytes)] of .nv.info.KERNEL"""
        data, at, found = self.sections[".nv.info." + kernel][1], 0, []
        while at + 4 <= len(data):
            form, number, value = struct.unpack_from("<BBH", data, at)
            at += 4
            if form == FORMAT_SIZED:
                found.append((form, number, data[at:at + value]))
                at += value
            else:
                found.append((form, number, value))
        return found


def kernel_check(elf, name, words, threads):
    """What is wrong with the kernel; None: nothing."""
    if ".text." + name not in elf.sections or ".nv.info." + name not in elf.sections:
        return "is not in the cubin"
    attributes, parameters = elf.attributes(name), {}
    bytes_in_all = None
    for form, number, value in attributes:
        if number == KPARAM_INFO and form == FORMAT_SIZED:
            _, ordinal, offset, packed = struct.unpack("<IHHI", value)
            parameters[ordinal] = (offset, packed >> 18)  # the top 14 bits
        elif number == CBANK_PARAM_SIZE and form != FORMAT_SIZED:
            bytes_in_all = value
        elif number == MAX_THREADS and form == FORMAT_SIZED:
            most = struct.unpack("<III", value)
            if threads > most[0] * most[1] * most[2]:
                return "is compiled for blocks of %d threads, not %d" % (most[0], threads)
    expected = {i: (8 * sum(words[:i]), 8 * n) for i, n in enumerate(words)}
    if parameters != expected:
        return "has parameters %s, the launch gives %s" % (sorted(parameters.items()), sorted(expected.items()))
    if bytes_in_all != 8 * sum(words):
        return "takes %s bytes, the launch gives %d" % (bytes_in_all, 8 * sum(words))
    # From sm_90 on the section has the kilobyte that the system keeps of every block's.
    shared = elf.sections.get(".nv.shared." + name)
    if shared and shared[0][5] > (1024 if elf.sm() >= 90 else 0):
        return "has %d bytes of static shared memory" % shared[0][5]
    return None


def images(plan):
    at = plan.find(MAGIC)
    while at >= 0:
        yield plan[at:]
        at = plan.find(MAGIC, at + 8)


def image_check(image, where):
    """(kernels looked at, problems)"""
    n_units, n_kernels, sm = struct.unpack_from("<IIi", image, 12)
    units, kernels = struct.unpack_from("<QQ", image, 32)
    problems, cubins = [], []
    for i in range(n_units):
        offset, size = struct.unpack_from("<QQ", image, units + 48 * i + 16)
        if size == 0:
            problems.append("%s: unit %d has no cubin" % (where, i))
            return 0, problems
        elf = Elf(image[offset:offset + size])
        if elf.machine != EM_CUDA or elf.sm() != sm:
            problems.append("%s: unit %d is for machine %d, sm_%d (flags %#x), not sm_%d"
                            % (where, i, elf.machine, elf.sm(), elf.flags, sm))
        cubins.append(elf)
    for i in range(n_kernels):
        record = image[kernels + 120 * i:kernels + 120 * (i + 1)]
        name = record[:64].split(b"\0", 1)[0].decode()
        unit, threads, n_buffers, n_sizes, has_faults, _shared, scratch = struct.unpack_from("<IiiiiiQ", record, 64)
        group, common = struct.unpack_from("<iQ", record, 108)
        words = [1] * (1 + n_buffers + n_sizes)
        if group:
            shared_by_all = bin(common).count("1")
            words = [1, 1, group * (1 + n_buffers - shared_by_all + n_sizes)] + [1] * shared_by_all
        words += [1] * ((has_faults != 0) + (scratch != 0))
        wrong = kernel_check(cubins[unit], name, words, threads)
        if wrong:
            problems.append("%s, sm_%d: %s %s" % (where, sm, name, wrong))
    return n_kernels, problems


def main():
    dlc, root, *programs = sys.argv[1:]
    total, problems = 0, []
    with tempfile.TemporaryDirectory() as folder:
        for program in programs or PROGRAMS:
            plan = pathlib.Path(folder) / "program.plan"
            command = [dlc, str(pathlib.Path(root) / "examples" / (program + ".dl")), "-o", str(plan), "--quiet"]
            for target in TARGETS:
                command += ["--target", target]
            for value in PROGRAMS.get(program, []):
                command += ["-D", value]
            done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, DLC_CUDASIM_NVRTC=""))
            if "NVRTC" in done.stderr:
                print("skipped: %s" % done.stderr.strip().splitlines()[0])
                return 77
            if done.returncode != 0:
                print(done.stderr)
                return 1
            found = list(images(plan.read_bytes()))
            if len(found) != len(TARGETS):
                problems.append("%s: %d images for %d targets" % (program, len(found), len(TARGETS)))
            for image in found:
                count, wrong = image_check(image, program)
                total += count
                problems += wrong
    for problem in problems[:40]:
        print(problem)
    print("%d kernels, %d problems" % (total, len(problems)))
    return 1 if problems or total == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
