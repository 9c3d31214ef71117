# Installs the Debian packages that building and testing need, if any is missing. Sourced by the other
# scripts; safe to run again. As root, or with sudo.
packages_needed="build-essential meson ninja-build pkg-config flex bison llvm-19-dev zlib1g-dev libcmocka-dev python3"
# Tests: the locale with decimal commas, a data set, a C++ compiler (build-essential) for the simulated GPU's kernels, two MPIs.
packages_for_tests="locales dataset-fashion-mnist libopenmpi-dev openmpi-bin libmpich-dev mpich iproute2"
# A second compiler, its sanitizers and fuzzer.
packages_for_clang="clang libclang-rt-dev"

install_packages() {
    missing=""
    for package in "$@"; do
        if ! dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed"; then
            missing="$missing $package"
        fi
    done
    if [ -z "$missing" ]; then
        return 0
    fi
    echo "Installing:$missing"
    if [ "$(id -u)" -eq 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null 2>&1; then
        as_root="sudo"
    else
        echo "These packages are missing and this script is neither root nor has sudo:$missing" >&2
        return 1
    fi
    # shellcheck disable=SC2086
    $as_root apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
