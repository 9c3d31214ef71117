#!/usr/bin/env python3
"""What ranks exchange in a training step and how many bytes each sends, as dlc says it: of gpt2 against closed forms over its parameters and
activations, of other networks against counts that were looked through once.
exchanges.py [CASE…]"""
import json
import os
import re

import kit

# programs/gpt2.dl, at the sizes that dlc takes for its figures.
LAYERS, WIDTH, VOCABULARY, CONTEXT = 4, 64, 256, 64
B, T = 32, 64
FLOAT = 4  # bytes
DATA, MODEL = 4, 2  # ranks along the axes
ZERO_LEAST = (64 << 10) // FLOAT  # elements: smaller tensors stay whole

NORM = [WIDTH, WIDTH]
TABLES = [VOCABULARY * WIDTH, CONTEXT * WIDTH]
# Of a block, elements of what the model axis cuts (c_attn and c_fc by columns, both c_proj by rows), and of what it leaves whole.
BLOCK_CUT = [3 * WIDTH * WIDTH, 3 * WIDTH, WIDTH * WIDTH, 4 * WIDTH * WIDTH, 4 * WIDTH, 4 * WIDTH * WIDTH]
BLOCK_WHOLE = NORM + [WIDTH] + NORM + [WIDTH]
PARAMETERS = TABLES + (BLOCK_CUT + BLOCK_WHOLE) * LAYERS + NORM


def exchanges(name, mesh, zero=0, entry="train", sequence="off", defines=()):
    """Of an entry: {"KIND over AXES of TYPE": its figures}; a sum other than by adding is "all_reduce max". And all of the summary."""
    path = name if name.endswith(".dl") else os.path.join(kit.HERE, "programs", name + ".dl")
    command = [kit.DLC, path, "--mesh", mesh, "--zero", str(zero), "--sequence", sequence, "--json", "-o", "ranks.plan"]
    out, _ = kit.run(command + ["-D" + text for text in defines])
    summary = json.loads(out)
    found = {}
    for one in next(e for e in summary["entries"] if e["name"].endswith("." + entry))["exchanges"]:
        kind = one["kind"] + (" " + one["combine"] if one["combine"] not in ("", "add") else "")
        key = "%s over %s of %s" % (kind, one["over"], one["type"])
        if key in found:
            raise kit.Failure("%s, %s: '%s' stands there twice" % (name, mesh, key))
        found[key] = one
    return found, summary


# -- Closed forms: bytes that the first rank of `ranks` sends, of tensors of so many elements


def piece(elements, ranks):
    return elements // ranks + (1 if elements % ranks else 0)


def reduced(tensors, ranks):
    return FLOAT * sum(size - piece(size, ranks) + (ranks - 1) * piece(size, ranks) for size in tensors)


def gathered(tensors, ranks):
    return FLOAT * sum((ranks - 1) * piece(size, ranks) for size in tensors)


def scattered(tensors, ranks):
    return FLOAT * sum(size - piece(size, ranks) for size in tensors)


BYTES = {"all_reduce": reduced, "all_reduce max": reduced, "all_gather": gathered, "reduce_scatter": scattered}


def expect(what, found, wanted):
    """wanted: {key: (elements of each tensor, ranks)}, and nothing beside them."""
    if sorted(found) != sorted(wanted):
        raise kit.Failure("%s: exchanges %s, wanted %s" % (what, sorted(found), sorted(wanted)))
    for key, (tensors, ranks) in wanted.items():
        form = BYTES[key.split(" over ")[0]]
        figures = (len(tensors), sum(tensors), ranks, form(tensors, ranks))
        got = tuple(found[key][name] for name in ("tensors", "elements", "group_ranks", "bytes"))
        if got != figures:
            raise kit.Failure("%s, %s: tensors, elements, ranks, bytes are %s, wanted %s" % (what, key, got, figures))


COUNT = "all_reduce over data of i32"  # of tokens that count, for the mean


