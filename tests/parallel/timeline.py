#!/usr/bin/env python3
"""dlc --emit=timeline: a drawing that can be read (well formed, inside its frame, no text over another) and that says what the plan does: a row a
rank, work in the order of forward pass, backward pass and update, exchanges of all ranks of a group at one time, bytes as in the table.
timeline.py [CASE…]"""
import collections
import json
import os
import re
import xml.etree.ElementTree as tree

import kit

SVG = "{http://www.w3.org/2000/svg}"
PHASES = {"#4477aa": "forward", "#cc6677": "backward", "#999933": "update"}
EXCHANGES = ("#117733", "#882255", "#dd7711", "#444444")
TOLERANCE = 0.11  # of a place that is told to a tenth


def drawing(name, options):
    path = os.path.join(kit.HERE, "programs", name + ".dl")
    kit.run([kit.DLC, path, "--emit=timeline", "-o", "drawn.svg"] + options)
    return tree.parse("drawn.svg").getroot()


def texts(root):
    """Of each text its box; a character is taken to be 0.6 of the font's size wide."""
    for element in root.iter(SVG + "text"):
        size = float(element.get("font-size", "12"))
        width = 0.6 * size * len(element.text)
        x, y = float(element.get("x")), float(element.get("y"))
        left = {"middle": x - width / 2, "end": x - width}.get(element.get("text-anchor"), x)
        yield element.text, left, y - 0.8 * size, left + width, y + 0.2 * size


def readable(root):
    boxes = list(texts(root))
    width, height = float(root.get("width")), float(root.get("height"))
    for i, (text, left, top, right, bottom) in enumerate(boxes):
        if left < 0 or right > width or top < 0 or bottom > height:
            raise kit.Failure("'%s' leaves the drawing" % text)
        for other in boxes[:i]:
            if left < other[3] and other[1] < right and top < other[4] and other[2] < bottom:
                raise kit.Failure("'%s' stands over '%s'" % (text, other[0]))
    return [text for text, *_ in boxes]


def rows(root):
    """By the place of a row: work as (phase, left, right), exchanges as (sort, left, right)."""
    work, exchanges = collections.defaultdict(list), collections.defaultdict(list)
    for element in root.iter(SVG + "rect"):
        fill, height = element.get("fill"), element.get("height")
        left = float(element.get("x", "0"))
        if element.get("width", "")[-1:] == "%":
            continue
        right = left + float(element.get("width"))
        if fill in PHASES and height == "20" and element.get("stroke") is None:
            work[float(element.get("y"))].append((PHASES[fill], left, right))
        elif fill in EXCHANGES and height == "10" and element.find(SVG + "title") is not None:
            sort = re.match(r"(.*), [\d.]+ \w+ ", element.find(SVG + "title").text).group(1)
            exchanges[float(element.get("y")) - 20].append((sort, left, right))
    return [(work[y], exchanges[y]) for y in sorted(work)]


def shown(count):
    if count < 1024:
        return "%d bytes" % count
    return "%.2f KiB" % (count / 1024) if count < 1 << 20 else "%.2f MiB" % (count / (1 << 20))


LEAST = 0.8 + TOLERANCE  # the width of an exchange


def at_once(bars):
    for a, b in zip(bars, bars[1:]):
        if a[2] > b[1] + TOLERANCE and a[2] - a[1] > LEAST:
            raise kit.Failure("%s and %s at once" % (a, b))


def beside():
    """Gradients travel under the backward pass."""
    root = drawing("resnet18", ["--mesh", "data=2"])
    readable(root)
    work, exchanges = rows(root)[0]
    under = [one for one, left, right in exchanges if right - left > LEAST and any(a < right - TOLERANCE and left < b - TOLERANCE for _, a, b in work)]
    if len(under) < 8:
        raise kit.Failure("%d of %d exchanges go on under work" % (len(under), len(exchanges)))


