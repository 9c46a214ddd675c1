"""Logs that are followed: they hold up nothing else, and end with the right to them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from http_service import HttpService

from conftest import pipe

wait_for = pipe.wait_for
LOGS = "/v1/proposals/1234/runs/1/logs"
FOLLOWERS = 8


def test_who_follows_logs_keeps_nobody_else_waiting(service: HttpService) -> None:
    service.database.amore("reprocess", "1")
    token = service.token("read")
    with contextlib.ExitStack() as stack:
        for _ in range(FOLLOWERS):
            answer = service.ask("GET", f"{LOGS}?follow=true", token, stream=True, timeout=120)
            assert stack.enter_context(answer).status_code == 200
        assert service.ask("GET", LOGS, token).ok
        assert service.ask("GET", "/v1/proposals/1234/runs/1/explain", token).ok


def test_following_ends_with_the_token(service: HttpService) -> None:
    service.database.context("@Variable()\ndef a(run):\n    print('something')\n    return 1\n")
    service.database.amore("reprocess", "1")
    token = service.token("read")
    with service.ask("GET", f"{LOGS}?follow=true", token, stream=True, timeout=120) as answer:
        lines = answer.iter_lines(chunk_size=1, decode_unicode=True)
        assert any("something" in line for line in lines)
        service.database.amore("token", "revoke", token.split("_")[1])
        # It does not wait for new lines.
        for _ in lines:
            pass


def test_nothing_is_left_of_a_service_that_is_killed(service: HttpService) -> None:
    service.database.amore("reprocess", "1")
    token = service.token("read")
    with service.ask("GET", f"{LOGS}?follow=true", token, stream=True, timeout=120) as answer:
        assert answer.status_code == 200
        wait_for("the process that follows", lambda: followers(service), service.process)
        service.process.kill()
        service.process.wait()
        wait_for("its end", lambda: not followers(service))


def followers(service: HttpService) -> list[str]:
    """Processes that follow logs of the directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if "--follow" in words and f"--in={service.database.path}" in words:
            found.append(process.name)
    return found
