"""How jobs end, other than successfully, and what is computed again: at most what had not been stored."""

from __future__ import annotations

import os

from databases import Command, Database, wait_until

# The first job of a run waits in `second` until the test ends it.
TWO = '''
@Variable(cluster=True, mem="200M")
def first(run, r: "meta#run_number"):
    effect(f"first-{r}")
    return r

@Variable(cluster=True, mem="200M")
def second(run, first: "var#first", r: "meta#run_number"):
    effect(f"second-{r}")
    if first_time(f"second-{r}"):
        wait_for(f"go-{r}")
    return 10 * first
'''


def begun(database: Database, *runs: int, **settings: str) -> Command:
    """Starts a command, and waits until its jobs are in the second variable."""
    database.context(TWO)
    for key, value in settings.items():
        database.amore("db-config", key, value)
    command = database.begin("reprocess", *map(str, runs))
    database.wait_effects(**{f"second-{run}": 1 for run in runs})
    return command


def test_what_goes_on_at_the_first_missing_value(database: Database) -> None:
    """Preemption, a lost node, a time limit, and memory, at the same time in four runs."""
    command = begun(database, 1, 2, 3, 4)
    for run, how in enumerate(("PREEMPTED", "NODE_FAIL", "TIMEOUT", "OUT_OF_MEMORY"), start=1):
        database.cluster.end(database.job(run), how)
    said = command.ends()
    for words in ("(PREEMPTED)", "(NODE_FAIL)", "(TIMEOUT)", "ran out of memory", "again with 400 MiB"):
        assert words in said
    for run in (1, 2, 3, 4):
        assert database.rows(run) == {"first": run, "second": 10 * run}
        assert database.executions()[f"first-{run}"] == 1 and database.executions()[f"second-{run}"] == 2
        assert len(database.jobs(run)) == 2
    assert [job["mem"] for job in database.jobs(4)] == ["200M", "400M"]


LOADS_LONG = """
if "SLURM_JOB_ID" in os.environ and first_time("loading"):
    wait_for("never")

@Variable(cluster=True)
def v(run):
    return 1
"""


def test_a_job_that_ends_while_its_python_starts_says_nothing_of_the_python(database: Database) -> None:
    """Slurm signals all processes at once, and the Python may be the first to end."""
    database.context(LOADS_LONG)
    loading = database.path / "loading.once"
    for run, how in enumerate(("PREEMPTED", "TIMEOUT"), start=1):
        command = database.begin("reprocess", str(run))
        wait_until(loading.exists, "the context file", lambda command=command: command.said)
        database.cluster.end(database.job(run), how)
        assert f"({how})" in command.ends()
        assert database.rows(run) == {"v": 1} and len(database.jobs(run)) == 2
        loading.unlink()
    command = database.begin("reprocess", "3")
    wait_until(loading.exists, "the context file", lambda: command.said)
    assert "1 task cancelled" in database.amore("cancel", "3").stderr
    command.ends(3)
    assert database.rows(3) == {} and len(database.jobs(3)) == 1


def test_a_job_that_its_user_cancels_is_not_tried_again(database: Database) -> None:
    """With Slurm's command and with ours, while jobs run and while they wait."""
    database.context(TWO)
    for run in (1, 2, 3, 4):
        if run > 2:
            database.cluster.next_submission(hold="Priority")
        database.begin("reprocess", str(run))
        wait_until(lambda run=run: database.jobs(run), f"the job of run {run}")
    database.wait_effects(**{"second-1": 1, "second-2": 1})
    for run in (1, 3):
        database.cluster.run("scancel", database.job(run))
    for run in (2, 4):
        assert "1 task cancelled" in database.amore("cancel", str(run)).stderr
    said = "".join(command.ends(3) for command in database.commands)
    assert said.count("was cancelled by") == 2
    # Jobs that were cancelled leave nothing behind; `second` has neither a value nor an error.
    assert [database.rows(run) for run in (1, 2, 3, 4)] == [{"first": 1}, {"first": 2}, {}, {}]
    wait_until(lambda: {job["state"] for job in database.cluster.jobs()} == {"CANCELLED"}, "the end of all jobs")
    assert all(job["by"] == os.getuid() for job in database.cluster.jobs())
    assert database.executions() == {"first-1": 1, "second-1": 1, "first-2": 1, "second-2": 1}
    assert "no unfinished tasks" in database.amore("jobs").stdout