def data():
    """Each gradient once an update, and the loss."""
    found, summary = exchanges("gpt2", "data=%d" % DATA)
    expect("data", found, {"all_reduce over data of f32": (PARAMETERS + [1], DATA), COUNT: ([1], DATA)})
    if summary["parameters"] != str(sum(PARAMETERS)):
        raise kit.Failure("%s parameters, wanted %d" % (summary["parameters"], sum(PARAMETERS)))


def zero():
    """Levels 1 and 2 scatter the sums of what is cut and gather its parameters; level 3 gathers parameters for each pass. The tied vocabulary's
    gradient is of two parts, which are added before they travel; it is needed three times. The norm of the gradients is one more sum."""
    large = [size for size in PARAMETERS if size >= ZERO_LEAST]
    tied = [TABLES[0]]
    wanted = {"all_reduce over data of f32": ([size for size in PARAMETERS if size < ZERO_LEAST] + [1, 1], DATA), COUNT: ([1], DATA)}
    wanted["reduce_scatter over data of f32"] = (large, DATA)
    for level, gathers in ((1, large), (2, large), (3, 2 * large + tied)):
        found, summary = exchanges("gpt2", "data=%d" % DATA, level)
        expect("zero %d" % level, found, dict(wanted, **{"all_gather over data of f32": (gathers, DATA)}))
        if summary["parameters"] != str(sum(PARAMETERS)):  # of all ranks together
            raise kit.Failure("zero %d: %s parameters, wanted %d" % (level, summary["parameters"], sum(PARAMETERS)))


def megatron(rows, of_rows, scalars):
    """Per block two sums forward and two backward of what a token has, of the vocabulary one each; of its softmax some numbers a token."""
    return [rows * WIDTH] * (4 * LAYERS + 2) + [rows] * of_rows + [1] * scalars


def model():
    found, _ = exchanges("gpt2", "model=%d" % MODEL)
    wanted = {"all_reduce over model of f32": (megatron(B * T, 2, 2), MODEL), "all_reduce max over model of f32": ([B * T], MODEL)}
    expect("model", found, wanted)


