"""Changes by a site's plugins and wrappers: jobs are still tracked, found again, and distinguished from others."""

from __future__ import annotations

import re
import sqlite3
import time

import pytest
from databases import Database, wait_until

LONG = '''
@Variable(cluster=True)
def long(run, r: "meta#run_number"):
    effect(f"begin-{r}")
    wait_for(f"go-{r}")
    effect(f"end-{r}")
    return 10 * r
'''
AFTER = """
@Variable(cluster=True)
def after(run, long: "var#long"):
    effect("after")
    wait_for("never")
"""
# Comments in the queue, changed by a site's wrapper.
COMMENT = r"""exec "$REAL/squeue" "$@" | sed 's/amore:[0-9a-z-]*/{}/'"""
HIDDEN = COMMENT.format("(null)")
NO_ACCOUNTING = 'echo "Slurm accounting storage is disabled" >&2; exit 1'


def calls(database: Database, program: str) -> int:
    """How often a command was called, except for its version."""
    return len([call for call in database.cluster.calls(program) if not call.endswith(" --version")])


def looks(database: Database, number: int) -> None:
    """Waits for this many further queries of the queue."""
    before = calls(database, "squeue")
    wait_until(lambda: calls(database, "squeue") >= before + number, f"{number} looks", database.cluster.jobs)


@pytest.mark.parametrize(
    "comment",
    ["&;wg=7", "&\\|wg=7", "wg=7\\|&", "wg=7 & checked=yes", '"&"', "amore:1a2b-3c-4 &", "checked", "(null)"],
    ids=["behind", "separator", "before", "around", "quotes", "another's too", "overwritten", "not stored"],
)
def test_a_comment_that_is_not_as_it_was_given(database: Database, comment: str) -> None:
    """A job waits, runs and ends. It is recognised as ours all the time."""
    database.context(LONG)
    database.cluster.wrap("squeue", COMMENT.format(comment))
    database.cluster.next_submission(hold="Priority")
    command = database.begin("reprocess", "1")
    number = database.job(1)
    looks(database, 3)
    database.cluster.release(number)
    database.wait_effects(**{"begin-1": 1})
    looks(database, 3)
    database.touch("go-1")
    said = command.ends()
    assert database.rows(1) == {"long": 10}
    assert database.executions() == {"begin-1": 1, "end-1": 1} and calls(database, "sbatch") == 1
    assert "no longer known to Slurm" not in said and "does not answer" not in said


@pytest.mark.parametrize("other", ["&0", "&-2", "amore:1a2b-3c-4"])
def test_a_longer_token_is_a_foreign_one(database: Database, other: str) -> None:
    """The number now belongs to another job, whose token starts with ours. That job is neither tracked nor cancelled."""
    database.context(LONG)
    database.cluster.next_submission(hold="Priority")
    command = database.begin("reprocess", "1")
    number = database.job(1)
    looks(database, 1)
    database.cluster.wrap("squeue", COMMENT.format(other))
    wait_until(lambda: len(database.jobs(1)) == 2, "another job", lambda: command.said)
    database.cluster.unwrap("squeue")
    database.touch("go-1")
    assert f"job {number} is no longer known to Slurm" in command.ends()
    assert database.rows(1) == {"long": 10} and calls(database, "scancel") == 0


@pytest.mark.parametrize(
    ("program", "script"),
    [
        ("squeue", 'echo "Welcome to the machine of 2031"; echo "|---|---|"; "$REAL/squeue" "$@"; echo "17 nodes are down"'),
        ("sacct", 'echo "17|accounting of 2031|is slow"; exec "$REAL/sacct" "$@"'),
        ("scontrol", 'echo "Welcome, 17 nodes are down"; "$REAL/scontrol" "$@"; code=$?; echo "bye | 2031"; exit $code'),
        ("sinfo", 'echo "Welcome, 17 nodes are down"; "$REAL/sinfo" "$@"; echo "bye | 2031"'),
        ("sacctmgr", 'echo "Welcome, 17 nodes are down"; "$REAL/sacctmgr" "$@"; echo "bye"'),
    ],
)
def test_a_wrapper_that_prints_more_around_the_answers(database: Database, program: str, script: str) -> None:
    database.context(LONG)
    database.cluster.wrap(program, script)
    command = database.begin("reprocess", "1")
    database.wait_effects(**{"begin-1": 1})
    looks(database, 2)
    assert database.job(1) in database.amore("jobs").stdout
    database.cluster.run("scancel", database.job(1))
    assert "was cancelled by" in command.ends(3)
    assert calls(database, "sbatch") == 1


