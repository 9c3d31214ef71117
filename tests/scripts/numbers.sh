#!/usr/bin/env bash
# Text of floating-point numbers, and classes of characters, must not depend on the locale of the host program: in the library
# ir/base/number.h alone formats and reads them, and ir/base/ascii.h stands in for <ctype.h>. The programs never set a locale.
set -u
cd "${DLC_SOURCE_ROOT:-$(dirname "$0")/../..}" || exit 1

bad=0
forbid() {
    local what=$1 pattern=$2
    shift 2
    while IFS= read -r line; do
        echo "$line: $what"
        bad=$((bad + 1))
    done < <(grep -nE "$pattern" "$@" /dev/null)
}
files() {
    find "$@" -name '*.[chly]' ! -path "ir/base/number.[ch]" ! -path "ir/base/ascii.h" | LC_ALL=C sort
}
mapfile -t library < <(files ir frontend passes codegen runtime)
mapfile -t programs < <(files tools examples)

# A conversion of printf that takes a double, in a line that holds a text.
forbid 'format it by ir/base/number.h' '"[^"]*%[-+ #0-9.*]*L?[aefgAEFG]([^a-zA-Z0-9_]|$)' "${library[@]}"
forbid 'read it by ir/base/number.h' '\b(strtod|strtof|strtold|atof|strtod_l|localeconv|uselocale|newlocale)\b *\(' "${library[@]}"
forbid 'use ir/base/ascii.h' '\bis(alpha|alnum|digit|xdigit|space|print|upper|lower|punct|graph|cntrl) *\(|<ctype\.h>' "${library[@]}"
forbid 'the locale is the host program'"'"'s' '\bsetlocale *\(' "${library[@]}"
forbid 'programs stay in the C locale' '\bsetlocale *\(' "${programs[@]}"

echo "${#library[@]} files checked, $bad wrong"
[ "${#library[@]}" -gt 100 ] && [ "$bad" -eq 0 ]
