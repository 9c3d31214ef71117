#!/bin/sh
# refused.sh DLC: what NVRTC refuses is a mistake of ours, told with the op, its place in the program, and our own file and line.
set -u
dlc=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/refused.dl" <<'END'
dim B

model refused(x: f32[B, 3]) {
    y = x + 1.0
    output y = tanh(y) *
        0.31415
}
END
cd "$work" || exit 1
if DLC_CUDASIM_CXX=false DLC_CUDASIM_CACHE='' "$dlc" refused.dl --quiet --target cuda:sm_90 -o refused.plan >out 2>&1; then
    echo "it was compiled, though NVRTC's host compiler only fails"
    exit 1
fi
status=0
for text in '^refused\.dl:[456]:[0-9]*: error\[E0005\]: internal error: mul: NVRTC refuses it for sm_90' \
    '(codegen/cuda/cuda\.c:[0-9]*)'; do
    grep -q "$text" out || {
        echo "the message has no $text:"
        cat out
        status=1
    }
done
exit $status
