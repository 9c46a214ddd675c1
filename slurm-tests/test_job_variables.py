"""Variables with a command in a Slurm job of its own, on a real Slurm.

The command appends to a file, because what was executed, and how often, is part of the test.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from clusters import wait_until
from databases import Database

FILE = '''
from damnit_ctx import SlurmJob

@Variable(title="Threshold")
def threshold(run):
    effect("threshold")
    return 2.5

@Variable(title="Hits", job=SlurmJob(
    ["./find.sh", "{run}", "{threshold}", "a b;$HOME", "{directory}"], cpus=2, mem="200M", time=5))
def hits(run, job: "job#outcome", threshold: "var#threshold"):
    effect("function")
    assert job.ok and job.id and str(job.id) in job.log.name
    return (job.directory / "hits.txt").read_text()

@Variable(title="Twice")
def twice(run, hits: "var#hits"):
    return hits * 2

@Variable(title="Else")
def other(run):
    return 5
'''

SCRIPT = """#!/bin/sh
echo command >> effects.txt
printf '%s|' "$@" "$AMORE_RUN" "$SLURM_CPUS_PER_TASK" "$SLURM_JOB_NAME" > "$AMORE_DIRECTORY/hits.txt"
echo "words of the command"
"""


@pytest.fixture
def database(proposal: Any) -> Database:
    """A database of alice with one run."""
    return Database(proposal())


def script(database: Database, text: str) -> None:
    """Writes the command's script."""
    path = database.proposal.database / "find.sh"
    database.site.write_file(path, text, mode="755")


def failure(database: Database, name: str = "hits") -> tuple[str, str]:
    """Class and message of a variable's error in run 1."""
    error = database.rows()[1][name]["error"]
    return error["class"], error["message"]


def begun(database: Database, name: str = "command") -> str:
    """Waits until the command is running; returns its job."""
    wait_until(lambda: database.effects()[name] > 0, 90, "the command has not begun")
    return database.jobs()[-1]


@pytest.mark.version
def test_a_command_gets_values_and_its_function_the_outcome(database: Database) -> None:
    database.context(FILE)
    script(database, SCRIPT)
    database.amore("reprocess", "1")
    number = database.proposal.number
    rows = database.rows()[1]
    directory = database.proposal.database / "jobs" / f"r1-p{number}" / "hits"
    value = f"1|2.5|a b;$HOME|{directory}|1|2|r1-p{number}-damnit|"
    assert (rows["hits"], rows["twice"], rows["other"]) == (value, value * 2, 5)
    assert database.effects() == {"threshold": 1, "command": 1, "function": 1}
    [job] = database.jobs()
    log = database.proposal.database / "slurm_logs" / f"r1-p{number}-{job}.out"
    assert "words of the command" in database.site.read_file(log)
    assert "words of the command" in database.amore("log", "1")
    assert f"job {job} completed" in database.amore("explain", "1", "hits")
    plan = database.amore("plan", "1", "--script")
    assert "--cpus-per-task=2" in plan and "hits (its command)" in plan
    assert database.amore("jobs").strip() == "no unfinished tasks"


@pytest.mark.version
def test_an_exit_code_is_the_variables_error_and_is_not_tried_again(database: Database) -> None:
    database.context(FILE)
    script(database, "#!/bin/sh\necho command >> effects.txt\nseq 30\necho no such peak >&2\nexit 3\n")
    database.amore("reprocess", "1")
    kind, message = failure(database)
    [job] = database.jobs()
    assert kind == "JobFailed" and message.startswith(f"job {job} failed with exit code 3 (FAILED)")
    assert "\n30\nno such peak" in message and "\n5\n" not in message
    assert failure(database, "twice")[0] == "DependencyError" and database.rows()[1]["other"] == 5
    assert database.effects() == {"threshold": 1, "command": 1}
    wait_until(lambda: database.site.wait_job(job)["state"] == "FAILED", 30, "Slurm has it as a success")


