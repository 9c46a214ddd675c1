"""Other programs have `runs.sqlite` open: variables that look up earlier runs, notebooks, programs with an open transaction.
Also: existing run tables in unusual states.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import threading
import time

from conftest import Database, context_python

ONE = "@Variable\ndef one(run): return 1\n"

READER = """
import sqlite3, time
OPEN = []

@Variable(title="Rows")
def rows(run):
    database = sqlite3.connect("runs.sqlite")
    OPEN.append(database)
    database.execute("BEGIN")
    return database.execute("SELECT count(*) FROM run_info").fetchone()[0]

@Variable(title="Open cursor")
def cursor(run, _: "var#rows"):
    database = sqlite3.connect("runs.sqlite")
    OPEN.append(database.execute("SELECT name FROM sqlite_master"))
    OPEN.append(OPEN[-1].fetchone())
    return 2

@Variable(title="Slow")
def slow(run, _: "var#cursor"):
    time.sleep(8)
    return 1
"""


class Notebook:
    """Another program with a read transaction in the run table."""

    def __init__(self, database: Database) -> None:
        text = (
            "import sqlite3, sys\n"
            "c = sqlite3.connect('runs.sqlite'); c.execute('BEGIN'); c.execute('SELECT count(*) FROM run_info').fetchall()\n"
            "print('reads', flush=True); sys.stdin.read()\n"
        )
        self.process = subprocess.Popen(
            [context_python(), "-c", text],
            cwd=database.path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "reads\n"

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def test_variables_that_leave_the_table_open_hurt_nobody(database: Database) -> None:
    database.context(READER)
    database.amore("reprocess", "1-4")
    for run in range(1, 5):
        rows = database.rows(run)
        assert rows["slow"] == 1 and rows["cursor"] == 2, (run, rows)
        assert isinstance(rows["rows"], int), (run, rows)
    assert database.leftovers() == []


def test_a_notebook_that_reads_is_waited_for_and_named(database: Database) -> None:
    database.context("import time\n@Variable\ndef one(run):\n    time.sleep(2)\n    return 1\n")
    command = database.start("reprocess", "1-4")
    while database.executions() == {} and command.poll() is None and not (database.path / "process_logs").exists():
        time.sleep(0.02)
    notebook = Notebook(database)
    time.sleep(12)
    assert command.poll() is None, command.communicate()
    # New readers get access while the existing ones are waited for.
    with sqlite3.connect(database.path / "runs.sqlite", timeout=5) as other:
        other.execute("SELECT count(*) FROM run_info").fetchall()
    other.close()
    notebook.close()
    _, err = command.communicate(timeout=120)
    assert command.returncode == 0, err
    assert len(re.findall("has been locked by another program for", err)) == 1, err
    assert f"process {notebook.process.pid}" in err, err
    for run in range(1, 5):
        assert database.rows(run) == {"one": 1}


def test_a_notebook_from_the_first_moment_on(database: Database) -> None:
    database.context(ONE)
    notebook = Notebook(database)
    threading.Timer(8, notebook.close).start()
    ended = database.amore("reprocess", "1")
    assert f"process {notebook.process.pid}" in ended.stderr, ended.stderr
    assert database.rows(1) == {"one": 1}


def told_of_the_lock(process: subprocess.Popen[str]) -> str:
    """The note about a lock: the next line that mentions one, and its hint."""
    assert process.stderr is not None
    for line in process.stderr:
        if "has been locked" in line:
            return line + process.stderr.readline()
    raise AssertionError("the command ended without a note about the lock")


def test_a_lock_that_is_held_before_the_command_starts_is_told(database: Database) -> None:
    database.context(ONE)
    holder = sqlite3.connect(database.path / "runs.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    command = database.start("reprocess", "1")
    note = told_of_the_lock(command)
    assert note.startswith("note: ") and "by another program" in note, note
    assert f"process {os.getpid()}" in note, note
    holder.execute("ROLLBACK")
    holder.close()
    out, err = command.communicate(timeout=120)
    assert command.returncode == 0, out + err
    assert database.rows(1) == {"one": 1}


def test_a_lock_of_a_variable_is_told_from_that_of_another_program(database: Database) -> None:
    go = database.path / "go"
    database.context(
        "import sqlite3, time\nOPEN = []\n"
        "@Variable\ndef one(run):\n"
        "    OPEN.append(sqlite3.connect('runs.sqlite'))\n"
        "    OPEN[0].execute('BEGIN')\n"
        "    return OPEN[0].execute('SELECT count(*) FROM run_info').fetchone()[0]\n"
        "@Variable\ndef two(run, _: 'var#one'):\n"
        f"    while not os.path.exists({str(go)!r}):\n        time.sleep(0.02)\n"
        "    return 2\n"
    )
    command = database.start("reprocess", "1")
    note = told_of_the_lock(command)
    assert "by a process of this command" in note, note
    assert "close its connection" in note, note
    go.touch()
    out, err = command.communicate(timeout=120)
    assert command.returncode == 0, out + err
    assert database.rows(1)["two"] == 2


def test_a_reader_in_wal_mode_is_in_nobodys_way(database: Database) -> None:
    database.context(ONE)
    path = database.path / "runs.sqlite"

    def mode() -> str:
        with sqlite3.connect(path) as connection:
            found = connection.execute("PRAGMA journal_mode").fetchone()[0]
        connection.close()
        return found

    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    notebook = Notebook(database)
    ended = database.amore("reprocess", "1-3")
    assert "locked" not in ended.stderr, ended.stderr
    assert mode() == "wal"
    notebook.close()
    assert [database.rows(run) for run in (1, 2, 3)] == [{"one": 1}] * 3
    database.amore("reprocess", "1")
    assert mode() == "delete"
    assert database.rows(3) == {"one": 1}


def insert(database: Database, rows: list[tuple]) -> None:
    """Writes values as another program does."""
    with sqlite3.connect(database.path / "runs.sqlite") as connection:
        connection.executemany(
            "INSERT INTO run_variables (proposal, run, name, version, value, timestamp, provenance)"
            " VALUES (1234, ?, ?, 1, ?, 0, 'by hand')",
            rows,
        )
    connection.close()


def table(database: Database, *arguments: str) -> dict[int, dict]:
    return {row["run"]: row for row in json.loads(database.amore("table", "--json", "--names", *arguments).stdout)}


def test_values_of_runs_that_are_not_listed(database: Database) -> None:
    database.context(ONE)
    insert(database, [(2, "theirs", 20), (3, "theirs", 30), (3, "comment", "good one")])
    found = table(database)
    assert found[2]["values"] == {"theirs": 20}
    assert found[3]["values"] == {"theirs": 30, "comment": "good one"}
    assert "theirs" in database.amore("table", "2").stdout
    database.amore("reprocess", "all")
    found = table(database)
    assert found[2]["values"] == {"theirs": 20, "one": 1}
    assert found[3]["values"] == {"theirs": 30, "comment": "good one", "one": 1}
    assert found[2]["start_time"] == 1_700_000_002


def test_names_that_differ_in_case_only(database: Database) -> None:
    database.context(
        "@Variable\ndef Energy(run): return 1\n@Variable\ndef energy(run): return 2\n@Variable\ndef ENERGY(run): return 3\n"
    )
    for _ in range(2):
        database.amore("reprocess", "1-2")
    assert database.rows(1) == {"Energy": 1, "energy": 2, "ENERGY": 3}
    assert table(database)[2]["values"] == {"Energy": 1, "energy": 2, "ENERGY": 3}
    with sqlite3.connect(database.path / "runs.sqlite") as connection:
        (row,) = connection.execute("SELECT * FROM runs WHERE run = 1").fetchall()
    connection.close()
    assert row[4:] == (1, 2, 3)


def test_more_variables_than_a_view_has_columns(database: Database) -> None:
    database.context(ONE)
    insert(database, [(1, f"v{number:04}", number) for number in range(2_100)])
    ended = database.amore("reprocess", "1-3")
    assert ended.stderr.count("1900 of 2101 variables") == 1, ended.stderr
    found = table(database)
    assert len(found[1]["values"]) == 2_101
    assert found[1]["values"]["v2099"] == 2_099
    assert database.rows(3) == {"one": 1}


def test_odd_start_times(database: Database) -> None:
    database.context(ONE)
    odd = {1: None, 2: "2023-11-14T22:13:20", 3: 1_700_000_000_000.0, 4: -5.0}
    odd |= {7: "\x1b[2J", 8: 1e300, 9: float("inf"), 10: b"\xff"}
    with sqlite3.connect(database.path / "runs.sqlite") as connection:
        connection.executemany("INSERT INTO run_info VALUES (1234, ?, ?, 0)", odd.items())
        connection.execute(
            "INSERT INTO run_variables (proposal, run, name, version, value) VALUES (1234, 2, 'comment', 1, 'kept')"
        )
    connection.close()
    found = table(database)
    assert set(found) == set(odd)
    assert found[2]["start_time"] == "2023-11-14T22:13:20"
    shown = database.amore("table").stdout
    assert "2023-11-14T22:13:20" in shown and "kept" in shown
    assert "\x1b" not in shown
    assert "2023-11-14T22:13:20" in database.amore("table", "--csv").stdout
    ended = database.amore("reprocess", "all", code=3)
    assert "left out" in ended.stderr
    found = table(database)
    # The content of run files counts; runs without files are not changed.
    assert [found[run]["start_time"] for run in (1, 2, 3, 4)] == [1_700_000_000 + run for run in (1, 2, 3, 4)]
    assert found[2]["values"] == {"one": 1, "comment": "kept"}
    assert set(found) == set(odd)
