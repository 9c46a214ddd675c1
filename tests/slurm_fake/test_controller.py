"""A controller that is down, gives wrong answers, forgets jobs or refuses them: nothing is lost, and nothing is submitted
twice.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from databases import Database, wait_until
from fake_slurm.cluster import is_alive
from fake_slurm.texts import DEAD, SILENT

ONE = '''
@Variable(cluster=True)
def heavy(run, r: "meta#run_number"):
    effect(f"heavy-{r}")
    wait_for(f"go-{r}")
    return 10 * r
'''
ALL_GO = tuple(f"go-{run}" for run in (1, 2, 3, 4))


@pytest.mark.parametrize("where", ["queue", "accounting"])
def test_a_submission_that_failed_and_was_taken(database: Database, where: str) -> None:
    """The job is found by its token before it starts: in the queue or, if the queue does not show it, in accounting."""
    database.context(ONE)
    database.touch("go-1")
    database.cluster.next_submission(lose_answer=True, hold="Priority")
    if where == "accounting":
        database.cluster.wrap("squeue", "exit 0")
    command = database.begin("reprocess", "1")
    command.wait_said(f"Slurm does not answer ({SILENT})")
    number = database.job(1)
    wait_until(lambda: number in database.amore("jobs").stdout, "its number", lambda: command.said)
    database.cluster.unwrap("squeue")
    database.cluster.release(number)
    command.ends()
    assert database.rows(1) == {"heavy": 10}
    assert database.executions() == {"heavy-1": 1}
    assert len(database.cluster.calls("sbatch")) == 1


def test_a_submission_that_failed_and_whose_job_speaks(database: Database) -> None:
    """Its worker reports the number before the job is looked up: no look-up is needed, and no message is shown."""
    database.context(ONE)
    database.touch("go-1")
    database.cluster.next_submission(lose_answer=True)
    database.begin("reprocess", "1").ends()
    assert database.rows(1) == {"heavy": 10}
    assert database.executions() == {"heavy-1": 1}
    assert len(database.cluster.calls("sbatch")) == 1


def test_submissions_to_a_controller_that_hangs(database: Database) -> None:
    """The controller creates the jobs when it answers again."""
    database.context(ONE)
    database.touch(*ALL_GO)
    database.amore("reprocess", "3")
    with database.cluster.controller("silent"):
        command = database.begin("reprocess", "1-2")
        command.wait_said("Slurm does not answer", SILENT)
        wait_until(lambda: len(database.cluster.calls("sbatch")) == 3, "both submissions")
    command.ends()
    assert (database.rows(1), database.rows(2)) == ({"heavy": 10}, {"heavy": 20})
    assert database.executions() == {"heavy-1": 1, "heavy-2": 1, "heavy-3": 1}
    assert len(database.cluster.jobs()) == 3


def test_submissions_to_a_controller_that_is_dead(database: Database) -> None:
    """It has accepted none of them. They are submitted again when it is back."""
    database.context(ONE)
    database.touch(*ALL_GO)
    with database.cluster.controller("dead"):
        command = database.begin("reprocess", "1-2")
        command.wait_said("Slurm does not answer", DEAD, "nothing is lost")
        assert not database.cluster.jobs()
    command.ends()
    assert (database.rows(1), database.rows(2)) == ({"heavy": 10}, {"heavy": 20})
    assert database.executions() == {"heavy-1": 1, "heavy-2": 1}
    assert len(database.cluster.jobs()) == 2


def test_a_controller_that_is_away_while_jobs_run(database: Database) -> None:
    """Values arrive even without the controller."""
    database.context(ONE)
    command = database.begin("reprocess", "1-2")
    database.wait_effects(**{"heavy-1": 1, "heavy-2": 1})
    with database.cluster.controller("dead"):
        command.wait_said("Slurm does not answer", "jobs continue, and nothing is lost")
        database.touch("go-1")
        wait_until(lambda: database.rows(1) == {"heavy": 10}, "the value of run 1")
    command.wait_said("Slurm answers again")
    database.touch("go-2")
    command.ends()
    assert database.rows(2) == {"heavy": 20}
    assert database.executions() == {"heavy-1": 1, "heavy-2": 1}


def test_a_slow_controller_is_asked_seldom(database: Database) -> None:
    database.context(ONE)
    with database.cluster.controller("slow"):
        command = database.begin("reprocess", "1")
        database.wait_effects(**{"heavy-1": 1})
        asked = len(database.cluster.calls("squeue"))
        wait_until(lambda: len(database.cluster.calls("squeue")) > asked, "another look")
        database.touch("go-1")
        command.ends()
    assert "does not answer" not in command.said
    assert database.rows(1) == {"heavy": 10}


def test_jobs_that_the_controller_has_forgotten(new_database: Callable[[], Database]) -> None:
    """Forgotten jobs are computed again once they are silent: if the number now belongs to another job, if there is no
    accounting, and if accounting shows the job as running forever. A job that continues although the controller has forgotten
    it is waited for.
    """
    for_ever, absent, given_away = new_database(), new_database(), new_database()
    with absent.cluster.accounting("absent"):
        for database in (for_ever, absent, given_away):
            database.context(ONE)
            database.begin("reprocess", "1-2")
            database.wait_effects(**{"heavy-1": 1, "heavy-2": 1})
        forgotten = for_ever.job(1)
        for database in (for_ever, absent):
            database.cluster.forget(database.job(1))
            # The node of run 2 does not know that its job is forgotten.
            database.cluster.forget(database.job(2), goes_on=True)
            database.touch("go-1")
        for_ever.touch("go-2")
        number = given_away.job(1)
        before = given_away.cluster.job(number)["pid"]
        given_away.cluster.next_submission(number=number)
        given_away.begin("reprocess", "3")
        assert given_away.job(3) == number
        wait_until(lambda: not is_alive(before), "the end of the job before")
        given_away.touch(*ALL_GO)
        for command in given_away.commands:
            assert "is no longer known to Slurm" in command.ends() or command.arguments[1] == "3"
        # By now, the job that continues has been missing for as long as the one that is gone.
        absent.commands[0].wait_said("is no longer known to Slurm")
        absent.touch("go-2")
        assert "run 2" not in absent.commands[0].ends()
        said = for_ever.commands[0].ends()
        assert forgotten in said and "is no longer known to Slurm" in said
        asked = ("sacct", "-X", "-n", "-P", "-j", forgotten, "-o", "State")
        assert for_ever.cluster.run(*asked).stdout == "RUNNING\n"
    for database, runs in ((for_ever, (1, 2)), (absent, (1, 2)), (given_away, (1, 2, 3))):
        assert [database.rows(run) for run in runs] == [{"heavy": 10 * run} for run in runs]
    assert for_ever.executions() == absent.executions() == {"heavy-1": 2, "heavy-2": 1}
    assert given_away.executions() == {"heavy-1": 2, "heavy-2": 1, "heavy-3": 1}


def test_a_limit_of_submitted_jobs(database: Database) -> None:
    """Refused jobs are submitted again when others have ended."""
    database.context(ONE)
    database.cluster.limit(1)
    command = database.begin("reprocess", "1-2")
    command.wait_said("Slurm accepts no more jobs now (AssocMaxSubmitJobLimit; ", "other jobs of yours have ended")
    database.touch(*ALL_GO)
    command.ends()
    assert (database.rows(1), database.rows(2)) == ({"heavy": 10}, {"heavy": 20})
    assert database.executions() == {"heavy-1": 1, "heavy-2": 1}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("slurm_partition", "nosuch", "invalid partition specified: nosuch"),
        ("slurm_account", "chemistry", "Invalid account or account/partition combination specified"),
        ("slurm_qos", "nosuch", "Invalid qos specification"),
    ],
)
def test_what_stays_refused_is_an_error(database: Database, key: str, value: str, words: str) -> None:
    database.context(ONE)
    database.touch(*ALL_GO)
    database.amore("db-config", key, value)
    said = database.begin("reprocess", "1").ends()
    assert words in said and key in said
    kind, message = database.rows(1)["heavy"]
    assert kind == "JobRefused" and words in message and key in message
    assert not database.cluster.jobs() and database.executions() == {}
    database.amore("db-config", key, "--delete")
    database.amore("reprocess", "1")
    assert database.rows(1) == {"heavy": 10}
    # A job that was refused does not cost an existing value, which may have taken hours.
    database.amore("db-config", key, value)
    said = database.begin("reprocess", "1").ends(3)
    assert words in said and "earlier values are kept" in said
    assert database.rows(1) == {"heavy": 10} and database.executions() == {"heavy-1": 1}
