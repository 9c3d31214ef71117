#!/usr/bin/env bash
# Training as a user runs it, on simulated GPUs: how a plan made without a GPU is loaded (cubin, PTX,
# text) and what is said where it cannot be, which GPU is taken, memory that does not suffice, a
# loss that is not finite in a recorded step, a last batch that is not whole, traces. DLC_CUDA_PATH
# names the simulator's folder.
. "$(dirname "$0")/../cli/lib.sh"

sim=${DLC_CUDA_PATH%%:*}
needs_simulated_device
export DLC_CUDASIM_MEMORY=64
cat > net.dl <<'END'
dim B

model net(x: f32[B, 8], y: i32[B]) {
    h = x |> linear(64) as a |> relu |> linear(4) as b
    output h
    loss cross_entropy(h, y)
}

train net {
    optimizer adam(lr=1e-2)
    batch 64
}
END
python3 - <<'END'
import struct, zipfile, random
def npy(kind, shape, data):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (kind, shape)
    head += " " * (63 - (len(head) + 10) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data
def write(path, rows, bad=-1):
    random.seed(rows)
    xs = [[random.gauss(0, 1) for _ in range(8)] for _ in range(rows)]
    ys = [max(range(4), key=lambda i: x[i]) for x in xs]
    if bad >= 0:
        xs[bad][3] = float("nan")
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("x.npy", npy("<f4", (rows, 8), struct.pack("<%df" % (8 * rows), *sum(xs, []))))
        z.writestr("y.npy", npy("<i4", (rows,), struct.pack("<%di" % rows, *ys)))
write("data.npz", 256)
write("bad.npz", 256, 100)
write("odd.npz", 100)
END
train() { # train STATUS PLAN OPTIONS…
    local status=$1 plan=$2
    shift 2
    expect "$status" "$dlrun" train "$plan" --data train=data.npz --seed 3 "$@"
}

# -- a plan made without any GPU, and what machines make of it
DLC_CUDASIM_DEVICES=0 expect 0 "$dlc" net.dl --target cuda:sm_90 --target cpu -o both.plan --quiet
DLC_CUDASIM_DEVICES=0 expect 0 "$dlc" net.dl --target cuda:sm_90 -o net.plan --quiet
train 0 net.plan --save cubin.safetensors
says out.txt "device: cuda (Simulated sm_90" "kernels from cubins for sm_90"
DLC_CUDASIM_ARCH=100 train 0 net.plan --save ptx.safetensors
says out.txt "Simulated sm_100" "kernels from PTX of CUDA 13.0 (the driver compiled them)"
same cubin.safetensors ptx.safetensors
# A driver of CUDA 12: the text, by an NVRTC 12 if there is one.
DLC_CUDASIM_DRIVER=12080 train 1 net.plan
says err.txt "CUDA 13 code needs driver 580 or newer" "libnvrtc.so.12 is not on this machine" "--device cpu"
mkdir old
ln -s "$(realpath "$sim/libcuda.so.1")" old/libcuda.so.1
ln -s "$(realpath "$sim/libnvrtc.so.13")" old/libnvrtc.so.12
DLC_CUDA_PATH=$work/old DLC_CUDASIM_DRIVER=12080 DLC_CUDASIM_TOOLKIT=12080 train 0 net.plan --save text.safetensors
says out.txt "driver CUDA 12.8; kernels from text (NVRTC 12.8 compiled them for sm_90)"
same cubin.safetensors text.safetensors
DLC_CUDASIM_ARCH=80 train 1 net.plan
says err.txt "the code is for sm_90 and the GPU is an sm_80: compile with --target cuda:sm_80" "--device cpu"
# No driver, or none that is new enough: what is missing, and the CPU.
DLC_CUDA_PATH=$work/nothing:- train 1 net.plan
says err.txt "libcuda.so.1" "the device cpu (--device cpu)"
DLC_CUDA_PATH=$work/nothing:- train 1 net.plan --device cuda:0
says err.txt "cuda:0 cannot be used" "libcuda.so.1" "the device cpu (--device cpu) runs the plan without it"
DLC_CUDA_PATH=$work/nothing:- train 0 both.plan
says out.txt "device: cpu (" "; not cuda: " "libcuda.so.1"
DLC_CUDA_PATH=$work/nothing:- train 0 net.plan --device cpu
says out.txt "device: cpu ("
says err.txt "net.plan: compiled anew for cpu"
DLC_CUDASIM_DRIVER=11030 train 1 net.plan
says err.txt "11.3" "--device cpu"

# -- which GPU
DLC_CUDASIM_DEVICES=2 train 0 net.plan --device cuda:1 --steps 1
says out.txt "device: cuda:1 ("
DLC_CUDASIM_DEVICES=2 CUDA_VISIBLE_DEVICES=1 train 0 net.plan --device cuda:0 --steps 1
DLC_CUDASIM_DEVICES=2 CUDA_VISIBLE_DEVICES=1 train 1 net.plan --device cuda:1 --steps 1
says err.txt "cuda:1 cannot be used"
CUDA_VISIBLE_DEVICES= train 0 both.plan --steps 1
says out.txt "device: cpu (" "; not cuda: "
train 1 net.plan --device cuda:GPU-nothing --steps 1
says err.txt "cuda:GPU-nothing cannot be used"

# -- memory: the part is named, and --batch auto gets by
cat > wide.dl <<'END'
dim B

model wide(x: f32[B, 8], y: i32[B]) {
    h = x |> linear(512) as a |> relu |> linear(512) as b |> relu |> linear(4) as c
    output h
    loss cross_entropy(h, y)
}

train wide {
    optimizer sgd(lr=1e-2)
    batch 256
}
END
expect 0 "$dlc" wide.dl --target cuda:sm_90 -o wide.plan --quiet --accumulate
DLC_CUDASIM_MEMORY=34 train 1 wide.plan --steps 1
says err.txt "out of memory: the arena of 'wide.train' for B = 256 needs " "more are asked for" \
    "are free and " "(held: parameters 1.03 MiB, optimiser state 0 bytes, inputs " "--batch auto"
train 0 wide.plan --steps 1 --batch auto --memory 3500KiB
says out.txt "batch: 256 = " " of 3.42 MiB"

# -- a loss that is not finite: in the first step, and in one that was recorded
for batch in 256 64 32 16; do
    expect 1 "$dlrun" train net.plan --data train=bad.npz --seed 3 --steps 16 --batch $batch --log bad$batch.jsonl
    says err.txt "are not finite; nothing was stored; input 'x' holds nan in row 100 of the data"
    steps=$(grep -c '"kind": "step"' bad$batch.jsonl)
    says err.txt "step $((steps + 1)) of 'net.train': loss (nan)"
    echo "batch $batch: not finite after $steps steps"
    late=${late:-0}
    [ "$steps" -lt 3 ] || late=$((late + 1))
done
[ "$late" -gt 0 ] || bad "no recorded step was among them"

# -- a trace: the device's times on the host's clock, and the same bits
train 0 net.plan --trace trace.json --save traced.safetensors
same cubin.safetensors traced.safetensors
train 0 both.plan --device cpu --trace cpu.json
python3 - <<'END' || bad "the traces"
import json
for path in "trace.json", "cpu.json":
    spans = [e for e in json.load(open(path)) if e["ph"] == "X"]
    runs = [e for e in spans if e["tid"] == 1 and e["name"].startswith("net.")]
    work = [e for e in spans if e["tid"] == 2]
    assert [e["name"] for e in runs] == ["net.init"] + 4 * ["net.train"], [e["name"] for e in runs]
    assert sum(e["name"] == "data" for e in spans) == 4
    assert len(work) > 20, (path, len(work))
    assert all(a["ts"] <= b["ts"] for a, b in zip(work, work[1:]))
    for e in work:
        assert any(r["ts"] - 500 <= e["ts"] and e["ts"] + e["dur"] <= r["ts"] + r["dur"] + 500 for r in runs), e
    places = {e["args"]["place"] for e in work}
    assert path == "cpu.json" or any(p.startswith("net.dl:4:") for p in places), (path, places)
END
train 1 net.plan --trace no/where.json
says err.txt "cannot write 'no/where.json'"

# -- 100 rows in batches of 64: the last 36 are bound by themselves, and weighted by rows
expect 0 "$dlrun" eval net.plan --weights cubin.safetensors --data odd.npz --batch 64
cp out.txt cuda.txt
expect 0 "$dlrun" eval both.plan --weights cubin.safetensors --data odd.npz --batch 64 --device cpu
python3 - <<'END' || bad "eval of a last batch of 36"
a, b = [float(open(f).read().split()[1]) for f in ("cuda.txt", "out.txt")]
assert abs(a - b) < 1e-5 * abs(b), (a, b)
END
finish
