"""Proposals of the three instruments for one program: the data is shared, everything else is separate."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import instruments
import numpy as np
from instruments import CAMERA, Instrument

from sides import Amore, Peer

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Experiment:
    """An instrument's proposal and its context file."""

    instrument: Instrument
    #: Runs that are processed together, in the order in which they are measured.
    batches: tuple[tuple[int, ...], ...]
    #: Names and titles of variables that look up earlier runs in the table. Their values depend on which runs were processed
    #: before.
    look_up: frozenset[str] = frozenset()
    #: The part of a variable's declaration before which another variable is inserted. The new one needs the variable above
    #: it, and kills its process.
    neighbour: str = ""

    @property
    def folder(self) -> Path:
        """The context file and the files next to it."""
        return HERE / self.instrument.name.lower()

    def proposal(self, root: Path, data: Path) -> Path:
        """Create the proposal below its own data root, and return the path of its database directory."""
        proposal = root / self.instrument.place
        proposal.mkdir(parents=True)
        for kind in ("raw", "proc"):
            if (data / kind).is_dir():
                (proposal / kind).symlink_to(data / kind)
        directory = proposal / "usr" / "Shared" / "amore"
        directory.parent.mkdir(parents=True)
        if self.instrument.aliases:
            (proposal / "usr" / "extra-data-aliases.yml").write_text(self.instrument.aliases)
        return directory

    def prepare(self, side: Amore | Peer, directory: Path, context: Path | None = None) -> None:
        """Create the database directory, with all files that the context file reads."""
        directory.mkdir()
        for path in self.folder.iterdir():
            if path.name not in ("context.py", "__pycache__"):
                copy = shutil.copytree if path.is_dir() else shutil.copy
                copy(path, directory / path.name)
        for name, array in ARRAYS[self.instrument.name].items():
            (directory / name).parent.mkdir(exist_ok=True)
            np.save(directory / name, array)
        side.prepare(directory, context or self.folder / "context.py")

    def with_neighbour(self, folder: Path) -> Path:
        """The context file with one more variable, which kills its process."""
        before, title, behind = (self.folder / "context.py").read_text().partition(self.neighbour)
        before, start, decorator = before.rpartition("@Variable(")
        previous = before.rpartition("\ndef ")[2].partition("(")[0]
        path = folder / "context_with_neighbour.py"
        path.write_text(before + NEIGHBOUR.replace("PREVIOUS", previous) + start + decorator + title + behind)
        return path


NEIGHBOUR = """\
@Variable(title="Neighbour")
def neighbour(run, _: "var#PREVIOUS"):
    import os

    os.abort()


"""

ARRAYS: dict[str, dict[str, np.ndarray]] = {
    "SPB": {},
    "MID": {"masks/agipd_mask.npy": np.add.outer(np.arange(512), np.arange(128)) % 7 > 0},
    "HED": {f"backgrounds/{name}.npy": np.full(CAMERA, level, dtype="f4") for name, level in (("near", 97), ("far", 98.5))},
}

EXPERIMENTS = {
    "SPB": Experiment(instruments.SPB, ((1, 2),), neighbour='"Hits/settings"'),
    "MID": Experiment(instruments.MID, ((1, 2),), neighbour='"SDD"'),
    "HED": Experiment(
        instruments.HED,
        ((1,), (2, 3)),
        frozenset({"last_dark_level", "Dark level of the last dark run"}),
        neighbour='"KEPLER 2 PLOT"',
    ),
}
