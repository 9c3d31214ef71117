#!/bin/sh
# Writes docs/ops.md to standard output, from the op table (ir/scalar.def, ir/ops.def, ir/attributes.def).
# Usage: tools/gen_ops_docs.sh > docs/ops.md; tests/scripts/docs.sh checks that the file is up to date.
set -eu
cd "$(dirname "$0")/.."
cat <<'END'
# The ops

Made from `ir/scalar.def` and `ir/ops.def` by `tools/gen_ops_docs.sh`. Elementwise ops take operands of one shape; broadcasting is an op of its own.
The text form of ops and their attributes is in [ir.md](ir.md).

## Elementwise

| op | operands | types | flops | what |
|---|---|---|---|---|
END
sed -n 's/^SCALAR(//p' ir/scalar.def | awk '{
    doc = $0; sub(/^.*, "/, "", doc); sub(/"\)$/, "", doc)
    split($0, part, /, */)
    types = tolower(part[3]); result = part[4] == "BOOL" ? " → bool" : ""
    gsub(/\|/, "\\|", doc)
    printf "| `%s` | %s | %s%s | %s | %s |\n", part[1], part[2], types, result, part[5], doc }'
cat <<'END'

## Structural

| op | kind | attributes | what |
|---|---|---|---|
END
sed -n 's/^ATTR(//p; s/^OP(/OP /p' ir/attributes.def ir/ops.def | awk '!/^OP / {
    split($0, part, /, */); name = part[3]; gsub(/[")]/, "", name)
    attribute[part[1]] = "`" name "` " tolower(part[2]); next
}
{
    sub(/^OP /, ""); doc = $0; sub(/^.*\), "/, "", doc); sub(/"\)$/, "", doc)
    attrs = $0; sub(/^.*ATTRS\(/, "", attrs); sub(/\), ".*$/, "", attrs)
    list = ""
    while (match(attrs, /A\([a-z_]+\)/)) {
        list = list (list == "" ? "" : ", ") attribute[substr(attrs, RSTART + 2, RLENGTH - 3)]
        attrs = substr(attrs, RSTART + RLENGTH)
    }
    split($0, part, /, */)
    gsub(/\|/, "\\|", doc)
    printf "| `%s` | %s | %s | %s |\n", part[1], tolower(part[2]), list, doc }'
