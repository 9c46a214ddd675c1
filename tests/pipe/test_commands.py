"""The output of every command, word for word: `golden/*.txt`. After an intended change, set AMORE_UPDATE_GOLDEN=1 and check
the diff.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from conftest import Database, context_python

GOLDEN = Path(__file__).parent / "golden"

CONTEXT = '''
@Variable(title="XGM intensity [uJ]", summary="mean", tags="beam")
def intensity(run):
    """Mean of each train."""
    pulses = run["SA2_XTD1_XGM/XGM/DOOCS:output", "data.intensityTD"].ndarray()
    print("trains:", len(pulses))
    return pulses.mean(axis=1)

@Variable(title="Bright?")
def bright(run, intensity: "var#intensity"):
    return intensity.mean() > 150

@Variable(title="Fails")
def fails(run):
    raise ValueError("no good\\nat all")

@Variable(title="After that")
def after(run, fails: "var#fails"):
    return 1

@Variable(title="Skipped", cluster=True)
def skipped(run):
    raise Skip("no such motor")

@Variable(title="Nothing")
def nothing(run):
    return None
'''

BAD_CONTEXT = """
@Variable(title="Same")
def one(run, other: "var#twwo"): return 1
@Variable(title="Same")
def two(run): return undefined
@Variable
def a(run, b: "var#b"): return 1
@Variable
def b(run, a: "var#a"): return 1
"""

COMMANDS = (
    "proposal db-config reprocess read-context check plan table export log verify doctor new-id init migrate combiner "
    "gui listen listener completions"
).split()


def normalised(text: str, database: Database) -> str:
    """The output without what differs between two machines or two runs."""
    for path, name in (
        (str(database.path), "<database>"),
        (str(database.root), "<root>"),
        (context_python(), "<python>"),
    ):
        text = text.replace(path, name)
    for pattern, name in (
        (r"\b[0-9a-f]{64}\b", "<sha256>"),
        (r"\b[0-9a-f]{40}\b", "<id>"),
        (r"\b\d\d:\d\d:\d\d (?=\w+ (computed|failed|skipped|returned|was|is|ended|did|has|gave|not))", "<time> "),
        # How long extra_data takes to look for a proposal varies.
        (r'(?m)^ *"?\d\d:\d\d:\d\d INFO extra_data.*\n', ""),
        (r"\b\d+(\.\d+)? s\b", "<seconds> s"),
        (r'"seconds":[0-9.e-]+', '"seconds":<seconds>'),
        # Only newer Pythons mark the expression within its line.
        (r"\n +[\^~]+(?=\n)", ""),
    ):
        text = re.sub(pattern, name, text)
    return text


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output is as wide as without a terminal, whoever runs the tests."""
    monkeypatch.delenv("COLUMNS", raising=False)