def both():
    """Over model what a data rank's rows have; over data what a model rank has of the parameters."""
    found, _ = exchanges("gpt2", "data=%d,model=%d" % (DATA, MODEL))
    rows = B * T // DATA
    own = [TABLES[0] // MODEL, TABLES[1]] + ([size // MODEL for size in BLOCK_CUT] + BLOCK_WHOLE) * LAYERS + NORM
    wanted = {"all_reduce over model of f32": (megatron(rows, 3, 1), MODEL), "all_reduce max over model of f32": ([rows], MODEL)}
    expect("both", found, dict(wanted, **{"all_reduce over data of f32": (own + [1], DATA), COUNT: ([1], DATA)}))


def halves(rows, of_rows, scalars):
    """The same with rows of norms and residual sums cut too: what was summed is summed into parts, and gathered where the next product needs all of
    it, as the positions' gradient is at the end."""
    parts = [rows * WIDTH] * (4 * LAYERS + 2)
    return {
        "reduce_scatter over model of f32": (parts, MODEL),
        "all_gather over model of f32": (parts + [TABLES[1]], MODEL),
        "all_reduce max over model of f32": ([rows], MODEL),
        "all_reduce over model of f32": ([rows] * of_rows + [1] * scalars, MODEL),
    }


def halves_of_both():
    """On both axes: gradients of what is whole beside products are sums over model too, and travel once, with those over data."""
    wanted = halves(B * T // DATA, 3, 1)
    own = [TABLES[0] // MODEL, TABLES[1] // MODEL] + [size // MODEL for size in BLOCK_CUT] * LAYERS
    wanted["all_reduce over data of f32"] = (own + [1], DATA)
    wanted["all_reduce over data,model of f32"] = (BLOCK_WHOLE * LAYERS + NORM, DATA * MODEL)
    wanted[COUNT] = ([1], DATA)
    return wanted


def sequence():
    """Of `on`; of `auto`, which takes it where the tensors are large enough for the calls that come to it."""
    for asked, defines in (("on", []), ("auto", []), ("on", ["T=%d" % T])):  # of positions all are used: they stay whole even so
        found, _ = exchanges("gpt2", "model=%d" % MODEL, sequence=asked, defines=defines)
        wanted = halves(B * T, 2, 2)
        wanted["all_reduce over model of f32"][0].extend(BLOCK_WHOLE * LAYERS + NORM)
        expect("sequence %s, model %s" % (asked, defines), found, wanted)
    mesh = "data=%d,model=%d" % (DATA, MODEL)
    found, _ = exchanges("gpt2", mesh, sequence="on")
    expect("sequence on, both", found, halves_of_both())
    found, _ = exchanges("gpt2", mesh, sequence="auto")
    if "reduce_scatter over model of f32" in found:
        raise kit.Failure("sequence auto cuts what is too small: %s" % found)


def asked():
    """A line of the program's block that asks for the rows of one norm a block, which what is around them follows; products are cut as ever."""
    with open(os.path.join(kit.HERE, "programs", "gpt2.dl"), encoding="utf-8") as file:
        text = file.read()
    block = 'mesh data=%d, model=%d {\n    shard (data, model, _) for "h.*.ln_1"\n}\n\nmodel gpt2(' % (DATA, MODEL)
    with open("asked.dl", "w", encoding="utf-8") as file:
        file.write(text.replace("model gpt2(", block, 1))
    found, _ = exchanges("asked.dl", "program", sequence="off")
    expect("asked", found, halves_of_both())


def renewed():
    """dlrun cuts them otherwise than the plan: it is compiled anew, and trains as before."""
    program = kit.Program("gpt2")
    data = "train=" + kit.write_data(program, "gpt2.npz", 8)
    options = ["--batch", "4", "--steps", "2"]
    kit.run([kit.DLC, program.path, "--float", "f64", "--mesh", "model=2", "--sequence", "off", "-o", "off.plan", "--quiet"])
    log, text, _ = kit.trained("off.plan", data, 2, "off", options)
    again, renewed_text, _ = kit.trained("off.plan", data, 2, "on", options + ["--sequence", "on"])
    note = "off.plan: compiled anew for cpu: the mesh model=2 with sequence on is asked for\n"
    if note in text or note not in renewed_text:
        raise kit.Failure("says\n%s" % renewed_text)
    kit.same_log(log, again, 1e-10, keys=["loss"])
    _, err = kit.run([kit.DLRUN, "train", "off.plan", "--data", data, "--device", "cpu*2", "--sequence", "yes"] + options, code=1)
    if 'sequence is "auto", "on" or "off", not "yes"' not in err:
        raise kit.Failure("dlrun says\n%s" % err)


def line(name, bindings, ranks):
    """Of dlrun inspect: {"KIND over AXES of TYPE": (calls, elements)} of the training entry, and its first line."""
    command = [kit.DLRUN, "inspect", "ranks.plan", "--ranks", str(ranks)] + [part for text in bindings for part in ("-D", text)]
    out, _ = kit.run(command)
    of_entry = re.search(r"^  %s\.train on .*\n(?:    .*\n)+" % name, out, re.M)
    if not of_entry:
        raise kit.Failure("dlrun inspect says nothing of what %s.train exchanges:\n%s" % (name, out))
    found = re.findall(r"^    (\w+)(?: (\w+))? over (\S+): (\d+) calls?, (\d+) elements? of (\w+), ", of_entry.group(0), re.M)
    return {"%s over %s of %s" % (kind, over, dtype): (int(calls), int(size)) for kind, _, over, calls, size, dtype in found}, of_entry.group(0)


def inspected():
    """Of other numbers of ranks and other sizes; dims of ranks are none that are given."""
    path = os.path.join(kit.HERE, "programs", "gpt2.dl")
    out, _ = kit.run([kit.DLC, path, "--mesh", "data=*", "-o", "ranks.plan"])
    if not re.search(r"^  free sizes: B, T; figures for B = %d, T = %d$" % (B, T), out, re.M) or "on 2 ranks (data=2)" not in out:
        raise kit.Failure("the summary of dlc:\n%s" % out)
    found, text = line("gpt2", ["B=8"], 3)
    if found["all_reduce over data of f32"][1] != sum(PARAMETERS) + 1 or "on 3 ranks (data=3)" not in text:
        raise kit.Failure("dlrun inspect: %s" % text)


# -- Other networks: calls, tensors, elements

COUNTS = {
    # The loss and the count travel together, and then all gradients.
    ("encoder_decoder", "data=4", 0): {COUNT: (1, 1, 1), "all_reduce over data of f32": (2, 88, 12127)},
    ("encoder_decoder", "data=2,model=2", 0): {
        COUNT: (1, 1, 1),
        "all_reduce over data of f32": (1, 88, 9728),
        "all_reduce over model of f32": (12, 18, 232449),
        "all_reduce max over model of f32": (1, 1, 1024),
    },
    ("char_lstm", "data=4", 0): {COUNT: (1, 1, 1), "all_reduce over data of f32": (2, 10, 11369)},
    # Of gates that are cut the state is gathered at every step of the sequence (64), in both directions.
    ("char_lstm", "data=2,model=2", 0): {
        COUNT: (1, 1, 1),
        "all_reduce over data of f32": (2, 10, 6165),
        "all_gather over model of f32": (256, 256, 393216),
        "all_reduce over model of f32": (134, 135, 125953),
        "all_reduce max over model of f32": (1, 1, 1024),
    },
    # Statistics of a batch norm are of all ranks' rows, each a sum forward and backward.
    ("resnet18", "data=4", 0): {COUNT: (1, 1, 1), "all_reduce over data of f32": (69, 141, 179782)},
    ("resnet18", "data=4", 3): {
        COUNT: (1, 1, 1),
        "all_reduce over data of f32": (70, 138, 50759),
        "reduce_scatter over data of f32": (1, 4, 129024),
        "all_gather over data of f32": (2, 8, 258048),
    },
    # What is cut travels in buckets too; that of a second pass over the model is not joined to the first's.
    ("gpt2", "data=4", 1): {
        COUNT: (1, 1, 1),
        "all_reduce over data of f32": (3, 45, 73090),
        "reduce_scatter over data of f32": (1, 9, 147456),
        "all_gather over data of f32": (1, 9, 147456),
    },
    ("gpt2", "data=4", 3): {
        COUNT: (1, 1, 1),
        "all_reduce over data of f32": (3, 45, 73090),
        "reduce_scatter over data of f32": (1, 9, 147456),
        "all_gather over data of f32": (10, 19, 311296),
    },
    # Of parameters that the model axis cuts, ZeRO cuts and gathers the rank's part, for each pass: half of the elements above. Nothing else is gathered.
    ("gpt2", "data=2,model=2", 3): {
        COUNT: (1, 1, 1),
        "all_reduce over data of f32": (2, 44, 39425),
        "reduce_scatter over data of f32": (2, 9, 73728),
        "all_gather over data of f32": (7, 19, 155648),
        "all_reduce over model of f32": (28, 30, 1182729),
        "all_reduce max over model of f32": (1, 1, 1024),
        "all_reduce over data,model of f32": (1, 9, 9),
    },
}


def counts(name):
    for (program, mesh, level), wanted in COUNTS.items():
        if program != name:
            continue
        found, _ = exchanges(name, mesh, level)
        got = {key: (one["calls"], one["tensors"], one["elements"]) for key, one in found.items()}
        if got != wanted:
            raise kit.Failure("%s, zero %d: calls, tensors, elements are %s, wanted %s" % (mesh, level, got, wanted))


def loops():
    """What stands in a loop counts as often as the loop runs: half as long a sequence, half as many."""
    path = os.path.join(kit.HERE, "programs", "char_lstm.dl")
    kit.run([kit.DLC, path, "--mesh", "data=2,model=2", "--sequence", "off", "-o", "ranks.plan", "--quiet"])
    key = "all_gather over model of f32"
    long, short = (line("char_lstm", ["T=%d" % length], 4)[0][key] for length in (64, 32))
    if long != (2 * short[0], 2 * short[1]) or short[0] == 0:
        raise kit.Failure("%s for 64 steps, %s for 32" % (long, short))


def explained():
    """--explain says how arguments lie on ranks and what is computed on all of them, and why: three heads, which two ranks cannot share, and which
    the mesh block leaves whole."""
    with open(os.path.join(kit.HERE, "programs", "gpt2.dl"), encoding="utf-8") as file:
        text = file.read()
    if "heads = 4, width = 64" not in text:
        raise kit.Failure("programs/gpt2.dl has other heads")
    with open("three_heads.dl", "w", encoding="utf-8") as file:
        file.write(text.replace("heads = 4, width = 64", "heads = 3, width = 96"))
    for name, block, sequence_asked, wanted in (
        (
            "three_heads.dl",
            ' { shard (_, _, _) for "h.*.attn" }',
            "off",
            [
                r"^    tokens: i32\[B@data, T\]$",
                r"^    h\.0\.mlp\.c_proj\.weight: f32\[384, 96@model\]$",
                r"^    over model: contract, \d+ of them, the first contract to f32\[B@data, 3, T, T\] at \S+:13:13 \(h\.0\.attn\): "
                r"heads of 3 do not divide by model=2: 1 or 3 would$",
            ],
        ),
        (
            os.path.join(kit.HERE, "programs", "gpt2.dl"),
            "",
            "on",
            [
                r"^    h\.0\.attn\.c_attn\.weight: f32\[64, 3·4@model·16\]$",
                r"^    wte\.weight: f32\[256@model, 64\]$",
                r"^    cut from f32\[B@data, T@model, 64\], by the take at \S+:31:9: spares each rank \d+\.\d\d MiB of what it makes, "
                r"for \d+\.\d\d KiB more that travel in \d+ more exchanges$",
            ],
        ),
    ):
        out, _ = kit.run([kit.DLC, name, "--mesh", "data=2,model=2" + block, "--sequence", sequence_asked, "--explain", "-o", "ranks.plan"])
        for line_wanted in wanted:
            if not re.search(line_wanted, out, re.M):
                raise kit.Failure("--explain of %s has no line '%s'" % (name, line_wanted))
    if "do not divide" in out:
        raise kit.Failure("--explain finds heads that do not divide where all do")


def commands(mesh, zero, entry="train"):
    """Exchanges of an entry of GPT-2 in its own size in their order, as (kind, whether it goes on beside other work)."""
    path = os.path.join(kit.HERE, "..", "..", "examples", "gpt2.dl")
    out, _ = kit.run([kit.DLC, path, "--mesh", mesh, "--zero", str(zero), "--emit", "schedule"])
    lines = out[out.index("\nentry gpt2.%s " % entry):].split("\nentry ")[1].splitlines()
    return [(words[2], " on queue 1" in line) for line in lines for words in [line.split()] if words[1:2] == ["exchange"]]


def beside():
    """Gradients travel while the backward pass goes on, all but the last bucket, and the loss whose sum is read at once; parameters are gathered
    while what is before them is computed, all but those of the beginning."""
    sums = [goes_on for _, goes_on in commands("data=2", 0)]
    if len(sums) < 40 or sums.count(False) > 2:
        raise kit.Failure("sums beside other work: %s" % sums)
    gathers = [goes_on for kind, goes_on in commands("data=2", 3) if kind == "all_gather"]
    if len(gathers) < 90 or gathers.count(False) > 4:
        raise kit.Failure("gathers beside other work: %s" % gathers)


CASES = {"explained": explained, "beside": beside, "data": data, "zero": zero, "model": model, "both": both, "inspected": inspected, "loops": loops}
CASES.update({"sequence": sequence, "asked": asked, "renewed": renewed})
for network in ("encoder_decoder", "char_lstm", "resnet18", "gpt2"):
    CASES[network] = lambda network=network: counts(network)

kit.main(CASES)
