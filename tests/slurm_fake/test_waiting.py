"""What the user is told about waiting jobs, word for word: `golden/*.txt`.

After an intended change, set AMORE_UPDATE_GOLDEN=1 and check the diff.
"""

from __future__ import annotations

import functools
import json
import os
import re
import socket
from pathlib import Path

from databases import Database, wait_until
from fake_slurm.submit import user as who

GOLDEN = Path(__file__).parent / "golden"

CONTEXT = '''
@Variable(title="Local")
def local(run, r: "meta#run_number"):
    return r

@Variable(title="Heavy", cluster=True)
def heavy(run, local: "var#local", r: "meta#run_number"):
    print("printed by heavy")
    wait_for(f"go-{r}")
    return 10 * local
'''


def told(database: Database, *arguments: str) -> str:
    """A command and its output, without what differs between two runs or two machines."""
    ended = database.amore(*arguments)
    text = f"$ amore {' '.join(arguments)}\n{ended.stdout}"
    if ended.stderr:
        text += f"--- standard error\n{ended.stderr}"
    return normalised(text, database)


def normalised(text: str, database: Database) -> str:
    """Paths, users, machines and times are replaced by names. Lines about a job that starts, which may or may not be seen,
    are removed.
    """
    text = text.replace(str(database.path), "<database>")
    user, host = re.escape(who()), re.escape(socket.gethostname())
    for pattern, name in (
        (r"(?m)^(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d (CET )?", "<time>   "),
        (r"\b\d+(\.\d+)? s\b", "<seconds> s"),
        (rf"process \d+ of {user} on {host}", "process <pid> of <user> on <host>"),
        (rf" {user} (?=on cluster)", " <user> "),
        (rf"requested by {user}\b", "requested by <user>"),
        (rf"began on {host}", "began on <host>"),
        (r"(?m)^<time> +state +job \d+ is (RUNNING .*|PENDING \(None\))\n", ""),
        (r"(?m)^.* INFO extra_data.*\n", ""),
        # A job may start before sbatch's answer arrives.
        (r"(?m)^(<time> +began .*\n)(<time> +submitted .*\n)", r"\2\1"),
    ):
        text = re.sub(pattern, name, text)
    return text


def taken(database: Database, run: int) -> bool:
    """Whether the command knows that Slurm has the job."""
    return f"Slurm accepted job {database.job(run)}" in database.amore("explain", str(run)).stdout


