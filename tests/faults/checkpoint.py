#!/usr/bin/env python3
"""Checkpoints taken apart and put together wrongly.
checkpoint.py old STEP_FOLDER FILE [KEY=VALUE|-KEY]…   the old form, one file, of it
checkpoint.py edit STEP_FOLDER KEY=VALUE…              other numbers in its manifest (first:KEY: at its first place alone), checksum mended"""
import json
import re
import struct
import sys
import zlib


def read(folder):
    text = open(folder + "/manifest.json").read()
    return text, json.loads(text)


def old(folder, path, changes):
    data = open(folder + "/rank-0.safetensors", "rb").read()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    metadata = {"format": "dlc-checkpoint"}
    metadata.update({key: str(value) for key, value in read(folder)[1]["counters"].items()})
    for change in changes:
        if change.startswith("-"):
            del metadata[change[1:]]
        else:
            key, value = change.split("=", 1)
            metadata[key] = value
    header["__metadata__"] = metadata
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data[8 + length :])


def edit(folder, changes):
    text = read(folder)[0]
    for change in changes:
        key, value = change.split("=", 1)
        first = key.startswith("first:")  # the manifest's own, not the counter of that name
        key = key.removeprefix("first:")
        text = re.sub('"%s": ("[^"]*"|-?[0-9]+)' % key, lambda _: '"%s": %s' % (key, value), text, count=first)
    body = text[: text.rindex(',\n  "crc32"')]
    body += ',\n  "crc32": "%08x"\n}\n' % zlib.crc32(body.encode())
    open(folder + "/manifest.json", "w").write(body)


if __name__ == "__main__":
    if sys.argv[1] == "old":
        old(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        edit(sys.argv[2], sys.argv[3:])