class Transcript:
    """Commands and their output."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.parts: list[str] = []

    def say(self, *arguments: str, program: str = "amore", code: int = 0, lines: int | None = None) -> None:
        """Runs a command and records its output."""
        ended = self.database.amore(*arguments, program=program, code=code)
        out = "".join(ended.stdout.splitlines(keepends=True)[:lines])
        part = f"$ {program} {' '.join(arguments)}\n{out}"
        if ended.stderr:
            part += f"--- standard error\n{ended.stderr}"
        if code:
            part += f"--- exit code {code}\n"
        self.parts.append(normalised(part, self.database))

    def compare(self, name: str) -> None:
        """Compares with the file in `golden/`."""
        path = GOLDEN / f"{name}.txt"
        text = "\n".join(self.parts)
        if os.environ.get("AMORE_UPDATE_GOLDEN"):
            GOLDEN.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text()


@pytest.fixture
def transcript(database: Database) -> Transcript:
    """An empty transcript."""
    database.context(CONTEXT)
    return Transcript(database)


def computed(transcript: Transcript) -> None:
    """Two runs are in the table."""
    transcript.database.amore("reprocess", "1", "2", "--concurrent-jobs", "1")


def test_help(transcript: Transcript) -> None:
    transcript.say("--help")
    for command in COMMANDS:
        transcript.say(command, "--help")
    transcript.say("combiner", "now", "--help")
    for command in ("config", "add", "rm", "databases"):
        transcript.say("listener", command, "--help")
    transcript.compare("help")


def test_settings(transcript: Transcript) -> None:
    transcript.say("proposal")
    transcript.say("proposal", "1234", program="amore-proto")
    transcript.say("db-config", "slurm_partition", "upex", program="amore-proto")
    transcript.say("db-config", "slurm_partition")
    transcript.say("db-config", "--num", "variable_time", "600")
    transcript.say("db-config", "slurm_partitoin", "upex")
    transcript.say("db-config")
    transcript.say("db-config", "--json")
    transcript.say("db-config", "slurm_partition", "--delete")
    transcript.say("db-config", "slurm_partition", "--delete", code=1)
    transcript.say("db-config", "slurm_partition", code=1)
    transcript.say("db-config", "variable_mem", "much", code=1)
    transcript.say("db-config", "--num", "variable_time", "long", code=1)
    transcript.say("db-config", "--known")
    transcript.say("db-config", "--known", "--json")
    transcript.say("proposal", "0", code=2)
    transcript.say("proposal", "5678")
    transcript.say("proposal", "5678", "--json")
    transcript.say("proposal", "1234", "--json")
    transcript.say("proposal", "--json")
    transcript.say("new-id")
    transcript.say("migrate")
    transcript.compare("settings")


def test_check_and_plan(transcript: Transcript) -> None:
    transcript.say("check")
    transcript.say("check", "--json")
    transcript.say("plan", "1-3", "99", code=3)
    transcript.say("plan", "1", "--match", "fails")
    transcript.say("plan", "1", "--match", "nowhere")
    transcript.say("plan", "1", "--var", "nowhere", code=1)
    transcript.say("plan", "1", "--var", "bright", "--json")
    transcript.say("read-context")
    transcript.compare("check_and_plan")


def test_a_context_file_with_errors(transcript: Transcript) -> None:
    transcript.database.context(BAD_CONTEXT)
    transcript.say("check", code=4)
    transcript.say("check", "--json", code=4)
    transcript.say("plan", "1", code=4)
    transcript.say("reprocess", "1", code=4)
    transcript.say("read-context", code=4)
    (transcript.database.path / "context.py").write_text("x = 1\nprint(x)\nx / 0\n")
    transcript.say("check", code=4)
    (transcript.database.path / "context.py").unlink()
    transcript.say("check", code=4)
    transcript.say("reprocess", "1", code=4)
    transcript.compare("context_with_errors")


def test_reprocess(transcript: Transcript) -> None:
    one = ("--concurrent-jobs", "1")
    transcript.say("reprocess", "1", "2", *one, program="amore-proto")
    transcript.say("reprocess", "1", "77", "78", *one, code=3)
    transcript.say("reprocess", "77", *one, code=1)
    transcript.say("reprocess", "all", "--match", "BRIGHT", *one)
    transcript.say("reprocess", "1", "--var", "intensity", "--watch")
    transcript.say("reprocess", "1", "--var", "fails", "--json", *one)
    transcript.say("reprocess", "1", "--match", "nowhere")
    transcript.say("reprocess", "1", "--var", "nowhere", code=1)
    transcript.say("reprocess", "first", code=2)
    transcript.say("reprocess", "1", "--proposal", "9999", code=1)
    transcript.say("reprocess", code=2)
    transcript.compare("reprocess")


def test_results(transcript: Transcript) -> None:
    transcript.say("table")
    transcript.say("table", "--csv")
    transcript.say("verify")
    transcript.say("log", "1", code=1)
    transcript.say("export", "1", code=1)
    computed(transcript)
    transcript.say("table")
    transcript.say("table", "2", "--names")
    transcript.say("table", "--tag", "beam", "--csv")
    transcript.say("table", "--csv")
    transcript.say("table", "1", "--json")
    transcript.say("table", "--columns")
    transcript.say("table", "77", code=1)
    transcript.say("log", "1")
    transcript.say("log", "1", "--lines", "2")
    transcript.say("log", "1", "--json")
    transcript.say("log", "1", "--lines", "2", "--json")
    transcript.say("log", "1", "--follow", "--json", code=2)
    transcript.say("export", "1")
    transcript.say("export", "1", code=1)
    transcript.say("export", "77", code=1)
    transcript.say("export", "2", "--output", "two.h5", "--json")
    transcript.say("verify")
    transcript.say("verify", "--json")
    transcript.say("verify", "1", "77", code=3)
    transcript.say("combiner", "now", ".")
    transcript.compare("results")


def test_others(transcript: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    new = str(transcript.database.root / "new")
    transcript.say("init", new, code=1)
    transcript.say("init", new, "--proposal", "1234")
    transcript.say("init", new, "--proposal", "1234")
    transcript.say("init", new, "--proposal", "1234", "--json")
    transcript.say("init", f"{new}er", "--proposal", "1235", "--json")
    transcript.say("completions", "bash", lines=1)
    transcript.say("gui", code=1)
    transcript.say("frobnicate", code=2)
    transcript.compare("others")


def test_listener(transcript: Transcript) -> None:
    database = transcript.database
    other, empty = database.root / "other", database.root / "empty"
    database.amore("init", str(other), "--proposal", "5678")
    empty.mkdir()
    # What reads creates nothing.
    transcript.say("listener", "databases")
    transcript.say("listener", "config")
    assert not (database.path / "listener.sqlite").exists()
    transcript.say("listener", "add", "1234")
    transcript.say("listener", "databases")
    transcript.say("listener", "add", "1234")
    transcript.say("listener", "add", "1234", ".")
    transcript.say("listener", "add", "1234", str(other))
    transcript.say("listener", "add", "77", "../../../../../../other/.", code=1)
    transcript.say("listener", "add", "1234", str(empty), code=1)
    transcript.say("listener", "add", "1234", "nowhere/x y", code=1)
    transcript.say("listener", "add", "77", code=1)
    transcript.say("listener", "add", "first", code=2)
    transcript.say("listener", "databases", program="damnit")
    transcript.say("listener", "databases", "--json")
    transcript.say("listener", "rm", str(empty), code=1)
    transcript.say("listener", "rm", "../../../../../../other")
    transcript.say("listener", "rm", ".")
    transcript.say("listener", "rm", ".", code=1)
    transcript.say("listener", "config", "static-mode", "0")
    transcript.say("listener", "config", "static_mode")
    transcript.say("listener", "config", "static_mode", "maybe", code=1)
    transcript.say("listener", "config", "--num", "allow_local_processing", "1")
    transcript.say("listener", "config", "sandbox_args", "/opt/it\\'s --strict")
    transcript.say("listener", "config", "sandbox_args", "/opt/sandbox 'a", code=1)
    transcript.say("listener", "config", "--num", "sandbox_args", "1", code=1)
    transcript.say("listener", "config", "sandbox_arg", "x", code=1)
    transcript.say("listener", "config", "colour", "x", code=1)
    transcript.say("listener", "config", "colour", code=1)
    transcript.say("listener", "config")
    transcript.say("listener", "config", "--json")
    transcript.say("listener", "config", "-d", "sandbox_args")
    transcript.say("listener", "config", "sandbox_args", "--delete", code=1)
    transcript.say("listener", "config", "sandbox_args", code=1)
    transcript.say("listener", "config", "--delete", code=1)
    transcript.say("listener", "config", "--known")
    transcript.say("listener", "config", "--known", "--json")
    (database.path / "listener.sqlite").write_text("something else\n")
    transcript.say("listener", "databases", code=1)
    transcript.say("listener", code=2)
    transcript.compare("listener")
