#!/usr/bin/env bash
# dlc: help, wrong command lines, errors, the same bytes for the same input, fmt, what can be printed.
. "$(dirname "$0")/lib.sh"

# -- help and wrong command lines
expect 0 "$dlc" --help
says out.txt "dlc MODEL.dl" "--output" "--define"
empty err.txt
expect 0 "$dlc" --version
says out.txt "dlc 0."
expect 2 "$dlc"
says err.txt "no model given"
expect 2 "$dlc" --no-such-option x.dl
says err.txt "--no-such-option"
expect 2 "$dlc" -D width "$examples/digits.dl"
says err.txt "name=value"
expect 2 "$dlc" a.dl b.dl
expect 1 "$dlc" missing.dl
says err.txt "missing.dl"
no_rest missing
expect 1 "$dlc" --what E9999
# Every axis that --what names as one that there is, is in the help with its other words, and there alone.
expect 0 "$dlc" --what mesh
grep -v 'not supported' out.txt | sed 's/:.*//' | paste -sd, | sed 's/,/, /g' > axes.txt
expect 0 "$dlc" --help
says out.txt "for several devices: $(sed 's/,  */, /g' axes.txt);"
expect 0 "$dlc" --ops
says out.txt "reduce_sum"
expect 0 "$dlc" --passes
says out.txt "fuse"

# -- compiling
export DLC_CPU_CACHE= # code is to be made each time
cp "$examples/digits.dl" digits.dl
expect 0 "$dlc" digits.dl
says out.txt "digits.plan" "parameters"
cp digits.plan first.plan
expect 0 "$dlc" digits.dl -o second.plan --threads 1 --quiet
empty out.txt
same first.plan second.plan
cp digits.dl other_name.dl
expect 0 "$dlc" digits.dl -o third.plan --verify-each --time-passes
same first.plan third.plan
# The plan stands beside the program, under its name, whatever dots the folder has.
mkdir in.folder
cp digits.dl in.folder/digits
cp digits.dl in.folder/digits.v2.dl
expect 0 "$dlc" in.folder/digits --quiet
expect 0 "$dlc" in.folder/digits.v2.dl --quiet
expect 0 test -s in.folder/digits.plan
expect 0 test -s in.folder/digits.v2.plan
expect 0 "$dlc" digits.dl -o wide.plan -D B=16 --quiet
differ first.plan wide.plan

