#!/usr/bin/env bash
# The tests of the Python package and of the whole pipe, in the interpreters that are found.
# CI=true fails without Python 3.9, 3.11 and 3.13.
set -euo pipefail
cd "$(dirname "$0")/.."
venvs=$PWD/target/venvs
export AMORE_BIN_DIR=${AMORE_BIN_DIR:-$PWD/target/release}
export AMORE_TEST_PYTHON=$venvs/demo/bin/python

# Jobs of a Slurm that is only played are waited for more than they compute: some at a time, beside the others. What is
# said of them is shown when they are over.
logs=$(mktemp -d)
trap 'kill "${slurm_fake:-}" 2>/dev/null || true; rm -rf "$logs"' EXIT
"$venvs/test/bin/python" -m pytest -q -n 3 tests/slurm_fake >"$logs/slurm_fake" 2>&1 &
slurm_fake=$!
if ! "$venvs/test/bin/python" -m pytest -q tests/pipe tests/matrix; then
    wait "$slurm_fake" || true
    cat "$logs/slurm_fake"
    exit 1
fi
wait "$slurm_fake" || { cat "$logs/slurm_fake"; exit 1; }
slurm_fake=
cat "$logs/slurm_fake"

# The package itself in each interpreter, in environments that hold what users' environments hold, and pytest.
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
        "$env/bin/pip" install -q --disable-pip-version-check extra_data pyyaml requests pytest pytest-timeout
        touch "$env/.amore-timeout"
    fi
    if [ ! -f "$env/.amore-values" ]; then
        # What values are made of, and what makes arbitrary ones.
        "$env/bin/pip" install -q --disable-pip-version-check hypothesis dask pyarrow
        touch "$env/.amore-values"
    fi
    PYTHONPATH=$PWD/context "$env/bin/python" -m pytest -q -p no:cacheprovider --timeout 300 context/tests
}

# Two at a time: these tests wait more than they compute. What each says is shown when it is over.
found=()
failed=()
declare -A testing=()
finish() {
    local version=$1
    wait "${testing[$version]}" || failed+=("$version")
    unset "testing[$version]"
    echo "== damnit_ctx in Python $version"
    cat "$logs/$version"
}
for version in 3.9 3.10 3.11 3.12 3.13 3.14; do
    python=$(find_python "$version")
    [ -n "$python" ] || continue
    found+=("$version")
    test_with "$version" "$python" >"$logs/$version" 2>&1 &
    testing[$version]=$!
    if [ "${#found[@]}" -gt 1 ]; then finish "${found[-2]}"; fi
done
[ "${#found[@]}" = 0 ] || finish "${found[-1]}"
for wanted in 3.9 3.11 3.13; do
    if [[ " ${found[*]-} " != *" $wanted "* ]]; then
        echo "Python $wanted was not found: its tests were skipped" >&2
        [ "${CI:-}" != true ] || exit 1
    fi
done
if [ "${#failed[@]}" -gt 0 ]; then
    echo "damnit_ctx failed in Python ${failed[*]}" >&2
    exit 1
fi
