"""The inbox of a service, as users see it: what waits, what has failed, and what they can do about it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

from arriving import Site, has, touch
from served import wait_for

Start = Callable[..., Any]

BROKEN = "def broken(:\n"


def events(site: Site, *arguments: str) -> list[dict[str, Any]]:
    """The events that `amore inbox list` shows."""
    shown: list[dict[str, Any]] = json.loads(site.database.amore("inbox", "list", "--json", *arguments).stdout)[
        "events"
    ]
    return shown


def reason(event: dict[str, Any]) -> str:
    """Why an event is not done."""
    return str(event["detail"].get("why", ""))


def test_an_event_that_waits_is_shown_and_tried_again_when_a_user_says_so(site: Site, service: Start) -> None:
    site.database.context(BROKEN)
    process = service(site.database)
    site.arrive(1)
    # Its pauses grow to minutes and hours.
    wait_for("it is refused", lambda: any("context.py" in reason(event) for event in events(site)), process)
    [event] = events(site)
    assert (event["state"], event["run"], event["data"], event["source"]) == ("open", 1, "raw", "folders")
    number = str(event["number"])
    shown = site.database.amore("inbox", "show", number).stdout
    assert "p1234, run 1, raw" in shown and "context.py" in shown
    site.restore()
    said = site.database.amore("inbox", "retry", number)
    assert f"Tried again: {number}" in said.stdout
    wait_for("the run is processed", lambda: has(site, 1, a=16), process)
    wait_for("the event is done", lambda: events(site) == [], process)
    [done] = events(site, "--state", "done", "--run", "1")
    assert done["detail"]["generation"]["number"] == 1
    said = site.database.amore("inbox", "retry", number, code=1)
    assert "to process the run again: in the database directory, amore trigger 1" in said.stderr


SLOW = """
@Variable(title="A")
def a(run):
    import time
    effect("slow")
    time.sleep(600)
