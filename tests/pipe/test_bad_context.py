"""Context files with problems, and variables with unusual names, titles and values."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from test_bad_input import TWO, whole, words

from conftest import Database


def directory(path: Path) -> None:
    """A directory in place of the file."""
    path.unlink()
    path.mkdir()


CONTEXTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "directory": (directory, ("is a directory",)),
    "missing": (lambda path: path.unlink(), ("there is no context file",)),
    "latin-1": (lambda path: path.write_bytes("# Größe\n".encode("latin-1")), ("is not UTF-8", "UTF-8 in your editor")),
    "zeros": (lambda path: path.write_bytes(b"\0" * 100), ("null",)),
    "syntax": (lambda path: path.write_text("x = 1\ndef f(:\n"), (":2:", "syntax")),
    "indented": (lambda path: path.write_text("if True:\npass\n"), (":2:", "indented block")),
    "raises": (lambda path: path.write_text("a = 1\nb = a / 0\n"), (":2", "ZeroDivisionError")),
    "exits": (lambda path: path.write_text("import sys\nsys.exit(3)\n"), (":2", "SystemExit")),
    "dies": (lambda path: path.write_text("import os\nos.abort()\n"), ("SIGABRT",)),
    "import": (lambda path: path.write_text("import no_such_module\n"), (":1", "no_such_module")),
    "huge": (lambda path: path.write_text("#" * 79 + "\n" + ("#" * 79 + "\n") * 300_000), ("bytes",)),
    "deep": (lambda path: path.write_text("x = " + "(" * 5000 + ")" * 5000 + "\n"), ("parenthes",)),
}


@pytest.mark.parametrize("what", CONTEXTS)
def test_a_context_file_that_is_none(database: Database, what: str) -> None:
    database.context(TWO)
    database.amore("reprocess", "1")
    spoil, expected = CONTEXTS[what]
    spoil(database.path / "context.py")
    for command in (["reprocess", "1"], ["check"], ["plan", "1"], ["read-context"]):
        ended = database.amore(*command, code=4)
        said = ended.stdout + ended.stderr
        assert "context.py" in said, (command, said)
        for text in expected:
            assert text.lower() in said.lower(), (command, text, said)
        assert "panicked" not in said
    whole(database)
    assert set(database.amore("table", "--columns").stdout.split()) == {"one", "two"}
    report = json.loads(database.amore("check", "--json", code=4).stdout)
    assert not report["usable"]
    assert report["problems"]


NAMES = ['quote"s', "apo'strophe", "sla/sh", "new\nline", "dot.s", "..", "sp ace", "", "_trendlines_data", "日本", "semi;--"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_no_identifiers(database: Database, name: str) -> None:
    """A function may get any name. Names that cannot be stored are refused before anything runs."""
    database.context(TWO)
    database.amore("reprocess", "1")
    database.context(
        TWO + f"def odd(run): return 7\nodd.__name__ = odd.__qualname__ = {name!r}\nodd = Variable(title='Odd')(odd)\n"
    )
    ended = database.amore("reprocess", "1", code=None)
    assert ended.returncode in (0, 4), ended.stderr
    whole(database)
    if ended.returncode == 0:
        assert database.rows(1)[name] == 7
        with h5py.File(database.run_file(1)) as file:
            assert file[name]["data"][()] == 7
    else:
        assert "name" in ended.stderr, ended.stderr
        assert name not in database.rows(1)
    assert database.leftovers() == []


def test_titles_with_quotes_and_newlines(database: Database) -> None:
    titles = ['a "quoted" one', "l'heure", "two\nlines", "semi; DROP TABLE runs; --", "a/b", "%s {0}", "tab\there"]
    database.context(
        "".join(f"@Variable(title={title!r})\ndef v{index}(run): return {index}\n" for index, title in enumerate(titles))
    )
    database.amore("reprocess", "1")
    table = json.loads(database.amore("table", "--json").stdout)
    assert table[0]["values"] == {title: index for index, title in enumerate(titles)}
    rows = list(csv.reader(io.StringIO(database.amore("table", "--csv").stdout)))
    assert len(rows) == 2
    assert [rows[0].index(title) > 0 for title in titles] == [True] * len(titles)
    assert "l'heure" in database.amore("table").stdout
    with sqlite3.connect(database.path / "runs.sqlite") as connection:
        for title in titles:
            quoted = title.replace('"', '""')
            assert connection.execute(f'SELECT "{quoted}" FROM runs').fetchall(), title
    connection.close()


def test_ten_thousand_variables(database: Database) -> None:
    """SQLite's views are limited to 2,000 columns. The user is told, and the table contains all variables anyway."""
    count = 10_000
    database.context(
        "def make(index):\n"
        "    def function(run): return index\n"
        "    function.__name__ = function.__qualname__ = f'v{index}'\n"
        "    return function\n"
        f"for index in range({count}):\n"
        "    globals()[f'v{index}'] = Variable(title=f'V {index}')(make(index))\n"
    )
    ended = database.amore("reprocess", "1")
    assert "1900 of 10000" in ended.stderr, ended.stderr
    assert "run_variables" in ended.stderr, ended.stderr
    rows = database.rows(1)
    assert [rows[f"v{index}"] for index in range(count)] == list(range(count))
    header, values = list(csv.reader(io.StringIO(database.amore("table", "--csv").stdout)))
    assert dict(zip(header, values))["V 9999"] == "9999"
    with sqlite3.connect(database.path / "runs.sqlite") as connection:
        assert len(connection.execute("SELECT * FROM runs").description) <= 2000
    connection.close()


