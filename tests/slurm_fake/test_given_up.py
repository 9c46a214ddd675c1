"""Values of attempts that were given up: they are either counted and collected, or neither; never only one of the two."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path

import pytest
from databases import Database, wait_until

# The first attempt at `first` stores its value when the test allows it, whatever has happened to the attempt by then.
CHAIN = """
@Variable(cluster=True)
def first(run):
    effect("first")
    if first_time("first"):
        wait_for("go")
    return 3

@Variable(cluster=True, cpus=2)
def second(run, first: "var#first"):
    effect("second")
    return first + 1
"""
LIGHT = """
@Variable
def light(run):
    return 1
"""


@pytest.mark.parametrize("light", ["", LIGHT], ids=["no run file yet", "with a run file"])
@pytest.mark.parametrize("followed", [False, True], ids=["one command", "taken up by another"])
def test_a_value_that_comes_between_two_attempts(database: Database, followed: bool, light: str) -> None:
    """The value is stored on a node that is cut off, after the attempt was given up and before the next one starts. The next
    attempt adopts the value.
    """
    database.context(CHAIN + light)
    if light:
        # No separate plan is needed for the run file to exist before.
        database.amore("reprocess", "1", "--var", "light")
    database.cluster.wrap(
        "sbatch",
        f"""cd {database.path}; echo x >> submissions
if [ $(wc -l < submissions) = 2 ]; then touch go; sleep 0.7; fi
exec "$REAL/sbatch" "$@" """,
    )
    command = database.begin("reprocess", "1")
    database.wait_effects(first=1)
    if followed:
        command.process.kill()
        command.process.wait()
        command = database.begin("follow")
        command.wait_said("from earlier commands")
    database.cluster.cut_off(database.job(1))
    said = command.ends()
    assert database.rows(1) == {"first": 3, "second": 4, **({"light": 1} if light else {})}, said
    assert database.executions()["second"] == 1
    assert "skipped" not in said and "failed" not in said
    if not followed:
        assert f"{3 if light else 2} values" in said
    assert "no unfinished tasks" in database.amore("jobs").stdout
    assert database.leftovers() == []


def test_what_an_earlier_worker_stored_is_named_again(database: Database, amore_bin: Path) -> None:
    """The coordinator that reads this worker's messages may not have read those of the earlier one."""
    database.context(CHAIN)
    database.touch("go")
    database.cluster.next_submission(hold="JobHeldUser")
    command = database.begin("reprocess", "1")
    wait_until(lambda: list((database.path / ".amore/jobs").glob("*.json")), "the manifest")
    wait_until(lambda: database.jobs(1), "the job")
    command.process.kill()
    command.process.wait()
    (manifest,) = (database.path / ".amore/jobs").glob("*.json")
    # The option's name in scripts of earlier versions.
    argv = [amore_bin / "amore-worker", "job", "--sheet", manifest, "--events"]
    words = []
    for events in (database.path / "one.events", database.path / "two.events"):
        subprocess.run([*argv, events], env={**database.environment, "SLURM_JOB_ID": "7"}, check=True, timeout=120)
        words.append([json.loads(line) for line in events.read_text().splitlines()])
    fragments = [[word["path"] for word in said if word["ev"] == "fragment"] for said in words]
    assert len(fragments[0]) == 1 and fragments[0] == fragments[1]
    # The fragment is reported before the task can be considered done.
    order = [word["ev"] for word in words[1]]
    assert order.index("fragment") < order.index("variable_ended") < order.index("task_ended")
    assert database.executions() == {"first": 1}


def test_a_task_that_cannot_be_read_shifts_no_others(database: Database) -> None:
    """Another version has written a row of the ledger: only tasks that wait for this row are given up."""
    database.context(
        """
@Variable(cluster=True)
def a(run):
    wait_for("go")
    return 1

@Variable(cluster=True, cpus=2)
def b(run):
    wait_for("go")
    return 2

@Variable(cluster=True, cpus=3)
def of_a(run, a: "var#a"):
    effect("of_a")
    return 10 + a

@Variable(cluster=True, cpus=4)
def of_b(run, b: "var#b"):
    effect("of_b")
    return 20 + b
"""
    )
    first = database.begin("reprocess", "1")
    wait_until(lambda: len(database.jobs(1)) == 2, "both jobs")
    first.process.kill()
    first.process.wait()
    with sqlite3.connect(database.path / ".amore/ledger.sqlite") as ledger:
        specs = dict(ledger.execute("SELECT id, spec FROM task"))
        (of_a,) = [id for id, spec in specs.items() if '"a"' in spec and '"of_a"' not in spec and '"of_b"' not in spec]
        ledger.execute("UPDATE task SET spec = ? WHERE id = ?", (json.dumps({"from": "another version"}), of_a))
    ledger.close()
    database.touch("go")
    said = database.begin("follow").ends(3)
    assert "1 task of earlier commands cannot be read" in said and "1 task that depend" in said
    assert "amore reprocess 1" in said
    # `of_b` has waited for `b`, and `of_a` is not computed without `a`.
    rows = database.rows(1)
    assert (rows["b"], rows["of_b"]) == (2, 22) and "of_a" not in rows
    assert database.executions() == {"of_b": 1}
    assert "which cannot be read" in database.amore("explain", "1").stdout
