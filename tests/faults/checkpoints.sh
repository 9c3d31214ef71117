#!/usr/bin/env bash
# Checkpoints: the same bits after resuming, what a run is bound to, damage, locks, signals, the old single file.
. "$(dirname "$0")/lib.sh"

random() { # random COUNT SEED: numbers between -1 and 1
    awk -v n="$1" -v seed="$2" 'BEGIN { srand(seed); for (i = 0; i < n; i++) printf "%.6f ", 2 * rand() - 1 }'
}
# shellcheck disable=SC2046
npy x.npy f4 50x6 $(random 300 1)
# shellcheck disable=SC2046
npy y.npy f4 50x1 $(random 50 2)
# shellcheck disable=SC2046
npy other.npy f4 50x1 $(random 50 3)
cp "$faults/small.dl" small.dl
expect 0 "$dlc" small.dl -o m.plan --quiet
train=("$dlrun" train m.plan --data "train=x=x.npy,y=y.npy" --quiet)
only() { # only FOLDER NAME…: the folder holds these checkpoints, each whole, and nothing else
    local folder=$1 wanted
    shift
    checks=$((checks + 1))
    wanted=$(for name in "$@"; do printf '%s\n' "$name" "$name/manifest.json" "$name/rank-0.safetensors"; done | sort)
    [ "$(cd "$folder" && find . -mindepth 1 | sed 's|^\./||' | sort)" = "$wanted" ] ||
        bad "$folder holds $(cd "$folder" && find . -mindepth 1 | sort | tr '\n' ' ')"
}

# -- the same bits: averages, slots, random numbers, the place in the data; other threads, another target, parts
expect 0 "${train[@]}" --save whole.safetensors
expect 0 "${train[@]}" --checkpoint ck --checkpoint-every 4 --stop-after 13
only ck step-12 step-13
cp -r ck kept
expect 0 "${train[@]}" --checkpoint ck --resume --threads 1 --stop-after 31 --checkpoint-every 9
only ck step-27 step-31
expect 0 "$dlc" small.dl -o m.plan --quiet --target cpu:x86-64-v2
cp -r ck ck2
expect 0 "${train[@]}" --checkpoint ck2 --resume
cp small.dl renamed.dl
expect 0 "$dlc" renamed.dl -o m.plan --quiet --accumulate
expect 0 "${train[@]}" --checkpoint ck --resume --save resumed.safetensors --no-native
same whole.safetensors resumed.safetensors
only ck step-54 step-60
expect 0 "$dlc" small.dl -o m.plan --quiet

# -- starting anew onto it
refuses "--overwrite" "${train[@]}" --checkpoint ck
only ck step-54 step-60
expect 0 "${train[@]}" --checkpoint ck --overwrite --stop-after 5
only ck step-5
expect 0 "${train[@]}" --checkpoint ck --resume --save resumed.safetensors
same whole.safetensors resumed.safetensors
refuses "one of them" "${train[@]}" --checkpoint ck --overwrite --resume
refuses "--checkpoint" "${train[@]}" --overwrite

# -- what stands beside: names that only look like a checkpoint's are no checkpoints, and nothing of it is cleared away
cp -r kept beside
mkdir beside/step-040 beside/step-7x beside/step-
mine="step-040/mine step-7x/mine step-/mine .notes.tmp .step.old notes"
for file in $mine; do echo mine > "beside/$file"; done
expect 0 "${train[@]}" --checkpoint beside --resume --save beside.safetensors
same whole.safetensors beside.safetensors
checks=$((checks + 1))
! grep -q 'step-0*40' err.txt || bad "step-040 was taken for a checkpoint: $(head -c 300 err.txt)"
expect 0 "${train[@]}" --checkpoint beside --overwrite --stop-after 5
for file in $mine; do
    checks=$((checks + 1))
    [ "$(cat "beside/$file" 2> /dev/null)" = mine ] || bad "$file beside the checkpoints is gone"
done

