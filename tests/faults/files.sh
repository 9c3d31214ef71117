#!/usr/bin/env bash
# What is written where: devices, pipes, links, modes, owners, long names; every write error is seen; JSON that every
# parser reads.
. "$(dirname "$0")/lib.sh"

random() { # random COUNT: numbers between -1 and 1, the same each time
    awk -v n="$1" 'BEGIN { srand(7); for (i = 0; i < n; i++) printf "%.6f ", 2 * rand() - 1 }'
}
# shellcheck disable=SC2046
npy x.npy f4 20x6 $(random 120)
# shellcheck disable=SC2046
npy y.npy f4 20x1 $(random 20)
cp "$faults/small.dl" small.dl
expect 0 "$dlc" small.dl -o wanted.plan --quiet
set=(--data "train=x=x.npy,y=y.npy" --steps 3 --quiet)
expect 0 "$dlrun" train wanted.plan "${set[@]}" --save wanted.safetensors

# -- every writer, into what stands there already
stands() { # stands WHAT PATH: makes it
    case $1 in
    file) echo old > "$2" ;;
    link) echo old > target && ln -s target "$2" ;;
    dangling) ln -s target "$2" ;;
    chain) echo old > target && ln -s target between && ln -s between "$2" ;;
    hard) echo old > target && ln target "$2" ;;
    esac
}
writes() { # writes WANTED COMMAND… with OUT for the path; WANTED -: only that something came
    local wanted=$1 what
    shift
    for what in file link dangling chain hard; do
        rm -rf place && mkdir place
        (cd place && stands $what OUT)
        [ $what = dangling ] || chmod 0600 place/OUT
        expect 0 "${@//OUT/place/OUT}"
        checks=$((checks + 1))
        case $what in
        link | chain | dangling)
            [ -L place/OUT ] && [ ! -L place/target ] || bad "$what: the link is gone: $*"
            ;;
        hard) [ place/OUT -ef place/target ] || bad "a hard link is cut: $*" ;;
        esac
        [ $what = dangling ] || [ "$(stat -L -c %a place/OUT)" = 600 ] || bad "$what: the mode changed: $*"
        if [ "$wanted" = - ]; then
            [ -s place/OUT ] && ! grep -qx old place/OUT || bad "$what: nothing was written: $*"
        else
            same "$wanted" place/OUT
        fi
        [ "$(find place -name '.*' -not -name place | wc -l)" = 0 ] || bad "left behind: $(ls -A place)"
    done
}
writes wanted.plan "$dlc" small.dl -o OUT --quiet
writes wanted.safetensors "$dlrun" train wanted.plan "${set[@]}" --save OUT
expect 0 "$dlrun" infer wanted.plan --weights wanted.safetensors --input x=x.npy --output fit=wanted.npy
writes wanted.npy "$dlrun" infer wanted.plan --weights wanted.safetensors --input x=x.npy --output fit=OUT
expect 0 "$dlc" small.dl --emit=ir
cp out.txt wanted.ir
writes wanted.ir "$dlc" small.dl --emit=ir -o OUT
writes - "$dlrun" train wanted.plan "${set[@]}" --log OUT
writes - "$dlrun" train wanted.plan "${set[@]}" --plot OUT
writes - "$dlrun" train wanted.plan "${set[@]}" --trace OUT
# `fmt -w` reads it first
{ cat "$faults/small.dl"; echo "# end  "; } > wide.dl
"$dlc" fmt wide.dl > wanted.dl
cp wide.dl behind.dl && ln -s behind.dl front.dl && ln behind.dl beside.dl && chmod 0640 behind.dl
expect 0 "$dlc" fmt -w front.dl
same wanted.dl behind.dl
same wanted.dl beside.dl
checks=$((checks + 1))
[ -L front.dl ] && [ "$(stat -c %a behind.dl)" = 640 ] || bad "fmt -w does not keep link or mode"

# -- no plain file: written through
mkfifo pipe
"$dlc" small.dl -o pipe --quiet &
cat pipe > piped.plan
wait $!
same wanted.plan piped.plan
[ -p pipe ] || bad "the pipe was replaced"
ln -s pipe to_pipe
"$dlrun" train wanted.plan "${set[@]}" --save to_pipe &
cat pipe > piped.safetensors
wait $!
same wanted.safetensors piped.safetensors
if mknod null c 1 3 2> /dev/null && { : > null; } 2> /dev/null; then
    expect 0 "$dlc" small.dl -o null --quiet
    expect 0 "$dlrun" train wanted.plan "${set[@]}" --save null --log null --plot null --trace null
    expect 0 "$dlrun" infer wanted.plan --weights wanted.safetensors --input x=x.npy --output fit=null
    checks=$((checks + 1))
    [ -c null ] || bad "a device was replaced"
