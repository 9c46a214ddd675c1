#!/bin/sh
# supervisord and supervisorctl of the installed tree, by the name under which this file is called. They run in a Python of
# their own (isolated from PYTHONPATH and the user's packages), so that nothing of them reaches the environment of user code.
name=${0##*/}
packages=$(dirname "$(dirname "$(readlink -f "$0")")")/lib/amore/supervisor
for python in /usr/bin/python3 python3; do
    if command -v "$python" >/dev/null 2>&1; then
        exec "$python" -I -B -c '
import importlib, sys
packages, name = sys.argv[1:3]
sys.path.insert(0, packages)
sys.argv[:3] = [name]
importlib.import_module(f"supervisor.{name}").main()
' "$packages" "$name" "$@"
    fi
done
echo "$name: there is no python3 on this host" >&2
exit 1