"""


def test_an_event_says_why_its_directory_cannot_be_served(site: Site, service: Start) -> None:
    site.database.context(SLOW)
    process = service(site.database)
    site.arrive(1)
    wait_for("it is computed", lambda: site.database.executions().get("slow"), process)
    assert [reason(event) for event in events(site)] == [""]
    site.restore()
    table = site.database.path / "runs.sqlite"
    table.rename(table.with_suffix(".away"))
    wait_for("it says why", lambda: any("has no runs.sqlite" in reason(event) for event in events(site)), process)
    [event] = events(site)
    # The list shows the beginning, and the path of the directory may be long.
    assert str(site.database.path) in site.database.amore("inbox", "list").stdout

    def says_the_same() -> bool:
        [database] = json.loads(site.database.amore("service", "status", "--json").stdout)["databases"]
        shown = site.database.amore("inbox", "show", str(event["number"])).stdout
        return f"Why:       {site.database.path}: {database['state'].get('why')}\n" in shown

    wait_for("the status has the same words", says_the_same, process)
    assert event["state"] == "open" and event["detail"]["attempts"] == 0
    table.with_suffix(".away").rename(table)
    wait_for("the run is processed", lambda: has(site, 1, a=16), process)
    wait_for("the event is done", lambda: events(site) == [], process)
    [done] = events(site, "--state", "done", "--run", "1")
    assert reason(done) == ""


def test_an_event_says_that_the_context_file_hangs(site: Site, service: Start) -> None:
    site.database.context("import time\ntime.sleep(600)\n")
    process = service(site.database)
    site.arrive(1)
    words = "the context file is still being executed"
    wait_for("it says why", lambda: any(words in reason(event) for event in events(site)), process)
    [event] = events(site)
    assert words in site.database.amore("inbox", "list").stdout
    explained = site.database.amore("explain", "1").stdout
    assert f"event {event['number']} of the service's inbox (raw data) is open: " in explained and words in explained
    site.restore()
    wait_for("the run is processed", lambda: has(site, 1, a=16), process)
    wait_for("the event is done", lambda: events(site) == [], process)
    [done] = events(site, "--state", "done", "--run", "1")
    assert reason(done) == ""
    assert "inbox" not in site.database.amore("explain", "1").stdout


def test_what_cannot_be_understood_is_kept_until_it_is_dropped(site: Site, service: Start) -> None:
    triggers = site.database.path / ".amore/triggers"
    triggers.mkdir(parents=True)
    (triggers / "1.json").write_text('{"version": 99}')
    (triggers / "2.json").write_text("{")
    process = service(site.database)
    wait_for("both are listed", lambda: len(events(site, "--state", "failed")) == 2, process)
    table = site.database.amore("inbox", "list").stdout
    assert "not understood" in table and "2 failed" in table
    second, first = (str(event["number"]) for event in events(site))
    said = site.database.amore("inbox", "retry", first, code=1)
    assert "cannot be understood" in said.stderr
    said = site.database.amore("inbox", "retry", "all", "failed")
    assert "2 events that have failed cannot be tried again" in said.stdout
    assert "amore inbox drop all failed" in said.stdout
    assert "No event has failed" in site.database.amore("inbox", "retry", "all", "failed", "--run", "7").stdout
    said = site.database.amore("inbox", "drop", first, "999", code=3)
    assert f"Dropped: {first}" in said.stdout and "event 999: there is no such event" in said.stderr
    said = site.database.amore("inbox", "drop", "all", "failed", "--source", "command")
    assert f"Dropped: {second}" in said.stdout
    dropped = events(site, "--state", "dropped")
    assert len(dropped) == 2 and all("dropped by" in reason(event) for event in dropped)
    # Dropped once more: that is what the user wanted.
    site.database.amore("inbox", "drop", first)
    assert "amore inbox retry 7 8" in site.database.amore("inbox", "retry", "seven", code=2).stderr


def test_an_event_is_dropped_before_its_data_come(site: Site, service: Start) -> None:
    process = service(site.database)
    site.database.amore("trigger", "1")
    wait_for("it waits for data", lambda: any("no raw data" in reason(event) for event in events(site)), process)
    [event] = events(site)
    site.database.amore("inbox", "drop", str(event["number"]))
    assert events(site) == []
    [dropped] = events(site, "--state", "dropped")
    assert dropped["number"] == event["number"]


def test_a_request_waits_for_a_service(site: Site, service: Start) -> None:
    site.database.amore("inbox", "list", code=1)
    process = service(site.database)
    site.database.amore("trigger", "1")
    wait_for("it waits for data", lambda: events(site) != [], process)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    [event] = events(site)
    said = site.database.amore("inbox", "drop", str(event["number"]))
    assert "No service runs here; when one starts" in said.stdout
    again = service(site.database)
    wait_for("it is dropped", lambda: len(events(site, "--state", "dropped")) == 1, again)


def test_data_that_come_long_after_their_event_are_noticed(site: Site, service: Start) -> None:
    process = service(site.database)
    site.database.amore("trigger", "1")
    wait_for(
        "it is tried less and less often",
        lambda: any(event["detail"].get("attempts", 0) >= 4 for event in events(site)),
        process,
    )
    site.arrive(1)
    wait_for("the run is processed", lambda: has(site, 1, a=16), process)
    wait_for(
        "the user's event is the only one",
        lambda: [event["source"] for event in events(site, "--state", "done")] == ["command"],
        process,
    )


def test_old_events_are_forgotten_and_the_data_stay_known(site: Site, service: Start) -> None:
    site.arrive(1)
    process = service(site.database)
    wait_for("the run is processed", lambda: has(site, 1, a=16), process)
    site.database.amore("trigger", "1")
    wait_for("again", lambda: len(events(site, "--state", "done")) == 2, process)
    configuration = site.database.path / "service.toml"
    configuration.write_text(configuration.read_text() + "[inbox]\nkeep_days = 0\n")
    process.send_signal(signal.SIGHUP)
    wait_for("the older one is forgotten", lambda: len(events(site, "--state", "done")) == 1, process)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    again = service(site.database)
    site.arrive(2)
    wait_for("the next run is processed", lambda: has(site, 2, a=16), again)
    assert site.database.executions() == {"a": 3}


def test_a_list_shows_a_line_of_a_reason_and_show_all_of_it(site: Site, service: Start) -> None:
    site.database.context("def f():\n    raise ValueError('first\\nsecond')\n\nf()\n")
    process = service(site.database)
    site.arrive(1)
    wait_for("it is refused", lambda: any("ValueError" in reason(event) for event in events(site)), process)
    [event] = events(site)
    listed = site.database.amore("inbox", "list").stdout
    # A frame, the header and a line for the event; then the counts.
    assert len(listed.splitlines()) == 6 and "Traceback" not in listed
    assert "ValueError" in site.database.amore("inbox", "show", str(event["number"])).stdout


def test_what_was_dropped_stays_so_until_the_data_change(site: Site, service: Start) -> None:
    site.database.context(BROKEN)
    process = service(site.database)
    folder = site.arrive(1)
    wait_for("it is refused", lambda: any("context.py" in reason(event) for event in events(site)), process)
    [event] = events(site)
    site.database.amore("inbox", "drop", str(event["number"]))
    site.restore()
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    again = service(site.database)
    site.arrive(2)
    wait_for("another run is processed", lambda: has(site, 2, a=16), again)
    assert len(events(site, "--run", "1", "--state", "dropped")) == 1
    assert events(site) == [] and "a" not in site.database.rows(1)
    touch(folder)
    wait_for("the changed data are processed", lambda: has(site, 1, a=16), again)


def test_to_wait_for_the_databases_is_no_attempt(site: Site, service: Start) -> None:
    site.database.context(BROKEN)
    process = service(site.database)
    site.arrive(1)
    wait_for("it is refused", lambda: any("context.py" in reason(event) for event in events(site)), process)
    for _ in range(3):
        process.kill()
        process.wait()
        [before] = events(site)
        process = service(site.database)

        def attempts() -> int:
            [event] = events(site)
            assert "context.py" in reason(event) or "why" not in event["detail"]
            return int(event["detail"].get("attempts", 0))

        wait_for("it is refused again", lambda before=before: attempts() > before["detail"]["attempts"], process)
        assert attempts() == before["detail"]["attempts"] + 1
