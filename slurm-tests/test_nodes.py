"""Jobs that lose their nodes: preempted, requeued, held; and nodes that are drained, cut off, or cannot start jobs."""

from __future__ import annotations

import pytest

from clusters import NODES, wait_until
from databases import TWO, Database


@pytest.mark.parametrize("mode", ["REQUEUE", "CANCEL"])
def test_a_preempted_job_goes_on_where_it_was(database: Database, mode: str) -> None:
    site = database.site
    database.context(TWO)
    database.amore("db-config", "slurm_partition", "low")
    with site.partition("low", PreemptMode=(mode, "REQUEUE")):
        command = database.start("reprocess", "1")
        database.wait_effect("second-1")
        node = site.job(database.job(1))["nodes"]
        site.submit("bob", "sleep 2", "-p", "high", "-w", node, "--exclusive", "-t", "1")
        said = command.ends()
    assert "was preempted by another job (PREEMPTED); 1 variable again" in said
    assert "memory" not in said
    assert database.rows()[1] == {"first": 1, "second": 10}
    assert database.effects() == {"first-1": 1, "second-1": 2}


def test_a_requeued_job_goes_on_where_it_was(database: Database) -> None:
    site = database.site
    database.context(TWO)
    command = database.start("reprocess", "1")
    database.wait_effect("second-1")
    job = database.job(1)
    # Jobs are submitted with --no-requeue, so a requeue has to be forced.
    refused = site.run("alice", ["scontrol", "requeue", job], check=False)
    assert "disabled" in refused.stderr
    site.scontrol("update", f"JobId={job}", "Requeue=1")
    site.scontrol("requeue", job)
    command.wait_said(f"job {job} (run 1) waits: BeginTime", f"scontrol update JobId={job} StartTime=now")

    def goes_on() -> bool:
        # Slurm does not accept this within a second of the requeue.
        site.run("alice", ["scontrol", "update", f"JobId={job}", "StartTime=now"], check=False)
        return database.effects()["second-1"] == 2

    wait_until(goes_on, 60, "the job to begin again", lambda: site.job(job), pause=2)
    command.ends()
    assert database.rows()[1] == {"first": 1, "second": 10}
    assert database.effects() == {"first-1": 1, "second-1": 2}


def test_drained_nodes_and_held_jobs_are_told(database: Database) -> None:
    site = database.site
    database.context(TWO)
    database.touch("go-1")
    with site.drained(*NODES):
        command = database.start("reprocess", "1")
        job = database.job(1)
        command.wait_said("sinfo -R")
        site.run("alice", ["scontrol", "hold", job])
        command.wait_said("JobHeldUser", f"scontrol release {job}")
    site.wait_node("n1", "idle")
    assert site.job(job)["state"] == "PENDING"
    site.run("alice", ["scontrol", "release", job])
    command.ends()
    assert database.rows()[1] == {"first": 1, "second": 10}
    assert database.effects() == {"first-1": 1, "second-1": 1}


def test_a_node_that_is_cut_off(database: Database) -> None:
    """Run 1 ends on the node that is cut off; run 2 is still running there when Slurm gives the node up."""
    site = database.site
    database.context(TWO)
    with site.drained("n2", "n3"):
        command = database.start("reprocess", "1-2")
        database.wait_effect("second-1", "second-2")
    with site.cut("n1"):
        database.touch("go-1")
        said = command.ends()
        database.touch("go-2")
    site.wait_idle()
    assert "lost its node (NODE_FAIL); 1 variable again" in said
    rows = database.rows()
    assert (rows[1], rows[2]) == ({"first": 1, "second": 10}, {"first": 2, "second": 20})
    assert database.effects() == {"first-1": 1, "second-1": 1, "first-2": 1, "second-2": 2}


def test_a_node_that_can_start_nothing(database: Database) -> None:
    """The node is idle, so Slurm sends it one job after another."""
    site = database.site
    database.context(TWO)
    database.touch("go-1")
    with site.hidden("n1"):
        said = database.amore("reprocess", "1")
        assert "could not be started on its node (JobLaunchFailure)" in said
    assert database.rows()[1] == {"first": 1, "second": 10}
    assert database.effects() == {"first-1": 1, "second-1": 1}


def test_jobs_that_can_be_started_nowhere(database: Database) -> None:
    site = database.site
    database.context(TWO)
    logs = database.proposal.database / "slurm_logs"
    site.run("alice", ["mkdir", "-m", "0", logs])
    said = database.amore("reprocess", "1")
    assert "could not be started on its node (JobLaunchFailure)" in said and "given up" in said
    assert len(database.jobs()) == 3
    error = database.rows()[1]["first"]["error"]
    assert error["class"] == "JobFailed" and str(logs) in error["message"]
    assert not database.effects()
    site.run("alice", ["chmod", "755", logs])
    database.touch("go-1")
    database.amore("reprocess", "1")
    assert database.rows()[1] == {"first": 1, "second": 10}
