"""The scenes of slurm-tests/scenes, played on a real Slurm. The simulated one and the fake play them too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clusters import Site, wait_until
from scenes import NODES, Stage, named, play, scenes

USER = "alice"
# About every half minute, Slurm checks for jobs over their time limit and for reservations that have ended. MinJobAge
# is 300 s, and older jobs are purged once a minute.
PATIENCE_S = 120
PURGE_S = 420


class RealStage(Stage):
    """A real cluster and the user alice."""

    def __init__(self, site: Site) -> None:
        super().__init__(int(site.run(USER, ["id", "-u"]).stdout))
        self.site = site
        self.log = f"{self.directory()}/scene-%j.out"
        self.hold = False
        self.hung = False

    def run(self, words: list[str], script: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command in the environment that Amore uses."""
        env = {} if script is not None else {"SLURM_TIME_FORMAT": "%s", "TZ": "UTC"}
        return self.site.run(USER, words, check=False, env=env, stdin=script)

    def directory(self) -> str:
        """On the shared file system."""
        return str(self.site.home(USER))

    def nowhere(self) -> str:
        """A folder in which users cannot create others: Slurm 26.05 would create one for a log."""
        return str(self.site.shared / "nowhere")

    def until(self, there: Callable[[], Any], what: str) -> None:
        """Waits."""
        wait_until(there, PATIENCE_S, what, lambda: self.site.squeue(), pause=0.5)

    def submit(self, step: dict[str, Any]) -> None:
        """Submits a job. A job that is held from the beginning says so in its options."""
        options = [*step.get("options", []), *(["--hold"] if self.hold else [])]
        self.hold = False
        super().submit({**step, "options": options})

    def control(self, *words: str) -> None:
        """Runs scontrol as root; raises an error with Slurm's refusal."""
        answer = self.site.run("root", ["scontrol", *words], check=False)
        if answer.returncode != 0:
            raise ValueError(answer.stderr or answer.stdout)

    def do(self, what: str, step: dict[str, Any]) -> None:
        """Performs an action as root."""
        name, job = step.get("name", ""), self.jobs.get(step.get("job", ""), "")
        if what == "hold next":
            self.hold = True
        elif what == "release":
            self.control("release", job)
        elif what == "requeue":
            if step.get("allow"):
                self.control("update", f"JobId={job}", "Requeue=1")
            self.control("requeue", job)
        elif what == "cancel as root":
            self.site.run("root", ["scancel", job])
        elif what == "the controller hangs":
            self.site.service_pause("slurmctld")
            self.hung = True
        elif what == "the controller goes on":
            self.site.service_unpause("slurmctld")
            self.hung = False
        elif what == "reserve":
            self.reserve(step)
        elif what == "end reservation":
            self.control("update", f"ReservationName={name}", "EndTime=now+1")
            shows = ("show", "reservation", name, "-o")
            over = lambda: "State=ACTIVE" not in self.site.scontrol(*shows, check=False)  # noqa: E731
            wait_until(over, 30, f"the end of {name}", pause=0.1)
        elif what == "reservation is removed":
            # Slurm does this by itself.
            pass
        elif what == "delete reservation":
            self.control("delete", f"ReservationName={name}")
        elif what == "drain":
            self.control("update", f"NodeName={','.join(NODES)}", "State=DRAIN", "Reason=maintenance")
        elif what == "resume":
            self.control("update", f"NodeName={','.join(NODES)}", "State=RESUME")
        elif what == "pass MinJobAge":
            gone = lambda: not self.site.job(job)  # noqa: E731
            wait_until(gone, PURGE_S, f"Slurm to forget job {job}", pause=5)
        else:
            super().do(what, step)

    def reserve(self, step: dict[str, Any]) -> None:
        """Creates a reservation of one node, for half an hour."""
        accounts = step.get("accounts", [])
        begins = f"now+{step['begins']}" if "begins" in step else "now"
        whose = f"Accounts={','.join(accounts)}" if accounts else f"Users={USER}"
        keys = (whose, f"StartTime={begins}", "Duration=30", "Nodes=n1")
        self.control("create", "reservation", f"ReservationName={step['name']}", *keys)

    def close(self) -> None:
        """Repairs what `site` cannot, because it needs a controller that answers."""
        if self.hung:
            self.site.service_unpause("slurmctld")


@pytest.fixture
def stage(site: Site) -> Iterator[RealStage]:
    """A complete cluster."""
    stage = RealStage(site)
    yield stage
    stage.close()


@pytest.mark.parametrize("name", named())
def test_scene(stage: RealStage, name: str) -> None:
    scene = scenes()[name]
    if scene.get("slow") and not os.environ.get("AMORE_SLOW_SCENES"):
        pytest.skip("takes minutes: set AMORE_SLOW_SCENES=1")
    if name == "out-of-memory" and "= proctrack/cgroup" not in stage.site.scontrol("show", "config"):
        pytest.skip("this site has no cgroups: memory is not limited")
    play(stage, scene)
