#!/usr/bin/env bash
# Data that does not fit: each gives a message that names the place, and leaves no half-written file.
. "$(dirname "$0")/lib.sh"

"$dlc" "$examples/tf_example.dl" -o m.plan --quiet || { echo "cannot compile"; exit 1; }
good=$data/breast_cancer_train.npz
train() { # train DATA: must fail, writing nothing
    expect 1 "$dlrun" train m.plan --data "train=$1" --steps 3 --save w.safetensors --quiet
    no_rest w.safetensors
}
expect 0 "$dlrun" train m.plan --data "train=$good" --steps 3 --save fine.safetensors --quiet
cp "$good" other.npz
expect 0 "$dlrun" train m.plan --data "train=other.npz" --steps 3 --save fine2.safetensors --quiet
same fine.safetensors fine2.safetensors

train missing.npz
says err.txt "missing.npz"
size=$(wc -c < "$good")
for part in 1 3 9; do
    head -c $((size * part / 10)) "$good" > short.npz
    train short.npz
    says err.txt "short.npz"
done
: > none.npz
train none.npz
says err.txt "none.npz"
printf 'hello' > text.npz
train text.npz
says err.txt "text.npz"

# -- NPY and CSV
npy() { # npy FILE DTYPE SHAPE BYTES: a header and zeros
    local header="{'descr': '$2', 'fortran_order': False, 'shape': ($3), }"
    while [ $(((${#header} + 11) % 64)) != 0 ]; do header="$header "; done
    { printf '\x93NUMPY\x01\x00'; printf "\\x$(printf %02x $(((${#header} + 1) % 256)))\\x$(printf %02x $(((${#header} + 1) / 256)))"
      printf '%s\n' "$header"; head -c "$4" /dev/zero; } > "$1"
}
npy x.npy '<f4' '40, 30' 4800
npy y.npy '<f4' '40, 1' 160
expect 0 "$dlrun" train m.plan --data train=x=x.npy,y=y.npy --steps 2 --batch 8 --save ok.safetensors --quiet
npy y3.npy '<f4' '40, 3' 480
train x=x.npy,y=y3.npy
says err.txt "y"
npy y39.npy '<f4' '39, 1' 156
train x=x.npy,y=y39.npy
says err.txt "39" "40"
train x=x.npy
says err.txt "y"
npy lying.npy '<f4' '4000000000, 30' 4800
train x=lying.npy,y=y.npy
says err.txt "lying.npy"
npy cut.npy '<f4' '40, 30' 4700
train x=cut.npy,y=y.npy
says err.txt "cut.npy"
npy odd.npy '<U7' '40, 30' 33600
train x=odd.npy,y=y.npy
says err.txt "odd.npy"
npy few.npy '<f4' '3, 30' 360
npy few_y.npy '<f4' '3, 1' 12
train x=few.npy,y=few_y.npy
says err.txt "3"
printf 'x0,x1,y\n1,2,0\n3,oops,1\n' > rows.csv
train rows.csv
says err.txt "the data have no field 'x'" # a column of texts is none that could be meant
printf 'x,y\n1,0\noops,1\n' > rows.csv
train rows.csv
says err.txt "rows.csv" "3" "oops"
printf 'x0,x1,y\n1,2,0\n3,1\n' > ragged.csv
train ragged.csv
says err.txt "ragged.csv"
printf 'x0,x1\n1,2\n' > columns.csv
train columns.csv
says err.txt "y"
# A value that is not finite ends the training with a message; nothing is saved.
npy nan.npy '<f4' '40, 30' 4796
printf '\x00\x00\xc0\x7f' >> nan.npy
train x=nan.npy,y=y.npy

# -- labels out of range: the line of the program
"$dlc" "$examples/digits.dl" -o digits.plan --quiet
npy image.npy '<f4' '40, 1, 8, 8' 10240
npy label.npy '<i4' '40' 0
for i in $(seq 40); do printf '\x0b\x00\x00\x00'; done >> label.npy
expect 1 "$dlrun" train digits.plan --data "train=image=image.npy,label=label.npy" --batch 8 --steps 3 --save w.safetensors --quiet
says err.txt "digits.dl:" "11"
no_rest w.safetensors
npy label.npy '<i8' '40' 320
expect 0 "$dlrun" train digits.plan --data "train=image=image.npy,label=label.npy" --batch 8 --steps 3 --quiet
finish
