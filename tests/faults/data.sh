#!/usr/bin/env bash
# Data whose values fit is read, whatever type it is stored in; what does not fit is refused by file, field, row and value.
. "$(dirname "$0")/lib.sh"

# -- Labels as floats, and columns of texts that nobody asks for
expect 0 "$dlc" "$faults/csv.dl" -o csv.plan --quiet
python3 - > weights.safetensors <<'EOF'
import json, struct, sys
header = json.dumps({"k": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
sys.stdout.buffer.write(struct.pack("<Q", len(header)) + header + struct.pack("<f", 1.0))
EOF
evaluates() { # evaluates FILE: metrics go to out.txt
    expect 0 "$dlrun" eval csv.plan --weights weights.safetensors --data "$1"
}
printf 'a,b,y\n1,2,0.0\n3,4,1.0\n' > floats.csv
evaluates floats.csv
says out.txt "s 7" "ym 0.5"
printf 'name,a,b,y,note\nx,1,2,0,"so, so"\ny,3,4,1,\n' > texts.csv
evaluates texts.csv
says out.txt "s 7" "ym 0.5"
fails() { # fails CSV TEXT…
    printf '%b' "$1" > bad.csv
    shift
    expect 1 "$dlrun" eval csv.plan --weights weights.safetensors --data bad.csv
    says err.txt "$@"
}
fails 'a,b,y\n1,2,0\n3,4,0.5\n' "bad.csv: field 'y', row 1: 0.5 is not whole" i32
fails 'a,b,y\n1,2,0\n3,4,3e9\n' "bad.csv: field 'y', row 1: 3e+09 does not fit i32"
fails 'a,b,y\n1,2,0\n3,4,nan\n' "bad.csv: field 'y', row 1: nan is not whole"
fails 'a,b,y\n1,2,0\n1e400,4,1\n' "bad.csv: line 3: column 1 ('a')" "'1e400'"
fails 'a,b,y\n1e39,2,0\n1,4,1\n' "bad.csv: field 'a', row 0: 1e+39 does not fit f32"
fails 'a,b,y\n1,2,0\n3,4,setosa\n' "bad.csv: line 3: column 3 ('y')" "'setosa'"
fails 'a,c,y\n1,2,0\n' "no field 'b'" "a, c, y"

# -- A model without parameters needs no weights
expect 0 "$dlc" "$faults/no_params.dl" -o no_params.plan --quiet
npy x.npy f4 2x3 1 2 3 4 5 6
expect 0 "$dlrun" eval no_params.plan --data x=x.npy
says out.txt "s 21"
expect 2 "$dlrun" eval csv.plan --data floats.csv
says err.txt "--weights W is needed"

# -- Tensors of another type, where every value fits
cat > ids.dl <<'EOF'
dim B
model m(ids: i32[B], x: f32[B]) {
    y = cast(ids, f32) + x
    output y
}
EOF
npy ids.npy i8 3 1 2 3
npy whole.npy f8 3 1 2 3
npy x.npy f8 3 0.5 0.5 0.5
gives ids.dl "y 1.5 2.5 3.5" -- --input ids=ids.npy --input x=x.npy
gives ids.dl "y 1.5 2.5 3.5" -- --input ids=whole.npy --input x=x.npy
npy ids.npy i8 3 1 4294967296 3
refuses "input 'ids': element 1 is 4294967296, which does not fit" "$dlrun" infer program.plan --input ids=ids.npy --input x=x.npy
npy half.npy f4 3 1 2.5 3
refuses "input 'ids': element 1 is 2.5, which is not whole" "$dlrun" infer program.plan --input ids=half.npy --input x=x.npy
npy x.npy f8 3 1 1e300 1
refuses "input 'x': element 1 is 1e+300, which does not fit" "$dlrun" infer program.plan --input ids=whole.npy --input x=x.npy

# -- Raw tokens of two and four bytes
cat > tokens.dl <<'EOF'
dim B
model m(tokens: i32[B, 3], targets: i32[B, 3]) {
    metric mean_token = mean(cast(tokens, f32))
    metric mean_target = mean(cast(targets, f32))
    loss mean(cast(tokens, f32))
}
EOF
expect 0 "$dlc" tokens.dl -o tokens.plan --quiet
# Columns apart by something else than commas.
printf 'x;y\n1;2\n' > semicolon.csv
printf 'x\ty\n1\t2\n' > tab.csv
expect 1 "$dlrun" eval csv.plan --weights weights.safetensors --data semicolon.csv
says err.txt "semicolon.csv: line 1: expected columns separated by ',', found ';'"
expect 1 "$dlrun" eval csv.plan --weights weights.safetensors --data tab.csv
says err.txt "separated by ',', found a tab"

raw() { # raw CODE VALUE…
    python3 -c 'import struct, sys
sys.stdout.buffer.write(struct.pack("<%d%s" % (len(sys.argv) - 2, sys.argv[1]), *map(int, sys.argv[2:])))' "$@"
}
raw H 1 2 3 40000 5 6 7 > tokens.bin
raw I 1 2 3 40000 5 6 7 > tokens.u32
expect 0 "$dlrun" eval tokens.plan --data tokens.bin --window 3 --dtype u16
says out.txt "mean_token 6669.5" "mean_target 6670.5"
expect 0 "$dlrun" eval tokens.plan --data tokens.u32 --window 3 --dtype u32
says out.txt "mean_token 6669.5"
raw I 1 2 3 4 3000000000 6 7 > large.bin
expect 1 "$dlrun" eval tokens.plan --data large.bin --window 3 --dtype u32
says err.txt large.bin "3000000000 does not fit i32"
expect 1 "$dlrun" eval tokens.plan --data tokens.bin --window 3 --dtype f32
says err.txt "f32"
# The type is said of raw files: an array has its own.
npy tokens.npy u2 7 1 2 3 40000 5 6 7
expect 0 "$dlrun" eval tokens.plan --data tokens.npy --window 3 --dtype u16
says out.txt "mean_token 6669.5"
# Windows that are no windows.
expect 1 "$dlrun" eval tokens.plan --data tokens.bin --window 9223372036854775807
says err.txt tokens.bin "9223372036854775807"
expect 1 "$dlrun" eval tokens.plan --data tokens.bin --window 3 --stride 9223372036854775807 --dtype u16
says err.txt tokens.bin "9223372036854775807"
finish
