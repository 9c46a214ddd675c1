#!/usr/bin/env bash
# Runs the tests of the Python package and the end-to-end tests with the interpreters that are found. The tests wait more
# than they compute, so several run at a time; the output of each is shown when it has ended.
# CI=true fails without Python 3.9, 3.11 and 3.13.
set -euo pipefail
cd "$(dirname "$0")/.."
venvs=$PWD/target/venvs
export AMORE_BIN_DIR=${AMORE_BIN_DIR:-$PWD/target/release}
export AMORE_TEST_PYTHON=$venvs/demo/bin/python
export AMORE_PEER_PYTHON=$venvs/peer/bin/python
# How many interpreters are tested at a time.
at_once=3

logs=$(mktemp -d)
declare -A running=()
failed=()
trap 'kill "${running[@]}" 2>/dev/null || true; rm -rf "$logs"' EXIT

# start NAME COMMAND…: starts it in the background.
start() {
    local name=$1
    shift
    "$@" >"$logs/$name" 2>&1 &
    running[$name]=$!
}

# finish NAME…: waits for each, and prints its output.
finish() {
    local name
    for name in "$@"; do
        wait "${running[$name]}" || failed+=("$name")
        unset "running[$name]"
        echo "== $name"
        cat "$logs/$name"
    done
}

pytest=("$venvs/test/bin/python" -m pytest -q)
start slurm_fake "${pytest[@]}" -n 3 tests/slurm_fake
start pipe "${pytest[@]}" tests/pipe tests/matrix
start supervisor "${pytest[@]}" tests/supervisor
start http "${pytest[@]}" tests/http
start service "${pytest[@]}" tests/service
start kafka "${pytest[@]}" tests/kafka
finish supervisor http service kafka pipe slurm_fake
# After a failure, the output of five more rounds would only hide it.
[ "${#failed[@]}" = 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }

# The package itself with each interpreter, in environments with the packages of users' environments, and pytest.
find_python() {
    local python
    python=$(command -v "python$1" || true)
    if [ -z "$python" ] || ! "$python" -c '' 2>/dev/null; then
        python=$(ls -d "$HOME"/.pyenv/versions/"$1".*/bin/python 2>/dev/null | head -n 1 || true)
    fi
    echo "$python"
}

test_with() {
    local version=$1 python=$2 env=$venvs/unit-$1
    if [ ! -f "$env/.amore-timeout" ]; then
        echo "setup: making the Python environment target/venvs/unit-$version" >&2
        "$python" -m venv --clear "$env"
        scripts/pip.sh "$env/bin/python" extra_data pyyaml requests pytest pytest-timeout
        touch "$env/.amore-timeout"
    fi
    if [ ! -f "$env/.amore-values" ]; then
        # Components of values, and a generator of arbitrary values.
        scripts/pip.sh "$env/bin/python" hypothesis dask pyarrow
        touch "$env/.amore-values"
    fi
    PYTHONPATH=$PWD/context "$env/bin/python" -m pytest -q -p no:cacheprovider --timeout 300 context/tests
}

found=()
for version in 3.9 3.10 3.11 3.12 3.13 3.14; do
    python=$(find_python "$version")
    [ -n "$python" ] || continue
    found+=("Python $version")
    start "Python $version" test_with "$version" "$python"
    if [ "${#found[@]}" -ge "$at_once" ]; then finish "${found[-at_once]}"; fi
done
for name in "${found[@]}"; do
    if [ -n "${running[$name]:-}" ]; then finish "$name"; fi
done
for wanted in 3.9 3.11 3.13; do
    if [[ " ${found[*]-} " != *"Python $wanted "* ]]; then
        echo "Python $wanted was not found: its tests were skipped" >&2
        [ "${CI:-}" != true ] || exit 1
    fi
done
[ "${#failed[@]}" = 0 ] || { echo "damnit_ctx failed in: ${failed[*]}" >&2; exit 1; }
