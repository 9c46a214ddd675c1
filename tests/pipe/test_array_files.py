"""Large arrays are in separate files. Whoever can read the run file can read them, and a missing one is noticed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import Database, context_python, programs

NOBODY = 65534
SUM = "import sys, h5py; print(h5py.File(sys.argv[1])[sys.argv[2] + '/data'][:].sum())"

KINDS = """
@Variable
def real(run): return np.ones(9_000_000)
@Variable
def whole(run): return np.ones(9_000_000, "i4")
@Variable
def byte(run): return np.ones(40_000_000, "u1")
@Variable
def pair(run): return np.ones(5_000_000, complex)
@Variable
def flag(run): return np.ones(40_000_000, bool)
@Variable
def labelled(run):
    import xarray
    return xarray.DataArray(np.ones(9_000_000, "i8"), dims="x", attrs={"_note": "no fill value"})
"""


def by_nobody(path: Path, name: str, group: int = NOBODY) -> str:
    """What another user reads: the sum of an array, or an error."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv")
    for folder in path.parents:
        if folder.is_relative_to("/tmp") and folder != Path("/tmp") and "extracted_data" not in str(folder):
            folder.chmod(folder.stat().st_mode | 0o055)
    command = ["setpriv", "--reuid", str(NOBODY), "--regid", str(group), "--clear-groups", context_python(), "-c", SUM]
    ended = subprocess.run([*command, path, name], capture_output=True, text=True, timeout=300, check=False)
    if "failed to execute" in ended.stderr:
        pytest.skip("the Python lies where others may not look")
    return ended.stdout.strip() or ended.stderr


@pytest.fixture
def with_umask():
    """Sets the umask of this process, and restores it."""
    before = os.umask(0)
    os.umask(before)
    yield os.umask
    os.umask(before)


def test_arrays_from_32_mib_on_are_set_apart(database: Database) -> None:
    database.context(
        "@Variable\ndef below(run): return np.ones((32 << 20) // 8 - 1)\n"
        "@Variable\ndef at(run): return np.ones((32 << 20) // 8)\n"
        "@Variable\ndef above(run): return np.ones((80 << 20) // 8)\n"
    )
    database.amore("reprocess", "1")
    with h5py.File(database.run_file(1)) as file:
        assert {name: file[f"{name}/data"].is_virtual for name in ("below", "at", "above")} == {
            "below": False,
            "at": True,
            "above": True,
        }
        assert all(file[f"{name}/data"][:].min() == 1 for name in ("below", "at", "above"))


def test_a_lost_array_is_no_plausible_number(database: Database) -> None:
    database.context(KINDS)
    database.amore("reprocess", "1")
    assert "0 problems" in database.amore("verify").stdout
    alone = database.path / "alone.h5"
    shutil.copy(database.run_file(1), alone)
    with h5py.File(alone) as file:
        assert np.isnan(file["real/data"][:]).all()
        assert np.isnan(file["pair/data"][:]).all()
        assert (file["whole/data"][:] == np.iinfo("i4").min).all()
        assert (file["byte/data"][:] == 255).all()
        (name,) = (name for name in file["labelled"] if name != "x")
        assert (file[f"labelled/{name}"][:] == np.iinfo("i8").min).all()
        # Both boolean values would be plausible, so booleans are in the run file itself.
        assert file["flag/data"][:].all()
    shutil.rmtree(database.path / "extracted_data/arrays")
    said = database.amore("verify", code=1).stdout
    assert "/real/data reads as NaN: its array file" in said
    assert "/byte/data reads as its type's extreme" in said
    assert "array file" in database.amore("export", "1", code=1).stderr


def test_a_dependent_gets_an_error_and_no_fill_value(database: Database) -> None:
    context = KINDS + "@Variable\ndef total(run, real: 'var#real'): return float(np.nansum(real))\n"
    database.context(context)
    database.amore("reprocess", "1")
    (array,) = (database.path / "extracted_data/arrays/p1234_r1").glob("real-*")
    array.unlink()
    from_file = (
        f"import sys; sys.path.insert(0, {str(programs().parents[1] / 'context')!r})\n"
        "from damnit_ctx import stored\n"
        f"stored.read({str(database.run_file(1))!r}, 'real')\n"
    )
    ended = subprocess.run([context_python(), "-c", from_file], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert f"lies in the array file {array}" in ended.stderr, ended.stderr


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_who_reads_the_run_file_reads_its_arrays(database: Database, with_umask, mask: int) -> None:
    database.context(KINDS)
    with_umask(mask)
    database.amore("reprocess", "1", "--var", "whole")
    # A command with another umask adds an array: the permissions of the run file are kept.
    with_umask(0o007)
    database.amore("reprocess", "1", "--var", "real")
    assert database.run_file(1).stat().st_mode & 0o777 == 0o666 & ~mask
    for name in ("whole", "real"):
        seen = by_nobody(database.run_file(1), name)
        assert (seen == "9000000.0" or seen == "9000000") if mask == 0o022 else "ermission denied" in seen, seen
    assert "0 problems" in database.amore("verify").stdout


def test_an_array_of_somebody_else_narrows_the_run_file(database: Database, with_umask) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    with_umask(0o022)
    database.context(KINDS)
    database.amore("reprocess", "1", "--var", "real")
    (array,) = (database.path / "extracted_data/arrays/p1234_r1").glob("real-*")
    array.chmod(0o640)
    assert by_nobody(database.run_file(1), "real") == "nan"
    said = database.amore("verify", code=1).stdout
    assert "cannot be read by all who may read the run file" in said, said
    # The next result repairs it, because the file then belongs to this user.
    database.amore("reprocess", "1", "--var", "whole")
    assert by_nobody(database.run_file(1), "real") == "9000000.0"


def test_verify_is_told_by_a_user_who_cannot_read_an_array(database: Database, with_umask) -> None:
    with_umask(0o022)
    database.context(KINDS)
    database.amore("reprocess", "1", "--var", "real")
    (array,) = (database.path / "extracted_data/arrays/p1234_r1").glob("real-*")
    array.chmod(0o600)
    assert by_nobody(database.run_file(1), "real") == "nan"
    command = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", programs() / "amore"]
    for arguments, words in (["verify", "1"], "reads as NaN for you"), (["export", "1", "-o", "/tmp/none.h5"], "array file"):
        ended = subprocess.run(
            [*command, *arguments],
            cwd=database.path,
            env={**database.environment, "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            check=False,
        )
        if "failed to execute" in ended.stderr:
            pytest.skip("the programs lie where others may not look")
        assert ended.returncode == 1, (arguments, ended)
        assert words in ended.stdout + ended.stderr, (arguments, ended)


def test_access_control_lists_are_kept(database: Database, with_umask) -> None:
    if shutil.which("setfacl") is None:
        pytest.skip("there is no setfacl")
    with_umask(0o077)
    database.context(KINDS)
    database.amore("reprocess", "1", "--var", "whole")
    folder = database.path / "extracted_data"
    acl = subprocess.run(["setfacl", "-m", f"u:{NOBODY}:r", database.run_file(1)], check=False)
    if acl.returncode != 0:
        pytest.skip("the file system has no access control lists")
    subprocess.run(["setfacl", "-m", f"u:{NOBODY}:rx", folder], check=True)
    database.amore("reprocess", "1", "--var", "real")
    assert by_nobody(database.run_file(1), "real") == "9000000.0"
    assert "0 problems" in database.amore("verify").stdout
