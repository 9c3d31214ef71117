# Shared by the scripts beside it: a scratch folder, the programs, and checks that say what was wrong.
set -u
export LC_ALL=C
root=${DLC_SOURCE_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
dlc=${DLC:-$root/build/tools/dlc}
dlrun=${DLRUN:-$root/build/tools/dlrun}
examples=$root/examples
data=$examples/data
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
checks=0
failures=0

python3() {
    command "${DLC_PYTHON:-python3}" "$@"
}
bad() {
    failures=$((failures + 1))
    echo "FAILED: $*"
}
# expect STATUS COMMAND…: runs it into out.txt and err.txt.
expect() {
    local wanted=$1 got
    shift
    checks=$((checks + 1))
    timeout 120 "$@" > out.txt 2> err.txt
    got=$?
    if [ "$got" != "$wanted" ]; then
        bad "status $got instead of $wanted: ${*/$root/…}"
        head -5 err.txt | sed 's/^/    /'
    fi
}
# says FILE TEXT…: the file contains each text.
says() {
    local file=$1
    shift
    for text in "$@"; do
        checks=$((checks + 1))
        grep -qF -- "$text" "$file" || { bad "$file does not say '$text'"; head -5 "$file" | sed 's/^/    /'; }
    done
}
empty() {
    checks=$((checks + 1))
    [ ! -s "$1" ] || { bad "$1 is not empty"; head -5 "$1" | sed 's/^/    /'; }
}
same() {
    checks=$((checks + 1))
    cmp -s "$1" "$2" || bad "$1 and $2 differ"
}
differ() {
    checks=$((checks + 1))
    ! cmp -s "$1" "$2" || bad "$1 and $2 are equal"
}
absent() {
    checks=$((checks + 1))
    [ ! -e "$1" ] || bad "$1 exists"
}
# Nothing half-written may lie about: no file whose name extends the one that was to be written.
no_rest() {
    checks=$((checks + 1))
    local found
    found=$(find . -name "*$1*" | head -3)
    [ -z "$found" ] || bad "left behind: $found"
}
# x.npy, f32[50, 6], and y.npy, f32[50, 1]: something to fit.
fit_data() {
    python3 - << 'P' || bad "no data"
import random, struct
random.seed(1)
for name, width in (("x", 6), ("y", 1)):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (50, %d), }" % width
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    values = [random.uniform(-1, 1) for _ in range(50 * width)]
    with open(name + ".npy", "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack("<%df" % len(values), *values))
P
}
needs_simulated_device() {
    command -v g++ > /dev/null || { echo "skipped: no C++ compiler (g++) for the simulated device's kernels"; exit 77; }
}
finish() {
    echo "$checks checks, $failures failed"
    [ "$failures" = 0 ]
}
