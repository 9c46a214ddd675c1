"""Drives DAMNIT 0.4.0, without Kafka and without Slurm.

`reprocess --direct` works through the runs on this machine, one after the other (it has no way to run
several at a time without Slurm) and leaves a file for each; `combiner now` puts them into the run files
and the table. Values can be read after the second, so the two are one command here.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import data
import measure
from measure import Cost

LIMIT_S = 1800.0


class Peer:
    """DAMNIT in an environment of its own, whose Python also runs the context files."""

    name = "peer"

    def __init__(self, python: Path) -> None:
        """`python` is the interpreter of the environment that holds `damnit[backend]`."""
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
        """Make a fresh database directory with this context file."""
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
        """Run the context file over runs, then combine."""
        options = [] if match is None else ["--match", match]
        numbers = map(str, runs)
        extract = self._run(
            folder, data_root, "reprocess", "--direct", *options, *numbers, watch_memory=watch_memory
        )
        return extract + self._run(
            folder, data_root, "combiner", "now", str(folder), watch_memory=watch_memory
        )
