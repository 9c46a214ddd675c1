#!/usr/bin/env bash
# The demo: a made-up proposal in the EuXFEL format, processed as in the manual.
#
# Needs: ROOT, the data root for the proposal; on PATH a Python with extra_data, and `amore` and
# `amore-proto`. AMORE_BIN, if set, is the directory of these two and is prepended to PATH.
# Each command is shown before it runs. Running it again starts from scratch, in the demo's directory only.
set -euo pipefail

: "${ROOT:?set ROOT to the directory that the demo may fill}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ -n ${AMORE_BIN:-} ]]; then
    PATH=$(cd "$AMORE_BIN" && pwd):$PATH
fi
for command in python amore amore-proto; do
    if ! command -v "$command" >/dev/null; then
        echo "demo: there is no '$command' on PATH; 'make demo' sets up everything" >&2
        exit 1
    fi
done
mkdir -p "$ROOT"
ROOT=$(cd "$ROOT" && pwd)

if [[ -t 1 ]]; then
    bold=$'\033[1m' plain=$'\033[0m'
else
    bold='' plain=''
fi

# Prints a command, then runs it.
show() {
    printf '\n%s$ %s%s\n' "$bold" "$1" "$plain"
}

show "export EXTRA_DATA_DATA_ROOT=$ROOT"
export EXTRA_DATA_DATA_ROOT=$ROOT
# The demo needs no Slurm, and must not fill its queue.
show "export AMORE_NO_SLURM=1"
export AMORE_NO_SLURM=1

show "python demo/make_proposal.py --root $ROOT --runs 23"
python "$here/make_proposal.py" --root "$ROOT" --runs 23

# By now make_proposal.py has refused anything but a proposal of its own.
proposal=$ROOT/SPB/202601/p001234
directory=$proposal/usr/Shared/amore
if [[ -f $directory/context.py ]] && ! cmp -s "$directory/context.py" "$here/context.py"; then
    kept=$proposal/usr/Shared/context-$(date +%Y%m%d-%H%M%S).py
    cp "$directory/context.py" "$kept"
    echo "Your edited context file is kept as $kept"
fi
rm -rf "$directory"

show "mkdir -p $directory && cd $directory"
mkdir -p "$directory"
cd "$directory"

show "cp $here/context.py ."
cp "$here/context.py" .

show "amore-proto proposal 1234"
amore-proto proposal 1234

show 'amore-proto reprocess $(seq 1 20)'
amore-proto reprocess $(seq 1 20)

show "amore table"
amore table

cat <<TEXT

${bold}Where things are${plain}
  context file   $directory/context.py
  run table      $directory/runs.sqlite
  results        $directory/extracted_data/p1234_r1.h5 … p1234_r20.h5
  logs           $directory/process_logs
  raw data       $proposal/raw (proc for even runs)

${bold}What to try next${plain}
  export EXTRA_DATA_DATA_ROOT=$ROOT
  export PATH=$(dirname "$(command -v amore)"):$(dirname "$(command -v python)"):\$PATH
  cd $directory
  amore-proto reprocess 21 22 23         # three more runs
  amore log 7                            # why a cell of run 7 is empty
  amore table --csv > table.csv
  amore plan 21                          # what would run, and where
  \$EDITOR context.py                     # add a variable …
  amore check                            # … see what is wrong with it …
  amore-proto reprocess all --match spot # … and compute only what matches
TEXT
