"""Values of the metadata catalogue, from a real server on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import RUNS, Database
from mymdc_server import TECHNIQUES, TOKEN, Catalogue, files_with_token, serving

SAMPLE = "/samples/8"
FILE = """
@Variable
def sample(run, name: "mymdc#sample_name"): return name

@Variable
def kind(run, kind: "mymdc#run_type"): return kind

@Variable
def techniques(run, found: "mymdc#techniques"): return repr(found)

@Variable
def default(run, name: "mymdc#sample_name" = "unknown"): return name

@Variable
def after(run, sample: "var#sample"): return sample

@Variable
def other(run): return 5
"""
# What user code can see of the processes above it, and of its own.
SPY = """
def seen():
    import glob
    found = [str(dict(os.environ))]
    for name in ("environ", "cmdline"):
        for path in glob.glob("/proc/[0-9]*/" + name):
            try:
                with open(path, "rb") as file:
                    found.append(file.read().decode(errors="replace"))
            except OSError:
                pass
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink("/proc/self/fd/" + fd))
        except OSError:
            pass
    return "".join(found)

@Variable
def spy(run, name: "mymdc#sample_name"):
    # Written backwards here: this file itself is no leak.
    return "%s"[::-1] in seen() or "mymdc-credentials" in seen()
"""


@pytest.fixture
def catalogue() -> Iterator[Catalogue]:
    """It knows all runs."""
    with serving(Catalogue(1234, *range(1, RUNS + 1))) as catalogue:
        yield catalogue


def proposal(database: Database) -> Path:
    return database.path.parents[2]


def everywhere(database: Database, *said: str) -> list[str]:
    """Where the token is, and should not be."""
    in_words = [words for words in said if TOKEN in words]
    return in_words + [str(path) for path in files_with_token(database.path)]


def test_values_and_each_run_is_asked_about_once(database: Database, catalogue: Catalogue) -> None:
    catalogue.write_credentials(proposal(database))
    database.context(FILE + SPY % TOKEN[::-1])
    assert "mymdc" not in database.amore("check").stdout
    ended = database.amore("reprocess", "1-3", "--json")
    for run in (1, 2, 3):
        rows = database.rows(run)
        assert (rows["sample"], rows["kind"], rows["default"]) == ("Lysozyme µ", "Dark", "Lysozyme µ")
        assert rows["after"] == "Lysozyme µ" and rows["other"] == 5 and not rows["spy"]
        # The order of keys and the form of numbers are those of the server.
        assert rows["techniques"] == repr(TECHNIQUES)
    asked = catalogue.asked()
    assert {path: asked[path] for path in asked if path.startswith(("/proposals", "/runs"))} == {
        **{f"{catalogue.base}/{run}": 1 for run in (1, 2, 3)},
        **{f"/runs/{700 + run}": 1 for run in (1, 2, 3)},
    }
    assert asked[SAMPLE] == asked["/experiments/9"] == 3 and catalogue.strangers == []
    logs = database.amore("log", "1").stdout
    assert everywhere(database, ended.stdout, ended.stderr, logs) == []


def test_only_what_is_needed_is_asked(database: Database, catalogue: Catalogue) -> None:
    catalogue.write_credentials(proposal(database))
    database.context(FILE)
    database.amore("reprocess", "1", "--var", "kind")
    assert catalogue.asked() == {f"{catalogue.base}/1": 1, "/experiments/9": 1}
    catalogue.requests.clear()
    database.amore("reprocess", "1", "--var", "other")
    assert catalogue.asked() == {}


@pytest.mark.parametrize(
    ("path", "reply", "class_name", "words"),
    [
        ("run", (401, b'{"info": "' + TOKEN.encode() + b' is not valid"}'), "MymdcCredentialsError", "*** is not valid"),
        ("run", (404, b"<html>"), "MymdcNotFoundError", "run 1 of proposal 1234"),
        ("run", {"runs": []}, "MymdcNotFoundError", "run 1 of proposal 1234"),
        ("run", {"runs": [{"sample_id": None}]}, "MymdcNotFoundError", "not entered"),
        ("run", (200, b"no JSON " + TOKEN.encode()), "MymdcAnswerError", "not one of MyMdC"),
        (SAMPLE, (500, b"Traceback"), "MymdcUnavailableError", "500"),
        (SAMPLE, (200, b'{"id": 8}'), "MymdcAnswerError", '"name"'),
        (SAMPLE, None, "MymdcUnavailableError", "not answered"),
    ],
    ids=["401", "404", "no run", "no sample", "garbage", "500", "no name", "hangs"],
)
def test_an_error_concerns_what_needs_the_value(
    database: Database, catalogue: Catalogue, path: str, reply: object, class_name: str, words: str
) -> None:
    catalogue.write_credentials(proposal(database))
    catalogue.replies[f"{catalogue.base}/1" if path == "run" else path] = reply  # type: ignore[assignment]
    database.context(FILE)
    ended = database.amore("reprocess", "1")
    rows = database.rows(1)
    found, message = rows["sample"]
    assert found == class_name and words in message and "hint: " in message and "mymdc#sample_name" in message
    assert rows["default"] == "unknown" and rows["other"] == 5
    assert rows["after"][0] == "DependencyError" and "sample" in rows["after"][1]
    if path == SAMPLE:
        assert rows["kind"] == "Dark" and rows["techniques"] == repr(TECHNIQUES)
    assert everywhere(database, ended.stdout, ended.stderr) == []
    explained = database.amore("explain", "1", "sample").stdout
    assert words in explained and TOKEN not in explained


def test_credentials_that_are_missing_or_cannot_be_used(database: Database, catalogue: Catalogue) -> None:
    database.context(FILE)
    database.amore("reprocess", "1")
    class_name, message = database.rows(1)["sample"]
    assert class_name == "MymdcCredentialsError" and "does not exist" in message and "token:" in message
    assert database.rows(1)["default"] == "unknown"
    path = catalogue.write_credentials(proposal(database))
    path.write_text(f"token: [{TOKEN}]\nserver: {catalogue.address}\n")
    database.amore("reprocess", "1")
    class_name, message = database.rows(1)["sample"]
    assert class_name == "MymdcCredentialsError" and '"token" is not a text' in message
    assert catalogue.requests == [] and everywhere(database) == []
    # The error is gone when the reason is.
    catalogue.write_credentials(proposal(database))
    database.amore("reprocess", "1")
    assert database.rows(1)["sample"] == "Lysozyme µ"


def test_a_server_that_is_not_there(database: Database) -> None:
    with serving(Catalogue(1234, 1)) as catalogue:
        catalogue.write_credentials(proposal(database))
    database.context(FILE)
    database.amore("reprocess", "1")
    class_name, message = database.rows(1)["sample"]
    assert class_name == "MymdcUnavailableError" and "cannot be reached" in message


def test_a_redirection_does_not_get_the_token(database: Database, catalogue: Catalogue) -> None:
    with serving(Catalogue(1234, 1)) as other:
        catalogue.write_credentials(proposal(database))
        catalogue.replies[f"{catalogue.base}/1"] = f"{other.address}/api/mymdc{catalogue.base}/1"
        database.context(FILE)
        database.amore("reprocess", "1", "--var", "sample")
        assert other.requests == []
    class_name, message = database.rows(1)["sample"]
    assert class_name == "MymdcAnswerError" and "another server" in message


def test_a_mock_run_has_the_values_too(database: Database, catalogue: Catalogue) -> None:
    catalogue.write_credentials(proposal(database))
    database.context(FILE)
    database.amore("reprocess", "1", "--mock")
    assert database.rows(1)["sample"] == "Lysozyme µ"


def test_a_command_gets_the_value(database: Database, catalogue: Catalogue) -> None:
    catalogue.write_credentials(proposal(database))
    database.context("""