# -- bound to the run
again() { # again TEXT OPTIONS…: refused with TEXT, and by force only warned of
    local text=$1
    shift
    rm -rf bound && cp -r kept bound
    refuses "$text" "$dlrun" train m.plan --quiet --checkpoint bound --resume "$@"
    only bound step-12 step-13
    expect 0 "$dlrun" train m.plan --quiet --checkpoint bound --resume=force "$@"
    says err.txt "$text"
}
mine=(--data "train=x=x.npy,y=y.npy")
again "seed 3, here 4" "${mine[@]}" --seed 4
again "planned length 60 steps, here 70" "${mine[@]}" --steps 70
again "batch 8, here 10" "${mine[@]}" --batch 10
again "the training data are others" --data "train=x=x.npy,y=other.npy"
sed 's/dropout(0.2)/dropout(0.3)/' small.dl > changed.dl
expect 0 "$dlc" changed.dl -o m.plan --quiet
again "the program is another" "${mine[@]}"
sed 's/linear(16)/linear(17)/' small.dl > changed.dl
expect 0 "$dlc" changed.dl -o m.plan --quiet
rm -rf bound && cp -r kept bound
refuses "does not fit the model" "${train[@]}" --checkpoint bound --resume=force
# What the train block says of length and seed is compared as such, and not as another program.
sed 's/steps 60/steps 61/; s/seed 3/seed 9/' small.dl > changed.dl
expect 0 "$dlc" changed.dl -o m.plan --quiet
refuses "seed 3, here 9; planned length 60 steps, here 61" "${train[@]}" --checkpoint bound --resume
expect 0 "${train[@]}" --checkpoint bound --resume --seed 3 --steps 60 --save resumed.safetensors
same whole.safetensors resumed.safetensors
expect 0 "$dlc" small.dl -o m.plan --quiet
rm -rf bound && cp -r kept bound
refuses "beyond" "${train[@]}" --checkpoint bound --resume=force --steps 10
refuses "takes nothing or =force" "${train[@]}" --checkpoint bound --resume=banana

