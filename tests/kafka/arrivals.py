"""A site in which runs arrive, and the messages that tell of them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

# Loaded by its path: pytest has several files of this name.
_PIPE = Path(__file__).resolve().parents[1] / "pipe/conftest.py"
_spec = importlib.util.spec_from_file_location("pipe_conftest", _PIPE)
assert _spec is not None and _spec.loader is not None
pipe = importlib.util.module_from_spec(_spec)
sys.modules["pipe_conftest"] = pipe
_spec.loader.exec_module(pipe)

wait_for = pipe.wait_for

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

RAW, PROC = "test.r2d2", "cal.offline-corrections"
Service = subprocess.Popen[str]


class Site:
    """A data root of its own, in which runs arrive. The service takes none from their folders by itself."""

    def __init__(self, tmp_path: Path, samples: Path) -> None:
        self.proposal = tmp_path / "root/SA2/202601/p001234"
        (self.proposal / "raw").mkdir(parents=True)
        (self.proposal / "proc").mkdir()
        self.samples = samples / "SA2/202601/p001234/raw/r0001"
        self.database = pipe.Database(tmp_path / "root", self.proposal)
        self.database.context(CONTEXT)
        self.group = f"amore{self.database.path}".replace("/", "_")

    def configure(self, kafka: str) -> None:
        """Writes the service's configuration."""
        text = f"[runs]\nquiet_seconds = 1e9\n\n[kafka]\n{kafka}\n"
        (self.database.path / "service.toml").write_text(text)

    def arrive(self, run: int, data: str = "raw") -> None:
        """A run's data appear."""
        folder = self.proposal / data / f"r{run:04d}"
        shutil.copytree(self.samples, folder)
        for file in folder.iterdir():
            name = file.name.replace("R0001", f"R{run:04d}")
            os.rename(file, folder / (name if data == "raw" else name.replace("RAW", "CORR")))

    def has(self, run: int, **values: int) -> bool:
        """Whether the table has these values of a run."""
        rows = self.database.rows(run)
        return all(rows.get(name) == value for name, value in values.items())

    def events(self) -> list[dict[str, Any]]:
        """The events of Kafka in the inbox."""
        found = []
        for ledger in sorted((self.database.path / ".amore").rglob("*.sqlite")):
            connection = sqlite3.connect(ledger, timeout=30)
            connection.row_factory = sqlite3.Row
            try:
                found += [dict(row) for row in connection.execute("SELECT * FROM arrival WHERE source='kafka'")]
            except sqlite3.OperationalError:
                pass
            finally:
                connection.close()
        for event in found:
            event["detail"] = json.loads(event["detail"])
        return found

    def db_id(self) -> str:
        """The id of the database, in the name of its topic."""
        with sqlite3.connect(self.database.path / "runs.sqlite", timeout=30) as connection:
            return str(connection.execute("SELECT value FROM metameta WHERE key='db_id'").fetchone()[0])

    def log(self) -> str:
        """The log of the service."""
        return (self.database.path / "amore.log").read_text()


def migrated(run: int, proposal: Any = 1234) -> dict[str, Any]:
    """The message that raw data were migrated."""
    return {"event": "migration_complete", "proposal": proposal, "run": run, "instrument": "SA2"}


def corrected(run: int) -> dict[str, Any]:
    """The message that calibrated data were written."""
    return {"event": "run_corrections_complete", "proposal": "1234", "run": str(run)}
