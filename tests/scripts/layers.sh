#!/usr/bin/env bash
# Compares every #include of ours with the table of docs/architecture.md: a folder includes only what it may.
set -u
cd "${DLC_SOURCE_ROOT:-$(dirname "$0")/../..}" || exit 1

# folder: prefixes it may include, beside its own folder and include/ ("dlc/…")
allowed() {
    case "$1" in
        include/*) echo "dlc/" ;;
        ir/base/*) echo "dlc/ ir/base/" ;;
        ir/*) echo "dlc/ ir/" ;;
        frontend/*) echo "dlc/ ir/ frontend/ lang/" ;;
        lang/*) echo "dlc/ ir/base/ lang/" ;;
        passes/*) echo "dlc/ ir/ passes/" ;;
        driver/*) echo "dlc/ driver/ ir/ passes/ codegen/ frontend/ lang/ runtime/plan.h runtime/kernel_abi.h runtime/compile_abi.h" ;;
        codegen/cpu/*) echo "dlc/ ir/ codegen/cpu/ codegen/kernel.h codegen/target.h passes/machine.h runtime/plan.h runtime/kernel_abi.h" ;;
        codegen/cuda/*) echo "dlc/ ir/ codegen/cuda/ codegen/kernel.h codegen/target.h passes/machine.h runtime/plan.h runtime/kernel_abi.h runtime/cuda_image.h" ;;
        codegen/null/*) echo "dlc/ ir/ codegen/null/ codegen/kernel.h codegen/target.h passes/machine.h runtime/plan.h runtime/kernel_abi.h" ;;
        codegen/*) echo "dlc/ ir/ codegen/ passes/machine.h runtime/plan.h runtime/kernel_abi.h" ;;
        runtime/*) echo "dlc/ ir/base/ runtime/" ;;
        tools/*) echo "dlc/ tools/" ;;
        examples/*) echo "dlc/" ;;
        *) echo "" ;;
    esac
}

bad=0
checked=0
while IFS= read -r file; do
    table=$(allowed "$file")
    [ -n "$table" ] || continue
    while IFS=: read -r line text; do
        path=$(printf '%s' "$text" | sed -n 's/^ *# *include *"\([^"]*\)".*/\1/p')
        [ -n "$path" ] || continue
        checked=$((checked + 1))
        ok=0
        for prefix in $table; do
            case "$path" in
                "$prefix"*) ok=1 ;;
            esac
        done
        case "$path" in */*) ;; *) ok=1 ;; esac # generated beside the file
        if [ "$ok" = 0 ]; then
            echo "$file:$line: includes \"$path\"; this folder may include only: $table"
            bad=$((bad + 1))
        fi
    done < <(grep -n '^ *# *include *"' "$file")
done < <(find include ir frontend lang passes codegen driver runtime tools examples -name '*.[chly]' -o -name '*.def' | LC_ALL=C sort)

echo "$checked includes checked, $bad wrong"
[ "$checked" -gt 100 ] && [ "$bad" -eq 0 ]
