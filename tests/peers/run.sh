#!/usr/bin/env bash
# Compares dlc with PyTorch on PyTorch's own sample inputs. PYTHON: an interpreter with torch and numpy; else a virtual environment is made
# in FOLDER (default: a scratch folder). Usage: run.sh [FOLDER] [options of samples.py]. Status 77: PyTorch cannot be had.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=${DLC_SOURCE_ROOT:-$(cd "$here/../.." && pwd)}
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
    folder=$1
    shift
    mkdir -p "$folder" || exit 1
else
    folder=$(mktemp -d) || exit 1
    trap 'rm -rf "$folder"' EXIT
fi
python=${PYTHON:-$folder/venv/bin/python}
if [ -z "${PYTHON:-}" ] && ! "$python" -c 'import torch, numpy' 2> /dev/null; then
    if ! python3 -m venv "$folder/venv" || ! "$python" -m pip install --quiet torch numpy expecttest; then
        echo "skipped: PyTorch cannot be installed here (no python3-venv, or PyPI is not reachable); PYTHON=… names an interpreter that has it"
        exit 77
    fi
fi
"$python" "$here/samples.py" "${DLC:-$root/build/tools/dlc}" "${DLRUN:-$root/build/tools/dlrun}" "$folder" "$@" 2> "$folder/stderr.txt"
status=$?
[ $status -le 1 ] && grep -v 'No CUDA runtime' "$folder/stderr.txt" | tail -n 20
exit $status