def ranks():
    options = ["--mesh", "data=2,model=2"]
    root = drawing("gpt2", options)
    said = readable(root)
    if "gpt2.train on 4 ranks (data=2, model=2), B = 32, T = 64" not in said or "milliseconds" not in said:
        raise kit.Failure("title and axis: %s" % said)
    drawn = rows(root)
    if len(drawn) != 4 or [text for text in said if text.startswith("rank ")] != ["rank %d" % r for r in range(4)]:
        raise kit.Failure("%d rows: %s" % (len(drawn), said))
    for work, exchanges in drawn:
        if [one for one, *_ in exchanges] != [one for one, *_ in drawn[0][1]] or not exchanges:
            raise kit.Failure("ranks exchange otherwise: %s" % exchanges)
        for bars in (work, exchanges):
            at_once(sorted(bars, key=lambda bar: bar[1]))
        middle = []
        for phase in ("forward", "backward", "update"):
            bars = [(right - left, (left + right) / 2) for one, left, right in work if one == phase]
            middle.append(sum(width * place for width, place in bars) / sum(width for width, _ in bars))
        if not middle[0] < middle[1] < middle[2]:
            raise kit.Failure("forward, backward, update are about %s" % middle)
    for together in zip(*(exchanges for _, exchanges in drawn)):
        if max(left for _, left, _ in together) - min(left for _, left, _ in together) > TOLERANCE:
            raise kit.Failure("equal ranks exchange at other times: %s" % (together,))
    path = os.path.join(kit.HERE, "programs", "gpt2.dl")
    told = json.loads(kit.run([kit.DLC, path, "--json", "-o", "drawn.plan"] + options)[0])
    wanted = collections.Counter()
    for one in next(e for e in told["entries"] if e["name"] == "gpt2.train")["exchanges"]:
        wanted[" ".join(filter(None, (one["kind"], one["combine"], "over", one["over"])))] += one["bytes"]
    for sort, count in wanted.items():
        if not any(text.startswith("%s: %s in " % (sort, shown(count))) for text in said):
            raise kit.Failure("%s of %s is not told: %s" % (shown(count), sort, said))


def uneven():
    """Of 32 rows on three ranks the last has one less: it waits for the others."""
    root = drawing("char_lstm", ["--mesh", "data=3"])
    readable(root)
    first, _, last = rows(root)
    ends = [max(right for phase, _, right in work if phase == "backward") for work, _ in (first, last)]
    starts = [exchanges[-1][1] for _, exchanges in (first, last)]
    if not ends[1] < ends[0] - 5 or abs(starts[0] - starts[1]) > TOLERANCE:
        raise kit.Failure("the last rank's backward pass ends at %s, the exchange begins at %s" % (ends, starts))


def others():
    """Loops, several optimisers, updates over their gradients; one device; many ranks; refused."""
    for name, options in (
        ("lamb", ["--mesh", "data=3", "-D", "B=33"]),
        ("two_losses", ["--mesh", "data=4"]),
        ("resnet18", ["--mesh", "data=*", "--zero", "3"]),
        ("digits", []),
        ("digits", ["--mesh", "data=20"]),
    ):
        root = drawing(name, options)
        readable(root)
        drawn = rows(root)
        if {phase for phase, *_ in drawn[0][0]} != {"forward", "backward", "update"}:
            raise kit.Failure("%s: %s" % (name, {phase for phase, *_ in drawn[0][0]}))
    if len(drawn) != 16 or "the first 16 of 20 ranks" not in readable(root):
        raise kit.Failure("%d rows of 20 ranks" % len(drawn))
    path = os.path.join(kit.HERE, "programs", "digits.dl")
    _, err = kit.run([kit.DLC, path, "--emit=timeline", "--mesh", "data=65"], 1)
    if "65 ranks are more than one drawing has room for: 64 at most" not in err:
        raise kit.Failure("65 ranks: %s" % err)


kit.main({"beside": beside, "ranks": ranks, "uneven": uneven, "others": others})
