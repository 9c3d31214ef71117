#!/usr/bin/env bash
# Weights: files of other formats are named, and so is what happens to a file's names; what a file or a checkpoint holds.
. "$(dirname "$0")/lib.sh"

small_model m.dl 'steps 2; seed 7' 'h = x |> linear(2) as a' 'y = h |> linear(2) as b'
expect 0 "$dlc" m.dl -o m.plan --quiet
npy x.npy f4 2x2 1 2
npy rows.npy f4 4x2 1 2 3

# tensors FILE NAME SHAPE …: f32 tensors of ones; metadata {"made": "here"}
tensors() {
    python3 - "$@" <<'EOP' || bad "tensors $*"
import json, math, struct, sys
header, data = {"__metadata__": {"made": "here"}}, b""
for name, shape in zip(sys.argv[2::2], sys.argv[3::2]):
    dims = [int(d) for d in shape.split("x")]
    begin, data = len(data), data + struct.pack("<f", 1) * math.prod(dims)
    header[name.encode().decode("unicode_escape")] = {"dtype": "F32", "shape": dims, "data_offsets": [begin, len(data)]}
text = json.dumps(header).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(text)) + text + data)
EOP
}
infer() { # infer FILE: y from its weights
    expect 0 "$dlrun" infer m.plan --weights "$1" --input x=x.npy --output y=y.npy
}

# -- Files of PyTorch's own
python3 - <<'EOP'
import pickle, zipfile
with zipfile.ZipFile("zip.pt", "w") as archive:
    archive.writestr("zip/data.pkl", pickle.dumps({}))
open("old.pth", "wb").write(pickle.dumps({"a.weight": [1.0] * 100}, protocol=2))
EOP
for file in zip.pt old.pth; do
    refuses "$file" "$dlrun" infer m.plan --weights $file --input x=x.npy
    says err.txt "no safetensors file" "convert it: python3 -c" "torch.load" "save_file"
done
says err.txt "pickle"
printf '\x01\x02\x03\x04\x05\x06\x07\x08\x09' > other.safetensors
refuses "the header says" "$dlrun" infer m.plan --weights other.safetensors --input x=x.npy

