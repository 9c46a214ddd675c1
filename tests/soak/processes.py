"""The processes of the services, and the faults that kill them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from facility import Facility
from server import Server

#: What is killed, and how often in comparison.
FAULTS = {"service": 3, "worker": 3, "host": 3, "postgres": 2}


@dataclass
class Kill:
    """A process was killed."""

    at: float
    what: str


class Service:
    """A process of `amore listen` that is started again when it has ended, as Supervisor does."""

    def __init__(self, name: str, facility: Facility, environment: dict[str, str]) -> None:
        self.name, self.facility, self.environment = name, facility, environment
        self.process: subprocess.Popen[bytes] | None = None
        self.start_at = 0.0
        self.starts = 0

    def keep(self, now: float, chance: random.Random) -> None:
        """Starts it, some seconds after it has ended."""
        if self.process is not None and self.process.poll() is not None:
            self.process = None
            self.start_at = now + chance.uniform(0.5, 3)
        if self.process is None and now >= self.start_at:
            with open(self.facility.folder / f"{self.name}.out", "ab") as out:
                self.process = subprocess.Popen(
                    [self.facility.programs / "amore", "listen"],
                    cwd=self.facility.service,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                )
            self.starts += 1

    def end(self) -> float:
        """SIGTERM; returns how many seconds it takes to end."""
        if self.process is None or self.process.poll() is not None:
            return 0.0
        begin = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return time.monotonic() - begin


def of_role(role: str, mark: str) -> list[int]:
    """Processes of the services on this host: `worker`, or `host` (the Python that executes the context file, and its forks)."""
    word = {"worker": b"amore-worker", "host": b"damnit_ctx.host"}[role]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            is_it = word in (entry / "cmdline").read_bytes() and mark.encode() in (entry / "environ").read_bytes()
        except OSError:
            continue
        if is_it:
            found.append(int(entry.name))
    return found


def resident_mib(pid: int) -> float | None:
    """Resident memory of a process."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    lines = [line for line in text.splitlines() if line.startswith("VmRSS:")]
    return int(lines[0].split()[1]) / 1024 if lines else None


class Faults:
    """Kills something from time to time."""

    def __init__(self, services: list[Service], server: Server, mark: str, every: float, chance: random.Random) -> None:
        self.services, self.server, self.mark, self.every, self.chance = services, server, mark, every, chance
        self.kills: list[Kill] = []
        self.next = every
        self.server_back_at: float | None = None

    def go_on(self, now: float, is_over: bool) -> None:
        """Does what is due, `now` seconds after the begin. When it is over, only repairs."""
        if self.server_back_at is not None and now >= self.server_back_at:
            self.server.start()
            self.server_back_at = None
            # Until now it was away.
            self.kills.append(Kill(time.time(), "postgres is back"))
        if is_over or now < self.next:
            return
        self.next = now + self.chance.uniform(0.5, 1.5) * self.every
        what = self.chance.choices(list(FAULTS), list(FAULTS.values()))[0]
        if what == "postgres":
            if self.server_back_at is not None:
                return
            self.server.kill()
            self.server_back_at = now + self.chance.uniform(0.2, 8)
        elif what == "service":
            alive = [one.process for one in self.services if one.process is not None and one.process.poll() is None]
            if not alive:
                return
            self.chance.choice(alive).kill()
        else:
            pids = of_role(what, self.mark)
            if not pids:
                return
            try:
                os.kill(self.chance.choice(pids), signal.SIGKILL)
            except ProcessLookupError:
                return
        self.kills.append(Kill(time.time(), what))