def compare(name: str, *parts: str) -> None:
    """Compares with the file in `golden/`."""
    path = GOLDEN / f"{name}.txt"
    text = "\n".join(parts)
    if os.environ.get("AMORE_UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_commands_while_jobs_wait(database: Database) -> None:
    """A running job, one that waits its turn, one that is held, and one that never starts."""
    database.context(CONTEXT)
    commands = []
    for run, reason in enumerate(("", "Priority", "JobHeldUser", "QOSMaxWallDurationPerJobLimit"), start=1):
        database.cluster.next_submission(**({"hold": reason} if reason else {}))
        # One after another: the first has number 4201.
        commands.append(database.begin("reprocess", str(run)))
        known = functools.partial(taken, database, run)
        wait_until(known, f"the job of run {run} to be known")
    state = {"JobHeldUser": "it is held", "QOSMaxWallDurationPerJobLimit": "never starts"}
    for reason, words in state.items():
        wait_until(
            lambda words=words: any(words in command.said for command in commands),
            f"the word of {reason}",
            lambda: [command.said for command in commands],
        )
    log = database.path / "slurm_logs" / "r1-p1234-4201.out"
    wait_until(lambda: log.exists() and "printed by heavy" in log.read_text(), "the log")
    wait_until(lambda: "began" in database.amore("explain", "1").stdout, "its first word")
    waiting = [
        told(database, "jobs"),
        *(told(database, "explain", str(run)) for run in (1, 2, 3, 4)),
        told(database, "explain", "3", "heavy"),
    ]
    with database.cluster.controller("dead"):
        away = [told(database, "jobs"), told(database, "explain", "1")]
    cancelled = [told(database, "cancel", "4"), told(database, "cancel", database.job(3))]
    for command in commands[2:]:
        command.ends(3)
    database.cluster.release(database.job(2))
    database.touch("go-1", "go-2")
    for command in commands[:2]:
        command.ends()
    assert [database.rows(run).get("heavy") for run in (1, 2, 3, 4)] == [10, 20, None, None]
    ended = [told(database, "jobs"), *(told(database, "explain", str(run), "heavy") for run in (1, 2, 3, 4))]
    compare("jobs_and_explain", *waiting, "=== the controller is dead\n", *away, "=== cancelled\n", *cancelled, *ended)
    compare("log", told(database, "log", "1"))


def test_jobs_as_json(database: Database) -> None:
    database.context(CONTEXT)
    database.cluster.next_submission(hold="Resources")
    database.begin("reprocess", "1")
    number = database.job(1)

    def row() -> dict:
        rows = json.loads(database.amore("jobs", "--json").stdout)
        return rows[0] if rows else {}

    wait_until(lambda: row().get("job") == number, "the job", row)
    found = row()
    assert {name: found[name] for name in ("run", "state", "reason", "nodes", "partition", "reservation", "variables")} == {
        "run": 1,
        "state": "PENDING",
        "reason": "Resources",
        "nodes": "",
        "partition": "main",
        "reservation": "",
        "variables": ["heavy"],
    }


def test_the_doctor(database: Database) -> None:
    """For a complete site; without accounting, then with accounting or the controller down; and with settings that cannot be
    satisfied.
    """
    database.context(CONTEXT)
    cluster = database.cluster

    def of_slurm(code: int) -> str:
        checks = json.loads(database.amore("doctor", "--json", code=code).stdout)["checks"]
        shown = (
            f"{each['grade']:8} {each['check']}: {each['found']}" + (f"\n    hint: {each['hint']}" if each.get("hint") else "")
            for each in checks
            if each["area"] == "slurm"
        )
        return normalised("\n".join(shown), database) + "\n"

    whole = of_slurm(0)
    with cluster.accounting("absent"):
        no_accounting = of_slurm(0)
    with cluster.accounting("dead"):
        dead_accounting = of_slurm(0)
    with cluster.controller("dead"):
        dead = of_slurm(1)
    for key, value in {"partition": "down", "account": "chemistry", "qos": "nosuch", "reservation": "upex_001234"}.items():
        database.amore("db-config", f"slurm_{key}", value)
    wrong = of_slurm(1)
    cluster.reserve("upex_001234", "n2", accounts=("chemistry",))
    cluster.limit(20)
    database.amore("db-config", "slurm_account", "--delete")
    database.amore("db-config", "slurm_qos", "express")
    database.amore("db-config", "slurm_partition", "short")
    limited = of_slurm(1)
    parts = {
        "a whole site": whole,
        "no accounting": no_accounting,
        "accounting is dead": dead_accounting,
        "the controller is dead": dead,
        "settings that cannot be had": wrong,
        "a reservation of others, a partition with a time limit, and a limit of jobs": limited,
    }
    compare("doctor", *(f"=== {name}\n{text}" for name, text in parts.items()))


def test_what_waits_for_another_task_is_told_with_its_name(database: Database) -> None:
    database.context(CONTEXT + '\n@Variable(cluster=True, cpus=2)\ndef late(run, heavy: "var#heavy"):\n    return heavy\n')
    command = database.begin("reprocess", "1")
    wait_until(lambda: taken(database, 1), "job 1 to be taken")
    assert "now        late waits for heavy\n" in database.amore("explain", "1", "late").stdout
    assert " for heavy\n" in database.amore("explain", "1").stdout
    assert "nothing of a run or job 77 is under way" in database.amore("cancel", "77", code=1).stderr
    # `amore follow` waits for the command that owns the directory, then checks what is left.
    follower = database.begin("follow")
    follower.wait_said("waiting for it to finish")
    database.touch("go-1")
    command.ends()
    follower.ends()
    assert database.rows(1)["late"] == 10
    assert "nothing" in database.amore("cancel", "1", code=1).stderr


PLACES = '''
@Variable(cluster=True)
def heavy(run):
    return 1

@Variable(cluster=True, time="20:00:00", mem="1T")
def vast(run):
    return 1

@Variable(cluster=True, partition="short", time="0:01:00")
def quick(run):
    return 1

@Variable(cluster=True, reservation="beamtime")
def reserved(run):
    return 1
'''


def test_where_jobs_would_go(database: Database) -> None:
    """The destination and its reason are shown before anything is submitted, and the submission matches."""
    database.context(PLACES)
    parts = {"a whole site": told(database, "plan", "1")}
    with database.cluster.controller("dead"):
        parts["the controller is dead"] = told(database, "plan", "1", "--var", "heavy")
    for key, value in {"partition": "nonsense", "reservation": "over"}.items():
        database.amore("db-config", f"slurm_{key}", value)
    script = told(database, "plan", "1", "--script", "--var", "heavy")
    parts["settings that cannot be had"] = script[: script.index("<<'SCRIPT'")] + "…\n"
    database.amore("db-config", "slurm_partition", "down")
    database.cluster.reserve("beamtime", "n2")
    parts["a partition that is down, a reservation for one"] = told(database, "plan", "1-2")
    database.amore("db-config", "slurm_partition", "--delete")
    database.amore("db-config", "slurm_reservation", "beamtime")
    parts["a reservation for all"] = told(database, "plan", "1", "--var", "heavy")
    compare("plan", *(f"=== {name}\n{text}" for name, text in parts.items()))
    (job,) = json.loads(database.amore("plan", "1", "--var", "heavy", "--json").stdout)["jobs"]
    assert job == {
        "variables": ["heavy"],
        "reservation": "beamtime",
        "time_minutes": 120,
        "because": "from amore db-config slurm_reservation",
        "remarks": [],
    }


def test_of_jobs_that_wait_for_the_same_one_is_told(database: Database) -> None:
    database.context(CONTEXT)
    database.amore("db-config", "slurm_partition", "down")
    command = database.begin("reprocess", "1-2")
    wait_until(lambda: database.amore("jobs").stdout.count("PartitionDown") == 2, "two jobs that wait", lambda: command.said)
    command.wait_said(" waits: PartitionDown")
    assert command.said.count(" waits: ") == 1, command.said
    for run in ("1", "2"):
        database.amore("cancel", run)
    command.ends(3)
