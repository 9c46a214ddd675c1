"""Who serves what, as others see it; and databases that come with their first event."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arriving import Site, has
from served import pipe, wait_for

Start = Callable[..., Any]


def status(site: Site, *arguments: str) -> dict[str, Any]:
    """What `amore service status` says."""
    shown: dict[str, Any] = json.loads(site.database.amore("service", "status", "--json", *arguments).stdout)
    return shown


def test_the_status_of_a_service_from_its_start_to_its_end(site: Site, service: Start) -> None:
    assert status(site)["state"] == "never"
    assert "No service has run" in site.database.amore("service", "status").stdout
    process = service(site.database)
    wait_for("it is served", lambda: served_states(site) == ["serving"], process)
    shown = status(site)
    assert (shown["state"], shown["holder"]["pid"], shown["epoch"]) == ("serving", process.pid, 1)
    assert shown["stand_bys"] == [] and shown["inbox"]["open"] == 0
    second = site.database.start("listen")
    wait_for("the stand-by is seen", lambda: len(status(site)["stand_bys"]) == 1, second)
    assert status(site)["stand_bys"][0]["pid"] == second.pid
    words = site.database.amore("service", "status", "..", cwd=site.database.path / ".amore").stdout
    assert f"process {process.pid} " in words and f"Stand-by: process {second.pid} " in words
    assert "served" in words and "p1234" in words
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for("the second one serves", lambda: status(site).get("epoch") == 2, second)
    shown = status(site)
    assert (shown["holder"]["pid"], shown["stand_bys"]) == (second.pid, [])
    second.send_signal(signal.SIGKILL)
    second.communicate()
    assert status(site)["state"] == "lost"
    again = service(site.database)
    again.send_signal(signal.SIGTERM)
    again.wait(timeout=60)
    shown = status(site)
    assert (shown["state"], shown["holder"], shown["epoch"]) == ("stopped", None, 3)
    assert "the last one was stopped" in site.database.amore("service", "status").stdout


def served_states(site: Site) -> list[str]:
    """What the service does with its databases."""
    return [database["state"]["is"] for database in status(site).get("databases") or []]


def test_what_cannot_be_served_is_shown_with_its_reason(site: Site, service: Start) -> None:
    process = service(site.database)
    (site.database.path / "runs.sqlite").unlink()
    wait_for("it fails", lambda: served_states(site) == ["failing"], process)
    [database] = status(site)["databases"]
    assert "runs.sqlite" in database["state"]["why"]
    assert "failing" in site.database.amore("service", "status").stdout


def test_a_database_that_the_service_of_another_directory_serves(site: Site, service: Start, tmp_path: Path) -> None:
    # A first token may be made before the first service.
    assert site.database.amore("token", "new", "early").stdout.startswith("amore_")
    place = tmp_path / "service"
    place.mkdir()
    site.database.amore("listener", "add", "1234", str(site.database.path), cwd=place)
    process = service(site.database, cwd=place)
    words = site.database.amore("service", "status").stdout
    assert f"process {process.pid} " in words and f"it is the service of {place}" in words
    assert "--daemonize" not in words and "Do not start another one here" in words
    shown = status(site)
    assert (shown["state"], shown["other_service"]["directory"]) == ("elsewhere", str(place))
    assert shown["other_service"]["process"]["pid"] == process.pid
    for command in (["token", "new", "late"], ["token", "list"]):
        said = site.database.amore(*command, code=1)
        assert f"it is the service of {place}" in said.stderr and f"--in {place}" in said.stderr
        assert said.stdout == ""
    # In its own directory, everything is as ever.
    assert site.database.amore("token", "new", "daq", cwd=place).stdout.startswith("amore_")
    assert "serves" in site.database.amore("service", "status", cwd=place).stdout
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    assert status(site)["state"] == "never"
    assert "amore listen --daemonize" in site.database.amore("service", "status").stdout
    site.database.amore("token", "new", "of its own")


def test_in_dynamic_mode_the_official_database_comes_with_the_first_event(
    site: Site, service: Start, tmp_path: Path
) -> None:
    # The service has another database, and an event about this proposal comes to it.
    other_proposal = site.root / "SA2/202601/p005678"
    (other_proposal / "raw").mkdir(parents=True)
    other = pipe.Database(site.root, other_proposal)
    other.amore("proposal", "5678", program="amore-proto")
    other.context("")
    (other.path / "service.toml").write_text("[runs]\nquiet_seconds = 0.2\n")
    site.arrive(1)
    process = service(other)
    other.amore("trigger", "1", "--proposal", "1234")
    done = ("inbox", "list", "--json", "--state", "done")

    def ended() -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = json.loads(other.amore(*done).stdout)["events"]
        return shown

    wait_for("in static mode nothing is done", lambda: len(ended()) == 1, process)
    assert "no database of this service belongs to the proposal" in ended()[0]["detail"]["why"]
    other.amore("listener", "config", "static_mode", "0")
    log = other.path / "amore.log"
    wait_for("the service knows", lambda: "official databases are added" in log.read_text(), process)
    other.amore("trigger", "1", "--proposal", "1234")
    wait_for("the run is processed", lambda: has(site, 1, a=16), process)
    listed = other.amore("listener", "databases").stdout
    assert f"p1234: {site.database.path}" in listed
    # From now on its folders are watched, too.
    site.arrive(2)
    wait_for("the next run is found", lambda: has(site, 2, a=16), process)
