"""Whatever is in place of a good file: the exit code is right, the message names the file and the fix, and nothing is lost.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import XGM, Database, programs

TWO = "@Variable\ndef one(run): return 1\n@Variable\ndef two(run, one: 'var#one'): return np.arange(4.0) + one\n"

READERS = [
    ["proposal"],
    ["db-config"],
    ["plan", "1"],
    ["reprocess", "1"],
    ["read-context"],
    ["table"],
    ["log", "1"],
    ["new-id"],
    ["migrate"],
    ["combiner", "now", "."],
]


def words(database: Database, *arguments: str, code: int = 1) -> str:
    """The standard error of a command that must end with `code`."""
    ended = database.amore(*arguments, code=code)
    assert "panicked" not in ended.stderr, ended.stderr
    return ended.stderr


def whole(database: Database, run: int = 1) -> None:
    """The values of `TWO` are in file and table."""
    rows = database.rows(run)
    assert rows["one"] == 1, rows
    with h5py.File(database.run_file(run)) as file:
        np.testing.assert_array_equal(file["two/data"][:], np.arange(4.0) + 1)


# -- runs.sqlite ------------------------------------------------------------------------------------------------------


def foreign(path: Path) -> None:
    """A SQLite database of something else."""
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()


def damaged(path: Path) -> None:
    """Pages overwritten after a valid header."""
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xa5" * (len(content) - 100))


TABLES = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("no database\n" * 1000), "not a SQLite database"),
    "foreign": (foreign, "not a run table"),
    "damaged": (damaged, "damaged"),
    "directory": (lambda path: (path.unlink(), path.mkdir()), "is a directory"),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_run_table_that_is_none(database: Database, what: str) -> None:
    spoil, expected = TABLES[what]
    database.context(TWO)
    path = database.path / "runs.sqlite"
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    for command in READERS:
        said = words(database, *command)
        assert "runs.sqlite" in said, (command, said)
        assert expected in said, (command, said)
        assert "hint: " in said, (command, said)
    # `proposal` creates a database only if there is none.
    assert "runs.sqlite" in words(database, "proposal", "1234")
    if before is not None:
        assert path.read_bytes() == before
    assert not (database.path / "extracted_data").exists()


def test_outside_a_database_directory(database: Database, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for command in [*READERS, ["export", "1"], ["verify"]]:
        ended = database.amore(*command, cwd=elsewhere, code=1)
        assert "not a database directory" in ended.stderr, command
        assert "amore-proto proposal <number>" in ended.stderr, command
    assert list(elsewhere.iterdir()) == []


def test_wrong_words(database: Database) -> None:
    assert '"first" is not a run number' in words(database, "reprocess", "first", code=2)
    for run in ("-1", "1-", "5-1", "1.5", "99999999999999999999"):
        assert run in words(database, "reprocess", "--", run, code=2)
    assert "reprocess" in words(database, "repocess", "1", code=2)
    assert "frobnicate" in words(database, "frobnicate", code=2)
    assert "neither a directory nor a proposal" in words(database, "reprocess", "--in", "nowhere", "1")
    assert "0" in words(database, "proposal", "0", code=2)
    assert "999" in words(database, "verify", "999", code=3)
    assert "a proposal is a number" in words(database, "db-config", "proposal", "p1234x")
    for run in ("100000", "4294967295"):
        assert f"there is no run {run}: runs have the numbers 0 to 99999" in words(database, "trigger", run, code=2)
    assert not (database.path / ".amore/triggers").exists()
    wrong = (("concurrent_jobs", "1e30"), ("concurrent_jobs", "2.5"), ("variable_time", "1e30"), ("context_python", "3"))
    for key, value in wrong:
        said = words(database, "db-config", "--num", key, value)
        assert f"{key} must be" in said and "hint:" in said, said
    assert "db_id must be 40 hexadecimal digits" in words(database, "db-config", "db_id", "x")
    assert "new-id" in words(database, "db-config", "db_id", "--delete")
    assert not (database.path / "extracted_data").exists()


# -- directories and disks --------------------------------------------------------------------------------------------


def as_nobody(database: Database, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of a user without write permission."""
    if os.getuid() != 0:
        pytest.skip("only root can become somebody who may not write")
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv")
    for folder in database.path.parents:
        if folder != Path("/") and not os.access(folder, os.X_OK):
            pytest.skip(f"{folder} is closed")
        if folder.stat().st_uid == 0 and folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    database.path.chmod(0o755)
    for path in database.path.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    inside = [str(programs() / "amore"), *arguments]
    command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *inside]
    environment = {**database.environment, "HOME": "/nonexistent"}
    ended = subprocess.run(command, cwd=database.path, env=environment, capture_output=True, text=True, timeout=300, check=False)
    if "ermission denied" in ended.stderr and "setpriv: failed to execute" in ended.stderr:
        pytest.skip("the programs lie where others may not look")
    return ended


