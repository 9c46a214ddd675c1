"""What is on disk and was not processed in a directory is found, however it came there; what was processed is not repeated."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from arriving import CONTEXT, Site, has, touch
from served import pipe, wait_for

Start = Callable[..., Any]

OLD = 1_000_000_000


def prepare(site: Site, data: str, run: int) -> Path:
    """Data with an old time that wait beside the proposal's folders."""
    folder = site.arrive(run, data)
    for path in [*folder.iterdir(), folder]:
        os.utime(path, (OLD, OLD))
    return folder.rename(site.root / f"{data}{run}")


def stop(process: Any) -> None:
    """The service ends."""
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)


def test_raw_data_that_are_moved_here_after_calibrated_ones_are_processed(site: Site, service: Start) -> None:
    raw, proc = prepare(site, "raw", 5), prepare(site, "proc", 5)
    process = service(site.database)
    proc.rename(site.proposal / "proc/r0005")
    wait_for("the calibrated data", lambda: has(site, 5, p=2), process)
    raw.rename(site.proposal / "raw/r0005")
    wait_for("the raw data", lambda: has(site, 5, a=16), process)


def test_raw_data_that_came_while_no_service_ran_are_processed(site: Site, service: Start) -> None:
    raw, proc = prepare(site, "raw", 5), prepare(site, "proc", 5)
    process = service(site.database)
    proc.rename(site.proposal / "proc/r0005")
    wait_for("the calibrated data", lambda: has(site, 5, p=2), process)
    stop(process)
    raw.rename(site.proposal / "raw/r0005")
    again = service(site.database)
    wait_for("the raw data", lambda: has(site, 5, a=16), again)
    assert site.database.executions() == {"a": 1, "p": 1}


def test_what_users_enter_does_not_make_a_run_processed(site: Site, service: Start) -> None:
    raw = prepare(site, "raw", 1)
    site.database.amore("submit", "1", "resolution=1.5", "--python", pipe.context_python())
    raw.rename(site.proposal / "raw/r0001")
    site.arrive(2)
    site.database.amore("reprocess", "2")
    site.arrive(2, "proc")
    site.database.amore("comment", "1", "good")
    site.database.amore("comment", "2", "better")
    process = service(site.database)
    wait_for("the run that has submitted values", lambda: has(site, 1, a=16), process)
    wait_for("the calibrated data that came later", lambda: has(site, 2, p=2), process)
    assert site.database.executions() == {"a": 2, "p": 1}


def test_a_run_that_grows_in_place_is_processed_again(site: Site, service: Start) -> None:
    folder = site.arrive(1)
    process = service(site.database)
    wait_for("the run is processed", lambda: has(site, 1, a=16), process)
    touch(folder)
    wait_for("it is processed again", lambda: site.database.executions() == {"a": 2}, process)
    stop(process)
    touch(folder)
    again = service(site.database)
    wait_for("after a restart, too", lambda: site.database.executions() == {"a": 3}, again)


def test_another_database_gets_the_runs_and_the_first_one_computes_nothing(site: Site, service: Start) -> None:
    for run in (1, 2):
        site.arrive(run)
    process = service(site.database)
    wait_for("the runs are processed", lambda: has(site, 1, a=16) and has(site, 2, a=16), process)
    other = second_database(site)
    site.database.amore("listener", "add", "1234", str(other.path))
    here = Site.__new__(Site)
    here.database = other
    wait_for("the new one has them", lambda: has(here, 1, a=16) and has(here, 2, a=16), process)
    assert other.executions() == {"a": 2, "b": 2}
    stop(process)
    again = service(site.database)
    site.arrive(3)
    wait_for("both have the next run", lambda: has(site, 3, a=16) and has(here, 3, a=16), again)
    assert site.database.executions() == {"a": 3, "b": 3}


