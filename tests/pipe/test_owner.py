"""One command owns the directory, however long anything takes. Others wait for it, and their leftovers are removed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import Database, context_python, kill, programs, wait_for

TERM = 2.0

VARIABLE = """
@Variable
def v(run, r: "meta#run_number"):
    effect(f"v-{r}")
    return r
"""


def short_term(database: Database) -> dict[str, str]:
    """The owner's term is much shorter than the delays that the tests cause."""
    return {**database.environment, "AMORE_OWNER_TERM": str(TERM)}


def outlive_the_term(database: Database, owner: subprocess.Popen[str]) -> None:
    """Waits until several terms have passed; the owner must not change."""
    end = time.time() + 3 * TERM
    while time.time() < end:
        assert owner.poll() is None, owner.communicate()
        assert database.is_owned_by(owner), "another process owns the directory"
        time.sleep(0.1)
    current = database.owner()
    assert current is not None and current[1] > time.time(), "the term has run out"


def end_of(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=180)
    assert process.returncode == code, out + err
    return out + err


def gate(database: Database, name: str) -> str:
    """Python code that waits until the test creates the file of this name."""
    return (
        f"effect('begin-{name}')\n"
        f"while not os.path.exists({str(database.path / name)!r}):\n"
        "    import time; time.sleep(0.02)\n"
        f"effect('end-{name}')\n"
    )


def has_begun(database: Database, name: str) -> bool:
    return f"begin-{name}" in database.executions()


def open_gate(database: Database, name: str) -> None:
    (database.path / name).touch()


def share(database: Database, first: subprocess.Popen[str], release: str | None = None) -> None:
    """A second command arrives while the first is slow, and both runs are computed once."""
    wait_for("ownership", lambda: database.is_owned_by(first), first)
    second = database.start("reprocess", "2", env=short_term(database))
    wait_for("the second command hands its request over", database.requests, second)
    outlive_the_term(database, first)
    if release is not None:
        open_gate(database, release)
    assert "request handed over" in end_of(second)
    end_of(first)
    counts = database.executions()
    assert (counts["v-1"], counts["v-2"]) == (1, 1)
    assert database.rows(1)["v"] == 1 and database.rows(2)["v"] == 2
    assert database.requests() == []


def test_a_context_file_that_takes_long_to_load(database: Database) -> None:
    database.context(gate(database, "loaded") + VARIABLE)
    share(database, database.start("reprocess", "1", env=short_term(database)), "loaded")


def test_a_python_that_takes_long_to_start(database: Database) -> None:
    database.context(VARIABLE)
    slow = database.path / "slow-python"
    ready = database.path / "ready"
    slow.write_text(f"#!/bin/sh\nwhile [ ! -e '{ready}' ]; do sleep 0.1; done\nexec '{context_python()}' \"$@\"\n")
    slow.chmod(0o755)
    database.amore("db-config", "context_python", str(slow))
    share(database, database.start("reprocess", "1", env=short_term(database)), "ready")


