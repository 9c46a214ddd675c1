"""Every type of value in every available Python from 3.9 on, with only the documented packages.

CI fails if one of 3.9, 3.11 and 3.13 is missing.
"""

import os
import sqlite3
from pathlib import Path

import pytest

from declared import declared
from expecting import BEYOND, VALUES, matrix_problems
from sides import PROPOSAL, Amore
from stored import StoredRun, netcdf_c_problems
from venvs import CONTEXT_PACKAGES, interpreters, make_venv

WANTED = ("3.9", "3.11", "3.13")
FOUND = interpreters()
VERSIONS = sorted({*FOUND, *WANTED}, key=lambda version: int(version[2:]))
# Values that need more than the three libraries that a context file's Python must have; extra_data brings matplotlib.
LIBRARIES = ("plotly", "pyarrow")
NEED_LIBRARIES = ("plotly_", "series", "frame")


def python_of(version: str, *libraries: str) -> Path:
    """An environment of this Python. If there is no such Python, the test is skipped, or fails in CI."""
    if version not in FOUND:
        message = f"Python {version} was not found (looked in pyenv's versions and on PATH)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    name = "-".join(["ctx", version, *libraries])
    return make_venv(name, FOUND[version], (*CONTEXT_PACKAGES, *libraries))


@pytest.fixture(scope="module", params=VERSIONS)
def bare(request, amore_bin, proposal_root) -> Amore:
    """Amore, with an environment that has only what a context file's Python must have."""
    return Amore(amore_bin, python_of(request.param), proposal_root, PROPOSAL)


@pytest.fixture(scope="module", params=VERSIONS)
def with_libraries(request, amore_bin, proposal_root) -> Amore:
    """Amore, with an environment that also has the libraries for figures and tables."""
    return Amore(amore_bin, python_of(request.param, *LIBRARIES), proposal_root, PROPOSAL)


def assert_none(problems: list[str]) -> None:
    """Fail with all problems, one per line."""
    assert not problems, "\n".join([f"{len(problems)} problems:", *problems])


def test_matrix(bare, tmp_path):
    """The whole matrix, read back with h5py, xarray, netCDF-C and sqlite3."""
    bare.prepare(tmp_path, VALUES)
    bare.reprocess(tmp_path, 1)
    stored = StoredRun.read(tmp_path, PROPOSAL, 1)
    assert_none([*matrix_problems(stored, left_out=NEED_LIBRARIES)])
    assert_none([*netcdf_c_problems(stored.file, tmp_path / "netcdf-c")])


def test_figures_and_tables(with_libraries, tmp_path):
    """Values of optional libraries."""
    names = (*NEED_LIBRARIES, "figure")
    with_libraries.prepare(tmp_path, VALUES)
    with_libraries.reprocess(tmp_path, 1)
    stored = StoredRun.read(tmp_path, PROPOSAL, 1)
    assert {"plotly_figure", "series", "frame", "figure"} <= stored.rows.keys()
    assert_none([*matrix_problems(stored, left_out=(), only=names)])


def test_beyond(bare, tmp_path):
    """A value that cannot be stored, or a function that ends the process, affects only that variable."""
    bare.prepare(tmp_path, BEYOND)
    bare.reprocess(tmp_path, 1)
    stored = StoredRun.read(tmp_path, PROPOSAL, 1)
    values = {name: row["value"] for name, row in stored.rows.items() if row["value"] is not None}
    assert {name: values.get(name) for name in ("first", "middle", "last", "after_abort", "text_numpy")} == {
        "first": 1,
        "middle": 2,
        "last": 3,
        "after_abort": 5,
        "text_numpy": "from numpy",
    }
    deadly = {
        "system_exit",
        "keyboard_interrupt",
        "hard_exit",
        "abort",
        "killed",
        "segfault",
        "endless_recursion",
    }
    impossible = {"text_nul", "integer_large", "labelled_objects"}
    errors = {
        name: row["attributes"]
        for name, row in stored.rows.items()
        if "error_cls" in (row["attributes"] or "")
    }
    assert deadly | impossible <= errors.keys()
    assert "SIGABRT" in errors["abort"]
    assert "SIGKILL" in errors["killed"]
    assert "SIGSEGV" in errors["segfault"]
    assert "RecursionError" in errors["endless_recursion"]
    for name, variable in declared(BEYOND).items():
        if name.startswith(("long_", "record")):
            assert_none([*stored.problems(name, variable.outcome())])
    # The others may be stored or refused, but each must be one of the two: nothing is lost silently.
    assert stored.rows.keys() == declared_names(tmp_path)


def declared_names(directory: Path) -> set[str]:
    """The variables in the table."""
    connection = sqlite3.connect(f"file:{directory / 'runs.sqlite'}?mode=ro", uri=True)
    names = {name for (name,) in connection.execute("SELECT name FROM variables WHERE type IS NULL")}
    connection.close()
    return names