# -- objects of kernels kept: the same plan, without and with them; damaged ones are made anew
mkdir kept
for way in none kept damaged; do
    [ "$way" = damaged ] && for object in kept/*; do
        printf 'damaged' | dd of="$object" bs=1 seek=100 conv=notrunc status=none
    done
    DLC_CPU_CACHE=$PWD/kept expect 0 "$dlc" digits.dl -o "$way.plan" --quiet
    same first.plan "$way.plan"
done
# They are what is taken: one in another's place makes another plan.
objects=(kept/*)
[ ${#objects[@]} -gt 10 ] || bad "${#objects[@]} objects are kept"
cp "${objects[1]}" "${objects[0]}"
DLC_CPU_CACHE=$PWD/kept expect 0 "$dlc" digits.dl -o mixed.plan --quiet
differ first.plan mixed.plan
rm -r kept
DLC_CPU_CACHE=$PWD/kept expect 0 "$dlc" digits.dl -o gone.plan --quiet # no such folder
same first.plan gone.plan
absent kept
expect 1 "$dlc" digits.dl -o x.plan -D B=zero
expect 1 "$dlc" digits.dl -o x.plan -D C=3
says err.txt "C"
expect 1 "$dlc" digits.dl -o no/such/folder/x.plan
says err.txt "no/such/folder"
expect 1 "$dlc" digits.dl -o x.plan --target cpu:no-such-cpu
expect 1 "$dlc" digits.dl -o x.plan --target cpu:native,queues=3
says err.txt "cpu:native,queues=3" "queues=1 or queues=2"
expect 1 "$dlc" digits.dl -o x.plan --target cpu,threads=2
says err.txt "queues=1 or queues=2"
expect 1 "$dlc" digits.dl -o x.plan --emit nonsense
absent x.plan
expect 0 "$dlc" digits.dl -o queues.plan --target cpu,queues=2 --quiet
expect 0 "$dlrun" inspect queues.plan --commands
says out.txt " on 2 queues, " " on queue 1 after e" " signals e0"
expect 0 "$dlc" digits.dl -o queues.plan --target cpu,queues=1 --quiet
same first.plan queues.plan
expect 0 "$dlc" digits.dl --json -o x.plan
python3 -c "import json; json.load(open('out.txt'))" 2> /dev/null || bad "--json is not JSON"

# -- errors
cat > broken.dl <<'E'
dim B
model m(x: f32[B, 3], y: f32[B, 4]) {
    z = linaer(x, 4)
    output x + y
}
E
expect 1 "$dlc" broken.dl
says err.txt "broken.dl:3:9" "linear" "broken.dl:4:"
absent broken.plan
expect 1 "$dlc" check broken.dl
expect 0 "$dlc" check digits.dl
expect 1 "$dlc" check digits.dl broken.dl
expect 1 "$dlc" --json check broken.dl
head -1 err.txt | python3 -c "import json, sys; json.loads(sys.stdin.readline())" 2> /dev/null || bad "diagnostics are not JSON lines"
code=$(grep -o 'E0[0-9]*' err.txt | head -1)
expect 0 "$dlc" --what "$code"
printf 'model m(x: f32[2]) {\n    output (x\n}\n' > open.dl
expect 1 "$dlc" open.dl
says err.txt "open.dl:"
printf '\xff\xfe\x00model' > bytes.dl
expect 1 "$dlc" bytes.dl
: > nothing.dl
expect 1 "$dlc" nothing.dl
head -c 200000 /dev/zero | tr '\0' '(' > deep.dl
expect 1 "$dlc" deep.dl

# -- fmt: every program, twice, and the formatted one compiles to the same IR
for program in "$examples"/*.dl; do
    name=$(basename "$program")
    expect 0 "$dlc" fmt "$program"
    cp out.txt "$name.once"
    cp out.txt "once_$name"
    expect 0 "$dlc" fmt "once_$name"
    same out.txt "$name.once"
done
expect 0 "$dlc" digits.dl --emit ir
cp out.txt digits.ir
cp once_digits.dl digits.dl
expect 0 "$dlc" digits.dl --emit ir
same digits.ir out.txt
printf 'model m( x :f32[2] ){\noutput   x*2.0 # twice\n}\n' > ugly.dl
cp ugly.dl before.dl
expect 1 "$dlc" fmt --check ugly.dl
says out.txt "ugly.dl"
same ugly.dl before.dl
expect 0 "$dlc" fmt -w ugly.dl
differ ugly.dl before.dl
says ugly.dl "# twice"
expect 0 "$dlc" fmt --check ugly.dl
expect 1 "$dlc" fmt open.dl
expect 1 "$dlc" fmt missing.dl

# -- stages, and IR as input
for stage in ast ir grad fuse kernels schedule plan; do
    expect 0 "$dlc" digits.dl --emit "$stage"
    [ -s out.txt ] || bad "--emit $stage prints nothing"
done
expect 0 "$dlc" --from-ir digits.ir -o from_ir.plan
expect 0 "$dlc" digits.dl --print-after fuse --explain -o x.plan

# -- what is said of a plan: the kernels of each block of a loop, each tensor of an entry by its role
cat > roles.dl << 'END'
dim B
model roles(x: f32[B, 3]) {
    param a: [3] = ones
    state seen: [1] = zeros
    cache last: [3] = zeros
    seen <- seen + 1.0
    while mean(exp(r)) > 3.0 carry r = x * a {
        r = 0.75 * tanh(r)
    }
    output r
    metric size = mean(r)
    loss mean(x * a)
}
train roles { optimizer adam(lr=0.1); batch 4 }
END
expect 0 "$dlc" roles.dl --target cpu:x86-64-v3 --explain -o roles.plan
says out.txt "reduce: exp" "tanh"
expect 0 "$dlrun" inspect roles.plan --json
checks=$((checks + 1))
python3 - out.txt > roles.txt << 'END' || bad "the manifest: $(cat roles.txt)"
import json, sys

tensors = {entry["purpose"]: [(t["role"], t["name"]) for t in entry["tensors"]] for entry in json.load(open(sys.argv[1]))["entries"]}
variables = [("param", "a"), ("state", "seen"), ("cache", "last")]
slots = [("slot", "a#exp_avg"), ("slot", "a#exp_avg_sq")]
told = [("loss", "loss"), ("metric", "size"), ("info", "lr"), ("info", "grad_norm")]
wanted = {
    "infer": [("input", "x")] + variables + [("output", "r")],
    "eval": [("input", "x")] + variables + [("output", "r"), ("metric", "size"), ("loss", "loss")],
    "train": [("input", "x")] + variables + slots + told,
    "init": [("scalar", "seed")] + variables + slots,
}
wrong = 0
for purpose, list_ in wanted.items():
    got = [t for t in tensors[purpose] if t[0] != "ok" and (t[0] != "scalar" or t[1] == "seed")]
    if got != list_:
        print(purpose, got, "wanted", list_)
        wrong = 1
sys.exit(wrong)
END

# -- imports: a folder whose name begins like the program's own is another one; a file of two names is one file
mkdir own own-too
printf 'fn twice(x) { return x + x }\n' > own-too/more.dl
printf 'import "../own-too/more.dl"\nmodel m(x: f32[4]) {\n    output twice(x)\n}\n' > own/far.dl
expect 1 "$dlc" own/far.dl -o far.plan
says err.txt "outside the program's folder"
expect 0 "$dlc" own/far.dl -I own-too -o far.plan
cp own-too/more.dl own/more.dl
printf 'import "more.dl"\nimport "./more.dl"\nimport "../own/more.dl"\nmodel m(x: f32[4]) {\n    output twice(x)\n}\n' > own/both.dl
expect 0 "$dlc" own/both.dl -o both.plan

# -- targets: one that is named twice is compiled once
expect 0 "$dlc" roles.dl --target cpu:x86-64-v2 --target cpu:x86-64-v3 --target cpu:x86-64-v2 -o twice.plan
expect 0 "$dlrun" inspect twice.plan --json
checks=$((checks + 1))
[ "$(grep -o '"machine": "x86-64-v[23]"' out.txt | sort | uniq -c | tr -s ' \n' ' ')" = ' 1 "machine": "x86-64-v2" 1 "machine": "x86-64-v3" ' ] ||
    bad "targets of a plan: $(grep -o '"machine": [^,]*' out.txt)"
printf 'model c() {\n    x = iota(4)\n\n    check max(x) < 3, "x is too large"\n    output x + 1\n}\n' > checked.dl
expect 0 "$dlc" checked.dl --target cuda:sm_90 --target cpu:native -o checked.plan
expect 1 "$dlrun" infer checked.plan # by the second target, whose IR was read again
says err.txt "checked.dl:4:5: x is too large"

# -- passes that are skipped are looked at, the last one too; a kernel stands below the line that it comes from
expect 1 "$dlc" roles.dl --skip-passes fold,frobnicate -o x.plan
says err.txt "unknown pass 'frobnicate'"
expect 0 "$dlc" roles.dl --target cuda:sm_90 --emit kernels
checks=$((checks + 1))
grep -E '^// roles\.dl:[0-9]+:[0-9]+: ' out.txt | sort -u > places.txt
[ -s places.txt ] || bad "no kernel has its place"
while IFS= read -r said; do
    number=${said#// roles.dl:}
    number=${number%%:*}
    [ "${said#// roles.dl:*:*: }" = "$(sed -n "${number}s/^ *//p" roles.dl)" ] || bad "a kernel's place: $said"
done < places.txt
expect 0 "$dlc" roles.dl --float f64 --emit ir
says out.txt "f64[3]"
finish