def test_results_of_an_earlier_command_that_take_long_to_collect(database: Database) -> None:
    database.context(VARIABLE)
    (database.path / "extracted_data").mkdir()
    lock = os.open(database.path / "extracted_data/.collect.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        dying = database.start("reprocess", "3")
        wait_for("a result", database.leftovers, dying)
        kill([dying.pid])
        dying.communicate(timeout=60)
        first = database.start("reprocess", "1", env=short_term(database))
        wait_for("ownership", lambda: database.is_owned_by(first), first)
        second = database.start("reprocess", "2", env=short_term(database))
        wait_for("the second command hands its request over", database.requests, second)
        outlive_the_term(database, first)
    finally:
        os.close(lock)
    end_of(second)
    end_of(first)
    assert [database.rows(run)["v"] for run in (1, 2, 3)] == [1, 2, 3]
    assert [database.executions()[f"v-{run}"] for run in (1, 2, 3)] == [1, 1, 1]
    assert database.leftovers() == []


def test_ctrl_c_while_results_of_an_earlier_command_are_collected(database: Database) -> None:
    database.context(VARIABLE)
    (database.path / "extracted_data").mkdir()
    lock = os.open(database.path / "extracted_data/.collect.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        dying = database.start("reprocess", "3")
        wait_for("a result", database.leftovers, dying)
        kill([dying.pid])
        dying.communicate(timeout=60)
        first = database.start("reprocess", "1")
        wait_for("ownership", lambda: database.is_owned_by(first), first)
        time.sleep(0.3)
        first.send_signal(signal.SIGINT)
        wait_for("the directory is free", lambda: database.owner() is None)
    finally:
        os.close(lock)
    end_of(first, 130)
    database.amore("reprocess", "1")
    assert [database.rows(run)["v"] for run in (1, 3)] == [1, 3]
    assert database.executions()["v-3"] == 1


def test_others_go_on_while_a_context_file_is_loaded(database: Database) -> None:
    database.context(
        '@Variable\ndef v(run, r: "meta#run_number"):\n'
        + "".join("    " + line + "\n" for line in gate(database, "running").splitlines())
        + "    effect(f'v-{r}')\n    return r\n"
    )
    first = database.start("reprocess", "1-4", "--concurrent-jobs", "1")
    wait_for("the first run", lambda: has_begun(database, "running"), first)
    database.context(gate(database, "loaded") + VARIABLE.replace("return r", "return 10 * r"))
    second = database.start("reprocess", "2")
    wait_for("the file is loaded", lambda: has_begun(database, "loaded"), second)
    third = database.start("reprocess", "3")
    wait_for("both are taken", lambda: len(database.requests("taken")) == 2, third)
    # All work of the first is dispatched, computed and collected while the file is being loaded.
    open_gate(database, "running")
    wait_for("all runs of the first", lambda: all(database.rows(run).get("v") == run for run in range(1, 5)))
    assert "end-loaded" not in database.executions()
    assert second.poll() is None and third.poll() is None
    open_gate(database, "loaded")
    for process in (first, second, third):
        end_of(process)
    assert [database.rows(run)["v"] for run in range(1, 5)] == [1, 20, 30, 4]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_ends_while_it_loads_the_context_file(database: Database, number: int) -> None:
    database.context(gate(database, "never") + VARIABLE)
    first = database.start("reprocess", "1")
    wait_for("the file is loaded", lambda: has_begun(database, "never"), first)
    first.send_signal(number)
    assert "stopped while the context file was being executed" in end_of(first, 130)
    wait_for("its processes are gone", lambda: not any(database.processes().values()), seconds=20)
    assert database.owner() is None


def test_ctrl_c_is_heard_while_the_table_is_locked(database: Database) -> None:
    database.context(gate(database, "loaded") + VARIABLE)
    first = database.start("reprocess", "1")
    wait_for("the file is loaded", lambda: has_begun(database, "loaded"), first)
    reader = sqlite3.connect(database.path / "runs.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM run_variables").fetchall()
    open_gate(database, "loaded")
    # The list of variables cannot be written. The journal shows that the write is being tried.
    wait_for("the table is written", (database.path / "runs.sqlite-journal").exists, first)
    time.sleep(0.3)
    began = time.monotonic()
    first.send_signal(signal.SIGINT)
    end_of(first, 130)
    assert time.monotonic() - began < 20, "the lock was waited for"
    reader.execute("ROLLBACK")
    reader.close()
    database.amore("reprocess", "1")
    assert database.rows(1)["v"] == 1


@pytest.mark.parametrize("command", [("check",), ("plan", "1"), ("read-context",), ("reprocess", "1")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_of_a_command_that_was_ended_while_python_starts(
    database: Database, command: tuple[str, ...], number: int
) -> None:
    database.context(gate(database, "never") + VARIABLE)
    process = database.start(*command)
    wait_for("the file is loaded", lambda: has_begun(database, "never"), process)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode != 0
    wait_for("its processes are gone", lambda: not any(database.processes().values()), seconds=20)


def test_cancel_is_heard_while_a_context_file_is_loaded(database: Database) -> None:
    database.context(gate(database, "loaded") + VARIABLE)
    first = database.start("reprocess", "1-2")
    wait_for("the file is loaded", lambda: has_begun(database, "loaded"), first)
    said = database.amore("cancel", "1")
    assert "run 1: removed from a request that is being prepared" in said.stdout + said.stderr
    assert "end-loaded" not in database.executions()
    open_gate(database, "loaded")
    end_of(first)
    assert database.rows(2)["v"] == 2
    assert "v-1" not in database.executions()


def owner_and_waiting(database: Database) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """A command that computes run 1 until the file `computed` exists, and a second one whose request for run 2 it has taken.
    """
    database.context(
        '@Variable\ndef v(run, r: "meta#run_number"):\n    effect(f"v-{r}")\n'
        "    import time\n"
        f"    while not os.path.exists({str(database.path / 'computed')!r}):\n        time.sleep(0.02)\n"
        "    return r\n"
    )
    first = database.start("reprocess", "1", "--concurrent-jobs", "1")
    wait_for("the first run", lambda: "v-1" in database.executions(), first)
    second = database.start("reprocess", "2")
    wait_for("the request is taken", lambda: database.requests("taken"), second)
    return first, second


def test_a_line_that_is_no_event_is_left_out(database: Database) -> None:
    first, second = owner_and_waiting(database)
    (events,) = database.requests("events")
    with events.open("a") as file:
        file.write('{"ev":"of a later version"}\nno JSON\n{"event":"unheard_of"}\n')
    open_gate(database, "computed")
    words = end_of(second)
    end_of(first)
    assert "left out" in words
    assert database.executions() == {"v-1": 1, "v-2": 1}
    assert database.rows(2)["v"] == 2
    assert database.requests() == []


def test_events_of_a_later_version_are_refused_and_nothing_is_computed_twice(database: Database) -> None:
    first, second = owner_and_waiting(database)
    (events,) = database.requests("events")
    with events.open("a") as file:
        file.write('{"version":9,"event":"notice","message":"?"}\n')
    assert "is of a later version" in end_of(second, 1)
    open_gate(database, "computed")
    end_of(first)
    assert database.executions() == {"v-1": 1, "v-2": 1}


def test_a_request_of_a_later_version_is_refused(database: Database) -> None:
    first, second = owner_and_waiting(database)
    os.kill(first.pid, signal.SIGSTOP)
    third = database.start("reprocess", "3")
    (request,) = wait_for("a request", lambda: database.requests("json"), third)
    request.write_text(json.dumps({**json.loads(request.read_text()), "version": 9}))
    os.kill(first.pid, signal.SIGCONT)
    assert "the request is of version 9" in end_of(third, 1)
    open_gate(database, "computed")
    end_of(second)
    end_of(first)
    assert database.executions() == {"v-1": 1, "v-2": 1}
    assert database.requests() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_waiting_command_that_is_told_to_end_withdraws_its_request(database: Database, number: int) -> None:
    first, second = owner_and_waiting(database)
    os.kill(first.pid, signal.SIGSTOP)
    third = database.start("reprocess", "3")
    wait_for("a request", lambda: database.requests("json"), third)
    third.send_signal(number)
    assert "the request was withdrawn" in end_of(third, 130)
    assert database.requests("json") == []
    os.kill(first.pid, signal.SIGCONT)
    second.send_signal(number)
    assert "continues with the request" in end_of(second, 130)
    open_gate(database, "computed")
    end_of(first)
    assert database.executions() == {"v-1": 1, "v-2": 1}
    assert database.requests() == []


def test_requests_of_processes_that_were_killed_leave_nothing(database: Database) -> None:
    first, second = owner_and_waiting(database)
    os.kill(first.pid, signal.SIGSTOP)
    third = database.start("reprocess", "3")
    wait_for("a request", lambda: database.requests("json"), third)
    assert kill([second.pid, third.pid]) == 2
    second.communicate(timeout=60)
    third.communicate(timeout=60)
    os.kill(first.pid, signal.SIGCONT)
    open_gate(database, "computed")
    end_of(first)
    # Work that was started is finished; what was not started is no longer needed.
    assert database.executions() == {"v-1": 1, "v-2": 1}
    assert database.requests() == []


def test_the_next_owner_removes_what_dead_processes_have_left(database: Database) -> None:
    first, second = owner_and_waiting(database)
    everything = [first.pid, second.pid, *sum(database.processes().values(), [])]
    kill(everything)
    first.communicate(timeout=60)
    second.communicate(timeout=60)
    assert database.requests() != []
    old = Path(database.requests("taken")[0])
    before = old.with_name("0-1.events")
    before.write_text("")
    os.utime(before, (time.time() - 3 * 86_400,) * 2)
    open_gate(database, "computed")
    database.amore("reprocess", "3")
    assert database.requests() == []


def test_a_request_is_done_by_whoever_asked_when_the_owner_is_stopped(database: Database) -> None:
    first, second = owner_and_waiting(database)
    first.send_signal(signal.SIGINT)
    end_of(first, 130)
    wait_for("the second is the owner", lambda: database.is_owned_by(second), second)
    open_gate(database, "computed")
    end_of(second)
    assert database.rows(2)["v"] == 2
    assert database.requests() == []


def test_a_worker_that_is_replaced_while_its_results_take_long_to_collect(database: Database) -> None:
    hold = "".join("    " + line + "\n" for line in gate(database, "go").splitlines())
    database.context(
        '@Variable\ndef a(run, r: "meta#run_number"):\n    effect(f"a-{r}")\n    return r\n'
        '@Variable\ndef b(run, a: "var#a", r: "meta#run_number"):\n    effect(f"b-{r}")\n' + hold + "    return 10 * a\n"
    )
    (database.path / "extracted_data").mkdir()
    lock = os.open(database.path / "extracted_data/.collect.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        first = database.start("reprocess", "1", env=short_term(database))
        wait_for("a result", lambda: database.leftovers() and "b-1" in database.executions(), first)
        assert kill(database.processes()["worker"]) == 1
        second = database.start("reprocess", "2", env=short_term(database))
        # Requests of others are planned and computed in the meantime.
        wait_for("the second run", lambda: "a-2" in database.executions(), second)
        outlive_the_term(database, first)
        assert database.executions()["b-1"] == 1
    finally:
        os.close(lock)
    open_gate(database, "go")
    end_of(second)
    end_of(first)
    counts = database.executions()
    # Stored results are not computed again.
    assert (counts["a-1"], counts["b-1"], counts["a-2"], counts["b-2"]) == (1, 2, 1, 1)
    assert [database.rows(run)["b"] for run in (1, 2)] == [10, 20]


def indented(text: str) -> str:
    """The text as the beginning of a function's body."""
    return "".join("    " + line + "\n" for line in text.splitlines())


def slow_to_start(database: Database, name: str, program: str) -> Path:
    """A program that, once the file `later` exists, does not start before the file `ready` does."""
    later, starting, ready = (database.path / mark for mark in ("later", "starting", "ready"))
    script = database.path / name
    script.write_text(
        f"#!/bin/sh\nif [ -e '{later}' ]; then\n  touch '{starting}'\n"
        f"  while [ ! -e '{ready}' ]; do sleep 0.1; done\nfi\nexec '{program}' \"$@\"\n"
    )
    script.chmod(0o755)
    return script


def computed(database: Database, runs: range) -> bool:
    return all(database.rows(run).get("v") == run for run in runs)


def test_a_python_that_takes_long_to_start_holds_up_nobody_else(database: Database) -> None:
    database.context(VARIABLE.replace("    return r", indented(gate(database, "running")) + "    return r"))
    python = slow_to_start(database, "some-python", context_python())
    database.amore("db-config", "context_python", str(python))
    first = database.start("reprocess", "1-4", "--concurrent-jobs", "1", env=short_term(database))
    wait_for("the first run", lambda: has_begun(database, "running"), first)
    open_gate(database, "later")
    database.context(VARIABLE.replace("return r", "return 10 * r"))
    second = database.start("reprocess", "2", env=short_term(database))
    wait_for("another Python is started", (database.path / "starting").exists, second)
    open_gate(database, "running")
    wait_for("all runs of the first", lambda: computed(database, range(1, 5)), first)
    outlive_the_term(database, first)
    assert second.poll() is None
    open_gate(database, "ready")
    end_of(second)
    end_of(first)
    assert [database.rows(run)["v"] for run in range(1, 5)] == [1, 20, 3, 4]


def test_a_worker_that_takes_long_to_be_replaced(database: Database) -> None:
    database.context(VARIABLE.replace("    return r", indented(gate(database, "running")) + "    return r"))
    worker = slow_to_start(database, "some-worker", str(programs() / "amore-worker"))
    environment = {**short_term(database), "AMORE_WORKER": str(worker)}
    first = database.start("reprocess", "1", env=environment)
    wait_for("the first run", lambda: has_begun(database, "running"), first)
    open_gate(database, "later")
    assert kill(database.processes()["worker"]) == 1
    wait_for("another worker is started", (database.path / "starting").exists, first)
    second = database.start("reprocess", "2", env=short_term(database))
    third = database.start("reprocess", "3", env=short_term(database))
    wait_for("both are taken", lambda: len(database.requests("taken")) == 2, first)
    # Requests that need no worker are served at once.
    said = database.amore("cancel", "3")
    assert "run 3" in said.stdout + said.stderr
    outlive_the_term(database, first)
    assert not (database.path / "ready").exists()
    open_gate(database, "running")
    open_gate(database, "ready")
    end_of(first)
    end_of(second)
    third.communicate(timeout=180)
    counts = database.executions()
    assert (counts["v-1"], counts["v-2"]) == (2, 1) and "v-3" not in counts
    assert database.rows(1)["v"] == 1 and database.rows(2)["v"] == 2


@contextmanager
def hanging(path: Path) -> Iterator[Callable[[str], None]]:
    """Whoever opens the file waits, as on a hanging file system; gives what writes it meanwhile.

    A file server that has lent a file to a client makes others wait in this way (`F_SETLEASE`), for 45 s at most.
    """
    # The kernel asks for the file to be given back.
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    file = os.open(path, os.O_RDWR)

    def write(text: str) -> None:
        os.ftruncate(file, 0)
        os.pwrite(file, text.encode(), 0)

    try:
        wait_for("the lease", lambda: has_lease(file))
        yield write
    finally:
        os.close(file)
        signal.signal(signal.SIGIO, before)


def has_lease(file: int) -> bool:
    """Takes the lease, unless somebody has the file open."""
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except BlockingIOError:
        return False
    return True


def test_others_go_on_while_the_file_system_hangs(database: Database) -> None:
    database.context(VARIABLE.replace("    return r", indented(gate(database, "running")) + "    return r"))
    first = database.start("reprocess", "1-4", "--concurrent-jobs", "1", env=short_term(database))
    wait_for("the first run", lambda: has_begun(database, "running"), first)
    path = database.path / "context.py"
    text = path.read_text()
    database.context(VARIABLE.replace("return r", "return 10 * r"))
    later = path.read_text()
    path.write_text(text)
    with hanging(path) as write:
        second = database.start("reprocess", "2", env=short_term(database))
        wait_for("the request is taken", lambda: database.requests("taken"), second)
        open_gate(database, "running")
        wait_for("all runs of the first", lambda: computed(database, range(1, 5)), first)
        outlive_the_term(database, first)
        assert second.poll() is None
        write(later)
    # The file system continues.
    end_of(second)
    end_of(first)
    assert [database.rows(run)["v"] for run in range(1, 5)] == [1, 20, 3, 4]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_ends_while_the_file_system_hangs(database: Database, number: int) -> None:
    database.context(VARIABLE)
    with hanging(database.path / "context.py"):
        first = database.start("reprocess", "1")
        wait_for("ownership", lambda: database.is_owned_by(first), first)
        time.sleep(0.3)
        first.send_signal(number)
        end_of(first, 130)
        assert database.owner() is None
    database.amore("reprocess", "1")
    assert database.rows(1)["v"] == 1


def test_others_go_on_while_nobody_reads_what_the_owner_prints(database: Database) -> None:
    hold = f"while r == 1 and not os.path.exists({str(database.path / 'running')!r}):\n    import time; time.sleep(0.02)\n"
    database.context(VARIABLE.replace("    return r", indented(hold) + "    return r"))
    first = database.start("reprocess", "1-40", "--mock", "--json", env=short_term(database))
    assert first.stdout is not None
    # One page, which is enough for the output about a few runs.
    fcntl.fcntl(first.stdout, fcntl.F_SETPIPE_SZ, 4096)
    wait_for("all other runs of the first", lambda: computed(database, range(2, 41)), first)
    second = database.start("reprocess", "41", "--mock", env=short_term(database))
    end_of(second)
    assert database.rows(41)["v"] == 41
    outlive_the_term(database, first)
    open_gate(database, "running")
    out, err = first.communicate(timeout=180)
    assert first.returncode == 0, err
    printed = [json.loads(line) for line in out.splitlines()]
    assert [event["run"] for event in printed if event["event"] == "run_ended"][-1] == 1
    assert printed[-1]["event"] == "finished"
