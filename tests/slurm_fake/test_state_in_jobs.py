"""State that functions share, if some of them are executed in Slurm jobs. (Most scenes: tests/state_scenes.py.)"""

from __future__ import annotations

import pytest
from databases import Database, wait_until

from state_scenes import DEVICE, DEVICE_ROWS, SCENES, filled


@pytest.mark.parametrize("name", SCENES)
def test_scene(database: Database, name: str) -> None:
    scene = SCENES[name]
    database.context(scene.context)
    database.amore("reprocess", f"1-{scene.runs}")
    for run in range(1, scene.runs + 1):
        scene.check(database.rows(run))
    assert database.executions() == scene.executions(scene.in_jobs)
    assert database.leftovers() == []


def test_the_plan_says_that_a_writer_is_executed_again(database: Database) -> None:
    database.context(DEVICE)
    assert "executed again here for the state it leaves in DEVICE" in database.amore("plan", "1").stdout


def test_in_the_job_after_one_that_was_cut_off(database: Database) -> None:
    waits = 'effect("breaks"); wait_for("go"); return 1'
    database.context(filled(waits))
    for run, end in enumerate(("PREEMPTED", "NODE_FAIL"), 1):
        (database.path / "go").unlink(missing_ok=True)
        database.effects.unlink(missing_ok=True)
        command = database.begin("reprocess", str(run))
        database.wait_effects(breaks=1)
        # The worker stores a value while the next variable is executed already.
        wait_until(lambda run=run: database.rows(run).get("left") == 1, "the value before")
        database.cluster.end(database.job(run), end)
        database.wait_effects(breaks=2)
        database.touch("go")
        command.ends()
        assert database.rows(run) == {"fill": "filled", "left": 1, "breaks": 1, "right": 2, "undeclared": 2}
        assert database.executions() == {"fill": 2, "left": 1, "breaks": 2, "right": 1}


def test_what_is_light_in_one_job_and_a_writer_with_a_command(database: Database) -> None:
    database.context(
        """
SEEN = []
@Variable(job=SlurmJob(["true"]))
def command(run, job: "job#outcome"):
    SEEN.append(job.state)
    return 1
@Variable
def read(run): return "".join(SEEN)
@Variable(cluster=True)
def read_in_a_job(run): return "".join(SEEN)
"""
    )
    database.amore("reprocess", "1")
    assert database.rows(1) == {"command": 1, "read": "COMPLETED", "read_in_a_job": "COMPLETED"}
    database.amore("db-config", "noncluster", "slurm")
    database.amore("db-config", "noncluster_mem", "200M")
    database.context(DEVICE)
    database.amore("reprocess", "2")
    assert database.rows(2) == DEVICE_ROWS
