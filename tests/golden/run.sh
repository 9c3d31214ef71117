#!/usr/bin/env bash
# Golden tests: pairs of an input and what its command prints. See README.md beside this script.
# Usage: run.sh [--update] [--dlc PATH] [--dlrun PATH] [DIR|FILE]…   (default: this script's folder)
# Ends with "golden: N passed, N failed".
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
dlc=${DLC:-dlc}
dlrun=${DLRUN:-dlrun}
update=no
targets=()
while [ $# -gt 0 ]; do
    case $1 in
    --update) update=yes ;;
    --dlc) dlc=$2; shift ;;
    --dlrun) dlrun=$2; shift ;;
    *) targets+=("$1") ;;
    esac
    shift
done
[ ${#targets[@]} -gt 0 ] || targets=("$here")

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0

# The command of a test: the first line after "# ", with dlc and dlrun replaced by the programs under
# test and %s by the input's name (appended where no %s stands).
command_of() {
    local line
    IFS= read -r line < "$1"
    case $line in
    "# dlc "*) line="\"\$dlc\" ${line#\# dlc }" ;;
    "# dlrun "*) line="\"\$dlrun\" ${line#\# dlrun }" ;;
    *) return 1 ;;
    esac
    case $line in
    *%s*) ;;
    *) line="$line %s" ;;
    esac
    printf '%s' "${line//%s/\"\$input\"}"
}

complain() {
    printf 'golden: %s: %s\n' "$1" "$2"
    failed=$((failed + 1))
}

# Compares one stream with its file; an absent file stands for nothing printed.
compare() {
    local actual=$1 expected=$2
    if [ "$update" = yes ]; then
        if [ -s "$actual" ]; then
            cmp -s "$actual" "$expected" || { diff -uN "$expected" "$actual"; cp "$actual" "$expected"; }
        else
            rm -f "$expected"
        fi
        return 0
    fi
    [ -e "$expected" ] || expected=/dev/null
    diff -u "$expected" "$actual"
}

run_one() {
    local path=$1 directory input stem line status
    directory=$(cd "$(dirname "$path")" && pwd)
    input=$(basename "$path")
    stem="$directory/${input%.*}"
    if ! line=$(command_of "$path"); then
        complain "$path" "the first line is no command (# dlc … or # dlrun …)"
        return
    fi
    (cd "$directory" && eval "$line") > "$scratch/out" 2> "$scratch/err" < /dev/null
    status=$?
    if [ $status -ge 126 ]; then
        complain "$path" "the command died with status $status"
        cat "$scratch/err"
        return
    fi
    # A failing command says why on stderr, and prints nothing else.
    if [ $status -ne 0 ] && [ ! -s "$scratch/err" ]; then
        complain "$path" "failed with status $status and no message"
        return
    fi
    if [ "$update" = no ] && [ ! -e "$stem.out" ] && [ ! -e "$stem.err" ]; then
        complain "$path" "has neither .out nor .err; make them with --update and review them"
        return
    fi
    if [ "$update" = no ] && [ $status -ne 0 ] && [ ! -e "$stem.err" ]; then
        complain "$path" "failed with status $status"
        cat "$scratch/err"
        return
    fi
    if compare "$scratch/out" "$stem.out" && compare "$scratch/err" "$stem.err"; then
        passed=$((passed + 1))
    else
        complain "$path" "differs"
    fi
}

# Whatever lies in a folder is an input or belongs to one.
check_files() {
    local file
    while IFS= read -r file; do
        case $file in
        *.dl | *.ir) ;;
        *.out | *.err)
            [ -f "${file%.*}.dl" ] || [ -f "${file%.*}.ir" ] || complain "$file" "has no input"
            ;;
        *) complain "$file" "is neither an input nor an expected file" ;;
        esac
    done < <(find "$1" -mindepth "$2" -type f | sort)
}

for target in "${targets[@]}"; do
    if [ -f "$target" ]; then
        run_one "$target"
        continue
    fi
    if [ ! -d "$target" ]; then
        complain "$target" "does not exist"
        continue
    fi
    # This script's own folder holds more than tests.
    [ "$target" -ef "$here" ] && check_files "$target" 2 || check_files "$target" 1
    while IFS= read -r file; do
        run_one "$file"
    done < <(find "$target" -type f \( -name '*.dl' -o -name '*.ir' \) | sort)
done

echo "golden: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
