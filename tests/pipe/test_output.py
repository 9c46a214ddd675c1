"""What variables print and raise: lines of a log stay separate, and terminals get plain text without control sequences."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

from conftest import Database, programs

CLOCK = r"\d\d:\d\d:\d\d"


def at_a_terminal(database: Database, *arguments: str, for_s: float | None = None) -> str:
    """What a command shows on a terminal (output and errors). With `for_s`, for a command that does not end by itself."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(programs() / "amore"), *arguments],
        cwd=database.path,
        env={**database.environment, "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + (for_s or 300)
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            some = os.read(ours, 65536)
        except OSError:
            break
        if not some:
            break
        shown += some
    process.kill()
    process.wait()
    os.close(ours)
    return shown.decode()


HOSTILE = r"\033[2J\033[7m gone \033]0;other title\007\x9b31m"

TALKING = f"""
import subprocess, sys
@Variable(title="First")
def first(run):
    sys.stdout.write("100 %")
    return 1
@Variable
def in_c(run, _: "var#first"):
    os.write(1, b"from C")
    return 1
@Variable
def child(run, _: "var#in_c"):
    subprocess.run([sys.executable, "-c", "import sys; sys.stderr.write('from a child')"], check=True)
    return 1
@Variable
def bar(run, _: "var#child"):
    for percent in range(0, 101, 25):
        sys.stderr.write(f"\\r{{percent:3d}} %|bar")
    return 1
@Variable(title="Last")
def last(run, _: "var#bar"):
    print("{HOSTILE}")
    raise ValueError("{HOSTILE} nothing is left")
"""


def test_lines_of_the_log_begin_on_lines_of_their_own(database: Database) -> None:
    database.context(TALKING)
    database.amore("reprocess", "1")
    log = (database.path / "process_logs/r1-p1234.out").read_bytes().decode()
    lines = log.split("\n")
    for name in ("first", "in_c", "child", "bar"):
        assert any(re.match(f"{CLOCK} {name} computed", line) for line in lines), log
    assert any(re.match(f"{CLOCK} last failed", line) for line in lines), log
    # No line break is added if none is missing.
    assert "\n\n" not in log, log
    # An unfinished line of an earlier attempt is not joined with the next one.
    database.context("@Variable\ndef first(run):\n    print('again')\n    os.write(1, b'open')\n    os._exit(3)\n")
    for _ in range(2):
        database.amore("reprocess", "1", "--var", "first")
    lines = (database.path / "process_logs/r1-p1234.out").read_text().splitlines()
    assert lines.count("again") == 2, lines
    assert "open" in lines, lines


def test_a_terminal_is_given_no_orders(database: Database) -> None:
    database.context(TALKING)
    shown = at_a_terminal(database, "reprocess", "1")
    # The bar of the command itself uses control sequences; the text of the exception must not.
    assert r"last failed: ValueError: \x1b[2J\x1b[7m gone \x1b]0;other title\x07\x9b31m nothing is left" in shown
    for command in (["log", "1"], ["log", "1", "-n", "20"], ["explain", "1"], ["table", "1"], ["table", "--csv"]):
        shown = at_a_terminal(database, *command)
        for order in "\033", "\007", "\x9b":
            assert order not in shown, (command, shown)
    assert r"\x1b[2J" in at_a_terminal(database, "explain", "1")
    shown = at_a_terminal(database, "log", "1")
    assert r"\x1b]0;other title\x07" in shown
    # For a progress bar, the last state.
    assert "100 %|bar" in shown
    assert "75 %|bar" not in shown
    assert r"\x1b[2J" in at_a_terminal(database, "log", "1", "-f", for_s=3)


def test_a_message_that_would_draw_over_its_line_buries_nothing(database: Database) -> None:
    database.context(
        "from damnit_ctx import Skip\n"
        "@Variable\ndef dark(run):\n    raise Skip('no beam\\r in this run')\n"
        "@Variable\ndef broken(run):\n    raise ValueError('75 %\\r100 % of the\\r\\nframes are empty')\n"
    )
    database.amore("reprocess", "1")
    shown = at_a_terminal(database, "log", "1")
    assert re.search(rf"{CLOCK} dark skipped: no beam\\r in this run", shown), shown
    assert r"ValueError: 75 %\r100 % of the" in shown, shown
    assert "frames are empty" in shown, shown


def test_a_watched_run_and_a_followed_log_give_no_orders_either(database: Database) -> None:
    database.context(TALKING)
    shown = at_a_terminal(database, "reprocess", "1", "--watch")
    assert r"\x1b]0;other title\x07" in shown
    assert "\033]0;" not in shown


def test_a_file_or_a_pipe_gets_it_as_it_is(database: Database) -> None:
    database.context(TALKING)
    database.amore("reprocess", "1")
    log: Path = database.path / "process_logs/r1-p1234.out"
    assert database.amore("log", "1").stdout == log.read_bytes().decode().replace("\r\n", "\n").replace("\r", "\n")
    raw = subprocess.run(
        [programs() / "amore", "log", "1"], cwd=database.path, env=database.environment, capture_output=True, check=True
    )
    assert raw.stdout == log.read_bytes()
    assert "\033[2J" in database.amore("explain", "1").stdout
