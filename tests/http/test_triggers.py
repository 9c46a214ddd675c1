"""Triggers and requests by HTTP end as values in the table."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from http_service import HttpService

from conftest import pipe

wait_for = pipe.wait_for


def test_a_trigger_is_stored_once_and_processed(service: HttpService) -> None:
    token = service.token("process", "--proposal", "1234")
    body = {"data": "raw", "key": "migration-17"}
    first = service.ask("POST", "/v1/proposals/1234/runs/2/triggers", token, json=body)
    assert first.status_code == 202
    again = service.ask("POST", "/v1/proposals/1234/runs/2/triggers", token, json=body)
    assert again.json() == first.json()
    wait_for("the value", lambda: service.database.rows(2).get("a") == 1, service.process)
    event = first.json()["event"]

    def state() -> Any:
        return service.local("GET", f"/v1/inbox/{event}").json()["state"]

    wait_for("the event is done", lambda: state() == "done", service.process)
    listed = service.local("GET", "/v1/inbox?source=http&state=done").json()["events"]
    assert [(one["event"], one["source"]) for one in listed] == [(event, "http")]
    assert service.local("GET", "/v1/inbox?source=http&state=failed").json() == {"events": []}
    assert service.database.executions() == {"a": 1}


def test_there_is_a_run_0(service: HttpService) -> None:
    assert service.local("POST", "/v1/proposals/1234/runs/0/triggers", {"data": "raw"}).status == 202
    service.database.amore("trigger", "0", "--proc")

    def reports() -> set[tuple[str, int, str]]:
        listed = service.local("GET", "/v1/inbox").json()["events"]
        return {(one["source"], one["run"], one["data"]) for one in listed}

    known = {("http", 0, "raw"), ("command", 0, "proc")}
    wait_for("both events are stored", lambda: known <= reports(), service.process)


def test_a_trigger_is_not_lost_when_the_service_is_killed(service: HttpService, start: Any) -> None:
    assert service.local("POST", "/v1/proposals/1234/runs/1/triggers", {"data": "raw"}).status == 202
    service.process.kill()
    service.process.wait()
    again = start()
    wait_for("the value", lambda: again.database.rows(1).get("a") == 1, again.process)


def test_reprocess_shows_its_progress(service: HttpService) -> None:
    asked = service.local("POST", "/v1/proposals/1234/reprocess", {"runs": [1, 2, 99], "variables": ["a"]})
    assert asked.status == 202, asked.body
    path = asked.json()["progress"]
    progress = wait_for(
        "the end of the request",
        lambda: (found := service.local("GET", path).json()) and found["ended"] and found,
        service.process,
    )
    assert [service.database.rows(run)["a"] for run in (1, 2)] == [1, 1]
    last = progress["events"][-1]
    assert (last["event"], last["values"], last["runs_missing"]) == ("finished", 2, 1)
    assert service.local("GET", path + "0").status == 404


@pytest.mark.parametrize("run", [1, 777], ids=["with data", "without data"])
def test_an_unknown_variable_refuses_a_request_for_any_run(service: HttpService, run: int) -> None:
    body = {"runs": [run], "variables": ["nope"]}
    path = service.local("POST", "/v1/proposals/1234/reprocess", body).json()["progress"]
    wait_for("the end of the request", lambda: service.local("GET", path).json()["ended"], service.process)
    last = service.local("GET", path).json()["events"][-1]
    assert last["event"] == "refused" and "nope" in last["message"], last


def test_the_log_does_not_list_all_runs(service: HttpService) -> None:
    body = {"runs": list(range(1, 100_000)), "variables": ["a"]}
    path = service.local("POST", "/v1/proposals/1234/reprocess", body).json()["progress"]
    wait_for("the end of the request", lambda: service.local("GET", path).json()["ended"], service.process)
    written = [line for log in service.database.path.glob("*.log") for line in log.read_text().splitlines()]
    assert any("99999 runs (1, 2, 3, 4, 5, …)" in line for line in written)
    assert max(len(line) for line in written) < 10_000


def test_cancel_ends_what_runs(service: HttpService) -> None:
    service.database.context(
        """
@Variable(title="Slow")
def slow(run):
    effect("slow")
    import time
    time.sleep(600)
"""
    )
    path = service.local("POST", "/v1/proposals/1234/reprocess", {"runs": [1]}).json()["progress"]
    wait_for("the variable runs", lambda: service.database.executions().get("slow"), service.process)
    assert service.local("POST", "/v1/proposals/1234/cancel", {"what": "1"}).status == 202
    wait_for("the request ends", lambda: service.local("GET", path).json()["ended"], service.process)


def test_bad_input_says_what_where_and_what_to_do(service: HttpService) -> None:
    def refused(path: str, body: Any, status: int) -> Any:
        answer = service.local("POST", path, body)
        problem = answer.json()
        assert answer.status == problem["status"] == status, answer.body
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["detail"] and problem["title"] and problem["type"].startswith("urn:amore:problem:")
        return problem

    trigger = "/v1/proposals/1234/runs/2/triggers"
    assert "raw" in refused(trigger, {"data": "cooked"}, 400)["detail"]
    assert refused(trigger, {"data": "raw", "key": "x" * 201}, 400)["where"] == "body, key"
    assert refused(trigger, {"data": "raw", "key": "a\0b"}, 400)["where"] == "body, key"
    for number in (100_000, 4_294_967_295):
        problem = refused(f"/v1/proposals/1234/runs/{number}/triggers", {"data": "raw"}, 400)
        assert problem["where"] == "path" and "0 to 99999" in problem["detail"]
    assert service.local("GET", "/v1/inbox?source=http").json()["events"] == []
    assert "unknown field" in refused(trigger, {"data": "raw", "kez": "1"}, 400)["detail"]
    assert refused("/v1/proposals/abc/runs/2/triggers", {"data": "raw"}, 400)["where"] == "path"
    assert refused("/v1/proposals/1234/runs/-2/triggers", {"data": "raw"}, 400)["where"] == "path"
    assert "amore listener add" in refused("/v1/proposals/77/runs/2/triggers", {"data": "raw"}, 404)["hint"]
    assert refused("/v1/proposals/1234/reprocess", {"runs": []}, 400)["where"] == "body, runs"
    for runs in ("some", 7, [-1], [1.5]):
        detail = refused("/v1/proposals/1234/reprocess", {"runs": runs}, 400)["detail"]
        assert 'a list of run numbers, such as [1, 2], or "all"' in detail, detail
    elsewhere = refused("/v1/proposals/1234/reprocess?directory=/etc", {"runs": [1]}, 404)
    assert "/etc" not in elsewhere["detail"]
    assert refused("/v1/proposals/1234/cancel", {"what": "; rm -rf /"}, 400)
    assert service.local("GET", "/nothing/here").json()["status"] == 404
    assert service.local("DELETE", "/v1/proposals").json()["status"] == 405
    assert service.ask("POST", trigger, service.token("process"), data="{}").status_code == 415


def test_the_api_ends_with_the_service(service: HttpService) -> None:
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(timeout=60) == 0
    assert not service.socket.exists()
