#!/usr/bin/env bash
# Runs every command that a page of docs shows in a block ```sh, in order, in a folder where `build` stands for this build.
# shown.sh PAGE
set -eu
root=${DLC_SOURCE_ROOT:?}
build=${DLC_BUILD_ROOT:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
ln -s "$root/examples" examples
ln -s "$build" build
awk '/^```sh$/ { on = 1; next } /^```/ { on = 0 } on' "$root/$1" > commands.txt
n=0
while IFS= read -r line; do
    echo "+ $line"
    bash -euc "$line" > output.txt 2>&1 || { cat output.txt; echo "failed: $line"; exit 1; }
    n=$((n + 1))
done < commands.txt
echo "$n commands of $1 ran"
[ "$n" -ge 3 ]
