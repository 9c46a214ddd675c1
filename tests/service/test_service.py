"""The service as a process: whom it serves, how it ends, what it logs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import h5py
from served import wait_for

CONTEXT = """
@Variable(title="A")
def a(run):
    effect("a")
    return 1
"""

SLOW = """
import time

@Variable(title="Slow")
def slow(run):
    effect("slow")
    time.sleep(600)
"""


def test_a_command_hands_its_request_to_the_service(database: Any, service: Callable[..., Any]) -> None:
    database.context(CONTEXT)
    process = service(database)
    shown = database.amore("reprocess", "1", "2")
    assert "request handed over" in shown.stdout + shown.stderr
    assert [database.rows(run)["a"] for run in (1, 2)] == [1, 1]
    assert database.is_owned_by(process), "the service continues"
    # Settings and the context file are read for each request.
    database.context(CONTEXT.replace("return 1", "return 2"))
    database.amore("reprocess", "1")
    assert database.rows(1)["a"] == 2
    assert database.executions() == {"a": 3}


def test_told_to_end_it_stops_what_runs_and_frees_the_directory(database: Any, service: Callable[..., Any]) -> None:
    database.context(SLOW)
    process = service(database)
    command = database.start("reprocess", "1")
    wait_for("the variable runs", lambda: database.executions().get("slow"), command)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    wait_for("the command takes over", lambda: database.is_owned_by(command), command)
    command.send_signal(signal.SIGINT)
    command.communicate(timeout=60)
    log = (database.path / "amore.log").read_text()
    assert "the service has started" in log and "the service has stopped" in log


def test_what_waits_for_a_process_is_cancelled_at_once(database: Any, service: Callable[..., Any]) -> None:
    database.context(
        """
@Variable(title="Slow")
def slow(run, number: "meta#run_number"):
    effect(f"run{number}")
    import time
    while not os.path.exists("go"):
        time.sleep(0.02)
    return 1
"""
    )
    service(database)
    command = database.start("reprocess", "1-4")
    wait_for("a variable runs", lambda: database.executions().get("run1"), command)
    database.amore("cancel", "4")
    (database.path / "go").touch()
    out, err = command.communicate(timeout=120)
    assert [database.rows(run)["slow"] for run in (1, 2, 3)] == [1, 1, 1], out + err
    if (os.cpu_count() or 1) < 4:
        # With more processes it had begun, and was stopped.
        assert "run4" not in database.executions()
    assert "slow" not in database.rows(4) or database.rows(4)["slow"] != 1


def test_a_second_signal_ends_it_at_once(database: Any, service: Callable[..., Any]) -> None:
    database.context(SLOW)
    process = service(database)
    command = database.start("reprocess", "1")
    wait_for("the variable runs", lambda: database.executions().get("slow"), command)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    command.kill()
    command.communicate()


def test_a_directory_that_begins_from_scratch_is_served_again(database: Any, service: Callable[..., Any]) -> None:
    database.context(CONTEXT)
    process = service(database)
    database.amore("reprocess", "1")
    (database.path / "runs.sqlite").unlink()
    wait_for(
        "the service notices",
        lambda: "has no runs.sqlite" in (database.path / "amore.log").read_text(),
        process,
    )
    database.amore("proposal", "1234", program="amore-proto")
    database.amore("db-config", "context_python", database.python)
    wait_for("the service owns the new table", lambda: database.is_owned_by(process), process)
    database.amore("reprocess", "2")
    assert database.rows(2)["a"] == 1


def test_the_worker_is_killed_and_the_run_is_finished(database: Any, service: Callable[..., Any]) -> None:
    database.context(
        """
@Variable(title="A")
def a(run):
    effect("a")
    import time
    while not os.path.exists("go"):
        time.sleep(0.02)
    return 1
"""
    )
    service(database)
    command = database.start("reprocess", "1")
    wait_for("the variable runs", lambda: database.executions().get("a"), command)
    pids = database.processes()["worker"]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    (database.path / "go").touch()
    out, err = command.communicate(timeout=120)
    assert command.returncode == 0, out + err
    assert database.rows(1)["a"] == 1


def test_what_another_program_leaves_is_collected(database: Any, service: Callable[..., Any]) -> None:
    database.context(CONTEXT)
    database.amore("reprocess", "1")
    process = service(database)
    folder = database.path / "extracted_data"
    with h5py.File(folder / "p1234_r1.abcdefgh.writing.h5", "w") as file:
        for group in (".reduced", ".preview", ".errors"):
            file.create_group(group)
        file["b/data"] = 7
        file[".reduced/b"] = 7
    (folder / "p1234_r1.abcdefgh.writing.h5").rename(folder / "p1234_r1.abcdefgh.ready.h5")
    wait_for("the value is in the table", lambda: database.rows(1).get("b") == 7, process)
    assert database.leftovers() == []


def test_logs_are_opened_again_after_a_rotation(database: Any, service: Callable[..., Any]) -> None:
    database.context(CONTEXT)
    process = service(database)
    log = database.path / "amore.log"
    log.rename(database.path / "amore.log.1")
    process.send_signal(signal.SIGHUP)
    wait_for("the new log", lambda: log.exists() and "opened again" in log.read_text(), process)
    assert process.poll() is None
