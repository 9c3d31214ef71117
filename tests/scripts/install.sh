#!/usr/bin/env bash
# What `meson install` puts under any prefix starts there, without help from the environment, and compiles; libdlc needs
# no other library than the C library and zlib.
set -u
unset LD_LIBRARY_PATH
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
"${MESON:-meson}" install -C "$DLC_BUILD_ROOT" --no-rebuild --quiet --destdir "$work/stage" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
mv "$work/stage" "$work/moved" # where it was built for does not matter
dlc=$(find "$work/moved" -type f -name dlc -path '*/bin/*')
dlrun=$(find "$work/moved" -type f -name dlrun -path '*/bin/*')
[ -n "$dlc" ] && [ -n "$dlrun" ] || { echo "no programs were installed"; exit 1; }
own=$(ldd "$dlc" | sed -n 's/.*libdlc\.so[^ ]* => \([^ ]*\).*/\1/p')
case $own in
"$work"/moved/*) ;;
*) echo "dlc takes libdlc from '$own'"; exit 1 ;;
esac
# The run side asks for nothing but the C library and zlib.
if command -v objdump > /dev/null && [ -z "${DLC_SANITIZED:-}" ]; then
    others=$(objdump -p "$own" | sed -n 's/^ *NEEDED *//p' | grep -vE '^(lib(c|m|dl|pthread|z)\.so|ld-linux)')
    [ -z "$others" ] || { echo "libdlc needs more than the C library and zlib: $others"; exit 1; }
fi
# Each MPI's part lies beside it, where it is looked for.
for module in "$DLC_BUILD_ROOT"/libdlc-mpi-*.so; do
    [ ! -e "$module" ] || [ -e "$(dirname "$own")/${module##*/}" ] || { echo "${module##*/} is not installed beside libdlc"; exit 1; }
done
printf 'dim B\nmodel m(x: f32[B, 3]) { output x * 2.0 }\n' > "$work/m.dl"
"$dlc" "$work/m.dl" -o "$work/m.plan" --quiet || exit 1
"$dlrun" inspect "$work/m.plan" > "$work/out.txt" || exit 1
grep -q "^model m" "$work/out.txt" || { cat "$work/out.txt"; exit 1; }
echo "installed programs start"
