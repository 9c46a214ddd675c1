"""A proposal's database directory for tests of jobs: context file, commands, cells, and what was executed."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from clusters import Proposal, Running, wait_until

# Each variable appends to a file, so that tests can check what was executed, and how often.
HEAD = '''
import os, time
from damnit_ctx import Variable

def here(name):
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), name)

def effect(name):
    fd = os.open(here("effects.txt"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o664)
    os.write(fd, (name + "\\n").encode())
    os.close(fd)

def first_time(name):
    try:
        os.close(os.open(here(name + ".once"), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

def wait_for(name):
    while not os.path.exists(here(name)):
        time.sleep(0.1)
'''


# The first job of each run ends in the second variable, because the test ends it.
TWO = '''
@Variable(cluster=True)
def first(run, r: "meta#run_number"):
    effect(f"first-{r}")
    return r

@Variable(cluster=True)
def second(run, first: "var#first", r: "meta#run_number"):
    effect(f"second-{r}")
    if first_time(f"second-{r}"):
        wait_for(f"go-{r}")
    return 10 * first
'''


class Database:
    """A proposal's database directory with a context file."""

    def __init__(self, proposal: Proposal) -> None:
        self.proposal = proposal
        self.site = proposal.site
        # Another test may have used the number before.
        self.before = max((int(job) for job, _ in self._queue()), default=0)
        proposal.amore("proposal", str(proposal.number), program="amore-proto")
        proposal.amore("db-config", "context_python", str(self.site.python), program="amore-proto")

    def context(self, text: str) -> None:
        """Writes the context file."""
        path = self.proposal.database / "context.py"
        self.site.write_file(path, HEAD + text, user=self.proposal.user)
        self.site.run("root", ["chown", f"{self.proposal.user}:", path])

    def amore(self, *arguments: str, code: int = 0, **options: Any) -> str:
        """Runs a command that must end with `code`; returns its output, standard error included."""
        ended = self.proposal.amore(*arguments, check=False, timeout=240, **options)
        said = f"{ended.stdout}\n{ended.stderr}"
        assert ended.returncode == code, f"amore {' '.join(arguments)} ended with {ended.returncode}\n{said}"
        return said

    def rows(self) -> dict[int, dict[str, Any]]:
        """Cells of the table by run and variable: the value, or {"error": {"class", "message", …}}."""
        table = json.loads(self.proposal.amore("table", "--json", "--names").stdout)
        return {row["run"]: row["values"] for row in table}

    def effects(self) -> Counter[str]:
        """What was executed, and how often."""
        path = self.proposal.database / "effects.txt"
        return Counter(self.site.read_file(path).split()) if self.site.exists(path) else Counter()

    def jobs(self) -> list[str]:
        """IDs of this proposal's jobs since the test began, in any state."""
        end = f"-p{self.proposal.number}-damnit"
        return [job for job, name in self._queue() if int(job) > self.before and name.endswith(end)]

    def _queue(self) -> list[tuple[str, str]]:
        text = self.site.run("root", ["squeue", "-a", "-h", "-t", "all", "-o", "%i|%j"]).stdout
        return [(line.split("|")[0], line.split("|")[1]) for line in text.splitlines()]

    def logs(self) -> list[str]:
        """Names in slurm_logs/."""
        return sorted(self.site.run("root", ["ls", self.proposal.database / "slurm_logs"]).stdout.split())

    def start(self, *arguments: str, **options: Any) -> Command:
        """Starts a command in the background."""
        return Command(self.proposal.start_amore(*arguments, **options))

    def job(self, run: int) -> str:
        """The latest job of a run, once Slurm has one."""
        name = f"r{run}-p{self.proposal.number}-damnit"

        def newest() -> str:
            mine = [int(job) for job, found in self._queue() if found == name and int(job) > self.before]
            return str(max(mine)) if mine else ""

        return wait_until(newest, 60, f"a job of run {run}")

    def touch(self, name: str) -> None:
        """Creates the file that a variable waits for."""
        self.site.run(self.proposal.user, ["touch", self.proposal.database / name])

    def wait_effect(self, *names: str, timeout: float = 60, of: Command | None = None) -> None:
        """Waits until all of these were executed; on failure, shows also the output of the command `of`."""

        def seen() -> str:
            return f"{dict(self.effects())}" + (f"; the command said: {of.said}" if of else "")

        wait_until(lambda: set(names) <= set(self.effects()), timeout, f"{names} to begin", seen)


class Command:
    """A running command and its output."""

    def __init__(self, running: Running) -> None:
        self.running = running

    @property
    def said(self) -> str:
        """Its output so far."""
        return self.running.stdout + self.running.stderr

    def wait_said(self, *words: str, timeout: float = 60) -> None:
        """Waits until its output contains all of these."""
        wait_until(
            lambda: all(each in self.said for each in words), timeout, f"the words {words}", lambda: self.said
        )

    def ends(self, code: int = 0, timeout: float = 120) -> str:
        """Waits until it ends, which must be with this code; returns its output."""
        what = f"the end of {self.running.argv[-3:]}"
        wait_until(lambda: self.running.poll() is not None, timeout, what, lambda: self.said)
        assert self.running.poll() == code, self.said
        return self.said