# -- Names: without a prefix, under one, under one beside others
tensors plain.safetensors a.weight 2x2 a.bias 2 b.weight 2x2 b.bias 2
infer plain.safetensors
cp y.npy wanted.npy
checks=$((checks + 1))
! grep -q 'prefix\|ignored' err.txt || bad "a note on a file that fits: $(cat err.txt)"
tensors prefix.safetensors model.a.weight 2x2 model.a.bias 2 model.b.weight 2x2 model.b.bias 2
infer prefix.safetensors
same y.npy wanted.npy
says err.txt "prefix.safetensors: names are taken without the prefix 'model.'"
tensors beside.safetensors head.weight 3 net.model.a.weight 2x2 net.model.a.bias 2 net.model.b.weight 2x2 net.model.b.bias 2
infer beside.safetensors
same y.npy wanted.npy
says err.txt "without the prefix 'net.model.'; 1 further tensor ignored: head.weight"
# A file whose names fit keeps them, whatever lies in it under a prefix too, and though all begin with one layer's name.
tensors twice.safetensors ema.a.weight 2x2 ema.a.bias 2 ema.b.weight 2x2 ema.b.bias 2
python3 - <<'EOP'
import json, struct
data = open("twice.safetensors", "rb").read()
end = 8 + struct.unpack("<Q", data[:8])[0]
header, values = json.loads(data[8:end]), data[end:]
for name in [name for name in header if name != "__metadata__"]:
    first, last = header[name]["data_offsets"]
    header[name[4:]] = dict(header[name], data_offsets=[len(values), len(values) + last - first])
    values += struct.pack("<f", 0.5) * ((last - first) // 4)
text = json.dumps(header).encode()
open("twice.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + values)
EOP
infer twice.safetensors # y = 0.5 * (3 * 0.5 + 0.5 + …): with ones it would be the other files' y
checks=$((checks + 1))
! grep -q prefix err.txt || bad "twice: a prefix although the names fit: $(cat err.txt)"
checks=$((checks + 1))
! cmp -s y.npy wanted.npy || bad "twice: the weights are those under ema."
sed 's/linear(2) as a/linear(2) as only.a/; s/linear(2) as b/linear(2) as only.b/' m.dl > only.dl
expect 0 "$dlc" only.dl -o only.plan --quiet
tensors only.safetensors only.a.weight 2x2 only.a.bias 2 only.b.weight 2x2 only.b.bias 2
expect 0 "$dlrun" infer only.plan --weights only.safetensors --input x=x.npy --output y=y.npy
same y.npy wanted.npy
checks=$((checks + 1))
! grep -q prefix err.txt || bad "only: the layer's name is taken for a prefix: $(cat err.txt)"
tensors more.safetensors a.weight 2x2 a.bias 2 b.weight 2x2 b.bias 2 c 1 d 1 'e\x1b[31m' 1 f 1 g 1 h 1 i 1
infer more.safetensors
same y.npy wanted.npy
says err.txt "7 further tensors ignored: c, d, e?[31m, f, g and 2 more"
tensors lacks.safetensors model.a.weight 2x2 model.a.bias 2 model.b.weight 2x3
refuses "its names without the prefix 'model.'" "$dlrun" infer m.plan --weights lacks.safetensors --input x=x.npy
says err.txt "b.bias: missing; f32[2] wanted" "b.weight: [2, 3] in the file"

# -- A program where a plan is wanted
echo 'model m(x: f32[2]) { output x }' > short.dl
for file in short.dl "$root/examples/digits.dl"; do
    refuses "this is not a plan; of a program, \`dlc FILE.dl -o FILE.plan\` makes one" "$dlrun" infer "$file"
done

# -- What a file holds
expect 0 "$dlrun" inspect beside.safetensors
says out.txt "beside.safetensors: 5 tensors, 60 bytes" "metadata made: here" "net.model.a.weight" "f32[2, 2]  16 bytes"
expect 0 "$dlrun" inspect more.safetensors --json
checks=$((checks + 1))
python3 -c 'import json
d = json.load(open("out.txt"))
assert d["path"] == "more.safetensors" and d["count"] == 11 and d["bytes"] == 76 and d["metadata"] == {"made": "here"}, d
assert d["tensors"][0] == {"name": "a.weight", "type": "f32", "shape": [2, 2], "bytes": 16}, d
assert d["tensors"][6]["name"] == "e\x1b[31m", d' || bad "inspect --json of weights"
expect 2 "$dlrun" inspect more.safetensors --ir
refuses "convert it: python3 -c" "$dlrun" inspect zip.pt
expect 0 "$dlrun" train m.plan --data train=x=rows.npy --checkpoint run --quiet
for folder in run run/step-2; do
    expect 0 "$dlrun" inspect $folder
    says out.txt "checkpoint run" "step 2 of 2, seed 7" "program" "counter    epoch" "rank-0.safetensors: 4 tensors" "a.weight"
done
expect 0 "$dlrun" inspect run --json
checks=$((checks + 1))
python3 -c 'import json
d, m = json.load(open("out.txt")), json.load(open("run/step-2/manifest.json"))
assert all(d[k] == m[k] for k in ("step", "steps", "seed", "program", "data", "batch", "counters")), (d, m)
assert [f["name"] for f in d["files"]] == [f["name"] for f in m["files"]] and d["files"][0]["count"] == 4, d' ||
    bad "inspect --json of a checkpoint"
mkdir empty
refuses "there is no checkpoint in 'empty'" "$dlrun" inspect empty

# -- A checkpoint as weights: what --save writes at that step (averages, where there are such), and the counters that a model reads
cat > counts.dl <<'END'
dim B

model counts(x: f32[B, 2], y: f32[B, 1]) {
    p = x |> linear(1) as a
    output p
    output now = cast(step, f32)
    output planned = cast(steps, f32)
    loss mse(p, y)
}

train counts {
    optimizer adam(lr=cosine(0.5, total=steps))
    ema 0.5
    batch 2
    epochs 2
}
END
npy y2.npy f4 4x1 3 1 -2 4
npy x2.npy f4 4x2 1 2 3 4 5 6 7 8
expect 0 "$dlc" counts.dl -o counts.plan --quiet
expect 0 "$dlrun" train counts.plan --data train=x=x2.npy,y=y2.npy --checkpoint counted --checkpoint-every 1 --save counted.safetensors --quiet
for weights in counted.safetensors counted counted/step-4; do
    counters=
    [ $weights = counted ] || counters="--step 4 --steps 4"
    # shellcheck disable=SC2086
    expect 0 "$dlrun" infer counts.plan --weights $weights $counters --input x=x2.npy
    says out.txt "now []: 4" "planned []: 4"
    cp out.txt "${weights//\//-}.txt"
    cmp -s counted.safetensors.txt "${weights//\//-}.txt" || bad "$weights gives other outputs than --save"
done
expect 0 "$dlrun" infer counts.plan --weights counted/step-3 --input x=x2.npy
says out.txt "now []: 3" "planned []: 4"
expect 0 "$dlrun" infer counts.plan --weights counted --raw-weights --input x=x2.npy
! cmp -s counted.txt out.txt || bad "--raw-weights of a checkpoint are its averages"
refuses "reads \`steps\`, which is not known" "$dlrun" infer counts.plan --weights counted.safetensors --input x=x2.npy
says err.txt "dlrun: --steps N" "a checkpoint's folder"
expect 0 "$dlrun" eval counts.plan --weights counted.safetensors --steps 4 --data x=x2.npy,y=y2.npy
refuses "there is no checkpoint in 'empty'" "$dlrun" infer counts.plan --weights empty --input x=x2.npy
# Training begins anew from such weights.
expect 0 "$dlrun" train counts.plan --data train=x=x2.npy,y=y2.npy --weights counted --steps 3
says out.txt "done after 3 of 3 steps"
finish
