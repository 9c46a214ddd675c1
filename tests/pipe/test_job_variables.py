"""Variables with a command, without Slurm: the command is executed on this machine, with the same outcome."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from conftest import Database

FILE = """
from damnit_ctx import SlurmJob

@Variable(title="Threshold")
def threshold(run): return 2.5

@Variable(title="Hits", job=SlurmJob(["./find.sh", "{run}", "{threshold}", "a b;$HOME", "{{x}}", "{directory}"], cpus=4))
def hits(run, job: "job#outcome", threshold: "var#threshold"):
    effect("hits")
    assert job.ok and job.id is None and job.exit_code == 0 and job.log.exists() and job.elapsed >= 0
    return (job.directory / "hits.txt").read_text()

@Variable(title="Twice")
def twice(run, hits: "var#hits"): return hits * 2

@Variable(title="Else")
def other(run): return 5
"""

SCRIPT = """#!/bin/sh
echo "find $1" >> effects.txt
pwd
printf '%s|' "$@" "$AMORE_RUN" "$AMORE_PROPOSAL" "$AMORE_VARIABLE" > "$AMORE_DIRECTORY/hits.txt"
test -e "$AMORE_RUN_FILE"
"""


def script(database: Database, text: str) -> None:
    path = database.path / "find.sh"
    path.write_text(text)
    path.chmod(0o755)


def test_a_command_gets_values_as_words_and_its_function_the_outcome(database: Database) -> None:
    database.context(FILE)
    script(database, SCRIPT)
    said = database.amore("reprocess", "1").stderr
    assert "executed on this machine" in said
    rows = database.rows(1)
    directory = database.path / "jobs" / "r1-p1234" / "hits"
    value = f"1|2.5|a b;$HOME|{{x}}|{directory}|1|1234|hits|"
    assert rows["hits"] == value and rows["twice"] == value * 2 and rows["other"] == 5
    # Files of an earlier execution are gone.
    (directory / "old.txt").write_text("old")
    database.amore("reprocess", "1", "--var", "hits")
    assert not (directory / "old.txt").exists()
    assert database.executions() == {"find": 2, "1": 2, "hits": 2}
    assert str(database.path) in database.amore("log", "1").stdout
    plan = database.amore("plan", "1").stdout
    assert "its command (executed here: Slurm is not available): ./find.sh {run} {threshold}" in plan
    assert "called with the outcome of task" in plan


def test_a_failure_is_the_variables_error_with_the_last_lines(database: Database) -> None:
    database.context(FILE)
    script(database, "#!/bin/sh\nfor i in $(seq 30); do echo line $i; done\nexit 3\n")
    database.amore("reprocess", "1")
    rows = database.rows(1)
    kind, message = rows["hits"]
    assert kind == "JobFailed" and message.startswith("the command failed with exit code 3 (FAILED)")
    assert "line 11\n" in message and message.endswith("line 30") and "line 10\n" not in message
    assert rows["twice"][0] == "DependencyError" and rows["other"] == 5
    assert database.executions() == {}
    script(database, "#!/bin/sh\nkill -9 $$\n")
    database.amore("reprocess", "1")
    assert "signal 9" in database.rows(1)["hits"][1]


def test_a_program_that_is_not_there(database: Database) -> None:
    database.context(FILE)
    database.amore("reprocess", "1")
    kind, message = database.rows(1)["hits"]
    assert kind == "JobFailed" and "cannot execute ./find.sh" in message


def test_check_false_calls_the_function_however_it_ended(database: Database) -> None:
    database.context(
        "from damnit_ctx import SlurmJob\n"
        "@Variable(job=SlurmJob(['sh', '-c', 'echo why; exit 4'], check=False))\n"
        "def a(run, job: 'job#outcome'): return f'{job.state} {job.exit_code} {job.tail}'\n"
    )
    database.amore("reprocess", "1")
    assert database.rows(1)["a"] == "FAILED 4 why"


def test_nothing_is_executed_without_what_it_needs(database: Database) -> None:
    database.context(
        "from damnit_ctx import SlurmJob, Skip\n"
        "def failing(run): raise ValueError('no beam')\n"
        "bad = Variable()(failing)\n"
        "@Variable\ndef array(run): return np.arange(4)\n"
        "@Variable\ndef nothing(run): return None\n"
        "@Variable(job=SlurmJob(['sh', '-c', 'echo a >> effects.txt']))\n"
        "def a(run, bad: 'var#failing'): return 1\n"
        "@Variable(job=SlurmJob(['sh', '-c', 'echo b >> effects.txt', '{array}']))\n"
        "def b(run, array: 'var#array'): return 1\n"
        "@Variable(job=SlurmJob(['sh', '-c', 'echo c $0 >> effects.txt', '{nothing}']))\n"
        "def c(run, nothing: 'var#nothing' = 'default'): return 1\n"
    )
    database.amore("reprocess", "1")
    rows = database.rows(1)
    assert rows["a"][0] == "DependencyError"
    assert rows["b"][0] == "TypeError" and "{run_file}" in rows["b"][1]
    assert rows["c"] == 1
    assert database.executions() == {"c": 1, "default": 1}


def test_a_fake_run_executes_nothing(database: Database) -> None:
    database.context(FILE)
    script(database, SCRIPT)
    database.amore("reprocess", "--mock", "1")
    assert database.executions() == {}


def test_ctrl_c_ends_the_command(database: Database) -> None:
    database.context(FILE)
    script(database, "#!/bin/sh\ntrap 'echo told >> effects.txt; exit 1' TERM\necho begun >> effects.txt\nsleep 300 & wait\n")
    running = database.start("reprocess", "1")
    deadline = time.monotonic() + 60
    while "begun" not in database.executions() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    running.wait(60)
    while "told" not in database.executions() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert database.executions() == {"begun": 1, "told": 1}


@pytest.mark.parametrize("number", [signal.SIGKILL])
def test_a_worker_that_is_killed_takes_the_command_with_it(database: Database, number: signal.Signals) -> None:
    database.context(FILE)
    script(database, "#!/bin/sh\necho $$ > pid.txt\nexec sleep 300\n")
    running = database.start("reprocess", "1", "--var", "hits")
    deadline = time.monotonic() + 60
    path = database.path / "pid.txt"
    while not (path.exists() and path.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.05)
    command = int(path.read_text())
    status = open(f"/proc/{command}/status", encoding="ascii").read()
    worker = int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:")))
    # The coordinator is killed first, because it would start another worker.
    running.kill()
    running.wait(30)
    os.kill(worker, number)
    while os.path.exists(f"/proc/{command}") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{command}")


def test_check_reports_what_is_wrong_with_lines(database: Database) -> None:
    database.context(
        "from damnit_ctx import SlurmJob\n"
        "@Variable(job=SlurmJob(['x', '{rum}'], mem='many'))\n"
        "def a(run, job: 'job#outcome'): return 1\n"
        "@Variable\n"
        "def b(run, job: 'job#outcome'): return 1\n"
    )
    problems = json.loads(database.amore("check", "--json", code=None).stdout)["problems"]
    words = "\n".join(problem["message"] for problem in problems)
    assert "unknown placeholder {rum}" in words and "mem='many'" in words and "job#outcome" in words
    assert all(problem.get("line") for problem in problems)
