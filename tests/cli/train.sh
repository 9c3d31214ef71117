#!/usr/bin/env bash
# dlrun train: checkpoints, interruptions and resuming give the same bytes as not stopping; logs.
. "$(dirname "$0")/lib.sh"

"$dlc" "$examples/digits.dl" -o m.plan --quiet || { echo "cannot compile"; exit 1; }
set="train=$data/digits_train.npz"
expect 2 "$dlrun"
expect 0 "$dlrun" --help
says out.txt "dlrun train"
expect 0 "$dlrun" train --help
says out.txt "--checkpoint" "--resume"
expect 2 "$dlrun" train
expect 2 "$dlrun" train m.plan --nonsense
expect 2 "$dlrun" fly m.plan
says err.txt "fly"
expect 1 "$dlrun" train missing.plan --data "$set"
says err.txt "missing.plan"

# -- one run, and the same again: same bytes, whatever the threads
train() { # train NAME OPTIONS…
    local name=$1
    shift
    expect 0 "$dlrun" train m.plan --data "$set" --steps 40 --seed 5 --save "$name" --quiet "$@"
}
train whole.safetensors --threads 1
empty err.txt
train again.safetensors --threads 2
same whole.safetensors again.safetensors
train poisoned.safetensors --poison A
same whole.safetensors poisoned.safetensors
train other.safetensors --seed 6
differ whole.safetensors other.safetensors

# -- stopped and resumed, in three pieces
train a.safetensors --checkpoint ck --stop-after 13
train b.safetensors --checkpoint ck --resume --stop-after 31 --threads 2
train c.safetensors --checkpoint ck --resume
same whole.safetensors c.safetensors
differ whole.safetensors b.safetensors
train d.safetensors --checkpoint every --checkpoint-every 7
same whole.safetensors d.safetensors
checks=$((checks + 1))
[ "$(ls -A every | tr '\n' ' ')" = "step-35 step-40 " ] || bad "not the last two checkpoints: $(ls -A every)"
train e.safetensors --checkpoint every --resume
same whole.safetensors e.safetensors

# -- Ctrl-C in the middle: the step is finished, the checkpoint whole, resuming gives the same bytes
"$dlrun" train m.plan --data "$set" --steps 4000 --seed 5 --checkpoint cut --log cut.jsonl --quiet \
    --save cut.safetensors > out.txt 2> err.txt &
pid=$!
for _ in $(seq 100); do
    sleep 0.1
    [ -f cut.jsonl ] && [ "$(wc -l < cut.jsonl)" -ge 20 ] && break
done
kill -INT $pid
wait $pid
status=$?
checks=$((checks + 1))
[ $status = 130 ] || bad "status $status after an interrupt"
says out.txt "--resume"
steps=$(grep -c '"kind": "step"' cut.jsonl)
[ -d cut/step-"$steps" ] || bad "no checkpoint after an interrupt"
[ "$steps" -lt 4000 ] || bad "the interrupt came too late"
expect 0 "$dlrun" train m.plan --data "$set" --steps 4000 --seed 5 --stop-after $((steps + 9)) \
    --checkpoint cut --resume --save resumed.safetensors --quiet
expect 0 "$dlrun" train m.plan --data "$set" --steps 4000 --seed 5 --stop-after $((steps + 9)) \
    --save straight.safetensors --quiet
same resumed.safetensors straight.safetensors

# -- logs, curves, lines
expect 0 "$dlrun" train m.plan --data "$set,eval=$data/digits_test.npz" --epochs 2 --log run.jsonl --plot loss.svg
says out.txt "step" "loss" "eval accuracy"
python3 - <<'E' || bad "run.jsonl is not as it should be"
import json
rows = [json.loads(line) for line in open('run.jsonl')]
steps = [r for r in rows if r['kind'] == 'step']
evals = [r for r in rows if r['kind'] == 'eval']
assert [r['step'] for r in steps] == list(range(1, len(steps) + 1))
assert len(evals) == 2 and 0.5 < evals[-1]['accuracy'] <= 1
assert steps[-1]['loss'] < steps[0]['loss']
E
says loss.svg "<svg" "</svg>"
expect 2 "$dlrun" train m.plan --data "$set" --steps 5 --lr 0.0 --save still.safetensors --seed 5 --quiet
says err.txt "--lr takes a number above 0"
absent still.safetensors
expect 1 "$dlrun" train m.plan --data "$set" --steps 5 --save no/such/folder/w.safetensors --quiet
says err.txt "no/such/folder"
expect 1 "$dlrun" train m.plan --data "$set" --steps 5 --resume --checkpoint nowhere/at/all --quiet
finish
