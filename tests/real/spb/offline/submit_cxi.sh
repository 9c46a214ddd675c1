#!/bin/bash
# submit_cxi.sh RUN SCRATCH PYTHON
set -e
log=$2/log/cxi-$1.out
"$3" "$(dirname "$0")/write_cxi.py" "$1" "$2" >"$log" 2>&1
echo 'CXI done' >>"$log"