@pytest.mark.version
def test_a_time_limit_is_the_variables_error_and_is_not_tried_again(database: Database) -> None:
    database.context(FILE.replace("time=5", "time=1"))
    script(database, "#!/bin/sh\necho command >> effects.txt\necho working\nsleep 600\n")
    database.amore("reprocess", "1")
    kind, message = failure(database)
    assert kind == "JobTimeout" and "(TIMEOUT)" in message and "working" in message
    assert database.effects()["command"] == 1 and len(database.jobs()) == 1


@pytest.mark.version
def test_scancel_is_the_variables_error(database: Database) -> None:
    database.context(FILE)
    script(
        database,
        "#!/bin/sh\ntrap 'echo told >> effects.txt; exit 0' TERM\n"
        "echo command >> effects.txt\necho working\nsleep 600 & wait\n",
    )
    running = database.proposal.start_amore("reprocess", "1")
    job = begun(database)
    database.site.run("alice", ["scancel", job])
    running.wait(120)
    kind, message = failure(database)
    assert kind == "JobCancelled" and "(CANCELLED)" in message and "working" in message
    assert database.effects()["command"] == 1 and database.effects()["told"] == 1
    assert database.rows()[1]["other"] == 5


def test_a_command_whose_node_dies_is_executed_again(database: Database) -> None:
    """A lost node is the only end that is neither the command's fault nor a user's decision: it is executed again, and
    the last outcome counts.
    """
    database.context(FILE)
    # It does not wait the second time.
    script(database, SCRIPT + "[ $(grep -c command effects.txt) -gt 1 ] || sleep 600\n")
    running = database.start("reprocess", "1")
    job = begun(database)
    site = database.site
    node = site.run("root", ["squeue", "-h", "-j", job, "-o", "%N"]).stdout.strip()
    site.node_kill(node)
    try:
        said = running.ends(timeout=240)
    finally:
        site.node_start(node)
    assert "NODE_FAIL" in said
    rows = database.rows()[1]
    assert rows["hits"].startswith("1|2.5|") and rows["twice"] == rows["hits"] * 2 and rows["other"] == 5
    assert database.effects() == {"threshold": 1, "command": 2, "function": 1}


def test_amore_cancel_is_the_variables_error(database: Database) -> None:
    database.context(FILE)
    script(database, "#!/bin/sh\necho command >> effects.txt\nsleep 600\n")
    running = database.proposal.start_amore("reprocess", "1")
    job = begun(database)
    assert job in database.amore("jobs") and "its command" in database.amore("jobs")
    assert job in database.amore("cancel", "1")
    running.wait(120)
    assert failure(database)[0] == "JobCancelled"
    wait_until(lambda: database.site.wait_job(job)["state"] == "CANCELLED", 60, "the job goes on")


@pytest.mark.version
def test_want_of_memory_is_the_variables_error(database: Database) -> None:
    if "ProctrackType           = proctrack/cgroup" not in database.site.scontrol("show", "config"):
        pytest.skip("this site has no control groups: Slurm does not enforce memory")
    database.context(FILE)
    script(database, "#!/bin/sh\necho command >> effects.txt\nhead -c 1G /dev/zero | tail\n")
    database.amore("reprocess", "1")
    assert failure(database)[0] == "JobOutOfMemory"
    assert database.effects()["command"] == 1 and len(database.jobs()) == 1


@pytest.mark.version
def test_a_coordinator_that_is_killed_finds_the_job_again(database: Database) -> None:
    database.context(FILE)
    first = "echo command >> effects.txt\n"
    script(database, SCRIPT.replace(first, first + "until test -e go; do sleep 0.2; done\n"))
    running = database.proposal.start_amore("reprocess", "1")
    job = begun(database)
    running.kill()
    running.wait(30)
    database.site.write_file(database.proposal.database / "go", "")
    # The job ends while no coordinator is running.
    database.site.wait_job(job, "COMPLETED")
    database.amore("follow")
    rows = database.rows()[1]
    assert rows["hits"].startswith("1|2.5|") and rows["twice"] == rows["hits"] * 2
    assert database.effects() == {"threshold": 1, "command": 1, "function": 1}
    assert database.jobs() == [job]


