#!/usr/bin/env bash
# tools/dlc-reduce: planted failures shrink to a handful of lines that are well formed and fail the same way; the input stays as
# it was; wrong uses are told; an interrupt and --seconds leave the best so far; the command of docs/adding.md does what it says.
. "$(dirname "$0")/lib.sh"
reduce=$root/tools/dlc-reduce
PATH=$(dirname "$dlc"):$PATH

lines_at_most() {
    checks=$((checks + 1))
    [ -s "$1" ] && [ "$(wc -l < "$1")" -le "$2" ] || { bad "$1 has more than $2 lines, or none"; head -20 "$1" | sed 's/^/    /'; }
}

# -- a program whose training "fails" where a scan stands in it
cp "$root/tests/device/every.dl" every.dl
cat > fails.sh <<'END'
dlc "$1" --emit=ir --quiet > ir.txt 2>&1 || exit 1
if grep -q '= scan ' ir.txt; then
    echo "internal error: scan"
    exit 3
fi
END
cp every.dl kept.dl
expect 0 "$reduce" every.dl --seconds 100 --match "internal error: scan" -- bash fails.sh every.dl
says out.txt "every.dl.reduced: 36 lines" "tries"
same every.dl kept.dl
lines_at_most every.dl.reduced 8
says every.dl.reduced "scan"
expect 0 dlc check every.dl.reduced
expect 3 bash fails.sh every.dl.reduced

# -- in the same way: neither another status nor the same words with another status will do, nor what dlc refuses
cat > ways.dl <<'END'
model ways(x: f32[4, 3]) {
    # brackets that are not counted: ( [ {
    scan row in x along 0 carry s = zeros([3]) {
        s = s + row
        yield s
    } -> all
    output a = tanh(x)
}
END
cat > ways.sh <<'END'
dlc check "$1" > /dev/null 2>&1 || { echo "internal error: scan"; exit 3; } # of what is ill formed nobody wants to know
dlc "$1" --emit=ir --quiet > ir.txt 2>&1 || exit 0
grep -q '= scan ' ir.txt && { echo "internal error: scan"; exit 3; }
grep -q '= tanh ' ir.txt && { echo "internal error: scan"; exit 4; }
exit 0
END
for match in "" "--match=scan"; do
    # shellcheck disable=SC2086
    expect 0 "$reduce" ways.dl --seconds 100 $match -- bash ways.sh ways.dl
    says ways.dl.reduced "scan"
    lines_at_most ways.dl.reduced 5
    expect 0 dlc check ways.dl.reduced
    expect 3 bash ways.sh ways.dl.reduced
done

# -- a module, by the exit status alone; the path where {} stands
dlc every.dl --emit=ir --quiet -o every.ir
echo 'grep -q "= argmax" "$1" && exit 5; exit 0' > argmax.sh
expect 0 "$reduce" every.ir --seconds 100 -- bash argmax.sh {}
lines_at_most every.ir.reduced 14
says every.ir.reduced "= argmax"
expect 0 dlc --from-ir --emit=ir every.ir.reduced

# -- wrong uses
expect 1 "$reduce" every.dl
says err.txt "dlc-reduce FILE"
rm -f every.dl.reduced
expect 1 "$reduce" every.dl -- true
says err.txt "does not fail" "--match"
expect 1 "$reduce" every.dl --match nowhere -- dlc check every.dl
says err.txt "does not say 'nowhere'"
absent every.dl.reduced

# -- stopped: by its time, by an interrupt
cat > slow.sh <<'END'
sleep 0.2
grep -q cross_entropy "$1" && exit 7
exit 0
END
expect 0 "$reduce" every.dl --seconds 2 -- bash slow.sh every.dl
says out.txt "stopped before the end"
same every.dl kept.dl
rm -f every.dl.reduced
"$reduce" every.dl -- bash slow.sh every.dl > out.txt 2> err.txt &
pid=$!
sleep 4
kill -INT "$pid"
wait "$pid"
checks=$((checks + 1))
[ "$?" = 0 ] || bad "an interrupt is a failure"
says out.txt "stopped before the end"
says every.dl.reduced "cross_entropy"

# -- as docs/adding.md has it
cp kept.dl model.dl
mkdir tools
ln -s "$reduce" tools/dlc-reduce
command=$(grep '^tools/dlc-reduce ' "$root/docs/adding.md")
checks=$((checks + 1))
[ -n "$command" ] || bad "docs/adding.md shows no command"
expect 0 bash -c "$command"
lines_at_most model.dl.reduced 8
finish
