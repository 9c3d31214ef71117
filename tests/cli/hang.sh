#!/usr/bin/env bash
# Ranks that hang, as a user meets them: a program whose shown values nobody reads any more, so that the rank that shows them
# does not come; a process that is killed in the middle; and what dlrun explain-hang makes of the journals.
. "$(dirname "$0")/lib.sh"

cat > m.dl << 'D'
dim B

model m(x: f32[B, 6], y: f32[B, 1]) {
    h = x |> linear(64) as a |> relu
    show h
    fit = h |> linear(1) as b
    output fit
    loss mse(fit, y)
}

train m {
    optimizer sgd(lr=0.01)
    batch 8
    steps 100000
}
D
fit_data
expect 0 "$dlc" m.dl --mesh 'data=*' -o m.plan --quiet
train=("$dlrun" train m.plan --data "train=x=x.npy,y=y.npy" --device 'cpu*2' --threads 2 --journal journals --quiet)

# The log goes into a pipe that nobody reads: when it is full, the first rank, which shows, stays in its callback.
mkfifo log
exec 9<> log
"${train[@]}" --stall 0.5 2> log > out.txt &
pid=$!
for _ in $(seq 100); do
    sleep 0.2
    "$dlrun" explain-hang journals > said.txt 2> /dev/null && grep -q 'rank 0 is behind' said.txt && break
done
checks=$((checks + 1))
grep -q 'rank 0 is behind: it has begun [0-9]* collectives, rank 1 [0-9]*; what it has not begun is ' said.txt ||
    bad "of a rank that does not come it is said: $(cat said.txt)"
sleep 2
# It is read again: the rank comes back, and all end with what was wrong.
timeout 100 cat <&9 > shown.txt &
reader=$!
wait $pid
code=$?
sleep 0.3
kill $reader
exec 9>&-
checks=$((checks + 1))
[ $code = 1 ] || bad "status $code of a run with a rank that did not come"
grep -q "rank 0 does not come: after [0-9]* collectives it has not started .* in which rank 1 has waited" shown.txt ||
    bad "the error of a rank that did not come: $(tail -n 3 shown.txt)"
grep -q "; rank 0 is at step [0-9]* of 'm.train', command [0-9]* of [0-9]*" shown.txt || bad "not where it was: $(tail -n 3 shown.txt)"
expect 0 "$dlrun" explain-hang journals
grep -q 'rank 0 came too late to ' out.txt || bad "afterwards it is said: $(cat out.txt)"

# A process that is killed leaves the journals of all its ranks.
rm -rf journals
"${train[@]}" > /dev/null 2>&1 &
pid=$!
until [ -e journals/rank-0001.journal ]; do sleep 0.05; done
sleep 0.5
kill -KILL $pid
wait $pid 2> /dev/null
expect 0 "$dlrun" explain-hang journals
checks=$((checks + 1))
[ "$(grep -c '^rank [01] on .*; its process is gone$' out.txt)" = 2 ] || bad "of a process that was killed it is said: $(cat out.txt)"
grep -q '^last events of rank [01]:$' out.txt || bad "no last events: $(cat out.txt)"

mkdir empty
expect 1 "$dlrun" explain-hang empty
grep -q "'empty' holds no journal" err.txt || bad "of an empty folder it is said: $(cat err.txt)"
expect 2 "$dlrun" explain-hang
expect 1 "${train[@]}" --stall -1
grep -q "dlc_session_options.stall_seconds" err.txt || bad "of a time below 0 it is said: $(cat err.txt)"
finish
