#!/usr/bin/env bash
# The documentation says what is true: every complete program of docs/language.md (```dl) compiles
# without errors, docs/std.md and docs/ops.md are what their generators make, and docs/kernels.md shows the kernels that its
# program has.
set -u
root=${DLC_SOURCE_ROOT:?}
dlc=${DLC_BUILD_ROOT:?}/tools/dlc
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
failed=0
"$root/tools/gen_std_docs.sh" --check || failed=1
if ! "$root/tools/gen_ops_docs.sh" | cmp -s - "$root/docs/ops.md"; then
    echo "docs/ops.md is out of date: tools/gen_ops_docs.sh > docs/ops.md" >&2
    failed=1
fi
awk -v out="$scratch/program_" '
/^```dl$/ { n++; inside = 1; next }
/^```/ { inside = 0 }
inside { print > (out n ".dl") }
' "$root/docs/language.md"
count=0
for file in "$scratch"/*.dl; do
    count=$((count + 1))
    if ! "$dlc" check "$file"; then
        cat "$file"
        failed=1
    fi
    if ! "$dlc" fmt "$file" | cmp -s - "$file"; then
        echo "docs/language.md: program $count is not in canonical layout" >&2
        failed=1
    fi
done
# block LANGUAGE FILE: the first block of that language.
block() {
    awk -v start="^\`\`\`$1\$" '$0 ~ start { inside = 1; next } /^```/ { if (inside) exit } inside' "$2"
}
block dl "$root/docs/kernels.md" > "$scratch/scale.dl"
block kernels "$root/docs/kernels.md" > "$scratch/wanted"
"$dlc" "$scratch/scale.dl" --target cpu:x86-64-v3 --emit=kernels > "$scratch/kernels" || failed=1
if ! [ -s "$scratch/wanted" ] || ! diff -B "$scratch/wanted" "$scratch/kernels"; then
    echo "docs/kernels.md shows other kernels than its program has" >&2
    failed=1
fi
echo "docs: $count programs of docs/language.md"
[ "$count" -gt 0 ] && [ "$failed" -eq 0 ]
