"""Rare states and reasons of jobs: an end is recognised, waits that need a person are reported, and nothing runs unnoticed.
"""

from __future__ import annotations

import json

import pytest
from databases import Database, wait_until

QUICK = '''
@Variable(cluster=True)
def quick(run):
    effect("quick")
    return 1
'''
# The file has squeue's output for every job, as STATE|NODES|REASON. Without the file, the output is unchanged.
SHOWN = r"""
[ -e "$HERE/shown" ] || exec "$REAL/squeue" "$@"
case "$*" in
*%r*) IFS='|' read -r state nodes reason <"$HERE/shown"
    "$REAL/squeue" "$@" | awk -F'|' -v OFS='|' -v s="$state" -v n="$nodes" -v r="$reason" '{$2=s; $3=n; $7=r; print}';;
*) exec "$REAL/squeue" "$@";;
esac
"""


def shown_as(database: Database, line: str) -> None:
    """Jobs wait in a partition that is down, and are shown with other states."""
    database.context(QUICK)
    database.amore("db-config", "slurm_partition", "down")
    database.front("squeue", SHOWN)
    (database.path / "shown").write_text(line + "\n")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("PENDING||JobHoldMaxRequeue", ("waits: JobHoldMaxRequeue", "does not start by itself", "scontrol release 4201")),
        ("PENDING||QOSNotAllowed", ("waits: QOSNotAllowed", "never starts with this QOS", "slurm_qos")),
        ("REQUEUE_HOLD||None", ("is held (REQUEUE_HOLD)", "scontrol release 4201")),
        ("SUSPENDED|n1|None", ("is SUSPENDED", "scontrol resume 4201")),
        ("HIBERNATING|n1|None", ("a state that Amore does not know", "scontrol show job 4201")),
        ("PENDING||PhaseOfTheMoon", ("waits: PhaseOfTheMoon", "does not know this reason")),
    ],
)
def test_a_job_that_stands_still_is_told(database: Database, line: str, words: tuple[str, ...]) -> None:
    shown_as(database, line)
    command = database.begin("reprocess", "1")
    command.wait_said("note: job 4201 (run 1)", *words)
    (row,) = json.loads(database.amore("jobs", "--json").stdout)
    assert row["state"] == line.split("|")[0]
    assert command.said.count("  hint: ") == 1
    database.amore("cancel", "1")
    command.ends(3)
    assert len(database.cluster.calls("sbatch")) == 1


def test_a_launch_that_failed_is_over_and_tried_elsewhere(database: Database) -> None:
    """The job would stay in the queue, so it is cancelled, and the next one excludes its node."""
    shown_as(database, "LAUNCH_FAILED|n1|None")
    command = database.begin("reprocess", "1")
    command.wait_said("could not be started on its node (JobLaunchFailure); 1 variable again")
    wait_until(lambda: len(database.cluster.calls("sbatch")) > 1, "the second submission", lambda: command.said)
    (database.path / "shown").unlink()
    database.amore("db-config", "slurm_partition", "--delete")
    wait_until(lambda: database.cluster.job("4201")["state"] == "CANCELLED", "its cancellation", lambda: command.said)
    assert "--exclude=n1" in database.cluster.calls("sbatch")[1]
    with database.cluster.store.change() as state:
        state["partitions"]["down"]["state"] = "UP"
    command.ends()
    assert database.rows(1) == {"quick": 1} and database.executions() == {"quick": 1}
