"""The state of a cluster: one JSON file, changed under a lock, so that commands and running jobs are consistent."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

State = dict[str, Any]
Job = dict[str, Any]

# States of jobs in the queue that have ended.
OVER = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY")
# States of jobs that have nodes.
BUSY = ("RUNNING", "COMPLETING")
# States that squeue shows by default.
ACTIVE = ("PENDING", *BUSY)
# Fields that are copied from the queue to accounting.
ACCOUNTED = (
    *("key", "id", "uid", "line", "comment", "partition", "reservation"),
    *("state", "exit", "nodes", "reason", "by", "eligible"),
)


class Store:
    """The state file of a cluster and its lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "state.json"

    def read(self) -> State:
        """The current state."""
        state: State = json.loads(self.path.read_text())
        return state

    @contextmanager
    def change(self) -> Iterator[State]:
        """Locks the state for a block; an exception leaves it unchanged."""
        with open(self.folder / "state.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self.path.read_text()
            state = json.loads(before)
            yield state
            account(state)
            text = json.dumps(state, indent=1)
            if text != before:
                self.write(text)

    def write(self, text: str) -> None:
        """Replaces the file at once, because readers do not lock."""
        beside = self.folder / "state.writing"
        beside.write_text(text)
        os.replace(beside, self.path)

    def stamp(self) -> tuple[int, ...]:
        """Differs after a change; empty if the cluster is gone."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return ()
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    def wait(self, stamp: tuple[int, ...], seconds: float) -> None:
        """Returns after a change, or after the timeout."""
        deadline = time.monotonic() + seconds
        while self.stamp() == stamp and time.monotonic() < deadline:
            time.sleep(0.03)

    def note(self, file: str, words: str) -> None:
        """Appends a line to a file beside the state."""
        with open(self.folder / file, "a") as notes:
            notes.write(words.replace("\n", "\\n") + "\n")


def account(state: State) -> None:
    """Brings accounting up to date, unless it lags. A job that the queue has forgotten stays as last known."""
    backlog = {record["key"]: record for record in state["backlog"]}
    for job in state["jobs"]:
        backlog[job["key"]] = {name: job[name] for name in ACCOUNTED}
    if state["trouble"]["accounting"] == "lagging":
        state["backlog"] = list(backlog.values())
        return
    kept = {record["key"]: record for record in state["accounting"]}
    state["accounting"] = list({**kept, **backlog}.values())
    state["backlog"] = []


def nodes_of(state: State, partition: str) -> list[str]:
    """A partition's nodes; all, if it names none."""
    return state["partitions"][partition].get("nodes") or list(state["nodes"])


def find(state: State, key: int) -> Job | None:
    """The job by order of submission: numbers may be assigned twice."""
    return next((job for job in state["jobs"] if job["key"] == key), None)


def numbered(state: State, number: str) -> Job | None:
    """The job with this number in the queue."""
    return next((job for job in reversed(state["jobs"]) if job["id"] == number), None)
