"""A directory whose service runs under the real Supervisor."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

REPOSITORY = Path(__file__).resolve().parents[2]
TEMPLATE = REPOSITORY / "templates/supervisord.conf.tera"

T = TypeVar("T")


def template_with(command: str) -> str:
    """The product's template with another program."""
    text = TEMPLATE.read_text()
    assert text.count("command={{ command }}") == 1
    return text.replace("{{ command }}", command)


def wait_for(what: str, condition: Callable[[], T], seconds: float = 60) -> T:
    """Waits until a condition holds, and returns its value."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds} s in vain for {what}"
        time.sleep(0.05)
    return found


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Service:
    """A database directory, with the commands of Amore and of Supervisor."""

    def __init__(self, path: Path, programs: Path, supervisor: Path, *, umask: int = 0o027) -> None:
        self.path = path
        self.amore_program = programs / "amore"
        self.supervisor = supervisor
        self.umask = umask
        path.mkdir(parents=True)
        self.amore("init", ".", "--proposal", "1234")
        (path / "extracted_data").mkdir()
        self.started: set[int] = set()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the commands; Supervisor is on PATH."""
        path = f"{self.supervisor}:/usr/bin:/bin"
        return {**os.environ, "PATH": path, "AMORE_NO_SLURM": "1"}

    def program(self, text: str) -> None:
        """Has Supervisor start a script instead of the service."""
        folder = self.path / ".amore/templates"
        folder.mkdir(parents=True, exist_ok=True)
        script = folder / "stand_in.py"
        script.write_text(text)
        (folder / TEMPLATE.name).write_text(template_with(f'/usr/bin/python3 -S -E "{script}"'))

    def run(self, *command: str | Path, code: int | None = 0, **options: Any) -> str:
        """Runs a command in the directory; returns all of its output."""
        options = {"cwd": self.path, "env": self.environment, "umask": self.umask, **options}
        ended = subprocess.run(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
            **options,
        )
        assert code is None or ended.returncode == code, (command, ended.returncode, ended.stdout)
        return ended.stdout

    def amore(self, *arguments: str, code: int | None = 0, **options: Any) -> str:
        """Runs Amore."""
        return self.run(self.amore_program, *arguments, code=code, **options)

    def daemonize(self, code: int = 0, **options: Any) -> str:
        """`amore listen --daemonize`."""
        try:
            return self.amore("listen", "--daemonize", code=code, **options)
        finally:
            self.started |= {pid for pid in (self.supervisord(), self.service()) if pid}

    def control(self, *arguments: str, code: int | None = 0) -> str:
        """The manual's way to call supervisorctl."""
        return self.run(self.supervisor / "supervisorctl", "-c", "supervisord.conf", *arguments, code=code)

    def supervisord(self) -> int | None:
        """The process in the pid file."""
        try:
            return int((self.path / ".amore/supervisord.pid").read_text())
        except (OSError, ValueError):
            return None

    def service(self) -> int | None:
        """The process of the service, as Supervisor shows it."""
        if not (self.path / "supervisord.conf").exists():
            return None
        found = re.search(r"RUNNING +pid (\d+),", self.control("status", "damnit", code=None))
        pid = int(found[1]) if found else None
        if pid:
            self.started.add(pid)
        return pid

    def mode(self, name: str) -> int:
        """Permissions of a file."""
        return (self.path / name).stat().st_mode & 0o7777

    def world_writable(self) -> list[str]:
        """Files and folders that everyone can write."""
        found = [self.path, *self.path.rglob("*")]
        return [str(one) for one in found if not one.is_symlink() and one.stat().st_mode & 0o002]

    def setting(self, section: str, key: str) -> str:
        """A line of supervisord.conf."""
        part = (self.path / "supervisord.conf").read_text().split(f"[{section}]\n")[1].split("\n[")[0]
        return re.search(rf"^{key}=(.*)$", part, re.MULTILINE)[1]  # type: ignore[index]

    def end(self) -> None:
        """Ends what was started here, however it is."""
        self.started |= {pid for pid in (self.supervisord(),) if pid}
        for pid in self.started:
            for send in (signal.SIGCONT, signal.SIGKILL):
                # Of this directory, and not a later process with the same number.
                try:
                    command = Path(f"/proc/{pid}/cmdline").read_bytes()
                    if str(self.path).encode() in command:
                        os.kill(pid, send)
                except OSError:
                    pass
