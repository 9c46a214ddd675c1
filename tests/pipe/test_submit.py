"""Results that were computed elsewhere: `amore submit` and `damnit_ctx.submit()`."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from conftest import REPOSITORY, Database, context_python, programs

PACKAGE = REPOSITORY / "context"


def submit(database: Database, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Calls the command with a Python that has NumPy."""
    return database.amore("submit", *arguments, "--python", context_python(), code=code)


def in_python(database: Database, script: str, code: int = 0) -> str:
    """Runs a script of a user's, in a Python that finds `damnit_ctx`."""
    environment = {**database.environment, "PYTHONPATH": str(PACKAGE), "AMORE_WORKER": str(programs() / "amore-worker")}
    command = [context_python(), "-c", script, str(database.path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def column(database: Database, run: int, what: str) -> dict[str, Any]:
    """A column of `run_variables`, by variable."""
    with sqlite3.connect(database.path / "runs.sqlite") as connection:
        rows = connection.execute(f"SELECT name, {what} FROM run_variables WHERE run = ?", (run,)).fetchall()
    connection.close()
    return dict(rows)


def test_values_of_the_command_line_are_in_the_table_and_the_file(database: Database, tmp_path: Path) -> None:
    hits = np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "hits.npy", hits)
    told = submit(
        database,
        "42",
        "resolution=1.8",
        "count=7",
        "good=true",
        "group=P212121",
        "--file",
        f"hits={tmp_path}/hits.npy",
        "--summary",
        "hits=sum",
        "--units",
        "hits=frames",
        "--error",
        "indexing=RuntimeError: no peaks",
        "--provenance",
        "crystfel",
    )
    assert "run 42: 6 results submitted" in told.stdout
    rows = database.rows(42)
    assert rows == {
        "resolution": 1.8,
        "count": 7,
        "good": 1,
        "group": "P212121",
        "hits": 15.0,
        "indexing": ("RuntimeError", "no peaks"),
    }
    assert set(column(database, 42, "provenance").values()) == {"crystfel"}
    assert json.loads(column(database, 42, "attributes")["hits"]) == {"units": "frames"}
    with h5py.File(database.run_file(42)) as file:
        np.testing.assert_array_equal(file["hits/data"][:], hits)
        assert file["indexing" if "indexing" in file else ".errors/indexing"].attrs["type"] == "RuntimeError"
    assert database.leftovers() == []


def test_a_later_value_replaces_an_earlier_one_and_null_removes_it(database: Database) -> None:
    submit(database, "1", "a=1", "b=2")
    submit(database, "1", "a=5", "b=null")
    assert database.rows(1) == {"a": 5}
    assert database.stored(1) == {"a"}


def test_a_script_gives_many_results_as_json(database: Database, tmp_path: Path) -> None:
    results = {
        "a": 1.5,
        "b": {"value": [1, 2, 3], "summary": "max", "units": "mm"},
        "c": {"error": {"class": "Skip", "message": "not today"}},
    }
    (tmp_path / "results.json").write_text(json.dumps(results))
    submit(database, "3", "--json", str(tmp_path / "results.json"))
    assert database.rows(3) == {"a": 1.5, "b": 3, "c": ("Skip", "not today")}


def test_nothing_is_stored_if_one_result_cannot_be(database: Database, tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    for arguments, words in [
        (["a=1", "--file", f"b={tmp_path}/objects.npy"], "allow_pickle"),
        (["a=1", "--file", f"b={tmp_path}/none.npy"], "none.npy"),
        (["a=1", "start_time=2"], "each run already has a column of this name"),
        (["a=1", "run=2", "proposal=2"], "each run already has a column of this name: proposal, run"),
        (["a=1", "--error", "added_at=late"], "each run already has a column of this name"),
        (["a=1", "Run=2", "Comment=2"], "each run already has a column of this name: Comment, Run"),
        (["hits=1", "Hits=2"], "hits and Hits differ only in case"),
    ]:
        failed = submit(database, "1", *arguments, code=1)
        assert words in failed.stderr, failed.stderr
    assert database.rows(1) == {}
    assert database.leftovers() == []
    assert not database.run_file(1).exists()


def test_arguments_that_do_not_fit_are_refused(database: Database) -> None:
    for arguments in (["a=1", "a=2"], ["a"], ["--units", "a=mm"], []):
        submit(database, "1", *arguments, code=2)


def test_python_submits_what_a_function_may_return(database: Database) -> None:
    script = """
import sys
import numpy as np
import xarray as xr
from damnit_ctx import Cell, Skip, submit

large = np.zeros((40, 1024, 1024), dtype=np.float32)
large[-1, -1, -1] = 3
flux = xr.DataArray([1.0, 2.0], dims="train", coords={"train": [10, 11]}, name="flux", attrs={"units": "uJ"})
values = {
    "number": np.float32(1.5), "text": "good", "flux": Cell(flux, summary="mean"), "large": large, "nothing": None,
}
errors = {"failed": KeyError("x"), "skipped": Skip("no beam")}
submit(1234, np.int64(7), values, provenance="my script", errors=errors, damnit_dir=sys.argv[1])
"""
    assert in_python(database, script) == ""
    rows = database.rows(7)
    assert rows["number"] == 1.5 and rows["text"] == "good" and rows["flux"] == 1.5
    assert rows["failed"] == ("KeyError", "'x'") and rows["skipped"] == ("Skip", "no beam")
    assert "nothing" not in rows
    assert json.loads(column(database, 7, "attributes")["flux"])["units"] == "uJ"
    with h5py.File(database.run_file(7)) as file:
        assert file["large/data"].shape == (40, 1024, 1024)
        assert file["large/data"][-1, -1, -1] == 3
        assert list(file["flux/train"][:]) == [10, 11]


def test_python_says_why_nothing_was_submitted(database: Database) -> None:
    for call, words in [
        ("submit(1234, 1, {'a': object()}, provenance='p', damnit_dir=sys.argv[1])", "TypeError"),
        ("submit(1234, 1, {'a': 1}, provenance='', damnit_dir=sys.argv[1])", "provenance"),
        ("submit(1234, 1, {'a': 1}, provenance='p', damnit_dir='/')", "has no runs.sqlite"),
        ("submit(9999, 1, {'a': 1}, provenance='p')", "proposal 9999 is not below"),
        (
            "submit(1234, 1, {'a': 1}, provenance='p', errors={'a': KeyError()}, damnit_dir=sys.argv[1])",
            "both a value and an error",
        ),
    ]:
        assert words in in_python(database, f"import sys\nfrom damnit_ctx import submit\n{call}", code=1)
    assert database.rows(1) == {}


def test_a_submitted_value_is_read_by_a_context_file_only_under_its_own_name(database: Database) -> None:
    """Columns of the context file and of others are side by side, and the clock decides between values of one name."""
    database.context("@Variable()\ndef a(run):\n    return 1\n")
    submit(database, "1", "a=5", "b=6")
    assert database.rows(1) == {"a": 5, "b": 6}
    database.amore("reprocess", "1")
    assert database.rows(1) == {"a": 1, "b": 6}


def test_columns_of_users_are_refused(database: Database) -> None:
    database.amore("variable", "add", "sample", "string")
    submit(database, "1", "b=1")
    database.amore("variable", "set", "1", "sample=lysozyme")
    refused = submit(database, "1", "sample=thaumatin", "comment=hi", "c=1", code=1)
    assert "users fill in comment, sample: choose other names" in refused.stderr
    assert database.rows(1) == {"b": 1, "sample": "lysozyme"}, "all or nothing"


def test_a_name_that_differs_only_in_case_is_refused(database: Database) -> None:
    submit(database, "1", "hits=1", "énergie=1")
    refused = submit(database, "2", "Hits=2", "b=1", code=1)
    assert "Hits and hits differ only in case" in refused.stderr
    # SQLite compares only the letters of ASCII so.
    submit(database, "2", "hits=2", "Énergie=2")
    assert (database.rows(1), database.rows(2)) == ({"hits": 1, "énergie": 1}, {"hits": 2, "Énergie": 2})


def test_a_fragment_of_others_gives_no_value_to_columns_of_runs(database: Database) -> None:
    """DAMNIT's own submit() checks no names."""
    submit(database, "1", "a=1")
    with h5py.File(database.path / "extracted_data/p1234_r1.theirs.ready.h5", "w") as file:
        file.attrs["provenance"] = "theirs"
        for name in ("run", "proposal", "b"):
            file[f"{name}/data"] = file[f".reduced/{name}"] = 7
        file[".errors/added_at"] = "late"
        file[".errors/added_at"].attrs["type"] = "ValueError"
    told = database.amore("combiner", "now", str(database.path))
    for name in ("run", "proposal", "added_at"):
        assert f"{name} is a column of every run" in told.stdout + told.stderr
    assert database.rows(1) == {"a": 1, "b": 7}
    # As with a comment, the run's file has the value.
    assert {"run", "proposal"} <= database.stored(1)


def test_what_an_earlier_version_stored_under_the_name_of_a_column_can_be_removed(database: Database) -> None:
    submit(database, "1", "a=1")
    with sqlite3.connect(database.path / "runs.sqlite") as connection:
        connection.execute(
            "INSERT INTO run_variables (proposal, run, name, version, value, timestamp, provenance)"
            " VALUES (1234, 1, 'run', 1, 7, 1.0, 'me')"
        )
    connection.close()
    submit(database, "1", "run=null")
    assert database.rows(1) == {"a": 1}


def test_others_of_the_group_can_collect_what_was_submitted(database: Database) -> None:
    """Whoever coordinates the directory may be another member of the group."""
    folder = database.path / "extracted_data"
    folder.mkdir(mode=0o777, exist_ok=True)
    os.chmod(folder, 0o770)
    # The command does not collect it: there is no table to write to any more.
    script = """
import sys
from damnit_ctx import submission

submission._collect = lambda directory: None
submission.submit(1234, 1, {"a": 1}, provenance="p", damnit_dir=sys.argv[1])
"""
    in_python(database, script)
    (fragment,) = folder.glob("*.ready.h5")
    assert fragment.stat().st_mode & 0o777 == 0o660
    told = database.amore("combiner", "now", str(database.path))
    assert "1 result file collected" in told.stdout
    assert database.rows(1) == {"a": 1}