from damnit_ctx import SlurmJob

@Variable(job=SlurmJob(["sh", "-c", 'printf %s "$1" > "$AMORE_DIRECTORY/said"', "sh", "{name}"]))
def said(run, job: "job#outcome", name: "mymdc#sample_name"): return (job.directory / "said").read_text() + name
""")
    database.amore("check")
    database.amore("reprocess", "1")
    assert database.rows(1)["said"] == 2 * "Lysozyme µ"


def credentials_check(database: Database) -> dict[str, str]:
    """What doctor says of the credentials."""
    said = database.amore("doctor", "--json", code=None).stdout
    assert TOKEN not in said
    (check,) = [check for check in json.loads(said)["checks"] if check["area"] == "MyMdC"]
    return check


def test_doctor_checks_the_credentials(database: Database, catalogue: Catalogue) -> None:
    database.context("@Variable\ndef other(run): return 5\n")
    check = credentials_check(database)
    assert check["grade"] == "ok" and check["found"].startswith("none")
    database.context(FILE)
    check = credentials_check(database)
    assert check["grade"] == "problem" and "does not exist" in check["found"] and "hint" in check
    path = catalogue.write_credentials(proposal(database))
    check = credentials_check(database)
    assert check["grade"] == "ok" and catalogue.address in check["found"]
    path.chmod(0o644)
    check = credentials_check(database)
    assert check["grade"] == "warning" and "everybody" in check["found"]
    path.write_text(f"tokens: {TOKEN}\n")
    assert credentials_check(database)["grade"] == "problem"
    assert catalogue.requests == []
