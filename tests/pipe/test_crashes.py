"""What a variable may do to its process, and what is lost: its own value and those of its dependents."""

from __future__ import annotations

import pytest

from conftest import Database

DEATHS = {
    "os.abort()": ("ProcessKilled", "SIGABRT"),
    "import ctypes; ctypes.string_at(0)": ("ProcessKilled", "SIGSEGV"),
    "os._exit(3)": ("ProcessExited", "code 3"),
    "import signal; os.kill(os.getpid(), signal.SIGKILL)": ("ProcessKilled", "SIGKILL"),
    "raise SystemExit(4)": ("SystemExit", "4"),
    "f = lambda: f(); f()": ("RecursionError", "recursion"),
    "raise KeyboardInterrupt": ("KeyboardInterrupt", ""),
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_death_costs_one_variable_and_its_dependents(database: Database, death: str) -> None:
    database.context(
        f"""
@Variable
def before(run):
    effect("before")
    return 1

@Variable
def deadly(run, before: "var#before"):
    effect("deadly")
    {death}
    return 2

@Variable
def dependent(run, deadly: "var#deadly", before: "var#before"):
    effect("dependent")
    return 3

@Variable
def defaulted(run, deadly: "var#deadly" = 40, before: "var#before" = 0):
    effect("defaulted")
    return deadly + before

@Variable
def after(run, before: "var#before"):
    effect("after")
    return before + 10
"""
    )
    database.amore("reprocess", "1", "2")
    expected_class, words = DEATHS[death]
    for run in (1, 2):
        rows = database.rows(run)
        assert rows["before"] == 1
        assert rows["after"] == 11
        assert rows["defaulted"] == 41
        assert rows["deadly"][0] == expected_class
        assert words in rows["deadly"][1]
        assert "deadly" in rows["dependent"][1]
    assert database.executions() == {"before": 2, "deadly": 2, "defaulted": 2, "after": 2}
    assert database.leftovers() == []


def test_the_error_of_a_crash_says_where_it_happened(database: Database) -> None:
    database.context("@Variable\ndef deadly(run):\n    os.abort()\n")
    database.amore("reprocess", "1")
    line = (database.path / "context.py").read_text().splitlines().index("    os.abort()") + 1
    assert f"line {line} in deadly" in database.rows(1)["deadly"][1]


def test_a_variable_that_hangs_is_stopped_at_its_limit(database: Database) -> None:
    database.context(
        "import time\n@Variable\ndef hangs(run):\n    time.sleep(600)\n@Variable\ndef fine(run): return 5\n"
    )
    database.amore("db-config", "variable_time", "1")
    database.amore("reprocess", "1")
    rows = database.rows(1)
    assert rows["fine"] == 5
    assert rows["hangs"][0] == "TimeoutError"
    assert "limit of 1 s" in rows["hangs"][1]


def test_a_variable_that_takes_all_memory_fails_alone(database: Database) -> None:
    database.context(
        "@Variable\ndef greedy(run): return np.ones(3_000_000_000)\n@Variable\ndef fine(run): return 5\n"
    )
    database.amore("db-config", "variable_mem", "8G")
    database.amore("reprocess", "1")
    rows = database.rows(1)
    assert rows["fine"] == 5
    assert "MemoryError" in rows["greedy"][0]


def test_transient_values_are_made_again_only_if_needed(database: Database) -> None:
    database.context(
        """
@Variable(transient=True)
def handle(run):
    effect("handle")
    return object()

@Variable
def first(run, handle: "var#handle"):
    effect("first")
    return 1

@Variable
def deadly(run, handle: "var#handle"):
    os.abort()

@Variable
def last(run, handle: "var#handle", first: "var#first"):
    effect("last")
    return first + 1
"""
    )
    database.amore("reprocess", "1")
    assert database.rows(1)["last"] == 2
    assert database.executions() == {"handle": 2, "first": 1, "last": 1}


def test_a_figure_that_cannot_be_read_back_is_made_again_for_its_dependent(database: Database) -> None:
    pytest.importorskip("matplotlib")
    database.context(
        """
from matplotlib.figure import Figure

@Variable
def figure(run):
    effect("figure")
    figure = Figure()
    figure.add_subplot().plot([1, 2])
    return figure

@Variable
def deadly(run, figure: "var#figure"):
    os.abort()

@Variable
def axes(run, figure: "var#figure"):
    return len(figure.axes)
"""
    )
    database.amore("reprocess", "1")
    assert database.rows(1)["axes"] == 1
    assert database.executions() == {"figure": 2}


def test_a_value_that_cannot_be_stored_is_that_variables_error(database: Database) -> None:
    database.context("@Variable\ndef bad(run): return object()\n@Variable\ndef good(run): return 'x'\n")
    database.amore("reprocess", "1")
    rows = database.rows(1)
    assert rows["bad"][0] == "TypeError"
    assert rows["good"] == "x"


def test_a_context_file_that_kills_its_process_is_reported(database: Database) -> None:
    database.context("@Variable\ndef a(run): return 1\nos.abort()\n")
    done = database.amore("reprocess", "1", code=4)
    assert "SIGABRT" in done.stderr


def test_parts_of_one_run_do_not_take_the_place_of_one_anothers_crash(database: Database) -> None:
    """The parts run concurrently and write to one log."""
    database.context(
        """
import signal, time

@Variable
def aborts(run):
    effect("aborts")
    os.abort()

@Variable
def told_to_end(run):
    while not os.path.exists(os.environ["EFFECTS"]):
        time.sleep(0.01)
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
"""
    )
    database.amore("reprocess", "1")
    rows = database.rows(1)
    assert "SIGABRT" in rows["aborts"][1] and "in aborts" in rows["aborts"][1]
    assert "SIGTERM" in rows["told_to_end"][1] and "line" not in rows["told_to_end"][1]
    log = database.amore("log", "1").stdout
    assert "while it computed aborts:\nFatal Python error: Aborted" in log