def second_database(site: Site) -> Any:
    """Another database of the proposal, whose variable records `b`."""
    other = pipe.Database.__new__(pipe.Database)
    other.root, other.path = site.root, site.root / "scratch"
    other.path.mkdir()
    other.effects = site.database.effects
    other.amore("proposal", "1234", program="amore-proto")
    other.amore("db-config", "context_python", pipe.context_python())
    other.context(CONTEXT.replace('effect("a")', 'effect("b")'))
    return other


def test_a_table_that_is_made_anew_gets_all_runs_back(site: Site, service: Start) -> None:
    for run in (1, 2):
        site.arrive(run)
    site.arrive(1, "proc")
    process = service(site.database)
    wait_for("the runs are processed", lambda: has(site, 1, a=16, p=2) and has(site, 2, a=16), process)
    (site.database.path / "runs.sqlite").unlink()
    shutil.rmtree(site.database.path / "extracted_data")
    site.database.amore("proposal", "1234", program="amore-proto")
    site.database.amore("db-config", "context_python", pipe.context_python())
    wait_for("they are back", lambda: has(site, 1, a=16, p=2) and has(site, 2, a=16), process)


def test_what_a_user_cancels_stays_cancelled_until_the_data_change(site: Site, service: Start) -> None:
    site.database.context(
        CONTEXT.replace(
            'effect("a")', 'effect("a")\n    import time\n    while not os.path.exists("go"):\n        time.sleep(0.02)'
        )
    )
    process = service(site.database)
    folder = site.arrive(1)
    wait_for("the run is being processed", lambda: site.database.executions().get("a"), process)
    site.database.amore("cancel", "1")

    def done() -> str:
        return site.database.amore("inbox", "list", "--state", "done").stdout

    wait_for("the event ends", lambda: "1 done" in done(), process)
    assert "0 open" in done()
    assert "cancelled by amore cancel" in site.database.amore("inbox", "show", "1").stdout
    (site.database.path / "go").touch()
    site.arrive(2)
    wait_for("another run is processed", lambda: has(site, 2, a=16), process)
    assert site.database.executions() == {"a": 2}
    touch(folder)
    wait_for("the changed data are processed", lambda: has(site, 1, a=16), process)


def test_in_dynamic_mode_any_event_adds_the_official_database(
    site: Site, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    home = tmp_path / "service"
    home.mkdir()
    (home / "service.toml").write_text("[runs]\nquiet_seconds = 0.2\n")
    site.database.amore("listener", "config", "static_mode", "0", cwd=home)
    raw = prepare(site, "raw", 1)
    process = site.database.start("listen", cwd=home)
    request.addfinalizer(process.communicate)
    request.addfinalizer(process.kill)
    socket_file = home / ".amore/service.sock"
    wait_for("the service listens", socket_file.exists, process)
    raw.rename(site.proposal / "raw/r0001")
    assert trigger(socket_file, 77, 1) == 404
    assert trigger(socket_file, 1234, 1) == 202
    wait_for("the run is processed", lambda: has(site, 1, a=16), process)
    assert str(site.database.path) in site.database.amore("listener", "databases", cwd=home).stdout


def test_in_dynamic_mode_a_trigger_in_the_official_database_adds_it(
    site: Site, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    home = tmp_path / "service"
    home.mkdir()
    site.database.amore("listener", "config", "static_mode", "0", cwd=home)
    site.arrive(1)
    site.database.amore("trigger", "1")
    process = site.database.start("listen", cwd=home)
    request.addfinalizer(process.communicate)
    request.addfinalizer(process.kill)
    wait_for("the run is processed", lambda: has(site, 1, a=16), process)


def trigger(socket_file: Path, proposal: int, run: int) -> int:
    """Tells the service by HTTP that raw data have arrived; the status of the answer."""
    body = '{"data": "raw"}'
    head = (
        f"POST /v1/proposals/{proposal}/runs/{run}/triggers HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(socket_file))
        connection.sendall((head + body).encode())
        return int(connection.makefile("rb").readline().split()[1])
