"""Jobs that Slurm's limits refuse, or that are accepted but never start: the user is told, and following the hint
helps.
"""

from __future__ import annotations

from collections.abc import Callable

from clusters import Proposal, wait_until
from databases import Database

QUICK = '''
@Variable(cluster=True)
def heavy(run, r: "meta#run_number"):
    effect(f"heavy-{r}")
    return 10 * r
'''


def test_jobs_that_would_wait_for_ever_go_on_as_the_hints_say(database: Database) -> None:
    site = database.site
    database.context(
        """
@Variable(cluster=True, partition="down")
def closed(run): effect("closed"); return 1
@Variable(cluster=True, partition="short", time="0:30:00")
def long(run): effect("long"); return 2
@Variable(cluster=True, partition="high", nodes=2)
def wide(run): effect("wide"); return int(os.environ["SLURM_JOB_NUM_NODES"])
@Variable(cluster=True, partition="low")
def narrow(run): effect("narrow"); return 4
"""
    )
    with site.partition("high", MaxNodes=("1", "UNLIMITED")), site.partition("low", MinNodes=("2", "0")):
        command = database.start("reprocess", "1")
        command.wait_said("PartitionDown", "PartitionTimeLimit", "PartitionNodeLimit")
        wait_until(lambda: command.said.count("PartitionNodeLimit") == 2, 60, "both limits", lambda: command.said)
        where = {job["partition"]: job["id"] for job in site.squeue("-t", "PENDING")}
        for job, change in {
            where["down"]: "Partition=main",
            where["short"]: "TimeLimit=0:01:00",
            where["high"]: "Partition=main",
            where["low"]: "Partition=main",
        }.items():
            assert f"`scontrol update JobId={job} {change.split('=')[0]}=" in command.said
            site.run("alice", ["scontrol", "update", f"JobId={job}", change])
        command.ends()
    assert database.rows()[1] == {"closed": 1, "long": 2, "wide": 2, "narrow": 4}
    assert database.effects() == {"closed": 1, "long": 1, "wide": 1, "narrow": 1}


def test_limits_of_a_qos(database: Database) -> None:
    """The QOS express: ten minutes, two running jobs per user, and four in the queue."""
    site = database.site
    database.context(QUICK)
    database.amore("db-config", "slurm_qos", "express")
    command = database.start("reprocess", "1")
    job = database.job(1)
    command.wait_said("QOSMaxWallDurationPerJobLimit", "never starts", f"JobId={job} TimeLimit=")
    site.run("alice", ["scontrol", "update", f"JobId={job}", "TimeLimit=0:10:00"])
    command.ends()
    database.amore("db-config", "slurm_time", "0:05:00")
    database.proposal.add_runs(3)
    with site.limited("qos", "express", now="MaxSubmitJobsPerUser=2", afterwards="MaxSubmitJobsPerUser=4"):
        said = database.amore("reprocess", "2-6")
    assert "Slurm accepts no more jobs now" in said
    assert "Amore submits it again when other jobs of yours have ended" in said
    rows = database.rows()
    assert [rows[run]["heavy"] for run in range(1, 7)] == [10, 20, 30, 40, 50, 60]
    assert set(database.effects().values()) == {1}


def test_limits_of_an_account(proposal: Callable[..., Proposal]) -> None:
    alice, bob = Database(proposal(user="alice")), Database(proposal(user="bob"))
    site = bob.site
    for database in (alice, bob):
        database.context(QUICK)
    with (
        site.limited("account", "chemistry", now="GrpJobs=0", afterwards="GrpJobs=16"),
        site.limited("account", "physics", now="GrpTRESMins=cpu=1", afterwards="GrpTRESMins=cpu=-1"),
    ):
        full, poor = bob.start("reprocess", "1"), alice.start("reprocess", "1")
        full.wait_said("AssocGrpJobsLimit", "starts when other jobs have ended")
        poor.wait_said("AssocGrpCPUMinutesLimit", "budget is used up", f"amore cancel {alice.job(1)}")
        alice.amore("cancel", alice.job(1))
        assert poor.ends(3)
    full.ends()
    assert bob.rows()[1] == {"heavy": 10} and bob.effects() == {"heavy-1": 1}
    assert not alice.effects()
    alice.amore("reprocess", "1")
    assert alice.rows()[1] == {"heavy": 10} and alice.effects() == {"heavy-1": 1}


def test_jobs_that_slurm_does_not_take(database: Database) -> None:
    """A permanent refusal is an error with Slurm's message and the setting; the next run of the command works."""
    database.context(QUICK)
    for key, value, words in [
        ("slurm_partition", "nosuch", "invalid partition"),
        ("slurm_account", "chemistry", "Invalid account"),
        ("slurm_qos", "nosuch", "Invalid qos"),
    ]:
        database.amore("db-config", key, value)
        said = database.amore("reprocess", "1")
        assert words.lower() in said.lower() and key in said, said
        error = database.rows()[1]["heavy"]["error"]
        assert error["class"] == "JobRefused" and key in error["message"]
        database.amore("db-config", key, "--delete")
    assert not database.jobs() and not database.effects()
    database.amore("reprocess", "1")
    assert database.rows()[1] == {"heavy": 10} and database.effects() == {"heavy-1": 1}