# -- damage: the older one is taken, with a line; none whole is an error
damaged() { # damaged COMMAND…: run in step-13
    rm -rf hurt && cp -r kept hurt
    (cd hurt/step-13 && "$@")
    expect 0 "${train[@]}" --checkpoint hurt --resume --save resumed.safetensors
    says err.txt "warning: a checkpoint is damaged, the one before it is taken" "step-13"
    same whole.safetensors resumed.safetensors
    only hurt step-54 step-60
}
damaged rm manifest.json
damaged rm rank-0.safetensors
damaged truncate -s -1 rank-0.safetensors
damaged truncate -s 100 manifest.json
damaged truncate -s 0 manifest.json
damaged sed -i 's/"step": 13,/"step": 14,/' manifest.json
damaged dd status=none if=/dev/zero of=rank-0.safetensors bs=1 count=2 seek=2000 conv=notrunc
damaged bash -c 'rm -rf ../step-13 && echo file > ../step-13'
damaged bash -c 'rm manifest.json && mkfifo manifest.json'
damaged bash -c 'rm rank-0.safetensors && mkfifo rank-0.safetensors'
rm -rf hurt && cp -r kept hurt && rm hurt/*/manifest.json
refuses "manifest.json" "${train[@]}" --checkpoint hurt --resume
# A manifest of right checksum and wrong numbers is damage all the same.
for change in step=-1 step=61 first:step=12 first:step=14 '"step="abc"' step=13.5 steps=-60 epoch=-1 version=2 bytes=-1 bytes=10 crc32='"00000000"' \
    name='"../kept/step-13/rank-0.safetensors"' name='"/etc/passwd"' program='"x"' 'data=""' batch=0 format='"pt"'; do
    rm -rf hurt && cp -r kept hurt
    python3 "$faults/checkpoint.py" edit hurt/step-13 "${change#\"}"
    expect 0 "${train[@]}" --checkpoint hurt --resume --save resumed.safetensors
    says err.txt "damaged" "step-13"
    same whole.safetensors resumed.safetensors
done

# -- what killed runs leave is removed, and what is not theirs stays
rm -rf left && cp -r kept left
mkdir left/.step-14.tmp left/.step-9.old left/notes
echo half > left/.step-14.tmp/rank-0.safetensors
echo half > left/.step-9.old/manifest.json
expect 0 "${train[@]}" --checkpoint left --resume --stop-after 15
rmdir left/notes || bad "a folder of another kind was removed"
only left step-13 step-15

# -- two at once; signals
expect 0 "$dlc" small.dl -o m.plan --quiet
long=(--data "train=x=x.npy,y=y.npy" --steps 10000000 --quiet)
started() { # started FOLDER: waits for its first checkpoint
    local i
    for i in $(seq 200); do
        [ -d "$1" ] && ls "$1" | grep -q step- && return
        sleep 0.05
    done
    bad "no checkpoint in $1"
}
for signal in INT TERM HUP; do
    rm -rf live
    # Not under the nohup of whoever runs this.
    env --default-signal=HUP "$dlrun" train m.plan "${long[@]}" --checkpoint live --checkpoint-every 50 --log live.jsonl > out.txt 2>&1 &
    pid=$!
    started live
    if [ $signal = INT ]; then
        refuses "is in use" "$dlrun" train m.plan "${long[@]}" --checkpoint live --resume
        refuses "is in use" "$dlrun" train m.plan "${long[@]}" --checkpoint live --overwrite
    fi
    kill -$signal $pid
    [ $signal = INT ] || kill -$signal $pid 2> /dev/null
    wait $pid
    status=$?
    checks=$((checks + 1))
    [ $status = 130 ] || bad "status $status after SIG$signal"
    steps=$(grep -c '"kind": "step"' live.jsonl)
    [ -f live/step-"$steps"/manifest.json ] || bad "SIG$signal: $steps steps, checkpoints $(ls live)"
done
# A dead run's lock is gone; nohup's wish is kept.
rm -rf live
(trap '' HUP && exec "$dlrun" train m.plan "${long[@]}" --checkpoint live --checkpoint-every 50) > out.txt 2>&1 &
pid=$!
started live
kill -HUP $pid
sleep 0.2
checks=$((checks + 1))
kill -KILL $pid || bad "an ignored SIGHUP ended the run"
wait $pid 2> /dev/null
steps=$(find live -maxdepth 1 -name 'step-*' | sed 's/.*-//' | sort -n | tail -1)
expect 0 "$dlrun" train m.plan "${long[@]}" --checkpoint live --resume --stop-after $((steps + 1))

# -- the old form: one file
old() { # old CHANGE…: into ancient/last.safetensors
    rm -rf ancient && mkdir ancient
    python3 "$faults/checkpoint.py" old kept/step-13 ancient/last.safetensors "$@" || bad "checkpoint.py"
}
old
expect 0 "${train[@]}" --checkpoint ancient --resume --checkpoint-every 20 --save resumed.safetensors
same whole.safetensors resumed.safetensors
only ancient step-40 step-60
old
refuses "--overwrite" "${train[@]}" --checkpoint ancient
expect 0 "${train[@]}" --checkpoint ancient --overwrite --stop-after 2
only ancient step-2
for change in step=-9223372036854775808 step=-1 step=abc step=50.5 step= step=99999999999999999999 step=61 -step steps=-60 \
    -steps steps=0 steps=x seed=1.5 -seed epoch=-1 format=pt; do
    old "$change"
    refuses "ancient/last.safetensors" "${train[@]}" --checkpoint ancient --resume
    refuses "ancient/last.safetensors" "${train[@]}" --checkpoint ancient --resume=force
done
old seed=4
refuses "seed 4, here 3" "${train[@]}" --checkpoint ancient --resume
old steps=70
refuses "planned length 70 steps, here 60" "${train[@]}" --checkpoint ancient --resume

# -- a full disk: the run says so, what was there stays whole
if [ "$(id -u)" = 0 ] && mkdir small_disk && mount -t tmpfs -o size=40k none small_disk 2> /dev/null; then
    cp -r kept small_disk/ck
    cat /dev/zero > small_disk/filling 2> /dev/null
    refuses "No space left on device" "${train[@]}" --checkpoint small_disk/ck --resume --checkpoint-every 1
    only small_disk/ck step-12 step-13
    umount small_disk
fi
finish
