"""Drives the two programs under test in the same way: create a database directory, process runs."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from commands import run

PROPOSAL = 1234

# A substitute for Slurm's command for DAMNIT, which submits cluster variables even with --direct. The job runs at once.
SBATCH = """#!/bin/sh
while [ "$1" != --wrap ]; do shift; done
sh -c "$2" >&2 && echo 1
"""


@dataclass(frozen=True)
class Peer:
    """DAMNIT, without Kafka and Slurm."""

    python: Path
    data_root: Path
    proposal: int

    def environment(self, directory: Path) -> dict[str, str]:
        """Its own settings, and a substitute for sbatch."""
        folder = directory / ".slurm"
        folder.mkdir(exist_ok=True)
        (folder / "sbatch").write_text(SBATCH)
        (folder / "sbatch").chmod(0o755)
        path = f"{folder}:{self.python.parent}:/usr/local/bin:/usr/bin:/bin"
        return {**data_roots(self.data_root), "AMORE_BROKER": "none", "MPLBACKEND": "agg", "PATH": path}

    def damnit(self, directory: Path, *words) -> None:
        """Call the command in the database directory."""
        run([self.python.parent / "damnit", *words], cwd=directory, env=self.environment(directory))

    def prepare(self, directory: Path, context: Path) -> None:
        """Create a database directory with this context file."""
        directory.mkdir(parents=True, exist_ok=True)
        self.damnit(directory, "init", directory, "--proposal", self.proposal, "--context", context)
        self.damnit(directory, "db-config", "context_python", self.python)
        # Otherwise it queries the machine's netgroups, which may be slow on some networks.
        self.damnit(directory, "db-config", "slurm_partition", "all")

    def reprocess(self, directory: Path, *runs: int) -> None:
        """Compute everything for these runs. On return, the results are in the table."""
        self.damnit(directory, "reprocess", "--direct", *runs)
        self.damnit(directory, "combiner", "now", directory)


@dataclass(frozen=True)
class Amore:
    """The programs built from this repository, with a Python for context files."""

    folder: Path
    context_python: Path
    data_root: Path
    proposal: int
    #: Folder with the commands of a Slurm to use, if any.
    slurm: Path | None = None

    def amore(self, directory: Path, *words) -> str:
        """Call the command in the database directory; returns its output."""
        # Slurm has separate tests. If the machine has Slurm, it must not change the results of these.
        env = {**data_roots(self.data_root), "MPLBACKEND": "agg"}
        if self.slurm is None:
            env["AMORE_NO_SLURM"] = "1"
        else:
            env["PATH"] = f"{self.slurm}:{os.environ['PATH']}"
        return run([self.folder / "amore", *words], cwd=directory, env=env).stdout

    def prepare(self, directory: Path, context: Path) -> None:
        """Create a database directory with this context file."""
        directory.mkdir(parents=True, exist_ok=True)
        self.amore(directory, "proposal", self.proposal)
        self.amore(directory, "db-config", "context_python", self.context_python)
        self.replace_context(directory, context)

    def replace_context(self, directory: Path, context: Path) -> None:
        """Replace the directory's context file."""
        shutil.copyfile(context, directory / "context.py")

    def reprocess(self, directory: Path, *runs: int) -> str:
        """Compute everything for these runs. On return, the results are in the table."""
        return self.amore(directory, "reprocess", *runs)


def data_roots(root: Path) -> dict[str, str]:
    """The environment variables that tell extra_data and DAMNIT where proposals are."""
    return {"EXTRA_DATA_DATA_ROOT": str(root), "XFEL_DATA_ROOT": str(root)}
