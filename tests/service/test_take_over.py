"""Two services on two hosts with a PostgreSQL ledger: the second takes over from the first, which writes nothing afterwards.

The hosts are two names on one machine: what a process of another host does cannot be known there either.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from postgres import Server, Way, binaries
from served import pipe, wait_for
from test_arrivals import Site

CONTEXT = """
import socket, time

@Variable(title="Host")
def host(run):
    effect(socket.gethostname())
    while os.path.exists(f"hold-{socket.gethostname()}"):
        time.sleep(0.02)
    return socket.gethostname()
"""

if shutil.which("unshare") is None or binaries() is None:
    pytest.skip("needs unshare and PostgreSQL's programs", allow_module_level=True)


class Hosts:
    """Two hosts that share a directory and a server."""

    def __init__(self, site: Site, server: Server, way: Way) -> None:
        self.site = site
        self.server = server
        self.way = way
        self.database: Any = site.database
        self.started: list[subprocess.Popen[str]] = []

    def start(self, host: str) -> subprocess.Popen[str]:
        """Starts the service on a host."""
        named = ["unshare", "--user", "--map-root-user", "--uts", "sh", "-c", 'hostname "$1"; shift; exec "$@"', "sh"]
        process = subprocess.Popen(
            [*named, host, str(pipe.programs() / "amore"), "listen"],
            cwd=self.database.path,
            env={**self.database.environment, "AMORE_LEDGER_URL": self.server.url(self.way.port)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def log(self) -> str:
        """The log of both."""
        log = self.database.path / "amore.log"
        return log.read_text() if log.exists() else ""

    def start_both(self) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
        """The first serves, and the second stands by."""
        first = self.start("one")
        wait_for("the first serves", lambda: self.database.is_owned_by(first), first)
        second = self.start("two")
        wait_for("the second stands by", lambda: "serves this directory; waiting" in self.log(), second)
        return first, second

    def taken_over(self, second: subprocess.Popen[str]) -> None:
        """Waits until the second is the owner of the directory, and says how long that took."""
        begun = time.monotonic()
        wait_for("the second one takes over", lambda: self.database.is_owned_by(second), second)
        print(f"taken over after {time.monotonic() - begun:.1f} s")

    def value(self, run: int) -> Any:
        """The host that has processed a run."""
        return self.database.rows(run).get("host")

    def everything(self) -> tuple[list[str], str]:
        """What the run table and the ledger contain, without the end of terms."""
        with contextlib.closing(sqlite3.connect(self.database.path / "runs.sqlite", timeout=30)) as connection:
            dump = [line for line in connection.iterdump() if "amore_owner" not in line]
        tables = ("lease", "arrival", "request", "task", "attempt", "event", "fact")
        left = {"lease": "scope, epoch, holder::text"}
        order = {table: f"SELECT {left.get(table, '*')} FROM amore_ledger.{table} ORDER BY 1, 2" for table in tables}
        return dump, "".join(self.server.query(text) for text in order.values())


@pytest.fixture
def hosts(tmp_path: Path, data_root: Path) -> Iterator[Hosts]:
    """Both hosts; no service runs yet."""
    site = Site(tmp_path, data_root)
    site.database.context(CONTEXT)
    server = Server(tmp_path)
    way = Way(server.port)
    hosts = Hosts(site, server, way)
    yield hosts
    for process in hosts.started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    way.close()
    server.stop()


def test_after_a_kill(hosts: Hosts) -> None:
    first, second = hosts.start_both()
    hosts.site.arrive(1)
    wait_for("the first processes a run", lambda: hosts.value(1) == "one", first)
    (hosts.database.path / "hold-one").touch()
    hosts.site.arrive(2)
    wait_for("it begins with another", lambda: hosts.database.executions().get("one") == 2, first)
    first.kill()
    first.wait()
    hosts.taken_over(second)
    wait_for("that is processed by the second", lambda: hosts.value(2) == "two", second)
    hosts.site.arrive(3)
    wait_for("and the next as well", lambda: hosts.value(3) == "two", second)
    assert hosts.value(1) == "one"


def test_after_a_stop(hosts: Hosts) -> None:
    first, second = hosts.start_both()
    hold = hosts.database.path / "hold-one"
    hold.touch()
    hosts.site.arrive(1)
    wait_for("the first processes a run", lambda: hosts.database.executions().get("one"), first)
    first.send_signal(signal.SIGSTOP)
    hosts.taken_over(second)
    wait_for("the second processes it", lambda: hosts.value(1) == "two", second)
    quiet(hosts)
    before = hosts.everything()
    # The worker of the first has a result for it when it continues.
    hold.unlink()
    wait_for("the worker of the first stores its result", hosts.database.leftovers)
    first.send_signal(signal.SIGCONT)
    assert first.wait(timeout=60) != 0
    assert "another process serves this directory now" in hosts.log()
    assert hosts.everything() == before
    hosts.site.arrive(2)
    wait_for("the second continues", lambda: hosts.value(2) == "two", second)
    assert hosts.value(1) == "two"


def test_after_a_cut(hosts: Hosts) -> None:
    first, second = hosts.start_both()
    (hosts.database.path / "hold-one").touch()
    hosts.site.arrive(1)
    wait_for("the first processes a run", lambda: hosts.database.executions().get("one"), first)
    hosts.way.cut(first.pid)
    hosts.taken_over(second)
    wait_for("the second processes it", lambda: hosts.value(1) == "two", second)
    hosts.site.arrive(2)
    wait_for("and the next as well", lambda: hosts.value(2) == "two", second)
    wait_for("the first notices", lambda: "may be the service now" in hosts.log(), first)
    quiet(hosts)
    before = hosts.everything()
    (hosts.database.path / "hold-one").unlink()
    hosts.way.join(first.pid)
    assert first.wait(timeout=60) != 0
    assert hosts.everything() == before
    assert hosts.database.executions()["two"] == 2, "nothing is processed twice"


def quiet(hosts: Hosts) -> None:
    """Waits until the second has nothing to do."""

    def settled() -> bool:
        open_ones = hosts.server.query("SELECT count(*) FROM amore_ledger.arrival WHERE state = 'open'")
        return open_ones.strip() == "0" and not hosts.database.leftovers()

    wait_for("everything is done", settled)
