"""A proposal of the tests in which runs arrive."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from served import pipe

CONTEXT = """
@Variable(title="A")
def a(run):
    effect("a")
    return len(run.train_ids)

@Variable(title="P", data="proc")
def p(run):
    effect("p")
    return 2
"""


class Site:
    """A data root of its own, in which runs arrive."""

    def __init__(self, tmp_path: Path, data_root: Path) -> None:
        self.root = tmp_path / "root"
        self.proposal = self.root / "SA2/202601/p001234"
        (self.proposal / "raw").mkdir(parents=True)
        (self.proposal / "proc").mkdir()
        self.samples = data_root / "SA2/202601/p001234/raw"
        self.database = pipe.Database(self.root, self.proposal)
        (self.database.path / "service.toml").write_text("[runs]\nquiet_seconds = 0.2\n")

    def arrive(self, run: int, data: str = "raw") -> Path:
        """A run's data appear, all at once."""
        folder = self.proposal / data / f"r{run:04d}"
        arriving = folder.with_name("arriving")
        shutil.copytree(self.samples / "r0001", arriving)
        for file in list(arriving.iterdir()):
            number = file.name.replace("R0001", f"R{run:04d}")
            os.rename(file, arriving / (number if data == "raw" else number.replace("RAW", "CORR")))
        os.utime(arriving)
        return arriving.rename(folder)

    def restore(self) -> None:
        """The context file is as it was."""
        self.database.context(CONTEXT)


def has(site: Site, run: int, **values: int) -> bool:
    """Whether the table has these values of a run."""
    rows = site.database.rows(run)
    return all(rows.get(name) == value for name, value in values.items())


def touch(folder: Path) -> None:
    """A file of a run changes in place: its folder does not."""
    before = folder.stat().st_mtime_ns
    file = sorted(folder.iterdir())[0]
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    assert folder.stat().st_mtime_ns == before
