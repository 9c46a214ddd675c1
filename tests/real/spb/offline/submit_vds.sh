#!/bin/bash
# submit_vds.sh RUN SCRATCH PYTHON
set -e
log=$2/log/vds-$1.out
printf 'linking modules of run %s\n' "$1" >"$log"
ln -sfn "../proc/r$(printf %04d "$1")" "$2/vds_r$(printf %04d "$1")"
echo 'VDS done' >>"$log"