def test_a_value_beyond_the_memory_limit(database: Database) -> None:
    database.context(
        "@Variable\ndef ten_gb(run): return np.ones(10 * 2**27)\n"
        "@Variable\ndef fine(run): return 5\n"
        "@Variable\ndef after(run, ten_gb: 'var#ten_gb'): return 6\n"
    )
    database.amore("db-config", "variable_mem", "2G")
    said = words(database, "reprocess", "1", code=0)
    assert "ten_gb" in said
    rows = database.rows(1)
    assert rows["fine"] == 5
    assert "MemoryError" in rows["ten_gb"][0]
    assert "ten_gb" in rows["after"][1]
    assert database.stored(1) == {"fine", "start_time"}


def test_huge_strings(database: Database) -> None:
    database.context(
        "@Variable\ndef long(run): return 'ä' * 5_000_000\n"
        "@Variable\ndef zero(run): return 'a\\0b'\n"
        "@Variable\ndef surrogate(run): return '\\ud800'\n"
        "@Variable\ndef raises(run): raise ValueError('x' * 5_000_000)\n"
        "@Variable\ndef odd(run): raise ValueError('\\ud800')\n"
        "@Variable\ndef fine(run): return 5\n"
    )
    ended = database.amore("reprocess", "1")
    assert len(ended.stderr) < 100_000
    rows = database.rows(1)
    assert rows["fine"] == 5
    assert rows["raises"][0] == "ValueError"
    assert rows["odd"][0] == "ValueError"
    with h5py.File(database.run_file(1)) as file:
        assert file["long/data"].asstr()[()] == "ä" * 5_000_000
    # The table can still be read.
    assert len(database.amore("table").stdout) < 10_000
    assert database.leftovers() == []


@pytest.mark.parametrize("name", ["run", "proposal", "added_at"])
def test_names_that_would_break_readers_of_the_table_are_refused(database: Database, name: str) -> None:
    text = f"@Variable\ndef a(run): return 1\n@Variable(title='T')\ndef {name}(run): return 5\n"
    database.context(text)
    line = (database.path / "context.py").read_text().splitlines().index("@Variable(title='T')") + 1
    said = database.amore("check", code=4).stdout
    assert re.search(rf"context.py:({line}|{line + 1}): error: {name} is a column of every table", said), said
    assert "is a column" in database.amore("reprocess", "1", code=4).stderr
    # Variables that are not stored cause no problems.
    database.context(text.replace("title='T'", "title='T', transient=True"))
    assert "is a column" not in database.amore("check").stdout
    database.amore("reprocess", "1")
    assert database.rows(1) == {"a": 1}


def test_names_of_own_columns_are_warned_of_and_cost_nobody_else(database: Database) -> None:
    database.context(
        "@Variable\ndef a(run): return 1\n"
        "@Variable(title='st')\ndef start_time(run): return 5\n"
        "@Variable(title='two\\nlines')\ndef comment(run): return 6\n"
        "@Variable\ndef b(run): return 7\n"
    )
    said = database.amore("check").stdout
    for part in ("start_time is a column", "comment is a column", "has an invalid title"):
        assert part in said, said
    said = database.amore("reprocess", "1").stderr
    assert "start_time failed" in said and "could not be processed" not in said, said
    rows = database.rows(1)
    assert (rows["a"], rows["b"]) == (1, 7)
