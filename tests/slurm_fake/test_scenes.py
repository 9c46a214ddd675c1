"""The scenes of slurm-tests/scenes, played on the fake Slurm."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

import pytest
from databases import wait_until
from fake_slurm.cluster import Cluster
from fake_slurm.submit import user
from scenes import NODES, Stage, named, play, scenes


class FakeStage(Stage):
    """A fake cluster."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(os.getuid())
        self.cluster = cluster
        self.log = f"{cluster.store.folder}/%j.out"
        self.hold = False
        self.hung: Any = None
        cluster.set(message_timeout=1, minute=1, kill_wait=1)

    def run(self, words: list[str], script: str | None = None) -> subprocess.CompletedProcess[str]:
        """A command."""
        return self.cluster.run(*words, script=script)

    def directory(self) -> str:
        """Working directory of jobs."""
        return str(self.cluster.store.folder)

    def submit(self, step: dict[str, Any]) -> None:
        """A script that uses too much memory is not executed; its end is simulated."""
        if self.hold:
            self.cluster.next_submission(hold="JobHeldUser")
            self.hold = False
        super().submit(step)
        if step["script"] == "eats memory":
            number = self.jobs[step["submit"]]
            wait_until(lambda: self.cluster.job(number)["state"] == "RUNNING", f"job {number}", self.cluster.jobs)
            self.cluster.end(number, "OUT_OF_MEMORY")

    def script(self, name: str) -> str:
        """The script that is executed."""
        return super().script("sleeps" if name == "eats memory" else name)

    def do(self, what: str, step: dict[str, Any]) -> None:
        """Performs an action. ValueError contains Slurm's refusal."""
        cluster, name = self.cluster, step.get("name", "")
        number = self.jobs.get(step.get("job", ""), "")
        if what == "hold next":
            self.hold = True
        elif what == "release":
            cluster.release(number)
        elif what == "requeue":
            cluster.requeue(number, allow=step.get("allow", False))
        elif what == "cancel as root":
            cluster.cancel_as_root(number)
        elif what == "the controller hangs":
            self.hung = cluster.controller("silent")
            self.hung.__enter__()
        elif what == "the controller goes on":
            self.hung.__exit__(None, None, None)
        elif what == "reserve":
            begins = step.get("begins", 0) or -60
            accounts = tuple(step.get("accounts", ()))
            users = () if accounts else (user(),)
            cluster.reserve(name, "n1", users=users, accounts=accounts, start=begins, end=begins + 1800)
        elif what == "end reservation":
            cluster.end_reservation(name)
        elif what == "reservation is removed":
            cluster.reservation_over(name)
        elif what == "delete reservation":
            cluster.delete_reservation(name)
        elif what in ("drain", "resume"):
            cluster.drain(*NODES, drained=what == "drain")
        elif what == "pass MinJobAge":
            cluster.purge()
        else:
            super().do(what, step)

    def until(self, there: Any, what: str) -> None:
        """Waits."""
        wait_until(there, what, self.cluster.jobs)


@pytest.mark.parametrize("name", named())
def test_scene(cluster: Cluster, name: str) -> None:
    play(FakeStage(cluster), scenes()[name])


def test_each_scene_is_of_steps_that_are_known() -> None:
    assert len(named()) >= 20
    kinds = {"submit", "wait", "queue", "accounting", "listed", "find", "command", "do"}
    for name, scene in scenes().items():
        assert scene["why"] and scene["steps"], name
        for step in scene["steps"]:
            assert len(kinds & set(step)) == 1, (name, step)


def test_a_requeued_job_begins_again(cluster: Cluster) -> None:
    cluster.set(requeue_wait=1, kill_wait=1)
    stage = FakeStage(cluster)
    play(
        stage,
        {
            "steps": [
                {"submit": "a", "script": "sleeps"},
                {"wait": "a", "state": "RUNNING"},
                {"do": "requeue", "job": "a", "allow": True},
                {"wait": "a", "state": "PENDING"},
                {"wait": "a", "state": "RUNNING"},
            ]
        },
    )
    assert cluster.job(stage.jobs["a"])["restarts"] == 1
    assert time.time() >= cluster.job(stage.jobs["a"])["not_before"]
