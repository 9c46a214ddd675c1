"""A cluster as tests use it: created in a fresh folder, given faults, inspected, and removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

from .commands import COMMANDS
from .store import BUSY, OVER, Job, Store, numbered
from .texts import NO_REQUEUE, REFUSALS, RESERVATION_IN_USE

LAUNCHER = """#!{python} -IS
import sys
sys.path.insert(0, {package!r})
from fake_slurm.commands import main
sys.exit(main())
"""
# The first job number.
FIRST = 4201


class Cluster:
    """Three nodes with four CPUs each, and the partitions main (the default), short (a minute) and down."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)

    @classmethod
    def make(cls, folder: Path) -> Cluster:
        """Creates a cluster. `bin` in its folder has to be prepended to PATH."""
        links = folder / "bin"
        links.mkdir(parents=True)
        launcher = folder / "fake-slurm"
        launcher.write_text(LAUNCHER.format(python=sys.executable, package=str(Path(__file__).resolve().parents[1])))
        launcher.chmod(0o755)
        for name in COMMANDS:
            (links / name).symlink_to(launcher)
        partition = {"default": False, "state": "UP", "max_minutes": 1440, "hidden": False, "reserved_only": False}
        state = {
            "settings": {
                "cluster": "lab",
                "version": "24.11.5",
                # In seconds.
                "kill_wait": 3,
                "message_timeout": 2,
                "slow": 0.3,
                "minute": 60,
                "requeue_wait": 120,
            },
            # Jobs end when this process has ended.
            "owner": os.getpid(),
            "person": {"account": "physics", "qos": ["express", "normal"], "max_submitted": None},
            # The same as on the real cluster of the tests.
            "qos": {"express": {"max_minutes": 10, "max_jobs": 2, "max_submitted": 4}},
            "partitions": {
                "main": {**partition, "default": True},
                "short": {**partition, "max_minutes": 1},
                "down": {**partition, "state": "DOWN"},
            },
            "nodes": {name: {"cpus": 4, "mem": 4000} for name in ("n1", "n2", "n3")},
            "reservations": {},
            "trouble": {"controller": "", "accounting": "", "submissions": []},
            "next_number": FIRST,
            "submitted": 0,
            "jobs": [],
            # Forgotten, but still running.
            "orphans": [],
            "accounting": [],
            # Changes that accounting has not received yet.
            "backlog": [],
        }
        cluster = cls(folder)
        cluster.store.write(json.dumps(state))
        return cluster

    @property
    def bin(self) -> Path:
        """The folder of the commands."""
        return self.store.folder / "bin"

    def close(self) -> None:
        """Ends all jobs and the cluster. Requests that it does not support are an error of the test."""
        with self.store.change() as state:
            nodes = [job["pid"] for job in state["jobs"] if job["state"] in BUSY]
            state.update(owner=0, jobs=[], orphans=[])
        gone(nodes)
        unknown = self.store.folder / "not-known.txt"
        assert not unknown.exists(), unknown.read_text()

    def wrap(self, program: str, script: str) -> None:
        """Puts a site's shell script in front of a command; the script finds the command itself as "$REAL/NAME"."""
        real = self.store.folder / "real"
        real.mkdir(exist_ok=True)
        if not (real / program).exists():
            (real / program).symlink_to(self.store.folder / "fake-slurm")
        self.unwrap(program, link=False)
        wrapper = self.bin / program
        wrapper.write_text(f"#!/bin/sh\nREAL={real}\n{script}\n")
        wrapper.chmod(0o755)

    def unwrap(self, program: str, *, link: bool = True) -> None:
        """Removes the script again."""
        (self.bin / program).unlink()
        if link:
            (self.bin / program).symlink_to(self.store.folder / "fake-slurm")

    def jobs(self) -> list[Job]:
        """All jobs in the queue, including those that have ended."""
        found: list[Job] = self.store.read()["jobs"]
        return found

    def job(self, number: str) -> Job:
        """The job with this number."""
        found = numbered(self.store.read(), number)
        assert found is not None, f"no job {number}"
        return found

    def calls(self, program: str) -> list[str]:
        """The command lines with which a command was called, in order."""
        path = self.store.folder / "calls.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.split()[0] == program]

    def run(
        self, program: str, *words: str, script: Optional[str] = None, env: Optional[dict[str, str]] = None
    ) -> subprocess.CompletedProcess[str]:
        """Calls a command as Amore does: with an almost empty environment."""
        return subprocess.run(
            [str(self.bin / program), *words],
            input=script if script is not None else "",
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": f"{self.bin}:/usr/bin:/bin", **(env or {})},
        )

    def set(self, **settings: Any) -> None:
        """Settings: kill_wait, message_timeout, requeue_wait, slow and minute in seconds; version, cluster."""
        with self.store.change() as state:
            assert set(settings) <= set(state["settings"])
            state["settings"].update(settings)

    def partition(self, name: str, *nodes: str, hidden: bool = False, reserved_only: bool = False) -> None:
        """A partition that jobs may use, with these nodes or all; hidden, or only for jobs with a reservation."""
        with self.store.change() as state:
            state["partitions"][name] = {
                "default": False,
                "state": "UP",
                "max_minutes": 1440,
                "nodes": list(nodes),
                "hidden": hidden,
                "reserved_only": reserved_only,
            }

    def limit(self, submitted: Optional[int]) -> None:
        """Limits how many jobs the user may have in the queue."""
        with self.store.change() as state:
            state["person"]["max_submitted"] = submitted

    def reserve(
        self,
        name: str,
        *nodes: str,
        users: tuple[str, ...] = (),
        accounts: tuple[str, ...] = (),
        start: float = -60,
        end: float = 3600,
    ) -> None:
        """A reservation, for everyone if nobody is named; begin and end are in seconds from now."""
        now = time.time()
        with self.store.change() as state:
            state["reservations"][name] = {
                "nodes": list(nodes),
                "users": list(users),
                "accounts": list(accounts),
                "start": now + start,
                "end": now + end,
            }

    def delete_reservation(self, name: str) -> None:
        """As an administrator: Slurm refuses it (ValueError) while the reservation has jobs."""
        with self.store.change() as state:
            if any(job["reservation"] == name and job["state"] not in OVER for job in state["jobs"]):
                raise ValueError(RESERVATION_IN_USE.format(name=name))
            del state["reservations"][name]

    def end_reservation(self, name: str) -> None:
        """The reservation ends, and Slurm still shows it for some seconds: see `reservation_over`."""
        with self.store.change() as state:
            state["reservations"][name]["end"] = time.time()

    def reservation_over(self, name: str) -> None:
        """It has ended and Slurm has removed it: its jobs end at their time limit, or wait for ever."""
        with self.store.change() as state:
            del state["reservations"][name]
            for job in state["jobs"]:
                if job["reservation"] != name:
                    continue
                if job["state"] == "PENDING":
                    job.update(state="RESV_DEL_HOLD", reservation="", reason=f"Reservation {name} was deleted")
                elif job["state"] == "RUNNING":
                    job["told"] = {"state": "TIMEOUT"}

    @contextmanager
    def controller(self, how: str) -> Iterator[None]:
        """`dead` (refuses connections), `silent` (accepts them, but does not answer) or `slow`."""
        assert how in ("dead", "silent", "slow")
        yield from self._trouble("controller", how)

    @contextmanager
    def accounting(self, how: str) -> Iterator[None]:
        """`absent` (the site has none), `dead`, or `lagging` (receives changes only afterwards)."""
        assert how in ("absent", "dead", "lagging")
        yield from self._trouble("accounting", how)

    def _trouble(self, what: str, how: str) -> Iterator[None]:
        with self.store.change() as state:
            state["trouble"][what] = how
        try:
            yield
        finally:
            with self.store.change() as state:
                state["trouble"][what] = ""

    def next_submission(
        self,
        *,
        refuse: Optional[str] = None,
        hold: Optional[str] = None,
        number: Optional[str] = None,
        lose_answer: bool = False,
        fail_launch: bool = False,
    ) -> None:
        """What happens to the next submission; a second call applies to the one after it.

        It is refused, with the message of this recording; held for this reason, until it is released; given this number
        (an earlier job with it is forgotten); accepted, although sbatch gets no answer; or cannot be started (0:53).
        """
        assert refuse is None or refuse in REFUSALS
        told = {
            "refuse": refuse,
            "hold": hold,
            "number": number,
            "lose_answer": lose_answer,
            "fail_launch": fail_launch,
        }
        with self.store.change() as state:
            state["trouble"]["submissions"].append({name: value for name, value in told.items() if value})

    def requeue(self, number: str, *, allow: bool = False) -> None:
        """Requeues a job, which Slurm refuses (ValueError) for Amore's jobs unless it is allowed before."""
        with self.store.change() as state:
            job = numbered(state, number)
            assert job is not None and job["state"] == "RUNNING", job
            job["requeue"] = job["requeue"] or allow
            if not job["requeue"]:
                raise ValueError(NO_REQUEUE.format(number=number))
            job["told"] = {"state": "PENDING"}

    def cancel_as_root(self, number: str) -> None:
        """Root cancels it."""
        with self.store.change() as state:
            job = numbered(state, number)
            assert job is not None and job["state"] in BUSY, job
            job.update(by=0, told={"state": "CANCELLED"})

    def drain(self, *nodes: str, drained: bool = True) -> None:
        """No new jobs start on these nodes, or they do again."""
        with self.store.change() as state:
            for name in nodes:
                state["nodes"][name]["drained"] = drained

    def release(self, number: str) -> None:
        """Releases a held job."""
        with self.store.change() as state:
            job = numbered(state, number)
            assert job is not None
            job.update(held="", eligible=True)

    def end(self, number: str, how: str) -> None:
        """A running job ends as TIMEOUT, PREEMPTED, OUT_OF_MEMORY (all at once) or NODE_FAIL (the same)."""
        assert how in OVER
        with self.store.change() as state:
            job = numbered(state, number)
            assert job is not None and job["state"] == "RUNNING", job
            job["told"] = {"state": how, "suddenly": how in ("NODE_FAIL", "OUT_OF_MEMORY")}

    def cut_off(self, number: str) -> None:
        """The node of a job does not respond: Slurm gives it up (NODE_FAIL), but the job continues."""
        with self.store.change() as state:
            job = numbered(state, number)
            assert job is not None and job["state"] == "RUNNING", job
            job.update(state="NODE_FAIL", exit="0:0", reason="NodeDown")

    def forget(self, number: str, *, goes_on: bool = False) -> None:
        """The controller forgets it; accounting never changes again. Its node ends it, or does not (`goes_on`)."""
        with self.store.change() as state:
            job = numbered(state, number)
            assert job is not None
            state["jobs"].remove(job)
            if goes_on:
                state["orphans"].append(job["key"])
        if not goes_on and job["state"] == "RUNNING":
            gone([job["pid"]])

    def purge(self) -> None:
        """Removes ended jobs from the queue, as after MinJobAge."""
        with self.store.change() as state:
            state["jobs"] = [job for job in state["jobs"] if job["state"] not in OVER]


def gone(processes: list[int]) -> None:
    """Waits for the end of jobs that were told to end."""
    deadline = time.monotonic() + 60
    while left := [pid for pid in processes if is_alive(pid)]:
        assert time.monotonic() < deadline, f"processes {left} do not end"
        time.sleep(0.03)


def is_alive(pid: int) -> bool:
    """Whether it runs and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
