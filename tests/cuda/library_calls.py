#!/usr/bin/env python3
"""What the schedule says of launches that a vendor's library may do: products are tf32 only where the program asks for it, and
every buffer that a call touches lives from the call's launch to the last one that it stands for.

library_calls.py DLC"""
import re
import subprocess
import sys
import tempfile

PROGRAM = """
dim B
model calls(x: f32[B, 3, 16, 16], y: f32[B, 512]) {
    h = x |> conv2d(64, 3, padding=1) as k |> relu |> {b c i j -> b (c i j)} |> linear(512) as a |> gelu_tanh
    h = h |> linear(512) as b |> relu
    p = h + (h |> linear(512) as c)
    output p
    loss mse(p, y)
}
train calls { optimizer sgd(lr=0.1); batch 256%s }
"""


def schedule(dlc, precision):
    with tempfile.NamedTemporaryFile("w", suffix=".dl") as file:
        file.write(PROGRAM % precision)
        file.flush()
        return subprocess.run([dlc, file.name, "--target", "cuda:sm_90", "--quiet", "--emit=schedule"], check=True,
                              capture_output=True, text=True).stdout


def problems(text, compute):
    """(calls looked at, what is wrong of them)"""
    lives, calls, wrong = {}, 0, []
    for line in text.splitlines():
        if line.startswith("entry "):
            lives = {}
        life = re.match(r"  (%\d+) = arena .* bytes, (-?\d+)\.\.(\d+)", line)
        if life:
            lives[life[1]] = int(life[2]), int(life[3])
        call = re.match(r" +(\d+) launch .* or (matmul|conv\w*(?: \w+)?) (tf32|f32|f64|bf16|f16)\b(.*)", line)
        if not call:
            continue
        calls += 1
        first, more = int(call[1]), re.search(r"with the next (\d+)", call[4])
        last = first + (int(more[1]) if more else 0)
        if call[3] != compute:
            wrong.append("computed in %s, not %s: %s" % (call[3], compute, line.strip()))
        for buffer in re.findall(r"\w+(%\d+)", call[4].split(" sizes ")[0]):
            born, dies = lives.get(buffer, (first, last))
            if born > first or dies < last:
                wrong.append("%s lives %d..%d, the call stands for %d..%d: %s" % (buffer, born, dies, first, last, line.strip()))
    return calls, wrong


failed = 0
for precision, compute in (("", "f32"), ("; precision tf32", "tf32")):
    calls, wrong = problems(schedule(sys.argv[1], precision), compute)
    if calls < 12:
        wrong.append("%d calls only" % calls)
    for text in wrong:
        print("%s: %s" % (precision or "plain", text))
    failed += len(wrong)
sys.exit(1 if failed else 0)