@pytest.mark.parametrize(
    "answer",
    [
        r"\n  Hello at the machine of 2031\n--> queue ... OK\n%s\n",
        r"%s\nYou have 17.5 hours left\n",
        r"\033[1m%s\033[0m\n",
        r"Submitted batch job %s\n",
        r"17 jobs wait before yours\n2031\n\033[32mSubmitted batch job %s on cluster lab\033[0m\n",
        r"%s;lab\r\n",
        r"2031\n%s\n",
        r"your job is %s, and 17 wait\n",
        "",
    ],
    ids=["banner", "notice", "colours", "announced", "numbers", "cluster", "two numbers", "prose", "nothing"],
)
def test_a_number_with_more_around_it(database: Database, answer: str) -> None:
    """The number is known at once, from the answer or from the queue, and no message says that Slurm does not answer."""
    database.context(LONG)
    database.cluster.wrap("sbatch", f"""n=$("$REAL/sbatch" "$@") || exit $?; printf '{answer}' "$n" """)
    database.cluster.next_submission(hold="Priority")
    command = database.begin("reprocess", "1")
    number = database.job(1)
    wait_until(lambda: number in database.amore("jobs").stdout, "the number", lambda: command.said)
    database.cluster.release(number)
    database.touch("go-1")
    said = command.ends()
    assert database.rows(1) == {"long": 10} and calls(database, "sbatch") == 1
    assert "does not answer" not in said and "2031" not in said


@pytest.mark.parametrize("accounting", [NO_ACCOUNTING, 'exec "$REAL/sacct" "$@"'], ids=["without accounting", "with it"])
def test_a_lost_number_of_a_job_without_its_comment(database: Database, accounting: str) -> None:
    """The job is found while it waits, by its script or its command line; also by the next command."""
    database.context(LONG)
    database.cluster.wrap("sbatch", '"$REAL/sbatch" "$@" >/dev/null')
    database.cluster.wrap("squeue", HIDDEN)
    database.cluster.wrap("sacct", accounting)
    for _ in (1, 2):
        database.cluster.next_submission(hold="Priority")
    command = database.begin("reprocess", "1-2")
    # As far as the ledger knows, it has no number yet: the command is killed at this moment or just after it got one.
    wait_until(lambda: database.jobs(1) and database.jobs(2), "both jobs")
    command.process.kill()
    command.process.wait()
    command = database.begin("follow")
    for run in (1, 2):
        number = database.job(run)
        wait_until(lambda number=number: number in database.amore("jobs").stdout, "the number", lambda: command.said)
        database.cluster.release(number)
    database.touch("go-1", "go-2")
    command.ends()
    assert [database.rows(run) for run in (1, 2)] == [{"long": 10}, {"long": 20}]
    assert set(database.executions().values()) == {1} and calls(database, "sbatch") == 2


