"""Edits plans as an attacker would, with every checksum mended.
    plan.py ir IN OUT FROM TO       the portable IR, with FROM replaced by TO
    plan.py grow IN OUT SIZES TERMS SIZES more size programs, all the same one of TERMS terms"""
import struct
import sys
import zlib

HEADER = struct.Struct('<8sIIQII')
SECTION = struct.Struct('<IIQQII')
IR, PROGRAMS, SIZES = 2, 4, 5


def read(path):
    data = open(path, 'rb').read()
    magic, version, count, _, _, targets = HEADER.unpack_from(data)
    sections = []
    for i in range(count):
        kind, target, offset, size, _, _ = SECTION.unpack_from(data, HEADER.size + i * SECTION.size)
        sections.append([kind, target, data[offset:offset + size]])
    return (magic, version, targets), sections


def write(path, head, sections):
    magic, version, targets = head
    start = HEADER.size + SECTION.size * len(sections)
    place = (start + 63) // 64 * 64
    table, body = b'', b''
    for kind, target, data in sections:
        table += SECTION.pack(kind, target, place + len(body), len(data), zlib.crc32(data), 0)
        body += data + b'\0' * (-len(data) % 64)
    total = place + len(body)
    crc = zlib.crc32(HEADER.pack(magic, version, len(sections), total, 0, targets) + table)
    out = HEADER.pack(magic, version, len(sections), total, crc, targets) + table
    open(path, 'wb').write(out.ljust(place, b'\0') + body)


def main():
    head, sections = read(sys.argv[2])
    of_kind = {kind: section for section in reversed(sections) for kind in section[:1]}
    if sys.argv[1] == 'ir':
        was, now = (text.encode() for text in sys.argv[4:6])
        if was not in of_kind[IR][2]:
            sys.exit(f'{sys.argv[2]}: no {sys.argv[4]} in the IR')
        of_kind[IR][2] = of_kind[IR][2].replace(was, now)
    else:
        sizes, terms = int(sys.argv[4]), int(sys.argv[5])
        first = len(of_kind[PROGRAMS][2]) // 16
        term = struct.pack('<qqqq', 0, 1, 2, 0)
        of_kind[PROGRAMS][2] += struct.pack('<qq', 0, 1) + term * terms
        of_kind[SIZES][2] += struct.pack('<ii', first, 1 + 2 * terms) * sizes
    write(sys.argv[3], head, sections)


main()
