"""``submit()``: puts results that were computed elsewhere into the table and the run's file.

They are sent to ``amore-worker``, which stores them exactly as it stores the values of a context file's functions: all
of them, or none. Then whoever coordinates the directory (a service, a running command) collects them; if nobody does,
``amore combiner now`` does it here.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from operator import index
from pathlib import Path
from shutil import which
from typing import Any, Optional, Union

from . import encode
from .cell import Cell
from .channel import Lines, Message, SharedMemory, WorkerGone
from .errors import Failure, clean
from .variable import identifier

__all__ = ["SubmitError", "submit"]

_SLOTS = 8
_SLOT_BYTES = 8 << 20  # as in worker/src/shared_memory.rs
_ROOT = "/gpfs/exfel/exp"
# The columns of the table for every run, as in crates/model/src/run_columns.rs.
_COLUMNS_OF_RUNS = ("proposal", "run", "start_time", "added_at", "comment")


class SubmitError(RuntimeError):
    """The results were not stored. The message says why."""


def submit(
    proposal: int,
    run: int,
    variables: Mapping[str, Any],
    *,
    provenance: str,
    errors: Optional[Mapping[str, BaseException]] = None,
    damnit_dir: Union[str, os.PathLike, None] = None,
) -> None:
    """Puts results into the table and the run's file, as DAMNIT's ``submit()`` does.

    Args:
        proposal: proposal number.
        run: run number.
        variables: values or cells by name; ``None`` removes an earlier value.
        provenance: a name for what has computed the results, shown in the table.
        errors: exceptions by name, shown in place of values; :class:`Skip` is a skip.
        damnit_dir: the database directory; that of the proposal if it is left out.

    Raises:
        SubmitError: nothing was stored.
        TypeError, ValueError: a value cannot be stored, or a name or number is invalid; nothing was stored.
    """
    proposal, run = index(proposal), index(run)
    if not provenance or not isinstance(provenance, str) or "\0" in provenance:
        raise ValueError("provenance must be a text that names what has computed the results")
    errors = dict(errors or {})
    both = sorted(set(variables) & set(errors))
    if both:
        raise ValueError(f"both a value and an error: {', '.join(both)}")
    cells = {identifier(name): value if isinstance(value, Cell) else Cell(value) for name, value in variables.items()}
    failures = {identifier(name): Failure.of(error) for name, error in errors.items()}
    if not cells and not failures:
        return
    directory = _database(proposal, damnit_dir)
    stored = {name for name, cell in cells.items() if not _is_nothing(cell)} | set(failures)
    _must_have_own_columns(directory, {*cells, *failures}, stored)
    _store(directory, proposal, run, provenance, cells, failures)
    _collect(directory)


def _database(proposal: int, given: Union[str, os.PathLike, None]) -> Path:
    directory = _of_proposal(proposal) if given is None else Path(given).absolute()
    if not (directory / "runs.sqlite").is_file():
        raise SubmitError(
            f"{directory} is not a database directory: it has no runs.sqlite; `amore proposal {proposal}` creates it"
        )
    return directory


def _is_nothing(cell: Cell) -> bool:
    """Whether a cell removes an earlier value."""
    return cell.data is None and cell.preview is None and cell.summary_value is None


def _must_have_own_columns(directory: Path, names: set[str], stored: set[str]) -> None:
    """Refuses results for columns of something else. ``stored`` are the names that get a value or an error."""
    table = directory / "runs.sqlite"
    try:
        with closing(sqlite3.connect(f"{table.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            users = connection.execute("SELECT name FROM variables WHERE type IS NOT NULL").fetchall()
            all_names = "SELECT name FROM variables UNION SELECT DISTINCT name FROM run_variables"
            present = {name for (name,) in connection.execute(all_names) if isinstance(name, str)}
    except sqlite3.Error as error:
        raise SubmitError(f"{table} cannot be read: {error}") from error
    # The table would keep what users typed.
    taken = sorted(names & {"comment", *(row[0] for row in users)})
    if taken:
        raise SubmitError(
            f"users fill in {', '.join(taken)}: choose other names (amore variable set and amore comment enter values)"
        )
    # DAMNIT could not read the table any more. An earlier value of such a name can be removed.
    taken = sorted(name for name in stored if _as_column(name) in map(_as_column, _COLUMNS_OF_RUNS))
    if taken:
        raise SubmitError(f"each run already has a column of this name: {', '.join(taken)}; choose other names")
    columns = {_as_column(name): name for name in sorted(present)}
    for name in sorted(stored - present):
        other = columns.setdefault(_as_column(name), name)
        if other != name:
            raise SubmitError(
                f"{name} and {other} differ only in case, so that they are the same column for SQLite: "
                "choose another name"
            )


def _as_column(name: str) -> bytes:
    """Equal for names that are the same column for SQLite, which ignores the case of ASCII letters."""
    return name.encode("utf-8", "surrogatepass").lower()


def _of_proposal(proposal: int) -> Path:
    root = os.environ.get("EXTRA_DATA_DATA_ROOT") or os.environ.get("XFEL_DATA_ROOT") or _ROOT
    for folder in sorted(Path(root).glob(f"*/*/p{proposal:06d}")):
        return folder / "usr/Shared/amore"
    raise SubmitError(f"proposal {proposal} is not below {root} (looked for */*/p{proposal:06d}); give damnit_dir")


def _program(name: str) -> str:
    """The path of one of Amore's programs: beside this package in the installed or the built tree, or on PATH."""
    given = os.environ.get("AMORE_WORKER")
    folders = [Path(given).parent] if given else []
    package = Path(__file__).resolve().parent
    # PREFIX/lib/amore/python/damnit_ctx, or context/damnit_ctx of a clone
    folders += [Path(os.path.normpath(package / up)) for up in ("../../../../bin", "../../target/release")]
    found = which(name, path=os.pathsep.join(map(str, folders))) or which(name)
    if found is None:
        raise SubmitError(f"there is no {name} beside {package} or on PATH: load Amore (module load amore)")
    return found