def test_one_that_is_killed_while_the_command_goes_on(database: Database) -> None:
    database.context(FILE)
    script(database, "#!/bin/sh\necho command >> effects.txt\nuntil test -e go; do sleep 0.2; done\nexit 9\n")
    running = database.proposal.start_amore("reprocess", "1")
    job = begun(database)
    running.kill()
    running.wait(30)
    following = database.proposal.start_amore("follow")
    wait_until(lambda: "resuming" in following.stderr + following.stdout, 60, "nobody takes it up")
    database.site.write_file(database.proposal.database / "go", "")
    following.wait(120)
    assert re.match(f"job {job} failed with exit code 9", failure(database)[1])
    assert database.effects()["command"] == 1 and database.jobs() == [job]


def accounted(database: Database, job: str, fields: str) -> list[list[str]]:
    """Rows of a job and its steps in accounting, the job's own first, once accounting has all their ends."""
    ask = ["sacct", "-nP", "-j", job, "-o", f"JobID,State,{fields}"]

    def rows() -> list[list[str]]:
        found = [line.split("|") for line in database.site.run("root", ask).stdout.splitlines()]
        # Values that it has not looked up yet are Unknown.
        whole = all(row[1] == "COMPLETED" and "Unknown" not in row for row in found)
        return found if found and whole else []

    return [[row[0], *row[2:]] for row in wait_until(rows, 30, f"job {job} in accounting")]


@pytest.mark.version
def test_a_command_has_a_qos_and_tasks_of_its_own(database: Database) -> None:
    database.context("""
from damnit_ctx import SlurmJob

@Variable(title="Ranks", job=SlurmJob(["./find.sh", "{directory}"], nodes=2, ntasks=4, qos="express", time=5))
def ranks(run, job: "job#outcome"):
    return (job.directory / "ranks.txt").read_text()

@Variable(title="Fit", cluster=True, qos="express", time=5)
def fit(run, ranks: "var#ranks"):
    return os.environ["SLURM_JOB_QOS"]

@Variable(title="Plain", cluster=True)
def plain(run):
    return os.environ["SLURM_JOB_QOS"]
""")
    script(database, '#!/bin/sh\nsrun -l sh -c \'echo "$SLURM_NTASKS"\' | sort > "$1/ranks.txt"\n')
    plan = database.amore("plan", "1", "--script")
    assert "--qos=express" in plan and "--ntasks=4" in plan and "--nodes=2" in plan
    database.amore("reprocess", "1")
    assert database.rows()[1] == {"ranks": "0: 4\n1: 4\n2: 4\n3: 4\n", "fit": "express", "plain": "normal"}
    seen = {job: accounted(database, job, "QOS,NNodes,NTasks") for job in database.jobs()}
    [ranks] = [rows for rows in seen.values() if rows[0][2] == "2"]
    assert ranks[0][1] == "express"
    assert [row[3] for row in ranks if row[0].endswith(".0")] == ["4"]
    assert sorted(rows[0][1] for rows in seen.values()) == ["express", "express", "normal"]


def test_a_variable_is_charged_to_the_account_that_it_names(proposal: Any) -> None:
    database = Database(proposal(user="carol"))
    database.context("""
from damnit_ctx import SlurmJob

@Variable(title="Hits", job=SlurmJob(["sleep", "1"], account="physics"))
def hits(run, job: "job#outcome"):
    return job.id

@Variable(title="Fit", cluster=True, account="physics")
def fit(run):
    return os.environ["SLURM_JOB_ID"]

@Variable(title="Plain", cluster=True)
def plain(run):
    return os.environ["SLURM_JOB_ID"]

@Variable(title="Wrong", cluster=True, account="nosuch")
def wrong(run):
    return 1
""")
    said = database.amore("reprocess", "1")
    assert "set account= for the variable" in said
    row = database.rows()[1]
    assert row["wrong"]["error"]["class"] == "JobRefused"
    charged = {name: accounted(database, row[name], "Account")[0][1] for name in ("hits", "fit", "plain")}
    assert charged == {"hits": "physics", "fit": "physics", "plain": "chemistry"}
