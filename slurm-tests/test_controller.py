"""What happens to jobs when the controller, the accounting, a coordinator or its terminal fails at the worst moment."""

from __future__ import annotations

from clusters import wait_until
from databases import TWO, Database

ONE = '''
@Variable(cluster=True)
def heavy(run, r: "meta#run_number"):
    effect(f"heavy-{r}")
    wait_for(f"go-{r}")
    return 10 * r
'''


def test_a_controller_that_is_killed_right_after_a_submission(database: Database) -> None:
    """The controller may forget jobs that it has accepted, and assign their numbers to others."""
    site = database.site
    database.context(ONE)
    for run in (1, 2, 3):
        database.touch(f"go-{run}")
    command = database.start("reprocess", "1-3")
    wait_until(lambda: len(database.jobs()) == 3, 60, "three jobs", pause=0)
    with site.killed("slurmctld"):
        pass
    command.ends(timeout=240)
    rows = database.rows()
    assert [rows[run]["heavy"] for run in (1, 2, 3)] == [10, 20, 30]
    # Running jobs that Slurm forgets are computed again.
    effects = database.effects()
    assert set(effects) == {"heavy-1", "heavy-2", "heavy-3"} and max(effects.values()) <= 2


def test_a_controller_that_is_restarted_while_jobs_run(database: Database) -> None:
    site = database.site
    database.context(ONE)
    command = database.start("reprocess", "1-2")
    database.wait_effect("heavy-1", "heavy-2")
    site.controller_saves(database.job(2))
    with site.killed("slurmctld"):
        database.touch("go-1")
        wait_until(lambda: database.rows().get(1, {}).get("heavy") == 10, 60, "the value of run 1")
        command.wait_said("Slurm does not answer", "jobs continue, and nothing is lost")
    command.wait_said("Slurm answers again")
    database.touch("go-2")
    command.ends()
    assert database.rows()[2] == {"heavy": 20}
    assert database.effects() == {"heavy-1": 1, "heavy-2": 1}


def test_a_controller_that_forgets_jobs_that_run(database: Database) -> None:
    """Accounting shows the jobs as running forever, and their nodes end them. They are computed again soon."""
    site = database.site
    where, folder = site.controller_state
    database.context(ONE)
    # The controller's state before the jobs.
    site.controller_saves(site.submit("alice", "true", "--hold"))
    site.run("root", ["cp", "-p", folder / "job_state", folder / "before"], where=where)
    command = database.start("reprocess", "1-2")
    database.wait_effect("heavy-1", "heavy-2")
    with site.killed("slurmctld"):
        for name in ("job_state", "job_state.old"):
            site.run("root", ["cp", "-p", folder / "before", folder / name], where=where)
        site.run("root", ["rm", folder / "before"], where=where)
    site.no_remains()
    database.touch("go-1")
    database.touch("go-2")
    said = command.ends(timeout=240)
    assert "1 variable again" in said
    rows = database.rows()
    assert (rows[1], rows[2]) == ({"heavy": 10}, {"heavy": 20})
    assert max(database.effects().values()) <= 2


def test_accounting_that_is_dead_all_the_time(database: Database) -> None:
    site = database.site
    database.context(TWO)
    database.touch("go-2")
    with site.killed("slurmdbd"):
        command = database.start("reprocess", "1-2")
        database.wait_effect("second-1")
        node = site.job(database.job(1))["nodes"]
        site.scontrol("update", f"NodeName={node}", "State=DOWN", "Reason=broken")
        said = command.ends()
    assert "lost its node (NODE_FAIL); 1 variable again" in said
    rows = database.rows()
    assert (rows[1], rows[2]) == ({"first": 1, "second": 10}, {"first": 2, "second": 20})
    effects = database.effects()
    assert (effects["first-1"], effects["second-1"], effects["first-2"]) == (1, 2, 1)


def test_a_terminal_that_is_lost(database: Database) -> None:
    database.context(ONE)
    command = database.start("reprocess", "1-2")
    database.wait_effect("heavy-1", "heavy-2")
    command.running.signal("HUP")
    said = command.ends(130)
    assert "2 Slurm jobs continue" in said and "amore follow" in said
    database.touch("go-1")
    database.touch("go-2")
    assert "resuming 2 tasks from earlier commands" in database.amore("follow")
    rows = database.rows()
    assert (rows[1], rows[2]) == ({"heavy": 10}, {"heavy": 20})
    assert database.effects() == {"heavy-1": 1, "heavy-2": 1}


def test_two_coordinators_by_mistake(database: Database) -> None:
    """Commands on three machines at once: one owns the directory, and the others hand their requests to it."""
    database.context(ONE)
    machines = {"1": "login", "2": "n2", "3": "n3"}
    commands = [database.start("reprocess", run, where=machine) for run, machine in machines.items()]
    database.wait_effect("heavy-1", "heavy-2", "heavy-3")
    for run in (1, 2, 3):
        database.touch(f"go-{run}")
    for command in commands:
        command.ends()
    rows = database.rows()
    assert [rows[run] for run in (1, 2, 3)] == [{"heavy": 10}, {"heavy": 20}, {"heavy": 30}]
    assert database.effects() == {"heavy-1": 1, "heavy-2": 1, "heavy-3": 1}


def test_a_coordinator_that_hangs_past_its_term(database: Database) -> None:
    """Another coordinator takes over on another machine. When the first resumes, it writes nothing and says why."""
    site = database.site
    database.context(ONE)
    term = {"AMORE_OWNER_TERM": "3"}
    first = database.start("reprocess", "1", env=term)
    database.wait_effect("heavy-1")
    first.running.stop()
    second = database.start("reprocess", "2", where="n3", env=term)
    database.wait_effect("heavy-2", of=second)
    # While it works on its own request, it also collects the work that it took over.
    database.touch("go-1")
    wait_until(lambda: database.rows().get(1, {}).get("heavy") == 10, 60, "the value of run 1", database.rows)
    database.touch("go-2")
    first.running.signal("CONT")
    said = first.ends(1)
    assert "took over while this one did not move" in said or "took over (epoch" in said
    second.ends()
    rows = database.rows()
    assert (rows[1], rows[2]) == ({"heavy": 10}, {"heavy": 20})
    assert database.effects() == {"heavy-1": 1, "heavy-2": 1}
    assert site.exists(database.proposal.database / "context.py")


def test_a_variable_that_kills_the_python_around_it(database: Database) -> None:
    """A variable repeatedly kills the process that imports the context file, and is given up."""
    database.context(
        '@Variable(cluster=True)\ndef first(run):\n    effect("first")\n    return 1\n'
        '@Variable(cluster=True)\ndef second(run, first: "var#first"):\n'
        '    effect("second")\n    os.kill(os.getppid(), 9)\n    time.sleep(60)\n'
        '@Variable(cluster=True)\ndef third(run, first: "var#first"):\n    effect("third")\n    return 3\n'
    )
    database.amore("reprocess", "1")
    cells = database.rows()[1]
    assert (cells["first"], cells["third"]) == (1, 3)
    assert "error" in cells["second"]
    effects = database.effects()
    assert (effects["first"], effects["third"]) == (1, 1) and effects["second"] == 4
    assert len(database.jobs()) == 1
