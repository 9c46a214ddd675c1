"""Drives Amore."""

import os
from collections.abc import Sequence
from pathlib import Path

import data
import measure
from measure import Cost

LIMIT_S = 900.0


class Ours:
    """Amore, called as `amore-proto`, as in the manual."""

    name = "ours"

    def __init__(self, programs: Path, context_python: Path) -> None:
        """`programs` is the directory of the binaries; `context_python` runs the context files."""
        self.command = programs / "amore-proto"
        self.context_python = context_python
        # The result must not depend on whether Slurm is installed. DAMNIT also runs without it.
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "AMORE_NO_SLURM": "1", "PATH": path}

    def _run(self, folder: Path, data_root: Path, *arguments: str, watch_memory: bool = False) -> Cost:
        return measure.run(
            [self.command, *arguments],
            folder=folder,
            environment={**self.environment, "EXTRA_DATA_DATA_ROOT": str(data_root)},
            log=folder / "bench.log",
            limit_s=LIMIT_S,
            watch_memory=watch_memory,
        )

    def prepare(self, folder: Path, context: Path, data_root: Path) -> None:
        """Create a fresh database directory with this context file."""
        (folder / "context.py").write_text(context.read_text())
        self._run(folder, data_root, "proposal", str(data.PROPOSAL))
        self._run(folder, data_root, "db-config", "context_python", str(self.context_python))

    def reprocess(
        self,
        folder: Path,
        data_root: Path,
        runs: Sequence[int],
        *,
        match: str | None = None,
        watch_memory: bool = False,
    ) -> Cost:
        """Run the context file on these runs."""
        options = [] if match is None else ["--match", match]
        numbers = map(str, runs)
        return self._run(folder, data_root, "reprocess", *options, *numbers, watch_memory=watch_memory)
