"""Unusual runs: without trains, with damaged files, with only calibrated data, or without any data."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import Database

CONTEXT = """
@Variable(title="Trains")
def trains(run): return len(run.train_ids)
@Variable(title="First train")
def first_train(run): return int(run.train_ids[0])
@Variable(title="Number")
def number(run, r: "meta#run_number"): return r
@Variable(title="AGIPD sum", data="proc")
def agipd(run): return 5
"""


def folder(database: Database, run: int) -> Path:
    """A folder for a run that only this test uses."""
    raw = database.path.parents[2] / "raw"
    if raw.is_symlink():
        shared = raw.resolve()
        raw.unlink()
        raw.mkdir()
        for each in shared.iterdir():
            (raw / each.name).symlink_to(each)
    made = raw / f"r{run:04d}"
    made.mkdir()
    return made


def without_trains(made: Path, run: int) -> Path:
    """The file of a run that was aborted at once."""
    path = made / f"RAW-R{run:04d}-DA01-S00000.h5"
    with h5py.File(path, "w") as file:
        text = h5py.string_dtype("ascii")
        for name, value in (("dataSourceId", "CONTROL/A/B/C"), ("root", "CONTROL"), ("deviceId", "A/B/C")):
            file.create_dataset(f"METADATA/dataSources/{name}", data=[value.encode()], dtype=text)
        file["METADATA/dataFormatVersion"] = [b"1.2"]
        for name in ("trainId", "timestamp"):
            file[f"INDEX/{name}"] = np.zeros(0, "u8")
        for name in ("flag", "origin"):
            file[f"INDEX/{name}"] = np.zeros(0, "i4")
        for name in ("first", "count"):
            file[f"INDEX/A/B/C/{name}"] = np.zeros(0, "u8")
        file["CONTROL/A/B/C/x/value"] = np.zeros(0)
        file["CONTROL/A/B/C/x/timestamp"] = np.zeros(0, "u8")
        file["RUN/A/B/C/x/value"] = np.zeros(1)
        file["RUN/A/B/C/x/timestamp"] = np.zeros(1, "u8")
    return path


def with_calibrated_data_only(database: Database, run: int) -> None:
    """A run whose raw data has been archived."""
    proc = database.path.parents[2] / f"proc/r{run:04d}"
    proc.mkdir(parents=True)
    for file in (database.path.parents[2] / "raw/r0001").iterdir():
        (proc / file.name.replace("RAW-R0001", f"CORR-R{run:04d}")).symlink_to(file.resolve())


def with_a_damaged_file(database: Database, run: int) -> Path:
    """A run with one truncated file."""
    raw = folder(database, run)
    files = sorted((raw.parent / "r0001").iterdir())
    for file in files:
        (raw / file.name.replace("R0001", f"R{run:04d}")).symlink_to(file.resolve())
    bad = raw / f"RAW-R{run:04d}-DA99-S00000.h5"
    bad.write_bytes(files[0].read_bytes()[:1000])
    return bad


def test_a_run_without_trains(database: Database) -> None:
    path = without_trains(folder(database, 7), 7)
    database.context(CONTEXT)
    database.amore("reprocess", "7")
    rows = database.rows(7)
    assert (rows["trains"], rows["number"]) == (0, 7)
    assert rows["first_train"][0] == "IndexError"
    assert "7" in database.amore("table", "7").stdout
    with h5py.File(database.run_file(7)) as file:
        assert file["start_time/data"][()] == pytest.approx(path.stat().st_mtime)


@pytest.mark.parametrize("what", ["empty", "cut off", "without index"])
def test_a_run_that_cannot_be_opened(database: Database, what: str) -> None:
    made = folder(database, 7)
    path = made / "RAW-R0007-DA01-S00000.h5"
    if what == "cut off":
        path.write_bytes(without_trains(made, 7).read_bytes()[:1000])
    elif what == "without index":
        with h5py.File(path, "w") as file:
            file["METADATA/dataFormatVersion"] = [b"1.2"]
    database.context(CONTEXT)
    ended = database.amore("reprocess", "7", code=3)
    assert ended.stderr.count("run 7 could not be processed") == 1, ended.stderr
    rows = database.rows(7)
    # Nothing looks like a success.
    assert set(rows) == {"trains", "first_train", "number"}
    assert all(isinstance(value, tuple) and value[1] for value in rows.values()), rows
    for command in ("explain", "log"):
        said = database.amore(command, "7").stdout
        assert rows["trains"][0] in said, (command, said)
    # Values that were computed earlier are kept when the run cannot be read.
    for each in made.iterdir():
        each.unlink()
    without_trains(made, 7)
    database.amore("reprocess", "7")
    (made / "RAW-R0007-DA01-S00000.h5").write_bytes(b"")
    said = database.amore("reprocess", "7", code=3).stderr
    rows = database.rows(7)
    assert (rows["trains"], rows["number"]) == (0, 7)
    # An error that an earlier command stored is replaced by the current one.
    assert rows["first_train"][0] != "IndexError"
    assert "run 7 could not be processed" in said and "earlier values are kept" in said, said
    kept = "earlier values are kept: trains"
    for command, words in (
        (["explain", "7"], kept),
        (["explain", "7", "trains"], kept),
        # `explain` parses this line of the log, also in later versions.
        (["log", "7"], "earlier values stay of trains"),
    ):
        told = database.amore(*command).stdout
        assert "nothing was computed" in told and words in told, told
    # This holds until they are computed again.
    without_trains(made, 7)
    database.amore("reprocess", "7")
    assert "nothing was computed" not in database.amore("explain", "7", "trains").stdout


def test_a_run_with_calibrated_data_only(database: Database) -> None:
    """Values that can be computed are; a missing source is an error; values computed from the raw data are kept."""
    raw = folder(database, 8)
    without_trains(raw, 8)
    database.context(CONTEXT)
    database.amore("reprocess", "8")
    assert database.rows(8)["trains"] == 0
    shutil.rmtree(raw)
    with_calibrated_data_only(database, 8)
    with_calibrated_data_only(database, 9)
    database.context(CONTEXT + '\n@Variable\ndef xgm(run): return run["NOT/IN/PROC"].keys()\n')
    said = database.amore("reprocess", "9")
    rows = database.rows(9)
    assert rows["trains"] > 0 and rows["agipd"] == 5 and rows["number"] == 9
    assert rows["xgm"][0] == "SourceNameError" and "raw data" not in said.stderr, said.stderr
    for what in (["8"], ["all"]):
        said = database.amore("reprocess", *what)
        assert "need raw data, which the run does not have" in said.stderr, said.stderr
        rows = database.rows(8)
        assert (rows["trains"], rows["number"], rows["agipd"]) == (0, 8, 5)
    assert "unexpected argument '--proc'" in database.amore("reprocess", "8", "--proc", code=2).stderr


def test_one_damaged_file_among_good_ones(database: Database) -> None:
    bad = with_a_damaged_file(database, 9)
    database.context(CONTEXT)
    said = database.amore("reprocess", "9")
    assert f"{bad.name} could not be read and was skipped" in said.stderr, said.stderr
    assert database.rows(9)["trains"] > 0


def test_all_on_an_empty_table(database: Database) -> None:
    database.context(CONTEXT)
    said = database.amore("reprocess", "all")
    assert "this database has no runs yet" in said.stderr, said


def test_a_command_that_computes_nothing_says_why(database: Database) -> None:
    database.context(CONTEXT)
    said = database.amore("reprocess", "1", "--match", "agipd").stderr
    assert "run 1: nothing to compute: agipd needs proc data, which the run does not have" in said, said
    said = database.amore("reprocess", "1-3", "--var", "agipd").stderr
    assert "3 runs, the first is run 1: nothing to compute: agipd needs proc data" in said, said
    said = database.amore("reprocess", "1", "--var", "agipd", "--var", "number").stderr
    assert "run 1: left out: agipd needs proc data" in said, said
    assert database.amore("reprocess", "1").stderr == ""
    assert 'no variable has "nonsense" in its title' in database.amore("reprocess", "1", "--match", "nonsense").stderr
    database.context("")
    assert "nothing to compute: the context file has no variables" in database.amore("reprocess", "2").stderr


def test_a_full_disk_ends_the_command_once(database: Database, tmp_path: Path) -> None:
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", small], check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        database.context(
            'import time\n@Variable\ndef a(run, r: "meta#run_number"):\n    effect("a")\n    time.sleep(0.1)\n'
            '    return np.random.default_rng(r).integers(0, 2**60, 40000)\n@Variable\ndef b(run, a: "var#a"): return 1\n'
        )
        copy = small / "db"
        shutil.copytree(database.path, copy)
        ended = database.amore("reprocess", "1-60", "--mock", cwd=copy, code=1)
        assert ended.stderr.count("no space left") == 1, ended.stderr
        assert "could not be processed" not in ended.stderr
        assert database.executions()["a"] < 50
    finally:
        subprocess.run(["umount", "-l", small], check=False)
