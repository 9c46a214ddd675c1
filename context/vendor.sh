#!/bin/sh
# Puts pyflakes (pure Python, MIT licence) beside damnit_ctx, where the user's interpreter finds it without having
# it installed. Usage: vendor.sh [PYTHON]; any Python 3.9 or later with pip will do, the result serves all of them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target="$here/damnit_ctx/_vendor"
version=3.4.0
if [ -d "$target/pyflakes-$version.dist-info" ]; then
    exit 0
fi
rm -rf "$target"
"$here/../scripts/pip.sh" "${1:-python3}" --no-compile --no-deps --target "$target" "pyflakes==$version"
rm -rf "$target/bin" "$target/pyflakes/test"
