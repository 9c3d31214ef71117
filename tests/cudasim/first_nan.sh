#!/bin/sh
# first_nan.sh DLC DLRUN PYTHON: three launches that a device does as one group; the step that is looked through for its first nan does
# them one by one, and names the second, from which it comes.
set -u
dlc=$1 dlrun=$2 python=$3
command -v "${DLC_CUDASIM_CXX:-g++}" >/dev/null || {
    echo "skipped: no C++ compiler for the simulated GPU's kernels"
    exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
cat >group.dl <<'END'
dim B
model group(x: f32[B, 4], y: f32[B, 5], z: f32[B, 6]) {
    param a: [1] = ones
    q = log(x) + 1.0
    r = log(y) + 1.0
    s = log(z) + 1.0
    loss mean(cumsum(q, 1)) * a[0] + mean(cumsum(r, 1)) * a[0] + mean(cumsum(s, 1)) * a[0]
}
train group { optimizer sgd(lr=0.1); batch 4; epochs 1 }
END
"$python" - <<'END'
import struct
for name, columns, negative in (("x", 4, -1), ("y", 5, 7), ("z", 6, -1)):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, %d), }" % columns
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    values = [-1.0 if i == negative else 1.0 for i in range(4 * columns)]
    with open(name + ".npy", "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack("<%df" % len(values), *values))
END
"$dlc" group.dl --target cuda:sm_90 -o group.plan --quiet || exit 1
"$dlrun" inspect group.plan --commands >commands || exit 1
[ "$(sed -n '/^entry group.train/,$p' commands | grep -c 'launch k0 .* grouped')" -ge 2 ] || {
    echo "the three launches are no group:"
    cat commands
    exit 1
}
if "$dlrun" train group.plan --device cuda:0 --data train=x=x.npy,y=y.npy,z=z.npy --quiet >out 2>&1; then
    echo "a nan is no error"
    exit 1
fi
grep -q 'the first nan comes from group\.dl:5:9' out || {
    echo "not told as the second launch's:"
    cat out
    exit 1
}
