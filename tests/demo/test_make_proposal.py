"""The demo's proposal: runs in the real format, identical each time, never mixed with other data."""

import hashlib
import sys
from pathlib import Path

import extra_data
import h5py
import numpy as np
import pytest
from extra_data.validation import RunValidator

from commands import REPO, run
from expected import proposal_directory

MAKER = REPO / "demo" / "make_proposal.py"


def make(root: Path, *words, accept=(0,)) -> str:
    """Run the program for a small proposal; returns its output."""
    command = [sys.executable, MAKER, "--root", root, "--runs", 2, "--small", *words]
    return run(command, accept=accept).stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A data root with a small proposal."""
    root = tmp_path_factory.mktemp("made")
    make(root)
    return root


def digest(root: Path) -> dict[str, str]:
    """The content of every dataset below a root, by file and name."""
    found = {}
    for path in sorted(root.rglob("*.h5")):
        with h5py.File(path) as f:

            def visit(name, item, f=f, path=path):
                if isinstance(item, h5py.Dataset):
                    content = hashlib.sha256(
                        np.ascontiguousarray(item[()]).astype("S" if item.dtype == object else item.dtype)
                    )
                    found[f"{path.relative_to(root)}:{name}"] = content.hexdigest()

            f.visititems(visit)
    return found


@pytest.mark.parametrize("folder", ["raw/r0001", "raw/r0002", "proc/r0002"])
def test_runs_are_valid(made, folder):
    """extra_data's own validation finds no problems."""
    validator = RunValidator(str(proposal_directory(made, 1234) / folder))
    validator.run_checks()
    assert validator.problems == []


def test_runs_open_by_number(made, monkeypatch):
    """`open_run` finds the runs, with values in every source. Only even runs have proc data."""
    monkeypatch.setenv("EXTRA_DATA_DATA_ROOT", str(made))
    data = extra_data.open_run(1234, 2, data="all")
    assert len(data.train_ids) == 12
    assert 900 < data["SA2_XTD1_XGM/XGM/DOOCS:output", "data.intensityTD"].ndarray().max() < 1300
    assert data["SPB_DET_AGIPD1M-1/CORR/0CH0:output", "image.data"].ndarray().mean() > 1
    assert data.run_metadata()["proposalNumber"] == 1234
    assert not (proposal_directory(made, 1234) / "proc" / "r0001").exists()


def test_two_calls_give_the_same(made, tmp_path):
    make(tmp_path)
    assert digest(tmp_path) == digest(made)


def test_again_does_nothing(made):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*.h5")}
    assert "nothing to do" in make(made)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*.h5")} == before


def test_goes_on_where_it_stopped(tmp_path):
    """If the program is killed, no run is left partly written, and the next call completes the proposal."""
    make(tmp_path)
    whole = digest(tmp_path)
    raw = proposal_directory(tmp_path, 1234) / "raw"
    (raw / "r0002").rename(raw / ".r0002.partial")
    next((raw / ".r0002.partial").glob("*.h5")).write_bytes(b"cut short")
    assert "1 runs written, 1 were there already" in make(tmp_path)
    assert digest(tmp_path) == whole


def test_refuses_what_is_not_its_own(tmp_path):
    (proposal_directory(tmp_path, 1234) / "raw" / "r0001").mkdir(parents=True)
    assert "was not made by this program" in make(tmp_path, accept=(1,))
    assert list(tmp_path.rglob("*.h5")) == []


def test_refuses_to_mix_sizes(made):
    command = [sys.executable, MAKER, "--root", made, "--runs", 3]
    assert "another size" in run(command, accept=(1,)).stdout
    assert not (proposal_directory(made, 1234) / "raw" / "r0003").exists()
