#!/usr/bin/env bash
# shell.sh [SUITE]: a shell on the cluster of up.sh as the user alice, in the database directory of a proposal with three
# runs and a context file that uses Slurm. With a command after SUITE: runs that instead.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
shift || true
login=$(compose ps -q login)
[ -n "$login" ] || { say "there is no cluster: slurm-tests/cluster/up.sh $suite starts one"; exit 1; }
number=1234
path=/gpfs/exfel/exp/SPB/202601/p$(printf %06d $number)
database=$path/usr/Shared/amore
if ! docker exec "$login" test -e "$database/runs.sqlite"; then
    say "writing the proposal p$number with three runs"
    docker exec "$login" mkdir -p "$database"
    docker exec "$login" /opt/env/bin/python /opt/demo/make_proposal.py --root /gpfs/exfel/exp --small --proposal $number --runs 3
    docker exec "$login" chown -R alice: "$path"
    docker exec -u alice -w "$database" "$login" amore-proto proposal $number
    docker exec -u alice -w "$database" "$login" amore db-config context_python /opt/env/bin/python
    docker exec -i -u alice -w "$database" "$login" sh -c 'cat >context.py' <"$root/slurm-tests/cluster/context.py"
fi
if [ $# -gt 0 ]; then
    exec docker exec -u alice -w "$database" "$login" "$@"
fi
say "amore-proto reprocess 1-3; amore table; amore jobs; amore explain 1; exit ends the shell"
exec docker exec -it -u alice -w "$database" "$login" bash
