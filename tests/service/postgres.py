"""A PostgreSQL server of a test, and a way to it that can be cut."""

from __future__ import annotations

import os
import selectors
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

NOBODY = 65534


def binaries() -> Path | None:
    """The folder of PostgreSQL's programs, the newest one's if there are several."""
    found = shutil.which("postgres")
    if found is not None:
        # The programs find their libraries beside themselves, and not beside a link.
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


class Server:
    """A server that listens on this host."""

    def __init__(self, folder: Path) -> None:
        bin_dir = binaries()
        assert bin_dir is not None, "there is no postgres on PATH or in /usr/lib/postgresql/*/bin"
        self.bin = bin_dir
        self.port = free_port()
        data = folder / "postgres"
        data.mkdir(mode=0o700)
        # PostgreSQL refuses to run as root.
        self.user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        if self.user:
            os.chown(data, NOBODY, NOBODY)
        make = [self.bin / "initdb", "-D", ".", "-U", "amore", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        # pytest's folders are closed to others.
        for parent in data.parents:
            if parent == Path("/tmp"):
                break
            parent.chmod(parent.stat().st_mode | 0o011)
        subprocess.run(make, cwd=data, check=True, capture_output=True, timeout=120, **self.user)
        options = ["-c", "listen_addresses=127.0.0.1", "-p", str(self.port), "-k", "", "-c", "fsync=off"]
        self.log = folder / "postgres.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", ".", *options], cwd=data, stdout=log, stderr=log, **self.user
            )
        end = time.monotonic() + 60
        while b"ready to accept connections" not in self.log.read_bytes():
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)

    def url(self, port: int | None = None) -> str:
        """Its address, or that of a way to it."""
        return f"postgres://amore@127.0.0.1:{port or self.port}/postgres"

    def query(self, text: str) -> str:
        """The lines that a query gives."""
        command = [self.bin / "psql", "-At", "-v", "ON_ERROR_STOP=1", self.url(), "-c", text]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def stop(self) -> None:
        """Ends it."""
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Way:
    """Passes connections on to a server. What comes from a process can be cut, as by a network that fails: nothing arrives any
    more, in either direction, and nobody is told."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.cut_off: set[int] = set()
        self.ends: dict[socket.socket, tuple[socket.socket, int]] = {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.open = True
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def cut(self, pid: int) -> None:
        """From now on, nothing of this process arrives."""
        self.cut_off.add(pid)

    def join(self, pid: int) -> None:
        """It arrives again."""
        self.cut_off.discard(pid)

    def close(self) -> None:
        """Ends all connections."""
        self.open = False
        self.thread.join(timeout=10)
        for one in [self.listener, *self.ends]:
            one.close()

    def _run(self) -> None:
        held: list[socket.socket] = []
        while self.open:
            ready = [key.fileobj for key, _ in self.selector.select(timeout=0.05)]
            held = [one for one in held if one in self.ends]
            for one in [*ready, *held]:
                if one is self.listener:
                    client, address = self.listener.accept()
                    server = socket.create_connection(("127.0.0.1", self.target))
                    pid = pid_of(address[1])
                    for end, other in ((client, server), (server, client)):
                        self.ends[end] = (other, pid)
                        self.selector.register(end, selectors.EVENT_READ)
                elif one in self.ends:
                    self._pass_on(one, held)

    def _pass_on(self, one: socket.socket, held: list[socket.socket]) -> None:
        other, pid = self.ends[one]
        if pid in self.cut_off:
            if one not in held:
                held.append(one)
                self.selector.unregister(one)
            return
        if one in held:
            held.remove(one)
            self.selector.register(one, selectors.EVENT_READ)
            return
        try:
            data = one.recv(1 << 16)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        for end in (one, other):
            if self.ends.pop(end, None) is not None and end in self.selector.get_map():
                self.selector.unregister(end)
            end.close()


def pid_of(port: int) -> int:
    """The process whose connection comes from this port."""
    wanted = f"{port:04X}"
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{wanted}"):
            inodes.add(f"socket:[{fields[9]}]")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if any(os.readlink(link) in inodes for link in (entry / "fd").iterdir()):
                    if int(entry.name) != os.getpid():
                        return int(entry.name)
            except OSError:
                continue
    return 0
