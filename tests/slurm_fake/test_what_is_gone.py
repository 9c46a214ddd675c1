"""Computed values that cannot be read where they are needed, and jobs that cannot compute anything: what is reported, and
what is kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from databases import Database, wait_until

CHAIN = """
import numpy as np
@Variable(cluster=True)
def a(run, r: "meta#run_number"):
    if os.path.exists(here("big")):
        return np.random.default_rng(r).integers(0, 2**60, 40000)
    return 1
@Variable(cluster=True)
def between(run, a: "var#a"): return a + 1
@Variable
def b(run, a: "var#a"):
    effect("b-of-first-a" if np.ndim(a) == 0 else "b-of-large-a")
    return 10 * a
@Variable
def lenient(run, a: "var#a" = None):
    return "none" if a is None else "some"
"""


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A separate file system on a folder, with the existing content."""
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    folder.mkdir(exist_ok=True)
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def test_a_dependency_that_could_not_be_stored(database: Database) -> None:
    """Its earlier value is not used in place of the lost one."""
    database.context(CHAIN)
    database.amore("reprocess", "1", "--mock")
    assert database.rows(1)["b"] == 10
    database.touch("big")
    with small_disk(database.path / "extracted_data", "150k"):
        ended = database.amore("reprocess", "1", "--mock", code=None)
        said = ended.stdout + ended.stderr
        assert ended.returncode != 0
        assert "no space left" in said, said
        assert "Unable to" not in said, said
        rows = database.rows(1)
        # Nothing is computed from the earlier value of a. (The new one may be used, before the disk is found to be full.)
        assert database.executions()["b-of-first-a"] == 1
        if isinstance(rows["b"], tuple):
            assert "(a) failed: StorageError: no space left" in rows["b"][1], rows
    database.amore("reprocess", "1", "--mock")
    assert database.rows(1)["lenient"] == "some"


def test_a_dependency_whose_file_is_gone(database: Database) -> None:
    database.context(
        CHAIN
        + """
@Variable
def gate(run, a: "var#a"):
    wait_for("go")
    os.kill(os.getpid(), 9)
@Variable
def later(run, a: "var#a", x: "var#gate" = None): return a
"""
    )
    command = database.begin("reprocess", "1", "--mock")
    wait_until(lambda: "a" in database.rows(1), "its value", lambda: command.said)
    wait_until(lambda: not list((database.path / "extracted_data").glob("*.ready.h5")), "its collection")
    database.run_file(1).unlink()
    database.touch("go")
    command.process.wait(120)
    assert "Unable to" not in command.said, command.said
    kind, message = database.rows(1)["later"]
    assert kind == "DependencyError", message
    assert "(a) failed: StorageError: it could not be stored, or what was stored is gone" in message


@pytest.mark.parametrize("what", ["the run", "the file"])
def test_a_job_that_can_compute_nothing(database: Database, what: str) -> None:
    """Earlier values are kept, and variables without one get the error, which also reaches a dependent elsewhere."""
    raw = database.path.parents[2] / "raw"
    shared = raw.resolve()
    raw.unlink()
    raw.mkdir()
    (raw / "r0001").symlink_to(shared / "r0001")
    text = """
if os.path.exists(here("broken")) and "SLURM_JOB_ID" in os.environ:
    raise RuntimeError("not in this job")
@Variable(cluster=True)
def a(run): return 1
"""
    more = """
@Variable(cluster=True)
def fresh(run): return 3
@Variable
def on_fresh(run, x: "var#fresh"): return 1
"""
    database.context(text)
    database.amore("reprocess", "1")
    database.context(text + more)
    if what == "the run":
        # The file exists when the run is looked up, but cannot be opened when the job opens it.
        (raw / "r0001").unlink()
        (raw / "r0001").mkdir()
        (raw / "r0001" / "RAW-R0001-DA01-S00000.h5").write_bytes(b"")
    else:
        database.touch("broken")
    ended = database.amore("reprocess", "1", code=3)
    rows = database.rows(1)
    assert rows["a"] == 1
    assert isinstance(rows["fresh"], tuple) and "in job" in rows["fresh"][1], rows
    assert isinstance(rows["on_fresh"], tuple), rows
    assert "earlier values are kept" in ended.stdout + ended.stderr, ended
    for command in (["explain", "1"], ["explain", "1", "a"]):
        told = database.amore(*command).stdout
        assert "nothing was computed" in told and "earlier values are kept: a" in told, told
