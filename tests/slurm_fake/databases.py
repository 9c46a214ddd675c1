"""A database directory whose cluster variables run in jobs of a fake cluster."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fake_slurm.cluster import Cluster
from fake_slurm.store import Job

from pipe.conftest import Database as WithoutSlurm
from pipe.conftest import programs

# The machine may be slow and busy. By itself, nothing that is waited for here takes more than about a minute.
PATIENCE_S = 240
# Each variable appends to a file, because what was executed, and how often, is part of the test. Jobs get no variables of the
# environment, so the files are next to the context file.
HEAD = '''
import os, time
from damnit_ctx import Variable, SlurmJob

def here(name):
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), name)

def effect(name):
    fd = os.open(here("effects.txt"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o664)
    os.write(fd, (name + "\\n").encode())
    os.close(fd)

def wait_for(name):
    while not os.path.exists(here(name)):
        time.sleep(0.05)

def first_time(name):
    try:
        os.close(os.open(here(name + ".once"), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
'''


class Database(WithoutSlurm):
    """The directory, its commands, and its cluster."""

    def __init__(self, root: Path, proposal: Path, cluster: Cluster) -> None:
        self.cluster = cluster
        self.commands: list[Command] = []
        super().__init__(root, proposal)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the commands: the fake Slurm's commands come first, and variables of a real Slurm are removed.
        """
        without = {name: value for name, value in super().environment.items() if "SLURM" not in name}
        del without["EFFECTS"]
        return {**without, "PATH": f"{self.fronts}:{self.cluster.bin}:{os.environ['PATH']}"}

    @property
    def fronts(self) -> Path:
        """The folder of a site's wrappers of Slurm's commands."""
        return self.path.parent / "fronts"

    def front(self, program: str, script: str) -> None:
        """Creates a wrapper of a command, for sh: `$REAL/sbatch` is the command, `$HERE` the database directory."""
        self.fronts.mkdir(exist_ok=True)
        path = self.fronts / program
        # Replaced atomically, because a command may be executing it.
        beside = self.fronts / f"{program}.writing"
        beside.write_text(f"#!/bin/sh\nREAL={self.cluster.bin}; HERE={self.path}\n{script}")
        beside.chmod(0o755)
        beside.replace(path)

    def context(self, text: str) -> None:
        """Writes the context file, with `effect`, `wait_for` and `first_time`."""
        (self.path / "context.py").write_text(HEAD + text)

    def begin(self, *arguments: str, env: dict[str, str] | None = None) -> Command:
        """Starts a command in the background, in the database's environment or another one."""
        self.commands.append(Command(self, arguments, self.environment if env is None else env))
        return self.commands[-1]

    def touch(self, *names: str) -> None:
        """Creates files, so that variables that wait for them continue."""
        for name in names:
            (self.path / name).touch()

    def job(self, run: int, nth: int = 1) -> str:
        """The number of a run's nth job, once there is one."""

        def found() -> str:
            jobs = [job["id"] for job in self.jobs(run)]
            return jobs[nth - 1] if len(jobs) >= nth else ""

        return wait_until(found, f"job {nth} of run {run}", self.cluster.jobs)

    def jobs(self, run: int) -> list[Job]:
        """Jobs of a run in the queue, found by the name that the manual documents."""
        return [job for job in self.cluster.jobs() if job["name"] == f"r{run}-p1234-damnit"]

    def ended_jobs(self, run: int) -> list[Job]:
        """The same, once none of them runs: a job may end a moment after its results are in the table."""
        wait_until(lambda: all(job["state"] != "RUNNING" for job in self.jobs(run)), f"the jobs of run {run} to end")
        return self.jobs(run)

    def wait_effects(self, **counts: int) -> None:
        """Waits until each of these was executed this often."""
        wait_until(
            lambda: all(self.executions().get(name, 0) >= count for name, count in counts.items()),
            f"{counts} to be executed",
            lambda: (self.executions(), *(command.said for command in self.commands)),
        )

    def stop(self) -> None:
        """Kills all commands that were started."""
        for command in self.commands:
            command.process.kill()
            command.process.wait()


class Command:
    """A running command and its output."""

    def __init__(self, database: Database, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.arguments = arguments
        self.output = database.path.parent / f"said{len(database.commands)}.txt"
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [str(programs() / "amore"), *arguments],
                cwd=database.path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def said(self) -> str:
        """Its output so far."""
        return self.output.read_text()

    def wait_said(self, *words: str) -> None:
        """Waits until its output contains all of these."""
        wait_until(lambda: all(each in self.said for each in words), f"the words {words}", lambda: self.said)

    def ends(self, code: int = 0) -> str:
        """Waits until it ends, which must be with this code; returns its output."""
        wait_until(lambda: self.process.poll() is not None, f"the end of {self.arguments}", lambda: self.said)
        assert self.process.returncode == code, self.said
        return self.said


def wait_until(true: Callable[[], Any], what: str, shown: Callable[[], Any] = lambda: "") -> Any:
    """Waits for a true value and returns it. On failure, the message contains `shown()`."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE_S} s for {what}\n{shown()}")
