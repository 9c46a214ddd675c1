"""Arrays written by a job can be read by the readers of the run file, whatever umask jobs usually have."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from databases import Database

TWO = """
import numpy as np

@Variable(title="Made here")
def made_here(run):
    return np.ones(10_000_000)

@Variable(title="Made in a job", cluster=True)
def made_in_a_job(run):
    with open("written", "w") as file:
        file.write("by the function itself")
    return np.ones(10_000_000)
"""


def modes(database: Database) -> dict[str, int]:
    """The permissions of everything below `extracted_data`, and of the file that the function wrote."""
    folder = database.path / "extracted_data"
    paths: list[Path] = [folder, *folder.rglob("*"), database.path / "written"]
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths if path.name != ".collect.lock"}


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_a_job_has_the_umask_of_who_submits_it(database: Database, mask: int) -> None:
    database.context(TWO)
    before = os.umask(mask)
    try:
        database.amore("reprocess", "1")
    finally:
        os.umask(before)
    found = modes(database)
    assert sum(name.startswith("made_") for name in found) == 2, found
    for name, mode in found.items():
        folder = not name.endswith(".h5") and name != "written"
        assert mode & 0o777 == (0o777 if folder else 0o666) & ~mask, (name, oct(mode))
    assert "0 problems" in database.amore("verify").stdout


def test_a_sites_template_with_an_umask_of_its_own_hides_no_array(database: Database) -> None:
    database.context(TWO)
    template = database.path / ".amore/templates/slurm-job.sh.tera"
    template.parent.mkdir(parents=True)
    last = "exec {{ worker | shell }} job --sheet {{ sheet | shell }} --events {{ events | shell }}\n"
    exports = "{% for v in environment %}export {{ v.name }}={{ v.value | shell }}\n{% endfor %}"
    template.write_text(f"#!/bin/bash\numask 0007\n{exports}{last}")
    before = os.umask(0o022)
    try:
        database.amore("reprocess", "1")
    finally:
        os.umask(before)
    found = modes(database)
    assert sum(name.startswith("made_") for name in found) == 2, found
    assert all(mode & 0o044 == 0o044 for name, mode in found.items() if name.startswith(("made_", "p1234", "arrays"))), found
    assert "0 problems" in database.amore("verify").stdout
