"""Runs are processed as they arrive: found in folders, told by users, once each, also after the service was killed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from arriving import CONTEXT, Site, has
from served import wait_for


def test_runs_that_appear_are_processed_by_themselves(site: Site, service: Callable[..., Any]) -> None:
    site.arrive(1)
    process = service(site.database)
    wait_for("the run that was there before", lambda: has(site, 1, a=16), process)
    site.arrive(2)
    wait_for("the run that arrives", lambda: has(site, 2, a=16), process)
    assert "p" not in site.database.rows(2)
    site.arrive(2, "proc")
    wait_for("the calibrated data", lambda: has(site, 2, p=2), process)
    assert site.database.executions() == {"a": 2, "p": 1}


def test_a_user_tells_of_a_run_and_it_is_processed_again(site: Site, service: Callable[..., Any]) -> None:
    site.arrive(1)
    told = site.database.amore("trigger", "1")
    assert "No service runs here" in told.stdout
    process = service(site.database)
    wait_for("the run is processed", lambda: has(site, 1, a=16), process)
    before = site.database.executions()["a"]
    told = site.database.amore("trigger", "1")
    assert "The service was told: raw data of run 1" in told.stdout
    wait_for("it is processed again", lambda: site.database.executions()["a"] == before + 1, process)


def test_a_killed_service_continues_where_it_was(site: Site, service: Callable[..., Any]) -> None:
    site.database.context(
        CONTEXT.replace(
            'effect("a")', 'effect("a")\n    import time\n    while not os.path.exists("go"):\n        time.sleep(0.02)'
        )
    )
    process = service(site.database)
    site.arrive(1)
    wait_for("the run is being processed", lambda: site.database.executions().get("a"), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (site.database.path / "go").touch()
    again = service(site.database)
    wait_for("the run is processed", lambda: has(site, 1, a=16), again)
    log = (site.database.path / "amore.log").read_text()
    assert "continuing with open events" in log


def test_a_broken_context_file_loses_no_run(site: Site, service: Callable[..., Any]) -> None:
    (site.database.path / "context.py").write_text("def broken(:\n")
    process = service(site.database)
    site.arrive(1)
    log = site.database.path / "amore.log"
    wait_for("the request is refused", lambda: "Refused" in log.read_text(), process)
    site.database.context(CONTEXT)
    wait_for("the run is processed", lambda: has(site, 1, a=16), process)


def test_the_same_data_are_not_processed_twice_after_a_restart(site: Site, service: Callable[..., Any]) -> None:
    site.arrive(1)
    process = service(site.database)
    wait_for("the run is processed", lambda: has(site, 1, a=16), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    again = service(site.database)
    site.arrive(2)
    wait_for("the next run is processed", lambda: has(site, 2, a=16), again)
    assert site.database.executions() == {"a": 2}


def test_a_second_service_waits_and_takes_over(site: Site, service: Callable[..., Any]) -> None:
    process = service(site.database)
    second = site.database.start("listen")
    log = site.database.path / "amore.log"
    wait_for("the second one waits", lambda: "serves this directory; waiting" in log.read_text(), second)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for("the second one serves", lambda: site.database.is_owned_by(second), second)
    site.arrive(1)
    wait_for("the run is processed", lambda: has(site, 1, a=16), second)
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=60) == 0
    second.communicate()