def test_a_directory_that_may_only_be_read(database: Database) -> None:
    database.context(TWO)
    database.amore("reprocess", "1")
    before = {path: path.read_bytes() for path in database.path.rglob("*") if path.is_file()}
    for command in (["reprocess", "1"], ["db-config", "variable_time", "5"], ["new-id"], ["proposal", "1"]):
        ended = as_nobody(database, *command)
        assert ended.returncode == 1, (command, ended)
        assert "cannot be written" in ended.stderr, (command, ended.stderr)
        assert "chmod g+w" in ended.stderr, (command, ended.stderr)
    assert {path: path.read_bytes() for path in database.path.rglob("*") if path.is_file()} == before
    # Reading is allowed.
    for command in (["table"], ["log", "1"], ["db-config"], ["proposal"], ["verify"]):
        ended = as_nobody(database, *command)
        assert ended.returncode == 0, (command, ended)


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[None]:
    """A file system of a given size at `path`, with the existing content."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    path.mkdir(exist_ok=True)
    kept = path.parent / f"{path.name}-kept"
    shutil.copytree(path, kept)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        shutil.copytree(kept, path, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


LARGE = """
@Variable
def one(run): return 1
@Variable
def two(run, one: 'var#one'): return np.arange(4.0) + one
@Variable
def large(run, two: 'var#two'): return np.random.default_rng(0).random(3_000_000)
"""


@pytest.mark.parametrize("where", ["extracted_data", "."])
def test_a_disk_that_fills_up(database: Database, where: str) -> None:
    database.context(TWO)
    database.amore("reprocess", "1")
    folder = database.path / where
    os.chdir("/")
    with small_disk(folder, "6M"):
        database.context(LARGE)
        # The command reports this once, and ends.
        ended = database.amore("reprocess", "1", code=1)
        assert ended.stderr.lower().count("no space left") == 1, ended
        assert "extracted_data" in ended.stderr or "runs.sqlite" in ended.stderr, ended
        if where == "extracted_data":
            # The log says which variable it was.
            assert "large could not be stored: no space left" in database.amore("log", "1").stdout
            assert "could not be stored" in database.amore("explain", "1", "large").stdout
        whole(database)
        assert "large" not in database.stored(1)
        assert database.amore("verify").stdout.endswith("0 problems\n")
        # No leftovers fill the disk permanently.
        database.context(TWO.replace("+ one", "+ one * 1"))
        database.amore("reprocess", "1")
        whole(database)
        assert database.leftovers() == []


# -- run files --------------------------------------------------------------------------------------------------------


def test_run_files_that_are_gone(database: Database) -> None:
    database.context(TWO)
    database.amore("reprocess", "1", "2")
    database.run_file(2).unlink()
    said = database.amore("verify", code=1).stdout
    assert f"{database.run_file(2)}: is missing, but the table has 2 variables of run 2 of proposal 1234" in said
    assert "1 run file checked, 1 problem\n1 run file is missing" in said
    shutil.rmtree(database.path / "extracted_data")
    findings = json.loads(database.amore("verify", "--json", code=1).stdout)
    assert [finding["file"] for finding in findings] == [str(database.run_file(run)) for run in (1, 2)]
    assert "2 run files are missing" in database.amore("verify", code=1).stdout
    # A run that the table does not know is a different case.
    ended = database.amore("verify", "1", "3", code=1)
    assert "run 1 of" in ended.stdout and "run 3" in ended.stderr
    database.amore("reprocess", "all")
    assert database.amore("verify").stdout == "2 run files checked, 0 problems\n"


@pytest.fixture
def own_runs(database: Database) -> Path:
    """The folder of raw runs, as copies that may be damaged."""
    link = database.path.parents[2] / "raw"
    real = link.resolve()
    link.unlink()
    # Without extra_data's cached map of the run, which would hide that a file has changed.
    shutil.copytree(real, link, ignore=shutil.ignore_patterns("*.json"))
    return link


SPOILED = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 3]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not HDF5"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_run_that_cannot_be_opened(database: Database, own_runs: Path, how: str) -> None:
    database.context(TWO)
    database.amore("reprocess", "1", "2")
    (data,) = (own_runs / "r0001").glob("*.h5")
    SPOILED[how](data)
    before = (database.rows(1), database.run_file(1).read_bytes())
    said = words(database, "reprocess", "1", "2", code=3)
    assert "run 1" in said, said
    assert data.name in said, said
    # Results that were computed before the damage are kept, and the other run is processed.
    assert (database.rows(1), database.run_file(1).read_bytes()) == before
    whole(database, 2)
    assert database.leftovers() == []


def test_a_run_folder_with_nothing_in_it(database: Database, own_runs: Path) -> None:
    database.context(TWO)
    (own_runs / "r0007").mkdir()
    said = words(database, "reprocess", "1", "7", code=3)
    assert "run 7" in said, said
    assert "r0007" in said, said
    assert {name: value[0] for name, value in database.rows(7).items()} == dict.fromkeys(["one", "two"], "FileNotFoundError")
    whole(database)


def test_a_run_with_one_bad_file_of_two(database: Database, own_runs: Path) -> None:
    """The data of the good file can be read; the bad file is named in a message."""
    database.context(f"@Variable\ndef pulse(run): return run['{XGM}:output', 'data.intensityTD'].ndarray().shape[0]\n")
    (own_runs / "r0001/RAW-R0001-DA02-S00000.h5").write_bytes(b"")
    said = database.amore("reprocess", "1").stderr
    assert said.count("RAW-R0001-DA02-S00000.h5 could not be read and was skipped") == 1, said


def test_one_damaged_run_file_stops_only_its_run(database: Database) -> None:
    database.context("@Variable\ndef a(run, r: 'meta#run_number'): return np.full(3, r)\n")
    database.amore("reprocess", "1-3")
    os.truncate(database.run_file(2), 2000)
    said = database.amore("reprocess", "1-3", code=3)
    assert "run 2 could not be processed" in said.stderr and "move the damaged file away" in said.stderr
    again = database.amore("reprocess", "1", "3")
    assert "p1234_r2.h5" in again.stderr
    for run in (1, 3):
        assert "a" in database.stored(run)
    database.run_file(2).rename(database.path / "damaged.h5")
    database.amore("reprocess", "2")
    assert "a" in database.stored(2)
    assert database.leftovers() == []


def test_wrong_run_arguments_are_wrong_usage(database: Database) -> None:
    database.context(TWO)
    for wrong in ("abc", "3-1", "1-", "1,2", "1.0", "1-4000000000"):
        said = database.amore("reprocess", wrong, code=2).stderr
        assert f'"{wrong}"' in said, said
    said = database.amore("reprocess", "1-50", code=3).stderr
    assert "5-50" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_context_file_that_never_ends_can_be_stopped(database: Database, number: signal.Signals) -> None:
    database.context("effect('begun')\nwhile True: pass\n")
    process = database.start("reprocess", "1")
    while not database.executions():
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped while the context file was being executed" in said


# -- Pythons ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python without any packages."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    return folder / "venv/bin/python"


def refuses_python(database: Database, python: str, *expected: str) -> None:
    """Nothing can be computed with it, and stored values are kept."""
    with sqlite3.connect(database.path / "runs.sqlite") as connection:
        connection.execute("UPDATE metameta SET value=? WHERE key='context_python'", (python,))
    connection.close()
    before = database.rows(1)
    for command in (["reprocess", "1"], ["check"], ["plan", "1"], ["read-context"]):
        said = words(database, *command)
        for text in (*expected, "hint: ", "context_python"):
            assert text in said, (command, text, said)
    assert database.rows(1) == before
    whole(database)


def test_a_context_file_as_editors_and_packages_write_it(database: Database) -> None:
    """A byte order mark, and line ends of another system: Python accepts both."""
    database.context("")
    text = (database.path / "context.py").read_text() + TWO
    (database.path / "context.py").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    database.amore("reprocess", "1")
    whole(database)
    (database.path / "context.py").write_text(text + "from . import Variable\n")
    assert "attempted relative import with no known parent package" in database.amore("check", code=4).stdout


def test_a_context_file_that_ends_its_process(database: Database) -> None:
    database.context(TWO + "import os\n\nos.abort()\n")
    last = len((database.path / "context.py").read_text().splitlines())
    problem = json.loads(database.amore("check", "--json", code=4).stdout)["problems"][0]
    assert "SIGABRT" in problem["message"] and problem["line"] == last, problem
    assert "move slow or crash-prone code into variables" in problem["hint"]


def test_all_runs_of_a_database_without_runs(database: Database) -> None:
    database.context(TWO)
    ended = database.amore("reprocess", "all")
    assert "this database has no runs yet" in ended.stderr, ended


def test_a_python_that_does_not_exist(database: Database) -> None:
    database.context(TWO)
    database.amore("reprocess", "1")
    refuses_python(database, "/no/such/python", "/no/such/python")


def test_a_python_that_is_none(database: Database, tmp_path: Path) -> None:
    database.context(TWO)
    database.amore("reprocess", "1")
    refuses_python(database, "/bin/true", "/bin/true")
    text = tmp_path / "text"
    text.write_text("no program")
    refuses_python(database, str(text), str(text))
    refuses_python(database, str(tmp_path), str(tmp_path))


def test_a_python_without_packages(database: Database, bare_python: Path) -> None:
    database.context(TWO)
    database.amore("reprocess", "1")
    refuses_python(database, str(bare_python), str(bare_python), "numpy")


# -- output -----------------------------------------------------------------------------------------------------------


def test_output_that_cannot_be_written(database: Database) -> None:
    """A truncated table must not look complete, and a computation continues even if its messages cannot be written."""
    database.context(TWO + "@Variable\ndef fails(run): raise ValueError('no')\n")
    with open("/dev/full", "w") as full:
        for arguments in (["reprocess", "1"], ["reprocess", "2", "--json"]):
            process = subprocess.run(
                [str(programs() / "amore"), *arguments],
                cwd=database.path,
                env=database.environment,
                stdout=full,
                stderr=full,
                timeout=300,
                check=False,
            )
            assert process.returncode == 0
        whole(database, 1)
        whole(database, 2)
        table = subprocess.run(
            [str(programs() / "amore"), "table", "--csv"],
            cwd=database.path,
            env=database.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
        )
    assert table.returncode == 1
    assert "the output cannot be written" in table.stderr
