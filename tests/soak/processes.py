"""The processes of the services, and the faults that kill processes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from containers import Broker, Containers, Postgres
from facility import Facility

#: What is killed, and how often in comparison.
FAULTS = {"service": 3, "worker": 3, "host": 3, "postgres": 2, "broker": 2}
#: The command lines of workers, and of the Python that executes the context file, and its forks.
ROLES = {"worker": ["amore-worker"], "host": ["damnit_ctx.host"]}


@dataclass
class Kill:
    """A process was killed."""

    at: float
    what: str


class Service:
    """A process of `amore listen` that is started again when it has ended, as Supervisor does."""

    def __init__(self, name: str, facility: Facility, environment: dict[str, str]) -> None:
        self.name, self.facility = name, facility
        self.mark = f"AMORE_SOAK_SERVICE={name}"
        self.environment = {**environment, "AMORE_SOAK_SERVICE": name}
        self.process: subprocess.Popen[bytes] | None = None
        self.start_at = 0.0
        self.starts = 0
        self._pid: int | None = None

    @property
    def pid(self) -> int | None:
        """The number of its process, as this program sees it; None before it runs and after its end."""
        if self.process is None or self.process.poll() is not None:
            return None
        if self._pid is None:
            # Not `docker exec`, which has the same words.
            found = self.facility.containers.processes(["amore", "listen"], self.mark)
            self._pid = found[0] if len(found) == 1 else None
        return self._pid

    def keep(self, now: float, chance: random.Random) -> None:
        """Starts it, some seconds after it has ended."""
        if self.process is not None and self.process.poll() is not None:
            self.process = None
            self.start_at = now + chance.uniform(0.5, 3)
        if self.process is None and now >= self.start_at:
            facility = self.facility
            with open(facility.folder / f"{self.name}.out", "ab") as out:
                self.process = facility.containers.start(
                    "amore", "listen", where=facility.service, environment=self.environment, out=out
                )
            self._pid = None
            self.starts += 1

    def send_signal(self, number: signal.Signals) -> bool:
        """Whether there was a process to send it to."""
        try:
            if (pid := self.pid) is not None:
                os.kill(pid, number)
                return True
        except ProcessLookupError:
            pass
        return False

    def end(self) -> float:
        """SIGTERM; returns how many seconds it takes to end."""
        begin = time.monotonic()
        if self.process is None or not self.send_signal(signal.SIGTERM):
            return 0.0
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.send_signal(signal.SIGKILL)
            self.process.wait()
        return time.monotonic() - begin


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

    def __init__(
        self, containers: Containers, services: list[Service], servers: dict[str, Postgres | Broker], every: float
    ) -> None:
        self.containers, self.services, self.servers, self.every = containers, services, servers, every
        self.kills: list[Kill] = []
        self.next = every
        #: When a server that was killed starts again.
        self.back_at: dict[str, float] = {}

    def go_on(self, now: float, chance: random.Random, *, is_over: bool) -> None:
        """Does what is due, `now` seconds after the begin. When it is over, only repairs."""
        for name in [name for name, at in self.back_at.items() if now >= at]:
            del self.back_at[name]
            self.servers[name].start()
            # Until now it was away.
            self.kills.append(Kill(time.time(), f"{name} is back"))
        if is_over or now < self.next:
            return
        self.next = now + chance.uniform(0.5, 1.5) * self.every
        what = chance.choices(list(FAULTS), list(FAULTS.values()))[0]
        if self.kill(what, now, chance):
            self.kills.append(Kill(time.time(), what))

    def kill(self, what: str, now: float, chance: random.Random) -> bool:
        """Whether there was something to kill."""
        if what in self.servers:
            if what in self.back_at:
                return False
            self.servers[what].kill()
            self.back_at[what] = now + chance.uniform(0.2, 8)
            return True
        if what == "service":
            return chance.choice(self.services).send_signal(signal.SIGKILL)
        pids = self.containers.processes(ROLES[what])
        try:
            if pids:
                os.kill(chance.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return bool(pids)
