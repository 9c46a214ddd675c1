"""Limits of the API: sizes, rates, connections, slow clients, names of the service."""

from __future__ import annotations

import signal
import socket
from typing import Any

import requests
from http_service import HttpService

from conftest import pipe

wait_for = pipe.wait_for


def test_large_requests_are_refused(start: Any) -> None:
    service = start("max_body_bytes = 2000")
    token = service.token("process")
    path = "/v1/proposals/1234/runs/1/triggers"
    large = service.ask("POST", path, token, json={"data": "raw", "key": "x" * 3000})
    assert large.status_code == 413 and large.json()["where"] == "body"
    assert service.ask("GET", "/v1/" + "x" * 5000, token).status_code == 414
    header = service.ask("GET", "/livez", headers={"X-Long": "x" * 20_000})
    assert header.status_code == 431
    many = service.ask("GET", "/livez", headers={f"X-{number}": "1" for number in range(100)})
    assert many.status_code == 431


def test_a_client_that_asks_too_often_waits_and_others_do_not(start: Any) -> None:
    service = start("requests_per_second = 0.5")
    answers = [service.local("GET", "/v1/proposals") for _ in range(30)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused and answers[0].status == 200
    assert int(refused[0].headers["retry-after"]) >= 1
    # By TCP it is somebody else.
    wait_for("another client is served", lambda: service.ask("GET", "/livez").ok, service.process)


def test_connections_are_counted(start: Any) -> None:
    service = start("max_connections_per_client = 3\nheader_seconds = 600.0")
    held: list[socket.socket] = []

    def is_refused() -> bool:
        try:
            return not service.ask("GET", "/livez", timeout=5).ok
        except requests.ConnectionError:
            return True

    def is_full() -> bool:
        # One that was made while an earlier one was being closed may itself have been refused.
        held.append(socket.create_connection(("127.0.0.1", service.port)))
        return is_refused()

    wait_for("one more connection is closed", is_full, service.process)
    assert service.local("GET", "/livez").status == 200, "another client is served"
    for connection in held:
        connection.close()
    wait_for("a place is free again", lambda: not is_refused(), service.process)


def test_a_client_that_does_not_finish_its_header_is_left(start: Any) -> None:
    service = start("header_seconds = 0.5")
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as slow:
        slow.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        answer = slow.recv(4096)
        assert answer == b"" or b"408" in answer


def test_a_body_that_does_not_come_is_not_waited_for(start: Any) -> None:
    service = start("request_seconds = 0.5")
    token = service.token("process")
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as slow:
        slow.sendall(
            b"POST /v1/proposals/1234/runs/1/triggers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\nAuthorization: Bearer " + token.encode() + b"\r\n\r\n{"
        )
        answer = slow.recv(4096)
        assert answer.startswith(b"HTTP/1.1 504 ") and b"\r\nretry-after: " in answer.lower()


def test_pages_of_other_sites_get_nothing(service: HttpService) -> None:
    token = service.token("read")
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        refused = service.ask("GET", "/v1/proposals", token, headers=headers)
        assert refused.status_code == 403, headers
    assert service.ask("GET", "/v1/proposals", token, headers={"Origin": f"http://localhost:{service.port}"}).ok


def test_a_request_names_one_host_and_that_is_the_service(service: HttpService) -> None:
    def status(*lines: str) -> int:
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
            connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
        return int(answer.split()[1])

    assert status("GET /livez HTTP/1.1", "Host: localhost") == 200
    assert status("GET http://localhost/livez HTTP/1.1", "Host: localhost") == 200
    assert status("GET /livez HTTP/1.1", "Host: localhost", "Host: localhost") == 400
    assert status("GET /livez HTTP/1.1", "Host: localhost", "Host: evil.example") == 400
    assert status("GET http://evil.example/livez HTTP/1.1", "Host: localhost") == 403
    assert status("GET http://localhost/livez HTTP/1.1", "Host: evil.example") == 403
    twice = ["Authorization: Bearer a", "Authorization: Bearer b"]
    assert status("GET /livez HTTP/1.1", "Host: localhost", *twice) == 400


def test_addresses_are_good_names_beside_those_that_are_listed(start: Any) -> None:
    service = start('listen = "0.0.0.0:PORT"\nplain_text = true\nhosts = ["damnit.example.org"]')
    for host, status in (("damnit.example.org", 200), ("127.0.0.1", 200), ("localhost:1", 200), ("max-exfl", 403)):
        assert service.ask("GET", "/livez", headers={"Host": host}).status_code == status, host


def test_what_is_configured_wrongly_is_said(database: Any) -> None:
    for text, words in (
        ('listen = "0.0.0.0:1"', "unencrypted"),
        ('certificate = "none.pem"\nkey = "none.pem"', "none.pem"),
        ("lisen = 1", "unknown field"),
    ):
        (database.path / "service.toml").write_text(f"[http]\n{text}\n")
        assert words in database.amore("listen", code=1).stderr, text


def test_settings_are_read_again(service: HttpService) -> None:
    path = service.database.path / "service.toml"
    path.write_text(path.read_text() + 'base_path = "/amore"\n')
    service.process.send_signal(signal.SIGHUP)

    def moved() -> bool:
        try:
            return service.ask("GET", "/amore/livez", timeout=5).ok
        except requests.ConnectionError:
            return False

    wait_for("the new settings", moved, service.process)
    assert service.ask("GET", "/livez").status_code == 404
    assert service.ask("GET", "/amore/openapi.json").json()["servers"] == [{"url": "/amore"}]
