#!/usr/bin/env bash
# kills.sh COUNT: training is killed outright at random moments while it checkpoints after every step, and resumed, until COUNT
# kills are done. Every run that comes to its end must have the bits of one that was never stopped, and no kill leaves
# anything behind that the next run does not remove.
. "$(dirname "$0")/lib.sh"
count=${1:-12}
RANDOM=${2:-1}

cat > m.dl << 'D'
dim B

model m(x: f32[B, 6], y: f32[B, 1]) {
    h = x |> linear(64) as a |> relu |> dropout(0.2)
    fit = h |> linear(1) as b
    output fit
    loss mse(fit, y)
}

train m {
    optimizer adamw(lr=warmup_cosine(peak=1e-2, warmup=5, total=steps), weight_decay=0.01)
    batch 8
    ema 0.9
}
D
fit_data
expect 0 "$dlc" m.dl -o m.plan --quiet
train=("$dlrun" train m.plan --data "train=x=x.npy,y=y.npy" --steps 60 --quiet)
expect 0 "${train[@]}" --save whole.safetensors

kills=0 ends=0 unfinished=0 resumed=0
check_end() {
    ends=$((ends + 1))
    same whole.safetensors end.safetensors
    checks=$((checks + 1))
    [ "$(ls -A ck | tr '\n' ' ')" = "step-59 step-60 " ] || bad "left in the folder: $(ls -A ck | tr '\n' ' ')"
    [ "$(find ck -type f | wc -l)" = 4 ] || bad "not two files in each: $(find ck -type f | tr '\n' ' ')"
    rm -rf ck
}
while [ $kills -lt "$count" ] && [ $failures = 0 ]; do
    ! compgen -G 'ck/step-*' > /dev/null || resumed=$((resumed + 1))
    "${train[@]}" --checkpoint ck --checkpoint-every 1 --resume --save end.safetensors > out.txt 2> err.txt &
    pid=$!
    sleep "$(printf '0.%03d' $((10 + RANDOM % 150)))"
    if kill -KILL $pid 2> /dev/null; then
        kills=$((kills + 1))
    fi
    wait $pid 2> /dev/null
    case $? in
    0) check_end ;;
    137) compgen -G 'ck/.step-*' > /dev/null && unfinished=$((unfinished + 1)) ;;
    *) bad "status $? of a run: $(cat err.txt)" ;;
    esac
    # Whatever has a checkpoint's name is whole.
    checks=$((checks + 1))
    for folder in ck/step-*; do
        [ ! -d "$folder" ] || [ -s "$folder/manifest.json" ] || bad "$folder is not whole after a kill"
    done
    ! grep -q damaged err.txt || bad "a damaged checkpoint: $(cat err.txt)"
done
expect 0 "${train[@]}" --checkpoint ck --checkpoint-every 1 --resume --save end.safetensors
check_end
[ ! -e "$(compgen -G '.dlc-tmp-*')" ] || bad "left beside the weights: $(compgen -G '.dlc-tmp-*')"
echo "$kills kills, $unfinished of them in the middle of a checkpoint; $resumed resumes, $ends whole runs"
finish
