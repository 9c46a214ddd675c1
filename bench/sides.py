"""The interface of both sides to the measurements, and how samples of both are taken in turn."""

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from measure import Cost
from report import Measure


class Side(Protocol):
    """Amore or DAMNIT: a program that executes context files."""

    name: str
    environment: dict[str, str]
    """What its programs get as environment variables."""

    def prepare(self, folder: Path, context: Path, data_root: Path) -> None:
        """Turn `folder` into a fresh database directory with this context file. Not timed."""

    def reprocess(
        self,
        folder: Path,
        data_root: Path,
        runs: Sequence[int],
        *,
        match: str | None = None,
        watch_memory: bool = False,
    ) -> Cost:
        """Execute the context file for these runs, until the values can be read from the table."""


@dataclass(frozen=True)
class Bench:
    """The environment of all measurements."""

    ours: Side
    peer: Side
    peer_python: Path
    programs: Path
    """Where `amore` is; its examples are in `examples` below."""
    target: Path
    quick: bool
    closing: ExitStack
    """What is to be ended when all is measured."""

    @property
    def sides(self) -> tuple[Side, Side]:
        """Amore, then DAMNIT."""
        return self.ours, self.peer

    def folder(self, case: str, side: Side, number: int | str) -> Path:
        """An empty directory for one sample."""
        path = self.target / "work" / case / f"{side.name}-{number}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def clear(self, case: str) -> None:
        """Remove the directories of a case (they can be large), and wait until the disk is idle."""
        shutil.rmtree(self.target / "work" / case, ignore_errors=True)
        settle()

    def repetitions(self, wanted: int) -> int:
        """The number of repetitions: fewer in a quick run, which only tests the benchmark itself."""
        return min(wanted, 2) if self.quick else wanted


class Case(NamedTuple):
    """Measurements that come from the same commands, and the function that takes them."""

    names: tuple[str, ...]
    measure: Callable[[Bench], list[Measure]]


def settle() -> None:
    """Flush dirty pages of earlier measurements, so that the next one does not wait for them."""
    os.sync()