fi
checks=$((checks + 1))
mkdir folder && refuses "Is a directory" "$dlc" small.dl -o folder --quiet
refuses "No such file" "$dlc" small.dl -o no/such/folder --quiet
ln -s loop_b loop_a && ln -s loop_a loop_b && refuses "cannot write" "$dlc" small.dl -o loop_a --quiet

# -- owner and group stay (as root), and a name as long as the system takes
if [ "$(id -u)" = 0 ]; then
    echo old > theirs && chown 1234:1235 theirs
    expect 0 "$dlc" small.dl -o theirs --quiet
    same wanted.plan theirs
    checks=$((checks + 1))
    [ "$(stat -c %u:%g theirs)" = 1234:1235 ] || bad "the owner changed"
fi
# Who may not make files in the folder, or may not keep the owner, writes where the file stands; who may not write it, not.
if [ "$(id -u)" = 0 ] && setpriv --reuid 65534 --regid 65534 --clear-groups true 2> /dev/null; then
    nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/)
    chmod 0755 . && mkdir shared_folder open_folder && chmod 0777 open_folder
    echo old > shared_folder/mine && chown 65534 shared_folder/mine
    echo old > open_folder/others && chmod 0666 open_folder/others
    echo old > open_folder/locked
    for file in shared_folder/mine open_folder/others; do
        before=$(stat -c '%i %u %a' $file)
        expect 0 "${nobody[@]}" "$dlc" small.dl -o $file --quiet
        same wanted.plan $file
        checks=$((checks + 1))
        [ "$(stat -c '%i %u %a' $file)" = "$before" ] || bad "$file was not written where it stands"
    done
    refuses "Permission denied" "${nobody[@]}" "$dlc" small.dl -o open_folder/locked --quiet
    refuses "Permission denied" "${nobody[@]}" "$dlc" small.dl -o shared_folder/new --quiet
    checks=$((checks + 1))
    [ "$(ls -A open_folder shared_folder | tr '\n' ' ')" = "open_folder: locked others  shared_folder: mine " ] ||
        bad "left behind: $(ls -A open_folder shared_folder)"
fi
long=$(printf '%0251d' 0).dlp
expect 0 "$dlc" small.dl -o "$long" --quiet
same wanted.plan "$long"
expect 0 "$dlrun" train wanted.plan "${set[@]}" --save "$long"
same wanted.safetensors "$long"
cp wide.dl "$long"
expect 0 "$dlc" fmt -w "$long"
same wanted.dl "$long"
refuses "File name too long" "$dlc" small.dl -o "x$long" --quiet

# -- "-" is standard output, and nothing else comes with it
for out in - /dev/stdout; do
    expect 0 "$dlc" small.dl -o $out
    same wanted.plan out.txt
    expect 0 "$dlrun" train wanted.plan --data "train=x=x.npy,y=y.npy" --steps 3 --save $out
    same wanted.safetensors out.txt
    expect 0 "$dlrun" infer wanted.plan --weights wanted.safetensors --input x=x.npy --output fit=$out
    same wanted.npy out.txt
    expect 0 "$dlc" small.dl --emit=ir -o $out
    same wanted.ir out.txt
done
expect 0 "$dlrun" train wanted.plan --data "train=x=x.npy,y=y.npy" --steps 3 --log -
checks=$((checks + 1))
[ "$(grep -c '"kind": "step"' out.txt)" = 3 ] || bad "--log - gives no log"

# -- what a killed writer left goes with the next save, what a live one writes stays
mkdir swept
echo half > swept/.dlc-tmp-1-0
echo half > swept/.dlc-tmp-2-0
echo mine > swept/.dlc-tmp-notes
exec 9< swept/.dlc-tmp-2-0
flock 9 || bad "no flock"
expect 0 "$dlc" small.dl -o swept/m.plan --quiet 9<&-
absent swept/.dlc-tmp-1-0
checks=$((checks + 1))
[ -f swept/.dlc-tmp-2-0 ] || bad "a live writer's file was removed"
[ -f swept/.dlc-tmp-notes ] || bad "a file of another kind was removed"
exec 9<&-
expect 0 "$dlrun" train wanted.plan "${set[@]}" --save swept/w.safetensors
absent swept/.dlc-tmp-2-0