def test_a_job_that_could_not_be_started(database: Database) -> None:
    """It fails on one node, and is computed on another."""
    database.context(TWO)
    database.touch("go-1")
    database.cluster.next_submission(fail_launch=True)
    said = database.begin("reprocess", "1").ends()
    assert "could not be started on its node (JobLaunchFailure)" in said
    failed, computed = database.ended_jobs(1)
    assert (failed["state"], failed["exit"], computed["state"]) == ("FAILED", "0:53", "COMPLETED")
    assert computed["exclude"] == failed["nodes"] and not set(computed["nodes"]) & set(failed["nodes"])
    assert database.rows(1) == {"first": 1, "second": 10}
    assert database.executions() == {"first-1": 1, "second-1": 1}


def test_a_job_that_never_starts_is_given_up(database: Database) -> None:
    database.context(TWO)
    for _ in range(3):
        database.cluster.next_submission(fail_launch=True)
    database.begin("reprocess", "1").ends()
    kind, message = database.rows(1)["first"]
    assert kind == "JobFailed" and "could not be started" in message
    assert len(database.jobs(1)) == 3 and database.executions() == {}


def test_a_job_whose_reservation_is_deleted(database: Database) -> None:
    """A running job ends, and a waiting one would wait forever: both continue in a partition."""
    database.context(TWO)
    database.cluster.reserve("upex_001234", "n2", end=3600)
    database.amore("db-config", "slurm_reservation", "upex_001234")
    first = database.begin("reprocess", "1")
    database.wait_effects(**{"second-1": 1})
    database.cluster.reserve("upex_001234", "n2", start=3600, end=7200)
    database.touch("go-2")
    second = database.begin("reprocess", "2")
    wait_until(lambda: "waits: Reservation" in first.said + second.said, "the reason", lambda: (first.said, second.said))
    database.cluster.reservation_over("upex_001234")
    said = first.ends() + second.ends()
    assert "waited for the reservation upex_001234, which no longer exists" in said and "(TIMEOUT)" in said
    assert [database.rows(run) for run in (1, 2)] == [{"first": run, "second": 10 * run} for run in (1, 2)]
    assert database.executions() == {"first-1": 1, "second-1": 2, "first-2": 1, "second-2": 1}
    # It would stay in the queue.
    assert database.jobs(2)[0]["state"] == "CANCELLED"


def test_without_accounting_the_queue_is_enough(database: Database) -> None:
    """Then it is not known who cancelled a job. A failed script is distinguished from one that never started."""
    with database.cluster.accounting("absent"):
        command = begun(database, 1, 2, 3)
        database.cluster.run("scancel", database.job(1))
        database.cluster.end(database.job(2), "PREEMPTED")
        os.kill(worker(database, 3), 9)
        said = command.ends(3)
    assert "was cancelled (CANCELLED)" in said and "(PREEMPTED)" in said and "was killed by signal 9 (FAILED)" in said
    assert database.rows(1) == {"first": 1}
    assert [database.rows(run) for run in (2, 3)] == [{"first": run, "second": 10 * run} for run in (2, 3)]
    assert database.executions() == {**{f"first-{run}": 1 for run in (1, 2, 3)}, "second-1": 1, "second-2": 2, "second-3": 2}


def test_accounting_that_lags(database: Database) -> None:
    """Jobs that have left the queue are looked up in accounting, which does not have them yet, or has an old state."""
    command = begun(database, 1, 2)
    with database.cluster.accounting("lagging"):
        for run in (1, 2):
            database.cluster.end(database.job(run), "PREEMPTED")
        wait_until(lambda: all(job["state"] == "PREEMPTED" for job in database.cluster.jobs()[:2]), "the end of both")
        database.cluster.purge()
        asked = len(database.cluster.calls("sacct"))
        wait_until(lambda: len(database.cluster.calls("sacct")) > asked, "a look at accounting")
        assert command.process.poll() is None
    assert "(PREEMPTED)" in command.ends()
    assert [database.rows(run) for run in (1, 2)] == [{"first": run, "second": 10 * run} for run in (1, 2)]
    assert all(database.executions()[f"second-{run}"] == 2 for run in (1, 2))


def worker(database: Database, run: int) -> int:
    """The process of a run's job: its script has become the worker."""
    node = database.jobs(run)[-1]["pid"]
    with open(f"/proc/{node}/task/{node}/children", encoding="ascii") as children:
        return int(children.read().split()[0])
