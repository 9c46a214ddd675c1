"""A service whose account is not that of the users of its databases, on the same host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from http_service import HttpService

from conftest import pipe

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can be other users")
wait_for = pipe.wait_for

ALICE, BOB = 54331, 54332

ASK = """
import http.client, json, os, socket, sys
uid, path, method, target = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
connection = http.client.HTTPConnection("localhost", timeout=60)
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(path)
connection.request(method, target)
answer = connection.getresponse()
print(json.dumps([answer.status, answer.read().decode()]))
"""

CLIENT = """
import os, sys
from damnit_ctx.client import connect
uid, directory = int(sys.argv[1]), sys.argv[2]
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
proposal = connect(directory).proposal(1234)
print(*(row["run"] for row in proposal.table()))
"""


def ask(uid: int, socket: Path, method: str, target: str) -> Any:
    """The status and text of the answer that a user gets."""
    words = [sys.executable, "-c", ASK, str(uid), str(socket), method, target]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


def let_through(path: Path) -> None:
    """The test's own folders are for its user alone."""
    for above in [path, *path.parents]:
        if above.stat().st_uid == os.getuid() and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode & 0o7777 | 0o011)


@pytest.fixture
def facility(database: Any, tmp_path: Path) -> Iterator[Callable[[], tuple[Path, Any]]]:
    """Starts a service in a directory that users cannot enter, with a socket for all of them."""
    started = []

    def start() -> tuple[Path, Any]:
        # A socket has a short path.
        socket = Path(f"/tmp/amore-{os.getpid()}.sock")
        place = tmp_path / "service"
        place.mkdir(mode=0o700)
        (place / "service.toml").write_text(f'[runs]\nquiet_seconds = 1e9\n[http]\npublic_socket = "{socket}"\n')
        database.amore("listener", "add", "1234", str(database.path), cwd=place)
        process = database.start("listen", cwd=place)
        started.append(process)
        wait_for("the service owns the directory", lambda: database.is_owned_by(process), process)
        wait_for("the socket", socket.exists, process)
        return socket, process

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=60)


