"""Values computed in jobs, and where the jobs go."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from databases import Database

THREE = '''
@Variable(title="Local")
def local(run, r: "meta#run_number"):
    effect(f"local-{r}")
    return r

@Variable(title="Heavy", cluster=True)
def heavy(run, local: "var#local", r: "meta#run_number"):
    effect(f"heavy-{r}")
    print("printed by heavy, in job", os.environ["SLURM_JOB_ID"], "DISPLAY" in os.environ)
    os.write(2, b"and to standard error\\n")
    return 10 * local + len(run.train_ids)

@Variable(title="Sum")
def total(run, heavy: "var#heavy", r: "meta#run_number"):
    effect(f"total-{r}")
    return heavy + 1
'''

WHERE = '''
@Variable(cluster=True)
def where(run):
    return os.environ.get("SLURM_JOB_RESERVATION", "none") + " " + os.environ["SLURM_JOB_PARTITION"]
'''


def test_values_come_through_jobs(database: Database) -> None:
    database.context(THREE)
    database.amore("reprocess", "1-3", env={**database.environment, "DISPLAY": ":7", "SBATCH_PARTITION": "nosuch"})
    for run in (1, 2, 3):
        heavy = 10 * run + 16
        assert database.rows(run) == {"local": run, "heavy": heavy, "total": heavy + 1}
        (job,) = database.ended_jobs(run)
        assert (job["state"], job["chdir"]) == ("COMPLETED", str(database.path))
        log = (database.path / f"slurm_logs/r{run}-p1234-{job['id']}.out").read_text()
        assert f"printed by heavy, in job {job['id']} False" in log and "and to standard error" in log
        assert "printed by heavy" in database.amore("log", str(run)).stdout
    assert len(database.cluster.jobs()) == 3
    assert set(database.executions().values()) == {1} and len(database.executions()) == 9
    assert database.leftovers() == []
    assert "no unfinished tasks" in database.amore("jobs").stdout


def test_what_a_variable_asks_for_makes_a_job_of_its_own(database: Database) -> None:
    database.context(
        """
@Variable(cluster=True, cpus=2, mem="300M", time="0:07:00")
def a(run): return " ".join(os.environ[f"SLURM_{name}"] for name in ("CPUS_PER_TASK", "MEM_PER_NODE"))
@Variable(cluster=True, partition="short", time="0:01:00")
def b(run): return os.environ["SLURM_JOB_PARTITION"]
@Variable(cluster=True, nodes=2)
def c(run): return os.environ["SLURM_JOB_NUM_NODES"]
"""
    )
    plan = database.amore("plan", "1", "--script").stdout
    database.amore("reprocess", "1")
    assert database.rows(1) == {"a": "2 300", "b": "short", "c": "2"}
    times = {job["partition"] + str(job["wanted_nodes"]): job["minutes"] for job in database.jobs(1)}
    assert times == {"main1": 7, "short1": 1, "main2": 120}
    # The options shown by plan are the submitted ones, except for the token.
    for call in database.cluster.calls("sbatch"):
        for word in ("--cpus-per-task=2", "--mem=300M", "--time=7", "--nodes=2", "--partition=short"):
            assert word not in call or word in plan


def test_a_command_of_its_own_in_a_job(database: Database) -> None:
    database.context(
        """
@Variable(job=SlurmJob(["sh", "-c", "echo found $0; echo command >> effects.txt; exit $(cat code)", "{run}"], cpus=2))
def hits(run, job: "job#outcome"):
    effect("function")
    assert str(job.id) in job.log.name
    return job.log.read_text()
