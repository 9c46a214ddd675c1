"""A small proposal in the EuXFEL format with a database directory, and the real programs."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
RUNS = 4
XGM = "SA2_XTD1_XGM/XGM/DOOCS"


def programs() -> Path:
    """The folder of the built programs."""
    folder = Path(os.environ.get("AMORE_BIN_DIR", REPOSITORY / "target/release"))
    if not (folder / "amore-proto").exists():
        pytest.fail(f"there is no amore-proto in {folder}: run `make build`, or set AMORE_BIN_DIR")
    return folder


def context_python() -> str:
    """A Python with extra_data: AMORE_TEST_PYTHON, or the one that runs the tests."""
    return os.environ.get("AMORE_TEST_PYTHON", sys.executable)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ROOT/SA2/202601/p001234 with a few small raw runs."""
    from extra_data.tests.mockdata import write_file
    from extra_data.tests.mockdata.xgm import XGM as MockXGM

    root = tmp_path_factory.mktemp("data")
    for run in range(1, RUNS + 1):
        folder = root / f"SA2/202601/p001234/raw/r{run:04d}"
        folder.mkdir(parents=True)
        path = folder / f"RAW-R{run:04d}-DA01-S00000.h5"
        write_file(str(path), [MockXGM(XGM)], 16, format_version="1.2")
        with h5py.File(path, "r+") as file:
            intensity = file[f"INSTRUMENT/{XGM}:output/data/intensityTD"]
            intensity[:] = 100 * run + np.arange(len(intensity))[:, None] % 16
            file["INDEX/timestamp"][:] = 1_700_000_000_000_000_000 + run * 10**9
    return root


