#!/usr/bin/env bash
# Writes docs/std.md from lang/std/*.dl (signatures and the comment above each function), from
# frontend/builtin/builtin.def and from the functions that ir/scalar.def names. With --check it only says whether the page is up to date.
set -eu
export LC_ALL=C
root=$(cd "$(dirname "$0")/.." && pwd)
page="$root/docs/std.md"
files="layers activations norms pooling recurrent attention losses initialisers schedules optimizers boxes"

library() {
    awk '
    # A comment above nothing but an empty line introduces the file.
    /^#/ { text = text (text == "" ? "" : " ") substr($0, 3); next }
    /^$/ {
        if (text != "" && text !~ /^-- /) { print text; print "" }
        text = ""
        next
    }
    /^@/ { next }
    /^(fn|optimizer) / {
        line = $0
        sub(/^(fn|optimizer) /, "", line)
        sub(/ *\{$/, "", line)
        print "- `" line "`  "
        print "  " text
        text = ""
        next
    }
    { text = "" }
    ' "$1"
}

# scalar.def's functions stand first, under builtin.def's first title.
builtins() {
    awk '
    /^SCALAR\(/ {
        split($0, part, /, */)
        match($0, /"[^"]*"/)
        name = substr($0, RSTART + 1, RLENGTH - 2)
        if (name != "") {
            scalars = scalars (scalars == "" ? "" : " · ") "`" name "(" (part[2] == 1 ? "x" : "x, y") ")`"
        }
        next
    }
    /^\/\* .*\. \*\/$/ {
        title = $0
        sub(/^\/\* /, "", title)
        sub(/ \*\/$/, "", title)
        printf "%s\n%s\n", joint == "" ? "" : "\n", title
        joint = ""
        if (scalars != "") {
            printf "%s", scalars
            scalars = ""
            joint = " · "
        }
        next
    }
    /^BUILTIN\(/ {
        name = $0
        sub(/^BUILTIN\(/, "", name)
        sub(/,.*/, "", name)
        match($0, /"[^"]*"/)
        args = substr($0, RSTART + 1, RLENGTH - 2)
        gsub(/=/, "=…", args)
        printf "%s`%s(%s)`", joint, name, args
        joint = " · "
    }
    END { print "" }
    ' "$root/ir/scalar.def" "$root/frontend/builtin/builtin.def"
}

write_page() {
    cat << 'END'
# The library

Made by `tools/gen_std_docs.sh` from `lang/std/*.dl`, `frontend/builtin/builtin.def` and `ir/scalar.def`; do not edit. The language itself is
described in [language.md](language.md).

A default stands after `=`. A first argument `x` is what a pipe passes: `x |> linear(10)` is `linear(x, 10)`. An argument
without a type takes a number or, for each axis, a list. Layers name their parameters as PyTorch does.
END
    for file in $files; do
        printf '\n## %s\n\n' "$(printf '%s' "${file:0:1}" | tr '[:lower:]' '[:upper:]')${file:1}"
        library "$root/lang/std/$file.dl"
    done
    printf '\n## Always there\n\n'
    echo 'Functions of the compiler; the library is made of them. An argument with `=…` may be left out.'
    builtins
}

if [ "${1:-}" = --check ]; then
    if write_page | cmp -s - "$page"; then
        exit 0
    fi
    echo "docs/std.md is not what tools/gen_std_docs.sh makes of lang/std: run it" >&2
    exit 1
fi
write_page > "$page"
