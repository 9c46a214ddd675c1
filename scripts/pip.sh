#!/bin/sh
# pip.sh PYTHON ARGUMENT…: `pip install ARGUMENT…`. What fails is tried twice more: an index may be away for a moment.
set -eu
python=$1
shift
for pause in 5 30; do
    "$python" -m pip install --quiet --disable-pip-version-check "$@" && exit 0
    echo "pip install failed; the next try is in $pause s" >&2
    sleep "$pause"
done
exec "$python" -m pip install --quiet --disable-pip-version-check "$@"
