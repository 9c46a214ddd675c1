"""Who may do what: tokens and their rights, and users of this host."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import Any

import pytest
from http_service import HttpService

RIGHTS = ["read", "process", "admin"]
#: Routes that need no token.
OPEN = {"/livez", "/readyz"}
#: Routes that show what the caller may read, if that is nothing.
SHOWS_WHAT_IS_ALLOWED = {"/v1/proposals", "/v1/events"}


def routes(service: HttpService) -> list[tuple[str, str, str | None]]:
    """Method, path and right of every route in the document."""
    document = service.ask("GET", "/openapi.json").json()
    found = []
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            needs = [rights for one in route["security"] for rights in one.get("token", [])]
            found.append((method.upper(), path, needs[0] if needs else None))
    return found


def filled(path: str) -> str:
    """A path of the document with values."""
    return path.replace("{p}", "1234").replace("{r}", "1").replace("{id}", "7").replace("{name}", "a")


def test_every_route_needs_what_its_document_says(service: HttpService) -> None:
    tokens = {right: service.token(right) for right in RIGHTS}
    elsewhere = service.token("admin", "--proposal", "4321")
    assert len(routes(service)) > 5
    for method, path, right in routes(service):
        if path in OPEN:
            assert right is None and service.status(method, filled(path)).ok
            continue
        assert right in RIGHTS, f"{method} {path} does not say what it needs"
        place = f"{method} {path}"
        refused = service.status(method, filled(path), json={})
        assert refused.status_code == 401, place
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        wrong = tokens["read"][:-1] + ("0" if tokens["read"][-1] != "0" else "1")
        assert service.status(method, filled(path), wrong, json={}).status_code == 401, place
        for has, token in tokens.items():
            status = service.status(method, filled(path), token, json={}).status_code
            if RIGHTS.index(has) < RIGHTS.index(right):
                assert status == 403, (place, has)
            else:
                assert status not in (401, 403) and status < 500, (place, has)
        if path not in SHOWS_WHAT_IS_ALLOWED:
            assert service.status(method, filled(path), elsewhere, json={}).status_code == 403, place
    assert service.ask("GET", "/v1/proposals", elsewhere).json() == {"proposals": []}


def test_a_revoked_token_is_refused(service: HttpService) -> None:
    token = service.token("read")
    assert service.ask("GET", "/v1/proposals", token).ok
    [row] = json.loads(service.database.amore("token", "list", "--json").stdout)
    assert row["right"] == "read" and row["valid"] and token.split("_")[2] not in json.dumps(row)
    admin = service.token("admin")
    assert service.ask("DELETE", f"/v1/tokens/{row['id']}", admin).status_code == 204
    assert service.ask("GET", "/v1/proposals", token).status_code == 401
    listed = {one["id"]: one for one in service.ask("GET", "/v1/tokens", admin).json()["tokens"]}
    assert not listed[row["id"]]["valid"]
    service.database.amore("token", "revoke", admin.split("_")[1])
    assert "revoked" in service.database.amore("token", "list").stdout
    again = service.database.amore("token", "revoke", row["id"], code=1)
    assert "no valid token" in again.stderr


def test_a_token_that_cannot_be_meant_is_not_made(service: HttpService) -> None:
    for words in (["a\nb"], ["a\x1b[31m"], ["a", "--days", "0"], ["a", "--days", "36501"]):
        refused = service.database.amore("token", "new", *words, code=2)
        assert "control characters" in refused.stderr or "greater than 0 and at most 36500" in refused.stderr
    assert json.loads(service.database.amore("token", "list", "--json").stdout) == []
    service.database.amore("token", "new", "a", "--days", "36500")


def test_secrets_are_nowhere_on_disk(service: HttpService) -> None:
    token = service.token("admin")
    assert service.ask("GET", "/v1/proposals", token).ok
    secret = token.split("_")[2].encode()
    for path in service.database.path.rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes(), path


def test_on_the_socket_files_decide(service: HttpService) -> None:
    mode = stat.S_IMODE(os.stat(service.socket).st_mode)
    assert mode == 0o660
    [proposal] = service.local("GET", "/v1/proposals").json()["proposals"]
    assert proposal["proposal"] == 1234
    [directory] = proposal["directories"]
    assert directory["right"] == "admin" and directory["path"] == str(service.database.path)


ASK = """
import http.client, json, os, socket, sys
uid, gid, path, method, target = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
os.setgroups([])
os.setgid(gid)
os.setuid(uid)
connection = http.client.HTTPConnection("localhost", timeout=60)
connection.sock = socket.socket(socket.AF_UNIX)
folder = int(sys.argv[6])
connection.sock.connect(f"/proc/self/fd/{folder}/service.sock")
body = "{}" if method == "POST" else None
connection.request(method, target, body=body, headers={"Content-Type": "application/json"})
answer = connection.getresponse()
print(json.dumps([answer.status, answer.read().decode()]))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be other users")
def test_another_user_may_do_what_he_may_do_with_the_files(service: HttpService) -> None:
    folder = service.database.path
    # The test's own folder is for its user alone.
    for above in [folder, *folder.parents]:
        if above.stat().st_uid == os.getuid() and not above.stat().st_mode & 0o001:
            above.chmod(0o755)

    def ask(method: str, path: str, uid: int, gid: int) -> Any:
        opened = os.open(service.socket.parent, os.O_RDONLY)
        try:
            words = [sys.executable, "-c", ASK, str(uid), str(gid), str(service.socket), method, path, str(opened)]
            done = subprocess.run(words, capture_output=True, text=True, check=False, pass_fds=[opened])
        finally:
            os.close(opened)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    group = 54321
    assert "PermissionError" in ask("GET", "/v1/proposals", 54321, group), "the socket is for the group"
    os.chown(service.socket, -1, group)
    reprocess = "/v1/proposals/1234/reprocess"
    # Others may read the table, and not write.
    folder.joinpath("runs.sqlite").chmod(0o644)
    status, text = ask("GET", "/v1/proposals", 54321, group)
    assert status == 200 and '"right":"read"' in text
    assert ask("POST", reprocess, 54321, group)[0] == 403
    os.chown(folder, -1, group)
    folder.chmod(0o770)
    # Another user, because what a user may do is remembered for some seconds.
    assert ask("POST", reprocess, 54322, group)[0] == 400, "the body has no runs; it is allowed"
    folder.chmod(0o700)
    assert ask("POST", reprocess, 54323, group)[0] == 404, "it is not even seen"