def test_a_job_that_speaks_says_its_number(database: Database) -> None:
    """No number from sbatch, no comment, no accounting, and the script cannot be read: the worker reports which job it is in.
    """
    database.context(LONG)
    database.cluster.wrap("sbatch", '"$REAL/sbatch" "$@" >/dev/null')
    database.cluster.wrap("squeue", HIDDEN)
    database.cluster.wrap("sacct", NO_ACCOUNTING)
    database.cluster.wrap("scontrol", 'case "$1" in write) exit 1;; esac; exec "$REAL/scontrol" "$@"')
    command = database.begin("reprocess", "1")
    database.wait_effects(**{"begin-1": 1})
    wait_until(lambda: database.job(1) in database.amore("jobs").stdout, "the number", lambda: command.said)
    # If the queue shows nothing at all, this is no evidence that the job is gone.
    database.cluster.wrap("squeue", "exit 0")
    database.cluster.wrap("scontrol", 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1')
    time.sleep(32)
    database.touch("go-1")
    said = command.ends()
    assert database.rows(1) == {"long": 10}
    assert database.executions() == {"begin-1": 1, "end-1": 1} and calls(database, "sbatch") == 1
    assert "no longer known to Slurm" not in said


def test_a_job_of_which_nothing_can_be_found_out(database: Database) -> None:
    """Its worker never sends a message, and Slurm does not know it: this is reported, and retried a limited number of times.
    """
    database.context(LONG)
    words = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    database.cluster.wrap("sbatch", f'cat >/dev/null; echo "{words}" >&2; exit 1')
    command = database.begin("reprocess", "1")
    said = command.ends()
    kind, message = database.rows(1)["long"]
    assert kind == "JobFailed" and "no worker has started, 3 times" in message, (kind, message, said)
    assert "submitted again" in said and "given up" in said
    assert not database.cluster.jobs() and database.executions() == {}


def test_a_queue_that_is_shown_from_a_cache(database: Database) -> None:
    """Answers are some seconds old: a job that was just submitted is missing, one that has ended is shown as running."""
    database.context(LONG)
    cache = database.path / "cache"
    database.cluster.wrap(
        "squeue",
        f"""c={cache}-$(echo "$*" | md5sum | cut -c1-8)
[ -n "$(find $c -newermt '-15 seconds' 2>/dev/null)" ] || "$REAL/squeue" "$@" > $c
cat $c""",
    )
    database.touch("go-1", "go-2")
    # The cache is filled before there is any job.
    database.amore("reprocess", "1")
    first = database.begin("reprocess", "2-3")
    database.wait_effects(**{"begin-3": 1})
    looks(database, 8)
    database.touch("go-3")
    said = first.ends()
    assert [database.rows(run) for run in (1, 2, 3)] == [{"long": 10}, {"long": 20}, {"long": 30}]
    assert set(database.executions().values()) == {1} and calls(database, "sbatch") == 3
    assert "no longer known to Slurm" not in said


def test_an_accounting_that_keeps_no_command_lines(database: Database) -> None:
    """Slurm before 21.08: the query is repeated without the field, which is not requested any more."""
    database.context(LONG)
    database.cluster.wrap(
        "sacct",
        """case "$*" in *SubmitLine*) echo 'sacct: fatal: Invalid field requested: "SubmitLine"' >&2; exit 1;; esac
exec "$REAL/sacct" "$@" """,
    )
    database.cluster.wrap("squeue", '"$REAL/squeue" "$@" | grep -v CANCELLED; true')
    said = database.amore("doctor", code=None).stdout
    assert "this version of sacct has no field SubmitLine" in said and "21.08" in said
    command = database.begin("reprocess", "1")
    database.wait_effects(**{"begin-1": 1})
    database.cluster.run("scancel", database.job(1))
    assert "was cancelled by" in command.ends(3)
    assert database.rows(1) == {} and database.executions() == {"begin-1": 1}
    refused = [call for call in database.cluster.calls("sacct") if "SubmitLine" in call]
    assert calls(database, "sbatch") == 1 and refused == []


def test_a_number_that_only_the_comments_of_an_older_accounting_tell(database: Database) -> None:
    database.context(LONG)
    database.touch("go-1")
    database.cluster.wrap(
        "sacct",
        """case "$*" in *SubmitLine*) echo 'sacct: error: Invalid field requested: "SubmitLine"' >&2; exit 1;; esac
exec "$REAL/sacct" "$@" """,
    )
    # The job has ended and left the queue before it is looked up.
    database.cluster.wrap("squeue", "exit 0")
    database.cluster.wrap("sbatch", '"$REAL/sbatch" "$@" >/dev/null')
    database.begin("reprocess", "1").ends()
    assert database.rows(1) == {"long": 10} and calls(database, "sbatch") == 1


@pytest.mark.parametrize("how", ["cancelled", "preempted"])
def test_what_only_the_worker_and_the_log_say(database: Database, how: str) -> None:
    """The queue does not show ends, there is no accounting, and the controller forgets at once. A user's cancellation is
    still recognised, and a preempted job is submitted again.
    """
    database.context(LONG)
    database.cluster.wrap("squeue", r'"$REAL/squeue" "$@" | grep -v -e CANCELLED -e PREEMPTED -e COMPLETING; true')
    database.cluster.wrap("sacct", NO_ACCOUNTING)
    database.cluster.wrap(
        "scontrol",
        """case "$2" in show) echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1;; esac
exec "$REAL/scontrol" "$@" """,
    )
    command = database.begin("reprocess", "1")
    database.wait_effects(**{"begin-1": 1})
    if how == "cancelled":
        database.cluster.run("scancel", database.job(1))
        assert "was cancelled (CANCELLED)" in command.ends(3)
        assert database.executions() == {"begin-1": 1} and calls(database, "sbatch") == 1
    else:
        database.cluster.end(database.job(1), "PREEMPTED")
        wait_until(lambda: len(database.jobs(1)) == 2, "another job", lambda: command.said)
        database.touch("go-1")
        assert "(PREEMPTED)" in command.ends()
        assert database.rows(1) == {"long": 10}


def test_a_job_that_is_cancelled_before_its_worker_speaks(database: Database) -> None:
    """It has a node, and there is no accounting: it is not known who cancelled it, and it is not submitted again."""
    database.context(LONG)
    database.cluster.wrap("sacct", NO_ACCOUNTING)
    template = database.path / ".amore/templates/slurm-job.sh.tera"
    template.parent.mkdir(parents=True)
    template.write_text(
        "#!/bin/sh\nsleep 60 &\nwait\nexec {{ worker | shell }} job --sheet {{ sheet | shell }} --events {{ events | shell }}\n"
    )
    command = database.begin("reprocess", "1")
    wait_until(lambda: [job["state"] for job in database.jobs(1)] == ["RUNNING"], "its start", database.cluster.jobs)
    database.cluster.run("scancel", database.job(1))
    assert "was cancelled (CANCELLED)" in command.ends(3)
    assert database.executions() == {} and calls(database, "sbatch") == 1


def down(database: Database) -> None:
    """Makes jobs of the default partition wait."""
    with database.cluster.store.change() as state:
        state["partitions"]["main"]["state"] = "DOWN"
    database.amore("db-config", "slurm_partition", "main")


@pytest.mark.parametrize(
    ("program", "script"),
    [
        ("squeue", COMMENT.format("&|wg=7")),
        ("squeue", HIDDEN),
        ("sbatch", r"""n=$("$REAL/sbatch" "$@") || exit $?; printf 'your job is %s, and 17 wait\n' "$n" """),
        ("sbatch", r"""n=$("$REAL/sbatch" "$@") || exit $?; sleep 4; echo "$n" """),
    ],
    ids=["separator", "no comment", "number in prose", "slow answer"],
)
def test_a_cancelled_job_is_cancelled_in_slurm(database: Database, program: str, script: str) -> None:
    """It is cancelled as soon as its number is known."""
    database.context(LONG)
    down(database)
    database.cluster.wrap(program, script)
    command = database.begin("reprocess", "2")
    number = database.job(2)
    said = database.amore("cancel", "2").stderr
    assert f"1 task cancelled (jobs {number})" in said
    assert database.cluster.job(number)["state"] == "CANCELLED"
    command.ends(3)
    assert "no unfinished tasks" in database.amore("jobs").stdout and calls(database, "sbatch") == 1


def test_a_cancellation_that_slurm_does_not_take_is_no_success(database: Database) -> None:
    """The failure is reported, the cancellation is kept in the ledger, and the next command completes it."""
    database.context(LONG)
    down(database)
    command = database.begin("reprocess", "2")
    number = database.job(2)
    wait_until(lambda: number in database.amore("jobs").stdout, "the number", lambda: command.said)
    command.process.kill()
    command.process.wait()
    database.cluster.wrap("scancel", 'echo "scancel: error: Kill job error on job id $1: Access/permission denied" >&2; exit 1')
    said = database.amore("cancel", "2", code=1).stderr
    assert f"job {number} could not be cancelled in Slurm yet: " in said and "permission denied" in said
    assert "cancelled (jobs" not in said and database.cluster.job(number)["state"] == "PENDING"
    # The same if scancel prints nothing and does nothing.
    database.cluster.wrap("scancel", "exit 0")
    said = database.amore("cancel", "2", code=1).stderr
    assert "Slurm accepted the request, but still shows the job as PENDING" in said
    database.cluster.unwrap("scancel")
    database.amore("follow", code=None)
    assert database.cluster.job(number)["state"] == "CANCELLED"
    assert "no unfinished tasks" in database.amore("jobs").stdout


def test_a_cancellation_outlives_the_command(database: Database) -> None:
    """Its number was not known when both commands were killed: the next command finds the job and cancels it."""
    database.context(LONG)
    down(database)
    database.cluster.wrap("sbatch", '"$REAL/sbatch" "$@" >/dev/null')
    database.cluster.wrap("squeue", 'echo "squeue: error: Socket timed out on send/recv operation" >&2; exit 1')
    command = database.begin("reprocess", "2")
    number = database.job(2)
    cancel = database.begin("cancel", "2")
    wait_until(lambda: re.search('"cancelled": ?true', ledger(database)), "the wish in the ledger", lambda: cancel.said)
    for each in (command, cancel):
        each.process.kill()
        each.process.wait()
    assert database.cluster.job(number)["state"] == "PENDING"
    database.cluster.unwrap("squeue")
    database.amore("follow", code=None)
    assert database.cluster.job(number)["state"] == "CANCELLED"
    assert "no unfinished tasks" in database.amore("jobs").stdout and database.executions() == {}


def test_what_a_cancelled_job_had_finished_stays(database: Database) -> None:
    database.context(LONG + AFTER)
    database.touch("go-1")
    command = database.begin("reprocess", "1")
    database.wait_effects(after=1)
    assert "1 task cancelled" in database.amore("cancel", "1").stderr
    assert "1 value" in command.ends(3)
    assert database.rows(1) == {"long": 10} and database.leftovers() == []


def ledger(database: Database) -> str:
    """The ledger's facts about tasks."""
    with sqlite3.connect(database.path / ".amore/ledger.sqlite", timeout=30) as connection:
        found = connection.execute("SELECT facts FROM task").fetchall()
    connection.close()
    return "\n".join(text for (text,) in found)
