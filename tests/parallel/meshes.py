#!/usr/bin/env python3
"""Training on a mesh is training on one device: the programs of equal.py, each on some of the meshes below, so that every mesh and every
level of ZeRO meets many programs. meshes.py [PROGRAM…]; PROGRAM:all takes all meshes."""
import glob
import os
import re

import equal
import kit

# A mesh, a level of ZeRO, a number of ranks.
MESHES = [
    ("data=*", 1, 3),
    ("data=2,model=2", 0, 4),
    ("data=*", 2, 2),
    ("model=2", 0, 2),
    ("data=*", 3, 5),
    ("replica=2,data=2", 1, 4),
    ("data=2,model=2", 3, 4),
    ("model=4", 0, 4),
    ("replica=2,data=*", 3, 6),
    ("model=2,data=*", 2, 4),
    ("replica=2,data=2,model=2", 3, 8),
    ('data=2,model=2 { sequence "on" }', 0, 4),
    ('model=3 { sequence "on" }', 0, 3),
    ('data=2,model=2 { sequence "on" }', 2, 4),
    ('data=*,model=4 { sequence "on" }', 3, 4),
]
EACH = 2  # meshes a program
# Attention whose heads three ranks cannot share: the block leaves it whole.
HEADS_OF_FOUR = {"gpt2": ["h.*.attn"], "encoder_decoder": ["*.self_attn", "*.multihead_attn"]}


def with_heads(name, mesh):
    lines = ['shard (_, _, _) for "%s"' % path for path in HEADS_OF_FOUR.get(name, [])]
    return mesh.replace("{ ", "{ %s; " % "; ".join(lines)) if lines and mesh.startswith("model=3") else mesh


def on_mesh(program, one, mesh, zero, ranks):
    mesh = with_heads(program.name, mesh)
    log, weights, chosen, data = one
    tag = "%s.%s.%d" % (program.name, re.sub(r"\W+", ".", mesh.replace("*", "any")), zero)
    compiled = program.compile
    program.compile = compiled + ["--zero", str(zero)]
    try:
        own_log, _, own_weights = kit.trained(program.plan(mesh=mesh), data, ranks, tag, chosen)
        kit.same_log(log, own_log, program.tolerance)
        kit.same_weights(weights, own_weights, program.tolerance)
    except kit.Failure as failure:
        raise kit.Failure("on mesh %s, --zero %d, %d ranks: %s" % (mesh, zero, ranks, failure)) from None
    finally:
        program.compile = compiled


def meshes(name, which):
    program = kit.Program(name)
    chosen, data = equal.options(program), equal.data_of(program)
    log, _, weights = kit.trained(program.plan(), data, 1, name + ".one", chosen)
    for mesh in which:
        on_mesh(program, (log, weights, chosen, data), *mesh)


CASES = {}
for i, path in enumerate(sorted(glob.glob(os.path.join(kit.HERE, "programs", "*.dl")))):
    NAME = os.path.basename(path)[:-3]
    SOME = [MESHES[(i * EACH + k) % len(MESHES)] for k in range(EACH)]
    CASES[NAME] = lambda name=NAME, some=SOME: meshes(name, some)
    CASES[NAME + ":all"] = lambda name=NAME: meshes(name, MESHES)
if __name__ == "__main__":
    kit.main(CASES)
