"""Server-sent events and metrics: whoever reconnects misses nothing, and sees only what he may see."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import requests
from http_service import HttpService

from conftest import pipe

wait_for = pipe.wait_for

Event = dict[str, str]


def events_of(answer: requests.Response) -> Iterator[Event]:
    """The events of an answer, as they come."""
    event: Event = {}
    for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
        if line:
            name, _, value = line.partition(":")
            event[name] = value.removeprefix(" ")
        elif "data" in event:
            yield event
            event = {}


@contextlib.contextmanager
def following(service: HttpService, token: str, last: str | None = None) -> Iterator[Iterator[Event]]:
    """Reads events, after the one with the id `last`."""
    headers = {} if last is None else {"Last-Event-ID": last}
    with service.ask("GET", "/v1/events", token, headers=headers, stream=True, timeout=120) as answer:
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        yield events_of(answer)


def until(events: Iterator[Event], name: str) -> list[Event]:
    """The events up to one of this name."""
    found = []
    for event in events:
        found.append(event)
        if event["event"] == name:
            return found
    raise AssertionError(f"the stream ended without {name}: {found}")


def trigger(service: HttpService, run: int) -> None:
    """Data of a run have arrived."""
    answer = service.local("POST", f"/v1/proposals/1234/runs/{run}/triggers", {"data": "raw"})
    assert answer.status == 202, answer.body


def test_who_reconnects_misses_nothing(service: HttpService) -> None:
    token = service.token("read", "--proposal", "1234")
    with following(service, token) as events:
        trigger(service, 1)
        first = until(events, "run_seen")
    # Nobody listens now.
    trigger(service, 2)
    wait_for("the values", lambda: service.database.rows(2).get("a") == 1, service.process)
    with following(service, token, first[-1]["id"]) as events:
        seen: list[Any] = []
        finished: set[int] = set()
        while finished != {1, 2}:
            seen += until(events, "run_finished")
            finished.add(json.loads(seen[-1]["data"])["data"]["run"])
    numbers = [int(event["id"].rsplit("-", 1)[1]) for event in first + seen]
    assert numbers == sorted(set(numbers)), "each event once, in order"
    stored = [json.loads(event["data"])["data"] for event in seen if event["event"] == "values_stored"]
    assert {(one["run"], cell["name"]) for one in stored for cell in one["values"]} >= {(1, "a"), (2, "a")}


def test_who_was_away_too_long_is_told_so(service: HttpService) -> None:
    token = service.token("read")
    with following(service, token, "0123456789abcdef-5") as events:
        assert next(events)["event"] == "reset"
    # A browser that gets an error never connects again.
    with following(service, token, "yesterday") as events:
        assert next(events)["event"] == "reset"
    wrong = service.ask("GET", "/v1/events?after=yesterday", token)
    assert wrong.status_code == 400 and wrong.json()["where"] == "query, after"


def test_events_of_other_proposals_are_not_shown(service: HttpService) -> None:
    other = service.token("read", "--proposal", "4321")
    everything = service.token("read")
    with following(service, other) as hidden, following(service, everything) as shown:
        trigger(service, 1)
        until(shown, "run_finished")
        service.process.terminate()
        shown_to_other = [event["event"] for event in hidden]
        assert shown_to_other == ["begin"], "the stream ends with the service, and had nothing else"


def test_what_users_enter_is_told(service: HttpService) -> None:
    with following(service, service.token("read")) as events:
        trigger(service, 1)
        until(events, "run_finished")
        comment = "/v1/proposals/1234/runs/1/user-values/comment"
        assert service.local("PUT", comment, {"value": "good beam"}, **{"If-Match": '"1"'}).status == 412
        assert service.local("PUT", comment, {"value": "good beam"}, **{"If-Match": "*"}).status == 200
        told = json.loads(until(events, "user_value_changed")[-1]["data"])
        assert told["data"] == {"proposal": 1234, "run": 1, "name": "comment"}
        new = {"name": "quality", "type": "integer"}
        assert service.local("POST", "/v1/proposals/1234/user-variables", new).status == 201
        told = json.loads(until(events, "user_variables_changed")[-1]["data"])
        assert told["proposal"] == 1234 and told["data"] == {"proposal": 1234, "name": "quality"}


def test_a_revoked_token_gets_no_further_event(service: HttpService) -> None:
    token = service.token("read")
    with following(service, token) as events:
        trigger(service, 1)
        until(events, "run_finished")
        service.database.amore("token", "revoke", token.split("_")[1])
        # What a token may do is known for two seconds.
        wait_for("it is refused", lambda: service.ask("GET", "/v1/proposals", token).status_code == 401, service.process)
        service.database.amore("reprocess", "2")
        assert "run_finished" not in {event["event"] for event in events}, "the stream has ended"


def number(text: str, name: str) -> float:
    """A number of the metrics."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, f"there is no {name} in\n{text}"
    return float(found[1])


def test_metrics_count_what_happens(service: HttpService) -> None:
    trigger(service, 1)
    wait_for("the value", lambda: service.database.rows(1).get("a") == 1, service.process)

    def shown() -> str:
        answer = service.local("GET", "/metrics")
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        return answer.body.decode()

    wait_for("the run is counted", lambda: 'amore_runs_total{outcome="success"} 1' in shown(), service.process)
    text = shown()
    assert text.endswith("# EOF\n")
    assert number(text, 'amore_run_events_total{source="http"}') == 1
    assert number(text, "amore_event_to_value_seconds_count") == 1
    assert number(text, 'amore_variables_total{outcome="value"}') >= 1
    assert number(text, 'amore_directories{state="serving"}') == 1
    assert number(text, "amore_service_epoch") >= 1
    assert number(text, "amore_resident_memory_bytes") > 1e6
    assert service.ask("GET", "/metrics").status_code == 401


def test_an_event_that_leads_to_no_value_has_no_time(service: HttpService) -> None:
    def settled() -> int:
        events = service.local("GET", "/v1/inbox?run=1").json()["events"]
        return sum(event["state"] == "done" for event in events)

    for times in (1, 2):
        trigger(service, 1)
        wait_for("the event is done", lambda times=times: settled() == times, service.process)
    assert service.database.executions() == {"a": 1}, "the second had nothing to do"
    service.database.amore("reprocess", "1")
    assert service.database.executions() == {"a": 2}
    text = service.local("GET", "/metrics").body.decode()
    assert number(text, "amore_event_to_value_seconds_count") == 1
