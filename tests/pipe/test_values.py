"""The basic behaviour: values are stored, outdated ones are removed, nothing is computed twice."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import XGM, Database

MEAN = f"""
@Variable(title="XGM intensity", summary="mean")
def intensity(run):
    effect("intensity")
    return run["{XGM}:output", "data.intensityTD"].ndarray().mean(axis=1)

@Variable(title="Number")
def number(run, run_no: "meta#run_number", proposal: "meta#proposal"):
    return run_no * 10000 + proposal

@Variable(title="Doubled")
def doubled(run, value: "var#number"):
    return value * 2
"""


def test_large_records_lie_in_a_file_of_their_own(database: Database) -> None:
    kind = "[('wide', np.longdouble), ('b', '>f8'), ('c', [('d', 'S3'), ('e', '<i2', (2, 3))])]"
    database.context(
        f"@Variable\ndef large(run):\n    a = np.zeros((2000, 900), {kind})\n"
        "    a['wide'] = np.arange(900) / np.longdouble(3)\n    a['c']['d'] = b'abc'\n    a['c']['e'][..., 1, 2] = -5\n"
        "    return a\n"
        "@Variable\ndef after(run, large: 'var#large'): return large['c']['e'][7, 8, 1, 2]\n"
    )
    database.amore("reprocess", "1")
    database.amore("reprocess", "1", "--var", "after")
    assert database.rows(1)["after"] == -5
    database.amore("export", "1", "--output", "whole.h5")
    assert database.amore("verify").stdout.endswith("0 problems\n")
    wanted = np.zeros((2000, 900), eval(kind))
    wanted["wide"] = np.arange(900) / np.longdouble(3)
    wanted["c"]["d"], wanted["c"]["e"][..., 1, 2] = b"abc", -5
    for path in (database.run_file(1), database.path / "whole.h5"):
        with h5py.File(path) as file:
            assert file["large/data"].is_virtual == (path == database.run_file(1))
            found = file["large/data"][()]
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(found, wanted)


def test_a_mock_run_leaves_the_start_of_a_real_one(database: Database) -> None:
    database.context("@Variable\ndef n(run): return len(run.train_ids)\n")

    def started(run: int) -> float:
        rows = json.loads(database.amore("table", "--json").stdout)
        with h5py.File(database.run_file(run)) as file:
            assert file["start_time/data"][()] == file[".reduced/start_time"][()]
            (time,) = {file["start_time/data"][()], *(row["start_time"] for row in rows if row["run"] == run)}
        return float(time)

    database.amore("reprocess", "1")
    database.amore("reprocess", "1", "--mock")
    assert (database.rows(1)["n"], started(1)) == (10, 1_700_000_001)
    # For a run without results, any time is better than none: DAMNIT does not show runs without a start time.
    database.amore("reprocess", "2", "--mock")
    assert started(2) > 0
    database.amore("reprocess", "2")
    assert (database.rows(2)["n"], started(2)) == (16, 1_700_000_002)
    # The time is in the table, so the file is not needed.
    database.run_file(2).unlink()
    database.amore("reprocess", "2", "--mock")
    rows = json.loads(database.amore("table", "2", "--json").stdout)
    assert rows[0]["start_time"] == 1_700_000_002


def test_values_stand_in_table_and_file(database: Database) -> None:
    database.context(MEAN)
    database.amore("reprocess", "1", "2", program="amore-proto")
    for run in (1, 2):
        rows = database.rows(run)
        assert rows["intensity"] == pytest.approx(100 * run + 7.5)
        assert rows["number"] == run * 10000 + 1234
        assert rows["doubled"] == 2 * rows["number"]
        with h5py.File(database.run_file(run)) as file:
            assert file["intensity/data"].shape == (file["intensity/data"].size,)
            assert file["start_time/data"][()] == pytest.approx(1_700_000_000 + run)
    assert database.executions() == {"intensity": 2}
    assert database.leftovers() == []


def test_all_means_the_runs_in_the_database(database: Database) -> None:
    database.context(MEAN)
    database.amore("reprocess", "all")
    assert database.executions() == {}
    database.amore("reprocess", "1-2")
    database.amore("reprocess", "all")
    assert database.executions() == {"intensity": 4}


def test_missing_runs_are_named_and_the_others_go_on(database: Database) -> None:
    database.context(MEAN)
    done = database.amore("reprocess", "1", "77", code=3)
    assert "77" in done.stderr and "does not exist" in done.stderr
    assert "number" in database.rows(1)
    assert database.amore("reprocess", "77", code=1)


def test_match_and_var_choose_and_dependencies_come_along(database: Database) -> None:
    database.context(MEAN)
    database.amore("reprocess", "1", "--match", "doub", program="damnit")
    assert set(database.rows(1)) == {"number", "doubled"}
    database.amore("reprocess", "1", "--var", "intensity")
    assert database.executions() == {"intensity": 1}
    unknown = database.amore("reprocess", "1", "--var", "intensty", code=1)
    assert "intensity" in unknown.stderr


def test_a_value_that_is_gone_does_not_stay(database: Database) -> None:
    database.context(
        "@Variable\ndef a(run): return 1\n@Variable\ndef b(run): return [1, 2, 3]\n@Variable\ndef c(run): return 3\n"
    )
    database.amore("reprocess", "1")
    assert {"a", "b", "c"} <= database.stored(1)
    database.context("@Variable\ndef a(run): return None\n@Variable\ndef b(run): raise ValueError('no')\n")
    database.amore("reprocess", "1")
    assert database.rows(1) == {"b": ("ValueError", "no")}
    assert database.stored(1) == {"start_time"}


def test_values_go_when_every_variable_is_gone(database: Database) -> None:
    database.context("@Variable\ndef a(run): return np.ones(3)\n")
    database.amore("reprocess", "1")
    assert "a" in database.stored(1)
    database.context("")
    database.amore("reprocess", "1")
    assert "a" not in database.rows(1)
    assert "a" not in database.stored(1)
    assert database.leftovers() == []


def test_the_same_run_number_of_two_proposals_stays_two_rows(database: Database, data_root: Path) -> None:
    other = database.root / "SA2/202601/p004321"
    other.mkdir()
    (other / "raw").symlink_to(data_root / "SA2/202601/p001234/raw")
    database.context("@Variable\ndef p(run, proposal: 'meta#proposal'): return proposal\n")
    database.amore("reprocess", "1")
    database.amore("reprocess", "1", "--proposal", "4321")
    connection = sqlite3.connect(database.path / "runs.sqlite")
    assert sorted(connection.execute("SELECT proposal, run, p FROM runs")) == [
        (1234, 1, 1234),
        (4321, 1, 4321),
    ]
    connection.close()
    assert database.run_file(1, 4321).exists()


def test_starting_from_scratch(database: Database) -> None:
    database.context(MEAN)
    database.amore("reprocess", "1")
    (database.path / "runs.sqlite").unlink()
    shutil.rmtree(database.path / "extracted_data")
    database.amore("proposal", "1234", program="amore-proto")
    database.amore(
        "db-config", "context_python", os.environ.get("AMORE_TEST_PYTHON", shutil.which("python3") or "")
    )
    database.amore("reprocess", "1")
    assert database.rows(1)["number"] == 11234


def test_a_new_table_over_old_run_files_takes_new_values(database: Database) -> None:
    python = database.amore("db-config", "context_python").stdout.strip().strip("'\"")
    database.context("@Variable\ndef a(run): return 1\n")
    database.amore("reprocess", "1")
    (database.path / "runs.sqlite").unlink()
    database.amore("proposal", "1234")
    database.amore("db-config", "context_python", python)
    database.context("@Variable\ndef a(run): return 2\n")
    database.amore("reprocess", "1")
    assert database.rows(1)["a"] == 2


def test_print_goes_to_the_runs_log_in_order(database: Database) -> None:
    database.context(
        "import sys\n@Variable\ndef talk(run):\n"
        "    for i in range(50):\n        print('out', i)\n        print('err', i, file=sys.stderr)\n"
    )
    database.amore("reprocess", "1")
    lines = [
        line for line in database.amore("log", "1").stdout.splitlines() if line.startswith(("out", "err"))
    ]
    assert lines == [f"{stream} {i}" for i in range(50) for stream in ("out", "err")]


def test_mock_needs_no_data(database: Database) -> None:
    database.context("@Variable\ndef n(run, r: 'meta#run_number'): return r\n")
    database.amore("reprocess", "--mock", "--proposal", "999", "100", program="amore-proto")
    assert database.rows(100, 999) == {"n": 100}


def test_values_of_every_size_cross(database: Database) -> None:
    database.context(
        "@Variable\ndef big(run): return np.arange(12_000_000, dtype='f8').reshape(3000, 4000)\n"
        "@Variable\ndef big_strided(run): return np.arange(10_000_000, dtype='i4').reshape(1000, 10000)[::2, ::-1]\n"
        "@Variable\ndef empty(run): return np.empty((0, 5))\n"
        "@Variable\ndef total(run, big: 'var#big'): return big.sum()\n"
    )
    database.amore("reprocess", "1")
    rows = database.rows(1)
    assert rows["total"] == sum(range(12_000_000))
    with h5py.File(database.run_file(1)) as file:
        assert file["big/data"][2999, 3999] == 11_999_999
        assert file["big_strided/data"][0, 0] == 9999
        assert file["big_strided/data"].shape == (500, 10000)
        assert file["empty/data"].shape == (0, 5)


def test_nobody_elses_group_can_write(database: Database) -> None:
    database.context(MEAN)
    previous = os.umask(0o002)
    try:
        database.amore("reprocess", "1")
    finally:
        os.umask(previous)
    found = subprocess.run(
        ["find", str(database.path), "-perm", "-o+w", "!", "-type", "l"], capture_output=True, text=True
    )
    assert found.stdout == ""
