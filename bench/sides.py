"""What a measure asks of either side, and how samples of both are taken in turn."""

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
    """Ours, or DAMNIT: a program that runs context files."""

    name: str
    environment: dict[str, str]
    """What its programs get as environment variables."""

    def prepare(self, folder: Path, context: Path, data_root: Path) -> None:
        """Make `folder` a fresh database directory with this context file. Not timed."""

    def reprocess(
        self,
        folder: Path,
        data_root: Path,
        runs: Sequence[int],
        *,
        match: str | None = None,
        watch_memory: bool = False,
    ) -> Cost:
        """Run the context file over runs, until their values can be read in the table."""


@dataclass(frozen=True)
class Bench:
    """What every case works with."""

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
        """Ours, then DAMNIT."""
        return self.ours, self.peer

    def folder(self, case: str, side: Side, number: int | str) -> Path:
        """An empty directory for one sample."""
        path = self.target / "work" / case / f"{side.name}-{number}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def clear(self, case: str) -> None:
        """Remove the directories of a case (they can be large), and let the disk come to rest."""
        shutil.rmtree(self.target / "work" / case, ignore_errors=True)
        settle()

    def repetitions(self, wanted: int) -> int:
        """How often to repeat: less in a quick run, which only tries the bench itself."""
        return min(wanted, 2) if self.quick else wanted


class Case(NamedTuple):
    """Measures that come from the same commands, and the function that takes them."""

    names: tuple[str, ...]
    measure: Callable[[Bench], list[Measure]]


def settle() -> None:
    """Write out what others left dirty, so that the next measure does not wait for it."""
    os.sync()