def test_users_reach_a_service_whose_directory_they_cannot_enter(database: Any, facility: Callable[..., Any]) -> None:
    let_through(database.path)
    os.chown(database.path, ALICE, ALICE)
    database.path.chmod(0o2750)
    (database.path / "runs.sqlite").chmod(0o640)
    socket, process = facility()
    # It leads there from the database.
    link = database.path / ".amore/service.sock"
    wait_for("the link", link.is_symlink, process)
    assert os.readlink(link) == str(socket)
    database.amore("reprocess", "2")
    command = [sys.executable, "-c", CLIENT, str(ALICE), str(database.path)]
    environment = {**os.environ, "PYTHONPATH": str(pipe.REPOSITORY / "context")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "2\n", done.stderr
    status, text = ask(ALICE, socket, "GET", "/v1/proposals")
    assert status == 200 and json.loads(text)["proposals"][0]["directories"][0]["right"] == "admin"
    assert ask(ALICE, socket, "GET", "/v1/proposals/1234/table")[0] == 200
    assert json.loads(ask(BOB, socket, "GET", "/v1/proposals")[1]) == {"proposals": []}
    assert ask(BOB, socket, "GET", "/v1/proposals/1234/table")[0] == 404
    for user in (ALICE, BOB):
        assert ask(user, socket, "GET", "/v1/inbox")[0] == 403, "the service is not theirs"


def test_who_sees_the_service_does_not_see_others_events(database: Any, facility: Callable[..., Any], tmp_path: Path) -> None:
    let_through(database.path)
    os.chown(database.path, ALICE, ALICE)
    database.path.chmod(0o700)
    socket, process = facility()
    let_through(tmp_path / "service")
    (tmp_path / "service").chmod(0o755)
    database.amore("trigger", "1")

    def events(user: int) -> Any:
        return json.loads(ask(user, socket, "GET", "/v1/inbox")[1]).get("events")

    wait_for("the event", lambda: events(ALICE), process)
    assert 1 in {event["run"] for event in events(ALICE)}
    assert events(BOB) == []
    number = events(ALICE)[0]["event"]
    assert ask(ALICE, socket, "GET", f"/v1/inbox/{number}")[0] == 200
    assert ask(BOB, socket, "GET", f"/v1/inbox/{number}")[0] == 404


def test_a_link_of_a_user_leads_the_service_nowhere(service: HttpService, tmp_path: Path) -> None:
    """What the service may read, and the user may not."""
    database = service.database
    database.amore("reprocess", "1")
    value, logs = "/v1/proposals/1234/runs/1/variables/a/value", "/v1/proposals/1234/runs/1/logs"
    assert service.local("GET", value).json()["data"] == 1 and service.local("GET", logs).status == 200
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    for name in ("extracted_data", "process_logs"):
        (database.path / name).rename(secret / name)
        (database.path / name).symlink_to(secret / name)
        os.lchown(database.path / name, ALICE, ALICE)
    refused = service.local("GET", value)
    assert refused.status >= 400 and b"symbolic link to a folder of another user" in refused.body
    assert service.local("GET", logs).status >= 400
    # Nor is anything written there.
    before = sorted(path.name for path in (secret / "extracted_data").iterdir())
    stored = (secret / "extracted_data/p1234_r1.h5").read_bytes()
    said = database.amore("reprocess", "1", code=None)
    assert "symbolic link to a folder of another user" in said.stdout + said.stderr
    assert sorted(path.name for path in (secret / "extracted_data").iterdir()) == before
    assert (secret / "extracted_data/p1234_r1.h5").read_bytes() == stored
    # A link of one's own is a usual thing.
    for name in ("extracted_data", "process_logs"):
        os.lchown(database.path / name, os.getuid(), os.getgid())
    assert service.local("GET", value).json()["data"] == 1


def link_of_alice(at: Path, to: Path) -> None:
    """A link that a user has put where the service reads or writes."""
    at.parent.mkdir(exist_ok=True)
    at.unlink(missing_ok=True)
    at.symlink_to(to)
    os.lchown(at, ALICE, ALICE)


def test_links_in_the_folders_of_the_service_lead_it_nowhere(service: HttpService, tmp_path: Path) -> None:
    database = service.database
    secret = tmp_path / "secret.py"
    secret.write_text("TOKEN = 'hush'\n")
    secret.chmod(0o600)
    # The log of a run: what user code prints would be appended.
    link_of_alice(database.path / "process_logs/r2-p1234.out", secret)
    said = database.amore("reprocess", "2", code=None)
    assert "it is no regular file" in said.stdout + said.stderr
    # A trigger: its text is shown in the inbox, and its file is removed.
    link_of_alice(database.path / ".amore/triggers/1.json", secret)
    wait_for("the end of the link", lambda: not (database.path / ".amore/triggers/1.json").is_symlink(), service.process)
    failed = service.local("GET", "/v1/inbox?state=failed").body
    assert b"it is no regular file" in failed and b"hush" not in failed
    # The answer to a request.
    requests = database.path / ".amore/requests"
    link_of_alice(requests / "00000000000000000001-999.events", secret)
    (requests / "00000000000000000001-999.json").write_text("{")
    wait_for("the end of the request", lambda: not (requests / "00000000000000000001-999.json").exists(), service.process)
    # The context file, which is given to user code.
    link_of_alice(database.path / "context.py", secret)
    said = database.amore("reprocess", "3", code=None)
    assert f"a symbolic link to a file that user {ALICE}, who made the link, may not read" in said.stdout + said.stderr
    assert secret.read_text() == "TOKEN = 'hush'\n"


def test_what_is_never_written_is_not_waited_for(service: HttpService) -> None:
    """A FIFO keeps whoever opens it until somebody opens its other end."""
    database = service.database
    context = (database.path / "context.py").read_text()
    (database.path / "context.py").unlink()
    os.mkfifo(database.path / "context.py")
    for name in (".amore/triggers/1.json", ".amore/requests/1.json"):
        (database.path / name).parent.mkdir(exist_ok=True)
        os.mkfifo(database.path / name)
    said = database.amore("reprocess", "1", code=None)
    assert "is a device or a pipe, not a file" in said.stdout + said.stderr
    (database.path / "context.py").unlink()
    (database.path / "context.py").write_text(context)
    database.amore("trigger", "2")
    wait_for("the value", lambda: database.rows(2).get("a") == 1, service.process)


def test_the_owner_of_a_context_file_stays_its_owner(service: HttpService) -> None:
    context = service.database.path / "context.py"
    os.chown(context, ALICE, BOB)
    context.chmod(0o640)
    subprocess.run(["setfacl", "-m", f"u:{BOB}:rw", str(context)], check=True)
    before = subprocess.run(["getfacl", "-np", str(context)], check=True, capture_output=True, text=True).stdout
    read = service.local("GET", "/v1/proposals/1234/context")
    text = read.body + b"\n# changed\n"
    answer = service.ask(
        "PUT",
        "/v1/proposals/1234/context",
        service.token("admin"),
        data=text,
        headers={"If-Match": read.headers["etag"], "Content-Type": "text/x-python"},
    )
    assert answer.ok, answer.text
    assert context.read_bytes() == text
    after = subprocess.run(["getfacl", "-np", str(context)], check=True, capture_output=True, text=True).stdout
    assert after == before
