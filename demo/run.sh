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

show "python demo/make_proposal.py --root $ROOT --runs 20"
python "$here/make_proposal.py" --root "$ROOT" --runs 20

# By now make_proposal.py has refused anything but a proposal of its own.
proposal=$ROOT/SPB/202601/p001234
directory=$proposal/usr/Shared/amore
if [[ -f $directory/context.py ]] && ! cmp -s "$directory/context.py" "$here/context.py"; then
    kept=$proposal/usr/Shared/context-$(date +%Y%m%d-%H%M%S).py
    cp "$directory/context.py" "$kept"
    echo "Your edited context file is kept as $kept"
fi
rm -rf "$directory"
# Runs that arrived in an earlier demo are to arrive again.
rm -rf "$proposal"/{raw,proc}/r002[1-3]

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

# The last part: during a beamtime nobody types `reprocess`.
show "printf '[runs]\\nquiet_seconds = 2\\n' > service.toml    # a run is complete when its files have not changed for so long"
printf '[runs]\nquiet_seconds = 2\n' >service.toml

show "amore listen &"
amore listen &
service=$!
# Whatever happens, no service is left behind.
trap 'kill "$service" 2>/dev/null || true' EXIT

show "python demo/make_proposal.py --root $ROOT --runs 23    # three runs arrive"
python "$here/make_proposal.py" --root "$ROOT" --runs 23

# Waits until the service has processed these data of a run.
processed() {
    for _ in $(seq 1 300); do
        if grep -q "request ended.*run=$1 data=$2 end=Processed" amore.log 2>/dev/null; then
            return
        fi
        if ! kill -0 "$service" 2>/dev/null; then
            echo "demo: the service has ended; see $directory/amore.log" >&2
            exit 1
        fi
        sleep 0.2
    done
    echo "demo: run $1 is not processed after a minute; see $directory/amore.log" >&2
    exit 1
}
for run in 21 22 23; do
    processed "$run" raw
done
processed 22 proc

show "amore table | tail -n 4"
amore table | tail -n 4

show "kill $service    # or Ctrl-C; as a service: amore-proto listen --daemonize"
kill "$service"
wait "$service"
trap - EXIT

cat <<TEXT

${bold}Where things are${plain}
  context file   $directory/context.py
  run table      $directory/runs.sqlite
  results        $directory/extracted_data/p1234_r1.h5 … p1234_r23.h5
  logs           $directory/process_logs, $directory/amore.log
  raw data       $proposal/raw (proc for even runs)

${bold}What to try next${plain}
  export EXTRA_DATA_DATA_ROOT=$ROOT
  export PATH=$(dirname "$(command -v amore)"):$(dirname "$(command -v python)"):\$PATH
  cd $directory
  amore-proto reprocess 21 22 23         # compute some runs again
  amore log 7                            # why a cell of run 7 is empty
  amore table --csv > table.csv
  amore plan 21                          # what would run, and where
  \$EDITOR context.py                     # add a variable …
  amore check                            # … see what is wrong with it …
  amore-proto reprocess all --match spot # … and compute only what matches
TEXT
