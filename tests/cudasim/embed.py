#!/usr/bin/env python3
"""embed.py NAME FILES... OUT: the files' texts, one after another, as the C constant NAME."""
import pathlib
import sys

name, files, out = sys.argv[1], sys.argv[2:-1], sys.argv[-1]
text = "\n".join(pathlib.Path(f).read_text() for f in files)
lines = "\n".join(
    '    "%s\\n"' % line.replace("\\", "\\\\").replace('"', '\\"') for line in text.splitlines())
pathlib.Path(out).write_text("/* Made by embed.py. */\nextern const char %s[];\nconst char %s[] =\n%s;\n"
                             % (name, name, lines))
