#!/usr/bin/env python3
"""Puts the prelude of generated CUDA kernels together.

prelude.py common SOURCES... OUT   prelude_common.cuh and the vecmath sources of the CPU backend, as C++:
                                   what the device and the simulated device share.
prelude.py device SOURCES... OUT   prelude.cuh before it: the text of "dlc_prelude.cuh".
prelude.py table SOURCES... OUT    that text as the C constants cuda_prelude_text, cuda_prelude_bytes.

SOURCES: prelude.cuh prelude_common.cuh vecmath_f32.c vecmath_f64.c vecmath_bits.c
"""
import pathlib
import re
import sys

# What vecmath.h gives the sources on the CPU side; NVRTC has neither stdint.h nor gcc's built-ins.
VECMATH_HEAD = """
/* ---- vecmath: transcendental functions, Philox, f16, from the CPU backend's sources */

DLC_INLINE int bits32(float x) {
    return dlc_bits_f32(x);
}
DLC_INLINE float float_of(int i) {
    return dlc_f32_of_bits(i);
}
DLC_INLINE long long bits64(double x) {
    return dlc_bits_f64(x);
}
DLC_INLINE double double_of(long long i) {
    return dlc_f64_of_bits(i);
}
DLC_INLINE float pick32(int condition, float yes, float no) {
    return condition ? yes : no;
}
DLC_INLINE double pick64(int condition, double yes, double no) {
    return condition ? yes : no;
}
"""

TAIL = """
#ifndef DLC_HAS_F16
DLC_INLINE float dlc_f16_to_f32(unsigned short h) {
    return dlc_soft_f16_to_f32(h);
}
DLC_INLINE unsigned short dlc_f32_to_f16(float x) {
    return dlc_soft_f32_to_f16(x);
}
#endif
"""

REPLACEMENTS = [
    (r"#include [^\n]*\n", ""),
    (r"#pragma [^\n]*\n", ""),
    (r"\bINT64_MAX\b", "0x7fffffffffffffffll"),
    (r"\bINT64_MIN\b", "(-0x7fffffffffffffffll - 1)"),
    (r"\bint64_t\b", "long long"),
    (r"\buint64_t\b", "unsigned long long"),
    (r"\bint32_t\b", "int"),
    (r"\buint32_t\b", "unsigned"),
    (r"\buint16_t\b", "unsigned short"),
    (r"__builtin_inff\(\)", "dlc_f32_of_bits(0x7f800000)"),
    (r'__builtin_nanf\(""\)', "dlc_f32_of_bits(0x7fc00000)"),
    (r"__builtin_inf\(\)", "dlc_f64_of_bits(0x7ff0000000000000ll)"),
    (r'__builtin_nan\(""\)', "dlc_f64_of_bits(0x7ff8000000000000ll)"),
    (r"__builtin_(fabs|sqrt|floor|trunc)f\b", lambda m: "dlc_%s_f32" % m[1].replace("fabs", "abs")),
    (r"__builtin_(fabs|sqrt|floor|trunc)\b", lambda m: "dlc_%s_f64" % m[1].replace("fabs", "abs")),
    (r"\((Words|Pair|ErfParts)\)\{", r"\1{"),
    (r"\bdlc_(f16_to_f32|f32_to_f16)\b", r"dlc_soft_\1"),
    (r"^INLINE\b", "DLC_INLINE"),
    (r"^(float|double|unsigned short) (dlc_)", r"DLC_INLINE \1 \2"),
]


def vecmath(path):
    text = path.read_text()
    for pattern, to in REPLACEMENTS:
        text = re.sub(pattern, to, text, flags=re.M)
    macros = re.findall(r"^#define (\w+)", text, re.M)
    return text + "".join("#undef %s\n" % name for name in macros)


def common_of(sources):
    return "\n".join([sources[1].read_text(), VECMATH_HEAD] + [vecmath(p) for p in sources[2:]]) + TAIL


def table(text):
    quoted = "\n".join(
        '    "%s\\n"' % line.replace("\\", "\\\\").replace('"', '\\"') for line in text.splitlines())
    return ("/* Made by prelude.py. */\n"
            '#include "codegen/cuda/text/text.h"\n\n'
            "const char cuda_prelude_text[] =\n%s;\n"
            "const size_t cuda_prelude_bytes = sizeof(cuda_prelude_text) - 1;\n" % quoted)


def main():
    mode, paths = sys.argv[1], [pathlib.Path(p) for p in sys.argv[2:]]
    sources, out = paths[:-1], paths[-1]
    common = common_of(sources)
    whole = sources[0].read_text() + "\n" + common
    out.write_text({"common": common, "device": whole, "table": table(whole)}[mode])


main()
