#!/usr/bin/env bash
# What a run says and does at its border: sizes that do not fit, names that are none, threads that are not there.
. "$(dirname "$0")/lib.sh"

# -- Sizes at run time: place, sizes and dims, each once
expect 0 "$dlc" "$faults/size_fault.dl" -o size.plan --quiet
npy x.npy f4 2 1 2
refuses "size_fault.dl:3:42: a slice starts below 0" "$dlrun" infer size.plan --input x=x.npy --input y=x.npy
says err.txt "(-98 and 0), where B = 2"
checks=$((checks + 1))
[ "$(grep -o size_fault.dl err.txt | wc -l)" = 1 ] || bad "the place is said more than once: $(cat err.txt)"

# -- Names that are none
small_model small.dl 'steps 3' 'y = x |> linear(2) as a'
expect 0 "$dlc" small.dl -o small.plan --quiet
npy rows.npy f4 4x2 1 2 3
expect 1 "$dlrun" train small.plan --data train=x=rows.npy --set banana=1 --quiet
says err.txt "banana" "it has step, steps"
expect 0 "$dlrun" train small.plan --data train=x=rows.npy --save w.safetensors
checks=$((checks + 1))
[ "$(grep -c '^step 3/3' out.txt)" = 1 ] || bad "the last step's line: $(cat out.txt)"
says out.txt "0 s left"
expect 0 "$dlrun" train small.plan --data train=x=rows.npy,eval=x=rows.npy
checks=$((checks + 1))
[ "$(grep -c '^step 3/3' out.txt)" = 1 ] || bad "the last step's line with an evaluation: $(cat out.txt)"
npy two.npy f4 2x2 1 2
expect 1 "$dlrun" infer small.plan --weights w.safetensors --input x=two.npy --output y=y.npz
says err.txt "y.npz" "ends in .npy"
absent y.npz

# -- What would be found out only when a run is over, or never
cli="$dlrun train small.plan --data train=x=rows.npy"
for options in "--save /nonexistent/w.safetensors|cannot write '/nonexistent/w.safetensors'" "--save .|Is a directory" \
    "--plot /nonexistent/l.svg|cannot write" "--plot loss.png|ends in .svg" "--checkpoint-every 2|needs --checkpoint" \
    "--eval-every 2|needs --data eval=F" "--eval-batch 2|needs --data eval=F" "--lr 0|above 0" "--lr -1|above 0"; do
    # shellcheck disable=SC2086
    refuses "${options#*|}" $cli ${options%%|*} --log started.jsonl
    absent started.jsonl
done
refuses "the option --lr does that" $cli --set lr=0.1
infers="$dlrun infer small.plan --weights w.safetensors"
refuses "has no input 'banana'; it has x" $infers --input banana=two.npy
refuses "has no output 'banana'; it has y" $infers --input x=two.npy --output banana=b.npy
refuses "no entry 'banana'; it has m.infer, m.eval, m.train, m.init" $infers --entry banana
refuses "cannot write '/nonexistent/y.npy'" $infers --input x=two.npy --output y=/nonexistent/y.npy
refuses "--input takes name=FILE, not 'two.npy'" $infers --input two.npy
checks=$((checks + 1))
[ "$(grep -c dlrun: err.txt)$(grep -c 'invalid argument' err.txt)" = 00 ] || bad "a second line: $(cat err.txt)"
refuses "unknown pass 'banana' to skip" "$dlc" small.dl -o none.plan --skip-passes cse,banana
refuses "unknown pass 'banana' to print after" "$dlc" small.dl -o none.plan --print-after banana
refuses "unknown stage 'banana' to emit" "$dlc" small.dl --emit banana
refuses "cannot write '/nonexistent/none.plan'" "$dlc" small.dl -o /nonexistent/none.plan
absent none.plan

# -- Threads: as many as the process may use, as many as there are, and the same bits
infer() { # infer OUTPUT COMMAND…: runs it with the small plan
    local output=$1
    shift
    expect 0 "$@" "$dlrun" infer small.plan --device cpu --weights w.safetensors --input x=two.npy --output "y=$output"
}
infer one.npy taskset -c "$(taskset -cp $$ | sed 's/.*: *\([0-9]*\).*/\1/')" env -u OMP_NUM_THREADS
says err.txt "cpu (1 thread)"
infer five.npy env OMP_NUM_THREADS=5
says err.txt "cpu (5 threads)"
same one.npy five.npy
expect 0 env OMP_NUM_THREADS=5 "$dlrun" infer small.plan --device cpu --threads 2 --weights w.safetensors --input x=two.npy
says err.txt "cpu (2 threads)"
few() {
    (ulimit -s 65536; ulimit -v 2000000; "$@")
}
# A sanitizer's shadow has no room below such limits.
if [ -z "${DLC_SANITIZED:-}" ]; then
    checks=$((checks + 1))
    few timeout 120 "$dlrun" infer small.plan --device cpu --threads 1000 --weights w.safetensors --input x=two.npy --output y=few.npy > out.txt 2> err.txt ||
        bad "1000 threads where there is no room for them: $(cat err.txt)"
    says err.txt "the system gave no more of 1000"
    same one.npy few.npy

    # -- No memory for LLVM: a message and a status, wherever it runs out
    export DLC_CPU_CACHE=
    for kilobytes in 215000 222000 228000; do
        checks=$((checks + 1))
        (ulimit -v $kilobytes; exec timeout 100 "$dlc" "$examples/digits.dl" -o none.plan --target cpu:x86-64-v3 --threads 1 --quiet) > out.txt 2> err.txt
        got=$?
        [ "$got" = 0 ] || [ "$got" = 1 ] || bad "status $got with $kilobytes KiB of memory: $(head -c 300 err.txt)"
    done
    unset DLC_CPU_CACHE
fi

# -- Colours are for terminals, and for those who want them
printf 'dim B\nmodel m(x: f32[B]) { output z }\n' > wrong.dl
coloured() { # coloured ENVIRONMENT…: whether the diagnostics on a terminal have colours
    python3 - "$@" "$dlc" check wrong.dl <<'EOF'
import os, pty, sys
out = b""
pid, fd = pty.fork()
if pid == 0:
    os.execvp("env", ["env"] + sys.argv[1:])
try:
    while True:
        chunk = os.read(fd, 65536)
        if not chunk:
            break
        out += chunk
except OSError:
    pass
os.waitpid(pid, 0)
sys.exit(0 if b"\033[" in out else 1 if b"E0" in out else 2)
EOF
}
ends() { # ends STATUS ENVIRONMENT…
    checks=$((checks + 1))
    local wanted=$1 got
    shift
    coloured "$@"
    got=$?
    [ "$got" = "$wanted" ] || bad "colours with $*: $got instead of $wanted"
}
ends 0 TERM=xterm NO_COLOR=
ends 1 TERM=xterm NO_COLOR=1
ends 1 TERM=dumb NO_COLOR=
ends 1 -u TERM NO_COLOR=
finish
