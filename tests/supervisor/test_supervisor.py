"""`amore listen --daemonize` and the manual's section "Managing the backend", with the real Supervisor."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from supervised import Service, alive, wait_for

RUNNING = re.compile(r"^damnit                           RUNNING   pid \d+, uptime \d:\d\d:\d\d\n$")


def without_numbers(text: str, service: Service) -> str:
    """The output without what differs between two runs."""
    text = text.replace(str(service.path), "<dir>")
    return re.sub(r"pid \d+, uptime \d:\d\d:\d\d", "pid <pid>, uptime <time>", text)


def test_what_the_manual_shows(service: Service) -> None:
    assert without_numbers(service.daemonize(), service) == (
        "Started the service under Supervisor: damnit RUNNING pid <pid>, uptime <time>\n"
        "Control it on any host with: supervisorctl -c <dir>/supervisord.conf status damnit\n"
    )
    wait_for("amore.log", (service.path / "amore.log").exists)
    assert service.run("ls").split() == [
        "amore.log",
        "context.py",
        "extracted_data",
        "runs.sqlite",
        "supervisord.conf",
        "supervisord.log",
    ]
    first = service.service()
    assert RUNNING.match(service.control("status", "damnit"))
    assert service.control("restart", "damnit") == "damnit: stopped\ndamnit: started\n"
    assert RUNNING.match(service.control("status", "damnit"))
    second = service.service()
    assert first and second and first != second and not alive(first)
    assert service.control("stop", "damnit") == "damnit: stopped\n"
    assert "STOPPED" in service.control("status", "damnit", code=3)
    assert not alive(second)


def test_files_are_for_the_group_and_nobody_else_writes_them(make_service: Callable[..., Service]) -> None:
    # Even for somebody whose files everybody may write.
    service = make_service(umask=0)
    for path in (service.path, *service.path.rglob("*")):
        path.chmod(0o2770 if path.is_dir() else 0o660)
    (service.path / "supervisord.log").write_text("what DAMNIT left\n")
    (service.path / "supervisord.log").chmod(0o666)
    service.daemonize()
    wait_for("amore.log", (service.path / "amore.log").exists)
    assert service.mode("supervisord.conf") == 0o660
    assert service.mode("supervisord.log") == 0o660
    assert service.mode(".amore/supervisord.pid") == 0o660
    assert service.mode(".amore/listen.out") == 0o660
    assert service.world_writable() == []
    assert "what DAMNIT left" in (service.path / "supervisord.log").read_text()
    # Neither password nor user name can be guessed, and the password is in no other file.
    password = service.setting("inet_http_server", "password")
    assert re.fullmatch(r"[0-9a-f]{64}", password)
    assert password != service.setting("inet_http_server", "username")
    others = [path for path in service.path.rglob("*") if path.is_file() and path.name != "supervisord.conf"]
    assert [path for path in others if password.encode() in path.read_bytes()] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to a group that it is not a member of")
def test_the_files_belong_to_the_group_of_the_directory(service: Service) -> None:
    for path in (service.path, *service.path.rglob("*")):
        os.chown(path, -1, 12345)
    service.daemonize()
    for name in ("supervisord.conf", "supervisord.log"):
        found = (service.path / name).stat()
        assert (found.st_gid, found.st_mode & 0o777) == (12345, 0o660), name


def test_a_second_start_changes_nothing(service: Service) -> None:
    service.daemonize()
    before = service.service(), service.supervisord(), (service.path / "supervisord.conf").read_text()
    assert without_numbers(service.daemonize(), service) == (
        "The service is running already: damnit RUNNING pid <pid>, uptime <time>\n"
        "Control it on any host with: supervisorctl -c <dir>/supervisord.conf status damnit\n"
    )
    assert (service.service(), service.supervisord(), (service.path / "supervisord.conf").read_text()) == before


def test_several_starts_at_once_start_one(service: Service) -> None:
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda _: service.daemonize(), range(4)))
    assert sorted(words.split(":")[0] for words in said) == [
        "Started the service under Supervisor",
        *["The service is running already"] * 3,
    ]


def test_a_stopped_service_is_started_by_its_supervisord(service: Service) -> None:
    service.daemonize()
    supervisord, before = service.supervisord(), service.service()
    service.control("stop", "damnit")
    assert service.daemonize().startswith("Started the service: damnit RUNNING")
    assert service.supervisord() == supervisord
    assert service.service() not in (None, before)


def test_after_supervisord_was_killed_there_is_a_new_one(service: Service) -> None:
    service.daemonize()
    supervisord, process = service.supervisord(), service.service()
    old = service.setting("inet_http_server", "password")
    assert supervisord and process
    os.kill(supervisord, signal.SIGKILL)
    wait_for("its end", lambda: not alive(supervisord))
    assert "refused connection" in service.control("status", "damnit", code=4)
    said = service.daemonize()
    assert said.startswith("Started the service under Supervisor")
    # The service of the old one goes on, and the new one's is not who serves.
    assert f"warning: process {process} of " in said and "waits to take over" in said
    assert "amore service status" in said
    assert service.setting("inet_http_server", "password") != old
    assert service.supervisord() != supervisord
    assert RUNNING.match(service.control("status", "damnit"))


def test_during_and_after_a_shutdown_it_can_be_started_again(service: Service) -> None:
    service.daemonize()
    process = service.service()
    assert service.control("shutdown") == "Shut down\n"
    assert service.daemonize().startswith("Started the service under Supervisor")
    assert process and not alive(process)
    supervisord = service.supervisord()
    assert service.control("shutdown") == "Shut down\n"
    assert supervisord
    wait_for("its end", lambda: not alive(supervisord))
    assert service.daemonize().startswith("Started the service under Supervisor")


def test_a_supervisord_that_hangs_is_not_joined_by_another(service: Service) -> None:
    service.daemonize()
    pid = service.supervisord()
    assert pid
    os.kill(pid, signal.SIGSTOP)
    said = service.amore("listen", "--daemonize", code=1)
    assert f"a supervisord of this directory runs on this host (process {pid})" in said
    assert f"hint: end it (kill {pid})" in said
    os.kill(pid, signal.SIGCONT)
    # Nor if somebody has deleted the file.
    (service.path / "supervisord.conf").unlink()
    assert f"(process {pid})" in service.daemonize(code=1)


def test_whoever_else_answers_is_not_taken_for_the_supervisord(service: Service, make_service: Callable[..., Service]) -> None:
    # The supervisord of another directory has the port now.
    other = make_service("other")
    other.daemonize()
    service.daemonize()
    service.control("shutdown")
    wait_for("its end", lambda: service.supervisord() is None)
    conf = service.path / "supervisord.conf"
    port, others = (one.setting("inet_http_server", "port")[2:] for one in (service, other))
    conf.write_text(conf.read_text().replace(port, others))
    said = service.daemonize(code=1)
    assert "is not its supervisord: it does not accept the user name and password in that file" in said
    assert f"delete {conf} and try again" in said
    # A program of another kind.
    with socket.create_server(("", 0)) as server:
        threading.Thread(target=greet, args=(server,), daemon=True).start()
        conf.write_text(conf.read_text().replace(others, str(server.getsockname()[1])))
        assert "is not its supervisord" in service.daemonize(code=1)
    # The advice works.
    conf.unlink()
    assert service.daemonize().startswith("Started the service under Supervisor")


def greet(server: socket.socket) -> None:
    """Answers as no web server does, until the socket is closed."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(65536)
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def test_a_broken_configuration_is_named(service: Service) -> None:
    conf = service.path / "supervisord.conf"
    conf.write_text("nothing")
    said = service.daemonize(code=1)
    assert f"error: {conf} cannot be used: " in said and f"delete {conf} and try again" in said
    assert conf.read_text() == "nothing"


