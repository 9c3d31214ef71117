#!/usr/bin/env bash
# Runs every command shown in README.md, in order, in a copy of the checkout's surroundings: the two scripts are taken as run (the
# demo test and this suite run them), everything else is run as it stands, with `build` standing for this build.
set -eu
root=${DLC_SOURCE_ROOT:?}
build=${DLC_BUILD_ROOT:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
ln -s "$root/examples" examples
ln -s "$build" build
awk '/^```sh$/ { on = 1; next } /^```/ { on = 0 } on' "$root/README.md" > commands.txt
n=0
while IFS= read -r line; do
    case $line in
    "" | scripts/demo.sh | scripts/test.sh) continue ;;
    "meson install"*) line="$line --no-rebuild" ;;
    esac
    echo "+ $line"
    bash -euc "$line" > output.txt 2>&1 || { cat output.txt; echo "failed: $line"; exit 1; }
    n=$((n + 1))
done < commands.txt
cat output.txt | tail -n 3
test -f stage/usr/local/include/dlc/dlc.h
test -f "$(find stage -name dlc.pc)"
echo "$n commands ran"
[ "$n" -ge 4 ]
