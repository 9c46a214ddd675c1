#!/bin/sh
# vendor-supervisor.sh PYTHON FOLDER: puts Supervisor (pure Python, without dependencies) from PyPI into FOLDER, once. Any
# Python 3.9 or later with pip will do; the result serves all of them.
set -eu
version=4.3.0
folder=$2
# Several installations may begin at the same time.
mkdir -p "$(dirname "$folder")"
exec 9> "$folder.lock"
flock 9
if [ -d "$folder/supervisor-$version.dist-info" ]; then
    exit 0
fi
rm -rf "$folder" "$folder.new"
"$(dirname "$0")/pip.sh" "$1" --no-compile --no-deps --target "$folder.new" "supervisor==$version"
rm -rf "$folder.new/bin" "$folder.new/supervisor/tests"
mv "$folder.new" "$folder"