# -- write errors: a message and status 1, also when all was written into a buffer
full() { # full COMMAND…: with standard output on a full disk
    checks=$((checks + 1))
    timeout 60 "$@" > /dev/full 2> err.txt
    [ $? = 1 ] || bad "status is not 1 with a full disk: ${*/$root/…}"
    says err.txt "cannot write"
}
eval_set=(--weights wanted.safetensors --data "x=x.npy,y=y.npy")
full "$dlc" small.dl -o m.plan
says err.txt "No space left on device"
full "$dlc" small.dl --json -o m.plan
full "$dlc" small.dl -o -
full "$dlc" small.dl --emit=ir
full "$dlc" small.dl --explain --quiet -o m.plan
full "$dlc" fmt small.dl
full "$dlc" --help
full "$dlc" --version
full "$dlc" --what E0301
full "$dlc" --ops
full "$dlrun" --help
full "$dlrun" --version
full "$dlrun" inspect wanted.plan
full "$dlrun" inspect wanted.plan --json
full "$dlrun" inspect wanted.plan --ir
full "$dlrun" eval wanted.plan "${eval_set[@]}"
full "$dlrun" eval wanted.plan "${eval_set[@]}" --json
full "$dlrun" infer wanted.plan --weights wanted.safetensors --input x=x.npy
full "$dlrun" infer wanted.plan --weights wanted.safetensors --input x=x.npy --output fit=-
full "$dlrun" bench wanted.plan --entry infer --repeats 1 --warmup 1 --json
full "$dlrun" train wanted.plan --data "train=x=x.npy,y=y.npy" --steps 3
for option in --save --log --plot --trace; do
    refuses "No space left on device" "$dlrun" train wanted.plan "${set[@]}" $option /dev/full
    full "$dlrun" train wanted.plan "${set[@]}" $option -
done
refuses "No space left on device" "$dlc" small.dl -o /dev/full --quiet
refuses "No space left on device" "$dlc" small.dl --emit=ir -o /dev/full
refuses "No space left on device" "$dlrun" eval wanted.plan "${eval_set[@]}" --trace /dev/full
refuses "No space left on device" "$dlrun" infer wanted.plan --weights wanted.safetensors --input x=x.npy --output fit=/dev/full
# A closed standard output is no place for the first file that is opened.
checks=$((checks + 1))
"$dlrun" train wanted.plan --data "train=x=x.npy,y=y.npy" --steps 3 --log closed.jsonl 2> err.txt >&-
[ $? = 1 ] || bad "a closed standard output is not noticed"
! grep -q "device:" closed.jsonl || bad "messages went into the log"

# -- JSON without nan and inf
npy nan.npy f4 20x6 nan
json() { # json FILE…: every line parses, and no number is nan or inf
    checks=$((checks + 1))
    python3 - "$@" <<'P' || bad "no JSON: $*"
import json, sys
def constant(name):
    raise ValueError(name)
for path in sys.argv[1:]:
    text = open(path, encoding='utf-8').read()
    for part in [text] if path.endswith('.json') else text.splitlines():
        json.loads(part, parse_constant=constant)
P
}
expect 0 "$dlrun" eval wanted.plan --weights wanted.safetensors --data "x=nan.npy,y=y.npy" --json
cp out.txt nan.jsonl
json nan.jsonl
says nan.jsonl '"loss": null' '"error": null'
expect 0 "$dlrun" train wanted.plan --data "train=x=x.npy,y=y.npy,eval=x=nan.npy,y=y.npy" --steps 3 --quiet \
    --log run.jsonl --trace run.json
json run.jsonl run.json
says run.jsonl '"loss": null'
expect 0 "$dlrun" bench wanted.plan --entry train --repeats 1 --warmup 1 --json
cp out.txt bench.jsonl
expect 0 "$dlc" small.dl --json -o $'a"b\\c\xff.plan'
cp out.txt summary.jsonl
expect 0 "$dlrun" inspect wanted.plan --json
cp out.txt manifest.json
json bench.jsonl summary.jsonl manifest.json
# A log that goes on after a kill: its half line goes.
printf '{"kind": "start", "device": "cpu"}\n{"kind": "st' > half.jsonl
expect 0 "$dlrun" train wanted.plan "${set[@]}" --checkpoint half --resume --log half.jsonl
json half.jsonl
finish
