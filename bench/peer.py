"""Drives DAMNIT 0.4.0, without Kafka and without Slurm.

`reprocess --direct` processes the runs on this machine one after another (without Slurm it cannot process
several at the same time) and writes a file for each. `combiner now` merges these into the run files and the
table. Values can only be read after the second command, so the two are measured together.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import data
import measure
from measure import Cost

LIMIT_S = 1800.0


class Peer:
    """DAMNIT in its own environment, whose Python also runs the context files."""

    name = "peer"

    def __init__(self, python: Path) -> None:
        """`python` is the interpreter of the environment with `damnit[backend]`."""
        self.python = python
        self.command = python.parent / "damnit"
        self.environment = {**os.environ, "AMORE_BROKER": "none"}

    def _run(self, folder: Path, data_root: Path, *arguments: str, watch_memory: bool = False) -> Cost:
        roots = {"EXTRA_DATA_DATA_ROOT": str(data_root), "XFEL_DATA_ROOT": str(data_root)}
        return measure.run(
            [self.command, *arguments],
            folder=folder,
            environment={**self.environment, **roots},
            log=folder / "bench.log",
            limit_s=LIMIT_S,
            watch_memory=watch_memory,
        )

    def prepare(self, folder: Path, context: Path, data_root: Path) -> None:
        """Create a fresh database directory with this context file."""
        self._run(folder, data_root, "init", ".", "--proposal", str(data.PROPOSAL), "--context", str(context))
        self._run(folder, data_root, "db-config", "context_python", str(self.python))

    def reprocess(
        self,
        folder: Path,
        data_root: Path,
        runs: Sequence[int],
        *,
        match: str | None = None,
        watch_memory: bool = False,
    ) -> Cost:
        """Run the context file on these runs, then combine the results."""
        options = [] if match is None else ["--match", match]
        numbers = map(str, runs)
        extract = self._run(
            folder, data_root, "reprocess", "--direct", *options, *numbers, watch_memory=watch_memory
        )
        return extract + self._run(
            folder, data_root, "combiner", "now", str(folder), watch_memory=watch_memory
        )