def wait_for(
    what: str, condition: Callable[[], Any], process: subprocess.Popen[str] | None = None, seconds: float = 120
) -> Any:
    """Waits until a condition holds, and returns its value. `process` must not end before."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if process is not None and process.poll() is not None and not (found := condition()):
            out, err = process.communicate()
            pytest.fail(f"ended with {process.returncode} before {what}\n{out}\n{err}")
        if found:
            break
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)
    return found


def kill(pids: list[int]) -> int:
    """Kills processes; returns how many were alive."""
    killed = 0
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            killed += 1
        except ProcessLookupError:
            pass
    return killed


class Database:
    """A database directory and the commands in it."""

    def __init__(self, root: Path, proposal: Path) -> None:
        self.root = root
        self.path = proposal / "usr/Shared/amore"
        self.path.mkdir(parents=True)
        self.python = context_python()
        self.effects = self.path / "effects.txt"
        self.amore("proposal", "1234", program="amore-proto")
        self.amore("db-config", "context_python", context_python())

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the commands."""
        return {
            **os.environ,
            "EXTRA_DATA_DATA_ROOT": str(self.root),
            "EFFECTS": str(self.effects),
            # Slurm has separate tests.
            "AMORE_NO_SLURM": "1",
            # Times are shown in local time. This time zone is not UTC, whatever the season and the machine.
            "TZ": "CET-1",
        }

    def context(self, text: str) -> None:
        """Writes the context file; in it, `effect(name)` records an execution."""
        head = (
            "import os\nimport numpy as np\nfrom damnit_ctx import Variable, Cell, Skip\n\n"
            "def effect(name):\n"
            "    fd = os.open(os.environ['EFFECTS'], os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
            "    os.write(fd, (name + '\\n').encode())\n"
            "    os.close(fd)\n\n"
        )
        (self.path / "context.py").write_text(head + text)

    def processes(self) -> dict[str, list[int]]:
        """Amore's processes that work for this directory, by role."""
        found: dict[str, list[int]] = {"amore": [], "worker": [], "host": [], "child": []}
        parents = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if f"EFFECTS={self.effects}".encode() not in (entry / "environ").read_bytes():
                    continue
                command = (entry / "cmdline").read_bytes()
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            for role, word in (
                ("worker", b"amore-worker"),
                ("host", b"damnit_ctx.host"),
                ("amore", b"reprocess"),
            ):
                if word in command:
                    pid = int(entry.name)
                    found[role].append(pid)
                    parents[pid] = int(stat.rsplit(")", 1)[1].split()[1])
                    break
        # A child is a fork of its host, and has the same command line.
        hosts = set(found["host"])
        found["child"] = [pid for pid in found["host"] if parents[pid] in hosts]
        found["host"] = [pid for pid in found["host"] if parents[pid] not in hosts]
        return found

    def owner(self) -> tuple[int, float] | None:
        """The process that owns the directory, and the end of its term."""
        connection = sqlite3.connect(self.path / "runs.sqlite", timeout=30)
        try:
            row = connection.execute("SELECT pid, until FROM amore_owner").fetchone()
        except sqlite3.OperationalError:
            return None
        finally:
            connection.close()
        return None if row is None or row[0] is None else (row[0], row[1])

    def is_owned_by(self, process: subprocess.Popen[str]) -> bool:
        """Whether this command owns the directory."""
        owner = self.owner()
        return owner is not None and owner[0] == process.pid

    def requests(self, kind: str = "*") -> list[Path]:
        """Requests that commands have handed over: files that end with `.kind`."""
        return sorted((self.path / ".amore/requests").glob(f"*.{kind}"))

    def executions(self) -> dict[str, int]:
        """How often each name was recorded."""
        if not self.effects.exists():
            return {}
        names = self.effects.read_text().split()
        return {name: names.count(name) for name in set(names)}

    def start(self, *arguments: str, program: str = "amore", **options: Any) -> subprocess.Popen[str]:
        """Starts a command."""
        options.setdefault("cwd", self.path)
        options.setdefault("env", self.environment)
        return subprocess.Popen(
            [str(programs() / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def amore(
        self, *arguments: str, program: str = "amore", code: int | None = 0, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command; its exit code must be `code` (if None, any)."""
        process = self.start(*arguments, program=program, **options)
        out, err = process.communicate(timeout=300)
        if code is not None and process.returncode != code:
            pytest.fail(
                f"{program} {' '.join(arguments)} ended with {process.returncode}, not {code}\n{out}\n{err}"
            )
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def rows(self, run: int, proposal: int = 1234) -> dict[str, Any]:
        """Values of a run in the table. Errors are (class, message)."""
        with sqlite3.connect(self.path / "runs.sqlite", timeout=30) as connection:
            found = connection.execute(
                "SELECT name, value, attributes FROM run_variables WHERE proposal=? AND run=?",
                (proposal, run),
            ).fetchall()
        connection.close()
        values = {}
        for name, value, attributes in found:
            extra = json.loads(attributes) if attributes else {}
            values[name] = (extra["error_cls"], extra["error"]) if "error" in extra else value
        return values

    def run_file(self, run: int, proposal: int = 1234) -> Path:
        """A run's HDF5 file."""
        return self.path / f"extracted_data/p{proposal}_r{run}.h5"

    def stored(self, run: int) -> set[str]:
        """Variables with data in a run file."""
        with h5py.File(self.run_file(run)) as file:
            return {name for name in file if not name.startswith(".")}

    def leftovers(self) -> list[str]:
        """Uncollected fragments. (Unfinished files of a killed writer are removed after a day.)"""
        folder = self.path / "extracted_data"
        if not folder.exists():
            return []
        return sorted(path.name for path in folder.iterdir() if ".ready." in path.name)


@pytest.fixture
def database(tmp_path: Path, data_root: Path) -> Database:
    """An empty database directory in a proposal of its own, which has the raw data of `data_root`."""
    proposal = tmp_path / "SA2/202601/p001234"
    proposal.mkdir(parents=True)
    (proposal / "raw").symlink_to(data_root / "SA2/202601/p001234/raw")
    return Database(tmp_path, proposal)
