"""Comments and variables that users edit: `amore comment` and `amore variable`."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

from conftest import Database, wait_for


@pytest.fixture
def table(database: Database) -> Database:
    """A database with one processed run."""
    database.context("@Variable(title='A')\ndef a(run):\n    return 1\n")
    database.amore("reprocess", "1")
    return database


def query(database: Database, statement: str) -> list[tuple[Any, ...]]:
    """Rows of the table."""
    with sqlite3.connect(database.path / "runs.sqlite", timeout=30) as connection:
        rows = connection.execute(statement).fetchall()
    connection.close()
    return rows


def test_all_four_types_are_stored_as_damnit_stores_them(table: Database) -> None:
    for name, value_type in [("dark", "boolean"), ("hits", "integer"), ("mm", "number"), ("sample", "string")]:
        table.amore("variable", "add", name, value_type, "--title", name.title())
    table.amore("variable", "set", "1", "dark=yes", "hits=-3", "mm=2", "sample=a = b")
    columns = "typeof(value), value, provenance, summary_method, version"
    rows = query(table, f"SELECT name, {columns} FROM run_variables WHERE provenance = 'manual-input' ORDER BY name")
    assert rows == [
        ("dark", "integer", 1, "manual-input", "", 1),
        ("hits", "integer", -3, "manual-input", "", 1),
        ("mm", "real", 2.0, "manual-input", "", 1),
        ("sample", "text", "a = b", "manual-input", "", 1),
    ]
    assert query(table, "SELECT dark, hits, mm, sample, a FROM runs") == [(1, -3, 2.0, "a = b", 1)]
    listed = json.loads(table.amore("variable", "list", "--json").stdout)
    assert [(one["name"], one["type"], one["title"]) for one in listed][0] == ("dark", "boolean", "Dark")
    shown = json.loads(table.amore("table", "--json", "--names").stdout)
    assert shown[0]["values"]["dark"] is True
    assert shown[0]["values"] == {"a": 1, "dark": 1, "hits": -3, "mm": 2.0, "sample": "a = b"}


def test_a_value_of_another_type_changes_nothing(table: Database) -> None:
    table.amore("variable", "add", "hits", "integer")
    table.amore("variable", "add", "sample", "string")
    failed = table.amore("variable", "set", "1", "sample=x", "hits=many", code=2)
    assert 'hits: "many" is not a whole number' in failed.stderr
    assert table.rows(1) == {"a": 1}


def test_values_are_removed_and_variables_only_without_values(table: Database) -> None:
    table.amore("variable", "add", "sample", "string")
    table.amore("variable", "set", "1", "sample=x")
    failed = table.amore("variable", "rm", "sample", code=1)
    assert "has a value in 1 run" in failed.stderr and "--with-values" in failed.stderr
    table.amore("variable", "unset", "1", "sample")
    assert table.rows(1) == {"a": 1, "sample": None}
    table.amore("variable", "rm", "sample")
    assert table.rows(1) == {"a": 1}
    assert query(table, "SELECT name FROM variables") == [("a",)]
    table.amore("variable", "add", "sample", "number")
    table.amore("variable", "set", "1", "sample=1.5")
    table.amore("variable", "rm", "sample", "--with-values")
    assert table.rows(1) == {"a": 1}


def test_computed_variables_and_unknown_runs_are_left_alone(table: Database) -> None:
    assert "which is computed" in table.amore("variable", "add", "A", "number", "--title", "Other", code=1).stderr
    assert "a column that the table has" in table.amore("variable", "add", "Run", "number", code=1).stderr
    taken = table.amore("variable", "add", "b", "number", "--title", "a", code=1).stderr
    assert '"a" is the title of the variable a already' in taken and "amore table --columns" in taken
    assert "which is computed" in table.amore("variable", "add", "a", "number", code=1).stderr
    assert "the context file computes it" in table.amore("variable", "rm", "a", code=1).stderr
    assert "is not a valid variable name" in table.amore("variable", "add", "comment", "string", code=1).stderr
    table.amore("variable", "add", "sample", "string")
    assert "there is a variable sample already" in table.amore("variable", "add", "sample", "string", code=1).stderr
    assert "run 9 of proposal 1234 is not in the table" in table.amore("variable", "set", "9", "sample=x", code=1).stderr
    assert "users do not edit a variable b" in table.amore("variable", "set", "1", "b=x", code=1).stderr
    assert query(table, "SELECT run FROM run_info") == [(1,)]


def test_a_result_never_takes_the_place_of_what_a_user_entered(table: Database) -> None:
    table.amore("variable", "add", "b", "number")
    table.amore("variable", "set", "1", "b=7")
    table.amore("comment", "1", "good")
    table.context("@Variable()\ndef b(run):\n    return 1\n")
    told = table.amore("reprocess", "1", code=None)
    assert "b is edited by users" in told.stderr
    assert table.rows(1)["b"] == 7 and table.rows(1)["comment"] == "good"


def test_comments_on_runs_and_on_points_in_time(table: Database) -> None:
    table.amore("comment", "1", "good beam")
    assert table.amore("comment", "1").stdout == "good beam\n"
    assert table.rows(1)["comment"] == "good beam"
    assert query(table, "SELECT provenance FROM run_variables WHERE name = 'comment'") == [("",)]
    table.amore("comment", "1", "--delete")
    assert table.amore("comment", "1").stdout == ""
    table.amore("comment", "--at", "2026-11-22 09:07", "sample exchanged")
    table.amore("comment", "--at", "2026-11-22T07:00:00Z", "beam")
    assert query(table, "SELECT rowid, timestamp, comment FROM time_comments") == [
        (1, 1795334820.0, "sample exchanged"),
        (2, 1795330800.0, "beam"),
    ]
    listed = table.amore("comment", "--list").stdout
    assert listed.splitlines() == [
        "   2  2026-11-22 08:00:00 CET  beam",
        "   1  2026-11-22 09:07:00 CET  sample exchanged",
    ]
    table.amore("comment", "--id", "2", "beam is back")
    table.amore("comment", "--id", "1", "--delete")
    (left,) = json.loads(table.amore("comment", "--list", "--json").stdout)
    assert left == {"id": 2, "time": 1795330800.0, "comment": "beam is back"}
    assert "there is no comment 1" in table.amore("comment", "--id", "1", "--delete", code=1).stderr


def test_users_enter_values_while_another_process_owns_the_directory(table: Database) -> None:
    table.amore("variable", "add", "sample", "string")
    table.context(
        "import time\n@Variable()\ndef a(run):\n    effect('begun')\n    time.sleep(3)\n    return 2\n"
        "@Variable()\ndef b(run, a: 'var#a'):\n    return a\n"
    )
    process = table.start("reprocess", "1")
    wait_for("the run is being processed", lambda: table.executions().get("begun"), process)
    assert table.is_owned_by(process)
    table.amore("variable", "set", "1", "sample=x")
    table.amore("comment", "1", "typed meanwhile")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert table.rows(1) == {"a": 2, "b": 2, "sample": "x", "comment": "typed meanwhile"}