def test_a_service_that_ends_at_once_is_an_error_with_what_it_said(service: Service) -> None:
    service.program("raise SystemExit('no space left on device')")
    said = service.daemonize(code=1)
    assert "error: the service ended: damnit FATAL Exited too quickly" in said
    assert "no space left on device" in said
    assert f"see amore.log and {service.path}/.amore/listen.out" in said


def test_without_supervisor_it_is_said_how_to_get_it(service: Service) -> None:
    said = service.amore("listen", "--daemonize", code=1, env={**service.environment, "PATH": "/bin:/usr/bin"})
    assert "there is no supervisord on PATH, nor beside this program" in said
    assert "pip install supervisor" in said


def test_a_wrong_template_starts_nothing(service: Service) -> None:
    (service.path / ".amore/templates").mkdir(parents=True, exist_ok=True)
    template = service.path / ".amore/templates/supervisord.conf.tera"
    template.write_text("[supervisord]\n")
    assert f"the template {template} is invalid: it has no section [program:damnit]" in service.daemonize(code=1)
    assert not (service.path / "supervisord.conf").exists()


@pytest.mark.parametrize("name", ["it's 5 $HOME", "a;b#c"])
def test_paths_with_odd_characters(make_service: Callable[..., Service], name: str) -> None:
    service = make_service(name)
    service.daemonize()
    pid = service.service()
    assert pid and os.readlink(f"/proc/{pid}/cwd") == str(service.path)


@pytest.mark.parametrize("name", ["a ;b", "5 %"])
def test_a_path_that_cannot_be_written_into_the_configuration(make_service: Callable[..., Service], name: str) -> None:
    said = make_service(name).daemonize(code=1)
    assert "cannot be written into Supervisor's configuration" in said and "rename the directory" in said


def test_a_directory_can_be_given_and_must_exist(service: Service) -> None:
    elsewhere = service.path.parent
    said = service.amore("listen", str(service.path.name), "--daemonize", cwd=elsewhere)
    assert said.startswith("Started the service under Supervisor")
    assert "there is no directory" in service.amore("listen", "nowhere", "--daemonize", code=1)


def test_the_service_has_no_terminal_and_outlives_the_session(service: Service) -> None:
    command = [str(service.amore_program), "listen", "--daemonize"]
    subprocess.run(
        command, cwd=service.path, env=service.environment, start_new_session=True, check=True, capture_output=True, timeout=60
    )
    pid, supervisord = service.service(), service.supervisord()
    assert pid and supervisord
    assert os.getsid(supervisord) == supervisord
    assert {os.readlink(f"/proc/{supervisord}/fd/{number}") for number in range(3)} == {"/dev/null"}