"""
    )
    (database.path / "code").write_text("0")
    database.amore("reprocess", "1")
    assert "found 1\n" in database.rows(1)["hits"]
    (database.path / "code").write_text("3")
    database.amore("reprocess", "1")
    kind, message = database.rows(1)["hits"]
    assert kind == "JobFailed" and "exit code 3" in message and "found 1" in message
    assert database.executions() == {"command": 2, "function": 1}
    assert [job["cpus"] for job in database.jobs(1)] == [2, 2]


def test_a_reservation_goes_before_a_partition(database: Database) -> None:
    database.context(WHERE)
    database.amore("db-config", "slurm_partition", "short")
    database.amore("db-config", "slurm_time", "0:01:00")
    database.cluster.reserve("upex_001234", "n2")
    database.amore("reprocess", "1")
    assert database.rows(1)["where"] == "none short"
    database.amore("db-config", "slurm_reservation", "upex_001234")
    database.amore("reprocess", "1")
    # The reservation's nodes, and the configured partition.
    assert database.rows(1)["where"] == "upex_001234 short"
    assert database.jobs(1)[-1]["nodes"] == ["n2"]
    # It has ended, or belongs to another account: the setting is not changed, and the run is not lost.
    database.cluster.reserve("upex_001234", "n2", accounts=("chemistry",))
    said = database.amore("reprocess", "1").stderr
    assert "the reservation upex_001234 is restricted to account chemistry; jobs go to a partition instead" in said
    assert database.rows(1)["where"] == "none short"
    database.cluster.reservation_over("upex_001234")
    said = database.amore("reprocess", "1").stderr
    assert "the reservation upex_001234 does not exist, or has ended" in said and "--delete" in said
    assert database.rows(1)["where"] == "none short"
    # The reservation exists but is refused, as in its last seconds.
    database.cluster.reserve("upex_001234", "n2")
    database.cluster.next_submission(refuse="reservation-unknown")
    said = database.amore("reprocess", "1").stderr
    assert "Slurm does not accept jobs in the reservation (Requested reservation is invalid)" in said
    assert database.rows(1)["where"] == "none short"


def test_jobs_that_nobody_watches_are_followed_by_the_next_command(database: Database) -> None:
    database.context(THREE.replace("    return 10", "    wait_for('go')\n    return 10"))
    first = database.begin("reprocess", "1-2")
    database.wait_effects(**{"heavy-1": 1, "heavy-2": 1})
    first.process.kill()
    first.process.wait()
    shown = database.amore("jobs").stdout
    assert all(database.job(run) in shown for run in (1, 2)) and shown.count("RUNNING") == 2
    database.touch("go")
    said = database.begin("follow").ends()
    assert "resuming 2 tasks from earlier commands" in said
    assert (database.rows(1)["total"], database.rows(2)["total"]) == (27, 37)
    assert set(database.executions().values()) == {1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ nothere }}", "nothere"),
        ("#!/bin/sh\ntrue\n", "does not run the worker"),
        ("#!/bin/sh\n#SBATCH --array=1-3\nexec {{ worker | shell }} job --sheet {{ sheet | shell }}", "makes each job an array"),
    ],
)
def test_a_template_that_cannot_work_ends_the_command_and_no_value(database: Database, text: str, words: str) -> None:
    database.context(THREE)
    database.amore("reprocess", "1")
    template = database.path / ".amore" / "templates" / "slurm-job.sh.tera"
    template.parent.mkdir()
    template.write_text(text)
    for command in (["reprocess", "1"], ["plan", "1", "--script"], ["doctor"]):
        ended = database.amore(*command, code=1)
        said = ended.stdout + ended.stderr
        assert words in said and str(template) in said, said
    template.unlink()
    environment = {**database.environment, "AMORE_TEMPLATES": str(database.path / "nowhere")}
    assert "nowhere, which is not a directory" in database.amore("reprocess", "1", code=1, env=environment).stderr
    assert database.rows(1) == {"local": 1, "heavy": 26, "total": 27}
    assert len(database.cluster.jobs()) == 1 and set(database.executions().values()) == {1}


def test_a_configuration_that_is_not_there_is_told_at_once(database: Database) -> None:
    """Slurm's own commands would retry for a minute each without a message."""
    database.context(THREE)
    environment = {**database.environment, "SLURM_CONF": "/nonsense/slurm.conf"}
    said = database.amore("doctor", code=1, env=environment).stdout
    assert "SLURM_CONF names /nonsense/slurm.conf, which is not a file" in said and "unset SLURM_CONF" in said
    assert database.cluster.calls("sbatch") == []


def test_a_manifest_is_executed_by_one_job(database: Database, amore_bin: Path) -> None:
    database.context(THREE.replace("    return 10", "    wait_for('go')\n    return 10"))
    command = database.begin("reprocess", "1")
    database.wait_effects(**{"heavy-1": 1})
    (manifest,) = (database.path / ".amore" / "jobs").glob("*.json")
    argv = [amore_bin / "amore-worker", "job", "--manifest", manifest, "--events", manifest.with_suffix(".events")]
    another = {**os.environ, "SLURM_JOB_ID": "99"}
    ended = subprocess.run(argv, env=another, capture_output=True, text=True, timeout=60, check=True)
    assert f"job {database.job(1)} is already working on this job's manifest: nothing to do" in ended.stderr
    database.touch("go")
    command.ends()
    assert database.executions() == {"local-1": 1, "heavy-1": 1, "total-1": 1}
    assert database.leftovers() == []


def test_a_second_ledger_waits_until_the_first_has_nothing_open(database: Database, tmp_path: Path) -> None:
    database.context(THREE.replace("    return 10", "    wait_for('go')\n    return 10"))
    first = database.begin("reprocess", "1")
    database.wait_effects(**{"heavy-1": 1})
    first.process.kill()
    first.process.wait()
    (tmp_path / "other").mkdir()
    environment = {**database.environment, "AMORE_LEDGER_URL": str(tmp_path / "other" / "ledger.sqlite")}
    said = database.amore("reprocess", "1", code=1, env=environment).stderr
    assert "ledger.sqlite has 1 task under way" in said and "amore follow" in said
    database.touch("go")
    database.amore("follow")
    database.amore("reprocess", "1", env=environment)
    assert database.rows(1) == {"local": 1, "heavy": 26, "total": 27}
    assert database.executions() == {"local-1": 2, "heavy-1": 2, "total-1": 2}


def test_a_ledger_that_is_not_in_the_directory_is_not_forgotten(database: Database, tmp_path: Path) -> None:
    database.context(THREE.replace("    return 10", "    wait_for('go')\n    return 10"))
    (tmp_path / "other").mkdir()
    other = str(tmp_path / "other" / "ledger.sqlite")
    environment = {**database.environment, "AMORE_LEDGER_URL": other}
    first = database.begin("reprocess", "1", env=environment)
    database.wait_effects(**{"heavy-1": 1})
    first.process.kill()
    first.process.wait()
    # Without the configured ledger, the job would not be seen, and the run would be computed twice.
    for command in (("reprocess", "1"), ("follow",), ("jobs",), ("explain", "1"), ("cancel", "1")):
        said = database.amore(*command, code=1).stderr
        assert f"the ledger {other} has something of this directory under way" in said, command
        assert f"with AMORE_LEDGER_URL for {other} `amore follow` brings it to its end" in said, command
    database.touch("go")
    database.amore("follow", env=environment)
    assert database.executions() == {"local-1": 1, "heavy-1": 1, "total-1": 1}
    # No work is unfinished any more.
    database.amore("reprocess", "1")
    assert database.executions() == {"local-1": 2, "heavy-1": 2, "total-1": 2}
    assert database.leftovers() == []