def _store(
    directory: Path,
    proposal: int,
    run: int,
    provenance: str,
    cells: Mapping[str, Cell],
    failures: Mapping[str, Failure],
) -> None:
    ours, theirs = socket.socketpair()
    memory = os.memfd_create("amore-submit", os.MFD_CLOEXEC)
    try:
        os.ftruncate(memory, _SLOTS * _SLOT_BYTES)
        where = ["--directory", str(directory), "--proposal", str(proposal), "--run", str(run)]
        command = [_program("amore-worker"), "submit", *where, "--provenance", provenance, "--memory", str(memory)]
        with subprocess.Popen(
            command, stdin=theirs.fileno(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[memory], text=True
        ) as worker:
            theirs.close()
            try:
                _send(Lines(ours), SharedMemory(memory, _SLOTS, _SLOT_BYTES), cells, failures)
            except WorkerGone:
                pass  # it says why
            except BaseException:
                worker.kill()
                raise
            out, err = worker.communicate()
    finally:
        ours.close()
        theirs.close()
        os.close(memory)
    if worker.returncode != 0 or "fragment" not in (json.loads(out) if out else {}):
        raise SubmitError(err.strip().removeprefix("amore-worker: ") or f"amore-worker ended with {worker.returncode}")


def _send(lines: Lines, memory: SharedMemory, cells: Mapping[str, Cell], failures: Mapping[str, Failure]) -> None:
    measured: Message = {"seconds": 0.0, "cpu_seconds": 0.0, "max_rss_kib": 0}
    for name, cell in cells.items():
        if _is_nothing(cell):
            lines.send({"ev": "nothing", "name": name, "seconds": 0.0})
            continue
        message, arrays = encode.encode(name, cell, tell=lambda _: None)
        message.update(measured)
        memory.send_value(lines, message, arrays)
    for name, failure in failures.items():
        lines.send(
            {
                "ev": "failed",
                "name": name,
                "class": failure.class_name,
                "message": clean(failure.message),
                "skipped": failure.skipped,
                "seconds": 0.0,
            }
        )
    lines.send({"ev": "done"})


def _collect(directory: Path) -> None:
    """Collects what was stored, unless somebody who coordinates the directory does.

    It is safe on disk: if this fails, the next command collects it.
    """
    command = [_program("amore"), "combiner", "now", str(directory)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        why = done.stderr.strip()
        print(f"the results are stored and will be collected later: {why}", file=sys.stderr)
